//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A network is a switch, a namespace with a bridge, to which hosts are
// connected, namespaces with an interface hostLink each. The address of the
// bridge is the gateway's: whoever reaches it reaches the network.
type network struct {
	t  *testing.T
	sw *namespace
	n  int // hosts so far
}

const (
	hostLink = "eth0"
	gateway  = "10.77.0.254"
	floating = "10.77.0.100" // the master's address that moves
)

var networks atomic.Uint32

func newNetwork(t *testing.T) *network {
	t.Helper()
	sw, err := newNamespace(fmt.Sprintf("mfs-net-%d-%d", os.Getpid(), networks.Add(1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sw.close(); err != nil {
			t.Error(err)
		}
	})
	n := &network{t: t, sw: sw}
	n.ip("-n", sw.name, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
	n.ip("-n", sw.name, "address", "add", gateway+"/24", "dev", "br0")
	n.ip("-n", sw.name, "link", "set", "br0", "up")
	return n
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	if err := ip(args...); err != nil {
		n.t.Fatal(err)
	}
}

// host is a Cluster of which nothing runs yet, on a host of its own, and the
// name of its port at the switch. Closing it ends what runs there.
type host struct {
	*Cluster
	net  *network
	ip   string
	port string
}

// host connects another host.
func (n *network) host(address string, cfg Config) *host {
	n.t.Helper()
	n.n++
	h := &host{net: n, ip: address, port: fmt.Sprintf("port%d", n.n), Cluster: &Cluster{cfg: cfg}}
	ns, err := newNamespace(fmt.Sprintf("%s-%d", n.sw.name, n.n), nil)
	if err != nil {
		n.t.Fatal(err)
	}
	h.ns = ns
	n.t.Cleanup(func() {
		if err := h.Close(); err != nil {
			n.t.Error(err)
		}
	})
	n.ip("-n", n.sw.name, "link", "add", h.port, "type", "veth", "peer", "name", hostLink, "netns", ns.name)
	n.ip("-n", n.sw.name, "link", "set", h.port, "master", "br0", "up")
	n.ip("-n", ns.name, "address", "add", address+"/24", "dev", hostLink)
	n.ip("-n", ns.name, "link", "set", hostLink, "up")
	n.ip("-n", ns.name, "route", "add", "default", "via", gateway)
	if err := h.writeConfig(); err != nil {
		n.t.Fatal(err)
	}
	return h
}

// has tells whether the kernel of the host has an address.
func (h *host) has(address string) bool {
	ns, err := netns.GetFromName(h.ns.name)
	if err != nil {
		return false
	}
	defer ns.Close()
	k, err := netlink.NewHandleAt(ns)
	if err != nil {
		return false
	}
	defer k.Close()
	found, err := k.AddrList(nil, netlink.FAMILY_ALL)
	for _, a := range found {
		if err == nil && a.IP.Equal(net.ParseIP(address)) {
			return true
		}
	}
	return false
}

// mount mounts the floating address, or another one, with the retries that a mount has by default.
func (h *host) mount(master string) *Mount {
	h.net.t.Helper()
	path := h.path("mnt")
	if err := os.MkdirAll(path, 0o755); err != nil {
		h.net.t.Fatal(err)
	}
	p, err := start(h.Command("mfsmount", "-f", "-H", master, "-o", "mfsattrcacheto=0,mfsentrycacheto=0,mfsdirentrycacheto=0,mfsnice=0", path), h.path("log"), "mount")
	if err != nil {
		h.net.t.Fatal(err)
	}
	m := &Mount{p, path}
	h.mounts = append(h.mounts, m)
	err = waitFor("the mount", patience, func() bool { return mounted(path) || !p.Running() })
	if err == nil && !p.Running() {
		err = errors.New("mfsmount ended")
	}
	if err != nil {
		h.net.t.Fatalf("mounting %s: %v; its log ends with:\n%s", path, err, p.LogTail())
	}
	return m
}

// scripts are what moves the address and fences a master, as they are installed.
func scripts(t *testing.T) string {
	t.Helper()
	return filepath.Join(repository(t), "cmd/mfsstandby/etc/address/scripts")
}

func repository(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// variables are what the scripts need to know on a host with files at unusual places.
func (h *host) variables(binary string) []string {
	return append(os.Environ(), "MFSSTANDBY="+binary, "MFS_DATA="+h.DataDir(), "MFS_CONFIG="+h.path("cfg", "mfsmaster.cfg"), "MFS_HELD="+h.path("held"),
		"MFS_LIMIT=15") // a busy machine is no dead master
}

// mover is a program that moves the address, on one host.
type mover struct {
	h     *host
	start func() (*Process, error)
	p     *Process
}

func (m *mover) run() {
	m.h.net.t.Helper()
	p, err := m.start()
	if err != nil {
		m.h.net.t.Fatal(err)
	}
	m.h.extra = append(m.h.extra, p)
	m.p = p
}

func (m *mover) stop() {
	m.h.net.t.Helper()
	if err := m.p.Stop(); err != nil {
		m.h.net.t.Fatal(err)
	}
}

// end ends it, if it runs still, with its children.
func (m *mover) end() {
	if m.p != nil && m.p.Running() {
		m.stop()
	}
}

// keepalived runs the configuration of the documentation; role is "master" or "standby".
func (h *host) keepalived(role, binary, data string) *mover {
	t := h.net.t
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository(t), "cmd/mfsstandby/etc/address/keepalived-"+role+".conf.sample"))
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for line := range strings.Lines(string(text)) { // comments have the words too
		line, _, _ = strings.Cut(strings.TrimRight(line, "\n"), "#")
		kept = append(kept, line)
	}
	conf := strings.NewReplacer("INTERFACE", hostLink, "GATEWAY", gateway, "ADDRESS", floating+"/24", "timeout 3", "timeout 20", "advert_int 1", "advert_int 3", // for a busy machine
		"/mfsstandby-check", "/mfsstandby-check "+data, "/usr/local/lib/mfsstandby", scripts(t)).Replace(strings.Join(kept, "\n"))
	path := h.path("cfg", "keepalived.conf")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return &mover{h: h, start: func() (*Process, error) {
		cmd := h.Command("keepalived", "--dont-fork", "--vrrp", "--log-console", "--log-detail", "-f", path,
			"-p", h.path("keepalived.pid"), "-r", h.path("vrrp.pid"))
		cmd.Env = h.variables(binary)
		return start(cmd, h.path("log"), "keepalived")
	}}
}

// ucarp runs as the documentation says; role is "master" or "standby".
func (h *host) ucarp(role, binary, data string) *mover {
	t := h.net.t
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository(t), "cmd/mfsstandby/etc/address/mfs-ucarp.service.sample"))
	if err != nil {
		t.Fatal(err)
	}
	check, skew := "mfsmaster-check", "10"
	if role == "standby" {
		check, skew = "mfsstandby-check "+data, "0"
	}
	_, line, ok := strings.Cut(string(text), "\nExecStart=")
	line, _, _ = strings.Cut(line, "\n")
	line = strings.NewReplacer("CHECK", "/usr/local/lib/mfsstandby/network-check "+gateway+" && /usr/local/lib/mfsstandby/"+check,
		"INTERFACE", hostLink, "OWN", h.ip, "PASSWORD", "secret", "ADDRESS", floating, "SKEW", skew).Replace(line)
	line = strings.ReplaceAll(line, "/usr/local/lib/mfsstandby", scripts(t))
	if !ok || !strings.Contains(line, "ucarp-watch") {
		t.Fatalf("the unit starts %q", line)
	}
	return &mover{h: h, start: func() (*Process, error) {
		cmd := h.Command("bash", "-c", "exec "+line)
		cmd.Env = h.variables(binary)
		return start(cmd, h.path("log"), "ucarp")
	}}
}
