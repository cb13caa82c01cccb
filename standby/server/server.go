// Package server speaks MooseFS's client protocol (TCP 9421) from an image: it
// serves reads to stock mounts and tools and refuses changes with EROFS, unless
// a leader is set that carries them out (lead.go).
//
// Invariants. An answer shows whole entries only, and on one connection never
// an older state than an answer before it. Without a leader nothing a client
// does enters the stream: sessions, open files and locks are local. A client that sends
// nonsense loses its connection as it would at a stock master, and costs no
// more memory than Config allows. What the image cannot answer now (none is
// loaded, it is void, or it lags too far behind) closes the connections of
// mounts, which then try again, as they do when a master restarts.
//
// Package cmd runs it; the sources of what it serves are in Config.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/exports"
	"mfsstandby/standby/image"
	"mfsstandby/standby/leader"
)

// Config says what a server serves and within which bounds.
type Config struct {
	// Image returns the image to read, or why there is none. It is asked for
	// each batch of requests and must be quick.
	Image func() (*image.Image, error)
	// Exports returns the rules in force. Reload tells of new ones.
	Exports func() *exports.List
	// Lag tells how far the image is behind its stream; nil is never behind.
	Lag func() time.Duration
	// MaxLag is the lag beyond which mounts are turned away; 0 is none.
	MaxLag time.Duration
	// Locator finds the copies of chunks; nil knows of none.
	Locator Locator
	// Primary tells what only a running master knows; nil is nothing.
	Primary Primary
	// Asker asks the running master what information requests want to know of
	// it; nil is nobody.
	Asker Asker
	// Metaloggers lists those of this process while it leads; nil, or false: the
	// primary's are listed.
	Metaloggers func() ([]Metalogger, bool)
	// ChartsFile is where charts are kept over a restart; empty keeps none.
	ChartsFile string
	// Settings are those that a master has, too, by its names for them.
	Settings map[string]string
	// Follower makes the server call itself a follower in the list of masters.
	// Stock mfscli then shows no more than that and charts of it.
	Follower bool

	// Pollers is how many goroutines serve connections without a leader; 0 means
	// DefaultPollers. Each has a thread of its own if Nice is not 0, which is that
	// thread's nice level, if this process may set it.
	Pollers int
	Nice    int

	MaxConns   int   // connections at once; 0 means DefaultMaxConns
	MaxBuffers int64 // bytes in buffers of all connections beyond a small one each; 0 means DefaultMaxBuffers
	Logger     *slog.Logger

	silence  time.Duration // after which a connection is closed; 0 means silence. For tests.
	parkTime time.Duration // 0 means parkTime; tests want less
}

// Defaults of Config.
const (
	DefaultMaxConns   = 20000
	DefaultMaxBuffers = 256 << 20
)

// DefaultPollers is as many as leave half of the processors to the entries that
// are applied and to requests that take long.
func DefaultPollers() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// Times of the stock master.
const (
	silence   = 10 * time.Second // a connection that brings nothing for so long is closed
	keepalive = time.Second      // and gets a NOP when nothing was sent for so long
)

// Server serves clients. Its methods are safe for concurrent use.
type Server struct {
	cfg      Config
	log      *slog.Logger
	sessions sessions
	locks    locks
	pages    pages
	orders   orders
	counters counters
	busy     busyness
	info     info
	watch    watch
	buffers  atomic.Int64    // bytes counted against MaxBuffers
	locating atomic.Int32    // questions to the Locator
	waiting  atomic.Int32    // jobs
	ctx      context.Context // of the jobs; ends with the server
	cancel   context.CancelFunc
	jobs     chan struct{}
	handlers *table
	process  uint64 // tells clients whether it is still the same process

	mu      sync.Mutex // guards what follows
	conns   map[*conn]struct{}
	pollers []*poller
	ended   bool
	lead    *leader.Leader // nil: changes are refused
	wg      sync.WaitGroup // connections and their jobs
}

// New returns a server; Serve starts it.
func New(cfg Config) (*Server, error) {
	if cfg.Image == nil || cfg.Exports == nil {
		return nil, errors.New("a server needs an image and exports")
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = DefaultMaxConns
	}
	if cfg.Pollers == 0 {
		cfg.Pollers = DefaultPollers()
	}
	if cfg.MaxBuffers == 0 {
		cfg.MaxBuffers = DefaultMaxBuffers
	}
	if cfg.parkTime == 0 {
		cfg.parkTime = parkTime
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.silence == 0 {
		cfg.silence = silence
	}
	s := &Server{cfg: cfg, log: cfg.Logger.With("part", "server"), conns: map[*conn]struct{}{}, jobs: make(chan struct{}, maxJobs), handlers: newTable(),
		process: uint64(time.Now().Unix())<<32 | uint64(rand.Uint32())}
	s.sessions.init(s.reserve)
	now := time.Now()
	s.info.init(now)
	if cfg.ChartsFile != "" {
		if err := s.info.charts.Load(cfg.ChartsFile, now); err != nil {
			s.log.Warn("the charts begin anew", "err", err)
		}
	}
	s.locks.byInode = map[meta.Inode][]localLock{}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Serve accepts connections on l until ctx ends, then closes l and all
// connections and waits for them. It is called once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.startPollers(); err != nil {
		return errors.Join(fmt.Errorf("preparing to serve clients: %w", err), l.Close())
	}
	var beside sync.WaitGroup
	beside.Go(func() { s.tidy(ctx) })
	beside.Go(func() { s.measure(ctx) })
	beside.Go(func() {
		<-ctx.Done()
		l.Close()
	})
	err := s.accept(ctx, l)
	cancel()
	beside.Wait()
	s.closeAll()
	s.wg.Wait()
	if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (s *Server) accept(ctx context.Context, l net.Listener) error {
	for {
		nc, err := l.Accept()
		switch {
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ECONNABORTED):
			s.log.Warn("cannot accept a client", "err", err)
			select { // until others have gone
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		case err != nil:
			return fmt.Errorf("accepting clients: %w", err)
		}
		s.start(nc)
	}
}

func (s *Server) startPollers() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range s.cfg.Pollers {
		p, err := newPoller(s)
		if err != nil {
			for _, p := range s.pollers {
				p.stop()
			}
			return err
		}
		s.pollers = append(s.pollers, p)
		s.wg.Go(p.run)
	}
	return nil
}

// start has a connection served: by a poller, or if requests may have to wait
// for the leader, by a goroutine of its own.
func (s *Server) start(nc net.Conn) {
	c := newConn(s, nc.RemoteAddr())
	s.mu.Lock()
	defer s.mu.Unlock()
	c.lead = s.lead
	if s.ended || len(s.conns) >= s.cfg.MaxConns {
		s.counters.refused.Add(1)
		nc.Close()
		return
	}
	tcp, ok := nc.(*net.TCPConn)
	if c.lead != nil || !ok {
		s.wg.Go(newOwn(c, nc).run)
	} else {
		fd, err := detach(tcp)
		if err != nil {
			s.counters.refused.Add(1)
			s.log.Warn("cannot serve a client", "peer", c.from, "err", err)
			return
		}
		s.pollers[int(s.counters.accepted.Load()%uint64(len(s.pollers)))].add(c, fd)
	}
	s.counters.accepted.Add(1)
	s.conns[c] = struct{}{}
}

// gone forgets a connection.
func (s *Server) gone(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *Server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.cancel()
	for c := range s.conns {
		c.link.shut()
	}
	for _, p := range s.pollers {
		p.stop()
	}
}

// Reload closes the connections of mounts whose session was made under other
// exports than those in force: they register again.
func (s *Server) Reload() {
	sum := s.cfg.Exports().Sum()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if ses := c.mount.Load(); ses != nil && ses.params().ExportsSum != sum {
			c.link.shut()
		}
	}
}

// tidy ends sessions whose client has been away too long.
func (s *Server) tidy(ctx context.Context) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.sessions.expire(now)
		}
	}
}

// ready returns the image unless clients are to come again later.
func (s *Server) ready() (*image.Image, error) {
	if s.cfg.MaxLag > 0 && s.cfg.Lag != nil {
		if lag := s.cfg.Lag(); lag > s.cfg.MaxLag {
			return nil, &LagError{lag}
		}
	}
	return s.cfg.Image()
}

// LagError says that the image is too old to be shown.
type LagError struct{ Lag time.Duration }

func (e *LagError) Error() string {
	return fmt.Sprintf("the image is %v behind", e.Lag.Round(time.Millisecond))
}

// reserve counts n bytes of buffers; it fails when there are too many.
func (s *Server) reserve(n int64) bool {
	if s.buffers.Add(n) > s.cfg.MaxBuffers && n > 0 {
		s.buffers.Add(-n)
		return false
	}
	return true
}

// Locator finds where the copies of chunks are.
type Locator interface {
	// Cached returns what is known at once. The status is an error if the
	// chunk is known to have no usable copy.
	Cached(id meta.ChunkID, version uint32) (copies wire.Locations, status meta.Status, ok bool)
	// Locate finds out, waiting if need be: slot index of the file ino is
	// where the chunk was seen.
	Locate(ctx context.Context, ino meta.Inode, index uint32, id meta.ChunkID, version uint32) (wire.Locations, meta.Status)
	// Forget forgets what is known of versions of a chunk below one. It must be
	// quick.
	Forget(id meta.ChunkID, below uint32)
}

// Space is what chunkservers tell a master about their disks, in bytes.
type Space struct{ Total, Avail, Free uint64 }

// Primary tells what the metadata does not hold and only a running master
// knows. It must answer at once, from what it learnt before.
type Primary interface {
	Space() Space
}

// Metalogger is a metalogger that is connected.
type Metalogger struct {
	Release wire.Release
	IP      uint32 // IPv4, 0 for others
}

// Asker asks a running master.
type Asker interface {
	// Ask returns the payload of its answer to a request of type t, nil if
	// there is none. It takes less than a second.
	Ask(t wire.Type, body []byte) []byte
}
