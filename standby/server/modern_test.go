package server

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

var latest = wire.NewRelease(4, 59, 2)

// newModern is newFixture with the image of a 4.59.2 primary, and some of what
// only that has.
func newModern(t *testing.T, exportLines string, change ...func(*Config)) *fixture {
	t.Helper()
	f := newFixtureOf(t, meta.Latest, exportLines, change...)
	f.apply(
		"1000|CREATE(1,dir,2,511,0,0,0,0):2", "1000|CREATE(2,file,1,420,0,7,8,0):3", "1000|CREATE(2,gone,1,420,0,7,8,0):4",
		"1000|SCSET(fast,1,1,for few,5,3,C(0:0:255),K(2:0:255),A(1:0:68:255),T(0:0:0:255),1,(17:0:0),9,0,C0,C0C180,FF):5",
		"1000|PATADD(*.bak,4294967295,4294967295,9,3,5,7,0,0)", "1000|PATADD(x*,7,8,200,4,0,0,1,4)",
		"1000|WRITE(4,0,1,0):1", "1000|LENGTH(4,5,0)", "1000|UNLOCK(1)", "1000|UNLINK(2,gone):4",
	)
	return f
}

// mountAs mounts as a client of a release, in whose forms answers are read that
// are not newer than the server's.
func (f *fixture) mountAs(client wire.Release) *client {
	f.t.Helper()
	c := f.dial()
	c.rel = client
	c.register(&wire.ClientRegister{Code: wire.RegisterNewSession, Release: client, Info: []byte("/mnt\x00"), Path: []byte("/")})
	c.rel = min(client, c.ses.Release)
	return c
}

func (c *client) next() uint32 {
	c.id++
	return c.id
}

// Clients are told the primary's release, of those whose forms the server
// speaks, and get the forms of the older of both.
func TestAnnounced(t *testing.T) {
	for _, tc := range []struct {
		primary, want meta.Release
	}{
		{0, meta.Reproduced}, {meta.NewRelease(1, 6, 27), meta.Reproduced}, {meta.NewRelease(2, 0, 91), meta.Reproduced},
		{meta.NewRelease(3, 0, 74), meta.Reproduced}, {meta.NewRelease(3, 0, 75), meta.NewRelease(3, 0, 75)},
		{meta.Reproduced, meta.Reproduced}, {meta.NewRelease(3, 0, 118), meta.NewRelease(3, 0, 117)},
		{meta.NewRelease(4, 20, 0), meta.Reproduced}, {meta.NewRelease(4, 56, 5), meta.NewRelease(4, 56, 5)},
		{meta.Latest, meta.Latest}, {meta.NewRelease(4, 60, 0), meta.Latest},
	} {
		st := &meta.State{Scalars: &meta.Scalars{Release: tc.primary}}
		if got := announced(st); got.String() != tc.want.String() {
			t.Errorf("a primary of %v: announced %v, want %v", tc.primary, got, tc.want)
		}
	}
}

func TestModernSessions(t *testing.T) {
	f := newModern(t, "* / rw,alldirs,admin,maproot=0:0,sclassgroups=1:3\n* . rw\n")
	c := f.mountAs(latest)
	if c.ses.Release != latest || c.ses.Groups != 1<<1|1<<3 || c.ses.Process != f.srv.process {
		t.Errorf("a new session: %+v", c.ses)
	}
	if a, st := c.lookup(2, "file", wire.Identity{GIDs: wire.PackNumbers(0)}); st != meta.OK || a.Inode != 3 {
		t.Errorf("lookup: %+v %v", a, st)
	}
	d := f.dial()
	(&wire.ClientRegister{Code: wire.RegisterReconnect, Release: latest, Session: c.ses.Session}).Append(&d.out)
	if a, err := reconnected(d); err != nil || a != (wire.Reconnected{Release: latest, Process: f.srv.process, Status: meta.OK}) {
		t.Errorf("reconnecting: %+v %v", a, err)
	}
	// What needs no answer must not end the connection.
	for _, p := range []struct {
		t wire.Type
		n int
	}{{wire.FuseOpData, 28}, {wire.FuseOpData, 44}, {wire.FuseWorkFlags, 1}} {
		c.out.Begin(p.t)
		c.out.Bytes(make([]byte, p.n))
		c.out.End()
	}
	if old := f.mountAs(newestPlain); old.ses.Release != latest || old.ses.MaxGoal != 9 || old.ses.Process != 0 {
		t.Errorf("an older client: %+v", old.ses)
	}
	if a, st := c.lookup(2, "file", wire.Identity{GIDs: wire.PackNumbers(0)}); st != meta.OK || a.Inode != 3 {
		t.Errorf("lookup: %+v %v", a, st)
	}
	// An upgrade of the primary is a restart to its clients.
	f.update(func(st *meta.State) error { st.Scalars.Release = meta.NewRelease(4, 59, 1); return nil })
	(&wire.EmptyRequest{MsgID: 1}).Append(&c.out, wire.FuseStatfs)
	if !c.closed(wire.FuseStatfs) {
		t.Error("a connection that was told another release goes on")
	}
}

// A list of names is given in pages, with where the next one begins.
func TestModernReaddir(t *testing.T) {
	f := newModern(t, everyone)
	c := f.mountAs(latest)
	var names []string
	var cursor uint64
	for range 10 {
		p := wire.Readdir{MsgID: c.next(), Inode: 1, Identity: wire.Identity{GIDs: wire.PackNumbers(0)}, Paged: true, Max: 1, Cursor: cursor}
		p.Append(&c.out)
		a := wire.ReaddirReply{Paged: true}
		if err := a.Decode(wire.NewDecoder(c.roundTrip(wire.FuseReaddir))); err != nil {
			t.Fatal(err)
		}
		for d := wire.NewDecoder(a.Entries); d.Len() > 0; {
			var e wire.DirEntry
			if err := e.Decode(d, p.Flags, c.rel); err != nil {
				t.Fatal(err)
			}
			names = append(names, string(e.Name))
		}
		if cursor = a.Cursor; cursor == cursorEnd {
			break
		}
	}
	if got := strings.Join(names, " "); got != ". .. dir" || cursor != cursorEnd {
		t.Errorf("got %q, and then %#x", got, cursor)
	}
}

func TestModernTools(t *testing.T) {
	f := newModern(t, everyone)
	c := f.mountAs(latest)
	var class wire.ModernClass
	for form := uint8(wire.OldestModernForm); form <= wire.NewestClassForm; form++ {
		(&wire.ListClasses{MsgID: c.next(), Long: form}).Append(&c.out)
		d := wire.NewDecoder(c.roundTrip(wire.ClassList))
		d.U32()
		n := 0
		for d.Len() > 0 {
			if err := class.Decode(d, form); err != nil {
				t.Fatalf("form %d: %v", form, err)
			}
			n++
		}
		if n != 5 || class.Name != "fast" || len(class.Parts[meta.PartKeep].Exprs) != 2 || class.Parts[meta.PartArch].EC != 0x41 {
			t.Errorf("form %d: %d classes, the last %+v", form, n, class.Class)
		}
	}
	if class.ID != 5 || class.Description != "for few" || class.Priority != 5 || class.Group != 3 || class.MinTrash != 9 {
		t.Errorf("got %+v", class.Class)
	}
	(&wire.ListClasses{MsgID: c.next(), Long: 1}).Append(&c.out)
	if p := c.roundTrip(wire.ClassList); !bytes.Contains(p, []byte("\x033CP")) || !bytes.Contains(p, []byte("\x04****")) || bytes.Contains(p, []byte("fast")) {
		t.Errorf("classes as before 4.x: %q", p)
	}
	c.out.Begin(wire.PatternList)
	c.out.U32(c.next())
	c.out.U8(0)
	c.out.End()
	patterns := c.roundTrip(wire.PatternList)[4:]
	if !bytes.Equal(patterns, f.dial().inform(wire.InfoPatterns)) {
		t.Errorf("tools and monitors are told other patterns")
	}
	var list []wire.PatternInfo
	for d := wire.NewDecoder(patterns); d.Len() > 0; {
		var p wire.PatternInfo
		if err := p.Decode(d); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	if len(list) != 2 || list[0].Glob != "x*" || list[0].UID != 7 || len(list[0].ClassName) != 0 || string(list[1].ClassName) != "fast" || list[1].TrashHours != 7 {
		t.Errorf("patterns %+v", list)
	}
	for _, change := range []wire.Type{wire.PatternAdd, wire.PatternDelete, wire.TrashRecover, wire.TrashRemove, wire.SetAllOfNode} {
		c.out.Begin(change)
		c.out.U32(c.next())
		c.out.End()
		if _, st, ok := wire.ReplyStatus(c.roundTrip(change)); !ok || st != meta.EROFS {
			t.Errorf("%v: %v", change, st)
		}
	}
}

func TestModernTrash(t *testing.T) {
	f := newModern(t, everyone)
	f.apply("1000|CREATE(2,held,1,420,0,7,8,0):5", "1000|SETTRASHTIME(5,0,0,0):1,0,0", "1000|ACQUIRE(1,5)", "1000|UNLINK(2,held):5")
	c := f.mountAs(latest)
	ask := func(p wire.TrashListRequest, of wire.Type) *wire.Decoder {
		t.Helper()
		p.MsgID = c.next()
		p.Append(&c.out, of)
		d := wire.NewDecoder(c.roundTrip(of))
		d.U32()
		return d
	}
	for _, tc := range []struct {
		uid      uint32
		from, to meta.Time
		glob     string
		want     [3]uint32
	}{
		{meta.AnyID, 0, 2000, "*", [3]uint32{1, 1, 1}},
		{7, 0, 2000, "dir/*", [3]uint32{1, 1, 1}},
		{8, 0, 2000, "*", [3]uint32{1, 0, 0}},
		{7, 0, 2000, "other*", [3]uint32{1, 1, 0}},
		{7, 0, 2000, "", [3]uint32{1, 1, 0}},
		{7, 1001, 2000, "*", [3]uint32{1, 1, 0}},
		{7, 0, 999, "*", [3]uint32{1, 1, 0}},
	} {
		for format := range uint8(2) {
			d := ask(wire.TrashListRequest{Format: format, UID: tc.uid, From: tc.from, To: tc.to, Glob: []byte(tc.glob)}, wire.TrashList)
			if got := [3]uint32{d.U32(), d.U32(), d.U32()}; got != tc.want {
				t.Errorf("%+v: %v", tc, got)
			}
			if tc.want[2] == 0 {
				continue
			}
			ino := d.U32()
			if format == 1 {
				var a wire.Attr
				if a.Decode(d, newestPlain); a.UID != 7 || a.Length != 5 || d.U16() != 24 {
					t.Errorf("attributes %+v", a)
				}
			}
			if path := string(d.Text()); ino != 4 || path != "dir/gone" || d.End() != nil {
				t.Errorf("%+v: inode %d at %q", tc, ino, path)
			}
		}
	}
	d := ask(wire.TrashListRequest{Part: 5, UID: meta.AnyID, Glob: []byte("*")}, wire.SustainedList)
	if got := [6]uint32{d.U32(), d.U32(), d.U32(), d.U32(), d.U32()}; got != [6]uint32{1, 1, 5, 1, 1} || string(d.Text()) != "dir/held" || d.End() != nil {
		t.Errorf("sustained: %v", got)
	}
}

func TestPathLookup(t *testing.T) {
	f := newModern(t, everyone)
	f.apply("1000|CREATE(1,closed,2,448,0,0,0,0):5", "1000|CREATE(5,in,1,420,0,0,0,0):6")
	c := f.mountAs(latest)
	for _, tc := range []struct {
		path   string
		status meta.Status
		parent meta.Inode
		name   string
		ino    meta.Inode
	}{
		{"", meta.OK, 0, "", 1}, {"/", meta.OK, 0, "", 1}, {"//dir", meta.OK, 1, "dir", 2}, {"dir/file", meta.OK, 2, "file", 3},
		{"dir/./file\x00x", meta.OK, 2, "file", 3}, {"dir/..", meta.OK, 0, "", 1}, {"dir/.", meta.OK, 0, "", 2}, {"dir/../dir", meta.OK, 1, "dir", 2},
		{"dir/none", meta.OK, 2, "none", 0}, {"dir/", meta.OK, 2, "", 0},
		{"none/x", meta.ENOENT, 0, "", 0}, {"..", meta.EPERM, 0, "", 0}, {"dir/file/x", meta.ENOTDIR, 0, "", 0},
		{"closed/in", meta.EACCES, 0, "", 0}, {strings.Repeat("a", 256), statusNameTooLong, 0, "", 0},
	} {
		p := wire.PathRequest{MsgID: c.next(), Base: 1, Path: []byte(tc.path), Identity: wire.Identity{UID: 7, GIDs: wire.PackNumbers(8)}}
		p.Append(&c.out)
		answer := c.roundTrip(wire.PathLookup)
		if _, st, ok := wire.ReplyStatus(answer); ok || tc.status != meta.OK {
			if st != tc.status {
				t.Errorf("%q: %v, want %v", tc.path, st, tc.status)
			}
			continue
		}
		var a wire.PathReply
		if err := a.Decode(wire.NewDecoder(answer), latest); err != nil || a.Parent != tc.parent || string(a.Name) != tc.name || a.Inode != tc.ino {
			t.Errorf("%q: %+v %v", tc.path, a, err)
		}
	}
}

// codedLocator says that every chunk is stored in eight parts.
type codedLocator struct{ parts wire.Locations }

func (codedLocator) Forget(meta.ChunkID, uint32) {}

func (l codedLocator) Cached(meta.ChunkID, uint32) (wire.Locations, meta.Status, bool) {
	return l.parts, meta.OK, true
}

func (l codedLocator) Locate(context.Context, meta.Inode, uint32, meta.ChunkID, uint32) (wire.Locations, meta.Status) {
	return l.parts, meta.OK
}

func TestErasureCodes(t *testing.T) {
	var parts wire.Locations
	for i := range 8 {
		parts = parts.Add(wire.Location{IP: uint32(i), Port: 9422})
	}
	f := newModern(t, everyone, func(cfg *Config) { cfg.Locator = codedLocator{parts.AsParts()} })
	f.apply("1000|WRITE(3,0,1,0):2", "1000|LENGTH(3,5,0)", "1000|UNLOCK(2)")
	for _, client := range []wire.Release{latest, newestPlain} {
		c := f.mountAs(client)
		(&wire.ChunkRequest{MsgID: c.next(), Inode: 3}).Append(&c.out, wire.FuseReadChunk)
		answer := c.roundTrip(wire.FuseReadChunk)
		if client == newestPlain {
			if _, st, _ := wire.ReplyStatus(answer); st != statusIO {
				t.Errorf("an old client reads parts: %v", st)
			}
			continue
		}
		var a wire.ChunkReply
		if err := a.Decode(wire.NewDecoder(answer), client); err != nil || !a.Copies.Parts() || a.Copies.Len() != 8 {
			t.Errorf("%+v %v", a, err)
		}
		l, st := c.lookup(2, "file", wire.Identity{GIDs: wire.PackNumbers(0)})
		if st != meta.OK || l.Flags&wire.LookupChunkData == 0 || !l.Chunk.Copies.Parts() {
			t.Errorf("lookup: %+v %v", l, st)
		}
	}
}

// What mfscli and the CGI monitor of 4.59.2 ask, without the primary.
func TestModernInfo(t *testing.T) {
	f := newModern(t, everyone)
	f.apply("1000|QUOTA(2,0,1,0,2,0,0,0,0,0,0,0,0)")
	c := f.dial()
	var m wire.MasterInfo
	if b := c.inform(wire.InfoMaster); m.Decode(wire.NewDecoder(b)) != nil || len(b) != infoSize4 || m.Release != latest || m.MetaID != testMetaID || m.Modern.Ordinary != 1 {
		t.Errorf("%d bytes: %+v", len(b), m)
	}
	for _, tc := range []struct {
		t    wire.Type
		ask  []byte
		want int
	}{
		{wire.InfoChunkTest, nil, chunkTestSize4}, {wire.InfoMatrix, nil, 1 + 8*484}, {wire.InfoMatrix, []byte{0, 5}, 1 + 8*484},
		{wire.InfoMatrix, []byte{1}, 484}, {wire.InfoServers, []byte{1}, 0}, {wire.InfoInstance, nil, 1},
		{wire.InfoClasses, []byte{classNames}, 2 + 9 + 1 + 5*3 + len("2CP3CPEC4+1EC8+1fast")},
		{wire.InfoChartData, []byte{0, 0, 0, 0, 0, 0, 0, 5, 1}, 0},
	} {
		if b := c.inform(tc.t, tc.ask...); len(b) != tc.want {
			t.Errorf("%v %v: %d bytes, want %d", tc.t, tc.ask, len(b), tc.want)
		}
	}
	sizes := map[uint8]int{}
	for form := range uint8(newestClassInfo + 1) {
		sizes[form] = len(c.inform(wire.InfoClasses, form))
	}
	const classes, words = 5, len("2 copies3 copies2 copies in KEEP state, 4 data parts plus 1 checksum part in ARCHIVE state" +
		"2 copies in KEEP state, 8 data parts plus 1 checksum part in ARCHIVE statefor few")
	for form, more := range map[uint8]int{2: classes * 3 * 24, 3: classes * 8, 4: classes * 4, 5: classes*6 + words} {
		if sizes[form] != sizes[form-1]+more {
			t.Errorf("form %d of classes has %d bytes, want %d", form, sizes[form], sizes[form-1]+more)
		}
	}
	var q wire.QuotaInfo
	if err := q.Decode(wire.NewDecoder(c.inform(wire.InfoQuotas, 1))); err != nil || q.Grace != defaultGrace || q.Exceeded != quotaDefaultGrace {
		t.Errorf("quota: %+v %v", q, err)
	}
	f.mountAs(latest)
	d := wire.NewDecoder(c.inform(wire.InfoSessions, 5))
	var s wire.SessionInfo
	if err := s.DecodeOf(d, 5, d.U16()); err != nil || s.Groups != 0xFFFF || s.Release != latest || d.Len() != 0 {
		t.Errorf("session: %+v %v", s, err)
	}
	var x wire.ExportInfo
	if err := x.Decode(wire.NewDecoder(c.inform(wire.InfoExports, 4)), 4); err == nil && x.Groups != 0xFFFF {
		t.Errorf("export: %+v %v", x, err)
	}
}
