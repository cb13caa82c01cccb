package server

import (
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/image"
)

// news returns the next packet that was not asked for.
func (c *client) news() (wire.Type, []byte) {
	c.t.Helper()
	for {
		t, p, err := wire.ReadPacket(c.nc, nil, wire.ClientMaxLength)
		if err != nil {
			c.t.Fatal(err)
		}
		if t != wire.Nop {
			return t, p
		}
	}
}

func (c *client) open(ino meta.Inode) {
	c.t.Helper()
	c.id++
	(&wire.Open{MsgID: c.id, Inode: ino, Identity: root, Flags: wire.OpenRead}).Append(&c.out)
	if _, st, is := wire.ReplyStatus(c.roundTrip(wire.FuseOpen)); is {
		c.t.Fatalf("opening %d: %v", ino, st)
	}
}

// Who has a file open learns what is written to it, others do not.
func TestOpenFilesAreWatched(t *testing.T) {
	f := newFixture(t, everyone)
	f.apply("1001|CREATE(1,a,1,420,0,0,0,0):2", "1001|CREATE(1,b,1,420,0,0,0,0):3")
	reader, other, old := f.mount("/"), f.mount("/"), f.dial()
	old.rel = wire.NewRelease(3, 0, 73)
	old.register(&wire.ClientRegister{Code: wire.RegisterNewSession, Release: old.rel})
	reader.open(2)
	other.open(3)
	old.open(2)
	f.apply("1002|WRITE(2,0,1,1):1", "1002|LENGTH(2,5,1)", "1003|UNLOCK(1)",
		"1004|TRUNC(2,0):1", "1004|UNLOCK(1)", "1004|LENGTH(2,3,1)",
		"1005|LENGTH(3,9,1)", "1005|CREATE(1,c,1,420,0,0,0,0):4")
	version := uint32(0)
	if err := f.img.Read(func(st *meta.State, _ image.Position) error {
		ch, _ := st.Chunks.Get(1)
		version = ch.Version
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []any{
		wire.ChunkChanged{Inode: 2, Chunk: 1, Version: version - 1},
		wire.LengthChanged{Inode: 2, Length: 5},
		wire.ChunkChanged{Inode: 2, Chunk: 1, Version: version - 1, Length: 5},
		wire.ChunkChanged{Inode: 2, Chunk: 1, Version: version, Length: 3, Truncated: 1},
	} {
		typ, p := reader.news()
		if got := decodeNews(t, typ, p); got != want {
			t.Errorf("news %d: %+v, want %+v", i, got, want)
		}
	}
	typ, p := other.news()
	if got := decodeNews(t, typ, p); got != (wire.LengthChanged{Inode: 3, Length: 9}) {
		t.Errorf("who has the other file open was told %+v", got)
	}
	if _, st := old.lookup(1, "a", root); st != meta.OK { // any news before the answer would fail here
		t.Error(st)
	}

	// Closed files are not watched any more.
	(&wire.OpenInodes{}).Append(&reader.out)
	if _, st := reader.lookup(1, "a", root); st != meta.OK {
		t.Fatal(st)
	}
	f.apply("1006|LENGTH(2,7,1)")
	if _, st := reader.lookup(1, "a", root); st != meta.OK {
		t.Error(st)
	}
	f.srv.ForgetChunks()
	if typ, p := reader.news(); typ != wire.FuseForgetChunks || len(p) != 4 {
		t.Errorf("told %v % x when chunkservers came", typ, p)
	}
	for _, c := range []*client{reader, other, old} {
		c.nc.Close()
	}
	waitFor(t, func() bool { return f.srv.Stats().Connections == 0 })
	f.srv.sessions.mu.Lock()
	f.srv.sessions.purge(time.Time{})
	f.srv.sessions.mu.Unlock()
	if o := &f.srv.sessions.opened; o.count.Load() != 0 || len(o.by) != 0 {
		t.Errorf("%d open files of nobody: %v", o.count.Load(), o.by)
	}
}

func decodeNews(t *testing.T, typ wire.Type, p []byte) any {
	t.Helper()
	var err error
	switch d := wire.NewDecoder(p); typ {
	case wire.FuseChunkChanged:
		var n wire.ChunkChanged
		if err = n.Decode(d); err == nil {
			return n
		}
	case wire.FuseLengthChanged:
		var n wire.LengthChanged
		if err = n.Decode(d); err == nil {
			return n
		}
	}
	t.Fatalf("unasked: %v % x %v", typ, p, err)
	return nil
}

// The index knows who has what open, whatever lists come in whatever order.
func TestIndexOfOpenFiles(t *testing.T) {
	var all sessions
	room := int64(0)
	all.init(func(n int64) bool {
		if n > 0 && room+n > 5*openCost {
			return false
		}
		room += n
		return true
	})
	a, b := &session{id: 1}, &session{id: 2}
	list := func(inodes ...uint32) wire.Numbers { return wire.PackNumbers(inodes...) }
	for i, step := range []struct {
		of   *session
		list wire.Numbers
		fits bool
		want map[meta.Inode][]*session
	}{
		{a, list(3, 1, 3), true, map[meta.Inode][]*session{1: {a}, 3: {a}}},
		{b, list(3), true, map[meta.Inode][]*session{1: {a}, 3: {a, b}}},
		{b, list(1, 2, 3, 4), false, map[meta.Inode][]*session{1: {a}, 3: {a, b}}},
		{a, list(2, 4), true, map[meta.Inode][]*session{2: {a}, 3: {b}, 4: {a}}},
		{b, list(), true, map[meta.Inode][]*session{2: {a}, 4: {a}}},
		{a, list(), true, map[meta.Inode][]*session{}},
	} {
		if err := all.setOpen(step.of, step.list); (err == nil) != step.fits {
			t.Errorf("step %d: %v", i, err)
		}
		if got := all.opened.by; !reflect.DeepEqual(got, step.want) {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
	if room != 0 {
		t.Errorf("%d bytes are still counted", room)
	}
}

// forgetful notes what it is told to forget.
type forgetful struct {
	fakeLocator
	mu   sync.Mutex
	told []string
}

func (l *forgetful) Forget(id meta.ChunkID, below uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, fmt.Sprintf("%d below %d", id, below))
}

func TestChunkOperationsForgetPlaces(t *testing.T) {
	l := &forgetful{}
	f := newFixture(t, everyone, func(cfg *Config) { cfg.Locator = l })
	f.apply("1001|CREATE(1,a,1,420,0,0,0,0):2", "1001|CHUNKADD(9,4,0)", "1002|WRITE(2,0,1,1):10", "1003|UNLOCK(10)",
		"1004|INCVERSION(10)", "1004|SETVERSION(9,7)", "1005|CHUNKDEL(9,7)")
	want := []string{"10 below 1", "10 below 2", "9 below 7", "9 below 4294967295"}
	if !reflect.DeepEqual(l.told, want) {
		t.Errorf("told to forget %v, want %v", l.told, want)
	}
}
