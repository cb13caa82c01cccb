package replicator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/tap"
)

// origin is where entries come from: it makes sources, and base images to
// start from. It is used by one goroutine, and only one of its sources at a
// time.
type origin interface {
	// resume follows from a position.
	resume(tap.Position) (tap.Source, error)
	// base gives the newest metadata file and follows from its version. cleanup
	// is called when the file is needed no more.
	base(ctx context.Context, metaid uint64) (b tap.Base, src tap.Source, cleanup func(), err error)
	// release is that of the primary, "" if not known.
	release() string
	// run does what must go on in the background until ctx ends.
	run(ctx context.Context) error
}

// liveOrigin follows a primary's metalogger port.
type liveOrigin struct {
	live *tap.Live
}

func newLiveOrigin(cfg *Config, event func(tap.Event)) (*liveOrigin, error) {
	dir := filepath.Join(cfg.Dir, "download")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for _, pattern := range []string{"base-*.mfs", "changelog.*.part"} { // of a process that was killed
		left, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range left {
			if err := os.Remove(path); err != nil {
				return nil, err
			}
		}
	}
	live, err := tap.NewLive(tap.LiveConfig{Address: cfg.Primary, Dir: dir, Timeout: cfg.Silence, Restarts: true, Event: event})
	if err != nil {
		return nil, err
	}
	return &liveOrigin{live}, nil
}

func (o *liveOrigin) run(ctx context.Context) error { return o.live.Run(ctx) }

func (o *liveOrigin) resume(at tap.Position) (tap.Source, error) {
	return shared{o.live}, o.live.Resume(at)
}

func (o *liveOrigin) base(ctx context.Context, metaid uint64) (tap.Base, tap.Source, func(), error) {
	b, err := o.live.Bootstrap(ctx, metaid)
	if err != nil {
		return b, nil, nil, err
	}
	return identify(ctx, b, shared{o.live}, func() { os.Remove(b.Path) }, metaid)
}

func (o *liveOrigin) release() string {
	s := o.live.Status()
	if s.ReleaseText != "" {
		return s.ReleaseText
	}
	if s.Release == 0 {
		return ""
	}
	return s.Release.String()
}

// shared is a source that is not closed when its user is done with it.
type shared struct{ tap.Source }

func (shared) Close() error { return nil }

// family is that of the release whose files are followed, 0 if it is not known
// yet. Status asks for it while it is found out.
type family struct{ atomic.Uint32 }

func (f *family) set(r meta.Release) { f.Store(uint32(r)) }
func (f *family) get() meta.Release  { return meta.Release(f.Load()) }

// at finds it out by what a directory is followed from at a version.
func (f *family) at(dir string, v meta.Version) meta.Release {
	if f.get() == 0 {
		f.set(familyAt(dir, v))
	}
	return f.get()
}

// filesOrigin follows files: nothing goes on in the background, and their
// release is known by what they hold.
type filesOrigin struct {
	family family
	newest func(context.Context) (tap.Base, error) // the metadata file to start from
	open   func(tap.Position) (tap.Source, error)
}

// newDirOrigin follows the files of a data directory.
func newDirOrigin(cfg tap.DirConfig) *filesOrigin {
	o := &filesOrigin{newest: func(context.Context) (tap.Base, error) { return tap.NewestBase(cfg.Path) }}
	o.open = func(at tap.Position) (tap.Source, error) {
		if err := checkDir(cfg.Path, at.MetaID); err != nil {
			return nil, err
		}
		cfg := cfg
		cfg.Release = o.family.at(cfg.Path, at.Next)
		return tap.NewDir(cfg, at)
	}
	return o
}

// newCopiesOrigin follows a directory of copies.
func newCopiesOrigin(cfg tap.CopiesConfig) *filesOrigin {
	o := &filesOrigin{newest: func(ctx context.Context) (tap.Base, error) { return tap.CopiedBase(ctx, cfg) }}
	o.open = func(at tap.Position) (tap.Source, error) {
		if err := checkDir(cfg.Path, at.MetaID); err != nil {
			return nil, err
		}
		cfg := cfg
		cfg.Release = o.family.at(cfg.Path, at.Next)
		return tap.NewCopies(cfg, at)
	}
	return o
}

// newFileOrigin reads plain changelog files that continue a metadata file, once.
func newFileOrigin(start string, files []string) *filesOrigin {
	return &filesOrigin{
		newest: func(context.Context) (tap.Base, error) { return tap.ReadBase(start) },
		open:   func(at tap.Position) (tap.Source, error) { return tap.OpenFiles(at.Next, files...) },
	}
}

func (o *filesOrigin) run(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (o *filesOrigin) release() string { return releaseOf(o.family.get()) }

func (o *filesOrigin) resume(at tap.Position) (tap.Source, error) { return o.open(at) }

func (o *filesOrigin) base(ctx context.Context, metaid uint64) (tap.Base, tap.Source, func(), error) {
	b, err := o.newest(ctx)
	if err != nil {
		return b, nil, nil, err
	}
	o.family.set(b.Release)
	src, err := o.open(tap.Position{Next: b.Version, MetaID: b.MetaID})
	if err != nil {
		return b, nil, nil, err
	}
	return identify(ctx, b, src, func() {}, metaid)
}

// releaseOf is what is known of a primary of which only files are at hand. The
// last digits do not matter before 3.0, and are not known since.
func releaseOf(family meta.Release) string {
	switch {
	case family == 0:
		return ""
	case !family.Since(meta.Release2):
		return meta.Reproduced16.String()
	case !family.Since(meta.Release3):
		return meta.Reproduced2.String()
	}
	return fmt.Sprintf("%d.%d", family>>16, family>>8&0xFF)
}

// familyAt is the family of the release whose metadata a directory is followed
// from at a version.
func familyAt(dir string, at meta.Version) meta.Release {
	b, err := tap.BaseBefore(dir, at)
	if err != nil {
		return 0
	}
	return b.Release
}

// checkDir refuses a directory that has become another cluster's.
func checkDir(dir string, metaid uint64) error {
	b, err := tap.NewestBase(dir)
	if err == nil && metaid != 0 && b.MetaID != 0 && b.MetaID != metaid && !meta.MadeUpID(metaid) {
		err = fmt.Errorf("%s: %w %016X, not %016X", dir, tap.ErrMetaID, b.MetaID, metaid)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// errNotReady says that there is nothing to start from yet. A master of 2.0 gives
// a new file system an id, but tells it nobody until it stores its metadata.
var errNotReady = fmt.Errorf("the primary's metadata has no id, and its first entry gives none, as in 2.0 until it stores its metadata for the first time: %w", os.ErrNotExist)

// identify completes a base image: it must belong to the cluster that is
// wanted. The file of a new file system has no id; its first entry gives it.
func identify(ctx context.Context, b tap.Base, src tap.Source, cleanup func(), metaid uint64) (tap.Base, tap.Source, func(), error) {
	var err error
	switch {
	case b.Release == meta.Release16: // has no id at all
		b.MetaID = cmp.Or(metaid, madeUpID(b.Path))
	case b.MetaID == 0:
		src, b.MetaID, err = firstID(ctx, src)
	}
	if metaid != 0 && meta.MadeUpID(metaid) {
		b.MetaID = metaid // the cluster was one of 1.6 before
	}
	if err == nil && metaid != 0 && b.MetaID != metaid {
		err = fmt.Errorf("%s: %w %016X, not %016X", b.Path, tap.ErrMetaID, b.MetaID, metaid)
	}
	if err != nil {
		src.Close()
		cleanup()
		return b, nil, nil, err
	}
	return b, src, cleanup, nil
}

// madeUpID gives a cluster of 1.6, which has no id, one by where its metadata is.
func madeUpID(path string) uint64 {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return meta.MakeUpID(filepath.Dir(path))
}

// firstID reads the id of a cluster from the entry that comes first, which the
// source it returns gives again.
func firstID(ctx context.Context, src tap.Source) (tap.Source, uint64, error) {
	b, err := src.Next(ctx)
	if err != nil {
		return src, 0, err
	}
	_, text, _ := bytes.Cut(b.Entries[0].Text, []byte("|"))
	number, ok := bytes.CutPrefix(text, []byte("SETMETAID("))
	number, closed := bytes.CutSuffix(number, []byte(")"))
	id, err := strconv.ParseUint(string(number), 10, 64)
	if !ok || !closed || err != nil || id == 0 {
		return src, 0, fmt.Errorf("%w (it is %q)", errNotReady, b.Entries[0].Text)
	}
	return &again{Source: src, first: b}, id, nil
}

// again is a source whose first batch was read already.
type again struct {
	tap.Source
	first tap.Batch
	given bool
}

func (a *again) Next(ctx context.Context) (tap.Batch, error) {
	if !a.given {
		a.given = true
		return a.first, nil
	}
	return a.Source.Next(ctx)
}
