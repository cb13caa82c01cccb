package changelog

import "mfsstandby/changelog/meta"

// Bits of the mode of an operation that changes a node or a tree.
const (
	modeSet       = 0
	modeIncrease  = 1
	modeDecrease  = 2
	modeExchange  = 3 // from one class to another; nothing else can be exchanged
	modeKind      = 3
	modeRecursive = 4
	modeMax       = 7
)

// selects tells whether a mode changes a value to another one.
func selects[T uint8 | uint16 | uint32](mode uint8, value, to T) bool {
	switch mode & modeKind {
	case modeSet:
		return value != to
	case modeIncrease:
		return value < to
	case modeDecrease:
		return value > to
	}
	return false
}

// owns tells whether a user may change attributes of a node that only its
// owner may change.
func owns(uid uint32, n *meta.Node) bool {
	return uid == 0 || uid == n.UID || n.Eattr&meta.EattrNoOwner != 0
}

// notChangeable tells whether a user may not change the storage class or trash
// time of a node.
func notChangeable(uid uint32, n *meta.Node) bool {
	return !owns(uid, n) || n.Eattr&meta.EattrImmutable != 0
}

// treeChange is a change of a node, or of a tree, by a user.
type treeChange struct {
	mode     uint8
	dataOnly bool                    // nodes other than directories and files are passed over
	denied   func(n *meta.Node) bool // the user may not change this node
	set      func(meta.Inode, *meta.Node) (changed bool, err error)
}

// apply makes the change and compares its counts with those of the entry.
func (c *treeChange) apply(st *meta.State, ino meta.Inode, want *Counts) error {
	n, ok := st.Nodes.Get(ino)
	switch {
	case c.mode > modeMax:
		return inodeError(ino, meta.EINVAL)
	case !ok:
		return inodeError(ino, meta.ENOENT)
	case c.dataOnly && !hasData(&n):
		return inodeError(ino, meta.EPERM)
	}
	var got Counts
	err := walk(st, ino, c.mode&modeRecursive != 0, func(ino meta.Inode) error {
		return c.visit(st, ino, &got)
	})
	if err != nil {
		return err
	}
	if c.mode&modeRecursive == 0 && got.NotPermitted > 0 {
		return inodeError(ino, meta.EPERM)
	}
	if st.Originate {
		*want = got
		return nil
	}
	return got.match(want)
}

// visit changes one node.
func (c *treeChange) visit(st *meta.State, ino meta.Inode, got *Counts) error {
	if n, _ := st.Nodes.Get(ino); c.dataOnly && !hasData(&n) {
		return nil
	} else if c.denied(&n) {
		got.NotPermitted++
		return nil
	}
	n, err := editNode(st, ino)
	if err != nil {
		return err
	}
	changed, err := c.set(ino, n)
	if changed {
		got.Changed++
	} else {
		got.NotChanged++
	}
	return err
}

// match compares the counts of an entry with those here.
func (c *Counts) match(want *Counts) error {
	if err := match("number of changed inodes", want.Changed, c.Changed); err != nil {
		return err
	}
	if err := match("number of unchanged inodes", want.NotChanged, c.NotChanged); err != nil {
		return err
	}
	return match("number of inodes without permission", want.NotPermitted, c.NotPermitted)
}

// hasData tells whether a node has a storage class and a trash time.
func hasData(n *meta.Node) bool { return n.Type == meta.TypeDir || n.Type.IsFile() }

// walk visits a node and, if asked to, all below it: a directory before what
// is in it, that in list order. A node is visited once per name. Trees can be
// deep, so what is left to do is kept here and not in calls. It makes room
// between nodes.
func walk(st *meta.State, top meta.Inode, recursive bool, visit func(meta.Inode) error) error {
	todo := []meta.Inode{top}
	for len(todo) > 0 {
		ino := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if err := visit(ino); err != nil {
			return err
		}
		st.MakeRoom()
		if n, _ := st.Nodes.Get(ino); !recursive || n.Type != meta.TypeDir {
			continue
		}
		list := st.Edges.List(ino)
		for i := len(list) - 1; i >= 0; i-- {
			todo = append(todo, list[i].Child)
		}
	}
	return nil
}
