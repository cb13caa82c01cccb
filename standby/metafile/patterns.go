package metafile

import (
	"encoding/binary"
	"fmt"
	"slices"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// PATT 1.1, since 4.x: records, an end record of a zero and eight bytes FF.
// Record:
//
//	length:8 uid:32 gid:32 priority:8 mask:8 class:8 trash hours:16
//	eattr to set:8 eattr to clear:8 glob
//
// PATT 1.0 has no eattr to clear.
const (
	patternFixed = 9 // what the end record has, too
	patternRest  = 7
	patternClear = 0x11 // first version with eattr to clear
)

// patternRecord is a pattern as it stands in a file.
type patternRecord struct {
	pattern meta.Pattern
	stale   uint8 // the byte that mfsmetadump takes for the one after the record
}

// readPattern reads the next record; false is the end.
func (in *input) readPattern(rec *patternRecord) bool {
	b := in.next(patternFixed)
	if b == nil {
		return false
	}
	be := binary.BigEndian
	p := &rec.pattern
	length := int(b[0])
	*p = meta.Pattern{UID: be.Uint32(b[1:]), GID: be.Uint32(b[5:])}
	rec.stale = b[7]
	if length == 0 && p.UID == meta.AnyID && p.GID == meta.AnyID {
		return false
	}
	size := patternRest
	if in.version < patternClear {
		size--
	}
	if b = in.next(size); b == nil {
		return false
	}
	p.Priority, p.Mask, p.Class, p.TrashHours, p.SetEattr = b[0], b[1], b[2], be.Uint16(b[3:]), b[5]
	if in.version >= patternClear {
		p.ClearEattr = b[6]
	}
	p.Glob = string(in.next(length))
	return in.err == nil
}

// filePatterns reads all of them, in the order in which they are tried.
func (in *input) filePatterns() ([]meta.Pattern, error) {
	var list []meta.Pattern
	var rec patternRecord
	for {
		in.begin()
		if !in.readPattern(&rec) {
			slices.SortStableFunc(list, changelog.ComparePatterns)
			return list, in.err
		}
		if len(list) == meta.MaxPatterns {
			return nil, in.failf("more than %d patterns", meta.MaxPatterns)
		}
		list = append(list, rec.pattern)
	}
}

func (l *loader) patterns() error {
	list, err := l.in.filePatterns()
	for i, p := range list {
		l.st.Patterns.Insert(uint16(i), p)
	}
	l.st.PatternCount = uint16(len(list))
	return err
}

func writePatterns(o *output, st *meta.State) error {
	for _, p := range st.Patterns.Scan(0) {
		o.u8(uint8(len(p.Glob)))
		o.u32(p.UID)
		o.u32(p.GID)
		o.u8(p.Priority)
		o.u8(p.Mask)
		o.u8(p.Class)
		o.u16(p.TrashHours)
		o.u8(p.SetEattr)
		o.u8(p.ClearEattr)
		o.bytes(p.Glob)
		o.end()
	}
	o.u8(0)
	o.u32(meta.AnyID)
	o.u32(meta.AnyID)
	o.end()
	return o.err
}

func dumpPatterns(d *dumper) error {
	var rec patternRecord
	for {
		d.in.begin()
		if !d.in.readPattern(&rec) {
			return d.in.err
		}
		d.pattern(&rec)
		if !d.endLine() {
			return d.in.err
		}
	}
}

// pattern prints a pattern. mfsmetadump takes the class for a number of two
// bytes and so everything behind it from the wrong place; it prints a stray 10
// before the user, and the label of the group twice.
func (d *dumper) pattern(rec *patternRecord) {
	p := rec.pattern
	user, group := "|u:", "|g:"
	if d.opt.Misread {
		p.Class, p.TrashHours, p.SetEattr, p.ClearEattr = uint8(p.TrashHours>>8), p.TrashHours<<8|uint16(p.SetEattr), p.ClearEattr, rec.stale
		user, group = "|u:10", "|g:|g:"
	}
	d.t.num("PATTERN|v:", uint64(p.Priority), 3)
	if p.Mask&meta.PatternClass != 0 {
		d.t.num("|#:", uint64(p.Class), 3)
	} else {
		d.t.str("|#:---", "")
	}
	if p.Mask&meta.PatternTrash != 0 {
		d.t.num("|t:", uint64(p.TrashHours), 5)
		d.t.str("h", "")
	} else {
		d.t.str("|t:------", "")
	}
	if p.Mask&meta.PatternEattr != 0 {
		d.t.hex("|e:+0x", uint64(p.SetEattr), 1)
		d.t.hex("/-0x", uint64(p.ClearEattr), 1)
	} else {
		d.t.str("|e:-", "")
	}
	switch {
	case p.UID == meta.AnyID:
		d.t.str("|u:       ANY", "")
	case d.opt.Misread:
		d.t.num(user, uint64(p.UID), 0)
	default:
		d.t.num(user, uint64(p.UID), 10)
	}
	if p.GID == meta.AnyID {
		d.t.str(group, "       ANY")
	} else {
		d.t.num(group, uint64(p.GID), 10)
	}
	d.t.str("|p:", p.Glob)
}

func comparePatterns(c *comparer) error {
	list, err := c.in.filePatterns()
	if err != nil {
		return err
	}
	for i, p := range list {
		key := fmt.Sprintf("pattern %d", i)
		if image, ok := c.st.Patterns.Get(uint16(i)); !ok {
			c.missing("PATT", key, p)
		} else if image != p {
			c.fields("PATT", key, 0, p, image)
		}
	}
	for i, p := range c.st.Patterns.Scan(uint16(len(list))) {
		c.extra("PATT", fmt.Sprintf("pattern %d", i), 0, p)
	}
	return nil
}
