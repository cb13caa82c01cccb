package wire

import (
	"mfsstandby/changelog/meta"
)

// InfoRequest is an information request with one optional byte that chooses a
// form of the answer: InfoSessions, InfoExports, InfoTreeTest, InfoMatrix,
// InfoMissing. Without it the form is 0, except for InfoMatrix and
// InfoTreeTest, where its mere presence counts.
//
//	[mode:8]
type InfoRequest struct {
	HasMode bool
	Mode    uint8
}

// Append appends request t.
func (p *InfoRequest) Append(e *Encoder, t Type) {
	e.Begin(t)
	if p.HasMode {
		e.U8(p.Mode)
	}
	e.End()
}

// Decode reads the request.
func (p *InfoRequest) Decode(d *Decoder) error {
	*p = InfoRequest{HasMode: d.Len() > 0}
	if p.HasMode {
		p.Mode = d.U8()
	}
	return d.End()
}

// ListRequest asks for the open files of a session (InfoOpenFiles) or for the
// locks of an inode (InfoLocks); 0 stands for all. The answer is numbered as
// the request is.
//
//	[msgid:32] of:32
type ListRequest struct {
	Numbered bool
	MsgID    uint32
	Of       uint32
}

// Append appends request t.
func (p *ListRequest) Append(e *Encoder, t Type) {
	e.Begin(t)
	if p.Numbered {
		e.U32(p.MsgID)
	}
	e.U32(p.Of)
	e.End()
}

// Decode reads the request.
func (p *ListRequest) Decode(d *Decoder) error {
	*p = ListRequest{Numbered: d.Len() > 4}
	if p.Numbered {
		p.MsgID = d.U32()
	}
	p.Of = d.U32()
	return d.End()
}

// Begin begins the answer to request t: Numbers follow for InfoOpenFiles
// (session and inode, or only inodes of one session), LockInfo for InfoLocks.
func (p *ListRequest) Begin(e *Encoder, t Type) {
	e.Begin(t.Reply())
	if p.Numbered {
		e.U32(p.MsgID)
	}
}

// LockInfo is one entry of MATOCL_LIST_ACQUIRED_LOCKS (535).
//
//	[inode:32] session:32 owner:64 pid:32 start:64 end:64 type:8   inode when locks of all were asked for
type LockInfo struct {
	Inode      meta.Inode
	Session    uint32
	Owner      uint64
	PID        uint32 // 0 for flock, like Start and End
	Start, End uint64
	Type       uint8 // PosixTypeRead or PosixTypeWrite
}

// Append appends the entry to an answer that was begun.
func (p *LockInfo) Append(e *Encoder, all bool) {
	if all {
		e.U32(uint32(p.Inode))
	}
	e.U32(p.Session)
	e.U64(p.Owner)
	e.U32(p.PID)
	e.U64(p.Start)
	e.U64(p.End)
	e.U8(p.Type)
}

// Decode reads one entry.
func (p *LockInfo) Decode(d *Decoder, all bool) error {
	if all {
		p.Inode = meta.Inode(d.U32())
	}
	p.Session, p.Owner, p.PID, p.Start, p.End, p.Type = d.U32(), d.U64(), d.U32(), d.U64(), d.U64(), d.U8()
	return d.Err()
}

// PathsOfInode is one entry of MATOCL_MASS_RESOLVE_PATHS (537), the answer to
// a list of inodes.
//
//	inode:32 size:32 N*[length:32 path]
type PathsOfInode struct {
	Inode meta.Inode
	Paths []byte // as in PathsReply; aliases the packet
}

// Append appends the entry to an answer that was begun.
func (p *PathsOfInode) Append(e *Encoder) {
	e.U32(uint32(p.Inode))
	e.Text(p.Paths)
}

// Decode reads one entry.
func (p *PathsOfInode) Decode(d *Decoder) error {
	p.Inode, p.Paths = meta.Inode(d.U32()), d.Text()
	return d.Err()
}

// MissingChunk is one entry of MATOCL_MISSING_CHUNKS (545).
//
//	chunk:64 inode:32 index:32 [type:8]   type when the request had a mode other than 0
type MissingChunk struct {
	Chunk meta.ChunkID
	Inode meta.Inode
	Index uint32
	Type  uint8
}

// Append appends the entry to an answer that was begun.
func (p *MissingChunk) Append(e *Encoder, mode uint8) {
	e.U64(uint64(p.Chunk))
	e.U32(uint32(p.Inode))
	e.U32(p.Index)
	if mode != 0 {
		e.U8(p.Type)
	}
}

// Decode reads one entry.
func (p *MissingChunk) Decode(d *Decoder, mode uint8) error {
	p.Chunk, p.Inode, p.Index, p.Type = meta.ChunkID(d.U64()), meta.Inode(d.U32()), d.U32(), 0
	if mode != 0 {
		p.Type = d.U8()
	}
	return d.Err()
}

// NodeRequest is CLTOMA_NODE_INFO (546).
//
//	[msgid:32] inode:32 max:32 cursor:64
type NodeRequest struct {
	Numbered bool
	MsgID    uint32
	Inode    meta.Inode
	Max      uint32 // entries wanted
	Cursor   uint64 // 0, or Next of the answer before
}

// Append appends the request.
func (p *NodeRequest) Append(e *Encoder) {
	e.Begin(InfoNode)
	if p.Numbered {
		e.U32(p.MsgID)
	}
	e.U32(uint32(p.Inode))
	e.U32(p.Max)
	e.U64(p.Cursor)
	e.End()
}

// Decode reads the request.
func (p *NodeRequest) Decode(d *Decoder) error {
	*p = NodeRequest{Numbered: d.Len() > 16}
	if p.Numbered {
		p.MsgID = d.U32()
	}
	p.Inode, p.Max, p.Cursor = meta.Inode(d.U32()), d.U32(), d.U64()
	return d.End()
}

// Kinds of MATOCL_NODE_INFO (547), the answer to NodeRequest. To append one:
// NodeRequest.Begin with the kind, then what the kind has, then Encoder.End;
// the status of an error follows Encoder.Begin (and the msgid) alone.
//
//	[msgid:32] status:8                                                     an error
//	[msgid:32] kind:16=0
//	[msgid:32] kind:16=1 next:64 N*[inode:32]
//	[msgid:32] kind:16=2 next:64 length:64 N*[chunk:64 size:32 copies:8]
//	[msgid:32] kind:16=3 next:64 length:64 N*[chunk:64 size:32 eighths:8]   since 4.0
const (
	NodeOther   = 0
	NodeDir     = 1
	NodeFile    = 2
	NodeEighths = 3
)

// Begin begins the answer.
func (p *NodeRequest) Begin(e *Encoder, kind uint16) {
	e.Begin(InfoNode.Reply())
	if p.Numbered {
		e.U32(p.MsgID)
	}
	e.U16(kind)
}

// AppendStatus appends an answer that is an error.
func (p *NodeRequest) AppendStatus(e *Encoder, status meta.Status) {
	e.Begin(InfoNode.Reply())
	if p.Numbered {
		e.U32(p.MsgID)
	}
	e.U8(uint8(status))
	e.End()
}

// ChartRequest is CLTOAN_CHART (504) and CLTOAN_CHART_DATA (506).
//
//	chart:32 [width:16 height:16]   504
//	chart:32 [max:32]               506
type ChartRequest struct {
	Chart         uint32
	Sized         bool
	Width, Height uint16 // the halves of Max for 506
	Multi         uint8  // not 0: all series of a chart with their units are wanted; since 4.31
}

// Max returns how many entries InfoChartData asks for.
func (p *ChartRequest) Max() uint32 {
	if !p.Sized {
		return 0xFFFFFFFF
	}
	return uint32(p.Width)<<16 | uint32(p.Height)
}

// Append appends request t.
func (p *ChartRequest) Append(e *Encoder, t Type) {
	e.Begin(t)
	e.U32(p.Chart)
	if p.Sized {
		e.U16(p.Width)
		e.U16(p.Height)
		if p.Multi != 0 {
			e.U8(p.Multi)
		}
	}
	e.End()
}

// Decode reads the request.
func (p *ChartRequest) Decode(d *Decoder) error {
	*p = ChartRequest{Chart: d.U32(), Sized: d.Len() > 0}
	if p.Sized {
		p.Width, p.Height = d.U16(), d.U16()
	}
	if d.Len() > 0 {
		p.Multi = d.U8()
	}
	return d.End()
}

// TreeTest is MATOCL_FSTEST_INFO (513): what the pass over all files found.
//
//	start:32 end:32 files:32 short:32 missing:32 [missingtrash:32 missingheld:32] chunks:32 shortchunks:32 missingchunks:32 text:TEXT
type TreeTest struct {
	Long                               bool // the request had a byte
	Start, End                         uint32
	Files, Short, Missing              uint32
	MissingTrash, MissingHeld          uint32
	Chunks, ShortChunks, MissingChunks uint32
	Text                               []byte // aliases the packet
}

// Append appends the answer.
func (p *TreeTest) Append(e *Encoder) {
	e.Begin(InfoTreeTest.Reply())
	for _, v := range [...]uint32{p.Start, p.End, p.Files, p.Short, p.Missing} {
		e.U32(v)
	}
	if p.Long {
		e.U32(p.MissingTrash)
		e.U32(p.MissingHeld)
	}
	for _, v := range [...]uint32{p.Chunks, p.ShortChunks, p.MissingChunks} {
		e.U32(v)
	}
	e.Text(p.Text)
	e.End()
}

// Decode reads the answer; set Long before.
func (p *TreeTest) Decode(d *Decoder) error {
	*p = TreeTest{Long: p.Long}
	p.Start, p.End, p.Files, p.Short, p.Missing = d.U32(), d.U32(), d.U32(), d.U32(), d.U32()
	if p.Long {
		p.MissingTrash, p.MissingHeld = d.U32(), d.U32()
	}
	p.Chunks, p.ShortChunks, p.MissingChunks = d.U32(), d.U32(), d.U32()
	p.Text = d.Text()
	return d.End()
}

// MatrixSide is the number of rows and columns of a Matrix: 0 to 9, and 10 or
// more.
const MatrixSide = 11

// Matrix counts chunks by goal (row) and valid copies (column); part of
// MATOCL_CHUNKS_MATRIX (517).
//
//	progress:8 MATRIX MATRIX   all, and without copies marked for removal; the request was empty
//	MATRIX                     the request named one, 0 or 1
type Matrix [MatrixSide][MatrixSide]uint32

// Append appends the matrix to an answer that was begun.
func (m *Matrix) Append(e *Encoder) {
	for _, row := range m {
		for _, n := range row {
			e.U32(n)
		}
	}
}

// Decode reads the matrix.
func (m *Matrix) Decode(d *Decoder) {
	for i := range m {
		for j := range m[i] {
			m[i][j] = d.U32()
		}
	}
}

// SessionCommandRequest is CLTOMA_SESSION_COMMAND (526); the answer is a
// status without message id.
//
//	command:8 session:32
type SessionCommandRequest struct {
	Command uint8 // 0: remove a session whose client is gone
	Session uint32
}

// Append appends the request.
func (p *SessionCommandRequest) Append(e *Encoder) {
	e.Begin(SessionCommand)
	e.U8(p.Command)
	e.U32(p.Session)
	e.End()
}

// Decode reads the request.
func (p *SessionCommandRequest) Decode(d *Decoder) error {
	p.Command, p.Session = d.U8(), d.U32()
	return d.End()
}

// ServerCommandRequest is CLTOMA_CSSERV_COMMAND (524). The answer is a status
// without message id, or empty to the short form.
//
//	[command:8] ip:32 port:16
type ServerCommandRequest struct {
	Short   bool  // no command: remove
	Command uint8 // 0 remove, 1 back to work, 2 and 3 maintenance on and off, 4 temporary removal
	IP      uint32
	Port    uint16
}

// Append appends the request.
func (p *ServerCommandRequest) Append(e *Encoder) {
	e.Begin(ServerCommand)
	if !p.Short {
		e.U8(p.Command)
	}
	e.U32(p.IP)
	e.U16(p.Port)
	e.End()
}

// Decode reads the request.
func (p *ServerCommandRequest) Decode(d *Decoder) error {
	*p = ServerCommandRequest{Short: d.Len() == 6}
	if !p.Short {
		p.Command = d.U8()
	}
	p.IP, p.Port = d.U32(), d.U16()
	return d.End()
}

// NodeEntries reads the answer to a NodeRequest that has the given numbering.
// Entries are inodes of a directory, or [chunk:64 size:32 copies:8] of a file,
// unchecked.
func NodeEntries(payload []byte, numbered bool) (kind uint16, next, length uint64, entries []byte, err error) {
	d := NewDecoder(payload)
	if numbered {
		d.U32()
	}
	if d.Len() == 1 {
		return 0, 0, 0, nil, meta.Status(d.U8())
	}
	switch kind = d.U16(); kind {
	case NodeDir:
		next = d.U64()
	case NodeFile:
		next, length = d.U64(), d.U64()
	}
	entries = d.Rest()
	return kind, next, length, entries, d.End()
}
