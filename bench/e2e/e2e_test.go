//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mfsstandby/bench"
)

// The generator's model of the master against the master itself.
func TestMasterReplaysEveryMix(t *testing.T) {
	const entries = 500_000
	for _, mix := range bench.Mixes() {
		t.Run(string(mix), func(t *testing.T) {
			dir := t.TempDir()
			image, changelog := filepath.Join(dir, "fresh.mfs"), filepath.Join(dir, "changelog.mfs")
			fill(t, image, func(w io.Writer) error { return bench.FreshMetadata(w, bench.DefaultBase) })
			fill(t, changelog, func(w io.Writer) error {
				return bench.Generate(w, bench.Options{Seed: 3, Entries: entries, Mix: mix})
			})
			r, err := Replay(filepath.Join(dir, "master"), image, changelog, false)
			if err != nil {
				t.Fatal(err)
			}
			version, err := ImageVersion(r.Metadata)
			if err != nil {
				t.Fatal(err)
			}
			if want := bench.DefaultBase.Version + entries + uint64(len(r.Extra)); version != want {
				t.Fatalf("the master stopped at version %d, want %d", version, want)
			}
			t.Logf("%d entries in %v", entries, r.Took)
		})
	}
}

func fill(t *testing.T, path string, write func(io.Writer) error) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := write(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// A capture replayed by the stock master gives its after.mfs: captures are sound.
func TestCaptureReplays(t *testing.T) {
	for seed, cfg := range []CaptureConfig{
		{Ops: 3000, Cluster: Config{Mounts: 2, Meta: true}},
		{Ops: 3000, Cluster: Config{Mounts: 2, Meta: true, Chunkservers: 3}},
		{Ops: 5000, Cluster: Config{Mounts: 2, Meta: true, FakeTime: true}, Disturb: true},
	} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dir := t.TempDir()
			cfg.Seed, cfg.Warmup, cfg.Dir, cfg.Scratch = uint64(seed), 300, filepath.Join(dir, "out"), filepath.Join(dir, "cluster")
			report, err := Capture(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if report.Ops() < cfg.Ops/4 {
				t.Errorf("only %d of %d operations succeeded: %v", report.Ops(), cfg.Ops, report.Failed)
			}
			checkCapture(t, cfg.Dir, filepath.Join(dir, "replay"))
		})
	}
}

func checkCapture(t *testing.T, dir, scratch string) {
	t.Helper()
	for _, base := range []string{"before.mfs", "live.mfs"} {
		if _, err := os.Stat(filepath.Join(dir, base)); err == nil || base == "before.mfs" {
			checkReplay(t, dir, base, filepath.Join(scratch, base))
		}
	}
}

// goneSession is what a master says that replays the end of a session which its
// metadata file does not have.
var goneSession = regexp.MustCompile(`SESDEL\([0-9]+\)\s*\) error: 35 \(Bad session id\)`)

func checkReplay(t *testing.T, dir, base, scratch string) {
	t.Helper()
	r, err := Replay(scratch, filepath.Join(dir, base), filepath.Join(dir, "changelog.mfs"), false)
	if err != nil && base == "live.mfs" && goneSession.MatchString(err.Error()) {
		// A session that said goodbye is not stored any more, and yet its SESDEL comes
		// later: no master replays what follows such a file.
		t.Logf("replay onto %s: %s", base, goneSession.FindString(err.Error()))
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	want, err := DumpLines(filepath.Join(dir, "after.mfs"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := DumpLines(r.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range Differences(want, got) {
		// A session that said goodbye is not stored any more, but no entry tells.
		if strings.HasPrefix(d[1:], "# ") || strings.HasPrefix(d, "+SESSION|") && strings.Contains(d, "/short") {
			continue
		}
		t.Errorf("replay onto %s: %s\n(the replaying master wrote %q itself)", base, d, r.Extra)
	}
}

// A killed master goes on from its changelog, and the mounts with it.
func TestKilledMasterComesBack(t *testing.T) {
	c := startLive(t, Config{Dir: t.TempDir(), Mounts: 2}, true)
	w, err := Workload{Seed: 5, Ops: 4000, NoData: true}.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := waitFor("the changelog to grow", time.Minute, grows(c.DataDir(), 20_000)); err != nil {
			t.Fatal(err)
		}
		c.KillMaster()
		if err := c.StartMaster(true); err != nil {
			t.Fatal(err)
		}
	}
	report, err := w.Wait(t.Context())
	if err != nil {
		t.Fatalf("%v; done: %v", err, report.Done)
	}
	if err := w.Release(); err != nil {
		t.Error(err)
	}
	if err := c.StopMaster(); err != nil {
		t.Error(err)
	}
}

// grows tells when the changelog files in a directory have grown: a master gives
// them other names at the turn of an hour.
func grows(dir string, by int64) func() bool {
	size := func() (sum int64) {
		files, _ := filepath.Glob(filepath.Join(dir, "changelog.*.mfs"))
		for _, path := range files {
			if info, err := os.Stat(path); err == nil {
				sum += info.Size()
			}
		}
		return sum
	}
	from := size()
	return func() bool { return size() >= from+by }
}

// What a test leaves behind would disturb the next one.
func TestCloseRemovesEverything(t *testing.T) {
	c, err := Start(Config{Dir: t.TempDir(), Mounts: 1, Meta: true, Chunkservers: 1})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(c.Mounts()[0], "open"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c.Master().Running() || c.ChunkserverRunning(0) {
		t.Error("daemons are still running")
	}
	if mounted(c.Mounts()[0]) || mounted(c.MetaMount()) {
		t.Error("something is still mounted")
	}
	if _, err := os.Stat(c.ns.path()); err == nil {
		t.Errorf("network namespace %s is still there", c.ns.name)
	}
}

// The stock metalogger gets every line, as whoever follows a master must.
func TestMetaloggerFollows(t *testing.T) {
	c := startLive(t, Config{Dir: t.TempDir(), Mounts: 1}, true)
	if _, err := c.StartMetalogger(); err != nil {
		t.Fatal(err)
	}
	copied := c.path("metalogger", "changelog_ml.0.mfs")
	// It has nothing to tell before it knows the master.
	probe := filepath.Join(c.Mounts()[0], "probe")
	err := waitFor("the metalogger's first line", startLimit, func() bool {
		if err := errors.Join(os.Mkdir(probe, 0o755), os.Remove(probe)); err != nil {
			t.Error(err)
		}
		_, err := os.Stat(copied)
		return err == nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w, err := Workload{Seed: 2, Ops: 1000, NoData: true}.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Release(); err != nil {
		t.Fatal(err)
	}
	var own, text []byte
	err = waitFor("the metalogger to have the same lines", startLimit, func() bool {
		own, text = read(t, filepath.Join(c.DataDir(), "changelog.0.mfs")), read(t, copied)
		return len(text) > 0 && bytes.HasSuffix(own, text)
	})
	if err != nil {
		t.Fatalf("%v: it ends with %q, the master's with %q", err, text[max(0, len(text)-200):], own[max(0, len(own)-200):])
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Who mounts while the master is away tries again; who is refused does not.
func TestMountTriesAgain(t *testing.T) {
	c := startLive(t, Config{Dir: t.TempDir(), Mounts: 0}, true)
	c.KillMaster()
	started := make(chan error, 1)
	time.AfterFunc(500*time.Millisecond, func() { started <- c.StartMaster(true) })
	m, err := c.Mount("late", MasterIP)
	if err := errors.Join(err, <-started); err != nil {
		t.Fatal(err)
	}
	if err := m.Unmount(); err != nil {
		t.Error(err)
	}
	if _, err := c.Mount("nowhere", MasterIP, "-S", "/no/such/directory"); err == nil || cutOff.MatchString(err.Error()) {
		t.Errorf("mounting what is not there: %v", err)
	}
}
