package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// Clients that send nonsense lose their connections; others are served on, and
// no memory stays behind.
func TestGarbageHarmsNobody(t *testing.T) {
	f := newFixture(t, everyone, func(cfg *Config) { cfg.MaxBuffers = 32 << 20 })
	f.apply("1001|CREATE(1,dir,2,488,0,10,20,0):2")
	good := f.mount("/")
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 1))
			for range 100 {
				c := f.mount("/")
				if seed%2 == 0 {
					c.nc.Close()
					c = f.dial()
				}
				garbage(rnd, &c.out)
				c.nc.Write(c.out.Buf)
				c.nc.Close()
			}
		})
	}
	for range 200 {
		if r, st := good.lookup(1, "dir", root); st != meta.OK || r.Inode != 2 {
			t.Fatalf("a good client got %+v, %v", r, st)
		}
	}
	wg.Wait()
	good.nc.Close()
	waitFor(t, func() bool { return f.srv.Stats().Connections == 0 })
	if n := f.srv.buffers.Load(); n != 0 {
		t.Errorf("%d bytes of buffers are still counted", n)
	}
}

// garbage appends packets that are wrong in many ways.
func garbage(rnd *rand.Rand, e *wire.Encoder) {
	for range 50 {
		e.Begin(wire.Type(rnd.IntN(800)))
		for range rnd.IntN(64) {
			e.U8(uint8(rnd.IntN(4) * rnd.IntN(256)))
		}
		e.End()
		if rnd.IntN(10) == 0 {
			binary.BigEndian.PutUint32(e.Buf[len(e.Buf)-min(len(e.Buf), 8):], rnd.Uint32())
		}
	}
}

// A client that announces long packets costs what it sends, not what it says;
// when all room is taken it is closed.
func TestLongPacketsAreBounded(t *testing.T) {
	f := newFixture(t, everyone, func(cfg *Config) { cfg.MaxBuffers = 8 << 20 })
	good := f.mount("/")
	var clients []*client
	for range 8 {
		c := f.mount("/")
		c.out.U32(uint32(wire.FuseSustainedInodes))
		c.out.U32(wire.ClientMaxLength)
		c.out.Bytes(make([]byte, 3<<20))
		go c.nc.Write(c.out.Buf)
		clients = append(clients, c)
	}
	waitFor(t, func() bool { return f.srv.counters.dropped.Load() > 0 })
	if n := f.srv.buffers.Load(); n > 8<<20 {
		t.Errorf("%d bytes of buffers", n)
	}
	if _, st := good.lookup(1, "none", root); st != meta.ENOENT {
		t.Errorf("a good client: %v", st)
	}
	for _, c := range clients {
		c.nc.Close()
	}
	waitFor(t, func() bool { return f.srv.buffers.Load() == 0 })
}

// Ten thousand idle connections cost little memory each, and with nonsense from
// others neither they nor a good client are harmed.
func TestManyIdleConnections(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 500
	}
	f := newFixture(t, everyone, func(cfg *Config) { cfg.MaxConns, cfg.silence = n+50, time.Hour })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	// Their other ends are in another process, as each may have so many files open.
	idle := exec.Command(os.Args[0], "-test.run=^TestIdleClients$")
	idle.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", idleClients, f.addr, n))
	var said bytes.Buffer
	idle.Stdout, idle.Stderr = &said, &said
	end, err := idle.StdinPipe()
	if err == nil {
		err = idle.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		end.Close()
		if err := idle.Wait(); err != nil {
			t.Errorf("the process with the clients: %v\n%s", err, said.Bytes())
		}
	}()
	waitFor(t, func() bool { return f.srv.Stats().Connections == n })
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)) / int64(n); each > 4<<10 {
		t.Errorf("an idle connection costs %d bytes", each)
	}
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 2))
			for range 50 {
				nc, err := net.Dial("tcp", f.addr)
				if err != nil {
					t.Error(err)
					return
				}
				var e wire.Encoder
				garbage(rnd, &e)
				nc.Write(e.Buf)
				nc.Close()
			}
		})
	}
	good := f.mount("/")
	for range 100 {
		if _, st := good.lookup(1, "none", root); st != meta.ENOENT {
			t.Fatalf("beside idle connections: %v", st)
		}
	}
	wg.Wait()
	waitFor(t, func() bool { return f.srv.Stats().Connections == n+1 }) // those that did nothing wrong
	for range 49 {
		f.dial()
	}
	waitFor(t, func() bool { return f.srv.Stats().Connections == n+50 })
	c := f.dial() // one more than allowed
	c.nc.SetDeadline(time.Now().Add(time.Minute))
	if !c.closed(wire.FuseRegister) {
		t.Error("the connection over the limit was answered")
	}
}

// idleClients tells a process of this test where to connect and how often.
const idleClients = "MFSSTANDBY_TEST_IDLE_CLIENTS"

// TestIdleClients is the other process of TestManyIdleConnections, and nothing
// without it.
func TestIdleClients(t *testing.T) {
	address, count, _ := strings.Cut(os.Getenv(idleClients), " ")
	n, _ := strconv.Atoi(count)
	for range n {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	if n > 0 {
		io.Copy(io.Discard, os.Stdin) // until the first process ends it
	}
}

// A client that does not take its answers is read from no more, costs what it was
// answered, and gets all of it when it reads again.
func TestSlowReader(t *testing.T) {
	f := newFixture(t, everyone)
	f.hugeDir(1500)
	slow, good := f.mount("/"), f.mount("/")
	const asked = 200 // much more than the system's buffers take
	go func() {
		var e wire.Encoder
		for i := range uint32(asked) {
			(&wire.Readdir{MsgID: i + 1, Inode: 2, Identity: root, Flags: wire.ReaddirAttr, Max: ^uint32(0)}).Append(&e)
		}
		slow.nc.Write(e.Buf)
	}()
	waitFor(t, func() bool { return f.srv.buffers.Load() > 0 })
	if _, st := good.lookup(1, "none", root); st != meta.ENOENT {
		t.Errorf("beside a client that does not read: %v", st)
	}
	for i := range uint32(asked) {
		typ, p := slow.news()
		if typ != wire.FuseReaddir.Reply() || binary.BigEndian.Uint32(p) != i+1 || len(p) < 1500*40 {
			t.Fatalf("answer %d is %v with %d bytes", i, typ, len(p))
		}
	}
	waitFor(t, func() bool { return f.srv.buffers.Load() == 0 })
	if _, st := slow.lookup(1, "none", root); st != meta.ENOENT {
		t.Errorf("afterwards: %v", st)
	}
}

// FuzzHandlers gives every handler any bytes: it answers or closes, and changes
// nothing.
func FuzzHandlers(f *testing.F) {
	f.Add(uint16(wire.FuseLookup), []byte("\x00\x00\x00\x01\x00\x00\x00\x01\x01a\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"))
	f.Add(uint16(wire.FuseReaddir), make([]byte, 33))
	f.Add(uint16(wire.FuseGetXattr), make([]byte, 23))
	f.Add(uint16(wire.FusePosixLock), make([]byte, 42))
	f.Add(uint16(wire.FuseQuotaControl), make([]byte, 9))
	f.Add(uint16(wire.FuseRegister), []byte("x"))
	fix := newFixture(f, everyone)
	fix.apply("1001|CREATE(1,dir,2,488,0,10,20,0):2", "1002|CREATE(2,file,1,420,0,10,20,0):3", "1003|UNLINK(2,file):3")
	if err := fix.img.Commit(true); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, number uint16, payload []byte) {
		here, there := net.Pipe()
		defer here.Close()
		defer there.Close()
		c := newConn(fix.srv, there.RemoteAddr())
		newOwn(c, there)
		c.release = newestPlain
		ses := fix.srv.sessions.create(&params{meta.Session{Root: meta.Root}})
		defer fix.srv.sessions.remove(ses)
		c.enter(ses, mounted)
		defer fix.srv.sessions.detach(ses, c, time.Now())
		defer fix.srv.locks.release(ses.id, func(meta.Inode) bool { return false })
		c.out.Begin(wire.Type(number))
		c.out.Bytes(payload)
		c.out.End()
		c.in, c.out.Buf = c.out.Buf, nil
		if err := fix.img.Read(c.answer); err == nil {
			for rest := c.out.Buf; len(rest) > 0; {
				_, _, next, ok, err := wire.Split(rest, wire.ClientMaxLength)
				if !ok || err != nil {
					t.Fatalf("request %d, % x: answer % x is no packet", number, payload, rest)
				}
				rest = next
			}
		}
		if n := fix.img.Dirty(); n != 0 {
			t.Fatalf("request %d, % x: changed %d bytes of the image", number, payload, n)
		}
	})
}
