package wire

import "mfsstandby/changelog/meta"

// AllTrash is the bucket of GetTrash that stands for all.
const AllTrash = 0xFFFFFFFF

// GetTrash is CLTOMA_FUSE_GETTRASH (450).
//
//	msgid:32 [bucket:32]
type GetTrash struct {
	MsgID  uint32
	Bucket uint32 // inode modulo 4096, or AllTrash
}

// Append appends the request.
func (p *GetTrash) Append(e *Encoder) {
	e.Begin(FuseGetTrash)
	e.U32(p.MsgID)
	e.U32(p.Bucket)
	e.End()
}

// Decode reads the request.
func (p *GetTrash) Decode(d *Decoder) error {
	p.MsgID, p.Bucket = d.U32(), AllTrash
	if d.Len() > 0 {
		p.Bucket = d.U32()
	}
	return d.End()
}

// DetachedReply is MATOCL_FUSE_GETTRASH (451) and MATOCL_FUSE_GETSUSTAINED
// (471). To append an answer: Begin, Add for each file, Encoder.End.
//
//	msgid:32 N*[name:NAME inode:32]
type DetachedReply struct {
	MsgID   uint32
	Entries []byte // what Decode found, unchecked; aliases the packet
}

// Begin begins the answer to request t.
func (p *DetachedReply) Begin(e *Encoder, t Type) {
	e.Begin(t.Reply())
	e.U32(p.MsgID)
}

// Add appends a file to an answer that was begun. A name is the path with '|'
// for '/'.
func (p *DetachedReply) Add(e *Encoder, name []byte, inode meta.Inode) {
	e.Name(name)
	e.U32(uint32(inode))
}

// Decode reads the head of the answer.
func (p *DetachedReply) Decode(d *Decoder) error {
	p.MsgID, p.Entries = d.U32(), d.Rest()
	return d.End()
}

// DetachedFile reads one of DetachedReply's Entries.
func (d *Decoder) DetachedFile() (name []byte, inode meta.Inode, err error) {
	name, inode = d.Name(), meta.Inode(d.U32())
	return name, inode, d.Err()
}

// GetDetachedAttr is CLTOMA_FUSE_GETDETACHEDATTR (452).
//
//	msgid:32 inode:32 [kind:8]
type GetDetachedAttr struct {
	MsgID uint32
	Inode meta.Inode
	Kind  uint8 // 0 either, 1 in the trash, 2 sustained
}

// Append appends the request, without the kind if it is 0.
func (p *GetDetachedAttr) Append(e *Encoder) {
	e.Begin(FuseGetDetachedAttr)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	if p.Kind != 0 {
		e.U8(p.Kind)
	}
	e.End()
}

// Decode reads the request.
func (p *GetDetachedAttr) Decode(d *Decoder) error {
	p.MsgID, p.Inode, p.Kind = d.U32(), meta.Inode(d.U32()), 0
	if d.Len() > 0 {
		p.Kind = d.U8()
	}
	return d.End()
}

// TrashPathReply is MATOCL_FUSE_GETTRASHPATH (455); the length counts a NUL
// that follows the path.
//
//	msgid:32 length:32 path NUL:8
type TrashPathReply struct {
	MsgID uint32
	Path  []byte // aliases the packet
}

// Append appends the answer.
func (p *TrashPathReply) Append(e *Encoder) {
	e.Begin(FuseGetTrashPath.Reply())
	e.U32(p.MsgID)
	e.U32(uint32(len(p.Path)) + 1)
	e.Bytes(p.Path)
	e.U8(0)
	e.End()
}

// Decode reads the answer.
func (p *TrashPathReply) Decode(d *Decoder) error {
	p.MsgID, p.Path = d.U32(), d.Text()
	if n := len(p.Path); n == 0 || p.Path[n-1] != 0 {
		d.Fail(ErrShort)
	} else {
		p.Path = p.Path[:n-1]
	}
	return d.End()
}

// SetTrashPath is CLTOMA_FUSE_SETTRASHPATH (456); the answer is a status.
//
//	msgid:32 inode:32 length:32 path
type SetTrashPath struct {
	MsgID uint32
	Inode meta.Inode
	Path  []byte // without the NULs at its end; aliases the packet
}

// Append appends the request, as a mount does with a NUL behind the path.
func (p *SetTrashPath) Append(e *Encoder) {
	e.Begin(FuseSetTrashPath)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U32(uint32(len(p.Path)) + 1)
	e.Bytes(p.Path)
	e.U8(0)
	e.End()
}

// Decode reads the request.
func (p *SetTrashPath) Decode(d *Decoder) error {
	p.MsgID, p.Inode, p.Path = d.U32(), meta.Inode(d.U32()), trimNULs(d.Text())
	return d.End()
}

// ParentsReply is MATOCL_FUSE_PARENTS (485).
//
//	msgid:32 N*[inode:32]
type ParentsReply struct {
	MsgID   uint32
	Parents Numbers // aliases the packet
}

// Append appends the answer.
func (p *ParentsReply) Append(e *Encoder) {
	e.Begin(FuseParents.Reply())
	e.U32(p.MsgID)
	e.Bytes(p.Parents)
	e.End()
}

// Decode reads the answer.
func (p *ParentsReply) Decode(d *Decoder) error {
	p.MsgID, p.Parents = d.U32(), d.numbers()
	return d.End()
}

// PathsReply is MATOCL_FUSE_PATHS (487): a node's paths without leading slash.
// To append an answer: Begin, Encoder.Text for each path, Encoder.End.
//
//	msgid:32 N*[length:32 path]
type PathsReply struct {
	MsgID uint32
	Paths []byte // what Decode found, unchecked: read with Decoder.Text; aliases the packet
}

// Begin begins the answer.
func (p *PathsReply) Begin(e *Encoder) {
	e.Begin(FusePaths.Reply())
	e.U32(p.MsgID)
}

// Decode reads the head of the answer.
func (p *PathsReply) Decode(d *Decoder) error {
	p.MsgID, p.Paths = d.U32(), d.Rest()
	return d.End()
}
