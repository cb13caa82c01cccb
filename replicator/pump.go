package replicator

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/spool"
	"mfsstandby/replicator/tap"
)

const (
	syncEvery  = 100 * time.Millisecond // how long a received entry may be in memory only, with "interval"
	fullRetry  = 50 * time.Millisecond  // how often a full spool is tried again
	trimEvery  = time.Second
	keptBehind = 200_000 // published entries that the spool keeps at least, should the stream lose them
)

// pump moves entries from the source to the stream until either fails. What
// the source gave before it failed is in the stream then, if that still works.
func (r *Replicator) pump(ctx context.Context, src tap.Source) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	received := make(chan struct{}) // closed when nothing more comes
	var receiveErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(received)
		receiveErr = r.receive(ctx, src)
	})
	wg.Go(func() { r.maintain(ctx) })
	publishErr := r.publish(ctx, received)
	cancel()
	wg.Wait()
	if publishErr != nil && !errors.Is(publishErr, context.Canceled) {
		return publishErr
	}
	return receiveErr
}

// receive takes entries from the source into the spool.
func (r *Replicator) receive(ctx context.Context, src tap.Source) error {
	for {
		batch, err := src.Next(ctx)
		if err != nil {
			return err
		}
		for full := false; ; full = true {
			err := r.spool.Append(batch)
			if err == nil {
				break
			}
			if !errors.Is(err, spool.ErrFull) {
				return err
			}
			if !full {
				r.status.event(slog.LevelError, "the stream does not take entries and the spool is full; waiting", err)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(fullRetry):
			}
		}
		r.status.received(batch)
	}
}

// publish appends what is in the spool to the stream. Whenever there is
// nothing more to append it waits for acknowledgements; what arrives
// meanwhile goes into the next message.
func (r *Replicator) publish(ctx context.Context, received <-chan struct{}) error {
	pos, err := r.spool.Position()
	if err != nil {
		return err
	}
	from := r.writer.Next()
	if pos.First.Next < from {
		from-- // the writer compares what is in the stream already: here, whether this is the same history
	}
	reader, err := r.spool.Read(from)
	if err != nil {
		return err
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-received:
			stop()
		case <-waiting.Done():
		}
	}()
	for {
		pos, err := r.spool.Position()
		if err != nil {
			return err
		}
		if r.writer.Next() >= pos.End {
			if err := r.writer.Flush(ctx); err != nil {
				return err
			}
			r.status.published(r.writer)
			select {
			case <-received:
				if now, err := r.spool.Position(); err != nil || now.End == pos.End {
					return err
				}
			default:
			}
		}
		batch, err := reader.Next(waiting)
		if err != nil {
			if ctx.Err() == nil && waiting.Err() != nil {
				waiting, stop = ctx, func() {} // the source has ended: read on without waiting for it
				continue
			}
			return err
		}
		r.writer.SetRelease(r.origin.release())
		if err := r.writer.Append(ctx, batch.Entries, batch.Received); err != nil {
			return err
		}
		r.status.published(r.writer)
	}
}

// maintain syncs and trims the spool.
func (r *Replicator) maintain(ctx context.Context) {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	var trimmed time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			err := r.spool.Sync()
			if err == nil && now.Sub(trimmed) >= trimEvery {
				trimmed = now
				if acked := r.status.acked(); acked > keptBehind {
					err = r.spool.Trim(acked - meta.Version(keptBehind))
				}
			}
			if err != nil {
				r.log.Error("the spool", "err", err)
			}
		}
	}
}
