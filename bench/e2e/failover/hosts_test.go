//go:build e2e

package failover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mfsstandby/standby/control"
)

// floating is where clients look for a master.
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

// prepare returns a command with nothing of a host yet.
func prepare(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (h *host) command(args ...string) *exec.Cmd {
	return prepare(append([]string{"nsenter", "--net=/var/run/netns/" + h.ns, "--"}, args...)...)
}

func (h *host) must(args ...string) {
	h.t.Helper()
	if out, err := h.command(args...).CombinedOutput(); err != nil {
		h.t.Fatalf("%s: %v: %v: %s", h.name, args, err, out)
	}
}

// lose drops a part, from 0 to 1, of what comes to the host ("INPUT") or of what
// it sends ("OUTPUT"). Loopback is no part of the network.
func (h *host) lose(chain string, part float64) {
	h.t.Helper()
	h.must("iptables", "-A", chain, map[string]string{"INPUT": "-i", "OUTPUT": "-o"}[chain], "eth0",
		"-m", "statistic", "--mode", "random", "--probability", fmt.Sprint(part), "-j", "DROP")
}

// refuse drops what another host sends to this one.
func (h *host) refuse(from *host) {
	h.t.Helper()
	h.must("iptables", "-A", "INPUT", "-i", "eth0", "-s", from.ip, "-j", "DROP")
}

// slow lets what the host sends through at so many kbit/s.
func (h *host) slow(rate int) {
	h.t.Helper()
	h.must("tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", fmt.Sprint(rate, "kbit"), "burst", "4kb", "latency", "400ms")
}

// repair undoes lose, refuse and slow.
func (h *host) repair() {
	h.t.Helper()
	h.must("iptables", "-F")
	h.command("tc", "qdisc", "del", "dev", "eth0", "root").Run() // fails if there is none
}

// process is a program on a host.
type process struct {
	cmd   *exec.Cmd
	clock *clock // nil: that of the machine
	done  chan struct{}
}

// launch starts a command, with its output at the end of a file.
func (h *host) launch(log string, cmd *exec.Cmd, start func(*exec.Cmd) (*clock, error)) *process {
	h.t.Helper()
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	p := &process{cmd: cmd, done: make(chan struct{})}
	if p.clock, err = start(cmd); err != nil {
		h.t.Fatalf("starting %v on %s: %v", cmd.Args, h.name, err)
	}
	go func() { cmd.Wait(); close(p.done) }()
	return p
}

func (h *host) start(log string, args ...string) *process {
	h.t.Helper()
	return h.launch(log, h.command(args...), func(c *exec.Cmd) (*clock, error) { return nil, c.Start() })
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

func (p *process) signal(s os.Signal) { p.cmd.Process.Signal(s) } // it may have ended

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
	disk string // a file system of its own
	data string
	said string // its log, elsewhere
	args []string
	p    *process // nil: it was not started yet
}

func (n *node) start() {
	n.t.Helper()
	n.p = n.host.launch(n.said, prepare(n.args...), n.host.startWithClock)
}

// restart starts it if it does not run, as systemd would.
func (n *node) restart() {
	n.t.Helper()
	if n.p == nil || !n.p.running() {
		n.start()
	}
}

// ballast fills up the node's disk.
func (n *node) ballast() string { return filepath.Join(n.disk, "ballast") }

func (n *node) fill() {
	n.t.Helper()
	f, err := os.Create(n.ballast())
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	for size := int64(0); ; {
		var st unix.Statfs_t
		if err := unix.Statfs(n.disk, &st); err != nil {
			n.t.Fatal(err)
		}
		more := int64(st.Bavail) * st.Bsize
		if more == 0 {
			return
		}
		if err := unix.Fallocate(int(f.Fd()), 0, size, more); err == nil {
			size += more
		} else if !errors.Is(err, unix.ENOSPC) { // else the node was faster
			n.t.Fatal(err)
		}
	}
}

func (n *node) status() (control.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return control.NewClient(n.data).Status(ctx)
}

func (n *node) log() string {
	text, _ := os.ReadFile(n.said)
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
