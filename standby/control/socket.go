package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

const socketName = "control.sock"

// maxSocketPath is the longest path that the kernel takes for a socket.
const maxSocketPath = 107

// withSocket calls use with a path of dir's socket that is short enough.
func withSocket(dir string, use func(path string) error) error {
	path := filepath.Join(dir, socketName)
	if len(path) <= maxSocketPath {
		return use(path)
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return use(fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), socketName))
}

// listen makes dir's socket, for its owner only. The caller has the lock, so a
// socket that is there is a dead process's.
func listen(dir string) (l net.Listener, err error) {
	path := filepath.Join(dir, socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	err = withSocket(dir, func(short string) error {
		if l, err = net.Listen("unix", short); err != nil {
			return err
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false) // its path may be gone by then
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		return nil, fmt.Errorf("making the control socket: %w", err)
	}
	return l, nil
}

// dial connects to dir's socket.
func dial(ctx context.Context, dir string) (c net.Conn, err error) {
	err = withSocket(dir, func(path string) error {
		c, err = (&net.Dialer{}).DialContext(ctx, "unix", path)
		return err
	})
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		err = ErrNotRunning
	}
	return c, err
}
