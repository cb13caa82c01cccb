package server

import (
	"cmp"
	"math/bits"
	"slices"
	"sync"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
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

// orders are the names of directories that were listed more than once, in
// order, for as long as none of them changes: gathering and sorting them takes
// about as long as all the rest of a listing.
type orders struct {
	mu   sync.Mutex // guards what follows
	by   map[meta.Inode]keptOrder
	size int // sum of costs
}

// keptOrder is what is kept of a directory: without edges, that it was listed.
type keptOrder struct {
	of    image.Stamp
	edges []meta.Edge // they own their names
	cost  int         // about the bytes that it takes
}

// Bounds of orders, in bytes.
const (
	orderBytes = 32 << 20
	orderCost  = 300 // of a directory, its page in the image included
	orderName  = 56  // of a name without its text
)

// find returns the names of a directory in order, if they are kept.
func (o *orders) find(dir meta.Inode, of image.Stamp) ([]meta.Edge, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.by[dir]
	return k.edges, k.of == of && k.edges != nil
}

// listed takes note of a directory's names, which may alias the image, and keeps
// them the second time.
func (o *orders) listed(dir meta.Inode, of image.Stamp, edges []meta.Edge) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.by == nil {
		o.by = map[meta.Inode]keptOrder{}
	}
	fresh, old := keptOrder{of: of, cost: orderCost}, o.by[dir]
	if old.of == of {
		var text int
		fresh.edges, text = cloneEdges(edges)
		fresh.cost += orderName*len(edges) + text
	}
	o.by[dir] = fresh
	o.size += fresh.cost - old.cost
	for other, k := range o.by {
		if o.size <= orderBytes {
			break
		}
		if other != dir { // any: one that is listed often is soon here again
			o.size -= k.cost
			delete(o.by, other)
		}
	}
}

// cloneEdges copies a list with its names, which are so many bytes.
func cloneEdges(edges []meta.Edge) (list []meta.Edge, text int) {
	for i := range edges {
		text += len(edges[i].Name)
	}
	list = slices.Clone(edges)
	names := make([]byte, 0, text)
	for i := range list {
		at := len(names)
		names = append(names, list[i].Name...)
		list[i].Name = names[at:len(names):len(names)]
	}
	return list, text
}
