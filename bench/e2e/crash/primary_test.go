//go:build e2e

package crash

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mfsstandby/bench"
	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
	"mfsstandby/standby/metafile"
)

// history is what a primary does: a metadata file and the entries after it.
type history struct {
	base  []byte // metadata file
	first meta.Version
	text  []byte // changelog
	lines []int  // where each begins in text; one more for the end
}

// newHistory makes entries of which before are in the base image already.
func newHistory(t *testing.T, seed uint64, before, entries int) *history {
	t.Helper()
	var fresh, text bytes.Buffer
	must(t, bench.FreshMetadata(&fresh, bench.DefaultBase))
	must(t, bench.Generate(&text, bench.Options{Seed: seed, Entries: before + entries}))
	h := &history{base: fresh.Bytes(), first: meta.Version(bench.DefaultBase.Version), text: text.Bytes(), lines: []int{0}}
	for i, c := range h.text {
		if c == '\n' {
			h.lines = append(h.lines, i+1)
		}
	}
	m := newModel(t, h)
	m.advance(t, h.first+meta.Version(before))
	h.base = m.file(t)
	h.lines, h.first = h.lines[before:], m.version
	return h
}

// end is the version after the last entry.
func (h *history) end() meta.Version { return h.first + meta.Version(len(h.lines)-1) }

// between gives the lines from one version to before another.
func (h *history) between(from, to meta.Version) []byte {
	return h.text[h.lines[from-h.first]:h.lines[to-h.first]]
}

// model is the state at a version, made by the plainest means.
type model struct {
	h       *history
	st      *meta.State
	version meta.Version
	now     meta.Time
	ops     *changelog.Batch
}

func newModel(t *testing.T, h *history) *model {
	t.Helper()
	m := &model{h: h, st: metatest.New(), version: h.first, ops: changelog.NewBatch()}
	_, err := metafile.Read(bytes.NewReader(h.base), m.st, metafile.ReadOptions{Name: "base image"})
	must(t, err)
	return m
}

// advance applies entries up to before a version.
func (m *model) advance(t *testing.T, to meta.Version) {
	t.Helper()
	if to < m.version || to > m.h.end() {
		t.Fatalf("version %d is not between %d and %d", to, m.version, m.h.end())
	}
	for ; m.version < to; m.version++ {
		line := bytes.TrimSuffix(m.h.between(m.version, m.version+1), []byte("\n"))
		_, text, _ := bytes.Cut(line, []byte(": "))
		m.ops.Reset()
		now, op, err := m.ops.Parse(text)
		must(t, err)
		must(t, changelog.ApplyEntry(m.st, changelog.Entry{Version: m.version, Time: now, Op: op}))
		m.now = now
	}
}

// file gives the metadata file of the state.
func (m *model) file(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.mfs")
	must(t, metafile.File(path, "", m.st, metafile.Header{Version: m.version}, metafile.WriteOptions{Now: m.now}))
	content, err := os.ReadFile(path)
	must(t, err)
	return content
}

// primary writes a history into a directory as a master does, at a rate with
// bursts, often half a line at a time.
type primary struct {
	h      *history
	dir    string
	rotate meta.Version // entries in a file
	stop   chan struct{}
	ended  sync.WaitGroup

	mu   sync.Mutex
	next int // in h.text
	from meta.Version
	log  *os.File
	err  error
}

// startPrimary begins to write, rate entries/s, until all is written or the
// test ends.
func startPrimary(t *testing.T, h *history, rate int, rnd *rand.Rand) *primary {
	t.Helper()
	p := &primary{h: h, dir: t.TempDir(), rotate: meta.Version(rate*2 + 1), stop: make(chan struct{}), next: h.lines[0], from: h.first}
	must(t, os.WriteFile(filepath.Join(p.dir, "metadata.mfs.back"), h.base, 0o644))
	seed := rnd.Uint64()
	p.ended.Go(func() { p.run(rate, rand.New(rand.NewPCG(seed, 1))) })
	t.Cleanup(p.close)
	return p
}

func (p *primary) close() {
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	p.ended.Wait()
}

func (p *primary) run(rate int, rnd *rand.Rand) {
	const tick = 5 * time.Millisecond
	perTick := len(p.h.text) / len(p.h.lines) * rate / int(time.Second/tick)
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for !p.done() {
		n := rnd.IntN(2*perTick + 1)
		if rnd.IntN(200) == 0 {
			n *= 50
		}
		p.write(n)
		select {
		case <-p.stop:
			return
		case <-ticks.C:
		}
	}
}

// done tells whether all is written.
func (p *primary) done() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil || p.next == len(p.h.text)
}

// write writes n bytes, and rotates where a file is full.
func (p *primary) write(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n > 0 && p.err == nil && p.next < len(p.h.text) {
		end := p.h.lines[min(p.from+p.rotate, p.h.end())-p.h.first]
		to := min(p.next+n, end)
		if p.log == nil {
			p.log, p.err = os.OpenFile(p.path(0), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		}
		if p.err == nil {
			_, p.err = p.log.Write(p.h.text[p.next:to])
		}
		n -= to - p.next
		p.next = to
		if to == end && p.err == nil {
			p.err = p.turn()
		}
	}
}

func (p *primary) path(i int) string { return filepath.Join(p.dir, fmt.Sprintf("changelog.%d.mfs", i)) }

// turn renames the files.
func (p *primary) turn() error {
	p.from = min(p.from+p.rotate, p.h.end())
	if err := p.log.Close(); err != nil {
		return err
	}
	p.log = nil
	last := 0
	for ; ; last++ {
		if _, err := os.Stat(p.path(last)); err != nil {
			break
		}
	}
	for i := last - 1; i >= 0; i-- {
		if err := os.Rename(p.path(i), p.path(i+1)); err != nil {
			return err
		}
	}
	return nil
}

// forget removes the entries before a version from the directory: nobody can
// get them from here any more.
func (p *primary) forget(v meta.Version) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.h.lines[v-p.h.first]
	if at > p.next {
		return fmt.Errorf("version %d is not written yet", v)
	}
	if p.log != nil {
		if err := p.log.Close(); err != nil {
			return err
		}
		p.log = nil
	}
	files, err := filepath.Glob(filepath.Join(p.dir, "changelog.*.mfs"))
	if err != nil {
		return err
	}
	for _, path := range files {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	for p.from = v; p.from+p.rotate < p.h.end() && p.h.lines[p.from+p.rotate-p.h.first] < p.next; {
		p.from += p.rotate
	}
	return os.WriteFile(p.path(0), p.h.text[at:p.next], 0o644)
}

// finish writes the rest.
func (p *primary) finish(t *testing.T) {
	t.Helper()
	p.close()
	p.write(len(p.h.text))
	must(t, p.err)
}
