package image

import (
	"fmt"

	"mfsstandby/changelog/meta"
)

// Position says which state an image holds and where in the stream that is.
// It becomes durable together with the state or not at all.
type Position struct {
	Version meta.Version // the next entry to apply
	Epoch   uint64       // of the last entry applied
	Seq     uint64       // stream sequence of the batch that holds it; a hint only
	Chain   [16]byte     // the stream's hash chain after it; zero if not known
	Time    meta.Time    // timestamp of the last entry applied
	Release string       // of the primary, as far as it is known ("3.0.117")
}

// root is the record that makes a flush a commit: what it says is true once
// it is in the store, and everything newer than TS is not.
type root struct {
	ts     uint64
	pos    Position
	pub    meta.Scalars
	priv   privScalars
	digest Sum
}

const (
	rootKey    = "R"
	rootFormat = 2
	oldFormat  = 1 // without what follows privScalars; its pages are read as they are
)

func (r *root) encode() []byte {
	b := []byte{rootFormat}
	b = put64(b, r.ts)
	b = put64(b, uint64(r.pos.Version))
	b = put64(put64(b, r.pos.Epoch), r.pos.Seq)
	b = append(b, r.pos.Chain[:]...)
	b = put32(b, uint32(r.pos.Time))
	b = putBytes(b, r.pos.Release)
	p := &r.pub
	b = put64(put64(b, p.MetaID), uint64(p.NextChunk))
	b = put64(put32(b, uint32(p.NextSession)), p.NextEdge)
	b = put32(put32(b, uint32(p.MaxInode)), uint32(p.LastFreed))
	b = put16(b, p.ClassesUsed)
	n := &p.Nodes
	for _, v := range [...]uint64{n.All, n.Dirs, n.Files, n.Trash, n.Sustained, n.TrashBytes, n.SustainedBytes} {
		b = put64(b, v)
	}
	b = put64(put64(put64(b, r.priv.detachedOrder), r.priv.freeHead), r.priv.freeTail)
	b = putBool(b, r.priv.freeUnordered)
	b = put16(append(put32(b, uint32(p.Release)), p.ECVersion), p.PatternCount)
	return append(b, r.digest.Bytes()...)
}

func decodeRoot(b []byte) (*root, error) {
	d := reader{b: b}
	format := d.u8()
	if format != rootFormat && format != oldFormat {
		return nil, fmt.Errorf("image has format %d, this program reads formats %d and %d: use the release that wrote it, or import anew", format, oldFormat, rootFormat)
	}
	r := &root{ts: d.u64()}
	r.pos.Version = meta.Version(d.u64())
	r.pos.Epoch, r.pos.Seq = d.u64(), d.u64()
	copy(r.pos.Chain[:], d.take(16))
	r.pos.Time = meta.Time(d.u32())
	r.pos.Release = d.string()
	p := &r.pub
	p.MetaID, p.NextChunk = d.u64(), meta.ChunkID(d.u64())
	p.NextSession, p.NextEdge = meta.SessionID(d.u32()), d.u64()
	p.MaxInode, p.LastFreed = meta.Inode(d.u32()), meta.Time(d.u32())
	p.ClassesUsed = d.u16()
	n := &p.Nodes
	for _, v := range [...]*uint64{&n.All, &n.Dirs, &n.Files, &n.Trash, &n.Sustained, &n.TrashBytes, &n.SustainedBytes} {
		*v = d.u64()
	}
	r.priv.detachedOrder, r.priv.freeHead, r.priv.freeTail = d.u64(), d.u64(), d.u64()
	r.priv.freeUnordered = d.u8() != 0
	if format == oldFormat {
		p.Release = meta.Reproduced // none was followed but 3.0.117
	} else {
		p.Release, p.ECVersion, p.PatternCount = meta.Release(d.u32()), d.u8(), d.u16()
	}
	sum, err := sumFromBytes(d.take(16))
	if err != nil || d.end() != nil {
		return nil, fmt.Errorf("image is damaged: its root record is not valid")
	}
	r.digest = sum
	return r, nil
}
