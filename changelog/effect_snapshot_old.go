package changelog

import "mfsstandby/changelog/meta"

// oldCopy is a directory whose content is being copied.
type oldCopy struct {
	src, dst meta.Inode
	existed  bool // its attributes are set when its content is done
	list     []meta.Edge
}

// applyOld is Apply before 3.0: there are no results, hard links become files
// of their own, nothing is marked as a snapshot, and what is copied gets the
// time of the entry as its ctime. 1.6 copies all, whoever asks; 2.0 passes by
// files and the content of directories that the user may not read.
func (op *Snapshot) applyOld(st *meta.State, now meta.Time) error {
	s := snapshot{st: st, now: now, op: op}
	s.user = User{UID: op.UID, GIDs: op.GIDs, IgnoreGID: op.SesFlags&SessionIgnoreGID != 0}
	if op.Form == SnapshotBare { // as root: attributes are those of the source
		bare := *op
		bare.Mode = min(op.Mode, snapshotOverwrite)
		s.op, s.user = &bare, User{GIDs: []uint32{0}}
	} else if len(op.GIDs) == 0 {
		return inodeError(op.Source, meta.EINVAL)
	}
	dir, ok := st.Nodes.Get(op.Parent)
	src, found := st.Nodes.Get(op.Source)
	switch {
	case !found:
		return inodeError(op.Source, meta.ENOENT)
	case !ok:
		return inodeError(op.Parent, meta.ENOENT)
	case dir.Type != meta.TypeDir:
		return inodeError(op.Parent, meta.EPERM)
	case src.Type == meta.TypeDir && isBelow(st, op.Parent, op.Source):
		return inodeError(op.Parent, meta.EINVAL)
	}
	if err := checkName(op.Parent, op.Base); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	stack, err := s.copyOld(nil, pair{op.Source, op.Parent, op.Base})
	for err == nil && len(stack) > 0 {
		st.MakeRoom()
		top := &stack[len(stack)-1]
		if len(top.list) > 0 {
			edge := &top.list[0]
			top.list = top.list[1:]
			stack, err = s.copyOld(stack, pair{edge.Child, top.dst, edge.Name})
			continue
		}
		done := *top
		stack = stack[:len(stack)-1]
		if done.existed {
			err = s.finishOld(done.src, done.dst)
		}
	}
	return err
}

// copyOld copies one node; the content of a directory is put on the stack.
func (s *snapshot) copyOld(stack []oldCopy, p pair) ([]oldCopy, error) {
	src, ok := s.st.Nodes.Get(p.src)
	if !ok {
		return stack, inodeError(p.src, meta.ENOENT)
	}
	if src.Type == meta.TypeFile && !s.user.May(s.st, p.src, &src, MayRead) {
		return stack, nil
	}
	edge, exists := s.st.Edges.Get(p.parent, p.name)
	dst := edge.Child
	var err error
	if exists {
		dst, err = s.overwriteOld(p, &src, dst)
	} else if src.Type == meta.TypeTrash || src.Type == meta.TypeSustained {
		return stack, nil
	} else {
		dst, err = s.createOld(p, &src)
	}
	switch {
	case err != nil:
		return stack, err
	case src.Type == meta.TypeDir:
		c := oldCopy{src: p.src, dst: dst, existed: exists}
		if s.user.May(s.st, p.src, &src, MayRead|MayExec) {
			c.list = s.st.Edges.List(p.src)
		}
		return append(stack, c), nil
	case exists:
		return stack, s.finishOld(p.src, dst)
	}
	return stack, nil
}

// createOld copies a node whose name is free. Children that follow change the
// times of a directory again.
func (s *snapshot) createOld(p pair, src *meta.Node) (meta.Inode, error) {
	dst, n, err := s.newNode(p, src)
	if err != nil {
		return 0, err
	}
	if s.op.Mode&snapshotLikeCP == 0 {
		if hasData(n) {
			if err := setClass(s.st, dst, n, src.Class); err != nil {
				return 0, err
			}
			copyTrash(n, src)
		}
		n.Eattr, n.Mode = src.Eattr, src.Mode
		if s.foreign(src) {
			n.Mode &= foreignMode
		}
		n.Atime, n.Mtime = src.Atime, src.Mtime
		if s.op.Form != SnapshotBare && src.Flags&meta.HasXattr != 0 {
			for _, name := range s.st.Xattrs.Names(p.src) {
				value, _ := s.st.Xattrs.Get(p.src, []byte(name))
				s.st.Xattrs.Append(dst, []byte(name), value)
				n.Flags |= meta.HasXattr
			}
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
	return dst, nil
}

// overwriteOld brings what has the name of the copy up to date; a file with
// other data is replaced by a new one.
func (s *snapshot) overwriteOld(p pair, src *meta.Node, dst meta.Inode) (meta.Inode, error) {
	n, err := editNode(s.st, dst)
	if err != nil {
		return 0, err
	}
	switch {
	case src.Type == meta.TypeFile:
		if !s.sameData(p.src, src, dst, n) {
			return s.replaceFile(p, src, dst)
		}
	case src.Type == meta.TypeSymlink:
		target, _ := s.st.Symlinks.Get(p.src)
		setTarget(s.st, dst, n, target)
	case src.Type.IsDevice():
		n.Rdev = src.Rdev
	}
	return dst, nil
}

// finishOld gives what existed the attributes of the source.
func (s *snapshot) finishOld(from, to meta.Inode) error {
	n, err := editNode(s.st, to)
	if err != nil {
		return err
	}
	src, _ := s.st.Nodes.Get(from)
	n.Ctime = s.now
	if s.op.Mode&snapshotLikeCP != 0 {
		n.UID, n.GID, n.Mode = s.user.UID, s.user.GIDs[0], src.Mode&^s.op.Umask
		return nil
	}
	n.UID, n.GID, n.Mode = src.UID, src.GID, src.Mode
	if s.foreign(&src) {
		n.UID, n.GID, n.Mode = s.user.UID, s.user.GIDs[0], src.Mode&foreignMode
	}
	n.Atime, n.Mtime = src.Atime, src.Mtime
	if s.op.Form == SnapshotBare { // mode and extra attributes are one field in 1.6
		n.Eattr = src.Eattr
	}
	return nil
}
