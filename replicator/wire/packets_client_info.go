package wire

import (
	"fmt"

	"mfsstandby/changelog/meta"
)

// MasterInfo is MATOCL_INFO (511), as releases from 3.0.74 and, with more
// fields, from 4.26 answer.
//
//	release:32 memory:64 syscpu:64 usercpu:64 total:64 avail:64 free:64 trash:64 trashnodes:32 held:64 heldnodes:32
//	nodes:32 dirs:32 files:32 chunks:32 copies:32 markedcopies:32 stored:32 storetime:32 storestatus:8
//	state:32=FFFFFFFF leader:32 statechanged:32 version:64 exports:64 usec:64 applied:32
//
// In 4.x the copies are ordinary:32 coded8:32 coded4:32, and usec comes after
// metaid:64 storedversion:64 storedsum:32 copies:64 parts8:64 parts4:64 worth:64.
type MasterInfo struct {
	Release                     Release
	Memory                      uint64 // bytes
	SysCPU, UserCPU             uint64 // seconds of it per second, in 10^-9
	Total, Avail, Free          uint64 // bytes
	TrashSpace                  uint64
	TrashNodes                  uint32
	HeldSpace                   uint64 // of open files without a name
	HeldNodes                   uint32
	Nodes, Dirs, Files          uint32
	Chunks, Copies, Marked      uint32 // Marked: copies on disks marked for removal; before 4.x, as Copies
	Modern                      MasterChunks
	MetaID                      uint64
	Stored, StoreTime           uint32 // when metadata was stored last, Unix seconds, and how long it took, in ms
	StoreStatus                 uint8  // 0 stored in background, 2 in foreground, others are errors
	State, Leader, StateChanged uint32 // State is 0xFFFFFFFF; the others are 0 outside Pro
	Version                     meta.Version
	Exports                     uint64 // checksum of the rules
	Micros                      uint64 // Unix time
	Applied                     uint32 // Unix time up to which it has the leader's changes; 0 if it is the leader
}

// MasterChunks is what 4.x tells of chunks, by how they are stored.
type MasterChunks struct {
	Ordinary, Coded8, Coded4       uint32 // chunks
	Copies, Parts8, Parts4, Copied uint64 // copies, parts, and the copies that there would be without erasure codes
}

// NoMasterState is the State of a master that is not one of several.
const NoMasterState = 0xFFFFFFFF

// Append appends the answer.
func (p *MasterInfo) Append(e *Encoder) {
	e.Begin(InfoMaster.Reply())
	e.U32(uint32(p.Release))
	for _, v := range [...]uint64{p.Memory, p.SysCPU, p.UserCPU, p.Total, p.Avail, p.Free, p.TrashSpace} {
		e.U64(v)
	}
	e.U32(p.TrashNodes)
	e.U64(p.HeldSpace)
	for _, v := range [...]uint32{p.HeldNodes, p.Nodes, p.Dirs, p.Files, p.Chunks} {
		e.U32(v)
	}
	if p.Release >= rel4_26 {
		e.U32(p.Modern.Ordinary)
		e.U32(p.Modern.Coded8)
		e.U32(p.Modern.Coded4)
	} else {
		e.U32(p.Copies)
		e.U32(p.Marked)
	}
	e.U32(p.Stored)
	e.U32(p.StoreTime)
	e.U8(p.StoreStatus)
	e.U32(p.State)
	e.U32(p.Leader)
	e.U32(p.StateChanged)
	e.U64(uint64(p.Version))
	e.U64(p.Exports)
	if p.Release >= rel4_26 {
		e.U64(p.MetaID)
		e.U64(0) // what was stored last is a file of the primary's
		e.U32(0)
		for _, v := range [...]uint64{p.Modern.Copies, p.Modern.Parts8, p.Modern.Parts4, p.Modern.Copied} {
			e.U64(v)
		}
	}
	e.U64(p.Micros)
	e.U32(p.Applied)
	e.End()
}

// Decode reads the answer.
func (p *MasterInfo) Decode(d *Decoder) error {
	p.Release = Release(d.U32())
	for _, v := range [...]*uint64{&p.Memory, &p.SysCPU, &p.UserCPU, &p.Total, &p.Avail, &p.Free, &p.TrashSpace} {
		*v = d.U64()
	}
	p.TrashNodes, p.HeldSpace = d.U32(), d.U64()
	p.Modern, p.MetaID = MasterChunks{}, 0
	chunks := []*uint32{&p.Copies, &p.Marked}
	if p.Release >= rel4_26 {
		chunks = []*uint32{&p.Modern.Ordinary, &p.Modern.Coded8, &p.Modern.Coded4}
	}
	for _, list := range [...][]*uint32{{&p.HeldNodes, &p.Nodes, &p.Dirs, &p.Files, &p.Chunks}, chunks, {&p.Stored, &p.StoreTime}} {
		for _, v := range list {
			*v = d.U32()
		}
	}
	p.StoreStatus = d.U8()
	p.State, p.Leader, p.StateChanged = d.U32(), d.U32(), d.U32()
	p.Version, p.Exports = meta.Version(d.U64()), d.U64()
	if p.Release >= rel4_26 {
		p.MetaID = d.U64()
		d.Bytes(8 + 4)
		for _, v := range [...]*uint64{&p.Modern.Copies, &p.Modern.Parts8, &p.Modern.Parts4, &p.Modern.Copied} {
			*v = d.U64()
		}
	}
	p.Micros, p.Applied = d.U64(), d.U32()
	return d.End()
}

// ModuleInfo is ANTOCL_MODULE_INFO (531).
//
//	[msgid:32] type:8 release:32 0:16 metaid:64 leader:32 leaderport:16
type ModuleInfo struct {
	Numbered   bool
	MsgID      uint32
	Type       uint8 // ModuleMaster
	Release    Release
	MetaID     uint64
	Leader     uint32
	LeaderPort uint16
}

// ModuleMaster is the Type of a master.
const ModuleMaster = 1

// Append appends the answer.
func (p *ModuleInfo) Append(e *Encoder) {
	e.Begin(InfoModule.Reply())
	if p.Numbered {
		e.U32(p.MsgID)
	}
	e.U8(p.Type)
	e.U32(uint32(p.Release))
	e.U16(0)
	e.U64(p.MetaID)
	e.U32(p.Leader)
	e.U16(p.LeaderPort)
	e.End()
}

// Decode reads the answer.
func (p *ModuleInfo) Decode(d *Decoder) error {
	*p = ModuleInfo{Numbered: d.Len() == 25}
	if p.Numbered {
		p.MsgID = d.U32()
	}
	p.Type, p.Release = d.U8(), Release(d.U32())
	d.U16()
	p.MetaID, p.Leader, p.LeaderPort = d.U64(), d.U32(), d.U16()
	return d.End()
}

// ServerInfo is one entry of MATOCL_CSERV_LIST (501): a chunkserver. The
// answer is a list of them, without head.
//
//	flags:8 release:24 [ip:32 since 4.26] ip:32 port:16 id:16 used:64 total:64 chunks:32 markedused:64 markedtotal:64 markedchunks:32
//	errors:32 load:32 grace:32 labels:32 rebalance:8
type ServerInfo struct {
	Flags                   uint8   // Server* bits
	Release                 Release // without the highest byte; 0 when not connected
	IP                      uint32
	Port, ID                uint16
	Used, Total             uint64 // bytes
	Chunks                  uint32
	MarkedUsed, MarkedTotal uint64 // on disks marked for removal
	MarkedChunks            uint32
	Errors, Load            uint32
	Grace                   uint32 // 0, seconds, or one of two marks
	Labels                  uint32
	Rebalance               uint8
	Modern                  bool // the form since 4.26, where the first address is the one that it told
}

// Bits of ServerInfo.Flags.
const (
	ServerDisconnected    = 0x01
	ServerMaintenance     = 0x02
	ServerTempMaintenance = 0x04
)

// Append appends the entry to an answer that was begun.
func (p *ServerInfo) Append(e *Encoder) {
	e.U32(uint32(p.Flags)<<24 | uint32(p.Release)&0xFFFFFF)
	if p.Modern {
		e.U32(p.IP)
	}
	e.U32(p.IP)
	e.U16(p.Port)
	e.U16(p.ID)
	e.U64(p.Used)
	e.U64(p.Total)
	e.U32(p.Chunks)
	e.U64(p.MarkedUsed)
	e.U64(p.MarkedTotal)
	e.U32(p.MarkedChunks)
	e.U32(p.Errors)
	e.U32(p.Load)
	e.U32(p.Grace)
	e.U32(p.Labels)
	e.U8(p.Rebalance)
}

// Decode reads one entry; set Modern before.
func (p *ServerInfo) Decode(d *Decoder) error {
	first := d.U32()
	p.Flags, p.Release = uint8(first>>24), Release(first&0xFFFFFF)
	if p.Modern {
		d.U32()
	}
	p.IP, p.Port, p.ID = d.U32(), d.U16(), d.U16()
	p.Used, p.Total, p.Chunks = d.U64(), d.U64(), d.U32()
	p.MarkedUsed, p.MarkedTotal, p.MarkedChunks = d.U64(), d.U64(), d.U32()
	p.Errors, p.Load, p.Grace, p.Labels, p.Rebalance = d.U32(), d.U32(), d.U32(), d.U32(), d.U8()
	return d.Err()
}

// OpStats is how many kinds of operation a master counts per session: statfs,
// getattr, setattr, lookup, mkdir, rmdir, symlink, readlink, mknod, unlink,
// rename, link, readdir, open, read, write.
const OpStats = 16

// maxOpStats bounds what other releases count: 4.59.2 has 28 kinds, of which the
// first are those above.
const maxOpStats = 64

// SessionInfo is one entry of MATOCL_SESSION_LIST (509), which begins with
// OpStats:16. The form is the mode of the request, 0 when it was empty.
//
//	mode 0, 1: session:32 ip:32 release:32 info:TEXT path:TEXT flags:8 USERS [LIMITS since 1] OPS OPS
//	mode 2..4: session:32 ip:32 release:32 open:32 sockets:8 expire:32 info:TEXT path:TEXT flags:8 [umask:16 since 3] USERS LIMITS [disables:32 since 4] OPS OPS
//	mode 5: as 4, with groups:16 in the place of the goals
//	TEXT is length:32 bytes, USERS rootuid:32 rootgid:32 mapuid:32 mapgid:32, LIMITS mingoal:8 maxgoal:8 mintrash:32 maxtrash:32
type SessionInfo struct {
	Session            uint32
	IP                 uint32
	Release            Release
	OpenFiles          uint32
	Sockets            uint8
	Expire             uint32 // seconds; 0xFFFFFFFF while connected
	Info, Path         []byte // alias the packet; the path begins with '/', or is "." for the trash
	Flags              uint8
	Umask              uint16
	RootUID, RootGID   uint32
	MapUID, MapGID     uint32
	MinGoal, MaxGoal   uint8
	Groups             uint16
	MinTrash, MaxTrash uint32
	Disables           uint32
	Current, LastHour  [OpStats]uint32
}

// Append appends the entry to an answer that was begun.
func (p *SessionInfo) Append(e *Encoder, mode uint8) {
	e.U32(p.Session)
	e.U32(p.IP)
	e.U32(uint32(p.Release))
	if mode >= 2 {
		e.U32(p.OpenFiles)
		e.U8(p.Sockets)
		e.U32(p.Expire)
	}
	e.Text(p.Info)
	e.Text(p.Path)
	e.U8(p.Flags)
	if mode >= 3 {
		e.U16(p.Umask)
	}
	for _, v := range [...]uint32{p.RootUID, p.RootGID, p.MapUID, p.MapGID} {
		e.U32(v)
	}
	switch {
	case mode >= 5:
		e.U16(p.Groups)
	case mode >= 1:
		e.U8(p.MinGoal)
		e.U8(p.MaxGoal)
	}
	if mode >= 1 {
		e.U32(p.MinTrash)
		e.U32(p.MaxTrash)
	}
	if mode >= 4 {
		e.U32(p.Disables)
	}
	for _, v := range p.Current {
		e.U32(v)
	}
	for _, v := range p.LastHour {
		e.U32(v)
	}
}

// Decode reads one entry.
func (p *SessionInfo) Decode(d *Decoder, mode uint8) error { return p.DecodeOf(d, mode, OpStats) }

// DecodeOf reads one entry of an answer that has stats kinds of operations, and
// keeps the first of them.
func (p *SessionInfo) DecodeOf(d *Decoder, mode uint8, stats uint16) error {
	if stats < OpStats || stats > maxOpStats {
		d.Fail(fmt.Errorf("sessions with %d kinds of operations", stats))
	}
	*p = SessionInfo{Session: d.U32(), IP: d.U32(), Release: Release(d.U32())}
	if mode >= 2 {
		p.OpenFiles, p.Sockets, p.Expire = d.U32(), d.U8(), d.U32()
	}
	p.Info, p.Path, p.Flags = d.Text(), d.Text(), d.U8()
	if mode >= 3 {
		p.Umask = d.U16()
	}
	p.RootUID, p.RootGID, p.MapUID, p.MapGID = d.U32(), d.U32(), d.U32(), d.U32()
	switch {
	case mode >= 5:
		p.Groups = d.U16()
	case mode >= 1:
		p.MinGoal, p.MaxGoal = d.U8(), d.U8()
	}
	if mode >= 1 {
		p.MinTrash, p.MaxTrash = d.U32(), d.U32()
	}
	if mode >= 4 {
		p.Disables = d.U32()
	}
	for _, counts := range [...]*[OpStats]uint32{&p.Current, &p.LastHour} {
		for i := range counts {
			counts[i] = d.U32()
		}
		d.take(4 * (uint64(stats) - OpStats))
	}
	return d.Err()
}

// ExportInfo is one entry of MATOCL_EXPORTS_INFO (521). The form is the mode
// of the request, 0 when it was empty.
//
//	from:32 to:32 path:TEXT minrelease:32 extra:8 flags:8 [umask:16 since 2] rootuid:32 rootgid:32 mapuid:32 mapgid:32
//	[mingoal:8 maxgoal:8 mintrash:32 maxtrash:32 since 1] [disables:32 since 3]
//
// Since 4 groups:16 is in the place of the goals.
type ExportInfo struct {
	From, To           uint32
	Path               []byte // aliases the packet; begins with '/', or is "." for the trash
	MinRelease         Release
	Extra              uint8 // 1: all directories below as well; 2: has a password
	Flags              uint8 // Session* bits
	Umask              uint16
	RootUID, RootGID   uint32
	MapUID, MapGID     uint32
	MinGoal, MaxGoal   uint8
	Groups             uint16
	MinTrash, MaxTrash uint32
	Disables           uint32
}

// Append appends the entry to an answer that was begun.
func (p *ExportInfo) Append(e *Encoder, mode uint8) {
	e.U32(p.From)
	e.U32(p.To)
	e.Text(p.Path)
	e.U32(uint32(p.MinRelease))
	e.U8(p.Extra)
	e.U8(p.Flags)
	if mode >= 2 {
		e.U16(p.Umask)
	}
	for _, v := range [...]uint32{p.RootUID, p.RootGID, p.MapUID, p.MapGID} {
		e.U32(v)
	}
	switch {
	case mode >= 4:
		e.U16(p.Groups)
	case mode >= 1:
		e.U8(p.MinGoal)
		e.U8(p.MaxGoal)
	}
	if mode >= 1 {
		e.U32(p.MinTrash)
		e.U32(p.MaxTrash)
	}
	if mode >= 3 {
		e.U32(p.Disables)
	}
}

// Decode reads one entry.
func (p *ExportInfo) Decode(d *Decoder, mode uint8) error {
	*p = ExportInfo{From: d.U32(), To: d.U32(), Path: d.Text(), MinRelease: Release(d.U32()), Extra: d.U8(), Flags: d.U8()}
	if mode >= 2 {
		p.Umask = d.U16()
	}
	p.RootUID, p.RootGID, p.MapUID, p.MapGID = d.U32(), d.U32(), d.U32(), d.U32()
	switch {
	case mode >= 4:
		p.Groups = d.U16()
	case mode >= 1:
		p.MinGoal, p.MaxGoal = d.U8(), d.U8()
	}
	if mode >= 1 {
		p.MinTrash, p.MaxTrash = d.U32(), d.U32()
	}
	if mode >= 3 {
		p.Disables = d.U32()
	}
	return d.Err()
}

// QuotaInfo is one entry of MATOCL_QUOTA_INFO (519).
//
//	inode:32 path:TEXT grace:32 exceeded:8 flags:8 block:32 LIMITS LIMITS LIMITS
type QuotaInfo struct {
	Inode            meta.Inode
	Path             []byte // with leading slash; aliases the packet
	Grace            uint32 // seconds
	Exceeded         uint8  // 1; since 4.51, to a request with a mode, plus 2 where Grace is that of the configuration
	Flags            uint8  // low half soft, high half hard: inodes, length, size, realsize
	Block            uint32 // seconds until soft limits are as hard ones; 0xFFFFFFFF when not exceeded
	Soft, Hard, Used Limits // limits that are not set are 0
}

// Append appends the entry to an answer that was begun.
func (p *QuotaInfo) Append(e *Encoder) {
	e.U32(uint32(p.Inode))
	e.Text(p.Path)
	e.U32(p.Grace)
	e.U8(p.Exceeded)
	e.U8(p.Flags)
	e.U32(p.Block)
	p.Soft.append(e)
	p.Hard.append(e)
	p.Used.append(e)
}

// Decode reads one entry.
func (p *QuotaInfo) Decode(d *Decoder) error {
	p.Inode, p.Path, p.Grace = meta.Inode(d.U32()), d.Text(), d.U32()
	p.Exceeded, p.Flags, p.Block = d.U8(), d.U8(), d.U32()
	p.Soft.decode(d)
	p.Hard.decode(d)
	p.Used.decode(d)
	return d.Err()
}
