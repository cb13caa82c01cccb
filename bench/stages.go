package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
	"mfsstandby/replicator/tap"
)

// stageRun is a job at work. A stage prepares, starts the meter, works, stops
// the meter and tidies up.
type stageRun struct {
	job
	meter  meter
	bytes  int64 // see Result
	image  int64
	inodes int64
}

var stages = map[Stage]func(*stageRun, context.Context) error{
	Parse: (*stageRun).parse, Read: (*stageRun).read, Publish: (*stageRun).publish, Consume: (*stageRun).consume,
	ApplyMemory: (*stageRun).applyMemory, Apply: (*stageRun).apply, Reads: (*stageRun).reads, Pipeline: (*stageRun).pipeline,
	Export: (*stageRun).export, Import: (*stageRun).imports,
}

// quiet is for parts whose messages nobody reads; errors come out as such.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// parse works on what is in memory already, on one core.
func (r *stageRun) parse(ctx context.Context) error {
	text, err := os.ReadFile(r.Input.Changelog)
	if err != nil {
		return err
	}
	r.bytes = int64(len(text))
	batch := changelog.NewBatch()
	if err := r.meter.start(); err != nil {
		return err
	}
	for len(text) > 0 && ctx.Err() == nil {
		begin, n := time.Now(), 0
		batch.Reset()
		for ; n < tap.MaxBatchEntries && len(text) > 0; n++ {
			line, rest, _ := bytes.Cut(text, []byte{'\n'})
			if _, err := batch.ParseLine(line); err != nil {
				return err
			}
			text = rest
		}
		r.meter.batch(time.Since(begin), n)
	}
	return errors.Join(ctx.Err(), r.meter.stop())
}

// eachBatch reads the changelog as the tap does.
func (r *stageRun) eachBatch(ctx context.Context, use func(tap.Batch) error) error {
	src, err := tap.OpenFiles(r.Input.First, r.Input.Changelog)
	if err != nil {
		return err
	}
	defer src.Close()
	for {
		b, err := src.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := use(b); err != nil {
			return err
		}
	}
}

func (r *stageRun) read(ctx context.Context) error {
	r.bytes = r.Input.Bytes
	if err := r.meter.start(); err != nil {
		return err
	}
	begin := time.Now()
	err := r.eachBatch(ctx, func(b tap.Batch) error {
		now := time.Now()
		r.meter.batch(now.Sub(begin), len(b.Entries))
		begin = now
		return nil
	})
	return errors.Join(err, r.meter.stop())
}

// openStream starts the embedded server and opens the cluster.
func (r *stageRun) openStream(ctx context.Context, dir string) (c *stream.Cluster, conn *stream.Conn, stop func(), err error) {
	server, err := stream.StartServer(stream.ServerConfig{StoreDir: dir, SyncAlways: r.SyncAlways, Log: quiet()})
	if err != nil {
		return nil, nil, nil, err
	}
	conn, err = stream.Connect(stream.Config{Server: server, Log: quiet()})
	if err != nil {
		server.Close()
		return nil, nil, nil, err
	}
	stop = func() { conn.Close(); server.Close() }
	if c, err = conn.Open(ctx, stream.ClusterConfig{MetaID: r.Input.MetaID}); err != nil {
		stop()
		return nil, nil, nil, err
	}
	return c, conn, stop, nil
}

// publish times a batch until it is acknowledged.
func (r *stageRun) publish(ctx context.Context) error {
	r.bytes = r.Input.Bytes
	c, _, stop, err := r.openStream(ctx, filepath.Join(r.Dir, "nats"))
	if err != nil {
		return err
	}
	defer stop()
	w, err := r.openWriter(ctx, c)
	if err != nil {
		return err
	}
	var waiting []published
	acked := func() {
		now, upto := time.Now(), w.Acked()
		for len(waiting) > 0 && waiting[0].end <= upto {
			r.meter.batch(now.Sub(waiting[0].begin), waiting[0].entries)
			waiting = waiting[1:]
		}
	}
	if err := r.meter.start(); err != nil {
		return err
	}
	err = r.eachBatch(ctx, func(b tap.Batch) error {
		for part := range slices.Chunk(b.Entries, r.Batch) {
			waiting = append(waiting, published{time.Now(), part[len(part)-1].Version + 1, len(part)})
			if err := errors.Join(w.Append(ctx, part, b.Received), w.Sync()); err != nil {
				return err
			}
			acked()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := w.Flush(ctx); err != nil {
		return err
	}
	acked()
	return r.meter.stop()
}

// published is a batch on its way into the stream.
type published struct {
	begin   time.Time
	end     meta.Version
	entries int
}

// openWriter lets the stream begin where the changelog does.
func (r *stageRun) openWriter(ctx context.Context, c *stream.Cluster) (*stream.Writer, error) {
	w, err := c.OpenWriter(ctx, stream.WriterConfig{Who: "bench"})
	if err != nil {
		return nil, err
	}
	base, err := os.Open(r.Input.Metadata)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	if _, err := c.PutBase(ctx, stream.Base{Version: r.Input.First}, base); err != nil {
		return nil, err
	}
	return w, w.Rebase(ctx, r.Input.First, "bench", time.Now())
}

// consume reads what publish left.
func (r *stageRun) consume(ctx context.Context) error {
	r.bytes = r.Input.Bytes
	c, _, stop, err := r.openStream(ctx, filepath.Join(r.Dir, "nats"))
	if err != nil {
		return err
	}
	defer stop()
	reader := c.Reader(stream.Position{Version: r.Input.First}, stream.ReaderConfig{})
	defer reader.Close()
	if err := r.meter.start(); err != nil {
		return err
	}
	for reader.Position().Version < r.Input.End {
		begin := time.Now()
		b, err := reader.Next(ctx)
		if err != nil {
			return fmt.Errorf("at version %d: %w", reader.Position().Version, err)
		}
		r.meter.batch(time.Since(begin), len(b.Entries))
	}
	return r.meter.stop()
}
