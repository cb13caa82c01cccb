package replicator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mfsstandby/replicator/lease"
	"mfsstandby/replicator/stream"
)

// Several processes may be taps of one primary, each on a host of its own, so
// that none of the hosts is needed. One of them follows the primary, by a lease;
// the others wait. The lease saves them from fencing one another off for ever;
// that only one of them writes is seen to by the epoch, here as everywhere.

const (
	turnTime    = 3 * time.Second // without a renewal, after which another tap goes on
	idleTime    = 3 * time.Second // without the primary, after which another tap may try
	sharedRetry = 2 * time.Second // before a tap that lost its turn asks again
	reachTime   = time.Second     // in which a primary has to take a connection
)

// errNotMine says that another tap follows the primary, or should.
var errNotMine = errors.New("this tap waits")

// turn is this tap's time to follow.
type turn struct {
	r     *Replicator
	end   context.CancelCauseFunc // ends following
	lease *lease.Lease            // nil: not asked for yet
	had   bool
}

// awaitTurn waits for this tap's turn where the stream is there already; else it
// is waited for when that is made.
func (r *Replicator) awaitTurn(ctx context.Context, end context.CancelCauseFunc) (*turn, error) {
	t := &turn{r: r, end: end}
	for {
		ids, err := r.conn.Clusters(ctx)
		switch {
		case err == nil && len(ids) == 1 && (r.cfg.MetaID == 0 || r.cfg.MetaID == ids[0]):
			cluster, err := r.conn.Open(ctx, stream.ClusterConfig{MetaID: ids[0], Replicas: r.cfg.Replicas})
			if err == nil {
				err = t.take(ctx, cluster, true)
			}
			if err == nil || !stream.Away(err) || ctx.Err() != nil {
				return t, err
			}
		case err == nil:
			return t, nil
		case !stream.Away(err) || ctx.Err() != nil:
			return t, err
		}
		select {
		case <-ctx.Done():
			return t, ctx.Err()
		case <-time.After(sharedRetry / 4):
		}
	}
}

// take takes the lease, unless this tap has it, and waits for it only if nothing
// was asked of the primary yet: it would go on sending.
func (t *turn) take(ctx context.Context, cluster *stream.Cluster, wait bool) error {
	if t.had {
		return nil
	}
	reg, err := cluster.Register(ctx, "tap")
	if err != nil {
		return err
	}
	t.lease = lease.New(reg, cluster.Node(), lease.Within(turnTime))
	tick := time.NewTicker(turnTime / 5)
	defer tick.Stop()
	for {
		if err := t.lease.Look(ctx); err != nil {
			return err // Away, so that this is tried again
		}
		if rec, free := t.lease.Seen(); !free {
			t.r.status.wait(fmt.Errorf("%w: the tap of %s follows the primary", errNotMine, rec.Node))
		} else if err := t.r.reach(ctx); err != nil {
			t.r.status.wait(fmt.Errorf("%w: the primary cannot be reached: %w", errNotMine, err))
		} else if hold, err := t.lease.Take(ctx, false); err == nil {
			t.had = true
			t.r.status.goOn()
			t.r.background.Go(func() { t.watch(ctx, hold) })
			return nil
		}
		if !wait {
			return errNotMine
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// reach tells whether this host has a way to the primary. Files have no other.
func (r *Replicator) reach(ctx context.Context) error {
	if r.status.live == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	return r.status.live.Reach(ctx)
}

// watch ends following with the lease, and when the primary has not been there
// for a while: another host may have a way to it.
func (t *turn) watch(ctx, hold context.Context) {
	tick := time.NewTicker(idleTime / 10)
	defer tick.Stop()
	there := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hold.Done():
			t.end(fmt.Errorf("%w: its lease is over", errNotMine))
			return
		case <-tick.C:
		}
		if t.r.status.live == nil || t.r.status.live.Status().Connected {
			there = time.Now()
		}
		if time.Since(there) > idleTime {
			t.end(fmt.Errorf("%w: the primary has not answered for %v", errNotMine, idleTime))
			return
		}
	}
}

// release lets another tap go on.
func (t *turn) release() {
	if t.r.status.live != nil {
		t.r.status.live.Rest()
	}
	if t.lease != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		t.lease.Release(ctx)
	}
}
