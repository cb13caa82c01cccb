package changelog

import "mfsstandby/changelog/meta"

// aclUnset is a permission of an ACL that is not set.
const aclUnset = 0xFFFF

// permission takes the three bits of mode at shift, as an ACL holds them.
func permission(mode uint16, shift uint) uint16 { return mode >> shift & 7 }

// simpleACL tells whether an ACL says no more than a mode can.
func simpleACL(a *meta.ACL) bool {
	return len(a.Users) == 0 && len(a.Groups) == 0 &&
		a.User <= 7 && a.Group <= 7 && a.Other <= 7 && a.Mask == aclUnset
}

// inheritACL gives a new node what the default ACL of its directory says: a
// mode, an access ACL unless the mode says all, and for a directory the same
// default ACL. mode is what was asked for; no umask counts.
func inheritACL(st *meta.State, parent, ino meta.Inode, n *meta.Node, mode uint16) {
	n.Mode = mode & modeBits
	d, ok := st.ACLs.Get(meta.ACLKey{Inode: parent, Type: meta.ACLDefault})
	if !ok {
		return
	}
	const above = 0o7000 // what no ACL has
	if simpleACL(&d) {
		n.Mode = mode & (above | d.User<<6 | d.Group<<3 | d.Other)
	} else {
		access := meta.ACL{
			User:  permission(mode, 6) & d.User,
			Group: d.Group,
			Other: permission(mode, 0) & d.Other,
			Mask:  permission(mode, 3) & d.Mask,
			Users: d.Users, Groups: d.Groups,
		}
		// The group bits are those of the group, not of the mask.
		n.Mode = mode&above | access.User&7<<6 | access.Group&7<<3 | access.Other&7
		n.Flags |= meta.HasAccessACL
		st.ACLs.Insert(meta.ACLKey{Inode: ino, Type: meta.ACLAccess}, access)
	}
	if n.Type == meta.TypeDir {
		n.Flags |= meta.HasDefaultACL
		st.ACLs.Insert(meta.ACLKey{Inode: ino, Type: meta.ACLDefault}, d)
	}
}

// setACLMode writes a mode into an access ACL: its group bits go to the mask.
func setACLMode(st *meta.State, ino meta.Inode, mode uint16) {
	a, ok := st.ACLs.Edit(meta.ACLKey{Inode: ino, Type: meta.ACLAccess})
	if !ok {
		return
	}
	a.User = a.User&^7 | permission(mode, 6)
	a.Mask = a.Mask&^7 | permission(mode, 3)
	a.Other = a.Other&^7 | permission(mode, 0)
}

// putACL sets an ACL of a node.
func putACL(st *meta.State, ino meta.Inode, n *meta.Node, kind uint8, a meta.ACL) {
	key := meta.ACLKey{Inode: ino, Type: kind}
	if old, ok := st.ACLs.Edit(key); ok {
		*old = a
		return
	}
	st.ACLs.Insert(key, a)
	n.Flags |= aclFlag(kind)
}

// removeACL removes an ACL of a node if it has one.
func removeACL(st *meta.State, ino meta.Inode, n *meta.Node, kind uint8) {
	if n.Flags&aclFlag(kind) == 0 {
		return
	}
	st.ACLs.Delete(meta.ACLKey{Inode: ino, Type: kind})
	n.Flags &^= aclFlag(kind)
}

// aclFlag is the bit of Node.Flags for a kind of ACL.
func aclFlag(kind uint8) uint8 {
	if kind == meta.ACLAccess {
		return meta.HasAccessACL
	}
	return meta.HasDefaultACL
}

// Apply sets or removes an ACL. Removing one leaves mode and ctime alone,
// whatever the entry says of them.
func (op *SetACL) Apply(st *meta.State, now meta.Time) error {
	n, err := editNode(st, op.Inode)
	if err != nil {
		return err
	}
	if op.Type != meta.ACLAccess && op.Type != meta.ACLDefault {
		return inodeError(op.Inode, meta.EINVAL)
	}
	a := meta.ACL{User: op.User, Group: op.Group, Other: op.Other, Mask: op.Mask,
		Users: append([]meta.ACLEntry(nil), op.Users...), Groups: append([]meta.ACLEntry(nil), op.Groups...)}
	if !st.Release.Since(meta.Release3) {
		return op.applyOld(st, n, a, now)
	}
	unnamed := len(a.Users) == 0 && len(a.Groups) == 0
	if unnamed && a.User&a.Group&a.Other&a.Mask == aclUnset {
		removeACL(st, op.Inode, n, op.Type)
		return nil
	}
	if op.Type == meta.ACLAccess && simpleACL(&a) {
		removeACL(st, op.Inode, n, op.Type)
	} else {
		putACL(st, op.Inode, n, op.Type, a)
	}
	n.Mode = op.Mode & modeBits
	if op.ChangeCtime != 0 {
		n.Ctime = now
		touched(st, op.Inode, n, now, meta.ArchModeCtime)
	}
	return nil
}
