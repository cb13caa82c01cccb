//go:build e2e

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mfsstandby/bench/e2e"
)

func TestMain(m *testing.M) {
	e2e.Main()
	os.Exit(m.Run())
}

// buildBinary builds the program, to be run inside a cluster's namespace.
func buildBinary(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "mfsstandby")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return path
}

// An image made of files agrees with what the running master tells a
// metalogger, and one that differs does not.
func TestVerifyAgainstARunningMaster(t *testing.T) {
	dir := t.TempDir()
	c, err := e2e.Start(e2e.Config{Dir: filepath.Join(dir, "cluster"), Mounts: 2, Meta: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	// A new master has saved nothing yet; it does so at its end.
	if err := errors.Join(c.StopMaster(), c.StartMaster(false)); err != nil {
		t.Fatal(err)
	}
	w, err := e2e.Workload{Seed: 11, Ops: 2000, NoData: true}.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer w.Release()
	binary, data := buildBinary(t, dir), filepath.Join(dir, "data")
	run := func(args ...string) (string, error) {
		out, err := c.Command(binary, append(args, "--data", data)...).CombinedOutput()
		return string(out), err
	}
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
