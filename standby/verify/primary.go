package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/tap"
	"mfsstandby/standby/apply"
	"mfsstandby/standby/image"
	"mfsstandby/standby/replay"
)

// patience is how long a primary may send nothing while entries are wanted
// that it should have.
const patience = 15 * time.Second

// Primary compares a view with what a running primary gives to metaloggers:
// its newest metadata file, and the entries since then up to the view's
// version.
func Primary(ctx context.Context, v *image.View, address string, cfg Config) (res Result, err error) {
	dir, err := tempDir(cfg.Dir)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	download := cfg.Stage("downloading", 0)
	live, err := tap.NewLive(tap.LiveConfig{Address: address, Dir: dir, Event: func(e tap.Event) {
		if e.Kind == tap.Downloading {
			download(int64(e.Done))
		}
	}})
	if err != nil {
		return res, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- live.Run(ctx) }()
	defer func() {
		cancel()
		<-done // the error is the context's
		live.Close()
	}()
	base, err := bootstrap(ctx, live, v.State().MetaID)
	if err != nil {
		return res, fmt.Errorf("downloading the metadata of %s: %w", address, err)
	}
	at := v.Position().Version
	if base.Version > at {
		return res, fmt.Errorf("%s has saved its metadata at version %d, the image is at %d: let the image catch up first", address, base.Version, at)
	}
	img, err := replay.Import(ctx, dir, base.Path, v.State().MetaID, cfg.Cache, cfg.Logger, cfg.Stage)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	open := func(_ context.Context, from meta.Version) (apply.Source, error) {
		return &liveSource{live: live, next: from, until: at}, nil
	}
	cfg.Stage("applying", 0)
	if err := apply.New(img, open, apply.Config{CommitBytes: cfg.Cache / 8}).Run(ctx); err != nil {
		return res, err
	}
	return states(img, v, cfg)
}

// reach is how long connecting may take.
const reach = 6 * time.Second

// bootstrap downloads the newest metadata file. A primary that cannot be
// reached is an error after a while.
func bootstrap(ctx context.Context, live *tap.Live, metaid uint64) (tap.Base, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(reach, func() {
		if st := live.Status(); !st.Connected {
			cancel(fmt.Errorf("no connection within %v: %w", reach, st.Err))
		}
	})
	defer timer.Stop()
	base, err := live.Bootstrap(ctx, metaid)
	if err != nil && errors.Is(err, context.Canceled) {
		err = context.Cause(ctx)
	}
	return base, err
}

// liveSource gives the applier the entries before version until.
type liveSource struct {
	live        *tap.Live
	next, until meta.Version
}

func (s *liveSource) Next(ctx context.Context, b *apply.Batch) error {
	if s.next >= s.until {
		return io.EOF
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	read, err := s.live.Next(waiting)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("the primary sends nothing after version %d, the image is at %d: is it the primary of this image?", s.next, s.until)
	}
	if err != nil {
		return err
	}
	entries := read.Entries[:min(uint64(len(read.Entries)), uint64(s.until-s.next))]
	s.next += meta.Version(len(entries))
	b.Received = read.Received
	b.Copy(entries)
	return nil
}
