package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/stream"
)

const (
	metaid  = 0x65A1B2C3D4E5F607
	waiting = 30 * time.Second // for what takes no time on an idle machine
)

func textOf(v meta.Version) string {
	return fmt.Sprintf("%d|CREATE(1,f%d,1,420,0,0,0,0):%d", 1700000000+v, v, v)
}

func entry(v meta.Version) meta.RawEntry { return meta.RawEntry{Version: v, Text: []byte(textOf(v))} }

func lines(from, to meta.Version) string {
	s := ""
	for v := from; v < to; v++ {
		s += fmt.Sprintf("%d: %s\n", v, textOf(v))
	}
	return s
}

func at(v meta.Version) stream.Position {
	return stream.Position{Version: v, Epoch: 1, Chain: stream.Chain{Hi: uint64(v), Lo: 1}}
}

// memory is a stream of the entries [first, next).
type memory struct {
	mu          sync.Mutex
	first, next meta.Version
	rebased     meta.Version // readers that come from before it are told so; 0: none
	moved       chan struct{}
	syncs       int
}

func newMemory(first, next meta.Version) *memory {
	return &memory{first: first, next: next, moved: make(chan struct{})}
}

func (m *memory) grow(n meta.Version) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next += n
	close(m.moved)
	m.moved = make(chan struct{})
}

func (m *memory) MetaID() uint64 { return metaid }

func (m *memory) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.syncs++
	return nil
}

func (m *memory) End(context.Context) (stream.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return at(m.next), nil
}

func (m *memory) Read(from stream.Position) reader { return &memoryReader{m, from.Version} }

type memoryReader struct {
	m    *memory
	next meta.Version
}

func (r *memoryReader) Close() {}

func (r *memoryReader) Next(ctx context.Context) (*stream.Batch, error) {
	for {
		r.m.mu.Lock()
		first, next, rebased, moved := r.m.first, r.m.next, r.m.rebased, r.m.moved
		r.m.mu.Unlock()
		switch {
		case r.next < first:
			return nil, &stream.GapError{Want: r.next, Have: first}
		case r.next < rebased:
			return nil, &stream.RebaseError{At: r.next, Base: rebased}
		case r.next < next:
			b := &stream.Batch{}
			for ; r.next < next && len(b.Entries) < 100; r.next++ {
				b.Entries = append(b.Entries, entry(r.next))
			}
			b.End = at(r.next)
			return b, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-moved:
		}
	}
}

// metadataFile has the frame of a metadata file and nothing in it.
func metadataFile(v meta.Version, size int) []byte {
	b := binary.BigEndian.AppendUint64([]byte("MFSM 2.0"), uint64(v))
	b = binary.BigEndian.AppendUint64(b, metaid)
	b = append(b, "SESS 1.5"...)
	b = binary.BigEndian.AppendUint64(b, uint64(size))
	b = append(b, make([]byte, size)...)
	return append(b, "[MFS EOF MARKER]"...)
}

// world is files and their server over a stream in memory.
type world struct {
	*work
	t      *testing.T
	stream *memory
	addr   string
	stop   func()
}

// newWorld begins at version begin of a stream, with a metadata file of that version.
func newWorld(t *testing.T, m *memory, begin meta.Version) *world {
	t.Helper()
	return openWorld(t, t.TempDir(), m, begin)
}

func openWorld(t *testing.T, dir string, m *memory, begin meta.Version) *world {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, waits := l.Addr().String(), l
	listen := func() (net.Listener, error) {
		if waits == nil {
			return net.Listen("tcp", addr)
		}
		first := waits
		waits = nil
		return first, nil
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	u, err := New(Config{Dir: dir, BackLogs: 5, SaveEvery: 1, KeepPrevious: 2, Options: map[string]string{"BACK_LOGS": "5"},
		Listen: listen, Port: port, Events: events.New(events.Keep),
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	j, err := openJournal(dir, metaid, 5)
	if errors.Is(err, errNoFiles) {
		if err = j.begin(metaid, at(begin)); err == nil {
			put(t, j, begin, 100)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	w := &world{work: &work{Upstream: u, src: m, j: j, saved: make(chan struct{}), turned: make(chan struct{})}, t: t, stream: m, addr: addr}
	w.durable.sync = m.Sync
	close(w.saved)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{w.follow, w.serve} {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("%v", err)
			}
		})
	}
	w.stop = func() {
		cancel()
		wg.Wait()
		l.Close()
	}
	t.Cleanup(w.stop)
	return w
}

// put saves a metadata file of a version.
func put(t *testing.T, j *journal, v meta.Version, size int) {
	t.Helper()
	if err := os.WriteFile(j.path(metadataTemp), metadataFile(v, size), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := j.install(2); err != nil {
		t.Fatal(err)
	}
}

// written waits until the files have all before a version.
func (w *world) written(v meta.Version) {
	w.t.Helper()
	until(w.t, fmt.Sprintf("version %d in the files", v), func() bool { return w.j.position().Version == v })
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(waiting); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waiting in vain for %s", what)
		}
	}
}

// content reads a file of a directory, "" if there is none.
func contentOf(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(b)
}

// allLines are those of all changelog files, the oldest first.
func allLines(t *testing.T, dir string) string {
	t.Helper()
	s := ""
	for n := 20; n >= 0; n-- {
		s += contentOf(t, dir, changelogName(n))
	}
	return s
}
