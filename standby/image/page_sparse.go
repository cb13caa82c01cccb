package image

import (
	"slices"
	"unsafe"
)

// A sparse page holds the records of 16 neighbouring keys of a table in which
// most inodes have none (or of any 16 small numbers).
const (
	sparseBits = 4
	sparseMask = 1<<sparseBits - 1
)

type sparsePage[V any] struct{ ents []sparseEnt[V] }

type sparseEnt[V any] struct {
	slot uint8
	v    *V // stays where it is when its neighbours move
}

func (p *sparsePage[V]) find(slot uint8) int {
	for i := range p.ents {
		if p.ents[i].slot == slot {
			return i
		}
	}
	return -1
}

func (p *sparsePage[V]) insert(slot uint8, v V) *V {
	i := 0
	for i < len(p.ents) && p.ents[i].slot < slot {
		i++
	}
	p.ents = slices.Insert(p.ents, i, sparseEnt[V]{slot, &v})
	return &v
}

func (p *sparsePage[V]) remove(i int) { p.ents = slices.Delete(p.ents, i, i+1) }

// sparseCodec makes the codec of a table from that of its records. extra is
// what a record owns beyond itself; digest appends what identifies the record
// and is nil if its table follows from others.
type sparseCodec[V any] struct {
	name   string
	prefix byte
	put    func(b []byte, v *V) []byte
	get    func(r *reader, v *V)
	extra  func(v *V) int
	digest func(b []byte, v *V) []byte
}

func (c sparseCodec[V]) codec() codec[sparsePage[V]] {
	var v V
	size := int(unsafe.Sizeof(sparseEnt[V]{}) + unsafe.Sizeof(v))
	return codec[sparsePage[V]]{
		name: c.name, prefix: c.prefix, grows: c.extra != nil,
		encode: func(p *sparsePage[V], b []byte) []byte {
			for i := range p.ents {
				b = append(b, p.ents[i].slot)
				b = c.put(b, p.ents[i].v)
			}
			return b
		},
		decode: func(p *sparsePage[V], b []byte) error {
			r := reader{b: b}
			for len(r.b) > 0 && !r.bad {
				e := sparseEnt[V]{slot: r.u8(), v: new(V)}
				c.get(&r, e.v)
				if n := len(p.ents); e.slot > sparseMask || n > 0 && p.ents[n-1].slot >= e.slot {
					return errDamaged
				}
				p.ents = append(p.ents, e)
			}
			return r.end()
		},
		memory: func(p *sparsePage[V]) int {
			n := cap(p.ents) * size
			if c.extra != nil {
				for i := range p.ents {
					n += c.extra(p.ents[i].v)
				}
			}
			return n
		},
		digest: func(key uint64, p *sparsePage[V]) (sum Sum) {
			if c.digest == nil {
				return sum
			}
			var buf [128]byte
			for i := range p.ents {
				b := append(buf[:0], c.prefix)
				b = put64(b, key<<sparseBits|uint64(p.ents[i].slot))
				sum = sum.plus(hashRecord(c.digest(b, p.ents[i].v)))
			}
			return sum
		},
	}
}
