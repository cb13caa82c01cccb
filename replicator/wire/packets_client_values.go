package wire

import "mfsstandby/changelog/meta"

// TreeRequest asks for values of a node, or of all below it: FuseGetTrashTime,
// FuseGetClass, FuseGetEattr.
//
//	msgid:32 inode:32 mode:8
type TreeRequest struct {
	MsgID uint32
	Inode meta.Inode
	Mode  uint8 // 0: this node only, 1: recursive
}

// Append appends request t.
func (p *TreeRequest) Append(e *Encoder, t Type) {
	e.Begin(t)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U8(p.Mode)
	e.End()
}

// Decode reads the request.
func (p *TreeRequest) Decode(d *Decoder) error {
	p.MsgID, p.Inode, p.Mode = d.U32(), meta.Inode(d.U32()), d.U8()
	return d.End()
}

// CountsReply answers FuseSetTrashTime, FuseSetClass, FuseSetEattr, and
// FuseRepair with the chunks unchanged, erased and repaired.
//
//	msgid:32 changed:32 unchanged:32 refused:32
type CountsReply struct {
	MsgID                       uint32
	Changed, Unchanged, Refused uint32 // nodes
}

// Append appends the answer to request t.
func (p *CountsReply) Append(e *Encoder, t Type) {
	e.Begin(t.Reply())
	e.U32(p.MsgID)
	e.U32(p.Changed)
	e.U32(p.Unchanged)
	e.U32(p.Refused)
	e.End()
}

// Decode reads the answer.
func (p *CountsReply) Decode(d *Decoder) error {
	p.MsgID, p.Changed, p.Unchanged, p.Refused = d.U32(), d.U32(), d.U32(), d.U32()
	return d.End()
}

// How a value is changed: the low two bits of a request's Mode.
const (
	ModeSet       = 0
	ModeIncrease  = 1
	ModeDecrease  = 2
	ModeExchange  = 3
	ModeRecursive = 4 // added: everything below as well
)

// TrashTimes is MATOCL_FUSE_GETTRASHTIME (443): for files, then for
// directories, each trash time and how many nodes have it. To append an
// answer: Begin, Add for each group, Encoder.End.
//
//	msgid:32 files:32 dirs:32 (files+dirs)*[seconds:32 count:32]
type TrashTimes struct {
	MsgID       uint32
	Files, Dirs uint32 // groups
	Groups      []byte // what Decode found; aliases the packet
}

// Begin begins the answer.
func (p *TrashTimes) Begin(e *Encoder) {
	e.Begin(FuseGetTrashTime.Reply())
	e.U32(p.MsgID)
	e.U32(p.Files)
	e.U32(p.Dirs)
}

// Add appends a group to an answer that was begun.
func (p *TrashTimes) Add(e *Encoder, seconds, count uint32) {
	e.U32(seconds)
	e.U32(count)
}

// Decode reads the answer.
func (p *TrashTimes) Decode(d *Decoder) error {
	p.MsgID, p.Files, p.Dirs = d.U32(), d.U32(), d.U32()
	p.Groups = d.take(8 * (uint64(p.Files) + uint64(p.Dirs)))
	return d.End()
}

// SetTrashTime is CLTOMA_FUSE_SETTRASHTIME (444).
//
//	msgid:32 inode:32 uid:32 seconds:32 mode:8
type SetTrashTime struct {
	MsgID   uint32
	Inode   meta.Inode
	UID     uint32
	Seconds uint32
	Mode    uint8
}

// Append appends the request.
func (p *SetTrashTime) Append(e *Encoder) {
	e.Begin(FuseSetTrashTime)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U32(p.UID)
	e.U32(p.Seconds)
	e.U8(p.Mode)
	e.End()
}

// Decode reads the request.
func (p *SetTrashTime) Decode(d *Decoder) error {
	p.MsgID, p.Inode, p.UID, p.Seconds, p.Mode = d.U32(), meta.Inode(d.U32()), d.U32(), d.U32(), d.U8()
	return d.End()
}

// Groups is MATOCL_FUSE_GETSCLASS (447) and MATOCL_FUSE_GETEATTR (473): for
// files, then for directories, each value and how many nodes have it. To
// append an answer: Begin, AddValue or AddClass for each group, Encoder.End.
//
//	msgid:32 files:8 dirs:8 (files+dirs)*GROUP
//	GROUP is value:8 count:32; named storage classes are FF:8 name:NAME count:32
//
// Clients before 3.0.75 get no named classes, those before 3.0.113 eattr bits
// below 0x20 only, those before 3.0.30 below 0x10.
type Groups struct {
	MsgID       uint32
	Files, Dirs uint8
	Groups      []byte // what Decode found, unchecked; aliases the packet
}

// namedClass stands for a storage class given by its name.
const namedClass = 0xFF

// Begin begins the answer to request t.
func (p *Groups) Begin(e *Encoder, t Type) {
	e.Begin(t.Reply())
	e.U32(p.MsgID)
	e.U8(p.Files)
	e.U8(p.Dirs)
}

// AddValue appends a group of a storage class with a number, or of extra
// attributes.
func (p *Groups) AddValue(e *Encoder, value uint8, count uint32) {
	e.U8(value)
	e.U32(count)
}

// AddClass appends a group of a storage class with a name.
func (p *Groups) AddClass(e *Encoder, name []byte, count uint32) {
	e.U8(namedClass)
	e.Name(name)
	e.U32(count)
}

// Decode reads the head of the answer.
func (p *Groups) Decode(d *Decoder) error {
	p.MsgID, p.Files, p.Dirs, p.Groups = d.U32(), d.U8(), d.U8(), d.Rest()
	return d.End()
}

// Group is one group of Groups.
type Group struct {
	Value uint8
	Name  []byte // of a storage class that has no number; aliases the packet
	Count uint32
}

// Decode reads one group; classes tells that it is of FuseGetClass.
func (p *Group) Decode(d *Decoder, classes bool) error {
	*p = Group{Value: d.U8()}
	if classes && p.Value == namedClass {
		p.Name = d.Name()
	}
	p.Count = d.U32()
	return d.Err()
}

// SetClass is CLTOMA_FUSE_SETSCLASS (448).
//
//	msgid:32 inode:32 uid:32 goal:8 mode:8
//	msgid:32 inode:32 uid:32 FF:8 mode:8 [from:NAME] to:NAME   from when mode exchanges
type SetClass struct {
	MsgID uint32
	Inode meta.Inode
	UID   uint32
	Goal  uint8 // of the first form; 0xFF: From and To count
	Mode  uint8
	From  []byte // aliases the packet
	To    []byte // aliases the packet
}

// Append appends the request.
func (p *SetClass) Append(e *Encoder) {
	e.Begin(FuseSetClass)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U32(p.UID)
	e.U8(p.Goal)
	e.U8(p.Mode)
	if p.Goal == namedClass {
		if p.Mode&ModeExchange == ModeExchange {
			e.Name(p.From)
		}
		e.Name(p.To)
	}
	e.End()
}

// Decode reads the request. Like the master it takes a goal that cannot be
// with whatever follows, to be answered with EINVAL, and bytes after To.
func (p *SetClass) Decode(d *Decoder) error {
	*p = SetClass{MsgID: d.U32(), Inode: meta.Inode(d.U32()), UID: d.U32(), Goal: d.U8(), Mode: d.U8()}
	switch {
	case p.Goal == namedClass:
		if p.Mode&ModeExchange == ModeExchange {
			p.From = d.Name()
		}
		p.To = d.Name()
		d.Rest()
	case p.Goal < 1 || p.Goal > 9:
		d.Rest()
	}
	return d.End()
}

// SetEattr is CLTOMA_FUSE_SETEATTR (474).
//
//	msgid:32 inode:32 uid:32 eattr:8 mode:8
type SetEattr struct {
	MsgID uint32
	Inode meta.Inode
	UID   uint32
	Eattr uint8 // meta.Eattr* bits
	Mode  uint8 // ModeSet, ModeIncrease to add bits, ModeDecrease to clear them
}

// Append appends the request.
func (p *SetEattr) Append(e *Encoder) {
	e.Begin(FuseSetEattr)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U32(p.UID)
	e.U8(p.Eattr)
	e.U8(p.Mode)
	e.End()
}

// Decode reads the request.
func (p *SetEattr) Decode(d *Decoder) error {
	p.MsgID, p.Inode, p.UID, p.Eattr, p.Mode = d.U32(), meta.Inode(d.U32()), d.U32(), d.U8(), d.U8()
	return d.End()
}
