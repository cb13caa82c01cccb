//go:build e2e

package main

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mfsstandby/bench/e2e"
	"mfsstandby/changelog/meta"
	"mfsstandby/standby/control"
)

func asWorkload() { e2e.Main() }

// buildBinary builds the program, to be run inside a cluster's namespace.
func buildBinary(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "mfsstandby")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return path
}

// newCluster starts a cluster. A master that has saved its metadata once is
// not the same as a new one, whose file says only that it is new.
func newCluster(t *testing.T, dir string, saved bool) *e2e.Cluster {
	t.Helper()
	c, err := e2e.Start(e2e.Config{Dir: dir, Mounts: 2, Meta: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if saved {
		if err := errors.Join(c.StopMaster(), c.StartMaster(false)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// work lets clients work.
func work(t *testing.T, c *e2e.Cluster, seed uint64, ops int) {
	t.Helper()
	w, err := e2e.Workload{Seed: seed, Ops: ops, NoData: true}.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Release(); err != nil {
		t.Fatal(err)
	}
}

// inside runs the program within a cluster's namespace.
func inside(t *testing.T, c *e2e.Cluster, binary string, args ...string) (string, error) {
	t.Helper()
	out, err := c.Command(binary, args...).CombinedOutput()
	return string(out), err
}

// A standby follows a master over the network; the comparison that it offers
// agrees, while the master lives and with what the master saves at its end.
func TestRunFollowsARealMaster(t *testing.T) {
	dir := t.TempDir()
	c := newCluster(t, filepath.Join(dir, "cluster"), false)
	binary, data := buildBinary(t, dir), filepath.Join(dir, "data")
	p, err := c.Run("standby", c.Command(binary, "run", "--primary", e2e.MasterIP, "--data", data, "--cache", "128M"))
	if err != nil {
		t.Fatal(err)
	}
	work(t, c, 7, 3000)
	if out, err := inside(t, c, binary, "verify", "--primary", e2e.MasterIP, "--data", data); err != nil || !strings.Contains(out, "the same at version") {
		t.Errorf("verify against the running master: %v\n%s", err, out)
	}
	if err := c.StopMaster(); err != nil {
		t.Fatal(err)
	}
	saved := filepath.Join(c.DataDir(), "metadata.mfs")
	version, err := e2e.ImageVersion(saved)
	if err != nil {
		t.Fatal(err)
	}
	limit := time.After(time.Minute)
	for at := meta.Version(0); uint64(at) < version; {
		if !p.Running() {
			t.Fatalf("it ended: see %s", p.Log)
		}
		st, err := control.NewClient(data).Status(t.Context())
		if err == nil && st.Standby != nil {
			at = st.Standby.Image
		}
		select {
		case <-limit:
			t.Fatalf("image is at %d, the master saved %d", at, version)
		case <-time.After(20 * time.Millisecond):
		}
	}
	if out, err := inside(t, c, binary, "verify", saved, "--data", data); err != nil {
		t.Errorf("verify against what the master saved: %v\n%s", err, out)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

// An image made of files agrees with what the running master tells a
// metalogger, and one that differs does not.
func TestVerifyAgainstARunningMaster(t *testing.T) {
	dir := t.TempDir()
	c := newCluster(t, filepath.Join(dir, "cluster"), true)
	work(t, c, 11, 2000)
	binary, data := buildBinary(t, dir), filepath.Join(dir, "data")
	run := func(args ...string) (string, error) { return inside(t, c, binary, append(args, "--data", data)...) }
	must := func(args ...string) string {
		t.Helper()
		out, err := run(args...)
		if err != nil {
			t.Fatalf("mfsstandby %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	base, err := filepath.Glob(filepath.Join(c.DataDir(), "metadata.mfs*"))
	if err != nil || len(base) == 0 {
		t.Fatalf("no metadata file in %s: %v", c.DataDir(), err)
	}
	logs, err := filepath.Glob(filepath.Join(c.DataDir(), "changelog.*.mfs"))
	if err != nil {
		t.Fatal(err)
	}
	must("import", base[0])
	must(append([]string{"replay"}, logs...)...)
	if out := must("verify", "--primary", e2e.MasterIP); !strings.Contains(out, "the same at version") {
		t.Errorf("verify printed %s", out)
	}
	if out, err := run("verify", "--primary", e2e.MasterIP+":1"); err == nil || !strings.Contains(out, "no connection") {
		t.Errorf("verify with a port where nobody listens: %v\n%s", err, out)
	}
}
