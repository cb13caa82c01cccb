//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/role"
)

// roundsVariable makes the drill longer: so many times a master is killed.
const roundsVariable = "E2E_FAILOVERS"

// The address moves, the documents' own way: the master is killed under load, its
// host gives the address up, the standby's host gets it and is promoted, and the
// mount goes on by itself. What the leader has is, entry by entry, what the dead
// master wrote down, and then what clients were told since; a stock master that
// replays all of it comes to the same metadata.
func TestFailover(t *testing.T) {
	for _, program := range []string{"keepalived", "ucarp"} {
		t.Run(program, func(t *testing.T) {
			rounds := 1
			if text := os.Getenv(roundsVariable); text != "" {
				var err error
				if rounds, err = strconv.Atoi(text); err != nil {
					t.Fatalf("%s: %v", roundsVariable, err)
				}
			}
			d := newDrill(t, program)
			m := d.c.mount(floating)
			var all []figures
			for n := range rounds {
				f := d.kill(m, n)
				t.Logf("round %d: %v", n+1, f)
				all = append(all, f)
				if n < rounds-1 {
					d.restore()
				}
			}
			summary(t, all)
		})
	}
}

// drill is a stock master on host a, a standby on b, clients on c, and a program
// that moves the address between a and b.
type drill struct {
	t       *testing.T
	net     *network
	a, b, c *host
	f       *follower
	moveA   *mover
	moveB   *mover
	binary  string
}

func newDrill(t *testing.T, program string) *drill {
	t.Helper()
	n := newNetwork(t)
	d := &drill{t: t, net: n, binary: buildStandby(t)}
	d.a = n.host(MasterIP, Config{Dir: t.TempDir()})
	d.b = n.host("10.77.0.2", Config{Dir: t.TempDir()})
	d.c = n.host("10.77.0.3", Config{Dir: t.TempDir()})
	d.must(d.a.StartMaster(false), d.a.StopMaster(), d.a.StartMaster(false)) // it has stored its metadata once
	d.f = newFollower(d.b.Cluster, d.binary, "standby", "run", "--primary", MasterIP, "--listen-http", "",
		"--exports", d.a.path("cfg", "mfsexports.cfg"), "--promote-on-address", floating+"%"+hostLink,
		"--on-promote", "env | grep ^MFSSTANDBY_ | sort >"+d.b.path("promoted"), "--on-demote", "env | grep ^MFSSTANDBY_ | sort >"+d.b.path("demoted"))
	d.must(d.f.start())
	d.inSync()
	if program == "ucarp" {
		d.moveA, d.moveB = d.a.ucarp("master", d.binary, ""), d.b.ucarp("standby", d.binary, d.f.data)
	} else {
		d.moveA, d.moveB = d.a.keepalived("master", d.binary, ""), d.b.keepalived("standby", d.binary, d.f.data)
	}
	d.move()
	t.Cleanup(func() {
		d.moveA.end()
		d.moveB.end()
		if t.Failed() {
			t.Logf("what moves the address, on a:\n%s\non b:\n%s\nthe standby:\n%s", d.moveA.log(), d.moveB.log(), d.f.p.LogTail())
		}
	})
	return d
}

func (d *drill) must(list ...error) {
	d.t.Helper()
	if err := errors.Join(list...); err != nil {
		d.t.Fatal(err)
	}
}

func (d *drill) inSync() {
	d.t.Helper()
	d.must(d.f.wait("being in sync", func(st control.Status) bool {
		return st.Tap != nil && st.Tap.Following && st.Standby != nil && st.Standby.State == standby.InSync
	}))
}

// move lets the address begin on host a, as it is when all is well.
func (d *drill) move() {
	d.t.Helper()
	d.moveA.run()
	d.address(d.a, true)
	d.moveB.run()
}

// address waits until a host has the address, or has it no more.
func (d *drill) address(h *host, here bool) time.Time {
	d.t.Helper()
	err := waitFor(fmt.Sprintf("%s having the address: %v", h.ip, here), patience, func() bool { return h.has(floating) == here })
	if err != nil {
		d.t.Fatalf("%v\na: %s\nb: %s", err, d.moveA.p.LogTail(), d.moveB.log())
	}
	return time.Now()
}

func (m *mover) log() string {
	if m.p == nil {
		return "not started"
	}
	return m.p.LogTail()
}

// leading waits until the standby leads.
func (d *drill) leading() role.State {
	d.t.Helper()
	var now role.State
	d.must(d.f.wait("leading", func(st control.Status) bool {
		now = *st.Cluster
		return now.Role == role.Leader && st.Standby.State == standby.Leading
	}))
	return now
}

// figures of a failover, from the death of the master on.
type figures struct {
	moved   time.Duration // the standby's host has the address
	led     time.Duration // the standby accepts writes
	worked  time.Duration // an operation of a mount that came after succeeded
	entries int           // compared: the dead master's and the stream's
	ahead   int           // sent, and not in the dead master's file
	lost    int           // in the dead master's file, and not sent
	doubt   int           // operations that were carried out before and after
	taken   int           // operations that clients were told of, and nobody knows of
	since   int           // entries of the leader
	early   bool          // the address had moved before the kill
}

func (f figures) String() string {
	when := ""
	if f.early {
		when = "it had moved by itself before: "
	}
	return when + fmt.Sprintf("address %.2f s, leader %.2f s, mount %.2f s after the kill; %d entries compared, %d ahead of the file, %d lost, %d operations in doubt, %d told and lost, %d entries of the leader",
		f.moved.Seconds(), f.led.Seconds(), f.worked.Seconds(), f.entries, f.ahead, f.lost, f.doubt, f.taken, f.since)
}

func summary(t *testing.T, all []figures) {
	for _, c := range []struct {
		name string
		of   func(figures) time.Duration
	}{
		{"address", func(f figures) time.Duration { return f.moved }},
		{"address to leader", func(f figures) time.Duration { return f.led - f.moved }},
		{"leader to mount", func(f figures) time.Duration { return f.worked - f.led }},
		{"kill to mount", func(f figures) time.Duration { return f.worked }},
	} {
		var list []time.Duration
		for _, f := range all {
			if !f.early {
				list = append(list, c.of(f))
			}
		}
		if slices.Sort(list); len(list) == 0 {
			continue
		}
		t.Logf("%-18s least %.2f s, median %.2f s, most %.2f s of %d", c.name, list[0].Seconds(), list[len(list)/2].Seconds(), list[len(list)-1].Seconds(), len(list))
	}
	var sum figures
	for _, f := range all {
		sum.entries, sum.ahead, sum.lost, sum.doubt, sum.taken, sum.since = sum.entries+f.entries, sum.ahead+f.ahead, sum.lost+f.lost, sum.doubt+f.doubt, sum.taken+f.taken, sum.since+f.since
	}
	t.Logf("in all: %d entries compared, %d ahead of the file, %d lost, %d operations in doubt, %d told and lost, %d entries of leaders", sum.entries, sum.ahead, sum.lost, sum.doubt, sum.taken, sum.since)
}

// writer works in a directory of its own, and knows what must be there.
type writer struct {
	dir   string
	have  map[string]os.FileMode // names, and their permissions
	doubt int
	taken int          // operations that the dead master said were done, and nobody knows of
	broke bool         // the last one was interrupted
	done  atomic.Int64 // operations
	last  atomic.Int64 // Unix nanoseconds: when the last one ended
}

// inDoubt is how long an operation takes that a failover interrupted, at least.
const inDoubt = 500 * time.Millisecond

// try carries out an operation. One that was interrupted may have been carried
// out by the dead master already, and then again says what that says.
func (w *writer) try(again error, do func() error) error {
	begun := time.Now()
	err := do()
	if w.broke = time.Since(begun) > inDoubt; w.broke && again != nil && errors.Is(err, again) {
		w.doubt++
		err = nil
	}
	w.last.Store(time.Now().UnixNano())
	w.done.Add(1)
	return err
}

// run makes, changes, renames and removes files and directories until stop.
func (w *writer) run(stop <-chan struct{}) error {
	first := w.try(syscall.EEXIST, func() error { return os.Mkdir(w.dir, 0o755) })
	if first != nil {
		return first
	}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		made, moved := filepath.Join(w.dir, fmt.Sprint(n)), filepath.Join(w.dir, fmt.Sprintf("%d.moved", n))
		mode := os.FileMode(0o700 + n%8)
		create := func() error { return os.Mkdir(made, 0o755) }
		if n%2 == 1 {
			create = func() error { return syscall.Mknod(made, syscall.S_IFREG|0o644, 0) }
		}
		steps := []struct {
			again error
			do    func() error
		}{
			{syscall.EEXIST, create},
			{nil, func() error { return os.Chmod(made, mode) }},
			{syscall.ENOENT, func() error { return os.Rename(made, moved) }},
			{syscall.ENOENT, func() error { return os.Remove(moved) }},
		}
		keep := n%3 != 0
		if keep {
			steps = steps[:3]
		}
		for _, s := range steps {
			err := w.try(s.again, s.do)
			if w.broke {
				if err := w.settle(n, err); err != nil {
					return err
				}
				keep = false
				break
			}
			if err != nil {
				return err
			}
		}
		if keep {
			w.have[filepath.Base(moved)] = mode
		}
	}
}

// settle looks at what is there after a failover interrupted round n. A stock
// master answers before it sends entries to those who follow it: the last
// operation that it said was done, of this round or the one before, may be lost.
func (w *writer) settle(n int, failed error) error {
	if errors.Is(failed, syscall.ENOENT) { // of what was said to be there
		w.taken++
		failed = nil
	}
	for i := max(0, n-1); i <= n; i++ {
		moved := fmt.Sprintf("%d.moved", i)
		want, known := w.have[moved]
		delete(w.have, moved)
		info, err := os.Lstat(filepath.Join(w.dir, moved))
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			return err
		}
		there := err == nil
		if there {
			w.have[moved] = info.Mode().Perm()
		}
		err = os.Remove(filepath.Join(w.dir, fmt.Sprint(i)))
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			return err
		}
		if i < n && (err == nil || there != known || there && w.have[moved] != want) {
			w.taken++
		}
	}
	return failed
}

// check compares the directory with what must be there.
func (w *writer) check() error {
	found, err := os.ReadDir(w.dir)
	if err != nil {
		return err
	}
	if len(found) != len(w.have) {
		return fmt.Errorf("%s has %d names, want %d", w.dir, len(found), len(w.have))
	}
	for _, e := range found {
		info, err := e.Info()
		if err != nil {
			return err
		}
		if mode, ok := w.have[e.Name()]; !ok || info.Mode().Perm() != mode {
			return fmt.Errorf("%s/%s has mode %v, want %v, %v", w.dir, e.Name(), info.Mode(), mode, ok)
		}
	}
	return nil
}

// kill kills the master while clients work, and checks what came of it. The
// standby is demoted and has ended then.
func (d *drill) kill(m *Mount, round int) figures {
	t := d.t
	t.Helper()
	writers := make([]*writer, 4)
	stop := make(chan struct{})
	failed := make([]error, len(writers))
	var work sync.WaitGroup
	for i := range writers {
		w := &writer{dir: filepath.Join(m.Path, fmt.Sprintf("round%d-%d", round, i)), have: map[string]os.FileMode{}}
		writers[i] = w
		work.Go(func() { failed[i] = w.run(stop) })
	}
	ended := sync.OnceFunc(func() { close(stop); work.Wait() })
	defer ended()
	const some = 100
	all := func(ok func(w *writer) bool) func() bool {
		return func() bool { return !slices.ContainsFunc(writers, func(w *writer) bool { return !ok(w) }) }
	}
	d.must(waitFor("clients that work", patience, all(func(w *writer) bool { return w.done.Load() > some })))

	// On a machine that is too busy the address moves by itself: a check, or the
	// word of the other host, came too late. Only the times mean nothing then.
	f := figures{early: !d.a.has(floating) || !d.a.Master().Running()}
	begun := time.Now()
	d.a.KillMaster()
	f.moved = d.address(d.b, true).Sub(begun)
	led := d.leading()
	f.led = led.Since.Sub(begun)
	after := func(w *writer) bool { return w.last.Load() > led.Since.UnixNano() }
	d.must(waitFor("a mount that goes on", patience, func() bool { return slices.ContainsFunc(writers, after) }))
	f.worked = time.Since(begun)
	d.must(waitFor("mounts that go on", patience, all(after)))
	target := writers[0].done.Load() + some
	d.must(waitFor("clients that work again", patience, func() bool { return writers[0].done.Load() > target }))
	ended()
	d.must(failed...)
	for _, w := range writers {
		d.must(w.check())
		if w.taken > 2 {
			t.Errorf("of %s %d operations are lost that were said to be done: more than can have been on the way", w.dir, w.taken)
		}
		f.doubt, f.taken = f.doubt+w.doubt, f.taken+w.taken
	}
	d.hook("promoted", "HOOK=on-promote", "ROLE=leader", "EVENT=promote", "REASON="+floating+"%"+hostLink+" is here",
		fmt.Sprintf("EPOCH=%d", led.Epoch), fmt.Sprintf("VERSION=%d", led.Begun), "DATA="+d.f.data)
	d.must(waitFor("the fence of the dead master's host", patience, func() bool {
		_, err := os.Stat(filepath.Join(d.a.DataDir(), lostMark))
		return err == nil
	}))

	promoted(t, d.f, "demote", "--json")
	d.hook("demoted", "HOOK=on-demote", "ROLE=follower", "EVENT=demote")
	d.moveA.stop()
	d.moveB.stop()
	d.must(d.f.p.Stop())
	d.compare(uint64(led.Begun), &f)
	return f
}

// lostMark is what mfsmaster-fence leaves in the data directory of a master.
const lostMark = "LOST-ADDRESS"

// hook checks what a hook was told.
func (d *drill) hook(file string, want ...string) {
	d.t.Helper()
	text := string(read(d.t, d.b.path(file)))
	for _, w := range want {
		if !strings.Contains(text, "MFSSTANDBY_"+w+"\n") {
			d.t.Errorf("the hook was told\n%s, want %s", text, w)
		}
	}
}

// compare compares what the dead master wrote down with the stream, entry by
// entry, up to the first version of the leader. Then it lets the dead master's
// directory have the stream's history, and a stock master replay that.
func (d *drill) compare(begun uint64, f *figures) {
	t := d.t
	t.Helper()
	dead := map[uint64]string{}
	files, err := changelogFiles(d.a.DataDir())
	d.must(err)
	for _, file := range files {
		text := read(t, file)
		for line := range lines(text[:strings.LastIndexByte(string(text), '\n')+1]) {
			v, err := versionOf(line)
			d.must(err)
			_, entry, _ := strings.Cut(string(line), ": ")
			dead[v] = entry
		}
	}
	entries := entriesOf(t, filepath.Join(d.f.data, "nats"))
	for _, e := range entries {
		v := uint64(e.Version)
		switch want, ok := dead[v]; {
		case v >= begun:
			f.since++
		case !ok:
			f.ahead++
		case want != string(e.Text):
			t.Fatalf("entry %d is %q, the dead master wrote %q", v, e.Text, want)
		default:
			f.entries++
		}
	}
	for v := range dead {
		if v >= begun {
			f.lost++
		}
	}
	if f.entries == 0 || f.since == 0 {
		t.Errorf("%d entries of the dead master, %d of the leader were compared", f.entries, f.since)
	}
	log := filepath.Join(d.a.DataDir(), "changelog.0.mfs")
	d.must(dropFrom(log, begun), takeUp(log, entries))
	d.must(d.a.StartMaster(true))
	if !slices.Contains(d.f.args, "--take-over") {
		d.f.args = append(d.f.args, "--take-over")
	}
	d.must(d.f.start())
	d.inSync()
	d.must(d.a.StopMaster())
	saved := filepath.Join(d.a.DataDir(), "metadata.mfs")
	version, err := ImageVersion(saved)
	d.must(err, d.f.waitImage(version))
	found, err := d.f.differences(saved)
	d.must(err)
	for _, difference := range found {
		t.Error(difference)
	}
}

// dropFrom drops the lines of a changelog file from a version on.
func dropFrom(path string, version uint64) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var kept []byte
	for line := range lines(text) {
		if v, err := versionOf(line); err == nil && v < version {
			kept = append(append(kept, line...), '\n')
		}
	}
	return os.WriteFile(path, kept, 0o640)
}

// restore lets the stock master on host a lead again, as a person would.
func (d *drill) restore() {
	d.t.Helper()
	d.must(d.a.StartMaster(false))
	d.inSync()
	d.must(os.Remove(filepath.Join(d.a.DataDir(), lostMark)))
	d.move()
}
