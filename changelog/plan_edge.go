package changelog

import (
	"bytes"

	"mfsstandby/changelog/meta"
)

// SymlinkRequest makes a symlink.
type SymlinkRequest struct {
	Parent meta.Inode
	Base   []byte
	Target []byte // zero bytes at its end do not count
}

// Plan leaves the group as the user's; applying gives it that of a directory
// with the set group id bit.
func (r *SymlinkRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	target := bytes.TrimRight(r.Target, "\x00")
	switch {
	case c.forbids(DisableSymlink):
		return nil, meta.EPERM
	case c.readOnly():
		return nil, meta.EROFS
	case len(target) == 0 || len(target) > meta.MaxSymlink || bytes.IndexByte(target, 0) >= 0:
		return nil, meta.EINVAL
	}
	parent, _, status := c.findDir(st, r.Parent, meta.EattrImmutable)
	if status == meta.OK {
		status = statusOf(checkFreeName(st, parent, r.Base))
	}
	if status == meta.OK && overQuota(st, parent, &meta.Stats{Inodes: 1, Length: uint64(len(target))}) {
		status = meta.EQUOTA
	}
	if status != meta.OK {
		return nil, status
	}
	return &Symlink{Parent: parent, Base: r.Base, Target: target, UID: c.UID, GID: c.GIDs[0]}, meta.OK
}

// LinkRequest gives a node one more name.
type LinkRequest struct {
	Inode  meta.Inode
	Parent meta.Inode
	Base   []byte
}

// Plan refuses directories and what is in the trash.
func (r *LinkRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	switch {
	case c.forbids(DisableLink):
		return nil, meta.EPERM
	case c.readOnly():
		return nil, meta.EROFS
	}
	ino, n, ok := c.Find(st, r.Inode, false)
	parent, dir, found := c.Find(st, r.Parent, false)
	switch {
	case !ok || !found:
		return nil, meta.ENOENT
	case n.Eattr&meta.EattrImmutable != 0:
		return nil, meta.EPERM
	case n.Type == meta.TypeTrash || n.Type == meta.TypeSustained:
		return nil, meta.ENOENT
	case n.Type == meta.TypeDir:
		return nil, meta.EPERM
	case n.Links&0xFFFF >= c.Rules.MaxHardLinks: // mfsmaster counts in 16 bits here
		return nil, meta.ENOSPACE
	}
	status := c.mayChange(st, parent, &dir, meta.EattrImmutable)
	if status == meta.OK {
		status = statusOf(checkFreeName(st, parent, r.Base))
	}
	if status == meta.OK {
		if more := currentStats(st, ino, &n); overQuota(st, parent, &more) {
			status = meta.EQUOTA
		}
	}
	if status != meta.OK {
		return nil, status
	}
	return &Link{Inode: ino, Parent: parent, Base: r.Base}, meta.OK
}

// UnlinkRequest removes a name of a node that is no directory, or a directory.
type UnlinkRequest struct {
	Parent meta.Inode
	Base   []byte
	Dir    bool // RMDIR
}

// Plan refuses what has an attribute that protects it.
func (r *UnlinkRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	disable := DisableUnlink
	if r.Dir {
		disable = DisableRmdir
	}
	switch {
	case c.forbids(disable):
		return nil, meta.EPERM
	case c.readOnly():
		return nil, meta.EROFS
	}
	parent, dir, status := c.findDir(st, r.Parent, meta.EattrImmutable|meta.EattrAppendOnly)
	if status == meta.OK {
		status = statusOf(checkName(parent, r.Base))
	}
	if status != meta.OK {
		return nil, status
	}
	edge, ok := st.Edges.Get(parent, r.Base)
	if !ok {
		return nil, meta.ENOENT
	}
	n, _ := st.Nodes.Get(edge.Child)
	switch {
	case !c.mayRemoveFrom(&dir, &n), protected(&n), edge.Dir && !r.Dir:
		return nil, meta.EPERM
	case r.Dir && !edge.Dir:
		return nil, meta.ENOTDIR
	}
	if status := statusOf(checkEmpty(st, edge)); status != meta.OK {
		return nil, status
	}
	return &Unlink{Parent: parent, Base: r.Base, Inode: edge.Child}, meta.OK
}

// RenameRequest gives a name's node another name; what has that name goes.
type RenameRequest struct {
	SrcParent meta.Inode
	SrcBase   []byte
	DstParent meta.Inode
	DstBase   []byte
}

// Plan looks at source and target in the order in which mfsmaster does.
func (r *RenameRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	switch {
	case c.forbids(DisableRename) && c.forbids(DisableMove),
		c.forbids(DisableRename) && !bytes.Equal(r.SrcBase, r.DstBase),
		c.forbids(DisableMove) && r.SrcParent != r.DstParent:
		return nil, meta.EPERM
	case c.readOnly():
		return nil, meta.EROFS
	}
	op := &Move{SrcBase: r.SrcBase, DstBase: r.DstBase}
	var src, dst meta.Node
	var ok, found bool
	op.SrcParent, src, ok = c.Find(st, r.SrcParent, false)
	op.DstParent, dst, found = c.Find(st, r.DstParent, false)
	if !ok || !found {
		return nil, meta.ENOENT
	}
	edge, n, status := r.source(st, c, op, &src)
	if status == meta.OK {
		status = r.mayMove(st, c, op, edge, &n, &dst)
	}
	if status == meta.OK {
		status = r.replace(st, c, op, edge, &n, &dst)
	}
	if status != meta.OK {
		return nil, status
	}
	op.Inode = edge.Child
	return op, meta.OK
}

// source finds what is to be renamed.
func (r *RenameRequest) source(st *meta.State, c *Caller, op *Move, src *meta.Node) (edge meta.Edge, n meta.Node, status meta.Status) {
	status = c.mayChange(st, op.SrcParent, src, meta.EattrImmutable|meta.EattrAppendOnly)
	if status == meta.OK {
		status = statusOf(checkName(op.SrcParent, r.SrcBase))
	}
	if status != meta.OK {
		return edge, n, status
	}
	edge, ok := st.Edges.Get(op.SrcParent, r.SrcBase)
	if !ok {
		return edge, n, meta.ENOENT
	}
	n, _ = st.Nodes.Get(edge.Child)
	if !c.mayRemoveFrom(src, &n) {
		return edge, n, meta.EPERM
	}
	return edge, n, meta.OK
}

// mayMove tells whether the node may get the new name. A directory that gets
// another parent has to be writable, since its ".." changes.
func (r *RenameRequest) mayMove(st *meta.State, c *Caller, op *Move, edge meta.Edge, n, dst *meta.Node) meta.Status {
	if status := c.mayChange(st, op.DstParent, dst, meta.EattrImmutable); status != meta.OK {
		return status
	}
	if n.Eattr&meta.EattrImmutable != 0 {
		return meta.EPERM
	}
	if edge.Dir {
		if isBelow(st, op.DstParent, edge.Child) {
			return meta.EINVAL
		}
		if op.SrcParent != op.DstParent && !c.May(st, edge.Child, n, MayWrite) {
			return meta.EACCES
		}
	}
	return statusOf(checkName(op.DstParent, r.DstBase))
}

// replace tells whether what has the new name may go, and whether a quota
// allows what is new.
func (r *RenameRequest) replace(st *meta.State, c *Caller, op *Move, edge meta.Edge, n, dst *meta.Node) meta.Status {
	target, exists := st.Edges.Get(op.DstParent, r.DstBase)
	more := currentStats(st, edge.Child, n)
	var old meta.Node
	if exists {
		if target.Dir && c.forbids(DisableRmdir) || !target.Dir && c.forbids(DisableUnlink) {
			return meta.EPERM
		}
		old, _ = st.Nodes.Get(target.Child)
		less := currentStats(st, target.Child, &old)
		more = growth(&more, &less)
	}
	if moveOverQuota(st, op.SrcParent, op.DstParent, &more) {
		return meta.EQUOTA
	}
	if !exists {
		return meta.OK
	}
	if status := statusOf(checkEmpty(st, target)); status != meta.OK {
		return status
	}
	if !c.mayRemoveFrom(dst, &old) || protected(&old) {
		return meta.EPERM
	}
	if op.SrcParent == op.DstParent && bytes.Equal(r.SrcBase, r.DstBase) {
		return meta.EINVAL // see Move.check
	}
	return meta.OK
}
