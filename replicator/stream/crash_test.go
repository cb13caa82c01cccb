package stream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
)

// The crash test runs this test binary again as the process to be killed.
const (
	crashDir  = "MFSSTANDBY_TEST_CRASH_DIR"
	crashSize = "MFSSTANDBY_TEST_CRASH_SIZE" // bytes that a file may have, as if the disk were full then
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		err := limitFiles(os.Getenv(crashSize))
		if err == nil {
			err = writeForEver(dir)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func limitFiles(size string) error {
	if size == "" {
		return nil
	}
	n, err := strconv.ParseUint(size, 10, 64)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ)
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n})
}

// writeForEver appends batches of all sizes, and base images, and prints what was
// acknowledged.
func writeForEver(dir string) error {
	ctx := context.Background()
	s, err := StartServer(ServerConfig{StoreDir: dir, Name: "test", SyncAlways: true, Log: quiet})
	if err != nil {
		return err
	}
	conn, err := Connect(Config{Server: s, Log: quiet})
	if err != nil {
		return err
	}
	c, err := conn.Open(ctx, ClusterConfig{MetaID: testMetaID})
	if err != nil {
		return err
	}
	w, err := c.OpenWriter(ctx, WriterConfig{Who: "child", MessageBytes: 64 << 10})
	if err != nil {
		return err
	}
	if w.Next() == 0 {
		if _, err = c.PutBase(ctx, Base{Version: 1}, strings.NewReader(imageOf(1))); err == nil {
			err = w.Rebase(ctx, 1, "first", testTime)
		}
	} else {
		err = w.Open(ctx, "after a crash", testTime)
	}
	if err != nil {
		return err
	}
	// A spool replays what it does not know to be stored.
	next := max(w.Next(), 50) - 49
	for i := 0; ; i++ {
		count := 1 + rand.IntN(50)
		if i%10 == 0 {
			count = 3000
		}
		if err := errors.Join(w.Append(ctx, makeEntries(next, count), testTime), w.Sync()); err != nil {
			return err
		}
		next = w.Next()
		if _, err := fmt.Printf("%d\n", w.Acked()); err != nil {
			return err
		}
		if i%40 == 39 {
			b := Base{Version: w.Acked(), Epoch: w.End().Epoch}
			if _, err := c.PutBase(ctx, b, strings.NewReader(imageOf(b.Version))); err != nil {
				return err
			}
		}
	}
}

func imageOf(v meta.Version) string {
	return strings.Repeat(fmt.Sprintf("image of version %d\n", v), 5000)
}

// TestKill kills a server with its writer at random moments and looks whether all
// that was acknowledged is there, once.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(1, 2))
	acked := meta.Version(0)
	for range 8 {
		acked = max(acked, runAndKill(t, dir, time.Duration(20+rnd.IntN(300))*time.Millisecond))
		checkAfterKill(t, dir, acked)
	}
	if acked < 2000 {
		t.Fatalf("only %d entries were acknowledged: the test did not get going", acked)
	}
}

// TestDiskFull: the writer says at once that nothing more can be stored, and
// what it saw acknowledged is there afterwards.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), crashDir+"="+dir, crashSize+"=3000000")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err == nil || ctx.Err() != nil {
		t.Fatalf("the child ended with %v, %v", err, ctx.Err())
	}
	for _, want := range []string{"appending version", ErrStorage.Error(), "file too large", "start again"} {
		if !strings.Contains(stderr.String(), want) {
			t.Fatalf("error is %q, want %q in it", stderr.String(), want)
		}
	}
	lines := strings.Fields(stdout.String())
	acked, err := strconv.ParseUint(lines[len(lines)-1], 10, 64)
	if err != nil || acked < 1000 {
		t.Fatalf("acknowledged %d (%v)", acked, err)
	}
	checkAfterKill(t, dir, meta.Version(acked))
}

// runAndKill gives the highest version that the child saw acknowledged. The clock
// runs from its first acknowledgement.
func runAndKill(t *testing.T, dir string, after time.Duration) meta.Version {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acked meta.Version
	var kill *time.Timer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if kill == nil {
			kill = time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
		if _, err := fmt.Sscan(lines.Text(), &acked); err != nil {
			break // the last line may be cut
		}
	}
	if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
		t.Fatalf("the child ended by itself: %v, %s", err, stderr.String())
	}
	return acked
}

func checkAfterKill(t *testing.T, dir string, acked meta.Version) {
	t.Helper()
	s := startServer(t, dir, true)
	conn := connect(t, s)
	defer s.Close()
	defer conn.Close()
	c := open(t, conn)
	w := openWriter(t, c, "parent")
	if w.Next() < acked {
		t.Fatalf("the stream ends at %d, acknowledged was %d", w.Next(), acked)
	}
	r := c.Reader(Position{Version: 1}, ReaderConfig{})
	defer r.Close()
	readTo(t, r, w.Next())
	bases, err := c.ListBases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bases {
		var image strings.Builder
		if _, err := c.GetBase(t.Context(), b.Version, &image); err != nil || image.String() != imageOf(b.Version) {
			t.Fatalf("base image %d: %v, %d bytes", b.Version, err, image.Len())
		}
	}
}
