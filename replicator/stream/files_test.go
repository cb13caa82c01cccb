package stream

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFiles: the newest block is synced each time, those before it once when
// they are no longer the newest, and the settings when they have changed.
func TestFiles(t *testing.T) {
	f := fileSyncer{root: t.TempDir(), enabled: true, tick: time.Hour}
	var synced []string
	f.syncFile = func(path string) error {
		synced = append(synced, filepath.Base(path))
		_, err := os.Stat(path)
		return err
	}
	stream := filepath.Join(f.root, "jetstream", "$G", "streams", "S")
	msgs := filepath.Join(stream, "msgs")
	if err := f.sync("S"); !errors.Is(err, ErrStorage) {
		t.Fatalf("syncing a stream that is not where it should be: %v", err)
	}
	if err := os.MkdirAll(msgs, 0o755); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-10 * time.Hour)
	age := func(names ...string) { // what was done to them becomes older than a tick
		old = old.Add(time.Minute)
		for _, name := range names {
			if err := os.Chtimes(filepath.Join(stream, name), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	create := func(names ...string) {
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(stream, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) {
		if err := os.Remove(filepath.Join(stream, name)); err != nil {
			t.Fatal(err)
		}
	}
	all := []string{"meta.inf", "meta.sum", "msgs"}
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"all are new", func() { create("meta.inf", "meta.sum", "msgs/9.blk", "msgs/10.blk", "msgs/index.db"); age(all...) }, "meta.inf meta.sum 9.blk 10.blk"},
		{"nothing changed", func() {}, "10.blk"},
		{"a block was made", func() { create("msgs/11.blk") }, "10.blk 11.blk"},
		{"two more, perhaps in the same tick", func() { create("msgs/12.blk", "msgs/13.blk") }, "11.blk 12.blk 13.blk"},
		{"the tick is over", func() { age(all...) }, "meta.inf meta.sum 13.blk"},
		{"the settings changed", func() { age("meta.inf") }, "meta.inf 13.blk"},
		{"all were dropped", func() { remove("msgs/13.blk"); create("msgs/14.blk") }, "14.blk"},
		{"it was dropped within the tick", func() { age("msgs"); f.sync("S"); synced = nil; remove("msgs/14.blk"); age("msgs") }, ""},
	} {
		synced = nil
		step.do()
		if err := f.sync("S"); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := strings.Join(synced, " "); got != step.want {
			t.Fatalf("%s: synced %q, want %q", step.name, got, step.want)
		}
	}
	f.syncFile = func(string) error { return os.ErrPermission }
	create("msgs/15.blk")
	if err := f.sync("S"); !errors.Is(err, ErrStorage) || !errors.Is(err, os.ErrPermission) {
		t.Fatalf("got %v for a block that cannot be synced", err)
	}
}

// TestReadBeforeAcknowledged: with a server of its own a writer does not let
// readers wait for the disk, but acknowledges only what is there.
func TestReadBeforeAcknowledged(t *testing.T) {
	s := startServer(t, t.TempDir(), true)
	t.Cleanup(s.Close)
	conn := connect(t, s)
	t.Cleanup(conn.Close)
	c := open(t, conn)
	w := newWriter(t, c, 1)
	var synced []string
	s.files.syncFile = func(path string) error {
		synced = append(synced, filepath.Base(path))
		return syncFile(path)
	}
	if err := w.Append(t.Context(), makeEntries(1, 10), testTime); err != nil {
		t.Fatal(err)
	}
	if err := w.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := c.Reader(Position{Version: 1}, ReaderConfig{})
	defer r.Close()
	readTo(t, r, 11)
	if len(synced) > 0 || w.Acked() != 1 {
		t.Fatalf("before Sync: acknowledged %d, synced %v", w.Acked(), synced)
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(synced, "1.blk") || w.Acked() != 11 {
		t.Fatalf("after Sync: acknowledged %d, synced %v", w.Acked(), synced)
	}
	s.files.syncFile = func(string) error { return os.ErrPermission }
	if err := w.Append(t.Context(), makeEntries(11, 1), testTime); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(t.Context()); !errors.Is(err, ErrStorage) || w.Acked() != 11 {
		t.Fatalf("disk that cannot sync: %v, acknowledged %d", err, w.Acked())
	}
}
