//go:build e2e

package floating

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// world is a network namespace with a pair of interfaces, left and right.
type world struct {
	t  *testing.T
	ns string
	kernel
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ns: fmt.Sprintf("mfs-floating-%d", os.Getpid())}
	if out, err := exec.Command("ip", "netns", "add", w.ns).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s (it needs root)", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", w.ns).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	handle, err := netns.GetFromName(w.ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { handle.Close() })
	w.kernel = kernel{ns: handle}
	w.ip("link add name left type veth peer name right")
	w.ip("link set left up")
	w.ip("link set right up")
	return w
}

func (w *world) ip(command string) {
	w.t.Helper()
	if out, err := exec.Command("ip", append([]string{"-n", w.ns}, strings.Fields(command)...)...).CombinedOutput(); err != nil {
		w.t.Fatalf("ip %s: %v: %s", command, err, out)
	}
}

// want waits until look says that all of the addresses are here, or why not.
func (w *world) want(addresses, why string) {
	w.t.Helper()
	l := list(w.t, addresses)
	var got string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		here, text, err := w.look(l)
		if err != nil {
			w.t.Fatal(err)
		}
		if got = text; here == (text == "") && got == why {
			return
		}
	}
	w.t.Fatalf("%s: %q, want %q", addresses, got, why)
}

func TestLook(t *testing.T) {
	w := newWorld(t)
	w.want("192.0.2.10", "192.0.2.10 is on another host, or on none")
	w.ip("address add 192.0.2.10/24 dev left")
	w.want("192.0.2.10", "")
	w.want("192.0.2.10%left", "")
	w.want("192.0.2.10%right", "192.0.2.10%right is on interface left")
	w.want("192.0.2.1", "192.0.2.1 is on another host, or on none")
	w.want("192.0.2.10,fd00::10", "fd00::10 is on another host, or on none")
	w.ip("address add fd00::10/64 dev left nodad")
	w.want("192.0.2.10,fd00::10", "")
	w.ip("link set right down")
	w.want("192.0.2.10", "192.0.2.10 is on interface left, which has no carrier")
	w.ip("link set right up")
	w.want("192.0.2.10", "")
	w.ip("link set left down")
	w.want("192.0.2.10", "192.0.2.10 is on interface left, which is down")
	w.ip("link del left")
	w.want("192.0.2.10", "192.0.2.10 is on another host, or on none")

	// An IPv6 address counts when it is known to be unique.
	w.ip("link add name left type veth peer name right")
	w.ip("link set right up")
	w.ip("link set left up")
	w.ip("address add fd00::10/64 dev left")
	w.want("fd00::10", "fd00::10 is not known yet to be unique")
	w.want("fd00::10", "")
}

// What changes is seen by watching, also after more came than the socket holds.
func TestWatch(t *testing.T) {
	w := newWorld(t)
	w.buffer = 1
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 1), make(chan error)
	go func() { ended <- w.watch(ctx, changed) }()
	l := list(t, "192.0.2.10")
	until := func(here bool) {
		t.Helper()
		for deadline := time.After(30 * time.Second); ; {
			select {
			case <-deadline:
				t.Fatalf("nobody said that here is %v", here)
			case <-changed:
			}
			if got, _, err := w.look(l); err != nil {
				t.Fatal(err)
			} else if got == here {
				return
			}
		}
	}
	until(false)
	for range 3 {
		var many bytes.Buffer
		for i := range 500 {
			fmt.Fprintf(&many, "address add 10.1.%d.%d/32 dev left\n", i/250, i%250+1)
		}
		fmt.Fprintln(&many, "address add 192.0.2.10/24 dev left")
		batch := exec.Command("ip", "-n", w.ns, "-batch", "-")
		batch.Stdin = &many
		if out, err := batch.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		until(true)
		w.ip("address flush dev left")
		until(false)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
