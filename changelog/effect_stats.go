package changelog

import "mfsstandby/changelog/meta"

// fullChunk is what a chunk before the last one of a file costs.
const fullChunk = meta.ChunkSize + meta.ChunkHeader

// endChunk returns the index of the chunk that holds the last byte of a file
// and what that chunk costs. mfsmaster keeps the index in 32 bits.
func endChunk(length uint64) (index uint32, size uint64) {
	if length == 0 {
		return 0, meta.ChunkHeader
	}
	last := length - 1
	used := (last&(meta.ChunkSize-1) + meta.BlockSize) &^ (meta.BlockSize - 1)
	return uint32(last >> meta.ChunkBits), used + meta.ChunkHeader
}

// fileStats is what one name of a file adds to the totals of its directories:
// all chunks are counted, those past the end of the file have no size.
func fileStats(st *meta.State, ino meta.Inode, n *meta.Node) meta.Stats {
	last, lastSize := endChunk(n.Length)
	full := uint64(n.Used)
	var size uint64
	if full > 0 && n.Slots > last {
		full -= usedAfter(st, ino, n, last)
		if st.Slot(ino, n, last) != 0 {
			full--
			size = lastSize
		}
	}
	size += full * fullChunk
	return meta.Stats{
		Inodes: 1, Files: 1, Chunks: n.Used,
		Length: n.Length, Size: size, RealSize: meta.RealSize(size, n.Ratio),
	}
}

// usedAfter counts the chunks of a file behind index last, which is in its
// chunk table. A file being written has one of them, seldom more.
func usedAfter(st *meta.State, ino meta.Inode, n *meta.Node, last uint32) uint64 {
	const few = 4
	if n.Slots-last-1 > few {
		return scanAfter(st, ino, last)
	}
	var count uint64
	for i := last + 1; i < n.Slots; i++ {
		if st.Slot(ino, n, i) != 0 {
			count++
		}
	}
	return count
}

// scanAfter is usedAfter for a table that is much longer, perhaps by billions,
// than the file.
func scanAfter(st *meta.State, ino meta.Inode, last uint32) (count uint64) {
	for slot := range st.Slots.Scan(meta.Slot{Inode: ino, Index: last + 1}) {
		if slot.Inode != ino {
			break
		}
		count++
	}
	return count
}

// nodeStats is what one name of a node adds to the totals of its directories.
func nodeStats(st *meta.State, ino meta.Inode, n *meta.Node) meta.Stats {
	switch {
	case n.Type == meta.TypeDir:
		d, _ := st.Dirs.Get(ino)
		d.Stats.Inodes++
		d.Stats.Dirs++
		return d.Stats
	case n.Type.IsFile():
		return fileStats(st, ino, n)
	case n.Type == meta.TypeSymlink:
		target, _ := st.Symlinks.Get(ino)
		return meta.Stats{Inodes: 1, Length: uint64(len(target))}
	}
	return meta.Stats{Inodes: 1}
}

// subStats subtracts s from the totals of dir and of all directories above it.
func subStats(st *meta.State, dir meta.Inode, s *meta.Stats) {
	var negative meta.Stats
	negative.Sub(s)
	st.Dirs.Add(dir, negative)
}

// statsChanged brings the totals above a file or symlink up to date after a
// change of it; before is what nodeStats gave for it then.
func statsChanged(st *meta.State, ino meta.Inode, n *meta.Node, before *meta.Stats) {
	diff := nodeStats(st, ino, n)
	diff.Sub(before)
	if diff == (meta.Stats{}) {
		return
	}
	switch {
	case n.Links == 1:
		st.Dirs.Add(n.Parent, diff)
	case n.Links > 1:
		links, _ := st.Hard.Get(ino)
		for _, link := range links { // once per name, also within one directory
			st.Dirs.Add(link.Parent, diff)
		}
	}
}

// refreshRatio reads again how many copies of a file its directories count.
// A storage class that changes does not touch its files: mfsmaster does this
// when it links a file or changes its data, and in a background pass that
// leaves no entry.
func refreshRatio(st *meta.State, n *meta.Node) {
	class, _ := st.Classes.Get(n.Class)
	n.Ratio = class.Ratio(n.Flags&meta.KeepMode != 0)
}

// StatsOf returns the totals that mfsdirinfo shows for a node: of a directory
// with itself, of a file with the copies that its class asks for now.
func StatsOf(st *meta.State, ino meta.Inode, n *meta.Node) meta.Stats {
	if !n.Type.IsFile() {
		return nodeStats(st, ino, n)
	}
	now := *n
	refreshRatio(st, &now)
	return fileStats(st, ino, &now)
}
