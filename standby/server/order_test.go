package server

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"mfsstandby/changelog/meta"
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
