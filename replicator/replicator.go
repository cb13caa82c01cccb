// Package replicator brings the entries of a primary into its cluster's
// stream: from the tap, through a spool on disk, to the one writer of the
// present epoch. It decides where to begin and when only a new base image
// helps. cmd runs it.
package replicator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/spool"
	"mfsstandby/replicator/stream"
	"mfsstandby/replicator/tap"
)

// Config says what is replicated, from where. Exactly one of Primary,
// ChangelogDir, MetadataDir and Files is set.
type Config struct {
	Primary      string   // HOST or HOST:PORT of a master's metalogger port
	ChangelogDir string   // data directory of a master on this host, to be followed
	MetadataDir  string   // directory to which metadata and changelog files are copied time and again
	Files        []string // plain changelog files, read to their end; they need Base
	Base         string   // metadata file that Files continue

	Dir      string        // its own: spool and downloads
	SpoolMax int64         // bytes the spool may take; 0 means 4 GiB
	Sync     string        // "always": the spool is on disk before an entry is published; "interval" (default): soon after
	MetaID   uint64        // of the cluster that is expected; 0 means any
	Replicas int           // NATS servers that keep each message; 0 means 1
	Shared   bool          // other processes may be taps of the same primary: one at a time is, by a lease
	Silence  time.Duration // of a primary, after which the connection is made anew, 3 s at least; 0: 10 s
	TakeOver bool          // follow the primary though a leader wrote to the stream: what that one accepted may be given up
	Term     string        // of a hand-over to the primary: what was written under it is continued, and what is written carries it
	Who      string        // this process, for people; default is the host's name
	Logger   *slog.Logger
	Events   *events.Log // nil means one of its own

	// Busy, if set, tells whether others on this host need the processors: entries
	// are gathered for a moment then, as each batch costs much more than an entry.
	Busy func() bool
}

// Validate says what is wrong, and fills in defaults.
func (c *Config) Validate() error {
	sources := 0
	for _, set := range []bool{c.Primary != "", c.ChangelogDir != "", c.MetadataDir != "", len(c.Files) > 0} {
		if set {
			sources++
		}
	}
	switch {
	case sources != 1:
		return errors.New("say what to follow: one of a primary, a changelog directory, a directory of copies and changelog files")
	case len(c.Files) > 0 && c.Base == "":
		return errors.New("changelog files need the metadata file that they continue")
	case len(c.Files) == 0 && c.Base != "":
		return errors.New("a metadata file is given for changelog files only")
	case c.Dir == "":
		return errors.New("the tap has no data directory")
	case c.Sync != "" && c.Sync != "always" && c.Sync != "interval":
		return fmt.Errorf("sync %q: use always or interval", c.Sync)
	}
	if c.Who == "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		c.Who = host
	}
	if c.SpoolMax == 0 {
		c.SpoolMax = 4 << 30
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Events == nil {
		c.Events = events.New(events.Keep)
	}
	return nil
}

// Replicator replicates one cluster. Status may be called at any time.
type Replicator struct {
	cfg    Config
	conn   *stream.Conn
	log    *slog.Logger
	origin origin

	spool   *spool.Spool
	opened  atomic.Pointer[spool.Spool] // the same, for Status
	cluster *stream.Cluster
	writer  *stream.Writer
	stored  chan struct{} // tells harden that something is in the stream

	turn      *turn  // nil: this tap shares with nobody
	announced bool   // as a member of the cluster
	rebased   string // why a new base image was needed last

	background sync.WaitGroup

	status tracker
}

// New prepares replication; Run does it.
func New(cfg Config, conn *stream.Conn) (*Replicator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Replicator{cfg: cfg, conn: conn, log: cfg.Logger.With("part", part), stored: make(chan struct{}, 1)}
	r.status.log, r.status.events = r.log, r.cfg.Events
	switch {
	case cfg.Primary != "":
		live, err := newLiveOrigin(&r.cfg, r.status.tapEvent)
		if err != nil {
			return nil, err
		}
		r.origin, r.status.live = live, live.live
		r.status.now.Source = cfg.Primary
	case cfg.ChangelogDir != "":
		r.origin = newDirOrigin(tap.DirConfig{Path: cfg.ChangelogDir, Restarts: true, Event: r.status.tapEvent})
		r.status.now.Source = cfg.ChangelogDir
	case cfg.MetadataDir != "":
		copies := tap.CopiesConfig{Path: cfg.MetadataDir, Event: r.status.tapEvent}
		if err := copies.Validate(); err != nil {
			return nil, err
		}
		r.origin = newCopiesOrigin(copies)
		r.status.now.Source = cfg.MetadataDir
	default:
		r.origin = newFileOrigin(cfg.Base, cfg.Files)
		r.status.now.Source = fmt.Sprintf("%d changelog files", len(cfg.Files))
	}
	return r, nil
}

// Run replicates until ctx ends or a finite source does: both return nil when
// all that was received is in the stream or in the spool. Any other error
// needs a person.
func (r *Replicator) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer r.background.Wait()
	defer cancel()
	r.background.Go(func() { r.origin.run(ctx) })
	for {
		err := r.run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if r.cfg.Shared && (errors.Is(err, stream.ErrFenced) || errors.Is(err, ErrLed) || errors.Is(err, errNotMine)) {
			if err != errNotMine { // else it has been told
				r.status.wait(err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(sharedRetry):
			}
			continue
		}
		if err != nil {
			r.status.fail(err)
		}
		return err
	}
}

func (r *Replicator) run(ctx context.Context) error {
	mode := spool.SyncInterval
	if r.cfg.Sync == "always" {
		mode = spool.SyncAlways
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var err error
	r.spool, err = spool.Open(spool.Config{Dir: filepath.Join(r.cfg.Dir, "spool"), Max: r.cfg.SpoolMax, Mode: mode})
	if err != nil {
		return err
	}
	defer r.spool.Close()
	r.opened.Store(r.spool)
	r.announced = false // what announced it has ended with the last turn
	if r.cfg.Shared {
		t, err := r.awaitTurn(ctx, cancel)
		if err != nil {
			return err
		}
		defer t.release()
		r.turn = t
	}
	src, err := r.startPatiently(ctx)
	for err == nil {
		err = r.pump(ctx, src)
		switch {
		case ctx.Err() != nil:
			src.Close()
			return context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return src.Close()
		case errors.Is(err, stream.ErrLost):
			r.status.event(slog.LevelError, events.StreamLost, "the stream lost entries that it had acknowledged; they are appended again", err)
			if err = r.openWriter(ctx); err == nil {
				src, err = r.resume(ctx, src)
			}
		case errors.Is(err, tap.ErrGap), errors.Is(err, tap.ErrRestarted), errors.Is(err, tap.ErrUpgraded), errors.Is(err, tap.ErrDiverged), errors.Is(err, stream.ErrDiverged):
			src, err = r.rebase(ctx, src, err)
		}
		if err != nil && ctx.Err() == nil && stream.Away(err) && !errors.Is(err, errNotMine) {
			if src != nil {
				src.Close()
			}
			src, err = r.startPatiently(ctx)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx) // not what the step says that was cut off: Run goes on when this turn ends
	}
	return err
}

// startPatiently starts, again while NATS is away.
func (r *Replicator) startPatiently(ctx context.Context) (tap.Source, error) {
	told := ""
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		src, err := r.start(ctx)
		if err == nil || ctx.Err() != nil || !stream.Away(err) {
			return src, err
		}
		if text := err.Error(); text != told {
			r.status.event(slog.LevelWarn, events.NATSAway, "NATS does not answer, trying again", err)
			told = text
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// start finds out which cluster this is and where to go on.
func (r *Replicator) start(ctx context.Context) (_ tap.Source, err error) {
	if err := r.conn.Lost(); err != nil {
		return nil, err // before the primary is asked for its metadata
	}
	id := r.cfg.MetaID
	if pos, err := r.spool.Position(); err == nil {
		if id != 0 && id != pos.First.MetaID {
			return nil, fmt.Errorf("the spool in %s is of cluster %016X, not %016X: give another data directory", r.cfg.Dir, pos.First.MetaID, id)
		}
		id = pos.First.MetaID
	}
	var first *start
	defer func() {
		if err != nil && first != nil {
			first.src.Close()
		}
	}()
	if id == 0 {
		if first, err = r.getBase(ctx, 0, 0); err != nil {
			return nil, err
		}
		defer first.cleanup()
		id = first.base.MetaID
	}
	if r.cluster, err = r.conn.Open(ctx, stream.ClusterConfig{MetaID: id, Replicas: r.cfg.Replicas}); err != nil {
		return nil, err
	}
	r.status.cluster(id)
	if r.turn != nil {
		if err := r.turn.take(ctx, r.cluster, false); err != nil {
			return nil, err
		}
	}
	if err := r.openWriter(ctx); err != nil {
		return nil, err
	}
	if !r.announced {
		r.announced = true
		cluster := r.cluster
		r.background.Go(func() { cluster.Announce(ctx, r.describe) })
	}
	if r.writer.Next() != 0 {
		var old tap.Source
		if first != nil {
			old = first.src
		}
		return r.resume(ctx, old)
	}
	if first == nil {
		if first, err = r.getBase(ctx, id, 0); err != nil {
			return nil, err
		}
		defer first.cleanup()
	}
	return first.src, r.begin(ctx, first, "first base image")
}

// ErrLed says that the stream belongs to a leader, so that a primary is not to
// be followed: it may be the one that the leader took over from.
var ErrLed = errors.New("a standby was promoted, and leads this cluster since")

// openWriter makes this process the one that appends, unless a leader is. One
// that leads after this has looked is not fenced either: opening an epoch fails
// when something was stored since.
func (r *Replicator) openWriter(ctx context.Context) error {
	w, err := r.cluster.OpenWriter(ctx, stream.WriterConfig{Who: r.cfg.Who, Release: r.origin.release(), Leads: r.cfg.Term != "", As: r.cfg.Term})
	if err != nil {
		return err
	}
	why := "the tap started"
	if w.Led() && (r.cfg.Term == "" || w.LedAs() != r.cfg.Term) {
		if !r.cfg.TakeOver {
			return fmt.Errorf("%w: its entries are not those of the primary; to follow the primary again nonetheless, use --take-over", ErrLed)
		}
		why = "the tap takes over from a leader"
	}
	r.writer = w
	if w.Next() == 0 {
		return nil
	}
	if err := w.Open(ctx, why, time.Now()); err != nil {
		return err
	}
	r.cfg.TakeOver = false // once: who is promoted from now on stays
	return nil
}

// resume goes on from the spool's end, or the stream's when the spool does not
// reach it.
func (r *Replicator) resume(ctx context.Context, old tap.Source) (tap.Source, error) {
	if old != nil {
		old.Close()
	}
	end := r.writer.End()
	at := tap.Position{Next: end.Version, MetaID: r.cluster.MetaID()}
	pos, err := r.spool.Position()
	switch {
	case err == nil && pos.First.Next <= end.Version && end.Version <= pos.End:
		at.Next, at.Last = pos.End, pos.Last
	case err == nil && pos.First.Next > end.Version:
		return r.rebase(ctx, nil, &tap.GapError{Want: end.Version, Have: pos.First.Next, Source: "the spool", Reason: "the stream ends before it"})
	case err == nil || errors.Is(err, spool.ErrEmpty):
		if at.Last, err = r.cluster.LastText(ctx); err != nil {
			return nil, err
		}
		if err := r.resetSpool(); err != nil {
			return nil, err
		}
	default:
		return nil, err
	}
	r.status.position(r.writer, at.Next)
	r.status.event(slog.LevelInfo, events.Following, fmt.Sprintf("going on at version %d", at.Next), nil)
	return r.origin.resume(at)
}

// resetSpool empties the spool and lets it continue at the stream's end.
func (r *Replicator) resetSpool() error {
	end := r.writer.End()
	return r.spool.Reset(spool.Start{MetaID: r.cluster.MetaID(), Epoch: end.Epoch, Next: end.Version, Chain: end.Chain})
}

// start is a base image and the source that continues it.
type start struct {
	base    tap.Base
	src     tap.Source
	cleanup func()
}

// getBase waits until the origin has a base image newer than a version.
func (r *Replicator) getBase(ctx context.Context, metaid uint64, after meta.Version) (*start, error) {
	for {
		b, src, cleanup, err := r.origin.base(ctx, metaid)
		if err == nil {
			stale := b.Release == meta.Release16 && r.primary().Since(meta.Release2)
			if b.Version > after && !stale {
				return &start{b, src, cleanup}, nil
			}
			err = fmt.Errorf("the newest metadata file, %s, is of version %d: %w after it", b.Path, b.Version, tap.ErrGap)
			if stale {
				// Which version it makes of that depends on the files that were open.
				err = fmt.Errorf("MooseFS %s has not stored its metadata since it was upgraded from 1.6: %w", r.origin.release(), os.ErrNotExist)
			}
			src.Close()
			cleanup()
		}
		if r.cfg.Base != "" || !errors.Is(err, os.ErrNotExist) && !errors.Is(err, tap.ErrGap) {
			return nil, err
		}
		r.status.event(slog.LevelWarn, events.Waiting, "waiting for a metadata file to start from; mfsmaster stores one at each full hour and when it is stopped", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(baseRetry):
		}
	}
}

// primary is the release of the primary; 1.6 counts for one that is not known.
func (r *Replicator) primary() meta.Release {
	return max(meta.ParseRelease(r.origin.release()), meta.Release16)
}

// baseRetry is how long to wait for a master to store its metadata.
const baseRetry = 5 * time.Second

// begin stores a base image and lets the stream continue from it.
func (r *Replicator) begin(ctx context.Context, s *start, why string) error {
	f, err := os.Open(s.base.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	release := r.origin.release()
	r.writer.SetRelease(release)
	if _, err := r.cluster.PutBase(ctx, stream.Base{Version: s.base.Version, Epoch: r.writer.End().Epoch, Release: release}, f); err != nil {
		return err
	}
	if err := r.writer.Rebase(ctx, s.base.Version, why, time.Now()); err != nil {
		return err
	}
	r.status.event(slog.LevelInfo, events.NewBase, fmt.Sprintf("the stream continues from base image %d: %s", s.base.Version, why), nil)
	r.status.position(r.writer, s.base.Version)
	return r.resetSpool()
}

// rebase starts over from a new base image: nothing else helps. Where not even
// that does, it returns the cause.
func (r *Replicator) rebase(ctx context.Context, old tap.Source, cause error) (tap.Source, error) {
	if again := cause.Error() == r.rebased; again || r.repeats(ctx, cause) {
		if old != nil {
			old.Close()
		}
		return nil, fmt.Errorf("%w; a new base image does not help: repair the changelog files", cause)
	}
	r.rebased = cause.Error()
	level, code, what := slog.LevelError, events.Gap, "entries cannot be continued; a new base image is needed"
	switch {
	case errors.Is(cause, tap.ErrRestarted):
		level, code, what = slog.LevelWarn, events.Restarted, "going on from the metadata that the primary loaded"
	case errors.Is(cause, tap.ErrUpgraded):
		level, code, what = slog.LevelWarn, events.Upgraded, "going on from metadata that the new release stored"
	case !errors.Is(cause, tap.ErrGap):
		code = events.Diverged
	}
	r.status.event(level, code, what, cause)
	if old != nil {
		old.Close()
	}
	if r.cfg.Base != "" {
		return nil, cause // files have no other
	}
	var after meta.Version
	if errors.Is(cause, tap.ErrGap) || errors.Is(cause, tap.ErrRestarted) {
		after = r.writer.Next() - 1
	}
	s, err := r.getBase(ctx, r.cluster.MetaID(), after)
	if err != nil {
		return nil, err
	}
	defer s.cleanup()
	return s.src, r.begin(ctx, s, cause.Error())
}

// repeats tells whether files that seem to go back only hold an entry twice:
// then the primary's history is what it was.
func (r *Replicator) repeats(ctx context.Context, cause error) bool {
	var d *tap.DivergedError
	if r.cfg.ChangelogDir == "" || !errors.As(cause, &d) || d.Seen == nil {
		return false
	}
	pos, err := r.spool.Position()
	if err != nil || d.Version < pos.First.Next || d.Version >= pos.End {
		return false
	}
	reader, err := r.spool.Read(d.Version)
	if err != nil {
		return false
	}
	batch, err := reader.Next(ctx)
	return err == nil && batch.Entries[0].Version == d.Version && bytes.Equal(batch.Entries[0].Text, d.Seen)
}
