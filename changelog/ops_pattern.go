package changelog

// PatAdd makes a pattern: nodes whose name fits get a class, trash retention
// or attributes when they are made or renamed. Since 4.x:
//
//	PATADD(glob:NAME,uid:u32,gid:u32,priority:u8,mask:u8,class:u8,trashhours:u16,seteattr:u8,cleareattr:u8)
//
// Older ones of 4.x left out the last.
type PatAdd struct {
	Glob       []byte
	UID, GID   uint32 // meta.AnyID is any
	Priority   uint8
	Mask       uint8 // meta.Pattern* bits
	Class      uint8
	TrashHours uint16
	SetEattr   uint8
	ClearEattr uint8
	NoClear    bool // old: ClearEattr was left out
}

// Name is "PATADD".
func (*PatAdd) Name() string { return "PATADD" }

func (op *PatAdd) parse(l *lexer) {
	op.Glob = l.name('(')
	op.UID = l.u32(',')
	op.GID = l.u32(',')
	op.Priority = l.u8(',')
	op.Mask = l.u8(',')
	op.Class = l.u8(',')
	op.TrashHours = l.u16(',')
	op.SetEattr = l.u8(',')
	if op.NoClear = l.peek() != ','; !op.NoClear {
		op.ClearEattr = l.u8(',')
	}
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *PatAdd) AppendArgs(b []byte) []byte {
	b = appendText(b, '(', op.Glob)
	b = appendNum(b, ',', uint64(op.UID))
	b = appendNum(b, ',', uint64(op.GID))
	b = appendNum(b, ',', uint64(op.Priority))
	b = appendNum(b, ',', uint64(op.Mask))
	b = appendNum(b, ',', uint64(op.Class))
	b = appendNum(b, ',', uint64(op.TrashHours))
	b = appendNum(b, ',', uint64(op.SetEattr))
	if !op.NoClear {
		b = appendNum(b, ',', uint64(op.ClearEattr))
	}
	return append(b, ')')
}

// PatDel removes a pattern. Since 4.x:
//
//	PATDEL(glob:NAME,uid:u32,gid:u32)
type PatDel struct {
	Glob     []byte
	UID, GID uint32
}

// Name is "PATDEL".
func (*PatDel) Name() string { return "PATDEL" }

func (op *PatDel) parse(l *lexer) {
	op.Glob = l.name('(')
	op.UID = l.u32(',')
	op.GID = l.u32(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *PatDel) AppendArgs(b []byte) []byte {
	b = appendText(b, '(', op.Glob)
	b = appendNum(b, ',', uint64(op.UID))
	return append(appendNum(b, ',', uint64(op.GID)), ')')
}
