package image

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
)

// pair drives an image and the map model with the same changes.
type pair struct {
	rng    *rand.Rand
	inodes []meta.Inode
	edges  []meta.Edge // ID is the edge's, Order the parent
	nextID uint64
}

func (p *pair) clone() *pair {
	q := *p
	q.inodes, q.edges = slices.Clone(p.inodes), slices.Clone(p.edges)
	return &q
}

const testDirs = 5 // inodes 1..5 are directories

// step makes one random change to a State; the same rng state makes the same
// change to any State with the same content.
func (p *pair) step(st *meta.State) {
	pick := func() meta.Inode { return p.inodes[p.rng.IntN(len(p.inodes))] }
	switch k := p.rng.IntN(20); {
	case k < 6 || len(p.inodes) < 10:
		p.create(st)
	case k < 8:
		ino := pick()
		if n, ok := st.Nodes.Edit(ino); ok {
			n.Mtime++
			n.Length = p.rng.Uint64N(1 << 40)
			n.Slots = max(n.Slots, 200)
			i := uint32(p.rng.IntN(200))
			st.SetSlot(ino, n, i, meta.ChunkID(p.rng.IntN(3)*p.rng.IntN(1000)))
		}
	case k < 11:
		p.unlink(st)
	case k < 13:
		st.Xattrs.Put(pick(), fmt.Appendf(nil, "user.%d", p.rng.IntN(4)), make([]byte, p.rng.IntN(50)))
	case k < 14:
		id := meta.ChunkID(p.rng.IntN(500))
		if c, ok := st.Chunks.Edit(id); ok {
			c.Version++
			if c.Version%3 == 0 {
				st.Chunks.Delete(id)
			}
		} else {
			st.Chunks.Insert(id, meta.Chunk{Version: 1, LockedTo: 7})
		}
	case k < 15:
		key := meta.ACLKey{Inode: pick(), Type: uint8(1 + p.rng.IntN(2))}
		if _, ok := st.ACLs.Get(key); ok {
			st.ACLs.Delete(key)
		} else {
			st.ACLs.Insert(key, meta.ACL{User: 7, Mask: uint16(p.rng.IntN(8)), Users: []meta.ACLEntry{{ID: 1, Perm: 2}}})
		}
	case k < 17:
		s, ino := meta.SessionID(1+p.rng.IntN(3)), pick()
		if st.Open.Has(s, ino) {
			st.Open.Remove(s, ino)
		} else {
			st.Open.Add(s, ino)
		}
	default:
		p.other(st, pick())
	}
	st.NextChunk++
	st.MakeRoom()
}

func (p *pair) create(st *meta.State) {
	ino := st.Inodes.Alloc()
	st.Nodes.Insert(ino, meta.Node{Type: meta.TypeFile, UID: uint32(ino), Links: 1})
	parent := meta.Inode(1 + p.rng.IntN(testDirs))
	name := fmt.Appendf(nil, "f%d-%x", ino, p.rng.Uint32())
	p.nextID--
	id := p.nextID
	if p.rng.IntN(50) == 0 {
		id = 1 << 62 // trouble: not below the others
	}
	st.Edges.InsertHead(parent, name, ino, false, id)
	p.inodes = append(p.inodes, ino)
	p.edges = append(p.edges, meta.Edge{Child: ino, Order: uint64(parent), Name: name})
}

func (p *pair) unlink(st *meta.State) {
	if len(p.edges) == 0 {
		return
	}
	i := p.rng.IntN(len(p.edges))
	e := p.edges[i]
	p.edges = slices.Delete(p.edges, i, i+1)
	st.Edges.Delete(meta.Inode(e.Order), e.Name)
	if p.rng.IntN(2) == 0 {
		st.Detached.InsertHead(e.Child, meta.Detached{Kind: meta.TypeTrash, EdgeID: p.nextID, Path: string(e.Name)})
		return
	}
	p.inodes = slices.DeleteFunc(p.inodes, func(ino meta.Inode) bool { return ino == e.Child })
	n, _ := st.Nodes.Edit(e.Child)
	for s := range n.Slots {
		st.SetSlot(e.Child, n, s, 0)
	}
	st.Nodes.Delete(e.Child)
	st.Xattrs.DeleteAll(e.Child)
	st.Inodes.PushFree(meta.FreedInode{Inode: e.Child, Freed: meta.Time(p.rng.IntN(100))})
}

func (p *pair) other(st *meta.State, ino meta.Inode) {
	switch p.rng.IntN(6) {
	case 0:
		if f, ok := st.Inodes.FirstFree(); ok {
			st.Inodes.PopFree()
			st.Inodes.Release(f.Inode)
		}
	case 1:
		st.Inodes.ClampFree(meta.Time(p.rng.IntN(100)))
	case 2:
		if _, ok := st.Symlinks.Get(ino); ok {
			st.Symlinks.Delete(ino)
		} else {
			st.Symlinks.Insert(ino, "target")
		}
	case 3:
		if d, ok := st.Detached.Get(ino); ok {
			list := st.Detached.Bucket(d.Kind, uint32(ino)%meta.TrashBuckets)
			st.Detached.Delete(list[len(list)-1])
		}
	case 4:
		p.totals(st, uint32(ino))
	case 5:
		if names := st.Xattrs.Names(ino); len(names) > 0 {
			st.Xattrs.Delete(ino, []byte(names[0]))
		}
	}
}

// totals adds to directories in a tree, and moves one of them within it.
func (p *pair) totals(st *meta.State, n uint32) {
	for range 1 + p.rng.IntN(3) {
		st.Dirs.Add(meta.Inode(1+p.rng.IntN(testDirs)), meta.Stats{Inodes: n, Length: uint64(n) << 20})
		st.Dirs.Count(meta.Inode(1+p.rng.IntN(testDirs)), n, 1)
	}
	if dir := 2 + p.rng.IntN(testDirs-1); p.rng.IntN(3) == 0 {
		d, _ := st.Dirs.Edit(meta.Inode(dir))
		d.Parent = meta.Inode(1 + p.rng.IntN(dir-1)) // always a lower number, so that there is no circle
		st.Dirs.Add(meta.Inode(dir), meta.Stats{Files: n})
	}
	if up, name, ok := st.Dirs.Up(meta.Inode(testDirs)); !ok || up == 0 || name == "" {
		panic("a directory has lost its place")
	}
}

func newPair(seed uint64, states ...*meta.State) *pair {
	for _, st := range states {
		for ino := range meta.Inode(testDirs + 1) {
			st.Inodes.Reserve(ino)
			if ino > 0 {
				st.Nodes.Insert(ino, meta.Node{Type: meta.TypeDir, Mode: 0o755})
				st.Dirs.Insert(ino, meta.Dir{Parent: ino / 2, Name: fmt.Sprint("dir", ino)})
			}
		}
	}
	return &pair{rng: rand.New(rand.NewPCG(seed, 1)), nextID: 1 << 40}
}

// sameState compares everything two States hold.
func sameState(t *testing.T, got, want *meta.State) {
	t.Helper()
	same(t, "nodes", maps.Collect(got.Nodes.Scan(0)), maps.Collect(want.Nodes.Scan(0)))
	same(t, "dirs", maps.Collect(got.Dirs.Scan(0)), maps.Collect(want.Dirs.Scan(0)))
	same(t, "slots", maps.Collect(got.Slots.Scan(meta.Slot{})), maps.Collect(want.Slots.Scan(meta.Slot{})))
	same(t, "chunks", maps.Collect(got.Chunks.Scan(0)), maps.Collect(want.Chunks.Scan(0)))
	same(t, "symlinks", maps.Collect(got.Symlinks.Scan(0)), maps.Collect(want.Symlinks.Scan(0)))
	same(t, "acls", maps.Collect(got.ACLs.Scan(meta.ACLKey{})), maps.Collect(want.ACLs.Scan(meta.ACLKey{})))
	same(t, "free", slices.Collect(got.Inodes.ScanFree()), slices.Collect(want.Inodes.ScanFree()))
	type list struct {
		id    uint64
		child meta.Inode
		name  string
	}
	edges := func(st *meta.State) map[meta.Inode][]list {
		m := map[meta.Inode][]list{}
		for dir, all := range st.Edges.Scan() {
			for _, e := range all {
				if at, ok := st.Edges.Get(dir, e.Name); !ok || at.Child != e.Child || at.ID != e.ID {
					t.Fatalf("edge %d %q: Get gives %+v, %v", dir, e.Name, at, ok)
				}
				if name, ok := st.Edges.Find(dir, e.Child, meta.HashName(e.Name)); !ok || !bytes.Equal(name, e.Name) {
					t.Fatalf("edge %d %q: Find gives %q", dir, e.Name, name)
				}
				m[dir] = append(m[dir], list{e.ID, e.Child, string(e.Name)})
			}
		}
		return m
	}
	same(t, "edges", edges(got), edges(want))
	same(t, "xattrs", fmt.Sprint(maps.Collect(got.Xattrs.Scan())), fmt.Sprint(maps.Collect(want.Xattrs.Scan())))
	for b := range uint32(meta.TrashBuckets) {
		g, w := got.Detached.Bucket(meta.TypeTrash, b), want.Detached.Bucket(meta.TypeTrash, b)
		if !slices.Equal(g, w) {
			t.Fatalf("trash bucket %d: got %v, want %v", b, g, w)
		}
	}
	open := func(st *meta.State) (l []string) {
		for s, ino := range st.Open.Scan() {
			l = append(l, fmt.Sprint(s, ino))
		}
		slices.Sort(l)
		return l
	}
	same(t, "open", open(got), open(want))
	same(t, "scalars", *got.Scalars, *want.Scalars)
	if err := got.Err(); err != nil {
		t.Fatal(err)
	}
}

func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s differ:\n got %.300v\nwant %.300v", what, fmt.Sprint(got), fmt.Sprint(want))
	}
}

func openTest(t *testing.T, dir string) *Image {
	t.Helper()
	img, err := Open(Config{Dir: dir, Cache: MinCache})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// grow makes n changes to the image, and to the model if there is one.
func grow(t *testing.T, img *Image, model *meta.State, p *pair, n int) *pair {
	t.Helper()
	q := p.clone()
	src := *rand.NewPCG(p.rng.Uint64(), 2)
	other := src
	p.rng, q.rng = rand.New(&src), rand.New(&other)
	err := img.Update(func(st *meta.State, pos Position) (Position, error) {
		for range n {
			p.step(st)
			pos.Version++
		}
		return pos, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if model != nil {
		for range n {
			q.step(model)
		}
	}
	return p
}

func setUp(t *testing.T, img *Image, model *meta.State, seed uint64) (p *pair) {
	t.Helper()
	*model.Scalars = *img.core.st.Scalars
	err := img.Update(func(st *meta.State, pos Position) (Position, error) {
		p = newPair(seed, st, model)
		pos.Version = 1
		return pos, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The image does what the map model does, over commits, roll-backs and
// reopening, with views staying where they are.
func TestImageEqualsModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "image")
			img, model := openTest(t, dir), metatest.New()
			p := setUp(t, img, model, seed)
			for round := range 6 {
				p = grow(t, img, model, p, 700)
				sameState(t, img.core.st, model)
				view, err := img.View()
				if err != nil {
					t.Fatal(err)
				}
				_, sum, _ := img.Digest()
				lost := p.clone()
				lost.rng = rand.New(rand.NewPCG(seed, 99))
				grow(t, img, nil, lost, 300)
				img.flushForScan() // like a spill: in the store, but not committed
				grow(t, img, nil, lost, 50)
				sameState(t, view.State(), model)
				if view.Digest() != sum {
					t.Fatalf("digest of view %v, of image %v", view.Digest(), sum)
				}
				view.Close()
				switch round % 3 {
				case 0:
					if err := img.Reset(); err != nil {
						t.Fatal(err)
					}
				case 1: // a crash: nothing more is committed
					img.core.txn.Discard()
					if err := img.db.Close(); err != nil {
						t.Fatal(err)
					}
					img = openTest(t, dir)
				case 2:
					if err := img.Reset(); err != nil {
						t.Fatal(err)
					}
					if err := img.Close(); err != nil {
						t.Fatal(err)
					}
					img = openTest(t, dir)
				}
				if got := img.Position().Version; int(got) != 1+700*(round+1) {
					t.Fatalf("round %d: version %d after coming back", round, got)
				}
				sameState(t, img.core.st, model)
				if _, again, _ := img.Digest(); again != sum {
					t.Fatalf("digest %v after coming back, want %v", again, sum)
				}
			}
			if err := img.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// The digest depends on the state alone, not on how it came about.
func TestDigestFollowsFromState(t *testing.T) {
	sums := make([]Sum, 2)
	for i, commits := range []int{1, 7} {
		img := openTest(t, filepath.Join(t.TempDir(), "image"))
		p := setUp(t, img, metatest.New(), 5)
		p.rng = rand.New(rand.NewPCG(1, 1))
		for range 300 {
			err := img.Update(func(st *meta.State, pos Position) (Position, error) {
				for range 7 {
					p.step(st)
					pos.Version++
				}
				return pos, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if p.rng.Uint64(); commits > 1 {
				if err := img.Commit(false); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, sums[i], _ = img.Digest()
		if err := img.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if sums[0] != sums[1] || sums[0] == (Sum{}) {
		t.Fatalf("digests differ: %v", sums)
	}
}

func TestFailedUpdateVoidsTheImage(t *testing.T) {
	img, model := openTest(t, filepath.Join(t.TempDir(), "image")), metatest.New()
	defer img.Close()
	p := setUp(t, img, model, 3)
	grow(t, img, model, p, 100)
	if err := img.Commit(true); err != nil {
		t.Fatal(err)
	}
	err := img.Update(func(st *meta.State, pos Position) (Position, error) {
		st.Nodes.Delete(1)
		return pos, meta.ENOENT
	})
	if err != meta.ENOENT {
		t.Fatalf("got %v", err)
	}
	if err := img.Commit(true); err == nil {
		t.Fatal("a void image was committed")
	}
	if err := img.Reset(); err != nil {
		t.Fatal(err)
	}
	sameState(t, img.core.st, model)
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	img := openTest(t, dir)
	defer img.Close()
	if _, err := Open(Config{Dir: dir}); err == nil {
		t.Fatal("a second Open succeeded")
	}
}

// A crash while Badger makes or removes a log leaves it empty.
func TestOpenPassesOverEmptyLogs(t *testing.T) {
	dir, model := t.TempDir(), metatest.New()
	img := openTest(t, dir)
	setUp(t, img, model, 1)
	if err := img.Commit(true); err != nil {
		t.Fatal(err)
	}
	version, digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := img.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"00001.mem", "00099.mem", "000099.vlog"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	img = openTest(t, dir)
	defer img.Close()
	gotVersion, got, err := img.Digest()
	if err != nil || gotVersion != version || got != digest {
		t.Fatalf("version %d digest %v, %v; want %d, %v", gotVersion, got, err, version, digest)
	}
	v, err := img.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	sameState(t, v.State(), model)
}

// Who asks what an image knows of itself is answered though a proposal is not
// confirmed for long.
func TestKnownBesideAProposal(t *testing.T) {
	img := openTest(t, t.TempDir())
	defer img.Close()
	err := img.Update(func(st *meta.State, pos Position) (Position, error) {
		st.Nodes.Insert(meta.Root, meta.Node{Type: meta.TypeDir})
		pos.Version++
		return pos, nil
	})
	if err == nil {
		err = img.Commit(true)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := img.Known()
	reached, release := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- img.Propose(func(st *meta.State, pos Position) (Position, error) {
			pos.Version++
			return pos, nil
		}, func(pos Position) (Position, error) {
			close(reached)
			<-release
			return pos, nil
		})
	}()
	<-reached
	for range 3 {
		if got := img.Known(); got.Committed != before.Committed || got.Digest != before.Digest {
			t.Errorf("beside a proposal: %+v, want %+v", got, before)
		}
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := img.Commit(true); err != nil {
		t.Fatal(err)
	}
	if got := img.Known(); got.Committed.Version != before.Committed.Version+1 || got.Counters.Commits == before.Counters.Commits {
		t.Errorf("after it: %+v", got)
	}
}

// What no commit was begun for is told of, also when all pages are written, or
// none was changed.
func TestUncommitted(t *testing.T) {
	img := openTest(t, t.TempDir())
	defer img.Close()
	update := func(change func(*meta.State)) {
		t.Helper()
		err := img.Update(func(st *meta.State, pos Position) (Position, error) {
			change(st)
			pos.Version++
			return pos, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name   string
		change func(*meta.State)
		dirty  bool // pages are
	}{
		{"a change", func(st *meta.State) { st.Nodes.Insert(5, meta.Node{Type: meta.TypeDir}) }, true},
		{"a change, and a look at all", func(st *meta.State) {
			st.Nodes.Insert(500, meta.Node{Type: meta.TypeDir})
			for range st.Nodes.Scan(0) {
			}
		}, false},
		{"nothing but the version", func(*meta.State) {}, false},
	} {
		update(tc.change)
		if dirty := img.Dirty() > 0; dirty != tc.dirty || !img.Uncommitted() {
			t.Errorf("%s: dirty: %v, uncommitted: %v", tc.name, dirty, img.Uncommitted())
		}
		if err := img.Commit(true); err != nil {
			t.Fatal(err)
		}
		if img.Uncommitted() || img.Known().Committed != img.Position() {
			t.Errorf("%s, after a commit: uncommitted: %v, %+v", tc.name, img.Uncommitted(), img.Known().Committed)
		}
	}
	update(func(*meta.State) {})
	if err := img.Reset(); err != nil || img.Uncommitted() {
		t.Errorf("after going back: uncommitted: %v, %v", img.Uncommitted(), err)
	}
}
