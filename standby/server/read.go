package server

import (
	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// readHandlers are the requests that any look at a file system is made of.
func readHandlers() map[wire.Type]handler {
	return map[wire.Type]handler{
		wire.FuseStatfs:    {states: mounted, serve: (*conn).statfs},
		wire.FuseAccess:    {states: mounted, serve: (*conn).access},
		wire.FuseLookup:    {states: mounted, serve: (*conn).lookup},
		wire.FuseGetattr:   {states: mounted, serve: (*conn).getattr},
		wire.FuseReadlink:  {states: mounted, serve: (*conn).readlink},
		wire.FuseReaddir:   {states: mounted, serve: (*conn).readdir},
		wire.FuseOpen:      {states: mounted, serve: (*conn).open},
		wire.FuseReadChunk: {states: registered, serve: (*conn).readChunk},
		wire.FuseCheck:     {states: registered, serve: (*conn).check},
	}
}

// newAttr is the release since which clients know attributes by number.
var newAttr = wire.NewRelease(1, 7, 32)

// as sets who asks, as his session maps him. c.who is valid until the next request.
func (c *conn) as(id *wire.Identity) *changelog.Caller {
	c.gids = c.gids[:0]
	for i := range id.GIDs.Len() {
		c.gids = append(c.gids, id.GIDs.At(i))
	}
	c.setWho(id.UID)
	return &c.who
}

// asNobody is as for requests that tell no user.
func (c *conn) asNobody(uid, gid uint32) *changelog.Caller {
	c.gids = append(c.gids[:0], gid)
	c.setWho(uid)
	return &c.who
}

func (c *conn) setWho(uid uint32) {
	var rules *changelog.Rules
	if c.lead != nil {
		rules = c.lead.Rules()
	}
	c.who = changelog.NewCaller(c.ses.id, &c.ses.params().Session, c.release >= newAttr, uid, c.gids, rules)
}

// status answers with a status alone.
func (c *conn) status(t wire.Type, id uint32, s meta.Status) error {
	if s == statusENOENTNoCache && c.release < wire.NewRelease(3, 0, 25) {
		s = meta.ENOENT
	}
	wire.AppendStatus(&c.out, t, id, s)
	return nil
}

// attrOf is what an answer tells of a node.
func attrOf(a *changelog.Attributes) (out wire.Attr) {
	setAttr(&out, a)
	return out
}

func setAttr(out *wire.Attr, a *changelog.Attributes) {
	out.Flags, out.Type, out.Mode, out.UID, out.GID = a.Flags, a.Type, a.Mode, a.UID, a.GID
	out.Atime, out.Mtime, out.Ctime = a.Atime, a.Mtime, a.Ctime
	out.Links, out.Length, out.Winattr = a.Links, a.Length, a.Winattr
	if a.Type.IsDevice() {
		out.Length = uint64(a.Rdev) << 32
	}
}

// uncached tells a client not to trust data of a file that it has in its
// cache: a standby does not know who has seen what.
func uncached(a *wire.Attr) { a.Flags &^= changelog.AttrAllowCache }

func (c *conn) statfs() error {
	var p wire.EmptyRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	c.count(statStatfs)
	answer := wire.Statfs{MsgID: p.MsgID}
	root := c.ses.params().Root
	if root == meta.Root {
		answer.TrashSpace, answer.HeldSpace = c.st.Scalars.Nodes.TrashBytes, c.st.Scalars.Nodes.SustainedBytes
	}
	if d, ok := c.st.Dirs.Get(root); ok {
		var s Space
		if c.srv.cfg.Primary != nil {
			s = c.srv.cfg.Primary.Space()
		}
		answer.Total, answer.Avail, answer.Free = s.Total, s.Avail, s.Free
		// The total is clipped twice, once with each of the others.
		c.clip(root, &answer.Total, &answer.Avail)
		c.clip(root, &answer.Total, &answer.Free)
		answer.Inodes = d.Stats.Inodes + 1
	}
	answer.Append(&c.out, c.release)
	return nil
}

// clip lowers the space that a mount shows to what quotas leave of it: those of
// its root and of all directories above.
func (c *conn) clip(dir meta.Inode, total, avail *uint64) {
	for dir != 0 {
		d, ok := c.st.Dirs.Get(dir)
		if !ok {
			return
		}
		if q, ok := c.st.Quotas.Get(dir); ok {
			clipBy(q.Flags&quotaReal, q.SoftReal, q.HardReal, d.Stats.RealSize, total, avail)
			clipBy(q.Flags&quotaSize, q.SoftSize, q.HardSize, d.Stats.Size, total, avail)
			clipBy(q.Flags&quotaLength, q.SoftLength, q.HardLength, d.Stats.Length, total, avail)
		}
		dir = d.Parent
	}
}

// Quota flags of a soft limit and its hard one.
const (
	quotaSoft   = 0x0F
	quotaHard   = 0xF0
	quotaLength = 0x22
	quotaSize   = 0x44
	quotaReal   = 0x88
)

func clipBy(flags uint8, soft, hard, used uint64, total, avail *uint64) {
	if flags == 0 {
		return
	}
	limit := ^uint64(0)
	if flags&quotaHard != 0 {
		limit = min(limit, hard)
	}
	if flags&quotaSoft != 0 {
		limit = min(limit, soft)
	}
	if used >= limit {
		*avail = 0
	} else {
		*avail = min(*avail, limit-used)
	}
	*total = min(*total, limit)
	*total = min(*total, used+*avail)
}

func (c *conn) access() error {
	var p wire.Access
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	who := c.as(&p.Identity)
	_, n, ok := who.Find(c.st, p.Inode, true)
	status := meta.OK
	switch {
	case p.Mask&changelog.MayWrite != 0 && c.ses.params().Flags&changelog.SessionReadOnly != 0:
		status = meta.EROFS
	case !ok:
		status = meta.ENOENT
	case !who.May(c.st, p.Inode, &n, p.Mask):
		status = meta.EACCES
	}
	return c.status(wire.FuseAccess, p.MsgID, status)
}

func (c *conn) lookup() error {
	var p wire.NameRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	c.count(statLookup)
	who := c.as(&p.Identity)
	parent, dir, ok := who.Find(c.st, p.Parent, false)
	switch {
	case !ok:
		return c.status(wire.FuseLookup, p.MsgID, statusENOENTNoCache)
	case dir.Type != meta.TypeDir:
		return c.status(wire.FuseLookup, p.MsgID, meta.ENOTDIR)
	case !who.May(c.st, parent, &dir, changelog.MayExec):
		return c.status(wire.FuseLookup, p.MsgID, meta.EACCES)
	}
	ino, status := c.child(who.Root, parent, &dir, p.Name)
	if status != meta.OK {
		return c.status(wire.FuseLookup, p.MsgID, status)
	}
	n, ok := c.st.Nodes.Get(ino)
	if !ok {
		return c.status(wire.FuseLookup, p.MsgID, meta.ENOENT)
	}
	a := who.AttributesOf(c.st, ino, &n, &dir)
	answer := wire.LookupReply{MsgID: p.MsgID, Inode: ino, Attr: attrOf(&a)}
	if ino == who.Root {
		answer.Inode = meta.Root
	}
	if c.release >= wire.NewRelease(3, 0, 40) {
		c.lookupFlags(&answer, ino, &n)
	}
	answer.Append(&c.out, c.release)
	return nil
}

// child finds a name in a directory, "." and ".." included.
func (c *conn) child(root, parent meta.Inode, dir *meta.Node, name []byte) (meta.Inode, meta.Status) {
	switch string(name) {
	case ".":
		return parent, meta.OK
	case "..":
		if d, _ := c.st.Dirs.Get(parent); parent != root && d.Parent != 0 {
			return d.Parent, meta.OK
		}
		return root, meta.OK
	}
	if badName(name) {
		return 0, meta.EINVAL
	}
	e, ok := c.st.Edges.Get(parent, name)
	switch {
	case ok:
		return e.Child, meta.OK
	case dir.Eattr&meta.EattrNoECache != 0:
		return 0, statusENOENTNoCache
	}
	return 0, meta.ENOENT
}

// Bits of LookupReply.Flags that tell of accesses: those without writing, and
// those with reading or writing.
const (
	accessNoWrite = 0x33
	accessAny     = 0xFC
)

// lookupFlags tells what the client may do with a node, and the only chunk of
// a small file, which saves asking for it.
func (c *conn) lookupFlags(answer *wire.LookupReply, ino meta.Inode, n *meta.Node) {
	flags := uint16(c.who.Rights(c.st, ino, n))
	if n.Eattr&meta.EattrImmutable != 0 {
		flags = flags&accessNoWrite | wire.LookupImmutable
	}
	if n.Eattr&meta.EattrAppendOnly != 0 {
		flags |= wire.LookupAppendOnly
		if c.release < appendOnlyKnown {
			flags &^= 0xFF &^ accessNoWrite
		}
	}
	if n.Eattr&meta.EattrNoDataCache != 0 {
		flags |= wire.LookupDirect
	}
	if n.Type.IsFile() && flags&accessAny != 0 {
		if flags&wire.LookupDirect == 0 {
			uncached(&answer.Attr)
		}
		if n.Slots == 1 && !c.disabled(changelog.DisableRead) && c.onlyChunk(n, &answer.Chunk) {
			flags |= wire.LookupChunkData
		}
	}
	if c.ses.params().Flags&changelog.SessionReadOnly != 0 {
		flags |= wire.LookupReadOnly
	}
	answer.Flags = flags
}

// appendOnlyKnown is the release since which clients know append-only files.
var appendOnlyKnown = wire.NewRelease(3, 0, 113)

func (c *conn) disabled(d changelog.Disable) bool { return c.ses.params().Disables&uint32(d) != 0 }

func (c *conn) getattr() error {
	var p wire.Getattr
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	c.count(statGetattr)
	who := c.asNobody(p.UID, p.GID)
	ino, n, ok := who.Find(c.st, p.Inode, p.Opened != 0)
	if !ok {
		return c.status(wire.FuseGetattr, p.MsgID, meta.ENOENT)
	}
	a := who.AttributesOf(c.st, ino, &n, nil)
	answer := wire.AttrReply{MsgID: p.MsgID, Attr: attrOf(&a)}
	answer.Append(&c.out, wire.FuseGetattr, c.release)
	return nil
}

func (c *conn) readlink() error {
	var p wire.InodeRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	who := c.asNobody(0, 0)
	ino, n, ok := who.Find(c.st, p.Inode, false)
	status := meta.OK
	switch {
	case !ok:
		status = meta.ENOENT
	case n.Type != meta.TypeSymlink:
		status = meta.EINVAL
	default:
		if err := c.accessTime(who, &changelog.AccessRequest{Inode: p.Inode}); err != nil {
			return err
		}
	}
	c.count(statReadlink)
	if status != meta.OK {
		return c.status(wire.FuseReadlink, p.MsgID, status)
	}
	target, _ := c.st.Symlinks.Get(ino)
	c.scratch = append(c.scratch[:0], target...)
	answer := wire.ReadlinkReply{MsgID: p.MsgID, Target: c.scratch}
	answer.Append(&c.out)
	return nil
}

// open grants reading. The client itself tells later, in lists of all, which
// files it still has open.
func (c *conn) open() error {
	var p wire.Open
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	c.count(statOpen)
	who := c.as(&p.Identity)
	ino, n, ok := who.Find(c.st, p.Inode, false)
	status := meta.OK
	switch {
	case p.Flags&(wire.OpenWrite|wire.OpenTruncate) != 0:
		status = meta.EROFS
	case !ok:
		status = meta.ENOENT
	case !n.Type.IsFile():
		status = meta.EPERM
	case p.Flags&wire.OpenAfterCreate == 0 && p.Flags&wire.OpenRead != 0 && !who.May(c.st, ino, &n, changelog.MayRead):
		status = meta.EACCES
	}
	if status != meta.OK {
		return c.status(wire.FuseOpen, p.MsgID, status)
	}
	if err := c.srv.sessions.open(c.ses, ino); err != nil {
		return err
	}
	a := who.AttributesOf(c.st, ino, &n, nil)
	answer := wire.OpenReply{MsgID: p.MsgID, Attr: attrOf(&a)}
	if n.Eattr&meta.EattrNoDataCache != 0 {
		answer.Flags |= wire.OpenedDirect
	} else {
		uncached(&answer.Attr)
	}
	if n.Eattr&meta.EattrAppendOnly != 0 {
		answer.Flags |= wire.OpenedAppendOnly
	}
	answer.Append(&c.out, c.release)
	return nil
}
