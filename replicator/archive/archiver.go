package archive

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/stream"
)

// Config says what is archived where.
type Config struct {
	Dir    string
	MetaID uint64           // of the cluster; 0 means that of the archive, or of the only stream there is
	Every  time.Duration    // how long an entry waits for others at most; 0 means one minute
	Limits stream.Retention // what is kept; the zero value is everything
	Logger *slog.Logger     // nil means slog.Default
	Events *events.Log      // nil means one of its own
}

// Archiver keeps an archive up to date with the stream of a cluster.
type Archiver struct {
	cfg  Config
	conn *stream.Conn
	log  *slog.Logger
	d    disk

	cluster *stream.Cluster
	a       *Archive
	stale   int             // changes since the index was written
	pos     stream.Position // behind what is archived and what waits
	wait    waiting

	mu     sync.Mutex // guards what follows
	status Status
}

// Status tells how far an archive is.
type Status struct {
	Dir     string       `json:"dir"`
	Version meta.Version `json:"version"`      // of the next entry to archive
	Read    meta.Version `json:"read_version"` // of the next entry to read; those before wait at most
	Oldest  meta.Version `json:"oldest_version"`
	Bases   int          `json:"base_images"`
	Bytes   int64        `json:"bytes"`
	Error   string       `json:"error,omitempty"` // what it waits for
}

// waiting is the entries of the next file.
type waiting struct {
	info  Info
	text  []byte
	since time.Time // when the first of them came
}

const (
	defaultEvery = time.Minute
	lookEvery    = time.Minute // for new base images, at most
	indexEvery   = 64          // changes after which the index is written anew
	retryAfter   = 2 * time.Second
)

// NewArchiver makes the directory and looks what is in it. Run archives.
func NewArchiver(cfg Config, conn *stream.Conn) (*Archiver, error) {
	if cfg.Every == 0 {
		cfg.Every = defaultEvery
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Events == nil {
		cfg.Events = events.New(events.Keep)
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, err
	}
	a, err := Open(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if id := a.MetaID(); id != 0 && cfg.MetaID != 0 && id != cfg.MetaID && !meta.MadeUpID(cfg.MetaID) {
		return nil, fmt.Errorf("the archive in %s is of cluster %016X, not %016X: give another directory", cfg.Dir, id, cfg.MetaID)
	}
	w := &Archiver{cfg: cfg, conn: conn, a: a, d: disk{dir: cfg.Dir}, log: cfg.Logger.With("part", part)}
	w.tell(nil)
	return w, nil
}

// part is what this package is in the log and among the events.
const part = "archive"

// Status tells how far the archive is.
func (w *Archiver) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// tell makes the status; err is what it waits for.
func (w *Archiver) tell(err error) {
	st := Status{Dir: w.cfg.Dir, Bytes: w.a.Size()}
	end, _ := w.a.End(context.Background()) // it has no error
	st.Version = end.Version
	bases, _ := w.a.Bases(context.Background())
	if st.Bases = len(bases); st.Bases > 0 {
		st.Oldest = bases[0].Version
	}
	if err != nil {
		st.Error = err.Error()
	}
	w.mu.Lock()
	st.Read = w.status.Read
	w.status = st
	w.mu.Unlock()
}

// Run archives until ctx ends; what waits then is written before it returns. What
// goes wrong is told and tried again: an archive that cannot be written must not
// stop what it is to save.
func (w *Archiver) Run(ctx context.Context) error {
	lock, err := w.d.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	said := ""
	for {
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return w.finish()
		}
		w.tell(err)
		if text := err.Error(); text != said && !errors.Is(err, errNoStream) && !errors.Is(err, errNoBase) {
			said = text
			w.event(slog.LevelError, events.ArchiveFailed, "archiving; it is tried again", err)
		}
		select {
		case <-ctx.Done():
			return w.finish()
		case <-time.After(retryAfter):
		}
	}
}

// finish writes what waits and the index.
func (w *Archiver) finish() error { return errors.Join(w.flush(), w.writeIndex()) }

// follow archives from where the archive ends.
func (w *Archiver) follow(ctx context.Context) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	for {
		err := w.copyEntries(ctx)
		var rebase *stream.RebaseError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &rebase):
			w.event(slog.LevelWarn, events.NewBase, "archiving from the base image from which the stream continues", err)
			err = w.startAt(ctx, func(b stream.Base) bool { return b.Version == rebase.Base && b.Epoch >= rebase.Epoch })
		case errors.Is(err, stream.ErrGap):
			at := w.pos
			w.event(slog.LevelError, events.Gap, "the stream does not have what follows in the archive; archiving from a later base image", err)
			err = w.startAt(ctx, func(b stream.Base) bool {
				return b.Epoch > at.Epoch || b.Epoch == at.Epoch && b.Version > at.Version
			})
		case errors.Is(err, stream.ErrDiverged):
			w.event(slog.LevelError, events.Diverged, "the archive is not of the history of this stream", err)
			return fmt.Errorf("%w: archive to another directory", err)
		}
		if err != nil {
			return err
		}
	}
}

// What an archiver waits for when all is new.
var (
	errNoStream = errors.New("there is no stream to archive yet")
	errNoBase   = errors.New("there is no base image to archive from in the stream yet")
)

// begin looks at the archive anew and finds where it continues.
func (w *Archiver) begin(ctx context.Context) error {
	if err := w.d.clean(); err != nil {
		return err
	}
	w.wait = waiting{}
	if err := w.a.load(); err != nil {
		return err
	}
	if err := w.openCluster(ctx); err != nil {
		return err
	}
	if err := w.setAside(); err != nil {
		return err
	}
	if err := w.prune(); err != nil {
		return err
	}
	if len(w.a.files) == 0 {
		return w.startAt(ctx, func(stream.Base) bool { return true })
	}
	w.pos, _ = w.a.End(ctx) // it has no error
	return nil
}

// setAside renames what is no good at the end of the archive, so that it is
// written anew: a file system that loses its power may keep the name of a file and
// not all of its content. The stream has it still. What is no good further back
// stays a gap, which Check shows.
func (w *Archiver) setAside() error {
	for len(w.a.files) > 0 {
		last := &w.a.files[len(w.a.files)-1]
		err := w.d.get(last, io.Discard)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrDamaged) {
			return err
		}
		w.a.bad = append(w.a.bad, Problem{last.name(), err.Error()})
		w.a.files = w.a.files[:len(w.a.files)-1]
	}
	for _, p := range w.a.bad {
		w.event(slog.LevelError, events.ArchiveFailed, "a damaged file was put aside as "+asidePrefix+p.File+": "+p.Text, nil)
		if err := w.d.rename(p.File, asidePrefix+p.File); err != nil {
			return err
		}
	}
	w.a.bad = nil
	return nil
}

// openCluster waits for the stream.
func (w *Archiver) openCluster(ctx context.Context) error {
	if w.cluster != nil {
		return nil
	}
	id := cmp.Or(w.a.MetaID(), w.cfg.MetaID)
	ids, err := w.conn.Clusters(ctx)
	switch {
	case err != nil:
		return err
	case len(ids) == 1 && (id == 0 || meta.MadeUpID(id)):
		id = ids[0]
	case !slices.Contains(ids, id):
		return fmt.Errorf("%w of cluster %016X; there are those of %016X", errNoStream, id, ids)
	}
	w.cluster, err = w.conn.Open(ctx, stream.ClusterConfig{MetaID: id})
	return err
}

// startAt copies the oldest base image that fits and continues there.
func (w *Archiver) startAt(ctx context.Context, fits func(stream.Base) bool) error {
	bases, err := w.cluster.ListBases(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(bases, fits)
	if i < 0 {
		return errNoBase
	}
	if err := w.copyBase(ctx, bases[i]); err != nil {
		return err
	}
	w.pos = bases[i].Position()
	return nil
}

// copyBases copies the base images that are in the stream and not here, and drops
// what was kept long enough. None goes ahead of the entries that lead to it: the
// newest file tells where the archive continues.
func (w *Archiver) copyBases(ctx context.Context) error {
	bases, err := w.cluster.ListBases(ctx)
	if err != nil || len(w.a.files) == 0 {
		return err
	}
	first := w.a.files[0]
	end, _ := w.a.End(ctx) // it has no error
	for _, b := range bases {
		older := b.Epoch < first.Epoch || b.Epoch == first.Epoch && b.Version < first.First
		ahead := b.Epoch > end.Epoch || b.Epoch == end.Epoch && b.Version > end.Version
		if older || ahead || w.has(b) {
			continue
		}
		if err := w.copyBase(ctx, b); err != nil {
			return err
		}
	}
	return w.prune()
}

func (w *Archiver) has(b stream.Base) bool {
	return slices.ContainsFunc(w.a.files, func(f Info) bool {
		return f.Kind == BaseImage && f.Epoch == b.Epoch && f.First == b.Version
	})
}

func (w *Archiver) copyBase(ctx context.Context, b stream.Base) error {
	if w.has(b) {
		return nil
	}
	info := Info{Kind: BaseImage, MetaID: b.MetaID, Epoch: b.Epoch, First: b.Version, Next: b.Version,
		Before: b.Chain, After: b.Chain, Release: b.Release, Created: b.Created.UTC()}
	info, err := w.d.putData(info, func(out io.Writer) error {
		got, err := w.cluster.GetBase(ctx, b.Version, out)
		if err == nil && got.Position() != b.Position() {
			err = fmt.Errorf("base image %d was replaced meanwhile", b.Version)
		}
		return err
	})
	if err != nil {
		return err
	}
	w.event(slog.LevelInfo, events.Archived, fmt.Sprintf("base image %d is archived", b.Version), nil)
	return w.added(info)
}

// added takes note of a new file.
func (w *Archiver) added(info Info) error {
	w.a.files = append(w.a.files, info)
	w.a.sort()
	w.tell(nil)
	if w.stale++; w.stale < indexEvery {
		return nil
	}
	return w.writeIndex()
}

func (w *Archiver) writeIndex() error {
	if w.stale == 0 {
		return nil
	}
	err := w.d.put(indexName, func(out io.Writer) error {
		return json.NewEncoder(out).Encode(indexFile{Format: format, Files: w.a.files})
	})
	if err == nil {
		w.stale = 0
	}
	return err
}

// copyEntries copies what the stream gives until that is an error.
func (w *Archiver) copyEntries(ctx context.Context) error {
	read, stop := w.read(ctx)
	defer stop()
	w.tellRead()
	var looked time.Time
	for {
		if time.Since(looked) > min(w.cfg.Every, lookEvery) {
			if err := w.copyBases(ctx); err != nil {
				return err
			}
			looked = time.Now()
		}
		b, err := w.next(ctx, read)
		if err != nil {
			if flushErr := w.flush(); flushErr != nil {
				return flushErr
			}
			return err
		}
		if b != nil {
			if err := w.take(b); err != nil {
				return err
			}
			w.tellRead()
		}
		if len(w.wait.text) > 0 && time.Since(w.wait.since) >= w.cfg.Every {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
}

func (w *Archiver) tellRead() {
	w.mu.Lock()
	w.status.Read = w.pos.Version
	w.mu.Unlock()
}

// batchRead is what one call of the stream's reader gave.
type batchRead struct {
	batch *stream.Batch
	err   error
}

// read hands over what the stream gives, until that is an error. The reader has a
// goroutine of its own because it must not be hurried: finding its place in a long
// stream may take longer than entries may wait. stop ends it.
func (w *Archiver) read(ctx context.Context) (read <-chan batchRead, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	r := w.cluster.Reader(w.pos, stream.ReaderConfig{})
	c, ended := make(chan batchRead), make(chan struct{})
	go func() {
		defer close(ended)
		defer r.Close()
		for {
			b, err := r.Next(ctx)
			select {
			case c <- batchRead{b, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return c, func() { cancel(); <-ended }
}

// next waits for a batch until something else is to be done; then it is nil.
func (w *Archiver) next(ctx context.Context, read <-chan batchRead) (*stream.Batch, error) {
	wait := min(w.cfg.Every, lookEvery)
	if len(w.wait.text) > 0 {
		wait = max(time.Millisecond, min(wait, w.cfg.Every-time.Since(w.wait.since)))
	}
	select {
	case r := <-read:
		return r.batch, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(wait):
		return nil, nil
	}
}

// take adds a batch to what waits.
func (w *Archiver) take(b *stream.Batch) error {
	if b.Control != nil {
		err := w.flush()
		w.pos = b.End
		return err
	}
	if len(w.wait.text) > 0 && (w.wait.info.Epoch != b.End.Epoch || w.wait.info.Release != b.Release) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	chain := w.pos.Chain
	if len(w.wait.text) == 0 {
		if chain.IsZero() {
			return fmt.Errorf("the hash chain at version %d is not known", w.pos.Version)
		}
		w.wait.since = time.Now()
		w.wait.info = Info{Kind: Entries, MetaID: w.cluster.MetaID(), Epoch: b.End.Epoch, First: w.pos.Version, Before: chain, Release: b.Release}
	}
	i := &w.wait.info
	for _, e := range b.Entries {
		if slices.Contains(e.Text, '\n') {
			return fmt.Errorf("entry %d has a line break: %q", e.Version, e.Text)
		}
		w.wait.text = appendLine(w.wait.text, e)
		if t := e.Time(); t != 0 {
			i.Newest = max(i.Newest, t)
			if i.Oldest == 0 || t < i.Oldest {
				i.Oldest = t
			}
		}
	}
	i.Next, i.After, i.Created = b.End.Version, b.End.Chain, b.Received.UTC()
	w.pos = b.End
	if len(w.wait.text) >= segmentBytes {
		return w.flush()
	}
	return nil
}

// flush writes what waits.
func (w *Archiver) flush() error {
	if len(w.wait.text) == 0 {
		return nil
	}
	info, err := w.d.putData(w.wait.info, func(out io.Writer) error {
		_, err := out.Write(w.wait.text)
		return err
	})
	if err != nil {
		return err
	}
	w.wait.text, w.wait.info = w.wait.text[:0], Info{}
	return w.added(info)
}

// prune drops the oldest base images beyond the limits, and what only they need.
// It also ends what a prune before it began.
func (w *Archiver) prune() error {
	if w.cfg.Limits == (stream.Retention{}) {
		return nil
	}
	for {
		bases, _ := w.a.Bases(context.Background()) // it has no error
		if len(bases) == 0 {
			return nil
		}
		// First the image: entries without one are of no use, the other way
		// round a restore would start and not get on.
		if err := w.drop(func(f Info) bool { return f.Kind == Entries && f.endsBefore(bases[0]) }); err != nil {
			return err
		}
		if !w.cfg.Limits.DropOldest(bases, time.Now(), w.a.Size()) {
			return nil
		}
		oldest, next := bases[0], bases[1]
		if err := w.drop(func(f Info) bool {
			return f.Kind == BaseImage && f.Epoch == oldest.Epoch && f.First == oldest.Version
		}); err != nil {
			return err
		}
		w.event(slog.LevelInfo, events.Archived, fmt.Sprintf("base image %d was dropped from the archive, which begins at version %d", oldest.Version, next.Version), nil)
	}
}

func (i *Info) endsBefore(b stream.Base) bool {
	return i.Epoch < b.Epoch || i.Epoch == b.Epoch && i.Next <= b.Version
}

// drop removes the files that are no longer wanted.
func (w *Archiver) drop(unwanted func(Info) bool) error {
	for i := 0; i < len(w.a.files); {
		f := w.a.files[i]
		if !unwanted(f) {
			i++
			continue
		}
		if err := w.d.remove(f.name()); err != nil {
			return err
		}
		w.a.files = slices.Delete(w.a.files, i, i+1)
		w.stale++
	}
	w.tell(nil)
	return nil
}

func (w *Archiver) event(level slog.Level, code events.Code, text string, err error) {
	if err != nil {
		text += ": " + err.Error()
	}
	w.log.Log(context.Background(), level, text)
	w.cfg.Events.Add(part, level, code, text)
}
