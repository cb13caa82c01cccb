package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/image"
	"mfsstandby/standby/leader"
)

// Sizes of a connection's buffers and of what is done in one go.
const (
	smallBuffer  = 4 << 10    // what an idle connection holds for reading
	keepBuffer   = 64 << 10   // what a busy one keeps
	maxPacket    = 50_000_000 // as the stock master
	maxUnknown   = 1 << 20    // of a connection that has not registered
	batchPackets = 64         // requests answered under one lock of the image
	flushAt      = 64 << 10   // bytes of answers after which they are sent
	asyncBlock   = 1 << 20    // bytes that a client must take within writeTimeout
	writeTimeout = 30 * time.Second
)

// connState says what a connection may ask.
type connState uint8

const (
	unregistered connState = 1 << iota
	mounted                // registered as a mount, or as meta mount
	tools                  // registered as tools of releases before 3.0
	registered   = mounted | tools
	anyState     = unregistered | mounted | tools
)

// conn is one client connection. Who serves it, a poller or a goroutine of its
// own, alone reads, answers and writes; others hand it finished packets with
// post.
type conn struct {
	srv   *Server
	from  net.Addr // of the client
	peer  uint32   // the same as IPv4
	link  link
	mount atomic.Pointer[session]

	in       []byte // received, not yet taken
	reserved int64  // bytes of buffers counted in Server.buffers
	out      wire.Encoder
	d        wire.Decoder // of the packet at hand

	lead   *leader.Leader // nil: changes are refused
	turn   *leader.Turn   // nil: the request at hand only reads
	inTurn bool           // the next packet is for a turn, though it reads: it sets an access time

	state             connState
	client, announced wire.Release // of the client, and what it was told of the server; 0 before it registered
	release           wire.Release // the older one of these, whose forms both speak
	ses               *session
	random            [32]byte // what a password was asked for with
	closing           bool     // when the answers are sent

	// What a batch of requests sees.
	st     *meta.State
	pos    image.Position
	seen   meta.Version // of the newest answer
	counts uint64       // packets of this batch

	// Of the request at hand, kept to save making them anew.
	who     changelog.Caller
	gids    []uint32
	scratch []byte
	lister  *listing // others served by the same goroutine use it, too

	parked []parked     // requests that wait for the end of a write
	waits  []lockWait   // for locks
	owed   atomic.Int32 // answers to information requests, before which no NOP may come

	lastRead, lastWrite time.Time

	mu    sync.Mutex // guards what follows
	async []byte     // packets made elsewhere
	over  bool       // nobody takes async any more
}

// link is what carries a connection.
type link interface {
	// wake has sent what was posted. The connection's mu is held.
	wake()
	// shut ends the connection soon. Anybody may call it at any time.
	shut()
}

func newConn(s *Server, from net.Addr) *conn {
	now := time.Now()
	c := &conn{srv: s, from: from, state: unregistered, lastRead: now, lastWrite: now}
	if a, ok := from.(*net.TCPAddr); ok {
		if ip := a.IP.To4(); ip != nil {
			c.peer = binary.BigEndian.Uint32(ip)
		}
	}
	return c
}

// errClose ends a connection without a word, as the stock master does.
var errClose = errors.New("closed")

// end forgets the connection, which has ended with err.
func (c *conn) end(err error) {
	if !errors.Is(err, io.EOF) && !errors.Is(err, errClose) && !errors.Is(err, net.ErrClosed) {
		c.srv.counters.dropped.Add(1)
		c.srv.log.Debug("client connection closed", "peer", c.from, "err", err)
	}
	c.mu.Lock()
	c.over = true
	c.srv.reserve(-int64(len(c.async)))
	c.async = nil
	c.mu.Unlock()
	c.srv.reserve(-c.reserved)
	switch {
	case c.ses == nil:
	case c.lead != nil:
		c.endLed()
	default:
		if c.srv.sessions.detach(c.ses, c, time.Now()) {
			c.srv.locks.release(c.ses.id, func(meta.Inode) bool { return false })
		}
	}
	c.srv.gone(c)
}

// watch ends a silent connection, and appends a NOP when one is due.
func (c *conn) watch(now time.Time) error {
	if quiet := now.Sub(c.lastRead); quiet > c.srv.cfg.silence {
		return fmt.Errorf("silent for %v", quiet)
	}
	if c.state != tools && now.Sub(c.lastWrite) >= keepalive && !c.owes() {
		c.out.Begin(wire.Nop)
		c.out.U32(0)
		c.out.End()
	}
	return nil
}

// waiting tells whether requests are to be tried again each retryEvery.
func (c *conn) waiting() bool { return len(c.parked)+len(c.waits) > 0 }

// owes tells whether the answer to an information request is on its way:
// mfscli takes a NOP before it for a wrong answer.
func (c *conn) owes() bool {
	if c.owed.Load() > 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.async) > 0
}

// grow makes room for the packet at hand, of which the header may be missing.
func (c *conn) grow() error {
	want := smallBuffer
	if len(c.in) >= wire.HeaderSize {
		h, err := c.header()
		if err != nil {
			return err
		}
		// Not all at once: a header alone must not cost 50 MB.
		want = min(wire.HeaderSize+int(h.Length), 2*max(cap(c.in), smallBuffer))
	}
	want = max(want, len(c.in)+smallBuffer)
	if err := c.resize(want); err != nil {
		return err
	}
	return nil
}

func (c *conn) resize(size int) error {
	diff := int64(max(size, keepBuffer) - max(cap(c.in), keepBuffer))
	if !c.srv.reserve(diff) {
		return errors.New("no room for so long a packet: all buffers are in use")
	}
	c.reserved += diff
	in := make([]byte, len(c.in), size)
	copy(in, c.in)
	c.in = in
	return nil
}

// shrink lets go of large buffers.
func (c *conn) shrink() {
	if cap(c.out.Buf) > keepBuffer {
		c.out.Buf = nil
	}
	if cap(c.in) > keepBuffer && len(c.in) <= smallBuffer {
		c.resize(smallBuffer)
	}
}

// header reads the header that c.in begins with.
func (c *conn) header() (wire.Header, error) {
	limit := uint32(maxPacket)
	if c.state == unregistered {
		limit = maxUnknown
	}
	return wire.ParseHeader(c.in, limit)
}

// whole tells whether a whole packet is there. Those that nobody answers
// are taken away, so that keepalives do not touch the image.
func (c *conn) whole() bool {
	for len(c.in) >= wire.HeaderSize {
		h, err := c.header()
		if err != nil {
			return true // answer ends the connection
		}
		if len(c.in) < wire.HeaderSize+int(h.Length) {
			return false
		}
		if h.Type > wire.BadCommandSize {
			return true
		}
		c.srv.counters.packets.Add(1)
		c.take(wire.HeaderSize + int(h.Length))
	}
	return false
}

// take removes n bytes from the front of what was received.
func (c *conn) take(n int) {
	rest := copy(c.in, c.in[n:])
	c.in = c.in[:rest]
}

// answer answers a batch of requests from the image.
func (c *conn) answer(st *meta.State, pos image.Position) error {
	if pos.Version < c.seen {
		return errOlder
	}
	if c.announced != 0 && c.announced != announced(st) {
		return errUpgraded
	}
	c.st, c.pos, c.seen = st, pos, pos.Version
	if len(c.parked) > 0 {
		if err := c.retry(); err != nil {
			return err
		}
	}
	if len(c.waits) > 0 {
		c.retryLocks()
	}
	return c.dispatch()
}

// unready answers what needs no image and ends the connection at what does.
func (c *conn) unready() error {
	c.st = nil
	return c.dispatch()
}

// errOlder ends a connection whose client has seen a newer state than the
// image has now: it comes again.
var errOlder = errors.New("the image went back")

// errUpgraded ends a connection whose client was told another release: it
// registers again.
var errUpgraded = errors.New("the primary has another release now")

// errUnready ends a connection that asks for what cannot be answered now.
var errUnready = errors.New("the image cannot be shown now")

func (c *conn) dispatch() error {
	at, end := 0, len(c.in)
	defer func() { c.take(at) }()
	for range batchPackets {
		rest := c.in[at:end]
		if len(rest) < wire.HeaderSize {
			return nil
		}
		h, err := wire.ParseHeader(rest, math.MaxUint32)
		if err != nil {
			return err
		}
		if limit := uint32(maxPacket); h.Length > limit || c.state == unregistered && h.Length > maxUnknown {
			return fmt.Errorf("%v of %d bytes: %w", h.Type, h.Length, wire.ErrTooLong)
		}
		size := wire.HeaderSize + int(h.Length)
		if len(rest) < size {
			return nil
		}
		led := c.led(h.Type, rest[wire.HeaderSize:size])
		if (led || c.inTurn) != (c.turn != nil) {
			return nil // for the next turn, or for those who read
		}
		c.inTurn = false
		err = c.handle(h.Type, rest[wire.HeaderSize:size:size], led)
		if errors.Is(err, errTurn) {
			c.inTurn = true
			return nil
		}
		if errors.Is(err, leader.ErrLocked) {
			c.park(h.Type, rest[wire.HeaderSize:size], led)
			err = nil
		}
		c.counts++
		if err != nil {
			return err
		}
		at += size
		if c.closing || len(c.out.Buf) >= flushAt {
			return nil
		}
	}
	return nil
}

// handle answers one packet; led says that a turn of the leader does.
func (c *conn) handle(t wire.Type, p []byte, led bool) error {
	if t <= wire.BadCommandSize {
		return nil
	}
	if t >= tableSize {
		return fmt.Errorf("unexpected %v", t)
	}
	h := &c.srv.handlers[t]
	if h.states&c.state == 0 {
		return fmt.Errorf("unexpected %v", t)
	}
	if c.st == nil && !h.offline {
		return errUnready
	}
	var err error
	if led && leader.Changes(t) {
		err = c.serveLed(t, p)
	} else {
		c.d.Reset(p)
		err = h.serve(c)
	}
	if errors.Is(err, errTurn) || errors.Is(err, leader.ErrLocked) {
		return err // it is handled again
	}
	c.srv.counters.requests[t].Add(1)
	if err != nil {
		return fmt.Errorf("%v of %d bytes: %w", t, len(p), err)
	}
	return nil
}

// posted takes the packets made elsewhere. Who takes them gives back the room
// that is counted for them.
func (c *conn) posted() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	async := c.async
	c.async = nil
	return async
}

// post hands over a whole packet from another goroutine; it is dropped if the
// connection has ended or its client does not read.
func (c *conn) post(packet []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	if !c.srv.reserve(int64(len(packet))) {
		c.link.shut()
		return
	}
	c.async = append(c.async, packet...)
	c.link.wake()
}
