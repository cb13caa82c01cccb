package locate

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/wire"
)

// primary is a master that knows some chunks.
type primary struct {
	t  *testing.T
	mu sync.Mutex // guards what follows

	down     bool
	release  wire.Release
	metaid   uint64
	sessions map[uint32]bool // by number: can be taken up with RegisterReconnect
	next     uint32
	password string
	refuse   meta.Status
	hold     chan struct{} // answers about chunks wait for it
	hang     chan struct{} // everything waits for it
	chunks   map[slot]wire.ChunkCopies
	status   map[slot]meta.Status
	wrong    bool // answers with another type
	log      []string
	conn     net.Conn
}

func newPrimary(t *testing.T) *primary {
	return &primary{t: t, release: wire.NewRelease(3, 0, 117), metaid: 7, sessions: map[uint32]bool{}, next: 5,
		chunks: map[slot]wire.ChunkCopies{}, status: map[slot]meta.Status{}}
}

// dial gives the Locator its end of a new connection.
func (p *primary) dial(context.Context, string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, errors.New("connection refused")
	}
	mine, theirs := net.Pipe()
	p.conn = mine
	go p.serve(mine)
	return theirs, nil
}

func (p *primary) serve(nc net.Conn) {
	defer nc.Close()
	var random [32]byte
	for {
		t, payload, err := wire.ReadPacket(nc, nil, 1<<20)
		if err != nil {
			return
		}
		var e wire.Encoder
		d := wire.NewDecoder(payload)
		p.mu.Lock()
		hold, hang := p.hold, p.hang
		p.mu.Unlock()
		if hang != nil {
			<-hang
		}
		p.mu.Lock()
		switch t {
		case wire.FuseRegister:
			p.register(&e, d, &random)
		case wire.FuseReadChunk:
			p.readChunk(&e, d)
		case wire.FuseStatfs:
			(&wire.Statfs{MsgID: d.U32(), Total: 30, Avail: 20, Free: 10}).Append(&e, p.release)
		case wire.FuseCheck:
			var req wire.Check
			req.Decode(d)
			(&wire.CheckReply{MsgID: req.MsgID, Counts: [12]uint32{2: 3}}).Append(&e, p.release)
		}
		p.mu.Unlock()
		if t == wire.FuseReadChunk && hold != nil {
			go func() { <-hold; nc.Write(e.Buf) }()
			continue
		}
		if _, err := nc.Write(e.Buf); err != nil {
			return
		}
	}
}

func (p *primary) register(e *wire.Encoder, d *wire.Decoder, random *[32]byte) {
	var r wire.ClientRegister
	if err := r.Decode(d); err != nil {
		p.t.Errorf("registration: %v", err)
	}
	p.log = append(p.log, fmt.Sprintf("register %d session %d", r.Code, r.Session))
	switch {
	case r.Code == wire.RegisterRandom:
		copy(random[:], "0123456789abcdefghijklmnopqrstuv")
		wire.AppendRandom(e, random)
	case r.Code == wire.RegisterReconnect:
		status := meta.OK
		if !p.sessions[r.Session] || r.MetaID != p.metaid {
			status = meta.EBADSESSIONID
		}
		(&wire.Reconnected{Release: p.release, Status: status}).Append(e, min(p.release, r.Release))
	case p.refuse != meta.OK:
		wire.AppendRegisterStatus(e, p.refuse)
	case p.password != "":
		inner := md5.Sum([]byte(p.password))
		want := md5.Sum(append(append(bytes.Clone(random[:16]), inner[:]...), random[16:]...))
		if !bytes.Equal(r.Password, want[:]) {
			wire.AppendRegisterStatus(e, statusBadPassword)
			return
		}
		fallthrough
	default:
		id := r.Session
		if _, known := p.sessions[id]; !known || r.MetaID != p.metaid {
			id = p.next
			p.next++
		}
		p.sessions[id] = true
		(&wire.Session{Release: p.release, Session: id, MetaID: p.metaid}).Append(e, min(p.release, r.Release))
	}
}

func (p *primary) readChunk(e *wire.Encoder, d *wire.Decoder) {
	var r wire.ChunkRequest
	if err := r.Decode(d); err != nil {
		p.t.Errorf("READ_CHUNK: %v", err)
	}
	if old := p.release < flagsKnown; r.Old != old {
		p.t.Errorf("a master of %v is asked as one before 3.0.4: %v", p.release, r.Old)
	}
	at := slot{r.Inode, r.Index}
	p.log = append(p.log, fmt.Sprintf("read %d/%d", r.Inode, r.Index))
	if p.wrong {
		wire.AppendStatus(e, wire.FuseWriteChunk, r.MsgID, meta.OK)
		return
	}
	if status := p.status[at]; status != meta.OK {
		wire.AppendStatus(e, wire.FuseReadChunk, r.MsgID, status)
		return
	}
	(&wire.ChunkReply{MsgID: r.MsgID, ChunkCopies: p.chunks[at]}).Append(e, wire.FuseReadChunk, p.release)
}

// took returns what was asked since it was called last.
func (p *primary) took() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	log := strings.Join(p.log, "; ")
	p.log = nil
	return log
}

func (p *primary) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *primary) goDown() {
	p.set(func() {
		p.down = true
		if p.conn != nil {
			p.conn.Close()
		}
	})
	synctest.Wait()
}

func (p *primary) comeUp() {
	p.set(func() { p.down = false })
	time.Sleep(retryEvery)
	synctest.Wait()
}

// start runs a Locator and returns how to stop it.
func (p *primary) start(cfg Config) (*Locator, func()) {
	p.t.Helper()
	cfg.Address, cfg.Host, cfg.Dial = "primary:9421", "here", p.dial
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := New(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(p.t.Context())
	done := make(chan struct{})
	go func() { l.Run(ctx); close(done) }()
	synctest.Wait()
	return l, func() { cancel(); <-done; synctest.Wait() }
}

func copiesOn(ips ...uint32) wire.Locations {
	l := wire.Locations{}
	for _, ip := range ips {
		l = l.Add(wire.Location{IP: ip, Port: 9422, Release: release})
	}
	return l
}

func chunk(id meta.ChunkID, version uint32, ips ...uint32) wire.ChunkCopies {
	return wire.ChunkCopies{Chunk: id, Version: version, Copies: copiesOn(ips...)}
}

func wantCopies(t *testing.T, copies wire.Locations, status meta.Status, want wire.Locations, wantStatus meta.Status) {
	t.Helper()
	if status != wantStatus || !bytes.Equal(copies, want) {
		t.Fatalf("got %x, %v, want %x, %v", copies, status, want, wantStatus)
	}
}

func wantLog(t *testing.T, p *primary, want string) {
	t.Helper()
	if got := p.took(); got != want {
		t.Fatalf("the primary was asked %q, want %q", got, want)
	}
}

func TestLocateAsksOnceWhileFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary(t)
		p.chunks[slot{4, 0}] = chunk(1, 3, 11, 12)
		l, stop := p.start(Config{})
		defer stop()
		wantLog(t, p, "register 2 session 0")
		if _, _, ok := l.Cached(1, 3); ok {
			t.Fatal("a chunk that nobody asked for is known")
		}
		for range 3 {
			copies, status := l.Locate(t.Context(), 4, 0, 1, 3)
			wantCopies(t, copies, status, copiesOn(11, 12), meta.OK)
		}
		wantLog(t, p, "read 4/0")
		copies, status, ok := l.Cached(1, 3)
		wantCopies(t, copies, status, copiesOn(11, 12), meta.OK)
		if !ok {
			t.Fatal("the chunk is not known")
		}
		if _, _, ok := l.Cached(1, 4); ok {
			t.Fatal("another version of the chunk is known")
		}
		p.set(func() { p.chunks[slot{4, 0}] = chunk(1, 3, 13) })
		time.Sleep(DefaultFresh)
		copies, status = l.Locate(t.Context(), 4, 0, 1, 3)
		wantCopies(t, copies, status, copiesOn(13), meta.OK)
		wantLog(t, p, "read 4/0")
		p.set(func() {
			var e wire.Encoder
			wire.AppendForgetChunks(&e)
			p.conn.Write(e.Buf)
		})
		synctest.Wait()
		if _, _, ok := l.Cached(1, 3); ok {
			t.Fatal("the chunk is fresh although a chunkserver came or went")
		}
		l.Forget(1, 3)
		if _, ok := l.cache.get(1); !ok {
			t.Fatal("the version that there is was forgotten")
		}
		l.Forget(1, 4)
		l.Forget(2, 4)
		if _, ok := l.cache.get(1); ok || l.cache.len() != 0 {
			t.Fatal("an older version is known")
		}
		if got := l.Space(); got != (Space{30, 20, 10}) {
			t.Fatalf("space is %+v", got)
		}
		if counts, status := l.CheckFile(t.Context(), 4); counts != [12]uint32{2: 3} || status != meta.OK {
			t.Fatalf("the file has %v, %v", counts, status)
		}
	})
}

func TestLocateAsksOnceForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary(t)
		p.chunks[slot{4, 0}] = chunk(1, 3, 11)
		p.hold = make(chan struct{})
		l, stop := p.start(Config{})
		defer stop()
		p.took()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				copies, status := l.Locate(t.Context(), 4, 0, 1, 3)
				if status != meta.OK || !bytes.Equal(copies, copiesOn(11)) {
					t.Errorf("got %x, %v", copies, status)
				}
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		copies, status := l.Locate(ctx, 4, 0, 1, 3) // gives up before the primary answers
		wantCopies(t, copies, status, nil, meta.OK)
		close(p.hold)
		wg.Wait()
		wantLog(t, p, "read 4/0")
	})
}

func TestLocateWithoutPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary(t)
		p.chunks[slot{4, 0}] = chunk(1, 3, 11)
		p.status[slot{5, 0}] = meta.ECHUNKLOST
		log := events.New(10)
		l, stop := p.start(Config{Events: log})
		defer stop()
		l.Locate(t.Context(), 4, 0, 1, 3)
		copies, status := l.Locate(t.Context(), 5, 0, 2, 1)
		wantCopies(t, copies, status, nil, meta.ECHUNKLOST)
		if _, status, ok := l.Cached(2, 1); !ok || status != meta.ECHUNKLOST {
			t.Fatalf("the lost chunk is %v, %v", ok, status)
		}
		p.goDown()
		time.Sleep(time.Hour)
		copies, status = l.Locate(t.Context(), 4, 0, 1, 3)
		wantCopies(t, copies, status, copiesOn(11), meta.OK)
		copies, status = l.Locate(t.Context(), 5, 0, 2, 1)
		wantCopies(t, copies, status, nil, meta.OK)
		copies, status = l.Locate(t.Context(), 6, 0, 3, 1)
		wantCopies(t, copies, status, nil, meta.OK)
		if _, status := l.CheckFile(t.Context(), 4); status != statusAgain {
			t.Fatalf("without a primary the file has %v", status)
		}
		p.comeUp()
		p.took()
		l.Locate(t.Context(), 4, 0, 1, 3)
		wantLog(t, p, "read 4/0") // asked anew: copies may have moved
		if n := len(log.Of(part, 100)); n != 4 {
			t.Fatalf("%d events, want connected, gone, refused, connected: %+v", n, log.Of(part, 100))
		}
	})
}

func TestLocateMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary(t)
		p.chunks[slot{4, 0}] = chunk(1, 4, 11)
		p.chunks[slot{4, 1}] = wire.ChunkCopies{}
		p.status[slot{5, 0}] = meta.ENOENT
		p.status[slot{6, 0}] = meta.EPERM
		l, stop := p.start(Config{})
		defer stop()
		for _, tc := range []struct {
			name string
			at   slot
			id   meta.ChunkID
			want meta.Status
		}{
			{"newer version", slot{4, 0}, 1, meta.ELOCKED}, {"hole", slot{4, 1}, 2, meta.ELOCKED},
			{"file is gone", slot{5, 0}, 3, meta.ELOCKED}, {"not permitted", slot{6, 0}, 4, meta.EPERM},
		} {
			if copies, status := l.Locate(t.Context(), tc.at.ino, tc.at.index, tc.id, 3); status != tc.want || copies != nil {
				t.Errorf("%s: got %x, %v, want %v", tc.name, copies, status, tc.want)
			}
		}
		p.took()
		copies, status := l.Locate(t.Context(), 4, 0, 1, 4) // the image is there now
		wantCopies(t, copies, status, copiesOn(11), meta.OK)
		wantLog(t, p, "")
	})
}

func TestSessionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary(t)
		dir := t.TempDir()
		_, stop := p.start(Config{Dir: dir})
		wantLog(t, p, "register 2 session 0")
		p.goDown()
		p.comeUp()
		wantLog(t, p, "register 3 session 5")
		stop()
		_, stop = p.start(Config{Dir: dir})
		wantLog(t, p, "register 3 session 5")
		p.goDown()
		p.set(func() { p.sessions[5] = false }) // a restarted master knows it from its metadata only
		p.comeUp()
		wantLog(t, p, "register 3 session 5; register 2 session 5")
		p.goDown()
		p.set(func() { delete(p.sessions, 5) })
		p.comeUp()
		wantLog(t, p, "register 3 session 5; register 2 session 5")
		stop()
		_, stop = p.start(Config{Dir: dir})
		defer stop()
		wantLog(t, p, "register 3 session 6")
	})
}

func TestRefused(t *testing.T) {
	for _, tc := range []struct {
		name, password string
		change         func(*primary)
		want           string
	}{
		{"no export", "", func(p *primary) { p.refuse = meta.EACCES }, "no line for this host"},
		{"wrong password", "b", func(p *primary) { p.password = "a" }, "password is wrong"},
		{"right password", "a", func(p *primary) { p.password = "a" }, "as session 5"},
		{"another cluster", "", func(p *primary) { p.metaid = 8 }, "not of 0000000000000007"},
		{"old master", "", func(p *primary) { p.release = wire.NewRelease(2, 0, 91); p.metaid = 0 }, "as session 5"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPrimary(t)
				tc.change(p)
				p.chunks[slot{4, 0}] = chunk(1, 3, 11)
				log := events.New(10)
				l, stop := p.start(Config{Password: tc.password, Events: log, MetaID: func() uint64 { return 7 }})
				defer stop()
				time.Sleep(time.Minute) // told once, not at each try
				all := log.Of(part, 10)
				if len(all) != 1 || !strings.Contains(all[0].Text, tc.want) {
					t.Fatalf("got events %+v, want one with %q", all, tc.want)
				}
				copies, status := l.Locate(t.Context(), 4, 0, 1, 3)
				if l.Stats().Connected != strings.HasPrefix(tc.want, "as") || status != meta.OK {
					t.Fatalf("got %x, %v and %+v", copies, status, l.Stats())
				}
				if l.Stats().Connected && copies.Len() != 1 {
					t.Fatalf("got %x", copies)
				}
			})
		})
	}
}

func TestNonsenseEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary(t)
		p.wrong = true
		l, stop := p.start(Config{})
		defer stop()
		p.took()
		copies, status := l.Locate(t.Context(), 4, 0, 1, 3)
		wantCopies(t, copies, status, nil, meta.OK)
		time.Sleep(2 * retryEvery)
		wantLog(t, p, "read 4/0; register 3 session 5")
	})
}

func TestSilentPrimaryIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary(t)
		l, stop := p.start(Config{})
		defer stop()
		time.Sleep(time.Minute) // keepalives both ways
		if !l.Stats().Connected {
			t.Fatal("not connected after a minute without questions")
		}
		hang := make(chan struct{})
		defer close(hang)
		p.set(func() { p.down, p.hang = true, hang })
		copies, status := l.Locate(t.Context(), 4, 0, 1, 3)
		wantCopies(t, copies, status, nil, meta.OK)
		if l.Stats().Connected {
			t.Fatal("a primary that says nothing counts as connected")
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	var c cache
	c.init(shards * 10)
	for id := range meta.ChunkID(10000) {
		c.put(id, entry{version: uint32(id)})
		if e, ok := c.get(5); id >= 5 && (!ok || e.version != 5) {
			t.Fatalf("chunk 5, just used, is gone after chunk %d", id)
		}
	}
	if n := c.len(); n != shards*10 {
		t.Fatalf("%d chunks are kept, want %d", n, shards*10)
	}
	if _, ok := c.get(9999); !ok {
		t.Fatal("the newest chunk is not kept")
	}
	c.clear()
	if n := c.len(); n != 0 {
		t.Fatalf("%d chunks are kept after clear", n)
	}
}
