//go:build e2e

package tap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
)

// realMaster is a MooseFS master of its own with one mount. The test needs
// mfsmaster, mfsmount, root and /dev/fuse.
type realMaster struct {
	t     *testing.T
	dir   string // its data
	mount string
	addr  string // of its metalogger port
	port  string // for clients
	cmd   *exec.Cmd
	log   bytes.Buffer
}

// freePorts returns ports that nobody listens on, for loopback.
func freePorts(t *testing.T, n int) (ports []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports
}

func startReal(t *testing.T) *realMaster {
	t.Helper()
	m := &realMaster{t: t, dir: t.TempDir(), mount: t.TempDir()}
	ports := freePorts(t, 3)
	m.addr, m.port = net.JoinHostPort("127.0.0.1", ports[0]), ports[2]
	write(t, filepath.Join(m.dir, "metadata.mfs"), "MFSM NEW")
	write(t, filepath.Join(m.dir, "mfsexports.cfg"), "* / rw,alldirs,maproot=0\n* . rw\n")
	// With CHANGELOG_SAVE_MODE 0 the files lack the last lines of a master that ends.
	write(t, filepath.Join(m.dir, "mfsmaster.cfg"), fmt.Sprintf(`CHANGELOG_SAVE_MODE = 1
WORKING_USER = root
WORKING_GROUP = root
DATA_PATH = %s
EXPORTS_FILENAME = %s/mfsexports.cfg
MATOML_LISTEN_HOST = 127.0.0.1
MATOML_LISTEN_PORT = %s
MATOCS_LISTEN_HOST = 127.0.0.1
MATOCS_LISTEN_PORT = %s
MATOCL_LISTEN_HOST = 127.0.0.1
MATOCL_LISTEN_PORT = %s
`, m.dir, m.dir, ports[0], ports[1], ports[2]))
	m.start()
	t.Cleanup(func() { m.stop(syscall.SIGKILL) })
	m.domount()
	return m
}

func (m *realMaster) start(args ...string) {
	m.t.Helper()
	m.cmd = exec.Command("mfsmaster", append(args, "-f", "-c", filepath.Join(m.dir, "mfsmaster.cfg"), "start")...)
	m.cmd.Stdout, m.cmd.Stderr = &m.log, &m.log
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.until("the master listens", func() bool {
		c, err := net.Dial("tcp", m.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func (m *realMaster) stop(sig os.Signal) {
	m.cmd.Process.Signal(sig)
	m.cmd.Wait()
}

func (m *realMaster) domount() {
	m.t.Helper()
	cmd := exec.Command("mfsmount", "-f", "-H", "127.0.0.1", "-P", m.port, m.mount)
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		exec.Command("umount", "-l", m.mount).Run()
		cmd.Process.Kill()
		cmd.Wait()
	})
	m.until("the file system is mounted", func() bool {
		const fuse = 0x65735546
		var st syscall.Statfs_t
		return syscall.Statfs(m.mount, &st) == nil && st.Type == fuse
	})
}

func (m *realMaster) until(what string, ok func() bool) {
	m.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Fatalf("not within 30 s: %s\n%s", what, &m.log)
		}
	}
}

// work makes n changes through the mount.
func (m *realMaster) work(name string, n int) {
	m.t.Helper()
	for i := range n {
		path := filepath.Join(m.mount, fmt.Sprintf("%s %d", name, i))
		if err := os.Mkdir(path, 0o755); err != nil {
			m.t.Fatal(err)
		}
		if i%3 == 0 {
			if err := os.Remove(path); err != nil {
				m.t.Fatal(err)
			}
		}
	}
}

// written returns all that is in the master's changelog files, oldest first.
func (m *realMaster) written() string {
	m.t.Helper()
	var all string
	for i := 9; i >= 0; i-- {
		b, err := os.ReadFile(filepath.Join(m.dir, fmt.Sprintf("changelog.%d.mfs", i)))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			m.t.Fatal(err)
		}
		all += string(b)
	}
	return all
}

// tapped collects what a source yields as lines.
type tapped struct {
	lines []byte
	next  meta.Version
	last  []byte
}

// until reads entries up to and including one that contains mark.
func (c *tapped) until(t *testing.T, s Source, mark string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for {
		b, err := s.Next(ctx)
		if err == io.EOF && mark == "" {
			return
		} else if err != nil {
			t.Fatalf("waiting for %q: %v", mark, err)
		}
		found := false
		for _, e := range b.Entries {
			if c.next != 0 && e.Version != c.next {
				t.Fatalf("got version %d, want %d", e.Version, c.next)
			}
			c.lines = appendLine(c.lines, e)
			c.next, c.last = e.Version+1, append(c.last[:0], e.Text...)
			found = found || mark != "" && strings.Contains(string(e.Text), mark)
		}
		if found {
			return
		}
	}
}

// runLive starts a Live for a real master.
func runLive(t *testing.T, m *realMaster) (*Live, *journal) {
	t.Helper()
	j := &journal{}
	l, err := NewLive(LiveConfig{Address: m.addr, Dir: t.TempDir(), Event: j.add})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ran
		l.Close()
		t.Logf("events:\n%v", j)
	})
	return l, j
}

// From an empty file system through restarts and a kill of the master: what the
// tap yields is what the master wrote, byte for byte.
func TestRealMaster(t *testing.T) {
	m := startReal(t)
	l, _ := runLive(t, m)
	m.work("first", 100)
	b, err := l.Bootstrap(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if !b.Empty || b.Version != 1 {
		t.Fatalf("base is %+v, want a new file system", b)
	}
	d, err := NewDir(DirConfig{Path: m.dir}, Position{Next: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var live, dir tapped
	m.work("second", 2000)
	live.until(t, l, "second 1999")
	dir.until(t, d, "second 1999")

	m.stop(syscall.SIGTERM) // rotates
	m.start()
	m.work("third", 500)
	live.until(t, l, "third 499")
	dir.until(t, d, "third 499")
	if s := l.Status(); s.ReleaseText != "3.0.117-1" || s.MetaID == 0 {
		t.Fatalf("status is %+v", s)
	}

	m.until("the master has written all", func() bool { return strings.Contains(m.written(), "third 499") })
	m.stop(syscall.SIGKILL)
	m.start("-a")
	m.work("fourth", 500)
	live.until(t, l, "fourth 499")
	dir.until(t, d, "fourth 499")

	m.stop(syscall.SIGKILL)
	d.Drain()
	dir.until(t, d, "")
	want := m.written()
	if got := string(dir.lines); got != want {
		t.Fatalf("the directory gave %d bytes, the master wrote %d", len(got), len(want))
	}
	if got := string(live.lines); !strings.HasPrefix(want, got) || len(want)-len(got) > 1000 {
		t.Fatalf("the connection gave %d bytes that are not the beginning of the %d the master wrote", len(got), len(want))
	}
}

// A tap that was away gets what it missed from memory, and after a restart of
// the master from the files.
func TestRealMasterResume(t *testing.T) {
	m := startReal(t)
	m.work("a", 50)
	var c tapped
	first, _ := runLive(t, m)
	if _, err := first.Bootstrap(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	c.until(t, first, "a 49")
	first.Close()

	m.work("b", 20000) // more than one batch of a delayed history
	second, _ := runLive(t, m)
	at := Position{Next: c.next, Last: bytes.Clone(c.last)}
	if err := second.Resume(at); err != nil {
		t.Fatal(err)
	}
	m.work("c", 100)
	c.until(t, second, "c 99")
	second.Close()

	m.work("d", 100)
	m.stop(syscall.SIGTERM)
	m.start()
	third, j := runLive(t, m)
	if err := third.Resume(Position{Next: c.next, Last: bytes.Clone(c.last)}); err != nil {
		t.Fatal(err)
	}
	m.work("e", 100)
	c.until(t, third, "e 99")
	if !j.has(Downloading, "") {
		t.Fatal("the restarted master had no file to download, yet it knew the history")
	}
	m.until("the master has written all", func() bool { return strings.Contains(m.written(), "e 99") })
	if got, want := string(c.lines), m.written(); !strings.HasPrefix(want, got) || len(want)-len(got) > 1000 {
		t.Fatalf("got %d bytes that are not the beginning of the %d the master wrote", len(got), len(want))
	}

	metaid := third.Status().MetaID // from the file written at the stop
	fourth, _ := runLive(t, m)
	if err := fourth.Resume(Position{Next: c.next, Last: []byte("1|A()"), MetaID: metaid}); err != nil {
		t.Fatal(err)
	}
	if err := takeError(t, fourth); !errors.Is(err, ErrDiverged) {
		t.Fatalf("got %v, want ErrDiverged", err)
	}
	if err := fourth.Resume(Position{Next: c.next, Last: c.last, MetaID: 1}); err != nil {
		t.Fatal(err)
	}
	if err := takeError(t, fourth); !errors.Is(err, ErrMetaID) {
		t.Fatalf("got %v, want ErrMetaID", err)
	}
	// The dump of the last stop and what follows it.
	b, err := fourth.Bootstrap(t.Context(), metaid)
	if err != nil || b.MetaID != metaid || metaid == 0 {
		t.Fatalf("base is %+v, %v", b, err)
	}
	rest := tapped{next: b.Version}
	rest.until(t, fourth, "e 99")
	// What the master does by itself may follow.
	want, _, _ := strings.Cut(string(c.lines), "e 99")
	got, _, _ := strings.Cut(string(rest.lines), "e 99")
	if !strings.HasSuffix(want, "\n"+got) {
		t.Fatalf("after base %d got %d bytes that are not the end of what was written", b.Version, len(got))
	}
}
