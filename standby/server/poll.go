package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
)

// Bounds of what a poller does in one go.
const (
	pollEvents   = 256       // connections looked at after one wait
	roundPackets = 256       // answered under one lock of the image
	roundBytes   = 256 << 10 // of answers made under it
	spareBuffers = 64        // kept for the next connection that needs one
	pollEvery    = retryEvery
	pollTurns    = int(keepalive / pollEvery) // in which all connections are watched
)

// poller serves many connections in one goroutine: it waits for all of them
// together, reads what came, answers what is there under one lock of the image
// and writes the answers. A goroutine for each would have to be woken for each
// request, and to wait for a processor among all the others; like this, the
// more clients ask the more is done at once. An idle connection has no buffer.
//
// It has its own epoll instance, as the runtime's would wake a goroutine, and a
// thread of its own, which may go before those that apply entries: clients wait
// for it, and nobody waits for an entry that is applied a moment later.
type poller struct {
	srv   *Server
	epoll int
	bell  int // eventfd that wakes the poller

	mu    sync.Mutex // guards what follows
	calls []*socket  // to be looked at: new ones, and those with packets made elsewhere
	rung  bool       // the bell, since calls was taken
	ended bool

	// The rest is the goroutine's own.
	now      time.Time
	img      *image.Image // that clients know, nil: none
	sockets  []*socket    // by file descriptor
	queue    []*socket    // to be served
	round    []*socket    // being served
	waiting  map[*socket]struct{}
	turn     int      // of pollTurns
	in, out  [][]byte // spare buffers
	ahead    foresight
	lister   listing
	received uint64 // bytes since they were counted
	packets  uint64
	sent     uint64
	answers  uint64
}

// socket is a connection that a poller serves.
type socket struct {
	*conn
	p      *poller
	queued bool      // it is in p.queue
	failed error     // why it is to be closed
	retry  bool      // what waits is to be tried again
	rest   []byte    // of answers that the client has not taken yet
	held   int64     // bytes counted in Server.buffers for rest
	taken  int       // bytes that it took since takeBy was set
	takeBy time.Time // when it must have taken more

	mu sync.Mutex // guards what follows
	fd int        // -1: closed
}

func newPoller(s *Server) (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, bell, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(bell)})
		if err != nil {
			unix.Close(bell)
		}
	}
	if err != nil {
		unix.Close(epoll)
		return nil, err
	}
	return &poller{srv: s, epoll: epoll, bell: bell, waiting: map[*socket]struct{}{}}, nil
}

// detach takes the descriptor of a connection away from the runtime, which
// would watch it, too.
func detach(nc *net.TCPConn) (fd int, err error) {
	defer nc.Close()
	raw, err := nc.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dup error
	err = raw.Control(func(old uintptr) { fd, dup = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(err, dup)
}

// add gives a connection to the poller.
func (p *poller) add(c *conn, fd int) {
	s := &socket{conn: c, p: p, fd: fd}
	c.link, c.lister = s, &p.lister
	p.call(s)
}

// stop ends the poller and its connections.
func (p *poller) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.ring()
}

func (p *poller) call(s *socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, s)
	p.ring()
}

// ring wakes the poller; p.mu is held.
func (p *poller) ring() {
	if !p.rung && p.bell >= 0 {
		p.rung = true
		unix.Write(p.bell, []byte{0, 0, 0, 0, 0, 0, 0, 1}) // fails only when it has been rung 2^64 times
	}
}

func (s *socket) wake() { s.p.call(s) }

func (s *socket) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		unix.Shutdown(s.fd, unix.SHUT_RDWR) // which the poller then reads
	}
}

// run serves until stop.
func (p *poller) run() {
	p.goFirst()
	events := make([]unix.EpollEvent, pollEvents)
	due := time.Now()
	for {
		n := p.wait(events, due)
		p.now = time.Now()
		for i := range events[:n] {
			p.happened(&events[i])
		}
		if ended := p.called(); ended {
			break
		}
		p.serve()
		if !p.now.Before(due) {
			p.watch()
			due = p.now.Add(pollEvery)
		}
		p.count()
	}
	for _, s := range p.sockets {
		if s != nil {
			p.close(s, net.ErrClosed)
		}
	}
	p.count()
	p.mu.Lock()
	defer p.mu.Unlock()
	unix.Close(p.bell)
	p.bell = -1
	unix.Close(p.epoll)
}

// goFirst gives the poller's thread its nice level, if that is allowed.
func (p *poller) goFirst() {
	level := p.srv.cfg.Nice
	if level == 0 {
		return
	}
	runtime.LockOSThread() // until the poller ends, and with it the thread
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, level); err != nil {
		runtime.UnlockOSThread()
		p.srv.log.Info("clients are served at the usual priority: the nice level cannot be set; as root, or with LimitNICE= of systemd, it can", "level", level, "err", err)
	}
}

// wait waits for events, at most until a time, or not at all if there is work
// already.
func (p *poller) wait(events []unix.EpollEvent, until time.Time) int {
	n := eventsNow(p.epoll, events)
	timeout := int(max(0, time.Until(until)+time.Millisecond-1) / time.Millisecond)
	if n > 0 || timeout == 0 || len(p.queue) > 0 {
		return n
	}
	n, err := unix.EpollWait(p.epoll, events, timeout)
	if err != nil { // EINTR
		return 0
	}
	return n
}

// happened does what an event is about.
func (p *poller) happened(e *unix.EpollEvent) {
	if int(e.Fd) == p.bell {
		var b [8]byte
		unix.Read(p.bell, b[:])
		return
	}
	s := p.sockets[e.Fd]
	if s == nil {
		return
	}
	var err error
	if len(s.rest) > 0 {
		err = p.writeRest(s)
	} else {
		err = p.read(s)
	}
	if err != nil {
		p.close(s, err)
	}
}

// called looks at those who want it.
func (p *poller) called() (ended bool) {
	p.mu.Lock()
	calls := p.calls
	p.calls = nil
	p.rung = false
	ended = p.ended
	p.mu.Unlock()
	for _, s := range calls {
		switch {
		case s.fd < 0:
		case s.fd < len(p.sockets) && p.sockets[s.fd] == s:
			p.enqueue(s)
		default:
			p.register(s)
		}
	}
	return ended
}

// register begins to watch a new connection.
func (p *poller) register(s *socket) {
	for len(p.sockets) <= s.fd {
		p.sockets = append(p.sockets, nil)
	}
	p.sockets[s.fd] = s
	if err := p.control(s, unix.EPOLL_CTL_ADD, unix.EPOLLIN|unix.EPOLLRDHUP); err != nil {
		p.close(s, err)
	}
}

func (p *poller) control(s *socket, op int, events uint32) error {
	return unix.EpollCtl(p.epoll, op, s.fd, &unix.EpollEvent{Events: events, Fd: int32(s.fd)})
}

func (p *poller) enqueue(s *socket) {
	if !s.queued {
		s.queued = true
		p.queue = append(p.queue, s)
	}
}

// read reads what came.
func (p *poller) read(s *socket) error {
	if s.in == nil {
		s.in = spare(&p.in, smallBuffer)
	}
	if len(s.in) == cap(s.in) {
		if err := s.grow(); err != nil {
			return err
		}
	}
	n, err := readNow(s.fd, s.in[len(s.in):cap(s.in)])
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return nil
	case err != nil:
		return err
	case n == 0:
		return io.EOF
	}
	s.in = s.in[:len(s.in)+n]
	s.lastRead = p.now
	p.received += uint64(n)
	p.enqueue(s)
	return nil
}

// spare takes a buffer from a list, or makes one.
func spare(list *[][]byte, size int) []byte {
	if n := len(*list); n > 0 {
		b := (*list)[n-1]
		*list = (*list)[:n-1]
		return b
	}
	return make([]byte, 0, size)
}

// serve answers all that is there, and writes the answers. What is too much for
// one lock of the image is left in the queue, behind what comes meanwhile.
func (p *poller) serve() {
	if len(p.queue) == 0 {
		return
	}
	p.round, p.queue = p.queue, p.round[:0]
	asking := p.asking()
	if len(asking) > 0 {
		p.answer(asking)
	}
	for _, s := range p.round {
		if s.queued = false; s.fd >= 0 {
			p.settle(s)
		}
	}
	clear(p.round)
}

// asking moves those with requests to the front of the round.
func (p *poller) asking() []*socket {
	n := 0
	for i, s := range p.round {
		if s.fd >= 0 && len(s.rest) == 0 && !s.closing && (s.whole() || s.retry) {
			p.round[i], p.round[n] = p.round[n], s
			n++
		}
	}
	return p.round[:n]
}

// answer answers requests from the image.
func (p *poller) answer(asking []*socket) {
	for _, s := range asking {
		s.counts = 0
		if s.out.Buf == nil {
			s.out.Buf = spare(&p.out, smallBuffer)
		}
	}
	img, err := p.srv.ready()
	if err == nil {
		err = img.Read(func(st *meta.State, pos image.Position) error {
			p.ahead.reset()
			for _, s := range asking {
				p.ahead.see(s.in)
			}
			p.ahead.bring(img)
			packets, bytes := uint64(0), 0
			for _, s := range asking {
				if packets >= roundPackets || bytes >= roundBytes {
					break
				}
				s.retry = false
				s.failed = s.answer(st, pos)
				s.st = nil
				packets += s.counts
				bytes += len(s.out.Buf)
			}
			return nil
		})
	}
	if err == nil {
		return
	}
	for _, s := range asking {
		s.retry = false
		if s.failed = err; img == nil || errors.Is(err, image.ErrClosed) { // another one takes its place
			s.failed = s.unready()
		}
	}
}

// settle sends what a connection has been answered, and prepares it for what
// comes next.
func (p *poller) settle(s *socket) {
	p.packets += s.counts
	s.counts = 0
	err := s.failed
	if len(s.rest) == 0 {
		if sent := p.send(s); err == nil {
			err = sent
		}
	}
	if err == nil && s.closing && len(s.rest) == 0 {
		err = errClose
	}
	if err != nil {
		p.close(s, err)
		return
	}
	if s.waiting() {
		p.waiting[s] = struct{}{}
	}
	if len(s.rest) > 0 {
		return
	}
	if s.retry || s.whole() {
		p.enqueue(s)
	} else {
		p.tidy(s)
	}
}

// tidy takes the buffers of a connection that has nothing to do.
func (p *poller) tidy(s *socket) {
	if s.out.Buf != nil {
		if cap(s.out.Buf) <= keepBuffer && len(p.out) < spareBuffers {
			p.out = append(p.out, s.out.Buf)
		}
		s.out.Buf = nil
	}
	if cap(s.in) > keepBuffer && len(s.in) <= smallBuffer {
		s.resize(smallBuffer)
	}
	if len(s.in) == 0 && cap(s.in) == smallBuffer {
		if len(p.in) < spareBuffers {
			p.in = append(p.in, s.in)
		}
		s.in = nil
	}
}

// send writes the answers, and what was posted.
func (p *poller) send(s *socket) error {
	b, async := s.out.Buf, s.posted()
	held := int64(len(async)) // bytes counted in Server.buffers
	if len(b) == 0 {
		b = async
	} else {
		b = append(b, async...)
	}
	if len(b) == 0 {
		return nil
	}
	s.lastWrite = p.now
	p.answers += countPackets(b)
	n, err := p.write(s, b)
	if err != nil || n == len(b) {
		p.srv.reserve(-held)
		s.out.Buf = s.out.Buf[:0]
		return err
	}
	// The client does not read fast enough: nothing more is read from it until
	// it has taken this.
	s.rest, s.out.Buf = b[n:], nil
	if more := int64(len(s.rest)) - held; !p.srv.reserve(more) {
		p.srv.reserve(-held)
		return fmt.Errorf("no room for %d bytes that the client does not take", len(s.rest))
	}
	s.held, s.taken, s.takeBy = int64(len(s.rest)), 0, p.now.Add(writeTimeout)
	return p.control(s, unix.EPOLL_CTL_MOD, unix.EPOLLOUT)
}

// write writes as much as there is room for.
func (p *poller) write(s *socket, b []byte) (int, error) {
	n, err := writeNow(s.fd, b)
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return 0, nil
	}
	p.sent += uint64(max(n, 0))
	return n, err
}

// writeRest goes on with what a client did not take before.
func (p *poller) writeRest(s *socket) error {
	n, err := p.write(s, s.rest)
	if err != nil {
		return err
	}
	s.rest = s.rest[n:]
	if s.taken += n; s.taken >= asyncBlock {
		s.taken, s.takeBy = 0, p.now.Add(writeTimeout)
	}
	if len(s.rest) > 0 {
		return nil
	}
	p.srv.reserve(-s.held)
	s.rest, s.held = nil, 0
	s.lastRead, s.lastWrite = p.now, p.now
	p.enqueue(s)
	return p.control(s, unix.EPOLL_CTL_MOD, unix.EPOLLIN|unix.EPOLLRDHUP)
}

// watch looks at some of the connections, in turn, and has requests that wait
// tried again.
func (p *poller) watch() {
	p.follow()
	for s := range p.waiting {
		if s.fd < 0 || !s.conn.waiting() {
			delete(p.waiting, s)
			continue
		}
		s.retry = true
		p.enqueue(s)
	}
	from, to := len(p.sockets)*p.turn/pollTurns, len(p.sockets)*(p.turn+1)/pollTurns
	p.turn = (p.turn + 1) % pollTurns
	for _, s := range p.sockets[from:to] {
		if s == nil {
			continue
		}
		if err := p.watchOne(s); err != nil {
			p.close(s, err)
		}
	}
}

// errReplaced ends connections when another base image is loaded: what changed
// with it, no entry tells, so clients could not be told. They come again, as to
// a master that was restarted.
var errReplaced = errors.New("another base image was loaded")

// follow looks whether the image is still the one that clients know.
func (p *poller) follow() {
	img, err := p.srv.cfg.Image()
	if err != nil || img == p.img {
		return
	}
	if p.img != nil {
		for _, s := range p.sockets {
			if s != nil && s.ses != nil {
				p.close(s, errReplaced)
			}
		}
	}
	p.img = img
}

func (p *poller) watchOne(s *socket) error {
	if len(s.rest) > 0 {
		if p.now.After(s.takeBy) {
			return fmt.Errorf("the client has not taken %d bytes in %v", len(s.rest), writeTimeout)
		}
		return nil
	}
	if s.out.Buf == nil {
		s.out.Buf = spare(&p.out, smallBuffer)
	}
	err := s.watch(p.now)
	if len(s.out.Buf) > 0 {
		p.enqueue(s)
	} else if err == nil {
		p.tidy(s)
	}
	return err
}

// close ends a connection.
func (p *poller) close(s *socket, err error) {
	s.mu.Lock()
	fd := s.fd
	s.fd = -1
	s.mu.Unlock()
	p.sockets[fd] = nil
	delete(p.waiting, s)
	p.srv.reserve(-s.held)
	unix.Close(fd)
	s.end(err)
}

// count adds to the server's counters what happened since the last time.
func (p *poller) count() {
	c := &p.srv.counters
	c.received.Add(p.received)
	c.packets.Add(p.packets)
	c.sent.Add(p.sent)
	p.srv.info.sent.Add(p.answers)
	p.received, p.packets, p.sent, p.answers = 0, 0, 0, 0
}
