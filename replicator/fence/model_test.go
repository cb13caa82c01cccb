package fence

import (
	"fmt"
	"slices"
	"testing"

	"mfsstandby/changelog/meta"
)

// The model: a stream with compare-and-set, two writers that crash, messages
// that stay in transit and arrive late or out of order, and a stream that
// redelivers. Every order of up to modelDepth steps is played.
const modelDepth = 9

// message is a record on its way. The stream stores it if its last sequence is
// the one before, and, for a batch, its last message is prev. The second
// condition is needed by writers that do not wait for each acknowledgement:
// sequences alone let the second batch in flight of a fenced writer in, when
// the record that opens the next epoch took the place of the first.
type message struct {
	Record
	writer int
	id     int // unique, also between the lives of a writer
	prev   int // id of the message that the writer sent before
}

type writer struct {
	state  State // what it believes the stream's end to be
	up     bool
	opened bool // the record that opens its epoch is acknowledged: only then may it append
	first  int  // id of that record: what has a lower one belongs to an earlier life
	last   int  // id of the message sent last
}

type world struct {
	log     []message
	transit []message
	writers [2]writer
	acked   []message
	ids     int
}

func (w world) clone() world {
	w.log, w.transit, w.acked = slices.Clone(w.log), slices.Clone(w.transit), slices.Clone(w.acked)
	return w
}

// end is the state a newcomer reads from the stream.
func (w *world) end(t *testing.T) State {
	t.Helper()
	var s State
	for _, m := range w.log {
		var err error
		if s, _, err = s.Judge(m.Record); err != nil {
			t.Fatalf("reading the stream %+v: %v", w.log, err)
		}
	}
	return s
}

// deliver lets the stream decide on transit message i; the writer hears of it
// only if it is up and still in the same life.
func (w *world) deliver(i int) {
	m := w.transit[i]
	w.transit = slices.Delete(w.transit, i, i+1)
	wr := &w.writers[m.writer]
	mine := wr.up && m.id >= wr.first
	if int(m.Seq) != len(w.log)+1 || m.Kind == Batch && w.log[len(w.log)-1].id != m.prev {
		if mine {
			*wr = writer{} // it is told that it lost, and opens anew
		}
		return
	}
	w.log = append(w.log, m)
	if mine {
		w.acked = append(w.acked, m)
		wr.opened = true
	}
}

// steps lists every world one step away.
func (w *world) steps(t *testing.T) (names []string, next []world) {
	add := func(name string, step func(*world)) {
		n := w.clone()
		step(&n)
		names, next = append(names, name), append(next, n)
	}
	for i := range w.writers {
		if !w.writers[i].up {
			add(fmt.Sprintf("writer %d opens", i), func(n *world) { n.open(t, i) })
			continue
		}
		if w.writers[i].opened {
			add(fmt.Sprintf("writer %d appends", i), func(n *world) { n.appendBatch(i, 1) })
			add(fmt.Sprintf("writer %d appends two", i), func(n *world) { n.appendBatch(i, 2) })
		}
		add(fmt.Sprintf("writer %d crashes", i), func(n *world) { n.writers[i] = writer{} })
	}
	for i := range w.transit {
		add(fmt.Sprintf("message %d arrives", i), func(n *world) { n.deliver(i) })
	}
	return names, next
}

func (w *world) open(t *testing.T, i int) {
	s := w.end(t)
	r := s.Open()
	if s.Epoch == 0 {
		r = s.Rebase(10)
	}
	w.send(i, s, r)
	w.writers[i].up, w.writers[i].first = true, w.ids
}

func (w *world) appendBatch(i int, count uint32) {
	s := w.writers[i].state
	w.send(i, s, s.Batch(count, entries(s.Chain, s.Next, count)))
}

// send puts r in transit and lets the writer go on as if it had arrived.
func (w *world) send(i int, s State, r Record) {
	w.ids++
	w.transit = append(w.transit, message{r, i, w.ids, w.writers[i].last})
	w.writers[i].last = w.ids
	w.writers[i].state = State{Seq: r.Seq, Epoch: r.Epoch, Next: r.Next(), Chain: r.After}
}

// check reads the stream with every message delivered twice.
func (w *world) check(t *testing.T, path []string) {
	t.Helper()
	var s State
	owner := map[Epoch]int{}
	versions := []meta.Version{}
	delivered := map[int]bool{}
	for i, m := range w.log {
		for range 2 {
			next, verdict, err := s.Judge(m.Record)
			if err != nil {
				t.Fatalf("after %q: record %d: %v", path, i, err)
			}
			s = next
			if verdict == Redelivered {
				continue
			}
			if verdict == Stale {
				t.Fatalf("after %q: the stream took record %d of a fenced writer", path, i)
			}
			delivered[i] = true
			if o, ok := owner[m.Epoch]; ok && o != m.writer && m.Kind == Batch {
				t.Fatalf("after %q: writers %d and %d both wrote in epoch %d", path, o, m.writer, m.Epoch)
			}
			owner[m.Epoch] = m.writer
			for v := m.First; v < m.Next(); v++ {
				versions = append(versions, v)
			}
		}
	}
	for i, v := range versions {
		if v != 10+meta.Version(i) {
			t.Fatalf("after %q: versions %v, want each once from 10 on", path, versions)
		}
	}
	for _, m := range w.acked {
		if i := slices.Index(w.log, m); !delivered[i] {
			t.Fatalf("after %q: %+v was acknowledged, and readers do not get it", path, m)
		}
	}
}

func TestEveryOrderOfTwoWriters(t *testing.T) {
	worlds := 0
	var play func(w world, path []string)
	play = func(w world, path []string) {
		worlds++
		w.check(t, path)
		if len(path) == modelDepth {
			return
		}
		names, next := w.steps(t)
		for i := range next {
			play(next[i], append(path, names[i]))
		}
	}
	play(world{}, nil)
	if worlds < 10000 {
		t.Fatalf("only %d worlds were played", worlds)
	}
}

// TestLateWithoutCompareAndSet: whatever the fenced writer still gets into the
// stream, and wherever, is skipped.
func TestLateWithoutCompareAndSet(t *testing.T) {
	s, _, err := State{}.Judge(State{}.Rebase(10))
	if err != nil {
		t.Fatal(err)
	}
	var stale []Record
	for old := s; len(stale) < 3; {
		r := old.Batch(1, entries(old.Chain, old.Next, 1))
		stale = append(stale, r)
		if old, _, err = old.Judge(r); err != nil {
			t.Fatal(err)
		}
	}
	open := s.Open()
	if s, _, err = s.Judge(open); err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		late := stale[i%len(stale)]
		late.Seq = s.Seq + 1
		next, verdict, err := s.Judge(late)
		if verdict != Stale || err != nil || next.Next != s.Next || next.Chain != s.Chain {
			t.Fatalf("late record %+v: %v, %v, state %+v", late, verdict, err, next)
		}
		if s, verdict, err = next.Judge(next.Batch(1, entries(s.Chain, s.Next, 1))); verdict != Accept || err != nil {
			t.Fatalf("batch of the new epoch: %v, %v", verdict, err)
		}
	}
	if s.Next != 22 {
		t.Fatalf("stream ends at %d, want 22", s.Next)
	}
}

func BenchmarkChain(b *testing.B) {
	line := []byte("1700000000|CREATE(1234567,file-000123,1,420,18,1000,1000,0):7654321")
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	var c Chain
	for b.Loop() {
		c = c.Next(1, line)
	}
	if c.IsZero() {
		b.Fatal("no chain")
	}
}
