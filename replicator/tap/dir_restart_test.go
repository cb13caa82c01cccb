package tap

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
)

// followRestarts follows a directory up to a restart.
func followRestarts(t *testing.T, dir string, at Position) *Dir {
	t.Helper()
	d, err := NewDir(DirConfig{Path: dir, Poll: 20 * time.Millisecond, Quiet: 100 * time.Millisecond, Restarts: true}, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func wantRestart(t *testing.T, s Source, at meta.Version) {
	t.Helper()
	var restarted *RestartedError
	if err := takeError(t, s); !errors.As(err, &restarted) || restarted.Version != at {
		t.Fatalf("got %v, want a restart at version %d", err, at)
	}
}

// A master that is stopped and started while its directory is followed.
func TestDirEndsAtRestart(t *testing.T) {
	dir := dirOf(t, "metadata.mfs.back", metadataFile(1, 7, ""), "changelog.0.mfs", logOf(1, 5))
	stopped, running := filepath.Join(dir, stoppedBase), filepath.Join(dir, runningBase)
	current := filepath.Join(dir, "changelog.0.mfs")
	d := followRestarts(t, dir, Position{Next: 1})
	take(t, d, 1, 5)
	idle(t, d)

	write(t, running+".tmp", metadataFile(6, 7, "")) // each hour, and nothing has changed
	rename(t, running+".tmp", running)
	idle(t, d)

	appendTo(t, current, logOf(6, 8)) // written at its end
	rotate(t, dir, 3)
	rename(t, running, stopped)
	write(t, stopped, metadataFile(9, 7, ""))
	take(t, d, 6, 8)
	idle(t, d) // it does not run

	rename(t, stopped, running)
	appendTo(t, current, logOf(9, 12)) // of the new one
	wantRestart(t, d, 9)

	d = followRestarts(t, dir, Position{Next: 9, MetaID: 7}) // from that file
	take(t, d, 9, 12)
	idle(t, d)
}

// A restart while nobody followed.
func TestDirFindsRestart(t *testing.T) {
	files := func(base meta.Version) []string {
		return []string{runningBase, metadataFile(base, 7, ""), "changelog.0.mfs", logOf(9, 12), "changelog.1.mfs", logOf(1, 8)}
	}
	last := func(v meta.Version) Position { return Position{Next: v, Last: []byte(text(v - 1))} }
	t.Run("later entries", func(t *testing.T) {
		d := followRestarts(t, dirOf(t, files(9)...), last(4))
		take(t, d, 4, 8)
		wantRestart(t, d, 9)
	})
	t.Run("nothing else", func(t *testing.T) {
		d := followRestarts(t, dirOf(t, files(13)...), last(13))
		wantRestart(t, d, 13)
	})
	t.Run("lines lost at the end", func(t *testing.T) {
		d := followRestarts(t, dirOf(t, files(15)...), last(4))
		take(t, d, 4, 12)
		wantText(t, takeError(t, d), "has no entries 13 to 14 (next is 15): the primary has loaded its metadata")
	})
	t.Run("before", func(t *testing.T) {
		d := followRestarts(t, dirOf(t, files(9)...), last(10))
		take(t, d, 10, 12)
		idle(t, d)
	})
}
