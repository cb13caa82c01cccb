package wire

import (
	"mfsstandby/changelog/meta"
)

// counted reads an Identity that always has a count.
func (d *Decoder) counted() (id Identity) {
	id.UID = d.U32()
	n := uint64(d.U32())
	if n == 0 {
		d.Fail(errNoGroup)
	}
	id.GIDs = d.take(4 * n)
	return id
}

// single reads an Identity of the oldest form, one group.
func (d *Decoder) single() Identity { return Identity{UID: d.U32(), GIDs: d.take(4)} }

// Bits of Setattr.Mask.
const (
	SetWinattr  = 0x01
	SetMode     = 0x02
	SetUID      = 0x04
	SetGID      = 0x08
	SetMtimeNow = 0x10
	SetMtime    = 0x20
	SetAtime    = 0x40
	SetAtimeNow = 0x80
)

// SuidAlways is the value of Setattr.SuidClear that the master takes when
// there is none: a change of owner clears setuid and setgid.
const SuidAlways = 1

// Setattr is CLTOMA_FUSE_SETATTR (410).
//
//	msgid:32 inode:32 opened:8 uid:32 GIDS mask:8 mode:16 uid:32 gid:32 atime:32 mtime:32 [winattr:8] suidclear:8
//	msgid:32 inode:32 [opened:8] uid:32 gid:32 mask:8 mode:16 uid:32 gid:32 atime:32 mtime:32 [suidclear:8]
//
// winattr is there for clients since 3.0.93; the second form, of 35 to 37
// bytes, is that of old ones.
type Setattr struct {
	MsgID  uint32
	Inode  meta.Inode
	Opened uint8
	Identity
	Mask           uint8
	Mode           uint16
	NewUID, NewGID uint32
	Atime, Mtime   meta.Time
	Winattr        uint8
	SuidClear      uint8 // 0 never, 1 always, 2 to 5 as some system does it
}

// Append appends the request.
func (p *Setattr) Append(e *Encoder, client Release) {
	e.Begin(FuseSetattr)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U8(p.Opened)
	e.identity(&p.Identity)
	e.U8(p.Mask)
	e.U16(p.Mode)
	e.U32(p.NewUID)
	e.U32(p.NewGID)
	e.U32(uint32(p.Atime))
	e.U32(uint32(p.Mtime))
	if both(client, rel3_0_93, rel4_0_2) {
		e.U8(p.Winattr)
	}
	e.U8(p.SuidClear)
	e.End()
}

// Decode reads the request.
func (p *Setattr) Decode(d *Decoder, client Release) error {
	length := d.Len()
	*p = Setattr{MsgID: d.U32(), Inode: meta.Inode(d.U32()), SuidClear: SuidAlways}
	old := client < rel3_0_93 && length <= 37
	if !old || length == 37 {
		p.Opened = d.U8()
	}
	if old {
		p.Identity = d.single()
	} else {
		p.Identity = d.counted()
	}
	p.Mask, p.Mode, p.NewUID, p.NewGID = d.U8(), d.U16(), d.U32(), d.U32()
	p.Atime, p.Mtime = meta.Time(d.U32()), meta.Time(d.U32())
	if both(client, rel3_0_93, rel4_0_2) {
		p.Winattr = d.U8()
	}
	if !old || length > 35 {
		p.SuidClear = d.U8()
	}
	return d.End()
}

// Symlink is CLTOMA_FUSE_SYMLINK (414).
//
//	msgid:32 parent:32 name:NAME length:32 target uid:32 GIDS   (one gid:32 before 2.0)
type Symlink struct {
	MsgID  uint32
	Parent meta.Inode
	Name   []byte // aliases the packet
	Target []byte // aliases the packet; without the NULs at its end
	Identity
}

// Append appends the request, as a mount does with a NUL behind the target.
func (p *Symlink) Append(e *Encoder) {
	e.Begin(FuseSymlink)
	e.U32(p.MsgID)
	e.U32(uint32(p.Parent))
	e.Name(p.Name)
	e.U32(uint32(len(p.Target)) + 1)
	e.Bytes(p.Target)
	e.U8(0)
	e.identity(&p.Identity)
	e.End()
}

// Decode reads the request.
func (p *Symlink) Decode(d *Decoder) error {
	p.MsgID, p.Parent, p.Name = d.U32(), meta.Inode(d.U32()), d.Name()
	p.Target = trimNULs(d.Text())
	p.Identity = d.identity(0)
	return d.End()
}

func trimNULs(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return b
}

// Create is what FuseMknod, FuseMkdir and FuseCreate have in common: a new
// node under a name.
type Create struct {
	MsgID  uint32
	Parent meta.Inode
	Name   []byte // aliases the packet
	Mode   uint16
	Umask  uint16 // 0 from clients that apply it themselves
	Identity
}

func (p *Create) head(e *Encoder, t Type) {
	e.Begin(t)
	e.U32(p.MsgID)
	e.U32(uint32(p.Parent))
	e.Name(p.Name)
}

// tail decodes what begins with the umask and is followed by n bytes. Without
// umask and with one group there are 8+n bytes left, with a umask 10+n.
func (p *Create) tail(d *Decoder, n int) {
	if p.Umask = 0; d.Len() > 8+n {
		p.Umask = d.U16()
	}
	p.Identity = d.identity(n)
}

// Mknod is CLTOMA_FUSE_MKNOD (416).
//
//	msgid:32 parent:32 name:NAME type:8 mode:16 [umask:16] uid:32 GIDS rdev:32   (or one gid:32)
type Mknod struct {
	Create
	Type meta.Type
	Rdev uint32
}

// Append appends the request.
func (p *Mknod) Append(e *Encoder) {
	p.head(e, FuseMknod)
	e.U8(uint8(p.Type))
	e.U16(p.Mode)
	e.U16(p.Umask)
	e.identity(&p.Identity)
	e.U32(p.Rdev)
	e.End()
}

// Decode reads the request; old clients name the type by its letter.
func (p *Mknod) Decode(d *Decoder) error {
	p.MsgID, p.Parent, p.Name = d.U32(), meta.Inode(d.U32()), d.Name()
	p.Type, p.Mode = meta.Type(d.U8()), d.U16()
	if t := letterType(uint8(p.Type)); t != meta.TypeNone {
		p.Type = t
	}
	p.tail(d, 4)
	p.Rdev = d.U32()
	return d.End()
}

// Mkdir is CLTOMA_FUSE_MKDIR (418).
//
//	msgid:32 parent:32 name:NAME mode:16 umask:16 uid:32 GIDS copysgid:8   (or one gid:32)
//	msgid:32 parent:32 name:NAME mode:16 uid:32 gid:32 [copysgid:8]
type Mkdir struct {
	Create
	CopySgid uint8 // 1: setgid comes from the parent, if it has it
}

// Append appends the request.
func (p *Mkdir) Append(e *Encoder) {
	p.head(e, FuseMkdir)
	e.U16(p.Mode)
	e.U16(p.Umask)
	e.identity(&p.Identity)
	e.U8(p.CopySgid)
	e.End()
}

// Decode reads the request.
func (p *Mkdir) Decode(d *Decoder) error {
	p.MsgID, p.Parent, p.Name, p.Mode = d.U32(), meta.Inode(d.U32()), d.Name(), d.U16()
	if d.Len() == 8 {
		p.tail(d, 0)
		p.CopySgid = 0
	} else {
		p.tail(d, 1)
		p.CopySgid = d.U8()
	}
	return d.End()
}

// CreateFile is CLTOMA_FUSE_CREATE (482): a new file, opened at once.
//
//	msgid:32 parent:32 name:NAME mode:16 [umask:16] uid:32 GIDS   (or one gid:32)
type CreateFile struct{ Create }

// Append appends the request.
func (p *CreateFile) Append(e *Encoder) {
	p.head(e, FuseCreate)
	e.U16(p.Mode)
	e.U16(p.Umask)
	e.identity(&p.Identity)
	e.End()
}

// Decode reads the request.
func (p *CreateFile) Decode(d *Decoder) error {
	p.MsgID, p.Parent, p.Name, p.Mode = d.U32(), meta.Inode(d.U32()), d.Name(), d.U16()
	p.tail(d, 0)
	return d.End()
}

// CreateReply is MATOCL_FUSE_CREATE (483).
//
//	msgid:32 [flags:8] inode:32 ATTR   flags (Opened* bits) for clients since 3.0.113 and 4.22
type CreateReply struct {
	MsgID uint32
	Flags uint8
	Inode meta.Inode
	Attr  Attr
}

// Append appends the answer.
func (p *CreateReply) Append(e *Encoder, client Release) {
	e.Begin(FuseCreate.Reply())
	e.U32(p.MsgID)
	if both(client, rel3_0_113, rel4_22) {
		e.U8(p.Flags)
	}
	e.U32(uint32(p.Inode))
	p.Attr.Append(e, client)
	e.End()
}

// Decode reads the answer.
func (p *CreateReply) Decode(d *Decoder, client Release) error {
	if p.MsgID, p.Flags = d.U32(), 0; both(client, rel3_0_113, rel4_22) {
		p.Flags = d.U8()
	}
	p.Inode = meta.Inode(d.U32())
	p.Attr.Decode(d, client)
	return d.End()
}

// RemovedReply answers FuseUnlink and FuseRmdir; clients before 3.0.107 and
// those of 4.0 to 4.17 get a status instead.
//
//	msgid:32 inode:32
type RemovedReply struct {
	MsgID uint32
	Inode meta.Inode
}

// Append appends the answer to request t.
func (p *RemovedReply) Append(e *Encoder, t Type, client Release) {
	if !getsRemoved(client) {
		AppendStatus(e, t, p.MsgID, meta.OK)
		return
	}
	e.Begin(t.Reply())
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.End()
}

func getsRemoved(client Release) bool {
	return both(client, rel3_0_107, rel4_18)
}

// Decode reads the answer.
func (p *RemovedReply) Decode(d *Decoder, client Release) error {
	if p.MsgID, p.Inode = d.U32(), 0; !getsRemoved(client) {
		return d.onlyOK()
	}
	p.Inode = meta.Inode(d.U32())
	return d.End()
}

// onlyOK reads a status where a client's form has no more.
func (d *Decoder) onlyOK() error {
	if status := meta.Status(d.U8()); status != meta.OK {
		d.Fail(status)
	}
	return d.End()
}

// Rename is CLTOMA_FUSE_RENAME (424).
//
//	msgid:32 parent:32 name:NAME newparent:32 newname:NAME uid:32 GIDS   (or one gid:32)
type Rename struct {
	MsgID     uint32
	Parent    meta.Inode
	Name      []byte // aliases the packet
	NewParent meta.Inode
	NewName   []byte // aliases the packet
	Identity
}

// Append appends the request.
func (p *Rename) Append(e *Encoder) {
	e.Begin(FuseRename)
	e.U32(p.MsgID)
	e.U32(uint32(p.Parent))
	e.Name(p.Name)
	e.U32(uint32(p.NewParent))
	e.Name(p.NewName)
	e.identity(&p.Identity)
	e.End()
}

// Decode reads the request.
func (p *Rename) Decode(d *Decoder) error {
	p.MsgID, p.Parent, p.Name = d.U32(), meta.Inode(d.U32()), d.Name()
	p.NewParent, p.NewName = meta.Inode(d.U32()), d.Name()
	p.Identity = d.identity(0)
	return d.End()
}

// Link is CLTOMA_FUSE_LINK (426).
//
//	msgid:32 inode:32 parent:32 name:NAME uid:32 GIDS   (or one gid:32)
type Link struct {
	MsgID  uint32
	Inode  meta.Inode
	Parent meta.Inode
	Name   []byte // aliases the packet
	Identity
}

// Append appends the request.
func (p *Link) Append(e *Encoder) {
	e.Begin(FuseLink)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U32(uint32(p.Parent))
	e.Name(p.Name)
	e.identity(&p.Identity)
	e.End()
}

// Decode reads the request.
func (p *Link) Decode(d *Decoder) error {
	p.MsgID, p.Inode, p.Parent, p.Name = d.U32(), meta.Inode(d.U32()), meta.Inode(d.U32()), d.Name()
	p.Identity = d.identity(0)
	return d.End()
}

// Bits of Truncate.Flags.
const (
	TruncateOpened  = 0x01 // the file is open: no check of access
	TruncateUpdate  = 0x02
	TruncateTimefix = 0x04
	TruncateReserve = 0x08 // Length is added to what the file has
)

// Truncate is CLTOMA_FUSE_TRUNCATE (464).
//
//	msgid:32 inode:32 flags:8 uid:32 GIDS length:64    (or one gid:32)
//	msgid:32 inode:32 uid:32 gid:32 length:64          24 bytes
type Truncate struct {
	MsgID uint32
	Inode meta.Inode
	Flags uint8
	Identity
	Length uint64
}

// Append appends the request.
func (p *Truncate) Append(e *Encoder) {
	e.Begin(FuseTruncate)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U8(p.Flags)
	e.identity(&p.Identity)
	e.U64(p.Length)
	e.End()
}

// Decode reads the request. In the oldest form user 0 with another group
// means that the file is open.
func (p *Truncate) Decode(d *Decoder) error {
	oldest := d.Len() == 24
	*p = Truncate{MsgID: d.U32(), Inode: meta.Inode(d.U32())}
	if !oldest {
		p.Flags = d.U8()
	}
	p.Identity = d.identity(8)
	if oldest && p.UID == 0 && p.GIDs.Len() == 1 && p.GIDs.At(0) != 0 {
		p.Flags = TruncateOpened
	}
	p.Length = d.U64()
	return d.End()
}

// TruncateReply is MATOCL_FUSE_TRUNCATE (465).
//
//	msgid:32 [oldlength:64] ATTR   oldlength for clients since 3.0.113 and 4.22
type TruncateReply struct {
	MsgID     uint32
	OldLength uint64
	Attr      Attr
}

// Append appends the answer.
func (p *TruncateReply) Append(e *Encoder, client Release) {
	e.Begin(FuseTruncate.Reply())
	e.U32(p.MsgID)
	if both(client, rel3_0_113, rel4_22) {
		e.U64(p.OldLength)
	}
	p.Attr.Append(e, client)
	e.End()
}

// Decode reads the answer.
func (p *TruncateReply) Decode(d *Decoder, client Release) error {
	if p.MsgID, p.OldLength = d.U32(), 0; both(client, rel3_0_113, rel4_22) {
		p.OldLength = d.U64()
	}
	p.Attr.Decode(d, client)
	return d.End()
}
