package image

import (
	"fmt"
	"sync"
	"testing"

	"mfsstandby/changelog/meta"
)

// Readers of pages that the cache lost see what the last update left, however
// readers, updates and evictions interleave.
func TestReadersFindNoOldPages(t *testing.T) {
	const nodes, updates = 200, 400
	img := openTest(t, t.TempDir())
	defer img.Close()
	update := func(change func(*meta.State, meta.Version)) {
		t.Helper()
		err := img.Update(func(st *meta.State, pos Position) (Position, error) {
			pos.Version++
			change(st, pos.Version)
			return pos, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	update(func(st *meta.State, _ meta.Version) {
		for ino := range meta.Inode(nodes) {
			st.Nodes.Insert(ino+1, meta.Node{Type: meta.TypeFifo})
		}
	})
	// Update v sets the times of node v modulo nodes to v.
	check := func(st *meta.State, pos Position) error {
		for ino := range meta.Inode(nodes) {
			want := pos.Version - (pos.Version-meta.Version(ino)+nodes*updates)%nodes
			if want < 2 || want > pos.Version {
				want = 0
			}
			if n, ok := st.Nodes.Get(ino + 1); !ok || meta.Version(n.Ctime) != want {
				return fmt.Errorf("at version %d node %d is of %d, %v, want %d", pos.Version, ino+1, n.Ctime, ok, want)
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	quit := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				if err := img.Read(check); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-quit:
					return
				default:
				}
			}
		})
	}
	for range updates {
		update(func(st *meta.State, v meta.Version) {
			n, ok := st.Nodes.Edit(meta.Inode(v%nodes) + 1)
			if !ok {
				t.Fatal("a node is gone")
			}
			n.Ctime = meta.Time(v)
			if v%10 == 0 {
				img.core.evict(1<<30, img.done)
			}
		})
		if err := img.Commit(img.Position().Version%7 == 0); err != nil {
			t.Fatal(err)
		}
	}
	close(quit)
	wg.Wait()
	if err := img.Read(check); err != nil {
		t.Fatal(err)
	}
}

// Without updates, what readers need comes into the cache all the same, and
// the cache stays within its bounds.
func TestReadersFillTheCache(t *testing.T) {
	const nodes = 64 * enoughOfIt
	dir := t.TempDir()
	img := openTest(t, dir)
	err := img.Update(func(st *meta.State, pos Position) (Position, error) {
		for ino := range meta.Inode(nodes) {
			st.Nodes.Insert(ino+1, meta.Node{Type: meta.TypeFifo, UID: uint32(ino)})
		}
		return Position{Version: 1}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := img.Close(); err != nil {
		t.Fatal(err)
	}
	img = openTest(t, dir)
	defer img.Close()
	read := func() {
		t.Helper()
		err := img.Read(func(st *meta.State, _ Position) error {
			for ino := range meta.Inode(nodes) {
				if n, ok := st.Nodes.Get(ino + 1); !ok || n.UID != uint32(ino) {
					return fmt.Errorf("node %d is %+v, %v", ino+1, n, ok)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	read()
	if n := img.core.nodes.pages.used; n != nodes/16 && n != nodes/16+1 {
		t.Fatalf("%d pages are in the cache, want those of %d nodes", n, nodes)
	}
	mem := img.core.mem
	read()
	if img.core.mem != mem || len(img.core.found.pages) != 0 {
		t.Fatalf("a second look took %d bytes and left %d pages", img.core.mem-mem, len(img.core.found.pages))
	}
	img.cfg.Cache = mem / 2
	img.core.drop()
	if err := img.core.load(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		read()
	}
	if img.core.mem > mem/2 {
		t.Fatalf("the cache has %d bytes, bound %d", img.core.mem, mem/2)
	}
}
