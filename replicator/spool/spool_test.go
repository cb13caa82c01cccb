package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/fence"
	"mfsstandby/replicator/tap"
)

var start = Start{MetaID: 7, Epoch: 3, Next: 100, Chain: fence.Chain{Hi: 1, Lo: 2}}

func text(v meta.Version) string {
	return fmt.Sprintf("17954%05d|CREATE(1,f%d,1,438,18,0,0,0):%d", v%100000, v, v+1)
}

// batch has entries from..to.
func batch(from, to meta.Version) tap.Batch {
	b := tap.Batch{Received: time.Unix(1795400000, int64(from))}
	for v := from; v <= to; v++ {
		b.Entries = append(b.Entries, tap.Entry{Version: v, Text: []byte(text(v))})
	}
	return b
}

// chainTo is the chain before entry v.
func chainTo(v meta.Version) fence.Chain {
	c := start.Chain
	for at := start.Next; at < v; at++ {
		c = c.Next(at, []byte(text(at)))
	}
	return c
}

func open(t testing.TB, cfg Config) *Spool {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// begun is a spool with a history that begins at start.
func begun(t testing.TB, cfg Config) *Spool {
	t.Helper()
	s := open(t, cfg)
	must(t, s.Reset(start))
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantText(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("got error %v, want %q", err, want)
	}
}

// readAll returns the entries from version from on that a spool has, after
// checking that they are the ones that tests append.
func readAll(s *Spool, from meta.Version) (end meta.Version, err error) {
	p, err := s.Position()
	if err != nil {
		return from, err
	}
	r, err := s.Read(from)
	if err != nil {
		return from, err
	}
	for from < p.End {
		b, err := r.Next(context.Background())
		if err != nil {
			return from, err
		}
		for _, e := range b.Entries {
			if e.Version != from || string(e.Text) != text(from) {
				return from, fmt.Errorf("got entry %d %q, want %d %q", e.Version, e.Text, from, text(from))
			}
			from++
		}
	}
	return from, nil
}

func wantEntries(t testing.TB, s *Spool, from, end meta.Version) {
	t.Helper()
	if got, err := readAll(s, from); err != nil || got != end {
		t.Fatalf("read entries %d to %d, %v, want to %d", from, got-1, err, end-1)
	}
}

func TestSpool(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "spool"), Max: 4 << 20, Segment: 8192}
	s := open(t, cfg)
	if _, err := s.Position(); err != ErrEmpty {
		t.Fatalf("new spool: %v, want ErrEmpty", err)
	}
	if err := s.Append(batch(100, 100)); err != ErrEmpty {
		t.Fatalf("append to a new spool: %v, want ErrEmpty", err)
	}
	must(t, s.Reset(start))
	wantEntries(t, s, 100, 100)
	for v := meta.Version(100); v < 1000; v += 10 {
		must(t, s.Append(batch(v, v+9)))
	}
	wantEntries(t, s, 100, 1000)
	wantEntries(t, s, 555, 1000)
	wantEntries(t, s, 1000, 1000)
	p, err := s.Position()
	if err != nil || p.First != start || p.End != 1000 || p.Durable != 1000 || string(p.Last) != text(999) || p.Chain != chainTo(1000) {
		t.Fatalf("position is %+v, %v", p, err)
	}
	if len(s.segs) < 5 {
		t.Fatalf("%d segments, want more", len(s.segs))
	}
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "another process has the spool open") {
		t.Fatalf("second open: %v", err)
	}
	must(t, s.Close())

	s = open(t, cfg)
	again, err := s.Position()
	if err != nil || fmt.Sprint(again) != fmt.Sprint(p) {
		t.Fatalf("after opening again the position is %+v, %v, want %+v", again, err, p)
	}
	wantEntries(t, s, 100, 1000)
	must(t, s.Append(batch(1000, 1000)))

	must(t, s.Trim(700))
	p, _ = s.Position()
	if p.First.Next <= 600 || p.First.Next > 700 || p.First.Chain != chainTo(p.First.Next) {
		t.Fatalf("trimmed to 700 it begins at %+v", p.First)
	}
	wantEntries(t, s, 700, 1001)
	var gap *tap.GapError
	if _, err := s.Read(100); !errors.As(err, &gap) || gap.Have != p.First.Next {
		t.Fatalf("reading what was trimmed: %v", err)
	}
	must(t, s.Trim(5000))
	if p, _ = s.Position(); string(p.Last) != text(1000) {
		t.Fatalf("trimmed of all, the last entry is %q", p.Last)
	}
	names, err := os.ReadDir(cfg.Dir)
	if err != nil || len(names) != 2 { // and the lock
		t.Fatalf("files left: %v, %v", names, err)
	}
	must(t, s.Close())
	s = open(t, cfg)
	if p, _ = s.Position(); string(p.Last) != text(1000) || p.End != 1001 {
		t.Fatalf("opened again the position is %+v", p)
	}
}

func TestSpoolRefuses(t *testing.T) {
	s := begun(t, Config{FS: newMemFS()})
	wantText(t, s.Append(batch(101, 102)), "spool is at version 100, the batch begins with entry 101")
	wantText(t, s.Append(batch(99, 102)), "spool is at version 100, the batch begins with entry 99")
	b := batch(100, 105)
	b.Entries[3].Version = 200
	wantText(t, s.Append(b), "batch has entry 200 out of order")
	must(t, s.Append(tap.Batch{}))
	must(t, s.Append(batch(100, 105)))
	if _, err := s.Read(107); err == nil {
		t.Fatal("an entry was read that is not there")
	}
	wantText(t, s.Reset(Start{}), "cannot begin with entry 0")
	for want, cfg := range map[string]Config{
		"smaller than 4 MiB": {Dir: "x", Max: 1}, "do not fit": {Dir: "x", Segment: 1},
		"sync mode 9": {Dir: "x", Mode: 9}, "directory of the spool": {},
	} {
		_, err := Open(cfg)
		wantText(t, err, want)
	}
}

func TestSpoolIsBounded(t *testing.T) {
	s := begun(t, Config{FS: newMemFS(), Max: 4 << 20, Mode: SyncInterval})
	v := meta.Version(100)
	for {
		err := s.Append(batch(v, v+999))
		if err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
		v += 1000
	}
	p, _ := s.Position()
	if p.Bytes > 4<<20 || p.Bytes < 3<<20 || p.End != v {
		t.Fatalf("full spool is %+v", p)
	}
	must(t, s.Sync())
	wantEntries(t, s, 100, v)
	waited := make(chan error)
	go func() { waited <- s.WaitRoom(t.Context(), 1<<20) }()
	must(t, s.Trim(p.End))
	must(t, <-waited)
	must(t, s.Append(batch(v, v+999)))
	wantEntries(t, s, v, v+1000)
}

// Batches of all sizes come out as they went in, whatever the blocks are.
func TestSpoolSizes(t *testing.T) {
	s := begun(t, Config{FS: newMemFS(), Max: 64 << 20, Segment: 2 << 20, Mode: SyncInterval})
	rnd := rand.New(rand.NewPCG(1, 1))
	var texts []string
	v := start.Next
	for range 60 {
		b := tap.Batch{Received: time.Unix(5, 0)}
		for range 1 + rnd.IntN(20) {
			n := rnd.IntN(100)
			if rnd.IntN(8) == 0 {
				n = rnd.IntN(200_000)
			}
			texts = append(texts, strings.Repeat("x", n))
			b.Entries = append(b.Entries, tap.Entry{Version: v, Text: []byte(texts[len(texts)-1])})
			v++
		}
		must(t, s.Append(b))
	}
	r, err := s.Read(start.Next)
	must(t, err)
	for at := start.Next; at < v; {
		b, err := r.Next(t.Context())
		must(t, err)
		size := 0
		for _, e := range b.Entries {
			if e.Version != at || string(e.Text) != texts[at-start.Next] {
				t.Fatalf("entry %d differs", at)
			}
			size += len(e.Text)
			at++
		}
		if len(b.Entries) > 1 && size > tap.MaxBatchBytes || !b.Received.Equal(time.Unix(5, 0)) {
			t.Fatalf("batch of %d bytes, received %v", size, b.Received)
		}
	}
}

func TestReaderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begun(t, Config{FS: newMemFS(), Segment: 4096})
		got := make(chan meta.Version, 10000)
		done := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		r, err := s.Read(100)
		must(t, err)
		go func() {
			for {
				b, err := r.Next(ctx)
				if err != nil {
					done <- err
					return
				}
				for _, e := range b.Entries {
					got <- e.Version
				}
			}
		}()
		for v := meta.Version(100); v < 600; v++ {
			synctest.Wait()
			must(t, s.Append(batch(v, v)))
			if at := <-got; at != v {
				t.Fatalf("got entry %d, want %d", at, v)
			}
			must(t, s.Trim(v))
		}
		must(t, s.Reset(start))
		if err := <-done; err != ErrReset {
			t.Fatalf("reader ended with %v, want ErrReset", err)
		}
		r, err = s.Read(100)
		must(t, err)
		go func() {
			_, err := r.Next(ctx)
			done <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-done; err != context.Canceled {
			t.Fatalf("got %v, want the context's", err)
		}
		must(t, s.Append(batch(100, 100)))
		if b, err := r.Next(t.Context()); err != nil || len(b.Entries) != 1 {
			t.Fatalf("after a cancelled Next: %v, %v", b, err)
		}
		go func() {
			_, err := r.Next(t.Context())
			done <- err
		}()
		synctest.Wait()
		s.Close()
		if err := <-done; !errors.Is(err, os.ErrClosed) {
			t.Fatalf("got %v, want that the spool is closed", err)
		}
	})
}

// Writer, reader and trimmer at once.
func TestConcurrent(t *testing.T) {
	s := begun(t, Config{Dir: t.TempDir(), Max: 4 << 20, Segment: 64 << 10, Mode: SyncInterval})
	const end = 200_000
	done := make(chan error, 2)
	go func() {
		v := meta.Version(100)
		for v < end {
			n := min(meta.Version(1+v%400), end-v)
			err := s.Append(batch(v, v+n-1))
			if errors.Is(err, ErrFull) {
				if err := s.WaitRoom(t.Context(), 1<<20); err != nil {
					done <- err
					return
				}
				continue
			} else if err != nil {
				done <- err
				return
			}
			v += n
		}
		done <- nil
	}()
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
				if err := s.Sync(); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	r, err := s.Read(100)
	must(t, err)
	for v := meta.Version(100); v < end; {
		b, err := r.Next(t.Context())
		must(t, err)
		for _, e := range b.Entries {
			if e.Version != v || string(e.Text) != text(v) {
				t.Fatalf("got %d %q, want %d", e.Version, e.Text, v)
			}
			v++
		}
		must(t, s.Trim(v))
	}
	close(stop)
	must(t, <-done)
	must(t, <-done)
}

// Every single flipped byte is an error, or cuts off the end of the newest
// segment; nothing wrong is ever read.
func TestFlippedBytes(t *testing.T) {
	fs := newMemFS()
	s := begun(t, Config{FS: fs, Max: 4 << 20, Segment: 4096})
	for v := meta.Version(100); v < 200; v += 10 {
		must(t, s.Append(batch(v, v+9)))
	}
	must(t, s.Close())
	names, _ := fs.List()
	slices.Sort(names)
	if len(names) < 2 {
		t.Fatal("one segment only")
	}
	whole := map[string][]byte{}
	for _, name := range names {
		whole[name] = slices.Clone(fs.files[name].now)
	}
	for _, name := range names {
		for i := 0; i < len(whole[name]); i++ {
			if i > 200 {
				i += 4
			}
			left := newMemFS()
			for name, content := range whole {
				left.files[name] = &memData{now: slices.Clone(content)}
			}
			if i < len(whole[name]) {
				left.files[name].now[i] ^= 0x10
				flipped(t, left, name, i, name == names[len(names)-1])
			}
		}
	}
}

func flipped(t *testing.T, fs *memFS, name string, i int, newest bool) {
	t.Helper()
	s, err := Open(Config{FS: fs})
	var end meta.Version
	if err == nil {
		defer s.Close()
		end, err = readAll(s, 100)
	}
	var damage *DamageError
	switch {
	case err == nil && end == 200:
		t.Fatalf("byte %d of %s: not seen", i, name)
	case err == nil && !newest:
		t.Fatalf("byte %d of %s: entries end at %d without an error", i, name, end)
	case err != nil && !errors.As(err, &damage):
		t.Fatalf("byte %d of %s: %v", i, name, err)
	case err != nil && damage.File != "mem/"+name && !newest:
		t.Fatalf("byte %d of %s: error is %v", i, name, err)
	}
}

// FuzzBlocks: a block is refused, or is exactly what its entries make.
func FuzzBlocks(f *testing.F) {
	b, _, _ := appendBlock(nil, batch(100, 103).Entries, time.Unix(1, 2), 77, start.Chain)
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := parseBlock(in)
		if err != nil {
			return
		}
		entries, _, err := h.entries(nil, in[blockSize:h.size()], start.Chain)
		if err != nil {
			return
		}
		out, rest, _ := appendBlock(nil, entries, received(h.received), h.synced, start.Chain)
		if string(out) != string(in[:h.size()]) || len(rest) > 0 {
			t.Fatalf("%x became %x", in[:h.size()], out)
		}
	})
}

// FuzzOpen: whatever lies in a segment, opening and reading it ends with an
// error or with entries whose chain is right.
func FuzzOpen(f *testing.F) {
	b, _, _ := appendBlock(appendHeader(nil, start, true), batch(100, 103).Entries, time.Unix(1, 2), 0, start.Chain)
	f.Add(b, 60)
	f.Add(b[:len(b)-3], 10)
	f.Fuzz(func(t *testing.T, in []byte, flip int) {
		fs := newMemFS()
		if flip >= 0 && flip < len(in) {
			in = slices.Clone(in)
			in[flip] ^= 1
		}
		fs.files[segmentName(1)] = &memData{now: slices.Clone(in)}
		s, err := Open(Config{FS: fs})
		if err != nil {
			return
		}
		defer s.Close()
		p, err := s.Position()
		if err != nil {
			return
		}
		r, err := s.Read(p.First.Next)
		if err != nil {
			t.Fatal(err)
		}
		chain := p.First.Chain
		for at := p.First.Next; at < p.End; {
			b, err := r.Next(t.Context())
			if err != nil {
				t.Fatalf("%x opened at %d to %d, but entry %d: %v", in, p.First.Next, p.End, at, err)
			}
			for _, e := range b.Entries {
				chain = chain.Next(e.Version, e.Text)
				at++
			}
		}
		if chain != p.Chain {
			t.Fatalf("chain is %v, position has %v", chain, p.Chain)
		}
	})
}
