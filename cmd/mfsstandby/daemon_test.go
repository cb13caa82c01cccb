package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/stock"
)

// asProgram makes a test binary the program itself.
const asProgram = "MFSSTANDBY_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	asWorkload()
	if os.Getenv(asProgram) != "" {
		os.Unsetenv(asProgram)
		main()
	}
	os.Exit(m.Run())
}

// program is a running mfsstandby.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	data string
	out  output
	done chan struct{}
	err  error
}

// output is safe to read while the program writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start starts a program of its own process; it is killed when the test ends.
func start(t *testing.T, data string, args ...string) *program {
	t.Helper()
	p := &program{t: t, data: data, done: make(chan struct{}), cmd: exec.Command(os.Args[0], append(args, "--data", data)...)}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill() // an error means that it has ended
		<-p.done
	})
	return p
}

// end waits for its end and returns the exit status; -1 is a signal.
func (p *program) end(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("still running after %v; it printed:\n%s", within, p.out.String())
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		p.t.Fatal(p.err)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *program) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// status waits until the program's status is as wanted.
func (p *program) status(what string, ok func(*control.Status) bool) control.Status {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	client := control.NewClient(p.data)
	for {
		st, err := client.Status(ctx)
		if err == nil && ok(&st) {
			return st
		}
		select {
		case <-p.done:
			p.t.Fatalf("waiting until %s: it ended; it printed:\n%s", what, p.out.String())
		case <-ctx.Done():
			text, _ := json.Marshal(st)
			p.t.Fatalf("waiting until %s: status is %s, %v; it printed:\n%s", what, text, err, p.out.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// imageAt tells whether the image has reached a version.
func imageAt(v meta.Version) func(*control.Status) bool {
	return func(st *control.Status) bool { return st.Standby != nil && st.Standby.Image >= v }
}

// sameAsPrimary compares the image of a running standby with a changelog
// directory's own state.
func sameAsPrimary(t *testing.T, data, dir string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "changelog.*.mfs"))
	if err != nil {
		t.Fatal(err)
	}
	base, err := filepath.Glob(filepath.Join(dir, "metadata.mfs*"))
	if err != nil || len(base) != 1 {
		t.Fatalf("metadata files %v, %v; want one", base, err)
	}
	args := []string{"verify", base[0], "--data", data}
	for _, path := range logs {
		args = append(args, "--changelog", path)
	}
	if out := mustRun(t, args...); !strings.Contains(out, "the same at version") {
		t.Errorf("verify printed %s", out)
	}
}

func TestRunFollowsTheSamplePrimary(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := start(t, data, "run", "--cache", "64M", "--rate", "5000")
	p.status("3000 entries are applied", imageAt(3000))
	if s := p.out.String(); !strings.Contains(s, "status --watch --data "+data) {
		t.Errorf("it does not say what to type next:\n%s", s)
	}

	// While it runs: questions are answered, everything else keeps out.
	if out := mustRun(t, "status", "--data", data); !strings.Contains(out, "image version") || !strings.Contains(out, "primary version") {
		t.Errorf("status printed %s", out)
	}
	var st control.Status
	if err := json.Unmarshal([]byte(mustRun(t, "status", "--json", "--data", data)), &st); err != nil {
		t.Fatal(err)
	}
	if st.Role != "run" || st.PID != p.cmd.Process.Pid || st.Tap.MetaID != st.Standby.MetaID || len(st.Standby.Digest) != 32 {
		t.Errorf("status is %+v", st)
	}
	wantFail(t, exitFailed, "in use by another process: mfsstandby run, process", "run", "--data", data)
	wantFail(t, exitFailed, "in use by another process", "import", os.Args[0], "--data", data)
	wantFail(t, exitFailed, "it applies entries by itself", "replay", os.Args[0], "--data", data)
	out := filepath.Join(data, "out.mfs")
	mustRun(t, "export", "-o", out, "--crc", out+".crc", "--data", data)
	mustRun(t, "dump", out)
	mustRun(t, "dump", "--data", data)
	wantFail(t, exitFailed, "only the same version can be compared", "verify", out, "--data", data)
	sameAsPrimary(t, data, filepath.Join(data, "sample"))

	// It leaves and goes on where it was.
	p.signal(syscall.SIGTERM)
	if status := p.end(leaving); status != 0 {
		t.Fatalf("exit status %d after SIGTERM; it printed:\n%s", status, p.out.String())
	}
	wantFail(t, exitFailed, "no standby is running", "status", "--data", data)
	at := mustRun(t, "export", "-o", out, "--data", data)
	q := start(t, data, "run", "--cache", "64M")
	again := q.status("it has caught up", func(st *control.Status) bool {
		return imageAt(10000)(st) && st.Standby.State == standby.InSync
	})
	if again.Standby.MetaID != st.Standby.MetaID {
		t.Errorf("cluster %s after the restart, before it %s (%s)", again.Standby.MetaID, st.Standby.MetaID, at)
	}
	sameAsPrimary(t, data, filepath.Join(data, "sample"))
	q.signal(syscall.SIGINT)
	if status := q.end(leaving); status != 0 {
		t.Errorf("exit status %d after SIGINT", status)
	}
}

func TestRunSurvivesKill(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	for v := meta.Version(2000); v <= 10000; v += 2000 {
		p := start(t, data, "run", "--cache", "64M", "--rate", "10000")
		p.status(fmt.Sprintf("version %d", v), imageAt(v))
		p.signal(syscall.SIGKILL)
		p.end(leaving)
	}
	p := start(t, data, "run", "--cache", "64M")
	p.status("it has caught up", func(st *control.Status) bool {
		return imageAt(10000)(st) && st.Standby.State == standby.InSync
	})
	sameAsPrimary(t, data, filepath.Join(data, "sample"))
}

func TestRunRefusesAnotherCluster(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := start(t, data, "run", "--cache", "64M")
	p.status("it runs", imageAt(100))
	p.signal(syscall.SIGKILL)
	p.end(leaving)
	if err := os.RemoveAll(filepath.Join(data, "sample")); err != nil {
		t.Fatal(err)
	}
	wantFail(t, exitFailed, "give another data directory", "run", "--cache", "64M", "--data", data)
}

func TestReloadOnSIGHUP(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mfsstandby.cfg")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("LOG_LEVEL = info\nCACHE = 64M\n")
	wantFail(t, exitUsage, "names no primary", "run", "--config", path, "--data", dir)
	p := start(t, filepath.Join(dir, "data"), "run", "--config", path, "--sample")
	p.status("it runs", imageAt(3))
	write("LOG_LEVEL = warn\nCACHE = 128M\nRATE = 100\n")
	p.signal(syscall.SIGHUP)
	p.printed("need a restart", "CACHE")
	write("LOG_LEVEL = chatty\n")
	p.signal(syscall.SIGHUP)
	p.printed("everything stays as it was", ":1: LOG_LEVEL")
	p.signal(syscall.SIGTERM)
	if status := p.end(leaving); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// printed waits until the program has printed some texts.
func (p *program) printed(texts ...string) {
	p.t.Helper()
	limit := time.After(20 * time.Second)
	for _, text := range texts {
		for !strings.Contains(p.out.String(), text) {
			select {
			case <-limit:
				p.t.Fatalf("it did not print %q but:\n%s", text, p.out.String())
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// freeAddress is an address of this host that nobody listens on, each time another.
func freeAddress(t *testing.T) string {
	t.Helper()
	for {
		free, err := stock.FreeAddresses(1)
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := given.LoadOrStore(free[0], true); !twice {
			return free[0]
		}
	}
}

var given sync.Map // what freeAddress gave

// The tap and two standbys as processes of their own, with files as the source.
func TestTapAndStandbysOverNATS(t *testing.T) {
	dir := t.TempDir()
	before, log := fixture(t, dir, fixtures+"before.mfs"), fixture(t, dir, changelogGz)
	after := fixture(t, dir, fixtures+"after.mfs.gz")
	addr := freeAddress(t)
	login := []string{"--nats", "nats://" + addr, "--nats-user", "u", "--nats-password", "secret"}
	early := start(t, filepath.Join(dir, "early"), append([]string{"standby", "--cache", "64M"}, login...)...)
	early.status("it waits for NATS", func(st *control.Status) bool {
		return st.Standby != nil && strings.Contains(st.Standby.Error, "no connection to NATS")
	})
	hub := start(t, filepath.Join(dir, "hub"), "standby", "--listen-nats", addr, "--cache", "64M", "--nats-user", "u", "--nats-password", "secret")
	hub.status("it waits", func(st *control.Status) bool { return st.Standby != nil })
	tap := start(t, filepath.Join(dir, "tap"), append([]string{"tap", "--base", before, log}, login...)...)
	if status := tap.end(time.Minute); status != 0 {
		t.Fatalf("the tap's exit status is %d; it printed:\n%s", status, tap.out.String())
	}
	other := start(t, filepath.Join(dir, "other"), append([]string{"standby", "--cache", "64M"}, login...)...)
	for _, p := range []*program{hub, other, early} {
		p.status("it has everything", imageAt(lastVersion))
		if out := mustRun(t, "verify", after, "--data", p.data); !strings.Contains(out, "the same at version 32837") {
			t.Errorf("verify printed %s", out)
		}
	}
	foreign := start(t, filepath.Join(dir, "foreign"), append([]string{"standby", "--metaid", "123", "--cache", "64M"}, login...)...)
	foreign.status("it waits", func(st *control.Status) bool { return st.Standby != nil && st.Standby.Image == 0 })
	denied := start(t, filepath.Join(dir, "denied"), "standby", "--nats", "nats://"+addr)
	if status := denied.end(time.Minute); status != exitFailed || !strings.Contains(denied.out.String(), "connecting to NATS") {
		t.Errorf("without a password: exit status %d, printed %s", status, denied.out.String())
	}
}

func TestRunOfFilesEnds(t *testing.T) {
	dir := t.TempDir()
	before, log := fixture(t, dir, fixtures+"before.mfs"), fixture(t, dir, changelogGz)
	after := fixture(t, dir, fixtures+"after.mfs.gz")
	data := filepath.Join(dir, "data")
	mustRun(t, "run", "--base", before, log, "--data", data, "--cache", "64M", "--log-level", "error")
	if out := mustRun(t, "verify", after, "--data", data); !strings.Contains(out, "the same at version 32837") {
		t.Errorf("verify printed %s", out)
	}
	wantFail(t, exitFailed, "of cluster 6B0423CA629AFF30, not 0000000000000123", "run", "--base", before, log, "--metaid", "123", "--data", data, "--log-level", "error")

	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	create := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "|CREATE(") })
	for name, bad := range map[string]struct{ text, why string }{
		"gap":    {strings.Join(append(lines[:100:100], lines[101:]...), ""), "1024"},
		"effect": {strings.Join(lines[:create], "") + strings.TrimSpace(lines[create]) + "0\n", "primary had"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "changelog.0.mfs")
			if err := os.WriteFile(path, []byte(bad.text), 0o644); err != nil {
				t.Fatal(err)
			}
			wantFail(t, exitFailed, bad.why, "run", "--base", before, path, "--data", filepath.Join(t.TempDir(), "data"), "--cache", "64M")
		})
	}
}

// leaving is how long a daemon may take to end: some seconds, on a machine whose
// disk is not busy with others.
const leaving = time.Minute
