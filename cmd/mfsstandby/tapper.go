package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby/promote"
	"mfsstandby/standby/role"
)

// tapper is a tap that can be stopped and started while the process runs: it
// must not go on while the process leads. It is a promote.Tap.
type tapper struct {
	make  func() (*replicator.Replicator, error)
	now   atomic.Pointer[replicator.Replicator]
	start chan struct{} // follow again

	mu   sync.Mutex // guards what follows
	stop context.CancelFunc
	done chan struct{} // closed when it has stopped
}

func newTapper(make_ func() (*replicator.Replicator, error)) (*tapper, error) {
	t := &tapper{make: make_, start: make(chan struct{}, 1)}
	r, err := make_()
	if err != nil {
		return nil, err
	}
	t.now.Store(r)
	return t, nil
}

// handedOver is what is known of a stock master that this process handed over
// to, nil if there is none.
func (d *daemon) handedOver() (*role.HandOver, error) {
	m, err := role.Open(d.data)
	if err != nil {
		return nil, err
	}
	return m.Now().HandOver, nil
}

// dropHandOver forgets it: the configured primary is to be followed.
func (d *daemon) dropHandOver() error {
	m, err := role.Open(d.data)
	if err != nil || m.Now().HandOver == nil {
		return err
	}
	_, err = m.Set(func(st *role.State) { st.HandOver = nil })
	return err
}

// Received is the version after what was received.
func (t *tapper) Received() meta.Version { return t.now.Load().Received() }

// run follows until ctx ends, or the source does. A tap that was fenced off, or
// stopped, waits until it is started again: what else the process does goes on.
func (t *tapper) run(ctx context.Context, ended func(*replicator.Replicator) error) error {
	for {
		one, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		t.mu.Lock()
		t.stop, t.done = stop, done
		t.mu.Unlock()
		err := t.now.Load().Run(one)
		stopped := one.Err() != nil
		stop()
		close(done)
		switch {
		case ctx.Err() != nil:
			return err
		case err == nil && !stopped:
			return ended(t.now.Load())
		case err != nil && !errors.Is(err, stream.ErrFenced) && !errors.Is(err, replicator.ErrLed):
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.start:
		}
		r, err := t.make()
		if err != nil {
			return err
		}
		t.now.Store(r)
	}
}

// stopLimit is how long the stream may take for what is in the spool.
const stopLimit = 30 * time.Second

// Stop ends following when what was received is in the stream.
func (t *tapper) Stop(ctx context.Context) error {
	t.mu.Lock()
	stop, done := t.stop, t.done
	t.mu.Unlock()
	if stop == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	for {
		st := t.now.Load().Status()
		if st.Published >= st.Received || st.Waits != "" { // it has nothing to bring, or another one does
			break
		}
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("what was received, up to version %d, cannot be brought into the stream, which is at %d: %w", st.Received, st.Published, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	stop()
	<-done
	return nil
}

// Start follows again.
func (t *tapper) Start() {
	select {
	case t.start <- struct{}{}:
	default:
	}
}

// heard tells when the primary was heard last, and whether it is connected.
func (t *tapper) heard() (time.Time, bool) {
	st := t.now.Load().Status()
	return st.Heard, st.Connected && st.Waits == ""
}

// Heard tells of the primary.
func (t *tapper) Heard() promote.Heard {
	st := t.now.Load().Status()
	return promote.Heard{Source: st.Source, Alive: st.Alive(), Next: st.Received, At: st.Heard}
}
