package changelog

import (
	"fmt"

	"mfsstandby/changelog/meta"
)

// Limits of erasure codes.
const (
	maxECLabels    = 2
	maxECChecksums = 9
	defaultECData  = 8 // data parts where a class does not tell
)

// modernClass is what the entry says of a class, without its name, as 4.x
// takes it: also in the form of older releases, which later entries of a
// cluster that was upgraded do not have any more.
func (op *SCSet) modernClass(st *meta.State) (meta.Class, error) {
	c := meta.Class{AdminOnly: op.AdminOnly, Mode: op.Mode, ArchDelay: op.ArchDelay, Parts: make([]meta.Labels, meta.ClassParts)}
	if op.Form == FormMasks {
		c.ArchMode = meta.ArchModeCtime
		for i, labels := range [...][]meta.LabelMasks{op.Create, op.Keep, op.Arch} {
			c.Parts[i].Exprs = LabelExprs(labels)
		}
		for i := range c.Parts {
			c.Parts[i].Mode = meta.ClassMode
		}
		if len(op.Create)+len(op.Keep)+len(op.Arch) > 0 {
			c.ArchDelay *= hoursPerDay
		}
	} else {
		c.Description, c.Priority, c.Group = string(op.Description), op.Priority, op.Group
		c.ArchMode, c.ArchMinSize, c.MinTrash = op.ArchMode, op.ArchMinSize, op.MinTrash
		for i := range op.Parts {
			c.Parts[i] = op.Parts[i].labels()
		}
	}
	if op.Form != FormGroup && op.ID < meta.FirstOwnClass {
		c.Group = uint8(op.ID)
	}
	if c.ArchMode == 0 || c.ArchMode&0xC0 != 0 {
		return c, classError(op.Class, meta.EINVAL)
	}
	return c, op.checkParts(st, c.Parts)
}

const hoursPerDay = 24

// LabelExprs turns label expressions of releases before 4.x into those since.
func LabelExprs(labels []meta.LabelMasks) []string {
	var list []string
	for _, m := range labels {
		list = append(list, m.Expr())
	}
	return list
}

// labels returns a copy of the part. A code without number of data parts has
// the number that there was at first.
func (p *ClassPart) labels() meta.Labels {
	l := meta.Labels{EC: p.EC, Mode: p.Mode, Uniq: p.Uniq}
	if l.EC != 0 && l.EC>>4 == 0 {
		l.EC |= defaultECData << 4
	}
	for _, expr := range p.Exprs {
		l.Exprs = append(l.Exprs, string(expr))
	}
	return l
}

// checkParts tells whether a class may have such labels.
func (op *SCSet) checkParts(st *meta.State, parts []meta.Labels) error {
	for i := range parts {
		p := &parts[i]
		labels, data := len(p.Exprs), p.EC>>4
		switch {
		case labels > maxLabels, i == meta.PartKeep && labels == 0:
			return classError(op.Class, meta.EINVAL)
		case p.EC == 0:
			continue
		case i < meta.PartArch, data != 4 && data != 8, p.EC&0xF > maxECChecksums, labels == 0, labels > maxECLabels:
			return classError(op.Class, meta.EINVAL)
		case st.ECVersion < 1, data == 4 && st.ECVersion < 2:
			return fmt.Errorf("storage class %q has erasure code %#x, version %d is in use: %w", op.Class, p.EC, st.ECVersion, meta.EMISMATCH)
		}
	}
	return nil
}

// Apply notes the version.
func (op *SCECVersion) Apply(st *meta.State, _ meta.Time) error {
	if op.ECVersion <= st.ECVersion {
		return fmt.Errorf("version %d of erasure coding is in use: %w", st.ECVersion, meta.EMISMATCH)
	}
	st.ECVersion = op.ECVersion
	return nil
}
