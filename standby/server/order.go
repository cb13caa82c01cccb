package server

import (
	"cmp"
	"math/bits"
	"slices"

	"mfsstandby/changelog/meta"
)

// order puts names into their directory's order: that of meta.Edge.Order. It
// sorts numbers that hold a name's order and its place in the list, which is
// several times faster than sorting the names.
type order struct {
	keys  []uint64 // scratch
	edges []meta.Edge
}

// sort returns the names in order. The list it is given becomes scratch.
func (o *order) sort(list []meta.Edge) []meta.Edge {
	lo, hi := ^uint64(0), uint64(0)
	for i := range list {
		lo, hi = min(lo, list[i].Order), max(hi, list[i].Order)
	}
	place := bits.Len(uint(len(list)))
	if len(list) < 2 || (hi-lo)>>(64-place) != 0 { // the latter never happens unless ids went wrong
		slices.SortFunc(list, func(a, b meta.Edge) int { return cmp.Compare(a.Order, b.Order) })
		return list
	}
	o.keys = o.keys[:0]
	for i := range list {
		o.keys = append(o.keys, (list[i].Order-lo)<<place|uint64(i))
	}
	slices.Sort(o.keys)
	sorted := o.edges[:0]
	for _, k := range o.keys {
		sorted = append(sorted, list[k&(1<<place-1)])
	}
	clear(list) // what it points to may be large
	o.edges = list[:0]
	return sorted
}
