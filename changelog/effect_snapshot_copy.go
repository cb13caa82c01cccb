package changelog

import (
	"slices"

	"mfsstandby/changelog/meta"
)

// copying is a directory whose content is being copied.
type copying struct {
	src, dst meta.Inode
	created  bool // dst is new, and so is all in it
	list     []meta.Edge
}

// copyTree copies the source and what is below it: a directory before its
// content, that in list order, so that inodes are given out as the primary did.
func (s *snapshot) copyTree() error {
	stack, err := s.copyNode(nil, pair{s.op.Source, s.op.Parent, s.op.Base}, false)
	for err == nil && len(stack) > 0 {
		s.st.MakeRoom()
		top := &stack[len(stack)-1]
		if len(top.list) > 0 {
			edge := &top.list[0]
			top.list = top.list[1:]
			stack, err = s.copyNode(stack, pair{edge.Child, top.dst, edge.Name}, top.created)
			continue
		}
		done := *top
		stack = stack[:len(stack)-1]
		err = s.finish(done.src, done.dst, done.created)
	}
	return err
}

// copyNode copies one node; created tells that its directory is new. Of a
// directory the content is put on the stack, and finish is to follow it.
func (s *snapshot) copyNode(stack []copying, p pair, created bool) ([]copying, error) {
	src, ok := s.st.Nodes.Get(p.src)
	if !ok {
		return stack, inodeError(p.src, meta.ENOENT)
	}
	if src.Type == meta.TypeFile && !s.user.May(s.st, p.src, &src, MayRead) {
		return stack, nil
	}
	var edge meta.Edge
	exists := false
	if !created {
		edge, exists = s.st.Edges.Get(p.parent, p.name)
	}
	dst, linked := edge.Child, false
	var err error
	if exists {
		dst, err = s.overwrite(p, &src, dst)
	} else if src.Type == meta.TypeTrash || src.Type == meta.TypeSustained {
		return stack, nil
	} else {
		dst, linked, err = s.create(p, &src)
	}
	if err != nil || linked {
		return stack, err
	}
	if src.Type != meta.TypeDir {
		return stack, s.finish(p.src, dst, !exists)
	}
	c := copying{src: p.src, dst: dst, created: !exists}
	if s.user.May(s.st, p.src, &src, MayRead|MayExec) {
		c.list = s.st.Edges.List(p.src)
	}
	return append(stack, c), nil
}

// foreign tells whether the user owns neither the source nor everything, and
// so gets a copy of his own.
func (s *snapshot) foreign(src *meta.Node) bool { return s.user.UID != 0 && s.user.UID != src.UID }

// foreignMode are the bits of a mode that a foreigner's copy keeps.
const foreignMode = 0o1777

// newNode makes a node for a copy, with attributes as they are before finish.
// It may make room when the source's directory is listed, not here.
func (s *snapshot) newNode(p pair, src *meta.Node) (meta.Inode, *meta.Node, error) {
	dir, err := editDir(s.st, p.parent, meta.EPERM)
	if err != nil {
		return 0, nil, err
	}
	c := creation{parent: p.parent, dir: dir, name: p.name, kind: src.Type, mode: src.Mode}
	switch {
	case s.op.Mode&snapshotLikeCP != 0:
		c.umask, c.uid, c.gid = s.op.Umask, s.user.UID, s.user.GIDs[0]
	case s.foreign(src):
		c.mode &= foreignMode
		c.uid, c.gid = s.user.UID, s.user.GIDs[0]
	default:
		c.uid, c.gid = src.UID, src.GID
	}
	return c.node(s.st, s.now)
}

// create makes the copy of a node whose name is free. With the mode for hard
// links a node with several names is copied once and its copy linked then; the
// copy keeps the time of that.
func (s *snapshot) create(p pair, src *meta.Node) (dst meta.Inode, linked bool, err error) {
	several := s.op.Mode&snapshotHardLinks != 0 && src.Type != meta.TypeDir && src.Links > 1
	if copied, ok := s.copies[p.src]; several && ok {
		return copied, true, s.link(p, copied)
	}
	dst, n, err := s.newNode(p, src)
	if err != nil {
		return 0, false, err
	}
	s.got.inodeXor ^= uint32(dst)
	s.got.created++
	if several {
		s.copies[p.src] = dst
	}
	if s.op.Mode&snapshotLikeCP == 0 {
		if err := s.copyAttributes(p.src, src, dst, n); err != nil {
			return 0, false, err
		}
	}
	switch {
	case src.Type == meta.TypeFile:
		s.copyData(p.src, src, dst)
	case src.Type == meta.TypeSymlink:
		target, _ := s.st.Symlinks.Get(p.src)
		setTarget(s.st, dst, n, target)
	case src.Type.IsDevice():
		n.Rdev = src.Rdev
	}
	return dst, false, nil
}

// link gives a copy one more name.
func (s *snapshot) link(p pair, ino meta.Inode) error {
	n, err := editNode(s.st, ino)
	if err != nil {
		return err
	}
	dir, err := editDir(s.st, p.parent, meta.EPERM)
	if err != nil {
		return err
	}
	s.got.hardLinks++
	linkEdge(s.st, s.now, p.parent, dir, p.name, ino, n)
	return nil
}

// copyAttributes gives a new node all of the source but owner and times. An
// ACL that it inherited stays if the source has none, and so does the group of
// a directory with the set group id bit.
func (s *snapshot) copyAttributes(from meta.Inode, src *meta.Node, to meta.Inode, n *meta.Node) error {
	if hasData(n) {
		if err := setClass(s.st, to, n, src.Class); err != nil {
			return err
		}
	}
	copyTrash(n, src)
	n.Eattr, n.Winattr, n.Mode = src.Eattr, src.Winattr, src.Mode
	n.Flags &^= meta.KeepMode
	if s.foreign(src) {
		n.Mode &= foreignMode
	}
	for _, name := range s.st.Xattrs.Names(from) {
		if src.Flags&meta.HasXattr == 0 {
			break
		}
		value, _ := s.st.Xattrs.Get(from, []byte(name))
		s.st.Xattrs.Append(to, []byte(name), value)
		n.Flags |= meta.HasXattr
	}
	for _, kind := range [...]uint8{meta.ACLAccess, meta.ACLDefault} {
		if src.Flags&aclFlag(kind) != 0 {
			a, _ := s.st.ACLs.Get(meta.ACLKey{Inode: from, Type: kind})
			putACL(s.st, to, n, kind, a)
		}
	}
	return nil
}

// copyData lets a new file hold the chunks of the source. It may make room.
func (s *snapshot) copyData(from meta.Inode, src *meta.Node, to meta.Inode) {
	n, ok := s.st.Nodes.Edit(to)
	if !ok {
		return
	}
	before := fileStats(s.st, to, n)
	n.Slots = src.Slots
	if src.Used > 0 {
		copySlots(s.st, from, 0, src.Slots-1, to, 0)
		n, _ = s.st.Nodes.Edit(to)
	}
	setLength(s.st, n, src.Length)
	refreshRatio(s.st, n)
	statsChanged(s.st, to, n, &before)
}

// overwrite brings what has the name of the copy up to date; a file with other
// data is replaced by a new one. What else distinguishes source and copy is
// left as it is.
func (s *snapshot) overwrite(p pair, src *meta.Node, dst meta.Inode) (meta.Inode, error) {
	n, err := editNode(s.st, dst)
	if err != nil {
		return 0, err
	}
	if n.Type != src.Type {
		return 0, nameError(p.parent, p.name, meta.EPERM)
	}
	switch {
	case src.Type == meta.TypeFile:
		if s.sameData(p.src, src, dst, n) {
			s.got.same++
			return dst, nil
		}
		dst, err = s.replaceFile(p, src, dst)
	case src.Type == meta.TypeSymlink:
		target, _ := s.st.Symlinks.Get(p.src)
		setTarget(s.st, dst, n, target)
	case src.Type.IsDevice():
		n.Rdev = src.Rdev
	}
	s.got.existing++
	return dst, err
}

// replaceFile drops the file that has the name and makes a new one, which gets
// class and trash time of the source also when the rest is as cp(1) does it.
func (s *snapshot) replaceFile(p pair, src *meta.Node, old meta.Inode) (meta.Inode, error) {
	dir, err := editDir(s.st, p.parent, meta.EPERM)
	if err != nil {
		return 0, err
	}
	s.got.inodeXor ^= uint32(old)
	if err := dropName(s.st, s.now, p.parent, dir, p.name, old); err != nil {
		return 0, err
	}
	dst, n, err := s.newNode(p, src)
	if err != nil {
		return 0, err
	}
	s.got.inodeXor ^= uint32(dst)
	if err := setClass(s.st, dst, n, src.Class); err != nil {
		return 0, err
	}
	copyTrash(n, src)
	s.copyData(p.src, src, dst)
	return dst, nil
}

// sameData tells whether two files have the same length and chunk table.
func (s *snapshot) sameData(a meta.Inode, na *meta.Node, b meta.Inode, nb *meta.Node) bool {
	if na.Length != nb.Length || na.Slots != nb.Slots || na.Used != nb.Used {
		return false
	}
	var bufA, bufB []usedSlot
	for next := uint32(0); ; {
		bufA, bufB = slotsFrom(s.st, a, next, bufA[:0]), slotsFrom(s.st, b, next, bufB[:0])
		if !slices.Equal(bufA, bufB) {
			return false
		}
		if len(bufA) < slotBatch {
			return true
		}
		next = bufA[len(bufA)-1].index + 1
	}
}

// finish sets what a copy gets at last: owner and times, and the mark of a
// snapshot. A new one has its owner already.
func (s *snapshot) finish(from, to meta.Inode, created bool) error {
	n, err := editNode(s.st, to)
	if err != nil {
		return err
	}
	src, _ := s.st.Nodes.Get(from)
	likeCP := s.op.Mode&snapshotLikeCP != 0
	if !created {
		switch {
		case likeCP:
			n.UID, n.GID, n.Mode, n.Ctime = s.user.UID, s.user.GIDs[0], src.Mode&^s.op.Umask, s.now
		case s.foreign(&src):
			n.UID, n.GID, n.Mode, n.Ctime = s.user.UID, s.user.GIDs[0], src.Mode&foreignMode, s.now
		default:
			n.UID, n.GID, n.Mode, n.Ctime = src.UID, src.GID, src.Mode, src.Ctime
		}
	}
	if !likeCP {
		n.Atime, n.Mtime = src.Atime, src.Mtime
		if created {
			n.Ctime = src.Ctime
		}
	}
	n.Eattr |= meta.EattrSnapshot
	if !created || !likeCP {
		touched(s.st, to, n, s.now, meta.ArchModeTimes)
	}
	return nil
}
