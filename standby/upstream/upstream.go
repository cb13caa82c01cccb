// Package upstream is what a stock master is to its metaloggers: it keeps
// changelog.N.mfs and metadata.mfs.back in a directory, rotates and saves them
// at the hour, and serves the metalogger protocol (TCP 9419). A stock
// mfsmetalogger, or another mfsstandby, follows it as it would follow a master.
//
// The stream is the truth and everything here is derived from it, so a follower
// can do it as well as a leader. Invariants:
//
//   - An entry is written to a file, and sent, only when it is in the stream for
//     good: acknowledged, or made durable.
//   - The files have each entry once and no others. After a crash what was not
//     certainly on the disk is compared with the stream (journal).
//   - What a metalogger downloads and what it is then sent overlap or touch.
//   - Each connection reads the stream by itself and is blocked by itself: a slow
//     metalogger costs a connection's buffers, and holds nobody up.
//   - What goes wrong here (a port in use, a full disk) is told, tried again, and
//     never ends the lead.
//
// Package cmd runs it, beside a leader or all the time.
package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby/image"
)

// Config says what is kept and served. Dir, Cluster and View are needed.
type Config struct {
	Dir     string                       // of the files; made if it is not there
	Cluster func() *stream.Cluster       // nil while its stream is awaited
	View    func() (*image.View, error)  // of the present state
	Listen  func() (net.Listener, error) // opens the port for metaloggers; nil: they are not served
	Port    string                       // the number of that port
	Release func() string                // of the cluster, such as "3.0.117"; nil or "": that

	BackLogs     int // changelog files beside the current one, 0 to MaxBackLogs
	SaveEvery    int // hours between metadata files, 1 or more, at most half of BackLogs
	KeepPrevious int // metadata files before the current one, 0 to MaxPrevious

	// Options are what is told of the configuration to who asks; all others are
	// said not to be set.
	Options map[string]string

	Logger *slog.Logger // nil means slog.Default
	Events *events.Log
}

// Defaults and limits of the stock master (BACK_LOGS, METADATA_SAVE_FREQ,
// BACK_META_KEEP_PREVIOUS).
const (
	DefaultBackLogs  = 50
	DefaultSaveEvery = 1
	DefaultPrevious  = 1
	MaxBackLogs      = 1000
	MaxPrevious      = 99
)

// Validate says what is wrong, and lowers SaveEvery as the stock master does.
func (c *Config) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("there is no directory for changelog files")
	case c.BackLogs < 0 || c.BackLogs > MaxBackLogs:
		return fmt.Errorf("%d changelog files: give 0 to %d", c.BackLogs, MaxBackLogs)
	case c.KeepPrevious < 0 || c.KeepPrevious > MaxPrevious:
		return fmt.Errorf("%d previous metadata files: give 0 to %d", c.KeepPrevious, MaxPrevious)
	case c.SaveEvery < 1:
		return fmt.Errorf("metadata saved every %d hours: give 1 or more", c.SaveEvery)
	}
	c.SaveEvery = min(c.SaveEvery, max(1, c.BackLogs/2))
	return nil
}

// Waiter tells when entries are in the stream for good: a leader.Leader.
type Waiter interface {
	Wait(ctx context.Context, v meta.Version) error
}

// source is the stream as it is needed here: a stream.Cluster.
type source interface {
	Read(from stream.Position) reader
	End(ctx context.Context) (stream.Position, error)
	Sync() error
	MetaID() uint64
}

type reader interface {
	Next(ctx context.Context) (*stream.Batch, error)
	Close()
}

// cluster is a source.
type cluster struct{ *stream.Cluster }

// prefetch is how many bytes of the stream a connection reads ahead.
const prefetch = 1 << 20

func (c cluster) Read(from stream.Position) reader {
	return c.Reader(from, stream.ReaderConfig{Prefetch: prefetch})
}

// Upstream keeps the files and serves metaloggers. Its methods are safe for
// concurrent use.
type Upstream struct {
	cfg   Config
	log   *slog.Logger
	open  func() source // nil: it is not there yet
	clock func() time.Time
	lead  atomic.Pointer[Waiter] // nil: nobody leads here

	running sync.Mutex // held by Run
	port    sync.Mutex // held while the port is opened or given up

	mu       sync.Mutex // guards what follows
	status   Status
	peers    map[*peer]struct{}
	listener net.Listener // nil: the port is not open
	away     bool         // it belongs to another process, until Return
}

// New returns one that Run starts.
func New(cfg Config) (*Upstream, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	u := &Upstream{cfg: cfg, log: cfg.Logger.With("part", part), clock: time.Now, peers: map[*peer]struct{}{}}
	u.status.Dir = cfg.Dir
	u.open = func() source {
		if c := cfg.Cluster(); c != nil {
			return cluster{c}
		}
		return nil
	}
	return u, nil
}

// part is what this package is in the log and among the events.
const part = "upstream"

// Lead says who knows when entries are in the stream for good, while this
// process leads; nil ends that.
func (u *Upstream) Lead(w Waiter) {
	if w == nil {
		u.lead.Store(nil)
		return
	}
	u.lead.Store(&w)
}

// Leads tells whether this process leads, as Lead said.
func (u *Upstream) Leads() bool { return u.lead.Load() != nil }

// retryEvery is how soon what failed is tried again.
const retryEvery = time.Second

// Run keeps the files and serves metaloggers until ctx ends. What goes wrong is
// told, and tried again.
func (u *Upstream) Run(ctx context.Context) {
	u.running.Lock()
	defer u.running.Unlock()
	u.setRunning(true)
	defer u.setRunning(false)
	anew := false
	for {
		err := u.run(ctx, anew)
		if ctx.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				u.log.Warn("ending", "err", err)
			}
			u.fail(nil)
			return
		}
		anew = superseded(err)
		u.fail(err)
		if !pause(ctx, retryEvery) {
			return
		}
	}
}

func (u *Upstream) setRunning(is bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.status.Running = is
}

// superseded tells whether files that end where err was found are of a history
// that does not go on.
func superseded(err error) bool {
	for _, e := range []error{stream.ErrGap, stream.ErrRebase, stream.ErrDiverged} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// pause waits; false means that ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// fail shows an error, and makes an event of one that is new.
func (u *Upstream) fail(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	u.mu.Lock()
	known := u.status.Error == text
	u.status.Error = text
	u.mu.Unlock()
	if !known && err != nil {
		u.event(slog.LevelError, events.FilesFailed, text)
	}
}

func (u *Upstream) event(level slog.Level, code events.Code, text string) {
	u.log.Log(context.Background(), level, text)
	u.cfg.Events.Add(part, level, code, text)
}

// run does everything until something fails or ctx ends.
func (u *Upstream) run(ctx context.Context, anew bool) error {
	src := u.open()
	for src == nil {
		if !pause(ctx, retryEvery/10) {
			return nil
		}
		src = u.open()
	}
	j, err := u.openFiles(src.MetaID(), anew)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &work{Upstream: u, src: src, j: j, saved: make(chan struct{}), turned: make(chan struct{})}
	w.durable.sync = src.Sync
	parts := []func(context.Context) error{w.follow, w.keep}
	if u.cfg.Listen != nil {
		parts = append(parts, w.serve)
	}
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, run := range parts {
		wg.Go(func() {
			defer cancel()
			errs[i] = run(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errors.Join(errs...), j.close())
}

// openFiles continues the files, or begins them where the image is.
func (u *Upstream) openFiles(metaid uint64, anew bool) (*journal, error) {
	j, err := openJournal(u.cfg.Dir, metaid, u.cfg.BackLogs)
	if err == nil && !anew {
		return j, nil
	}
	if err != nil && !errors.Is(err, errNoFiles) && !errors.Is(err, errUnfit) {
		return nil, err
	}
	v, verr := u.cfg.View()
	if verr != nil {
		return nil, verr
	}
	defer v.Close()
	p := v.Position()
	pos := stream.Position{Version: p.Version, Epoch: stream.Epoch(p.Epoch), Seq: stream.Seq(p.Seq),
		Chain: stream.Chain{Hi: binary.BigEndian.Uint64(p.Chain[:]), Lo: binary.BigEndian.Uint64(p.Chain[8:])}}
	if anew || !errors.Is(err, errNoFiles) {
		why := "the stream has another history since"
		if err != nil {
			why = err.Error()
		}
		u.event(slog.LevelWarn, events.FilesAside,
			fmt.Sprintf("the changelog files in %s begin anew at version %d, what was there is in %s: %s", u.cfg.Dir, pos.Version, j.path(asideName), why))
	}
	return j, j.begin(metaid, pos)
}

// work is one run over files that are continued.
type work struct {
	*Upstream
	src source
	j   *journal

	saved   chan struct{} // closed when there is a metadata file that the changelog files continue
	durable durable
	ailing  atomic.Bool // files could not be written

	turn   sync.Mutex // guards what follows
	turns  int        // rotations so far
	at     []meta.Version
	turned chan struct{} // closed at a rotation
}

// durable makes entries that were read durable in the stream, all that wait
// with one sync.
type durable struct {
	sync  func() error
	noted atomic.Uint64 // the newest that somebody wants

	mu   sync.Mutex // held while it syncs
	upTo meta.Version
}

func (d *durable) reach(v meta.Version) error {
	for old := d.noted.Load(); old < uint64(v) && !d.noted.CompareAndSwap(old, uint64(v)); old = d.noted.Load() {
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.upTo >= v {
		return nil
	}
	all := meta.Version(d.noted.Load())
	if err := d.sync(); err != nil {
		return err
	}
	d.upTo = all
	return nil
}

// stored returns when the entries before v, which were read from the stream, are
// in it for good.
func (w *work) stored(ctx context.Context, v meta.Version) error {
	if lead := w.lead.Load(); lead != nil {
		if err := (*lead).Wait(ctx, v); err == nil || ctx.Err() != nil {
			return err
		}
		// It leads no more. What was read is in the stream nonetheless.
	}
	return w.durable.reach(v)
}

// trouble shows that the files cannot be written, or can be again. Metaloggers
// are served meanwhile.
func (w *work) trouble(err error) {
	if err != nil || w.ailing.Load() {
		w.ailing.Store(err != nil)
		w.fail(err)
	}
}

// follow writes what the stream has to the changelog files.
func (w *work) follow(ctx context.Context) error {
	end, err := w.src.End(ctx)
	if err != nil {
		return err
	}
	r := w.src.Read(w.j.position())
	defer r.Close()
	settled := false
	for {
		if at := w.j.position().Version; !settled && at >= end.Version {
			if err := w.j.settle(); err != nil {
				return err
			}
			settled = true
		}
		b, err := r.Next(ctx)
		if err != nil {
			return fmt.Errorf("reading the stream at version %d: %w", w.j.position().Version, err)
		}
		if err := w.stored(ctx, b.End.Version); err != nil {
			return err
		}
		for {
			err := w.j.append(b.Entries, b.End)
			w.trouble(err)
			if err == nil {
				break
			}
			if !pause(ctx, retryEvery) {
				return ctx.Err()
			}
		}
		w.mu.Lock()
		w.status.Written = b.End.Version
		w.mu.Unlock()
	}
}
