//go:build e2e

package failover

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is for what takes seconds on a machine that is not busy.
const patience = 2 * time.Minute

// world is the hosts with what runs on them.
type world struct {
	t      *testing.T
	dir    string
	hosts  map[string]*host
	nodes  []*node
	mount  string
	client *process

	mu     sync.Mutex
	holder string // the host that has the floating address
}

func number(name string, otherwise uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return otherwise
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir()}
	w.hosts = newHosts(t, "master", "a", "b", "c", "client")
	binary := build(t)
	for name, text := range map[string]string{
		"mfsexports.cfg": "* / rw,alldirs,admin,maproot=0:0\n", "mfstopology.cfg": "",
		"mfsmaster.cfg": "DATA_PATH = " + w.path("master") + "\nWORKING_USER = root\nWORKING_GROUP = root\nEXPORTS_FILENAME = " +
			w.path("mfsexports.cfg") + "\nTOPOLOGY_FILENAME = " + w.path("mfstopology.cfg") + "\n",
		"master/metadata.mfs": "MFSM NEW",
	} {
		if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(w.path(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		h := w.hosts[name]
		n := &node{host: h, data: w.path(name)}
		n.args = []string{binary, "run", "--primary", w.hosts["master"].ip, "--data", n.data, "--node", name,
			"--peers", w.hosts["a"].ip + "," + w.hosts["b"].ip + "," + w.hosts["c"].ip, "--listen-cluster", h.ip + ":6222",
			"--cluster-password", "secret", "--exports", w.path("mfsexports.cfg"), "--listen-http", "", "--failover"}
		w.nodes = append(w.nodes, n)
		t.Cleanup(func() {
			if n.p != nil {
				n.p.kill()
			}
			if t.Failed() {
				t.Logf("log of %s:\n%s", n.name, n.log())
			}
		})
	}
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// startMaster starts it twice, so that it has stored its metadata.
func (w *world) startMaster() *process {
	var p *process
	for first := true; ; first = false {
		p = w.hosts["master"].start(w.path("master.log"), "mfsmaster", "-f", "-c", w.path("mfsmaster.cfg"), "start")
		waitFor(w.t, "the master", patience, func() bool {
			return w.hosts["master"].command("bash", "-c", "exec 3<>/dev/tcp/"+w.hosts["master"].ip+"/9421").Run() == nil
		})
		if !first {
			break
		}
		p.cmd.Process.Signal(unix.SIGTERM)
		<-p.done
	}
	w.t.Cleanup(p.kill)
	w.move("master")
	return p
}

// move gives the floating address to a host.
func (w *world) move(to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holder == to {
		return
	}
	if w.holder != "" {
		run("ip", "-n", w.hosts[w.holder].ns, "address", "del", floating+"/24", "dev", "eth0") // it may be gone with its host
	}
	if err := run("ip", "-n", w.hosts[to].ns, "address", "add", floating+"/24", "dev", "eth0"); err != nil {
		w.t.Error(err)
	}
	run("ip", "-n", w.hosts["client"].ns, "neigh", "flush", "all") // as an unasked ARP answer does
	w.holder = to
}

// follow moves the floating address to whoever leads, as keepalived would.
func (w *world) follow(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
		for _, n := range w.nodes {
			if n.leads() {
				w.move(n.name)
			}
		}
	}
}

func (w *world) mountAll() {
	w.mount = w.path("mnt")
	if err := os.Mkdir(w.mount, 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.client = w.hosts["client"].start(w.path("mount.log"), "mfsmount", "-f", "-H", floating, "-o", "mfsattrcacheto=0,mfsentrycacheto=0,mfsdirentrycacheto=0,mfsioretries=60", w.mount)
	w.t.Cleanup(func() {
		w.client.cmd.Process.Kill()
		unix.Unmount(w.mount, unix.MNT_FORCE|unix.MNT_DETACH)
		<-w.client.done
	})
	waitFor(w.t, "the mount", patience, func() bool {
		var st unix.Statfs_t
		return unix.Statfs(w.mount, &st) == nil && st.Type == 0x65735546
	})
}

func (w *world) leader() *node {
	for _, n := range w.nodes {
		if n.leads() {
			return n
		}
	}
	return nil
}

// settle waits until all nodes run, one leads, the others are in sync, and all
// have the same metadata.
func (w *world) settle(led bool) {
	w.t.Helper()
	var last string
	defer func() {
		if w.t.Failed() {
			w.t.Log("at last:", last)
		}
	}()
	waitFor(w.t, "one leader and the others with it", patience, func() bool {
		last = ""
		leaders, same := 0, map[string]bool{}
		for _, n := range w.nodes {
			st, err := n.status()
			if err != nil || st.Standby == nil || st.Cluster == nil {
				last += fmt.Sprintf("%s: %v; ", n.name, err)
				return false
			}
			if st.Cluster.Role == "leader" {
				leaders++
			} else if st.Standby.State != "in sync" {
				last += fmt.Sprintf("%s is %s %s; ", n.name, st.Standby.State, st.Standby.Error)
				return false
			}
			key := fmt.Sprint(st.Standby.Committed, st.Standby.Digest)
			last += n.name + " " + string(st.Cluster.Role) + " " + key + "; "
			same[key] = true
		}
		return len(same) == 1 && leaders == map[bool]int{true: 1}[led]
	})
}

// A fault and how it is healed.
type fault struct {
	name string
	make func(w *world, n *node)
	heal func(w *world, n *node)
}

func restart(_ *world, n *node) {
	if !n.p.running() {
		n.start()
	}
}

var faults = []fault{
	{"kill -9", func(_ *world, n *node) { n.p.kill() }, restart},
	{"cut off", func(_ *world, n *node) { n.lose("INPUT", 1); n.lose("OUTPUT", 1) },
		func(w *world, n *node) { n.lose("INPUT", 0); n.lose("OUTPUT", 0); restart(w, n) }},
	{"cannot send", func(_ *world, n *node) { n.lose("OUTPUT", 1) }, func(w *world, n *node) { n.lose("OUTPUT", 0); restart(w, n) }},
	{"cannot receive", func(_ *world, n *node) { n.lose("INPUT", 1) }, func(w *world, n *node) { n.lose("INPUT", 0); restart(w, n) }},
	{"loses every tenth packet", func(_ *world, n *node) { n.lose("INPUT", 0.1) }, func(w *world, n *node) { n.lose("INPUT", 0); restart(w, n) }},
	{"stopped for 5 s", func(_ *world, n *node) {
		n.p.cmd.Process.Signal(unix.SIGSTOP)
		time.Sleep(5 * time.Second)
		n.p.cmd.Process.Signal(unix.SIGCONT)
	}, restart},
	{"all cut off from one another", func(w *world, _ *node) {
		for _, n := range w.nodes {
			n.lose("INPUT", 1)
		}
		time.Sleep(3 * time.Second)
	}, func(w *world, _ *node) {
		for _, n := range w.nodes {
			n.lose("INPUT", 0)
			restart(w, n)
		}
	}},
}

// TestFaults: the primary dies, a standby leads by itself, and then whatever
// happens to the nodes the mount goes on when it is over, nothing that it was
// told is lost, and all nodes have the same metadata.
func TestFaults(t *testing.T) {
	seed, rounds := number("MFSSTANDBY_FAILOVER_SEED", 1), int(number("MFSSTANDBY_FAILOVER_ROUNDS", 3))
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("MFSSTANDBY_FAILOVER_SEED=%d, %d rounds", seed, rounds)
	w := newWorld(t)
	master := w.startMaster()
	for _, n := range w.nodes {
		n.start()
	}
	w.mountAll()
	made := []string{}
	mkdir := func(name string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(w.mount, name), 0o755); err != nil {
			t.Fatalf("mkdir %s: %v", name, err)
		}
		made = append(made, name)
	}
	mkdir("before")
	w.settle(false)
	stop, followed := make(chan struct{}), make(chan struct{})
	go func() { defer close(followed); w.follow(stop) }()
	defer func() { close(stop); <-followed }()

	start := time.Now()
	master.kill()
	run("ip", "-n", w.hosts["master"].ns, "link", "set", "eth0", "down") // it is not to come back with the address
	mkdir("after")
	t.Logf("the primary was killed: the next change was accepted after %v", time.Since(start).Round(time.Millisecond))
	w.settle(true)
	for round := range rounds {
		f := faults[rnd.IntN(len(faults))]
		n := w.nodes[rnd.IntN(len(w.nodes))]
		if lead := w.leader(); rnd.IntN(2) == 0 && lead != nil {
			n = lead
		}
		was := "a standby"
		if n.leads() {
			was = "the leader"
		}
		start := time.Now()
		f.make(w, n)
		done := make(chan error, 1)
		name := fmt.Sprintf("round%d", round)
		go func() { done <- os.Mkdir(filepath.Join(w.mount, name), 0o755) }()
		hurt := time.Duration(2+rnd.IntN(6)) * time.Second
		var err error
		took := "healed first"
		select {
		case err = <-done:
			took = time.Since(start).Round(time.Millisecond).String()
			time.Sleep(time.Until(start.Add(hurt)))
			f.heal(w, n)
		case <-time.After(hurt):
			f.heal(w, n)
			err = <-done
		}
		t.Logf("round %d: %s, %s: %s; the change was accepted after %v (%s)", round, n.name, was, f.name, time.Since(start).Round(time.Millisecond), took)
		if err != nil && !os.IsExist(err) { // it was carried out, and the answer was lost
			t.Fatalf("round %d: %v", round, err)
		}
		made = append(made, name)
		w.settle(true)
	}
	entries, err := os.ReadDir(w.mount)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	slices.Sort(made)
	if !slices.Equal(have, made) {
		t.Errorf("made: %v\nthere: %v", made, have)
	}
}
