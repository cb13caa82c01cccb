// Package apply brings the entries of the stream into the image, in order and
// each exactly once. It parses ahead of applying, and commits now and then; a
// crash costs only the entries since the last commit, which come again.
//
// An entry that the image cannot reproduce stops it: the image goes back to
// its last commit and forward again to the version before that entry.
package apply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
)

// Batch is consecutive entries as they travelled together.
type Batch struct {
	Seq      uint64   // stream sequence; 0 without a stream
	Epoch    uint64   // of all its entries
	Chain    [16]byte // hash chain after its last entry
	Received time.Time
	Release  string          // of the primary, "4.59.2"; empty if not known
	Entries  []meta.RawEntry // the batch owns their memory
	text     []byte          // what Copy copied them to
}

// Copy makes the entries of the batch copies of these, in the memory that it
// has from before.
func (b *Batch) Copy(entries []meta.RawEntry) {
	n := 0
	for _, e := range entries {
		n += len(e.Text)
	}
	b.text, b.Entries = slices.Grow(b.text[:0], n), slices.Grow(b.Entries[:0], len(entries))
	for _, e := range entries {
		at := len(b.text)
		b.text = append(b.text, e.Text...)
		b.Entries = append(b.Entries, meta.RawEntry{Version: e.Version, Text: b.text[at:len(b.text):len(b.text)]})
	}
}

// Source yields batches in version order. It returns io.EOF where there is an
// end.
type Source interface {
	// Next fills a batch, which held another one before: what was in that is
	// not needed any more. The Source may keep memory of Entries only if it
	// never changes it.
	Next(ctx context.Context, b *Batch) error
}

// OpenFunc opens a Source that begins with the batch that holds a version.
type OpenFunc func(ctx context.Context, from meta.Version) (Source, error)

// Config adjusts an Applier.
type Config struct {
	// CommitEvery is the time between commits; 0 means one second. While a
	// backlog is worked off, or Busy, it is ten times that: pages change over and
	// over then, and what a crash costs comes again as fast.
	CommitEvery time.Duration
	// Busy, if set, tells whether others on this host need the processors.
	Busy func() bool
	// CommitBytes is how much of the cache may wait for a commit; 0 means an
	// eighth of image.DefaultCache.
	CommitBytes int64
	// Until, if not 0, is the version to stop at, with io.EOF.
	Until meta.Version
	// Watch, if set, is told of each entry right after it was applied, before
	// readers can see that. It must be quick, and change nothing.
	Watch func(op changelog.Op, st *meta.State)
	// Around, if set, sees the state before and after each entry.
	Around Watcher
	// Applied, if set, is told of each batch after readers can see it.
	Applied func(b *Batch, pos image.Position)
}

// Watcher looks at the state before and after each entry that is applied. It must
// change nothing and scan nothing but small tables. An error stops the Applier.
type Watcher interface {
	Before(st *meta.State, e changelog.Entry) error
	After(st *meta.State, e changelog.Entry) error
}

// GapError says that the source does not continue where the image is.
type GapError struct{ Image, Source meta.Version }

func (e *GapError) Error() string {
	return fmt.Sprintf("the image is at version %d, the next entry is %d: entries are missing", e.Image, e.Source)
}

// Applier applies the entries of a Source to an Image.
type Applier struct {
	img     *image.Image
	open    OpenFunc
	cfg     Config
	entries atomic.Uint64
	last    time.Time // of the last commit
	before  uint64    // entries until then
}

// New returns an Applier; Run starts it.
func New(img *image.Image, open OpenFunc, cfg Config) *Applier {
	if cfg.CommitEvery == 0 {
		cfg.CommitEvery = time.Second
	}
	if cfg.CommitBytes == 0 {
		cfg.CommitBytes = image.DefaultCache / 8
	}
	return &Applier{img: img, open: open, cfg: cfg}
}

// Entries returns how many entries were applied since New.
func (a *Applier) Entries() uint64 { return a.entries.Load() }

// Run applies until the source ends (nil), ctx is done (its error), or an
// entry cannot be applied: then the image is at the version before it, and
// the error holds a *changelog.ApplyError or *changelog.SyntaxError. All that
// was applied is committed when Run returns without another error; where ctx is
// done, with the next commit of the image at the latest.
func (a *Applier) Run(ctx context.Context) error {
	err := a.run(ctx, a.cfg.Until)
	var bad *entryError
	if errors.As(err, &bad) {
		return a.rewind(ctx, bad)
	}
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, io.EOF) {
		return err
	}
	ended := errors.Is(err, io.EOF)
	if !ended && !a.img.MayCommit() {
		return err // a leader that takes over must not wait for the disk
	}
	if commitErr := a.img.Commit(ended); commitErr != nil {
		return commitErr
	}
	if ended {
		return nil
	}
	return err
}

// entryError is an entry that must not be applied; the image holds some of it.
type entryError struct {
	version meta.Version
	err     error
}

func (e *entryError) Error() string { return e.err.Error() }
func (e *entryError) Unwrap() error { return e.err }

// rewind takes the image to the version before a bad entry.
func (a *Applier) rewind(ctx context.Context, bad *entryError) error {
	if err := a.img.Reset(); err != nil {
		return errors.Join(bad.err, err)
	}
	if a.img.Position().Version < bad.version {
		if err := a.run(ctx, bad.version); err != nil && !errors.Is(err, io.EOF) {
			return errors.Join(bad.err, fmt.Errorf("going back to version %d: %w", bad.version, err))
		}
	}
	if err := a.img.Commit(true); err != nil {
		return errors.Join(bad.err, err)
	}
	return bad.err
}

// parsed is a batch whose entries are parsed, up to the first bad one.
type parsed struct {
	batch   Batch
	ops     *changelog.Batch
	entries []changelog.Entry
	release meta.Release // of the primary
	wants   []meta.Wants // of each slice of entries
	err     error        // of the entry behind the last, or of the source
}

// ahead is how many batches are parsed before they are applied.
const ahead = 3

func (a *Applier) run(ctx context.Context, until meta.Version) error {
	ctx, cancel := context.WithCancel(ctx)
	src, err := a.open(ctx, a.img.Position().Version)
	if err != nil {
		cancel()
		return err
	}
	if c, ok := src.(io.Closer); ok {
		defer c.Close()
	}
	full, empty := make(chan *parsed, ahead), make(chan *parsed, ahead)
	for range ahead {
		empty <- &parsed{ops: changelog.NewBatch()}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(full)
		parseAhead(ctx, src, a.img.Release(), full, empty)
	}()
	defer func() {
		cancel()
		for range full { // let the parser see that nobody waits
		}
		<-done
	}()
	return a.consume(ctx, full, empty, until)
}

func parseAhead(ctx context.Context, src Source, release meta.Release, full chan<- *parsed, empty <-chan *parsed) {
	for {
		var p *parsed
		select {
		case p = <-empty:
		case <-ctx.Done():
			return
		}
		p.ops.Reset()
		p.entries = p.entries[:0]
		p.err = src.Next(ctx, &p.batch)
		if p.err == nil {
			if r := meta.ParseRelease(p.batch.Release); r != 0 {
				release = r
			}
			p.release = release
			p.parse()
		}
		failed := p.err != nil
		select {
		case full <- p:
		case <-ctx.Done():
			return
		}
		if failed {
			return
		}
	}
}

func (p *parsed) parse() {
	p.ops.SetRelease(p.release)
	for _, raw := range p.batch.Entries {
		now, op, err := p.ops.Parse(raw.Text)
		if err != nil {
			p.err = &entryError{raw.Version, fmt.Errorf("entry %d: %w", raw.Version, err)}
			return
		}
		p.want(op)
		p.entries = append(p.entries, changelog.Entry{Version: raw.Version, Time: now, Op: op})
	}
}

// want notes what the next entry will look up.
func (p *parsed) want(op changelog.Op) {
	i := len(p.entries) / slice
	if len(p.entries)%slice == 0 {
		if i == len(p.wants) {
			p.wants = append(p.wants, meta.Wants{})
		}
		p.wants[i].Reset()
	}
	changelog.AddWants(&p.wants[i], op)
}

func (a *Applier) consume(ctx context.Context, full <-chan *parsed, empty chan<- *parsed, until meta.Version) error {
	a.last, a.before = time.Now(), a.entries.Load()
	idle := time.NewTicker(a.cfg.CommitEvery)
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-idle.C:
			if err := a.commitIfDue(len(full) > 0); err != nil {
				return err
			}
		case p, ok := <-full:
			if !ok {
				return ctx.Err()
			}
			if err := a.apply(p, until); err != nil {
				return err
			}
			if until != 0 && a.img.Position().Version >= until {
				return io.EOF
			}
			if p.err != nil {
				return p.err
			}
			if err := a.commitIfDue(len(full) > 0); err != nil {
				return err
			}
			empty <- p
		}
	}
}

// whenBehind is how much less often commits happen while a backlog is worked
// off, when batches wait, or more entries come per second than a primary writes; and
// while others need the processors.
const (
	whenBehind = 10
	backlog    = 100_000
)

// slice is how many entries readers wait for at most.
const slice = 256

// apply applies a batch from where the image is.
func (a *Applier) apply(p *parsed, until meta.Version) error {
	entries := p.entries
	for i := 0; len(entries) > 0; i++ {
		part := entries[:min(slice, len(entries))]
		entries = entries[len(part):]
		a.img.Expect(&p.wants[i])
		if err := a.applySlice(p, part, len(entries) == 0, until); err != nil {
			return err
		}
	}
	if a.cfg.Applied != nil && len(p.entries) > 0 {
		a.cfg.Applied(&p.batch, a.img.Position())
	}
	return nil
}

func (a *Applier) applySlice(p *parsed, part []changelog.Entry, last bool, until meta.Version) error {
	return a.img.Update(func(st *meta.State, pos image.Position) (image.Position, error) {
		if err := changelog.SetRelease(st, meta.ParseRelease(p.batch.Release), pos.Time); err != nil {
			return pos, err
		}
		from, whole := pos.Version, true
		for _, e := range part {
			if until != 0 && pos.Version >= until {
				whole = false
				break
			}
			switch {
			case e.Version < pos.Version:
				continue // applied before: the batch began earlier
			case e.Version > pos.Version:
				return pos, &GapError{pos.Version, e.Version}
			}
			if err := a.applyEntry(st, e); err != nil {
				return pos, err
			}
			if a.cfg.Watch != nil {
				a.cfg.Watch(e.Op, st)
			}
			pos.Version++
			pos.Time = e.Time
			a.entries.Add(1)
		}
		if !whole && pos.Version == from {
			return pos, nil
		}
		pos.Epoch, pos.Seq = p.batch.Epoch, p.batch.Seq
		if p.batch.Release != "" {
			pos.Release = p.batch.Release
		}
		pos.Chain = [16]byte{} // known only where a batch ends
		if last && whole {
			pos.Chain = p.batch.Chain
		}
		return pos, nil
	})
}

func (a *Applier) applyEntry(st *meta.State, e changelog.Entry) error {
	watch := a.cfg.Around
	if watch != nil {
		if err := watch.Before(st, e); err != nil {
			return err
		}
	}
	if err := changelog.ApplyEntry(st, e); err != nil {
		return &entryError{e.Version, err}
	}
	if watch != nil {
		return watch.After(st, e)
	}
	return nil
}

// every is the time from one commit to the next, after so many entries in the time
// since the last one.
func (a *Applier) every(behind bool, entries uint64, since time.Duration) time.Duration {
	if behind || float64(entries) > backlog*since.Seconds() || a.cfg.Busy != nil && a.cfg.Busy() {
		return a.cfg.CommitEvery * whenBehind
	}
	return a.cfg.CommitEvery
}

// commitIfDue begins a commit when time or size demand it and the last one
// has ended; when much waits, it waits for that.
func (a *Applier) commitIfDue(behind bool) error {
	since, entries := time.Since(a.last), a.entries.Load()
	dirty := a.img.Dirty()
	due := dirty >= a.cfg.CommitBytes || since >= a.every(behind, entries-a.before, since) && a.img.Uncommitted()
	if !due || dirty < 2*a.cfg.CommitBytes && !a.img.MayCommit() {
		return nil
	}
	a.last, a.before = time.Now(), entries
	return a.img.Commit(false)
}
