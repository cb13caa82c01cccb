package image

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
)

// The store is unmapped when the image is closed: whoever is reading it then
// gets an error.
func TestCloseUnderReaders(t *testing.T) {
	for seed := range uint64(3) {
		img, model := openTest(t, filepath.Join(t.TempDir(), "image")), metatest.New()
		p := setUp(t, img, model, seed)
		grow(t, img, model, p, 3000)
		if err := img.Commit(true); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		views := make(chan struct{}, 100)
		for range 3 {
			wg.Go(func() { readViews(t, img, views) })
		}
		wg.Go(func() {
			for readSome(t, img) {
			}
		})
		wg.Go(func() {
			for touchRoot(t, img) {
			}
		})
		for range 5 + seed {
			<-views
		}
		if err := img.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
	}
}

// readViews reads views from end to end until the image is closed.
func readViews(t *testing.T, img *Image, told chan<- struct{}) {
	for {
		v, err := img.View()
		if err == nil {
			st := v.State()
			for ino := range st.Nodes.Scan(0) {
				st.Dirs.Get(ino) // reads while it scans
			}
			err = st.Err()
		}
		if err == nil {
			err = v.Names(meta.Root, func([]byte, meta.Inode) {})
		}
		if v != nil {
			v.Close()
		}
		switch {
		case errors.Is(err, ErrClosed):
			return
		case err != nil:
			t.Error(err)
			return
		}
		select {
		case told <- struct{}{}:
		default:
		}
	}
}

func readSome(t *testing.T, img *Image) bool {
	err := img.Read(func(st *meta.State, _ Position) error {
		for ino := range meta.Inode(200) {
			st.Nodes.Get(ino)
		}
		return st.Err()
	})
	if err != nil && !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	img.Known()
	return err == nil
}

func touchRoot(t *testing.T, img *Image) bool {
	err := img.Update(func(st *meta.State, pos Position) (Position, error) {
		n, _ := st.Nodes.Edit(meta.Root)
		n.Mtime++
		pos.Version++
		return pos, nil
	})
	if err != nil && !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	return err == nil
}

// A scan may be under way in the goroutine that waits for something else.
func TestCloseInTheMiddleOfAScan(t *testing.T) {
	img, model := openTest(t, filepath.Join(t.TempDir(), "image")), metatest.New()
	p := setUp(t, img, model, 1)
	grow(t, img, model, p, 2000)
	v, err := img.View()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for range v.State().Nodes.Scan(0) {
		if seen++; seen == 1 {
			if err := img.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if seen == 0 || !errors.Is(v.State().Err(), ErrClosed) {
		t.Fatalf("%d nodes, error %v; want %v", seen, v.State().Err(), ErrClosed)
	}
	v.Close()
	if _, err := img.View(); !errors.Is(err, ErrClosed) {
		t.Fatalf("a view of a closed image: %v", err)
	}
}

func TestRetireWaitsForViews(t *testing.T) {
	img, model := openTest(t, filepath.Join(t.TempDir(), "image")), metatest.New()
	defer img.Close()
	setUp(t, img, model, 1)
	v, err := img.View()
	if err != nil {
		t.Fatal(err)
	}
	retired := make(chan error, 1)
	go func() { retired <- img.Retire(t.Context()) }()
	for {
		other, err := img.View()
		if errors.Is(err, ErrClosed) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		other.Close()
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-retired:
		t.Fatalf("Retire returned %v while a view is held", err)
	default:
	}
	if !readSome(t, img) {
		t.Fatal("a retired image is not read")
	}
	v.Close()
	if err := <-retired; err != nil {
		t.Fatal(err)
	}
}

func TestRetireGivesUp(t *testing.T) {
	img, model := openTest(t, filepath.Join(t.TempDir(), "image")), metatest.New()
	setUp(t, img, model, 1)
	v, err := img.View()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := img.Retire(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if err := img.Close(); err != nil {
		t.Fatal(err)
	}
	for range v.State().Nodes.Scan(0) {
		t.Fatal("the store is read after it was closed")
	}
	if err := v.State().Err(); !errors.Is(err, ErrClosed) {
		t.Fatalf("reading a view of a closed image: %v", err)
	}
	v.Close()
}

// What the state follows from is durable before a commit of it.
func TestCommitComesAfterItsLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "image")
	var img *Image
	var failed error
	calls, early := 0, false
	img, err := Open(Config{Dir: dir, Cache: MinCache, SyncLog: func() error {
		calls++
		r, err := readRoot(img.db)
		early = early || err != nil || r != nil && r.ts == img.started
		return failed
	}})
	if err != nil {
		t.Fatal(err)
	}
	setUp(t, img, metatest.New(), 1)
	if err := img.Commit(true); err != nil {
		t.Fatal(err)
	}
	before := img.Position().Version
	if calls == 0 || early {
		t.Fatalf("%d calls before the commit; after a root: %v", calls, early)
	}
	if !touchRoot(t, img) {
		t.Fatal("the image is closed")
	}
	failed = errors.New("no disk")
	if err := img.Commit(true); !errors.Is(err, failed) {
		t.Fatalf("a commit without its log: %v", err)
	}
	img.Close()
	img = openTest(t, dir)
	defer img.Close()
	if got := img.Position().Version; got != before {
		t.Fatalf("the image is at version %d, want %d", got, before)
	}
}

// Who wants a view waits for the disk; who applies entries, or reads, does not. What
// was applied meanwhile is not in the view.
func TestViewHoldsNobodyUp(t *testing.T) {
	slow, hold := make(chan struct{}), make(chan struct{}, 1)
	img, err := Open(Config{Dir: filepath.Join(t.TempDir(), "image"), Cache: MinCache, SyncLog: func() error {
		select {
		case hold <- struct{}{}:
			<-slow
		default:
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	hold <- struct{}{} // not yet
	setUp(t, img, metatest.New(), 1)
	before := img.Position()
	<-hold
	type result struct {
		v   *View
		err error
	}
	got := make(chan result, 1)
	go func() {
		v, err := img.View()
		got <- result{v, err}
	}()
	for len(hold) == 0 { // until it is at the disk
		time.Sleep(time.Millisecond)
	}
	for range 3 {
		if err := img.Update(func(_ *meta.State, pos Position) (Position, error) {
			pos.Version++
			return pos, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if !readSome(t, img) {
		t.Fatal("the image is not read")
	}
	select {
	case r := <-got:
		t.Fatalf("a view (%v) before the disk had it", r.err)
	default:
	}
	close(slow)
	r := <-got
	if r.err != nil {
		t.Fatal(r.err)
	}
	defer r.v.Close()
	if now := r.v.Position().Version; now != before.Version {
		t.Errorf("the view is of version %d, want %d", now, before.Version)
	}
	if now := img.Position().Version; now != before.Version+3 {
		t.Errorf("the image is at version %d, want %d", now, before.Version+3)
	}
}
