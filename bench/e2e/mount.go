package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Mount is a running mfsmount: one session of the master.
type Mount struct {
	*Process
	Path string
}

// Mount mounts the file system at Dir/name as the client of the given address.
// Further arguments go to mfsmount.
func (c *Cluster) Mount(name, address string, args ...string) (*Mount, error) {
	for tries := 1; ; tries++ {
		m, err := c.mountOnce(name, address, args...)
		if err == nil || tries == mountTries || !cutOff.MatchString(err.Error()) {
			return m, err
		}
		time.Sleep(time.Second)
	}
}

// A master that is killed while somebody mounts is not waited for, as it is by who
// has mounted: mfsmount ends, saying this.
var cutOff = regexp.MustCompile(`mfsmount ended(?s:.*)(can't connect to|sending data to|receiving data from) mfsmaster`)

// mountTries is how often mounting is tried then.
const mountTries = 5

func (c *Cluster) mountOnce(name, address string, args ...string) (*Mount, error) {
	path := c.path(name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("making a mount point: %w", err)
	}
	// Without caches a client sees what the others did at once.
	front := []string{"-f", "-H", MasterIP, "-B", address, "-o", "mfsattrcacheto=0,mfsentrycacheto=0,mfsdirentrycacheto=0,mfsxattrcacheto=0,mfsgroupscacheto=0,mfsnice=0,mfsioretries=8,mfserroronlostchunk"}
	cmd := c.Command("mfsmount", append(append(front, args...), path)...)
	if c.cfg.FakeTime {
		lib, err := faketimeLibrary("libfaketimeMT.so.1")
		if err != nil {
			return nil, err
		}
		// A client tells which files it has closed after ten minutes; its
		// sleep(1) is made shorter, the clocks stay.
		cmd.Env = append(os.Environ(), "LD_PRELOAD="+lib, "FAKETIME=+0 x5", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1")
	}
	p, err := start(cmd, c.path("log"), name)
	if err != nil {
		return nil, err
	}
	m := &Mount{p, path}
	err = waitFor("the mount", startLimit, func() bool { return mounted(path) || !p.Running() })
	if err == nil && !p.Running() {
		err = errors.New("mfsmount ended")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mounting %s: %w; its log ends with:\n%s", path, err, p.LogTail()), m.Unmount())
	}
	return m, nil
}

// Unmount ends the session. If files are open, the client is killed, and who has
// them gets errors.
func (m *Mount) Unmount() error {
	err := unix.Unmount(m.Path, 0)
	if errors.Is(err, unix.EBUSY) {
		m.Kill()
		return nil
	}
	if err != nil && mounted(m.Path) {
		return fmt.Errorf("unmounting %s: %w", m.Path, err)
	}
	if !m.ended(startLimit) {
		m.Kill()
	}
	return nil
}

// Kill ends the client as a crash does. A thread of it may wait for an answer
// that the client itself should give; aborting the connection frees it.
func (m *Mount) Kill() {
	m.Signal(syscall.SIGKILL)
	for !m.ended(100 * time.Millisecond) {
		if err := unix.Unmount(m.Path, unix.MNT_FORCE|unix.MNT_DETACH); err != nil {
			break // nothing is mounted any more
		}
	}
	m.Process.Kill()
	// What a killed client leaves is a mount that answers nothing.
	if mounted(m.Path) {
		unix.Unmount(m.Path, unix.MNT_DETACH)
	}
}

func mounted(path string) bool {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) > 1 && fields[1] == path {
			return true
		}
	}
	return false
}
