package wire

import (
	"mfsstandby/changelog/meta"
)

// Packets that came with 4.x. They are told to clients that know them, by a
// server that says it is 4.x.

// labelSize is the length of a label expression in packets, zeros at its end.
const labelSize = 128

// ModernClass is a storage class as ClassList has it, in the forms 2 to 6:
//
//	[id:8 since 4] name:NAME [description:NAME priority:32 group:8 since 6] adminonly:8 mode:8 [archmode:8 since 3]
//	archdelay:16 [archminsize:64 since 4] mintrash:16 archec:8 trashec:8 [4*mode:8 since 5] 4*uniq:32 4*labels:8
//	labels*[expression:128*8]
//
// Each 4 is create, keep, archive, trash.
type ModernClass struct {
	ID uint8
	*meta.Class
}

// The forms.
const (
	OldestModernForm = 2
	NewestClassForm  = 6
)

// Append appends the class to an answer that was begun. The class has its parts.
func (c *ModernClass) Append(e *Encoder, form uint8) {
	if form >= 4 {
		e.U8(c.ID)
	}
	e.Name([]byte(c.Name))
	if form >= 6 {
		e.Name([]byte(c.Description))
		e.U32(c.Priority)
		e.U8(c.Group)
	}
	e.U8(c.AdminOnly)
	e.U8(c.Mode)
	if form >= 3 {
		e.U8(c.ArchMode)
	}
	e.U16(c.ArchDelay)
	if form >= 4 {
		e.U64(c.ArchMinSize)
	}
	e.U16(c.MinTrash)
	e.U8(visibleEC(c.Parts[meta.PartArch].EC))
	e.U8(visibleEC(c.Parts[meta.PartTrash].EC))
	if form >= 5 {
		for i := range c.Parts {
			e.U8(c.Parts[i].Mode)
		}
	}
	for i := range c.Parts {
		e.U32(c.Parts[i].Uniq)
	}
	for i := range c.Parts {
		e.U8(uint8(len(c.Parts[i].Exprs)))
	}
	for i := range c.Parts {
		for _, x := range c.Parts[i].Exprs {
			e.label(x)
		}
	}
}

// label appends a label expression.
func (e *Encoder) label(x string) {
	var b [labelSize]byte
	copy(b[:], x)
	e.Bytes(b[:])
}

// visibleEC is the erasure code that a community build shows of one: it makes
// one checksum at most.
func visibleEC(ec uint8) uint8 { return ec&0xF0 | min(ec&0x0F, 1) }

// Decode reads one class.
func (c *ModernClass) Decode(d *Decoder, form uint8) error {
	*c = ModernClass{Class: &meta.Class{Parts: make([]meta.Labels, meta.ClassParts)}}
	if form >= 4 {
		c.ID = d.U8()
	}
	c.Name = string(d.Name())
	if form >= 6 {
		c.Description, c.Priority, c.Group = string(d.Name()), d.U32(), d.U8()
	}
	c.AdminOnly, c.Mode = d.U8(), d.U8()
	if form >= 3 {
		c.ArchMode = d.U8()
	}
	c.ArchDelay = d.U16()
	if form >= 4 {
		c.ArchMinSize = d.U64()
	}
	c.MinTrash, c.Parts[meta.PartArch].EC, c.Parts[meta.PartTrash].EC = d.U16(), d.U8(), d.U8()
	if form >= 5 {
		for i := range c.Parts {
			c.Parts[i].Mode = d.U8()
		}
	}
	for i := range c.Parts {
		c.Parts[i].Uniq = d.U32()
	}
	var counts [meta.ClassParts]uint8
	for i := range counts {
		counts[i] = d.U8()
	}
	for i, n := range counts {
		for range n {
			if d.Err() != nil {
				break
			}
			c.Parts[i].Exprs = append(c.Parts[i].Exprs, d.label())
		}
	}
	return d.Err()
}

// label reads a label expression up to its first zero byte.
func (d *Decoder) label() string {
	b := d.Bytes(labelSize)
	for i, v := range b {
		if v == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// ModernClassInfo is one entry of MATOCL_SCLASS_INFO (543) in the forms 1 to 5.
//
//	id:8 name:NAME [description:NAME since 5] files:32 dirs:32 N*[keep:64 archive:64 trash:64] [priority:32 group:8 since 5]
//	adminonly:8 mode:8 archmode:8 archdelay:16 [archminsize:64 since 3] mintrash:16
//	4*[possible:8 labels:8 [ec:8] uniq:32 [mode:8 since 4]] labels*[expression:128*8 servers:16]
//
// N is 3: chunks with fewer copies than wanted, as many, and more. Since form 2
// it is 6: each without and then with erasure code. ec is there for archive and
// trash.
type ModernClassInfo struct {
	ModernClass
	Chunks [6][3]uint64
}

// Append appends the entry to an answer that was begun. It tells of no server
// that fits.
func (c *ModernClassInfo) Append(e *Encoder, form uint8) {
	e.U8(c.ID)
	e.Name([]byte(c.Name))
	if form >= 5 {
		e.Name([]byte(c.Description))
	}
	e.U32(uint32(c.Files))
	e.U32(uint32(c.Directories))
	for i := 0; i < len(c.Chunks); i += 2 {
		for j := range 2 {
			if form < 2 && j == 1 {
				continue
			}
			for k, n := range c.Chunks[i+j] {
				if form < 2 {
					n += c.Chunks[i+1][k]
				}
				e.U64(n)
			}
		}
	}
	if form >= 5 {
		e.U32(c.Priority)
		e.U8(c.Group)
	}
	e.U8(c.AdminOnly)
	e.U8(c.Mode)
	e.U8(c.ArchMode)
	e.U16(c.ArchDelay)
	if form >= 3 {
		e.U64(c.ArchMinSize)
	}
	e.U16(c.MinTrash)
	for i := range c.Parts {
		p := &c.Parts[i]
		e.U8(0)
		e.U8(uint8(len(p.Exprs)))
		if i >= meta.PartArch {
			e.U8(visibleEC(p.EC))
		}
		e.U32(p.Uniq)
		if form >= 4 {
			e.U8(p.Mode)
		}
	}
	for i := range c.Parts {
		for _, x := range c.Parts[i].Exprs {
			e.label(x)
			e.U16(0)
		}
	}
}

// PatternInfo is one entry of MATOCL_PATTERN_LIST (375), which begins with
// msgid:32, and of MATOCL_PATTERN_INFO (549).
//
//	glob:NAME uid:32 gid:32 priority:8 mask:8 class:NAME trash:16 set:8 clear:8   trash in hours
type PatternInfo struct {
	meta.Pattern
	ClassName []byte // aliases the packet; empty unless Mask has PatternClass
}

// Append appends the entry to an answer that was begun.
func (p *PatternInfo) Append(e *Encoder) {
	e.Name([]byte(p.Glob))
	e.U32(p.UID)
	e.U32(p.GID)
	e.U8(p.Priority)
	e.U8(p.Mask)
	e.Name(p.ClassName)
	e.U16(p.TrashHours)
	e.U8(p.SetEattr)
	e.U8(p.ClearEattr)
}

// Decode reads one entry.
func (p *PatternInfo) Decode(d *Decoder) error {
	p.Glob, p.UID, p.GID, p.Priority, p.Mask = string(d.Name()), d.U32(), d.U32(), d.U8(), d.U8()
	p.ClassName, p.TrashHours, p.SetEattr, p.ClearEattr = d.Name(), d.U16(), d.U8(), d.U8()
	return d.Err()
}

// TrashListRequest is CLTOMA_TRASH_LIST (380) and, with fewer fields,
// CLTOMA_SUSTAINED_LIST (388).
//
//	msgid:32 part:8 format:8 uid:32 from:32 to:32 [glob:NAME]
//	msgid:32 part:8 uid:32 [glob:NAME]
type TrashListRequest struct {
	MsgID    uint32
	Part     uint8 // of 256
	Format   uint8 // 0 or 1, which has attributes
	UID      uint32
	From, To meta.Time // bounds of its newest time, included
	Glob     []byte    // empty fits all; aliases the packet
}

// Append appends request t.
func (p *TrashListRequest) Append(e *Encoder, t Type) {
	e.Begin(t)
	e.U32(p.MsgID)
	e.U8(p.Part)
	if t == TrashList {
		e.U8(p.Format)
	}
	e.U32(p.UID)
	if t == TrashList {
		e.U32(uint32(p.From))
		e.U32(uint32(p.To))
	}
	e.Name(p.Glob)
	e.End()
}

// Decode reads request t.
func (p *TrashListRequest) Decode(d *Decoder, t Type) error {
	*p = TrashListRequest{MsgID: d.U32(), Part: d.U8()}
	if t == TrashList {
		p.Format = d.U8()
	}
	p.UID = d.U32()
	if t == TrashList {
		p.From, p.To = meta.Time(d.U32()), meta.Time(d.U32())
	}
	if d.Len() > 0 {
		p.Glob = d.Name()
	}
	return d.End()
}

// PathRequest is CLTOMA_PATH_LOOKUP (390). The answer is a PathReply or a status.
//
//	msgid:32 base:32 path:TEXT uid:32 GIDS
type PathRequest struct {
	MsgID uint32
	Base  meta.Inode
	Path  []byte // aliases the packet
	Identity
}

// Append appends the request.
func (p *PathRequest) Append(e *Encoder) {
	e.Begin(PathLookup)
	e.U32(p.MsgID)
	e.U32(uint32(p.Base))
	e.Text(p.Path)
	e.identity(&p.Identity)
	e.End()
}

// Decode reads the request.
func (p *PathRequest) Decode(d *Decoder) error {
	*p = PathRequest{MsgID: d.U32(), Base: meta.Inode(d.U32()), Path: d.Text()}
	p.Identity = d.counted()
	return d.End()
}

// PathReply is MATOCL_PATH_LOOKUP (391).
//
//	msgid:32 parent:32 name:NAME inode:32 ATTR
type PathReply struct {
	MsgID  uint32
	Parent meta.Inode // 0 and no Name: the path ends with "." or "..", or is empty
	Name   []byte     // aliases the packet
	Inode  meta.Inode // 0 and no attributes: there is no such name in Parent
	Attr   Attr
}

// Append appends the answer.
func (p *PathReply) Append(e *Encoder, client Release) {
	e.Begin(PathLookup.Reply())
	e.U32(p.MsgID)
	e.U32(uint32(p.Parent))
	e.Name(p.Name)
	e.U32(uint32(p.Inode))
	if p.Inode == 0 {
		e.Bytes(make([]byte, AttrSize(client)))
	} else {
		p.Attr.Append(e, client)
	}
	e.End()
}

// Decode reads the answer.
func (p *PathReply) Decode(d *Decoder, client Release) error {
	*p = PathReply{MsgID: d.U32(), Parent: meta.Inode(d.U32()), Name: d.Name(), Inode: meta.Inode(d.U32())}
	p.Attr.Decode(d, client)
	return d.End()
}
