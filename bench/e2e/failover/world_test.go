//go:build e2e

package failover

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/role"
)

// patience is for what takes seconds on a machine that is not busy.
const patience = 90 * time.Second

// world is the hosts with what runs on them.
type world struct {
	t      *testing.T
	dir    string
	hosts  map[string]*host
	nodes  []*node
	master *process
	mount  string

	mu     sync.Mutex
	holder string            // the host that has the floating address
	epoch  uint64            // of the leader that has it; 0: the primary has it
	led    map[uint64]string // who led in which epoch
}

const (
	diskSize  = 1 << 30
	nodeNames = "abc"
)

// newWorld makes the hosts; nothing runs yet. more are further arguments of the nodes.
func newWorld(t *testing.T, more ...string) *world {
	w := &world{t: t, dir: t.TempDir(), led: map[uint64]string{}}
	for _, dir := range []string{w.dir, filepath.Dir(w.dir)} { // users work in the mount
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.hosts = newHosts(t, "master", "a", "b", "c", "client")
	binary := build(t)
	w.write("mfsexports.cfg", "* / rw,alldirs,admin,maproot=0:0\n")
	w.write("mfstopology.cfg", "")
	w.write("master/metadata.mfs", "MFSM NEW")
	w.configure("master")
	var peers string
	for _, name := range nodeNames {
		peers += "," + w.hosts[string(name)].ip
	}
	for _, name := range nodeNames {
		n := &node{host: w.hosts[string(name)], disk: w.path("disk-" + string(name)), said: w.path(string(name) + ".log")}
		n.data = filepath.Join(n.disk, "data")
		n.args = append([]string{binary, "run", "--primary", w.hosts["master"].ip, "--data", n.data, "--node", n.name,
			"--peers", peers[1:], "--listen-cluster", n.ip + ":6222", "--cluster-password", "secret",
			"--exports", w.path("mfsexports.cfg"), "--listen-http", "", "--failover"}, more...)
		w.nodes = append(w.nodes, n)
		w.addDisk(n)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, n := range w.nodes {
			t.Logf("log of %s:\n%s", n.name, n.log())
		}
		if to := os.Getenv("MFSSTANDBY_FAILOVER_LOGS"); to != "" {
			if err := run("sh", "-c", "mkdir -p "+to+" && cp "+w.dir+"/*.log "+to); err != nil {
				t.Log(err)
			}
		}
	})
	return w
}

// addDisk gives a node a file system that can be filled up; its log is elsewhere.
func (w *world) addDisk(n *node) {
	w.t.Helper()
	if err := os.Mkdir(n.disk, 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", n.disk, "tmpfs", 0, fmt.Sprint("size=", diskSize)); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if n.p != nil {
			n.p.kill()
		}
		if err := unix.Unmount(n.disk, unix.MNT_DETACH); err != nil {
			w.t.Error(err)
		}
	})
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// configure makes NAME.cfg of a stock master whose data is in NAME.
func (w *world) configure(name string) {
	w.t.Helper()
	w.write(name+".cfg", "DATA_PATH = "+w.path(name)+"\nWORKING_USER = root\nWORKING_GROUP = root\nEXPORTS_FILENAME = "+
		w.path("mfsexports.cfg")+"\nTOPOLOGY_FILENAME = "+w.path("mfstopology.cfg")+"\nCHANGELOG_SAVE_MODE = 1\n") // mode 0 may not write what it said
}

// startStock starts the stock master of a configuration on a host, and waits
// until it takes clients.
func (w *world) startStock(h *host, name string, more ...string) *process {
	w.t.Helper()
	p := h.start(w.path(name+".log"), append(append([]string{"mfsmaster", "-f", "-c", w.path(name + ".cfg")}, more...), "start")...)
	w.t.Cleanup(p.kill)
	waitFor(w.t, "the stock master", patience, func() bool {
		if !p.running() {
			text, _ := os.ReadFile(w.path(name + ".log"))
			w.t.Fatalf("the stock master has ended:\n%s", text)
		}
		return h.command("bash", "-c", "exec 3<>/dev/tcp/"+h.ip+"/9421").Run() == nil
	})
	return p
}

// startMaster starts the primary twice, so that it has stored its metadata.
func (w *world) startMaster() {
	w.t.Helper()
	p := w.startStock(w.hosts["master"], "master")
	p.signal(unix.SIGTERM)
	<-p.done
	w.master = w.startStock(w.hosts["master"], "master")
	w.move("master")
}

// killMaster lets the primary's host die, and tells when.
func (w *world) killMaster() time.Time {
	w.t.Helper()
	if err := run("ip", "-n", w.hosts["master"].ns, "link", "set", "eth0", "down"); err != nil {
		w.t.Fatal(err)
	}
	at := time.Now()
	w.master.kill()
	return at
}

// move gives the floating address to a host.
func (w *world) move(to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.give(to)
}

// give is move for who has mu.
func (w *world) give(to string) {
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

// follow moves the floating address to whoever leads, as keepalived would, until
// stop is called. It is an error if two lead in one epoch.
func (w *world) follow() (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	for _, n := range w.nodes { // one that is stopped does not answer for a while
		wg.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-end:
					return
				case <-tick.C:
				}
				if st, err := n.status(); err == nil && st.Cluster != nil && st.Cluster.Role == role.Leader {
					w.leads(n, st.Cluster.Epoch)
				}
			}
		})
	}
	return func() { close(end); wg.Wait() }
}

func (w *world) leads(n *node, epoch uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if was := w.led[epoch]; was != "" && was != n.name {
		w.t.Errorf("both %s and %s lead in epoch %d", was, n.name, epoch)
	}
	w.led[epoch] = n.name
	if epoch > w.epoch {
		w.epoch = epoch
		w.give(n.name)
	}
}

// leader is the node that led last, nil if none ever did.
func (w *world) leader() *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		if w.epoch != 0 && n.name == w.holder {
			return n
		}
	}
	return nil
}

// startAll starts the primary, the nodes and the client, and gives what it will do
// when all nodes have an image.
func (w *world) startAll() *work {
	w.t.Helper()
	w.startMaster()
	for _, n := range w.nodes {
		n.start()
	}
	w.mountAll()
	work := newWork(w.t, w.path("mnt/work"))
	w.settle(false)
	return work
}

// mountAll mounts what is at the floating address, as the client.
func (w *world) mountAll() {
	w.t.Helper()
	w.mount = w.path("mnt")
	if err := os.Mkdir(w.mount, 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.mountAt(w.hosts["client"], floating, w.mount)
}

// mountAt mounts the master at an address, on a directory, with nothing cached.
func (w *world) mountAt(h *host, address, dir string) (unmount func()) {
	w.t.Helper()
	said := dir + ".log"
	p := h.start(said, "mfsmount", "-f", "-H", address, "-o", "mfsattrcacheto=0,mfsentrycacheto=0,mfsdirentrycacheto=0,mfsioretries=99", dir)
	unmount = sync.OnceFunc(func() {
		p.kill() // what waits for it gets an error
		unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH)
	})
	w.t.Cleanup(unmount)
	here := make(chan struct{})
	go func() { // a call that hangs is no reason to hang
		defer close(here)
		for range int(patience / (20 * time.Millisecond)) {
			var st unix.Statfs_t
			if unix.Statfs(dir, &st) == nil && st.Type == unix.FUSE_SUPER_MAGIC {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	select {
	case <-here:
	case <-time.After(patience):
		text, _ := os.ReadFile(said)
		w.t.Fatalf("the mount does not answer; it says:\n%s", text)
	}
	return unmount
}

// heal ends all faults.
func (w *world) heal() {
	w.t.Helper()
	for _, n := range w.nodes {
		n.repair()
		os.Remove(n.ballast()) // there may be none
		n.p.signal(unix.SIGCONT)
	}
	w.restart()
}

func (w *world) restart() {
	w.t.Helper()
	for _, n := range w.nodes {
		n.restart()
	}
}

// settleRoles waits until one node leads, or none if not led, and the others are in sync.
func (w *world) settleRoles(led bool) {
	w.t.Helper()
	leaders := map[bool]int{true: 1}[led]
	waitFor(w.t, "the nodes to be what they should", patience, func() bool {
		roles := map[role.Role]int{}
		for _, n := range w.nodes {
			if st, err := n.status(); err == nil && st.Cluster != nil {
				roles[st.Cluster.Role]++
			}
		}
		return roles[role.Leader] == leaders && roles[role.InSync] == len(w.nodes)-leaders
	})
}

// settle waits until all nodes run, one leads, or none if not led, the others are
// in sync, and all have the same metadata; if not led, those that the primary has:
// a node is in sync with a stream that no tap brings forward, too.
func (w *world) settle(led bool) {
	w.t.Helper()
	var last string
	defer func() {
		if w.t.Failed() {
			w.t.Log("at last:", last)
		}
	}()
	waitFor(w.t, "all nodes to be there and the same", patience, func() bool {
		w.restart() // one whose disk was full ends when it finds out
		last = ""
		var next meta.Version
		if !led {
			next = w.primaryNext()
			last = fmt.Sprintf("the primary is at %d; ", next)
		}
		leaders, same := 0, map[string]bool{}
		for _, n := range w.nodes {
			st, err := n.status()
			if err != nil || st.Standby == nil || st.Cluster == nil {
				last += fmt.Sprintf("%s: %v; ", n.name, err)
				return false
			}
			if st.Cluster.Role == role.Leader {
				leaders++
			} else if st.Standby.State != "in sync" {
				last += fmt.Sprintf("%s is %s %s; ", n.name, st.Standby.State, st.Standby.Error)
				return false
			}
			last += fmt.Sprintf("%s, %s, at %d %s; ", n.name, st.Cluster.Role, st.Standby.Committed, st.Standby.Digest)
			same[fmt.Sprint(st.Standby.Committed, st.Standby.Digest)] = true
			if !led && st.Standby.Committed != next {
				return false
			}
		}
		return len(same) == 1 && leaders == map[bool]int{true: 1}[led]
	})
}

// primaryNext is the version after the last entry in the primary's files.
func (w *world) primaryNext() meta.Version {
	w.t.Helper()
	list := lines(w.t, w.path("master"), 0)
	if len(list) == 0 {
		return 0
	}
	version, _, _ := strings.Cut(list[len(list)-1], ":")
	v, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		w.t.Fatal(err)
	}
	return meta.Version(v) + 1
}

// opened finds in a node's log which epochs it opened.
var opened = regexp.MustCompile(`epoch (\d+) is open at version`)

// checkEpochs tells whether any epoch was opened by two nodes.
func (w *world) checkEpochs() {
	w.t.Helper()
	by := map[uint64]string{}
	for _, n := range w.nodes {
		text, err := os.ReadFile(n.said)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, m := range opened.FindAllSubmatch(bytes.TrimSpace(text), -1) {
			epoch, err := strconv.ParseUint(string(m[1]), 10, 64)
			if err != nil {
				w.t.Fatal(err)
			}
			if was := by[epoch]; was != "" && was != n.name {
				w.t.Errorf("both %s and %s opened epoch %d", was, n.name, epoch)
			}
			by[epoch] = n.name
		}
	}
	if len(by) == 0 {
		w.t.Error("no log tells of an epoch")
	}
	w.t.Logf("%d epochs were opened", len(by))
}
