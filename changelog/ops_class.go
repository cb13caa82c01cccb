package changelog

import "mfsstandby/changelog/meta"

// SetSClass sets the storage class of a node or a tree. Since 3.0.75:
//
//	SETSCLASS(inode:u32,uid:u32,srcclass:u8,dstclass:u8,smode:u8):changed:u32,notchanged:u32,notpermitted:u32
type SetSClass struct {
	Inode    meta.Inode
	UID      uint32 // who asked
	Src, Dst uint8  // storage class ids; Src counts for exchange only
	Mode     uint8
	Counts
}

// Name is "SETSCLASS".
func (*SetSClass) Name() string { return "SETSCLASS" }

func (op *SetSClass) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.UID = l.u32(',')
	op.Src = l.u8(',')
	op.Dst = l.u8(',')
	op.Mode = l.u8(',')
	op.Counts.parse(l)
}

// AppendArgs appends the arguments and the results.
func (op *SetSClass) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.UID))
	b = appendNum(b, ',', uint64(op.Src))
	b = appendNum(b, ',', uint64(op.Dst))
	b = appendNum(b, ',', uint64(op.Mode))
	return op.Counts.append(b)
}

// SetGoal is what SetSClass was before 3.0.75, with Src and Dst the same:
//
//	SETGOAL(inode:u32,uid:u32,goal:u8,smode:u8):changed:u32,notchanged:u32,notpermitted:u32
type SetGoal struct {
	Inode meta.Inode
	UID   uint32 // who asked
	Goal  uint8  // now the id of a predefined storage class
	Mode  uint8
	Counts
}

// Name is "SETGOAL".
func (*SetGoal) Name() string { return "SETGOAL" }

func (op *SetGoal) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.UID = l.u32(',')
	op.Goal = l.u8(',')
	op.Mode = l.u8(',')
	op.Counts.parse(l)
}

// AppendArgs appends the arguments and the results.
func (op *SetGoal) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.UID))
	b = appendNum(b, ',', uint64(op.Goal))
	b = appendNum(b, ',', uint64(op.Mode))
	return op.Counts.append(b)
}

// ArchChg sets or clears the archive flag of the chunks of a file or a tree.
// Since 3.0:
//
//	ARCHCHG(inode:u32,uid:u32,cmd:u8):changed:u64,notchanged:u64,notpermitted:u32
type ArchChg struct {
	Inode        meta.Inode
	UID          uint32 // who asked, 0 for the master itself
	Command      uint8  // 0 clear, 1 set
	Changed      uint64 // result: chunks
	NotChanged   uint64 // result: chunks
	NotPermitted uint32 // result: nodes
}

// Name is "ARCHCHG".
func (*ArchChg) Name() string { return "ARCHCHG" }

func (op *ArchChg) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.UID = l.u32(',')
	op.Command = l.u8(',')
	l.eat(')')
	op.Changed = l.u64(':')
	op.NotChanged = l.u64(',')
	op.NotPermitted = l.u32(',')
}

// AppendArgs appends the arguments and the results.
func (op *ArchChg) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.UID))
	b = appendNum(b, ',', uint64(op.Command))
	b = appendNum(append(b, ')'), ':', op.Changed)
	b = appendNum(b, ',', op.NotChanged)
	return appendNum(b, ',', uint64(op.NotPermitted))
}

// SCSet makes or redefines a storage class. Since 3.0.84 (3.0.75 wrote no
// result, which 3.0.117 does not read):
//
//	SCSET(class:NAME,new:u8,Wn:u8,Kn:u8,An:u8,mode:u8,archdelay:u16,adminonly:u8,mask:u32,...):id:u16
//
// with four masks for each label of Create, then Keep, then Arch; '-' in place
// of the masks if there is no label at all. For 4.x see ClassData.
type SCSet struct {
	Class              []byte
	New                uint8  // not 0: the class is made
	Mode               uint8  // 0 loose, 1 standard, 2 strict
	ArchDelay          uint16 // days, since 4.x hours
	AdminOnly          uint8
	Create, Keep, Arch []meta.LabelMasks // up to 9 each; before 4.x
	ClassData                            // 4.x
	ID                 uint16            // result
}

// maxLabels is how many labels a list of a storage class can have.
const maxLabels = 9

// Name is "SCSET".
func (*SCSet) Name() string { return "SCSET" }

func (op *SCSet) parse(l *lexer) {
	op.Class = l.name('(')
	op.New = l.u8(',')
	if l.pos+1 < len(l.text) && l.text[l.pos+1] != 'W' {
		op.parseClassData(l)
		l.eat(')')
		op.ID = l.u16(':')
		return
	}
	create := op.parseCount(l, 'W')
	keep := op.parseCount(l, 'K')
	arch := op.parseCount(l, 'A')
	op.Mode = l.u8(',')
	op.ArchDelay = l.u16(',')
	op.AdminOnly = l.u8(',')
	if create+keep+arch == 0 {
		l.eat(',')
		l.eat('-')
	}
	op.Create = op.parseMasks(l, create)
	op.Keep = op.parseMasks(l, keep)
	op.Arch = op.parseMasks(l, arch)
	l.eat(')')
	op.ID = l.u16(':')
}

func (op *SCSet) parseCount(l *lexer, letter byte) int {
	l.eat(',')
	l.eat(letter)
	return int(l.number(maxLabels))
}

func (op *SCSet) parseMasks(l *lexer, labels int) []meta.LabelMasks {
	masks := l.batch.masks.reserve(labels)
	for range labels {
		var m meta.LabelMasks
		for i := range m {
			m[i] = l.u32(',')
		}
		masks = append(masks, m)
	}
	return l.batch.masks.keep(masks)
}

// AppendArgs appends the arguments and the result.
func (op *SCSet) AppendArgs(b []byte) []byte {
	b = appendText(b, '(', op.Class)
	b = appendNum(b, ',', uint64(op.New))
	if op.Form != FormMasks {
		b = op.appendClassData(b)
		return appendNum(append(b, ')'), ':', uint64(op.ID))
	}
	b = appendNum(append(b, ','), 'W', uint64(len(op.Create)))
	b = appendNum(append(b, ','), 'K', uint64(len(op.Keep)))
	b = appendNum(append(b, ','), 'A', uint64(len(op.Arch)))
	b = appendNum(b, ',', uint64(op.Mode))
	b = appendNum(b, ',', uint64(op.ArchDelay))
	b = appendNum(b, ',', uint64(op.AdminOnly))
	if len(op.Create)+len(op.Keep)+len(op.Arch) == 0 {
		b = append(b, ",-"...)
	}
	for _, list := range [...][]meta.LabelMasks{op.Create, op.Keep, op.Arch} {
		for _, m := range list {
			for _, mask := range m {
				b = appendNum(b, ',', uint64(mask))
			}
		}
	}
	return appendNum(append(b, ')'), ':', uint64(op.ID))
}

// SCDup copies a storage class. Since 3.0.75:
//
//	SCDUP(src:NAME,dst:NAME):srcid:u16,dstid:u16
type SCDup struct {
	Src, Dst     []byte
	SrcID, DstID uint16 // results
}

// Name is "SCDUP".
func (*SCDup) Name() string { return "SCDUP" }

func (op *SCDup) parse(l *lexer) {
	op.Src = l.name('(')
	op.Dst = l.name(',')
	l.eat(')')
	op.SrcID = l.u16(':')
	op.DstID = l.u16(',')
}

// AppendArgs appends the arguments and the results.
func (op *SCDup) AppendArgs(b []byte) []byte {
	b = appendText(b, '(', op.Src)
	b = appendText(b, ',', op.Dst)
	b = appendNum(append(b, ')'), ':', uint64(op.SrcID))
	return appendNum(b, ',', uint64(op.DstID))
}

// SCRen renames a storage class. Since 3.0.75:
//
//	SCREN(old:NAME,new:NAME):id:u16
type SCRen struct {
	Old, New []byte
	ID       uint16 // result
}

// Name is "SCREN".
func (*SCRen) Name() string { return "SCREN" }

func (op *SCRen) parse(l *lexer) {
	op.Old = l.name('(')
	op.New = l.name(',')
	l.eat(')')
	op.ID = l.u16(':')
}

// AppendArgs appends the arguments and the result.
func (op *SCRen) AppendArgs(b []byte) []byte {
	b = appendText(b, '(', op.Old)
	b = appendText(b, ',', op.New)
	return appendNum(append(b, ')'), ':', uint64(op.ID))
}

// SCDel removes a storage class. Since 3.0.75:
//
//	SCDEL(class:NAME):id:u16
type SCDel struct {
	Class []byte
	ID    uint16 // result
}

// Name is "SCDEL".
func (*SCDel) Name() string { return "SCDEL" }

func (op *SCDel) parse(l *lexer) {
	op.Class = l.name('(')
	l.eat(')')
	op.ID = l.u16(':')
}

// AppendArgs appends the argument and the result.
func (op *SCDel) AppendArgs(b []byte) []byte {
	b = appendText(b, '(', op.Class)
	return appendNum(append(b, ')'), ':', uint64(op.ID))
}
