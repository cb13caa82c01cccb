// Package lease lets one of several processes do something: lead, or tap. It has
// it for a while, and for longer as often as it renews that in time; another one
// may have it when it was given back, or was not renewed for long enough.
//
// # Why there are never two
//
// A lease is a record in a register that is changed by compare-and-set, so each
// of its revisions has one author. No clock of another host is believed, and no
// time of day: what counts is how long a process has waited by its own
// monotonic clock. Steps of clocks are harmless, therefore.
//
//   - The holder has it until Times.Last after it *sent* the change that made the
//     newest revision it knows of (Lease.Valid).
//   - Another process takes it when it has *seen* the same revision for Times.Wait.
//
// The change was sent before it was stored, and stored before it was seen. So
// the holder's time is over when Last has passed since the other one saw the
// revision, and Wait is longer. If the holder renews meanwhile there is a new
// revision, which the other one either sees, and waits again, or does not, and
// its compare-and-set fails. A read that is old is one of these two.
//
// Wait is a quarter longer than Last: monotonic clocks may differ by that much
// in their rate, or the holder may need so long to stop; clocks of computers
// differ by 0.05 % at most. A process that is frozen between looking at its
// clock and acting acts too late all the same. Therefore nothing that changes the
// stream relies on a lease: the epoch does that (package fence). A lease keeps
// a leader that was cut off from answering what others have changed since.
package lease

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Register holds the record: a stream.Register. Set fails if the revision is
// not the present one.
type Register interface {
	Get(ctx context.Context) (value []byte, revision uint64, err error)
	Set(ctx context.Context, value []byte, revision uint64) (uint64, error)
}

// Times of a lease.
type Times struct {
	Wait  time.Duration // without a renewal, after which another process may take it
	Last  time.Duration // since a renewal was sent, during which its holder has it
	Renew time.Duration // between renewals
}

// Within gives the times of a lease that may be taken after wait. Three
// renewals may be lost before the holder stops.
func Within(wait time.Duration) Times {
	return Times{Wait: wait, Last: wait * 4 / 5, Renew: wait / 5}
}

// Record is what is stored.
type Record struct {
	Node     string `json:"node"`     // of the holder, for people
	Token    string `json:"token"`    // of this time of its holder
	Count    uint64 `json:"count"`    // renewals
	Released bool   `json:"released"` // nobody has it
}

// ErrTaken says that another process has the lease.
var ErrTaken = errors.New("another node has the lease")

// Seen is what a process knows of a lease from reading it. The zero value knows
// nothing.
type Seen struct {
	Record   Record
	Revision uint64
	since    time.Duration // when this revision was seen first
	known    bool
}

// Saw takes note of what was read, at a time of the process's clock after that.
func (s *Seen) Saw(r Record, revision uint64, now time.Duration) {
	if s.known && revision <= s.Revision {
		return // the same, or read late
	}
	*s = Seen{Record: r, Revision: revision, since: now, known: true}
}

// Free tells whether the lease may be taken.
func (s *Seen) Free(now time.Duration, t Times) bool {
	return s.known && (s.Revision == 0 || s.Record.Released || now-s.since >= t.Wait)
}

// Held is a lease that a process has.
type Held struct {
	Revision uint64
	until    time.Duration
}

// Renewed takes note of a change that is stored, and was sent at a time of the
// process's clock.
func (h *Held) Renewed(revision uint64, sent time.Duration, t Times) {
	h.Revision, h.until = revision, max(h.until, sent+t.Last)
}

// Valid tells whether the lease is had at a time of the process's clock.
func (h *Held) Valid(now time.Duration) bool { return now < h.until }

// Lease is one process's view of a lease. Its methods are safe for concurrent use.
type Lease struct {
	reg   Register
	node  string
	times Times
	start time.Time // of the process's clock

	mu    sync.Mutex // guards what follows
	seen  Seen
	held  Held
	token string             // of the time that is under way; "": none
	end   context.CancelFunc // ends that
	done  chan struct{}      // closed when it has ended
}

// New returns a lease that nothing is known of yet. node is for people.
func New(reg Register, node string, t Times) *Lease {
	return &Lease{reg: reg, node: node, times: t, start: time.Now()}
}

// now is the process's clock: monotonic.
func (l *Lease) now() time.Duration { return time.Since(l.start) }

// Look reads the lease; it has to be called often for Free to tell.
func (l *Lease) Look(ctx context.Context) error {
	value, revision, err := l.reg.Get(ctx)
	if err != nil {
		return err
	}
	var r Record
	if revision != 0 {
		if err := json.Unmarshal(value, &r); err != nil {
			return fmt.Errorf("the record of a lease, %q: %w", value, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen.Saw(r, revision, l.now())
	return nil
}

// Seen tells what was seen last, and whether the lease may be taken.
func (l *Lease) Seen() (Record, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen.Record, l.seen.Free(l.now(), l.times)
}

// Valid tells whether this process has the lease at this moment.
func (l *Lease) Valid() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token != "" && l.held.Valid(l.now())
}

// Take takes the lease if it is free, or with force in any case, and renews it.
// The context it returns ends when the lease does. ErrTaken says that another
// process has it.
func (l *Lease) Take(ctx context.Context, force bool) (context.Context, error) {
	l.mu.Lock()
	busy := l.token != ""
	l.mu.Unlock()
	if busy {
		return nil, errors.New("this process has the lease already")
	}
	if err := l.Look(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	seen, free := l.seen, l.seen.Free(l.now(), l.times)
	l.mu.Unlock()
	if !free && !force {
		return nil, fmt.Errorf("%w: %s", ErrTaken, seen.Record.Node)
	}
	token, sent := rand.Text(), l.now()
	revision, err := l.set(ctx, Record{Node: l.node, Token: token}, seen.Revision)
	if err != nil {
		return nil, fmt.Errorf("taking the lease: %w", err) // if it is stored nonetheless, it ends unused
	}
	hold, cancel := context.WithCancel(context.Background())
	l.mu.Lock()
	l.held = Held{}
	l.held.Renewed(revision, sent, l.times)
	l.token, l.end, l.done = token, cancel, make(chan struct{})
	done := l.done
	l.mu.Unlock()
	go func() {
		defer close(done)
		l.keep(hold, token)
		l.mu.Lock()
		l.token = ""
		l.mu.Unlock()
		cancel()
	}()
	return hold, nil
}

// Await takes the lease as soon as it is free. It gives up when another process
// takes it meanwhile, unless patient.
func (l *Lease) Await(ctx context.Context, patient bool) (context.Context, error) {
	tick := time.NewTicker(l.times.Renew)
	defer tick.Stop()
	for first, before := true, (Record{}); ; first = false {
		hold, err := l.Take(ctx, false)
		if err == nil || ctx.Err() != nil {
			return hold, err
		}
		now, _ := l.Seen()
		if !patient && !first && now != before {
			return nil, err
		}
		before = now
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-tick.C:
		}
	}
}

func (l *Lease) set(ctx context.Context, r Record, revision uint64) (uint64, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.times.Last/2)
	defer cancel()
	return l.reg.Set(ctx, value, revision)
}

// keep renews until hold ends, or the lease is lost.
func (l *Lease) keep(hold context.Context, token string) {
	tick := time.NewTicker(l.times.Renew)
	defer tick.Stop()
	for count := uint64(1); ; count++ {
		l.mu.Lock()
		left, revision := l.held.until-l.now(), l.held.Revision
		l.mu.Unlock()
		over := time.NewTimer(left)
		select {
		case <-hold.Done():
			over.Stop()
			return
		case <-over.C:
			return
		case <-tick.C:
			over.Stop()
		}
		ctx, cancel := context.WithTimeout(hold, left)
		sent := l.now()
		now, err := l.set(ctx, Record{Node: l.node, Token: token, Count: count}, revision)
		if err == nil {
			l.mu.Lock()
			l.held.Renewed(now, sent, l.times)
			l.mu.Unlock()
		} else if !l.still(ctx, token) {
			cancel()
			return
		}
		cancel()
	}
}

// still finds out after a failed renewal whether the lease is this process's.
// What cannot be read may be: until it ends.
func (l *Lease) still(ctx context.Context, token string) bool {
	if err := l.Look(ctx); err != nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen.Record.Token != token {
		return l.seen.Revision <= l.held.Revision // it was read late
	}
	l.held.Revision = max(l.held.Revision, l.seen.Revision) // stored after all; that lengthens nothing
	return true
}

// Release gives the lease back, so that others need not wait. It does nothing
// if this process does not have it.
func (l *Lease) Release(ctx context.Context) {
	l.mu.Lock()
	token, end, done := l.token, l.end, l.done
	l.mu.Unlock()
	if token == "" {
		return
	}
	end()
	<-done
	l.mu.Lock()
	revision := l.held.Revision
	l.mu.Unlock()
	// If that fails the lease ends by itself.
	_, _ = l.set(ctx, Record{Node: l.node, Token: token, Released: true}, revision)
}
