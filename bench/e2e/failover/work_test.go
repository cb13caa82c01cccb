//go:build e2e

package failover

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// work changes what is in a mount, one change after the other, and knows what
// has to be there.
type work struct {
	t   *testing.T
	dir string

	next  int
	there map[string]bool // by name: whether it is a directory

	mu   sync.Mutex
	last time.Time     // when a change was accepted
	ask  time.Time     // when that one was asked for
	wait time.Duration // the longest between two accepted changes
	sum  int           // changes accepted
	err  error
}

// newWork makes a directory for it.
func newWork(t *testing.T, dir string) *work {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return &work{t: t, dir: dir, there: map[string]bool{}, last: time.Now()}
}

// most is how many names there are at once.
const most = 60

// step makes one change. What was carried out and whose answer was lost is sent
// again by the mount, which gets another answer then: that counts.
func (w *work) step() error {
	n := w.next
	w.next++
	name := func(kind string, n int) string { return filepath.Join(w.dir, fmt.Sprint(kind, n)) }
	switch {
	case len(w.there) > most:
		for old, dir := range w.there {
			if err := os.Remove(filepath.Join(w.dir, old)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("removing %s (a directory: %v): %w", old, dir, err)
			}
			delete(w.there, old)
			return nil
		}
	case n%3 == 0:
		if err := os.Mkdir(name("d", n), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		w.there[fmt.Sprint("d", n)] = true
	case n%3 == 1:
		f, err := os.OpenFile(name("f", n), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		w.there[fmt.Sprint("f", n)] = false
		return f.Close()
	default:
		from := fmt.Sprint("f", n-1)
		if _, ok := w.there[from]; !ok {
			return nil // it was removed
		}
		if err := os.Rename(name("f", n-1), name("r", n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		delete(w.there, from)
		w.there[fmt.Sprint("r", n)] = false
	}
	return nil
}

// begin works until end is called, which waits for the last change, and fails the
// test if that is not accepted within patience.
func (w *work) begin() (end func()) {
	w.t.Helper()
	w.mu.Lock()
	w.last, w.wait, w.sum = time.Now(), 0, 0
	w.mu.Unlock()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			ask := time.Now()
			err := w.step()
			w.mu.Lock()
			now := time.Now()
			w.wait, w.ask, w.last, w.err = max(w.wait, now.Sub(w.last)), ask, now, err
			w.sum++
			w.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return func() {
		w.t.Helper()
		close(stop)
		select {
		case <-done:
		case <-time.After(patience):
			w.t.Fatal("a change was not accepted although all is well again")
		}
		if w.err != nil {
			w.t.Fatalf("a change failed: %v", w.err)
		}
	}
}

// accepted tells how many changes were accepted since begin, and the longest time
// between two.
func (w *work) accepted() (int, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sum, w.wait
}

// since waits until a change is accepted that was asked for after a moment, and
// tells how long after that moment it was.
func (w *work) since(at time.Time) time.Duration {
	w.t.Helper()
	var took time.Duration
	waitFor(w.t, "a change to be accepted", patience, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		took = w.last.Sub(at)
		return w.ask.After(at) && w.err == nil
	})
	return took
}

// check compares what is there with what has to be.
func (w *work) check() {
	w.t.Helper()
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	have := map[string]bool{}
	for _, e := range entries {
		have[e.Name()] = e.IsDir()
	}
	if !maps.Equal(have, w.there) {
		w.t.Fatalf("accepted: %v\nthere:    %v", slices.Sorted(maps.Keys(w.there)), slices.Sorted(maps.Keys(have)))
	}
}
