package stream

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestNames: a directory is synced when it has changed, also within one tick of
// the file system's clock, and left alone when it has not.
func TestNames(t *testing.T) {
	n := nameSyncer{root: filepath.Join(t.TempDir(), "nats"), enabled: true, tick: time.Hour}
	msgs := filepath.Join(n.root, "jetstream", "$G", "streams", "S", "msgs")
	if err := os.MkdirAll(msgs, 0o755); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-10 * time.Hour)
	settle := func() {
		for dir := msgs; dir != filepath.Dir(filepath.Dir(n.root)); dir = filepath.Dir(dir) {
			if err := os.Chtimes(dir, old, old); err != nil {
				t.Fatal(err)
			}
		}
		old = old.Add(time.Minute)
	}
	create := func(name string) {
		if err := os.WriteFile(filepath.Join(msgs, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name string
		do   func()
		want int
	}{
		{"all are new", settle, 7},
		{"nothing changed", func() {}, 0},
		{"a block was made", func() { create("1.blk") }, 1},
		{"another, perhaps in the same tick", func() { create("2.blk") }, 1},
		{"the tick is not over", func() {}, 1},
		{"the tick is over", settle, 7},
		{"nothing changed again", func() {}, 0},
	} {
		step.do()
		before := n.done
		if err := n.sync("S"); err != nil {
			t.Fatal(err)
		}
		if got := n.done - before; got != step.want {
			t.Fatalf("%s: %d directories were synced, want %d", step.name, got, step.want)
		}
	}
	if err := n.sync("no such stream"); err != nil {
		t.Fatal(err)
	}
	off := nameSyncer{root: n.root}
	if err := off.sync("S"); err != nil || off.done != 0 {
		t.Fatalf("synced %d directories (%v) with syncing off", off.done, err)
	}
}
