package changelog

import (
	"bytes"
	"strings"

	"mfsstandby/changelog/meta"
)

// purgeNode removes a file from the trash: it becomes sustained if it is
// open, without a change of its times, else it is destroyed. A sustained file
// is destroyed, whoever has it open. It may make room.
func purgeNode(st *meta.State, now meta.Time, ino meta.Inode) (freed bool, err error) {
	n, err := editNode(st, ino)
	if err != nil {
		return false, err
	}
	d, ok := st.Detached.Get(ino)
	if !ok {
		return false, inodeError(ino, meta.ENOENT)
	}
	countDetached(st, n, ^uint64(0))
	st.Detached.Delete(ino)
	if n.Type == meta.TypeTrash && st.Open.Any(ino) {
		n.Type, d.Kind = meta.TypeSustained, meta.TypeSustained
		st.Detached.InsertHead(ino, d)
		countDetached(st, n, 1)
		return false, nil
	}
	n.Ctime = now
	touched(st, ino, n, now, meta.ArchModeCtime) // its chunks may be others' too
	return true, destroyNode(st, now, ino)
}

// editTrash returns a file of the trash to change.
func editTrash(st *meta.State, ino meta.Inode) (*meta.Node, meta.Detached, error) {
	n, err := editNode(st, ino)
	if err != nil {
		return nil, meta.Detached{}, err
	}
	d, ok := st.Detached.Get(ino)
	if n.Type != meta.TypeTrash || !ok {
		return nil, meta.Detached{}, inodeError(ino, meta.ENOENT)
	}
	return n, d, nil
}

// Apply removes the file from the trash.
func (op *Purge) Apply(st *meta.State, now meta.Time) error {
	if _, _, err := editTrash(st, op.Inode); err != nil {
		return err
	}
	_, err := purgeNode(st, now, op.Inode)
	return err
}

// Apply gives the file a new path, which takes an edge id like a name does,
// and puts it at the head of its bucket.
func (op *SetPath) Apply(st *meta.State, _ meta.Time) error {
	if len(op.Path) == 0 || len(op.Path) > meta.MaxPath || bytes.IndexByte(op.Path, 0) >= 0 {
		return inodeError(op.Inode, meta.EINVAL)
	}
	_, d, err := editTrash(st, op.Inode)
	if err != nil {
		return err
	}
	st.Detached.Delete(op.Inode)
	d.EdgeID, d.Path = takeEdgeID(st), string(op.Path)
	st.Detached.InsertHead(op.Inode, d)
	return nil
}

// Apply links the file where its path says. Missing directories are made,
// owned by root, with mode 0755.
func (op *Undel) Apply(st *meta.State, now meta.Time) error {
	n, d, err := editTrash(st, op.Inode)
	if err != nil {
		return err
	}
	path := strings.TrimLeft(d.Path, "/")
	if err := checkPath(st, op.Inode, path); err != nil {
		return err
	}
	parent, dir, name, err := makePath(st, now, path)
	if err != nil {
		return err
	}
	countDetached(st, n, ^uint64(0))
	st.Detached.Delete(op.Inode)
	n.Type = meta.TypeFile
	linkEdge(st, now, parent, dir, name, op.Inode, n)
	n.Ctime = now
	unmarkTrash(st, op.Inode)
	return nil
}

// validTrashPath tells whether every part of a path can be a name.
func validTrashPath(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if len(part) == 0 || len(part) > meta.MaxName || part == "." || part == ".." || strings.IndexByte(part, 0) >= 0 {
			return false
		}
	}
	return true
}

// checkPath tells whether a file of the trash can be linked at a path from the root: no
// directory on the way may be immutable or over its quota, and the last part
// must be free.
func checkPath(st *meta.State, file meta.Inode, path string) error {
	if !validTrashPath(path) {
		return inodeError(file, meta.ECANTCREATEPATH)
	}
	for ino := meta.Root; ; {
		dir, ok := st.Nodes.Get(ino)
		if !ok || dir.Type != meta.TypeDir {
			return inodeError(ino, meta.ECANTCREATEPATH)
		}
		if q, _ := st.Quotas.Get(ino); q.Exceeded {
			return inodeError(ino, meta.EQUOTA)
		}
		if dir.Eattr&meta.EattrImmutable != 0 {
			return inodeError(ino, meta.EPERM)
		}
		part, rest, more := strings.Cut(path, "/")
		edge, used := st.Edges.Get(ino, []byte(part))
		switch {
		case used && !more:
			return nameError(ino, []byte(part), meta.EEXIST)
		case !used:
			return nil // what is made from here on has neither
		}
		ino, path = edge.Child, rest
	}
}

// makePath walks a path from the root to the directory of its last part and
// makes what is missing.
func makePath(st *meta.State, now meta.Time, path string) (ino meta.Inode, dir *meta.Node, name []byte, err error) {
	ino = meta.Root
	for {
		dir, err = editDir(st, ino, meta.ECANTCREATEPATH)
		if err != nil {
			return 0, nil, nil, err
		}
		part, rest, more := strings.Cut(path, "/")
		name = []byte(part)
		if !more {
			return ino, dir, name, nil
		}
		path = rest
		if edge, ok := st.Edges.Get(ino, name); ok {
			ino = edge.Child
			continue
		}
		create := creation{parent: ino, dir: dir, name: name, kind: meta.TypeDir, mode: 0o755}
		if ino, _, err = create.node(st, now); err != nil {
			return 0, nil, nil, err
		}
	}
}

// buckets calls visit for each inode in one bucket of a kind, or in all, head
// first. They may be removed meanwhile. It makes room in between.
func buckets(st *meta.State, kind meta.Type, bucket, count uint32, visit func(meta.Inode) error) error {
	from, to := bucket, bucket+1
	if bucket >= count {
		from, to = 0, count
	}
	for b := from; b < to; b++ {
		for _, ino := range st.Detached.Bucket(kind, b) {
			if err := visit(ino); err != nil {
				return err
			}
			st.MakeRoom()
		}
	}
	return nil
}

// Apply purges what is in the bucket for longer than its trash time; all
// three times count. Since 4.x it then marks the chunks of what is left.
func (op *EmptyTrash) Apply(st *meta.State, now meta.Time) error {
	bucket := op.Bucket
	if op.AllBuckets {
		bucket = meta.TrashBuckets
	}
	var freed, sustained, xor uint32
	err := buckets(st, meta.TypeTrash, bucket, meta.TrashBuckets, func(ino meta.Inode) error {
		if !expired(st, ino, now) {
			return nil
		}
		xor ^= uint32(ino)
		gone, err := purgeNode(st, now, ino)
		if gone {
			freed++
		} else {
			sustained++
		}
		return err
	})
	if err != nil {
		return err
	}
	if modern(st) {
		if err := op.mark(st, now, bucket); err != nil {
			return err
		}
	}
	return settleFreed(st, freed, &op.Freed, sustained, &op.Sustained, xor, &op.InodeXor)
}

// expired tells whether a file was in the trash for its time.
func expired(st *meta.State, ino meta.Inode, now meta.Time) bool {
	n, _ := st.Nodes.Get(ino)
	return uint64(max(n.Atime, n.Mtime, n.Ctime))+n.Trash() < uint64(now)
}

// Apply destroys the files of the bucket that nobody has open.
func (op *EmptySustained) Apply(st *meta.State, now meta.Time) error {
	bucket := op.Bucket
	if op.AllBuckets {
		bucket = meta.SustainedBuckets
	}
	var freed, xor uint32
	err := buckets(st, meta.TypeSustained, bucket, meta.SustainedBuckets, func(ino meta.Inode) error {
		if st.Open.Any(ino) {
			return nil
		}
		xor ^= uint32(ino)
		freed++
		_, err := purgeNode(st, now, ino)
		return err
	})
	if err != nil {
		return err
	}
	return settleFreed(st, freed, &op.Freed, 0, new(uint32), xor, &op.InodeXor)
}

// settleFreed settles the results of an operation that frees inodes. Old
// releases gave no xor; it is 0 then, and is not compared.
func settleFreed(st *meta.State, freed uint32, wantFreed *uint32, sustained uint32, wantSustained *uint32, xor uint32, wantXor *uint32) error {
	if err := settle(st, "number of freed inodes", wantFreed, freed); err != nil {
		return err
	}
	if err := settle(st, "number of sustained inodes", wantSustained, sustained); err != nil {
		return err
	}
	if *wantXor == 0 && !st.Originate {
		return nil
	}
	return settle(st, "xor of inodes", wantXor, xor)
}

// Apply takes inodes from the head of the free queue that have waited for
// longer than the delay. Those that are open wait anew.
//
// When its clock goes back the primary lowers times in the queue in each of
// its checks, also in those that free nothing and leave no entry. So an entry
// with a xor decides itself how many inodes it takes: one that finds the right
// inodes is right, whatever their times here.
func (op *FreeInodes) Apply(st *meta.State, now meta.Time) error {
	clampFree(st, now)
	counted, count := op.InodeXor != 0, uint64(op.Freed)+uint64(op.Sustained)
	var freed, sustained, xor uint32
	var again []meta.Inode
	for {
		f, ok := st.Inodes.FirstFree()
		if !ok {
			st.LastFreed = 0
			break
		}
		if counted {
			ok = uint64(freed)+uint64(sustained) < count
		} else {
			ok = f.Freed+meta.Time(op.Delay) < now
		}
		if !ok {
			break
		}
		xor ^= uint32(f.Inode)
		st.Inodes.PopFree()
		if (op.Sustained > 0 || st.Originate) && st.Open.Any(f.Inode) {
			sustained++
			again = append(again, f.Inode)
		} else {
			freed++
			st.Inodes.Release(f.Inode)
		}
		st.MakeRoom()
	}
	for _, ino := range again {
		st.Inodes.PushFree(meta.FreedInode{Inode: ino, Freed: now})
		st.LastFreed = now
	}
	return settleFreed(st, freed, &op.Freed, sustained, &op.Sustained, xor, &op.InodeXor)
}

// Apply sets the trash time of a node or a tree. The entry has seconds, nodes
// have hours, rounded up, of which mfsmaster keeps 16 bits; before 3.0 nodes have
// seconds too.
func (op *SetTrashTime) Apply(st *meta.State, now meta.Time) error {
	hours := meta.TrashHoursOf(op.TrashTime)
	c := treeChange{
		mode:     op.Mode,
		dataOnly: true,
		denied:   func(n *meta.Node) bool { return notChangeable(op.UID, n) },
		set: func(ino meta.Inode, n *meta.Node) (bool, error) {
			if n.Flags&meta.TrashSeconds != 0 {
				if !selects(op.Mode, n.Rdev, op.TrashTime) {
					return false, nil
				}
				n.SetTrash(op.TrashTime)
				n.Ctime = now
				return true, nil
			}
			if !selects(op.Mode, n.TrashHours, hours) {
				return false, nil
			}
			n.TrashHours, n.Ctime = hours, now
			touched(st, ino, n, now, meta.ArchModeCtime)
			return true, nil
		},
	}
	return c.apply(st, op.Inode, &op.Counts)
}
