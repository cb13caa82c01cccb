package leader

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/image"
)

// Writer appends entries to the stream in its own epoch: a stream.Writer whose
// epoch is open, with its end in the image's terms.
type Writer interface {
	Append(ctx context.Context, entries []meta.RawEntry, received time.Time) error
	Flush(ctx context.Context) error // waits until what was appended is stored
	End() image.Position             // Version, Epoch, Seq and Chain of what is stored
}

// Config says what a Leader works with. Image and Stream are needed; they must
// be at the same version.
type Config struct {
	Image  *image.Image
	Stream Writer
	Rules  func() *changelog.Rules // in force now; nil: changelog.DefaultRules
	Clock  func() time.Time        // nil: time.Now

	// Wake is told answers to requests that waited for a lock, after their
	// entries are in the stream. It must not wait.
	Wake func(id meta.SessionID, t wire.Type, msgID uint32, status meta.Status)
	// Published, if set, is told of entries that are in the stream, in order. It
	// must not wait, nor keep them.
	Published func([]meta.RawEntry)

	// Valid, if set, tells whether this may lead at this moment: without that
	// nothing is answered.
	Valid func() bool

	CommitEvery time.Duration // between commits of the image; 0: one second
	MaxBatch    int           // requests in one batch; 0: 1024
}

// ErrLost says that the request has not been, and will not be, carried out by
// this leader as far as it knows: it may be in the stream. The client asks again
// whoever leads then, as it does when a stock master dies.
var ErrLost = errors.New("this is not the leader any more")

// Leader carries out requests one after the other. New makes one, Run works.
type Leader struct {
	cfg   Config
	locks *Locks
	in    chan *request
	done  chan struct{} // closed when Run has ended

	last      meta.Time // of the newest entry
	commit    time.Time // last one begun
	wakings   []waking
	duties    duties
	connected presence

	mu    sync.Mutex // guards what follows
	acked meta.Version
	moved chan struct{} // closed when acked changes
	err   error         // set before done is closed
}

// waking is an answer that is held back until its entries are published.
type waking struct {
	id     meta.SessionID
	t      wire.Type
	msgID  uint32
	status meta.Status
}

// request waits for its turn.
type request struct {
	do   func(*Turn)
	done chan error
}

const (
	defaultCommit = time.Second
	dutyCheck     = 250 * time.Millisecond // how often it is looked whether duties are due
	defaultBatch  = 1024
	batchBytes    = 256 << 10 // of text of entries, after which a batch is closed
)

// New returns a Leader that begins where the image is.
func New(cfg Config) *Leader {
	if cfg.Rules == nil {
		cfg.Rules = func() *changelog.Rules { return &changelog.DefaultRules }
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.CommitEvery == 0 {
		cfg.CommitEvery = defaultCommit
	}
	if cfg.MaxBatch == 0 {
		cfg.MaxBatch = defaultBatch
	}
	pos := cfg.Image.Position()
	l := &Leader{cfg: cfg, in: make(chan *request, cfg.MaxBatch), done: make(chan struct{}), last: pos.Time, acked: pos.Version, moved: make(chan struct{})}
	l.locks = NewLocks(func(id meta.SessionID, t wire.Type, msgID uint32, status meta.Status) {
		l.wakings = append(l.wakings, waking{id, t, msgID, status})
	})
	return l
}

// Do gives do a turn at the state and returns when the entries that it added,
// and all before them, are in the stream: what do read may be told then. The
// error is ctx's, or wraps ErrLost; after ctx's do may still run.
func (l *Leader) Do(ctx context.Context, do func(*Turn)) error {
	r := &request{do: do, done: make(chan error, 1)}
	select {
	case l.in <- r:
	case <-l.done:
		return l.lost()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-r.done:
		return l.valid(err)
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
	}
	select {
	case err := <-r.done:
		return err
	default: // it was never begun
		return l.lost()
	}
}

// Wait returns when the entries before version v are in the stream: what was
// read at v may be told then. The error is as that of Do.
func (l *Leader) Wait(ctx context.Context, v meta.Version) error {
	for {
		l.mu.Lock()
		acked, moved := l.acked, l.moved
		l.mu.Unlock()
		if acked >= v {
			return l.valid(nil)
		}
		select {
		case <-moved:
		case <-l.done:
			return l.lost()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Read calls f with the state for looking things up, like image.Image.Read, and
// returns when what it saw may be told.
func (l *Leader) Read(ctx context.Context, f func(*meta.State, image.Position) error) error {
	var seen meta.Version
	err := l.cfg.Image.Read(func(st *meta.State, pos image.Position) error {
		seen = pos.Version
		return f(st, pos)
	})
	if err != nil {
		return err
	}
	return l.Wait(ctx, seen)
}

// valid is err, or that this does not lead any more.
func (l *Leader) valid(err error) error {
	if err == nil && l.cfg.Valid != nil && !l.cfg.Valid() {
		return fmt.Errorf("%w: its lease is over", ErrLost)
	}
	return err
}

// Rules are those in force now.
func (l *Leader) Rules() *changelog.Rules { return l.cfg.Rules() }

// Accessed tells whether reading a node now would leave an entry: whoever reads
// it then does so in a turn.
func (l *Leader) Accessed(st *meta.State, c *changelog.Caller, r *changelog.AccessRequest) bool {
	op, _ := r.Plan(st, c, meta.Time(l.cfg.Clock().Unix()))
	return op != nil
}

func (l *Leader) lost() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Errorf("%w: %w", ErrLost, l.err)
}

// Run leads until ctx ends or an entry cannot be published or applied. It then
// fails all requests, and returns why. Unless the error is ctx's alone the image
// is void and must be Reset: it holds entries that may not be in the stream.
func (l *Leader) Run(ctx context.Context) error {
	l.commit = l.cfg.Clock()
	l.duties.begun, l.duties.last = l.commit.Unix(), l.commit.Unix()
	err := l.run(ctx)
	l.mu.Lock()
	l.err = err
	l.mu.Unlock()
	close(l.done)
	return err
}

// ErrRelease says that the metadata are those of a release whose requests are
// not known: only those of 3.0.117 and before are.
var ErrRelease = errors.New("a cluster of 4.x cannot be led by this program: write its metadata with mfsstandby export and start that release's own mfsmaster on it")

func (l *Leader) run(ctx context.Context) error {
	err := l.cfg.Image.Read(func(st *meta.State, _ image.Position) error {
		if st.Release >= meta.NewRelease(4, 0, 0) {
			return fmt.Errorf("%w: %v", ErrRelease, st.Release)
		}
		return nil
	})
	if err != nil {
		return err
	}
	tick := time.NewTicker(min(l.cfg.CommitEvery, dutyCheck))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := l.runDuties(ctx); err != nil {
				return err
			}
		case first := <-l.in:
			if err := l.batch(ctx, first); err != nil {
				return err
			}
		}
		if err := l.commitIfDue(); err != nil {
			return err
		}
	}
}

// commitIfDue begins a commit of the image, which has nothing then that is not
// in the stream.
func (l *Leader) commitIfDue() error {
	now := l.cfg.Clock()
	if now.Sub(l.commit) < l.cfg.CommitEvery || !l.cfg.Image.Uncommitted() || !l.cfg.Image.MayCommit() {
		return nil
	}
	l.commit = now
	return l.cfg.Image.Commit(false)
}

// batch carries out the requests that wait, publishes their entries in one go,
// and then answers all of them.
func (l *Leader) batch(ctx context.Context, first *request) error {
	requests := []*request{first}
	turn := NewTurn(nil, l.locks, 0, 0)
	l.wakings = l.wakings[:0]
	err := l.cfg.Image.Propose(func(st *meta.State, pos image.Position) (image.Position, error) {
		turn.st, turn.version = st, pos.Version
		turn.now = l.time()
		first.do(turn)
		for turn.err == nil && len(requests) < l.cfg.MaxBatch && len(turn.text) < batchBytes {
			r := l.next()
			if r == nil {
				break
			}
			requests = append(requests, r)
			turn.now = l.time()
			r.do(turn)
		}
		pos.Version = turn.version
		return pos, turn.err
	}, func(pos image.Position) (image.Position, error) {
		return l.publish(ctx, turn, pos)
	})
	if err != nil {
		err = fmt.Errorf("leading: %w", err)
		for _, r := range requests {
			r.done <- fmt.Errorf("%w: %w", ErrLost, err)
		}
		return err
	}
	l.answer(turn, requests)
	return nil
}

// next returns a request that waits, nil if none does.
func (l *Leader) next() *request {
	select {
	case r := <-l.in:
		return r
	default:
		return nil
	}
}

// time is the clock's, but never before the entry before.
func (l *Leader) time() meta.Time {
	l.last = max(l.last, meta.Time(l.cfg.Clock().Unix()))
	return l.last
}

// publish puts the entries of a batch into the stream.
func (l *Leader) publish(ctx context.Context, turn *Turn, pos image.Position) (image.Position, error) {
	if len(turn.entries) == 0 {
		return pos, nil
	}
	if err := l.cfg.Stream.Append(ctx, turn.entries, l.cfg.Clock()); err != nil {
		return pos, err
	}
	if err := l.cfg.Stream.Flush(ctx); err != nil {
		return pos, err
	}
	end := l.cfg.Stream.End()
	if end.Version != pos.Version {
		return pos, fmt.Errorf("the stream is at version %d, the image at %d", end.Version, pos.Version)
	}
	pos.Epoch, pos.Seq, pos.Chain, pos.Time = end.Epoch, end.Seq, end.Chain, turn.now
	return pos, nil
}

// answer lets the requests of a batch go, and readers who saw its entries.
func (l *Leader) answer(turn *Turn, requests []*request) {
	if len(turn.entries) > 0 {
		l.mu.Lock()
		l.acked = turn.version
		close(l.moved)
		l.moved = make(chan struct{})
		l.mu.Unlock()
		if l.cfg.Published != nil {
			l.cfg.Published(turn.entries)
		}
	}
	for _, w := range l.wakings {
		if l.cfg.Wake != nil {
			l.cfg.Wake(w.id, w.t, w.msgID, w.status)
		}
	}
	for _, r := range requests {
		r.done <- nil
	}
}
