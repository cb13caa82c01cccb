package server

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/exports"
	"mfsstandby/standby/image"
	"mfsstandby/standby/metafile"
)

// fixture is a server over an image that a test fills.
type fixture struct {
	t    testing.TB
	img  *image.Image
	srv  *Server
	addr string
	b    *changelog.Batch
}

const testMetaID = 0x1122334455667788

// everyone may mount everything, as an administrator.
const everyone = "* / rw,alldirs,admin,maproot=0:0\n* . rw\n"

func newFixture(t testing.TB, exportLines string, change ...func(*Config)) *fixture {
	t.Helper()
	return newFixtureOf(t, meta.Reproduced, exportLines, change...)
}

// newFixtureOf is newFixture with the image of a primary of a release.
func newFixtureOf(t testing.TB, primary meta.Release, exportLines string, change ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, b: changelog.NewBatch()}
	var err error
	if f.img, err = image.Open(image.Config{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.img.Close() })
	f.update(func(st *meta.State) error {
		_, err := metafile.Empty(st, 1000, primary)
		st.MetaID = testMetaID
		return err
	})
	list, warnings, err := exports.Parse(strings.NewReader(exportLines), nil)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("exports: %v %v", err, warnings)
	}
	cfg := Config{
		Image:   func() (*image.Image, error) { return f.img, nil },
		Exports: func() *exports.List { return list },
		Logger:  slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	if f.srv, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if n := f.srv.buffers.Load(); n > 0 && len(f.srv.sessions.byID) == 0 {
			t.Errorf("%d bytes of buffers are still counted", n)
		}
	})
	return f
}

func (f *fixture) update(do func(*meta.State) error) {
	f.t.Helper()
	err := f.img.Update(func(st *meta.State, pos image.Position) (image.Position, error) {
		pos.Version++
		return pos, do(st)
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// apply applies entries as a primary writes them.
func (f *fixture) apply(entries ...string) {
	f.t.Helper()
	for _, text := range entries {
		f.b.Reset()
		now, op, err := f.b.Parse([]byte(text))
		if err != nil {
			f.t.Fatalf("%s: %v", text, err)
		}
		f.update(func(st *meta.State) error {
			err := op.Apply(st, now)
			f.srv.Watch(op, st)
			return err
		})
	}
}

// client speaks the protocol to a server.
type client struct {
	t   testing.TB
	nc  net.Conn
	rel wire.Release
	out wire.Encoder
	id  uint32
	ses wire.Session
}

func (f *fixture) dial() *client {
	f.t.Helper()
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute))
	return &client{t: f.t, nc: nc, rel: wire.NewRelease(3, 0, 117)}
}

// mount registers a new session on path.
func (f *fixture) mount(path string) *client {
	f.t.Helper()
	c := f.dial()
	c.register(&wire.ClientRegister{Code: wire.RegisterNewSession, Release: c.rel, Info: []byte("/mnt\x00"), Path: []byte(path)})
	return c
}

func (f *fixture) mountMeta() *client {
	f.t.Helper()
	c := f.dial()
	c.register(&wire.ClientRegister{Code: wire.RegisterNewMetaSession, Release: c.rel, Info: []byte("/mnt\x00")})
	return c
}

func (c *client) register(r *wire.ClientRegister) {
	c.t.Helper()
	r.Append(&c.out)
	p := c.roundTrip(wire.FuseRegister)
	if st, is := wire.RegisterStatus(p); is {
		c.t.Fatalf("registering %+v: %v", r, st)
	}
	c.ses.Meta = r.Code == wire.RegisterNewMetaSession
	if err := c.ses.Decode(wire.NewDecoder(p), c.rel); err != nil {
		c.t.Fatal(err)
	}
}

// roundTrip sends what was appended and returns the next answer to t.
func (c *client) roundTrip(t wire.Type) []byte {
	c.t.Helper()
	p, err := c.try(t)
	if err != nil {
		c.t.Fatalf("%v: %v", t, err)
	}
	return p
}

func (c *client) try(t wire.Type) ([]byte, error) {
	if _, err := c.nc.Write(c.out.Buf); err != nil {
		return nil, err
	}
	c.out.Buf = c.out.Buf[:0]
	for {
		got, p, err := wire.ReadPacket(c.nc, nil, wire.ClientMaxLength)
		switch {
		case err != nil:
			return nil, err
		case got == wire.Nop:
			continue
		case got != t.Reply():
			c.t.Fatalf("%v was answered with %v", t, got)
		}
		return p, nil
	}
}

// ask sends a request of the given payload after a message id and returns the
// answer after it, or its status.
func (c *client) ask(t wire.Type, payload []byte) ([]byte, meta.Status) {
	c.t.Helper()
	c.id++
	c.out.Begin(t)
	c.out.U32(c.id)
	c.out.Bytes(payload)
	c.out.End()
	p := c.roundTrip(t)
	if len(p) < 4 || binary.BigEndian.Uint32(p) != c.id {
		c.t.Fatalf("%v: answer % x is not to message %d", t, p, c.id)
	}
	if len(p) == 5 {
		return nil, meta.Status(p[4])
	}
	return p[4:], meta.OK
}

// closed tells whether the server closes the connection instead of answering.
func (c *client) closed(t wire.Type) bool {
	c.t.Helper()
	_, err := c.try(t)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatal("the server neither answers nor closes")
	}
	return err != nil
}

func TestRegister(t *testing.T) {
	f := newFixture(t, everyone)
	f.apply("1001|CREATE(1,sub,2,493,0,0,0,0):2", "1001|CREATE(1,file,1,420,0,0,0,0):3")
	c := f.mount("/sub")
	if c.ses.MetaID != testMetaID || c.ses.Session < localSession || c.ses.Flags != wire.SessionReadOnly|wire.SessionAdmin {
		t.Errorf("session %+v", c.ses)
	}
	for path, want := range map[string]meta.Status{"/none": meta.ENOENT, "/file": meta.ENOTDIR, "/..": meta.EINVAL} {
		d := f.dial()
		(&wire.ClientRegister{Code: wire.RegisterNewSession, Release: d.rel, Path: []byte(path)}).Append(&d.out)
		if st, _ := wire.RegisterStatus(d.roundTrip(wire.FuseRegister)); st != want {
			t.Errorf("mounting %s: %v, want %v", path, st, want)
		}
	}

	again := f.dial()
	r := wire.ClientRegister{Code: wire.RegisterReconnect, Release: again.rel, Session: c.ses.Session, HasMetaID: true, MetaID: testMetaID}
	r.Append(&again.out)
	if a, err := reconnected(again); err != nil || a.Status != meta.OK || a.Release != newestPlain {
		t.Errorf("reconnecting: %+v %v", a, err)
	}
	for _, r := range []wire.ClientRegister{
		{Code: wire.RegisterReconnect, Release: c.rel, Session: 5},
		{Code: wire.RegisterReconnect, Release: c.rel, Session: c.ses.Session, HasMetaID: true, MetaID: 1},
		{Code: wire.RegisterTools, Release: c.rel, Session: 5},
	} {
		d := f.dial()
		r.Append(&d.out)
		if a, err := reconnected(d); err != nil || a.Status != meta.EBADSESSIONID {
			t.Errorf("%+v: %+v %v", r, a, err)
		}
	}

	// The first of two connections does not end the session, the second does.
	for i, conn := range []*client{c, again} {
		(&wire.ClientRegister{Code: wire.RegisterCloseSession, Session: c.ses.Session, HasMetaID: true, MetaID: testMetaID}).Append(&conn.out)
		if st, is := wire.RegisterStatus(conn.roundTrip(wire.FuseRegister)); !is || st != meta.OK {
			t.Errorf("closing: %v", st)
		}
		if _, err := io.ReadAll(conn.nc); err != nil {
			t.Errorf("after closing: %v", err)
		}
		waitFor(t, func() bool { all, _ := f.srv.sessions.count(); return all == 1-i })
	}
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited a minute in vain")
		}
	}
}

func TestPassword(t *testing.T) {
	f := newFixture(t, "* / rw,password=secret\n")
	for _, tc := range []struct {
		name, password string
		want           meta.Status
	}{{"right", "secret", meta.OK}, {"wrong", "guess", statusBadPassword}, {"none", "", statusNoPassword}} {
		c := f.dial()
		r := wire.ClientRegister{Code: wire.RegisterNewSession, Release: c.rel}
		if tc.password != "" {
			(&wire.ClientRegister{Code: wire.RegisterRandom}).Append(&c.out)
			random := [32]byte(c.roundTrip(wire.FuseRegister))
			code := exports.Passcode(&random, tc.password)
			r.Password = code[:]
		}
		r.Append(&c.out)
		if st, _ := wire.RegisterStatus(c.roundTrip(wire.FuseRegister)); st != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, st, tc.want)
		}
	}
}

func TestChangesAreRefused(t *testing.T) {
	f := newFixture(t, everyone)
	c := f.mount("/")
	for typ := range changeHandlers() {
		if _, st := c.ask(typ, nil); st != meta.EROFS {
			t.Errorf("%v: %v", typ, st)
		}
	}
	old := f.dial()
	old.rel = wire.NewRelease(3, 0, 100)
	old.register(&wire.ClientRegister{Code: wire.RegisterNewSession, Release: old.rel})
	if _, st := old.ask(wire.FuseWriteChunk, nil); st != statusIO {
		t.Errorf("a write by an old client: %v", st)
	}
}

// What a stock master does not understand ends the connection, and so it does here.
func TestNonsense(t *testing.T) {
	f := newFixture(t, everyone)
	for name, send := range map[string]func(*wire.Encoder){
		"unknown request":         func(e *wire.Encoder) { e.Begin(9999); e.End() },
		"request of a mount":      func(e *wire.Encoder) { e.Begin(wire.FuseGetattr); e.U32(1); e.U32(1); e.End() },
		"other blob":              func(e *wire.Encoder) { e.Begin(wire.FuseRegister); e.Bytes(make([]byte, 65)); e.End() },
		"registration cut short":  func(e *wire.Encoder) { e.Begin(wire.FuseRegister); e.Bytes(make([]byte, 10)); e.End() },
		"close before it is open": func(e *wire.Encoder) { (&wire.ClientRegister{Code: wire.RegisterCloseSession}).Append(e) },
		"too long":                func(e *wire.Encoder) { e.U32(uint32(wire.FuseRegister)); e.U32(maxUnknown + 1) },
	} {
		c := f.dial()
		send(&c.out)
		if !c.closed(wire.FuseRegister) {
			t.Errorf("%s: answered", name)
		}
	}
	c := f.mount("/")
	(&wire.ClientRegister{Code: wire.RegisterRandom}).Append(&c.out)
	if !c.closed(wire.FuseRegister) {
		t.Error("registering twice: answered")
	}
}

func TestKeepalive(t *testing.T) {
	f := newFixture(t, everyone)
	c := f.mount("/")
	typ, p, err := wire.ReadPacket(c.nc, nil, 100)
	if err != nil || typ != wire.Nop || binary.BigEndian.Uint32(p) != 0 || len(p) != 4 {
		t.Errorf("an idle mount got %v % x %v", typ, p, err)
	}
}

func TestLagTurnsMountsAway(t *testing.T) {
	lag := time.Duration(0)
	f := newFixture(t, everyone, func(cfg *Config) {
		cfg.MaxLag = time.Second
		cfg.Lag = func() time.Duration { return lag }
	})
	c := f.mount("/")
	lag = 2 * time.Second
	c.out.Begin(wire.FuseSetattr)
	c.out.U32(7)
	c.out.End()
	if !c.closed(wire.FuseSetattr) {
		t.Error("answered from an image too old")
	}
	d := f.dial()
	(&wire.ClientRegister{Code: wire.RegisterNewSession, Release: d.rel}).Append(&d.out)
	if !d.closed(wire.FuseRegister) {
		t.Error("mounted an image too old")
	}
}

func TestReloadOfExports(t *testing.T) {
	f := newFixture(t, everyone)
	c := f.mount("/")
	f.srv.Reload() // nothing changed
	other, _, _ := exports.Parse(strings.NewReader("* / rw\n"), nil)
	if _, st := c.ask(wire.FuseUnlink, nil); st != meta.EROFS {
		t.Fatal(st)
	}
	f.srv.cfg.Exports = func() *exports.List { return other }
	f.srv.Reload()
	if _, err := io.ReadAll(c.nc); err != nil {
		t.Errorf("the connection of the old session: %v", err)
	}
	d := f.dial()
	(&wire.ClientRegister{Code: wire.RegisterReconnect, Release: d.rel, Session: c.ses.Session}).Append(&d.out)
	if a, err := reconnected(d); err != nil || a.Status != meta.EPERM {
		t.Errorf("taking up a session of other exports: %+v %v", a, err)
	}
}

// reconnected sends what was appended and reads the answer to a reconnection.
func reconnected(c *client) (a wire.Reconnected, err error) {
	return a, a.Decode(wire.NewDecoder(c.roundTrip(wire.FuseRegister)))
}

// asker answers GET_CONFIG as a primary whose file sets one thing.
type asker struct{ t *testing.T }

func (a asker) Ask(t wire.Type, body []byte) []byte {
	var p wire.ConfigRequest
	if err := p.Decode(wire.NewDecoder(body)); err != nil || t != wire.GetConfig {
		a.t.Errorf("the primary was asked %v % x: %v", t, body, err)
	}
	var e wire.Encoder
	value := ""
	if string(p.Name) == "ATIME_MODE" {
		value = "4"
	}
	(&wire.Config{MsgID: p.MsgID, Value: []byte(value)}).Append(&e)
	return e.Buf[wire.HeaderSize:]
}

func TestGetConfig(t *testing.T) {
	f := newFixture(t, everyone, func(cfg *Config) {
		cfg.Asker, cfg.Settings = asker{t}, map[string]string{"DATA_PATH": "/var/lib/standby", "LONG": strings.Repeat("x", 300)}
	})
	alone := newFixture(t, everyone)
	for _, tc := range []struct {
		of         *fixture
		name, want string
	}{
		{f, "DATA_PATH", "/var/lib/standby"}, {f, "LONG", strings.Repeat("x", 255)}, {f, "ATIME_MODE", "4"}, {f, "OTHER", ""},
		{f, "no setting", ""}, {f, "", ""}, {alone, "ATIME_MODE", ""},
	} {
		c := tc.of.dial() // nobody needs to register
		(&wire.ConfigRequest{MsgID: 7, Name: []byte(tc.name)}).Append(&c.out)
		var got wire.Config
		if err := got.Decode(wire.NewDecoder(c.roundTrip(wire.GetConfig))); err != nil || got.MsgID != 7 || string(got.Value) != tc.want {
			t.Errorf("%q: %+v %v, want %q", tc.name, got, err, tc.want)
		}
		c.nc.Close()
	}
}

// Another base image closes the connections of mounts: what changed with it
// nobody can tell them.
func TestNewBaseClosesConnections(t *testing.T) {
	other := newFixture(t, everyone)
	var img atomic.Pointer[image.Image]
	f := newFixture(t, everyone, func(cfg *Config) {
		first, _ := cfg.Image()
		img.Store(first)
		cfg.Image = func() (*image.Image, error) { return img.Load(), nil }
	})
	c := f.mount("/")
	if _, st := c.lookup(1, "none", root); st != meta.ENOENT {
		t.Fatal(st)
	}
	img.Store(other.img)
	if _, err := io.ReadAll(c.nc); err != nil {
		t.Errorf("the connection: %v", err)
	}
	if _, st := f.mount("/").lookup(1, "none", root); st != meta.ENOENT {
		t.Errorf("a new mount: %v", st)
	}
}

// The pollers' threads have the nice level that was asked for, and no other has.
func TestNice(t *testing.T) {
	const level = 7 // a level above 0 needs no privilege
	threads := func() map[string]bool {
		t.Helper()
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]bool{}
		for _, task := range tasks {
			tid, err := strconv.Atoi(task.Name())
			if err != nil {
				t.Fatal(err)
			}
			if p, err := unix.Getpriority(unix.PRIO_PROCESS, tid); err == nil && 20-p == level {
				have[task.Name()] = true
			}
		}
		return have
	}
	before := threads() // of a run of this test before, perhaps
	f := newFixture(t, everyone, func(cfg *Config) { cfg.Pollers, cfg.Nice = 3, level })
	for range 6 {
		f.mount("/") // each poller has begun, then
	}
	now := threads()
	maps.DeleteFunc(now, func(tid string, _ bool) bool { return before[tid] })
	if len(now) != 3 {
		t.Errorf("threads %v have the level, want those of 3 pollers", now)
	}
}

// A server is busy while clients ask much.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{}
		time.Sleep(time.Second)
		for _, c := range []struct {
			packets uint64
			after   time.Duration
			want    bool
		}{
			{0, time.Second, false},
			{busyRate + 1, time.Second, true},
			{0, busyOver - 1, true}, // too soon to tell anything new
			{0, 1, false},
			{busyRate / 100, busyOver, false},
			{busyRate/100 + 1, busyOver, true},
		} {
			time.Sleep(c.after)
			s.counters.packets.Add(c.packets)
			if got := s.Busy(); got != c.want {
				t.Errorf("busy %v with %d packets in %v", got, c.packets, c.after)
			}
		}
	})
}
