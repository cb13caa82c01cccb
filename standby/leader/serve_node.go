package leader

import (
	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

func (s *serving) setattr(number wire.Type) error {
	var p wire.Setattr
	if err := p.Decode(s.d, s.Release); err != nil {
		return err
	}
	c := s.caller(&p.Identity)
	r := &changelog.SetAttrRequest{
		Inode: p.Inode, Opened: p.Opened != 0, Mask: p.Mask, Mode: p.Mode, UID: p.NewUID, GID: p.NewGID,
		Atime: p.Atime, Mtime: p.Mtime, Winattr: p.Winattr, Clear: changelog.ClearSugid(p.SuidClear),
		NoWinattr: s.Release < wire.NewRelease(3, 0, 93),
	}
	op, status := s.Do(&c, r)
	if status != meta.OK {
		return s.status(number, p.MsgID, status)
	}
	reply := wire.AttrReply{MsgID: p.MsgID, Attr: s.attr(&c, op.(*changelog.Attr).Inode, 0)}
	reply.Append(s.out, number, s.Release)
	return nil
}

// made answers a request that made a node or a name.
func (s *serving) made(number wire.Type, msgID uint32, c *changelog.Caller, ino, parent meta.Inode) error {
	reply := wire.NodeReply{MsgID: msgID, Inode: ino, Attr: s.attr(c, ino, parent)}
	reply.Append(s.out, number, s.Release)
	return nil
}

func (s *serving) symlink(number wire.Type) error {
	var p wire.Symlink
	if err := p.Decode(s.d); err != nil {
		return err
	}
	c := s.caller(&p.Identity)
	op, status := s.Do(&c, &changelog.SymlinkRequest{Parent: p.Parent, Base: p.Name, Target: p.Target})
	if status != meta.OK {
		return s.status(number, p.MsgID, status)
	}
	made := op.(*changelog.Symlink)
	return s.made(number, p.MsgID, &c, made.Inode, made.Parent)
}

// newNode carries out a request for a node of any other kind.
func (s *serving) newNode(number wire.Type, p *wire.Create, r *changelog.CreateRequest) error {
	c := s.caller(&p.Identity)
	r.Parent, r.Base, r.Mode, r.Umask = p.Parent, p.Name, p.Mode, p.Umask
	op, status := s.Do(&c, r)
	if status != meta.OK {
		return s.status(number, p.MsgID, status)
	}
	made := op.(*changelog.Create)
	return s.made(number, p.MsgID, &c, made.Inode, made.Parent)
}

func (s *serving) mknod(number wire.Type) error {
	var p wire.Mknod
	if err := p.Decode(s.d); err != nil {
		return err
	}
	return s.newNode(number, &p.Create, &changelog.CreateRequest{Type: p.Type, Rdev: p.Rdev})
}

func (s *serving) mkdir(number wire.Type) error {
	var p wire.Mkdir
	if err := p.Decode(s.d); err != nil {
		return err
	}
	return s.newNode(number, &p.Create, &changelog.CreateRequest{Type: meta.TypeDir, CopySetGID: p.CopySgid != 0})
}

// create makes a file and opens it.
func (s *serving) create(number wire.Type) error {
	var p wire.CreateFile
	if err := p.Decode(s.d); err != nil {
		return err
	}
	c := s.caller(&p.Identity)
	op, status := s.Do(&c, &changelog.CreateRequest{
		Parent: p.Parent, Base: p.Name, Type: meta.TypeFile, Mode: p.Mode, Umask: p.Umask,
	})
	if status != meta.OK {
		return s.status(number, p.MsgID, status)
	}
	made := op.(*changelog.Create)
	reply := wire.CreateReply{MsgID: p.MsgID, Inode: made.Inode, Attr: s.attr(&c, made.Inode, made.Parent)}
	s.Do(&c, &changelog.OpenedRequest{Inode: made.Inode})
	reply.Flags = s.openFlags(&reply.Attr, made.Inode, false)
	reply.Append(s.out, s.Release)
	return nil
}

// openFlags tells how a file is open, and takes from its attributes the flag
// that lets old clients keep what they have of it in their cache.
func (s *serving) openFlags(a *wire.Attr, ino meta.Inode, cached bool) (flags uint8) {
	n, _ := s.st.Nodes.Get(ino)
	if n.Eattr&meta.EattrNoDataCache != 0 {
		flags |= wire.OpenedDirect
	} else if cached {
		flags |= wire.OpenedKeepCache
	} else {
		a.Flags &^= wire.AttrDataCache
	}
	if n.Eattr&meta.EattrAppendOnly != 0 {
		flags |= wire.OpenedAppendOnly
	}
	return flags
}

// open checks permissions, cuts the file if asked to, and opens it. Clients
// too old for files that can only be appended to may not write to these.
func (s *serving) open(number wire.Type) error {
	var p wire.Open
	if err := p.Decode(s.d); err != nil {
		return err
	}
	c := s.caller(&p.Identity)
	_, status := s.Do(&c, &changelog.OpenRequest{Inode: p.Inode, Flags: p.Flags})
	n, _ := s.st.Nodes.Get(p.Inode)
	if status == meta.OK && s.Release < wire.NewRelease(3, 0, 113) && n.Eattr&meta.EattrAppendOnly != 0 && p.Flags&wire.OpenWrite != 0 {
		status = meta.EACCES
	}
	if status != meta.OK {
		return s.status(number, p.MsgID, status)
	}
	reply := wire.OpenReply{MsgID: p.MsgID, Attr: s.attr(&c, p.Inode, 0)}
	s.Do(&c, &changelog.OpenedRequest{Inode: p.Inode})
	cached := s.Cached != nil && n.Eattr&meta.EattrNoDataCache == 0 && s.Cached(p.Inode, p.Flags&wire.OpenCacheCleared != 0)
	reply.Flags = s.openFlags(&reply.Attr, p.Inode, cached)
	reply.Append(s.out, s.Release)
	return nil
}

func (s *serving) unlink(number wire.Type) error {
	var p wire.NameRequest
	if err := p.Decode(s.d); err != nil {
		return err
	}
	c := s.caller(&p.Identity)
	op, status := s.Do(&c, &changelog.UnlinkRequest{Parent: p.Parent, Base: p.Name, Dir: number == wire.FuseRmdir})
	if status != meta.OK {
		return s.status(number, p.MsgID, status)
	}
	reply := wire.RemovedReply{MsgID: p.MsgID, Inode: op.(*changelog.Unlink).Inode}
	reply.Append(s.out, number, s.Release)
	return nil
}

func (s *serving) rename(number wire.Type) error {
	var p wire.Rename
	if err := p.Decode(s.d); err != nil {
		return err
	}
	c := s.caller(&p.Identity)
	op, status := s.Do(&c, &changelog.RenameRequest{SrcParent: p.Parent, SrcBase: p.Name, DstParent: p.NewParent, DstBase: p.NewName})
	if status != meta.OK || s.Release < wire.NewRelease(1, 6, 21) {
		return s.status(number, p.MsgID, status)
	}
	moved := op.(*changelog.Move)
	return s.made(number, p.MsgID, &c, moved.Inode, moved.DstParent)
}

func (s *serving) link(number wire.Type) error {
	var p wire.Link
	if err := p.Decode(s.d); err != nil {
		return err
	}
	c := s.caller(&p.Identity)
	op, status := s.Do(&c, &changelog.LinkRequest{Inode: p.Inode, Parent: p.Parent, Base: p.Name})
	if status != meta.OK {
		return s.status(number, p.MsgID, status)
	}
	made := op.(*changelog.Link)
	return s.made(number, p.MsgID, &c, made.Inode, made.Parent)
}

// truncate sets a length, or gives out room at the end of a file.
func (s *serving) truncate(number wire.Type) error {
	var p wire.Truncate
	if err := p.Decode(s.d); err != nil {
		return err
	}
	c := s.caller(&p.Identity)
	r := &changelog.TruncateRequest{Inode: p.Inode, Flags: p.Flags, Length: p.Length}
	end := new(uint64)
	if s.Reserved != nil {
		end = s.Reserved(p.Inode)
	}
	r.End = *end
	before, _ := s.st.Nodes.Get(p.Inode)
	switch _, status := s.Do(&c, r); status {
	case meta.OK:
	case meta.ELOCKED:
		return ErrLocked
	default:
		return s.status(number, p.MsgID, status)
	}
	reply := wire.TruncateReply{MsgID: p.MsgID, OldLength: before.Length, Attr: s.attr(&c, p.Inode, 0)}
	*end = 0
	if p.Flags&wire.TruncateReserve != 0 {
		reply.OldLength = r.ReservedEnd(&before)
		*end = reply.OldLength + p.Length
	}
	reply.Append(s.out, s.Release)
	return nil
}

// openInodes and times have no answer.
func (s *serving) openInodes(wire.Type) error {
	var p wire.OpenInodes
	if err := p.Decode(s.d); err != nil {
		return err
	}
	open := make([]meta.Inode, p.Inodes.Len())
	for i := range open {
		open[i] = meta.Inode(p.Inodes.At(i))
	}
	s.SyncOpen(s.Session, open)
	return nil
}

func (s *serving) times(wire.Type) error {
	var p wire.AccessTimes
	if err := p.Decode(s.d); err != nil {
		return err
	}
	c := s.callerOf(0, nil)
	for i := 0; i+2 < p.Triples.Len(); i += 3 {
		r := changelog.TimesRequest{
			Inode: meta.Inode(p.Triples.At(i)), Atime: meta.Time(p.Triples.At(i + 1)), Mtime: meta.Time(p.Triples.At(i + 2)),
		}
		s.Do(&c, &r) // a file that is gone is passed over
	}
	return nil
}

func (s *serving) flock(number wire.Type) error {
	var p wire.Flock
	if err := p.Decode(s.d); err != nil {
		return err
	}
	if status := s.locks.Flock(s.Turn, s.Session, &p); status != meta.EWAITING {
		return s.status(number, p.MsgID, status)
	}
	return nil
}

func (s *serving) posixLock(number wire.Type) error {
	var p wire.PosixLock
	if err := p.Decode(s.d); err != nil {
		return err
	}
	reply, status := s.locks.Posix(s.Turn, s.Session, &p)
	switch {
	case status == meta.EWAITING:
	case status == meta.OK && p.Command == wire.PosixGet:
		reply.Append(s.out)
	default:
		return s.status(number, p.MsgID, status)
	}
	return nil
}
