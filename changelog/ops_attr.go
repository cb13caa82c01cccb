package changelog

import (
	"encoding/binary"

	"mfsstandby/changelog/meta"
)

// SetXattr sets or removes an extended attribute. Since 1.6:
//
//	SETXATTR(inode:u32,attr:NAME,value:DATA,mode:u8)
type SetXattr struct {
	Inode meta.Inode
	Attr  []byte
	Value []byte
	Mode  uint8 // 0 create or replace, 1 create, 2 replace, 3 remove
}

// Name is "SETXATTR".
func (*SetXattr) Name() string { return "SETXATTR" }

func (op *SetXattr) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Attr = l.name(',')
	op.Value = l.data(',')
	op.Mode = l.u8(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *SetXattr) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendText(b, ',', op.Attr)
	b = appendText(b, ',', op.Value)
	return append(appendNum(b, ',', uint64(op.Mode)), ')')
}

// AddAttr sets attributes of several kinds at once, as a restored backup has
// them. Since 4.x:
//
//	ADDATTR(inode:u32,kinds:u8,values:DATA)
type AddAttr struct {
	Inode  meta.Inode
	Kinds  uint8  // Attr* bits
	Values []byte // of the kinds, one after the other
}

// Bits of AddAttr.Kinds.
const (
	AttrWinattr = 1
	AttrEattr   = 2
	AttrXattrs  = 4
	AttrACLs    = 8
)

// Name is "ADDATTR".
func (*AddAttr) Name() string { return "ADDATTR" }

func (op *AddAttr) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Kinds = l.u8(',')
	op.Values = l.data(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *AddAttr) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.Kinds))
	return append(appendText(b, ',', op.Values), ')')
}

// SetACL sets or removes a POSIX ACL. Since 2.0:
//
//	SETACL(inode:u32,mode:u16,changectime:u8,type:u8,user:u16,group:u16,other:u16,mask:u16,users:u16,groups:u16,named:DATA)
//
// where named holds six bytes, id:32 perm:16, big-endian, for each named user
// and then each named group.
type SetACL struct {
	Inode                    meta.Inode
	Mode                     uint16 // of the node afterwards
	ChangeCtime              uint8  // not 0: sets ctime
	Type                     uint8  // 1 access, 2 default
	User, Group, Other, Mask uint16
	Users, Groups            []meta.ACLEntry
}

// aclEntrySize is the size of a named entry, in bytes.
const aclEntrySize = 6

// Name is "SETACL".
func (*SetACL) Name() string { return "SETACL" }

func (op *SetACL) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Mode = l.u16(',')
	op.ChangeCtime = l.u8(',')
	op.Type = l.u8(',')
	op.User = l.u16(',')
	op.Group = l.u16(',')
	op.Other = l.u16(',')
	op.Mask = l.u16(',')
	users := int(l.u16(','))
	groups := int(l.u16(','))
	at := l.pos + 1
	named := l.data(',')
	l.eat(')')
	if len(named) != aclEntrySize*(users+groups) {
		l.fail(at, "length of the named entries differs from their number")
		return
	}
	entries := l.batch.acl.reserve(users + groups)
	for ; len(named) > 0; named = named[aclEntrySize:] {
		entries = append(entries, meta.ACLEntry{ID: binary.BigEndian.Uint32(named), Perm: binary.BigEndian.Uint16(named[4:])})
	}
	entries = l.batch.acl.keep(entries)
	op.Users, op.Groups = entries[:users:users], entries[users:]
}

// AppendArgs appends the arguments.
func (op *SetACL) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.Mode))
	b = appendNum(b, ',', uint64(op.ChangeCtime))
	b = appendNum(b, ',', uint64(op.Type))
	b = appendNum(b, ',', uint64(op.User))
	b = appendNum(b, ',', uint64(op.Group))
	b = appendNum(b, ',', uint64(op.Other))
	b = appendNum(b, ',', uint64(op.Mask))
	b = appendNum(b, ',', uint64(len(op.Users)))
	b = appendNum(b, ',', uint64(len(op.Groups)))
	b = append(b, ',')
	b = appendACL(b, op.Users)
	return append(appendACL(b, op.Groups), ')')
}

func appendACL(b []byte, entries []meta.ACLEntry) []byte {
	for _, e := range entries {
		var raw [aclEntrySize]byte
		binary.BigEndian.PutUint32(raw[:], e.ID)
		binary.BigEndian.PutUint16(raw[4:], e.Perm)
		b = AppendEscaped(b, raw[:])
	}
	return b
}

// SetEattr sets the extra attributes (noowner, immutable ...) of a node or a
// tree. Since 1.6:
//
//	SETEATTR(inode:u32,uid:u32,eattr:u8,smode:u8):changed:u32,notchanged:u32,notpermitted:u32
type SetEattr struct {
	Inode meta.Inode
	UID   uint32 // who asked
	Eattr uint8  // meta.Eattr* bits
	Mode  uint8
	Counts
}

// Name is "SETEATTR".
func (*SetEattr) Name() string { return "SETEATTR" }

func (op *SetEattr) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.UID = l.u32(',')
	op.Eattr = l.u8(',')
	op.Mode = l.u8(',')
	op.Counts.parse(l)
}

// AppendArgs appends the arguments and the results.
func (op *SetEattr) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.UID))
	b = appendNum(b, ',', uint64(op.Eattr))
	b = appendNum(b, ',', uint64(op.Mode))
	return op.Counts.append(b)
}

// Quota sets the quota of a directory. Since 3.0:
//
//	QUOTA(inode:u32,exceeded:u8,flags:u8,softtime:u32,sinodes:u32,hinodes:u32,slength:u64,hlength:u64,ssize:u64,hsize:u64,srealsize:u64,hrealsize:u64,grace:u32)
//
// Older releases left out the grace period.
type Quota struct {
	Inode      meta.Inode
	Exceeded   uint8     // not 0: over the soft limit for longer than Grace
	Flags      uint8     // soft limits in the low four bits, hard ones above; 0 removes the quota
	SoftTime   meta.Time // when the soft limit was crossed
	SoftInodes uint32
	HardInodes uint32
	SoftLength uint64
	HardLength uint64
	SoftSize   uint64
	HardSize   uint64
	SoftReal   uint64
	HardReal   uint64
	Grace      uint32 // seconds; 0 keeps the one before
	NoGrace    bool   // old: Grace was left out
}

// Name is "QUOTA".
func (*Quota) Name() string { return "QUOTA" }

func (op *Quota) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Exceeded = l.u8(',')
	op.Flags = l.u8(',')
	op.SoftTime = l.time(',')
	op.SoftInodes = l.u32(',')
	op.HardInodes = l.u32(',')
	op.SoftLength = l.u64(',')
	op.HardLength = l.u64(',')
	op.SoftSize = l.u64(',')
	op.HardSize = l.u64(',')
	op.SoftReal = l.u64(',')
	op.HardReal = l.u64(',')
	if l.peek() == ',' {
		op.Grace = l.u32(',')
	} else {
		op.NoGrace = true
	}
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *Quota) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.Exceeded))
	b = appendNum(b, ',', uint64(op.Flags))
	b = appendNum(b, ',', uint64(op.SoftTime))
	b = appendNum(b, ',', uint64(op.SoftInodes))
	b = appendNum(b, ',', uint64(op.HardInodes))
	b = appendNum(b, ',', op.SoftLength)
	b = appendNum(b, ',', op.HardLength)
	b = appendNum(b, ',', op.SoftSize)
	b = appendNum(b, ',', op.HardSize)
	b = appendNum(b, ',', op.SoftReal)
	b = appendNum(b, ',', op.HardReal)
	if !op.NoGrace {
		b = appendNum(b, ',', uint64(op.Grace))
	}
	return append(b, ')')
}
