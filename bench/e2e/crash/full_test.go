//go:build e2e

package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mfsstandby/standby"
)

// smallDisk mounts a file system of a size.
func smallDisk(t *testing.T, size int64) string {
	t.Helper()
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves about free bytes of a disk and gives what is to be removed.
func fill(t *testing.T, dir string, free int64) string {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for {
		var st unix.Statfs_t
		must(t, unix.Statfs(dir, &st))
		n := int64(st.Bavail)*st.Bsize - free
		if n <= 0 {
			break
		}
		err := unix.Fallocate(int(f.Fd()), 0, 0, n)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.ENOSPC) { // else others were faster
			t.Fatal(err)
		}
	}
	return path
}

// A full disk stops mfsstandby with an error that names the place; with room
// again it goes on as if nothing had been.
func TestFullDisk(t *testing.T) {
	for _, tc := range []struct {
		name  string
		free  int64         // bytes left
		after time.Duration // that the child may work before; 0: it starts on a full disk
	}{
		{"nothing free at the start", 0, 0},
		{"room to start, not to import", 98 << 20, 0},
		{"nothing free", 0, 1500 * time.Millisecond},
		{"no room for a commit", 60 << 20, 1500 * time.Millisecond},
		{"filled by itself", 100 << 20, 1500 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rnd := random(t)
			disk := smallDisk(t, 400<<20)
			dir := filepath.Join(disk, "data")
			h := newHistory(t, rnd.Uint64(), 20_000, 150_000)
			p := startPrimary(t, h, 20_000, rnd)
			var s seen
			var ballast string
			if tc.after == 0 {
				ballast = fill(t, disk, tc.free)
			}
			args := []string{"--changelog-dir", p.dir, "--commit-every", "100ms"}
			c := start(t, dir, "run", args...)
			if tc.after != 0 {
				s.watch(t, c, nil, time.Now().Add(tc.after))
				ballast = fill(t, disk, tc.free)
			}
			p.finish(t)
			said := untilStopped(t, c)
			if said == "" { // it says so when it is started again, as systemd does
				t.Log("the disk was filled while a commit was being written")
				if said = untilStopped(t, start(t, dir, "run", args...)); said == "" {
					t.Fatal("it began a commit on a full disk")
				}
			}
			t.Logf("published %d, committed %d of %d; %s", s.published, s.committed, h.end(), said)
			if !strings.Contains(said, dir) || !strings.Contains(said, "space") && !strings.Contains(said, "full") {
				t.Errorf("what is said does not name the place and the reason: %s", said)
			}
			must(t, os.Remove(ballast))
			m := newModel(t, h)
			if file := export(t, dir); file != nil {
				if v := exact(t, m, file); v < s.committed {
					t.Fatalf("image is at version %d, committed was %d", v, s.committed)
				}
			}
			finishRun(t, p, dir, m, &s)
		})
	}
}

// untilStopped waits until the child has ended or says that it is stopped, and
// gives the reason: "" if another process took the room of what Badger was writing
// through a memory map, which the kernel answers with SIGBUS.
func untilStopped(t *testing.T, c *child) string {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case <-c.done:
			code := c.cmd.ProcessState.ExitCode()
			if code == 2 && strings.Contains(c.out.String(), "badger/v4.(*logFile).writeEntry") && strings.Contains(c.out.String(), "SIGBUS") {
				return ""
			}
			if code != 1 {
				t.Fatalf("exit status %d, want 1\n%s", code, c.out)
			}
			lines := strings.Split(strings.TrimSpace(c.out.String()), "\n")
			return lines[len(lines)-1]
		default:
		}
		st, err := c.status()
		if err == nil && st.Standby != nil && st.Standby.State == standby.Stopped {
			must(t, c.cmd.Process.Signal(unix.SIGTERM))
			if code := c.wait(t, 20*time.Second); code != 1 {
				t.Fatalf("exit status %d after it was stopped, want 1\n%s", code, c.out)
			}
			return "stopped: " + st.Standby.Error
		}
	}
	c.kill()
	t.Fatalf("it does not say that anything is wrong\n%s", c.out)
	return ""
}
