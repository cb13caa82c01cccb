package changelog

import "mfsstandby/changelog/meta"

// oldGrace is the grace period in seconds of quotas before 3.0, which had none:
// what a later release takes when it reads them, unless it is configured
// otherwise.
const oldGrace = 7 * 24 * 3600

// copyTrash gives a node the trash retention of another one.
func copyTrash(n, from *meta.Node) {
	if from.Flags&meta.TrashSeconds != 0 {
		n.SetTrash(from.Rdev)
	} else {
		n.TrashHours = from.TrashHours
	}
}

// tableFor is how many slots a chunk table has at least that holds an index:
// those of 1.6 grow by 8 or 64.
func tableFor(st *meta.State, index uint32) uint32 {
	switch {
	case st.Release.Since(meta.Release2) || index < 8:
		return index + 1
	case index < 64:
		return index&^7 + 8
	default:
		return index&^63 + 64
	}
}

// usedTable is how many slots a file's chunk table has without its trailing
// holes.
func usedTable(st *meta.State, ino meta.Inode, n *meta.Node) uint32 {
	for i := n.Slots; i > 0 && n.Used > 0; i-- {
		if st.Slot(ino, n, i-1) != 0 {
			return i
		}
	}
	return 0
}

// applyOld is Apply before 3.0: chunks follow the last chunk, wherever the file
// ends.
func (op *AppendChunks) applyOld(st *meta.State, src, dst *meta.Node, now meta.Time) error {
	count := usedTable(st, op.Source, src)
	if count == 0 {
		return nil
	}
	at := usedTable(st, op.Inode, dst)
	last := uint64(at) + uint64(count) - 1
	if last > meta.MaxIndex {
		return slotError(op.Inode, at, meta.EINDEXTOOBIG)
	}
	length := uint64(at)<<meta.ChunkBits + src.Length
	src.Atime = now
	before := fileStats(st, op.Inode, dst)
	if uint32(last) >= dst.Slots {
		dst.Slots = tableFor(st, uint32(last))
	}
	copySlots(st, op.Source, 0, count-1, op.Inode, at)
	dst, _ = st.Nodes.Edit(op.Inode)
	setLength(st, dst, length)
	refreshRatio(st, dst)
	statsChanged(st, op.Inode, dst, &before)
	dst.Mtime, dst.Atime = now, now
	return nil
}

// inheritACLOld is inheritACL before 3.0: the mode stays what was asked for,
// and there always is an access ACL.
func inheritACLOld(st *meta.State, parent, ino meta.Inode, n *meta.Node, mode uint16) {
	n.Mode = mode & modeBits
	d, ok := st.ACLs.Get(meta.ACLKey{Inode: parent, Type: meta.ACLDefault})
	if !ok {
		return
	}
	putACL(st, ino, n, meta.ACLAccess, meta.ACL{
		User:  permission(mode, 6) & d.User,
		Group: d.Group,
		Other: permission(mode, 0) & d.Other,
		Mask:  permission(mode, 3) & d.Mask,
		Users: d.Users, Groups: d.Groups,
	})
	if n.Type == meta.TypeDir {
		putACL(st, ino, n, meta.ACLDefault, d)
	}
}

// applyOld is Apply before 3.0: only an ACL that says no more than a mode
// removes one, of either kind, and the mode is set in any case.
func (op *SetACL) applyOld(st *meta.State, n *meta.Node, a meta.ACL, now meta.Time) error {
	if simpleACL(&a) {
		removeACL(st, op.Inode, n, op.Type)
	} else {
		putACL(st, op.Inode, n, op.Type, a)
	}
	n.Mode = op.Mode & modeBits
	if op.ChangeCtime != 0 {
		n.Ctime = now
	}
	return nil
}
