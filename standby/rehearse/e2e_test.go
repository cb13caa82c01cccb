//go:build e2e

package rehearse

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mfsstandby/replicator/events"
	"mfsstandby/standby/promote"
	"mfsstandby/standby/stock"
)

// A stock master has the same metadata as the image that it was exported from.
func TestTheStockMasterAgrees(t *testing.T) {
	r := open(t, nil)
	res, err := r.Rehearse(t.Context(), func(s promote.Step) { t.Logf("%-8s %8.1f ms  %s", s.Name, s.Ms, s.Text) })
	if err != nil || !res.Passed() {
		t.Fatalf("%v: %q", err, res.First)
	}
	if res.Names < 100 || res.Entries == 0 || res.Release != "3.0.117" || len(res.Steps) != 6 {
		t.Errorf("%+v", res)
	}
	if list := r.cfg.Events.Of(part, 1); len(list) != 1 || list[0].Code != events.Rehearsed {
		t.Errorf("events: %+v", list)
	}
	wantClean(t, r)
}

// A difference between the image and what the master gets is found, in what it
// serves and in what it stores.
func TestADifferenceIsFound(t *testing.T) {
	r := open(t, nil)
	v, err := r.cfg.View()
	if err != nil {
		t.Fatal(err)
	}
	name := ""
	for _, e := range v.State().Edges.List(1) {
		if len(e.Name) > len(name) {
			name = string(e.Name)
		}
	}
	v.Close()
	r.cfg.exported = func(path string) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		other := "X" + name[1:]
		changed := bytes.Replace(text, []byte(name), []byte(other), 1)
		if bytes.Equal(changed, text) {
			t.Fatalf("%q is not in the file", name)
		}
		return os.WriteFile(path, changed, 0o644)
	}
	res, err := r.Rehearse(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	found := strings.Join(res.First, "\n")
	if res.Passed() || !strings.Contains(found, "is served by the master and not in the image") || !strings.Contains(found, "EDGE") {
		t.Errorf("%d differences:\n%s", res.Differences, found)
	}
	wantClean(t, r)
}

// A rehearsal that is given up, and one whose process was killed, leave no master.
func TestNothingIsLeft(t *testing.T) {
	r := open(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := r.Rehearse(ctx, func(s promote.Step) {
		if s.Name == "start" {
			cancel()
		}
	})
	if err == nil {
		t.Error("it went on although it was given up")
	}
	wantClean(t, r)

	// What a killed process may leave: a master that still runs, and files.
	files, err := stock.MakePrivate(r.path(workName), exports, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(files.Data, "metadata.mfs"), []byte("MFSM NEW"), 0o644); err != nil {
		t.Fatal(err)
	}
	program, err := stock.Find()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "-c", files.Config, "start").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if pid, err := stock.Running(files.Data); pid == 0 {
		t.Fatalf("the master does not hold its lock: %v", err)
	}
	if _, err := New(r.cfg); err != nil {
		t.Fatal(err)
	}
	wantClean(t, r)
	ask, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if info, err := stock.Ask(ask, files.Clients); err == nil {
		t.Errorf("the master that was left still answers: %+v", info)
	}
}
