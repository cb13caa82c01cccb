package changelog

import "mfsstandby/changelog/meta"

// Bits of Attributes.Flags.
const (
	AttrNoAttrCache   = 0x01
	AttrNoEntryCache  = 0x02
	AttrAllowCache    = 0x04 // deprecated, still set
	AttrNoXattr       = 0x08 // neither extended attributes nor an ACL
	AttrDirect        = 0x10 // deprecated, still set
	AttrUndeletable   = 0x20
	attrUndeletables  = meta.EattrUndeletable | meta.EattrImmutable | meta.EattrAppendOnly
	attrUncachedEattr = meta.EattrNoOwner | meta.EattrNoACache
)

// Attributes are those of a node as a client sees them: what the ATTR block of
// an answer holds.
type Attributes struct {
	Flags               uint8     // Attr* bits
	Type                meta.Type // TypeFile also for trash and sustained
	Mode                uint16
	UID, GID            uint32
	Atime, Mtime, Ctime meta.Time
	Links               uint32
	Length              uint64 // of a directory see dirLength; of a symlink of its target; else 0
	Rdev                uint32 // devices
	Winattr             uint8
}

// AttributesOf returns the attributes of a node for a caller. parent is the
// directory in which it was found, if it was looked up, renamed or made there.
func (c *Caller) AttributesOf(st *meta.State, ino meta.Inode, n *meta.Node, parent *meta.Node) (a Attributes) {
	c.SetAttributes(&a, st, ino, n, parent)
	return a
}

// SetAttributes is AttributesOf for many nodes: it saves copies.
func (c *Caller) SetAttributes(a *Attributes, st *meta.State, ino meta.Inode, n *meta.Node, parent *meta.Node) {
	// One by one: a literal would be made elsewhere and copied.
	a.Flags, a.Type, a.Mode, a.UID, a.GID = c.attrFlags(n, parent), n.Type, n.Mode&modeBits, 0, 0
	a.Atime, a.Mtime, a.Ctime, a.Links = n.Atime, n.Mtime, n.Ctime, n.Links
	a.Length, a.Rdev, a.Winattr = 0, 0, n.Winattr
	if n.Flags&meta.HasAccessACL != 0 {
		a.Mode = n.Mode&0o7000 | aclMode(st, ino)
	}
	c.attrOwner(n, a)
	switch {
	case n.Type.IsFile():
		a.Type, a.Length = meta.TypeFile, n.Length
	case n.Type == meta.TypeDir:
		d, _ := st.Dirs.Get(ino)
		a.Links, a.Length = 2+d.Subdirs, dirLength(d.Stats.Length)
	case n.Type == meta.TypeSymlink:
		target, _ := st.Symlinks.Get(ino)
		a.Length = uint64(len(target))
	case n.Type.IsDevice():
		a.Rdev = n.Rdev
	}
}

func (c *Caller) attrFlags(n, parent *meta.Node) (flags uint8) {
	if parent != nil && parent.Eattr&meta.EattrNoECache != 0 {
		flags |= AttrNoEntryCache
	}
	if n.Eattr&attrUncachedEattr != 0 || c.Flags&SessionMapAll != 0 {
		flags |= AttrNoAttrCache
	}
	if n.Eattr&meta.EattrNoDataCache == 0 {
		flags |= AttrAllowCache
	} else {
		flags |= AttrDirect
	}
	if n.Flags&(meta.HasXattr|meta.HasAccessACL|meta.HasDefaultACL) == 0 {
		flags |= AttrNoXattr
	}
	if n.Eattr&attrUndeletables != 0 {
		flags |= AttrUndeletable
	}
	return flags
}

// attrOwner fills in the owner: that of a node without one is whoever asks, and
// what belongs to the user that a session maps all to belongs to everyone in it.
func (c *Caller) attrOwner(n *meta.Node, a *Attributes) {
	mapAll := c.Flags&SessionMapAll != 0
	switch {
	case n.Eattr&meta.EattrNoOwner != 0 && c.UID != 0:
		owner := a.Mode & 0o700
		a.Mode = a.Mode&0o7000 | owner | owner>>3 | owner>>6
		a.UID, a.GID = c.UID, c.GIDs[0]
		if mapAll {
			a.UID, a.GID = c.AskedUID, c.AskedGID
		}
	case mapAll && c.AskedUID != 0:
		if n.UID == c.UID {
			a.UID = c.AskedUID
		}
		if n.GID == c.GIDs[0] {
			a.GID = c.AskedGID
		}
	default:
		a.UID, a.GID = n.UID, n.GID
	}
}

// aclMode is the mode that an access ACL shows: its mask stands for the group.
func aclMode(st *meta.State, ino meta.Inode) uint16 {
	a, _ := st.ACLs.Get(meta.ACLKey{Inode: ino, Type: meta.ACLAccess})
	return a.User&7<<6 | a.Mask&7<<3 | a.Other&7
}

// dirLength is the length that a directory shows for n bytes below it: a
// decimal number that is easy to read, 2052312 for 523.12 MiB, and never 0.
func dirLength(n uint64) uint64 {
	switch {
	case n == 0:
		return 1
	case n < 1<<10:
		return n * 100
	case n < 1<<20:
		return n*100>>10 + 1000000
	case n < 1<<30:
		return n*100>>20 + 2000000
	case n < 1<<40:
		return n*100>>30 + 3000000
	case n < 1<<50:
		return n*100>>40 + 4000000
	case n < 1<<60:
		return n>>10*100>>40 + 5000000
	}
	return n>>10*100>>50 + 6000000
}
