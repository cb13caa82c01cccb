// Package standby keeps an image of a cluster's metadata up to date from its
// stream: it loads a base image where it has none or its own no longer fits,
// applies what follows, and tells how far it is. It puts image, metafile and
// apply together; cmd runs it.
package standby

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby/apply"
	"mfsstandby/standby/image"
	"mfsstandby/standby/metafile"
)

// Config says where a standby keeps its state and what it follows.
type Config struct {
	Dir         string           // its own; the image is in a directory below it
	Cache       int64            // bytes of cached pages; 0 means image.DefaultCache
	CommitEvery time.Duration    // 0 means one second
	MetaID      uint64           // of the cluster; 0 means that of the image, or of the only stream there is
	BaseEvery   time.Duration    // how old the newest base image may become before this image is stored as one; 0 stores none
	Keep        stream.Retention // of base images in the stream, with their entries; the zero value keeps two
	Delay       time.Duration    // how long entries wait, since the tap received them, before they are applied
	ViewWait    time.Duration    // how long a new base image waits for views of the old one; 0 means one minute
	Logger      *slog.Logger     // nil means slog.Default
	Events      *events.Log      // nil means one of its own

	// Received, if set, is the version after what the tap of this process has
	// received: what waits in its spool is lag too. It must be quick.
	Received func() meta.Version

	// Applied, if set, is told how long a batch took from the tap's receipt
	// until it could be read. It must be quick.
	Applied func(took time.Duration, entries int)

	// Watch, if set, is told of each entry that was applied, as apply.Config says.
	Watch func(op changelog.Op, st *meta.State)
	// Busy, if set, tells whether others on this host need the processors; see
	// apply.Config.
	Busy func() bool
}

// Standby follows one cluster. Its methods are safe for concurrent use.
type Standby struct {
	cfg  Config
	conn *stream.Conn
	log  *slog.Logger

	mu      sync.Mutex // guards what follows
	img     *image.Image
	cluster *stream.Cluster
	state   State
	err     error
	release string
	members []Member
	meter   meter
	held    *hold  // nil: this follows
	pause   func() // ends applying

	loaded meta.Version // base image loaded last by this process; follow's

	synced atomic.Pointer[stream.Cluster] // the same as cluster, for commits

	last atomic.Pointer[apply.Batch] // of the applied
	done atomic.Uint64               // entries applied since the start

	delay delay

	measured atomic.Int64 // when the stream's end was seen last, Unix ns; 0: never
	behind   atomic.Int64 // since when entries have been waiting then; 0: none were
	took     latencies
}

// ErrNoImage says that there is no image yet.
var ErrNoImage = errors.New("there is no image yet: no base image was loaded")

// New opens the image, if there is one, so that it can be read at once; Run
// brings it up to date.
func New(cfg Config, conn *stream.Conn) (*Standby, error) {
	if cfg.Dir == "" {
		return nil, errors.New("the standby has no data directory")
	}
	if cfg.ViewWait == 0 {
		cfg.ViewWait = defaultViewWait
	}
	if cfg.Keep == (stream.Retention{}) {
		cfg.Keep.Keep = keptBases
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Events == nil {
		cfg.Events = events.New(events.Keep)
	}
	s := &Standby{cfg: cfg, conn: conn, log: cfg.Logger.With("part", part), state: Waiting, delay: newDelay()}
	if err := recoverSwap(cfg.Dir); err != nil {
		return nil, err
	}
	if _, err := os.Stat(ImageDir(cfg.Dir)); errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	err := s.open()
	if errors.Is(err, image.ErrLostTable) {
		err = s.giveUp(err)
	}
	return s, err
}

// giveUp puts an image aside that cannot be opened, until another one is loaded:
// the stream has all that it held.
func (s *Standby) giveUp(cause error) error {
	s.event(slog.LevelError, events.ImageLost, "the image cannot be opened; it is loaded anew from the stream", cause)
	old := filepath.Join(s.cfg.Dir, oldName)
	if err := errors.Join(os.RemoveAll(old), os.Rename(ImageDir(s.cfg.Dir), old)); err != nil {
		return errors.Join(cause, err)
	}
	return syncDir(s.cfg.Dir)
}

func (s *Standby) open() error {
	img, err := image.Open(image.Config{Dir: ImageDir(s.cfg.Dir), Cache: s.cfg.Cache, Logger: s.log, SyncLog: s.syncStream})
	if err != nil {
		return err
	}
	if img.Position().Version == 0 {
		return img.Close()
	}
	if id := img.MetaID(); s.cfg.MetaID != 0 && id != s.cfg.MetaID && !meta.MadeUpID(s.cfg.MetaID) {
		err := fmt.Errorf("the image in %s is of cluster %016X, not %016X: give another data directory", s.cfg.Dir, id, s.cfg.MetaID)
		return errors.Join(err, img.Close())
	}
	s.mu.Lock()
	s.img = img
	s.mu.Unlock()
	return nil
}

// Close commits and closes the image. Run must have returned. Who still holds a
// view finds that the image is closed.
func (s *Standby) Close() error {
	s.mu.Lock()
	img := s.img
	s.img = nil
	s.mu.Unlock()
	if img == nil {
		return nil
	}
	return img.Close()
}

// defaultViewWait is the default of Config.ViewWait.
const defaultViewWait = time.Minute

// retire lets those who hold views of the image finish, for a while. Until then
// the image goes on answering what needs no view.
func (s *Standby) retire(ctx context.Context) {
	img, err := s.Image()
	if err != nil {
		return
	}
	wait, cancel := context.WithTimeout(ctx, s.cfg.ViewWait)
	defer cancel()
	if img.Retire(wait) != nil && ctx.Err() == nil {
		s.event(slog.LevelWarn, events.BaseLoading, "the old image is still being read, by an export or the like, which is cut off", nil)
	}
}

// Image returns the image as it is now; after a reload there is another one.
func (s *Standby) Image() (*image.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.img == nil {
		return nil, ErrNoImage
	}
	return s.img, nil
}

// View returns the state at the present version, to be closed by the caller.
func (s *Standby) View() (*image.View, error) {
	img, err := s.Image()
	if err != nil {
		return nil, err
	}
	return img.View()
}

// Export writes the metadata at the present version as mfsmaster 3.0.117
// would, while entries go on being applied: to path, replaced when the file is
// complete, with its checksums beside it in crc unless that is empty.
func (s *Standby) Export(path, crc string, progress func(done int64)) (meta.Version, error) {
	v, err := s.View()
	if err != nil {
		return 0, err
	}
	defer v.Close()
	return v.Position().Version, WriteView(v, path, crc, progress)
}

// WriteView writes a view to a metadata file, as Export does.
func WriteView(v *image.View, path, crc string, progress func(done int64)) error {
	pos := v.Position()
	return metafile.File(path, crc, v.State(), metafile.Header{Version: pos.Version},
		metafile.WriteOptions{Progress: progress, Now: pos.Time})
}

// Run follows the stream until ctx ends. When it cannot go on by itself it
// stops at a whole version, says so in Status, and goes on serving that
// version until ctx ends; then it returns why. After an entry that could not be
// applied it goes on from a newer base image when there is one.
func (s *Standby) Run(ctx context.Context) error {
	err := s.follow(ctx)
	switch {
	case misapplied(err): // it was told, and no newer base image came
		return err
	case err == nil || ctx.Err() != nil:
		return nil
	}
	s.stopped(err)
	<-ctx.Done()
	return err
}

// follow opens the stream and applies it, again after each reload.
func (s *Standby) follow(ctx context.Context) error {
	if err := s.openCluster(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel()
	beside.Go(func() { s.measure(ctx) })
	beside.Go(func() { s.keepBases(ctx) })
	beside.Go(func() { s.cluster.Announce(ctx, s.describe) })
	for {
		if _, err := s.Image(); err != nil {
			if err := s.loadNewest(ctx); err != nil {
				return err
			}
		}
		s.setState(CatchingUp, nil)
		err := s.pausable(ctx)
		var rebase *stream.RebaseError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case s.handOver(ctx, err):
		case errors.As(err, &rebase):
			if err := s.rebase(ctx, rebase); err != nil {
				return err
			}
		case errors.Is(err, stream.ErrGap), errors.Is(err, stream.ErrDiverged):
			if s.fresh() {
				return err // no other base image will do better
			}
			s.event(slog.LevelError, misfit(err), "the image does not fit the stream; loading the newest base image", err)
			if err := s.loadNewest(ctx); err != nil {
				return err
			}
		case misapplied(err):
			s.stopped(err)
			if err := s.loadNewer(ctx, err); err != nil {
				return err
			}
		case err == nil:
			return errors.New("the stream ended")
		default:
			return err
		}
	}
}

// misfit is the code of an event about an image that the stream does not continue.
func misfit(err error) events.Code {
	if errors.Is(err, stream.ErrGap) {
		return events.Gap
	}
	return events.Diverged
}

// misapplied tells whether an entry could not be applied.
func misapplied(err error) bool {
	var refused *changelog.ApplyError
	var unknown *changelog.SyntaxError
	return errors.As(err, &refused) || errors.As(err, &unknown)
}

// stoppedPoll is how often a standby that is stopped looks for a base image.
const stoppedPoll = 2 * time.Second

// loadNewer waits for a base image that is past what could not be applied, and
// loads it: one that the tap stores when the primary was upgraded, or was started
// from other metadata, or that another standby stores. It returns why when ctx
// ends before there is one.
func (s *Standby) loadNewer(ctx context.Context, why error) error {
	var at image.Position
	if img, err := s.Image(); err == nil {
		at = img.Position()
	}
	for {
		bases, err := s.cluster.ListBases(ctx)
		if err == nil && len(bases) > 0 {
			newest := bases[len(bases)-1]
			if newest.Version > at.Version || uint64(newest.Epoch) > at.Epoch {
				s.event(slog.LevelWarn, events.NewBase, fmt.Sprintf("base image %d is newer than what could not be applied; going on from it", newest.Version), nil)
				return s.load(ctx, newest.Version)
			}
		}
		select {
		case <-ctx.Done():
			return why
		case <-time.After(stoppedPoll):
		}
	}
}

// fresh tells whether nothing was applied to the image since it was loaded by
// this process.
func (s *Standby) fresh() bool {
	return s.loaded != 0 && s.loaded == s.version()
}

// rebase moves to the base image from which the stream continues.
func (s *Standby) rebase(ctx context.Context, to *stream.RebaseError) error {
	if s.fresh() && s.loaded == to.Base {
		return fmt.Errorf("base image %d was loaded, and still the stream does not continue from it: %w", to.Base, to)
	}
	s.event(slog.LevelWarn, events.NewBase, "loading the base image from which the stream continues", to)
	err := s.load(ctx, to.Base)
	if errors.Is(err, stream.ErrNoBase) { // dropped meanwhile, for the sake of newer ones
		return s.loadNewest(ctx)
	}
	return err
}

func (s *Standby) version() meta.Version {
	img, err := s.Image()
	if err != nil {
		return 0
	}
	return img.Position().Version
}

// openCluster waits until the cluster's stream is there: the tap makes it.
func (s *Standby) openCluster(ctx context.Context) error {
	id := s.cfg.MetaID
	if img, err := s.Image(); err == nil && !meta.MadeUpID(id) {
		id = img.MetaID()
	}
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		var ids []uint64
		err := s.conn.Lost()
		if err == nil {
			ids, err = s.conn.Clusters(ctx)
		}
		switch {
		case err != nil:
		case slices.Contains(ids, id):
			return s.openStream(ctx, id)
		case len(ids) == 1 && (id == 0 || meta.MadeUpID(ids[0])): // the cluster may have got its id after its stream
			return s.openStream(ctx, ids[0])
		case id == 0 && len(ids) > 1:
			return fmt.Errorf("there are streams of %d clusters (%016X ...): say which one to follow with --metaid", len(ids), ids[0])
		case len(ids) > 0:
			err = fmt.Errorf("there is no stream of cluster %016X, only of %016X: if that is the one to follow, give another data directory", id, ids)
		}
		s.waitFor(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// waitFor tells what is missing, if anything is known about it.
func (s *Standby) waitFor(missing error) {
	s.mu.Lock()
	known := missing == nil || s.err != nil && s.err.Error() == missing.Error()
	s.state, s.err = Waiting, missing
	s.mu.Unlock()
	if !known {
		s.log.Warn("waiting for the stream", "err", missing)
	}
}

// openStream opens the stream of a cluster.
func (s *Standby) openStream(ctx context.Context, id uint64) error {
	var cluster *stream.Cluster
	err := s.patiently(ctx, func() (err error) {
		cluster, err = s.conn.Open(ctx, stream.ClusterConfig{MetaID: id})
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.cluster = cluster
	s.mu.Unlock()
	s.synced.Store(cluster)
	return nil
}

// syncStream makes durable what was read of the stream, where this process keeps
// it. It must not wait for mu: the image calls it.
func (s *Standby) syncStream() error {
	if c := s.synced.Load(); c != nil {
		return c.Sync()
	}
	return nil
}

// patiently does something again while NATS is away.
func (s *Standby) patiently(ctx context.Context, do func() error) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := do()
		if err == nil || ctx.Err() != nil || !stream.Away(err) {
			return err
		}
		s.setState(Waiting, err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// loadNewest waits for a base image and loads the newest.
func (s *Standby) loadNewest(ctx context.Context) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		bases, err := s.cluster.ListBases(ctx)
		if err == nil && len(bases) > 0 {
			// One that is gone meanwhile was dropped for the sake of newer ones.
			if err = s.load(ctx, s.choose(bases).Version); !errors.Is(err, stream.ErrNoBase) {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.setState(Waiting, err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// load replaces the image by a base image. The old one serves until then.
func (s *Standby) load(ctx context.Context, v meta.Version) error {
	s.event(slog.LevelInfo, events.BaseLoading, fmt.Sprintf("loading base image %d", v), nil)
	var file *os.File
	var base stream.Base
	err := s.patiently(ctx, func() (err error) {
		s.setState(Loading, nil)
		file, base, err = s.fetch(ctx, v)
		return err
	})
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	pos := image.Position{Epoch: uint64(base.Epoch), Release: base.Release, Chain: chainBytes(base.Chain)}
	fresh := filepath.Join(s.cfg.Dir, newName)
	if _, err := fill(fresh, file, LoadOptions{
		Cache: s.cfg.Cache, Name: fmt.Sprintf("base image %d", v), Size: base.Size, Logger: s.log, Position: pos,
		MetaID: s.cluster.MetaID(),
	}); err != nil {
		return err
	}
	s.retire(ctx)
	if err := s.Close(); err != nil {
		s.log.Warn("closing the old image", "err", err)
	}
	if err := swap(s.cfg.Dir); err != nil {
		return err
	}
	if err := s.open(); err != nil {
		return err
	}
	s.loaded = v
	s.event(slog.LevelInfo, events.BaseLoaded, fmt.Sprintf("base image %d is loaded", v), nil)
	return nil
}

// fetch brings a base image into a file, checked.
func (s *Standby) fetch(ctx context.Context, v meta.Version) (*os.File, stream.Base, error) {
	file, err := os.CreateTemp(s.cfg.Dir, fetchedName)
	if err != nil {
		return nil, stream.Base{}, err
	}
	base, err := s.cluster.GetBase(ctx, v, file)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		file.Close()
		os.Remove(file.Name())
		return nil, base, err
	}
	return file, base, nil
}

// apply follows the stream from where the image is.
func (s *Standby) apply(ctx context.Context) error {
	img, err := s.Image()
	if err != nil {
		return err
	}
	a := apply.New(img, s.source, apply.Config{
		CommitEvery: s.cfg.CommitEvery,
		CommitBytes: max(s.cfg.Cache, image.DefaultCache) / 8,
		Applied:     s.applied,
		Watch:       s.cfg.Watch,
		Busy:        s.cfg.Busy,
	})
	return a.Run(ctx)
}

func (s *Standby) applied(b *apply.Batch, pos image.Position) {
	s.done.Add(uint64(len(b.Entries)))
	took := max(time.Since(b.Received)-s.cfg.Delay, 0)
	s.took.add(took, len(b.Entries))
	if s.cfg.Applied != nil {
		s.cfg.Applied(took, len(b.Entries))
	}
	s.last.Store(&apply.Batch{Seq: b.Seq, Epoch: b.Epoch, Received: b.Received})
}

// source opens the stream where the image is.
func (s *Standby) source(_ context.Context, from meta.Version) (apply.Source, error) {
	img, err := s.Image()
	if err != nil {
		return nil, err
	}
	pos := img.Position()
	at := stream.Position{Version: from, Epoch: stream.Epoch(pos.Epoch), Seq: stream.Seq(pos.Seq), Chain: chainOf(pos.Chain)}
	return &streamSource{s: s, r: s.cluster.Reader(at, stream.ReaderConfig{})}, nil
}

// streamSource turns what the stream's reader gives into the applier's terms.
type streamSource struct {
	s    *Standby
	r    *stream.Reader
	held *apply.Batch // its turn has not come, see Config.Delay
}

func (src *streamSource) Next(ctx context.Context, into *apply.Batch) error {
	if src.s.cfg.Delay > 0 {
		return src.delayed(ctx, into)
	}
	return src.read(ctx, into)
}

func (src *streamSource) read(ctx context.Context, into *apply.Batch) error {
	for {
		b, err := src.r.Next(ctx)
		if err != nil {
			return err
		}
		if b.Control != nil {
			src.s.event(slog.LevelInfo, events.Epoch, fmt.Sprintf("epoch %d begins at version %d: %s, by %s",
				b.End.Epoch, b.End.Version, b.Control.Why, b.Control.Who), nil)
		}
		if len(b.Entries) == 0 {
			continue
		}
		src.s.setRelease(b.Release)
		*into = apply.Batch{
			Seq: uint64(b.End.Seq), Epoch: uint64(b.End.Epoch), Chain: chainBytes(b.End.Chain),
			Received: b.Received, Release: b.Release, Entries: b.Entries,
		}
		return nil
	}
}

func (src *streamSource) Close() error {
	src.r.Close()
	return nil
}

// chainBytes and chainOf turn a chain into what the image keeps of it, and back.
func chainBytes(c stream.Chain) (b [16]byte) {
	binary.BigEndian.PutUint64(b[:], c.Hi)
	binary.BigEndian.PutUint64(b[8:], c.Lo)
	return b
}

func chainOf(b [16]byte) stream.Chain {
	return stream.Chain{Hi: binary.BigEndian.Uint64(b[:]), Lo: binary.BigEndian.Uint64(b[8:])}
}
