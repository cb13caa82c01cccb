package meta

// Wants lists what entries will look up, as far as their text tells. A storage
// may bring it near before they are applied; what they do never depends on it.
type Wants struct {
	Nodes  []Inode
	Names  []WantedName
	Opens  []Inode // in the table of open files
	Chunks []ChunkID
}

// WantedName is a name that will be looked up.
type WantedName struct {
	Parent Inode
	Hash   uint32 // HashName of the name
}

// Name adds a name and the node of its directory.
func (w *Wants) Name(parent Inode, name []byte) {
	w.Nodes = append(w.Nodes, parent)
	w.Names = append(w.Names, WantedName{parent, HashName(name)})
}

// Node adds a node.
func (w *Wants) Node(ino Inode) { w.Nodes = append(w.Nodes, ino) }

// Reset empties the lists and keeps their memory.
func (w *Wants) Reset() {
	w.Nodes, w.Names, w.Opens, w.Chunks = w.Nodes[:0], w.Names[:0], w.Opens[:0], w.Chunks[:0]
}
