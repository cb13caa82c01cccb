package metafile

import (
	"cmp"
	"errors"
	"slices"

	"mfsstandby/changelog/meta"
)

// dirNode is a directory while its file is read.
type dirNode struct {
	inode             meta.Inode
	parent            int32 // index of its directory, -1 if it has none yet
	elements, subdirs uint32
	stats             meta.Stats // first of its files, in the end of everything below
	name              string
}

// dirTree holds all directories of a file: their totals can only be summed up
// when all names are known.
type dirTree struct {
	index map[meta.Inode]int32
	nodes []dirNode
}

func (t *dirTree) add(ino meta.Inode) {
	if t.index == nil {
		t.index = map[meta.Inode]int32{}
	}
	t.index[ino] = int32(len(t.nodes))
	t.nodes = append(t.nodes, dirNode{inode: ino, parent: -1})
}

// sum adds the totals of every directory to those above it. It returns the
// inode of a directory that is its own ancestor, if there is one.
func (t *dirTree) sum() (cycle meta.Inode) {
	pending := make([]uint32, len(t.nodes)) // subdirectories not yet added
	var ready []int32
	for i := range t.nodes {
		if pending[i] = t.nodes[i].subdirs; pending[i] == 0 {
			ready = append(ready, int32(i))
		}
	}
	done := 0
	for len(ready) > 0 {
		i := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		done++
		d := &t.nodes[i]
		if d.parent < 0 {
			continue
		}
		up := &t.nodes[d.parent]
		up.stats.Add(&d.stats)
		up.stats.Inodes++
		up.stats.Dirs++
		if pending[d.parent]--; pending[d.parent] == 0 {
			ready = append(ready, d.parent)
		}
	}
	if done < len(t.nodes) {
		// Each has one parent, so that those left are all in circles.
		i := slices.IndexFunc(pending, func(n uint32) bool { return n > 0 })
		return t.nodes[i].inode
	}
	return 0
}

var errLost = errors.New("the State does not give back what was put into it")

// storeDirs sums up the directories and stores them.
func (l *loader) storeDirs() error {
	if ino := l.dirs.sum(); ino != 0 {
		return l.in.failf("directory %d is its own ancestor", ino)
	}
	order := make([]int32, len(l.dirs.nodes))
	for i := range order {
		order[i] = int32(i)
	}
	nodes := l.dirs.nodes
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(nodes[a].inode, nodes[b].inode) })
	for _, i := range order {
		l.begin()
		d := &nodes[i]
		rec, ok := l.st.Dirs.Edit(d.inode)
		if !ok {
			return l.in.failf("directory %d is lost: %w", d.inode, cmp.Or(l.st.Err(), errLost))
		}
		*rec = meta.Dir{Name: d.name, Elements: d.elements, Subdirs: d.subdirs, Stats: d.stats}
		if d.parent >= 0 {
			rec.Parent = nodes[d.parent].inode
		}
	}
	return l.in.err
}

// fileStats is what a non-directory adds to its directories.
func fileStats(st *meta.State, ino meta.Inode, n *meta.Node, symlink uint64) meta.Stats {
	s := meta.Stats{Inodes: 1, Length: symlink}
	if !n.Type.IsFile() {
		return s
	}
	s.Files, s.Chunks, s.Length = 1, n.Used, n.Length
	last, lastSize := uint32(0), uint64(meta.ChunkHeader)
	if n.Length > 0 {
		last = uint32((n.Length - 1) >> meta.ChunkBits) // 32 bits, as mfsmaster has it
		in := (n.Length - 1) % meta.ChunkSize
		lastSize = (in+meta.BlockSize)/meta.BlockSize*meta.BlockSize + meta.ChunkHeader
	}
	full, hasLast := chunksUpTo(st, ino, n, last)
	s.Size = uint64(full) * (meta.ChunkSize + meta.ChunkHeader)
	if hasLast {
		s.Size += lastSize
	}
	s.RealSize = meta.RealSize(s.Size, n.Ratio)
	return s
}

// chunksUpTo counts the chunks before slot last and tells whether there is one
// in it. Chunks behind it cost no size.
func chunksUpTo(st *meta.State, ino meta.Inode, n *meta.Node, last uint32) (before uint32, has bool) {
	if n.Slots <= last {
		return n.Used, false
	}
	has = st.Slot(ino, n, last) != 0
	before = n.Used
	if has {
		before--
	}
	for i := n.Slots - 1; i > last; i-- {
		if st.Slot(ino, n, i) != 0 {
			before--
		}
	}
	return before, has
}
