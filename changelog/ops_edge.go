package changelog

import "mfsstandby/changelog/meta"

// Link gives one more name to a node that is not a directory. All releases
// write
//
//	LINK(inode:u32,parent:u32,name:NAME)
type Link struct {
	Inode  meta.Inode
	Parent meta.Inode
	Base   []byte // the new name in Parent
}

// Name is "LINK".
func (*Link) Name() string { return "LINK" }

func (op *Link) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Parent = l.inode(',')
	op.Base = l.name(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *Link) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.Parent))
	return append(appendText(b, ',', op.Base), ')')
}

// Move renames; what has the new name already is unlinked. Releases before 4.x
// write
//
//	MOVE(srcparent:u32,srcname:NAME,dstparent:u32,dstname:NAME):inode:u32
//
// 4.x has mode:u8 as the last argument: 0 as before, 1 to exchange the two
// names, with the result 0, and 2 to replace nothing.
type Move struct {
	SrcParent meta.Inode
	SrcBase   []byte
	DstParent meta.Inode
	DstBase   []byte
	Mode      uint8      // Move*; since 4.x
	Inode     meta.Inode // result: what was renamed
	HasMode   bool       // 4.x: has Mode
}

// Values of Move.Mode.
const (
	MoveStandard  = 0
	MoveExchange  = 1
	MoveNoReplace = 2
)

// Name is "MOVE".
func (*Move) Name() string { return "MOVE" }

func (op *Move) parse(l *lexer) {
	op.SrcParent = l.inode('(')
	op.SrcBase = l.name(',')
	op.DstParent = l.inode(',')
	op.DstBase = l.name(',')
	if op.HasMode = l.peek() == ','; op.HasMode {
		op.Mode = l.u8(',')
	}
	l.eat(')')
	op.Inode = l.inode(':')
}

// AppendArgs appends the arguments and the result.
func (op *Move) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.SrcParent))
	b = appendText(b, ',', op.SrcBase)
	b = appendNum(b, ',', uint64(op.DstParent))
	b = appendText(b, ',', op.DstBase)
	if op.HasMode {
		b = appendNum(b, ',', uint64(op.Mode))
	}
	return appendNum(append(b, ')'), ':', uint64(op.Inode))
}

// Unlink removes the edge Parent/Base, of a file or an empty directory, and
// with its last edge the node. All releases write
//
//	UNLINK(parent:u32,name:NAME):inode:u32
type Unlink struct {
	Parent meta.Inode
	Base   []byte     // the name in Parent
	Inode  meta.Inode // result: what the primary unlinked
}

// Name is "UNLINK".
func (*Unlink) Name() string { return "UNLINK" }

func (op *Unlink) parse(l *lexer) {
	op.Parent = l.inode('(')
	op.Base = l.name(',')
	l.eat(')')
	op.Inode = l.inode(':')
}

// AppendArgs appends the arguments and the result.
func (op *Unlink) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Parent))
	b = appendText(b, ',', op.Base)
	return appendNum(append(b, ')'), ':', uint64(op.Inode))
}

// Symlink makes a symbolic link. All releases write
//
//	SYMLINK(parent:u32,name:NAME,target:PATH,uid:u32,gid:u32):inode:u32
type Symlink struct {
	Parent   meta.Inode
	Base     []byte // its name in Parent
	Target   []byte
	UID, GID uint32
	Inode    meta.Inode // result: the new node
}

// Name is "SYMLINK".
func (*Symlink) Name() string { return "SYMLINK" }

func (op *Symlink) parse(l *lexer) {
	op.Parent = l.inode('(')
	op.Base = l.name(',')
	op.Target = l.path(',')
	op.UID = l.u32(',')
	op.GID = l.u32(',')
	l.eat(')')
	op.Inode = l.inode(':')
}

// AppendArgs appends the arguments and the result.
func (op *Symlink) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Parent))
	b = appendText(b, ',', op.Base)
	b = appendText(b, ',', op.Target)
	b = appendNum(b, ',', uint64(op.UID))
	b = appendNum(b, ',', uint64(op.GID))
	return appendNum(append(b, ')'), ':', uint64(op.Inode))
}
