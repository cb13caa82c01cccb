package changelog

import "mfsstandby/changelog/meta"

// Write readies a chunk of a file for writing: makes it, copies it if other
// files hold it too, or raises its version. Since 3.0:
//
//	WRITE(inode:u32,index:u32,opflag:u8,canmodmtime:u8):chunkid:u64
//
// 2.0 wrote no canmodmtime, 1.6 partly no opflag either; both are then 1.
type Write struct {
	Inode       meta.Inode
	Index       uint32 // of the chunk in the file
	OpFlag      uint8  // not 0: the version of a chunk held by this file alone is raised
	CanModMtime uint8  // not 0: sets mtime and ctime
	Chunk       meta.ChunkID
	OldArgs     uint8 // 0, or the number of arguments of an old release: 2 or 3
}

// Name is "WRITE".
func (*Write) Name() string { return "WRITE" }

func (op *Write) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Index = l.u32(',')
	op.OpFlag, op.CanModMtime, op.OldArgs = 1, 1, 2
	if l.peek() == ',' {
		op.OpFlag, op.OldArgs = l.u8(','), 3
		if l.peek() == ',' {
			op.CanModMtime, op.OldArgs = l.u8(','), 0
		}
	}
	l.eat(')')
	op.Chunk = l.chunk(':')
}

// AppendArgs appends the arguments and the result.
func (op *Write) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.Index))
	if op.OldArgs != 2 {
		b = appendNum(b, ',', uint64(op.OpFlag))
	}
	if op.OldArgs == 0 {
		b = appendNum(b, ',', uint64(op.CanModMtime))
	}
	return appendNum(append(b, ')'), ':', uint64(op.Chunk))
}

// Trunc readies the chunk in which a file will end for being cut; Length
// follows. All releases write
//
//	TRUNC(inode:u32,index:u32):chunkid:u64
type Trunc struct {
	Inode meta.Inode
	Index uint32
	Chunk meta.ChunkID // result
}

// Name is "TRUNC".
func (*Trunc) Name() string { return "TRUNC" }

func (op *Trunc) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Index = l.u32(',')
	l.eat(')')
	op.Chunk = l.chunk(':')
}

// AppendArgs appends the arguments and the result.
func (op *Trunc) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.Index))
	return appendNum(append(b, ')'), ':', uint64(op.Chunk))
}

// Length sets the length of a file. Since 3.0:
//
//	LENGTH(inode:u32,length:u64,canmodmtime:u8)
//
// Older releases partly wrote no canmodmtime, which is then 1.
type Length struct {
	Inode       meta.Inode
	Length      uint64 // bytes
	CanModMtime uint8  // not 0: sets mtime and ctime
	NoFlag      bool   // old: CanModMtime was left out
}

// Name is "LENGTH".
func (*Length) Name() string { return "LENGTH" }

func (op *Length) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Length = l.u64(',')
	if l.peek() == ',' {
		op.CanModMtime = l.u8(',')
	} else {
		op.CanModMtime, op.NoFlag = 1, true
	}
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *Length) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', op.Length)
	if !op.NoFlag {
		b = appendNum(b, ',', uint64(op.CanModMtime))
	}
	return append(b, ')')
}

// AppendChunks (APPEND) lets chunks of one file follow those of another.
// Since 3.0.92:
//
//	APPEND(inode:u32,source:u32,from:u32,to:u32)
//
// Older releases wrote neither from nor to and appended the whole file.
type AppendChunks struct {
	Inode    meta.Inode // what grows
	Source   meta.Inode
	From, To uint32 // first and last chunk of Source; 0xFFFFFFFF and 0: all
	Whole    bool   // old: From and To were left out
}

// Name is "APPEND".
func (*AppendChunks) Name() string { return "APPEND" }

func (op *AppendChunks) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Source = l.inode(',')
	if l.peek() == ',' {
		op.From = l.u32(',')
		op.To = l.u32(',')
	} else {
		op.From, op.To, op.Whole = 0xFFFFFFFF, 0, true
	}
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *AppendChunks) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.Source))
	if !op.Whole {
		b = appendNum(b, ',', uint64(op.From))
		b = appendNum(b, ',', uint64(op.To))
	}
	return append(b, ')')
}

// Repair gives a chunk of a file another version, or takes it out of the
// file. All releases write
//
//	REPAIR(inode:u32,index:u32):version:u32
type Repair struct {
	Inode        meta.Inode
	Index        uint32
	ChunkVersion uint32 // result; 0: the chunk was taken out
}

// Name is "REPAIR".
func (*Repair) Name() string { return "REPAIR" }

func (op *Repair) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Index = l.u32(',')
	l.eat(')')
	op.ChunkVersion = l.u32(':')
}

// AppendArgs appends the arguments and the result.
func (op *Repair) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.Index))
	return appendNum(append(b, ')'), ':', uint64(op.ChunkVersion))
}

// Rollback undoes a Write or Trunc that failed. Since 3.0:
//
//	ROLLBACK(inode:u32,index:u32,prevchunkid:u64,chunkid:u64)
type Rollback struct {
	Inode meta.Inode
	Index uint32
	Prev  meta.ChunkID // the chunk before, 0 for a hole
	Chunk meta.ChunkID // what Write or Trunc resulted in
}

// Name is "ROLLBACK".
func (*Rollback) Name() string { return "ROLLBACK" }

func (op *Rollback) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Index = l.u32(',')
	op.Prev = l.chunk(',')
	op.Chunk = l.chunk(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *Rollback) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.Index))
	b = appendNum(b, ',', uint64(op.Prev))
	return append(appendNum(b, ',', uint64(op.Chunk)), ')')
}

// Unlock ends the writing of a chunk. All releases write
//
//	UNLOCK(chunkid:u64)
type Unlock struct {
	Chunk meta.ChunkID
}

// Name is "UNLOCK".
func (*Unlock) Name() string { return "UNLOCK" }

func (op *Unlock) parse(l *lexer) {
	op.Chunk = l.chunk('(')
	l.eat(')')
}

// AppendArgs appends the argument.
func (op *Unlock) AppendArgs(b []byte) []byte {
	return append(appendNum(b, '(', uint64(op.Chunk)), ')')
}

// SetFileChunk puts a chunk into a file's chunk table. Since 2.0:
//
//	SETFILECHUNK(inode:u32,index:u32,chunkid:u64)
type SetFileChunk struct {
	Inode meta.Inode
	Index uint32
	Chunk meta.ChunkID // mfsmaster only writes 0, a hole
}

// Name is "SETFILECHUNK".
func (*SetFileChunk) Name() string { return "SETFILECHUNK" }

func (op *SetFileChunk) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Index = l.u32(',')
	op.Chunk = l.chunk(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *SetFileChunk) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.Index))
	return append(appendNum(b, ',', uint64(op.Chunk)), ')')
}
