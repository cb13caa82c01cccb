package standby_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
	"mfsstandby/replicator"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby"
	"mfsstandby/standby/image"
	"mfsstandby/standby/metafile"
)

const fixture = "metafile/testdata/3.0.117-a/before.mfs"

// history is what the fixture's master wrote: lines[i] is entry first+i.
type history struct {
	first meta.Version
	lines []string
}

func load(t testing.TB) history {
	t.Helper()
	f, err := os.Open("../changelog/testdata/3.0.117-a.changelog.mfs.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	h := history{lines: strings.SplitAfter(strings.TrimSuffix(string(all), "\n"), "\n")}
	fmt.Sscan(h.lines[0], &h.first)
	return h
}

// at is the metadata file at a version, made in plain maps.
func (h history) at(t testing.TB, v meta.Version) []byte {
	t.Helper()
	base, err := os.ReadFile(fixture)
	if err != nil {
		t.Fatal(err)
	}
	return h.since(t, base, v)
}

// since is the metadata file at a version, made from an earlier one. Reading a
// file turns some lists round, as it does in mfsmaster, so it makes a
// difference from which one.
func (h history) since(t testing.TB, base []byte, v meta.Version) []byte {
	t.Helper()
	st := metatest.New()
	head, err := metafile.Read(bytes.NewReader(base), st, metafile.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := changelog.NewBatch()
	for _, line := range h.lines[head.Version-h.first : v-h.first] {
		b.Reset()
		e, err := b.ParseLine([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		if err := changelog.ApplyEntry(st, e); err != nil {
			t.Fatal(err)
		}
	}
	var buf bytes.Buffer
	if err := metafile.Write(&buf, st, metafile.Header{Version: v}, metafile.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// primary is a directory as a master's data directory.
type primary struct {
	t   testing.TB
	dir string
	h   history
}

func newPrimary(t testing.TB, h history) *primary {
	p := &primary{t, t.TempDir(), h}
	b, err := os.ReadFile(fixture)
	if err != nil {
		t.Fatal(err)
	}
	p.put("metadata.mfs.back", b)
	return p
}

func (p *primary) put(name string, b []byte) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), b, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// write appends the entries [from, to) to changelog.0.mfs.
func (p *primary) write(from, to meta.Version) {
	p.t.Helper()
	f, err := os.OpenFile(filepath.Join(p.dir, "changelog.0.mfs"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.WriteString(strings.Join(p.h.lines[from-p.h.first:to-p.h.first], ""))
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// node is one process: embedded NATS, tap and standby over one directory.
type node struct {
	t      testing.TB
	conn   *stream.Conn
	rep    *replicator.Replicator
	stand  *standby.Standby
	wg     sync.WaitGroup
	repErr error
	close  func()
}

func startNode(t testing.TB, dir string, p *primary) *node {
	t.Helper()
	return startNodeWith(t, dir, p, func(*standby.Config) {})
}

func startNodeWith(t testing.TB, dir string, p *primary, adjust func(*standby.Config)) *node {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	srv, err := stream.StartServer(stream.ServerConfig{StoreDir: filepath.Join(dir, "nats"), SyncAlways: true, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t}
	if n.conn, err = stream.Connect(stream.Config{Server: srv, Log: log}); err != nil {
		t.Fatal(err)
	}
	n.rep, err = replicator.New(replicator.Config{ChangelogDir: p.dir, Dir: filepath.Join(dir, "tap"), Logger: log}, n.conn)
	if err != nil {
		t.Fatal(err)
	}
	cfg := standby.Config{Dir: dir, Cache: image.MinCache, Logger: log}
	adjust(&cfg)
	if n.stand, err = standby.New(cfg, n.conn); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n.wg.Go(func() { n.repErr = n.rep.Run(ctx) })
	n.wg.Go(func() { n.stand.Run(ctx) })
	stopped := false
	n.close = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		n.wg.Wait()
		if err := n.stand.Close(); err != nil {
			t.Error(err)
		}
		n.conn.Close()
		srv.Close()
	}
	t.Cleanup(n.close)
	return n
}

// wait waits until the image is at a version.
func (n *node) wait(v meta.Version) {
	n.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for n.stand.Status().Image != v {
		if s := n.stand.Status(); time.Now().After(deadline) || s.State == standby.Stopped {
			n.t.Fatalf("image is at %d, want %d; standby %+v; tap %+v", s.Image, v, s, n.rep.Status())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (n *node) equals(want []byte) {
	n.t.Helper()
	v, err := n.stand.View()
	if err != nil {
		n.t.Fatal(err)
	}
	defer v.Close()
	var buf bytes.Buffer
	if err := metafile.Write(&buf, v.State(), metafile.Header{Version: v.Position().Version}, metafile.WriteOptions{}); err != nil {
		n.t.Fatal(err)
	}
	if !bytes.Equal(buf.Bytes(), want) {
		n.t.Fatalf("the image at version %d differs from what it should be", v.Position().Version)
	}
}

func hasEvent(events []events.Event, text string) bool {
	for _, e := range events {
		if strings.Contains(e.Text, text) {
			return true
		}
	}
	return false
}

// The image follows a directory through restarts, also without the spool.
func TestFollowThroughRestarts(t *testing.T) {
	h := load(t)
	p, dir := newPrimary(t, h), t.TempDir()
	at := h.first
	for i, lose := range []string{"", "tap", "", "image", ""} {
		if lose != "" {
			if err := os.RemoveAll(filepath.Join(dir, lose)); err != nil {
				t.Fatal(err)
			}
		}
		n := startNode(t, dir, p)
		for range 3 {
			to := at + 2000
			p.write(at, to)
			at = to
			n.wait(at)
		}
		if i == 4 {
			n.equals(h.at(t, at))
		}
		if n.rep.Status().Received != at {
			t.Errorf("status %+v, want version %d", n.rep.Status(), at)
		}
		n.close()
		if n.repErr != nil {
			t.Fatal(n.repErr)
		}
	}
}

// Entries that are gone are not skipped: the standby moves to a new base.
func TestGapLeadsToNewBase(t *testing.T) {
	h := load(t)
	p, dir := newPrimary(t, h), t.TempDir()
	n := startNode(t, dir, p)
	p.write(h.first, h.first+5000)
	n.wait(h.first + 5000)
	n.close()

	if err := os.Remove(filepath.Join(p.dir, "changelog.0.mfs")); err != nil {
		t.Fatal(err)
	}
	p.write(h.first+9000, h.first+10000)
	n = startNode(t, dir, p)
	for !hasEvent(n.rep.Status().Events, "waiting for a metadata file") {
		time.Sleep(5 * time.Millisecond)
	}
	if got := n.stand.Status().Image; got != h.first+5000 {
		t.Fatalf("image is at %d before there is a base image", got)
	}
	p.put("metadata.mfs.back", h.at(t, h.first+8999))
	p.write(h.first+10000, h.first+12000) // the file of 8999 still misses an entry
	n.close()
	base := h.at(t, h.first+9500)
	p.put("metadata.mfs.back", base)
	n = startNode(t, dir, p)
	n.wait(h.first + 12000)
	n.equals(h.since(t, base, h.first+12000))
	if s := n.rep.Status(); !hasEvent(s.Events, "new base image is needed") {
		t.Fatalf("no event tells of the gap: %+v", s)
	}
}

// A primary that was restored from an older state has another history under
// the same numbers.
func TestOtherHistoryLeadsToNewBase(t *testing.T) {
	h := load(t)
	p, dir := newPrimary(t, h), t.TempDir()
	n := startNode(t, dir, p)
	p.write(h.first, h.first+5000)
	n.wait(h.first + 5000)
	n.close()

	other := history{first: h.first, lines: append([]string(nil), h.lines[:4000]...)}
	for v := h.first + 4000; v < h.first+6000; v++ {
		other.lines = append(other.lines, fmt.Sprintf("%d: 1700000000|ACCESS(1)\n", v))
	}
	q := newPrimary(t, other)
	q.write(h.first, h.first+6000)
	base := h.at(t, h.first+3000)
	q.put("metadata.mfs.back", base)
	n = startNode(t, dir, q)
	n.wait(h.first + 6000)
	n.equals(other.since(t, base, h.first+6000))
}

// A second tap takes over; the first one finds out and stops.
func TestSecondTapFencesTheFirst(t *testing.T) {
	h := load(t)
	p, dir := newPrimary(t, h), t.TempDir()
	n := startNode(t, dir, p)
	p.write(h.first, h.first+1000)
	n.wait(h.first + 1000)
	second, err := replicator.New(replicator.Config{ChangelogDir: p.dir, Dir: t.TempDir(), Who: "second"}, n.conn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- second.Run(ctx) }()
	for second.Status().Received < h.first+1000 {
		time.Sleep(5 * time.Millisecond)
	}
	p.write(h.first+1000, h.first+2000)
	n.wait(h.first + 2000)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	n.equals(h.at(t, h.first+2000))
	n.close()
	if !errors.Is(n.repErr, stream.ErrFenced) {
		t.Fatalf("the first tap ended with %v", n.repErr)
	}
}

// A new file system is followed from its first entry, which tells its id and
// the times of its root.
func TestNewFileSystem(t *testing.T) {
	h := history{first: 1, lines: []string{
		"1: 1700000007|SETMETAID(7711416702650113554)\n",
		"2: 1700000009|SESADD(#1,1,8,0000,0,0,999,999,1,9,0,4294967295,0x00000000,172818457,/mnt):1\n",
		"3: 1700000010|CREATE(1,dir,2,493,18,0,0,0):2\n",
		"4: 1700000011|CREATE(2,file,1,420,18,0,0,0):3\n",
	}}
	p, dir := newPrimary(t, h), t.TempDir()
	p.put("metadata.mfs.back", []byte("MFSM NEW"))
	p.write(1, 2)
	n := startNode(t, dir, p)
	n.wait(2)
	p.write(2, 4)
	n.wait(4)
	n.close()
	p.write(4, 5)
	n = startNode(t, dir, p)
	n.wait(5)
	want := metatest.New()
	if _, err := metafile.Empty(want, 1700000007, meta.Reproduced); err != nil {
		t.Fatal(err)
	}
	b := changelog.NewBatch()
	for _, line := range h.lines {
		e, err := b.ParseLine([]byte(line))
		if err == nil {
			err = changelog.ApplyEntry(want, e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var buf bytes.Buffer
	if err := metafile.Write(&buf, want, metafile.Header{Version: 5}, metafile.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	n.equals(buf.Bytes())
}

// What the tap has received and the stream does not have yet is lag too.
func TestLagCountsTheSpool(t *testing.T) {
	h := load(t)
	p := newPrimary(t, h)
	received := h.first + 150
	n := startNodeWith(t, t.TempDir(), p, func(c *standby.Config) { c.Received = func() meta.Version { return received } })
	p.write(h.first, h.first+100)
	n.wait(h.first + 100)
	if s := n.stand.Status(); s.Received != received || s.LagEntries != 50 {
		t.Fatalf("received %d, lag %d; want %d, 50", s.Received, s.LagEntries, received)
	}
}
