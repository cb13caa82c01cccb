package metafile

import (
	"encoding/binary"
	"fmt"
	"strings"

	"mfsstandby/changelog/meta"
)

// SCLA since 1.7, of 4.x, has label expressions in place of or-groups:
//
//	E:16 EC version:8, records, 0:16. Record of 1.<:
//
//	id:16 name length:8 description length:8 priority:32 group:8 admin only:8
//	mode:8 arch mode:8 arch delay:16 least size:64 least trash retention:16
//	create and keep: (labels:8 uniq:32 mode:8) each
//	archive and trash: (labels:8 EC:8 uniq:32 mode:8) each
//	name, description, labels*[expression, E bytes]
//
// Older versions lack some of it.
const (
	classExprs       = 0x17 // first version with expressions
	classArchMode    = 0x18 // first version with the mode of archiving
	classChecksums   = 0x19 // first version that counts checksums; before it was one more
	classMinSize     = 0x1A // first version with the least size
	classPartModes   = 0x1B // first version with a mode for each part
	classDescription = 0x1C // first version with description, priority and group
	maxExprSize      = 128
	maxChecksums     = 9
	maxECLabels      = 2
	oldECData        = 8 // data parts of a code that does not tell
)

// rawPart is a part as it stands in a file.
type rawPart struct {
	labels, ec, mode uint8
	uniq             uint32
}

type modernClassesHead struct {
	exprSize  int
	ecVersion uint8
}

func (in *input) modernClassesHead() (h modernClassesHead, err error) {
	b := in.next(3)
	if b == nil {
		return h, in.err
	}
	h = modernClassesHead{int(binary.BigEndian.Uint16(b)), b[2]}
	if h.exprSize < 1 || h.exprSize > maxExprSize {
		return h, in.failf("label expressions of %d bytes: must be 1 to %d", h.exprSize, maxExprSize)
	}
	return h, nil
}

// fieldReader takes a record apart.
type fieldReader struct{ b []byte }

func (f *fieldReader) u8() (v uint8) { v, f.b = f.b[0], f.b[1:]; return v }
func (f *fieldReader) u16() (v uint16) {
	v, f.b = binary.BigEndian.Uint16(f.b), f.b[2:]
	return v
}
func (f *fieldReader) u32() (v uint32) {
	v, f.b = binary.BigEndian.Uint32(f.b), f.b[4:]
	return v
}
func (f *fieldReader) u64() (v uint64) {
	v, f.b = binary.BigEndian.Uint64(f.b), f.b[8:]
	return v
}

// modernClassSize is the size of a record behind its id, without what varies.
func modernClassSize(version uint8) int {
	switch {
	case version >= classDescription:
		return 48
	case version >= classPartModes:
		return 42
	case version >= classMinSize:
		return 38
	case version >= classArchMode:
		return 30
	}
	return 29
}

// readModernClass is readClass for versions since 1.7. The class is as 4.59.2
// has it after loading the file.
func (in *input) readModernClass(rec *classRecord) bool {
	b := in.next(2)
	if b == nil {
		return false
	}
	if rec.id = binary.BigEndian.Uint16(b); rec.id == 0 {
		return false
	}
	b = in.next(modernClassSize(in.version))
	if b == nil {
		return false
	}
	c := &rec.class
	*c = meta.Class{ArchMode: meta.ArchModeCtime, Parts: make([]meta.Labels, meta.ClassParts)}
	nameLen, textLen := rec.fixed(in.version, b)
	c.Name = string(in.next(nameLen))
	c.Description = string(in.next(textLen))
	if in.version < classDescription {
		c.Name = oldName(c.Name)
	}
	if in.err != nil || !in.checkParts(rec) {
		return false
	}
	for i := range rec.raw {
		for range rec.raw[i].labels {
			expr, _, _ := strings.Cut(string(in.next(rec.exprSize)), "\x00")
			c.Parts[i].Exprs = append(c.Parts[i].Exprs, expr)
		}
	}
	rec.completeParts(in.version)
	return in.err == nil
}

// fixed reads what does not vary in length but for the id.
func (rec *classRecord) fixed(version uint8, b []byte) (nameLen, textLen int) {
	f, c := fieldReader{b}, &rec.class
	nameLen = int(f.u8())
	if version >= classDescription {
		textLen = int(f.u8())
		c.Priority, c.Group = f.u32(), f.u8()
	} else if rec.id < meta.FirstOwnClass {
		c.Group = uint8(rec.id)
	}
	c.AdminOnly, c.Mode = f.u8(), f.u8()
	if version >= classArchMode {
		if mode := f.u8() & 0x3F; mode != 0 {
			c.ArchMode = mode
		}
	}
	c.ArchDelay = f.u16()
	if version >= classMinSize {
		c.ArchMinSize = f.u64()
	}
	c.MinTrash = f.u16()
	for i := range rec.raw {
		p := &rec.raw[i]
		*p = rawPart{labels: f.u8(), mode: meta.ClassMode}
		if i >= meta.PartArch {
			p.ec = f.u8()
		}
		p.uniq = f.u32()
		if version >= classPartModes {
			p.mode = f.u8()
		}
		if version < classChecksums && p.ec > 1 {
			p.ec--
		}
	}
	return nameLen, textLen
}

// oldName makes the name of a class one that 4.57 and later allow.
func oldName(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c < ' ' {
			b[i] = ' '
		}
	}
	if len(b) > 0 {
		for _, i := range [...]int{0, len(b) - 1} {
			if b[i] == ' ' {
				b[i] = '_'
			}
		}
	}
	return string(b)
}

// checkParts checks numbers of labels and erasure codes.
func (in *input) checkParts(rec *classRecord) bool {
	for i := range rec.raw {
		p := &rec.raw[i]
		data := p.ec >> 4
		switch {
		case p.labels > maxLabels, i == meta.PartKeep && p.labels == 0:
			in.failf("storage class %d has %d labels in its part %c", rec.id, p.labels, partLetters[i])
		case p.ec != 0 && (p.ec&0xF == 0 || p.ec&0xF > maxChecksums || data != 0 && data != 4 && data != 8 || p.labels > maxECLabels):
			in.failf("storage class %d has erasure code %#02x with %d labels in its part %c", rec.id, p.ec, p.labels, partLetters[i])
		default:
			continue
		}
		return false
	}
	return true
}

const partLetters = "CKAT"

// completeParts puts the parts together, with what older versions imply.
func (rec *classRecord) completeParts(version uint8) {
	c := &rec.class
	for i := range rec.raw {
		raw, p := &rec.raw[i], &c.Parts[i]
		p.EC, p.Mode, p.Uniq = raw.ec, raw.mode, raw.uniq
		if p.EC == 0 {
			continue
		}
		if p.EC>>4 == 0 {
			p.EC |= oldECData << 4
		}
		if len(p.Exprs) == 0 {
			p.Exprs = []string{""}
		}
		if version < classPartModes && c.Mode != 0 && hasLabels(p) {
			p.Mode = 0 // codes with labels were loose
		}
	}
}

func (l *loader) modernClasses() error {
	l.class, l.st.ClassesUsed = [meta.MaxClasses]classUse{}, 1 // nothing is predefined
	head, err := l.in.modernClassesHead()
	l.st.ECVersion = head.ecVersion
	rec := classRecord{exprSize: head.exprSize}
	for err == nil {
		l.begin()
		if !l.in.readClass(&rec) {
			return l.in.err
		}
		switch {
		case rec.id >= meta.MaxClasses:
			err = l.in.failf("bad id of a storage class: %d", rec.id)
		case rec.class.Name == "":
			err = l.in.failf("storage class %d has no name", rec.id)
		case l.class[rec.id].known:
			err = l.in.failf("storage class %d comes twice", rec.id)
		default:
			err = l.checkECVersion(&rec)
			l.define(rec.id, rec.class)
		}
	}
	return err
}

// checkECVersion checks that the codes of a class can be in use.
func (l *loader) checkECVersion(rec *classRecord) error {
	for _, p := range rec.class.Parts {
		if p.EC != 0 && l.st.ECVersion < 1 || p.EC>>4 == 4 && l.st.ECVersion < 2 {
			return l.in.failf("storage class %d has erasure code %#02x, version %d is in use", rec.id, p.EC, l.st.ECVersion)
		}
	}
	return nil
}

func writeModernClasses(o *output, st *meta.State) error {
	o.u16(maxExprSize)
	o.u8(st.ECVersion)
	o.end()
	for id, c := range st.Classes.Scan(0) {
		if len(c.Parts) != meta.ClassParts {
			return o.failf("storage class %d is not one of 4.x", id)
		}
		o.u16(uint16(id))
		o.u8(uint8(len(c.Name)))
		o.u8(uint8(len(c.Description)))
		o.u32(c.Priority)
		o.u8(c.Group)
		o.u8(c.AdminOnly)
		o.u8(c.Mode)
		o.u8(c.ArchMode)
		o.u16(c.ArchDelay)
		o.u64(c.ArchMinSize)
		o.u16(c.MinTrash)
		for i, p := range c.Parts {
			o.u8(uint8(len(p.Exprs)))
			if i >= meta.PartArch {
				o.u8(p.EC)
			}
			o.u32(p.Uniq)
			o.u8(p.Mode)
		}
		o.bytes(c.Name)
		o.bytes(c.Description)
		for _, p := range c.Parts {
			for _, expr := range p.Exprs {
				o.bytes(expr)
				o.zeros(maxExprSize - len(expr))
			}
		}
		o.end()
	}
	o.u16(0)
	o.end()
	return o.err
}

func dumpModernClasses(d *dumper) error {
	head, err := d.in.modernClassesHead()
	if err != nil {
		return err
	}
	d.t.num("SCLASSEC|", uint64(head.ecVersion), 0)
	rec := classRecord{exprSize: head.exprSize}
	for d.endLine() {
		d.in.begin()
		if !d.in.readClass(&rec) {
			break
		}
		d.modernClass(&rec)
	}
	return d.in.err
}

func (d *dumper) modernClass(rec *classRecord) {
	c := &rec.class
	if c.Description != "" || !d.opt.Misread {
		d.description = c.Description
	}
	d.t.num("SCLASSMAIN|#:", uint64(rec.id), 5)
	d.t.num("|p:", uint64(c.Priority), 0)
	d.t.num("|g:", uint64(c.Group), 0)
	d.t.num("|x:", uint64(c.AdminOnly), 0)
	d.t.num("|m:", uint64(c.Mode), 0)
	d.t.hex("|a:0x", uint64(c.ArchMode), 0)
	d.t.num("|d:", uint64(c.ArchDelay), 5)
	d.t.num("|s:", c.ArchMinSize, 20)
	d.t.num("|t:", uint64(c.MinTrash), 5)
	d.t.str("|n:", c.Name)
	d.t.str("|c:", d.description)
	for i := range c.Parts {
		if p := &c.Parts[i]; len(p.Exprs) > 0 {
			d.endLine()
			d.t.num("SCLASSEXPR|#:", uint64(rec.id), 5)
			d.t.letter("|t:", true, partLetters[i], 0)
			d.t.str("|e:", labelsText(p))
		}
	}
}

// Bits of Labels.Uniq above those of the 26 labels.
const (
	uniqIP   = 1 << 26
	uniqRack = 1 << 27
)

// labelsText is "@8+1,2A|B,C/A-CE:STRICT": erasure code, labels with their
// number if several in a row are the same, labels that must differ, mode.
func labelsText(l *meta.Labels) string {
	var parts []string
	if l.EC != 0 {
		parts = append(parts, "@"+codeText(l.EC))
	}
	for i := 0; i < len(l.Exprs); {
		n := 1
		for i+n < len(l.Exprs) && l.Exprs[i+n] == l.Exprs[i] {
			n++
		}
		text := exprText(l.Exprs[i])
		if n > 1 {
			text = fmt.Sprintf("%d%s", n, text)
		}
		parts = append(parts, text)
		i += n
	}
	text := strings.Join(parts, ",")
	if l.Uniq != 0 {
		text += "/" + uniqText(l.Uniq)
	}
	if modes := [...]string{":LOOSE", ":STD", ":STRICT"}; int(l.Mode) < len(modes) {
		text += modes[l.Mode]
	}
	return text
}

func codeText(ec uint8) string {
	if data := ec >> 4; data == 4 || data == 8 {
		return fmt.Sprintf("%d+%d", data, ec&0xF)
	}
	return fmt.Sprint(ec & 0xF)
}

// uniqText names labels, three and more in a row as "A-C".
func uniqText(mask uint32) string {
	switch {
	case mask&uniqIP != 0:
		return "[IP]"
	case mask&uniqRack != 0:
		return "[RACK]"
	}
	b := &strings.Builder{}
	for i := 0; i < 26; i++ {
		if mask>>i&1 == 0 {
			continue
		}
		b.WriteByte('A' + byte(i))
		if i < 24 && mask>>i&7 == 7 {
			for mask>>i&1 != 0 && i < 26 {
				i++
			}
			i--
			b.WriteByte('-')
			b.WriteByte('A' + byte(i))
		}
	}
	return b.String()
}

// How strongly the operators of an expression bind.
const (
	bindsLabel = iota
	bindsAnd
	bindsOr
)

// exprText writes an expression with operators between their operands.
func exprText(expr string) string {
	type operand struct {
		text  string
		level int
	}
	if expr == "" {
		return "*"
	}
	var stack []operand
	join := func(n, level int, sep string) {
		if n > len(stack) {
			n = len(stack)
		}
		var parts []string
		for _, o := range stack[len(stack)-n:] {
			if o.level > level {
				o.text = "(" + o.text + ")"
			}
			parts = append(parts, o.text)
		}
		stack = append(stack[:len(stack)-n], operand{strings.Join(parts, sep), level})
	}
	for i := range len(expr) {
		switch c := expr[i]; {
		case c == anyServer[0]:
			stack = append(stack, operand{text: "*"})
		case c >= 0xC0:
			stack = append(stack, operand{text: string(rune('A' + c - 0xC0))})
		case c >= 0x80:
			join(int(c-0x80)+2, bindsAnd, "&")
		case c >= 0x40:
			join(int(c-0x40)+2, bindsOr, "|")
		case c == 1 && len(stack) > 0:
			o := &stack[len(stack)-1]
			if o.level > bindsLabel {
				o.text = "(" + o.text + ")"
			}
			*o = operand{text: "~" + o.text}
		}
	}
	if len(stack) != 1 {
		return "ERROR"
	}
	return stack[0].text
}
