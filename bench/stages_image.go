package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator"
	"mfsstandby/replicator/stream"
	"mfsstandby/replicator/tap"
	"mfsstandby/standby"
	"mfsstandby/standby/apply"
	"mfsstandby/standby/image"
	"mfsstandby/standby/replay"
)

// load makes the image that the changelog continues; the meter does not run yet.
func (r *stageRun) load(dir, metadata string) error {
	f, err := os.Open(metadata)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = standby.Load(dir, f, standby.LoadOptions{Cache: r.Cache, Name: metadata, Logger: quiet()})
	return err
}

// files gives the changelog to an Applier, as the command replay does.
type files struct{ *tap.Files }

func (f files) Next(ctx context.Context, b *apply.Batch) error {
	read, err := f.Files.Next(ctx)
	b.Received = read.Received
	b.Copy(read.Entries)
	return err
}

// replay applies the changelog to the image in dir; from reading a batch until
// it can be read in the image is its latency.
func (r *stageRun) replay(ctx context.Context, img *image.Image, cfg apply.Config, all func() error) error {
	r.bytes = r.Input.Bytes
	var stopped error
	cfg.Applied = func(b *apply.Batch, pos image.Position) {
		r.meter.batch(time.Since(b.Received), len(b.Entries))
		if pos.Version == r.Input.End && all != nil {
			stopped = all()
		}
	}
	open := func(_ context.Context, from meta.Version) (apply.Source, error) {
		src, err := tap.OpenFiles(from, r.Input.Changelog)
		return files{src}, err
	}
	if err := r.meter.start(); err != nil {
		return err
	}
	if err := apply.New(img, open, cfg).Run(ctx); err != nil {
		return err
	}
	if v := img.Position().Version; v != r.Input.End {
		return fmt.Errorf("the image is at version %d, not %d", v, r.Input.End)
	}
	return stopped
}

// applyMemory takes the time until all is applied, and never commits before.
func (r *stageRun) applyMemory(ctx context.Context) error {
	dir := filepath.Join(r.Dir, "memory")
	defer os.RemoveAll(dir)
	if err := r.load(dir, r.Input.Metadata); err != nil {
		return err
	}
	img, err := image.Open(image.Config{Dir: standby.ImageDir(dir), Cache: 1 << 50, Logger: quiet()})
	if err != nil {
		return err
	}
	cfg := apply.Config{CommitEvery: 1000 * time.Hour, CommitBytes: math.MaxInt64 / 4}
	return errors.Join(r.replay(ctx, img, cfg, r.meter.stop), img.Close())
}

// apply takes the time until all is durable. The image stays for export.
func (r *stageRun) apply(ctx context.Context) error {
	dir := filepath.Join(r.Dir, "data")
	if err := r.load(dir, r.Input.Metadata); err != nil {
		return err
	}
	img, err := image.Open(image.Config{Dir: standby.ImageDir(dir), Cache: r.Cache, Logger: quiet()})
	if err != nil {
		return err
	}
	err = r.replay(ctx, img, replay.ApplyConfig(r.Cache/8), nil)
	if err == nil {
		err = r.meter.stop()
	}
	if err == nil {
		r.inodes, err = countInodes(img)
	}
	if err = errors.Join(err, img.Close()); err != nil {
		return err
	}
	r.image, err = diskUse(standby.ImageDir(dir))
	return err
}

// lookEvery is how often Reads looks up an inode.
const lookEvery = time.Millisecond

// reads is apply, but what it times are the look-ups beside it.
func (r *stageRun) reads(ctx context.Context) error {
	dir := filepath.Join(r.Dir, "reads")
	defer os.RemoveAll(dir)
	if err := r.load(dir, r.Input.Metadata); err != nil {
		return err
	}
	img, err := image.Open(image.Config{Dir: standby.ImageDir(dir), Cache: r.Cache, Logger: quiet()})
	if err != nil {
		return err
	}
	look := reader{img: img, every: lookEvery}
	ctx, cancel := context.WithCancel(ctx)
	looked := make(chan struct{})
	go func() { defer close(looked); look.run(ctx) }()
	err = r.replay(ctx, img, replay.ApplyConfig(r.Cache/8), nil)
	if err == nil {
		err = r.meter.stop()
	}
	cancel()
	<-looked
	r.meter.end.Latency = percentiles(look.took)
	return errors.Join(err, look.err, img.Close())
}

func countInodes(img *image.Image) (n int64, err error) {
	v, err := img.View()
	if err != nil {
		return 0, err
	}
	defer v.Close()
	for range v.State().Nodes.Scan(0) {
		n++
	}
	return n, v.State().Err()
}

// pipeline runs tap and standby as the command run does. They are made to meet
// at the base image before the clock starts.
func (r *stageRun) pipeline(ctx context.Context) error {
	dir := filepath.Join(r.Dir, "pipeline")
	defer os.RemoveAll(dir)
	r.bytes = r.Input.Bytes
	_, conn, stop, err := r.openStream(ctx, filepath.Join(dir, "nats"))
	if err != nil {
		return err
	}
	defer stop()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		return err
	}
	if err := r.tap(ctx, conn, dir, empty); err != nil {
		return err
	}
	s, err := standby.New(standby.Config{Dir: dir, Cache: r.Cache, MetaID: r.Input.MetaID, Logger: quiet()}, conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	err = r.follow(ctx, s, func() error { return r.tap(ctx, conn, dir, r.Input.Changelog) })
	cancel()
	return errors.Join(err, <-ended, s.Close())
}

// follow measures from the start of the tap until the image has all, durable.
func (r *stageRun) follow(ctx context.Context, s *standby.Standby, work func() error) error {
	if err := r.await(ctx, s, r.Input.First); err != nil {
		return err
	}
	if err := r.meter.start(); err != nil {
		return err
	}
	tapped := make(chan error, 1)
	go func() { tapped <- work() }()
	err := r.await(ctx, s, r.Input.End)
	if err != nil {
		return err
	}
	img, err := s.Image()
	if err != nil {
		return err
	}
	if err := errors.Join(img.Commit(true), r.meter.stop()); err != nil {
		return err
	}
	l := s.Status().Latency
	r.meter.end.Latency = Latency{P50: l.P50, P99: l.P99, Max: l.Max}
	return <-tapped
}

// await waits until the image is at a version.
func (r *stageRun) await(ctx context.Context, s *standby.Standby, v meta.Version) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if img, err := s.Image(); err == nil {
			at := img.Position().Version
			r.meter.done.Store(int64(at) - int64(r.Input.First))
			if at >= v {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if st := s.Status(); st.State == standby.Stopped {
			return errors.New(st.Error)
		}
	}
}

// tap brings changelog files into the stream.
func (r *stageRun) tap(ctx context.Context, conn *stream.Conn, dir string, files ...string) error {
	rep, err := replicator.New(replicator.Config{
		Files: files, Base: r.Input.Metadata, Dir: filepath.Join(dir, "tap"), Logger: quiet(),
	}, conn)
	if err != nil {
		return err
	}
	return rep.Run(ctx)
}

// exported is the metadata file that export leaves for import.
func (r *stageRun) exported() string { return filepath.Join(r.Dir, "exported.mfs") }

// export counts inodes, not entries.
func (r *stageRun) export(ctx context.Context) error {
	dir := filepath.Join(r.Dir, "data")
	img, err := image.Open(image.Config{Dir: standby.ImageDir(dir), Cache: r.Cache, Logger: quiet()})
	if err != nil {
		return err
	}
	err = func() error {
		n, err := countInodes(img)
		if err != nil {
			return err
		}
		v, err := img.View()
		if err != nil {
			return err
		}
		defer v.Close()
		if err := r.meter.start(); err != nil {
			return err
		}
		if err := standby.WriteView(v, r.exported(), "", nil); err != nil {
			return err
		}
		r.inodes = n
		r.meter.done.Store(n)
		return r.meter.stop()
	}()
	if err = errors.Join(err, img.Close(), ctx.Err()); err != nil {
		return err
	}
	info, err := os.Stat(r.exported())
	if err != nil {
		return err
	}
	r.bytes = info.Size()
	return nil
}

// imports counts inodes, not entries.
func (r *stageRun) imports(ctx context.Context) error {
	dir := filepath.Join(r.Dir, "imported")
	defer os.RemoveAll(dir)
	info, err := os.Stat(r.exported())
	if err != nil {
		return err
	}
	r.bytes = info.Size()
	if err := r.meter.start(); err != nil {
		return err
	}
	if err := r.load(dir, r.exported()); err != nil {
		return err
	}
	if err := r.meter.stop(); err != nil {
		return err
	}
	img, err := image.Open(image.Config{Dir: standby.ImageDir(dir), Cache: r.Cache, Logger: quiet()})
	if err != nil {
		return err
	}
	r.inodes, err = countInodes(img)
	r.meter.end.Done = r.inodes
	if err = errors.Join(err, img.Close(), ctx.Err()); err != nil {
		return err
	}
	r.image, err = diskUse(standby.ImageDir(dir))
	return err
}
