package changelog

import "mfsstandby/changelog/meta"

// takeEdgeID returns the id of the next edge. Ids count down; once they are
// used up all edges get 0.
func takeEdgeID(st *meta.State) uint64 {
	if st.NextEdge >= meta.EdgeIDMax {
		return 0
	}
	st.NextEdge--
	return st.NextEdge + 1
}

// linkEdge gives child a name in a directory: the newest of that directory and
// of the child. Both node records must be those of the tables.
func linkEdge(st *meta.State, now meta.Time, parent meta.Inode, dir *meta.Node, name []byte, ino meta.Inode, child *meta.Node) {
	isDir := child.Type == meta.TypeDir
	if child.Type.IsFile() {
		before := fileStats(st, ino, child)
		refreshRatio(st, child)
		statsChanged(st, ino, child, &before) // for the names it has already
	}
	st.Edges.InsertHead(parent, name, ino, isDir, takeEdgeID(st))
	if isDir {
		d, _ := st.Dirs.Edit(ino)
		d.Parent, d.Name = parent, string(name)
	} else {
		addLink(st, ino, child, meta.HardLink{Parent: parent, NameHash: meta.HashName(name)})
	}
	countElement(st, parent, isDir, 1)
	stats := nodeStats(st, ino, child)
	st.Dirs.Add(parent, stats)
	dir.Eattr &^= meta.EattrSnapshot
	if now > 0 {
		dir.Mtime, dir.Ctime, child.Ctime = now, now, now
		touched(st, ino, child, now, meta.ArchModeCtime)
	}
}

// unlinkEdge takes a name from child and from a directory, and leaves the
// child without names if it was the last one.
func unlinkEdge(st *meta.State, now meta.Time, parent meta.Inode, dir *meta.Node, name []byte, ino meta.Inode, child *meta.Node) {
	isDir := child.Type == meta.TypeDir
	stats := nodeStats(st, ino, child)
	subStats(st, parent, &stats)
	countElement(st, parent, isDir, ^uint32(0))
	if isDir {
		d, _ := st.Dirs.Edit(ino)
		d.Parent, d.Name = 0, ""
	} else {
		removeLink(st, ino, child, meta.HardLink{Parent: parent, NameHash: meta.HashName(name)})
	}
	st.Edges.Delete(parent, name)
	dir.Eattr &^= meta.EattrSnapshot
	dir.Mtime, dir.Ctime = now, now
	if now > 0 {
		child.Ctime = now
		touched(st, ino, child, now, meta.ArchModeCtime)
	}
}

// countElement adds delta, 1 or -1 modulo 2^32, to the number of edges of a
// directory, and to that of its subdirectories if the edge leads to one.
func countElement(st *meta.State, dir meta.Inode, isDir bool, delta uint32) {
	subdirs := uint32(0)
	if isDir {
		subdirs = delta
	}
	st.Dirs.Count(dir, delta, subdirs)
}

// addLink notes one more name of a node that is not a directory, as its first.
func addLink(st *meta.State, ino meta.Inode, n *meta.Node, link meta.HardLink) {
	switch n.Links {
	case 0:
	case 1:
		st.Hard.Insert(ino, []meta.HardLink{link, {Parent: n.Parent, NameHash: n.NameHash}})
	default:
		links, _ := st.Hard.Edit(ino)
		list := make([]meta.HardLink, 0, len(*links)+1)
		*links = append(append(list, link), *links...)
	}
	n.Links++
	n.Parent, n.NameHash = link.Parent, link.NameHash
}

// removeLink undoes addLink, in whatever order.
func removeLink(st *meta.State, ino meta.Inode, n *meta.Node, link meta.HardLink) {
	n.Links--
	if n.Links == 0 {
		n.Parent, n.NameHash = 0, 0
		return
	}
	links, _ := st.Hard.Edit(ino)
	list := make([]meta.HardLink, 0, len(*links))
	for i, l := range *links {
		if l == link {
			list = append(list, (*links)[i+1:]...)
			break
		}
		list = append(list, l)
	}
	n.Parent, n.NameHash = list[0].Parent, list[0].NameHash
	if n.Links == 1 {
		st.Hard.Delete(ino)
		return
	}
	*links = list
}

// isBelow tells whether dir is top or somewhere below it.
func isBelow(st *meta.State, dir, top meta.Inode) bool {
	for dir != top {
		up, _, ok := st.Dirs.Up(dir)
		if !ok || up == 0 {
			return false
		}
		dir = up
	}
	return true
}

// trashPath returns the path of a name from the root, without leading slash.
// Of a longer one mfsmaster keeps the last meta.MaxPath bytes.
func trashPath(st *meta.State, parent meta.Inode, name []byte) string {
	var buf [meta.MaxPath]byte
	at := len(buf) - copy(buf[len(buf)-len(name):], name)
	for at > 0 && parent != meta.Root {
		up, dir, ok := st.Dirs.Up(parent)
		if !ok || up == 0 {
			break
		}
		at--
		buf[at] = '/'
		part := dir[max(len(dir)-at, 0):]
		at -= copy(buf[at-len(part):], part)
		parent = up
	}
	return string(buf[at:])
}

// Apply gives the node its new name and both of them the time of the entry.
func (op *Link) Apply(st *meta.State, now meta.Time) error {
	n, err := editNode(st, op.Inode)
	if err != nil {
		return err
	}
	dir, err := editNode(st, op.Parent)
	switch {
	case err != nil:
		return err
	case n.Type == meta.TypeTrash || n.Type == meta.TypeSustained:
		return inodeError(op.Inode, meta.ENOENT)
	case n.Type == meta.TypeDir:
		return inodeError(op.Inode, meta.EPERM)
	case dir.Type != meta.TypeDir:
		return inodeError(op.Parent, meta.ENOTDIR)
	}
	if err := checkFreeName(st, op.Parent, op.Base); err != nil {
		return err
	}
	linkEdge(st, now, op.Parent, dir, op.Base, op.Inode, n)
	return nil
}

// checkFreeName tells whether a directory may get a new name.
func checkFreeName(st *meta.State, parent meta.Inode, name []byte) error {
	if err := checkName(parent, name); err != nil {
		return err
	}
	if _, used := st.Edges.Get(parent, name); used {
		return nameError(parent, name, meta.EEXIST)
	}
	return nil
}

// Apply removes the name; a node without any other goes to the trash, becomes
// sustained, or is destroyed.
func (op *Unlink) Apply(st *meta.State, now meta.Time) error {
	dir, err := editDir(st, op.Parent, meta.ENOTDIR)
	if err != nil {
		return err
	}
	if err := checkName(op.Parent, op.Base); err != nil {
		return err
	}
	edge, ok := st.Edges.Get(op.Parent, op.Base)
	if !ok {
		return nameError(op.Parent, op.Base, meta.ENOENT)
	}
	if err := match("inode", op.Inode, edge.Child); err != nil {
		return err
	}
	if err := checkEmpty(st, edge); err != nil {
		return err
	}
	return dropName(st, now, op.Parent, dir, op.Base, edge.Child)
}

// checkEmpty tells whether an edge may be dropped: it must not lead to a
// directory that has names.
func checkEmpty(st *meta.State, edge meta.Edge) error {
	if !edge.Dir {
		return nil
	}
	if d, _ := st.Dirs.Get(edge.Child); d.Elements > 0 {
		return inodeError(edge.Child, meta.ENOTEMPTY)
	}
	return nil
}

// Apply renames. With a mode it may exchange two names, which then both are as
// if renamed, or fail where the new name is used. Even within one directory the name gets a new edge id and
// goes to the head of the list; of the node itself only ctime changes, also if
// it is a directory.
func (op *Move) Apply(st *meta.State, now meta.Time) error {
	src, err := editNode(st, op.SrcParent)
	if err != nil {
		return err
	}
	dst, err := editNode(st, op.DstParent)
	if err != nil {
		return err
	}
	edge, err := op.check(st, src, dst)
	if err != nil {
		return err
	}
	target, ok := st.Edges.Get(op.DstParent, op.DstBase)
	switch {
	case op.Mode == MoveExchange:
		return op.exchange(st, now, edge.Child, target, ok)
	case op.Mode == MoveNoReplace && ok:
		return nameError(op.DstParent, op.DstBase, meta.EEXIST)
	}
	if ok {
		if err := checkEmpty(st, target); err != nil {
			return err
		}
		if err := dropName(st, now, op.DstParent, dst, op.DstBase, target.Child); err != nil {
			return err
		}
		src, _ = st.Nodes.Edit(op.SrcParent)
		dst, _ = st.Nodes.Edit(op.DstParent)
	}
	n, err := editNode(st, edge.Child)
	if err != nil {
		return err
	}
	unlinkEdge(st, now, op.SrcParent, src, op.SrcBase, edge.Child, n)
	linkEdge(st, now, op.DstParent, dst, op.DstBase, edge.Child, n)
	// Patterns can be for one user or group, of which the entry tells nothing:
	// most likely it was the owner who renamed.
	return applyPatterns(st, edge.Child, n, op.DstBase, n.UID, n.GID, false)
}

// exchange lets the two names lead each to the other's node.
func (op *Move) exchange(st *meta.State, now meta.Time, moved meta.Inode, target meta.Edge, exists bool) error {
	switch {
	case !exists:
		return nameError(op.DstParent, op.DstBase, meta.ENOENT)
	case target.Dir && isBelow(st, op.SrcParent, target.Child):
		return inodeError(target.Child, meta.EINVAL)
	}
	a, err := editNode(st, moved)
	if err != nil {
		return err
	}
	b, err := editNode(st, target.Child)
	if err != nil {
		return err
	}
	src, _ := st.Nodes.Edit(op.SrcParent)
	dst, _ := st.Nodes.Edit(op.DstParent)
	unlinkEdge(st, now, op.SrcParent, src, op.SrcBase, moved, a)
	unlinkEdge(st, now, op.DstParent, dst, op.DstBase, target.Child, b)
	linkEdge(st, now, op.DstParent, dst, op.DstBase, moved, a)
	linkEdge(st, now, op.SrcParent, src, op.SrcBase, target.Child, b)
	return nil
}

// check returns the edge to move if it may be moved.
func (op *Move) check(st *meta.State, src, dst *meta.Node) (edge meta.Edge, err error) {
	if src.Type != meta.TypeDir {
		return edge, inodeError(op.SrcParent, meta.ENOTDIR)
	}
	if err := checkName(op.SrcParent, op.SrcBase); err != nil {
		return edge, err
	}
	edge, ok := st.Edges.Get(op.SrcParent, op.SrcBase)
	if !ok {
		return edge, nameError(op.SrcParent, op.SrcBase, meta.ENOENT)
	}
	want := edge.Child
	if op.Mode == MoveExchange {
		want = 0 // the entry tells of neither
	}
	if err := match("inode", op.Inode, want); err != nil {
		return edge, err
	}
	if dst.Type != meta.TypeDir {
		return edge, inodeError(op.DstParent, meta.ENOTDIR)
	}
	if edge.Dir && isBelow(st, op.DstParent, edge.Child) {
		return edge, inodeError(edge.Child, meta.EINVAL)
	}
	if op.SrcParent == op.DstParent && string(op.SrcBase) == string(op.DstBase) {
		// mfsmaster would use the edge after freeing it; no kernel asks for it.
		return edge, nameError(op.DstParent, op.DstBase, meta.EINVAL)
	}
	return edge, checkName(op.DstParent, op.DstBase)
}

// Apply makes the symlink. Like all nodes without data it has class 0 and 24
// hours of trash time, whatever its directory has.
func (op *Symlink) Apply(st *meta.State, now meta.Time) error {
	if len(op.Target) == 0 || len(op.Target) > meta.MaxSymlink {
		return nameError(op.Parent, op.Base, meta.EINVAL)
	}
	dir, err := editDir(st, op.Parent, meta.ENOTDIR)
	if err != nil {
		return err
	}
	if err := checkFreeName(st, op.Parent, op.Base); err != nil {
		return err
	}
	create := creation{parent: op.Parent, dir: dir, name: op.Base,
		kind: meta.TypeSymlink, mode: 0o777, uid: op.UID, gid: op.GID}
	ino, n, err := create.node(st, now)
	if err != nil {
		return err
	}
	setTarget(st, ino, n, string(op.Target))
	return settle(st, "inode", &op.Inode, ino)
}

// setTarget sets where a symlink leads.
func setTarget(st *meta.State, ino meta.Inode, n *meta.Node, target string) {
	before := nodeStats(st, ino, n)
	if old, ok := st.Symlinks.Edit(ino); ok {
		*old = target
	} else {
		st.Symlinks.Insert(ino, target)
	}
	statsChanged(st, ino, n, &before)
}
