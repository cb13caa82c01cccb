package changelog

import (
	"fmt"

	"mfsstandby/changelog/meta"
)

// Bits of Snapshot.Mode.
const (
	snapshotOverwrite = 0x01 // existing files may be replaced
	snapshotLikeCP    = 0x02 // attributes as cp(1) gives them, not those of the source
	snapshotHardLinks = 0x08 // several names of a node become several names of its copy
	snapshotDelete    = 0x80 // remove a snapshot
)

// snapshot is a Snapshot being applied.
type snapshot struct {
	st   *meta.State
	now  meta.Time
	op   *Snapshot
	user User

	copies map[meta.Inode]meta.Inode // of nodes with several names, by source
	got    snapshotCounts
}

// snapshotCounts are the results of a Snapshot.
type snapshotCounts struct{ inodeXor, removed, same, existing, hardLinks, created uint32 }

// Apply makes or removes the copy. The primary decided with all digits of the
// group ids; its own replay would drop the first of each.
func (op *Snapshot) Apply(st *meta.State, now meta.Time) error {
	if op.Form == SnapshotBare && st.Release.Since(meta.Release2) {
		return fmt.Errorf("only 1.6 writes SNAPSHOT with four arguments: %w", meta.EINVAL)
	}
	if !st.Release.Since(meta.Release3) {
		return op.applyOld(st, now)
	}
	s := snapshot{st: st, now: now, op: op, copies: map[meta.Inode]meta.Inode{}}
	s.user = User{UID: op.UID, GIDs: op.GIDs, IgnoreGID: op.SesFlags&SessionIgnoreGID != 0}
	if err := s.apply(); err != nil {
		return err
	}
	if st.Originate {
		s.got.write(op)
		return nil
	}
	want := snapshotCounts{op.InodeXor, op.Removed, op.Same, op.Existing, op.HardLinks, op.New}
	if want == (snapshotCounts{}) {
		return nil // old releases gave no results
	}
	return s.got.match(&want)
}

func (c *snapshotCounts) write(op *Snapshot) {
	op.InodeXor, op.Removed, op.Same = c.inodeXor, c.removed, c.same
	op.Existing, op.HardLinks, op.New = c.existing, c.hardLinks, c.created
}

// match compares the results of an entry with those here.
func (c *snapshotCounts) match(want *snapshotCounts) error {
	for _, r := range [...]struct {
		what      string
		want, got uint32
	}{
		{"number of removed inodes", want.removed, c.removed},
		{"number of same files", want.same, c.same},
		{"number of existing inodes", want.existing, c.existing},
		{"number of hard links", want.hardLinks, c.hardLinks},
		{"number of new inodes", want.created, c.created},
		{"xor of inodes", want.inodeXor, c.inodeXor},
	} {
		if err := match(r.what, r.want, r.got); err != nil {
			return err
		}
	}
	return nil
}

func (s *snapshot) apply() error {
	op := s.op
	dir, ok := s.st.Nodes.Get(op.Parent)
	src, found := s.st.Nodes.Get(op.Source)
	switch remove := op.Mode&snapshotDelete != 0; {
	case remove != (op.Source == 0), len(op.GIDs) == 0:
		return inodeError(op.Source, meta.EINVAL)
	case !remove && !found:
		return inodeError(op.Source, meta.ENOENT)
	case !ok:
		return inodeError(op.Parent, meta.ENOENT)
	case dir.Type != meta.TypeDir:
		return inodeError(op.Parent, meta.EPERM)
	case src.Type == meta.TypeDir && isBelow(s.st, op.Parent, op.Source):
		return inodeError(op.Parent, meta.EINVAL)
	}
	if err := checkName(op.Parent, op.Base); err != nil {
		return err
	}
	if op.Source == 0 {
		return s.removeTree(&dir)
	}
	if err := s.check(); err != nil {
		return err
	}
	return s.copyTree()
}

// protected tells whether a node may not be removed, whoever asks.
func protected(n *meta.Node) bool {
	return n.Eattr&(meta.EattrUndeletable|meta.EattrImmutable|meta.EattrAppendOnly) != 0
}

// fixed tells whether no name may be removed from a directory.
func fixed(dir *meta.Node) bool { return dir.Eattr&(meta.EattrImmutable|meta.EattrAppendOnly) != 0 }

// removal is a directory whose snapshots are being removed.
type removal struct {
	parent  meta.Inode // where it has a name
	name    []byte
	ino     meta.Inode
	eattr   uint8 // what it had at first
	allowed bool  // the name may be removed
	list    []meta.Edge
}

// removeTree removes what is a snapshot, from the bottom up.
func (s *snapshot) removeTree(dir *meta.Node) error {
	op := s.op
	edge, ok := s.st.Edges.Get(op.Parent, op.Base)
	if !ok {
		return nameError(op.Parent, op.Base, meta.ENOENT)
	}
	edge.Name = op.Base
	stack, err := s.enter(nil, op.Parent, &edge, !fixed(dir))
	for err == nil && len(stack) > 0 {
		s.st.MakeRoom()
		top := &stack[len(stack)-1]
		if len(top.list) > 0 {
			edge := &top.list[0]
			top.list = top.list[1:]
			n, _ := s.st.Nodes.Get(top.ino)
			stack, err = s.enter(stack, top.ino, edge, !fixed(&n))
			continue
		}
		done := *top
		stack = stack[:len(stack)-1]
		err = s.leave(&done)
	}
	return err
}

// enter removes what is no directory, and puts a directory on the stack.
func (s *snapshot) enter(stack []removal, parent meta.Inode, edge *meta.Edge, allowed bool) ([]removal, error) {
	n, ok := s.st.Nodes.Get(edge.Child)
	if !ok {
		return stack, inodeError(edge.Child, meta.ENOENT)
	}
	if n.Type != meta.TypeDir {
		return stack, s.remove(parent, edge.Name, edge.Child, allowed)
	}
	r := removal{parent: parent, name: edge.Name, ino: edge.Child, eattr: n.Eattr, allowed: allowed}
	if s.user.May(s.st, edge.Child, &n, MayWrite|MayExec) {
		r.list = s.st.Edges.List(edge.Child)
	}
	return append(stack, r), nil
}

// leave removes a directory if nothing is left in it. Only then it gets back
// the mark of a snapshot, which it lost with the first name.
func (s *snapshot) leave(r *removal) error {
	if d, _ := s.st.Dirs.Get(r.ino); d.Elements > 0 {
		return nil
	}
	n, err := editNode(s.st, r.ino)
	if err != nil {
		return err
	}
	n.Eattr = r.eattr
	return s.remove(r.parent, r.name, r.ino, r.allowed)
}

// remove drops the name of a snapshot, without the detour through the trash:
// its trash time is 0 from now on, also if it has other names.
func (s *snapshot) remove(parent meta.Inode, name []byte, ino meta.Inode, allowed bool) error {
	n, err := editNode(s.st, ino)
	if err != nil {
		return err
	}
	if n.Eattr&meta.EattrSnapshot == 0 || protected(n) || !allowed {
		return nil
	}
	n.TrashHours = 0
	s.got.inodeXor ^= uint32(ino)
	s.got.removed++
	dir, err := editNode(s.st, parent)
	if err != nil {
		return err
	}
	return dropName(s.st, s.now, parent, dir, name, ino)
}

// pair is a source and the directory and name of its copy.
type pair struct {
	src    meta.Inode
	parent meta.Inode
	name   []byte
}

// check tells whether the copy may be made: what exists already must be of the
// same kind, not protected, not the source itself, and if it is no directory,
// replacing must be allowed.
func (s *snapshot) check() error {
	todo := []pair{{s.op.Source, s.op.Parent, s.op.Base}}
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		edge, exists := s.st.Edges.Get(p.parent, p.name)
		if !exists {
			continue
		}
		src, _ := s.st.Nodes.Get(p.src)
		dst, _ := s.st.Nodes.Get(edge.Child)
		switch {
		case edge.Child == s.op.Source:
			return nameError(p.parent, p.name, meta.EINVAL)
		case protected(&dst), dst.Type != src.Type:
			return nameError(p.parent, p.name, meta.EPERM)
		case src.Type != meta.TypeDir:
			if s.op.Mode&snapshotOverwrite == 0 {
				return nameError(p.parent, p.name, meta.EEXIST)
			}
			continue
		}
		list := s.st.Edges.List(p.src)
		for i := len(list) - 1; i >= 0; i-- { // the first in the list is looked at first
			todo = append(todo, pair{list[i].Child, edge.Child, list[i].Name})
		}
		s.st.MakeRoom()
	}
	return nil
}
