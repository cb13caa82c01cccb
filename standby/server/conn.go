package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
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

// conn is one client connection. Its goroutine alone reads, answers and
// writes; others hand it finished packets with post.
type conn struct {
	srv   *Server
	nc    net.Conn
	peer  uint32 // IPv4
	mount atomic.Pointer[session]

	in       []byte // received, not yet taken
	reserved int64  // bytes of buffers counted in Server.buffers
	out      wire.Encoder
	d        wire.Decoder // of the packet at hand

	lead *leader.Leader // nil: changes are refused
	turn *leader.Turn   // nil: the request at hand only reads

	state             connState
	client, announced wire.Release // of the client, and what it was told of the server; 0 before it registered
	release           wire.Release // the older one of these, whose forms both speak
	ses               *session
	random            [32]byte // what a password was asked for with
	closing           bool     // when the answers are sent

	// What a batch of requests sees.
	img    *image.Image
	st     *meta.State
	pos    image.Position
	batch  func(*meta.State, image.Position) error
	seen   meta.Version // of the newest answer
	counts uint64       // packets of this batch

	// Of the request at hand, kept to save making them anew.
	who     changelog.Caller
	gids    []uint32
	scratch []byte
	lister  listing
	ahead   foresight

	parked []parked     // reads that wait for the end of a write
	waits  []lockWait   // for locks
	owed   atomic.Int32 // answers to information requests, before which no NOP may come

	lastRead, lastWrite time.Time
	deadline            time.Time // of the read; zero: to be set
	writeBy             time.Time // deadline of writes

	mu    sync.Mutex // guards what follows
	async []byte     // packets made elsewhere
	over  bool       // nobody takes async any more
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, nc: nc, state: unregistered}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		if ip := a.IP.To4(); ip != nil {
			c.peer = binary.BigEndian.Uint32(ip)
		}
	}
	c.batch = c.answer
	return c
}

// errClose ends a connection without a word, as the stock master does.
var errClose = errors.New("closed")

// run serves the connection until it ends.
func (c *conn) run() {
	defer c.end()
	err := c.serve()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, errClose), errors.Is(err, net.ErrClosed):
		return
	}
	c.srv.counters.dropped.Add(1)
	c.srv.log.Debug("client connection closed", "peer", c.nc.RemoteAddr(), "err", err)
}

func (c *conn) end() {
	c.nc.Close()
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
		if c.srv.sessions.detach(c.ses, time.Now()) {
			c.srv.locks.release(c.ses.id, func(meta.Inode) bool { return false })
		}
	}
	c.srv.gone(c)
}

func (c *conn) serve() error {
	c.lastRead = time.Now()
	c.lastWrite = c.lastRead
	c.in = make([]byte, 0, smallBuffer)
	for {
		if err := c.receive(); err != nil {
			return err
		}
		for {
			more, err := c.process()
			if sent := c.send(); err == nil {
				err = sent
			}
			if err != nil {
				return err
			}
			if c.closing {
				return errClose
			}
			if !more {
				break
			}
		}
		if c.lastWrite.After(c.lastRead) {
			c.lastRead = c.lastWrite // the client was not silent while it was served
		}
		c.shrink()
	}
}

// receive waits until something came, from the client or by post. Its
// deadline is set once per second, not once per read.
func (c *conn) receive() error {
	for {
		if len(c.in) == cap(c.in) {
			if err := c.grow(); err != nil {
				return err
			}
		}
		if c.deadline.IsZero() {
			c.arm()
		}
		n, err := c.nc.Read(c.in[len(c.in):cap(c.in)])
		if n > 0 {
			c.in = c.in[:len(c.in)+n]
			c.lastRead = time.Now()
			c.srv.counters.received.Add(uint64(n))
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			if err == nil {
				err = io.ErrNoProgress
			}
			return err
		}
		c.deadline = time.Time{}
		if err := c.tick(); err != nil {
			return err
		}
	}
}

// arm sets when the next read gives up: when a NOP may be due.
func (c *conn) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.async) > 0 {
		return // post has set it to now
	}
	c.deadline = c.lastWrite.Add(keepalive)
	now := time.Now()
	if c.deadline.Before(now.Add(keepalive / 10)) {
		c.deadline = now.Add(keepalive)
	}
	if len(c.parked)+len(c.waits) > 0 {
		c.deadline = now.Add(retryEvery)
	}
	c.nc.SetReadDeadline(c.deadline)
}

// tick does what is due without a request.
func (c *conn) tick() error {
	now := time.Now()
	if now.Sub(c.lastRead) > silence {
		return fmt.Errorf("silent for %v", silence)
	}
	if c.state != tools && now.Sub(c.lastWrite) >= keepalive && !c.owes() {
		c.out.Begin(wire.Nop)
		c.out.U32(0)
		c.out.End()
	}
	if len(c.parked)+len(c.waits) > 0 {
		img, err := c.srv.ready()
		if err == nil {
			c.img = img
			err = img.Read(c.batch)
			c.st = nil
		}
		if err != nil {
			return err
		}
	}
	return c.send()
}

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

// process answers what has been received whole: at most one batch. more tells
// whether there is more.
func (c *conn) process() (more bool, err error) {
	if !c.whole() {
		return false, nil
	}
	if c.ledNext() {
		if err := c.processLed(); err != nil {
			return false, err
		}
		return c.whole(), nil
	}
	img, err := c.srv.ready()
	if err == nil {
		c.counts, c.img = 0, img
		err = img.Read(c.batch)
		c.st = nil
		c.srv.counters.packets.Add(c.counts)
	}
	if img == nil || errors.Is(err, image.ErrClosed) { // another one takes its place
		err = c.unready()
	}
	if err != nil {
		return false, err
	}
	return c.whole(), nil
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
		c.retry()
	}
	if len(c.waits) > 0 {
		c.retryLocks()
	}
	c.foresee()
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
		if c.led(h.Type, rest[wire.HeaderSize:size]) != (c.turn != nil) {
			return nil // for the next turn, or for those who read
		}
		c.counts++
		if err := c.handle(h.Type, rest[wire.HeaderSize:size:size]); err != nil {
			return err
		}
		at += size
		if c.closing || len(c.out.Buf) >= flushAt {
			return nil
		}
	}
	return nil
}

// handle answers one packet.
func (c *conn) handle(t wire.Type, p []byte) error {
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
	c.srv.counters.requests[t].Add(1)
	if c.turn != nil && t != wire.FuseRegister {
		return c.serveLed(t, p)
	}
	c.d.Reset(p)
	if err := h.serve(c); err != nil {
		return fmt.Errorf("%v of %d bytes: %w", t, len(p), err)
	}
	return nil
}

// send writes the answers, and what was posted.
func (c *conn) send() error {
	if err := c.settled(); err != nil {
		return err
	}
	c.mu.Lock()
	async := c.async
	c.async = nil
	c.mu.Unlock()
	if len(c.out.Buf)+len(async) == 0 {
		return nil
	}
	c.lastWrite = time.Now()
	if c.writeBy.Sub(c.lastWrite) < writeTimeout/2 {
		c.writeBy = c.lastWrite.Add(writeTimeout)
		c.nc.SetWriteDeadline(c.writeBy)
	}
	c.srv.info.sent.Add(countPackets(c.out.Buf) + countPackets(async))
	err := c.write(c.out.Buf)
	c.out.Buf = c.out.Buf[:0]
	for rest := async; err == nil && len(rest) > 0; {
		n := min(len(rest), asyncBlock)
		c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
		err = c.write(rest[:n])
		rest = rest[n:]
		c.writeBy = time.Time{}
		c.lastWrite = time.Now()
	}
	c.srv.reserve(-int64(len(async)))
	return err
}

func (c *conn) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := c.nc.Write(b)
	c.srv.counters.sent.Add(uint64(n))
	return err
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
		c.nc.Close()
		return
	}
	c.async = append(c.async, packet...)
	c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
}
