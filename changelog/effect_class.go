package changelog

import (
	"fmt"
	"slices"

	"mfsstandby/changelog/meta"
)

// classError tells what is wrong with a storage class.
func classError(name []byte, status meta.Status) error {
	return fmt.Errorf("storage class %q: %w", name, status)
}

// countClass adds delta, 1 or -1 modulo 2^64, to the number of directories or
// files of a storage class. Nodes of other kinds have class 0, which does not
// exist.
func countClass(st *meta.State, id uint8, kind meta.Type, delta uint64) error {
	c, ok := st.Classes.Edit(id)
	if !ok {
		return fmt.Errorf("storage class %d: %w", id, meta.ENOSUCHCLASS)
	}
	if kind == meta.TypeDir {
		c.Directories += delta
	} else {
		c.Files += delta
	}
	return nil
}

// setClass moves a directory or file to another storage class.
func setClass(st *meta.State, ino meta.Inode, n *meta.Node, class uint8) error {
	if err := countClass(st, n.Class, n.Type, ^uint64(0)); err != nil {
		return err
	}
	if err := countClass(st, class, n.Type, 1); err != nil {
		return err
	}
	if n.Type == meta.TypeDir {
		n.Class = class
		return nil
	}
	before := fileStats(st, ino, n)
	n.Class = class
	refreshRatio(st, n)
	statsChanged(st, ino, n, &before)
	return nil
}

// Apply sets the storage class of a node or a tree.
func (op *SetSClass) Apply(st *meta.State, now meta.Time) error {
	if status := op.checkMode(); status != meta.OK {
		return inodeError(op.Inode, status)
	}
	kind := op.Mode & modeKind
	c := treeChange{
		mode:     op.Mode,
		dataOnly: true,
		denied:   op.denied(st),
		set: func(ino meta.Inode, n *meta.Node) (bool, error) {
			if !selects(op.Mode, n.Class, op.Dst) && !(kind == modeExchange && n.Class == op.Src) {
				return false, nil
			}
			if err := setClass(st, ino, n, op.Dst); err != nil {
				return true, err
			}
			n.Ctime = now
			touched(st, ino, n, now, meta.ArchModeCtime)
			return true, nil
		},
	}
	return c.apply(st, op.Inode, &op.Counts)
}

// denied returns the rule by which the primary did not let the user change
// nodes. Of a session without admin rights it did not change nodes to or from
// an admin-only class, but the entry does not tell of which kind the session
// was, and the primary's own replay takes all for admins. The number of nodes
// without permission tells: only if the session was no admin and met such a
// class it is greater than the number of nodes that belong to others.
func (op *SetSClass) denied(st *meta.State) func(*meta.Node) bool {
	notOwned := func(n *meta.Node) bool { return notChangeable(op.UID, n) }
	adminOnly := adminClasses(st)
	if len(adminOnly) == 0 || op.count(st, notOwned) == op.NotPermitted {
		return notOwned
	}
	return func(n *meta.Node) bool { return notOwned(n) || adminOnly[op.Dst] || adminOnly[n.Class] }
}

// adminClasses are the ids of the storage classes of administrators.
func adminClasses(st *meta.State) map[uint8]bool {
	ids := map[uint8]bool{}
	for id, class := range st.Classes.Scan(0) {
		if class.AdminOnly != 0 {
			ids[id] = true
		}
	}
	return ids
}

// count is the number of nodes that the user is denied to change.
func (op *SetSClass) count(st *meta.State, denied func(*meta.Node) bool) (count uint32) {
	_ = walk(st, op.Inode, op.Mode&modeRecursive != 0, func(ino meta.Inode) error {
		if n, _ := st.Nodes.Get(ino); hasData(&n) && denied(&n) {
			count++
		}
		return nil
	})
	return count
}

// Apply sets what was the goal and is now a predefined storage class.
func (op *SetGoal) Apply(st *meta.State, now meta.Time) error {
	set := SetSClass{Inode: op.Inode, UID: op.UID, Src: op.Goal, Dst: op.Goal, Mode: op.Mode, Counts: op.Counts}
	return set.Apply(st, now)
}

// Commands of ArchChg.
const (
	archClear = 0
	archSet   = 1
)

// Apply sets or clears the archive flag of all chunks of a file or a tree.
//
// The primary's background pass writes the same entry for a file, as user 0.
// It passes by chunks without a valid copy, which the entry does not name, and
// counts chunks that SETFILECHUNK took out just before. What the flags are is
// known if all that could change did change. Since 4.x only users do this, and
// what they set stays (see touched).
func (op *ArchChg) Apply(st *meta.State, now meta.Time) error {
	top, ok := st.Nodes.Get(op.Inode)
	switch {
	case !ok:
		return inodeError(op.Inode, meta.ENOENT)
	case !hasData(&top):
		return inodeError(op.Inode, meta.EPERM)
	case modern(st) && op.Command > archSet:
		return inodeError(op.Inode, meta.EINVAL)
	}
	// Of a file that may not be changed there is no entry at all, but for the
	// background pass nothing is immutable.
	single := top.Type != meta.TypeDir
	var changed, notChanged uint64
	var notPermitted uint32
	err := walk(st, op.Inode, true, func(ino meta.Inode) error {
		n, _ := st.Nodes.Get(ino)
		switch {
		case !n.Type.IsFile():
		case !owns(op.UID, &n) || n.Eattr&meta.EattrImmutable != 0 && (!single || modern(st)):
			notPermitted++
		default:
			flipped := setArchive(st, ino, op.Command == archSet)
			changed += flipped
			notChanged += uint64(n.Used) - flipped
			if p, ok := st.Nodes.Edit(ino); ok {
				op.note(st, now, ino, p)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if single && notPermitted > 0 {
		return inodeError(op.Inode, meta.EPERM)
	}
	if single && op.UID == 0 && op.Command == archSet && !modern(st) {
		notChanged = max(notChanged, op.NotChanged)
	}
	if err := settle(st, "number of changed chunks", &op.Changed, changed); err != nil {
		return err
	}
	if err := settle(st, "number of unchanged chunks", &op.NotChanged, notChanged); err != nil {
		return err
	}
	return settle(st, "number of inodes without permission", &op.NotPermitted, notPermitted)
}

// note changes what the command changes of a file beside its chunks.
func (op *ArchChg) note(st *meta.State, now meta.Time, ino meta.Inode, n *meta.Node) {
	if op.Command == archClear {
		n.Ctime = now
	}
	if modern(st) {
		setKeepMode(st, ino, n, op.Command == archClear)
	}
}

// setArchive sets or clears the archive flag of all chunks of a file and
// returns how many flags changed. It may make room.
func setArchive(st *meta.State, ino meta.Inode, archive bool) (changed uint64) {
	var buf []usedSlot
	for next := uint32(0); ; {
		buf = slotsFrom(st, ino, next, buf[:0])
		for _, slot := range buf {
			if c, ok := st.Chunks.Edit(slot.chunk); ok && c.Flags&meta.ChunkArchive != 0 != archive {
				c.Flags ^= meta.ChunkArchive
				changed++
			}
		}
		if len(buf) < slotBatch {
			return changed
		}
		next = buf[len(buf)-1].index + 1
		st.MakeRoom()
	}
}

// findClass returns the storage class of a name.
func findClass(st *meta.State, name []byte) (id uint8, class *meta.Class, ok bool) {
	id = classID(st, name)
	class, ok = st.Classes.Edit(id) // there is no class 0
	return id, class, ok
}

// newClassID returns the id of the next new class: the lowest that is free
// again, else the lowest that was never used.
func newClassID(st *meta.State) (uint16, bool) {
	for id := uint16(1); id < min(st.ClassesUsed, meta.MaxClasses); id++ {
		if _, ok := st.Classes.Get(uint8(id)); !ok {
			return id, true
		}
	}
	id := max(st.ClassesUsed, 1)
	if id >= meta.MaxClasses {
		return 0, false
	}
	st.ClassesUsed = id + 1
	return id, true
}

// classRoom tells whether there can be one more class.
func classRoom(st *meta.State) bool {
	if st.ClassesUsed < meta.MaxClasses {
		return true
	}
	for id := meta.MaxClasses - 1; id > 0; id-- {
		if _, ok := st.Classes.Get(uint8(id)); !ok {
			return true
		}
	}
	return false
}

// insertClass makes a class; result is its id in the entry.
func insertClass(st *meta.State, name []byte, result *uint16, class meta.Class) error {
	if _, _, exists := findClass(st, name); exists {
		return classError(name, meta.ECLASSEXISTS)
	}
	id, ok := newClassID(st)
	if !ok {
		return classError(name, meta.ECLASSLIMIT)
	}
	if err := settle(st, "storage class", result, id); err != nil {
		return err
	}
	class.Name = string(name)
	class.Files, class.Directories = 0, 0
	st.Classes.Insert(uint8(id), class)
	return nil
}

// Apply makes or redefines the class; for 4.x see ClassData. Files of it keep the number of copies
// that their directories count until they change.
func (op *SCSet) Apply(st *meta.State, _ meta.Time) error {
	class, err := op.class(st)
	if err != nil {
		return err
	}
	if op.New != 0 {
		return insertClass(st, op.Class, &op.ID, class)
	}
	id, old, ok := findClass(st, op.Class)
	if !ok {
		return classError(op.Class, meta.ENOSUCHCLASS)
	}
	class.Name, class.Files, class.Directories = old.Name, old.Files, old.Directories
	*old = class
	return settle(st, "storage class", &op.ID, uint16(id))
}

// class is what the entry says of the class, without its name.
func (op *SCSet) class(st *meta.State) (meta.Class, error) {
	if modern(st) {
		return op.modernClass(st)
	}
	if op.Form != FormMasks {
		return meta.Class{}, fmt.Errorf("storage class %q as of 4.x, from MooseFS %s: %w", op.Class, st.Release, meta.EINVAL)
	}
	for _, labels := range [][]meta.LabelMasks{op.Create, op.Keep, op.Arch} {
		if len(labels) == 0 || len(labels) > maxLabels {
			return meta.Class{}, classError(op.Class, meta.EINVAL)
		}
	}
	return meta.Class{
		AdminOnly: op.AdminOnly, Mode: op.Mode, ArchDelay: op.ArchDelay,
		Create: slices.Clone(op.Create), Keep: slices.Clone(op.Keep), Arch: slices.Clone(op.Arch),
	}, nil
}

// Apply copies the class.
func (op *SCDup) Apply(st *meta.State, _ meta.Time) error {
	id, src, ok := findClass(st, op.Src)
	if !ok {
		return classError(op.Src, meta.ENOSUCHCLASS)
	}
	if err := settle(st, "source storage class", &op.SrcID, uint16(id)); err != nil {
		return err
	}
	return insertClass(st, op.Dst, &op.DstID, *src)
}

// Apply renames the class, which must not be a predefined one before 4.x.
func (op *SCRen) Apply(st *meta.State, _ meta.Time) error {
	id, class, ok := findClass(st, op.Old)
	if !ok {
		return classError(op.Old, meta.ENOSUCHCLASS)
	}
	if id < meta.FirstOwnClass && !modern(st) {
		return classError(op.Old, meta.EPERM)
	}
	if err := settle(st, "storage class", &op.ID, uint16(id)); err != nil {
		return err
	}
	if _, _, exists := findClass(st, op.New); exists {
		return classError(op.New, meta.ECLASSEXISTS)
	}
	class.Name = string(op.New)
	return nil
}

// Apply removes the class, which must be of nobody's and before 4.x no
// predefined one, and the patterns that give it.
func (op *SCDel) Apply(st *meta.State, _ meta.Time) error {
	id, class, ok := findClass(st, op.Class)
	if !ok {
		return classError(op.Class, meta.ENOSUCHCLASS)
	}
	if id < meta.FirstOwnClass && !modern(st) {
		return classError(op.Class, meta.EPERM)
	}
	if class.Files > 0 || class.Directories > 0 {
		return classError(op.Class, meta.ECLASSINUSE)
	}
	if err := settle(st, "storage class", &op.ID, uint16(id)); err != nil {
		return err
	}
	st.Classes.Delete(id)
	removePatterns(st, func(p *meta.Pattern) bool { return p.Class == id })
	return nil
}
