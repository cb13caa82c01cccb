package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/image"
	"mfsstandby/standby/leader"
)

// memory is a stream that keeps what a leader writes.
type memory struct {
	mu   sync.Mutex
	list []string
	end  meta.Version
}

func (m *memory) Append(_ context.Context, entries []meta.RawEntry, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range entries {
		_, text, _ := strings.Cut(string(e.Text), "|")
		m.list = append(m.list, text)
		m.end = e.Version + 1
	}
	return nil
}

func (m *memory) Flush(context.Context) error { return nil }

func (m *memory) End() image.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	return image.Position{Version: m.end, Epoch: 1}
}

// take returns the entries since the last call.
func (m *memory) take() string { return strings.Join(m.takeList(), " ") }

func (m *memory) takeList() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer func() { m.list = nil }()
	return m.list
}

// lead has a leader change the image from now on; end ends it.
func (f *fixture) lead(change ...func(*leader.Config)) (m *memory, end func()) {
	f.t.Helper()
	m = &memory{end: f.img.Position().Version}
	cfg := leader.Config{Image: f.img, Stream: m, Wake: f.srv.Wake}
	for _, c := range change {
		c(&cfg)
	}
	l := leader.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			f.t.Errorf("leading ended: %v", err)
		}
		f.srv.Lead(nil)
	})
	f.t.Cleanup(end)
	f.srv.Lead(l)
	return m, end
}

// again takes a session up on another connection, and says with which status.
func (f *fixture) again(c *client) (*client, meta.Status) {
	f.t.Helper()
	n := f.dial()
	n.ses, n.id = c.ses, c.id
	r := wire.ClientRegister{Code: wire.RegisterReconnect, Release: n.rel, Session: c.ses.Session, HasMetaID: true, MetaID: testMetaID}
	r.Append(&n.out)
	answer, err := reconnected(n)
	if err != nil {
		f.t.Fatal(err)
	}
	return n, answer.Status
}

func (c *client) status(t wire.Type, appendTo func(*wire.Encoder)) meta.Status {
	c.t.Helper()
	appendTo(&c.out)
	_, st, is := wire.ReplyStatus(c.roundTrip(t))
	if !is {
		return meta.OK
	}
	return st
}

func wantEntries(t *testing.T, what string, m *memory, want string) {
	t.Helper()
	if got := m.take(); got != want {
		t.Errorf("%s: entries\n got %s\nwant %s", what, got, want)
	}
}

// Reading sets access times as the master's options say, and its answer comes
// after the entry.
func TestAccessTimes(t *testing.T) {
	f := newFixture(t, everyone)
	f.apply("1001|CREATE(1,d,2,493,0,0,0,0):2", "1001|SYMLINK(1,l,target,0,0):3", "1001|CREATE(1,f,1,420,0,0,0,0):4")
	var clock, mode atomic.Int64
	clock.Store(5000)
	mode.Store(int64(changelog.AtimeRelative))
	m, _ := f.lead(func(c *leader.Config) {
		c.Rules = func() *changelog.Rules {
			rules := changelog.DefaultRules
			rules.Atime = changelog.AtimeMode(mode.Load())
			return &rules
		}
		c.Clock = func() time.Time { return time.Unix(clock.Load(), 0) }
	})
	c := f.mount("/")
	m.take()
	list := func() wire.Attr {
		c.id++
		(&wire.Readdir{MsgID: c.id, Inode: 2, Identity: root, Flags: wire.ReaddirAttr, Paged: true, Max: ^uint32(0)}).Append(&c.out)
		r := wire.ReaddirReply{Paged: true}
		if err := r.Decode(wire.NewDecoder(c.roundTrip(wire.FuseReaddir))); err != nil {
			t.Fatal(err)
		}
		var e wire.DirEntry
		if err := e.Decode(wire.NewDecoder(r.Entries), wire.ReaddirAttr, c.rel); err != nil || string(e.Name) != "." {
			t.Fatalf("first of the list: %+v %v", e, err)
		}
		return e.Attr
	}
	readlink := func() {
		c.id++
		if st := c.status(wire.FuseReadlink, func(e *wire.Encoder) { (&wire.InodeRequest{MsgID: c.id, Inode: 3}).Append(e, wire.FuseReadlink) }); st != meta.OK {
			t.Fatal(st)
		}
	}
	if a := list(); a.Atime != 5000 {
		t.Errorf("the answer tells an access time of %d, want 5000", a.Atime)
	}
	readlink()
	wantEntries(t, "first reads", m, "ACCESS(2) ACCESS(3)")
	list()
	readlink()
	wantEntries(t, "again", m, "")

	// Clients before 3.0.74 do not tell when they read files.
	old := f.dial()
	old.rel = wire.NewRelease(3, 0, 73)
	old.register(&wire.ClientRegister{Code: wire.RegisterNewSession, Release: old.rel, Info: []byte("/old\x00"), Path: []byte("/")})
	m.take()
	for range 2 {
		for _, c := range []*client{old, c} {
			(&wire.ChunkRequest{MsgID: 9, Inode: 4, Flags: wire.ChunkModTime}).Append(&c.out, wire.FuseReadChunk)
			if _, st, is := wire.ReplyStatus(c.roundTrip(wire.FuseReadChunk)); is {
				t.Fatal(st)
			}
		}
	}
	wantEntries(t, "reading a file", m, "ACCESS(4)")

	mode.Store(int64(changelog.AtimeAlways))
	list()
	readlink()
	wantEntries(t, "always, in the same second", m, "")
	clock.Add(1)
	list()
	readlink()
	wantEntries(t, "always", m, "ACCESS(2) ACCESS(3)")
	mode.Store(int64(changelog.AtimeNever))
	clock.Add(1)
	c.status(wire.FuseMkdir, func(e *wire.Encoder) {
		(&wire.Mkdir{Create: wire.Create{MsgID: 1, Parent: 2, Name: []byte("sub"), Mode: 0o755, Identity: root}}).Append(e)
	})
	m.take()
	list()
	wantEntries(t, "never", m, "")
}

// A leader lets those write whose session may.
func TestAccessWhileLeading(t *testing.T) {
	f := newFixture(t, "* / ro,password=ro\n* / rw,admin,maproot=0:0\n")
	f.lead()
	c := f.mount("/")
	if _, st := c.ask(wire.FuseAccess, append([]byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}, 0, 2)); st != meta.OK {
		t.Errorf("may root write: %v", st)
	}
}

// Who wants to write or cut a chunk that is being written waits until it is
// not, or is refused after parkTime. Others do not wait.
func TestLockedChunks(t *testing.T) {
	f := newFixture(t, everyone)
	now := uint32(time.Now().Unix())
	f.apply("1001|CREATE(1,a,1,420,0,0,0,0):2", "1002|CSDBOP(0,167772161,9422,1)",
		fmt.Sprintf("%d|WRITE(2,0,1,1):1", now), fmt.Sprintf("%d|LENGTH(2,100,1)", now))
	m, _ := f.lead()
	c, other := f.mount("/"), f.mount("/")
	m.take()
	(&wire.ChunkRequest{MsgID: 100, Inode: 2, Flags: wire.ChunkUseReserved}).Append(&c.out, wire.FuseWriteChunk)
	(&wire.Truncate{MsgID: 101, Inode: 2, Length: 50, Identity: root}).Append(&c.out)
	if r, st := c.lookup(1, "a", root); st != meta.OK || r.Inode != 2 {
		t.Fatalf("beside requests that wait: %+v %v", r, st)
	}
	if st := other.status(wire.FuseWriteChunkEnd, func(e *wire.Encoder) { (&wire.WriteEnd{MsgID: 1, Chunk: 1, Inode: 2}).Append(e) }); st != meta.OK {
		t.Fatal(st)
	}
	for id, want := range []wire.Type{wire.FuseWriteChunk, wire.FuseTruncate} {
		got, st, _ := wire.ReplyStatus(c.roundTrip(want))
		if got != uint32(100+id) || st != meta.ECSNOTPRESENT {
			t.Errorf("after the chunk was unlocked: message %d: %v", got, st)
		}
	}
	wantEntries(t, "a chunk", m, "UNLOCK(1)")

	// The same with a server that waits for nothing.
	f = newFixture(t, everyone, func(cfg *Config) { cfg.parkTime = 1 })
	f.apply("1001|CREATE(1,b,1,420,0,0,0,0):2", fmt.Sprintf("%d|WRITE(2,0,1,1):1", now))
	m, _ = f.lead()
	c = f.mount("/")
	m.take()
	if st := c.status(wire.FuseWriteChunk, func(e *wire.Encoder) {
		(&wire.ChunkRequest{MsgID: 7, Inode: 2, Flags: wire.ChunkUseReserved}).Append(e, wire.FuseWriteChunk)
	}); st != meta.ELOCKED {
		t.Errorf("a chunk that stays locked: %v", st)
	}
	wantEntries(t, "a chunk that stays locked", m, "")
}

// deadlines is a connection that notes until when it would have been read from.
type deadlines struct {
	net.Conn
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.set = append(d.set, t); return nil }
func (d *deadlines) Read(b []byte) (int, error)        { return 1, nil }

// A request that has to wait is tried again soon, not when the next NOP is due.
func TestWaitingIsTriedSoon(t *testing.T) {
	f := newFixture(t, everyone)
	nc := &deadlines{}
	o := newOwn(newConn(f.srv, &net.TCPAddr{}), nc)
	receive := func() {
		t.Helper()
		if err := o.receive(); err != nil {
			t.Fatal(err)
		}
	}
	receive()
	receive()
	if len(nc.set) != 1 {
		t.Fatalf("the deadline was set %d times before anything waits", len(nc.set))
	}
	o.parked = append(o.parked, parked{})
	receive()
	receive()
	if len(nc.set) != 2 || time.Until(nc.set[1]) > retryEvery {
		t.Errorf("reading while something waits ends in %v, %d deadlines", time.Until(nc.set[len(nc.set)-1]), len(nc.set))
	}
}

// Repairing is refused: which chunks have no copy only chunkservers could tell.
func TestRepair(t *testing.T) {
	f := newFixture(t, everyone)
	f.apply("1001|CREATE(1,a,1,420,0,0,0,0):2", "1001|WRITE(2,0,1,1):1", "1001|UNLOCK(1)", "1001|LENGTH(2,100,1)", "1001|CREATE(1,d,2,493,0,0,0,0):3")
	m, _ := f.lead()
	c := f.mount("/")
	m.take()
	for ino, want := range map[meta.Inode]meta.Status{2: meta.ENOCHUNKSERVERS, 3: meta.EPERM, 4: meta.ENOENT} {
		if st := c.status(wire.FuseRepair, func(e *wire.Encoder) { (&wire.Repair{MsgID: 5, Inode: ino, Identity: root}).Append(e) }); st != want {
			t.Errorf("inode %d: %v, want %v", ino, st, want)
		}
	}
	wantEntries(t, "repair", m, "")
	if err := f.img.Read(func(st *meta.State, _ image.Position) error {
		if n, _ := st.Nodes.Get(2); st.Slot(2, &n, 0) != 1 {
			t.Error("the file has lost its chunk")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Many sessions with open files and locks come back to the next leader: all of
// them keep what they had, and those who wait for a lock get it in turn.
func TestManySessionsComeBack(t *testing.T) {
	const count = 500
	f := newFixture(t, everyone)
	_, end := f.lead()
	clients := make([]*client, count)
	files := make([]meta.Inode, count)
	create := func(c *client, name string) meta.Inode {
		(&wire.CreateFile{Create: wire.Create{MsgID: 1, Parent: 1, Name: []byte(name), Mode: 0o644, Identity: root}}).Append(&c.out)
		var r wire.CreateReply
		if err := r.Decode(wire.NewDecoder(c.roundTrip(wire.FuseCreate)), c.rel); err != nil {
			t.Fatal(err)
		}
		return r.Inode
	}
	flock := func(id uint32, ino meta.Inode, command uint8) func(*wire.Encoder) {
		return func(e *wire.Encoder) {
			(&wire.Flock{MsgID: id, Inode: ino, Request: id, Owner: 1, Command: command}).Append(e)
		}
	}
	posix := func(id uint32, ino meta.Inode, command uint8, from uint64) func(*wire.Encoder) {
		return func(e *wire.Encoder) {
			(&wire.PosixLock{MsgID: id, Inode: ino, Request: id, Owner: 1, PID: 2, Command: command, Type: wire.PosixTypeWrite, Start: from, End: from + 1}).Append(e)
		}
	}
	shared := meta.Inode(0)
	for i := range clients {
		c := f.mount("/")
		clients[i] = c
		files[i] = create(c, fmt.Sprint("own", i))
		if i == 0 {
			shared = create(c, "shared")
		}
		if st := c.status(wire.FuseOpen, func(e *wire.Encoder) {
			(&wire.Open{MsgID: 2, Inode: shared, Identity: root, Flags: wire.OpenRead | wire.OpenWrite}).Append(e)
		}); st != meta.OK {
			t.Fatal(st)
		}
		if st := c.status(wire.FuseFlock, flock(3, files[i], wire.FlockExclusive)); st != meta.OK {
			t.Fatal(st)
		}
		if st := c.status(wire.FusePosixLock, posix(4, shared, wire.PosixSet, uint64(i))); st != meta.OK {
			t.Fatal(st)
		}
		flock(5, shared, wire.FlockExclusive)(&c.out) // the first has it, the others wait
		if i == 0 {
			c.roundTrip(wire.FuseFlock)
		} else if _, err := c.nc.Write(c.out.Buf); err != nil {
			t.Fatal(err)
		}
	}
	unlinker := clients[1]
	unlinker.status(wire.FuseUnlink, func(e *wire.Encoder) {
		(&wire.NameRequest{MsgID: 6, Parent: 1, Name: []byte("own7"), Identity: root}).Append(e, wire.FuseUnlink)
	})
	state := func() (sessions, open, flocks, ranges int) {
		err := f.img.Read(func(st *meta.State, _ image.Position) error {
			for range st.Sessions.Scan(0) {
				sessions++
			}
			for range st.Open.Scan() {
				open++
			}
			for _, l := range st.Flocks.Scan(0) {
				flocks += len(l)
			}
			for _, l := range st.Plocks.Scan(0) {
				ranges += len(l)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	is := func(what string, flocks int) {
		t.Helper()
		s, o, l, r := state()
		if s != count || o != 2*count || l != flocks || r != count {
			t.Errorf("%s: %d sessions, %d open files, %d locks, %d owners of ranges; want %d, %d, %d, %d", what, s, o, l, r, count, 2*count, flocks, count)
		}
	}
	is("before", count+1)
	end()
	m, _ := f.lead()
	for i, c := range clients {
		n, st := f.again(c)
		if st != meta.OK {
			t.Fatalf("session %d: %v", c.ses.Session, st)
		}
		clients[i] = n
		open := wire.OpenInodes{Inodes: wire.PackNumbers(uint32(files[i]), uint32(shared))}
		open.Append(&n.out)
		flock(10, files[i], wire.FlockTryExcl)(&n.out)
		n.roundTrip(wire.FuseFlock)
	}
	is("back", count+1)
	wantEntries(t, "coming back", m, "")
	if st := clients[1].status(wire.FusePosixLock, posix(11, shared, wire.PosixTry, 0)); st != meta.EAGAIN {
		t.Errorf("a range that another session had before: %v", st)
	}
	// Those who waited ask again; the holder lets go, and each gets it in turn.
	for _, c := range clients[1:] {
		flock(12, shared, wire.FlockExclusive)(&c.out)
		if _, err := c.nc.Write(c.out.Buf); err != nil {
			t.Fatal(err)
		}
		c.out.Buf = c.out.Buf[:0]
		if _, st := c.lookup(1, "shared", root); st != meta.OK { // it is waiting
			t.Fatal(st)
		}
	}
	for i, c := range clients {
		if i > 0 {
			if id, st, _ := wire.ReplyStatus(c.roundTrip(wire.FuseFlock)); id != 12 || st != meta.OK {
				t.Fatalf("session %d: message %d: %v", c.ses.Session, id, st)
			}
		}
		if st := c.status(wire.FuseFlock, flock(13, shared, wire.FlockUnlock)); st != meta.OK {
			t.Fatal(st)
		}
	}
	is("after", count)
	got := strings.Fields(m.take())
	if want := 2*count - 1; len(got) != want || !slices.Contains(got, fmt.Sprintf("FLOCK(%d,%d,1,W)", shared, clients[count-1].ses.Session)) {
		t.Errorf("%d entries, want %d: the last are %q", len(got), want, got[max(0, len(got)-3):])
	}
}
