package wire

import "mfsstandby/changelog/meta"

// Values of GetXattr.Mode.
const (
	XattrValue  = 0
	XattrLength = 1 // only the length of the value
)

// GetXattr is CLTOMA_FUSE_GETXATTR (478). Without a name it asks for all
// names, each of which ends with a NUL.
//
//	msgid:32 inode:32 name:NAME mode:8 opened:8 uid:32 GIDS          (or one gid:32)
//	msgid:32 inode:32 opened:8 uid:32 gid:32 name:NAME mode:8        clients before 2.0
type GetXattr struct {
	MsgID  uint32
	Inode  meta.Inode
	Name   []byte // aliases the packet
	Mode   uint8  // others than the two constants are to be answered with EINVAL
	Opened uint8
	Identity
}

// Append appends the request in the form of clients since 2.0.
func (p *GetXattr) Append(e *Encoder) {
	e.Begin(FuseGetXattr)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.Name(p.Name)
	e.U8(p.Mode)
	e.U8(p.Opened)
	e.identity(&p.Identity)
	e.End()
}

// Decode reads the request of a client.
func (p *GetXattr) Decode(d *Decoder, client Release) error {
	p.MsgID, p.Inode = d.U32(), meta.Inode(d.U32())
	if client < rel2_0 {
		p.Opened = d.U8()
		p.Identity = d.single()
	}
	p.Name, p.Mode = d.Name(), d.U8()
	if client >= rel2_0 {
		p.Opened = d.U8()
		p.Identity = d.identity(0)
	}
	return d.End()
}

// XattrReply is MATOCL_FUSE_GETXATTR (479).
//
//	msgid:32 length:32 [value]   value unless the request had XattrLength
type XattrReply struct {
	MsgID  uint32
	Length uint32
	Value  []byte // nil, or Length bytes; aliases the packet
}

// Append appends the answer.
func (p *XattrReply) Append(e *Encoder) {
	e.Begin(FuseGetXattr.Reply())
	e.U32(p.MsgID)
	e.U32(p.Length)
	e.Bytes(p.Value)
	e.End()
}

// Decode reads the answer.
func (p *XattrReply) Decode(d *Decoder) error {
	p.MsgID, p.Length, p.Value = d.U32(), d.U32(), nil
	if d.Len() > 0 {
		p.Value = d.Bytes(p.Length)
	}
	return d.End()
}

// SetXattr is CLTOMA_FUSE_SETXATTR (480); the answer is a status.
//
//	msgid:32 inode:32 name:NAME length:32 value mode:8 opened:8 uid:32 GIDS      (or one gid:32)
//	msgid:32 inode:32 opened:8 uid:32 gid:32 name:NAME length:32 value mode:8    clients before 2.0
type SetXattr struct {
	MsgID  uint32
	Inode  meta.Inode
	Name   []byte // aliases the packet
	Value  []byte // aliases the packet
	Mode   uint8  // 0 set, 1 create, 2 replace, 3 remove
	Opened uint8
	Identity
}

// Append appends the request in the form of clients since 2.0.
func (p *SetXattr) Append(e *Encoder) {
	e.Begin(FuseSetXattr)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.Name(p.Name)
	e.Text(p.Value)
	e.U8(p.Mode)
	e.U8(p.Opened)
	e.identity(&p.Identity)
	e.End()
}

// Decode reads the request of a client.
func (p *SetXattr) Decode(d *Decoder, client Release) error {
	p.MsgID, p.Inode = d.U32(), meta.Inode(d.U32())
	if client < rel2_0 {
		p.Opened = d.U8()
		p.Identity = d.single()
	}
	p.Name, p.Value, p.Mode = d.Name(), d.Text(), d.U8()
	if client >= rel2_0 {
		p.Opened = d.U8()
		p.Identity = d.identity(0)
	}
	return d.End()
}

// GetACL is CLTOMA_FUSE_GETFACL (488). Old clients add who asks, which the
// master does not look at.
//
//	msgid:32 inode:32 type:8 [opened:8 uid:32 GIDS]   (or one gid:32)
type GetACL struct {
	MsgID uint32
	Inode meta.Inode
	Type  uint8 // meta.ACLAccess or meta.ACLDefault
}

// Append appends the request.
func (p *GetACL) Append(e *Encoder) {
	e.Begin(FuseGetACL)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U8(p.Type)
	e.End()
}

// Decode reads the request.
func (p *GetACL) Decode(d *Decoder) error {
	p.MsgID, p.Inode, p.Type = d.U32(), meta.Inode(d.U32()), d.U8()
	if d.Len() > 0 {
		d.U8()
		d.identity(0)
	}
	return d.End()
}

// ACL is a POSIX ACL as packets hold it.
//
//	user:16 group:16 other:16 mask:16 users:16 groups:16 (users+groups)*[id:32 perm:16]
type ACL struct {
	User, Group, Other, Mask uint16
	Users, Groups            uint16
	Entries                  []byte // six bytes each, users first; aliases the packet
}

const aclEntrySize = 6

// AddEntry appends an entry to Entries; count it in Users or Groups.
func (a *ACL) AddEntry(id uint32, perm uint16) {
	a.Entries = append(a.Entries, byte(id>>24), byte(id>>16), byte(id>>8), byte(id), byte(perm>>8), byte(perm))
}

func (a *ACL) append(e *Encoder) {
	e.U16(a.User)
	e.U16(a.Group)
	e.U16(a.Other)
	e.U16(a.Mask)
	e.U16(a.Users)
	e.U16(a.Groups)
	e.Bytes(a.Entries)
}

func (a *ACL) decode(d *Decoder) {
	a.User, a.Group, a.Other, a.Mask = d.U16(), d.U16(), d.U16(), d.U16()
	a.Users, a.Groups = d.U16(), d.U16()
	a.Entries = d.take(aclEntrySize * (uint64(a.Users) + uint64(a.Groups)))
}

// ACLReply is MATOCL_FUSE_GETFACL (489).
//
//	msgid:32 ACL
type ACLReply struct {
	MsgID uint32
	ACL
}

// Append appends the answer.
func (p *ACLReply) Append(e *Encoder) {
	e.Begin(FuseGetACL.Reply())
	e.U32(p.MsgID)
	p.append(e)
	e.End()
}

// Decode reads the answer.
func (p *ACLReply) Decode(d *Decoder) error {
	p.MsgID = d.U32()
	p.decode(d)
	return d.End()
}

// SetACL is CLTOMA_FUSE_SETFACL (490); the answer is a status.
//
//	msgid:32 inode:32 uid:32 type:8 ACL
type SetACL struct {
	MsgID uint32
	Inode meta.Inode
	UID   uint32
	Type  uint8 // meta.ACLAccess or meta.ACLDefault
	ACL
}

// Append appends the request.
func (p *SetACL) Append(e *Encoder) {
	e.Begin(FuseSetACL)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U32(p.UID)
	e.U8(p.Type)
	p.append(e)
	e.End()
}

// Decode reads the request.
func (p *SetACL) Decode(d *Decoder) error {
	p.MsgID, p.Inode, p.UID, p.Type = d.U32(), meta.Inode(d.U32()), d.U32(), d.U8()
	p.decode(d)
	return d.End()
}

// Commands of Flock.
const (
	FlockUnlock     = 0
	FlockTryShared  = 1
	FlockShared     = 2 // waits
	FlockTryExcl    = 3
	FlockExclusive  = 4 // waits
	FlockInterrupt  = 5
	FlockRelease    = 6
	PosixGet        = 0 // commands of PosixLock
	PosixSet        = 1 // waits
	PosixTry        = 2
	PosixInterrupt  = 3
	PosixTypeUnlock = 0 // types of PosixLock
	PosixTypeRead   = 1
	PosixTypeWrite  = 2
)

// Flock is CLTOMA_FUSE_FLOCK (492); the answer is a status, which comes when
// the lock is had or the wait was interrupted.
//
//	msgid:32 inode:32 request:32 owner:64 command:8
type Flock struct {
	MsgID   uint32
	Inode   meta.Inode
	Request uint32 // names what an interrupt is about
	Owner   uint64
	Command uint8 // Flock*
}

// Append appends the request.
func (p *Flock) Append(e *Encoder) {
	e.Begin(FuseFlock)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U32(p.Request)
	e.U64(p.Owner)
	e.U8(p.Command)
	e.End()
}

// Decode reads the request.
func (p *Flock) Decode(d *Decoder) error {
	p.MsgID, p.Inode, p.Request, p.Owner, p.Command = d.U32(), meta.Inode(d.U32()), d.U32(), d.U64(), d.U8()
	return d.End()
}

// PosixLock is CLTOMA_FUSE_POSIX_LOCK (494). The answer is a status, except to
// PosixGet.
//
//	msgid:32 inode:32 request:32 owner:64 pid:32 command:8 type:8 start:64 end:64
type PosixLock struct {
	MsgID   uint32
	Inode   meta.Inode
	Request uint32
	Owner   uint64
	PID     uint32
	Command uint8 // PosixGet to PosixInterrupt
	Type    uint8 // PosixType*
	Start   uint64
	End     uint64 // behind the last byte
}

// Append appends the request.
func (p *PosixLock) Append(e *Encoder) {
	e.Begin(FusePosixLock)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U32(p.Request)
	e.U64(p.Owner)
	e.U32(p.PID)
	e.U8(p.Command)
	e.U8(p.Type)
	e.U64(p.Start)
	e.U64(p.End)
	e.End()
}

// Decode reads the request.
func (p *PosixLock) Decode(d *Decoder) error {
	p.MsgID, p.Inode, p.Request, p.Owner = d.U32(), meta.Inode(d.U32()), d.U32(), d.U64()
	p.PID, p.Command, p.Type, p.Start, p.End = d.U32(), d.U8(), d.U8(), d.U64(), d.U64()
	return d.End()
}

// PosixLockReply is MATOCL_FUSE_POSIX_LOCK (495) to PosixGet.
//
//	msgid:32 pid:32 type:8 start:64 end:64
type PosixLockReply struct {
	MsgID      uint32
	PID        uint32
	Type       uint8
	Start, End uint64
}

// Append appends the answer.
func (p *PosixLockReply) Append(e *Encoder) {
	e.Begin(FusePosixLock.Reply())
	e.U32(p.MsgID)
	e.U32(p.PID)
	e.U8(p.Type)
	e.U64(p.Start)
	e.U64(p.End)
	e.End()
}

// Decode reads the answer.
func (p *PosixLockReply) Decode(d *Decoder) error {
	p.MsgID, p.PID, p.Type, p.Start, p.End = d.U32(), d.U32(), d.U8(), d.U64(), d.U64()
	return d.End()
}
