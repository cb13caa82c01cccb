package image

import (
	"fmt"
	"slices"
	"testing"

	"mfsstandby/changelog/meta"
)

// What is brought near is what requests will look up, and what is not there is
// passed over.
func TestBringFollowsNames(t *testing.T) {
	img := openTest(t, t.TempDir())
	defer img.Close()
	const names = 100
	err := img.Update(func(st *meta.State, pos Position) (Position, error) {
		pos.Version++
		st.Nodes.Insert(1, meta.Node{Type: meta.TypeDir})
		st.Dirs.Insert(1, meta.Dir{})
		for i := range names {
			ino := meta.Inode(2 + i)
			st.Nodes.Insert(ino, meta.Node{Type: meta.TypeFile, Parent: 1, Chunk0: meta.ChunkID(i)})
			st.Edges.InsertHead(1, fmt.Appendf(nil, "n%d", i), ino, false, uint64(1000-i))
		}
		return pos, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var w meta.Wants
	var n Near
	want := []meta.Inode{1, 1, 77, 5, 1 << 30}
	w.Name(1, []byte("n40"))
	w.Name(1, []byte("not there"))
	w.Name(77, []byte("of no directory"))
	w.Node(5)
	w.Node(1 << 30)
	want = append(want, 42)
	for range 2 { // the second time its memory is used again
		if err := img.Read(func(*meta.State, Position) error { img.Bring(&n, &w); return nil }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(n.nodes, want) {
			t.Errorf("brought the nodes %v, want %v", n.nodes, want)
		}
	}
}
