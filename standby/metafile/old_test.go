package metafile

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
)

// oldNode turns a record of NODE 1.4 into one of an older version; sessions
// have a file open.
func oldNode(b []byte, version u8, sessions ...u32) []byte {
	if len(b) == 1 {
		return b
	}
	kind := meta.Type(b[0])
	be := binary.BigEndian
	out := []byte{b[0]}
	if version < 0x13 {
		out[0] = nodeLettersOld[kind]
	}
	out = append(out, b[1:6]...) // inode, class
	if version < 0x12 {
		out = be.AppendUint16(out, u16(b[6])<<12|be.Uint16(b[8:])&0xFFF)
	} else {
		out = append(append(out, b[6]), b[8:10]...)
	}
	out = append(out, b[10:30]...)
	out = be.AppendUint32(out, 3600*u32(be.Uint16(b[30:])))
	tail := b[32:]
	if kind.IsFile() {
		out = append(out, tail[:12]...)
		out = be.AppendUint16(out, u16(len(sessions)))
		out = append(out, tail[12:]...)
		return append(out, pack(sessions)...)
	}
	return append(out, tail...)
}

// downgrade turns a section of the sample into one of an older version.
func downgrade(r *raw, name string, version u8) {
	r.head[name] = fmt.Sprintf("%s %d.%d", name, version>>4, version&0xF)
	list := r.records[name]
	cut := func(from, to int) { // out of each record but the first
		for i, b := range list[1:] {
			list[i+1] = append(bytes.Clone(b[:from]), b[to:]...)
		}
	}
	switch name {
	case "NODE":
		if version < 0x11 {
			list[0] = list[0][:4]
		}
		for i := range list[1:] {
			list[i+1] = oldNode(list[i+1], version)
		}
	case "EDGE":
		list[0] = nil
		cut(8, 16)
	case "QUOT":
		cut(4, 8)
	case "PACL": // the same
	case "CSDB":
		cut([]int{6, 8, 9}[version-0x10], 13)
	case "CHNK":
		cut(16, 17)
	case "SESS":
		if version < 0x15 {
			cut(53, 57) // disables
		}
		if version < 0x14 {
			cut(25, 27) // umask
		}
		if version < 0x13 {
			cut(4, 12) // exports sum
		}
		if version < 0x12 {
			list[0] = pack(u16(version-0x0F), list[0])
		}
		if version < 0x11 {
			cut(43, 47) // disconnected
		}
	case "SCLA":
		downgradeClasses(r, version)
	}
}

// downgradeClasses makes descriptions of the labels and records without names.
func downgradeClasses(r *raw, version u8) {
	r.head["SCLA"] = fmt.Sprintf("LABS %d.%d", version>>4, version&0xF)
	list := r.records["SCLA"]
	groups := 4
	list[0] = pack(u8(3), "ssd", make([]byte, 25))
	if version > 0x10 {
		list[0] = append(list[0], 4)
	} else {
		groups = 1
	}
	for i, labels := range []int{2, 4, 0} {
		id := u16(0)
		if labels > 0 {
			id = binary.BigEndian.Uint16(list[i+1])
		}
		masks := make([]byte, labels*4*groups)
		n := u8(labels)
		delay, mode := u16(3), u8(1)
		if labels == 0 {
			delay, mode = 0, 0
		}
		switch version {
		case 0x10, 0x11, 0x13:
			list[i+1] = pack(id, n, masks)
		case 0x12:
			chunks := u32(labels) // of two numbers each
			list[i+1] = pack(id, n, chunks, u32(9), masks, make([]byte, 8*chunks))
		case 0x14:
			list[i+1] = pack(id, mode, n, n, masks, masks)
		case 0x15:
			list[i+1] = pack(id, mode, delay, n, n, n, masks, masks, masks)
		}
	}
}

// TestOldSections reads the sample with one section of an older version each.
// What a section does not hold must have the value that 3.0.117 puts there, and
// nothing else may change.
func TestOldSections(t *testing.T) {
	sessions := func(change func(*meta.Session)) func(*content) {
		return func(c *content) {
			for id, s := range c.Sessions {
				change(&s)
				c.Sessions[id] = s
			}
		}
	}
	classes := func(delay u16) func(*content) {
		return func(c *content) {
			for id, class := range c.Classes {
				if id >= meta.FirstOwnClass {
					class.Name, class.ArchDelay = fmt.Sprintf("sclass_%d", id-9), delay
					c.Classes[id] = class
				}
			}
		}
	}
	noEdgeIDs := func(c *content) {
		c.Scalars.NextEdge = meta.EdgeIDMax
		for parent, list := range c.Edges {
			for i := range list {
				list[i].ID, list[i].Order = 0, meta.NoEdgeID+u64(i)
			}
			c.Edges[parent] = list
		}
		for ino, d := range c.Detached {
			d.EdgeID = 0
			c.Detached[ino] = d
		}
	}
	same := func(*content) {}
	for _, tc := range []struct {
		name    string
		version u8
		want    func(*content)
	}{
		{"NODE", 0x10, same}, {"NODE", 0x11, same}, {"NODE", 0x12, same}, {"NODE", 0x13, same},
		{"EDGE", 0x10, noEdgeIDs},
		{"QUOT", 0x10, func(c *content) { q := c.Quotas[2]; q.Grace = 604800; c.Quotas[2] = q }},
		{"PACL", 0x10, same},
		{"CSDB", 0x10, func(c *content) {
			for key := range c.Servers {
				c.Servers[key] = meta.ServerInfo{}
			}
		}},
		{"CSDB", 0x11, func(c *content) {
			for key, s := range c.Servers {
				c.Servers[key] = meta.ServerInfo{ID: s.ID}
			}
		}},
		{"CSDB", 0x12, func(c *content) {
			for key, s := range c.Servers {
				s.Timeout = 0
				c.Servers[key] = s
			}
		}},
		{"SESS", 0x10, sessions(func(s *meta.Session) { s.ExportsSum, s.Umask, s.Disables, s.Disconnected = 0, 0, 0, 0 })},
		{"SESS", 0x11, sessions(func(s *meta.Session) { s.ExportsSum, s.Umask, s.Disables = 0, 0, 0 })},
		{"SESS", 0x12, sessions(func(s *meta.Session) { s.ExportsSum, s.Umask, s.Disables = 0, 0, 0 })},
		{"SESS", 0x13, sessions(func(s *meta.Session) { s.Umask, s.Disables = 0, 0 })},
		{"SESS", 0x14, sessions(func(s *meta.Session) { s.Disables = 0 })},
		{"SCLA", 0x10, classes(0)}, {"SCLA", 0x11, classes(0)}, {"SCLA", 0x12, classes(0)}, {"SCLA", 0x13, classes(0)},
		{"SCLA", 0x14, classes(0)}, {"SCLA", 0x15, classes(3)},
	} {
		t.Run(fmt.Sprintf("%s %x", tc.name, tc.version), func(t *testing.T) {
			plain, _, err := readRaw(sample().bytes())
			if err != nil {
				t.Fatal(err)
			}
			want := contentOf(plain)
			tc.want(&want)
			r := sample()
			downgrade(r, tc.name, tc.version)
			file := r.bytes()
			st, h, err := readRaw(file)
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, contentOf(st), want)
			var text bytes.Buffer
			if err := Dump(&text, bytes.NewReader(file), DumpOptions{}); err != nil {
				t.Errorf("Dump: %v", err)
			}
			opt := CompareOptions{Version: h.Version, Counters: true, Disconnects: true, LockTypes: true, ChunkLocks: true}
			_, err = Compare(bytes.NewReader(file), st, opt, func(d Difference) {
				if d.Table != "SCLA" || d.File != absent { // the sample leaves out the predefined ones
					t.Errorf("compared with itself: %v", d)
				}
			})
			if err != nil {
				t.Errorf("Compare: %v", err)
			}
		})
	}
}

// TestChunkArchive: CHNK 1.0 has no archive flag.
func TestChunkArchive(t *testing.T) {
	r := sample()
	downgrade(r, "CHNK", 0x10)
	st, _, err := readRaw(r.bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []meta.ChunkID{1, 2, 3} {
		if c, ok := st.Chunks.Get(id); !ok || c.Flags != 0 {
			t.Errorf("chunk %d: %+v, %v, want it without archive flag", id, c, ok)
		}
	}
}

// TestRepairedACL: an empty mask of PACL 1.0 permits all, and owner and others
// are as the mode says.
func TestRepairedACL(t *testing.T) {
	r := sample()
	downgrade(r, "PACL", 0x10)
	r.records["PACL"][0] = pack(u32(5), u8(1), [6]u16{0o10, 5, 0o21, 0, 0, 0})
	st, _, err := readRaw(r.bytes())
	if err != nil {
		t.Fatal(err)
	}
	want := meta.ACL{User: 0o16, Group: 5, Other: 0o24, Mask: 7} // mode 0644
	if got, _ := st.ACLs.Get(meta.ACLKey{Inode: 5, Type: meta.ACLAccess}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// bare is a file of format 1.5 with what the sample has: nodes with a trash
// time of an hour and a second, and who has them open.
func bare() []byte {
	r := sample()
	for _, name := range []string{"NODE", "EDGE", "CHNK"} {
		downgrade(r, name, 0x10)
	}
	r.records["NODE"][3] = oldNode(sample().records["NODE"][3], 0x10, 1, 2)
	b := pack("MFSM 1.5", u32(12), u64(50), u32(3))
	for _, rec := range r.records["NODE"][1:] {
		if len(rec) > 1 {
			binary.BigEndian.PutUint32(rec[28:], 3601)
			rec[5] = 1     // goal
			rec[6] |= 0x20 // no attribute cache
		}
		b = append(b, rec...)
	}
	for _, name := range []string{"EDGE", "FREE", "CHNK"} {
		b = append(b, bytes.Join(r.records[name], nil)...)
	}
	return b
}

func TestBareFile(t *testing.T) {
	file := bare()
	st, h, err := readRaw(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Header{Format: 0x15, MaxInode: 12, Version: 50, NextSession: 3}); h != want {
		t.Errorf("header %+v, want %+v", h, want)
	}
	if quick, err := ReadHeader(bytes.NewReader(file), int64(len(file))); err != nil || quick != h {
		t.Errorf("quick check: %+v, %v", quick, err)
	}
	n, _ := st.Nodes.Get(3)
	if n.Trash() != 3601 || n.TrashHours != 2 || n.Eattr != meta.EattrNoACache || n.Mode != 0o644 {
		t.Errorf("node 3: %+v, want 3601 s of trash, eattr 2, mode 0644", n)
	}
	if !st.Open.Has(1, 3) || !st.Open.Has(2, 3) || st.Open.Any(6) {
		t.Errorf("open: %v, want inode 3 for sessions 1 and 2", contentOf(st).Open)
	}
	if st.NextSession != 3 || st.MaxInode != 12 || st.NextEdge != meta.EdgeIDMax {
		t.Errorf("scalars: %+v", *st.Scalars)
	}
	// New names go in front although no name has an id.
	st.Edges.InsertHead(1, []byte("new"), 6, false, 0)
	if list := st.Edges.List(1); string(list[0].Name) != "new" || string(list[1].Name) != "d" {
		t.Errorf("names of the root: %+v", list)
	}
	if _, err := Compare(bytes.NewReader(file), st, CompareOptions{}, nil); err != nil {
		t.Errorf("Compare: %v", err)
	}
	for n := range file {
		if _, _, err := readRaw(file[:n]); err == nil {
			t.Fatalf("loads although cut to %d of %d bytes", n, len(file))
		}
	}
	if _, _, err := readRaw(append(file, 0)); err == nil || !strings.Contains(err.Error(), "wrong ending") {
		t.Errorf("with a byte more: %v", err)
	}
}

// TestMarkedFile: format 1.7 has section headers, and a section LOCK that
// nobody reads.
func TestMarkedFile(t *testing.T) {
	r := sample()
	r.signature = "MFSM 1.7"
	for _, name := range []string{"NODE", "EDGE", "QUOT", "CHNK"} {
		downgrade(r, name, 0x10)
	}
	r.records["NODE"][0] = nil
	r.order = []string{"NODE", "EDGE", "FREE", "LOCK", "QUOT", "XATR", "CHNK"}
	r.head["LOCK"], r.records["LOCK"] = "LOCK 1.0", [][]byte{[]byte("whatever")}
	file := r.bytes()
	copy(file[8:], pack(u32(12), u64(50), u32(3)))
	for i, rec := range r.records["NODE"] {
		_ = i
		if len(rec) > 1 && rec[5] > 9 { // class: only goals in such a file
			at := bytes.Index(file, rec)
			file[at+5] = 3
		}
	}
	st, h, err := readRaw(file)
	if err != nil {
		t.Fatal(err)
	}
	q, ok := st.Quotas.Get(2)
	if x, _ := st.Xattrs.Get(3, []byte("user.a")); h.Format != 0x17 || !ok || q.HardInodes != 2 || string(x) != "xy" {
		t.Errorf("header %+v, quota %+v, xattr %q", h, q, x)
	}
	if _, err := Compare(bytes.NewReader(file), st, CompareOptions{}, func(d Difference) { t.Error(d) }); err != nil {
		t.Errorf("Compare: %v", err)
	}
}

// oldFixture returns a file that a real master of an older release stored.
func oldFixture(t testing.TB, release, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", release, name))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(name, ".gz") {
		return b
	}
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if b, err = io.ReadAll(zr); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOldFixtures reads files of real masters of older releases, and prints
// them as mfsmetadump 3.0.117 does.
func TestOldFixtures(t *testing.T) {
	for _, release := range []string{"1.6.27-a", "2.0.91-a"} {
		t.Run(release, func(t *testing.T) {
			for _, name := range []string{"before.mfs", "after.mfs.gz"} {
				file := oldFixture(t, release, name)
				st, _ := mustRead(t, file)
				n, err := Compare(bytes.NewReader(file), st, CompareOptions{Counters: true, Disconnects: true}, func(d Difference) { t.Errorf("%s: %v", name, d) })
				if n != 0 || err != nil {
					t.Errorf("%s: %d differences, %v", name, n, err)
				}
			}
			var got bytes.Buffer
			if err := Dump(&got, bytes.NewReader(oldFixture(t, release, "after.mfs.gz")), DumpOptions{Misread: true}); err != nil {
				t.Fatal(err)
			}
			want := string(oldFixture(t, release, "after.dump.gz"))
			if got.String() != want {
				g, w := strings.Split(got.String(), "\n"), strings.Split(want, "\n")
				for i := range min(len(g), len(w)) {
					if g[i] != w[i] {
						t.Fatalf("line %d:\n got %s\nwant %s", i+1, g[i], w[i])
					}
				}
				t.Fatalf("%d lines, want %d", len(g), len(w))
			}
		})
	}
}

// TestReadByLater reads old files as 3.0.117 does: open files of nodes count as
// entries, and trash times are in hours.
func TestReadByLater(t *testing.T) {
	for _, tc := range []struct {
		release string
		version meta.Version // that it reads
	}{{"1.6.27-a", 319 + 62}, {"2.0.91-a", 38}} {
		file := oldFixture(t, tc.release, "after.mfs.gz")
		for _, by := range []meta.Release{0, meta.Reproduced} {
			st := metatest.New()
			h, err := Read(bytes.NewReader(file), st, ReadOptions{Release: by})
			if err != nil {
				t.Fatal(err)
			}
			quick, err := ReadHeader(bytes.NewReader(file), int64(len(file)))
			if err != nil {
				t.Fatal(err)
			}
			root, _ := st.Nodes.Get(meta.Root)
			seconds := root.Flags&meta.TrashSeconds != 0
			want, wantSeconds := quick.Version, true
			if by != 0 {
				want, wantSeconds = tc.version, false
			}
			if h.Version != want || seconds != wantSeconds || st.Release.Since(meta.Release3) != (by != 0) {
				t.Errorf("%s by %q: version %d, seconds %v, release %s; want %d and %v", tc.release, by, h.Version, seconds, st.Release, want, wantSeconds)
			}
		}
	}
}
