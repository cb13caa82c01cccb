//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/promote"
	"mfsstandby/standby/role"
)

// A master is killed, the standby is promoted and takes its port, and the mount
// goes on: requests that waited are carried out, and further ones. The leader is
// killed as well and leads again. In the end the stock master takes the stream's
// entries up, and has the metadata of the standby.
func TestPromotion(t *testing.T) {
	c := startLive(t, Config{Dir: t.TempDir(), Mounts: 1}, false)
	m := c.mounts[0]
	must, sh := musts(t), shell(t, c, m.Path)
	// The port for clients is the master's as long as that lives.
	f := newFollower(c, buildStandby(t), "standby", "run", "--primary", MasterIP, "--listen-http", "",
		"--exports", c.path("cfg", "mfsexports.cfg"), "--master-config", c.path("cfg", "mfsmaster.cfg"))
	must(f.start())
	sh("mkdir a b; touch a/file b/gone; ln -s target a/link; setfattr -n user.x -v 1 a/file")
	must(f.wait("being in sync", func(st control.Status) bool { return st.Standby != nil && st.Standby.State == standby.InSync }))

	out, err := f.command("promote")
	if err == nil || !strings.Contains(out, "is connected") {
		t.Fatalf("promotion beside a master that lives: %v\n%s", err, out)
	}
	c.KillMaster()
	waiting := make(chan error, 1)
	go func() { waiting <- os.Mkdir(filepath.Join(m.Path, "waited"), 0o755) }()
	out, err = f.command("promote", "--dry-run", "--changelog-dir", c.DataDir())
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	res := promoted(t, f, "promote", "--json", "--reason", "drill", "--changelog-dir", c.DataDir())
	if res.Role.Role != role.Leader || res.Role.Reason != "drill" {
		t.Errorf("role after the promotion: %+v", res.Role)
	}
	must(<-waiting)
	sh(`test -d waited; mkdir a/dir; mv a/file a/dir/moved; rm b/gone; chmod 600 a/dir/moved; chown 7:8 a; touch -d 2001-02-03 b
mv a/link b/link; setfattr -n user.y -v 2 a/dir/moved; mkfifo b/fifo; rmdir waited; truncate -s 0 a/dir/moved; touch b/new; mkdir d && rmdir d
test "$(stat -c %a a/dir/moved)" = 600; test "$(getfattr --only-values -n user.x a/dir/moved)" = 1`)
	if out, err := f.command("promote"); err == nil || !strings.Contains(out, "leads already") {
		t.Errorf("second promotion: %v\n%s", err, out)
	}

	// On SIGHUP it reads its exports and the master's options again, as a master does.
	reload := func(file string, change func(string) string, what string, ok func() bool) {
		t.Helper()
		path := c.path("cfg", file)
		must(os.WriteFile(path, []byte(change(string(read(t, path)))), 0o644))
		f.p.Signal(syscall.SIGHUP)
		must(waitFor(what, patience, ok))
	}
	tries := 0
	mkdir := func() error {
		tries++
		path := filepath.Join(m.Path, fmt.Sprintf("try%d", tries))
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		return os.Remove(path)
	}
	reload("mfsexports.cfg", func(text string) string { return strings.ReplaceAll(text, " rw,", " ro,") },
		"a mount that may no longer write", func() bool { return errors.Is(mkdir(), syscall.EROFS) })
	reload("mfsexports.cfg", func(text string) string { return strings.ReplaceAll(text, " ro,", " rw,") },
		"a mount that may write again", func() bool { return mkdir() == nil })
	sh("mkdir links; touch links/0")
	links := 0
	reload("mfsmaster.cfg", func(text string) string { return text + "MAX_ALLOWED_HARD_LINKS = 8\n" },
		"a limit of links", func() bool {
			links++
			return errors.Is(os.Link(filepath.Join(m.Path, "links/0"), filepath.Join(m.Path, "links", fmt.Sprint(links))), syscall.EMLINK)
		})
	if st, err := f.status(); err != nil || *st.Cluster != res.Role {
		t.Errorf("after SIGHUP it is %+v, %v, and was %+v", st.Cluster, err, res.Role)
	}

	// A leader that dies leads again.
	f.p.Kill()
	must(f.start())
	must(f.wait("leading again", func(st control.Status) bool {
		return st.Cluster != nil && st.Cluster.Role == role.Leader && st.Standby != nil && st.Standby.State == standby.Leading
	}))
	sh("mkdir after; test -p b/fifo; mv b/new after/new")

	must(m.Unmount())
	res = promoted(t, f, "demote", "--json")
	if res.Role.Role == role.Leader {
		t.Errorf("role after the demotion: %+v", res.Role)
	}
	// Its tap does not go on where a leader wrote.
	must(f.p.Stop())
	must(f.start())
	must(f.wait("the tap to refuse", func(st control.Status) bool {
		return st.Tap != nil && strings.Contains(st.Tap.Error, "--take-over")
	}))
	must(f.p.Stop())

	must(takeUp(filepath.Join(c.DataDir(), "changelog.0.mfs"), entriesOf(t, filepath.Join(f.data, "nats"))))
	must(c.StartMaster(true))
	f.args = append(f.args, "--take-over")
	must(f.start())
	must(f.wait("following", func(st control.Status) bool { return st.Tap != nil && st.Tap.Following }))
	must(c.StopMaster())
	saved := filepath.Join(c.DataDir(), "metadata.mfs")
	version, err := ImageVersion(saved)
	must(err)
	must(f.waitImage(version))
	found, err := f.differences(saved)
	must(err)
	for _, d := range found {
		t.Error(d)
	}
}

// A master that hangs is taken for dead after some seconds, and wakes up later. It
// goes on to accept what its clients write; nothing of that gets into the stream.
func TestHungMaster(t *testing.T) {
	c := startLive(t, Config{Dir: t.TempDir(), Mounts: 1}, false)
	f := newFollower(c, buildStandby(t), "standby", "run", "--primary", MasterIP, "--listen-http", "",
		"--listen-clients", chunkIP(0)+":9431", "--exports", c.path("cfg", "mfsexports.cfg"))
	must := musts(t)
	must(f.start())
	must(os.Mkdir(filepath.Join(c.mounts[0].Path, "before"), 0o755))
	must(f.wait("being in sync", func(st control.Status) bool { return st.Standby != nil && st.Standby.State == standby.InSync }))
	c.Master().Signal(syscall.SIGSTOP)
	defer c.Master().Signal(syscall.SIGCONT)
	if out, err := f.command("promote"); err == nil || !strings.Contains(out, "is connected") {
		t.Fatalf("promotion beside a master that was heard just now: %v\n%s", err, out)
	}
	must(waitFor("the silence to be long enough", patience, func() bool {
		_, err := f.command("promote", "--dry-run")
		return err == nil
	}))
	res := promoted(t, f, "promote", "--json")
	c.Master().Signal(syscall.SIGCONT)
	for n := range 20 {
		must(os.Mkdir(filepath.Join(c.mounts[0].Path, fmt.Sprintf("after%d", n)), 0o755))
	}
	st, err := f.status()
	must(err)
	if *st.Cluster != res.Role {
		t.Errorf("it was %+v, and is %+v", res.Role, *st.Cluster)
	}
	out, err := f.command("dump")
	if must(err); !strings.Contains(out, "before") || strings.Contains(out, "after") {
		t.Errorf("the leader has\n%s", out)
	}
}

// promoted runs a command that changes the role, and shows its steps.
func promoted(t *testing.T, f *follower, args ...string) promote.Result {
	t.Helper()
	out, err := f.command(args...)
	if err != nil {
		t.Fatalf("%v: %v\n%s\n%s", args, err, out, f.p.LogTail())
	}
	var answer struct {
		Steps  []promote.Step
		Result promote.Result
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	for _, s := range answer.Steps {
		t.Logf("%-8s %8.1f ms  %s", s.Name, s.Ms, s.Text)
	}
	t.Logf("%s after %.1f ms; %s", answer.Result.Role.Role, answer.Result.Ms, answer.Result.Missing)
	return answer.Result
}

// entriesOf reads all entries of the only stream in the store of a process that
// has ended.
func entriesOf(t *testing.T, store string) []meta.RawEntry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := stream.StartServer(stream.ServerConfig{StoreDir: store, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn, err := stream.Connect(stream.Config{Server: s})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ids, err := conn.Clusters(ctx)
	if err != nil || len(ids) != 1 {
		t.Fatalf("clusters %v, %v", ids, err)
	}
	cluster, err := conn.Open(ctx, stream.ClusterConfig{MetaID: ids[0]})
	if err != nil {
		t.Fatal(err)
	}
	end, err := cluster.End(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var all []meta.RawEntry
	at := stream.Position{}
	r := cluster.Reader(at, stream.ReaderConfig{})
	defer func() { r.Close() }()
	for at.Version < end.Version {
		b, err := r.Next(ctx)
		var rebase *stream.RebaseError
		if errors.As(err, &rebase) {
			r.Close()
			at = stream.Position{Version: rebase.Base, Epoch: rebase.Epoch}
			r = cluster.Reader(at, stream.ReaderConfig{})
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Entries {
			all = append(all, meta.RawEntry{Version: e.Version, Text: bytes.Clone(e.Text)})
		}
		at = b.End
	}
	return all
}

// takeUp appends to a changelog file what it lacks, behind its last whole line.
func takeUp(path string, entries []meta.RawEntry) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	number, _, _ := strings.Cut(lines[len(lines)-1], ":")
	last, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, e := range entries {
		if uint64(e.Version) > last {
			text = fmt.Appendf(text, "%d: %s\n", e.Version, e.Text)
		}
	}
	return os.WriteFile(path, text, 0o640)
}
