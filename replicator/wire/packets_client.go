package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"mfsstandby/changelog/meta"
)

// This file holds what the packets of the client port share. Each of the
// packets_client_*.go files is one family of them.
//
// A request is Decoded by the server and Appended by clients, an answer the
// other way round. Where a form depends on the release of the client, as it
// registered, that release is an argument. Decoding allocates nothing: names,
// lists and texts alias the packet. A request of an older form decodes to the
// same struct as the newest, with the values the master takes for what is
// missing; only the newest form is appended.

// AppendNop appends the keepalive of this port, which has four bytes of
// payload because clients read a message id with every header.
func AppendNop(e *Encoder) {
	e.Begin(Nop)
	e.U32(0)
	e.End()
}

// AppendStatus appends the answer to request t that is only a status.
func AppendStatus(e *Encoder, t Type, msgID uint32, status meta.Status) {
	e.Begin(t.Reply())
	e.U32(msgID)
	e.U8(uint8(status))
	e.End()
}

// ReplyStatus tells whether the payload of an answer is a message id and a
// status alone, which is what answers of exactly five bytes are.
func ReplyStatus(payload []byte) (msgID uint32, status meta.Status, ok bool) {
	if len(payload) != 5 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(payload), meta.Status(payload[4]), true
}

// Numbers is a list of 32-bit numbers as packets hold it, big-endian and
// without a count. Its length is a multiple of four.
type Numbers []byte

// PackNumbers returns the list of the numbers given.
func PackNumbers(list ...uint32) Numbers {
	n := make(Numbers, 0, 4*len(list))
	for _, v := range list {
		n = binary.BigEndian.AppendUint32(n, v)
	}
	return n
}

// Len returns how many numbers there are.
func (n Numbers) Len() int { return len(n) / 4 }

// At returns number i, which must be less than Len.
func (n Numbers) At(i int) uint32 { return binary.BigEndian.Uint32(n[4*i:]) }

// Set replaces number i; in a decoded packet this changes the packet.
func (n Numbers) Set(i int, v uint32) { binary.BigEndian.PutUint32(n[4*i:], v) }

// Contains tells whether v is in the list.
func (n Numbers) Contains(v uint32) bool {
	for i := range n.Len() {
		if n.At(i) == v {
			return true
		}
	}
	return false
}

// numbers reads the rest of the packet as a list.
func (d *Decoder) numbers() Numbers {
	if len(d.body)%4 != 0 {
		d.Fail(ErrShort)
		return nil
	}
	return d.Rest()
}

// Identity is on whose behalf a client asks. The first group is the primary
// one, and at least one is there.
//
//	uid:32 gcnt:32 gcnt*[gid:32]   since 2.0
//	uid:32 gid:32                  before
type Identity struct {
	UID  uint32
	GIDs Numbers // aliases the packet
}

var errNoGroup = errors.New("packet names no group")

// identity reads an Identity that is followed by tail bytes of other fields.
// The total length tells the forms apart.
func (d *Decoder) identity(tail int) (id Identity) {
	id.UID = d.U32()
	if len(d.body) == 4+tail {
		id.GIDs = d.take(4)
		return id
	}
	n := uint64(d.U32())
	if n == 0 {
		d.Fail(errNoGroup) // mfsmaster would read a group that is not there
	}
	id.GIDs = d.take(4 * n)
	return id
}

func (e *Encoder) identity(id *Identity) {
	e.U32(id.UID)
	e.U32(uint32(id.GIDs.Len()))
	e.Bytes(id.GIDs)
}

// Bits of Attr.Flags.
const (
	AttrNoCache      = 0x01 // the client must not keep these attributes
	AttrNoEntryCache = 0x02 // nor the name
	AttrDataCache    = 0x04 // it may keep data read before
	AttrNoXattr      = 0x08 // the node has neither extended attributes nor an ACL
	AttrDirect       = 0x10
	AttrUndeletable  = 0x20
)

// Attr is the attribute block of a node.
//
//	flags:8 type:4 mode:12 uid:32 gid:32 atime:32 mtime:32 ctime:32 nlink:32 length:64 [winattr:8]
//
// winattr is there for clients since 3.0.93, but not for 4.0.0 and 4.0.1. Before 1.7.32 the first byte is
// a letter for the type and the four bits before the mode are the flags.
type Attr struct {
	Flags               uint8 // old clients get the low four bits
	Type                meta.Type
	Mode                uint16 // low 12 bits
	UID, GID            uint32
	Atime, Mtime, Ctime meta.Time
	Links               uint32
	Length              uint64 // bytes; devices: their number in the high half; directories: see the protocol
	Winattr             uint8
}

// AttrSize returns the length of the attribute block for a client.
func AttrSize(client Release) int {
	if both(client, rel3_0_93, rel4_0_2) {
		return 36
	}
	return 35
}

// typeLetters are the kinds of node for clients before 1.7.32, by meta.Type.
const typeLetters = "?fdlqbcstr"

func letterType(letter byte) meta.Type {
	for i := 1; i < len(typeLetters); i++ {
		if typeLetters[i] == letter {
			return meta.Type(i)
		}
	}
	return meta.TypeNone
}

// nodeType encodes a kind of node for a client.
func nodeType(t meta.Type, client Release) uint8 {
	switch {
	case client >= rel1_7_32:
		return uint8(t)
	case int(t) < len(typeLetters):
		return typeLetters[t]
	}
	return typeLetters[0]
}

func (d *Decoder) nodeType(client Release) meta.Type {
	if client >= rel1_7_32 {
		return meta.Type(d.U8())
	}
	return letterType(d.U8())
}

// Append appends the block.
func (a *Attr) Append(e *Encoder, client Release) {
	a.put((*[maxAttrSize]byte)(e.extend(maxAttrSize)), client)
	e.cut(maxAttrSize - AttrSize(client))
}

// maxAttrSize is the longest that the block can be.
const maxAttrSize = 36

// put writes the block, of which clients get the first AttrSize bytes.
func (a *Attr) put(b *[maxAttrSize]byte, client Release) {
	if client >= rel1_7_32 {
		b[0] = a.Flags
		binary.BigEndian.PutUint16(b[1:], uint16(a.Type)<<12|a.Mode&0xFFF)
	} else {
		b[0] = nodeType(a.Type, client)
		binary.BigEndian.PutUint16(b[1:], uint16(a.Flags)<<12|a.Mode&0xFFF)
	}
	binary.BigEndian.PutUint32(b[3:], a.UID)
	binary.BigEndian.PutUint32(b[7:], a.GID)
	binary.BigEndian.PutUint32(b[11:], uint32(a.Atime))
	binary.BigEndian.PutUint32(b[15:], uint32(a.Mtime))
	binary.BigEndian.PutUint32(b[19:], uint32(a.Ctime))
	binary.BigEndian.PutUint32(b[23:], a.Links)
	binary.BigEndian.PutUint64(b[27:], a.Length)
	b[35] = a.Winattr
}

// Decode reads the block.
func (a *Attr) Decode(d *Decoder, client Release) {
	first, mode := d.U8(), d.U16()
	a.Mode = mode & 0xFFF
	if client >= rel1_7_32 {
		a.Flags, a.Type = first, meta.Type(mode>>12)
	} else {
		a.Flags, a.Type = uint8(mode>>12), letterType(first)
	}
	a.UID, a.GID = d.U32(), d.U32()
	a.Atime, a.Mtime, a.Ctime = meta.Time(d.U32()), meta.Time(d.U32()), meta.Time(d.U32())
	a.Links, a.Length, a.Winattr = d.U32(), d.U64(), 0
	if AttrSize(client) == 36 {
		a.Winattr = d.U8()
	}
}

// InodeRequest is a request about one inode and no more: FuseReadlink,
// FuseParents, FusePaths, FuseGetTrashPath, FuseUndel, FusePurge,
// FuseGetDirStats.
//
//	msgid:32 inode:32
type InodeRequest struct {
	MsgID uint32
	Inode meta.Inode
}

// Append appends request t.
func (p *InodeRequest) Append(e *Encoder, t Type) {
	e.Begin(t)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.End()
}

// Decode reads the request.
func (p *InodeRequest) Decode(d *Decoder) error {
	p.MsgID, p.Inode = d.U32(), meta.Inode(d.U32())
	return d.End()
}

// EmptyRequest is a request with a message id and no more: FuseStatfs,
// FuseGetSustained.
//
//	msgid:32
type EmptyRequest struct{ MsgID uint32 }

// Append appends request t.
func (p *EmptyRequest) Append(e *Encoder, t Type) {
	e.Begin(t)
	e.U32(p.MsgID)
	e.End()
}

// Decode reads the request.
func (p *EmptyRequest) Decode(d *Decoder) error {
	p.MsgID = d.U32()
	return d.End()
}

// AttrReply answers FuseGetattr, FuseSetattr and FuseGetDetachedAttr.
//
//	msgid:32 ATTR
type AttrReply struct {
	MsgID uint32
	Attr  Attr
}

// Append appends the answer to request t.
func (p *AttrReply) Append(e *Encoder, t Type, client Release) {
	e.Begin(t.Reply())
	e.U32(p.MsgID)
	p.Attr.Append(e, client)
	e.End()
}

// Decode reads the answer.
func (p *AttrReply) Decode(d *Decoder, client Release) error {
	p.MsgID = d.U32()
	p.Attr.Decode(d, client)
	return d.End()
}

// NodeReply answers requests that make a node or a name: FuseSymlink,
// FuseMknod, FuseMkdir, FuseLink, and FuseRename since 1.6.21.
//
//	msgid:32 inode:32 ATTR
type NodeReply struct {
	MsgID uint32
	Inode meta.Inode
	Attr  Attr
}

// Append appends the answer to request t.
func (p *NodeReply) Append(e *Encoder, t Type, client Release) {
	e.Begin(t.Reply())
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	p.Attr.Append(e, client)
	e.End()
}

// Decode reads the answer.
func (p *NodeReply) Decode(d *Decoder, client Release) error {
	p.MsgID, p.Inode = d.U32(), meta.Inode(d.U32())
	p.Attr.Decode(d, client)
	return d.End()
}

// errForm tells that no form of a request has this length.
func errForm(what string, length int) error {
	return fmt.Errorf("%s of %d bytes has no known form: %w", what, length, ErrShort)
}
