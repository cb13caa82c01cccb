//go:build e2e

package failover

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/history"
)

// run runs the program with the node's data directory and gives what it prints.
func (n *node) run(args ...string) (string, error) {
	n.t.Helper()
	cmd := prepare(append([]string{n.args[0], args[0], "--data", n.data}, args[1:]...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%v: %w\n%s%s", args, err, out, &errs)
	}
	return string(out), err
}

func (n *node) mustRun(args ...string) {
	n.t.Helper()
	if _, err := n.run(args...); err != nil {
		n.t.Fatal(err)
	}
}

// comparison is what compare prints.
type comparison struct {
	history.Comparison
	Entries []history.LostEntry `json:"entries"`
}

// compare compares a directory with the stream, as told by the node, and saves
// the lost tail to a file.
func (n *node) compare(dir, save string) (c comparison) {
	n.t.Helper()
	out, err := n.run("compare", "--json", "--save", save, dir)
	if bad := json.Unmarshal([]byte(out), &c); bad != nil {
		n.t.Fatalf("%v: %v", bad, err)
	}
	if (err == nil) != (c.Verdict == history.NothingLost) {
		n.t.Fatalf("%s: %v", c.Verdict, err)
	}
	return c
}

// lines are the entries in the changelog files of a master from a version on, as
// they are written there.
func lines(t *testing.T, dir string, from meta.Version) (list []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "changelog.*.mfs"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(paths) // the hour may turn
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			version, _, _ := strings.Cut(s.Text(), ":")
			v, err := strconv.ParseUint(version, 10, 64)
			if err != nil {
				t.Fatalf("%s: %q", path, s.Text())
			}
			if meta.Version(v) >= from {
				list = append(list, s.Text())
			}
		}
	}
	return list
}

// as runs a program on the host as a user.
func (h *host) as(uid int, args ...string) {
	h.t.Helper()
	h.must(append([]string{"setpriv", "--reuid", fmt.Sprint(uid), "--regid", fmt.Sprint(uid + 1), "--clear-groups"}, args...)...)
}

// TestReturn: what an old primary has that nobody else has is listed exactly, by
// version, path and user, and saved; a master that was started from an older dump
// is known as another history; an old leader, which has nothing more than the
// others, follows the new one. None of them changes what the cluster has.
func TestReturn(t *testing.T) {
	w := newWorld(t)
	w.startMaster()
	dump := w.path("restored")
	if err := os.CopyFS(dump, os.DirFS(w.path("master"))); err != nil { // of when it was stopped
		t.Fatal(err)
	}
	for _, n := range w.nodes {
		n.start()
	}
	w.mountAll()
	shared := w.path("mnt/shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	w.settle(false)
	defer w.follow()()
	a := w.nodes[0]
	a.mustRun("failover", "pause", "--reason", "test")
	st, err := a.status()
	if err != nil {
		t.Fatal(err)
	}
	from := st.Standby.Committed

	// The primary is cut off from the nodes, works on, and dies.
	for _, n := range w.nodes {
		n.refuse(w.hosts["master"])
	}
	client := w.hosts["client"]
	client.as(1234, "mkdir", filepath.Join(shared, "lost"))
	client.as(1234, "touch", filepath.Join(shared, "lost/file"))
	client.as(1234, "mv", filepath.Join(shared, "lost/file"), filepath.Join(shared, "moved"))
	client.as(4321, "mkdir", filepath.Join(shared, "other"))
	w.killMaster()
	waitFor(t, "the promotion", patience, func() bool { // the taps have to notice first
		_, err := a.run("promote", "--reason", "test")
		return err == nil
	})
	work := newWork(t, w.path("mnt/work"))
	work.begin()()
	w.heal()
	w.settle(true)

	saved := w.path("lost.mfs")
	c := a.compare(w.path("master"), saved)
	want := lines(t, w.path("master"), from)
	if c.Verdict != history.LostTail || c.LostFrom != from || int(c.Lost) != len(want) || len(c.Entries) != len(want) {
		t.Fatalf("%+v\nwant a lost tail from version %d on: %q", c, from, want)
	}
	text, err := os.ReadFile(saved)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(strings.TrimSpace(string(text)), "\n"); !slices.Equal(got, want) {
		t.Errorf("saved: %q\nwant %q", got, want)
	}
	var made []string // of each entry that makes a name: what, and who
	for i, e := range c.Entries {
		if line := fmt.Sprintf("%d: %s", e.Version, e.Entry); line != want[i] {
			t.Errorf("listed: %q, want %q", line, want[i])
		}
		switch {
		case strings.Contains(e.Entry, "|CREATE("):
			if e.UID == nil || e.GID == nil {
				t.Fatalf("nobody made %+v", e)
			}
			made = append(made, fmt.Sprintf("%s by %d:%d", e.Path, *e.UID, *e.GID))
		case strings.Contains(e.Entry, "|MOVE("):
			made = append(made, e.Path+" to "+e.To)
		}
	}
	if want := []string{"/shared/lost by 1234:1235", "/shared/lost/file by 1234:1235", "/shared/lost/file to /shared/moved", "/shared/other by 4321:4322"}; !slices.Equal(made, want) {
		t.Errorf("listed: %q, want %q", made, want)
	}

	// The master is started from the older dump, and somebody works there.
	master := w.hosts["master"]
	if err := run("ip", "-n", master.ns, "link", "set", "eth0", "up"); err != nil {
		t.Fatal(err)
	}
	w.configure("restored")
	restored := w.startStock(master, "restored", "-a")
	there := w.path("there")
	if err := os.Mkdir(there, 0o755); err != nil {
		t.Fatal(err)
	}
	mount := w.mountAt(master, master.ip, there)
	for i := range 5 {
		if err := os.Mkdir(filepath.Join(there, fmt.Sprint("there", i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount()
	restored.kill()
	c = a.compare(dump, w.path("other.mfs"))
	if mine := lines(t, dump, 0); c.Verdict != history.AnotherHistory || int(c.Lost+c.Same+c.Unknown) != len(mine) || c.Lost == 0 || int(c.LostFrom) > int(from) {
		t.Errorf("of a master restored from an older dump: %+v\nit has %q", c.Comparison, mine)
	}

	// The leader dies, another one leads, and it comes back.
	a.mustRun("failover", "resume")
	w.settle(true)
	old := w.leader()
	if old == nil {
		t.Fatal("nobody leads")
	}
	end := work.begin()
	old.p.kill()
	waitFor(t, "another leader", patience, func() bool { return w.leader() != old })
	end()
	lead := w.leader()
	if c := lead.compare(old.data, w.path("old.mfs")); c.Verdict != history.NothingLost || c.Same == 0 {
		t.Errorf("what the old leader left: %+v", c)
	}
	old.start()
	w.settle(true)
	now, err := lead.status()
	if err != nil {
		t.Fatal(err)
	}
	back, err := old.status()
	if err != nil {
		t.Fatal(err)
	}
	if back.Standby.Epoch != now.Standby.Epoch || back.Cluster.Role == now.Cluster.Role || now.Cluster.Epoch != now.Standby.Epoch {
		t.Errorf("the old leader is %+v of epoch %d, the new one %+v of epoch %d", back.Cluster, back.Standby.Epoch, now.Cluster, now.Standby.Epoch)
	}
	work.check()
	have, err := os.ReadDir(w.mount)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(shared); err != nil || len(left) != 0 || len(have) != 2 {
		t.Errorf("the cluster has %v, and in shared %v: %v", have, left, err)
	}
	w.checkEpochs()
}
