package standby

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
)

// hold is that somebody else changes the image for a while: a leader.
type hold struct {
	stopped chan struct{} // closed when nothing is applied any more
	over    chan struct{} // closed by who holds
}

// ErrHeld says that somebody holds the image already.
var ErrHeld = errors.New("the image is held already")

// Hold stops applying at a whole version, and returns when nothing but its
// caller changes the image. What is not committed then comes with its next commit. release lets the standby follow
// the stream again from where the image is then.
func (s *Standby) Hold(ctx context.Context) (release func(), err error) {
	h := &hold{stopped: make(chan struct{}), over: make(chan struct{})}
	s.mu.Lock()
	if s.held != nil {
		s.mu.Unlock()
		return nil, ErrHeld
	}
	if s.state == Stopped {
		defer s.mu.Unlock()
		return nil, fmt.Errorf("replication is stopped: %w", s.err)
	}
	s.held = h
	if s.pause != nil {
		s.pause()
	}
	s.mu.Unlock()
	release = func() { close(h.over) }
	select {
	case <-h.stopped:
		return release, nil
	case <-ctx.Done():
		release()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.held == h {
			s.held = nil
		}
		return nil, ctx.Err()
	}
}

// pausable applies until that ends, or somebody wants to hold the image.
func (s *Standby) pausable(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.pause = cancel
	if s.held != nil {
		cancel()
	}
	s.mu.Unlock()
	return s.apply(ctx)
}

// handOver lets who wants it have the image until that one is done; false if
// nobody does, or applying ended for another reason.
func (s *Standby) handOver(ctx context.Context, err error) bool {
	s.mu.Lock()
	h := s.held
	if h == nil || err != nil && !errors.Is(err, context.Canceled) {
		s.mu.Unlock()
		return false
	}
	s.state, s.err = Leading, nil
	s.mu.Unlock()
	close(h.stopped)
	select {
	case <-h.over:
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.held = nil
	s.mu.Unlock()
	s.loaded = 0 // it is not a base image any more
	return true
}

// Cluster returns the cluster that is followed, nil while its stream is awaited.
func (s *Standby) Cluster() *stream.Cluster {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cluster
}

// Reach waits until the image is at version v, and calls progress now and then.
func (s *Standby) Reach(ctx context.Context, v meta.Version, progress func(at meta.Version)) error {
	tick := time.NewTicker(reachEvery)
	defer tick.Stop()
	for {
		at := s.version()
		if progress != nil {
			progress(at)
		}
		if at >= v {
			return nil
		}
		if st := s.Status(); st.State == Stopped {
			return fmt.Errorf("the image stops at version %d of %d: %s", at, v, st.Error)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the image is at version %d of %d: %w", at, v, ctx.Err())
		case <-tick.C:
		}
	}
}

// reachEvery is how often Reach looks.
const reachEvery = 2 * time.Millisecond
