//go:build e2e

package replaytest

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
	"mfsstandby/changelog/oprand"
	"mfsstandby/standby/metafile"
	"mfsstandby/standby/stock"
)

var (
	seeds = flag.Int("seeds", 10, "number of random changelogs to replay with a real mfsmaster")
	first = flag.Uint64("seed", 1, "first of them")
	steps = flag.Int("steps", 2000, "operations tried for each")
)

// A real mfsmaster replays random changelogs to the same state as we do.
func TestMasterReplaysAlike(t *testing.T) {
	for seed := *first; seed < *first+uint64(*seeds); seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { replayRandom(t, seed) })
	}
}

func replayRandom(t *testing.T, seed uint64) {
	end := meta.Time(time.Now().Unix())
	st := oprand.Fresh(end - 100*24*3600)
	m := newMaster(t)
	m.store(t, st)

	g := oprand.New(rand.NewPCG(seed, 0), end-100*24*3600)
	g.Strict = true
	var text bytes.Buffer
	version := meta.Version(1)
	for range *steps {
		op, err := g.Step(&st)
		if err != nil || g.Now >= end {
			continue
		}
		line := changelog.Entry{Version: version, Time: g.Now, Op: forReplay(op)}.Append(nil)
		text.Write(append(line, '\n'))
		version++
	}
	if err := os.WriteFile(filepath.Join(m.data, "changelog.0.mfs"), text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	m.run(t)
	want, h := load(t, filepath.Join(m.data, "metadata.mfs"))
	now := m.applyRest(t, st, version, h.Version)
	compare(t, dump(want, now), dump(st, now))
}

// forReplay changes an operation so that mfsmaster's replay takes it as we do:
// it drops the first digit of each group of a snapshot.
func forReplay(op changelog.Op) changelog.Op {
	s, ok := op.(*changelog.Snapshot)
	if !ok {
		return op
	}
	c := *s
	c.GIDs = slices.Clone(s.GIDs)
	for i, gid := range c.GIDs {
		padded, err := strconv.ParseUint("1"+strconv.FormatUint(uint64(gid), 10), 10, 32)
		if err != nil {
			panic(err) // the generator draws none such
		}
		c.GIDs[i] = uint32(padded)
	}
	return &c
}

// master is a real mfsmaster with a directory of its own.
type master struct{ data, config string }

func newMaster(t *testing.T) *master {
	t.Helper()
	dir := t.TempDir()
	m := &master{data: filepath.Join(dir, "data"), config: filepath.Join(dir, "mfsmaster.cfg")}
	text := &strings.Builder{}
	fmt.Fprintf(text, "DATA_PATH = %s\nWORKING_USER = root\nWORKING_GROUP = root\nCHANGELOG_SAVE_MODE = 2\n", m.data)
	for name, content := range map[string]string{"EXPORTS": "* / rw\n", "TOPOLOGY": ""} {
		path := filepath.Join(dir, name)
		fmt.Fprintf(text, "%s_FILENAME = %s\n", name, path)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	listen, _, err := stock.FreeListeners()
	if err != nil {
		t.Fatal(err)
	}
	text.WriteString(listen)
	if err := os.WriteFile(m.config, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(m.data, 0o700); err != nil {
		t.Fatal(err)
	}
	return m
}

// store writes the metadata that the master starts from, at version 1.
func (m *master) store(t *testing.T, st *meta.State) {
	t.Helper()
	st.MetaID, st.Release = 1, meta.Reproduced // the release of who goes on with it
	path := filepath.Join(m.data, "metadata.mfs")
	if err := metafile.File(path, "", st, metafile.Header{Version: 1, MetaID: 1}, metafile.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// run lets the master replay, and stops it as soon as it is ready.
func (m *master) run(t *testing.T) {
	t.Helper()
	cmd := exec.Command("mfsmaster", "-f", "-a", "-c", m.config, "start")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = cmd.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		log = append(log, lines.Text())
		if strings.Contains(lines.Text(), "initialized properly") {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("mfsmaster: %v\n%s", err, strings.Join(log, "\n"))
	}
}

// applyRest applies the entries that the master wrote itself before it
// stopped, and returns the time of its end.
func (m *master) applyRest(t *testing.T, st *meta.State, from, to meta.Version) meta.Time {
	t.Helper()
	var entries []changelog.Entry
	files, _ := filepath.Glob(filepath.Join(m.data, "changelog.*.mfs"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			e, err := changelog.NewBatch().ParseLine(line)
			if err != nil {
				t.Fatal(err)
			}
			if e.Version >= from {
				entries = append(entries, e)
			}
		}
	}
	slices.SortFunc(entries, func(a, b changelog.Entry) int { return int(a.Version) - int(b.Version) })
	for _, e := range entries {
		if e.Version != from {
			t.Fatalf("entry %d follows %d", e.Version, from)
		}
		if err := changelog.ApplyEntry(st, e); err != nil {
			t.Fatal(err)
		}
		from++
	}
	if from != to {
		t.Fatalf("entries end at version %d, the master stored %d", from, to)
	}
	if problems := metatest.Check(st); len(problems) > 0 {
		t.Errorf("state is inconsistent:\n%s", strings.Join(problems, "\n"))
	}
	return meta.Time(time.Now().Unix())
}
