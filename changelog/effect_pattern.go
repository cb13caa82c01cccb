package changelog

import (
	"cmp"
	"fmt"
	"strings"

	"mfsstandby/changelog/meta"
)

// patternError tells what is wrong with a pattern.
func patternError(glob []byte, status meta.Status) error {
	return fmt.Errorf("pattern %q: %w", glob, status)
}

// applyPatterns gives a node with a new name what the first pattern says that
// fits name, user and group. Times do not change by that.
//
// The primary looks at all groups of the user, of which entries tell one at
// most. If hidden they do not tell that either, and a pattern for this user
// counts as one for a group that it is in: who makes a pattern for both has
// reason to.
func applyPatterns(st *meta.State, ino meta.Inode, n *meta.Node, name []byte, uid, gid uint32, hidden bool) error {
	if st.PatternCount == 0 {
		return nil
	}
	for _, p := range st.Patterns.Scan(0) {
		user, group := p.UID == meta.AnyID || p.UID == uid, p.GID == meta.AnyID || p.GID == gid
		if user && (group || hidden && p.UID == uid) && GlobMatches(p.Glob, name) {
			return applyPattern(st, ino, n, &p)
		}
	}
	return nil
}

func applyPattern(st *meta.State, ino meta.Inode, n *meta.Node, p *meta.Pattern) error {
	if n.Type == meta.TypeDir || n.Type == meta.TypeFile {
		if p.Mask&meta.PatternClass != 0 && p.Class != n.Class {
			if err := setClass(st, ino, n, p.Class); err != nil {
				return err
			}
		}
		if p.Mask&meta.PatternTrash != 0 {
			n.TrashHours = p.TrashHours
		}
	}
	if p.Mask&meta.PatternEattr != 0 {
		set := p.SetEattr
		if n.Type != meta.TypeDir {
			set &^= meta.EattrNoECache
		}
		n.Eattr = (n.Eattr | set) &^ p.ClearEattr
	}
	return nil
}

// patterns returns all patterns in the order in which they are tried.
func patterns(st *meta.State) []meta.Pattern {
	var list []meta.Pattern
	for _, p := range st.Patterns.Scan(0) {
		list = append(list, p)
	}
	return list
}

// setPatterns replaces all patterns.
func setPatterns(st *meta.State, list []meta.Pattern) {
	for i := range max(len(list), int(st.PatternCount)) {
		place := uint16(i)
		switch old, ok := st.Patterns.Edit(place); {
		case i >= len(list):
			st.Patterns.Delete(place)
		case ok:
			*old = list[i]
		default:
			st.Patterns.Insert(place, list[i])
		}
	}
	st.PatternCount = uint16(len(list))
}

// removePatterns removes what drop selects and returns how many that were.
func removePatterns(st *meta.State, drop func(*meta.Pattern) bool) int {
	if st.PatternCount == 0 {
		return 0
	}
	list := patterns(st)
	rest := without(list, func(p meta.Pattern) bool { return drop(&p) })
	if len(rest) < len(list) {
		setPatterns(st, rest)
	}
	return len(list) - len(rest)
}

// ComparePatterns orders patterns as they are tried. Equal ones stay in the
// order in which they were made.
func ComparePatterns(a, b meta.Pattern) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Class, b.Class), strings.Compare(a.Glob, b.Glob))
}

// Apply makes the pattern.
func (op *PatAdd) Apply(st *meta.State, _ meta.Time) error {
	if len(op.Glob) == 0 || op.Mask&meta.PatternEattr != 0 && (op.SetEattr|op.ClearEattr == 0 || op.SetEattr&op.ClearEattr != 0) {
		return patternError(op.Glob, meta.EINVAL)
	}
	fresh := meta.Pattern{
		Glob: string(op.Glob), UID: op.UID, GID: op.GID, Priority: op.Priority, Mask: op.Mask,
		Class: op.Class, TrashHours: op.TrashHours, SetEattr: op.SetEattr, ClearEattr: op.ClearEattr,
	}
	if op.Mask&meta.PatternClass != 0 {
		if _, ok := st.Classes.Get(op.Class); !ok {
			return patternError(op.Glob, meta.ENOSUCHCLASS)
		}
	}
	list := patterns(st)
	at := len(list)
	for i, p := range list {
		if op.is(&p) {
			return patternError(op.Glob, meta.EPATTERNEXISTS)
		}
		if at == len(list) && ComparePatterns(p, fresh) > 0 {
			at = i
		}
	}
	if len(list) >= meta.MaxPatterns {
		return patternError(op.Glob, meta.EPATLIMIT)
	}
	list = append(list, meta.Pattern{})
	copy(list[at+1:], list[at:])
	list[at] = fresh
	setPatterns(st, list)
	return nil
}

func (op *PatAdd) is(p *meta.Pattern) bool {
	return p.Glob == string(op.Glob) && p.UID == op.UID && p.GID == op.GID
}

// Apply removes the pattern.
func (op *PatDel) Apply(st *meta.State, _ meta.Time) error {
	is := func(p *meta.Pattern) bool { return p.Glob == string(op.Glob) && p.UID == op.UID && p.GID == op.GID }
	if removePatterns(st, is) == 0 {
		return patternError(op.Glob, meta.ENOSUCHPATTERN)
	}
	return nil
}
