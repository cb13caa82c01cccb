package metafile

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
)

// strict compares everything.
var strict = CompareOptions{Counters: true, Disconnects: true, LockTypes: true, ChunkLocks: true, Now: 1}

func differences(t *testing.T, file []byte, st *meta.State, opt CompareOptions) []string {
	t.Helper()
	var list []string
	n, err := Compare(bytes.NewReader(file), st, opt, func(d Difference) { list = append(list, d.String()) })
	if err != nil || n != len(list) {
		t.Fatalf("Compare: %d, %v, reported %d", n, err, len(list))
	}
	return list
}

func TestFixturesAreEqualToThemselves(t *testing.T) {
	for _, name := range []string{"3.0.117-a/before.mfs", "3.0.117-a/after.mfs.gz", "4.59.2-a/before.mfs", "4.59.2-a/after.mfs.gz"} {
		capture, base, _ := strings.Cut(name, "/")
		file := captured(t, capture, base)
		st, h := mustRead(t, file)
		if list := differences(t, file, st, strict); len(list) > 0 {
			t.Errorf("%s: %q", name, list)
		}
		n, err := CompareStates(st, st, h, strict, func(d Difference) { t.Errorf("%s: %v", name, d) })
		if n != 0 || err != nil {
			t.Errorf("%s: CompareStates: %d, %v", name, n, err)
		}
	}
}

func edit(st *meta.State, ino meta.Inode) *meta.Node {
	n, _ := st.Nodes.Edit(ino)
	return n
}

// changes has one change each to a State, and how all differences begin.
var changes = []struct {
	name   string
	change func(*meta.State)
	want   []string
}{
	{"mode", func(st *meta.State) { edit(st, 6).Mode = 0o600 }, []string{`NODE inode 6 ("/d/e/b") Mode: file 0644, image 0600`}},
	{"two fields", func(st *meta.State) { n := edit(st, 5); n.UID, n.Eattr = 7, 0x81 }, []string{
		`NODE inode 5 ("/d/e") Eattr: file 0x00, image 0x81`, `NODE inode 5 ("/d/e") UID: file 1000, image 7`,
	}},
	{"derived", func(st *meta.State) { n := edit(st, 6); n.Ratio, n.Flags = 9, meta.HasXattr }, nil},
	{"chunk", func(st *meta.State) { st.SetSlot(3, edit(st, 3), 3, 77) }, []string{`NODE inode 3 ("/d/a") Chunk[3]: file 0000000000000002, image 000000000000004D`}},
	{"chunk behind the end", func(st *meta.State) { n := edit(st, 6); n.Slots = 5; st.SetSlot(6, n, 4, 77) }, []string{`NODE inode 6 ("/d/e/b") Used: file 1, image 2`}},
	{"hole behind the end", func(st *meta.State) { edit(st, 6).Slots = 5 }, nil},
	{"target", func(st *meta.State) { p, _ := st.Symlinks.Edit(4); *p = "x" }, []string{`NODE inode 4 ("/ln") Target: file "d/a", image "x"`}},
	{"counts", func(st *meta.State) { st.Scalars.Nodes.All, st.MaxInode = 13, 14 }, []string{`NODE count: file 12, image 13`, `NODE max inode: file 12, image 14`}},
	{"node more", func(st *meta.State) { st.Nodes.Insert(99, meta.Node{Type: meta.TypeFifo, Links: 1, Parent: 2}) }, []string{`NODE inode 99: file absent, image {Type:4`}},
	{"node less", func(st *meta.State) { st.Nodes.Delete(6) }, []string{`NODE inode 6: file {Type:1 Class:12`}},
	{"edge gone", func(st *meta.State) { st.Edges.Delete(5, []byte("b")) }, []string{`EDGE 5/"b" ("/d/e"): file inode 6 id 7FFFFFFFFFFFFFF9, image absent`}},
	{"directory emptied", func(st *meta.State) { st.Edges.Delete(2, []byte("a")); st.Edges.Delete(2, []byte("e")) }, []string{
		`EDGE 2/"a" ("/d"): file inode 3 id 7FFFFFFFFFFFFFF4, image absent`, `EDGE 2/"e" ("/d"): file inode 5 id 7FFFFFFFFFFFFFF5, image absent`,
	}},
	{"edge more", func(st *meta.State) { st.Edges.InsertHead(12, []byte("new"), 6, false, 5) }, []string{`EDGE 12/"new" ("/sub"): file absent, image inode 6 id 0000000000000005`}},
	{"edge more in the middle", func(st *meta.State) { st.Edges.InsertTail(1, []byte("new"), 6, false, 5) }, []string{`EDGE 1/"new" ("/"): file absent, image inode 6 id 0000000000000005`}},
	{"edge leads elsewhere", func(st *meta.State) {
		st.Edges.Delete(5, []byte("sock"))
		st.Edges.InsertTail(5, []byte("sock"), 11, false, 9)
	}, []string{`EDGE 5/"sock" ("/d/e") Child: file 9, image 11`, `EDGE 5/"sock" ("/d/e") ID: file 7FFFFFFFFFFFFFFB, image 0000000000000009`}},
	{"edge id", func(st *meta.State) { st.Edges.SetID(1, []byte("d"), 9) }, []string{`EDGE 1/"d" ("/") ID: file 7FFFFFFFFFFFFFEB, image 0000000000000009`}},
	{"order in a directory", func(st *meta.State) {
		st.Edges.Delete(1, []byte("d"))
		st.Edges.InsertTail(1, []byte("d"), 2, true, edgeTop-19)
	}, []string{`EDGE directory 1 ("/") order: file "d" at 0, image "ln"`}},
	{"trash path", func(st *meta.State) {
		st.Detached.Delete(7)
		st.Detached.InsertHead(7, meta.Detached{Kind: meta.TypeTrash, EdgeID: edgeTop - 2, Path: "x"})
	}, []string{
		`EDGE detached inode 7 ("trash: x") Path: file "d/old", image "x"`,
	}},
	{"trash gone", func(st *meta.State) { st.Detached.Delete(7) }, []string{`EDGE detached inode 7: file {Kind:0 EdgeID:9223372036854775804 Path:d/old}, image absent`}},
	{"sustained more", func(st *meta.State) { st.Detached.InsertHead(6, meta.Detached{Kind: meta.TypeSustained, Path: "x"}) }, []string{`EDGE detached inode 6 ("sustained: x"): file absent, image {Kind:9 EdgeID:0 Path:x}`}},
	{"free order", func(st *meta.State) { st.Inodes.PopFree(); st.Inodes.PushFree(meta.FreedInode{Inode: 20, Freed: 400}) }, []string{
		`FREE entry 0 Freed: file 400, image 410`, `FREE entry 0 Inode: file 20, image 21`, `FREE entry 1 Freed: file 410, image 400`, `FREE entry 1 Inode: file 21, image 20`,
	}},
	{"free less", func(st *meta.State) { st.Inodes.PopFree(); st.Inodes.PopFree() }, []string{
		`FREE entry 0: file {Inode:20 Freed:400}, image absent`, `FREE entry 1: file {Inode:21 Freed:410}, image absent`,
	}},
	{"free more", func(st *meta.State) { st.Inodes.PushFree(meta.FreedInode{Inode: 30, Freed: 1}) }, []string{`FREE entry 2: file absent, image {Inode:30 Freed:1}`}},
	{"quota", func(st *meta.State) { q, _ := st.Quotas.Edit(2); q.Exceeded, q.HardReal = false, 9 }, []string{
		`QUOT inode 2 ("/d") Exceeded: file true, image false`, `QUOT inode 2 ("/d") HardReal: file 8, image 9`,
	}},
	{"quota moved", func(st *meta.State) { st.Quotas.Delete(2); st.Quotas.Insert(5, meta.Quota{}) }, []string{
		`QUOT inode 2: file {Grace:3600`, `QUOT inode 5 ("/d/e"): file absent, image {Grace:0`,
	}},
	{"attribute value", func(st *meta.State) { st.Xattrs.Put(3, []byte("user.a"), []byte("xz")) }, []string{`XATR inode 3 ("/d/a") "user.a": file 7879, image 787A`}},
	{"attribute order", func(st *meta.State) {
		st.Xattrs.Delete(3, []byte("user.a"))
		st.Xattrs.Append(3, []byte("user.a"), []byte("xy"))
	}, []string{
		`XATR inode 3 ("/d/a") order: file ["user.a" "user.b"], image ["user.b" "user.a"]`,
	}},
	{"attribute renamed", func(st *meta.State) { st.Xattrs.Delete(3, []byte("user.a")); st.Xattrs.Put(3, []byte("user.c"), nil) }, []string{
		`XATR inode 3 ("/d/a") "user.a": file 7879, image absent`, `XATR inode 3 ("/d/a") "user.c": file absent, image `,
		`XATR inode 3 ("/d/a") order: file`,
	}},
	{"attribute of another node", func(st *meta.State) { st.Xattrs.Put(6, []byte("x"), nil) }, []string{`XATR inode 6 ("/d/e/b"): file absent, image [{Name:x Value:[]}]`}},
	{"ACL", func(st *meta.State) { a, _ := st.ACLs.Edit(meta.ACLKey{Inode: 5, Type: 1}); a.Mask, a.Groups = 1, nil }, []string{
		`PACL inode 5 type 1 ("/d/e") Groups: file [{ID:78 Perm:5}], image []`, `PACL inode 5 type 1 ("/d/e") Mask: file 6, image 1`,
	}},
	{"ACL moved", func(st *meta.State) {
		st.ACLs.Delete(meta.ACLKey{Inode: 5, Type: 2})
		st.ACLs.Insert(meta.ACLKey{Inode: 6, Type: 1}, meta.ACL{})
	}, []string{
		`PACL inode 5 type 2: file {User:7`, `PACL inode 6 type 1 ("/d/e/b"): file absent, image {User:0`,
	}},
	{"open files", func(st *meta.State) { st.Open.Remove(1, 3); st.Open.Add(1, 6) }, []string{
		`OPEN session 1 inode 3 ("/d/a"): file open, image absent`, `OPEN session 1 inode 6 ("/d/e/b"): file absent, image open`,
	}},
	{"file locks", func(st *meta.State) { f, _ := st.Flocks.Edit(3); *f = (*f)[:1] }, []string{`FLCK inode 3 ("/d/a"): file [{Session:1 Owner:161 Write:false} {Session:2 Owner:162 Write:false}], image [{Session:2 Owner:162 Write:false}]`}},
	{"order of file locks", func(st *meta.State) { f, _ := st.Flocks.Edit(3); slices.Reverse(*f) }, nil},
	{"type of a file lock", func(st *meta.State) { f, _ := st.Flocks.Edit(3); (*f)[0].Write = true }, []string{`FLCK inode 3 ("/d/a"): file`}},
	{"range locks", func(st *meta.State) { p, _ := st.Plocks.Edit(3); (*p)[1].Ranges[0].End = 6 }, []string{`PLCK inode 3 ("/d/a"): file [{Session:1`}},
	{"chunkservers", func(st *meta.State) {
		s, _ := st.Servers.Edit(meta.Server{IP: 0x0A000001, Port: 9422})
		s.Maintenance = 2
		st.Servers.Delete(meta.Server{IP: 0x0A000002, Port: 9422})
		st.Servers.Insert(meta.Server{IP: 0x0A000003, Port: 9422}, meta.ServerInfo{})
	}, []string{
		`CSDB 010.000.000.001:9422 Maintenance: file 0, image 2`, `CSDB 010.000.000.002:9422: file {ID:2 Maintenance:1 Timeout:4026531840}, image absent`,
		`CSDB 010.000.000.003:9422: file absent, image {ID:0 Maintenance:0 Timeout:0}`,
	}},
	{"sessions", func(st *meta.State) {
		s, _ := st.Sessions.Edit(1)
		s.Info, s.Current[0], s.Disconnected, s.Flags = []byte("/mnt/b"), 8, 5, 1
		st.Sessions.Delete(2)
		st.Sessions.Insert(7, meta.Session{})
		st.NextSession = 9
	}, []string{
		`SESS next session: file 3, image 9`, `SESS session 1 Current: file [5 6 0`, `SESS session 1 Disconnected: file 0, image 5`, `SESS session 1 Flags: file 0x08, image 0x01`,
		`SESS session 1 Info: file "/mnt/a", image "/mnt/b"`, `SESS session 2: file {`, `SESS session 7: file absent, image {`,
	}},
	{"classes", func(st *meta.State) {
		c, _ := st.Classes.Edit(10)
		c.Name, c.Files = "x", 99
		st.Classes.Delete(12)
		st.Classes.Insert(13, meta.Class{})
	}, []string{`SCLA class 10 Name: file "ten", image "x"`, `SCLA class 12: file {Name:twelve`, `SCLA class 13: file absent, image {Name: `}},
	{"chunks", func(st *meta.State) {
		c, _ := st.Chunks.Edit(1)
		c.Version, c.Files = 2, 7
		c, _ = st.Chunks.Edit(2)
		c.Flags, c.LockedTo = 0, 991
		st.Chunks.Delete(3)
		st.Chunks.Insert(9, meta.Chunk{})
		st.NextChunk = 10
	}, []string{
		`CHNK 0000000000000001 Version: file 1, image 2`, `CHNK 0000000000000002 Flags: file 0x01, image 0x00`, `CHNK 0000000000000002 LockedTo: file 990, image 991`,
		`CHNK 0000000000000003: file {`, `CHNK 0000000000000009: file absent, image {`, `CHNK next chunk: file 4, image 10`,
	}},
	{"scalars", func(st *meta.State) { st.MetaID, st.NextEdge = 5, 6 }, []string{`EDGE next edge id: file 9223372036854775786, image 6`, `HEAD MetaID: file 7711329789571386119, image 5`}},
}

func TestCompare(t *testing.T) {
	for _, tc := range changes {
		t.Run(tc.name, func(t *testing.T) {
			st, h, err := readRaw(sample().bytes())
			if err != nil {
				t.Fatal(err)
			}
			file := mustWrite(t, st, h, WriteOptions{})
			tc.change(st)
			got := differences(t, file, st, strict)
			slices.Sort(got)
			match := slices.EqualFunc(got, tc.want, strings.HasPrefix)
			if !match {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}

// TestCompareLeavesOut: what a replica cannot know is ignored unless asked for.
func TestCompareLeavesOut(t *testing.T) {
	st, h, err := readRaw(sample().bytes())
	if err != nil {
		t.Fatal(err)
	}
	file := mustWrite(t, st, h, WriteOptions{})
	s, _ := st.Sessions.Edit(1)
	s.Current[3], s.Last[4], s.Disconnected = 1, 2, 3
	f, _ := st.Flocks.Edit(3)
	(*f)[0].Write = true
	c, _ := st.Chunks.Edit(1) // unlocked in the file
	c.LockedTo = 500
	locked, _ := st.Chunks.Edit(2) // locked in the file
	locked.LockedTo = 0
	st.Sessions.Insert(99, meta.Session{Disconnected: 5, Open: 1}) // closed by its client, says the file
	st.Open.Add(99, 1)
	for _, tc := range []struct {
		name string
		opt  CompareOptions
		want int
	}{
		{"default", CompareOptions{}, 0},
		{"stored after the lock ended", CompareOptions{Now: 501}, 0},
		{"stored when the lock ended", CompareOptions{Now: 500}, 1},
		{"same version", CompareOptions{Version: h.Version}, 0},
		{"another version", CompareOptions{Version: h.Version + 1}, 1},
		{"counters", CompareOptions{Counters: true}, 2},
		{"disconnects", CompareOptions{Disconnects: true}, 3},
		{"chunk locks", CompareOptions{ChunkLocks: true}, 1},
		{"lock types", CompareOptions{LockTypes: true}, 1},
	} {
		if got := differences(t, file, st, tc.opt); len(got) != tc.want {
			t.Errorf("%s: %q, want %d differences", tc.name, got, tc.want)
		}
	}
}

func TestCompareNeedsAStoredFile(t *testing.T) {
	st, _, err := readRaw(sample().bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, want string
		change     func(*raw)
	}{
		{"another order", "in their order", func(r *raw) { r.order[3], r.order[4] = "FREE", "EDGE" }},
		{"a section missing", "section CHNK is missing", func(r *raw) { r.order = r.order[:12] }},
		{"attributes not together", "do not stand together", func(r *raw) { r.add("XATR", pack(u32(4), u8(1), u32(0), "x"), pack(u32(3), u8(1), u32(0), "z")) }},
		{"cut", "the file ends", func(r *raw) { r.tail = "" }},
	} {
		r := sample()
		tc.change(r)
		if _, err := Compare(bytes.NewReader(r.bytes()), st, CompareOptions{}, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q in it", tc.name, err, tc.want)
		}
	}
}

// Inodes freed at one time are in the order of a list that reading a file
// turns round.
func TestCompareFreedAtOnce(t *testing.T) {
	const ino = 4000
	file, _, err := readRaw(sample().bytes())
	if err != nil {
		t.Fatal(err)
	}
	same, other := metatest.Clone(file), metatest.Clone(file)
	for i := range meta.Inode(3) {
		file.Inodes.PushFree(meta.FreedInode{Inode: ino + i, Freed: 500})
		same.Inodes.PushFree(meta.FreedInode{Inode: ino + 2 - i, Freed: 500})
		other.Inodes.PushFree(meta.FreedInode{Inode: ino + 3 - i, Freed: 500})
	}
	var buf bytes.Buffer
	if err := Write(&buf, file, Header{Version: 7}, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := differences(t, buf.Bytes(), same, CompareOptions{}); len(got) != 0 {
		t.Errorf("another order: %q", got)
	}
	if got := differences(t, buf.Bytes(), other, CompareOptions{}); len(got) == 0 {
		t.Error("another inode is not noticed")
	}
}
