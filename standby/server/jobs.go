package server

import (
	"errors"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// Requests whose work has no bound are answered from a view of the image, in a
// goroutine of their own, so that neither the applier nor other clients wait.
const (
	maxJobs    = 2   // worked on at once
	maxWaiting = 512 // jobs that may wait for their turn
)

// Statuses that only this protocol knows.
const (
	statusIO            meta.Status = 22
	statusNoPassword    meta.Status = 36
	statusBadPassword   meta.Status = 37
	statusAgain         meta.Status = 45
	statusInterrupted   meta.Status = 46
	statusCanceled      meta.Status = 47
	statusENOENTNoCache meta.Status = 48
	statusNotSupported  meta.Status = 39
	statusNameTooLong   meta.Status = 58
)

var errTooManyJobs = errors.New("too many long requests wait already")

// later has do answer request t from a view. It appends the whole answer and
// returns OK, or nothing and a status.
func (c *conn) later(t wire.Type, id uint32, do func(*meta.State, *wire.Encoder) meta.Status) error {
	s := c.srv
	if s.waiting.Add(1) > maxWaiting {
		s.waiting.Add(-1)
		return errTooManyJobs
	}
	seen := c.seen
	s.wg.Go(func() {
		defer s.waiting.Add(-1)
		select {
		case s.jobs <- struct{}{}:
			defer func() { <-s.jobs }()
		case <-s.ctx.Done():
			return
		}
		var e wire.Encoder
		if err := s.work(seen, &e, t, id, do); err != nil {
			s.log.Debug("a long request could not be answered", "request", t, "err", err)
			c.link.shut() // the client comes again
			return
		}
		c.post(e.Buf)
	})
	return nil
}

// work does a job that must see at least version seen.
func (s *Server) work(seen meta.Version, e *wire.Encoder, t wire.Type, id uint32, do func(*meta.State, *wire.Encoder) meta.Status) error {
	img, err := s.ready()
	if err != nil {
		return err
	}
	v, err := img.View()
	if err != nil {
		return err
	}
	defer v.Close()
	if v.Position().Version < seen {
		return errOlder
	}
	if status := do(v.State(), e); status != meta.OK {
		e.Buf = e.Buf[:0]
		wire.AppendStatus(e, t, id, status)
	}
	return v.State().Err()
}
