package changelog

import "mfsstandby/changelog/meta"

// What is in this file came with 4.x: chunks go to the archive, to the trash
// and back by themselves, as their storage classes say.

// modern tells whether the primary is one of 4.x.
func modern(st *meta.State) bool { return st.Release >= meta.Release4 }

// touched is to be called when times of a file have changed; fields are their
// ArchMode bits. If its class archives by one of these times, and takes back
// what was touched, the chunks leave the archive and the file stays out of it.
func touched(st *meta.State, ino meta.Inode, n *meta.Node, now meta.Time, fields uint8) {
	if !modern(st) || !n.Type.IsFile() || n.Flags&meta.KeepMode != 0 {
		return
	}
	class, _ := st.Classes.Get(n.Class)
	if class.ArchMode&meta.ArchModeReversible == 0 || class.ArchMode&fields == 0 || class.ArchDelay == 0 && class.ArchMinSize == 0 {
		return
	}
	if n.Length >= class.ArchMinSize && archived(n, &class, now) {
		return
	}
	setFlag(st, ino, meta.ChunkArchive, false)
	n.Flags |= meta.KeepMode
}

// archived tells whether the newest of the times that count for the class lies
// back longer than its delay.
func archived(n *meta.Node, class *meta.Class, now meta.Time) bool {
	var newest meta.Time
	if class.ArchMode&meta.ArchModeCtime != 0 {
		newest = max(newest, n.Ctime)
	}
	if class.ArchMode&meta.ArchModeMtime != 0 {
		newest = max(newest, n.Mtime)
	}
	if class.ArchMode&meta.ArchModeAtime != 0 {
		newest = max(newest, n.Atime)
	}
	return uint64(newest)+uint64(class.ArchDelay)*3600 < uint64(now)
}

// setFlag sets or clears a bit of Flags of all chunks of a file. It does not
// make room: a pointer to the node stays valid.
func setFlag(st *meta.State, ino meta.Inode, flag uint8, set bool) {
	eachChunk(st, ino, func(c *meta.Chunk) {
		if set {
			c.Flags |= flag
		} else {
			c.Flags &^= flag
		}
	})
}

// eachChunk calls change for each slot of a file whose chunk exists. It does
// not make room.
func eachChunk(st *meta.State, ino meta.Inode, change func(*meta.Chunk)) {
	n, _ := st.Nodes.Get(ino)
	if n.Used == 0 {
		return
	}
	var buf []usedSlot
	for next := uint32(0); ; {
		buf = slotsFrom(st, ino, next, buf[:0])
		for _, slot := range buf {
			if c, ok := st.Chunks.Edit(slot.chunk); ok {
				change(c)
			}
		}
		if len(buf) < slotBatch {
			return
		}
		next = buf[len(buf)-1].index + 1
	}
}

// setKeepMode says whether a file's chunks stay out of the archive, which
// counts for the size of its directories.
func setKeepMode(st *meta.State, ino meta.Inode, n *meta.Node, keep bool) {
	before := fileStats(st, ino, n)
	n.Flags &^= meta.KeepMode
	if keep {
		n.Flags |= meta.KeepMode
	}
	refreshRatio(st, n)
	statsChanged(st, ino, n, &before)
}

// unmarkTrash takes the chunks of a file that left the trash out of it.
func unmarkTrash(st *meta.State, ino meta.Inode) {
	if modern(st) {
		setFlag(st, ino, meta.ChunkTrash, false)
	}
}

// unwritten is for how many seconds a file in the trash must not have been
// written to before its chunks are marked.
const unwritten = 300

// mark marks the chunks of files in the trash whose retention is long enough,
// but for chunks that other slots hold too. A file counts each time again, as
// long as it has a chunk that no other one has.
func (op *EmptyTrash) mark(st *meta.State, now meta.Time, bucket uint32) error {
	var marked uint32
	err := buckets(st, meta.TypeTrash, bucket, meta.TrashBuckets, func(ino meta.Inode) error {
		n, _ := st.Nodes.Get(ino)
		class, _ := st.Classes.Get(n.Class)
		if n.Mtime+unwritten >= now || n.TrashHours < class.MinTrash {
			return nil
		}
		own := false
		eachChunk(st, ino, func(c *meta.Chunk) {
			if c.Files == 1 {
				own = true
				c.Flags |= meta.ChunkTrash
			}
		})
		if own {
			marked++
		}
		return nil
	})
	if err != nil || !op.HasMarked {
		return err
	}
	return settle(st, "number of files marked as trash", &op.Marked, marked)
}

// Apply archives chunks that were not written since RefTime, and takes chunks
// out of the trash. The primary no longer keeps such a file out of the archive,
// which its own replay misses.
func (op *AutoArch) Apply(st *meta.State, _ meta.Time) error {
	n, err := editFile(st, op.Inode, meta.EPERM)
	if err != nil {
		return err
	}
	var archived, untrashed, found uint32
	eachChunk(st, op.Inode, func(c *meta.Chunk) {
		found++
		if op.RefTime > c.LockedTo && c.Flags&meta.ChunkArchive == 0 {
			c.Flags |= meta.ChunkArchive
			archived++
		}
		if (op.InTrash == 0 || c.Files > 1) && c.Flags&meta.ChunkTrash != 0 {
			c.Flags &^= meta.ChunkTrash
			untrashed++
		}
	})
	if found != n.Used {
		return inodeError(op.Inode, meta.ENOCHUNK)
	}
	if err := settle(st, "number of archived chunks", &op.Archived, archived); err != nil {
		return err
	}
	if err := settle(st, "number of chunks taken out of the trash", &op.Untrashed, untrashed); err != nil {
		return err
	}
	if archived > 0 {
		setKeepMode(st, op.Inode, n, false)
	}
	return nil
}
