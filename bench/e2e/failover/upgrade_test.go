//go:build e2e

package failover

import (
	"cmp"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestUpgrade ends one node after the other as systemd does, the leader last, and
// starts another program in its place, while a mount goes on working.
// MFSSTANDBY_FAILOVER_OLD is the program from which to upgrade; by default it is
// the same one, and the nodes are only upgraded while one of them leads.
func TestUpgrade(t *testing.T) {
	if os.Getenv("MFSSTANDBY_FAILOVER_OLD") != "" {
		t.Run("beside the primary", func(t *testing.T) { upgrade(t, false) })
	}
	t.Run("led", func(t *testing.T) { upgrade(t, true) })
}

func upgrade(t *testing.T, led bool) {
	w := newWorld(t)
	program := w.nodes[0].args[0]
	for _, n := range w.nodes {
		n.args[0] = cmp.Or(os.Getenv("MFSSTANDBY_FAILOVER_OLD"), program)
	}
	work := w.startAll()
	defer w.follow()()
	if led {
		w.killMaster()
		w.settle(true)
	}
	end := work.begin()
	lead := w.leader()
	order := slices.Clone(w.nodes)
	slices.SortStableFunc(order, func(a, b *node) int {
		switch lead {
		case a:
			return 1
		case b:
			return -1
		}
		return 0
	})
	for _, n := range order {
		n.p.signal(unix.SIGTERM)
		select {
		case <-n.p.done:
		case <-time.After(patience):
			t.Fatal("it does not end")
		}
		n.args[0] = program
		n.start()
		w.settleRoles(led)
	}
	end()
	sum, wait := work.accepted()
	t.Logf("%d changes accepted meanwhile, none for %v at most", sum, wait.Round(time.Millisecond))
	w.settle(led)
	work.check()
	if led {
		w.checkEpochs()
	}
}
