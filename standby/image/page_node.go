package image

import (
	"encoding/binary"
	"math/bits"

	"mfsstandby/changelog/meta"
)

// Inodes and chunk ids are given out lowest or next first, so neighbours are
// created, changed and read together: a page holds several of them, which
// makes one key of what would be many.
const (
	nodePageBits  = 4
	nodesPerPage  = 1 << nodePageBits
	chunkPageBits = 5
	chunksPerPage = 1 << chunkPageBits
	slotPageBits  = 6
	slotsPerPage  = 1 << slotPageBits
)

// nodePage holds 16 nodes; one of TypeNone is absent.
type nodePage struct{ n [nodesPerPage]meta.Node }

func nodeKey(ino meta.Inode) (key uint64, i int) {
	return uint64(ino >> nodePageBits), int(ino & (nodesPerPage - 1))
}

var nodeCodec = codec[nodePage]{
	name: "nodes", prefix: 'n', encode: encodeNodes, decode: decodeNodes, digest: digestNodes,
}

func encodeNodes(p *nodePage, b []byte) []byte {
	var present uint16
	for i := range p.n {
		if p.n[i].Type != meta.TypeNone {
			present |= 1 << i
		}
	}
	if present == 0 {
		return b
	}
	b = put16(b, present)
	for i := range p.n {
		if p.n[i].Type != meta.TypeNone {
			b = appendNode(b, &p.n[i])
			b = appendNodeTail(b, &p.n[i])
		}
	}
	return b
}

// appendNode appends what every kind of node has; the digest hashes the first
// nodeCore bytes of it.
const nodeCore = 28

func appendNode(b []byte, n *meta.Node) []byte {
	var a [nodeCore + 10]byte
	a[0], a[1], a[2], a[3] = byte(n.Type), n.Class, n.Eattr, n.Winattr
	binary.LittleEndian.PutUint16(a[4:], n.Mode)
	binary.LittleEndian.PutUint16(a[6:], n.TrashHours)
	binary.LittleEndian.PutUint32(a[8:], n.UID)
	binary.LittleEndian.PutUint32(a[12:], n.GID)
	binary.LittleEndian.PutUint32(a[16:], uint32(n.Atime))
	binary.LittleEndian.PutUint32(a[20:], uint32(n.Mtime))
	binary.LittleEndian.PutUint32(a[24:], uint32(n.Ctime))
	a[28], a[29] = n.Flags, n.Ratio
	binary.LittleEndian.PutUint32(a[30:], uint32(n.Parent))
	binary.LittleEndian.PutUint32(a[34:], n.NameHash)
	return append(b, a[:]...)
}

func appendNodeTail(b []byte, n *meta.Node) []byte {
	b = putUvarint(b, uint64(n.Links))
	if n.Flags&meta.TrashSeconds != 0 {
		b = put32(b, n.Rdev)
	}
	switch {
	case n.Type.IsFile():
		b = putUvarint(b, n.Length)
		b = putUvarint(b, uint64(n.Slots))
		b = putUvarint(b, uint64(n.Used))
		if n.Slots > 0 {
			b = putUvarint(b, uint64(n.Chunk0))
		}
	case n.Type.IsDevice():
		b = put32(b, n.Rdev)
	case n.Type == meta.TypeSymlink:
		b = putUvarint(b, n.Length)
	}
	return b
}

func decodeNodes(p *nodePage, b []byte) error {
	r := reader{b: b}
	for present := r.u16(); present != 0; present &= present - 1 {
		decodeNode(&r, &p.n[bits.TrailingZeros16(present)])
	}
	return r.end()
}

func decodeNode(r *reader, n *meta.Node) {
	a := r.take(nodeCore + 10)
	if a == nil {
		return
	}
	*n = meta.Node{
		Type: meta.Type(a[0]), Class: a[1], Eattr: a[2], Winattr: a[3],
		Mode: binary.LittleEndian.Uint16(a[4:]), TrashHours: binary.LittleEndian.Uint16(a[6:]),
		UID: binary.LittleEndian.Uint32(a[8:]), GID: binary.LittleEndian.Uint32(a[12:]),
		Atime: meta.Time(binary.LittleEndian.Uint32(a[16:])),
		Mtime: meta.Time(binary.LittleEndian.Uint32(a[20:])),
		Ctime: meta.Time(binary.LittleEndian.Uint32(a[24:])),
		Flags: a[28], Ratio: a[29],
		Parent: meta.Inode(binary.LittleEndian.Uint32(a[30:])), NameHash: binary.LittleEndian.Uint32(a[34:]),
	}
	if n.Type == meta.TypeNone || n.Type > meta.TypeSustained {
		r.bad = true
	}
	n.Links = uint32(r.uvarint())
	if n.Flags&meta.TrashSeconds != 0 {
		n.Rdev = r.u32()
	}
	switch {
	case n.Type.IsFile():
		n.Length = r.uvarint()
		n.Slots = uint32(r.uvarint())
		n.Used = uint32(r.uvarint())
		if n.Slots > 0 {
			n.Chunk0 = meta.ChunkID(r.uvarint())
		}
	case n.Type.IsDevice():
		n.Rdev = r.u32()
	case n.Type == meta.TypeSymlink:
		n.Length = r.uvarint()
	}
}

// digestNodes leaves out what follows from other tables.
func digestNodes(key uint64, p *nodePage) (sum Sum) {
	var buf [nodeCore + 32]byte
	for i := range p.n {
		n := &p.n[i]
		if n.Type == meta.TypeNone {
			continue
		}
		b := append(buf[:0], 'n')
		b = put32(b, uint32(key<<nodePageBits)|uint32(i))
		b = appendNode(b, n)[:5+nodeCore]
		if n.Flags&meta.TrashSeconds != 0 {
			b = put32(b, n.Rdev)
		}
		switch {
		case n.Type.IsFile():
			b = put64(b, n.Length)
			b = put64(b, uint64(n.Chunk0))
		case n.Type.IsDevice():
			b = put32(b, n.Rdev)
		}
		sum = sum.plus(hashRecord(b))
	}
	return sum
}

// chunkPage holds 32 chunks, those in present.
type chunkPage struct {
	present uint32
	c       [chunksPerPage]meta.Chunk
}

func chunkKey(id meta.ChunkID) (key uint64, i int) {
	return uint64(id >> chunkPageBits), int(id & (chunksPerPage - 1))
}

var chunkCodec = codec[chunkPage]{
	name: "chunks", prefix: 'c', encode: encodeChunks, decode: decodeChunks, digest: digestChunks,
}

func encodeChunks(p *chunkPage, b []byte) []byte {
	if p.present == 0 {
		return b
	}
	b = put32(b, p.present)
	for m := p.present; m != 0; m &= m - 1 {
		c := &p.c[bits.TrailingZeros32(m)]
		b = putUvarint(b, uint64(c.Version))
		b = putUvarint(b, uint64(c.LockedTo))
		b = putUvarint(b, uint64(c.Files))
		b = append(b, c.Flags)
	}
	return b
}

func decodeChunks(p *chunkPage, b []byte) error {
	r := reader{b: b}
	p.present = r.u32()
	for m := p.present; m != 0; m &= m - 1 {
		p.c[bits.TrailingZeros32(m)] = meta.Chunk{
			Version: uint32(r.uvarint()), LockedTo: meta.Time(r.uvarint()),
			Files: uint32(r.uvarint()), Flags: r.u8(),
		}
	}
	return r.end()
}

// digestChunks leaves out LockedTo: the master changes it without an entry
// and stores it as 0 once it is past.
func digestChunks(key uint64, p *chunkPage) (sum Sum) {
	var buf [32]byte
	for m := p.present; m != 0; m &= m - 1 {
		i := bits.TrailingZeros32(m)
		b := append(buf[:0], 'c')
		b = put64(b, key<<chunkPageBits|uint64(i))
		b = put32(b, p.c[i].Version)
		b = append(b, p.c[i].Flags)
		sum = sum.plus(hashRecord(b))
	}
	return sum
}

// slotPage holds 64 slots of one file's chunk table; slot 0 is in its node.
type slotPage struct{ id [slotsPerPage]meta.ChunkID }

func slotKey(s meta.Slot) (key uint64, i int) {
	return uint64(s.Inode)<<32 | uint64(s.Index>>slotPageBits), int(s.Index & (slotsPerPage - 1))
}

var slotCodec = codec[slotPage]{
	name: "slots", prefix: 's', encode: encodeSlots, decode: decodeSlots, digest: digestSlots,
}

func (p *slotPage) present() (m uint64) {
	for i, id := range p.id {
		if id != 0 {
			m |= 1 << i
		}
	}
	return m
}

func encodeSlots(p *slotPage, b []byte) []byte {
	present := p.present()
	if present == 0 {
		return b
	}
	b = put64(b, present)
	for m := present; m != 0; m &= m - 1 {
		b = putUvarint(b, uint64(p.id[bits.TrailingZeros64(m)]))
	}
	return b
}

func decodeSlots(p *slotPage, b []byte) error {
	r := reader{b: b}
	for m := r.u64(); m != 0; m &= m - 1 {
		p.id[bits.TrailingZeros64(m)] = meta.ChunkID(r.uvarint())
	}
	return r.end()
}

func digestSlots(key uint64, p *slotPage) (sum Sum) {
	var buf [32]byte
	for m := p.present(); m != 0; m &= m - 1 {
		i := bits.TrailingZeros64(m)
		b := append(buf[:0], 's')
		b = put32(b, uint32(key>>32))
		b = put32(b, uint32(key)<<slotPageBits|uint32(i))
		b = put64(b, uint64(p.id[i]))
		sum = sum.plus(hashRecord(b))
	}
	return sum
}
