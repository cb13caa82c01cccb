package changelog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/oprand"
)

// world is a State to which a test applies entries, all at the same time
// unless it moves the clock.
type world struct {
	*testing.T
	st  *meta.State
	now meta.Time
}

func newWorld(t *testing.T) *world { return &world{t, oprand.Fresh(start), start + 1} }

// apply applies entries, written without their time, until one fails.
func (w *world) apply(ops ...string) error {
	w.Helper()
	for i, text := range ops {
		now, op, err := changelog.NewBatch().Parse(fmt.Appendf(nil, "%d|%s", w.now, text))
		if err != nil {
			w.Fatal(err)
		}
		entry := changelog.Entry{Version: meta.Version(i + 1), Time: now, Op: op}
		if err := changelog.ApplyEntry(w.st, entry); err != nil {
			return err
		}
		wantConsistent(w.T, w.st, text)
	}
	return nil
}

// do applies entries that must fit.
func (w *world) do(ops ...string) {
	w.Helper()
	if err := w.apply(ops...); err != nil {
		w.Fatal(err)
	}
}

// fails applies an entry that must end in an error with this text.
func (w *world) fails(op, want string) {
	w.Helper()
	var failed *changelog.ApplyError
	if err := w.apply(op); !errors.As(err, &failed) || failed.Err.Error() != want {
		w.Fatalf("%s: got error %v, want %s", op, err, want)
	}
}

func (w *world) node(ino meta.Inode) meta.Node {
	w.Helper()
	n, ok := w.st.Nodes.Get(ino)
	if !ok {
		w.Fatalf("inode %d does not exist", ino)
	}
	return n
}

func (w *world) chunk(id meta.ChunkID) meta.Chunk {
	w.Helper()
	c, ok := w.st.Chunks.Get(id)
	if !ok {
		w.Fatalf("chunk %d does not exist", id)
	}
	return c
}

// want compares anything that prints.
func (w *world) want(what string, got, want any) {
	w.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// Entries that do not fit end in an error that tells what is wrong.
func TestRefused(t *testing.T) {
	before := []string{
		"CREATE(1,d,2,493,0,0,0,0):2", "CREATE(2,f,1,420,0,0,0,0):3", "CREATE(1,g,1,420,0,0,0,0):4",
		"WRITE(3,0,1,0):1", "SESADD(#1,1,0,0022,0,0,0,0,1,9,0,9,0x00000000,9,/mnt):1", "ACQUIRE(1,3)",
		"FLOCK(3,1,7,W)", "SYMLINK(1,s,x,0,0):5",
	}
	for _, tc := range []struct{ op, want string }{
		{"ACCESS(9)", "inode 9: no such file or directory (status 3)"},
		{"ATTR(3,4096,0,0,0,0,0,0)", "inode 3: invalid argument (status 6)"},
		{"CREATE(1,n,1,420,0,0,0,0):7", "inode is 6, primary had 7"},
		{"CREATE(1,n,8,420,0,0,0,0):6", `name "n" in inode 1: invalid argument (status 6)`},
		{"CREATE(1,d,1,420,0,0,0,0):6", `name "d" in inode 1: file exists (status 5)`},
		{"CREATE(3,n,1,420,0,0,0,0):6", "inode 3: not a directory (status 2)"},
		{"CREATE(1,..,1,420,0,0,0,0):6", `name ".." in inode 1: invalid argument (status 6)`},
		{"CREATE(1,a/b,1,420,0,0,0,0):6", `name "a/b" in inode 1: invalid argument (status 6)`},
		{"UNLINK(1,d):2", "inode 2: directory not empty (status 7)"},
		{"UNLINK(1,g):3", "inode is 4, primary had 3"},
		{"UNLINK(1,x):3", `name "x" in inode 1: no such file or directory (status 3)`},
		{"MOVE(1,d,2,e):2", "inode 2: invalid argument (status 6)"},
		{"MOVE(1,g,1,g):4", `name "g" in inode 1: invalid argument (status 6)`},
		{"MOVE(1,g,1,d):4", "inode 2: directory not empty (status 7)"},
		{"LINK(2,1,x)", "inode 2: operation not permitted (status 1)"},
		{"WRITE(3,1,1,0):3", "chunk is 2, primary had 3"},
		{"WRITE(3,0,1,0):2", "chunk is 1, primary had 2"},
		{"WRITE(3,2147483648,1,0):2", "chunk index 2147483648 of inode 3: chunk index too big (status 10)"},
		{"TRUNC(3,1):1", "chunk index 1 of inode 3: invalid argument (status 6)"},
		{"APPEND(3,3,0,0)", "inode 3: invalid argument (status 6)"},
		{"APPEND(3,5,0,0)", "inode 5: operation not permitted (status 1)"},
		{"REPAIR(3,1):0", "chunk index 1 of inode 3: no such chunk (status 13)"},
		{"CHUNKADD(1,1,0)", "chunk 1: chunk already exists (status 20)"},
		{"CHUNKADD(1000000003,1,0)", "chunk 1000000003: result differs (status 32)"},
		{"CHUNKDEL(1,1)", "chunk 1: chunk is in use (status 42)"},
		{"SETSCLASS(3,0,2,0,0):1,0,0", "inode 3: invalid argument (status 6)"},
		{"SETSCLASS(3,0,2,99,0):1,0,0", "storage class 99: no such storage class (status 52)"},
		{"SETTRASHTIME(3,1000,0,0):1,0,0", "inode 3: operation not permitted (status 1)"},
		{"SETTRASHTIME(1,0,0,4):5,0,0", "number of changed inodes is 4, primary had 5"},
		{"SCDEL(2):2", `storage class "2": operation not permitted (status 1)`},
		{"SETXATTR(3,user.a,,2)", `attribute "user.a" of inode 3: no such attribute (status 38)`},
		{"QUOTA(3,0,1,0,0,0,0,0,0,0,0,0,0)", "inode 3: operation not permitted (status 1)"},
		{"ACQUIRE(1,3)", "inode 3 is open already: session 1: result differs (status 32)"},
		{"SESADD(#1,1,0,0022,0,0,0,0,1,9,0,9,0x00000000,9,/):3", "session is 2, primary had 3"},
		{"FLOCK(3,1,8,W)", "lock of owner 8 of session 1 on inode 3: result differs (status 32)"},
		{"FLOCK(3,1,8,U)", "lock of owner 8 of session 1 on inode 3: result differs (status 32)"},
		{"UNDEL(3)", "inode 3: no such file or directory (status 3)"},
		{"SNAPSHOT(1,2,x,0,0,0,[0],18):1,0,0,0,0,1", "inode 2: invalid argument (status 6)"},
		{"SNAPSHOT(4,2,f,0,0,0,[0],18):1,0,0,0,0,1", `name "f" in inode 2: file exists (status 5)`},
		{"CSDBOP(1,1,1,0)", "chunkserver 0.0.0.1:1: result differs (status 32)"},
		{"RENUMERATEEDGES():5", "next edge id is 9223372036854775802, primary had 5"},
		{"EMPTYTRASH(0):1,0,3", "number of freed inodes is 0, primary had 1"},
	} {
		t.Run(tc.op, func(t *testing.T) {
			w := newWorld(t)
			w.do(before...)
			w.fails(tc.op, tc.want)
		})
	}
}

func TestApplyErrorNamesVersionAndText(t *testing.T) {
	w := newWorld(t)
	err := w.apply("UNLINK(1,a b):7")
	const want = `entry 1: 1700000001|UNLINK(1,a b):7: name "a b" in inode 1: no such file or directory (status 3)`
	if err == nil || err.Error() != want {
		t.Fatalf("got %v\nwant %s", err, want)
	}
	if !errors.Is(err, meta.ENOENT) {
		t.Fatalf("%v does not wrap ENOENT", err)
	}
}

// An error of storage voids an entry that otherwise fits.
func TestStorageErrorVoidsEntry(t *testing.T) {
	w := newWorld(t)
	full := errors.New("disk full")
	w.st.Fail(full)
	if err := w.apply("IDLE()"); !errors.Is(err, full) {
		t.Fatalf("got %v, want %v", err, full)
	}
}

// The last names of files lead to the trash, to sustained, or to nothing.
func TestLastName(t *testing.T) {
	w := newWorld(t)
	w.do("SESADD(#1,1,0,0022,0,0,0,0,1,9,0,9,0x00000000,9,/mnt):1",
		"CREATE(1,d,2,493,0,0,0,0):2", "CREATE(2,trash,1,420,0,0,0,0):3", "CREATE(2,open,1,420,0,0,0,0):4",
		"CREATE(2,gone,1,420,0,0,0,0):5", "LINK(3,1,other)", "ACQUIRE(1,3)", "ACQUIRE(1,4)",
		"SETTRASHTIME(4,0,0,0):1,0,0", "SETTRASHTIME(5,0,0,0):1,0,0", "LENGTH(3,100,0)", "LENGTH(4,7,0)")
	w.now++
	w.do("UNLINK(1,other):3")
	w.want("type with a name left", w.node(3).Type, meta.TypeFile)
	edge := w.st.NextEdge
	w.do("UNLINK(2,trash):3", "UNLINK(2,open):4", "UNLINK(2,gone):5")
	w.want("edge ids used", edge-w.st.NextEdge, 2)
	for ino, want := range map[meta.Inode]string{3: "{8 %d d/trash}", 4: "{9 %d d/open}"} {
		d, _ := w.st.Detached.Get(ino)
		w.want(fmt.Sprintf("path of %d", ino), d, fmt.Sprintf(want, d.EdgeID))
		w.want("ctime", w.node(ino).Ctime, w.now)
	}
	if _, ok := w.st.Nodes.Get(5); ok {
		t.Error("inode 5 is still there")
	}
	w.want("counts", w.st.Scalars.Nodes, meta.Counts{All: 4, Dirs: 2, Files: 2, Trash: 1, Sustained: 1, TrashBytes: 100, SustainedBytes: 7})
	w.do("PURGE(3)") // is open: sustained, at no new time
	w.want("type after PURGE", w.node(3).Type, meta.TypeSustained)
	w.do("RELEASE(1,3)", "EMPTYSUSTAINED(3):1,3", "SESDEL(1)", "EMPTYSUSTAINED(4):1,4")
	first, _ := w.st.Inodes.FirstFree()
	w.want("first of the free queue", first, meta.FreedInode{Inode: 5, Freed: w.now})
	w.do("CREATE(2,next,1,420,0,0,0,0):6") // freed inodes wait
	w.now += 302
	w.do("FREEINODES(300):3,0,2", "CREATE(2,again,1,420,0,0,0,0):3")
}

// Of a path longer than 1024 bytes its end is kept.
func TestTrashPathIsCut(t *testing.T) {
	w := newWorld(t)
	parent, path := 1, ""
	for i := range 5 {
		name := strings.Repeat(string(rune('a'+i)), 250)
		w.do(fmt.Sprintf("CREATE(%d,%s,2,493,0,0,0,0):%d", parent, name, i+2))
		parent, path = i+2, path+name+"/"
	}
	w.do("CREATE(6,f,1,420,0,0,0,0):7", "UNLINK(6,f):7")
	d, _ := w.st.Detached.Get(7)
	w.want("path", d.Path, (path + "f")[len(path)+1-meta.MaxPath:])
}

// The file goes back to where it was, in new directories if need be.
func TestUndel(t *testing.T) {
	w := newWorld(t)
	w.do("CREATE(1,d,2,1472,0,7,8,0):2", "CREATE(2,e,2,493,0,0,0,0):3", "CREATE(3,f,1,420,0,0,0,0):4",
		"UNLINK(3,f):4", "UNLINK(2,e):3")
	w.now++
	w.do("UNDEL(4)")
	w.want("new directory", w.node(5), meta.Node{Type: meta.TypeDir, Class: 2, Mode: 0o755, TrashHours: 24, GID: 8, Atime: w.now, Mtime: w.now, Ctime: w.now})
	w.want("parent of the file", w.node(4).Parent, 5)
	w.do("UNLINK(5,f):4", "SETPATH(4,//d/g)", "UNDEL(4)")
	name, _ := w.st.Edges.Find(2, 4, w.node(4).NameHash)
	w.want("name", string(name), "g")
	for path, want := range map[string]string{
		"a//b": "inode 4: can't create path (status 31)", "./b": "inode 4: can't create path (status 31)",
		"b/": "inode 4: can't create path (status 31)", "/": "inode 4: can't create path (status 31)",
		strings.Repeat("x", 256): "inode 4: can't create path (status 31)", "file/b": "inode 6: can't create path (status 31)",
	} {
		w := newWorld(t)
		w.do("CREATE(1,d,2,1472,0,7,8,0):2", "CREATE(1,x,2,493,0,0,0,0):3", "CREATE(1,f,1,420,0,0,0,0):4",
			"UNLINK(1,f):4", "CREATE(1,y,1,420,0,0,0,0):5", "CREATE(1,file,1,420,0,0,0,0):6", "SETPATH(4,"+path+")")
		w.fails("UNDEL(4)", want)
	}
}

// New nodes take from their directory what their kind takes.
func TestInheritance(t *testing.T) {
	w := newWorld(t)
	w.do("CREATE(1,d,2,1517,0,0,9,0):2", "SETEATTR(2,0,20,0):1,0,0", "SETTRASHTIME(2,0,7200,0):1,0,0",
		"SETSCLASS(2,0,3,3,0):1,0,0", "ATTR(2,1517,0,9,1,1,0,0)",
		"CREATE(2,f,1,511,18,5,6,0):3", "CREATE(2,s,2,511,18,5,6,0):4", "SYMLINK(2,l,x,5,6):5", "CREATE(2,b,5,511,18,5,6,77):6")
	type part struct {
		Class, Eattr uint8
		Mode, Hours  uint16
		GID, Rdev    uint32
	}
	for ino, want := range map[meta.Inode]part{
		3: {3, 0, 0o755, 2, 9, 0}, 4: {3, 4, 0o755, 2, 9, 0}, 5: {0, 0, 0o777, 24, 9, 0}, 6: {0, 0, 0o755, 24, 9, 77},
	} {
		n := w.node(ino)
		w.want(fmt.Sprintf("inode %d", ino), part{n.Class, n.Eattr, n.Mode, n.TrashHours, n.GID, n.Rdev}, want)
	}
	w.do("SETACL(2,1517,0,2,7,5,0,7,1,0,%00%00%03%E8%00%06)", "CREATE(2,g,1,436,18,5,6,0):7", "CREATE(2,h,2,511,18,5,6,0):8")
	named := []meta.ACLEntry{{ID: 1000, Perm: 6}}
	for _, tc := range []struct {
		ino  meta.Inode
		mode uint16
		kind uint8
		want meta.ACL
	}{
		{7, 0o650, meta.ACLAccess, meta.ACL{User: 6, Group: 5, Mask: 6, Users: named}},
		{8, 0o750, meta.ACLAccess, meta.ACL{User: 7, Group: 5, Mask: 7, Users: named}},
		{8, 0o750, meta.ACLDefault, meta.ACL{User: 7, Group: 5, Mask: 7, Users: named}},
	} {
		a, _ := w.st.ACLs.Get(meta.ACLKey{Inode: tc.ino, Type: tc.kind})
		w.want(fmt.Sprintf("ACL of %d", tc.ino), a, tc.want)
		w.want(fmt.Sprintf("mode of %d", tc.ino), w.node(tc.ino).Mode, tc.mode)
	}
	w.do("ATTR(7,416,5,6,1,1,0,4573)") // 0735: 7 for the user, 3 for the mask, 5 for others
	a, _ := w.st.ACLs.Get(meta.ACLKey{Inode: 7, Type: meta.ACLAccess})
	w.want("ACL after ATTR", a, meta.ACL{User: 7, Group: 5, Other: 5, Mask: 3, Users: named})
}
