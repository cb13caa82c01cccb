package replicator

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/spool"
	"mfsstandby/replicator/tap"
)

const (
	syncEvery  = 100 * time.Millisecond // how long a received entry may be in memory only, with "interval"
	keptBehind = 200_000                // published entries that the spool keeps at least, should the stream lose them

	// hardenEvery is the least time from one sync of the stream's files to the
	// next: a sync costs as much processor time as applying a hundred entries.
	hardenEvery = 20 * time.Millisecond

	// gatherFor is the least time from one batch to the next while Config.Busy,
	// unless gatherMost entries were there at once; hardenBusy stands for
	// hardenEvery then.
	gatherFor  = 20 * time.Millisecond
	gatherMost = 1000
	hardenBusy = 100 * time.Millisecond
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
	var hardenErr error
	wg.Go(func() {
		if hardenErr = r.harden(ctx); hardenErr != nil {
			cancel()
		}
	})
	publishErr := r.publish(ctx, received)
	cancel()
	wg.Wait()
	if hardenErr != nil {
		return hardenErr
	}
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
		next := time.Now().Add(gatherFor)
		if err := r.store(ctx, batch); err != nil {
			return err
		}
		r.status.received(batch)
		if len(batch.Entries) < gatherMost && r.busy() {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Until(next)):
			}
		}
	}
}

func (r *Replicator) busy() bool { return r.cfg.Busy != nil && r.cfg.Busy() }

// store appends a batch to the spool, and waits while that is full.
func (r *Replicator) store(ctx context.Context, batch tap.Batch) error {
	err := r.spool.Append(batch)
	if errors.Is(err, spool.ErrFull) {
		r.status.event(slog.LevelError, events.StreamFull, "the stream does not take entries, and the spool is full; waiting", err)
	}
	for errors.Is(err, spool.ErrFull) {
		if err := r.spool.WaitRoom(ctx, 2*tap.MaxBatchBytes); err != nil {
			return err
		}
		err = r.spool.Append(batch)
	}
	return err
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
			if err := r.writer.Settle(ctx); err != nil {
				return err
			}
			r.wakeHarden()
			r.status.published(r.writer)
			select {
			case <-received:
				if now, err := r.spool.Position(); err != nil || now.End == pos.End {
					return errors.Join(err, r.finish(ctx))
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
		r.wakeHarden()
		r.status.published(r.writer)
	}
}

// finish waits until all is acknowledged.
func (r *Replicator) finish(ctx context.Context) error {
	err := r.writer.Flush(ctx)
	r.status.published(r.writer)
	return err
}

// wakeHarden says that there may be something new in the stream.
func (r *Replicator) wakeHarden() {
	select {
	case r.stored <- struct{}{}:
	default: // it knows
	}
}

// harden acknowledges what is in the stream, beside publish: the disk holds up
// neither further entries nor their readers. What comes after a pause is
// acknowledged at once.
func (r *Replicator) harden(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.stored:
		}
		every := hardenEvery
		if r.busy() {
			every = hardenBusy
		}
		next := time.After(every)
		if err := r.writer.Sync(); err != nil {
			return err
		}
		r.status.acknowledged(r.writer.Acked())
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		}
	}
}

// maintain syncs and trims the spool. What the stream soon has on the disk need
// not be there twice.
func (r *Replicator) maintain(ctx context.Context) {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	var before meta.Version // the spool's end a tick ago
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var err error
		if !r.conn.Durable() || r.status.acked() < before {
			err = r.spool.Sync()
		}
		if err == nil {
			err = r.trim()
		}
		if pos, e := r.spool.Position(); e == nil {
			before = pos.End
		}
		if err != nil {
			r.log.Error("keeping the spool", "err", err)
		}
	}
}

// trim drops what is published, but for the last entries while there is room.
func (r *Replicator) trim() error {
	pos, err := r.spool.Position()
	if err != nil {
		return err
	}
	upto := r.status.acked()
	if pos.Bytes < r.cfg.SpoolMax/2 {
		upto -= min(upto, keptBehind)
	}
	return r.spool.Trim(upto)
}
