package image

import (
	"iter"
	"math/bits"
)

// index finds the cached pages of a table by key: open addressing with the keys
// beside the pointers, so that a look-up touches one cache line more than the
// page itself. The zero value is empty.
type index[P any] struct {
	slots []indexSlot[P] // a power of two, at most two thirds in use
	shift uint8          // 64 less the bits of the number of slots
	used  int
}

type indexSlot[P any] struct {
	key uint64
	p   *page[P] // nil: the slot is free
}

// leastSlots is how many slots an index begins with.
const leastSlots = 16

// home is where a key is looked for first. Multiplication by 2^64 over the
// golden ratio spreads neighbours as well as keys that differ in high bits only.
func (x *index[P]) home(key uint64) int { return int(key * 0x9E3779B97F4A7C15 >> x.shift) }

// find returns the page of a key, nil if there is none.
func (x *index[P]) find(key uint64) *page[P] {
	if len(x.slots) == 0 {
		return nil
	}
	for i := x.home(key); ; i++ {
		s := &x.slots[i&(len(x.slots)-1)]
		if s.p == nil || s.key == key {
			return s.p
		}
	}
}

// slot reads the slot where a key is looked for first.
func (x *index[P]) slot(key uint64) uint64 {
	if len(x.slots) == 0 {
		return 0
	}
	return x.slots[x.home(key)&(len(x.slots)-1)].key
}

// add puts a page there whose key is absent.
func (x *index[P]) add(p *page[P]) {
	if 3*(x.used+1) > 2*len(x.slots) {
		x.grow()
	}
	x.place(p)
	x.used++
}

func (x *index[P]) place(p *page[P]) {
	i := x.home(p.key)
	for x.slots[i&(len(x.slots)-1)].p != nil {
		i++
	}
	x.slots[i&(len(x.slots)-1)] = indexSlot[P]{p.key, p}
}

func (x *index[P]) grow() {
	old := x.slots
	x.slots = make([]indexSlot[P], max(leastSlots, 2*len(old)))
	x.shift = uint8(64 - bits.Len(uint(len(x.slots)-1)))
	for i := range old {
		if old[i].p != nil {
			x.place(old[i].p)
		}
	}
}

// remove takes a key out that is there. What follows it without a free slot
// between moves up, unless that would put it before its home.
func (x *index[P]) remove(key uint64) {
	mask := len(x.slots) - 1
	i := x.home(key) & mask
	for x.slots[i].key != key || x.slots[i].p == nil {
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; x.slots[j].p != nil; j = (j + 1) & mask {
		if home := x.home(x.slots[j].key) & mask; (j-home)&mask >= (j-i)&mask {
			x.slots[i] = x.slots[j]
			i = j
		}
	}
	x.slots[i] = indexSlot[P]{}
	x.used--
}

// all yields every page, in no order.
func (x *index[P]) all() iter.Seq[*page[P]] {
	return func(yield func(*page[P]) bool) {
		for i := range x.slots {
			if p := x.slots[i].p; p != nil && !yield(p) {
				return
			}
		}
	}
}

// clear forgets everything.
func (x *index[P]) clear() { *x = index[P]{} }
