package wire

import (
	"fmt"

	"mfsstandby/changelog/meta"
)

// Check is CLTOMA_FUSE_CHECK (440).
//
//	msgid:32 [mode:8] inode:32 [index:32]   mode, and so one byte more, since 4.x
type Check struct {
	MsgID    uint32
	Mode     uint8 // Check* modes; 0 is the form before 4.x
	Inode    meta.Inode
	HasIndex bool // asks for the copies of one chunk, else for counts of all
	Index    uint32
}

// Modes of a Check, which choose the form of the answer.
const (
	CheckParts   = 1 // with an index: copies have the number of their part
	CheckStored  = 2 // without: counts by what is stored, in one byte
	CheckStored4 = 3 // in two bytes, with erasure codes of four parts
	CheckTime    = 4 // as CheckParts, with the time of change
)

// Append appends the request.
func (p *Check) Append(e *Encoder) {
	e.Begin(FuseCheck)
	e.U32(p.MsgID)
	if p.Mode != 0 {
		e.U8(p.Mode)
	}
	e.U32(uint32(p.Inode))
	if p.HasIndex {
		e.U32(p.Index)
	}
	e.End()
}

// Decode reads the request.
func (p *Check) Decode(d *Decoder) error {
	*p = Check{MsgID: d.U32()}
	if d.Len()%4 == 1 {
		p.Mode = d.U8()
	}
	p.Inode = meta.Inode(d.U32())
	if p.HasIndex = d.Len() > 0; p.HasIndex {
		p.Index = d.U32()
	}
	return d.End()
}

// Known tells whether there is an answer to a request of this form and mode.
func (p *Check) Known() bool {
	switch p.Mode {
	case CheckParts, CheckTime:
		return p.HasIndex
	case CheckStored, CheckStored4:
		return !p.HasIndex
	}
	return p.Mode == 0
}

// AppendStored appends the answer to a request of mode CheckStored or
// CheckStored4 of which it is only known how many chunks there are, all without
// a copy, and how many slots have no chunk:
//
//	msgid:32 N*[stored:8 count:32]   with CheckStored4 stored:16
//
// stored is 0 for a chunk that is not there, 1 for none, and else 2 plus the
// copies plus 11 times the parts of an erasure code.
func (p *Check) AppendStored(e *Encoder, without, holes uint32) {
	e.Begin(FuseCheck.Reply())
	e.U32(p.MsgID)
	for stored, n := range [...]uint32{1: holes, 2: without} {
		if n == 0 {
			continue
		}
		if p.Mode == CheckStored4 {
			e.U16(uint16(stored))
		} else {
			e.U8(uint8(stored))
		}
		e.U32(n)
	}
	e.End()
}

// CheckReply is MATOCL_FUSE_CHECK (441) to a request without index.
//
//	msgid:32 12*[count:32]                  clients since 3.0.30
//	msgid:32 11*[count:32]                  since 1.6.23
//	msgid:32 N*[copies:8 count:16]          before
type CheckReply struct {
	MsgID  uint32
	Counts [12]uint32 // chunks with 0 to 9 and with 10 or more valid copies; slots without chunk
}

// Append appends the answer.
func (p *CheckReply) Append(e *Encoder, client Release) {
	e.Begin(FuseCheck.Reply())
	e.U32(p.MsgID)
	switch {
	case client >= rel3_0_30:
		for _, n := range p.Counts {
			e.U32(n)
		}
	case client >= rel1_6_23:
		for _, n := range p.Counts[:11] {
			e.U32(n)
		}
	default:
		for copies, n := range p.Counts[:11] {
			if n > 0 {
				e.U8(uint8(copies))
				e.U16(uint16(min(n, 0xFFFF)))
			}
		}
	}
	e.End()
}

// Decode reads the answer.
func (p *CheckReply) Decode(d *Decoder, client Release) error {
	*p = CheckReply{MsgID: d.U32()}
	n := 0
	switch {
	case client >= rel3_0_30:
		n = 12
	case client >= rel1_6_23:
		n = 11
	default:
		for d.Len() > 0 {
			copies, count := d.U8(), d.U16()
			if copies > 10 {
				d.Fail(fmt.Errorf("count of chunks with %d copies", copies))
			} else {
				p.Counts[copies] = uint32(count)
			}
		}
	}
	for i := range n {
		p.Counts[i] = d.U32()
	}
	return d.End()
}

// CheckedChunk is MATOCL_FUSE_CHECK (441) to a request with an index. To
// append an answer: Begin, Add for each copy, Encoder.End.
//
//	msgid:32 chunk:64 version:32 N*[ip:32 port:16 state:8]
type CheckedChunk struct {
	MsgID   uint32
	Chunk   meta.ChunkID
	Version uint32
	Copies  []byte // what Decode found, 7 bytes each; aliases the packet
}

// States of a copy in a CheckedChunk.
const (
	CopyValid          = 0
	CopyMarked         = 1 // on a disk marked for removal
	CopyWrongVersion   = 2
	CopyMarkedAndWrong = 3
	CopyInvalid        = 4
)

// Begin begins the answer.
func (p *CheckedChunk) Begin(e *Encoder) {
	e.Begin(FuseCheck.Reply())
	e.U32(p.MsgID)
	e.U64(uint64(p.Chunk))
	e.U32(p.Version)
}

// Add appends a copy to an answer that was begun.
func (p *CheckedChunk) Add(e *Encoder, ip uint32, port uint16, state uint8) {
	e.U32(ip)
	e.U16(port)
	e.U8(state)
}

// Decode reads the answer.
func (p *CheckedChunk) Decode(d *Decoder) error {
	p.MsgID, p.Chunk, p.Version = d.U32(), meta.ChunkID(d.U64()), d.U32()
	if d.Len()%7 != 0 {
		d.Fail(errForm("list of copies", d.Len()))
	}
	p.Copies = d.Rest()
	return d.End()
}

// DirStats is MATOCL_FUSE_GETDIRSTATS (463); mounts get the long form.
//
//	msgid:32 inodes:32 dirs:32 files:32 0:32 0:32 chunks:32 0:32 0:32 length:64 size:64 realsize:64
//	msgid:32 inodes:32 dirs:32 files:32 chunks:32 length:64 size:64 realsize:64   on tools' connections
type DirStats struct {
	MsgID uint32
	Short bool
	Stats meta.Stats
}

// Append appends the answer.
func (p *DirStats) Append(e *Encoder) {
	e.Begin(FuseGetDirStats.Reply())
	e.U32(p.MsgID)
	e.U32(p.Stats.Inodes)
	e.U32(p.Stats.Dirs)
	e.U32(p.Stats.Files)
	if !p.Short {
		e.U64(0)
	}
	e.U32(p.Stats.Chunks)
	if !p.Short {
		e.U64(0)
	}
	e.U64(p.Stats.Length)
	e.U64(p.Stats.Size)
	e.U64(p.Stats.RealSize)
	e.End()
}

// Decode reads the answer.
func (p *DirStats) Decode(d *Decoder) error {
	*p = DirStats{Short: d.Len() == 44, MsgID: d.U32()}
	p.Stats.Inodes, p.Stats.Dirs, p.Stats.Files = d.U32(), d.U32(), d.U32()
	if !p.Short {
		d.U64()
	}
	p.Stats.Chunks = d.U32()
	if !p.Short {
		d.U64()
	}
	p.Stats.Length, p.Stats.Size, p.Stats.RealSize = d.U64(), d.U64(), d.U64()
	return d.End()
}

// Repair is CLTOMA_FUSE_REPAIR (466), answered by CountsReply.
//
//	msgid:32 inode:32 uid:32 GIDS   (or one gid:32)
type Repair struct {
	MsgID uint32
	Inode meta.Inode
	Identity
}

// Append appends the request.
func (p *Repair) Append(e *Encoder) {
	e.Begin(FuseRepair)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.identity(&p.Identity)
	e.End()
}

// Decode reads the request.
func (p *Repair) Decode(d *Decoder) error {
	p.MsgID, p.Inode = d.U32(), meta.Inode(d.U32())
	p.Identity = d.identity(0)
	return d.End()
}

// Bits of AppendSlice.Flags.
const (
	SliceFromEnd = 0x01 // From counts back from the source's end
	SliceToEnd   = 0x02 // so does To
)

// AppendSlice is CLTOMA_FUSE_APPEND_SLICE (438); the answer is a status. The
// form with a slice is the one of odd length.
//
//	msgid:32 flags:8 inode:32 source:32 from:32 to:32 uid:32 GIDS
//	msgid:32 inode:32 source:32 uid:32 GIDS                        (or one gid:32) before 3.0.91
type AppendSlice struct {
	MsgID         uint32
	Flags         uint8
	Inode, Source meta.Inode
	From, To      uint32 // chunks, To excluded; 0, 0: the whole file
	Identity
}

// Append appends the request.
func (p *AppendSlice) Append(e *Encoder) {
	e.Begin(FuseAppendSlice)
	e.U32(p.MsgID)
	e.U8(p.Flags)
	e.U32(uint32(p.Inode))
	e.U32(uint32(p.Source))
	e.U32(p.From)
	e.U32(p.To)
	e.identity(&p.Identity)
	e.End()
}

// Decode reads the request.
func (p *AppendSlice) Decode(d *Decoder) error {
	slice := d.Len()%2 == 1
	*p = AppendSlice{MsgID: d.U32()}
	if slice {
		p.Flags = d.U8()
	}
	p.Inode, p.Source = meta.Inode(d.U32()), meta.Inode(d.U32())
	if slice {
		p.From, p.To = d.U32(), d.U32()
		p.Identity = d.counted()
	} else {
		p.Identity = d.identity(0)
	}
	return d.End()
}

// Bits of Snapshot.Mode.
const (
	SnapshotOverwrite = 0x01
	SnapshotLikeCp    = 0x02 // attributes as cp makes them
	SnapshotForce     = 0x04
	SnapshotHardLinks = 0x08
	SnapshotDelete    = 0x80
)

// Snapshot is CLTOMA_FUSE_SNAPSHOT (468); the answer is a status.
//
//	msgid:32 inode:32 parent:32 name:NAME uid:32 GIDS mode:8 umask:16   (or one gid:32)
//	msgid:32 inode:32 parent:32 name:NAME uid:32 gid:32 mode:8
type Snapshot struct {
	MsgID  uint32
	Inode  meta.Inode // what is copied
	Parent meta.Inode // where to
	Name   []byte     // aliases the packet
	Identity
	Mode  uint8
	Umask uint16
}

// Append appends the request.
func (p *Snapshot) Append(e *Encoder) {
	e.Begin(FuseSnapshot)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U32(uint32(p.Parent))
	e.Name(p.Name)
	e.identity(&p.Identity)
	e.U8(p.Mode)
	e.U16(p.Umask)
	e.End()
}

// Decode reads the request.
func (p *Snapshot) Decode(d *Decoder) error {
	*p = Snapshot{MsgID: d.U32(), Inode: meta.Inode(d.U32()), Parent: meta.Inode(d.U32()), Name: d.Name()}
	if d.Len() == 9 { // without umask the master does not copy like cp
		p.Identity = d.single()
		p.Mode = d.U8() &^ SnapshotLikeCp
	} else {
		p.Identity = d.identity(3)
		p.Mode, p.Umask = d.U8(), d.U16()
	}
	return d.End()
}

// Limits are those of a quota, or what is used.
type Limits struct {
	Inodes                 uint32
	Length, Size, RealSize uint64
}

func (l *Limits) append(e *Encoder) {
	e.U32(l.Inodes)
	e.U64(l.Length)
	e.U64(l.Size)
	e.U64(l.RealSize)
}

func (l *Limits) decode(d *Decoder) {
	l.Inodes, l.Length, l.Size, l.RealSize = d.U32(), d.U64(), d.U64(), d.U64()
}

// QuotaControl is CLTOMA_FUSE_QUOTACONTROL (476).
//
//	msgid:32 inode:32 flags:8                               read (flags 0) or delete
//	msgid:32 inode:32 flags:8 [grace:32] LIMITS LIMITS      65 or 69 bytes
type QuotaControl struct {
	MsgID      uint32
	Inode      meta.Inode
	Flags      uint8 // low half soft, high half hard: inodes, length, size, realsize
	Set        bool  // the second form
	Grace      uint32
	Soft, Hard Limits
}

// Append appends the request.
func (p *QuotaControl) Append(e *Encoder) {
	e.Begin(FuseQuotaControl)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U8(p.Flags)
	if p.Set {
		e.U32(p.Grace)
		p.Soft.append(e)
		p.Hard.append(e)
	}
	e.End()
}

// Decode reads the request.
func (p *QuotaControl) Decode(d *Decoder) error {
	length := d.Len()
	*p = QuotaControl{MsgID: d.U32(), Inode: meta.Inode(d.U32()), Flags: d.U8(), Set: length > 9}
	if p.Set {
		if length != 65 {
			p.Grace = d.U32()
		}
		p.Soft.decode(d)
		p.Hard.decode(d)
	}
	return d.End()
}

// QuotaReply is MATOCL_FUSE_QUOTACONTROL (477).
//
//	msgid:32 flags:8 [default:8] [grace:32] LIMITS LIMITS LIMITS   grace for clients since 3.0.9, default since 4.51
type QuotaReply struct {
	MsgID            uint32
	Flags            uint8
	Default          uint8  // 1: Grace is that of the master's configuration
	Grace            uint32 // seconds
	Soft, Hard, Used Limits
}

// Append appends the answer.
func (p *QuotaReply) Append(e *Encoder, client Release) {
	e.Begin(FuseQuotaControl.Reply())
	e.U32(p.MsgID)
	e.U8(p.Flags)
	if client >= rel4_51 {
		e.U8(p.Default)
	}
	if client >= rel3_0_9 {
		e.U32(p.Grace)
	}
	p.Soft.append(e)
	p.Hard.append(e)
	p.Used.append(e)
	e.End()
}

// Decode reads the answer.
func (p *QuotaReply) Decode(d *Decoder, client Release) error {
	*p = QuotaReply{MsgID: d.U32(), Flags: d.U8()}
	if client >= rel4_51 {
		p.Default = d.U8()
	}
	if client >= rel3_0_9 {
		p.Grace = d.U32()
	}
	p.Soft.decode(d)
	p.Hard.decode(d)
	p.Used.decode(d)
	return d.End()
}

// What ArchCtl asks for.
const (
	ArchClear = 0
	ArchSet   = 1
	ArchGet   = 2
)

// ArchCtl is CLTOMA_FUSE_ARCHCTL (496).
//
//	msgid:32 inode:32 command:8 [uid:32]   uid unless the command is ArchGet
type ArchCtl struct {
	MsgID   uint32
	Inode   meta.Inode
	Command uint8
	UID     uint32
}

// Append appends the request.
func (p *ArchCtl) Append(e *Encoder) {
	e.Begin(FuseArchCtl)
	e.U32(p.MsgID)
	e.U32(uint32(p.Inode))
	e.U8(p.Command)
	if p.Command != ArchGet {
		e.U32(p.UID)
	}
	e.End()
}

// Decode reads the request.
func (p *ArchCtl) Decode(d *Decoder) error {
	*p = ArchCtl{MsgID: d.U32(), Inode: meta.Inode(d.U32()), Command: d.U8()}
	if p.Command != ArchGet {
		p.UID = d.U32()
	}
	return d.End()
}

// ArchReply is MATOCL_FUSE_ARCHCTL (497) to ArchGet.
//
//	msgid:32 archived:64 kept:64 archivednodes:32 mixednodes:32 keptnodes:32
type ArchReply struct {
	MsgID                                uint32
	Archived, Kept                       uint64 // chunks
	ArchivedNodes, MixedNodes, KeptNodes uint32
}

// Append appends the answer.
func (p *ArchReply) Append(e *Encoder) {
	e.Begin(FuseArchCtl.Reply())
	e.U32(p.MsgID)
	e.U64(p.Archived)
	e.U64(p.Kept)
	e.U32(p.ArchivedNodes)
	e.U32(p.MixedNodes)
	e.U32(p.KeptNodes)
	e.End()
}

// Decode reads the answer.
func (p *ArchReply) Decode(d *Decoder) error {
	p.MsgID, p.Archived, p.Kept = d.U32(), d.U64(), d.U64()
	p.ArchivedNodes, p.MixedNodes, p.KeptNodes = d.U32(), d.U32(), d.U32()
	return d.End()
}

// ArchChanged is MATOCL_FUSE_ARCHCTL (497) to other commands.
//
//	msgid:32 changed:64 unchanged:64 refused:32
type ArchChanged struct {
	MsgID              uint32
	Changed, Unchanged uint64 // chunks
	Refused            uint32 // nodes
}

// Append appends the answer.
func (p *ArchChanged) Append(e *Encoder) {
	e.Begin(FuseArchCtl.Reply())
	e.U32(p.MsgID)
	e.U64(p.Changed)
	e.U64(p.Unchanged)
	e.U32(p.Refused)
	e.End()
}

// Decode reads the answer.
func (p *ArchChanged) Decode(d *Decoder) error {
	p.MsgID, p.Changed, p.Unchanged, p.Refused = d.U32(), d.U64(), d.U64(), d.U32()
	return d.End()
}
