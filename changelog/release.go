package changelog

import (
	"fmt"
	"slices"

	"mfsstandby/changelog/meta"
)

// SetRelease notes which release the primary has from the next entry on, if r
// is not 0: the same entry can have another effect in another release. At a
// step from 2.0 to 3.x or from there to 4.x the State becomes what the new
// master makes of the metadata when it starts on them; now is the time of the
// last entry before.
//
// The error says that a State of one release cannot become one of the other
// here: the metadata file that the new primary stores has to be loaded.
func SetRelease(st *meta.State, r meta.Release, now meta.Time) error {
	old := st.Release
	if r == 0 || r == old {
		return nil
	}
	if family(old) == meta.Release2 && family(r) > meta.Release2 {
		from2to3(st)
		old = meta.Release3
	}
	if family(old) == meta.Release3 && family(r) == meta.Release4 {
		from3to4(st, now)
		old = meta.Release4
	}
	if family(old) != family(r) {
		return fmt.Errorf("the primary has become MooseFS %s, the image is one of %s: load the metadata that the new primary stores", r, st.Release)
	}
	st.Release = r
	return nil
}

// family is the first of the releases whose metadata are of one kind.
func family(r meta.Release) meta.Release {
	switch {
	case r.Since(meta.Release4):
		return meta.Release4
	case r.Since(meta.Release3):
		return meta.Release3
	case r.Since(meta.Release2):
		return meta.Release2
	}
	return meta.Release16
}

// from2to3 makes of the State what 3.0.117 makes of the metadata file that 2.0
// stores when it is stopped: trash times are in hours, and an access list
// without a mask gets one that permits all. That 3.0 renumbers edges then, if 2.0
// gave their ids out of order, is an entry of its own.
func from2to3(st *meta.State) {
	var changed []meta.Inode
	for from := meta.Inode(0); ; {
		changed = changed[:0]
		for ino, n := range st.Nodes.Scan(from) {
			if n.Flags&meta.TrashSeconds != 0 {
				changed = append(changed, ino)
			}
			if len(changed) == migrated {
				break
			}
		}
		for _, ino := range changed {
			if n, ok := st.Nodes.Edit(ino); ok {
				n.Flags &^= meta.TrashSeconds
				n.Rdev = 0
			}
		}
		if len(changed) < migrated {
			break
		}
		from = changed[len(changed)-1] + 1
		st.MakeRoom()
	}
	var repair []meta.ACLKey
	for key, a := range st.ACLs.Scan(meta.ACLKey{}) {
		if a.Mask == 0 {
			repair = append(repair, key)
		}
	}
	for _, key := range repair {
		a, _ := st.ACLs.Edit(key)
		n, ok := st.Nodes.Get(key.Inode)
		if a != nil && ok {
			a.Repair(n.Mode)
		}
	}
}

// migrated is how many nodes are changed at once.
const migrated = 1024

// from3to4 makes of the State what 4.59.2 makes of the metadata file that 3.x
// stores when it is stopped.
func from3to4(st *meta.State, now meta.Time) {
	for id, c := range st.Classes.Scan(0) {
		if p, ok := st.Classes.Edit(id); ok {
			*p = ModernClass(id, c)
		}
	}
	for id := range st.Sessions.Scan(0) {
		if s, ok := st.Sessions.Edit(id); ok {
			ModernSession(s)
		}
	}
	var old []meta.ChunkID // whose locks were over when the file was stored
	for next := meta.ChunkID(0); ; {
		old = old[:0]
		for id, c := range st.Chunks.Scan(next) {
			if c.LockedTo != 0 && c.LockedTo < now {
				old = append(old, id)
			}
			if len(old) == slotBatch {
				break
			}
		}
		for _, id := range old {
			if c, ok := st.Chunks.Edit(id); ok {
				c.LockedTo = 0
			}
		}
		if len(old) < slotBatch {
			return
		}
		next = old[len(old)-1] + 1
		st.MakeRoom()
	}
}

// ModernClass is what 4.x makes of a storage class of 3.x: labels to create and
// to archive that are those to keep are not named again.
func ModernClass(id uint8, c meta.Class) meta.Class {
	m := meta.Class{
		Name: c.Name, AdminOnly: c.AdminOnly, Mode: c.Mode, ArchDelay: c.ArchDelay * hoursPerDay,
		ArchMode: meta.ArchModeCtime, Parts: make([]meta.Labels, meta.ClassParts),
		Files: c.Files, Directories: c.Directories,
	}
	if id < meta.FirstOwnClass {
		m.Group = id
	}
	keep := LabelExprs(c.Keep)
	for i, labels := range [...][]meta.LabelMasks{c.Create, c.Keep, c.Arch} {
		if exprs := LabelExprs(labels); i == meta.PartKeep || !slices.Equal(exprs, keep) {
			m.Parts[i] = meta.Labels{Mode: meta.ClassMode, Exprs: exprs}
		}
	}
	m.Parts[meta.PartTrash].Mode = meta.ClassMode
	return m
}

// ModernSession makes a session of 3.x one of 4.x.
func ModernSession(s *meta.Session) {
	s.Groups = GoalGroups(s.MinGoal, s.MaxGoal)
	s.MinGoal, s.MaxGoal = 0, 0
	s.Current, s.Last = [meta.SessionCounters]uint32{}, [meta.SessionCounters]uint32{}
}

// becomeModern is for the first session of a file system of which nothing told
// the primary's release before, and whose entry shows that it is 4.x.
func becomeModern(st *meta.State) error {
	if family(st.Release) != meta.Release3 || st.MaxInode != meta.Root || st.NextSession != 1 {
		return fmt.Errorf("the entry is one of MooseFS 4.x, the image one of %s", st.Release)
	}
	var old []uint8
	for id := range st.Classes.Scan(0) {
		old = append(old, id)
	}
	for _, id := range old {
		st.Classes.Delete(id)
	}
	if root, ok := st.Nodes.Edit(meta.Root); ok {
		root.Class = NewModern(st)
	}
	return nil
}

// NewModern makes st, which has no storage classes, one of 4.59.2 with those of
// a new file system. It returns the class of the root directory.
func NewModern(st *meta.State) uint8 {
	copies := func(n int) meta.Labels { return meta.Labels{Mode: meta.ClassMode, Exprs: make([]string, n)} }
	add := func(id uint8, name, description string, keep int, change func(*meta.Class)) {
		c := meta.Class{
			Name: name, Description: description, Mode: 1, ArchMode: meta.ArchModeCtime,
			Parts: []meta.Labels{copies(0), copies(keep), copies(0), copies(0)},
		}
		change(&c)
		st.Classes.Insert(id, c)
	}
	const root = 1
	add(root, "2CP", "2 copies", 2, func(c *meta.Class) { c.Directories = 1 })
	add(2, "3CP", "3 copies", 3, func(*meta.Class) {})
	for i, parts := range []string{"4", "8"} {
		description := "2 copies in KEEP state, " + parts + " data parts plus 1 checksum part in ARCHIVE state"
		add(uint8(3+i), "EC"+parts+"+1", description, 2, func(c *meta.Class) {
			c.ArchDelay, c.ArchMinSize = 24, 512<<10
			c.Parts[meta.PartArch] = copies(1)
			c.Parts[meta.PartArch].EC = (parts[0]-'0')<<4 | 1
		})
	}
	st.Release, st.ECVersion, st.ClassesUsed = meta.Latest, 2, 5
	return root
}
