package changelog

import "mfsstandby/changelog/meta"

// Apply makes the chunk ready for writing. The length grows only to where the
// chunk begins; Length tells of the rest. The table may have any number of
// empty slots, so it only is a count here.
func (op *Write) Apply(st *meta.State, now meta.Time) error {
	n, err := editFile(st, op.Inode, meta.EPERM)
	if err != nil {
		return err
	}
	if op.Index > meta.MaxIndex {
		return slotError(op.Inode, op.Index, meta.EINDEXTOOBIG)
	}
	before := fileStats(st, op.Inode, n)
	n.Slots = max(n.Slots, tableFor(st, op.Index))
	if old := st.Slot(op.Inode, n, op.Index); old == 0 {
		err = newChunk(st, now, op.Chunk)
	} else {
		err = modifyChunk(st, now, old, op.Chunk, op.OpFlag != 0)
	}
	if err != nil {
		return err
	}
	st.SetSlot(op.Inode, n, op.Index, op.Chunk)
	if st.Release.Since(meta.Release3) {
		setLength(st, n, max(n.Length, uint64(op.Index)<<meta.ChunkBits))
	}
	refreshRatio(st, n)
	statsChanged(st, op.Inode, n, &before)
	n.Eattr &^= meta.EattrSnapshot
	if op.CanModMtime != 0 {
		n.Mtime, n.Ctime = now, now
		touched(st, op.Inode, n, now, meta.ArchModeCtime|meta.ArchModeMtime)
	}
	return nil
}

// Apply makes the chunk ready for being cut: like Write, but its version
// always rises and nothing else of the file changes.
func (op *Trunc) Apply(st *meta.State, now meta.Time) error {
	n, err := editFile(st, op.Inode, meta.EINVAL)
	if err != nil {
		return err
	}
	if op.Index > meta.MaxIndex {
		return slotError(op.Inode, op.Index, meta.EINDEXTOOBIG)
	}
	if op.Index >= n.Slots {
		return slotError(op.Inode, op.Index, meta.EINVAL)
	}
	old := st.Slot(op.Inode, n, op.Index)
	if err := modifyChunk(st, now, old, op.Chunk, true); err != nil {
		return err
	}
	st.SetSlot(op.Inode, n, op.Index, op.Chunk)
	return nil
}

// Apply sets the length and drops what the chunk table has behind it. A table
// that is too short stays so.
func (op *Length) Apply(st *meta.State, now meta.Time) error {
	n, err := editFile(st, op.Inode, meta.EINVAL)
	if err != nil {
		return err
	}
	before := fileStats(st, op.Inode, n)
	if slots := slotsFor(op.Length); slots < n.Slots {
		dropSlots(st, op.Inode, slots)
		n, _ = st.Nodes.Edit(op.Inode)
	}
	setLength(st, n, op.Length)
	refreshRatio(st, n)
	statsChanged(st, op.Inode, n, &before)
	n.Eattr &^= meta.EattrSnapshot
	if op.CanModMtime != 0 {
		n.Mtime, n.Ctime = now, now
		touched(st, op.Inode, n, now, meta.ArchModeCtime|meta.ArchModeMtime)
	}
	return nil
}

// Apply lets the file hold chunks of the other one behind its own. An empty
// source changes nothing, not even times.
func (op *AppendChunks) Apply(st *meta.State, now meta.Time) error {
	if op.Inode == op.Source {
		return inodeError(op.Inode, meta.EINVAL)
	}
	src, err := editFile(st, op.Source, meta.EPERM)
	if err != nil {
		return err
	}
	dst, err := editFile(st, op.Inode, meta.EPERM)
	if err == nil && !st.Release.Since(meta.Release3) {
		return op.applyOld(st, src, dst, now)
	}
	if err != nil || src.Length == 0 {
		return err
	}
	from, to, err := op.slice(slotsFor(src.Length) - 1)
	if err != nil {
		return err
	}
	at := slotsFor(dst.Length)
	end := uint64(at) + uint64(to-from) + 1
	if end > meta.MaxIndex+1 {
		return slotError(op.Inode, at, meta.EINDEXTOOBIG)
	}
	length := end << meta.ChunkBits
	if to == slotsFor(src.Length)-1 {
		length = uint64(at)<<meta.ChunkBits + src.Length - uint64(from)<<meta.ChunkBits
	}
	src.Atime = now
	before := fileStats(st, op.Inode, dst)
	table := max(dst.Slots, uint32(end))
	dropSlots(st, op.Inode, at)
	dst, _ = st.Nodes.Edit(op.Inode)
	dst.Slots = table
	copySlots(st, op.Source, from, to, op.Inode, at)
	dst, _ = st.Nodes.Edit(op.Inode)
	setLength(st, dst, length)
	refreshRatio(st, dst)
	statsChanged(st, op.Inode, dst, &before)
	dst.Mtime, dst.Atime = now, now
	touched(st, op.Inode, dst, now, meta.ArchModeMtime|meta.ArchModeAtime)
	if src, ok := st.Nodes.Edit(op.Source); ok {
		touched(st, op.Source, src, now, meta.ArchModeAtime)
	}
	return nil
}

// slice returns the chunks of the source to append, both included; last is
// its last one.
func (op *AppendChunks) slice(last uint32) (from, to uint32, err error) {
	if op.Whole || op.From == 0xFFFFFFFF && op.To == 0 {
		return 0, last, nil
	}
	if op.From > op.To || op.To > last {
		return 0, 0, slotError(op.Source, op.To, meta.EINVAL)
	}
	return op.From, op.To, nil
}

// Apply takes a chunk out of the file, or gives it a version at which a
// chunkserver has it. The primary also takes out a chunk that it does not know;
// and while its own replay counts an entry with a version twice, to the
// primary it was one entry.
func (op *Repair) Apply(st *meta.State, now meta.Time) error {
	n, err := editFile(st, op.Inode, meta.EPERM)
	if err != nil {
		return err
	}
	if op.Index > meta.MaxIndex {
		return slotError(op.Inode, op.Index, meta.EINDEXTOOBIG)
	}
	chunk := st.Slot(op.Inode, n, op.Index)
	if chunk == 0 {
		return slotError(op.Inode, op.Index, meta.ENOCHUNK)
	}
	before := fileStats(st, op.Inode, n)
	if op.ChunkVersion == 0 {
		detachChunk(st, chunk)
		st.SetSlot(op.Inode, n, op.Index, 0)
	} else {
		c, ok := st.Chunks.Edit(chunk)
		if !ok {
			return chunkError(chunk, meta.ENOCHUNK)
		}
		setVersion(st, c, op.ChunkVersion)
	}
	refreshRatio(st, n)
	statsChanged(st, op.Inode, n, &before)
	n.Mtime, n.Ctime = now, now
	touched(st, op.Inode, n, now, meta.ArchModeCtime|meta.ArchModeMtime)
	return nil
}

// Apply puts the chunk from before a failed Write or Trunc back. Neither
// length nor the version of a chunk nor the next chunk id go back; a new chunk
// stays, held by nobody.
//
// If the file was emptied and written again meanwhile, the slot holds a third
// chunk. mfsmaster then takes one from the count of Chunk, which the slot does
// not hold, until its next start counts all again. Here the third chunk loses
// its slot.
func (op *Rollback) Apply(st *meta.State, now meta.Time) error {
	n, err := editFile(st, op.Inode, meta.EPERM)
	if err != nil {
		return err
	}
	if op.Index > meta.MaxIndex {
		return slotError(op.Inode, op.Index, meta.EINDEXTOOBIG)
	}
	if op.Index >= n.Slots {
		return slotError(op.Inode, op.Index, meta.EINVAL)
	}
	if op.Prev != op.Chunk {
		before := fileStats(st, op.Inode, n)
		replaceSlot(st, op.Inode, n, op.Index, op.Prev)
		refreshRatio(st, n)
		statsChanged(st, op.Inode, n, &before)
	}
	unlockChunk(st, now, op.Chunk)
	return nil
}

// replaceSlot puts a chunk, or 0, into a slot within a file's table and keeps
// count of the slots that hold the old and the new one.
func replaceSlot(st *meta.State, ino meta.Inode, n *meta.Node, index uint32, chunk meta.ChunkID) {
	if chunk != 0 {
		attachChunk(st, chunk)
	}
	if old := st.Slot(ino, n, index); old != 0 {
		detachChunk(st, old)
	}
	st.SetSlot(ino, n, index, chunk)
}

// Apply takes a lost chunk past the end of a file out of it. The primary keeps
// such a chunk for a week if no other file holds it, which its own replay
// misses; since 4.x it does not. It also leaves the totals of the directories as they were until its
// next start; here they are right at once.
func (op *SetFileChunk) Apply(st *meta.State, now meta.Time) error {
	n, err := editFile(st, op.Inode, meta.EPERM)
	if err != nil {
		return err
	}
	if op.Index >= n.Slots {
		return slotError(op.Inode, op.Index, meta.EMISMATCH)
	}
	before := fileStats(st, op.Inode, n)
	old := st.Slot(op.Inode, n, op.Index)
	replaceSlot(st, op.Inode, n, op.Index, op.Chunk)
	if c, ok := st.Chunks.Edit(old); ok && c.Files == 0 && !modern(st) {
		c.LockedTo = now + unusedTime
	}
	statsChanged(st, op.Inode, n, &before)
	return nil
}
