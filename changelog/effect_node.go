package changelog

import "mfsstandby/changelog/meta"

// defaultTrashHours is the trash retention of nodes that have no data.
const defaultTrashHours = 24

// Bits of a mode.
const (
	modeBits = 0o7777
	setGID   = 0o2000
)

// aclModeValid marks the mode for an access ACL that an ATTR entry has.
const aclModeValid = 1 << 12

// inheritable are the extra attributes that a new node takes from its
// directory; NoECache only if it is a directory too.
const inheritable = ^uint8(meta.EattrSnapshot | meta.EattrUndeletable | meta.EattrAppendOnly | meta.EattrImmutable)

// creation is a new node with its name.
type creation struct {
	parent      meta.Inode
	dir         *meta.Node // the record of parent
	name        []byte     // free in parent
	kind        meta.Type
	mode, umask uint16
	uid, gid    uint32
	copySGID    bool // a directory takes over the set group id bit
}

// node makes the node, with the lowest unused inode, and links it. A default
// ACL of the directory takes the place of the umask, for all kinds; its set
// group id bit decides about the group.
func (c *creation) node(st *meta.State, now meta.Time) (meta.Inode, *meta.Node, error) {
	old := !st.Release.Since(meta.Release3)
	n := meta.Node{
		Type: c.kind, UID: c.uid, GID: c.gid, Mode: c.mode &^ c.umask & modeBits,
		Atime: now, Mtime: now, Ctime: now,
		TrashHours: defaultTrashHours, Eattr: c.dir.Eattr & inheritable,
	}
	if c.kind != meta.TypeDir {
		n.Eattr &^= meta.EattrNoECache
	}
	if c.kind == meta.TypeDir || c.kind == meta.TypeFile {
		n.Class = c.dir.Class
		copyTrash(&n, c.dir)
		if err := countClass(st, n.Class, n.Type, 1); err != nil {
			return 0, nil, err
		}
	}
	sgid := false
	if c.dir.Mode&setGID != 0 {
		n.GID = c.dir.GID
		sgid = c.copySGID && c.kind == meta.TypeDir
	}
	ino := st.Inodes.Alloc()
	st.MaxInode = max(st.MaxInode, ino)
	if c.dir.Flags&meta.HasDefaultACL != 0 {
		if old {
			inheritACLOld(st, c.parent, ino, &n, c.mode)
		} else {
			inheritACL(st, c.parent, ino, &n, c.mode)
		}
	}
	if sgid {
		n.Mode |= setGID
	}
	countNode(st, &n, 1)
	if c.kind == meta.TypeDir {
		st.Dirs.Insert(ino, meta.Dir{})
	}
	p := st.Nodes.Insert(ino, n)
	linkEdge(st, now, c.parent, c.dir, c.name, ino, p)
	return ino, p, nil
}

// countNode adds delta, 1 or -1 modulo 2^64, to the totals of nodes. Those of
// trash and sustained are kept where files enter and leave them.
func countNode(st *meta.State, n *meta.Node, delta uint64) {
	st.Scalars.Nodes.All += delta
	switch {
	case n.Type == meta.TypeDir:
		st.Scalars.Nodes.Dirs += delta
	case n.Type.IsFile():
		st.Scalars.Nodes.Files += delta
	}
}

// destroyNode removes a node that has no name left. Its inode waits in the
// free queue; open files and locks of it are not touched. It may make room.
func destroyNode(st *meta.State, now meta.Time, ino meta.Inode) error {
	n, _ := st.Nodes.Get(ino)
	switch {
	case n.Type.IsFile():
		dropSlots(st, ino, 0)
	case n.Type == meta.TypeDir:
		st.Dirs.Delete(ino)
		if _, ok := st.Quotas.Get(ino); ok {
			st.Quotas.Delete(ino)
		}
	case n.Type == meta.TypeSymlink:
		st.Symlinks.Delete(ino)
	}
	if n.Type == meta.TypeDir || n.Type.IsFile() {
		if err := countClass(st, n.Class, n.Type, ^uint64(0)); err != nil {
			return err
		}
	}
	countNode(st, &n, ^uint64(0))
	if n.Flags&meta.HasXattr != 0 {
		st.Xattrs.DeleteAll(ino)
	}
	if n.Flags&meta.HasAccessACL != 0 {
		st.ACLs.Delete(meta.ACLKey{Inode: ino, Type: meta.ACLAccess})
	}
	if n.Flags&meta.HasDefaultACL != 0 {
		st.ACLs.Delete(meta.ACLKey{Inode: ino, Type: meta.ACLDefault})
	}
	st.Nodes.Delete(ino)
	freeInode(st, now, ino)
	return nil
}

// freeInode puts an inode at the end of the free queue. When the clock of the
// primary has gone back, times in the queue that lie ahead become now.
func freeInode(st *meta.State, now meta.Time, ino meta.Inode) {
	clampFree(st, now)
	st.Inodes.PushFree(meta.FreedInode{Inode: ino, Freed: now})
	st.LastFreed = now
}

func clampFree(st *meta.State, now meta.Time) {
	if now < st.LastFreed && st.Release.Since(meta.Release3) {
		st.Inodes.ClampFree(now)
		st.LastFreed = now
	}
}

// dropName removes a name of a node. With the last one a file goes to the
// trash if it has a trash time, open or not; else it becomes sustained if it
// is open; everything else is destroyed. 4.x does not put an empty file into
// the trash unless it is open (or its master is told to keep those too). It
// may make room.
func dropName(st *meta.State, now meta.Time, parent meta.Inode, dir *meta.Node, name []byte, ino meta.Inode) error {
	n, err := editNode(st, ino)
	if err != nil {
		return err
	}
	kind := meta.TypeNone
	if n.Links == 1 && n.Type == meta.TypeFile {
		if n.Trash() > 0 && (!modern(st) || n.Length > 0 || st.Open.Any(ino)) {
			kind = meta.TypeTrash
		} else if st.Open.Any(ino) {
			kind = meta.TypeSustained
		}
	}
	var path string
	if kind != meta.TypeNone {
		path = trashPath(st, parent, name)
	}
	unlinkEdge(st, now, parent, dir, name, ino, n)
	switch {
	case n.Links > 0:
	case kind == meta.TypeNone:
		return destroyNode(st, now, ino)
	default:
		n.Type = kind
		st.Detached.InsertHead(ino, meta.Detached{Kind: kind, EdgeID: takeEdgeID(st), Path: path})
		countDetached(st, n, 1)
	}
	return nil
}

// countDetached adds a file of the trash or sustained to the totals, times 1,
// or takes it away, times -1 modulo 2^64.
func countDetached(st *meta.State, n *meta.Node, times uint64) {
	c := &st.Scalars.Nodes
	switch n.Type {
	case meta.TypeTrash:
		c.Trash += times
		c.TrashBytes += times * n.Length
	case meta.TypeSustained:
		c.Sustained += times
		c.SustainedBytes += times * n.Length
	}
}

// Apply makes the node. The logged group is already that of a directory with
// the set group id bit, and so is this bit in the mode of a new directory.
func (op *Create) Apply(st *meta.State, now meta.Time) error {
	switch op.Type {
	case meta.TypeFile, meta.TypeDir, meta.TypeFifo, meta.TypeBlockDev, meta.TypeCharDev, meta.TypeSocket:
	default:
		return nameError(op.Parent, op.Base, meta.EINVAL)
	}
	if modern(st) && op.Type.IsDevice() && op.UID != 0 {
		return nameError(op.Parent, op.Base, meta.EPERM)
	}
	dir, err := editDir(st, op.Parent, meta.ENOTDIR)
	if err != nil {
		return err
	}
	if err := checkFreeName(st, op.Parent, op.Base); err != nil {
		return err
	}
	create := creation{parent: op.Parent, dir: dir, name: op.Base,
		kind: op.Type, mode: op.Mode, umask: op.Umask, uid: op.UID, gid: op.GID}
	ino, n, err := create.node(st, now)
	if err != nil {
		return err
	}
	if op.Type.IsDevice() {
		n.Rdev = op.Rdev
	}
	if st.PatternCount > 0 {
		parent, _ := st.Nodes.Get(op.Parent)
		hidden := parent.Mode&setGID != 0 // the group is the directory's
		if err := applyPatterns(st, ino, n, op.Base, op.UID, op.GID, hidden); err != nil {
			return err
		}
	}
	return settle(st, "inode", &op.Inode, ino)
}

// Apply sets the attributes and ctime. With an access ACL its user, mask and
// other parts follow ACLMode; releases before 3.0.98, which do not mark that
// as valid, get the whole mask.
func (op *Attr) Apply(st *meta.State, now meta.Time) error {
	n, err := editNode(st, op.Inode)
	if err != nil {
		return err
	}
	if op.Mode > modeBits {
		return inodeError(op.Inode, meta.EINVAL)
	}
	if n.Flags&meta.HasAccessACL != 0 && !op.onlyOthers(n) {
		mode := op.ACLMode
		if !st.Release.Since(meta.Release3) {
			mode = op.Mode
		} else if mode&aclModeValid == 0 {
			mode = op.Mode&0o707 | 0o070
		}
		setACLMode(st, op.Inode, mode)
	}
	n.Mode = op.Mode
	n.UID, n.GID = op.UID, op.GID
	n.Atime, n.Mtime, n.Ctime = op.Atime, op.Mtime, now
	n.Winattr = op.Winattr
	touched(st, op.Inode, n, now, meta.ArchModeTimes)
	return nil
}

// onlyOthers tells whether the entry of a release that does not tell the mode of
// the ACL sets the owner or times alone: that leaves the ACL as it is.
func (op *Attr) onlyOthers(n *meta.Node) bool {
	return op.OldArgs == 6 && op.Mode == n.Mode && (op.UID != n.UID || op.GID != n.GID || op.Atime != n.Atime || op.Mtime != n.Mtime)
}

// Apply sets the three times, of a node of any kind.
func (op *AMTime) Apply(st *meta.State, now meta.Time) error {
	n, err := editNode(st, op.Inode)
	if err != nil {
		return err
	}
	n.Atime, n.Mtime, n.Ctime = op.Atime, op.Mtime, op.Ctime
	touched(st, op.Inode, n, now, meta.ArchModeTimes)
	return nil
}

// Apply sets the access time.
func (op *Access) Apply(st *meta.State, now meta.Time) error {
	n, err := editNode(st, op.Inode)
	if err != nil {
		return err
	}
	n.Atime = now
	touched(st, op.Inode, n, now, meta.ArchModeAtime)
	return nil
}
