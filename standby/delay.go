package standby

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby/apply"
)

// delay is how a standby stays behind on purpose: entries wait in its source.
type delay struct {
	hurry atomic.Uint64 // entries before this version wait no longer
	limit atomic.Uint64 // entries from this version on wait for ever; 0: none do
	woken chan struct{} // has one element when one of them was changed
	due   atomic.Int64  // when what waits has its turn, Unix ns; 0: nothing waits
}

func newDelay() delay { return delay{woken: make(chan struct{}, 1)} }

// Hurry lets entries before version v wait no longer, whatever Config.Delay says.
func (s *Standby) Hurry(v meta.Version) {
	s.delay.hurry.Store(uint64(v))
	s.delay.wake()
}

// Limit keeps a delayed standby before version v, whatever was said before, until
// Limit(0). What was on its way to the image may be applied still.
func (s *Standby) Limit(v meta.Version) {
	s.delay.limit.Store(uint64(v))
	s.delay.wake()
}

func (d *delay) wake() {
	select {
	case d.woken <- struct{}{}:
	default:
	}
}

// delayed gives the next batch when its turn has come, or what of it is not to wait.
func (src *streamSource) delayed(ctx context.Context, into *apply.Batch) error {
	if src.held == nil {
		b := &apply.Batch{}
		err := src.read(ctx, b)
		var rebase *stream.RebaseError
		if errors.As(err, &rebase) {
			_, waitErr := src.wait(ctx, rebase.Received, rebase.At, 1)
			return errors.Join(err, waitErr)
		}
		if err != nil {
			return err
		}
		src.held = b
	}
	n, err := src.wait(ctx, src.held.Received, src.held.Entries[0].Version, len(src.held.Entries))
	if err != nil {
		return err
	}
	*into = *src.held
	if n == len(into.Entries) {
		src.held = nil
		return nil
	}
	src.held.Entries = into.Entries[n:]
	into.Entries, into.Chain = into.Entries[:n:n], [16]byte{} // the chain is known where the batch ends
	return nil
}

// wait waits until some of count entries from version first on, received at some
// time, are to be applied, and tells how many.
func (src *streamSource) wait(ctx context.Context, received time.Time, first meta.Version, count int) (int, error) {
	d := &src.s.delay
	defer d.due.Store(0)
	due := received.Add(src.s.cfg.Delay)
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	for over := false; ; {
		all := uint64(count) // that there are before the limit
		if limit := meta.Version(d.limit.Load()); limit != 0 {
			all = min(all, uint64(max(limit, first)-first))
		}
		hurry := meta.Version(d.hurry.Load())
		switch {
		case all == 0:
		case over:
			return int(all), nil
		case hurry > first:
			return int(min(uint64(hurry-first), all)), nil
		}
		d.due.Store(due.UnixNano())
		select {
		case <-timer.C:
			over = true
		case <-d.woken:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// waiting tells whether what comes next has not had its turn.
func (d *delay) waiting(now time.Time) bool {
	due := d.due.Load()
	return due != 0 && now.UnixNano() < due
}

// choose gives the base image to load: the newest, or of a delayed standby the
// newest that is old enough, or else the oldest.
func (s *Standby) choose(bases []stream.Base) stream.Base {
	for i := len(bases) - 1; i >= 0; i-- {
		if time.Since(bases[i].Created) >= s.cfg.Delay {
			return bases[i]
		}
	}
	return bases[0]
}
