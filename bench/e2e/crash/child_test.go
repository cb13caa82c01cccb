//go:build e2e

package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
)

var program string // path of the mfsstandby under test

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "crash")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "mfsstandby")
	if out, err := exec.Command("go", "build", "-o", program, "mfsstandby/cmd/mfsstandby").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// rounds gives how often something is done: n, or more if the environment says
// so, with n in proportion to 100.
func rounds(t *testing.T, n int) int {
	t.Helper()
	text := os.Getenv("MFSSTANDBY_CRASH_ROUNDS")
	if text == "" {
		return n
	}
	all, err := strconv.Atoi(text)
	if err != nil || all < 1 {
		t.Fatalf("MFSSTANDBY_CRASH_ROUNDS=%s: give a number from 1, the default is 100", text)
	}
	return max(1, n*all/100)
}

// random gives what a test draws from; the log says how to draw the same again.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("MFSSTANDBY_CRASH_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		must(t, err)
	}
	t.Logf("MFSSTANDBY_CRASH_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 7))
}

// child is a running mfsstandby.
type child struct {
	cmd  *exec.Cmd
	dir  string
	out  *lockedBuffer
	done chan struct{}
	err  error // how it ended; read after done
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs mfsstandby with a data directory.
func start(t *testing.T, dir, command string, args ...string) *child {
	t.Helper()
	c := &child{dir: dir, out: &lockedBuffer{}, done: make(chan struct{})}
	c.cmd = exec.Command(program, append([]string{command, "--data", dir}, args...)...)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // should the test be killed itself
	must(t, c.cmd.Start())
	go func() {
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	t.Cleanup(c.kill)
	return c
}

// kill is kill -9.
func (c *child) kill() {
	c.cmd.Process.Kill() // an error says that it has ended
	<-c.done
}

// running fails the test if the child ended by itself.
func (c *child) running(t *testing.T) {
	t.Helper()
	select {
	case <-c.done:
		if !c.killed() {
			t.Fatalf("mfsstandby ended by itself: %v\n%s", c.err, c.out)
		}
	default:
	}
}

// killed tells whether an ended child was killed.
func (c *child) killed() bool {
	var exit *exec.ExitError
	return errors.As(c.err, &exit) && !exit.Exited() && exit.String() == "signal: killed"
}

// wait waits for its end and gives the exit status.
func (c *child) wait(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(limit):
		t.Fatalf("mfsstandby did not end within %v\n%s", limit, c.out)
	}
	return c.cmd.ProcessState.ExitCode()
}

// status asks the child; it fails while the child does not answer yet.
func (c *child) status() (control.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return control.NewClient(c.dir).Status(ctx)
}

// seen is what children said of themselves.
type seen struct {
	published meta.Version // acknowledged by the stream
	committed meta.Version // in the image
	back      bool         // a new base image may take both back
}

// note takes note of a status. What was acknowledged must stay.
func (s *seen) note(t *testing.T, st control.Status) {
	t.Helper()
	if st.Tap != nil {
		if v := st.Tap.Published; v != 0 && v < s.published && !s.back {
			t.Fatalf("published version is %d, %d was acknowledged before: %+v", v, s.published, *st.Tap)
		} else {
			s.published = max(s.published, v)
		}
		if st.Tap.Error != "" {
			t.Fatalf("tap: %s", st.Tap.Error)
		}
		for _, e := range st.Tap.Events {
			if strings.Contains(e.Text, "new base image") && !s.back {
				t.Fatalf("tap: %s", e.Text)
			}
		}
	}
	if st.Standby != nil {
		if v := st.Standby.Committed; v != 0 && v < s.committed && !s.back {
			t.Fatalf("committed version is %d, it was %d before", v, s.committed)
		} else {
			s.committed = max(s.committed, v)
		}
		if st.Standby.State == standby.Stopped {
			t.Fatalf("standby: %s", st.Standby.Error)
		}
	}
}

// watch notes the status until the time is over or the child is dead.
func (s *seen) watch(t *testing.T, c *child, d *disk, until time.Time) {
	t.Helper()
	for time.Now().Before(until) {
		select {
		case <-c.done:
			c.running(t)
			return
		case <-time.After(15 * time.Millisecond):
		}
		st, err := c.status()
		if d != nil && d.isOff() {
			return // what is said without power does not count
		}
		if err == nil {
			s.note(t, st)
		}
	}
}

// applied waits until the image is at a version.
func (s *seen) applied(t *testing.T, c *child, v meta.Version) {
	t.Helper()
	var st control.Status
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		c.running(t)
		var err error
		if st, err = c.status(); err != nil {
			continue
		}
		s.note(t, st)
		if st.Standby != nil && st.Standby.Image >= v {
			return
		}
	}
	t.Fatalf("version %d is not reached: %+v, %+v\n%s", v, st.Tap, st.Standby, c.out)
}

// reached waits until the image is at a version, stopped or not.
func (s *seen) reached(t *testing.T, c *child, v meta.Version) {
	t.Helper()
	var st control.Status
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var err error
		if st, err = c.status(); err == nil && st.Standby != nil && st.Standby.Image >= v {
			break
		}
	}
	if st.Standby == nil || st.Standby.Image != v {
		t.Fatalf("image is at version %d, want %d\n%s", st.Standby.Image, v, c.out)
	}
}

// export gives the metadata file of a data directory, nil if there is no image.
// Nobody or a standby may be running.
func export(t *testing.T, dir string) []byte {
	t.Helper()
	file, refused := tryExport(t, dir)
	if refused != "" {
		t.Fatalf("export: %s", refused)
	}
	return file
}

// tryExport is export that may fail, and tells why.
func tryExport(t *testing.T, dir string) (file []byte, refused string) {
	t.Helper()
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, ""
	}
	path := filepath.Join(t.TempDir(), "export.mfs")
	out, err := exec.Command(program, "export", "-o", path, "--data", dir).CombinedOutput()
	if err != nil && strings.Contains(string(out), "no image") {
		return nil, ""
	}
	if err != nil {
		return nil, fmt.Sprintf("%v\n%s", err, out)
	}
	file, err = os.ReadFile(path)
	must(t, err)
	return file, ""
}

// exact checks that an exported file is what the model is at its version, and
// gives that.
func exact(t *testing.T, m *model, file []byte) meta.Version {
	t.Helper()
	h, err := metafileVersion(file)
	must(t, err)
	m.advance(t, h)
	if want := m.file(t); !bytes.Equal(file, want) {
		keep := filepath.Join(os.TempDir(), fmt.Sprintf("crash-%d", os.Getpid()))
		os.WriteFile(keep+".got", file, 0o644)
		os.WriteFile(keep+".want", want, 0o644)
		t.Fatalf("image at version %d differs from the model: compare %s.got with .want", h, keep)
	}
	return h
}

// metafileVersion is in the header: eight bytes after the eight of the format.
func metafileVersion(file []byte) (meta.Version, error) {
	if len(file) < 16 {
		return 0, fmt.Errorf("a file of %d bytes", len(file))
	}
	var v meta.Version
	for _, c := range file[8:16] {
		v = v<<8 | meta.Version(c)
	}
	return v, nil
}
