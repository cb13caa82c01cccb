package fence

import (
	"fmt"
	"slices"
	"testing"

	"mfsstandby/changelog/meta"
)

// The model of a promotion: a stream, the tap of an old primary and two
// candidates. Each candidate is promoted at most once; after a crash it leads
// again only where its own epoch is still the stream's last. The tap starts as
// often as it likes, and does not open an epoch behind a leader's record. All of
// them crash, their messages arrive late, in any order, and one of them twice.
const promotionDepth = 9

const (
	oldTap     = 0
	candidates = 2
)

// actor is the tap or a candidate.
type actor struct {
	writer
	promoted bool  // a person has asked for it; that happens once
	kept     Epoch // that it wrote down when it began to lead
}

type parcel struct {
	message
	led bool // a leader sent it
}

type cluster struct {
	log     []parcel
	transit []parcel
	actors  [1 + candidates]actor
	told    []parcel // acknowledged: clients were told so
	ids     int
	twice   bool // a message has come twice
}

func (c cluster) clone() cluster {
	c.log, c.transit, c.told = slices.Clone(c.log), slices.Clone(c.transit), slices.Clone(c.told)
	return c
}

func (c *cluster) end(t *testing.T) (s State, led bool) {
	t.Helper()
	for _, p := range c.log {
		var err error
		if s, _, err = s.Judge(p.Record); err != nil {
			t.Fatalf("reading %+v: %v", c.log, err)
		}
		led = p.led
	}
	return s, led
}

// open reads the end and sends the record that opens an epoch; false if the
// actor must not.
func (c *cluster) open(t *testing.T, i int) bool {
	t.Helper()
	a := &c.actors[i]
	s, led := c.end(t)
	r := s.Open()
	switch {
	case s.Epoch == 0 && i == oldTap:
		r = s.Rebase(10)
	case s.Epoch == 0, i == oldTap && led:
		return false
	case i != oldTap && a.promoted && (a.kept == 0 || a.kept != s.Epoch):
		return false
	}
	a.promoted = true
	c.send(i, r)
	a.up, a.opened, a.first = true, false, c.ids
	return true
}

func (c *cluster) send(i int, r Record) {
	c.ids++
	a := &c.actors[i]
	c.transit = append(c.transit, parcel{message{r, i, c.ids, a.last}, i != oldTap})
	a.last = c.ids
	a.state = State{Seq: r.Seq, Epoch: r.Epoch, Next: r.Next(), Chain: r.After}
}

// arrive lets the stream decide on message i.
func (c *cluster) arrive(i int, again bool) {
	p := c.transit[i]
	if again {
		c.twice = true
	} else {
		c.transit = slices.Delete(c.transit, i, i+1)
	}
	a := &c.actors[p.writer]
	mine := a.up && p.id >= a.first
	if int(p.Seq) != len(c.log)+1 || p.Kind == Batch && c.log[len(c.log)-1].id != p.prev {
		if mine && !slices.ContainsFunc(c.log, func(o parcel) bool { return o.id == p.id }) {
			a.writer = writer{} // it is told that it lost, and leads or follows no more
		}
		return
	}
	c.log = append(c.log, p)
	if mine {
		c.told = append(c.told, p)
		a.opened = true
		if p.Kind != Batch && p.led {
			a.kept = p.Epoch // before the first client is served
		}
	}
}

func (c *cluster) steps(t *testing.T) (names []string, next []cluster) {
	add := func(name string, step func(*cluster) bool) {
		n := c.clone()
		if step(&n) {
			names, next = append(names, name), append(next, n)
		}
	}
	done := func(step func(*cluster)) func(*cluster) bool {
		return func(n *cluster) bool { step(n); return true }
	}
	for i, a := range c.actors {
		if !a.up {
			add(fmt.Sprintf("%d opens", i), func(n *cluster) bool { return n.open(t, i) })
			continue
		}
		if a.opened {
			add(fmt.Sprintf("%d appends", i), done(func(n *cluster) {
				s := n.actors[i].state
				n.send(i, s.Batch(1, entries(s.Chain, s.Next, 1)))
			}))
		}
		add(fmt.Sprintf("%d crashes", i), done(func(n *cluster) { n.actors[i].writer = writer{} }))
	}
	for i := range c.transit {
		add(fmt.Sprintf("message %d arrives", i), done(func(n *cluster) { n.arrive(i, false) }))
		if !c.twice {
			add(fmt.Sprintf("message %d arrives, and will again", i), done(func(n *cluster) { n.arrive(i, true) }))
		}
	}
	return names, next
}

// check looks at what readers make of the stream.
func (c *cluster) check(t *testing.T, path []string) {
	t.Helper()
	var s State
	owner := map[Epoch]int{}
	want := meta.Version(10)
	var leaders []int // in order, one after the other
	for i, p := range c.log {
		next, verdict, err := s.Judge(p.Record)
		if err != nil || verdict != Accept {
			t.Fatalf("after %q: record %d of %d: %v, %v", path, i, p.writer, verdict, err)
		}
		s = next
		if o, ok := owner[p.Epoch]; ok && o != p.writer {
			t.Fatalf("after %q: %d and %d wrote in epoch %d", path, o, p.writer, p.Epoch)
		}
		owner[p.Epoch] = p.writer
		if p.Kind == Batch && p.First != want {
			t.Fatalf("after %q: version %d where %d was to come", path, p.First, want)
		}
		want = p.Next()
		switch {
		case !p.led && len(leaders) > 0:
			t.Fatalf("after %q: the old primary's tap wrote after candidate %d led", path, leaders[len(leaders)-1])
		case p.led && (len(leaders) == 0 || leaders[len(leaders)-1] != p.writer):
			leaders = append(leaders, p.writer)
		}
	}
	if len(leaders) > candidates {
		t.Fatalf("after %q: the lead went back and forth: %v", path, leaders)
	}
	for _, p := range c.told {
		if !slices.ContainsFunc(c.log, func(o parcel) bool { return o.id == p.id }) {
			t.Fatalf("after %q: %+v was answered, and is not in the stream", path, p)
		}
	}
}

func TestEveryOrderOfAPromotion(t *testing.T) {
	depth := promotionDepth
	if testing.Short() {
		depth -= 2
	}
	seen := map[string]int{} // how many steps were left when a world was played
	ends := map[int]int{}    // how many worlds had so many leaders one after the other
	var play func(c cluster, path []string)
	play = func(c cluster, path []string) {
		left := depth - len(path)
		key := fmt.Sprintf("%+v", struct {
			Log, Transit []parcel
			Actors       [1 + candidates]actor
			Twice        bool
		}{c.log, c.transit, c.actors, c.twice})
		if before, ok := seen[key]; ok && before >= left {
			return
		}
		seen[key] = left
		c.check(t, path)
		leaders := map[int]bool{}
		for _, p := range c.log {
			if p.led {
				leaders[p.writer] = true
			}
		}
		ends[len(leaders)]++
		if left == 0 {
			return
		}
		names, next := c.steps(t)
		for i := range next {
			play(next[i], append(path, names[i]))
		}
	}
	play(cluster{}, nil)
	if len(seen) < 2000 || ends[1] == 0 || ends[candidates] == 0 {
		t.Fatalf("only %d worlds were played: %v by number of leaders", len(seen), ends)
	}
	t.Logf("%d worlds, by number of leaders: %v", len(seen), ends)
}
