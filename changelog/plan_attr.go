package changelog

import (
	"bytes"

	"mfsstandby/changelog/meta"
)

// XattrRequest sets or removes an extended attribute.
type XattrRequest struct {
	Inode  meta.Inode
	Attr   []byte
	Value  []byte
	Mode   uint8 // 0 create or replace, 1 create, 2 replace, 3 remove
	Opened bool  // by file descriptor: no permission is needed
}

// Plan keeps some names for root and the owner.
func (r *XattrRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	switch {
	case c.forbids(DisableSetXattr):
		return nil, meta.EPERM
	case c.readOnly():
		return nil, meta.EROFS
	}
	ino, n, ok := c.Find(st, r.Inode, r.Opened)
	has := func(prefix string) bool { return bytes.HasPrefix(r.Attr, []byte(prefix)) }
	switch {
	case !ok:
		return nil, meta.ENOENT
	case c.UID != 0 && (has("trusted.") || has("security.")),
		c.ownerOnly(&n) && has("system."),
		n.Eattr&meta.EattrImmutable != 0:
		return nil, meta.EPERM
	case !r.Opened && !c.May(st, ino, &n, MayWrite):
		return nil, meta.EACCES
	case bytes.IndexByte(r.Attr, 0) >= 0:
		return nil, meta.EINVAL
	}
	op := &SetXattr{Inode: ino, Attr: r.Attr, Value: r.Value, Mode: r.Mode}
	if status := statusOf(op.check(st)); status != meta.OK {
		return nil, status
	}
	return op, meta.OK
}

// ACLRequest sets an ACL, or removes it if all is unset.
type ACLRequest struct {
	Inode meta.Inode
	Type  uint8 // meta.ACLAccess or meta.ACLDefault
	ACL   meta.ACL
}

// maxACLText is how long the named users and groups of an ACL may be in an
// entry, which must be shorter than the longest line.
const maxACLText = maxLine - 200

// Plan takes permissions that are not set from the mode. mfsmaster has the
// entry say that the time of change is set whenever it is that of the entry.
func (r *ACLRequest) Plan(st *meta.State, c *Caller, now meta.Time) (Op, meta.Status) {
	switch {
	case c.forbids(DisableSetACL):
		return nil, meta.EPERM
	case c.readOnly():
		return nil, meta.EROFS
	}
	ino, n, ok := c.Find(st, r.Inode, false)
	switch {
	case !ok:
		return nil, meta.ENOENT
	case c.ownerOnly(&n), n.Eattr&meta.EattrImmutable != 0:
		return nil, meta.EPERM
	case r.Type != meta.ACLAccess && r.Type != meta.ACLDefault:
		return nil, meta.EINVAL
	}
	a := &r.ACL
	op := &SetACL{Inode: ino, Mode: n.Mode, Type: r.Type, User: a.User, Group: a.Group, Other: a.Other, Mask: a.Mask,
		Users: a.Users, Groups: a.Groups}
	if len(a.Users)+len(a.Groups) > maxACLText/(3*6) {
		return nil, meta.EINVAL
	}
	if len(a.Users)+len(a.Groups) > 0 || a.User&a.Group&a.Other&a.Mask != aclUnset {
		for _, p := range [...]struct {
			perm  *uint16
			shift uint
		}{{&op.User, 6}, {&op.Group, 3}, {&op.Other, 0}} {
			if *p.perm == aclUnset {
				*p.perm = permission(n.Mode, p.shift)
			}
		}
		if r.Type == meta.ACLAccess {
			op.Mode = n.Mode&0o7000 | op.User&7<<6 | op.Group&7<<3 | op.Other&7
		}
	}
	if op.Mode != n.Mode || n.Ctime == now {
		op.ChangeCtime = 1
	}
	return op, meta.OK
}

// EattrRequest sets extra attributes of a node or a tree.
type EattrRequest struct {
	Inode meta.Inode
	Eattr uint8 // meta.Eattr* bits
	Mode  uint8 // see SetEattr
}

// Plan keeps what protects nodes for administrators.
func (r *EattrRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	switch {
	case c.forbids(DisableSetEattr):
		return nil, meta.EPERM
	case r.Mode > modeMax:
		return nil, meta.EINVAL
	case c.readOnly():
		return nil, meta.EROFS
	case !c.admin() && r.Eattr&attrUndeletables != 0:
		return nil, meta.EPERM
	}
	ino, n, ok := c.Find(st, r.Inode, false)
	if !ok {
		return nil, meta.ENOENT
	}
	op := &SetEattr{Inode: ino, UID: c.UID, Eattr: r.Eattr, Mode: r.Mode}
	if r.Mode&modeRecursive == 0 && op.denied(&n) {
		return nil, meta.EPERM
	}
	return op, meta.OK
}
