package standby_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator"
	"mfsstandby/replicator/events"
	"mfsstandby/standby"
	"mfsstandby/standby/image"
)

// divert lets the stream continue from another base image: a second tap follows
// a primary with another history. It returns that primary.
func (n *node) divert(h history, at meta.Version) (other history, base []byte) {
	n.t.Helper()
	other = history{first: h.first, lines: append([]string(nil), h.lines[:at-h.first]...)}
	for v := at; v < at+500; v++ {
		other.lines = append(other.lines, fmt.Sprintf("%d: 1700000000|ACCESS(1)\n", v))
	}
	q := newPrimary(n.t, other)
	q.write(h.first, at+500)
	base = h.at(n.t, at-1000)
	q.put("metadata.mfs.back", base)
	second, err := replicator.New(replicator.Config{ChangelogDir: q.dir, Dir: n.t.TempDir(), Who: "second"}, n.conn)
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(n.t.Context())
	n.wg.Go(func() { second.Run(ctx) })
	stop := n.close
	n.close = func() {
		cancel()
		stop()
	}
	n.t.Cleanup(n.close)
	return other, base
}

// While a new base image takes the place of the old, views of that stay what
// they are, and others may read and ask.
func TestReloadUnderReaders(t *testing.T) {
	h := load(t)
	p := newPrimary(t, h)
	n := startNode(t, t.TempDir(), p)
	p.write(h.first, h.first+3000)
	n.wait(h.first + 3000)
	held, err := n.stand.View()
	if err != nil {
		t.Fatal(err)
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !done.Load() {
				readAll(t, n.stand)
				n.stand.Status()
			}
		})
	}
	other, base := n.divert(h, h.first+2500)
	for n.stand.Status().State != standby.Loading {
		time.Sleep(time.Millisecond)
	}
	for range 20 {
		count(t, held)
	}
	held.Close()
	for n.stand.Status().Image != h.first+3000 || n.stand.Status().State == standby.Loading {
		time.Sleep(5 * time.Millisecond)
	}
	done.Store(true)
	wg.Wait()
	n.equals(other.since(t, base, h.first+3000))
}

// A standby that was stopped by an entry goes on by itself when there is a base
// image past it.
func TestGoesOnFromNewerBase(t *testing.T) {
	h := load(t)
	bad := history{first: h.first, lines: slices.Clone(h.lines[:3001])}
	bad.lines[3000] = fmt.Sprintf("%d: 1700000000|UNLINK(1,no such name):7\n", h.first+3000)
	p := newPrimary(t, bad)
	n := startNode(t, t.TempDir(), p)
	p.write(h.first, h.first+3001)
	for n.stand.Status().State != standby.Stopped {
		time.Sleep(time.Millisecond)
	}
	if v := n.stand.Status().Image; v != h.first+3000 {
		t.Fatalf("stopped at version %d, want %d", v, h.first+3000)
	}
	other, base := n.divert(h, h.first+4500)
	for n.stand.Status().State == standby.Stopped {
		time.Sleep(time.Millisecond)
	}
	n.wait(h.first + 5000)
	n.equals(other.since(t, base, h.first+5000))
}

// A view that nobody closes holds up a new base image for a while only.
func TestReloadCutsViewsOff(t *testing.T) {
	h := load(t)
	p := newPrimary(t, h)
	n := startNodeWith(t, t.TempDir(), p, func(c *standby.Config) { c.ViewWait = time.Millisecond })
	p.write(h.first, h.first+3000)
	n.wait(h.first + 3000)
	held, err := n.stand.View()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	other, base := n.divert(h, h.first+2500)
	// The first base image was loaded, too; the store is closed between the two
	// events of this one.
	for cut := false; !cut; time.Sleep(time.Millisecond) {
		all := n.stand.Status().Events
		at := slices.IndexFunc(all, func(e events.Event) bool { return strings.Contains(e.Text, "cut off") })
		cut = at >= 0 && hasEvent(all[at:], "is loaded")
	}
	for range held.State().Nodes.Scan(0) {
		t.Fatal("the store is read after it was closed")
	}
	if err := held.State().Err(); !errors.Is(err, image.ErrClosed) {
		t.Fatalf("reading a view that was cut off: %v", err)
	}
	n.wait(h.first + 3000)
	n.equals(other.since(t, base, h.first+3000))
}

// readAll reads the standby's image in the ways that there are. It may just be
// closed.
func readAll(t *testing.T, s *standby.Standby) {
	img, err := s.Image()
	if err == nil {
		err = img.Read(func(st *meta.State, _ image.Position) error {
			for ino := range meta.Inode(100) {
				st.Nodes.Get(ino)
			}
			return st.Err()
		})
	}
	if err == nil {
		var v *image.View
		if v, err = img.View(); err == nil {
			for range v.State().Nodes.Scan(0) {
			}
			err = v.State().Err()
			v.Close()
		}
	}
	if err != nil && !errors.Is(err, image.ErrClosed) && !errors.Is(err, standby.ErrNoImage) {
		t.Error(err)
	}
}

// count reads all of a view.
func count(t *testing.T, v *image.View) {
	t.Helper()
	n := 0
	for range v.State().Nodes.Scan(0) {
		n++
	}
	if err := v.State().Err(); err != nil || n == 0 {
		t.Fatalf("%d nodes, %v", n, err)
	}
}

// A loss of power can take a file from the image, which is loaded anew then.
func TestLostTable(t *testing.T) {
	h := load(t)
	p, dir := newPrimary(t, h), t.TempDir()
	n := startNode(t, dir, p)
	p.write(h.first, h.first+3000)
	n.wait(h.first + 3000)
	n.close()
	tables, err := filepath.Glob(filepath.Join(standby.ImageDir(dir), "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("tables: %v, %v", tables, err)
	}
	if err := os.Remove(tables[0]); err != nil {
		t.Fatal(err)
	}
	n = startNode(t, dir, p)
	n.wait(h.first + 3000)
	n.equals(h.at(t, h.first+3000))
	if s := n.stand.Status(); !hasEvent(s.Events, "cannot be opened") {
		t.Fatalf("no event tells of it: %+v", s)
	}
	if _, err := os.Stat(filepath.Join(dir, "image.old")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the lost image is still there: %v", err)
	}
}
