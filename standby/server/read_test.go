package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

var root = wire.Identity{GIDs: wire.PackNumbers(0)}

func (c *client) lookup(parent meta.Inode, name string, who wire.Identity) (wire.LookupReply, meta.Status) {
	c.t.Helper()
	c.id++
	(&wire.NameRequest{MsgID: c.id, Parent: parent, Name: []byte(name), Identity: who}).Append(&c.out, wire.FuseLookup)
	p := c.roundTrip(wire.FuseLookup)
	if _, st, is := wire.ReplyStatus(p); is {
		return wire.LookupReply{}, st
	}
	var r wire.LookupReply
	if err := r.Decode(wire.NewDecoder(p), c.rel); err != nil {
		c.t.Fatal(err)
	}
	return r, meta.OK
}

// list reads a directory and returns "name inode" per entry, and the modes.
func (c *client) list(ino meta.Inode, max uint32, cursor uint64) (names []string, status meta.Status) {
	c.t.Helper()
	c.id++
	(&wire.Readdir{MsgID: c.id, Inode: ino, Identity: root, Flags: wire.ReaddirAttr, Max: max, Cursor: cursor}).Append(&c.out)
	p := c.roundTrip(wire.FuseReaddir)
	if _, st, is := wire.ReplyStatus(p); is {
		return nil, st
	}
	r := wire.ReaddirReply{Paged: true}
	if err := r.Decode(wire.NewDecoder(p)); err != nil || r.Cursor != cursor {
		c.t.Fatalf("%+v %v", r, err)
	}
	d := wire.NewDecoder(r.Entries)
	for d.Len() > 0 {
		var e wire.DirEntry
		if err := e.Decode(d, wire.ReaddirAttr, c.rel); err != nil {
			c.t.Fatal(err)
		}
		names = append(names, fmt.Sprintf("%s %d", e.Name, e.Inode))
	}
	return names, meta.OK
}

func TestLookup(t *testing.T) {
	f := newFixture(t, everyone)
	f.apply(
		"1001|CREATE(1,dir,2,488,0,10,20,0):2", "1002|CREATE(2,file,1,416,0,10,20,0):3", "1003|CREATE(2,sub,2,511,0,10,20,0):4",
		"1004|CREATE(1,dev,6,420,0,0,0,259):5", "1005|SETEATTR(1,0,4,0):1,0,0",
	)
	c, below := f.mount("/"), f.mount("/dir")
	user := func(uid, gid uint32) wire.Identity { return wire.Identity{UID: uid, GIDs: wire.PackNumbers(7, gid)} }
	for _, tc := range []struct {
		name   string
		c      *client
		parent meta.Inode
		entry  string
		who    wire.Identity
		want   meta.Inode
		status meta.Status
		rights uint16
	}{
		{"directory", c, 1, "dir", root, 2, meta.OK, 0xFF},
		{"self", c, 1, ".", root, 1, meta.OK, 0xFF},
		{"above the root", c, 1, "..", root, 1, meta.OK, 0xFF},
		{"parent", c, 4, "..", root, 2, meta.OK, 0xFF},
		{"missing, not to be kept", c, 1, "none", root, 0, statusENOENTNoCache, 0},
		{"missing", c, 2, "none", root, 0, meta.ENOENT, 0},
		{"empty name", c, 1, "", root, 0, meta.EINVAL, 0},
		{"slash", c, 1, "a/b", root, 0, meta.EINVAL, 0},
		{"NUL", c, 1, "a\x00", root, 0, meta.EINVAL, 0},
		{"in a file", c, 3, "x", root, 0, meta.ENOTDIR, 0},
		{"in nothing", c, 99, "x", root, 0, statusENOENTNoCache, 0},
		{"owner", c, 2, "file", user(10, 9), 3, meta.OK, 0x55},
		{"group", c, 2, "file", user(11, 20), 3, meta.OK, 0x11},
		{"no way in", c, 2, "file", user(11, 21), 0, meta.EACCES, 0},
		{"below: the root is 1", below, 1, "file", root, 3, meta.OK, 0xFF},
		{"below: no way out", below, 1, "..", root, 1, meta.OK, 0xFF},
		{"below: parent is the root", below, 4, "..", root, 1, meta.OK, 0xFF},
		{"below: others are unknown", below, 5, "x", root, 0, statusENOENTNoCache, 0},
	} {
		got, st := tc.c.lookup(tc.parent, tc.entry, tc.who)
		if st != tc.status || got.Inode != tc.want || st == meta.OK && (got.Flags&0xFF != tc.rights || got.Flags&wire.LookupReadOnly == 0) {
			t.Errorf("%s: got %d, %v, flags %#x; want %d, %v, %#x", tc.name, got.Inode, st, got.Flags, tc.want, tc.status, tc.rights)
		}
	}
	got, _ := c.lookup(1, "dev", root)
	if want := (wire.Attr{
		Flags: wire.AttrNoEntryCache | wire.AttrDataCache | wire.AttrNoXattr, Type: meta.TypeCharDev, Mode: 0o644,
		Atime: 1004, Mtime: 1004, Ctime: 1004, Links: 1, Length: 259 << 32,
	}); got.Attr != want {
		t.Errorf("a device is %+v, want %+v", got.Attr, want)
	}
}

func TestOldClientsGetOldForms(t *testing.T) {
	f := newFixture(t, everyone)
	f.apply("1001|CREATE(1,dir,2,488,0,10,20,0):2")
	for _, rel := range []wire.Release{wire.NewRelease(1, 6, 27), wire.NewRelease(2, 0, 91), wire.NewRelease(3, 0, 40), wire.NewRelease(3, 0, 93)} {
		c := f.dial()
		c.rel = rel
		c.register(&wire.ClientRegister{Code: wire.RegisterNewSession, Release: rel})
		r, st := c.lookup(1, "dir", root)
		if st != meta.OK || r.Inode != 2 || r.Attr.Type != meta.TypeDir || r.Attr.Mode != 0o750 || r.Attr.GID != 20 {
			t.Errorf("%v: %+v %v", rel, r, st)
		}
		if _, st := c.lookup(9, "x", root); (st == meta.ENOENT) != (rel < wire.NewRelease(3, 0, 25)) {
			t.Errorf("%v: an unknown directory is %v", rel, st)
		}
	}
}

// A directory is listed in the order of the master, whether it is small or so
// large that a view is taken, and from a cursor on.
func TestReaddir(t *testing.T) {
	f := newFixture(t, everyone)
	c := f.mount("/")
	for _, size := range []int{0, 1, 3, inlineNames + 100} {
		dir := meta.Inode(10 * (size + 1))
		var entries []string
		f.update(func(st *meta.State) error {
			st.Inodes.Reserve(dir)
			st.Nodes.Insert(dir, meta.Node{Type: meta.TypeDir, Mode: 0o755})
			st.Dirs.Insert(dir, meta.Dir{Parent: 1, Name: fmt.Sprint(dir), Elements: uint32(size)})
			for i := range size {
				ino := dir + 1 + meta.Inode(i)
				st.Inodes.Reserve(ino)
				st.Nodes.Insert(ino, meta.Node{Type: meta.TypeFile, Links: 1, Parent: dir})
				name := fmt.Sprintf("name%d", i)
				st.Edges.InsertHead(dir, []byte(name), ino, false, uint64(1_000_000-i))
				entries = append(entries, fmt.Sprintf("%s %d", name, ino))
			}
			return nil
		})
		slices.Reverse(entries) // newest first
		want := append([]string{fmt.Sprintf(". %d", dir), ".. 1"}, entries...)
		all, st := c.list(dir, ^uint32(0), 0)
		if st != meta.OK || !slices.Equal(all, want) {
			t.Fatalf("%d names: got %d, %v: %.200q", size, len(all), st, all)
		}
		for _, max := range []uint32{0, 1, 2, 3} {
			if got, _ := c.list(dir, max, 0); !slices.Equal(got, want[:min(int(max), len(want))]) {
				t.Errorf("%d names, at most %d: %q", size, max, got)
			}
		}
		if got, _ := c.list(dir, ^uint32(0), 1); !slices.Equal(got, want[1:]) {
			t.Errorf("%d names, from the parent on: %d", size, len(got))
		}
		if size > 1 {
			if got, _ := c.list(dir, 1, uint64(1_000_000-size+2)); !slices.Equal(got, want[3:4]) {
				t.Errorf("%d names, from the second on: %q, want %q", size, got, want[3:4])
			}
		}
	}

	// Page by page, as a client would that knows the ids.
	const size, page = inlineNames + 100, 64
	dir := meta.Inode(10 * (size + 1))
	seen, _ := c.list(dir, page, 0)
	for next := uint64(1_000_000 - size + 1 + page - 2); next <= 1_000_000; next += page {
		got, st := c.list(dir, page, next)
		if st != meta.OK || len(got) == 0 {
			t.Fatalf("the page at %d: %d names, %v", next, len(got), st)
		}
		seen = append(seen, got...)
	}
	if all, _ := c.list(dir, ^uint32(0), 0); !slices.Equal(seen, all) {
		t.Errorf("pages have %d names in all, the directory %d", len(seen), len(all))
	}
	if len(f.srv.pages.lists) != 1 {
		t.Errorf("%d listings are kept", len(f.srv.pages.lists))
	}
	if _, st := c.list(11, 1, 0); st != meta.ENOENT {
		t.Errorf("listing nothing: %v", st)
	}
}

func TestMetaMount(t *testing.T) {
	f := newFixture(t, everyone)
	f.apply("1001|CREATE(1,dir,2,511,0,0,0,0):2", "1002|CREATE(2,file,1,420,0,10,20,0):3", "1003|UNLINK(2,file):3")
	c, mount := f.mountMeta(), f.mount("/")
	list, st := c.ask(wire.FuseGetTrash, []byte{0xFF, 0xFF, 0xFF, 0xFF})
	if want := "\x08dir|file\x00\x00\x00\x03"; st != meta.OK || string(list) != want {
		t.Errorf("trash: %q %v", list, st)
	}
	if list, st = c.ask(wire.FuseGetTrash, []byte{0, 0, 0, 4}); st != meta.OK || len(list) > 0 {
		t.Errorf("another bucket: %q %v", list, st)
	}
	if path, st := c.ask(wire.FuseGetTrashPath, []byte{0, 0, 0, 3}); st != meta.OK || string(path) != "\x00\x00\x00\x09dir/file\x00" {
		t.Errorf("path: %q %v", path, st)
	}
	if _, st := c.ask(wire.FuseGetDetachedAttr, []byte{0, 0, 0, 3, 2}); st != meta.ENOENT {
		t.Errorf("as sustained: %v", st)
	}
	if attr, st := c.ask(wire.FuseGetDetachedAttr, []byte{0, 0, 0, 3, 1}); st != meta.OK || len(attr) != 36 {
		t.Errorf("attributes: %d bytes, %v", len(attr), st)
	}
	if _, st := c.ask(wire.FuseGetattr, []byte{0, 0, 0, 1}); st != meta.ENOENT {
		t.Errorf("the root of a meta mount: %v", st)
	}
	for _, typ := range []wire.Type{wire.FuseGetTrash, wire.FuseGetSustained} {
		if _, st := mount.ask(typ, nil); st != meta.EPERM {
			t.Errorf("%v by a mount: %v", typ, st)
		}
	}
	if paths, st := mount.ask(wire.FusePaths, []byte{0, 0, 0, 3}); st != meta.OK || string(paths) != "\x00\x00\x00\x12./TRASH (dir/file)" {
		t.Errorf("paths of a file in the trash: %q %v", paths, st)
	}
}

func TestListedPath(t *testing.T) {
	long := strings.Repeat("x", 300) + "/end"
	for path, want := range map[string]string{"a": "a", "a/b/c": "a|b|c", long: "(...)" + strings.Repeat("x", 231) + "|end"} {
		if got := string(listedPath(nil, path)); got != want || len(got) > 240 {
			t.Errorf("%q is listed as %q", path, got)
		}
	}
}

// fakeLocator knows the places of chunk 1 after a while, and of chunk 2 at once.
type fakeLocator struct{ copies wire.Locations }

func (l fakeLocator) Forget(meta.ChunkID, uint32) {}

func (l fakeLocator) Cached(id meta.ChunkID, _ uint32) (wire.Locations, meta.Status, bool) {
	return l.copies, meta.OK, id == 2
}

func (l fakeLocator) Locate(context.Context, meta.Inode, uint32, meta.ChunkID, uint32) (wire.Locations, meta.Status) {
	return l.copies, meta.OK
}

func TestReadChunk(t *testing.T) {
	copies := wire.Locations(nil).Add(wire.Location{IP: 0x0A000001, Port: 9422, Release: newestPlain})
	f := newFixture(t, everyone, func(cfg *Config) { cfg.Locator = fakeLocator{copies} })
	f.apply(
		"1001|CREATE(1,a,1,420,0,0,0,0):2", "1002|WRITE(2,0,1,1):1", "1002|LENGTH(2,5,1)", "1003|UNLOCK(1)",
		"1001|CREATE(1,b,1,420,0,0,0,0):3", "1002|WRITE(3,0,1,1):2", "1002|LENGTH(3,5,1)", "1003|UNLOCK(2)",
	)
	now := uint32(time.Now().Unix())
	f.apply(fmt.Sprintf("%d|CREATE(1,c,1,420,0,0,0,0):4", now), fmt.Sprintf("%d|WRITE(4,0,1,1):3", now))
	c := f.mount("/")
	ask := func(ino meta.Inode, index uint32) (wire.ChunkReply, meta.Status) {
		c.id++
		(&wire.ChunkRequest{MsgID: c.id, Inode: ino, Index: index}).Append(&c.out, wire.FuseReadChunk)
		p := c.roundTrip(wire.FuseReadChunk)
		if _, st, is := wire.ReplyStatus(p); is {
			return wire.ChunkReply{}, st
		}
		var r wire.ChunkReply
		if err := r.Decode(wire.NewDecoder(p), c.rel); err != nil || r.MsgID != c.id {
			t.Fatal(r, err)
		}
		return r, meta.OK
	}
	for _, tc := range []struct {
		ino    meta.Inode
		index  uint32
		want   meta.ChunkID
		status meta.Status
	}{{2, 0, 1, meta.OK}, {3, 0, 2, meta.OK}, {3, 1, 0, meta.OK}, {3, meta.MaxIndex + 1, 0, meta.EINDEXTOOBIG}, {1, 0, 0, meta.EPERM}, {9, 0, 0, meta.ENOENT}} {
		r, st := ask(tc.ino, tc.index)
		if st != tc.status || r.Chunk != tc.want || tc.want != 0 && (r.Length != 5 || string(r.Copies) != string(copies)) {
			t.Errorf("slot %d of %d: %+v %v", tc.index, tc.ino, r, st)
		}
	}
	if r, _ := c.lookup(1, "b", root); r.Flags&wire.LookupChunkData == 0 || r.Chunk.Chunk != 2 || string(r.Chunk.Copies) != string(copies) {
		t.Errorf("looking up a file of one chunk: %+v", r)
	}
	if r, _ := c.lookup(1, "c", root); r.Flags&wire.LookupChunkData != 0 {
		t.Errorf("looking up a file whose chunk is written: %+v", r)
	}

	// A chunk that is written is answered when it is not any more; others do not wait.
	(&wire.ChunkRequest{MsgID: 1000, Inode: 4}).Append(&c.out, wire.FuseReadChunk)
	if r, st := c.lookup(1, "a", root); st != meta.OK || r.Inode != 2 {
		t.Errorf("beside a request that waits: %+v %v", r, st)
	}
	f.apply(fmt.Sprintf("%d|UNLOCK(3)", now))
	p := c.roundTrip(wire.FuseReadChunk)
	var r wire.ChunkReply
	if err := r.Decode(wire.NewDecoder(p), c.rel); err != nil || r.MsgID != 1000 || r.Chunk != 3 {
		t.Errorf("after the write: %+v %v", r, err)
	}
}

func TestLocks(t *testing.T) {
	f := newFixture(t, everyone)
	f.apply("1001|CREATE(1,a,1,420,0,0,0,0):2")
	f.update(func(st *meta.State) error {
		st.Plocks.Insert(2, []meta.PosixOwner{{Session: 7, Owner: 8, PID: 9, Ranges: []meta.PosixRange{{Start: 100, End: 200, Write: true}}}})
		return nil
	})
	a, b := f.mount("/"), f.mount("/")
	flock := func(c *client, msg uint32, cmd uint8) meta.Status {
		t.Helper()
		(&wire.Flock{MsgID: msg, Inode: 2, Owner: 1, Command: cmd}).Append(&c.out)
		id, st, is := wire.ReplyStatus(c.roundTrip(wire.FuseFlock))
		if !is || id != msg {
			t.Fatalf("answer to %d, %v", id, is)
		}
		return st
	}
	for _, tc := range []struct {
		c    *client
		cmd  uint8
		want meta.Status
	}{
		{a, wire.FlockTryShared, meta.OK}, {b, wire.FlockTryShared, meta.OK}, {b, wire.FlockTryExcl, statusAgain},
		{a, wire.FlockUnlock, meta.OK}, {b, wire.FlockTryExcl, meta.OK}, {a, wire.FlockTryShared, statusAgain},
		{a, 9, meta.EINVAL},
	} {
		if st := flock(tc.c, 1, tc.cmd); st != tc.want {
			t.Errorf("flock %d: %v, want %v", tc.cmd, st, tc.want)
		}
	}
	(&wire.Flock{MsgID: 5, Inode: 2, Owner: 1, Command: wire.FlockShared}).Append(&a.out) // waits
	if _, st := a.lookup(1, "a", root); st != meta.OK {
		t.Errorf("beside a lock that waits: %v", st)
	}
	b.nc.Close()
	if id, st, _ := wire.ReplyStatus(a.roundTrip(wire.FuseFlock)); id != 5 || st != meta.OK {
		t.Errorf("after the other client has gone: %d %v", id, st)
	}

	posix := func(cmd, typ uint8, start, end uint64) []byte {
		(&wire.PosixLock{MsgID: 6, Inode: 2, Owner: 1, Command: cmd, Type: typ, Start: start, End: end}).Append(&a.out)
		return a.roundTrip(wire.FusePosixLock)
	}
	var r wire.PosixLockReply
	if err := r.Decode(wire.NewDecoder(posix(wire.PosixGet, wire.PosixTypeRead, 150, 151))); err != nil ||
		r != (wire.PosixLockReply{MsgID: 6, PID: 9, Type: wire.PosixTypeWrite, Start: 100, End: 200}) {
		t.Errorf("a lock held at the primary: %+v %v", r, err)
	}
	if _, st, _ := wire.ReplyStatus(posix(wire.PosixTry, wire.PosixTypeRead, 0, 101)); st != statusAgain {
		t.Errorf("over a lock held at the primary: %v", st)
	}
	if _, st, _ := wire.ReplyStatus(posix(wire.PosixTry, wire.PosixTypeRead, 0, 100)); st != meta.OK {
		t.Errorf("beside a lock held at the primary: %v", st)
	}
}
