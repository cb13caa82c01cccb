package metafile

import (
	"encoding/binary"
	"fmt"

	"mfsstandby/changelog/meta"
)

// PACL 1.1: records, a zero record. Record:
//
//	inode:32 type:8 owner:16 group:16 other:16 mask:16 users:16 groups:16
//	(users+groups)*[id:32 perm:16]
//
// PACL 1.0 is the same, but releases before 3.0.98 left masks empty by mistake,
// which mfsmaster repairs.
const (
	aclMask  = 0x11 // first version in which an empty mask is meant
	aclFixed = 17
	aclEntry = 6
	aclPiece = 100 // entries that are written at once
)

type aclRecord struct {
	key           meta.ACLKey
	acl           meta.ACL // without its entries
	users, groups int
}

// readACL reads the fixed part of the next record; false is the end.
func (in *input) readACL(rec *aclRecord) bool {
	b := in.next(aclFixed)
	if b == nil {
		return false
	}
	be := binary.BigEndian
	rec.key = meta.ACLKey{Inode: meta.Inode(be.Uint32(b)), Type: b[4]}
	rec.acl = meta.ACL{User: be.Uint16(b[5:]), Group: be.Uint16(b[7:]), Other: be.Uint16(b[9:]), Mask: be.Uint16(b[11:])}
	rec.users, rec.groups = int(be.Uint16(b[13:])), int(be.Uint16(b[15:]))
	return rec.key.Inode != 0
}

// aclEntries reads the named users and groups.
func (in *input) aclEntries(rec *aclRecord) error {
	b := in.next((rec.users + rec.groups) * aclEntry)
	if b == nil {
		return in.err
	}
	var list []meta.ACLEntry
	if len(b) > 0 {
		list = make([]meta.ACLEntry, 0, len(b)/aclEntry)
	}
	for ; len(b) > 0; b = b[aclEntry:] {
		list = append(list, meta.ACLEntry{ID: binary.BigEndian.Uint32(b), Perm: binary.BigEndian.Uint16(b[4:])})
	}
	if rec.users > 0 { // an empty list is nil
		rec.acl.Users = list[:rec.users:rec.users]
	}
	if rec.groups > 0 {
		rec.acl.Groups = list[rec.users:]
	}
	return nil
}

func (l *loader) acls() error {
	var rec aclRecord
	for {
		l.begin()
		if !l.in.readACL(&rec) {
			return l.in.err
		}
		if err := l.in.aclEntries(&rec); err != nil {
			return err
		}
		n, ok := l.st.Nodes.Edit(rec.key.Inode)
		if !ok {
			continue // dropped by mfsmaster, too
		}
		bit := uint8(meta.HasAccessACL)
		switch rec.key.Type {
		case meta.ACLAccess:
		case meta.ACLDefault:
			bit = meta.HasDefaultACL
		default:
			return l.in.failf("ACL of inode %d has the unknown type %d", rec.key.Inode, rec.key.Type)
		}
		if n.Flags&bit != 0 {
			return l.in.failf("second ACL of type %d of inode %d", rec.key.Type, rec.key.Inode)
		}
		n.Flags |= bit
		if l.in.version < aclMask && !l.old && rec.acl.Mask == 0 {
			rec.acl.Repair(n.Mode)
		}
		l.st.ACLs.Insert(rec.key, rec.acl)
	}
}

func writeACLs(o *output, st *meta.State) error {
	for key, a := range st.ACLs.Scan(meta.ACLKey{}) {
		if len(a.Users) > 0xFFFF || len(a.Groups) > 0xFFFF {
			return o.failf("ACL of inode %d has too many entries", key.Inode)
		}
		o.u32(uint32(key.Inode))
		o.u8(key.Type)
		for _, v := range [...]uint16{a.User, a.Group, a.Other, a.Mask, uint16(len(a.Users)), uint16(len(a.Groups))} {
			o.u16(v)
		}
		o.end()
		count := 0
		for _, list := range [...][]meta.ACLEntry{a.Users, a.Groups} {
			for _, e := range list {
				if count > 0 && count%aclPiece == 0 {
					o.end()
				}
				count++
				o.u32(e.ID)
				o.u16(e.Perm)
			}
		}
		if count > 0 {
			o.end()
		}
		if o.err != nil {
			return o.err
		}
	}
	o.zeros(aclFixed)
	o.end()
	return o.err
}

func dumpACLs(d *dumper) error {
	var rec aclRecord
	for {
		d.in.begin()
		if !d.in.readACL(&rec) {
			return d.in.err
		}
		if err := d.in.aclEntries(&rec); err != nil {
			return err
		}
		d.t.num("POSIXACL|i:", uint64(rec.key.Inode), 10)
		d.t.num("|t:", uint64(rec.key.Type), 0)
		d.t.oct("|u:0", uint64(rec.acl.User), 5)
		d.t.oct("|g:0", uint64(rec.acl.Group), 5)
		d.t.oct("|o:0", uint64(rec.acl.Other), 5)
		d.t.oct("|m:0", uint64(rec.acl.Mask), 5)
		d.t.str("|n:(", "")
		label, next := "u(", ",u("
		for i, e := range append(rec.acl.Users, rec.acl.Groups...) {
			if i == rec.users {
				label, next = "g(", ",g("
			}
			if i > 0 {
				label = next
			}
			d.t.num(label, uint64(e.ID), 0)
			d.t.oct("):0", uint64(e.Perm), 5)
		}
		d.t.str(")", "")
		if !d.endLine() {
			return d.in.err
		}
	}
}

func compareACLs(c *comparer) error {
	var seen [meta.ACLDefault + 1]meta.IDSet
	var rec aclRecord
	for {
		c.in.begin()
		if !c.in.readACL(&rec) {
			break
		}
		if err := c.in.aclEntries(&rec); err != nil {
			return err
		}
		if !c.nodeIDs.Has(uint64(rec.key.Inode)) {
			continue
		}
		if rec.key.Type > meta.ACLDefault {
			return c.in.failf("ACL of inode %d has the unknown type %d", rec.key.Inode, rec.key.Type)
		}
		seen[rec.key.Type].Add(uint64(rec.key.Inode))
		if image, ok := c.st.ACLs.Get(rec.key); !ok {
			c.missing("PACL", aclKeyText(rec.key), rec.acl)
		} else {
			c.fields("PACL", aclKeyText(rec.key), rec.key.Inode, rec.acl, image)
		}
	}
	for key, a := range c.st.ACLs.Scan(meta.ACLKey{}) {
		if int(key.Type) >= len(seen) || !seen[key.Type].Has(uint64(key.Inode)) {
			c.extra("PACL", aclKeyText(key), key.Inode, a)
		}
	}
	return c.in.err
}

func aclKeyText(key meta.ACLKey) string {
	return fmt.Sprintf("inode %d type %d", key.Inode, key.Type)
}
