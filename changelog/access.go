package changelog

import (
	"slices"

	"mfsstandby/changelog/meta"
)

// Access to a node, bits as in a mode.
const (
	MayRead  = 4
	MayWrite = 2
	MayExec  = 1
)

// User is who asks for access to nodes, after what his session does to ids.
type User struct {
	UID       uint32
	GIDs      []uint32 // at least one; the first is the user's own
	IgnoreGID bool     // of the session: group and other permissions add up
}

// May tells whether a user has all wanted permissions (MayRead ...) on a node.
// The first rule that fits decides: root, ACL, owner, group, others.
func (u *User) May(st *meta.State, ino meta.Inode, n *meta.Node, want uint16) bool {
	switch {
	case u.UID == 0:
		return true
	case n.Flags&meta.HasAccessACL != 0:
		a, _ := st.ACLs.Get(meta.ACLKey{Inode: ino, Type: meta.ACLAccess})
		return u.aclAllows(&a, n, want)
	case u.UID == n.UID || n.Eattr&meta.EattrNoOwner != 0:
		return permission(n.Mode, 6)&want == want
	case u.IgnoreGID:
		return (permission(n.Mode, 3)|permission(n.Mode, 0))&want == want
	case slices.Contains(u.GIDs, n.GID):
		return permission(n.Mode, 3)&want == want
	}
	return permission(n.Mode, 0)&want == want
}

// aclAllows is May for a node with an access ACL; the attribute "no owner"
// does not count then. Several groups do not add up: one of them has to give
// all that is wanted.
func (u *User) aclAllows(a *meta.ACL, n *meta.Node, want uint16) bool {
	if u.UID == n.UID {
		return a.User&want == want
	}
	for _, e := range a.Users {
		if e.ID == u.UID {
			return e.Perm&a.Mask&want == want
		}
	}
	member := slices.Contains(u.GIDs, n.GID)
	if member && a.Group&a.Mask&want == want {
		return true
	}
	for _, e := range a.Groups {
		if slices.Contains(u.GIDs, e.ID) {
			member = true
			if e.Perm&a.Mask&want == want {
				return true
			}
		}
	}
	return !member && a.Other&want == want
}

// Rights returns which accesses a user may have: bit m tells whether May grants
// m, for m from 0 to 7. This is what an answer to LOOKUP carries.
func (u *User) Rights(st *meta.State, ino meta.Inode, n *meta.Node) (rights uint8) {
	for want := range uint16(8) {
		if u.May(st, ino, n, want) {
			rights |= 1 << want
		}
	}
	return rights
}

// mayRemoveFrom tells whether a directory's sticky bit lets a user remove or
// rename a node in it.
func (u *User) mayRemoveFrom(dir, n *meta.Node) bool {
	const sticky = 0o1000
	return dir.Mode&sticky == 0 || owns(u.UID, dir) || owns(u.UID, n)
}

// Bits of a session's flags.
const (
	SessionReadOnly  = 0x01
	SessionDynamicIP = 0x02 // may come back from another address
	SessionIgnoreGID = 0x04
	SessionAdmin     = 0x08
	SessionMapAll    = 0x10 // all users but root are mapped to one
	SessionNewAttr   = 0x40 // its client is 1.7.32 or newer; not stored
)

// Disable is an operation that a session may not use; Session.Disables and
// Caller.Disables hold them as bits.
type Disable uint32

// What can be disabled.
const (
	DisableChown Disable = 1 << iota
	DisableChmod
	DisableSymlink
	DisableMkfifo
	DisableMkdev
	DisableMksock
	DisableMkdir
	DisableUnlink
	DisableRmdir
	DisableRename
	DisableMove
	DisableLink
	DisableCreate
	DisableReaddir
	DisableRead
	DisableWrite
	DisableTruncate
	DisableSetLength
	DisableAppend
	DisableSnapshot
	DisableSetTrash
	DisableSetSClass
	DisableSetEattr
	DisableSetXattr
	DisableSetACL
)

// Rules are the options of the primary's configuration that decide about
// requests and duties. The zero value is not usable; see DefaultRules.
type Rules struct {
	MaxHardLinks   uint32    // MAX_ALLOWED_HARD_LINKS
	Atime          AtimeMode // ATIME_MODE
	InodeReuse     uint32    // INODE_REUSE_DELAY, seconds
	SessionSustain uint32    // SESSION_SUSTAIN_TIME, seconds
}

// DefaultRules are those of a mfsmaster 3.0.117 whose configuration is empty.
var DefaultRules = Rules{MaxHardLinks: 32767, Atime: AtimeRelative, InodeReuse: 86400, SessionSustain: 86400}

// AtimeMode is when access times change.
type AtimeMode uint8

// The modes, as ATIME_MODE numbers them.
const (
	AtimeAlways AtimeMode = iota
	AtimeFiles
	AtimeRelative
	AtimeFilesRelative
	AtimeNever
)

// Caller is who sent a request: a user of a session. NewCaller makes one.
type Caller struct {
	User
	Session  meta.SessionID
	Flags    uint8      // Session* bits
	Root     meta.Inode // the directory that is inode 1 to the session; 0 for a meta mount
	Disables Disable
	Umask    uint16

	AskedUID, AskedGID uint32 // as the client sent them, before mapping
	RootMapped         bool   // root of the client is another user here

	MinGoal, MaxGoal   uint8
	MinTrash, MaxTrash uint32 // seconds
	Rules              *Rules
}

// NewCaller maps a user of a client as its session says. The first group is
// the user's own and the only one that is mapped; gids is changed. A nil rules
// means DefaultRules; newAttr is whether the client is 1.7.32 or newer.
func NewCaller(id meta.SessionID, s *meta.Session, newAttr bool, uid uint32, gids []uint32, rules *Rules) Caller {
	if len(gids) == 0 {
		gids = []uint32{0}
	}
	if rules == nil {
		rules = &DefaultRules
	}
	c := Caller{
		Session: id, Flags: s.Flags, Root: s.Root, Disables: Disable(s.Disables), Umask: s.Umask,
		AskedUID: uid, AskedGID: gids[0], RootMapped: s.RootUID != 0,
		MinGoal: s.MinGoal, MaxGoal: s.MaxGoal, MinTrash: s.MinTrash, MaxTrash: s.MaxTrash, Rules: rules,
	}
	if newAttr {
		c.Flags |= SessionNewAttr
	}
	switch {
	case uid == 0:
		uid, gids[0] = s.RootUID, s.RootGID
	case s.Flags&SessionMapAll != 0:
		uid, gids[0] = s.MapUID, s.MapGID
	}
	c.User = User{UID: uid, GIDs: gids, IgnoreGID: s.Flags&SessionIgnoreGID != 0}
	return c
}

// readOnly tells whether the session may not change anything.
func (c *Caller) readOnly() bool { return c.Flags&SessionReadOnly != 0 }

// admin tells whether the session has the rights of an administrator.
func (c *Caller) admin() bool { return c.Flags&SessionAdmin != 0 }

// forbids tells whether the session may not use an operation.
func (c *Caller) forbids(d Disable) bool { return c.Disables&d != 0 }

// Find returns the node that an inode of a request means: inode 1 is the root
// of the session, a meta mount sees trash and sustained files only, and a mount
// of a subdirectory what is below that. An opened file is found wherever it is
// now, or whether it has a name.
func (c *Caller) Find(st *meta.State, ino meta.Inode, opened bool) (meta.Inode, meta.Node, bool) {
	switch c.Root {
	case meta.Root:
		n, ok := st.Nodes.Get(ino)
		return ino, n, ok
	case 0:
		n, ok := st.Nodes.Get(ino)
		return ino, n, ok && (n.Type == meta.TypeTrash || n.Type == meta.TypeSustained)
	}
	root, ok := st.Nodes.Get(c.Root)
	if !ok || root.Type != meta.TypeDir {
		return ino, meta.Node{}, false
	}
	if ino == meta.Root {
		return c.Root, root, true
	}
	n, ok := st.Nodes.Get(ino)
	return ino, n, ok && (opened || below(st, c.Root, ino, &n))
}

// below tells whether one of a node's names is somewhere below a directory.
func below(st *meta.State, top, ino meta.Inode, n *meta.Node) bool {
	switch {
	case n.Type == meta.TypeTrash || n.Type == meta.TypeSustained:
		return false
	case n.Type == meta.TypeDir:
		d, _ := st.Dirs.Get(ino)
		return d.Parent != 0 && isBelow(st, d.Parent, top)
	case n.Links == 1:
		return isBelow(st, n.Parent, top)
	}
	links, _ := st.Hard.Get(ino)
	return slices.ContainsFunc(links, func(l meta.HardLink) bool { return isBelow(st, l.Parent, top) })
}
