package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/charts"
)

// asked is a primary that answers what it is told to; without an answer it is gone.
type asked map[wire.Type]func(e *wire.Encoder, body []byte)

func (a asked) Ask(t wire.Type, body []byte) []byte {
	do := a[t]
	if do == nil {
		return nil
	}
	var e wire.Encoder
	do(&e, body)
	if len(e.Buf) >= wire.HeaderSize && wire.Type(binary.BigEndian.Uint32(e.Buf)) == t.Reply() {
		e.Buf = e.Buf[wire.HeaderSize:] // what Append appends has a head
	}
	if e.Buf == nil {
		return []byte{}
	}
	return e.Buf
}

// inform sends a request without message id and returns the answer.
func (c *client) inform(t wire.Type, payload ...byte) []byte {
	c.t.Helper()
	c.out.Begin(t)
	c.out.Bytes(payload)
	c.out.End()
	return c.roundTrip(t)
}

func u32(list ...uint32) (b []byte) {
	for _, v := range list {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// fill makes nodes of all kinds, chunks, a session, locks and a quota.
func (f *fixture) fill() {
	f.t.Helper()
	f.apply(
		"1001|SESADD(#1,1,0,0022,0,0,999,999,1,9,0,4294967295,0x00000000,167772161,/mnt/old):1",
		"1001|CREATE(1,dir,2,493,0,0,0,0):2", "1001|CREATE(2,a,1,420,0,0,0,0):3", "1001|CREATE(1,b,1,420,0,0,0,0):4",
		"1001|CREATE(2,gone,1,420,0,0,0,0):5", "1001|CREATE(1,fifo,4,420,0,0,0,0):6",
		"1001|LINK(3,1,hard)", "1001|WRITE(3,0,1,0):1", "1001|WRITE(3,1,1,0):2", "1001|WRITE(4,0,1,0):3",
		"1001|LENGTH(3,67108870,0)", "1001|LENGTH(4,1,0)", "1001|UNLOCK(1)", "1001|UNLOCK(2)", "1001|UNLOCK(3)",
		"1001|SETSCLASS(3,0,3,3,0):1,0,0", "1001|UNLINK(2,gone):5", "1001|ACQUIRE(1,3)",
		"1001|FLOCK(3,1,77,W)", "1001|POSIXLOCK(3,1,88,W,10,20,4242)",
		"1001|QUOTA(2,1,1,1,2,0,0,0,0,0,0,0,3600)",
	)
}

func TestInfoOfTheMaster(t *testing.T) {
	primary := asked{}
	f := newFixture(t, everyone, func(cfg *Config) {
		cfg.Asker = primary
		cfg.Lag = func() time.Duration { return 30 * time.Second }
	})
	f.fill()
	c := f.dial()
	ask := func() (a wire.MasterInfo) {
		t.Helper()
		b := c.inform(wire.InfoMaster)
		if err := a.Decode(wire.NewDecoder(b)); err != nil || len(b) != 149 {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		return a
	}
	a := ask()
	if a.Release != newestPlain || a.Nodes != 6 || a.Dirs != 2 || a.Files != 3 || a.TrashNodes != 1 || a.Chunks != 3 || a.Copies != 0 || a.Total != 0 {
		t.Errorf("without the primary: %+v", a)
	}
	if a.State != wire.NoMasterState || a.Version != f.img.Position().Version {
		t.Errorf("of the standby: %+v", a)
	}
	if lag := a.Micros/1e6 - uint64(a.Applied); lag < 29 || lag > 31 {
		t.Errorf("lag %d", lag)
	}
	primary[wire.InfoMaster] = func(e *wire.Encoder, _ []byte) {
		(&wire.MasterInfo{Nodes: 999, Chunks: 5, Copies: 7, Marked: 6, Total: 30, Avail: 20, Free: 10}).Append(e)
	}
	a = ask()
	if a.Nodes != 6 || a.Chunks != 5 || a.Copies != 7 || a.Marked != 6 || a.Total != 30 || a.Avail != 20 || a.Free != 10 {
		t.Errorf("with the primary: %+v", a)
	}
	primary[wire.InfoMaster] = func(e *wire.Encoder, _ []byte) { // of 4.59.2
		b := make([]byte, infoSize4)
		binary.BigEndian.PutUint32(b, uint32(wire.NewRelease(4, 59, 2)))
		binary.BigEndian.PutUint64(b[28:], 31)
		binary.BigEndian.PutUint32(b[88:], 6)
		binary.BigEndian.PutUint64(b[161:], 8)
		e.Bytes(b)
	}
	if a = ask(); a.Chunks != 6 || a.Copies != 8 || a.Total != 31 {
		t.Errorf("with a primary of 4.x: %+v", a)
	}
	f.srv.cfg.Follower = true
	if a = ask(); a.State != 0x03030300 {
		t.Errorf("state of a follower that lags: %08x", a.State)
	}
	f.srv.cfg.Lag = nil
	if a = ask(); a.State != 0x03030301 {
		t.Errorf("state of a follower in sync: %08x", a.State)
	}
	var m wire.ModuleInfo
	if err := m.Decode(wire.NewDecoder(c.inform(wire.InfoModule, 0, 0, 0, 9))); err != nil || m.MsgID != 9 || m.MetaID != testMetaID || m.Type != wire.ModuleMaster {
		t.Errorf("module: %+v %v", m, err)
	}
}

func TestInfoLists(t *testing.T) {
	f := newFixture(t, everyone)
	f.fill()
	mount := f.mount("/dir")
	mount.out.Begin(wire.FuseSustainedInodes)
	mount.out.Bytes(u32(4))
	mount.out.End()
	if _, st := mount.ask(wire.FuseFlock, append(u32(4, 1, 0, 5), wire.FlockTryExcl)); st != meta.OK {
		t.Fatal(st)
	}
	c := f.dial()
	local := mount.ses.Session
	for _, tc := range []struct {
		name string
		got  []byte
		want []byte
	}{
		{"open files", c.inform(wire.InfoOpenFiles, u32(0)...), u32(1, 3, local, 4)},
		{"of a session of the primary", c.inform(wire.InfoOpenFiles, u32(7, 1)...), u32(7, 3)},
		{"of a local one", c.inform(wire.InfoOpenFiles, u32(local)...), u32(4)},
		{"of none", c.inform(wire.InfoOpenFiles, u32(99)...), nil},
		{"locks", c.inform(wire.InfoLocks, u32(0)...), slicesOf(
			u32(3, 1, 0, 88, 4242, 0, 10, 0, 20), []byte{2}, u32(3, 1, 0, 77, 0, 0, 0, 0, 0), []byte{2}, u32(4, local, 0, 5, 0, 0, 0, 0, 0), []byte{2})},
		{"locks of a file", c.inform(wire.InfoLocks, u32(4)...), slicesOf(u32(local, 0, 5, 0, 0, 0, 0, 0), []byte{2})},
		{"paths", c.inform(wire.InfoPaths, u32(3, 0, 5, 99, 2)...), slicesOf(
			u32(3, 4+4+4+5), text("hard"), text("dir/a"), u32(5, 4+18), text("./TRASH (dir/gone)"), u32(99, 13), text("(deleted)"), u32(2, 7), text("dir"))},
		{"missing chunks", c.inform(wire.InfoMissing, 1), nil},
		{"metaloggers", c.inform(wire.InfoMetaloggers), nil},
		{"chunk loop", c.inform(wire.InfoChunkTest), make([]byte, 72)},
	} {
		if !bytes.Equal(tc.got, tc.want) {
			t.Errorf("%s:\ngot  % x\nwant % x", tc.name, tc.got, tc.want)
		}
	}
	var q wire.QuotaInfo
	if err := q.Decode(wire.NewDecoder(c.inform(wire.InfoQuotas))); err != nil || q.Inode != 2 || string(q.Path) != "/dir" || q.Soft.Inodes != 2 || q.Used.Inodes != 1 || q.Grace != 3600 || q.Exceeded != 1 || q.Block != 0 {
		t.Errorf("quota %+v %v", q, err)
	}
	var x wire.ExportInfo
	d := wire.NewDecoder(c.inform(wire.InfoExports, 3))
	if err := x.Decode(d, 3); err != nil || string(x.Path) != "/" || x.Extra != exportAllDirs || x.Flags != wire.SessionReadOnly|wire.SessionAdmin {
		t.Errorf("export %+v %v", x, err)
	}
	if err := x.Decode(d, 3); err != nil || string(x.Path) != "." || d.Len() != 0 {
		t.Errorf("export of the trash %+v %v", x, err)
	}
}

func slicesOf(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func text(s string) []byte { return append(u32(uint32(len(s))), s...) }

func TestInfoSessions(t *testing.T) {
	primary := asked{}
	f := newFixture(t, everyone, func(cfg *Config) { cfg.Asker = primary })
	f.fill()
	mount := f.mount("/dir")
	if _, st := mount.ask(wire.FuseStatfs, nil); st != meta.OK {
		t.Fatal(st)
	}
	list := func(mode byte) (all []wire.SessionInfo) {
		t.Helper()
		d := wire.NewDecoder(f.dial().inform(wire.InfoSessions, mode))
		if n := d.U16(); n != wire.OpStats {
			t.Fatalf("%d counters", n)
		}
		for d.Len() > 0 {
			var a wire.SessionInfo
			if err := a.Decode(d, mode); err != nil {
				t.Fatal(err)
			}
			all = append(all, a)
		}
		return all
	}
	all := list(4)
	if len(all) != 2 {
		t.Fatalf("sessions: %+v", all)
	}
	if a := all[0]; a.Session != 1 || a.IP != 167772161 || a.Sockets != 0 || a.Expire == connected || string(a.Info) != "/mnt/old" || string(a.Path) != "/" || a.OpenFiles != 1 {
		t.Errorf("of the primary, which is gone: %+v", a)
	}
	if a := all[1]; a.Session != mount.ses.Session || a.Sockets != 1 || a.Expire != connected || string(a.Path) != "/dir" || string(a.Info) != "/mnt" ||
		a.Current[statStatfs] != 1 || a.Flags&wire.SessionReadOnly == 0 || a.Release != mount.rel {
		t.Errorf("of the standby: %+v", a)
	}
	if all = list(1); len(all) != 1 || all[0].Session != mount.ses.Session {
		t.Errorf("connected ones: %+v", all)
	}
	primary[wire.InfoSessions] = func(e *wire.Encoder, body []byte) {
		if !bytes.Equal(body, []byte{sessionsMode}) {
			t.Errorf("asked for % x", body)
		}
		e.U16(wire.OpStats)
		(&wire.SessionInfo{Session: 1, IP: 5, Release: 6, Sockets: 2, Expire: connected, Current: [16]uint32{3}}).Append(e, sessionsMode)
	}
	if a := list(4)[0]; a.IP != 5 || a.Release != 6 || a.Sockets != 2 || a.Expire != connected || a.Current[0] != 3 || string(a.Info) != "/mnt/old" {
		t.Errorf("of the primary: %+v", a)
	}
}

func TestInfoOfChunks(t *testing.T) {
	primary := asked{}
	f := newFixture(t, everyone, func(cfg *Config) { cfg.Asker = primary })
	f.fill()
	f.apply("1002|CSDBOP(0,167772161,9422,1)", "1002|SNAPSHOT(4,1,copy,0,0,0,[0],18):7,0,0,0,0,1") // of b; nobody counts a chunk twice
	c := f.dial()
	var all, regular wire.Matrix
	d := wire.NewDecoder(c.inform(wire.InfoMatrix))
	if d.U8() != 0 {
		t.Error("in progress")
	}
	all.Decode(d)
	regular.Decode(d)
	if err := d.End(); err != nil || all != regular || all[3][0] != 2 || all[2][0] != 1 {
		t.Errorf("matrix %v %v", all, err)
	}
	if got := c.inform(wire.InfoMatrix, 2); !bytes.Equal(got, make([]byte, 484)) {
		t.Errorf("third matrix % x", got)
	}
	var test wire.TreeTest
	test.Long = true
	if err := test.Decode(wire.NewDecoder(c.inform(wire.InfoTreeTest, 0))); err != nil || test.Chunks != 3 || test.End == 0 || !strings.Contains(string(test.Text), "ago") {
		t.Errorf("tree test %+v %v", test, err)
	}
	var server wire.ServerInfo
	if err := server.Decode(wire.NewDecoder(c.inform(wire.InfoServers))); err != nil || server.IP != 167772161 || server.Flags != wire.ServerDisconnected || server.ID != 1 {
		t.Errorf("chunkserver %+v %v", server, err)
	}
	classes := func() map[uint8]*wire.ClassInfo {
		_, live := classesOf(c.inform(wire.InfoClasses))
		if live == nil {
			t.Fatal("no classes")
		}
		return live
	}
	if got := classes()[3]; got.Files != 1 || got.Under != 2 || got.Keep.Copies != 3 || got.Keep.Possible != 0 {
		t.Errorf("class 3: %+v", got)
	}

	for _, typ := range []wire.Type{wire.InfoServers, wire.InfoMatrix, wire.InfoMissing, wire.InfoMetaloggers, wire.InfoChunkTest, wire.InfoTreeTest} {
		size := map[wire.Type]int{wire.InfoServers: 69, wire.InfoMatrix: 484, wire.InfoMissing: 17, wire.InfoMetaloggers: 8, wire.InfoChunkTest: 72, wire.InfoTreeTest: 44}[typ]
		want := bytes.Repeat([]byte{byte(typ)}, size)
		body := []byte{1}
		if typ == wire.InfoServers || typ == wire.InfoMetaloggers || typ == wire.InfoChunkTest {
			body = nil
		}
		primary[typ] = func(e *wire.Encoder, got []byte) {
			if !bytes.Equal(got, body) {
				t.Errorf("%v: asked with % x", typ, got)
			}
			e.Bytes(want)
		}
		if got := c.inform(typ, body...); !bytes.Equal(got, want) {
			t.Errorf("%v: what the primary says is not passed on: % x", typ, got)
		}
		primary[typ] = func(e *wire.Encoder, _ []byte) { e.Bytes(want[1:]) } // a form nobody knows
		if got := c.inform(typ, body...); bytes.Equal(got, want[1:]) {
			t.Errorf("%v: a form that clients do not know is passed on", typ)
		}
	}
	info := classInfo(3, &meta.Class{Name: "3", Keep: make([]meta.LabelMasks, 3), Create: make([]meta.LabelMasks, 3), Arch: make([]meta.LabelMasks, 3), Mode: 1})
	primary[wire.InfoClasses] = func(e *wire.Encoder, _ []byte) {
		e.U16(2)
		info.Exact, info.Files, info.Keep.Possible = 8, 99, 3
		info.Append(e)
	}
	if got := classes()[3]; got.Exact != 8 || got.Files != 1 || got.Keep.Possible != 3 {
		t.Errorf("class 3 with the primary: %+v", got)
	}
}

func TestInfoOfNodes(t *testing.T) {
	f := newFixture(t, everyone)
	f.fill()
	c := f.mount("/")
	ask := func(ino meta.Inode, most uint32, cursor uint64) (kind uint16, next, length uint64, entries []byte, err error) {
		(&wire.NodeRequest{Numbered: true, MsgID: 5, Inode: ino, Max: most, Cursor: cursor}).Append(&c.out)
		return wire.NodeEntries(c.roundTrip(wire.InfoNode), true)
	}
	seen := map[uint32]bool{}
	for cursor := uint64(0); ; {
		kind, next, _, entries, err := ask(1, 2, cursor)
		if err != nil || kind != wire.NodeDir || len(entries) > 8 || len(entries) == 0 {
			t.Fatalf("directory: %d % x %v", kind, entries, err)
		}
		for i := range wire.Numbers(entries).Len() {
			seen[wire.Numbers(entries).At(i)] = true
		}
		if cursor = next; next == 0 {
			break
		}
	}
	if fmt.Sprint(seen) != "map[2:true 3:true 4:true 6:true]" {
		t.Errorf("root has %v", seen)
	}
	kind, next, length, entries, err := ask(3, 10, 0)
	want := slicesOf(u32(0, 1, 0x04002000), []byte{0}, u32(0, 2, 0x12000), []byte{0})
	if err != nil || kind != wire.NodeFile || next != 0 || length != 67108870 || !bytes.Equal(entries, want) {
		t.Errorf("file: %d %d %d % x %v", kind, next, length, entries, err)
	}
	if _, next, _, entries, _ = ask(3, 1, 0); next != 1 || len(entries) != 13 {
		t.Errorf("first chunk: next %d, % x", next, entries)
	}
	if kind, _, _, _, err = ask(6, 1, 0); err != nil || kind != wire.NodeOther {
		t.Errorf("fifo: %d %v", kind, err)
	}
	if _, _, _, _, err = ask(99, 1, 0); err != meta.ENOENT {
		t.Errorf("no node: %v", err)
	}
}

func TestInfoCommands(t *testing.T) {
	f := newFixture(t, everyone)
	mount := f.mount("/")
	c := f.dial()
	session := func(command uint8, id uint32) meta.Status {
		(&wire.SessionCommandRequest{Command: command, Session: id}).Append(&c.out)
		return meta.Status(c.roundTrip(wire.SessionCommand)[0])
	}
	for _, tc := range []struct {
		name      string
		got, want meta.Status
	}{
		{"session of the primary", session(0, 1), meta.EROFS},
		{"local one in use", session(0, mount.ses.Session), meta.EACTIVE},
		{"unknown local one", session(0, localSession|5), meta.ENOTFOUND},
		{"unknown command", session(1, 1), meta.EINVAL},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, tc.got, tc.want)
		}
	}
	mount.nc.Close()
	waitFor(t, func() bool { _, n := f.srv.sessions.count(); return n == 0 })
	if st := session(0, mount.ses.Session); st != meta.OK {
		t.Errorf("local one without connection: %v", st)
	}
	(&wire.ServerCommandRequest{Command: 2, IP: 1, Port: 2}).Append(&c.out)
	if got := c.roundTrip(wire.ServerCommand); !bytes.Equal(got, []byte{byte(meta.EROFS)}) {
		t.Errorf("maintenance: % x", got)
	}
	(&wire.ServerCommandRequest{Short: true, IP: 1, Port: 2}).Append(&c.out)
	if got := c.roundTrip(wire.ServerCommand); len(got) != 0 {
		t.Errorf("removal: % x", got)
	}
}

func TestInfoCharts(t *testing.T) {
	f := newFixture(t, everyone)
	mount := f.mount("/")
	last := f.srv.totals()
	for range 3 {
		mount.ask(wire.FuseStatfs, nil)
	}
	var now totals
	waitFor(t, func() bool { // a packet is counted after it was sent
		now = f.srv.totals()
		return now.packets >= last.packets+3 && now.sent >= last.sent+3 && now.wrote >= last.wrote+3*12
	})
	minute := time.Now()
	f.srv.sample(&last, &now, time.Minute, minute)
	c := f.dial()
	series := func(n uint32) uint64 {
		b := c.inform(wire.InfoChartData, u32(n*10, 1)...)
		if len(b) != 16 {
			t.Fatalf("series %d: %d bytes", n, len(b))
		}
		return binary.BigEndian.Uint64(b[8:])
	}
	if got := series(charts.Operations); got != 3 {
		t.Errorf("%d statfs", got)
	}
	if got := series(charts.PacketsReceived); got < 3 || got == charts.NoData {
		t.Errorf("%d packets came", got)
	}
	if got := series(charts.PacketsSent); got < 3 || got == charts.NoData {
		t.Errorf("%d packets left", got)
	}
	if got := series(charts.BytesSent); got < 3*12 || got == charts.NoData {
		t.Errorf("%d bytes left", got)
	}
	if got := series(charts.CreateTried); got != 0 {
		t.Errorf("%d chunks made", got)
	}
	if got := series(charts.TotalSpace); got != charts.NoData {
		t.Errorf("space of %d bytes, of which nobody told", got)
	}
	if b := c.inform(wire.InfoChart, u32(1000)...); !bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")) {
		t.Errorf("a picture begins with % x", b[:min(len(b), 8)])
	}
	if b := c.inform(wire.InfoMonotonic); len(b) != 2+8*charts.Count {
		t.Errorf("totals of %d bytes", len(b))
	}
	if b := c.inform(wire.InfoMemory); len(b) != 176 || bytes.Equal(b, make([]byte, 176)) {
		t.Errorf("memory % x", b)
	}
}

func TestCountPackets(t *testing.T) {
	var e wire.Encoder
	for n := range uint64(4) {
		if got := countPackets(e.Buf); got != n {
			t.Errorf("% x: %d packets, want %d", e.Buf, got, n)
		}
		e.Begin(wire.InfoPaths)
		e.Bytes(make([]byte, 5*n))
		e.End()
	}
}

// slow is a primary that takes its time.
type slow struct {
	asked atomic.Int32
	wait  chan struct{}
}

func (s *slow) Ask(wire.Type, []byte) []byte {
	s.asked.Add(1)
	<-s.wait
	return nil
}

// While the primary is asked the image is free, and no NOP comes before the answer.
func TestInfoWaitsBeside(t *testing.T) {
	p := &slow{wait: make(chan struct{})}
	f := newFixture(t, everyone, func(cfg *Config) { cfg.Asker = p })
	c := f.dial()
	c.out.Begin(wire.InfoChunkTest)
	c.out.End()
	if _, err := c.nc.Write(c.out.Buf); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return p.asked.Load() == 1 })
	f.apply("1001|CREATE(1,dir,2,493,0,0,0,0):2") // needs the image's lock
	time.AfterFunc(2*keepalive, func() { close(p.wait) })
	typ, _, err := wire.ReadPacket(c.nc, nil, 100)
	if err != nil || typ != wire.InfoChunkTest.Reply() {
		t.Errorf("got %v %v", typ, err)
	}
}

// What a primary answers is read with care.
func FuzzPrimaryAnswers(f *testing.F) {
	var e wire.Encoder
	e.U16(wire.OpStats)
	(&wire.SessionInfo{Session: 1, Info: []byte("/mnt"), Path: []byte("/")}).Append(&e, sessionsMode)
	f.Add(e.Buf)
	var k wire.Encoder
	k.U16(2)
	(&wire.ClassInfo{ID: 3, Name: []byte("3")}).Append(&k)
	f.Add(k.Buf)
	f.Add(make([]byte, infoSize3))
	f.Add(append([]byte{0, 4}, make([]byte, infoSize4-2)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for id, a := range sessionsOf(b) {
			if a.Session != id || len(a.Info)+len(a.Path) > len(b) {
				t.Errorf("% x: %+v", b, a)
			}
		}
		if f, ok := figuresOf(b); ok && len(b) < infoSize3 {
			t.Errorf("% x: %+v", b, f)
		}
		servers, live := classesOf(b)
		if live == nil {
			return
		}
		n := 2
		for _, a := range live {
			n += len(a.Name) + len(a.Labels)
		}
		if n > len(b) {
			t.Errorf("% x: %d servers, %d bytes of classes", b, servers, n)
		}
	})
}
