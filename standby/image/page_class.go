package image

import "mfsstandby/changelog/meta"

// classCodec's keys are storage class ids.
var classCodec = sparseCodec[meta.Class]{
	name: "storage classes", prefix: 'K',
	put: func(b []byte, c *meta.Class) []byte { return put64(put64(putClass(b, c), c.Files), c.Directories) },
	get: getClass,
	extra: func(c *meta.Class) int {
		n := len(c.Name) + len(c.Description) + 16*(len(c.Create)+len(c.Keep)+len(c.Arch))
		for i := range c.Parts {
			for _, expr := range c.Parts[i].Exprs {
				n += 16 + len(expr)
			}
		}
		return n
	},
	digest: putClass,
}

// hasParts in the place of a mode, which is 0 to 2, says that what classes
// have since 4.x follows, and then the mode.
const hasParts = 0x80

func putClass(b []byte, c *meta.Class) []byte {
	b = append(putBytes(b, c.Name), c.AdminOnly)
	if c.ArchMode != 0 || c.Mode&hasParts != 0 {
		b = putParts(append(b, hasParts), c)
	}
	b = put16(append(b, c.Mode), c.ArchDelay)
	for _, labels := range [][]meta.LabelMasks{c.Create, c.Keep, c.Arch} {
		b = putUvarint(b, uint64(len(labels)))
		for _, l := range labels {
			for _, m := range l {
				b = put32(b, m)
			}
		}
	}
	return b
}

func getClass(r *reader, c *meta.Class) {
	c.Name, c.AdminOnly, c.Mode = r.string(), r.u8(), r.u8()
	if c.Mode&hasParts != 0 {
		getParts(r, c)
		c.Mode = r.u8()
	}
	c.ArchDelay = r.u16()
	for _, labels := range []*[]meta.LabelMasks{&c.Create, &c.Keep, &c.Arch} {
		for range r.count(16) {
			*labels = append(*labels, meta.LabelMasks{r.u32(), r.u32(), r.u32(), r.u32()})
		}
	}
	c.Files, c.Directories = r.u64(), r.u64()
}

func putParts(b []byte, c *meta.Class) []byte {
	b = put32(putBytes(b, c.Description), c.Priority)
	b = append(b, c.Group, c.ArchMode)
	b = put16(put64(b, c.ArchMinSize), c.MinTrash)
	for i := range meta.ClassParts {
		var p meta.Labels
		if i < len(c.Parts) {
			p = c.Parts[i]
		}
		b = put32(append(b, p.EC, p.Mode), p.Uniq)
		b = putUvarint(b, uint64(len(p.Exprs)))
		for _, expr := range p.Exprs {
			b = putBytes(b, expr)
		}
	}
	return b
}

func getParts(r *reader, c *meta.Class) {
	c.Description, c.Priority = r.string(), r.u32()
	c.Group, c.ArchMode = r.u8(), r.u8()
	c.ArchMinSize, c.MinTrash = r.u64(), r.u16()
	c.Parts = make([]meta.Labels, meta.ClassParts)
	for i := range c.Parts {
		p := &c.Parts[i]
		p.EC, p.Mode, p.Uniq = r.u8(), r.u8(), r.u32()
		for range r.count(1) {
			p.Exprs = append(p.Exprs, r.string())
		}
	}
}

// patternCodec's keys are places in the order of patterns.
var patternCodec = sparseCodec[meta.Pattern]{
	name: "patterns", prefix: 'P', put: putPattern,
	get: func(r *reader, p *meta.Pattern) {
		*p = meta.Pattern{
			Glob: r.string(), UID: r.u32(), GID: r.u32(), Priority: r.u8(), Mask: r.u8(), Class: r.u8(),
			TrashHours: r.u16(), SetEattr: r.u8(), ClearEattr: r.u8(),
		}
	},
	extra:  func(p *meta.Pattern) int { return len(p.Glob) },
	digest: putPattern,
}

func putPattern(b []byte, p *meta.Pattern) []byte {
	b = put32(put32(putBytes(b, p.Glob), p.UID), p.GID)
	b = append(b, p.Priority, p.Mask, p.Class)
	return append(put16(b, p.TrashHours), p.SetEattr, p.ClearEattr)
}
