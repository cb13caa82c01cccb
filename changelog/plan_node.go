package changelog

import (
	"slices"

	"mfsstandby/changelog/meta"
)

// CreateRequest makes a node that is no symlink: MKNOD, MKDIR and CREATE.
type CreateRequest struct {
	Parent      meta.Inode
	Base        []byte
	Type        meta.Type
	Mode, Umask uint16
	Rdev        uint32
	CopySetGID  bool // a new directory gets the set group id bit of its directory
}

// Plan gives the entry the group of a directory with the set group id bit.
func (r *CreateRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	if c.forbids(r.disable()) {
		return nil, meta.EPERM
	}
	if c.readOnly() {
		return nil, meta.EROFS
	}
	if r.Type < meta.TypeFile || r.Type > meta.TypeSocket || r.Type == meta.TypeSymlink {
		return nil, meta.EINVAL
	}
	parent, dir, status := c.findDir(st, r.Parent, meta.EattrImmutable)
	if status == meta.OK {
		status = statusOf(checkFreeName(st, parent, r.Base))
	}
	if status == meta.OK && overQuota(st, parent, &meta.Stats{Inodes: 1}) {
		status = meta.EQUOTA
	}
	if status != meta.OK {
		return nil, status
	}
	op := &Create{Parent: parent, Base: r.Base, Type: r.Type, Mode: r.Mode, Umask: r.Umask, UID: c.UID, GID: c.GIDs[0], Rdev: r.Rdev}
	if dir.Mode&setGID != 0 {
		op.GID = dir.GID
		if r.CopySetGID && r.Type == meta.TypeDir {
			op.Mode |= setGID
		}
	}
	return op, meta.OK
}

func (r *CreateRequest) disable() Disable {
	switch r.Type {
	case meta.TypeFile:
		return DisableCreate
	case meta.TypeDir:
		return DisableMkdir
	case meta.TypeFifo:
		return DisableMkfifo
	case meta.TypeBlockDev, meta.TypeCharDev:
		return DisableMkdev
	case meta.TypeSocket:
		return DisableMksock
	}
	return 0
}

// Bits of SetAttrRequest.Mask.
const (
	SetWinattr  = 0x01
	SetMode     = 0x02
	SetUID      = 0x04
	SetGID      = 0x08
	SetMtimeNow = 0x10
	SetMtime    = 0x20
	SetAtime    = 0x40
	SetAtimeNow = 0x80
)

// ClearSugid says when a change of owner or group takes the set user id and set
// group id bits away: as which system does it. The client's system decides.
type ClearSugid uint8

// The ways to do it.
const (
	ClearNever  ClearSugid = iota
	ClearAlways            // both bits
	ClearOSX               // both, unless root does it
	ClearBSD               // both, if not root changes the group really
	ClearExt               // not of directories; the group's bit only if the group may execute
	ClearXFS               // as ClearExt, and both of directories unless root does it
)

// SetAttrRequest changes attributes.
type SetAttrRequest struct {
	Inode        meta.Inode
	Opened       bool  // by file descriptor
	Mask         uint8 // Set* bits: what to change
	Mode         uint16
	UID, GID     uint32
	Atime, Mtime meta.Time
	Winattr      uint8
	Clear        ClearSugid
	NoWinattr    bool // the client is too old to send one
}

const (
	setUGIDs = 0o6000
	setUID   = 0o4000
	execBit  = 0o010 // of the group
)

// Plan has the entry tell all attributes as they are after it.
func (r *SetAttrRequest) Plan(st *meta.State, c *Caller, now meta.Time) (Op, meta.Status) {
	if c.forbids(DisableChown) && r.Mask&(SetUID|SetGID) != 0 || c.forbids(DisableChmod) && r.Mask&SetMode != 0 {
		return nil, meta.EPERM
	}
	if r.Mask&SetWinattr != 0 && r.NoWinattr {
		return nil, meta.EINVAL
	}
	if c.readOnly() {
		return nil, meta.EROFS
	}
	ino, n, ok := c.Find(st, r.Inode, r.Opened)
	switch {
	case !ok:
		return nil, meta.ENOENT
	case n.Eattr&meta.EattrImmutable != 0:
		return nil, meta.EPERM
	}
	if status := r.check(st, c, ino, &n); status != meta.OK {
		return nil, status
	}
	mode := r.clearBits(c, &n)
	op := &Attr{Inode: ino, UID: n.UID, GID: n.GID, Atime: n.Atime, Mtime: n.Mtime, Winattr: n.Winattr}
	if r.Mask&SetUID != 0 {
		op.UID = r.UID
	}
	if r.Mask&SetGID != 0 {
		op.GID = r.GID
	}
	r.setMode(st, c, ino, &n, mode, op)
	for _, t := range [...]struct {
		bit   uint8
		time  *meta.Time
		value meta.Time
	}{
		{SetAtime, &op.Atime, r.Atime}, {SetMtime, &op.Mtime, r.Mtime},
		{SetAtimeNow, &op.Atime, now}, {SetMtimeNow, &op.Mtime, now},
	} {
		if r.Mask&t.bit != 0 {
			*t.time = t.value
		}
	}
	if r.Mask&SetWinattr != 0 {
		op.Winattr = r.Winattr
	}
	return op, meta.OK
}

// check tells whether the user may change what is asked for. A kernel that
// takes the set user id bit away before it writes to another's file may.
func (r *SetAttrRequest) check(st *meta.State, c *Caller, ino meta.Inode, n *meta.Node) meta.Status {
	if c.UID == 0 || r.Mask == SetMode && r.Mode == n.Mode&0o1777 && n.Mode&setUGIDs != 0 {
		return meta.OK
	}
	if c.Flags&SessionMapAll != 0 && r.Mask&(SetUID|SetGID) != 0 {
		return meta.EPERM
	}
	if c.ownerOnly(n) {
		if r.Mask&(SetMode|SetUID|SetGID|SetAtime|SetMtime) != 0 {
			return meta.EPERM
		}
		if r.Mask&(SetAtimeNow|SetMtimeNow) != 0 && !c.May(st, ino, n, MayWrite) {
			return meta.EACCES
		}
	}
	if r.Mask&SetUID != 0 && c.UID != r.UID {
		return meta.EPERM
	}
	if r.Mask&SetGID != 0 && !c.IgnoreGID && !slices.Contains(c.GIDs, r.GID) {
		return meta.EPERM
	}
	return meta.OK
}

// clearBits takes set user id and set group id bits from a node whose owner or
// group changes, and returns what is left of the mode to set. Bits that the
// kernel has cleared in it already are put back before that.
func (r *SetAttrRequest) clearBits(c *Caller, n *meta.Node) (mode uint16) {
	mode = r.Mode
	chown := r.Mask&(SetUID|SetGID) != 0
	if chown && r.Mask&SetMode != 0 {
		mode |= n.Mode & setUGIDs
	}
	if !chown || n.Mode&setUGIDs == 0 {
		return mode
	}
	isDir := n.Type == meta.TypeDir
	all := r.Clear == ClearAlways || c.UID != 0 && (r.Clear == ClearOSX ||
		r.Clear == ClearBSD && r.Mask&SetGID != 0 && n.GID != r.GID || r.Clear == ClearXFS && isDir)
	var cleared uint16
	switch {
	case all:
		cleared = setUGIDs
	case (r.Clear == ClearExt || r.Clear == ClearXFS) && !isDir:
		cleared = setUID
		if n.Mode&execBit != 0 {
			cleared = setUGIDs
		}
	}
	if cleared == 0 {
		return mode
	}
	n.Mode &^= cleared
	return mode & modeBits &^ cleared
}

// setMode fills in mode and, for a node with an access ACL, the ACL's. With
// one, the mode's group bits stay and the mask gets the new ones. Only members
// of the group can set its bit.
func (r *SetAttrRequest) setMode(st *meta.State, c *Caller, ino meta.Inode, n *meta.Node, mode uint16, op *Attr) {
	const group = 0o070
	acl := n.Flags&meta.HasAccessACL != 0
	op.Mode = n.Mode & modeBits
	shown := aclMode
	if r.Mask&SetMode != 0 {
		if c.UID != 0 && mode&setGID != 0 && !slices.Contains(c.GIDs, op.GID) {
			mode &^= setGID | 0o170000
		}
		if acl {
			op.Mode = n.Mode&group | mode&modeBits&^group
			shown = func(*meta.State, meta.Inode) uint16 { return mode & 0o777 }
		} else {
			op.Mode = mode & modeBits
		}
	}
	if acl {
		op.ACLMode = shown(st, ino) | aclModeValid
	}
}

// TimesRequest is what a client tells of access and modification times of a
// file that it kept open.
type TimesRequest struct {
	Inode        meta.Inode
	Atime, Mtime meta.Time // 0: not changed
}

// Plan only ever moves times forward.
func (r *TimesRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	ino, n, ok := c.Find(st, r.Inode, true)
	if !ok {
		return nil, meta.ENOENT
	}
	op := &AMTime{Inode: ino, Atime: n.Atime, Mtime: n.Mtime, Ctime: n.Ctime}
	if n.Atime < r.Atime && c.Rules.Atime.renews(true, &n, r.Atime) {
		op.Atime = r.Atime
	}
	if n.Mtime < r.Mtime {
		op.Mtime, op.Ctime = r.Mtime, r.Mtime
	}
	if op.Atime == n.Atime && op.Mtime == n.Mtime && op.Ctime == n.Ctime {
		return nil, meta.OK
	}
	return op, meta.OK
}

// outdated tells whether a relative access time is to be renewed at time t:
// the node changed since it was set, or it is a day old.
func outdated(n *meta.Node, t meta.Time) bool {
	return n.Atime <= n.Ctime && t >= n.Ctime || n.Atime <= n.Mtime && t >= n.Mtime || n.Atime+86400 < t
}

// renews tells whether reading a node at time t sets its access time: a file's
// data, or a directory or symlink.
func (m AtimeMode) renews(file bool, n *meta.Node, t meta.Time) bool {
	switch m {
	case AtimeAlways:
		return true
	case AtimeFiles:
		return file
	case AtimeRelative:
		return outdated(n, t)
	case AtimeFilesRelative:
		return file && outdated(n, t)
	}
	return false
}

// AccessRequest notes that a directory, a symlink or the data of a file was
// read. The permission to read it is checked by whoever reads.
type AccessRequest struct {
	Inode meta.Inode
	File  bool
}

// Plan renews the access time if the configuration has it so.
func (r *AccessRequest) Plan(st *meta.State, c *Caller, now meta.Time) (Op, meta.Status) {
	ino, n, ok := c.Find(st, r.Inode, false)
	if !ok {
		return nil, meta.ENOENT
	}
	if n.Atime == now || !c.Rules.Atime.renews(r.File, &n, now) {
		return nil, meta.OK
	}
	return &Access{Inode: ino}, meta.OK
}
