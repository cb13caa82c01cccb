package tap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// announced is the release that Live claims to be: a master tells metaloggers
// of 4.0 and later more than is needed.
var announced = wire.NewRelease(3, 0, 117)

// LiveConfig says how to follow a primary over the network.
type LiveConfig struct {
	Address    string        // HOST or HOST:PORT of its metalogger port; default port 9419
	Dir        string        // for downloads; must exist
	Timeout    time.Duration // of silence after which the connection is given up, both sides; 3 s to 18 h, default 10 s
	MaxMemory  int64         // bytes of entries not taken yet before the connection is closed; default 256 MiB
	MinBackoff time.Duration // before the first reconnect; default 100 ms
	MaxBackoff time.Duration // before later ones; default 5 s
	Restarts   bool          // end with a *RestartedError where the primary loaded newer metadata than is known
	Event      func(Event)   // may be nil; called by several goroutines of Run, must not block
	// Dial opens the connection; nil is a TCP dial, which resolves the name anew.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// Validate fills in defaults.
func (c *LiveConfig) Validate() error {
	if c.Address == "" {
		return errors.New("address of the primary is not set")
	}
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		c.Address = net.JoinHostPort(strings.Trim(c.Address, "[]"), "9419")
	}
	if st, err := os.Stat(c.Dir); err != nil {
		return fmt.Errorf("directory for downloads: %w", err)
	} else if !st.IsDir() {
		return fmt.Errorf("directory for downloads: %s is none", c.Dir)
	}
	setDefault(&c.Timeout, 10*time.Second)
	setDefault(&c.MaxMemory, 256<<20)
	setDefault(&c.MinBackoff, 100*time.Millisecond)
	setDefault(&c.MaxBackoff, 5*time.Second)
	if c.Timeout < 3*time.Second || c.Timeout > 65535*time.Second {
		return fmt.Errorf("timeout of %v is not between 3 s and 65535 s", c.Timeout)
	}
	if c.MaxMemory < 4<<20 {
		return fmt.Errorf("memory of %d bytes for received entries is less than 4 MiB", c.MaxMemory)
	}
	if c.MinBackoff < 0 || c.MaxBackoff < c.MinBackoff {
		return fmt.Errorf("back-off from %v to %v is no range", c.MinBackoff, c.MaxBackoff)
	}
	if c.Event == nil {
		c.Event = func(Event) {}
	}
	if c.Dial == nil {
		c.Dial = dialTCP
	}
	return nil
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", address)
}

// Live is a Source that follows a primary as a metalogger would. Run holds the
// connection; Resume or Bootstrap says where to begin; Next yields.
//
// Entries are taken from the socket as they arrive and wait in memory, of
// which LiveConfig.MaxMemory is the bound. Beyond it the connection is closed,
// with an Overflow event, and opened again when half is free: the primary has
// no queue for a closed connection.
//
// A new connection must first show that it continues the history known: it is
// asked for the last entry again, which must be the same. What the primary has
// no more in memory is fetched from its changelog.0.mfs and changelog.1.mfs.
type Live struct {
	cfg  LiveConfig
	kick chan struct{} // the goal was set; capacity 1
	part partial       // of a download; Run's

	silent bool // Run's: the last connection ended when it asked for the release
	noLogs bool // Run's: a primary of 1.6 has no changelogs to download

	mu     sync.Mutex
	goal   *goal
	stop   context.CancelFunc // ends the present connection; nil: there is none
	status LiveStatus

	// Of the goroutine that calls Next.
	taken *chunk   // given out
	files *fileRun // being read
}

// goal is what Run is to reach, and the queue for what it yields. A new one
// takes the place of the old with all that belongs to it.
type goal struct {
	q         *queue
	metaid    uint64        // guarded by Live.mu
	bootstrap bool          // guarded by Live.mu: a base is still wanted
	base      Base          // valid once done is closed
	err       error         // likewise
	done      chan struct{} // of a bootstrap
}

// LiveStatus is how things stand.
type LiveStatus struct {
	Connected   bool
	Following   bool         // connected, and the history fits
	Address     string       // of the primary, as connected to last
	Release     wire.Release // of the primary; 0: not known yet
	ReleaseText string       // for instance "3.0.117-1"
	MetaID      uint64       // 0: not known yet
	Heard       time.Time    // when the primary sent something last
	Next        meta.Version // follows the last entry received; 0: none yet
	Queued      int64        // bytes of memory for what Next has not taken yet
	Err         error        // why the connection was lost last, or following ended
}

// NewLive prepares following; nothing is done before Run and Resume or
// Bootstrap.
func NewLive(cfg LiveConfig) (*Live, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l := &Live{cfg: cfg, kick: make(chan struct{}, 1)}
	l.goal = l.newGoal(0, nil)
	return l, nil
}

func (l *Live) newGoal(next meta.Version, last []byte) *goal {
	return &goal{q: newQueue(l.cfg.MaxMemory, next, last)}
}

// Resume makes Live continue at a position. Next returns a *GapError when the
// primary has no longer what is needed, a *DivergedError when it has something
// else, with LiveConfig.Restarts a *RestartedError, and ErrMetaID when it belongs to another cluster. Resume, Bootstrap
// and Next are for one goroutine.
func (l *Live) Resume(at Position) error {
	if at.Next == 0 {
		return errors.New("resuming needs the version of the first entry wanted")
	}
	g := l.newGoal(at.Next, at.Last)
	g.metaid = at.MetaID
	l.set(g)
	return nil
}

// Rest ends following, until Resume or Bootstrap is called again.
func (l *Live) Rest() { l.set(l.newGoal(0, nil)) }

// Reach tells whether the primary takes connections.
func (l *Live) Reach(ctx context.Context) error {
	conn, err := l.cfg.Dial(ctx, l.cfg.Address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Bootstrap downloads the primary's newest metadata file into LiveConfig.Dir,
// as base-VERSION.mfs, and makes Next yield the entries from its version on.
// Lost connections are made again, and the download is taken up where it was,
// until ctx ends. It returns a *GapError when the primary's changelog files do
// not reach back to its metadata file, ErrMetaID when metaid is not 0 and not
// the primary's, and an error when the file cannot be stored.
func (l *Live) Bootstrap(ctx context.Context, metaid uint64) (Base, error) {
	g := l.newGoal(0, nil)
	g.bootstrap, g.metaid, g.done = true, metaid, make(chan struct{})
	l.set(g)
	select {
	case <-ctx.Done():
		l.set(l.newGoal(0, nil))
		return Base{}, ctx.Err()
	case <-g.done:
		return g.base, g.err
	}
}

// set gives Run another goal and drops the present one.
func (l *Live) set(g *goal) {
	l.mu.Lock()
	l.goal.q.close()
	l.goal = g
	if l.stop != nil {
		l.stop()
	}
	l.status.Following, l.status.Err = false, nil
	l.mu.Unlock()
	l.taken = nil
	if l.files != nil {
		l.files.close()
		l.files = nil
	}
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// Run holds the connection until ctx ends, and returns its error.
func (l *Live) Run(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		g, err := l.begin(ctx)
		if err != nil {
			return err
		}
		followed, err := l.follow(ctx, g)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !l.current(g) {
			attempt = -1
			continue
		}
		if errors.Is(err, errRejoin) {
			g.q.signal()
			continue
		}
		if isFinal(err) {
			l.finish(g, err)
			continue
		}
		if followed {
			attempt = 0
		}
		l.setStatus(func(s *LiveStatus) { s.Err = err })
		kind := Disconnected
		if errors.Is(err, errOverflow) {
			kind = Overflow
		}
		l.cfg.Event(Event{Kind: kind, Text: l.cfg.Address, Err: err})
		if err := l.pause(ctx, g, attempt, kind == Overflow); err != nil {
			return err
		}
	}
}

// isFinal tells whether an error ends following until there is another goal.
func isFinal(err error) bool {
	var local *localError
	return errors.Is(err, ErrGap) || errors.Is(err, ErrDiverged) || errors.Is(err, ErrRestarted) || errors.Is(err, ErrMetaID) || errors.As(err, &local)
}

// begin waits for a goal that has somewhere to go.
func (l *Live) begin(ctx context.Context) (*goal, error) {
	for {
		l.mu.Lock()
		g := l.goal
		wanted := g.bootstrap
		l.mu.Unlock()
		if next, _, err := g.q.position(); err == nil && (wanted || next != 0) {
			return g, ctx.Err()
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.kick:
		}
	}
}

func (l *Live) current(g *goal) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.goal == g
}

// finish ends a goal with an error.
func (l *Live) finish(g *goal, err error) {
	l.setStatus(func(s *LiveStatus) { s.Err = err })
	kind := Lost
	if errors.Is(err, ErrRestarted) {
		kind = Restarted
	}
	l.cfg.Event(Event{Kind: kind, Text: l.cfg.Address, Err: err})
	g.q.fail(err, false)
	g.q.signal()
	l.finishBootstrap(g, Base{}, err)
}

// finishBootstrap answers Bootstrap, if that is what the goal still is.
func (l *Live) finishBootstrap(g *goal, base Base, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g.bootstrap {
		g.bootstrap, g.base, g.err = false, base, err
		close(g.done)
	}
}

// pause waits before the next connection, or for another goal.
func (l *Live) pause(ctx context.Context, g *goal, attempt int, full bool) error {
	if full {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-g.q.room:
		case <-l.kick:
		}
		return nil
	}
	d := min(l.cfg.MinBackoff<<min(attempt, 20), l.cfg.MaxBackoff)
	timer := time.NewTimer(d/2 + rand.N(d/2+1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	case <-l.kick:
	}
	return nil
}

// follow makes one connection and returns why it ended, and whether it had got
// as far as following.
func (l *Live) follow(ctx context.Context, g *goal) (followed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	l.stop = cancel
	replaced := l.goal != g
	l.mu.Unlock()
	if replaced {
		return false, context.Canceled
	}
	conn, err := l.cfg.Dial(ctx, l.cfg.Address)
	if err != nil {
		return false, err
	}
	s := newSession(l, g, conn)
	s.silent = l.silent
	err = s.run(ctx)
	l.silent = s.unanswered || s.silent && s.refused && !l.noLogs // else it is asked again: it may be another one
	l.noLogs = s.silent && (l.noLogs || s.refused)
	l.setStatus(func(st *LiveStatus) { st.Connected, st.Following = false, false })
	return s.followed, err
}

func (l *Live) setStatus(f func(*LiveStatus)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.status)
}

// Status returns how things stand. It may be called from any goroutine.
func (l *Live) Status() LiveStatus {
	l.mu.Lock()
	s, q := l.status, l.goal.q
	l.mu.Unlock()
	s.Next, _, _ = q.position()
	s.Queued = q.size()
	return s
}

// Next returns the next entries, or waits for them.
func (l *Live) Next(ctx context.Context) (Batch, error) {
	l.mu.Lock()
	q := l.goal.q
	l.mu.Unlock()
	if l.taken != nil {
		q.recycle(l.taken)
		l.taken = nil
	}
	for {
		if err := ctx.Err(); err != nil {
			return Batch{}, err
		}
		if l.files != nil {
			b, err := l.files.next()
			if err == nil {
				return b, nil
			}
			l.files.close()
			l.files = nil
			if err != io.EOF {
				q.fail(err, true)
			}
		}
		p, ok, err := q.take()
		switch {
		case err != nil:
			return Batch{}, err
		case ok && p.files != nil:
			l.files = p.files
		case ok:
			l.taken = p.chunk
			return Batch{Entries: p.chunk.entries, Received: p.chunk.received}, nil
		default:
			select {
			case <-ctx.Done():
			case <-q.wake:
			}
		}
	}
}

// Close drops what Next has not taken. Run has to be ended by its context.
func (l *Live) Close() error {
	g := l.newGoal(0, nil)
	g.q.fail(net.ErrClosed, true)
	l.set(g)
	return nil
}
