package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace with a loopback device that has addresses
// other than 127.x: chunkservers refuse a master there. Being its own, it also
// lets every cluster use MooseFS's usual ports.
//
// Programs enter it through nsenter: `ip netns exec` would also give them their
// own mounts, and nobody else would see what mfsmount mounts.
type namespace struct {
	name string
}

func newNamespace(name string, addresses []string) (*namespace, error) {
	if err := ip("netns", "add", name); err != nil {
		return nil, err
	}
	ns := &namespace{name}
	steps := [][]string{{"-n", name, "link", "set", "lo", "up"}}
	for _, a := range addresses {
		steps = append(steps, []string{"-n", name, "address", "add", a + "/32", "dev", "lo"})
	}
	for _, args := range steps {
		if err := ip(args...); err != nil {
			ns.close()
			return nil, err
		}
	}
	return ns, nil
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s (making network namespaces needs root)", args, err, out)
	}
	return nil
}

func (ns *namespace) path() string { return "/var/run/netns/" + ns.name }

// command prepares a program that runs inside.
func (ns *namespace) command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=" + ns.path(), "--", name}, args...)...)
}

// dial connects from inside.
func (ns *namespace) dial(ctx context.Context, address string) (net.Conn, error) {
	return inside(ns, func() (net.Conn, error) {
		d := net.Dialer{FallbackDelay: -1} // no second goroutine, which would be outside
		return d.DialContext(ctx, "tcp4", address)
	})
}

// listen accepts connections inside.
func (ns *namespace) listen(address string) (net.Listener, error) {
	return inside(ns, func() (net.Listener, error) { return net.Listen("tcp4", address) })
}

// inside makes a socket in a namespace, to which it belongs from then on.
func inside[T any](ns *namespace, open func() (T, error)) (socket T, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is never unlocked, so it ends with the goroutine and no
		// other one finds itself in a foreign namespace.
		runtime.LockOSThread()
		if err = ns.enter(); err == nil {
			socket, err = open()
		}
	}()
	<-done
	return socket, err
}

func (ns *namespace) enter() error {
	f, err := os.Open(ns.path())
	if err != nil {
		return fmt.Errorf("opening network namespace: %w", err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering network namespace %s: %w", ns.name, err)
	}
	return nil
}

func (ns *namespace) close() error { return ip("netns", "del", ns.name) }
