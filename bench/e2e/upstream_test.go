//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/role"
	"mfsstandby/standby/upstream"
)

// A stock mfsmetalogger and another mfsstandby follow a leader that a mount writes
// to, also over its kill -9. In the end the metalogger's files and the leader's own
// have the stream's entries, and a stock mfsmaster -a makes of either what the
// leader has; the other mfsstandby, and one that follows that, have the same digest.
func TestUpstream(t *testing.T) {
	c := startLive(t, Config{Dir: t.TempDir(), Mounts: 1}, false)
	m := c.mounts[0]
	must, sh := musts(t), shell(t, c, m.Path)
	work := func(dir string) {
		t.Helper()
		sh(fmt.Sprintf(`mkdir %[1]s; cd %[1]s; mkdir a b c
for i in $(seq 100); do touch "a/file,$i%%"; done
ln -s target a/link; ln a/file,1%% b/hard; setfattr -n user.x -v 1 a/file,2%%; mv a/file,3%% b; rm a/file,[4-9]%%; chmod 4711 b/hard; rmdir c`, dir))
	}
	binary := buildStandby(t)
	f := newFollower(c, binary, "leader", "run", "--primary", MasterIP, "--listen-http", "", "--exports", c.path("cfg", "mfsexports.cfg"))
	must(f.start())
	work("before")
	must(f.wait("being in sync", func(st control.Status) bool { return st.Standby != nil && st.Standby.State == standby.InSync }))
	if st, err := f.status(); err != nil || st.Upstream != nil {
		t.Errorf("a follower serves metaloggers: %+v, %v", st.Upstream, err)
	}
	c.KillMaster()
	promoted(t, f, "promote", "--json", "--changelog-dir", c.DataDir())

	ml, err := c.StartMetalogger()
	must(err)
	g := newFollower(c, binary, "cascade", "run", "--primary", MasterIP, "--listen-http", "", "--listen-clients", "",
		"--cascade", "--listen-metaloggers", MasterIP+":9519")
	must(g.start())
	h := newFollower(c, binary, "cascade2", "run", "--primary", MasterIP+":9519", "--listen-http", "", "--listen-clients", "")
	must(h.start())
	work("first")
	back := c.path("metalogger", "changelog_ml_back.1.mfs") // fetched last
	must(f.wait("the metalogger to have fetched what it wants", func(st control.Status) bool {
		_, err := os.Stat(back)
		return err == nil && st.Upstream != nil && len(st.Upstream.Metaloggers) == 2
	}))
	for _, follower := range []*follower{g, h} {
		must(follower.wait("following", func(st control.Status) bool { return st.Standby != nil && st.Standby.State == standby.InSync }))
	}
	out, err := c.CLI("-SMB", "-s", "|")
	if err != nil || strings.Count(out, "3.0.117") != 2 || !strings.Contains(out, "10.77.0.") {
		t.Errorf("mfscli -SMB: %v\n%s", err, out)
	}
	work("second")
	f.p.Kill()
	must(f.start())
	must(f.wait("leading again", func(st control.Status) bool {
		return st.Cluster != nil && st.Cluster.Role == role.Leader && st.Upstream != nil
	}))
	work("third")
	must(m.Unmount())

	var end meta.Version
	must(f.wait("all to have the same", func(st control.Status) bool {
		text, err := os.ReadFile(filepath.Join(f.data, "mfs", "changelog.0.mfs"))
		if last := bytes.LastIndex(text, []byte(": ")); err != nil || last < 0 || !bytes.Contains(text[last:], []byte("|SES")) {
			return false // that the mount has gone comes last
		}
		second, err := g.status()
		third, err3 := h.status()
		if err != nil || err3 != nil || st.Upstream == nil || st.Standby == nil || second.Standby == nil || third.Standby == nil || len(st.Upstream.Metaloggers) != 2 {
			return false
		}
		end = st.Standby.Image
		same := func(other *standby.Status) bool { return other.Committed == end && other.Digest == st.Standby.Digest }
		behind := slices.ContainsFunc(st.Upstream.Metaloggers, func(m upstream.Metalogger) bool { return m.Next != end })
		return !behind && st.Upstream.Written == end &&
			st.Standby.Committed == end && same(second.Standby) && same(third.Standby)
	}))
	must(ml.Stop())
	must(f.p.Stop())
	must(g.p.Stop())
	must(h.p.Stop())
	if log := ml.LogTail(); strings.Contains(log, "changes lost") {
		t.Errorf("the metalogger lost entries:\n%s", log)
	}

	stream := entriesOf(t, filepath.Join(f.data, "nats"))
	for dir, pattern := range map[string]string{c.path("metalogger"): "changelog_ml.*.mfs", filepath.Join(f.data, "mfs"): "changelog.*.mfs"} {
		checkLines(t, dir, pattern, stream, end)
	}
	for _, tc := range []struct {
		files string
		image *follower // at the same version
	}{{c.path("metalogger"), f}, {filepath.Join(f.data, "mfs"), g}} {
		must(os.RemoveAll(c.DataDir()))
		must(os.CopyFS(c.DataDir(), os.DirFS(tc.files)))
		must(c.StartMaster(true))
		must(c.StopMaster())
		// The master has written entries since.
		after, err := linesAfter(c.DataDir(), uint64(end)-1)
		must(err)
		more := c.path("after.mfs")
		must(os.WriteFile(more, []byte(strings.Join(after, "\n")+"\n"), 0o644))
		if len(after) > 0 {
			if out, err := tc.image.command("replay", more); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		found, err := tc.image.differences(filepath.Join(c.DataDir(), "metadata.mfs"))
		must(err)
		for _, d := range found {
			t.Errorf("%s: %s", tc.files, d)
		}
	}
}

// checkLines compares changelog files with the stream's entries before a version.
func checkLines(t *testing.T, dir, pattern string, stream []meta.RawEntry, end meta.Version) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", dir, files, err)
	}
	slices.Reverse(files) // the newest has number 0
	var got []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.SplitAfter(string(text), "\n")...)
	}
	got = slices.DeleteFunc(got, func(s string) bool { return s == "" })
	var want []string
	for _, e := range stream {
		if e.Version < end {
			want = append(want, fmt.Sprintf("%d: %s\n", e.Version, e.Text))
		}
	}
	first := slices.Index(want, got[0])
	if first < 0 || len(got) != len(want)-first {
		t.Errorf("%s: %d lines from %q on, %d entries in the stream from %q on", dir, len(got), got[0], len(want), want[0])
		return
	}
	for i, line := range want[first:] {
		if got[i] != line {
			t.Errorf("%s: line %q, entry %q", dir, got[i], line)
			return
		}
	}
}
