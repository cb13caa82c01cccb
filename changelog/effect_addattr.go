package changelog

import (
	"encoding/binary"
	"fmt"
	"slices"

	"mfsstandby/changelog/meta"
)

// attributes are the values of an AddAttr, taken apart.
type attributes struct {
	winattr, eattr uint8
	xattrs         []meta.Xattr
	acls           [2]*meta.ACL // access, default
}

// aclHead is the size of an ACL without its named entries, in bytes.
const aclHead = 12

// values takes the values apart: those of the kinds given, in the order of
// their bits. false says that they are not exactly that.
func (op *AddAttr) values() (a attributes, ok bool) {
	r := blobReader{b: op.Values}
	if op.Kinds&AttrWinattr != 0 {
		a.winattr = r.u8()
	}
	if op.Kinds&AttrEattr != 0 {
		a.eattr = r.u8()
	}
	if op.Kinds&AttrXattrs != 0 {
		for n := r.u16(); n > 0 && !r.bad; n-- {
			name := r.take(int(r.u8()))
			value := r.take(int(min(r.u32(), 1<<30)))
			a.xattrs = append(a.xattrs, meta.Xattr{Name: string(name), Value: value})
		}
	}
	if op.Kinds&AttrACLs != 0 {
		present := r.u8()
		for i := range a.acls {
			if present>>i&1 != 0 {
				a.acls[i] = r.acl()
			}
		}
	}
	return a, !r.bad && len(r.b) == 0
}

// blobReader reads big-endian numbers; running past the end sticks in bad.
type blobReader struct {
	b   []byte
	bad bool
}

func (r *blobReader) take(n int) []byte {
	if n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *blobReader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *blobReader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *blobReader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *blobReader) acl() *meta.ACL {
	if len(r.b) < aclHead {
		r.bad = true
		return nil
	}
	a := &meta.ACL{User: r.u16(), Group: r.u16(), Other: r.u16(), Mask: r.u16()}
	users, groups := int(r.u16()), int(r.u16())
	if len(r.b) < aclEntrySize*(users+groups) {
		r.bad = true
		return nil
	}
	for i := range users + groups {
		e := meta.ACLEntry{ID: r.u32(), Perm: r.u16()}
		if i < users {
			a.Users = append(a.Users, e)
		} else {
			a.Groups = append(a.Groups, e)
		}
	}
	return a
}

// Apply gives the node exactly these attributes. Of its times only ctime
// changes, and that only if an access ACL changes the mode.
func (op *AddAttr) Apply(st *meta.State, now meta.Time) error {
	n, err := editNode(st, op.Inode)
	if err != nil {
		return err
	}
	a, ok := op.values()
	if !ok {
		return fmt.Errorf("values of attributes %#x: %w", op.Kinds, inodeError(op.Inode, meta.EINVAL))
	}
	if op.Kinds&AttrWinattr != 0 {
		n.Winattr = a.winattr
	}
	if op.Kinds&AttrEattr != 0 {
		n.Eattr = a.eattr
	}
	if op.Kinds&AttrXattrs != 0 && !sameXattrs(st, op.Inode, a.xattrs) {
		setXattrs(st, op.Inode, n, a.xattrs)
	}
	if op.Kinds&AttrACLs != 0 {
		a.setACLs(st, now, op.Inode, n)
	}
	return nil
}

// sameXattrs tells whether the inode has these attributes, in whatever order.
func sameXattrs(st *meta.State, ino meta.Inode, list []meta.Xattr) bool {
	if len(st.Xattrs.Names(ino)) != len(list) {
		return false
	}
	for _, x := range list {
		if value, ok := st.Xattrs.Get(ino, []byte(x.Name)); !ok || !slices.Equal(value, x.Value) {
			return false
		}
	}
	return true
}

// setXattrs replaces all attributes of an inode. Of a name that comes twice the
// last value counts.
func setXattrs(st *meta.State, ino meta.Inode, n *meta.Node, list []meta.Xattr) {
	st.Xattrs.DeleteAll(ino)
	n.Flags &^= meta.HasXattr
	for _, x := range list {
		n.Flags |= meta.HasXattr
		if _, ok := st.Xattrs.Get(ino, []byte(x.Name)); ok {
			st.Xattrs.Put(ino, []byte(x.Name), x.Value)
		} else {
			st.Xattrs.Append(ino, []byte(x.Name), x.Value)
		}
	}
}

// setACLs gives the node these ACLs and no others.
func (a *attributes) setACLs(st *meta.State, now meta.Time, ino meta.Inode, n *meta.Node) {
	const above = 0o7000 // what no ACL has
	for i, kind := range [...]uint8{meta.ACLAccess, meta.ACLDefault} {
		acl := a.acls[i]
		if acl == nil || kind == meta.ACLAccess && simpleACL(acl) {
			removeACL(st, ino, n, kind)
		} else {
			putACL(st, ino, n, kind, *acl)
		}
	}
	if acl := a.acls[0]; acl != nil {
		mode := n.Mode&above | acl.User&7<<6 | acl.Group&7<<3 | acl.Other&7
		if mode != n.Mode {
			n.Mode, n.Ctime = mode, now
		}
	}
}
