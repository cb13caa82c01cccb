//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mfsstandby/standby/control"
)

// plan says what happens to a cluster and to those who follow it meanwhile.
type plan struct {
	disturb  bool // chunkservers come and go, exports change, the master's clock jumps
	crash    bool // kill -9 of followers
	restart  bool // clean restarts of the master
	kill     bool // kill -9 of the master, and its own replay
	buffered bool // the master writes its changelog with a delay, and loses more of it
}

// planOf goes through all kinds of run.
func planOf(seed uint64) plan {
	return []plan{
		{disturb: true, crash: true},
		{kill: true, restart: true},
		{kill: true, crash: true, buffered: true},
		{crash: true},
		{disturb: true},
		{restart: true, crash: true},
	}[seed%6]
}

func (p plan) config(dir string) Config {
	cfg := Config{Dir: dir, Chunkservers: 3, Mounts: 2, Meta: true, FakeTime: p.disturb || p.restart || p.kill}
	if p.buffered {
		cfg.Master = map[string]string{"CHANGELOG_SAVE_MODE": "0"}
	}
	return cfg
}

func number(t *testing.T, variable string, value uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return value
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// Whoever follows a master live has what the master stores at its end: over the
// network and from its directory, whatever happens meanwhile. MFSSTANDBY_SEEDS
// and MFSSTANDBY_OPS say how much is tried, MFSSTANDBY_SEED where to begin.
func TestLiveDifferential(t *testing.T) {
	binary := buildStandby(t)
	first := number(t, "MFSSTANDBY_SEED", 0)
	ops := int(number(t, "MFSSTANDBY_OPS", 2500))
	for seed := first; seed < first+number(t, "MFSSTANDBY_SEEDS", 3); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := &liveRun{t: t, seed: seed, plan: planOf(seed), rng: rand.New(rand.NewPCG(seed, 0x11FE))}
			// The replay of a fresh master makes the root anew, at another time.
			fresh := seed%2 == 0 && !r.kill
			r.c = startLive(t, r.config(t.TempDir()), fresh)
			r.net = newFollower(r.c, binary, "net", "run", "--primary", MasterIP, "--cache", "64M")
			r.dir = newFollower(r.c, binary, "dir", "run", "--changelog-dir", r.c.DataDir(), "--cache", "64M")
			if err := errors.Join(r.net.start(), r.dir.start()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if t.Failed() {
					r.keep()
				}
			})
			r.work(ops)
			r.compare()
		})
	}
}

// liveRun is one run of the differential test.
type liveRun struct {
	plan
	t        *testing.T
	seed     uint64
	rng      *rand.Rand
	c        *Cluster
	net, dir *follower
	struck   [4]int // what happened how often: clean stops, kills, network follower, directory follower
}

// keep copies what a failure is understood from to the directory in
// MFSSTANDBY_KEEP, if there is one.
func (r *liveRun) keep() {
	to := os.Getenv("MFSSTANDBY_KEEP")
	if to == "" {
		return
	}
	to = filepath.Join(to, fmt.Sprint(r.seed))
	for _, part := range []string{"master", "log", "net/tap/spool", "dir/tap/spool"} {
		if err := os.CopyFS(filepath.Join(to, part), os.DirFS(r.c.path(part))); err != nil {
			r.t.Log(err)
		}
	}
}

// work runs the workload, and what the plan says beside it.
func (r *liveRun) work(ops int) {
	r.t.Helper()
	load := Workload{Seed: r.seed, Ops: ops, Damaged: r.disturb || r.restart || r.kill, Replayed: r.kill}
	w, err := load.Start(r.c)
	if err != nil {
		r.t.Fatal(err)
	}
	beside, stop := context.WithCancel(r.t.Context())
	events := make(chan error, 1)
	go func() { events <- r.happen(beside) }()
	report, err := w.Wait(r.t.Context())
	stop()
	if err := errors.Join(err, <-events); err != nil {
		r.t.Fatal(err)
	}
	if report.Ops() < ops/4 {
		r.t.Errorf("only %d of %d operations succeeded: %v", report.Ops(), ops, report.Failed)
	}
	r.t.Logf("%+v: %d operations in %v; happened %v", r.plan, report.Ops(), report.Took.Round(time.Second), r.struck)
}

// happen does what the plan says until the context ends.
func (r *liveRun) happen(ctx context.Context) error {
	disturbed := make(chan error, 1)
	go func() {
		if !r.disturb {
			disturbed <- nil
			return
		}
		disturbed <- r.c.disturb(ctx, CaptureConfig{Seed: r.seed, Stale: true})
	}()
	var err error
	for err == nil && pause(ctx, time.Duration(100+r.rng.IntN(1000))*time.Millisecond) {
		err = r.strike()
	}
	return errors.Join(err, <-disturbed)
}

// mostStrikes of a kind, so that the workload gets on.
const mostStrikes = 12

// strike lets one thing happen, out of those planned.
func (r *liveRun) strike() error {
	what := r.rng.IntN(4)
	if r.struck[what] == mostStrikes || ![...]bool{r.restart, r.kill, r.crash, r.crash}[what] {
		return nil
	}
	r.struck[what]++
	switch what {
	case 0:
		return r.master(r.c.StopMaster(), false)
	case 1:
		r.c.KillMaster()
		return r.master(nil, true)
	case 2:
		return revive(r.net)
	}
	return revive(r.dir)
}

// master starts the master again, two minutes later by its clock: a chunk that a
// client was writing is locked that long, and others wait for it.
func (r *liveRun) master(stopped error, replay bool) error {
	if stopped != nil {
		return stopped
	}
	if r.c.cfg.FakeTime {
		if err := r.c.Jump(2 * time.Minute); err != nil {
			return err
		}
	}
	if err := r.c.StartMaster(replay); err != nil {
		return err
	}
	return r.c.waitChunkservers(len(r.c.chunk))
}

// revive kills a follower and starts it again.
func revive(f *follower) error {
	f.p.Kill()
	return f.start()
}

// compare stops the master and compares what it stores with both followers.
func (r *liveRun) compare() {
	r.t.Helper()
	for _, f := range []*follower{r.net, r.dir} {
		if out, err := f.command("verify", "--primary", MasterIP); err != nil {
			r.t.Errorf("%s: comparing with the running master: %v\n%s", f.name, err, out)
		}
	}
	saved := r.stop()
	for _, f := range []*follower{r.net, r.dir} {
		found, err := f.differences(saved)
		if err != nil {
			r.t.Fatal(err)
		}
		if len(found) > 0 {
			r.t.Errorf("%d differences:\n%s", len(found), strings.Join(found[:min(len(found), 40)], "\n"))
		}
	}
	a, err := r.digest(r.net)
	if err != nil {
		r.t.Fatal(err)
	}
	b, err := r.digest(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	if a != b {
		r.t.Errorf("digests differ: %s over the network, %s from the directory", a, b)
	}
	r.quiet()
	for _, f := range []*follower{r.net, r.dir} {
		if err := f.p.Stop(); err != nil {
			r.t.Error(err)
		}
	}
}

// digest waits until everything is committed and returns the digest of it.
func (r *liveRun) digest(f *follower) (digest string, err error) {
	return digest, f.wait("a commit", func(st control.Status) bool {
		digest = st.Standby.Digest
		return st.Standby.Committed == st.Standby.Image
	})
}

// stop ends the master and returns the metadata file that it stored, once both
// followers have its version. A master may lose lines at its end, which no file
// and no connection has got then: it goes on once more, and ends again.
func (r *liveRun) stop() string {
	r.t.Helper()
	saved := filepath.Join(r.c.DataDir(), "metadata.mfs")
	for try := range 5 {
		if err := r.c.StopMaster(); err != nil {
			r.t.Fatal(err)
		}
		version, err := ImageVersion(saved)
		if err != nil {
			r.t.Fatal(err)
		}
		end, err := changelogEnd(r.c.DataDir())
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Logf("the master stored version %d, its changelog ends before %d", version, end)
		reached := errors.Join(r.dir.reaches(version, end), r.net.reaches(version, end))
		if reached == nil {
			return saved
		}
		r.t.Logf("try %d: %v", try, reached)
		if err := r.master(nil, false); err != nil {
			r.t.Fatal(err)
		}
		for _, f := range []*follower{r.net, r.dir} {
			if err := f.waitImage(version); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	r.t.Fatal("the master lost lines at its end each time")
	return ""
}

// reaches waits until the image has all that is in the changelog. It tells when
// the master's version is not reached, as lines were lost.
func (f *follower) reaches(version, end uint64) error {
	if end < version {
		return fmt.Errorf("the changelog ends before version %d", version)
	}
	err := waitFor(fmt.Sprintf("%s at version %d", f.name, version), 20*time.Second, func() bool { return uint64(f.image()) >= version })
	if err == nil && uint64(f.image()) != version {
		return fmt.Errorf("%s is at version %d, past %d", f.name, f.image(), version)
	}
	return err
}

// changelogEnd returns the version after the last line of the current changelog.
func changelogEnd(dir string) (uint64, error) {
	files, err := changelogFiles(dir)
	if err != nil {
		return 0, err
	}
	for i := len(files) - 1; i >= 0; i-- {
		text, err := os.ReadFile(files[i])
		if err != nil {
			return 0, fmt.Errorf("reading a changelog: %w", err)
		}
		if len(text) == 0 {
			continue
		}
		last, _, err := lastLine(text)
		return last + 1, err
	}
	return 0, errors.New("there is no changelog")
}

// quiet fails the test if a follower complained where nothing gave it a reason.
func (r *liveRun) quiet() {
	r.t.Helper()
	for _, f := range []*follower{r.net, r.dir} {
		text, err := os.ReadFile(f.p.Log)
		if err != nil {
			r.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "level=ERROR") {
				r.t.Logf("%s: %s", f.name, line)
				if !r.kill && !r.restart {
					r.t.Errorf("%s complained: %s", f.name, line)
				}
			}
		}
	}
}
