package rehearse

import (
	"compress/gzip"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mfsstandby/replicator/events"
	"mfsstandby/standby"
	"mfsstandby/standby/image"
	"mfsstandby/standby/promote"
)

// open makes a Rehearser of the metadata that a real master stored.
func open(t *testing.T, change func(*Config)) *Rehearser {
	t.Helper()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	f, err := os.Open(filepath.Join("..", "metafile", "testdata", "3.0.117-a", "after.mfs.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := standby.Load(dir, file, standby.LoadOptions{Cache: image.MinCache, Name: "after.mfs", Logger: log}); err != nil {
		t.Fatal(err)
	}
	img, err := image.Open(image.Config{Dir: standby.ImageDir(dir), Cache: image.MinCache, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := img.Close(); err != nil {
			t.Error(err)
		}
	})
	cfg := Config{Dir: dir, View: img.View, Cache: image.MinCache, Logger: log, Events: events.New(events.Keep)}
	if change != nil {
		change(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantClean fails if a rehearsal left anything but its result.
func wantClean(t *testing.T, r *Rehearser) {
	t.Helper()
	if _, err := os.Stat(r.path(workName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory of the rehearsal is still there: %v", err)
	}
}

// Whatever step fails, it is told, kept, and nothing stays.
func TestFailures(t *testing.T) {
	broken := errors.New("broken")
	script := func(text string) string {
		path := filepath.Join(t.TempDir(), "mfsmaster")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tc := range []struct {
		name, step, why string
		change          func(*Config)
	}{
		{"no image", "prepare", "broken", func(c *Config) { c.View = func() (*image.View, error) { return nil, broken } }},
		{"export", "export", "broken", func(c *Config) { c.exported = func(string) error { return broken } }},
		{"no program", "start", "no such file", func(c *Config) { c.Program = "/nowhere/mfsmaster" }},
		{"the master ends", "start", "cannot load", func(c *Config) { c.Program = script("echo cannot load; exit 1") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := open(t, func(c *Config) { c.Program = "/bin/true"; tc.change(c) })
			var last promote.Step
			res, err := r.Rehearse(t.Context(), func(s promote.Step) { last = s })
			if err == nil || !strings.Contains(err.Error(), tc.why) || last.Name != tc.step || last.Error == "" {
				t.Fatalf("%v; last step %+v; want step %s to fail with %q", err, last, tc.step, tc.why)
			}
			if res.Passed() || r.Last() == nil || r.Last().Error != err.Error() {
				t.Errorf("kept: %+v", r.Last())
			}
			wantClean(t, r)
			again, err := New(r.cfg)
			if err != nil || again.Last() == nil || again.Last().Error != res.Error {
				t.Errorf("after a restart: %v, %+v", err, again.Last())
			}
			if list := r.cfg.Events.Of(part, 1); len(list) != 1 || list[0].Code != events.RehearsalFailed {
				t.Errorf("events: %+v", list)
			}
		})
	}
}

func TestOneAtATime(t *testing.T) {
	r := open(t, nil)
	r.turn.Lock()
	defer r.turn.Unlock()
	if _, err := r.Rehearse(t.Context(), nil); !errors.Is(err, ErrBusy) {
		t.Errorf("a second rehearsal: %v", err)
	}
}
