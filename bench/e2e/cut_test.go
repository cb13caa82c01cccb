//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mfsstandby/standby/control"
	"mfsstandby/standby/role"
)

// The network of the master's host is cut, and a client still reaches it there.
// The fence stops that master. What it accepted after the cut is in no stream,
// and it gets the address back neither when the network is whole again nor when
// somebody starts it.
func TestCutNetwork(t *testing.T) {
	d := newDrill(t, "keepalived")
	near := d.net.host("10.77.0.4", Config{Dir: t.TempDir()})
	way := d.net.cable(d.a, near)
	far, there := d.c.mount(floating), near.mount(way)
	wrote := d.scribble(there)

	d.a.cut()
	begun := time.Now()
	led := d.leading()
	t.Logf("it leads %.2f s after the cut", led.Since.Sub(begun).Seconds())
	d.must(waitFor("the old master to be fenced", patience, func() bool { return !d.a.Master().Running() }))
	t.Logf("the old master is fenced %.2f s after the cut", time.Since(begun).Seconds())
	d.address(d.a, false)
	d.works(far, "while it is cut")
	names := wrote.end()

	d.a.heal()
	d.must(d.a.StartMaster(true)) // a person's mistake
	check := d.a.Command(filepath.Join(scripts(t), "mfsmaster-check"))
	check.Env = d.a.variables(d.binary)
	if out, err := check.CombinedOutput(); err == nil {
		t.Errorf("a master that lost the address may hold it again: %s", out)
	}
	d.stillLeads(far, led, names)
	if d.a.has(floating) {
		t.Error("the address went back")
	}
}

// The same without a fence: keepalived on the master's host has been killed, so
// that the address stays there too. The old master goes on to accept what its
// client writes, and all of that is lost; nothing of it gets into the stream.
func TestCutNetworkWithoutFence(t *testing.T) {
	d := newDrill(t, "keepalived")
	near := d.net.host("10.77.0.4", Config{Dir: t.TempDir()})
	way := d.net.cable(d.a, near)
	far, there := d.c.mount(floating), near.mount(way)
	d.killMover()
	d.address(d.b, true)

	// The address has moved, and the master is alive: the standby waits.
	d.must(d.f.wait("refusing", func(st control.Status) bool {
		return st.Address != nil && st.Address.Here && strings.Contains(st.Address.Refused, "is connected")
	}))
	wrote := d.scribble(there)
	d.a.cut()
	led := d.leading()
	before := wrote.count()
	d.must(waitFor("the old master to go on", patience, func() bool { return wrote.count() > before+10 }))
	d.works(far, "while it is cut")
	d.a.heal()
	before = wrote.count()
	d.must(waitFor("the old master to go on", patience, func() bool { return wrote.count() > before+10 }))
	d.stillLeads(far, led, wrote.end())
}

// killMover kills keepalived on host a, so that it does nothing more: neither
// starts its child anew nor lets the child give the address up.
func (d *drill) killMover() {
	d.t.Helper()
	d.moveA.p.Signal(syscall.SIGSTOP)
	pid, err := strconv.Atoi(strings.TrimSpace(string(read(d.t, d.a.path("vrrp.pid")))))
	d.must(err, syscall.Kill(pid, syscall.SIGKILL))
	d.moveA.p.Kill()
}

// scribbling makes directories until end; names tells of those that were made.
type scribbling struct {
	mu    sync.Mutex
	names []string
	over  chan struct{}
}

func (d *drill) scribble(m *Mount) *scribbling {
	s := &scribbling{over: make(chan struct{})}
	var stop atomic.Bool
	d.t.Cleanup(func() { stop.Store(true) })
	go func() {
		for n := 0; !stop.Load(); n++ {
			name := fmt.Sprintf("near%d", n)
			if os.Mkdir(filepath.Join(m.Path, name), 0o755) != nil {
				return
			}
			s.mu.Lock()
			s.names = append(s.names, name)
			s.mu.Unlock()
			select {
			case <-s.over:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	d.must(waitFor("a client of the master", patience, func() bool { return s.count() > 10 }))
	return s
}

func (s *scribbling) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.names)
}

func (s *scribbling) end() []string {
	close(s.over)
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.names)
}

// works changes something of each kind through a mount.
func (d *drill) works(m *Mount, what string) {
	d.t.Helper()
	w := &writer{dir: filepath.Join(m.Path, what), have: map[string]os.FileMode{}}
	stop, ended := make(chan struct{}), make(chan error)
	go func() { ended <- w.run(stop) }()
	d.must(waitFor("a mount that works "+what, patience, func() bool { return w.done.Load() > 50 }))
	close(stop)
	d.must(<-ended, w.check())
}

// stillLeads checks that the leader led all the time, and that of what the other
// side's client was told its tree has a beginning, and not all.
func (d *drill) stillLeads(m *Mount, led role.State, other []string) {
	t := d.t
	t.Helper()
	d.works(m, "after it was cut")
	st, err := d.f.status()
	d.must(err)
	if *st.Cluster != led {
		t.Errorf("the leader was %+v, and is %+v", led, *st.Cluster)
	}
	has := 0
	for i, name := range other {
		_, err := os.Lstat(filepath.Join(m.Path, name))
		switch {
		case err == nil && i != has:
			t.Fatalf("%s is there, and %s is not", name, other[has])
		case err == nil:
			has++
		case !errors.Is(err, os.ErrNotExist):
			t.Fatal(err)
		}
	}
	if has == 0 || has == len(other) {
		t.Errorf("of %d directories that the client near the old master made, the leader has %d", len(other), has)
	}
	t.Logf("the client near the old master made %d directories, of which %d are lost", len(other), len(other)-has)
}

// cable joins two hosts beside the switch, and returns the second one's way to
// the first: an address of that one.
func (n *network) cable(a, b *host) string {
	n.t.Helper()
	n.ip("-n", a.ns.name, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", b.ns.name)
	for i, h := range []*host{a, b} {
		n.ip("-n", h.ns.name, "address", "add", fmt.Sprintf("10.78.0.%d/24", i+1), "dev", "cable")
		n.ip("-n", h.ns.name, "link", "set", "cable", "up")
	}
	return "10.78.0.1"
}

// cut keeps all packets from a host and to it; its interface stays up.
func (h *host) cut() { h.net.ip("-n", h.net.sw.name, "link", "set", h.port, "nomaster") }

// heal ends that.
func (h *host) heal() { h.net.ip("-n", h.net.sw.name, "link", "set", h.port, "master", "br0") }
