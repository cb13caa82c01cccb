package changelog

import (
	"iter"

	"mfsstandby/changelog/meta"
)

// slotBatch is how many slots of a chunk table are worked on at once: a table
// must not change while it is scanned, and a file can have millions.
const slotBatch = 1024

// usedSlot is an entry of a chunk table that holds a chunk.
type usedSlot struct {
	index uint32
	chunk meta.ChunkID
}

// UsedSlots gives index and chunk of the used slots of a file, ascending. The
// slot at hand may be changed meanwhile.
func UsedSlots(st *meta.State, ino meta.Inode) iter.Seq2[uint32, meta.ChunkID] {
	return func(yield func(uint32, meta.ChunkID) bool) {
		var buf []usedSlot
		for next := uint32(0); ; next = buf[len(buf)-1].index + 1 {
			buf = slotsFrom(st, ino, next, buf[:0])
			for _, slot := range buf {
				if !yield(slot.index, slot.chunk) {
					return
				}
			}
			if len(buf) < slotBatch {
				return
			}
		}
	}
}

// slotsFrom appends up to slotBatch used slots of a file to buf, from an index
// on, ascending. Short tables are looked up, longer ones scanned.
func slotsFrom(st *meta.State, ino meta.Inode, from uint32, buf []usedSlot) []usedSlot {
	const short = 16
	n, _ := st.Nodes.Get(ino)
	if n.Slots <= short {
		for i := from; i < n.Slots; i++ {
			if chunk := st.Slot(ino, &n, i); chunk != 0 {
				buf = append(buf, usedSlot{i, chunk})
			}
		}
		return buf
	}
	return scanSlots(st, ino, &n, from, buf)
}

// scanSlots is slotsFrom for long tables.
func scanSlots(st *meta.State, ino meta.Inode, n *meta.Node, from uint32, buf []usedSlot) []usedSlot {
	if from == 0 {
		if n.Chunk0 != 0 {
			buf = append(buf, usedSlot{0, n.Chunk0})
		}
		from = 1
	}
	for slot, chunk := range st.Slots.Scan(meta.Slot{Inode: ino, Index: from}) {
		if slot.Inode != ino || len(buf) == slotBatch {
			break
		}
		buf = append(buf, usedSlot{slot.Index, chunk})
	}
	return buf
}

// dropSlots empties a file's chunk table from an index on and makes it end
// there. The totals of directories are left to the caller. It may make room.
func dropSlots(st *meta.State, ino meta.Inode, from uint32) {
	n, ok := st.Nodes.Edit(ino)
	if !ok || n.Slots <= from {
		return
	}
	if from == 0 && n.Chunk0 != 0 {
		detachChunk(st, n.Chunk0)
		st.SetSlot(ino, n, 0, 0)
	}
	if n.Used > 0 && n.Slots > 1 { // most files have one chunk, which is gone now
		dropUsed(st, ino, max(from, 1))
		n, _ = st.Nodes.Edit(ino)
	}
	n.Slots = from
}

// dropUsed is dropSlots for slots in the table of slots.
func dropUsed(st *meta.State, ino meta.Inode, from uint32) {
	var buf []usedSlot
	for {
		buf = slotsFrom(st, ino, from, buf[:0])
		n, _ := st.Nodes.Edit(ino)
		for _, slot := range buf {
			detachChunk(st, slot.chunk)
			st.SetSlot(ino, n, slot.index, 0)
		}
		if len(buf) < slotBatch {
			return
		}
		st.MakeRoom()
	}
}

// copySlots lets slots [from,to] of a file be held by the slots of another
// one too, from index at on, which are empty and within its table. It may make
// room.
func copySlots(st *meta.State, src meta.Inode, from, to uint32, dst meta.Inode, at uint32) {
	var buf []usedSlot
	for next := from; ; {
		buf = slotsFrom(st, src, next, buf[:0])
		n, _ := st.Nodes.Edit(dst)
		for _, slot := range buf {
			if slot.index > to {
				return
			}
			st.SetSlot(dst, n, at+slot.index-from, slot.chunk)
			attachChunk(st, slot.chunk)
		}
		if len(buf) < slotBatch {
			return
		}
		next = buf[len(buf)-1].index + 1
		st.MakeRoom()
	}
}

// setLength sets a file's length, without its chunk table.
func setLength(st *meta.State, n *meta.Node, length uint64) {
	countDetached(st, n, ^uint64(0))
	n.Length = length
	countDetached(st, n, 1)
}

// slotsFor is how many chunks a length needs. mfsmaster counts them in 32 bits.
func slotsFor(length uint64) uint32 {
	if length == 0 {
		return 0
	}
	return uint32((length-1)>>meta.ChunkBits) + 1
}
