//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/role"
	"mfsstandby/standby/stock"
)

// A master dies, and the standby hands over to a stock master: the mount goes on,
// and the standby follows the new master. Then it leads itself for a while and
// hands over what was written meanwhile. In the end it is killed while it hands
// over, before the master is started and after.
func TestHandOver(t *testing.T) {
	c := startLive(t, Config{Dir: t.TempDir(), Mounts: 1}, false)
	m := c.mounts[0]
	must, sh := musts(t), shell(t, c, m.Path)
	cfg := c.path("cfg", "mfsmaster.cfg")
	t.Cleanup(func() {
		if err := stock.KillLeftover(c.DataDir()); err != nil {
			t.Error(err)
		}
	})
	f := newFollower(c, buildStandby(t), "standby", "run", "--primary", MasterIP, "--listen-http", "", "--exports", c.path("cfg", "mfsexports.cfg"), "--cascade")
	must(f.start())
	sh("mkdir a b; touch a/file b/gone; ln -s target a/link; setfattr -n user.x -v 1 a/file")
	inSync := func(st control.Status) bool { return st.Standby != nil && st.Standby.State == standby.InSync }
	must(f.wait("being in sync", inSync))
	following := func(st control.Status) bool {
		return inSync(st) && st.Tap != nil && st.Tap.Following && strings.HasPrefix(st.Tap.Source, "127.0.0.1")
	}
	// same stops the stock master and compares what it stores with the image.
	same := func() {
		t.Helper()
		must(f.wait("following the stock master", following))
		if out, err := c.Command("mfsmaster", "-c", cfg, "stop").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
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

	if out, err := f.command("promote", "--hand-over", cfg); err == nil || !strings.Contains(out, "is an mfsmaster on") && !strings.Contains(out, "is connected") {
		t.Fatalf("hand-over beside a master that lives: %v\n%s", err, out)
	}
	c.KillMaster()
	// With --cascade it takes the dead master's port for metaloggers, and must give it up again.
	must(f.wait("the port for metaloggers", func(st control.Status) bool { return st.Upstream != nil && st.Upstream.Address != "" }))
	res := promoted(t, f, "promote", "--json", "--reason", "drill", "--changelog-dir", c.DataDir(), "--hand-over", cfg)
	if res.Role.Role == role.Leader || res.Role.HandOver == nil || !res.Role.HandOver.Started {
		t.Errorf("role after the hand-over: %+v", res.Role)
	}
	must(waitFor("the refusal to promote beside the stock master", patience, func() bool { // it may still load that one's metadata
		out, err := f.command("promote", "--dry-run")
		if err == nil {
			t.Fatalf("promotion beside the stock master: %s", out)
		}
		return strings.Contains(out, "is connected") || strings.Contains(out, "the stock master that was handed over to")
	}))
	kept, err := filepath.Glob(filepath.Join(c.DataDir(), "before-hand-over-*", "changelog.0.mfs"))
	if err != nil || len(kept) != 1 {
		t.Errorf("what was there is not in %v (%v)", kept, err)
	}
	sh("mkdir a/dir; mv a/file a/dir/moved; rm b/gone; test \"$(getfattr --only-values -n user.x a/dir/moved)\" = 1")
	same()

	// It leads, and hands over what was written then.
	promoted(t, f, "promote", "--json", "--changelog-dir", c.DataDir())
	sh("mkdir led; touch led/file; mv a/link led/link")
	res = promoted(t, f, "promote", "--json", "--hand-over", cfg)
	sh("test -L led/link; touch led/after")
	same()

	// Killed before the master was started, and after.
	script := func(name, text string) string {
		path := c.path(name)
		must(os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
		return path
	}
	for _, tc := range []struct{ name, program string }{
		{"before", script("before", "kill -9 $PPID; exit 1")},
		{"after", script("after", "mfsmaster \"$@\"; kill -9 $PPID")},
	} {
		if out, err := f.command("promote", "--hand-over", cfg, "--mfsmaster", tc.program); err == nil {
			t.Fatalf("%s: the command does not tell that the process was killed\n%s", tc.name, out)
		}
		must(waitFor("the process to end", patience, func() bool { return !f.p.Running() }))
		must(f.start())
		must(f.wait("an image", func(st control.Status) bool { return inSync(st) && st.Cluster.Role == role.InSync }))
		if tc.name == "before" {
			promoted(t, f, "promote", "--json", "--hand-over", cfg)
		}
		sh(fmt.Sprintf("mkdir killed-%s", tc.name))
		same()
	}

	// Given up, nothing but --take-over follows a master again.
	out, err := f.command("demote", "--json")
	if err != nil || !strings.Contains(out, "--take-over") {
		t.Errorf("giving it up: %v\n%s", err, out)
	}
	st, err := f.status()
	must(err)
	if st.Cluster.HandOver != nil {
		t.Errorf("it was given up, and still there is %+v", st.Cluster.HandOver)
	}
	must(m.Unmount())
}
