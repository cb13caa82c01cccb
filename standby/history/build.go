package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby"
	"mfsstandby/standby/apply"
	"mfsstandby/standby/image"
)

// Options of Build and what uses it; all are optional but Dir.
type Options struct {
	Dir    string // where the image is made, in the place of one that may be there
	Cache  int64  // bytes; 0 means the image's default
	Logger *slog.Logger
	Stage  func(what string, total int64) func(n int64) // told of each stage, returns where to tell how far it is
}

func (o *Options) stage(what string, total int64) func(int64) {
	if o.Stage == nil {
		return func(int64) {}
	}
	return o.Stage(what, total)
}

// commitEvery is how much work a crash may cost: all of it comes again.
const commitEvery = time.Minute

// Build makes the image of a place and opens it.
func Build(ctx context.Context, src Source, to Place, opt Options) (*image.Image, error) {
	img, err := load(ctx, src, to.Base, &opt)
	if err != nil {
		return nil, err
	}
	if err := advance(ctx, img, src, to.Version, nil, &opt); err != nil {
		return nil, errors.Join(err, img.Close())
	}
	return img, nil
}

// load makes the image of a base image and opens it.
func load(ctx context.Context, src Source, b stream.Base, opt *Options) (*image.Image, error) {
	r, w := io.Pipe()
	got := make(chan error, 1)
	go func() {
		err := src.GetBase(ctx, b, w)
		w.CloseWithError(err) // nil is the end
		got <- err
	}()
	name := fmt.Sprintf("base image %d", b.Version)
	_, err := standby.Load(opt.Dir, r, standby.LoadOptions{
		Cache: opt.Cache, Name: name, Size: b.Size, MetaID: b.MetaID, Logger: opt.Logger, Progress: opt.stage("reading "+name, b.Size),
		Position: image.Position{Epoch: uint64(b.Epoch), Release: b.Release, Chain: chainBytes(b.Chain)},
		Whole: func() error { // the checksums come at the end
			r.Close()
			return <-got
		},
	})
	r.Close()
	if err != nil {
		return nil, err
	}
	return image.Open(image.Config{Dir: standby.ImageDir(opt.Dir), Cache: opt.Cache, Logger: opt.Logger})
}

func chainBytes(c stream.Chain) (b [16]byte) {
	c.AppendBinary(b[:0])
	return b
}

func positionOf(img *image.Image) stream.Position {
	pos := img.Position()
	return stream.Position{Version: pos.Version, Epoch: stream.Epoch(pos.Epoch), Seq: stream.Seq(pos.Seq), Chain: stream.ChainOf(pos.Chain)}
}

// advance applies entries until the image is at a version; 0 is the end.
func advance(ctx context.Context, img *image.Image, src Source, to meta.Version, watch apply.Watcher, opt *Options) error {
	from := img.Position().Version
	if to != 0 && from >= to {
		return nil
	}
	total := int64(0)
	if to != 0 {
		total = int64(to - from)
	}
	show := opt.stage("applying entries", total)
	open := func(context.Context, meta.Version) (apply.Source, error) {
		return &applySource{src.Reader(positionOf(img))}, nil
	}
	a := apply.New(img, open, apply.Config{
		CommitEvery: commitEvery, CommitBytes: opt.Cache / 8, Until: to, Around: watch,
		Applied: func(_ *apply.Batch, pos image.Position) { show(int64(pos.Version - from)) },
	})
	err := a.Run(ctx)
	at := img.Position().Version
	switch {
	case broken(err) && to == 0:
		return err
	case broken(err):
		return fmt.Errorf("version %d was never reached, or is no longer there: after version %d %w", to, at, err)
	case err != nil:
		return err
	case to != 0 && at < to:
		return fmt.Errorf("version %d is not there: the entries end at version %d", to, at)
	}
	return nil
}

// applySource turns a Reader into what the applier reads. Whoever opened an epoch
// changes nothing.
type applySource struct{ r Reader }

func (s *applySource) Next(ctx context.Context, into *apply.Batch) error {
	for {
		b, err := s.r.Next(ctx)
		if err != nil {
			return err
		}
		if b.Control != nil {
			continue
		}
		*into = apply.Batch{Seq: uint64(b.End.Seq), Epoch: uint64(b.End.Epoch), Chain: chainBytes(b.End.Chain),
			Received: b.Received, Release: b.Release, Entries: b.Entries}
		return nil
	}
}

func (s *applySource) Close() error { return s.r.Close() }
