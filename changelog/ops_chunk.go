package changelog

import "mfsstandby/changelog/meta"

// ChunkAdd makes a chunk that no file holds, as a chunkserver has it. Since
// 2.0:
//
//	CHUNKADD(chunkid:u64,version:u32,lockedto:u32)
type ChunkAdd struct {
	Chunk        meta.ChunkID
	ChunkVersion uint32
	LockedTo     meta.Time
}

// Name is "CHUNKADD".
func (*ChunkAdd) Name() string { return "CHUNKADD" }

func (op *ChunkAdd) parse(l *lexer) {
	op.Chunk = l.chunk('(')
	op.ChunkVersion = l.u32(',')
	op.LockedTo = l.time(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *ChunkAdd) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Chunk))
	b = appendNum(b, ',', uint64(op.ChunkVersion))
	return append(appendNum(b, ',', uint64(op.LockedTo)), ')')
}

// ChunkDel removes a chunk that no file holds. Since 2.0:
//
//	CHUNKDEL(chunkid:u64,version:u32)
type ChunkDel struct {
	Chunk        meta.ChunkID
	ChunkVersion uint32
}

// Name is "CHUNKDEL".
func (*ChunkDel) Name() string { return "CHUNKDEL" }

func (op *ChunkDel) parse(l *lexer) {
	op.Chunk = l.chunk('(')
	op.ChunkVersion = l.u32(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *ChunkDel) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Chunk))
	return append(appendNum(b, ',', uint64(op.ChunkVersion)), ')')
}

// ChunkFlagsClr takes a chunk out of archive and trash, before it is changed.
// Since 4.x:
//
//	CHUNKFLAGSCLR(chunkid:u64)
type ChunkFlagsClr struct {
	Chunk meta.ChunkID
}

// Name is "CHUNKFLAGSCLR".
func (*ChunkFlagsClr) Name() string { return "CHUNKFLAGSCLR" }

func (op *ChunkFlagsClr) parse(l *lexer) {
	op.Chunk = l.chunk('(')
	l.eat(')')
}

// AppendArgs appends the argument.
func (op *ChunkFlagsClr) AppendArgs(b []byte) []byte {
	return append(appendNum(b, '(', uint64(op.Chunk)), ')')
}

// SetVersion sets the version of a chunk. Since 3.0.114:
//
//	SETVERSION(chunkid:u64,version:u32)
type SetVersion struct {
	Chunk        meta.ChunkID
	ChunkVersion uint32
}

// Name is "SETVERSION".
func (*SetVersion) Name() string { return "SETVERSION" }

func (op *SetVersion) parse(l *lexer) {
	op.Chunk = l.chunk('(')
	op.ChunkVersion = l.u32(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *SetVersion) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Chunk))
	return append(appendNum(b, ',', uint64(op.ChunkVersion)), ')')
}

// IncVersion adds one to the version of a chunk. 1.6 to 3.0.113 wrote
//
//	INCVERSION(chunkid:u64)
type IncVersion struct {
	Chunk meta.ChunkID
}

// Name is "INCVERSION".
func (*IncVersion) Name() string { return "INCVERSION" }

func (op *IncVersion) parse(l *lexer) {
	op.Chunk = l.chunk('(')
	l.eat(')')
}

// AppendArgs appends the argument.
func (op *IncVersion) AppendArgs(b []byte) []byte {
	return append(appendNum(b, '(', uint64(op.Chunk)), ')')
}

// NextChunkID raises the id that the next new chunk gets. Between 1.6 and 2.0:
//
//	NEXTCHUNKID(chunkid:u64)
type NextChunkID struct {
	Chunk meta.ChunkID
}

// Name is "NEXTCHUNKID".
func (*NextChunkID) Name() string { return "NEXTCHUNKID" }

func (op *NextChunkID) parse(l *lexer) {
	op.Chunk = l.chunk('(')
	l.eat(')')
}

// AppendArgs appends the argument.
func (op *NextChunkID) AppendArgs(b []byte) []byte {
	return append(appendNum(b, '(', uint64(op.Chunk)), ')')
}
