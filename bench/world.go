package bench

import "container/heap"

type kind uint8

const (
	kindFile kind = iota
	kindDir
	kindOther // symlinks and special files
)

type state uint8

const (
	live state = iota
	inTrash
	sustained
	gone
)

const chunkSize = 1 << 26

// node is what the model knows of an inode.
type node struct {
	inode  uint32
	kind   kind
	state  state
	class  uint8
	eattr  uint8 // without the snapshot bit, which only copies under snapRoot have
	open   uint8 // bit per session that has the file open
	hasACL bool
	trash  uint16 // hours
	busy   int    // steps still to come that need the node as it is
	ctime  uint32 // since when it is in trash
	length uint64
	chunks []uint64 // by chunk index; 0 is a hole
	edges  []*edge

	// directories
	entries []*edge
	names   uint64 // names given so far: none is given twice
	subdirs int
	index   int // in world.dirs, -1 if it gets no new entries
}

type edge struct {
	parent *node // nil is the tree of snapshots or another place not chosen at random
	child  *node
	name   string
	seq    uint64 // order of making: a directory lists its newest entry first
	slot   int    // in parent.entries
	index  int    // in world.files, -1 if it is not chosen at random
}

type chunk struct {
	version uint32
	refs    uint32
}

type freed struct {
	inode, time uint32
}

// world is the state of the file system, as far as results in entries depend on it.
type world struct {
	root, scratch, snapRoot *node

	dirs   []*node // where actions may make entries
	files  []*edge // names of files that actions may choose
	chunks []chunk // by chunk id; slot 0 is unused
	seq    uint64

	maxInode  uint32
	reusable  inodeHeap // numbers that went through the free list
	freeQueue []freed   // oldest first

	snapshots []*snapshotOf
	trashed   []*node // the latest ones that went to trash
}

// inodeHeap gives the lowest number first, as the master does.
type inodeHeap []uint32

func (h inodeHeap) Len() int           { return len(h) }
func (h inodeHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h inodeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *inodeHeap) Push(x any)        { *h = append(*h, x.(uint32)) }
func (h *inodeHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func newWorld() world {
	root := &node{inode: rootInode, kind: kindDir, class: defaultClass, trash: freshTrashTime}
	return world{root: root, dirs: []*node{root}, maxInode: rootInode, chunks: make([]chunk, 1)}
}

func (w *world) newInode() uint32 {
	if len(w.reusable) > 0 {
		return heap.Pop(&w.reusable).(uint32)
	}
	w.maxInode++
	return w.maxInode
}

// newNode makes a node and its first name, with what it inherits from parent.
func (w *world) newNode(parent *node, name string, k kind) *edge {
	n := &node{inode: w.newInode(), kind: k, index: -1, trash: freshTrashTime, eattr: parent.eattr}
	if k != kindOther {
		n.class, n.trash = parent.class, parent.trash
	}
	return w.link(parent, n, name)
}

func (w *world) link(parent, child *node, name string) *edge {
	w.seq++
	e := &edge{parent: parent, child: child, name: name, seq: w.seq, slot: len(parent.entries), index: -1}
	parent.entries = append(parent.entries, e)
	if child.kind == kindDir {
		parent.subdirs++
	}
	child.edges = append(child.edges, e)
	return e
}

// offer lets actions choose the file's name.
func (w *world) offer(e *edge) {
	e.index = len(w.files)
	w.files = append(w.files, e)
}

func (w *world) offerDir(d *node) {
	d.index = len(w.dirs)
	w.dirs = append(w.dirs, d)
}

func (w *world) withdrawDir(d *node) {
	if d.index < 0 {
		return
	}
	last := w.dirs[len(w.dirs)-1]
	w.dirs[d.index], last.index = last, d.index
	w.dirs = w.dirs[:len(w.dirs)-1]
	d.index = -1
}

func (w *world) withdraw(e *edge) {
	if e.index < 0 {
		return
	}
	last := w.files[len(w.files)-1]
	w.files[e.index], last.index = last, e.index
	w.files = w.files[:len(w.files)-1]
	e.index = -1
}

// unlink takes the name away and nothing else.
func (w *world) unlink(e *edge) {
	w.withdraw(e)
	p := e.parent
	last := p.entries[len(p.entries)-1]
	p.entries[e.slot], last.slot = last, e.slot
	p.entries = p.entries[:len(p.entries)-1]
	if e.child.kind == kindDir {
		p.subdirs--
	}
	for i, other := range e.child.edges {
		if other == e {
			e.child.edges = append(e.child.edges[:i], e.child.edges[i+1:]...)
			break
		}
	}
}

// drop is unlink and, for the last name, the way to trash, to the sustained
// files or out of existence.
func (g *generator) drop(e *edge) {
	n := e.child
	g.unlink(e)
	switch {
	case len(n.edges) > 0:
	case n.kind == kindFile && n.trash > 0:
		n.state, n.ctime = inTrash, g.now
		g.trash[n.inode%trashBuckets] = append(g.trash[n.inode%trashBuckets], n)
		if g.trashed = append(g.trashed, n); len(g.trashed) > 64 {
			g.trashed = g.trashed[1:]
		}
	case n.kind == kindFile && n.open != 0:
		g.sustain(n)
	default:
		g.destroy(n)
	}
}

func (g *generator) sustain(n *node) {
	n.state = sustained
	g.sustained[n.inode%sustainedBuckets] = append(g.sustained[n.inode%sustainedBuckets], n)
}

func (g *generator) destroy(n *node) {
	g.withdrawDir(n)
	n.state = gone
	for _, id := range n.chunks {
		g.detach(id)
	}
	n.chunks = nil
	g.freeQueue = append(g.freeQueue, freed{n.inode, g.now})
}

// attach counts one more file that has the chunk.
func (w *world) attach(id uint64) {
	if id != 0 {
		w.chunks[id].refs++
	}
}

func (g *generator) detach(id uint64) {
	if id == 0 {
		return
	}
	if g.chunks[id].refs--; g.chunks[id].refs == 0 {
		g.unused = append(g.unused, id)
	}
}

// modify is what a write does to the chunk: a new one, a new version, or a copy
// of a shared one. It returns the chunk's id.
func (g *generator) modify(id uint64) uint64 {
	if id != 0 && g.chunks[id].refs == 1 {
		g.chunks[id].version++
		return id
	}
	g.detach(id)
	g.chunks = append(g.chunks, chunk{version: 1, refs: 1})
	return uint64(len(g.chunks) - 1)
}

// setLength changes the length as LENGTH does: chunks past the end go.
func (g *generator) setLength(n *node, length uint64) {
	n.length = length
	keep := int((length + chunkSize - 1) / chunkSize)
	for len(n.chunks) > keep {
		last := len(n.chunks) - 1
		g.detach(n.chunks[last])
		n.chunks = n.chunks[:last]
	}
}
