package changelog

import "mfsstandby/changelog/meta"

// Acquire notes that a session has a file open. Since 2.0:
//
//	ACQUIRE(session:u32,inode:u32)
//
// 1.6 wrote the inode first, which the text does not tell: whoever reads its
// entries has to swap the fields. Releases before it wrote AQUIRE.
type Acquire struct {
	Session meta.SessionID
	Inode   meta.Inode
	Aquire  bool // before 1.6: spelled AQUIRE

	InodeFirst bool // 1.6: the inode stands before the session
}

// Name is "ACQUIRE" or "AQUIRE".
func (op *Acquire) Name() string {
	if op.Aquire {
		return "AQUIRE"
	}
	return "ACQUIRE"
}

func (op *Acquire) parse(l *lexer) {
	op.Aquire = l.op == "AQUIRE"
	op.Session, op.Inode, op.InodeFirst = l.opened()
}

// AppendArgs appends the arguments.
func (op *Acquire) AppendArgs(b []byte) []byte {
	return appendOpened(b, op.Session, op.Inode, op.InodeFirst)
}

// opened reads "(session:u32,inode:u32)", which 1.6 wrote the other way round.
func (l *lexer) opened() (s meta.SessionID, ino meta.Inode, inodeFirst bool) {
	inodeFirst = l.before(meta.Release2)
	if inodeFirst {
		ino = l.inode('(')
		s = l.session(',')
	} else {
		s = l.session('(')
		ino = l.inode(',')
	}
	l.eat(')')
	return s, ino, inodeFirst
}

// appendOpened appends what opened reads.
func appendOpened(b []byte, s meta.SessionID, ino meta.Inode, inodeFirst bool) []byte {
	first, second := uint64(s), uint64(ino)
	if inodeFirst {
		first, second = second, first
	}
	return append(appendNum(appendNum(b, '(', first), ',', second), ')')
}

// Release notes that a session closed a file. Since 2.0:
//
//	RELEASE(session:u32,inode:u32)
//
// 1.6 wrote the inode first, as in Acquire.
type Release struct {
	Session meta.SessionID
	Inode   meta.Inode

	InodeFirst bool // 1.6: the inode stands before the session
}

// Name is "RELEASE".
func (*Release) Name() string { return "RELEASE" }

func (op *Release) parse(l *lexer) {
	op.Session, op.Inode, op.InodeFirst = l.opened()
}

// AppendArgs appends the arguments.
func (op *Release) AppendArgs(b []byte) []byte {
	return appendOpened(b, op.Session, op.Inode, op.InodeFirst)
}

// LockKind is the letter for what is done to a lock.
type LockKind byte

// The kinds that mfsmaster writes. (Its reader takes lowercase letters and
// synonyms too, which no release wrote.)
const (
	LockUnlock LockKind = 'U'
	LockRead   LockKind = 'R'
	LockWrite  LockKind = 'W'
)

func (l *lexer) lockKind(sep byte) LockKind {
	l.eat(sep)
	switch k := LockKind(l.peek()); k {
	case LockUnlock, LockRead, LockWrite:
		l.pos++
		return k
	}
	l.fail(l.pos, "'U', 'R' or 'W' expected")
	return 0
}

// Flock takes or drops a lock of flock(2). Since 3.0:
//
//	FLOCK(inode:u32,session:u32,owner:u64,kind)
type Flock struct {
	Inode   meta.Inode
	Session meta.SessionID
	Owner   uint64
	Kind    LockKind
}

// Name is "FLOCK".
func (*Flock) Name() string { return "FLOCK" }

func (op *Flock) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Session = l.session(',')
	op.Owner = l.u64(',')
	op.Kind = l.lockKind(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *Flock) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.Session))
	b = appendNum(b, ',', op.Owner)
	return append(b, ',', byte(op.Kind), ')')
}

// PosixLock takes or drops a lock of fcntl(2) on the bytes [Start, End). Since
// 3.0:
//
//	POSIXLOCK(inode:u32,session:u32,owner:u64,kind,start:u64,end:u64,pid:u32)
type PosixLock struct {
	Inode      meta.Inode
	Session    meta.SessionID
	Owner      uint64
	Kind       LockKind
	Start, End uint64 // End 2^64-1: to infinity
	PID        uint32
}

// Name is "POSIXLOCK".
func (*PosixLock) Name() string { return "POSIXLOCK" }

func (op *PosixLock) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.Session = l.session(',')
	op.Owner = l.u64(',')
	op.Kind = l.lockKind(',')
	op.Start = l.u64(',')
	op.End = l.u64(',')
	op.PID = l.u32(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *PosixLock) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.Session))
	b = appendNum(b, ',', op.Owner)
	b = appendNum(append(b, ',', byte(op.Kind)), ',', op.Start)
	b = appendNum(b, ',', op.End)
	return append(appendNum(b, ',', uint64(op.PID)), ')')
}
