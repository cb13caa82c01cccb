package replicator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
	live, err := tap.NewLive(tap.LiveConfig{Address: cfg.Primary, Dir: dir, Event: event})
	if err != nil {
		return nil, err
	}
	return &liveOrigin{live}, nil
}

func (o *liveOrigin) run(ctx context.Context) error { return o.live.Run(ctx) }

func (o *liveOrigin) resume(at tap.Position) (tap.Source, error) {
	return shared{o.live}, o.live.Resume(at)
}

// base waits while the primary has nothing to give: a new master stores its
// metadata for the first time at the next full hour.
func (o *liveOrigin) base(ctx context.Context, metaid uint64) (tap.Base, tap.Source, func(), error) {
	b, err := o.live.Bootstrap(ctx, metaid)
	if err != nil {
		return b, nil, nil, err
	}
	return b, shared{o.live}, func() { os.Remove(b.Path) }, nil
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

// dirOrigin follows the files of a data directory.
type dirOrigin struct {
	cfg tap.DirConfig
}

func (o *dirOrigin) run(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (o *dirOrigin) release() string { return "" }

func (o *dirOrigin) resume(at tap.Position) (tap.Source, error) {
	return tap.NewDir(o.cfg, at)
}

func (o *dirOrigin) base(_ context.Context, metaid uint64) (tap.Base, tap.Source, func(), error) {
	b, err := tap.NewestBase(o.cfg.Path)
	if err == nil {
		err = checkBase(b, metaid)
	}
	if err != nil {
		return b, nil, nil, err
	}
	src, err := o.resume(tap.Position{Next: b.Version, MetaID: b.MetaID})
	return b, src, func() {}, err
}

// fileOrigin reads plain changelog files, once.
type fileOrigin struct {
	dirOrigin
	files []string
	start string
}

func (o *fileOrigin) resume(at tap.Position) (tap.Source, error) {
	return tap.OpenFiles(at.Next, o.files...)
}

func (o *fileOrigin) base(_ context.Context, metaid uint64) (tap.Base, tap.Source, func(), error) {
	b, err := tap.ReadBase(o.start)
	if err == nil {
		err = checkBase(b, metaid)
	}
	if err != nil {
		return b, nil, nil, err
	}
	src, err := o.resume(tap.Position{Next: b.Version})
	return b, src, func() {}, err
}

// errNotReady says that there is nothing to start from yet.
var errNotReady = errors.New("the master has not stored any metadata yet; it does so at each full hour and when it is stopped")

func checkBase(b tap.Base, metaid uint64) error {
	switch {
	case b.Empty || b.MetaID == 0:
		return errNotReady
	case metaid != 0 && b.MetaID != metaid:
		return fmt.Errorf("%s: %w %016X, not %016X", b.Path, tap.ErrMetaID, b.MetaID, metaid)
	}
	return nil
}
