package changelog

import (
	"bytes"
	"fmt"

	"mfsstandby/changelog/meta"
)

// Apply removes the file from the trash.
func (op *TrashRemove) Apply(st *meta.State, now meta.Time) error {
	if _, _, err := editTrash(st, op.Inode); err != nil {
		return err
	}
	_, err := purgeNode(st, now, op.Inode)
	return err
}

// Apply links the file below Parent. Directories on the way are used or made;
// where a name is in the way, or the user may not use a directory, the primary
// took another name: Used tells which, and so is followed and not found out
// anew. It can even have random digits.
func (op *TrashRecover) Apply(st *meta.State, now meta.Time) error {
	n, d, err := op.check(st)
	if err != nil {
		return err
	}
	path := op.Path
	if len(path) == 0 {
		path = []byte(d.Path)
	}
	parts, err := recoverParts(op.Inode, path)
	if err != nil {
		return err
	}
	used := parts
	if len(op.Used) > 0 {
		used = bytes.Split(op.Used, []byte("/"))
	}
	if len(used) != len(parts) {
		return fmt.Errorf("path %q has other parts than %q: %w", op.Used, path, inodeError(op.Inode, meta.EMISMATCH))
	}
	parent := op.Parent
	last := len(parts) - 1
	for i := range last {
		if parent, err = op.enter(st, now, parent, parts[i], used[i]); err != nil {
			return err
		}
	}
	dir, err := editDir(st, parent, meta.ENOTDIR)
	if err != nil {
		return err
	}
	if err := checkFreeName(st, parent, used[last]); err != nil {
		return err
	}
	countDetached(st, n, ^uint64(0))
	st.Detached.Delete(op.Inode)
	n.Type = meta.TypeFile
	linkEdge(st, now, parent, dir, used[last], op.Inode, n)
	n.Ctime = now
	unmarkTrash(st, op.Inode)
	return nil
}

// check returns the file if the user may recover it.
func (op *TrashRecover) check(st *meta.State) (*meta.Node, meta.Detached, error) {
	var d meta.Detached
	n, err := editNode(st, op.Inode)
	if err != nil {
		return nil, d, err
	}
	d, ok := st.Detached.Get(op.Inode)
	switch {
	case op.UID != 0 && op.UID != n.UID:
		return nil, d, inodeError(op.Inode, meta.EPERM)
	case n.Type != meta.TypeTrash || !ok:
		return nil, d, inodeError(op.Inode, meta.EINVAL)
	}
	_, err = editDir(st, op.Parent, meta.ENOTDIR)
	return n, d, err
}

// recoverParts takes a path apart. Several slashes are one.
func recoverParts(ino meta.Inode, path []byte) ([][]byte, error) {
	if len(path) == 0 || path[len(path)-1] == '/' {
		return nil, fmt.Errorf("path %q: %w", path, inodeError(ino, meta.EINVAL))
	}
	var parts [][]byte
	for part := range bytes.SplitSeq(path, []byte("/")) {
		if len(part) == 0 {
			continue
		}
		if len(part) > meta.MaxName {
			return nil, fmt.Errorf("path %q: %w", path, inodeError(ino, meta.ENAMETOOLONG))
		}
		if err := checkName(ino, part); err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// enter goes into the directory that was asked for as name and is used as
// used; it makes it unless it is there under the name asked for.
func (op *TrashRecover) enter(st *meta.State, now meta.Time, parent meta.Inode, name, used []byte) (meta.Inode, error) {
	edge, ok := st.Edges.Get(parent, used)
	if ok && edge.Dir && bytes.Equal(name, used) {
		return edge.Child, nil
	}
	if ok {
		return 0, nameError(parent, used, meta.EEXIST)
	}
	if err := checkName(parent, used); err != nil {
		return 0, err
	}
	dir, err := editDir(st, parent, meta.ENOTDIR)
	if err != nil {
		return 0, err
	}
	c := creation{parent: parent, dir: dir, name: used, kind: meta.TypeDir, mode: 0o777, umask: op.Umask,
		uid: op.UID, gid: op.GID, copySGID: op.CopySGID != 0}
	ino, _, err := c.node(st, now)
	return ino, err
}
