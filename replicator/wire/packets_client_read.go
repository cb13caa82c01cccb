package wire

import (
	"mfsstandby/changelog/meta"
)

// Statfs is the answer to FuseStatfs.
//
//	msgid:32 total:64 avail:64 [free:64] trash:64 sustained:64 inodes:32
//
// free is there for clients since 3.0.102, but not for 4.0.0 to 4.8.
type Statfs struct {
	MsgID                 uint32
	Total, Avail, Free    uint64 // bytes
	TrashSpace, HeldSpace uint64 // bytes in the trash, and in files without a name that are open
	Inodes                uint32
}

func statfsHasFree(client Release) bool {
	return both(client, rel3_0_102, rel4_9)
}

// Append appends the answer.
func (p *Statfs) Append(e *Encoder, client Release) {
	e.Begin(FuseStatfs.Reply())
	e.U32(p.MsgID)
	e.U64(p.Total)
	e.U64(p.Avail)
	if statfsHasFree(client) {
		e.U64(p.Free)
	}
	e.U64(p.TrashSpace)
	e.U64(p.HeldSpace)
	e.U32(p.Inodes)
	e.End()
}

// Decode reads the answer.
func (p *Statfs) Decode(d *Decoder, client Release) error {
	p.MsgID, p.Total, p.Avail, p.Free = d.U32(), d.U64(), d.U64(), 0
	if statfsHasFree(client) {
		p.Free = d.U64()
	}
	p.TrashSpace, p.HeldSpace, p.Inodes = d.U64(), d.U64(), d.U32()
	return d.End()
}

// Access is CLTOMA_FUSE_ACCESS (404); the answer is a status.
//
//	msgid:32 inode:32 uid:32 GIDS mask:16
//	msgid:32 inode:32 uid:32 gid:32 mask:8   before 2.0
type Access struct {
	MsgID uint32
	Inode meta.Inode
	Identity
	Mask uint16 // 4 read, 2 write, 1 execute
}

// Append appends the request.
func (p *Access) Append(e *Encoder) {
	e.Begin(FuseAccess)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.identity(&p.Identity)
	e.U16(p.Mask)
	e.End()
}

// Decode reads the request.
func (p *Access) Decode(d *Decoder) error {
	old := d.Len() == 17
	p.MsgID, p.Inode = d.U32(), meta.Inode(d.U32())
	if old {
		p.Identity = d.identity(1)
		p.Mask = uint16(d.U8())
	} else {
		p.UID = d.U32()
		n := uint64(d.U32())
		if n == 0 {
			d.Fail(errNoGroup)
		}
		p.GIDs = d.take(4 * n)
		p.Mask = d.U16()
	}
	return d.End()
}

// NameRequest is a request about a name in a directory: FuseLookup,
// FuseUnlink and FuseRmdir.
//
//	msgid:32 parent:32 name:NAME uid:32 GIDS   (one gid:32 before 2.0)
type NameRequest struct {
	MsgID  uint32
	Parent meta.Inode
	Name   []byte // 0..255 raw bytes; aliases the packet
	Identity
}

// Append appends request t.
func (p *NameRequest) Append(e *Encoder, t Type) {
	e.Begin(t)
	e.U32(p.MsgID)
	e.U32(uint32(p.Parent))
	e.Name(p.Name)
	e.identity(&p.Identity)
	e.End()
}

// Decode reads the request.
func (p *NameRequest) Decode(d *Decoder) error {
	p.MsgID, p.Parent, p.Name = d.U32(), meta.Inode(d.U32()), d.Name()
	p.Identity = d.identity(0)
	return d.End()
}

// Bits of LookupReply.Flags; the low byte has bit m set when access with mask
// m (4 read, 2 write, 1 execute) is granted.
const (
	LookupChunkData  = 0x0100 // Chunk is there
	LookupReadOnly   = 0x0200 // the file system is read-only
	LookupKeepCache  = 0x0400
	LookupImmutable  = 0x0800
	LookupDirect     = 0x1000
	LookupAppendOnly = 0x2000
)

// LookupReply is MATOCL_FUSE_LOOKUP (407).
//
//	msgid:32 inode:32 ATTR                          clients before 3.0.40
//	msgid:32 inode:32 ATTR flags:16 [CHUNK]         since
//
// CHUNK, without the file's length, is there when flags has LookupChunkData.
type LookupReply struct {
	MsgID uint32
	Inode meta.Inode
	Attr  Attr
	Flags uint16 // Lookup* bits; 0 for clients before 3.0.40
	Chunk ChunkCopies
}

// Append appends the answer.
func (p *LookupReply) Append(e *Encoder, client Release) {
	e.Begin(FuseLookup.Reply())
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	p.Attr.Append(e, client)
	if client >= rel3_0_40 {
		e.U16(p.Flags)
		if p.Flags&LookupChunkData != 0 {
			e.form2(p.Chunk.Copies)
			p.Chunk.append(e, copySize2)
		}
	}
	e.End()
}

// Decode reads the answer.
func (p *LookupReply) Decode(d *Decoder, client Release) error {
	p.MsgID, p.Inode, p.Flags = d.U32(), meta.Inode(d.U32()), 0
	p.Chunk = ChunkCopies{}
	p.Attr.Decode(d, client)
	if client >= rel3_0_40 {
		p.Flags = d.U16()
		if p.Flags&LookupChunkData != 0 {
			parts := d.chunkForm(chunkForm2)
			p.Chunk.decode(d, copySize2)
			if parts {
				p.Chunk.Copies = p.Chunk.Copies.AsParts()
			}
		}
	}
	return d.End()
}

// noUser is the user and group the master takes for a FuseGetattr without.
const noUser = 12345

// Getattr is CLTOMA_FUSE_GETATTR (408).
//
//	msgid:32 inode:32 [opened:8] [uid:32 gid:32]   8, 16 or 17 bytes
type Getattr struct {
	MsgID    uint32
	Inode    meta.Inode
	Opened   uint8 // 1: the client has it open
	UID, GID uint32
}

// Append appends the request.
func (p *Getattr) Append(e *Encoder) {
	e.Begin(FuseGetattr)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U8(p.Opened)
	e.U32(p.UID)
	e.U32(p.GID)
	e.End()
}

// Decode reads the request.
func (p *Getattr) Decode(d *Decoder) error {
	length := d.Len()
	*p = Getattr{MsgID: d.U32(), Inode: meta.Inode(d.U32()), UID: noUser, GID: noUser}
	if length == 17 {
		p.Opened = d.U8()
	}
	if length != 8 {
		p.UID, p.GID = d.U32(), d.U32()
	}
	return d.End()
}

// ReadlinkReply is MATOCL_FUSE_READLINK (413); the length counts a NUL that
// follows the target.
//
//	msgid:32 length:32 target NUL:8
type ReadlinkReply struct {
	MsgID  uint32
	Target []byte // without the NUL; aliases the packet
}

// Append appends the answer.
func (p *ReadlinkReply) Append(e *Encoder) {
	e.Begin(FuseReadlink.Reply())
	e.U32(p.MsgID)
	e.U32(uint32(len(p.Target)) + 1)
	e.Bytes(p.Target)
	e.U8(0)
	e.End()
}

// Decode reads the answer.
func (p *ReadlinkReply) Decode(d *Decoder) error {
	p.MsgID = d.U32()
	target := d.Text()
	if n := len(target); n == 0 || target[n-1] != 0 {
		d.Fail(ErrShort)
	} else {
		target = target[:n-1]
	}
	p.Target = target
	return d.End()
}

// Bits of Readdir.Flags.
const (
	ReaddirAttr  = 0x01 // entries come with attributes
	ReaddirCache = 0x02 // the client will keep them; changes nothing in the answer
)

// Readdir is CLTOMA_FUSE_READDIR (428).
//
//	msgid:32 inode:32 uid:32 GIDS flags:8 max:32 cursor:64      (29 bytes: one gid:32)
//	msgid:32 inode:32 uid:32 gid:32 [flags:8]                   before 3.0
type Readdir struct {
	MsgID uint32
	Inode meta.Inode
	Identity
	Flags  uint8
	Paged  bool   // Max and Cursor are there, and the answer begins with a cursor
	Max    uint32 // entries wanted; 0xFFFFFFFF is all
	Cursor uint64 // 0 begins with ".", 1 with "..", others with the edge of that id
}

// Append appends the request in its newest form; Paged is taken as set.
func (p *Readdir) Append(e *Encoder) {
	e.Begin(FuseReaddir)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.identity(&p.Identity)
	e.U8(p.Flags)
	e.U32(p.Max)
	e.U64(p.Cursor)
	e.End()
}

// Decode reads the request.
func (p *Readdir) Decode(d *Decoder) error {
	length := d.Len()
	*p = Readdir{MsgID: d.U32(), Inode: meta.Inode(d.U32()), Max: 0xFFFFFFFF}
	switch {
	case length == 16:
		p.Identity = d.identity(0)
	case length == 17:
		p.Identity = d.identity(1)
		p.Flags = d.U8()
	default:
		p.Identity = d.identity(13)
		p.Flags = d.U8()
		p.Paged, p.Max, p.Cursor = true, d.U32(), d.U64()
	}
	return d.End()
}

// ReaddirReply is MATOCL_FUSE_READDIR (429): its head, which the entries
// follow until the packet ends.
//
//	msgid:32 [cursor:64] N*ENTRY
//
// The master answers with the cursor it was asked with. To append an answer:
// Begin, the entries, Encoder.End.
type ReaddirReply struct {
	MsgID   uint32
	Paged   bool // as in the request
	Cursor  uint64
	Entries []byte // what Decode found; aliases the packet
}

// Begin begins the answer.
func (p *ReaddirReply) Begin(e *Encoder) {
	e.Begin(FuseReaddir.Reply())
	e.U32(p.MsgID)
	if p.Paged {
		e.U64(p.Cursor)
	}
}

// Decode reads the head of the answer; set Paged before. For the entries,
// call DirEntry.Decode on a Decoder of Entries until its Len is 0.
func (p *ReaddirReply) Decode(d *Decoder) error {
	p.MsgID, p.Cursor = d.U32(), 0
	if p.Paged {
		p.Cursor = d.U64()
	}
	p.Entries = d.Rest()
	return d.End()
}

// DirEntry is one entry of a ReaddirReply.
//
//	name:NAME inode:32 ATTR      with ReaddirAttr
//	name:NAME inode:32 type:8    without
type DirEntry struct {
	Name  []byte // aliases the packet
	Inode meta.Inode
	Attr  Attr // only its Type without ReaddirAttr
}

// Append appends the entry to an answer that was begun.
func (p *DirEntry) Append(e *Encoder, flags uint8, client Release) {
	e.Name(p.Name)
	e.U32(uint32(p.Inode))
	if flags&ReaddirAttr != 0 {
		p.Attr.Append(e, client)
	} else {
		e.U8(nodeType(p.Attr.Type, client))
	}
}

// Decode reads one entry and tells whether it was whole.
func (p *DirEntry) Decode(d *Decoder, flags uint8, client Release) error {
	p.Name, p.Inode = d.Name(), meta.Inode(d.U32())
	if flags&ReaddirAttr != 0 {
		p.Attr.Decode(d, client)
	} else {
		p.Attr = Attr{Type: d.nodeType(client)}
	}
	return d.Err()
}

// Bits of Open.Flags.
const (
	OpenRead         = 0x01
	OpenWrite        = 0x02
	OpenAfterCreate  = 0x04 // access was granted when the file was made
	OpenTruncate     = 0x08
	OpenCacheCleared = 0x10 // the client forgot what it had read
)

// Open is CLTOMA_FUSE_OPEN (430).
//
//	msgid:32 inode:32 uid:32 GIDS flags:8   (one gid:32 before 2.0)
type Open struct {
	MsgID uint32
	Inode meta.Inode
	Identity
	Flags uint8
}

// Append appends the request.
func (p *Open) Append(e *Encoder) {
	e.Begin(FuseOpen)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.identity(&p.Identity)
	e.U8(p.Flags)
	e.End()
}

// Decode reads the request.
func (p *Open) Decode(d *Decoder) error {
	p.MsgID, p.Inode = d.U32(), meta.Inode(d.U32())
	p.Identity = d.identity(1)
	p.Flags = d.U8()
	return d.End()
}

// Bits of OpenReply.Flags.
const (
	OpenedKeepCache  = 0x01 // what the client has in its cache is good
	OpenedDirect     = 0x02
	OpenedAppendOnly = 0x04
)

// OpenReply is MATOCL_FUSE_OPEN (431) to clients since 1.6.9; older ones get
// a status.
//
//	msgid:32 [flags:8] ATTR   flags for clients since 3.0.113 and 4.22
type OpenReply struct {
	MsgID uint32
	Flags uint8
	Attr  Attr
}

// Append appends the answer.
func (p *OpenReply) Append(e *Encoder, client Release) {
	if client < rel1_6_9 {
		AppendStatus(e, FuseOpen, p.MsgID, meta.OK)
		return
	}
	e.Begin(FuseOpen.Reply())
	e.U32(p.MsgID)
	if both(client, rel3_0_113, rel4_22) {
		e.U8(p.Flags)
	}
	p.Attr.Append(e, client)
	e.End()
}

// Decode reads the answer.
func (p *OpenReply) Decode(d *Decoder, client Release) error {
	*p = OpenReply{MsgID: d.U32()}
	if client < rel1_6_9 {
		return d.onlyOK()
	}
	if both(client, rel3_0_113, rel4_22) {
		p.Flags = d.U8()
	}
	p.Attr.Decode(d, client)
	return d.End()
}
