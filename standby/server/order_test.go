package server

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
)

func TestOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	var o order
	for _, spread := range []uint64{1, 100, 1 << 40, 1 << 63} {
		for _, n := range []int{0, 1, 2, 3, 17, 2000, 5} {
			var list []meta.Edge
			for i := range n {
				list = append(list, meta.Edge{Child: meta.Inode(i), Order: 1<<62 + rnd.Uint64N(spread), Name: fmt.Append(nil, i)})
			}
			want := slices.Clone(list)
			byOrder := func(a, b meta.Edge) int { return cmp.Compare(a.Order, b.Order) }
			slices.SortStableFunc(want, byOrder)
			got := o.sort(list)
			if len(got) != n || !slices.IsSortedFunc(got, byOrder) {
				t.Fatalf("%d names spread over %d are out of order", n, spread)
			}
			slices.SortFunc(got, func(a, b meta.Edge) int { return cmp.Compare(a.Child, b.Child) })
			for i := range got {
				if got[i].Child != meta.Inode(i) || string(got[i].Name) != fmt.Sprint(i) {
					t.Fatalf("of %d names number %d became %+v", n, i, got[i])
				}
			}
		}
	}
}

// A directory that is listed again and again shows each change at once.
func TestKeptOrderFollowsChanges(t *testing.T) {
	f := newFixture(t, everyone)
	f.apply("1001|CREATE(1,dir,2,493,0,0,0,0):2", "1001|CREATE(1,other,2,493,0,0,0,0):3")
	c := f.mount("/")
	rnd := rand.New(rand.NewPCG(1, 1))
	var inodes []int // in dir, of the names of the same number
	for i := range 300 {
		ino := 4 + i
		switch n := rnd.IntN(4); {
		case n < 2 || len(inodes) == 0:
			f.apply(fmt.Sprintf("1002|CREATE(2,n%d,1,420,0,0,0,0):%d", ino, ino))
			inodes = append(inodes, ino)
		case n == 2:
			gone := inodes[rnd.IntN(len(inodes))]
			f.apply(fmt.Sprintf("1002|CREATE(3,x%d,1,420,0,0,0,0):%d", ino, ino), fmt.Sprintf("1002|UNLINK(2,n%d):%d", gone, gone))
			inodes = slices.DeleteFunc(inodes, func(i int) bool { return i == gone })
		default: // to another place in the same directory, over itself: the last becomes the first
			moved := inodes[rnd.IntN(len(inodes))]
			f.apply(fmt.Sprintf("1002|CREATE(3,x%d,1,420,0,0,0,0):%d", ino, ino), fmt.Sprintf("1002|MOVE(2,n%d,2,moving):%d", moved, moved), fmt.Sprintf("1002|MOVE(2,moving,2,n%d):%d", moved, moved))
		}
		want := []string{". 2", ".. 1"}
		if err := f.img.Read(func(st *meta.State, _ image.Position) error {
			for _, e := range st.Edges.List(2) {
				want = append(want, fmt.Sprintf("%s %d", e.Name, e.Child))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if got, status := c.list(2, ^uint32(0), 0); status != meta.OK || !slices.Equal(got, want) {
				t.Fatalf("after %d changes: %v, status %v; want %v", i+1, got, status, want)
			}
		}
		f.srv.orders.mu.Lock()
		kept := len(f.srv.orders.by[2].edges)
		f.srv.orders.mu.Unlock()
		if kept != len(want)-2 {
			t.Fatalf("%d names are kept of a directory that has %d", kept, len(want)-2)
		}
	}
}

// However much is listed, what is kept is bounded, and counted rightly.
func TestKeptOrdersAreBounded(t *testing.T) {
	var o orders
	edges := make([]meta.Edge, inlineNames)
	for i := range edges {
		edges[i].Name = fmt.Appendf(nil, "name %d", i)
	}
	const each = orderName * inlineNames // and more
	var of image.Stamp                   // equal to that of a directory that was not listed yet
	for dir := range meta.Inode(2 * orderBytes / each) {
		o.listed(dir, of, edges)
		if got, ok := o.find(dir, of); !ok || len(got) != len(edges) {
			t.Fatalf("directory %d: %d names are kept, %v", dir, len(got), ok)
		}
	}
	size := 0
	for _, k := range o.by {
		size += k.cost
	}
	if size != o.size || size > orderBytes || size < orderBytes-2*each {
		t.Errorf("what is kept costs %d bytes, counted %d, of %d", size, o.size, orderBytes)
	}
}
