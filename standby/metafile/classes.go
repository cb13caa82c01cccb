package metafile

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// SCLA 1.6: G:8 or-groups per label, records, a zero record. Record:
//
//	id:16 name length:8 admin only:8 mode:8 archive delay:16
//	labels to create, keep and archive:8 each, name, labels*[G*mask:32]
const (
	classFixed = 10
	orGroups   = 4
	maxLabels  = 9
	modeStd    = 1
)

type classRecord struct {
	id     uint16
	class  meta.Class
	groups int // or-groups in the file

	exprSize int                      // since 1.7: bytes of a label expression in the file
	raw      [meta.ClassParts]rawPart // since 1.7
}

// readClass reads the next record; false is the end.
func (in *input) readClass(rec *classRecord) bool {
	switch {
	case in.version < classNames:
		return in.readOldClass(rec)
	case in.version >= classExprs:
		return in.readModernClass(rec)
	}
	b := in.next(classFixed)
	if b == nil {
		return false
	}
	rec.id = binary.BigEndian.Uint16(b)
	rec.class = meta.Class{AdminOnly: b[3], Mode: b[4], ArchDelay: binary.BigEndian.Uint16(b[5:])}
	nameLen, create, keep, arch := int(b[2]), int(b[7]), int(b[8]), int(b[9])
	end := rec.id == 0 && rec.class.ArchDelay == 0 && create+keep+arch == 0
	rec.class.Name = string(in.next(nameLen))
	if in.err != nil || end {
		return false
	}
	if !in.labelCounts(rec.id, create, keep, arch) {
		return false
	}
	rec.class.Create = in.labels(create, rec.groups)
	rec.class.Keep = in.labels(keep, rec.groups)
	rec.class.Arch = in.labels(arch, rec.groups)
	return in.err == nil
}

// nameIt gives a class without name the one that mfsmaster gives it.
func (rec *classRecord) nameIt() {
	if rec.class.Name == "" && rec.id >= meta.FirstOwnClass {
		rec.class.Name = fmt.Sprintf("sclass_%d", rec.id+1-meta.FirstOwnClass)
	}
}

// labelCounts checks how many labels a class has.
func (in *input) labelCounts(id uint16, create, keep, arch int) bool {
	for _, n := range [...]int{create, keep, arch} {
		if n < 1 || n > maxLabels {
			in.failf("storage class %d has %d, %d and %d labels to create, keep and archive: each must be 1 to %d", id, create, keep, arch, maxLabels)
			return false
		}
	}
	return true
}

func (in *input) labels(n, groups int) []meta.LabelMasks {
	list := make([]meta.LabelMasks, n)
	for i := range list {
		for k := range groups {
			list[i][k] = in.u32()
		}
	}
	return list
}

// classesHead reads the number of or-groups.
func (in *input) classesHead() (int, error) {
	if in.version < classNames {
		if err := in.labelTexts(); err != nil {
			return 0, err
		}
	}
	if in.version < classGroups {
		return 1, in.err
	}
	n := int(in.u8())
	if in.err == nil && (n < 1 || n > orGroups) {
		return 0, in.failf("%d or-groups in label expressions: must be 1 to %d", n, orGroups)
	}
	return n, in.err
}

// classUse is a storage class while its file is read.
type classUse struct {
	class meta.Class
	known bool
	ratio uint8
}

// use counts a node of the class.
func (c *classUse) use(t meta.Type) {
	switch {
	case t == meta.TypeDir:
		c.class.Directories++
	case t.IsFile():
		c.class.Files++
	}
}

func (l *loader) define(id uint16, c meta.Class) {
	l.class[id] = classUse{class: c, known: true, ratio: c.Ratio(false)}
	l.st.ClassesUsed = max(l.st.ClassesUsed, id+1)
}

// predefineClasses makes the classes "1" to "9", which a file may redefine.
func (l *loader) predefineClasses() {
	l.st.ClassesUsed = meta.FirstOwnClass
	for id := uint16(1); id < meta.FirstOwnClass; id++ {
		any := func() []meta.LabelMasks { return make([]meta.LabelMasks, id) }
		l.define(id, meta.Class{Name: strconv.Itoa(int(id)), Mode: modeStd, Create: any(), Keep: any(), Arch: any()})
	}
}

func (l *loader) classes() error {
	l.classesIn = true
	if l.in.version >= classExprs {
		return l.modernClasses()
	}
	var rec classRecord
	var err error
	if rec.groups, err = l.in.classesHead(); err != nil {
		return err
	}
	for {
		l.begin()
		if !l.in.readClass(&rec) {
			return l.in.err
		}
		own := rec.id >= meta.FirstOwnClass
		rec.nameIt()
		switch {
		case rec.id == 0 || rec.id >= meta.MaxClasses:
			return l.in.failf("bad id of a storage class: %d", rec.id)
		case rec.class.Name == "":
			return l.in.failf("storage class %d has no name", rec.id)
		case own && l.class[rec.id].known:
			return l.in.failf("storage class %d comes twice", rec.id)
		}
		// Nodes counted before are forgotten, as in mfsmaster: classes come first.
		l.define(rec.id, rec.class)
	}
}

// storeClasses stores the classes with their references.
func (l *loader) storeClasses() error {
	for id := range l.class {
		c := &l.class[id]
		if c.known {
			if l.modern && len(c.class.Parts) == 0 {
				c.class = changelog.ModernClass(uint8(id), c.class)
			}
			l.st.Classes.Insert(uint8(id), c.class)
		} else if id > 0 && c.class.Files+c.class.Directories > 0 {
			return l.in.failf("%d nodes have storage class %d, which does not exist", c.class.Files+c.class.Directories, id)
		}
	}
	return nil
}

func writeClasses(o *output, st *meta.State) error {
	if o.modern {
		return writeModernClasses(o, st)
	}
	o.u8(orGroups)
	o.end()
	for id, c := range st.Classes.Scan(0) {
		o.u16(uint16(id))
		o.u8(uint8(len(c.Name)))
		o.u8(c.AdminOnly)
		o.u8(c.Mode)
		o.u16(c.ArchDelay)
		lists := [...][]meta.LabelMasks{c.Create, c.Keep, c.Arch}
		for _, list := range lists {
			o.u8(uint8(len(list)))
		}
		o.bytes(c.Name)
		for _, list := range lists {
			for _, masks := range list {
				for _, m := range masks {
					o.u32(m)
				}
			}
		}
		o.end()
	}
	o.zeros(classFixed)
	o.end()
	return o.err
}

func dumpClasses(d *dumper) error {
	if d.in.version >= classExprs {
		return dumpModernClasses(d)
	}
	var rec classRecord
	var err error
	if rec.groups, err = d.in.classesHead(); err != nil {
		return err
	}
	for {
		d.in.begin()
		if !d.in.readClass(&rec) {
			return d.in.err
		}
		c := &rec.class
		d.t.num("SCLASS|#:", uint64(rec.id), 5)
		d.t.num("|x:", uint64(c.AdminOnly), 0)
		d.t.num("|m:", uint64(c.Mode), 0)
		d.t.num("|d:", uint64(c.ArchDelay), 5)
		d.labels("|c: ", c.Create)
		d.labels(" |k: ", c.Keep)
		d.labels(" |a: ", c.Arch)
		if c.Name != "" {
			name, _, _ := strings.Cut(c.Name, "\x00") // a C string in mfsmetadump
			d.t.str(" |n:", name)
		}
		if !d.endLine() {
			return d.in.err
		}
	}
}

// labels prints "A:BC+D:*": labels of a group stand together, groups are
// joined by +, up to the first that is empty.
func (d *dumper) labels(label string, list []meta.LabelMasks) {
	for _, masks := range list {
		d.t.str(label, "")
		label = ":"
		if masks[0] == 0 {
			d.t.str("*", "")
		}
		for i, m := range masks {
			if m == 0 {
				break
			}
			if i > 0 {
				d.t.str("+", "")
			}
			for bit := range 26 {
				if m>>bit&1 != 0 {
					d.t.letter("", true, 'A'+byte(bit), 0)
				}
			}
		}
	}
}

func compareClasses(c *comparer) error {
	var seen [meta.MaxClasses]bool
	var rec classRecord
	var err error
	if c.in.version >= classExprs {
		var head modernClassesHead
		head, err = c.in.modernClassesHead()
		rec.exprSize = head.exprSize
		c.scalar("SCLA", "version of erasure coding", uint64(head.ecVersion), uint64(c.st.ECVersion))
	} else {
		rec.groups, err = c.in.classesHead()
	}
	if err != nil {
		return err
	}
	for {
		c.in.begin()
		if !c.in.readClass(&rec) {
			break
		}
		if rec.id >= meta.MaxClasses {
			return c.in.failf("bad id of a storage class: %d", rec.id)
		}
		rec.nameIt()
		if c.modern() && len(rec.class.Parts) == 0 {
			rec.class = changelog.ModernClass(uint8(rec.id), rec.class)
		}
		seen[rec.id] = true
		key := fmt.Sprintf("class %d", rec.id)
		image, ok := c.st.Classes.Get(uint8(rec.id))
		if !ok {
			c.missing("SCLA", key, rec.class)
			continue
		}
		image.Files, image.Directories = 0, 0
		c.fields("SCLA", key, 0, rec.class, image)
	}
	for id, class := range c.st.Classes.Scan(0) {
		if !seen[id] && (id >= meta.FirstOwnClass || c.in.version >= classNames) {
			c.extra("SCLA", fmt.Sprintf("class %d", id), 0, class)
		}
	}
	return c.in.err
}
