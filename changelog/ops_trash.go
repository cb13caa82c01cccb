package changelog

import "mfsstandby/changelog/meta"

// EmptyTrash purges expired files of one trash bucket. Since 3.0.98:
//
//	EMPTYTRASH(bucket:u32):freed:u32,sustained:u32,inodexor:u32
//
// Releases before left out the xor, and before 3.0.63 the bucket. 4.x has
// another result before the xor: files whose chunks were marked as trash.
type EmptyTrash struct {
	Bucket     uint32 // 0..4095; 0 with AllBuckets
	Freed      uint32 // result: nodes that are gone
	Sustained  uint32 // result: nodes that are still open
	Marked     uint32 // result, since 4.x: files with chunks marked as trash, then or before
	InodeXor   uint32 // result: xor of the inodes of Freed and Sustained; 0 is unchecked
	AllBuckets bool   // old: the bucket was left out, all are meant
	NoXor      bool   // old: InodeXor was left out
	HasMarked  bool   // 4.x: has Marked
}

// Name is "EMPTYTRASH".
func (*EmptyTrash) Name() string { return "EMPTYTRASH" }

func (op *EmptyTrash) parse(l *lexer) {
	op.Bucket, op.AllBuckets = l.optional()
	op.Freed = l.u32(':')
	op.Sustained = l.u32(',')
	op.InodeXor, op.NoXor = l.lastResult()
	if l.peek() == ',' {
		op.HasMarked, op.Marked = true, op.InodeXor
		op.InodeXor = l.u32(',')
	}
}

// AppendArgs appends the arguments and the results.
func (op *EmptyTrash) AppendArgs(b []byte) []byte {
	b = appendOptional(b, op.Bucket, op.AllBuckets)
	b = appendNum(b, ':', uint64(op.Freed))
	b = appendNum(b, ',', uint64(op.Sustained))
	if op.HasMarked {
		b = appendNum(b, ',', uint64(op.Marked))
	} else if op.NoXor {
		return b
	}
	return appendNum(b, ',', uint64(op.InodeXor))
}

// EmptySustained removes files of one sustained bucket that nobody has open
// any more. Since 3.0.98:
//
//	EMPTYSUSTAINED(bucket:u32):freed:u32,inodexor:u32
//
// Releases before left out the xor, and before 3.0.88 the bucket; 1.6 called
// it EMPTYRESERVED.
type EmptySustained struct {
	Bucket     uint32 // 0..255; 0 with AllBuckets
	Freed      uint32 // result: nodes that are gone
	InodeXor   uint32 // result: xor of their inodes; 0 is unchecked
	AllBuckets bool   // old: the bucket was left out, all are meant
	NoXor      bool   // old: InodeXor was left out
	Reserved   bool   // 1.6: spelled EMPTYRESERVED
}

// Name is "EMPTYSUSTAINED" or "EMPTYRESERVED".
func (op *EmptySustained) Name() string {
	if op.Reserved {
		return "EMPTYRESERVED"
	}
	return "EMPTYSUSTAINED"
}

func (op *EmptySustained) parse(l *lexer) {
	op.Reserved = l.op == "EMPTYRESERVED"
	op.Bucket, op.AllBuckets = l.optional()
	op.Freed = l.u32(':')
	op.InodeXor, op.NoXor = l.lastResult()
}

// AppendArgs appends the arguments and the results.
func (op *EmptySustained) AppendArgs(b []byte) []byte {
	b = appendOptional(b, op.Bucket, op.AllBuckets)
	b = appendNum(b, ':', uint64(op.Freed))
	if op.NoXor {
		return b
	}
	return appendNum(b, ',', uint64(op.InodeXor))
}

// FreeInodes makes inodes that were freed long enough ago usable again. Since
// 3.0.116:
//
//	FREEINODES(delay:u32):freed:u32,sustained:u32,inodexor:u32
//
// Releases before left out the delay, before 3.0.98 the xor, and before 2.0.74
// the sustained ones.
type FreeInodes struct {
	Delay       uint32 // seconds; 86400 with NoDelay
	Freed       uint32 // result: inodes that are usable again
	Sustained   uint32 // result: inodes that wait anew since they are open
	InodeXor    uint32 // result: xor of both; 0 is unchecked
	NoDelay     bool   // old: Delay was left out
	NoSustained bool   // old: Sustained and InodeXor were left out
	NoXor       bool   // old: InodeXor was left out
}

// oldDelay is the delay of releases that wrote none, in seconds.
const oldDelay = 86400

// Name is "FREEINODES".
func (*FreeInodes) Name() string { return "FREEINODES" }

func (op *FreeInodes) parse(l *lexer) {
	if op.Delay, op.NoDelay = l.optional(); op.NoDelay {
		op.Delay = oldDelay
	}
	op.Freed = l.u32(':')
	op.Sustained, op.NoSustained = l.lastResult()
	op.InodeXor, op.NoXor = l.lastResult()
}

// AppendArgs appends the arguments and the results.
func (op *FreeInodes) AppendArgs(b []byte) []byte {
	b = appendOptional(b, op.Delay, op.NoDelay)
	b = appendNum(b, ':', uint64(op.Freed))
	if op.NoSustained {
		return b
	}
	b = appendNum(b, ',', uint64(op.Sustained))
	if op.NoXor {
		return b
	}
	return appendNum(b, ',', uint64(op.InodeXor))
}

// optional reads "(n)" or "()" and tells whether the number was left out.
func (l *lexer) optional() (n uint32, omitted bool) {
	if l.pos+1 < len(l.text) && l.text[l.pos+1] == ')' {
		l.eat('(')
		omitted = true
	} else {
		n = l.u32('(')
	}
	l.eat(')')
	return n, omitted
}

// appendOptional appends what optional reads.
func appendOptional(b []byte, n uint32, omitted bool) []byte {
	if omitted {
		return append(b, "()"...)
	}
	return append(appendNum(b, '(', uint64(n)), ')')
}

// lastResult reads ",n" unless the entry ends, and tells whether it did.
func (l *lexer) lastResult() (n uint32, omitted bool) {
	if l.pos == len(l.text) {
		return 0, true
	}
	return l.u32(','), false
}

// Purge removes a file from the trash. All releases write
//
//	PURGE(inode:u32)
type Purge struct {
	Inode meta.Inode
}

// Name is "PURGE".
func (*Purge) Name() string { return "PURGE" }

func (op *Purge) parse(l *lexer) {
	op.Inode = l.inode('(')
	l.eat(')')
}

// AppendArgs appends the argument.
func (op *Purge) AppendArgs(b []byte) []byte {
	return append(appendNum(b, '(', uint64(op.Inode)), ')')
}

// Undel puts a file of the trash back to where its path says. All releases
// write
//
//	UNDEL(inode:u32)
type Undel struct {
	Inode meta.Inode
}

// Name is "UNDEL".
func (*Undel) Name() string { return "UNDEL" }

func (op *Undel) parse(l *lexer) {
	op.Inode = l.inode('(')
	l.eat(')')
}

// AppendArgs appends the argument.
func (op *Undel) AppendArgs(b []byte) []byte {
	return append(appendNum(b, '(', uint64(op.Inode)), ')')
}

// TrashRemove removes a file from the trash, as Purge does, for a client that
// has the trash in its own mount. Since 4.x:
//
//	TRASH_REMOVE(inode:u32)
type TrashRemove struct {
	Inode meta.Inode
}

// Name is "TRASH_REMOVE".
func (*TrashRemove) Name() string { return "TRASH_REMOVE" }

func (op *TrashRemove) parse(l *lexer) {
	op.Inode = l.inode('(')
	l.eat(')')
}

// AppendArgs appends the argument.
func (op *TrashRemove) AppendArgs(b []byte) []byte {
	return append(appendNum(b, '(', uint64(op.Inode)), ')')
}

// TrashRecover links a file of the trash below a directory, under the path
// given or, if that is empty, the one it had. Since 4.x:
//
//	TRASH_RECOVER(inode:u32,parent:u32,path:PATH,umask:u16,uid:u32,gid:u32,copysgid:u8):(used:PATH)
//
// where both paths may be empty.
type TrashRecover struct {
	Inode    meta.Inode
	Parent   meta.Inode
	Path     []byte // below Parent
	Umask    uint16 // for directories that are made
	UID, GID uint32 // who asked; owner of directories that are made
	CopySGID uint8  // not 0: such directories take over the set group id bit
	Used     []byte // result: path after renaming what was in the way; empty if nothing was
}

// Name is "TRASH_RECOVER".
func (*TrashRecover) Name() string { return "TRASH_RECOVER" }

func (op *TrashRecover) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Parent = l.inode(',')
	op.Path = l.escaped(',', false)
	op.Umask = l.u16(',')
	op.UID = l.u32(',')
	op.GID = l.u32(',')
	op.CopySGID = l.u8(',')
	l.eat(')')
	l.eat(':')
	op.Used = l.escaped('(', false)
	l.eat(')')
}

// AppendArgs appends the arguments and the result.
func (op *TrashRecover) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.Parent))
	b = appendText(b, ',', op.Path)
	b = appendNum(b, ',', uint64(op.Umask))
	b = appendNum(b, ',', uint64(op.UID))
	b = appendNum(b, ',', uint64(op.GID))
	b = append(appendNum(b, ',', uint64(op.CopySGID)), "):"...)
	return append(appendText(b, '(', op.Used), ')')
}

// SetPath changes the path of a file in the trash. All releases write
//
//	SETPATH(inode:u32,path:PATH)
type SetPath struct {
	Inode meta.Inode
	Path  []byte
}

// Name is "SETPATH".
func (*SetPath) Name() string { return "SETPATH" }

func (op *SetPath) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Path = l.path(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *SetPath) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	return append(appendText(b, ',', op.Path), ')')
}

// SetTrashTime sets how long files stay in the trash. All releases write
//
//	SETTRASHTIME(inode:u32,uid:u32,trashtime:u32,smode:u8):changed:u32,notchanged:u32,notpermitted:u32
type SetTrashTime struct {
	Inode     meta.Inode
	UID       uint32 // who asked
	TrashTime uint32 // seconds
	Mode      uint8
	Counts
}

// Name is "SETTRASHTIME".
func (*SetTrashTime) Name() string { return "SETTRASHTIME" }

func (op *SetTrashTime) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.UID = l.u32(',')
	op.TrashTime = l.u32(',')
	op.Mode = l.u8(',')
	op.Counts.parse(l)
}

// AppendArgs appends the arguments and the results.
func (op *SetTrashTime) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.UID))
	b = appendNum(b, ',', uint64(op.TrashTime))
	b = appendNum(b, ',', uint64(op.Mode))
	return op.Counts.append(b)
}

// Counts are the results of an operation that walks a tree: nodes changed,
// left as they were, and left since the user may not change them.
type Counts struct {
	Changed, NotChanged, NotPermitted uint32
}

// parse reads "):changed:u32,notchanged:u32,notpermitted:u32".
func (c *Counts) parse(l *lexer) {
	l.eat(')')
	c.Changed = l.u32(':')
	c.NotChanged = l.u32(',')
	c.NotPermitted = l.u32(',')
}

// append appends what parse reads.
func (c *Counts) append(b []byte) []byte {
	b = appendNum(append(b, ')'), ':', uint64(c.Changed))
	b = appendNum(b, ',', uint64(c.NotChanged))
	return appendNum(b, ',', uint64(c.NotPermitted))
}
