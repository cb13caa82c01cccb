package meta

// LabelMasks is one label expression of releases before 4.x: an OR of
// AND-masks (bit 0 is label A); all zero is any server.
type LabelMasks [4]uint32

// Class is a storage class. Releases before 4.x have the fields of the first
// part and Create, Keep and Arch; 4.x has all but these, with the labels in
// Parts, of which it has ClassParts.
type Class struct {
	Name      string
	AdminOnly uint8
	Mode      uint8  // 0 loose, 1 standard, 2 strict
	ArchDelay uint16 // days, since 4.x hours

	Create, Keep, Arch []LabelMasks // 1..9 each

	Description string
	Priority    uint32
	Group       uint8    // export group, 0..15
	ArchMode    uint8    // ArchMode* bits
	ArchMinSize uint64   // bytes; shorter files are not archived
	MinTrash    uint16   // hours of trash retention from which on the trash labels count
	Parts       []Labels // by PartCreate ...

	Files, Directories uint64 // derived: nodes of this class
}

// Labels say where the copies of a chunk go in one state of its life; since
// 4.x.
type Labels struct {
	EC    uint8    // 0 copies; else data parts <<4 | checksums
	Mode  uint8    // as Class.Mode; 255 is that of the class
	Uniq  uint32   // mask of labels that must differ
	Exprs []string // one per label: the expression's bytes up to the first zero byte
}

// Index of Class.Parts.
const (
	PartCreate = iota
	PartKeep
	PartArch
	PartTrash
	ClassParts
)

// ClassMode is the Labels.Mode that leaves it to Class.Mode.
const ClassMode = 255

// Bits of Class.ArchMode.
const (
	ArchModeCtime      = 0x01
	ArchModeMtime      = 0x02
	ArchModeAtime      = 0x04
	ArchModeReversible = 0x08
	ArchModeFast       = 0x10
	ArchModeChunk      = 0x20
	ArchModeTimes      = ArchModeCtime | ArchModeMtime | ArchModeAtime
)

// Pattern gives new and renamed nodes whose name fits a storage class, trash
// retention or attributes; since 4.x.
type Pattern struct {
	Glob       string
	UID, GID   uint32 // AnyID is any
	Priority   uint8
	Mask       uint8 // Pattern* bits: what is set
	Class      uint8
	TrashHours uint16
	SetEattr   uint8
	ClearEattr uint8
}

// AnyID is the Pattern.UID or GID that fits everyone.
const AnyID = 0xFFFFFFFF

// Bits of Pattern.Mask.
const (
	PatternClass = 1
	PatternTrash = 2
	PatternEattr = 4
)

// MaxPatterns is how many patterns there can be.
const MaxPatterns = 1024

// A Node.Ratio is the number of copies of a file, or, with ratioEighths set,
// how many eighths of its size it takes.
const ratioEighths = 0x80

// RealSize is the space that all copies of size bytes take with a Node.Ratio.
func RealSize(size uint64, ratio uint8) uint64 {
	if ratio&ratioEighths != 0 {
		return size * uint64(ratio&^ratioEighths) / 8
	}
	return size * uint64(ratio)
}

// maxChecksums is how many checksums of an erasure code a community build
// makes, whatever the class says.
const maxChecksums = 1

// Ratio is the Node.Ratio of a file of c; keep tells that the file's chunks
// stay out of the archive (KeepMode).
func (c *Class) Ratio(keep bool) uint8 {
	if len(c.Parts) == 0 { // before 4.x
		return uint8(max(len(c.Keep), len(c.Arch)))
	}
	arch := &c.Parts[PartArch]
	if !keep && arch.EC != 0 {
		data, checksums := arch.EC>>4, min(arch.EC&0xF, maxChecksums)
		if data == 0 {
			return 0 // no reader lets that pass
		}
		return ratioEighths | (checksums+data)*8/data
	}
	if !keep && len(arch.Exprs) > 0 {
		return uint8(len(arch.Exprs))
	}
	return uint8(len(c.Parts[PartKeep].Exprs))
}

// Bytes of a label expression, which works on a stack: they push a label or
// join as many of the last values as the low bits say, plus two.
const (
	exprLabel = 0xC0 // plus the number of the label; there are 26
	exprAnd   = 0x80
	exprOr    = 0x40

	labels = 26 // A to Z
)

// Expr turns an expression of releases before 4.x into one of Labels.Exprs.
func (m LabelMasks) Expr() string {
	var b []byte
	ors := 0
	for _, mask := range m {
		if mask == 0 {
			break
		}
		ands := 0
		for label := range labels {
			if mask>>label&1 != 0 {
				b = append(b, exprLabel+byte(label))
				ands++
			}
		}
		if ands > 1 {
			b = append(b, exprAnd+byte(ands-2))
		}
		ors++
	}
	if ors > 1 {
		b = append(b, exprOr+byte(ors-2))
	}
	return string(b)
}

// MasksOf turns an expression of Labels.Exprs back into one of releases before
// 4.x, if they could say it.
func MasksOf(expr string) (m LabelMasks, ok bool) {
	top := func() byte { return expr[len(expr)-1] } // of the stack, whose end is the root
	pop := func(op byte) (values int, ok bool) {
		if expr == "" {
			return 0, false
		}
		if top()&exprLabel != op {
			return 1, true
		}
		values = int(top()&^exprLabel) + 2
		expr = expr[:len(expr)-1]
		return values, true
	}
	if expr == "" {
		return m, true
	}
	ors, _ := pop(exprOr)
	if ors > len(m) {
		return m, false
	}
	for ; ors > 0; ors-- {
		ands, ok := pop(exprAnd)
		for ; ok && ands > 0; ands-- {
			if ok = expr != "" && top() >= exprLabel && top() < exprLabel+labels; ok {
				m[ors-1] |= 1 << (top() &^ exprLabel)
				expr = expr[:len(expr)-1]
			}
		}
		if !ok {
			return m, false
		}
	}
	return m, expr == ""
}
