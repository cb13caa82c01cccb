//go:build e2e

package failover

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"mfsstandby/standby/control"
	"mfsstandby/standby/role"
)

// Addresses: the master and whoever leads serve clients at floating.
const floating = "10.78.0.100"

// host is a network namespace with a link to the bridge.
type host struct {
	t    *testing.T
	name string
	ns   string
	ip   string
}

func run(args ...string) error {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%v: %w: %s", args, err, out)
	}
	return nil
}

// newHosts makes a bridge and so many hosts.
func newHosts(t *testing.T, names ...string) map[string]*host {
	t.Helper()
	must := func(args ...string) {
		t.Helper()
		if err := run(args...); err != nil {
			t.Fatal(err)
		}
	}
	id := os.Getpid() % 100000
	bridge := fmt.Sprintf("mfb%d", id)
	hub := fmt.Sprintf("mfs-fo-%d-hub", id)
	must("ip", "netns", "add", hub)
	t.Cleanup(func() { run("ip", "netns", "del", hub) })
	must("ip", "-n", hub, "link", "add", bridge, "type", "bridge")
	must("ip", "-n", hub, "link", "set", bridge, "up")
	hosts := map[string]*host{}
	for i, name := range names {
		h := &host{t: t, name: name, ns: fmt.Sprintf("mfs-fo-%d-%s", id, name), ip: fmt.Sprintf("10.78.0.%d", i+1)}
		link := "l" + name
		must("ip", "netns", "add", h.ns)
		t.Cleanup(func() { run("ip", "netns", "del", h.ns) })
		must("ip", "-n", hub, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", h.ns)
		must("ip", "-n", hub, "link", "set", link, "master", bridge, "up")
		must("ip", "-n", h.ns, "link", "set", "lo", "up")
		must("ip", "-n", h.ns, "address", "add", h.ip+"/24", "dev", "eth0")
		must("ip", "-n", h.ns, "link", "set", "eth0", "up")
		hosts[name] = h
	}
	return hosts
}

func (h *host) command(args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"--net=/var/run/netns/" + h.ns, "--"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// lose drops a part, from 0 to 1, of what comes to the host ("INPUT") or of what
// it sends ("OUTPUT"); loopback is no part of the network. nsenter alone: the
// rules are the namespace's.
func (h *host) lose(chain string, part float64) {
	h.t.Helper()
	rules := [][]string{{"iptables", "-F", chain}}
	if part > 0 {
		rules = append(rules, []string{"iptables", "-A", chain, map[string]string{"INPUT": "-i", "OUTPUT": "-o"}[chain], "eth0",
			"-m", "statistic", "--mode", "random", "--probability", fmt.Sprint(part), "-j", "DROP"})
	}
	for _, rule := range rules {
		if out, err := h.command(rule...).CombinedOutput(); err != nil {
			h.t.Fatalf("%v: %v: %s", rule, err, out)
		}
	}
}

// process is a program on a host.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (h *host) start(log string, args ...string) *process {
	h.t.Helper()
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	cmd := h.command(args...)
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	p := &process{cmd, make(chan struct{})}
	go func() { cmd.Wait(); close(p.done) }()
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// node is a standby on a host.
type node struct {
	*host
	data string
	args []string
	p    *process
}

func (n *node) start() { n.p = n.host.start(n.data+".log", n.args...) }

func (n *node) status() (control.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return control.NewClient(n.data).Status(ctx)
}

func (n *node) leads() bool {
	st, err := n.status()
	return err == nil && st.Cluster != nil && st.Cluster.Role == role.Leader
}

func (n *node) log() string {
	text, _ := os.ReadFile(n.data + ".log")
	return string(text[max(0, len(text)-3000):])
}

// waitFor polls until something holds.
func waitFor(t *testing.T, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain for %s", limit, what)
		}
	}
}

func build(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("MFSSTANDBY_FAILOVER_BINARY"); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "mfsstandby")
	if out, err := exec.Command("go", "build", "-o", path, "mfsstandby/cmd/mfsstandby").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return path
}
