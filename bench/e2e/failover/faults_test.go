//go:build e2e

package failover

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// round is what happens in one.
type round struct {
	*world
	rnd  *rand.Rand
	n    *node   // whom it befalls
	rest []*node // the others
}

// A fault is made here; heal ends all of them.
type fault struct {
	name string
	make func(r *round)
}

var faults = []fault{
	{"is killed", func(r *round) { r.n.p.kill() }},
	{"is killed and started again", func(r *round) { r.n.p.kill(); r.n.start() }},
	{"is killed with another one", func(r *round) { r.n.p.kill(); r.rest[0].p.kill() }},
	{"is killed, as all are", func(r *round) {
		for _, n := range r.nodes {
			n.p.kill()
		}
	}},
	{"is killed, and whoever leads then, too", func(r *round) {
		r.n.p.kill()
		r.sleep(2500, 4000)
		if n := r.leader(); n != nil && n.p.running() {
			n.p.kill()
		}
	}},
	{"stands still", func(r *round) { r.n.p.signal(unix.SIGSTOP) }},
	{"stands still, as all do", func(r *round) {
		for _, n := range r.nodes {
			n.p.signal(unix.SIGSTOP)
		}
	}},
	{"stands still time and again", func(r *round) {
		for range 4 {
			r.n.p.signal(unix.SIGSTOP)
			r.sleep(200, 2500)
			r.n.p.signal(unix.SIGCONT)
			r.sleep(10, 500)
		}
	}},
	{"is cut off", func(r *round) { r.n.lose("INPUT", 1); r.n.lose("OUTPUT", 1) }},
	{"cannot send", func(r *round) { r.n.lose("OUTPUT", 1) }},
	{"cannot receive", func(r *round) { r.n.lose("INPUT", 1) }},
	{"loses packets", func(r *round) {
		part := 0.05 + 0.3*r.rnd.Float64()
		r.n.lose("INPUT", part)
		r.n.lose("OUTPUT", part)
	}},
	{"has a slow link", func(r *round) { r.n.slow(100 + r.rnd.IntN(400)) }},
	{"is cut off from the other nodes", func(r *round) {
		for _, n := range r.rest {
			n.refuse(r.n.host)
			r.n.refuse(n.host)
		}
	}},
	{"is cut off from the others, as all are", func(r *round) {
		for _, n := range r.nodes {
			for _, from := range r.nodes {
				if n != from {
					n.refuse(from.host)
				}
			}
		}
	}},
	{"is cut off from one other node", func(r *round) { r.n.refuse(r.rest[0].host); r.rest[0].refuse(r.n.host) }},
	{"is not heard by one other node", func(r *round) { r.rest[0].refuse(r.n.host) }},
	{"is not heard by the other nodes", func(r *round) { r.rest[0].refuse(r.n.host); r.rest[1].refuse(r.n.host) }},
	{"has another time", func(r *round) { r.step(r.n) }},
	{"has another time, as all have", func(r *round) {
		for _, n := range r.nodes {
			r.step(n)
		}
	}},
	{"has another time and is killed", func(r *round) {
		r.step(r.n)
		r.sleep(100, 1000)
		r.n.p.kill()
	}},
	{"has a full disk", func(r *round) { r.n.fill() }},
}

// sleep takes some time, in milliseconds.
func (r *round) sleep(least, most int) {
	time.Sleep(time.Duration(least+r.rnd.IntN(most-least)) * time.Millisecond)
}

// step moves a node's clock by up to two days, until it is started again or this
// happens again.
func (r *round) step(n *node) {
	d := time.Duration(r.rnd.IntN(2*48*3600)-48*3600) * time.Second
	if err := n.p.clock.set(d); err != nil {
		select {
		case <-n.p.done: // it has none any more
		case <-time.After(patience):
			r.t.Fatal(err)
		}
	}
}

// draw says what is to happen in a round: to the leader as often as to the others
// together, and now and then to two nodes.
func (w *world) draw(seed uint64, phase string, number int) (what string, makeAll func(), hurt time.Duration) {
	rnd := rand.New(rand.NewPCG(seed, uint64(number)<<8|uint64(phase[0])))
	nodes := append([]*node(nil), w.nodes...)
	rnd.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	if rnd.IntN(2) == 0 {
		for i, n := range nodes {
			if n == w.leader() {
				nodes[0], nodes[i] = n, nodes[0]
			}
		}
	}
	count := 1
	if rnd.IntN(4) == 0 {
		count = 2
	}
	hurt = time.Duration(1000+rnd.IntN(4000)) * time.Millisecond
	var texts []string
	var rounds []*round
	var chosen []fault
	for i := range count {
		r := &round{world: w, rnd: rnd, n: nodes[i]}
		for j, n := range nodes {
			if j != i {
				r.rest = append(r.rest, n)
			}
		}
		f := faults[rnd.IntN(len(faults))]
		was := ""
		if r.n == w.leader() {
			was = " (leads)"
		}
		texts = append(texts, r.n.name+was+" "+f.name)
		rounds, chosen = append(rounds, r), append(chosen, f)
	}
	return strings.Join(texts, "; "), func() {
		for i, f := range chosen {
			f.make(rounds[i])
		}
	}, hurt
}

func number(name string, otherwise uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return otherwise
}

// TestFaults: whatever happens to the nodes, while the primary lives and while a
// standby leads, the mount goes on when it is over, nothing is lost that it was
// told, nobody leads beside another or beside the primary, and all nodes have the
// same metadata.
func TestFaults(t *testing.T) {
	const (
		beside = "beside the primary"
		led    = "led"
	)
	seed, rounds := number("MFSSTANDBY_FAILOVER_SEED", 1), int(number("MFSSTANDBY_FAILOVER_ROUNDS", 4))
	phases := map[string][2]int{beside: {0, rounds / 4}, led: {0, rounds - rounds/4}}
	if phase, n, ok := strings.Cut(os.Getenv("MFSSTANDBY_FAILOVER_ONLY"), ":"); ok {
		i, err := strconv.Atoi(n)
		if _, known := phases[phase]; err != nil || !known {
			t.Fatalf("MFSSTANDBY_FAILOVER_ONLY is %q:N or %q:N", beside, led)
		}
		phases = map[string][2]int{phase: {i, i + 1}}
	}
	w := newWorld(t)
	work := w.startAll()
	defer w.follow()()
	play := func(phase string) {
		for i := phases[phase][0]; i < phases[phase][1]; i++ {
			start := time.Now()
			end := work.begin()
			what, makeAll, hurt := w.draw(seed, phase, i)
			again := fmt.Sprintf("MFSSTANDBY_FAILOVER_SEED=%d MFSSTANDBY_FAILOVER_ONLY=%q", seed, fmt.Sprint(phase, ":", i))
			t.Logf("%s: %s, for %v", again, what, hurt)
			makeAll()
			time.Sleep(hurt)
			w.heal()
			healed := time.Now()
			back := work.since(healed)
			end()
			sum, wait := work.accepted()
			w.settle(phase == led)
			work.check()
			t.Logf("%d changes accepted, none for %v at most; the first one %v after all was well; the same everywhere after %v", sum,
				wait.Round(time.Millisecond), back.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	play(beside)
	end := work.begin()
	took := work.since(w.killMaster())
	end()
	t.Logf("the primary was killed: the next change was accepted after %v", took.Round(time.Millisecond))
	w.settle(true)
	play(led)
	w.checkEpochs()
}
