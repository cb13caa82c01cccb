package changelog

import "mfsstandby/changelog/meta"

// SnapshotRequest makes a copy of a tree, or removes one.
type SnapshotRequest struct {
	Source meta.Inode // 0: remove
	Parent meta.Inode
	Base   []byte
	Mode   uint8 // see Snapshot
	Umask  uint16
}

// snapshotForce removes what is a snapshot and leaves the rest, instead of
// refusing if there is a rest.
const snapshotForce = 0x04

// maxSnapshotGroups is how many groups of a user an entry has room for beside
// the longest name; Linux has a user in 65536 at most, and nobody in so many.
const maxSnapshotGroups = (maxLine - 2000) / 11

// Plan has the entry tell who asked: permissions decide what is copied.
func (r *SnapshotRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	remove := r.Mode&snapshotDelete != 0
	switch {
	case remove && c.forbids(DisableUnlink|DisableRmdir), !remove && c.forbids(DisableSnapshot):
		return nil, meta.EPERM
	case c.readOnly():
		return nil, meta.EROFS
	case remove != (r.Source == 0), len(c.GIDs) > maxSnapshotGroups:
		return nil, meta.EINVAL
	}
	op := &Snapshot{Base: r.Base, Mode: r.Mode, SesFlags: c.Flags, UID: c.UID, GIDs: c.GIDs, Umask: r.Umask | c.Umask}
	var status meta.Status
	if remove {
		status = r.planRemoval(st, c, op)
	} else {
		status = r.planCopy(st, c, op)
	}
	if status != meta.OK {
		return nil, status
	}
	return op, meta.OK
}

func (r *SnapshotRequest) planRemoval(st *meta.State, c *Caller, op *Snapshot) meta.Status {
	parent, dir, ok := c.Find(st, r.Parent, false)
	op.Parent = parent
	switch {
	case !ok:
		return meta.ENOENT
	case dir.Type != meta.TypeDir:
		return meta.EPERM
	case !c.May(st, parent, &dir, MayWrite|MayExec):
		return meta.EACCES
	}
	if status := statusOf(checkName(parent, r.Base)); status != meta.OK {
		return status
	}
	edge, ok := st.Edges.Get(parent, r.Base)
	if !ok {
		return meta.ENOENT
	}
	n, _ := st.Nodes.Get(edge.Child)
	switch {
	case !c.mayRemoveFrom(&dir, &n):
		return meta.EPERM
	case r.Mode&snapshotForce != 0:
		return meta.OK
	case fixed(&dir):
		return meta.EPERM
	}
	return c.mayRemoveTree(st, edge.Child)
}

// mayRemoveTree tells whether all of a tree is a snapshot that the user may
// remove.
func (c *Caller) mayRemoveTree(st *meta.State, ino meta.Inode) meta.Status {
	st.MakeRoom()
	n, _ := st.Nodes.Get(ino)
	if n.Type == meta.TypeDir {
		switch {
		case n.Eattr&meta.EattrAppendOnly != 0:
			return meta.EPERM
		case !c.May(st, ino, &n, MayWrite|MayExec):
			return meta.EACCES
		}
		for _, edge := range st.Edges.List(ino) {
			if status := c.mayRemoveTree(st, edge.Child); status != meta.OK {
				return status
			}
		}
	}
	if n.Eattr&meta.EattrSnapshot == 0 || protected(&n) {
		return meta.EPERM
	}
	return meta.OK
}

func (r *SnapshotRequest) planCopy(st *meta.State, c *Caller, op *Snapshot) meta.Status {
	src, n, ok := c.Find(st, r.Source, false)
	parent, dir, found := c.Find(st, r.Parent, false)
	op.Source, op.Parent = src, parent
	switch {
	case !ok || !found:
		return meta.ENOENT
	case dir.Eattr&meta.EattrImmutable != 0:
		return meta.EPERM
	case !c.May(st, src, &n, MayRead):
		return meta.EACCES
	case dir.Type != meta.TypeDir:
		return meta.EPERM
	case n.Type == meta.TypeDir && isBelow(st, parent, src):
		return meta.EINVAL
	case !c.May(st, parent, &dir, MayWrite|MayExec):
		return meta.EACCES
	}
	if status := statusOf(checkName(parent, r.Base)); status != meta.OK {
		return status
	}
	s := snapshot{st: st, op: op, user: c.User}
	if status := statusOf(s.check()); status != meta.OK {
		return status
	}
	if !anyQuota(st) {
		return meta.OK
	}
	more := currentStats(st, src, &n)
	common, over := commonStats(st, src, pair{src, parent, r.Base})
	more = growth(&more, &common)
	if over || overQuota(st, parent, &more) {
		return meta.EQUOTA
	}
	return meta.OK
}

// commonStats is what is there already of a copy, and whether a quota in it
// forbids the rest.
func commonStats(st *meta.State, src meta.Inode, p pair) (common meta.Stats, over bool) {
	st.MakeRoom()
	edge, exists := st.Edges.Get(p.parent, p.name)
	if !exists {
		return common, false
	}
	n, _ := st.Nodes.Get(edge.Child)
	switch n.Type {
	case meta.TypeFile, meta.TypeSymlink:
		common = currentStats(st, edge.Child, &n)
	case meta.TypeDir:
		for _, e := range st.Edges.List(src) {
			s, over := commonStats(st, e.Child, pair{e.Child, edge.Child, e.Name})
			if over {
				return common, true
			}
			common.Add(&s)
		}
		from, _ := st.Nodes.Get(src)
		all := currentStats(st, src, &from)
		more := growth(&all, &common)
		if overQuotaHere(st, edge.Child, &more) {
			return common, true
		}
	}
	if n.Type != meta.TypeFile && n.Type != meta.TypeSymlink {
		common.Inodes++
	}
	return common, false
}
