package changelog

import (
	"fmt"

	"mfsstandby/changelog/meta"
)

// Limits of extended attributes.
const (
	maxXattrValue = 65536 // bytes
	maxXattrList  = 65536 // bytes of all names of an inode, each with its NUL
)

// Modes of SetXattr.
const (
	xattrPut     = 0
	xattrCreate  = 1
	xattrReplace = 2
	xattrRemove  = 3
)

// Apply sets or removes the attribute. A new one goes to the head of the
// inode's list.
func (op *SetXattr) Apply(st *meta.State, now meta.Time) error {
	n, err := editNode(st, op.Inode)
	if err != nil {
		return err
	}
	if err := op.check(st); err != nil {
		return err
	}
	if op.Mode == xattrRemove {
		st.Xattrs.Delete(op.Inode, op.Attr)
		if len(st.Xattrs.Names(op.Inode)) == 0 {
			n.Flags &^= meta.HasXattr
		}
	} else {
		st.Xattrs.Put(op.Inode, op.Attr, op.Value)
		n.Flags |= meta.HasXattr
	}
	n.Ctime = now
	touched(st, op.Inode, n, now, meta.ArchModeCtime)
	return nil
}

// check tells whether the attribute may be set or removed.
func (op *SetXattr) check(st *meta.State) error {
	if len(op.Attr) == 0 || len(op.Attr) > meta.MaxName || len(op.Value) > maxXattrValue || op.Mode > xattrRemove {
		return inodeError(op.Inode, meta.EINVAL)
	}
	_, exists := st.Xattrs.Get(op.Inode, op.Attr)
	switch {
	case exists && op.Mode == xattrCreate:
		return op.error(meta.EEXIST)
	case !exists && (op.Mode == xattrReplace || op.Mode == xattrRemove):
		return op.error(meta.ENOATTR)
	case !exists && !op.fits(st):
		return op.error(meta.ERANGE)
	}
	return nil
}

// fits tells whether the inode may have one more attribute of this name.
func (op *SetXattr) fits(st *meta.State) bool {
	size := len(op.Attr) + 1
	for _, name := range st.Xattrs.Names(op.Inode) {
		size += len(name) + 1
	}
	return size <= maxXattrList
}

func (op *SetXattr) error(status meta.Status) error {
	return fmt.Errorf("attribute %q of inode %d: %w", op.Attr, op.Inode, status)
}

// Apply sets the extra attributes of a node or a tree, of all kinds of nodes.
// What is not a directory silently loses "no entry cache".
func (op *SetEattr) Apply(st *meta.State, now meta.Time) error {
	c := treeChange{
		mode:   op.Mode,
		denied: op.denied,
		set: func(ino meta.Inode, n *meta.Node) (bool, error) {
			change := op.Eattr
			if n.Type != meta.TypeDir {
				n.Eattr &^= meta.EattrNoECache
				change &^= meta.EattrNoECache
			}
			eattr := n.Eattr
			switch op.Mode & modeKind {
			case modeSet:
				eattr = change
			case modeIncrease:
				eattr |= change
			case modeDecrease:
				eattr &^= change
			}
			if eattr == n.Eattr {
				return false, nil
			}
			n.Eattr, n.Ctime = eattr, now
			touched(st, ino, n, now, meta.ArchModeCtime)
			return true, nil
		},
	}
	return c.apply(st, op.Inode, &op.Counts)
}

// denied tells whether the user may not change the attributes of a node.
func (op *SetEattr) denied(n *meta.Node) bool {
	return !owns(op.UID, n) || n.Eattr&meta.EattrImmutable != 0 && op.Eattr&meta.EattrNoOwner != 0
}

// Apply sets or removes the quota. A grace period of 0 keeps the one before;
// since 4.x it is one like others.
func (op *Quota) Apply(st *meta.State, _ meta.Time) error {
	n, ok := st.Nodes.Get(op.Inode)
	switch {
	case !ok:
		return inodeError(op.Inode, meta.ENOENT)
	case n.Type != meta.TypeDir:
		return inodeError(op.Inode, meta.EPERM)
	}
	if !st.Release.Since(meta.Release2) {
		return nil // 1.6 stores no quotas, and its replay passes over them
	}
	q, ok := st.Quotas.Edit(op.Inode)
	switch {
	case op.Flags == 0 && (op.Grace == 0 || !modern(st)):
		// The replay of 4.x does so with a grace period too, the primary keeps it.
		if ok {
			st.Quotas.Delete(op.Inode)
		}
		return nil
	case !ok:
		q = st.Quotas.Insert(op.Inode, meta.Quota{})
	}
	grace := op.Grace
	if grace == 0 && !modern(st) {
		grace = q.Grace
	}
	if grace == 0 && !st.Release.Since(meta.Release3) {
		grace = oldGrace
	}
	*q = meta.Quota{
		Grace: grace, Exceeded: op.Exceeded != 0, Flags: op.Flags, SoftTime: op.SoftTime,
		SoftInodes: op.SoftInodes, HardInodes: op.HardInodes,
		SoftLength: op.SoftLength, HardLength: op.HardLength,
		SoftSize: op.SoftSize, HardSize: op.HardSize,
		SoftReal: op.SoftReal, HardReal: op.HardReal,
	}
	return nil
}
