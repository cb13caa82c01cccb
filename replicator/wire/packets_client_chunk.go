package wire

import (
	"encoding/binary"
	"fmt"

	"mfsstandby/changelog/meta"
)

// Location is where one copy of a chunk is.
//
//	ip:32 port:16 [release:32 [labels:32]]
type Location struct {
	IP      uint32
	Port    uint16
	Release Release // of the chunkserver
	Labels  uint32  // a bit for each of its labels
}

// Sizes of a Location in an answer, by form; the form's number is the byte
// before the answer's fields, which the oldest does not have.
const (
	copySize0 = 6  // clients before 1.7.32
	copySize1 = 10 // before 3.0.10
	copySize2 = 14

	chunkForm1 = 1
	chunkForm2 = 2
	chunkForm3 = 3 // as 2, but parts of an erasure code instead of copies; since 4.x
)

// MaxCopies is the largest number of copies an answer tells of.
const MaxCopies = 100

// chunkForm reads the number of the form. It tells whether there are parts in
// the place of copies.
func (d *Decoder) chunkForm(want uint8) (parts bool) {
	got := d.U8()
	if got == chunkForm3 && want == chunkForm2 {
		return true
	}
	if d.err == nil && got != want {
		d.Fail(fmt.Errorf("chunk of form %d, want %d", got, want))
	}
	return false
}

// form2 appends the number of the newest form that tells of copies or parts.
func (e *Encoder) form2(l Locations) {
	if l.Parts() {
		e.U8(chunkForm3)
	} else {
		e.U8(chunkForm2)
	}
}

// ChunkCopies is a chunk and where its copies are, nearest first.
//
//	chunk:64 version:32 N*LOCATION
type ChunkCopies struct {
	Chunk   meta.ChunkID // 0 is a hole, or behind the file's end
	Version uint32
	Copies  Locations
}

// Locations is a list of Location as packets hold it. It always has the
// newest form, so that it can be kept and passed on; made by Add, or by
// decoding an answer of that form. One more byte at its end says that these
// are not copies, but the parts of an erasure code, in their order.
type Locations []byte

// Parts tells whether the list is of parts.
func (l Locations) Parts() bool { return len(l)%copySize2 == 1 }

// AsParts says that the list, to which none is added any more, is of parts.
func (l Locations) AsParts() Locations { return append(l[:len(l):len(l)], 1) }

// Fits tells whether a client can read what is listed: parts are known since
// 4.0, four of them since 4.26.
func (l Locations) Fits(client Release) bool {
	return !l.Parts() || client >= rel4_26 || client >= rel4_0 && l.Len() != 4
}

// Add appends a location to the list.
func (l Locations) Add(c Location) Locations {
	l = binary.BigEndian.AppendUint32(l, c.IP)
	l = binary.BigEndian.AppendUint16(l, c.Port)
	l = binary.BigEndian.AppendUint32(l, uint32(c.Release))
	return Locations(binary.BigEndian.AppendUint32(l, c.Labels))
}

// Len returns how many locations there are.
func (l Locations) Len() int { return len(l) / copySize2 }

// At returns location i, which must be less than Len.
func (l Locations) At(i int) Location {
	b := l[i*copySize2 : (i+1)*copySize2]
	return Location{
		IP:      binary.BigEndian.Uint32(b),
		Port:    binary.BigEndian.Uint16(b[4:]),
		Release: Release(binary.BigEndian.Uint32(b[6:])),
		Labels:  binary.BigEndian.Uint32(b[10:]),
	}
}

// append appends the chunk with at most MaxCopies locations of the given size.
func (p *ChunkCopies) append(e *Encoder, size int) {
	e.U64(uint64(p.Chunk))
	e.U32(p.Version)
	n := min(p.Copies.Len(), MaxCopies)
	if size == copySize2 {
		e.Bytes(p.Copies[:n*copySize2])
		return
	}
	for i := range n {
		e.Bytes(p.Copies[i*copySize2:][:size])
	}
}

// decode reads the rest of a packet. Only the newest form is kept without
// allocation.
func (p *ChunkCopies) decode(d *Decoder, size int) {
	p.Chunk, p.Version, p.Copies = meta.ChunkID(d.U64()), d.U32(), nil
	if d.err == nil && len(d.body)%size != 0 {
		d.Fail(errForm("list of copies", len(d.body)))
	}
	rest := d.Rest()
	if size == copySize2 {
		p.Copies = rest
		return
	}
	for len(rest) > 0 {
		var full [copySize2]byte
		copy(full[:], rest[:size])
		p.Copies, rest = append(p.Copies, full[:]...), rest[size:]
	}
}

// Bits of ChunkRequest.Flags.
const (
	ChunkModTime     = 0x01 // access changes times; ignored since 3.0.74
	ChunkContinue    = 0x02 // the same writer goes on
	ChunkUseReserved = 0x04 // may use the space kept in reserve
)

// ChunkRequest is CLTOMA_FUSE_READ_CHUNK (432) and CLTOMA_FUSE_WRITE_CHUNK
// (434).
//
//	msgid:32 inode:32 index:32 [flags:8]
type ChunkRequest struct {
	MsgID uint32
	Inode meta.Inode
	Index uint32
	Flags uint8 // ChunkModTime when it is not there
	Old   bool  // without flags, for masters before 3.0.4
}

// Append appends request t.
func (p *ChunkRequest) Append(e *Encoder, t Type) {
	e.Begin(t)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U32(p.Index)
	if !p.Old {
		e.U8(p.Flags)
	}
	e.End()
}

// Decode reads the request.
func (p *ChunkRequest) Decode(d *Decoder) error {
	*p = ChunkRequest{MsgID: d.U32(), Inode: meta.Inode(d.U32()), Index: d.U32(), Flags: ChunkModTime}
	if p.Old = d.Len() == 0; !p.Old {
		p.Flags = d.U8()
	}
	return d.End()
}

// ChunkReply answers both.
//
//	msgid:32 form:8=2 length:64 chunk:64 version:32 N*[ip:32 port:16 release:32 labels:32]   form 3: parts
//	msgid:32 form:8=1 length:64 chunk:64 version:32 N*[ip:32 port:16 release:32]           clients before 3.0.10
//	msgid:32 length:64 chunk:64 version:32 N*[ip:32 port:16]                               before 1.7.32
type ChunkReply struct {
	MsgID  uint32
	Length uint64 // of the file, in bytes
	ChunkCopies
}

// Append appends the answer to request t.
func (p *ChunkReply) Append(e *Encoder, t Type, client Release) {
	e.Begin(t.Reply())
	e.U32(p.MsgID)
	size := copySize0
	switch {
	case client >= rel3_0_10:
		e.form2(p.Copies)
		size = copySize2
	case client >= rel1_7_32:
		e.U8(chunkForm1)
		size = copySize1
	}
	e.U64(p.Length)
	p.append(e, size)
	e.End()
}

// Decode reads the answer.
func (p *ChunkReply) Decode(d *Decoder, client Release) error {
	p.MsgID = d.U32()
	size, parts := copySize0, false
	switch {
	case client >= rel3_0_10:
		parts = d.chunkForm(chunkForm2)
		size = copySize2
	case client >= rel1_7_32:
		d.chunkForm(chunkForm1)
		size = copySize1
	}
	p.Length = d.U64()
	p.decode(d, size)
	if parts {
		p.Copies = p.Copies.AsParts()
	}
	return d.End()
}

// WriteEnd is CLTOMA_FUSE_WRITE_CHUNK_END (436); the answer is a status.
//
//	msgid:32 chunk:64 inode:32 [index:32] length:64 [flags:8]   24, 25 or 29 bytes
type WriteEnd struct {
	MsgID    uint32
	Chunk    meta.ChunkID
	Inode    meta.Inode
	HasIndex bool
	Index    uint32
	Length   uint64 // of the file
	Flags    uint8
}

// Append appends the request, with its index when HasIndex is set.
func (p *WriteEnd) Append(e *Encoder) {
	e.Begin(FuseWriteChunkEnd)
	e.U32(p.MsgID)
	e.U64(uint64(p.Chunk))
	e.U32(uint32(p.Inode))
	if p.HasIndex {
		e.U32(p.Index)
	}
	e.U64(p.Length)
	e.U8(p.Flags)
	e.End()
}

// Decode reads the request.
func (p *WriteEnd) Decode(d *Decoder) error {
	length := d.Len()
	*p = WriteEnd{MsgID: d.U32(), Chunk: meta.ChunkID(d.U64()), Inode: meta.Inode(d.U32()), Flags: ChunkModTime}
	if length == 29 {
		p.HasIndex, p.Index = true, d.U32()
	}
	p.Length = d.U64()
	if length != 24 {
		p.Flags = d.U8()
	}
	return d.End()
}

// ChunkChanged is MATOCL_FUSE_CHUNK_HAS_CHANGED (702), sent unasked.
//
//	0:32 inode:32 index:32 chunk:64 version:32 length:64 truncated:8
type ChunkChanged struct {
	Inode     meta.Inode
	Index     uint32
	Chunk     meta.ChunkID
	Version   uint32
	Length    uint64 // of the file
	Truncated uint8
}

// Append appends the packet.
func (p *ChunkChanged) Append(e *Encoder) {
	e.Begin(FuseChunkChanged)
	e.U32(0)
	e.U32(uint32(p.Inode))
	e.U32(p.Index)
	e.U64(uint64(p.Chunk))
	e.U32(p.Version)
	e.U64(p.Length)
	e.U8(p.Truncated)
	e.End()
}

// Decode reads the packet.
func (p *ChunkChanged) Decode(d *Decoder) error {
	d.U32()
	p.Inode, p.Index, p.Chunk, p.Version = meta.Inode(d.U32()), d.U32(), meta.ChunkID(d.U64()), d.U32()
	p.Length, p.Truncated = d.U64(), d.U8()
	return d.End()
}

// LengthChanged is MATOCL_FUSE_FLENG_HAS_CHANGED (703), sent unasked.
//
//	0:32 inode:32 length:64
type LengthChanged struct {
	Inode  meta.Inode
	Length uint64
}

// Append appends the packet.
func (p *LengthChanged) Append(e *Encoder) {
	e.Begin(FuseLengthChanged)
	e.U32(0)
	e.U32(uint32(p.Inode))
	e.U64(p.Length)
	e.End()
}

// Decode reads the packet.
func (p *LengthChanged) Decode(d *Decoder) error {
	d.U32()
	p.Inode, p.Length = meta.Inode(d.U32()), d.U64()
	return d.End()
}

// AppendForgetChunks appends MATOCL_FUSE_INVALIDATE_CHUNK_CACHE (706), sent
// unasked: the client forgets where chunks are.
func AppendForgetChunks(e *Encoder) {
	e.Begin(FuseForgetChunks)
	e.U32(0)
	e.End()
}
