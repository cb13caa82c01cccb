package changelog

import "mfsstandby/changelog/meta"

// ClassData is what SCSet tells of a class since 4.x. Its arguments are then
//
//	class:NAME,new:u8,1,description:TEXT,priority:u32,group:u8,
//	C(n:u8:uniq:u32:mode:u8),K(n:u8:uniq:u32:mode:u8),A(n:u8:uniq:u32:ec:u8:mode:u8),T(n:u8:uniq:u32:ec:u8:mode:u8),
//	mode:u8,(archmode:u8:archdelay:u16:archminsize:u64),mintrash:u16,adminonly:u8,expr,...
//
// with one expression, as pairs of uppercase hexadecimal digits or nothing,
// for each of the n labels of all four parts; '-' if there is no label at all.
// Releases before 4.57 left out "1," to group, and older ones of 4.x the modes
// of the parts, the least size, or all of the parenthesis but the delay.
type ClassData struct {
	Description []byte
	Priority    uint32
	Group       uint8 // export group
	Parts       [meta.ClassParts]ClassPart
	ArchMode    uint8  // meta.ArchMode* bits
	ArchMinSize uint64 // bytes
	MinTrash    uint16 // hours

	Form       ClassForm
	NoArchMode bool // old: ArchMode was left out, and ArchMinSize
	NoMinSize  bool // old: ArchMinSize was left out
}

// ClassForm tells the forms of SCSet apart.
type ClassForm uint8

// The forms of SCSet, oldest first.
const (
	FormMasks ClassForm = iota // before 4.0
	FormParts                  // 4.0 to 4.56
	FormGroup                  // since 4.57
)

// ClassPart is one of the parts C, K, A and T.
type ClassPart struct {
	Uniq   uint32   // mask of labels that must differ
	EC     uint8    // of A and T: data parts <<4 | checksums; 0 is copies
	Mode   uint8    // 255 is that of the class
	Exprs  [][]byte // up to 9, see meta.Labels
	NoMode bool     // old: Mode was left out
}

// maxExpr is the length of the longest label expression.
const maxExpr = 128

// partLetters are the letters of the parts, in their order; from arch on they
// have EC.
const partLetters = "CKAT"

func (op *SCSet) parseClassData(l *lexer) {
	op.Form = FormParts
	if l.text[l.pos+1] == '1' {
		op.Form = FormGroup
		l.eat(',')
		l.eat('1')
		start := l.pos + 1
		op.Description = l.escaped(',', false)
		if len(op.Description) > meta.MaxName {
			l.fail(start, "description longer than 255 bytes")
		}
		op.Priority = l.u32(',')
		op.Group = l.u8(',')
	}
	var count [meta.ClassParts]int
	total := 0
	for i := range op.Parts {
		count[i] = op.Parts[i].parse(l, i)
		total += count[i]
	}
	op.Mode = l.u8(',')
	op.parseArchive(l)
	op.MinTrash = l.u16(',')
	op.AdminOnly = l.u8(',')
	if total == 0 {
		l.eat(',')
		l.eat('-')
		return
	}
	exprs := l.batch.exprs.reserve(total)
	for range total {
		exprs = append(exprs, l.expr())
	}
	exprs = l.batch.exprs.keep(exprs)
	for i, n := range count {
		if n > 0 {
			op.Parts[i].Exprs, exprs = exprs[:n:n], exprs[n:]
		}
	}
}

// parse reads ",C(n:uniq:mode)" or, from arch on, ",A(n:uniq:ec:mode)".
func (p *ClassPart) parse(l *lexer, part int) (labels int) {
	l.eat(',')
	l.eat(partLetters[part])
	l.eat('(')
	labels = int(l.number(maxLabels))
	p.Uniq = l.u32(':')
	if part >= meta.PartArch {
		p.EC = l.u8(':')
	}
	if p.NoMode = l.peek() != ':'; p.NoMode {
		p.Mode = meta.ClassMode
	} else {
		p.Mode = l.u8(':')
	}
	l.eat(')')
	return labels
}

// parseArchive reads ",(archmode:archdelay:archminsize)" or ",archdelay".
func (op *SCSet) parseArchive(l *lexer) {
	l.eat(',')
	if l.peek() != '(' {
		op.NoArchMode, op.NoMinSize = true, true
		op.ArchMode = meta.ArchModeCtime
		op.ArchDelay = uint16(l.number(1<<16 - 1))
		return
	}
	op.ArchMode = l.u8('(')
	op.ArchDelay = l.u16(':')
	if op.NoMinSize = l.peek() != ':'; !op.NoMinSize {
		op.ArchMinSize = l.u64(':')
	}
	l.eat(')')
}

const notExpr = "label expression of at most 128 bytes in hexadecimal digits expected"

// expr reads a comma and a label expression.
func (l *lexer) expr() []byte {
	l.eat(',')
	start := l.pos
	for l.pos < len(l.text) && hexDigit[l.text[l.pos]] <= 15 {
		l.pos++
	}
	digits := l.text[start:l.pos]
	if len(digits)%2 != 0 || len(digits) > 2*maxExpr {
		l.fail(start, notExpr)
		return nil
	}
	out := l.batch.bytes.reserve(len(digits) / 2)
	for ; len(digits) > 0; digits = digits[2:] {
		c := hexDigit[digits[0]]<<4 | hexDigit[digits[1]]
		if c == 0 {
			l.fail(start, "zero byte in a label expression")
			return nil
		}
		out = append(out, c)
	}
	return l.batch.bytes.keep(out)
}

// appendClassData appends what parseClassData reads.
func (op *SCSet) appendClassData(b []byte) []byte {
	if op.Form == FormGroup {
		b = appendText(append(b, ",1"...), ',', op.Description)
		b = appendNum(b, ',', uint64(op.Priority))
		b = appendNum(b, ',', uint64(op.Group))
	}
	total := 0
	for i := range op.Parts {
		p := &op.Parts[i]
		total += len(p.Exprs)
		b = appendNum(append(b, ',', partLetters[i]), '(', uint64(len(p.Exprs)))
		b = appendNum(b, ':', uint64(p.Uniq))
		if i >= meta.PartArch {
			b = appendNum(b, ':', uint64(p.EC))
		}
		if !p.NoMode {
			b = appendNum(b, ':', uint64(p.Mode))
		}
		b = append(b, ')')
	}
	b = appendNum(b, ',', uint64(op.Mode))
	if op.NoArchMode {
		b = appendNum(b, ',', uint64(op.ArchDelay))
	} else {
		b = appendNum(append(b, ','), '(', uint64(op.ArchMode))
		b = appendNum(b, ':', uint64(op.ArchDelay))
		if !op.NoMinSize {
			b = appendNum(b, ':', op.ArchMinSize)
		}
		b = append(b, ')')
	}
	b = appendNum(b, ',', uint64(op.MinTrash))
	b = appendNum(b, ',', uint64(op.AdminOnly))
	if total == 0 {
		return append(b, ",-"...)
	}
	for i := range op.Parts {
		for _, expr := range op.Parts[i].Exprs {
			b = append(b, ',')
			for _, c := range expr {
				b = append(b, upperHex[c>>4], upperHex[c&15])
			}
		}
	}
	return b
}

// SCECVersion turns erasure coding on, in a version of it. Since 4.26:
//
//	SCECVERSION(version:u8)
//
// 4.x before wrote SCECON() for version 1, at first spelled SCRAIDON().
type SCECVersion struct {
	ECVersion uint8
	Old       uint8 // spelled 1 SCECON, 2 SCRAIDON
}

// ecNames are the spellings by SCECVersion.Old.
var ecNames = [...]string{"SCECVERSION", "SCECON", "SCRAIDON"}

// Name is "SCECVERSION", "SCECON" or "SCRAIDON".
func (op *SCECVersion) Name() string { return ecNames[op.Old] }

func (op *SCECVersion) parse(l *lexer) {
	for i, name := range ecNames {
		if l.op == name {
			op.Old = uint8(i)
		}
	}
	if op.Old == 0 {
		op.ECVersion = l.u8('(')
	} else {
		op.ECVersion = 1
		l.eat('(')
	}
	l.eat(')')
}

// AppendArgs appends the argument.
func (op *SCECVersion) AppendArgs(b []byte) []byte {
	if op.Old != 0 {
		return append(b, "()"...)
	}
	return append(appendNum(b, '(', uint64(op.ECVersion)), ')')
}

// AutoArch moves the chunks of a file that were not written for long enough to
// the archive, and takes them out of the trash. Since 4.x:
//
//	AUTOARCH(inode:u32,reftime:u32,intrash:u8):archived:u32,untrashed:u32
//
// Older ones of 4.x left out intrash and untrashed.
type AutoArch struct {
	Inode     meta.Inode
	RefTime   meta.Time // chunks locked to an earlier time are archived
	InTrash   uint8     // not 0: the file is in the trash
	Archived  uint32    // result: chunks moved to the archive
	Untrashed uint32    // result: chunks taken out of the trash
	Short     bool      // old: InTrash (1 then) and Untrashed were left out
}

// Name is "AUTOARCH".
func (*AutoArch) Name() string { return "AUTOARCH" }

func (op *AutoArch) parse(l *lexer) {
	op.Inode = l.inode('(')
	op.RefTime = l.time(',')
	if op.Short = l.peek() != ','; op.Short {
		op.InTrash = 1
	} else {
		op.InTrash = l.u8(',')
	}
	l.eat(')')
	op.Archived = l.u32(':')
	if !op.Short {
		op.Untrashed = l.u32(',')
	}
}

// AppendArgs appends the arguments and the results.
func (op *AutoArch) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Inode))
	b = appendNum(b, ',', uint64(op.RefTime))
	if !op.Short {
		b = appendNum(b, ',', uint64(op.InTrash))
	}
	b = appendNum(append(b, ')'), ':', uint64(op.Archived))
	if !op.Short {
		b = appendNum(b, ',', uint64(op.Untrashed))
	}
	return b
}
