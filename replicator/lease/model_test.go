package lease

import (
	"fmt"
	"testing"
	"time"
)

// The model: two processes whose clocks do not run at the same rate, a register,
// requests that arrive late or never, answers that are lost, and reads that are
// old. Time is in units of a nanosecond: what a clock gains in a tick.
var modelTimes = Times{Wait: 10, Last: 8, Renew: 2}

const (
	modelTicks    = 3 // long enough for a lease to be taken, kept, lost and taken again
	modelSends    = 2 // by the first process; the second has one less
	modelRequests = 2*modelSends - 1
)

type modelProcess struct {
	seen  Seen
	held  Held
	sends int
	asked int // its request whose answer it waits for, by number; 0: none
}

type modelRequest struct {
	number   int // from 1 on, by each process
	from     int
	revision uint64 // that it wants to replace
	sent     time.Duration
	stored   uint64 // the new one; 0: not decided yet
	refused  bool
}

// modelWorld can be compared, so that none is played twice. Requests are those
// that may still matter.
type modelWorld struct {
	tick     int
	log      [modelRequests]Record // the register's revisions
	stored   uint64                // how many of them there are
	procs    [2]modelProcess
	requests [modelRequests]modelRequest
	made     int
}

type model struct {
	times Times
	rates [2]time.Duration   // what a clock gains in a tick
	seen  map[modelWorld]int // how many ticks were left when a world was played
	moved int                // worlds in which it has gone from one to the other
	both  *modelWorld        // one in which both have it
}

func (m *model) clock(w *modelWorld, p int) time.Duration {
	return time.Duration(w.tick) * m.rates[p]
}

// steps are all worlds that can come next.
func (m *model) steps(w modelWorld) (next []modelWorld) {
	add := func(step func(*modelWorld)) {
		n := w
		step(&n)
		if n != w {
			next = append(next, n)
		}
	}
	if w.tick < modelTicks {
		add(func(n *modelWorld) { n.tick++ })
	}
	for p, a := range w.procs {
		now := m.clock(&w, p)
		for old := range min(w.stored, 1) + 1 { // reads of the newest revision, and of the one before
			add(func(n *modelWorld) { n.read(p, w.stored-old, now) })
		}
		if a.asked != 0 {
			add(func(n *modelWorld) { n.procs[p].asked = 0 }) // it waits no longer; the request may arrive yet
			continue
		}
		if a.sends == modelSends {
			continue
		}
		if a.held.Valid(now) {
			add(func(n *modelWorld) { n.send(p, a.held.Revision, now) })
			add(func(n *modelWorld) { // after an answer that did not come, it finds its own words
				if r := a.seen; r.Record.Token == fmt.Sprint(p) {
					n.procs[p].held.Revision = max(a.held.Revision, r.Revision)
				}
			})
		} else if a.seen.Free(now, m.times) {
			add(func(n *modelWorld) { n.send(p, a.seen.Revision, now) })
		}
	}
	for i, r := range w.requests[:w.made] {
		if r.stored == 0 && !r.refused {
			add(func(n *modelWorld) { n.arrive(i) })
		} else {
			add(func(n *modelWorld) { n.answer(i) })
		}
	}
	return next
}

func (w *modelWorld) read(p int, revision uint64, now time.Duration) {
	var r Record
	if revision > 0 {
		r = w.log[revision-1]
	}
	w.procs[p].seen.Saw(r, revision, now)
}

func (w *modelWorld) send(p int, revision uint64, now time.Duration) {
	a := &w.procs[p]
	a.sends++
	a.asked = a.sends
	w.requests[w.made] = modelRequest{number: a.sends, from: p, revision: revision, sent: now}
	w.made++
}

// forget drops a request that nobody waits for any more.
func (w *modelWorld) forget(i int) {
	w.made--
	copy(w.requests[i:], w.requests[i+1:])
	w.requests[len(w.requests)-1] = modelRequest{}
}

func (w *modelWorld) arrive(i int) {
	r := &w.requests[i]
	if r.refused = r.revision != w.stored; !r.refused {
		w.log[w.stored] = Record{Token: fmt.Sprint(r.from)}
		w.stored++
		r.stored = w.stored
	}
	if w.procs[r.from].asked != r.number {
		w.forget(i)
	}
}

func (w *modelWorld) answer(i int) {
	r := w.requests[i]
	w.forget(i)
	a := &w.procs[r.from]
	if a.asked != r.number {
		return
	}
	a.asked = 0
	switch {
	case !r.refused:
		a.held.Renewed(r.stored, r.sent, modelTimes)
	case r.revision == a.held.Revision && w.log[w.stored-1].Token != fmt.Sprint(r.from):
		a.held = Held{} // it looks, and another one has it
	}
}

// ages is the world with all times as ages, no older than matters: worlds that
// differ only by when they are go on alike.
func (m *model) ages(w modelWorld) modelWorld {
	for p := range w.procs {
		a, now := &w.procs[p], m.clock(&w, p)
		a.seen.since = max(a.seen.since-now, -m.times.Wait)
		if a.seen.Revision == 0 {
			a.seen.since = 0
		}
		if a.held.Valid(now) {
			a.held.until -= now
		} else {
			a.held = Held{}
		}
	}
	for i := range w.requests[:w.made] {
		r := &w.requests[i]
		r.sent = max(r.sent-m.clock(&w, r.from), -modelTimes.Last)
	}
	w.tick = 0
	return w
}

func (m *model) play(w modelWorld) {
	key, left := m.ages(w), modelTicks-w.tick+1
	if m.both != nil || m.seen[key] >= left {
		return
	}
	m.seen[key] = left
	a, b := &w.procs[0], &w.procs[1]
	if a.held.Valid(m.clock(&w, 0)) && b.held.Valid(m.clock(&w, 1)) {
		m.both = &w
		return
	}
	if w.stored > 1 && w.log[0].Token != w.log[w.stored-1].Token {
		m.moved++
	}
	for _, n := range m.steps(w) {
		m.play(n)
	}
}

func explore(times Times, rates [2]time.Duration) *model {
	m := &model{times: times, rates: rates, seen: map[modelWorld]int{}}
	w := modelWorld{}
	w.procs[1].sends = 1 // which of the two is first does not matter
	m.play(w)
	return m
}

func TestNeverTwo(t *testing.T) {
	for _, rates := range [][2]time.Duration{{4, 4}, {4, 5}, {5, 4}} {
		m := explore(modelTimes, rates)
		if m.both != nil {
			t.Fatalf("with clocks at rates %v both have the lease in %+v", rates, *m.both)
		}
		if m.moved == 0 || len(m.seen) < 1000 {
			t.Fatalf("rates %v: only %d worlds, in %d it had moved", rates, len(m.seen), m.moved)
		}
		t.Logf("rates %v: %d worlds, in %d of them the lease had gone from one to the other", rates, len(m.seen), m.moved)
	}
	// The model finds what is wrong: a wait that is too short for such clocks.
	short := modelTimes
	short.Wait /= 2
	if explore(short, [2]time.Duration{4, 5}).both == nil {
		t.Error("a shorter wait does no harm: the model does not look closely")
	}
}

// Times of all lengths keep what the model's do.
func TestTimesAreTight(t *testing.T) {
	for _, wait := range []time.Duration{time.Second, 2 * time.Second, time.Minute} {
		got := Within(wait)
		if got.Last*5/4 > got.Wait || got.Renew*3 > got.Last {
			t.Errorf("%v: %+v", wait, got)
		}
	}
}
