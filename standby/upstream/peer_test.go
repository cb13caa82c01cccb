package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/tap"
	"mfsstandby/replicator/wire"
)

var release3 = wire.NewRelease(3, 0, 117)

// client speaks the protocol packet by packet.
type client struct {
	t  *testing.T
	nc net.Conn
}

func (w *world) dial() *client {
	w.t.Helper()
	nc, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { nc.Close() })
	return &client{w.t, nc}
}

func (c *client) send(packets ...packet) {
	c.t.Helper()
	var e wire.Encoder
	for _, p := range packets {
		p.Append(&e)
	}
	if _, err := c.nc.Write(e.Buf); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) raw(t wire.Type, payload ...byte) {
	c.t.Helper()
	if _, err := c.nc.Write(wire.AppendPacket(nil, t, payload)); err != nil {
		c.t.Fatal(err)
	}
}

// next reads a packet; keepalives are passed over.
func (c *client) next() (wire.Type, []byte, error) {
	for {
		c.nc.SetReadDeadline(time.Now().Add(waiting))
		t, b, err := wire.ReadPacket(c.nc, nil, 2<<20)
		if t != wire.Nop || err != nil {
			return t, b, err
		}
	}
}

// want reads a packet of a type.
func (c *client) want(t wire.Type, p interface{ Decode(*wire.Decoder) error }) {
	c.t.Helper()
	got, b, err := c.next()
	if err != nil || got != t {
		c.t.Fatalf("got %v, %v, want %v", got, err, t)
	}
	if err := p.Decode(wire.NewDecoder(b)); err != nil {
		c.t.Fatal(err)
	}
}

// change reads entries and marks: "12", "13", "rotate".
func (c *client) change() string {
	c.t.Helper()
	var p wire.Change
	c.want(wire.MetachangesLog, &p)
	if p.Rotate {
		return "rotate"
	}
	if string(p.Text) != textOf(p.Version) {
		c.t.Fatalf("entry %d is %q", p.Version, p.Text)
	}
	return fmt.Sprint(p.Version)
}

func (c *client) changes(want ...any) {
	c.t.Helper()
	for _, w := range want {
		if got := c.change(); got != fmt.Sprint(w) {
			c.t.Fatalf("got %s, want %v of %v", got, w, want)
		}
	}
}

// closed waits for the end of the connection; what comes before does not matter.
func (c *client) closed(why string) {
	c.t.Helper()
	for {
		_, _, err := c.next()
		if err == nil {
			continue
		}
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			c.t.Errorf("%s: the connection stays open", why)
		}
		return
	}
}

// answers makes sure that the connection is served, and all before is.
func (c *client) answers() {
	c.t.Helper()
	c.send(&wire.VersionRequest{Numbered: true, MsgID: 7})
	v := wire.Version{Numbered: true}
	c.want(wire.VersionReply, &v)
	if v.MsgID != 7 || v.Release != release3 || string(v.Text) != "3.0.117-1" {
		c.t.Fatalf("version %+v %q", v, v.Text)
	}
}

// The port is given up for a stock master, with all connections, and taken back.
func TestPortIsGivenUp(t *testing.T) {
	w := newWorld(t, newMemory(100, 120), 110)
	c := w.dial()
	c.answers()
	w.Leave("1") // not its port
	c.answers()
	w.Leave(w.cfg.Port)
	c.closed("the port was given up")
	l, err := net.Listen("tcp", w.addr)
	if err != nil {
		t.Fatalf("the port cannot be had: %v", err)
	}
	until(t, "the status to say so", func() bool { return w.Status().Address == "" })
	l.Close()
	w.Return()
	until(t, "the port to be taken back", func() bool { return w.Status().Address == w.addr })
	c = w.dial()
	c.answers()
}

func TestRegistration(t *testing.T) {
	for _, tc := range []struct {
		name string
		from meta.Version
		want []any // of the stream 100 .. 119, from 110 on in the files, which then gets 120 and 121
	}{
		{"from now on", 0, []any{120, 121}},
		{"from a version on", 112, []any{112, 113, 114, 115, 116, 117, 118, 119, 120, 121}},
		{"from before the files on", 108, []any{108, 109, 110}},
		{"from the next entry on", 120, []any{120, 121}},
		{"from what the stream has no more", 90, []any{120, 121}},
		{"from the future", 130, []any{120, 121}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMemory(100, 120)
			w := newWorld(t, m, 110)
			w.written(120)
			c := w.dial()
			c.send(&wire.Register{Release: release3, Timeout: 10, From: tc.from})
			if tc.from == 0 || tc.from >= 120 || tc.from < 100 {
				c.answers() // and has sent nothing
			}
			m.grow(2)
			c.changes(tc.want...)
			if st := w.Status(); len(st.Metaloggers) != 1 || st.Metaloggers[0].Program != "3.0.117" || st.Metaloggers[0].Address != c.nc.LocalAddr().String() {
				t.Errorf("status %+v", st)
			}
			c.nc.Close()
			until(t, "the metalogger's end", func() bool { return len(w.Status().Metaloggers) == 0 })
		})
	}
}

// A history that does not lead to the end is not sent as if it did.
func TestRegistrationAcrossBase(t *testing.T) {
	m := newMemory(100, 120)
	m.rebased = 115
	w := newWorld(t, m, 115)
	w.written(120)
	c := w.dial()
	c.send(&wire.Register{Release: release3, Timeout: 10, From: 105})
	c.answers()
	m.grow(1)
	c.changes(120)
}

func TestNonsense(t *testing.T) {
	w := newWorld(t, newMemory(10, 12), 10)
	w.written(12)
	for _, tc := range []struct {
		name string
		send func(c *client)
	}{
		{"a second registration", func(c *client) {
			r := &wire.Register{Release: release3, Timeout: 10}
			c.send(r, r)
		}},
		{"rver 0", func(c *client) { c.raw(wire.MetaloggerRegister, 0, 0, 3, 0, 234, 0, 10) }},
		{"rver 3", func(c *client) { c.raw(wire.MetaloggerRegister, 3, 0, 3, 0, 234, 0, 10) }},
		{"rver 4", func(c *client) { c.raw(wire.MetaloggerRegister, 4, 0, 3, 0, 234, 0, 10) }},
		{"rver 1, too long", func(c *client) { c.raw(wire.MetaloggerRegister, 1, 0, 3, 0, 234, 0, 10, 0) }},
		{"rver 2, too short", func(c *client) { c.raw(wire.MetaloggerRegister, 2, 0, 3, 0, 234, 0, 10) }},
		{"an empty registration", func(c *client) { c.raw(wire.MetaloggerRegister) }},
		{"a file that there is not", func(c *client) { c.send(&wire.Start{File: 9}) }},
		{"a start without file", func(c *client) { c.raw(wire.DownloadStart) }},
		{"a block of no file", func(c *client) { c.send(&wire.Request{Length: 1}) }},
		{"a block behind the end", func(c *client) {
			c.send(&wire.Start{File: wire.FileMetadata}, &wire.Request{Offset: uint64(len(metadataFile(10, 100))), Length: 1})
		}},
		{"a block at an offset that overflows", func(c *client) {
			c.send(&wire.Start{File: wire.FileMetadata}, &wire.Request{Offset: 1<<64 - 1, Length: 2})
		}},
		{"a block that is too long", func(c *client) {
			c.send(&wire.Start{File: wire.FileMetadata}, &wire.Request{Length: wire.DownloadBlock + 1})
		}},
		{"an end with something in it", func(c *client) { c.raw(wire.DownloadEnd, 0) }},
		{"a version request of 3 bytes", func(c *client) { c.raw(wire.GetVersion, 1, 2, 3) }},
		{"an option whose name is cut", func(c *client) { c.raw(wire.GetConfig, 0, 0, 0, 1, 5, 'B') }},
		{"a packet of another port", func(c *client) { c.raw(wire.FuseLookup, 1, 2, 3, 4) }},
		{"a packet that is too long", func(c *client) { c.nc.Write([]byte{0, 0, 0, 50, 0, 1, 0, 0}) }},
	} {
		c := w.dial()
		tc.send(c)
		c.closed(tc.name)
	}
	c := w.dial()
	c.raw(wire.UnknownCommand, 1, 2, 3)
	c.raw(wire.BadCommandSize)
	c.raw(wire.Nop)
	c.answers()
	for name, want := range map[string]string{"BACK_LOGS": "5", "PASSWORD": ""} {
		c.send(&wire.ConfigRequest{MsgID: 3, Name: []byte(name)})
		var v wire.Config
		c.want(wire.ConfigValue, &v)
		if v.MsgID != 3 || string(v.Value) != want {
			t.Errorf("%s is %q, want %q", name, v.Value, want)
		}
	}
	c.send(&wire.Register{Timeout: 10}) // of version 0: gets nothing, is no metalogger
	c.answers()
	if n := len(w.Status().Metaloggers); n != 0 {
		t.Errorf("%d metaloggers", n)
	}
}

// fetch downloads a file as a stock metalogger does, in small blocks.
func (c *client) fetch(f wire.File) (content []byte, missing bool) {
	c.t.Helper()
	c.send(&wire.Start{File: f})
	var info wire.Info
	c.want(wire.DownloadInfo, &info)
	for uint64(len(content)) < info.Size {
		c.send(&wire.Request{Offset: uint64(len(content)), Length: uint32(min(info.Size-uint64(len(content)), 1000))})
		var d wire.Data
		c.want(wire.DownloadData, &d)
		if d.Offset != uint64(len(content)) || !d.Intact() {
			c.t.Fatalf("%v: block at %d, intact %v", f, d.Offset, d.Intact())
		}
		content = append(content, d.Bytes...)
	}
	c.raw(wire.DownloadEnd)
	return content, info.Missing
}

func TestDownload(t *testing.T) {
	m := newMemory(10, 60)
	w := newWorld(t, m, 10)
	w.written(60)
	if err := w.rotate(); err != nil {
		t.Fatal(err)
	}
	m.grow(50)
	w.written(110)
	c := w.dial()
	if b, _ := c.fetch(wire.FileChangelog0); len(b) > 0 {
		t.Error("a changelog before the metadata file was opened")
	}
	if _, missing := c.fetch(wire.FileSessions); !missing {
		t.Error("there is a file of sessions")
	}
	b, _ := c.fetch(wire.FileMetadata)
	if !bytes.Equal(b, metadataFile(10, 100)) {
		t.Errorf("the metadata file has %d bytes", len(b))
	}
	// What it has opened stays as it was.
	put(t, w.j, 110, 50)
	if err := w.rotate(); err != nil {
		t.Fatal(err)
	}
	m.grow(5)
	w.written(115)
	for f, want := range map[wire.File]string{wire.FileChangelog0: lines(60, 110), wire.FileChangelog1: lines(10, 60)} {
		if b, _ := c.fetch(f); string(b) != want {
			t.Errorf("%v has %d bytes, want %d", f, len(b), len(want))
		}
		if b, missing := c.fetch(f); len(b) > 0 || missing {
			t.Errorf("%v can be had twice", f)
		}
	}
	if b, _ := c.fetch(wire.FileMetadata); !bytes.Equal(b, metadataFile(110, 50)) {
		t.Error("the new metadata file is not given")
	}
	if got := contentOf(t, w.j.dir, previousName(1)); got != string(metadataFile(10, 100)) {
		t.Errorf("the metadata file before has %d bytes", len(got))
	}
}

// Marks of rotations come between the entries where the files are cut.
func TestRotationMarks(t *testing.T) {
	m := newMemory(10, 12)
	w := newWorld(t, m, 10)
	w.written(12)
	live := w.dial()
	live.send(&wire.Register{Release: release3, Timeout: 10})
	live.answers()
	rotate := func() {
		t.Helper()
		if err := w.rotate(); err != nil {
			t.Fatal(err)
		}
	}
	rotate()
	live.changes("rotate") // at once
	m.grow(2)
	w.written(14)
	live.changes(12, 13)
	rotate()
	m.grow(1)
	live.changes("rotate", 14)
	late := w.dial()
	late.send(&wire.Register{Release: release3, Timeout: 10, From: 11})
	late.changes(11, 12, 13, 14)
	w.written(15)
	rotate()
	live.changes("rotate")
	late.changes("rotate")
}

// gate lets entries through up to a version.
type gate struct {
	upTo  atomic.Uint64
	asked chan meta.Version
}

func (g *gate) Wait(ctx context.Context, v meta.Version) error {
	g.asked <- v
	for uint64(v) > g.upTo.Load() {
		if !pause(ctx, time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}

// What the stream shows before it is acknowledged is neither written nor sent.
func TestOnlyWhatIsAcknowledged(t *testing.T) {
	m := newMemory(10, 12)
	w := newWorld(t, m, 10)
	w.written(12)
	g := &gate{asked: make(chan meta.Version, 100)}
	g.upTo.Store(12)
	w.Lead(g)
	c := w.dial()
	c.send(&wire.Register{Release: release3, Timeout: 10})
	c.answers()
	m.grow(1)
	<-g.asked
	<-g.asked // of the files, and of the connection
	c.answers()
	if v := w.j.position().Version; v != 12 {
		t.Errorf("the files are at version %d", v)
	}
	g.upTo.Store(13)
	c.changes(12)
	w.written(13)
	w.Lead(nil)
	m.grow(1)
	c.changes(13)
}

// Keepalives come, and a metalogger that is silent is closed.
func TestSilence(t *testing.T) {
	w := newWorld(t, newMemory(10, 12), 10)
	w.written(12)
	c := w.dial()
	c.send(&wire.Register{Release: release3, Timeout: 0}) // counts as 3 s
	nops := 0
	for {
		c.nc.SetReadDeadline(time.Now().Add(waiting))
		typ, b, err := wire.ReadPacket(c.nc, nil, 100)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || typ != wire.Nop || len(b) > 0 {
			t.Fatalf("%v %x, %v", typ, b, err)
		}
		nops++
	}
	if nops == 0 {
		t.Error("no keepalive came")
	}
}

// A metalogger that does not read holds up neither files nor others.
func TestSlowMetalogger(t *testing.T) {
	m := newMemory(10, 12)
	w := newWorld(t, m, 10)
	w.written(12)
	slow, good := w.dial(), w.dial()
	for _, c := range []*client{slow, good} {
		c.send(&wire.Register{Release: release3, Timeout: 3600})
		c.answers()
	}
	const n = 200_000 // more than sockets take
	m.grow(n)
	for v := 12; v < 12+n; v++ {
		good.changes(v)
	}
	w.written(12 + n)
	until(t, "both to be seen", func() bool { return len(w.Status().Metaloggers) == 2 })
	for _, p := range w.Status().Metaloggers {
		if behind := p.Next < 12+n; behind != (p.Address == slow.nc.LocalAddr().String()) {
			t.Errorf("%+v", p)
		}
	}
	for v := 12; v < 12+n; v++ { // it gets them all the same
		slow.changes(v)
	}
}

// While the disk takes nothing metaloggers are served all the same; then the files
// get what they lack.
func TestFullDisk(t *testing.T) {
	m := newMemory(10, 12)
	w := newWorld(t, m, 10)
	w.written(12)
	c := w.dial()
	c.send(&wire.Register{Release: release3, Timeout: 10})
	c.answers()
	var full atomic.Bool
	full.Store(true)
	w.j.mu.Lock()
	w.j.crash = func(string) error {
		if full.Load() {
			return syscall.ENOSPC
		}
		return nil
	}
	w.j.mu.Unlock()
	m.grow(3)
	c.changes(12, 13, 14)
	until(t, "the trouble to be shown", func() bool { return strings.Contains(w.Status().Error, syscall.ENOSPC.Error()) })
	if err := w.rotate(); err == nil {
		t.Error("a rotation on a full disk")
	}
	full.Store(false)
	w.written(15)
	m.grow(1)
	c.changes(15)
	w.written(16)
	if st := w.Status(); st.Error != "" || contentOf(t, w.j.dir, changelogName(0)) != lines(10, 16) {
		t.Errorf("after the trouble: %q, %q", st.Error, contentOf(t, w.j.dir, changelogName(0)))
	}
}

func TestTooManyConnections(t *testing.T) {
	w := newWorld(t, newMemory(10, 12), 10)
	for range maxPeers {
		w.dial().answers()
	}
	w.dial().closed("one too many")
}

// Another mfsstandby's tap follows: it downloads, is sent entries, and goes on
// where it was after the server was started anew.
func TestTapFollows(t *testing.T) {
	m, dir := newMemory(10, 3000), t.TempDir()
	w := openWorld(t, dir, m, 10)
	w.written(3000)
	var addr atomic.Value
	addr.Store(w.addr)
	live, err := tap.NewLive(tap.LiveConfig{Address: "leader", Dir: t.TempDir(), Restarts: true, Dial: func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", addr.Load().(string))
	}, Event: func(e tap.Event) { t.Logf("tap: %v %s %v", e.Kind, e.Text, e.Err) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { live.Run(ctx); close(ran) }()
	defer func() { cancel(); <-ran }()
	base, err := live.Bootstrap(ctx, metaid)
	if err != nil || base.Version != 10 || base.MetaID != metaid {
		t.Fatalf("base %+v, %v", base, err)
	}
	next := base.Version
	follow := func(end meta.Version) {
		t.Helper()
		limit, cancel := context.WithTimeout(ctx, waiting)
		defer cancel()
		for next < end {
			b, err := live.Next(limit)
			if err != nil {
				t.Fatalf("at version %d: %v", next, err)
			}
			for _, e := range b.Entries {
				if e.Version != next || string(e.Text) != textOf(next) {
					t.Fatalf("entry %d %q, want %d", e.Version, e.Text, next)
				}
				next++
			}
		}
	}
	follow(3000)
	m.grow(500)
	follow(3500)
	if err := w.rotate(); err != nil {
		t.Fatal(err)
	}
	m.grow(500)
	follow(4000)
	w.stop()
	m.grow(100)
	w = openWorld(t, dir, m, 0)
	addr.Store(w.addr)
	follow(4100)
	m.grow(100)
	follow(4200)
}
