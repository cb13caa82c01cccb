//go:build e2e

package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/exports"
	"mfsstandby/standby/leader"
	"mfsstandby/standby/metafile"
	"mfsstandby/standby/stock"
)

// registrations is how many things happen, in less time than the master takes
// before it removes sessions.
const registrations = 3000

// manyExports give each kind of session a line.
const manyExports = `* / rw,admin,maproot=0:0,password=admin
* / ro,mapall=1001:1002,password=mapped
127.0.0.0/8 /sub rw,alldirs,maproot=7:8,mingoal=2,maxgoal=4,mintrashtime=2h,maxtrashtime=3d,password=sub
* / rw,dynamicip,umask=0027,minversion=2.0.0
* / rw,ignoregid,disable=rmdir:unlink,maproot=5:5,password=few
* . ro,password=trash
* . rw
`

// arena is a real master and a leader with the same metadata.
type arena struct {
	*testing.T
	rnd       *rand.Rand
	master    string // address
	ours      string
	log       *os.File // the master's changelog
	half      string   // of a line that is being written
	path      string
	stream    *memory
	pairs     []*pair
	strangers int // pairs that were far
	seen      map[string]int
}

// pair is a connection to each.
type pair struct {
	conns      [2]net.Conn // to the master, to the leader
	random     [2][32]byte
	registered bool
	session    uint32

	// It comes from an address where no session was made. The master remembers for
	// a second whom it told so, for clients before 3.0, and closes connections from
	// there meanwhile: each such address is used once.
	far bool
}

// A leader registers clients as a real master does, in all ways and with the
// mistakes that they make: same answers, same connections closed, same entries.
func TestMasterRegistersAlike(t *testing.T) {
	a := newArena(t)
	for n := range registrations {
		what := a.step()
		if t.Failed() {
			t.Fatalf("after %d: %s", n, what)
		}
	}
	t.Log(a.seen)
	for _, kind := range []string{"SESADD", "SESCHANGED", "SESDISCONNECTED", "session", "status 0", fmt.Sprintf("status %d", meta.EPERM), fmt.Sprintf("status %d", meta.EBADSESSIONID), "closed"} {
		if a.seen[kind] == 0 {
			t.Errorf("nothing came of a kind: %s", kind)
		}
	}
}

func newArena(t *testing.T) *arena {
	t.Helper()
	f := newFixture(t, manyExports)
	f.apply("1001|CREATE(1,sub,2,493,0,0,0,0):2", "1001|CREATE(1,file,1,420,0,0,0,0):3", "1001|CREATE(2,deep,2,493,0,0,0,0):4")
	dir := t.TempDir()
	p, err := stock.MakePrivate(dir, manyExports, 0)
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.img.View()
	if err == nil {
		err = metafile.File(filepath.Join(p.Data, "metadata.mfs"), "", v.State(), metafile.Header{Version: v.Position().Version, MetaID: testMetaID}, metafile.WriteOptions{})
		v.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	program, err := stock.Find()
	if err != nil {
		t.Fatal(err)
	}
	child, err := stock.StartChild(program, p.Config, filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(child.Kill)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := stock.Serving(ctx, p.Clients, child.Done()); err != nil {
		t.Fatalf("%v; it said %s", err, child.Said())
	}
	now := time.Now()
	a := &arena{T: t, rnd: rand.New(rand.NewPCG(1, 1)), master: p.Clients, ours: f.addr, path: filepath.Join(p.Data, "changelog.0.mfs"), seen: map[string]int{}}
	a.stream, _ = f.lead(func(c *leader.Config) { c.Clock = func() time.Time { return now } }) // nothing is due, ever
	return a
}

// lines are the entries that the master has written since the last call.
func (a *arena) lines() (list []string) {
	a.Helper()
	if a.log == nil {
		f, err := os.Open(a.path)
		if err != nil {
			return nil // nothing yet
		}
		a.Cleanup(func() { f.Close() })
		a.log = f
	}
	read, err := io.ReadAll(a.log)
	if err != nil {
		a.Fatal(err)
	}
	text := a.half + string(read)
	whole := strings.LastIndexByte(text, '\n') + 1
	a.half = text[whole:]
	for line := range strings.Lines(text[:whole]) {
		_, entry, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "|")
		if !ok {
			a.Fatalf("the changelog has %q", line)
		}
		list = append(list, entry)
	}
	return list
}

// entries waits until both have written as many entries as the master has, which
// must be at least as many as told, and compares them.
func (a *arena) entries(what string, least int) {
	a.Helper()
	var want, got []string
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		want = append(want, a.lines()...)
		got = append(got, a.stream.takeList()...)
		if len(want) >= least && len(got) >= len(want) {
			break
		}
		if time.Now().After(end) {
			break
		}
	}
	if !slices.Equal(want, got) {
		a.Errorf("%s: entries\n got %q\nwant %q", what, got, want)
	}
	for _, e := range want {
		kind, _, _ := strings.Cut(e, "(")
		a.seen[kind]++
	}
}

// connect makes another pair.
func (a *arena) connect() *pair {
	a.Helper()
	p := &pair{}
	d := net.Dialer{}
	if p.far = a.rnd.IntN(5) == 0; p.far {
		a.strangers++
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 1, byte(a.strangers>>8), byte(a.strangers))}
	}
	for i, address := range []string{a.master, a.ours} {
		nc, err := d.Dial("tcp", address)
		if err != nil {
			a.Fatal(err)
		}
		a.Cleanup(func() { nc.Close() })
		p.conns[i] = nc
	}
	a.pairs = append(a.pairs, p)
	return p
}

// drop forgets a pair, whose connections are closed. Its session, if it has lost
// its last connection, leaves an entry.
func (a *arena) drop(p *pair, what string) {
	a.Helper()
	for _, nc := range p.conns {
		nc.Close()
	}
	a.pairs = slices.DeleteFunc(a.pairs, func(q *pair) bool { return q == p })
	least := 0
	if p.registered && !slices.ContainsFunc(a.pairs, func(q *pair) bool { return q.registered && q.session == p.session }) {
		least = 1
	}
	a.entries(what, least)
}

// ask sends a registration on both connections and returns the answers; nil is a
// connection that was closed.
func (a *arena) ask(p *pair, r [2]wire.ClientRegister) (answers [2][]byte) {
	a.Helper()
	for i, nc := range p.conns {
		var e wire.Encoder
		r[i].Append(&e)
		if _, err := nc.Write(e.Buf); err != nil {
			a.Fatal(err)
		}
		nc.SetReadDeadline(time.Now().Add(time.Minute))
		for {
			t, payload, err := wire.ReadPacket(nc, nil, wire.ClientMaxLength)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
				break
			}
			if err != nil {
				a.Fatal(err)
			}
			if t == wire.Nop {
				continue
			}
			if t != wire.FuseRegister.Reply() {
				a.Fatalf("%+v is answered with %v", r[i], t)
			}
			answers[i] = payload
			break
		}
	}
	return answers
}

func oneOf[T any](a *arena, list ...T) T { return list[a.rnd.IntN(len(list))] }

// step lets something happen, and compares what comes of it.
func (a *arena) step() string {
	a.Helper()
	if len(a.pairs) < 2 || len(a.pairs) < 12 && a.rnd.IntN(3) == 0 {
		a.connect()
	}
	p := oneOf(a, a.pairs...)
	if a.rnd.IntN(8) == 0 {
		what := fmt.Sprintf("the connection of session %d ends", p.session)
		a.drop(p, what)
		return what
	}
	r := a.draw(p)
	what := fmt.Sprintf("%+v on a connection of session %d", r[0], p.session)
	answers := a.ask(p, r)
	if r[0].Code == wire.RegisterRandom && len(answers[0]) == 32 && len(answers[1]) == 32 {
		p.random = [2][32]byte{[32]byte(answers[0]), [32]byte(answers[1])}
		return what
	}
	if !bytes.Equal(answers[0], answers[1]) {
		a.Errorf("%s: answer\n got %x\nwant %x", what, answers[1], answers[0])
		return what
	}
	a.learn(p, &r[0], answers[0], what)
	return what
}

// learn takes note of what an answer says.
func (a *arena) learn(p *pair, r *wire.ClientRegister, answer []byte, what string) {
	a.Helper()
	if answer == nil || r.Code == wire.RegisterCloseSession {
		a.seen["closed"]++
		a.drop(p, what)
		return
	}
	status := meta.OK
	switch st, is := wire.RegisterStatus(answer); {
	case is:
		status = st
	case r.Code == wire.RegisterReconnect:
		status = meta.Status(answer[len(answer)-1])
	}
	a.seen[fmt.Sprintf("status %d", status)]++
	least := 0
	if status == meta.OK {
		p.registered, p.session = true, r.Session
		if r.Code == wire.RegisterNewSession || r.Code == wire.RegisterNewMetaSession {
			ses := wire.Session{Meta: r.Code == wire.RegisterNewMetaSession}
			if err := ses.Decode(wire.NewDecoder(answer), r.Release); err != nil {
				a.Fatalf("%s: %v", what, err)
			}
			p.session, least = ses.Session, 1
			a.seen["session"]++
		}
	}
	a.entries(what, least)
	if p.far && !p.registered {
		a.drop(p, what)
	}
}

// draw draws a registration, for the master and for the leader: passwords are
// answered with each one's random bytes.
func (a *arena) draw(p *pair) (r [2]wire.ClientRegister) {
	code := oneOf(a, wire.RegisterRandom, wire.RegisterNewSession, wire.RegisterNewSession, wire.RegisterNewMetaSession, wire.RegisterReconnect, wire.RegisterTools)
	if p.far {
		code = oneOf(a, wire.RegisterReconnect, wire.RegisterTools)
	}
	if p.registered && a.rnd.IntN(8) > 0 {
		code = wire.RegisterCloseSession
	}
	session := uint32(a.rnd.IntN(60))
	if len(a.pairs) > 0 && a.rnd.IntN(2) == 0 {
		session = oneOf(a, a.pairs...).session
	}
	one := wire.ClientRegister{
		Code: code, Session: session,
		Release: oneOf(a, wire.NewRelease(3, 0, 117), wire.NewRelease(3, 0, 117), wire.NewRelease(3, 0, 100), wire.NewRelease(3, 0, 80), wire.NewRelease(3, 0, 60),
			wire.NewRelease(2, 0, 91), wire.NewRelease(1, 6, 27), wire.NewRelease(1, 6, 22), wire.NewRelease(1, 6, 10)),
		Info:       []byte(oneOf(a, "/mnt\x00", "/mnt/%,()\xff\x00", "", "no end")),
		Path:       []byte(oneOf(a, "/", "/", "", "/sub", "sub/", "/sub/deep", "/sub//deep/", "/none", "/file", "/..", "/file/x")),
		HasSession: a.rnd.IntN(2) == 0, MetaID: testMetaID,
	}
	if one.HasMetaID = a.rnd.IntN(3) > 0; a.rnd.IntN(10) == 0 {
		one.MetaID++
	}
	if code == wire.RegisterNewSession || code == wire.RegisterNewMetaSession {
		// Of clients that tell no session the master remembers by their address which one they had.
		one.HasSession = true
		if a.rnd.IntN(2) == 0 {
			one.Session = 0
		}
	}
	password := oneOf(a, "", "", "admin", "mapped", "sub", "few", "trash", "wrong")
	for i := range r {
		r[i] = one
		if password != "" && (code == wire.RegisterNewSession || code == wire.RegisterNewMetaSession) {
			answer := exports.Passcode(&p.random[i], password)
			r[i].Password = answer[:]
		}
	}
	return r
}
