package changelog

import (
	"encoding/binary"

	"mfsstandby/changelog/meta"
)

// Snapshot copies a node or a tree lazily, or removes such a copy. Since
// 3.0.98:
//
//	SNAPSHOT(source:u32,parent:u32,name:NAME,smode:u8,sesflags:u8,uid:u32,[gid:u32,...],umask:u16):inodexor:u32,removed:u32,same:u32,existing:u32,hardlinks:u32,new:u32
//
// Older releases wrote no results, which are then 0 (unchecked), and
//
//	SNAPSHOT(source,parent,name,smode,sesflags,uid,gidcount:u32,gids:DATA,umask)  since 2.0
//	SNAPSHOT(source,parent,name,smode,sesflags,uid,gid:u32,umask)                before
//	SNAPSHOT(source,parent,name,canoverwrite:u8)                                 in 1.6
//
// where gids holds the numbers as four bytes each, as an x86 has them in
// memory. The reader of 3.0.117 drops the first digit of each gid of the list
// form; GIDs holds what the text says.
type Snapshot struct {
	Source   meta.Inode // 0: remove
	Parent   meta.Inode
	Base     []byte // name of the copy in Parent
	Mode     uint8
	SesFlags uint8 // of the session that asked
	UID      uint32
	GIDs     []uint32 // at least one, but in 1.6; the first is the user's own
	Umask    uint16

	InodeXor  uint32 // results; all 0 is unchecked
	Removed   uint32
	Same      uint32
	Existing  uint32
	HardLinks uint32
	New       uint32

	Form SnapshotForm
}

// SnapshotForm is a way to spell a Snapshot.
type SnapshotForm uint8

// The forms, newest first. Only the first has results.
const (
	SnapshotResults SnapshotForm = iota
	SnapshotList                 // list of gids, no results
	SnapshotBlob
	SnapshotSingle
	SnapshotBare // 1.6: Mode only tells whether to overwrite
)

// Name is "SNAPSHOT".
func (*Snapshot) Name() string { return "SNAPSHOT" }

func (op *Snapshot) parse(l *lexer) {
	op.Source = l.inode('(')
	op.Parent = l.inode(',')
	op.Base = l.name(',')
	op.Mode = l.u8(',')
	if l.peek() == ')' && l.before(meta.Release2) {
		op.Form = SnapshotBare
		l.eat(')')
		return
	}
	op.SesFlags = l.u8(',')
	op.UID = l.u32(',')
	l.eat(',')
	if l.peek() == '[' {
		op.parseList(l)
	} else {
		op.parseOldGroups(l)
	}
	op.Umask = l.u16(',')
	l.eat(')')
	if op.Form != SnapshotList || l.peek() != ':' {
		return
	}
	op.Form = SnapshotResults
	op.InodeXor = l.u32(':')
	op.Removed = l.u32(',')
	op.Same = l.u32(',')
	op.Existing = l.u32(',')
	op.HardLinks = l.u32(',')
	op.New = l.u32(',')
}

// parseList reads "[gid,gid,...]".
func (op *Snapshot) parseList(l *lexer) {
	op.Form = SnapshotList
	gids := l.batch.gids.reserve((len(l.text) - l.pos) / 2)
	gids = append(gids, l.u32('['))
	for l.peek() == ',' {
		gids = append(gids, l.u32(','))
	}
	l.eat(']')
	op.GIDs = l.batch.gids.keep(gids)
}

// parseOldGroups reads "gid" or "gidcount,gids". As for mfsmaster, it is the
// former if nothing but digits follows up to the closing parenthesis.
func (op *Snapshot) parseOldGroups(l *lexer) {
	at := l.pos
	first := uint32(l.number(1<<32 - 1))
	rest := l.text[l.pos:]
	if len(rest) > 0 {
		rest = rest[1:]
	}
	for len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' {
		rest = rest[1:]
	}
	if len(rest) == 0 || rest[0] == ')' {
		op.Form = SnapshotSingle
		op.GIDs = l.batch.gids.keep(append(l.batch.gids.reserve(1), first))
		return
	}
	op.Form = SnapshotBlob
	blob := l.data(',')
	if first == 0 || uint64(first)*4 != uint64(len(blob)) {
		l.fail(at, "number of groups differs from the list")
		return
	}
	gids := l.batch.gids.reserve(int(first))
	for ; len(blob) > 0; blob = blob[4:] {
		gids = append(gids, binary.LittleEndian.Uint32(blob))
	}
	op.GIDs = l.batch.gids.keep(gids)
}

// AppendArgs appends the arguments and the results.
func (op *Snapshot) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Source))
	b = appendNum(b, ',', uint64(op.Parent))
	b = appendText(b, ',', op.Base)
	b = appendNum(b, ',', uint64(op.Mode))
	if op.Form == SnapshotBare {
		return append(b, ')')
	}
	b = appendNum(b, ',', uint64(op.SesFlags))
	b = appendNum(b, ',', uint64(op.UID))
	b = op.appendGroups(b)
	b = append(appendNum(b, ',', uint64(op.Umask)), ')')
	if op.Form != SnapshotResults {
		return b
	}
	b = appendNum(b, ':', uint64(op.InodeXor))
	b = appendNum(b, ',', uint64(op.Removed))
	b = appendNum(b, ',', uint64(op.Same))
	b = appendNum(b, ',', uint64(op.Existing))
	b = appendNum(b, ',', uint64(op.HardLinks))
	return appendNum(b, ',', uint64(op.New))
}

// appendGroups appends the separator and GIDs.
func (op *Snapshot) appendGroups(b []byte) []byte {
	switch op.Form {
	case SnapshotSingle:
		return appendNum(b, ',', uint64(op.GIDs[0]))
	case SnapshotBlob:
		b = append(appendNum(b, ',', uint64(len(op.GIDs))), ',')
		for _, gid := range op.GIDs {
			var raw [4]byte
			binary.LittleEndian.PutUint32(raw[:], gid)
			b = AppendEscaped(b, raw[:])
		}
		return b
	}
	b = append(b, ',')
	sep := byte('[')
	for _, gid := range op.GIDs {
		b = appendNum(b, sep, uint64(gid))
		sep = ','
	}
	return append(b, ']')
}
