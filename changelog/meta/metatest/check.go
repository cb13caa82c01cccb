package metatest

import (
	"fmt"
	"slices"

	"mfsstandby/changelog/meta"
)

// Check computes everything that is derived in a State from the rest, and
// returns what differs, in words.
func Check(st *meta.State) []string {
	c := &checker{
		st: st, links: map[meta.Inode][]meta.HardLink{}, edges: map[meta.Inode]meta.Edge{},
		refs: map[meta.ChunkID]uint32{}, files: map[uint8]uint64{}, dirs: map[uint8]uint64{},
		slots: map[meta.Inode]uint32{}, totals: map[meta.Inode]meta.Stats{},
	}
	c.checkEdges()
	c.checkSlots()
	c.checkNodes()
	c.checkTotals()
	c.checkChunks()
	c.checkClasses()
	c.checkOthers()
	return c.problems
}

type checker struct {
	st       *meta.State
	problems []string

	links  map[meta.Inode][]meta.HardLink // names of what is no directory
	edges  map[meta.Inode]meta.Edge       // names of directories; Order is the parent
	refs   map[meta.ChunkID]uint32
	slots  map[meta.Inode]uint32 // used ones in the table of slots
	files  map[uint8]uint64
	dirs   map[uint8]uint64
	totals map[meta.Inode]meta.Stats // contribution of a name of each node
	counts meta.Counts
}

func (c *checker) failf(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func (c *checker) equal(got, want any, format string, args ...any) {
	if got != want {
		c.failf("%s is %+v, want %+v", fmt.Sprintf(format, args...), got, want)
	}
}

func (c *checker) checkEdges() {
	for parent, list := range c.st.Edges.Scan() {
		var subdirs uint32
		for _, e := range list {
			n, ok := c.st.Nodes.Get(e.Child)
			if !ok {
				c.failf("name %q in %d leads to no node", e.Name, parent)
				continue
			}
			isDir := n.Type == meta.TypeDir
			c.equal(e.Dir, isDir, "Dir of name %q in %d", e.Name, parent)
			if !isDir {
				c.links[e.Child] = append(c.links[e.Child], meta.HardLink{Parent: parent, NameHash: meta.HashName(e.Name)})
				continue
			}
			subdirs++
			if other, twice := c.edges[e.Child]; twice {
				c.failf("directory %d has two names: %q and %q", e.Child, other.Name, e.Name)
			}
			e.Order = uint64(parent)
			c.edges[e.Child] = e
		}
		d, ok := c.st.Dirs.Get(parent)
		if !ok {
			c.failf("names are in %d, which is no directory", parent)
			continue
		}
		c.equal(d.Elements, uint32(len(list)), "Elements of %d", parent)
		c.equal(d.Subdirs, subdirs, "Subdirs of %d", parent)
	}
	for ino, d := range c.st.Dirs.Scan(0) {
		e := c.edges[ino]
		c.equal(d.Parent, meta.Inode(e.Order), "Parent of directory %d", ino)
		c.equal(d.Name, string(e.Name), "Name of directory %d", ino)
		if ino != meta.Root && d.Parent == 0 {
			c.failf("directory %d has no name", ino)
		}
		if n, _ := c.st.Nodes.Get(ino); n.Type != meta.TypeDir {
			c.failf("Dir record of %d, which is no directory", ino)
		}
		if d.Elements > 0 && len(c.st.Edges.List(ino)) == 0 {
			c.failf("directory %d has no names but Elements", ino)
		}
	}
}

func (c *checker) checkSlots() {
	for slot, id := range c.st.Slots.Scan(meta.Slot{}) {
		n, _ := c.st.Nodes.Get(slot.Inode)
		if id == 0 || slot.Index == 0 || slot.Index >= n.Slots || !n.Type.IsFile() {
			c.failf("slot %v holds chunk %d, its node is %+v", slot, id, n)
		}
		c.refs[id]++
		c.slots[slot.Inode]++
	}
}

func (c *checker) checkNodes() {
	for ino, n := range c.st.Nodes.Scan(0) {
		c.counts.All++
		c.checkLinks(ino, &n)
		c.checkFlags(ino, &n)
		_, isLink := c.st.Symlinks.Get(ino)
		c.equal(isLink, n.Type == meta.TypeSymlink, "%d having a target", ino)
		_, isDir := c.st.Dirs.Get(ino)
		c.equal(isDir, n.Type == meta.TypeDir, "%d having a Dir record", ino)
		d, _ := c.st.Detached.Get(ino)
		switch n.Type {
		case meta.TypeDir:
			c.counts.Dirs++
			c.dirs[n.Class]++
			continue
		case meta.TypeTrash:
			c.counts.Trash++
			c.counts.TrashBytes += n.Length
			c.equal(d.Kind, n.Type, "kind of %d", ino)
		case meta.TypeSustained:
			c.counts.Sustained++
			c.counts.SustainedBytes += n.Length
			c.equal(d.Kind, n.Type, "kind of %d", ino)
		default:
			c.equal(d, meta.Detached{}, "path of %d", ino)
		}
		if n.Type.IsFile() {
			c.checkFile(ino, &n)
		}
	}
	c.equal(c.st.Scalars.Nodes, c.counts, "counts of nodes")
}

func (c *checker) checkLinks(ino meta.Inode, n *meta.Node) {
	links := c.links[ino]
	c.equal(n.Links, uint32(len(links)), "Links of %d", ino)
	hard, several := c.st.Hard.Get(ino)
	c.equal(several, len(links) > 1, "%d having a list of names", ino)
	first := meta.HardLink{Parent: n.Parent, NameHash: n.NameHash}
	switch {
	case several:
		c.equal(hard[0], first, "first of the names of %d", ino)
		c.equal(fmt.Sprint(sorted(hard)), fmt.Sprint(sorted(links)), "names of %d", ino)
	case len(links) == 1:
		c.equal(links[0], first, "name of %d", ino)
	default:
		c.equal(first, meta.HardLink{}, "name of %d", ino)
		if n.Type != meta.TypeDir && n.Type != meta.TypeTrash && n.Type != meta.TypeSustained {
			c.failf("%d has no name", ino)
		}
	}
}

// sorted returns links in an order that does not matter, to compare them.
func sorted(links []meta.HardLink) []meta.HardLink {
	return slices.SortedFunc(slices.Values(links), func(a, b meta.HardLink) int {
		if a.Parent != b.Parent {
			return int(a.Parent) - int(b.Parent)
		}
		return int(a.NameHash) - int(b.NameHash)
	})
}

func (c *checker) checkFlags(ino meta.Inode, n *meta.Node) {
	var flags uint8
	if len(c.st.Xattrs.Names(ino)) > 0 {
		flags |= meta.HasXattr
	}
	if _, ok := c.st.ACLs.Get(meta.ACLKey{Inode: ino, Type: meta.ACLAccess}); ok {
		flags |= meta.HasAccessACL
	}
	if _, ok := c.st.ACLs.Get(meta.ACLKey{Inode: ino, Type: meta.ACLDefault}); ok {
		flags |= meta.HasDefaultACL
	}
	if hasData := n.Type == meta.TypeDir || n.Type.IsFile(); n.Flags&meta.TrashSeconds != 0 {
		if !hasData || n.TrashHours != meta.TrashHoursOf(n.Rdev) {
			c.failf("%d of type %d has %d s and %d h of trash time", ino, n.Type, n.Rdev, n.TrashHours)
		}
	} else if hasData && n.Rdev != 0 {
		c.failf("%d has device number %d", ino, n.Rdev)
	}
	c.equal(n.Flags&^(meta.TrashSeconds|meta.KeepMode), flags, "Flags of %d", ino)
	if n.Mode > 0o7777 {
		c.failf("Mode of %d is %o", ino, n.Mode)
	}
	if n.Class == 0 && (n.Type == meta.TypeDir || n.Type.IsFile()) {
		c.failf("%d has no class", ino)
	}
}

func (c *checker) checkFile(ino meta.Inode, n *meta.Node) {
	c.counts.Files++
	c.files[n.Class]++
	used := c.slots[ino]
	if n.Chunk0 != 0 {
		used++
		c.refs[n.Chunk0]++
		if n.Slots == 0 {
			c.failf("%d has a first chunk but no table", ino)
		}
	}
	c.equal(n.Used, used, "Used of %d", ino)
}

// checkTotals adds up every directory from below.
func (c *checker) checkTotals() {
	sums := map[meta.Inode]meta.Stats{}
	add := func(dir meta.Inode, s meta.Stats) {
		for steps := 0; dir != 0; steps++ {
			if steps > len(c.edges)+1 {
				c.failf("directory %d is below itself", dir)
				return
			}
			sum := sums[dir]
			sum.Add(&s)
			sums[dir] = sum
			dir = meta.Inode(c.edges[dir].Order)
		}
	}
	for ino, links := range c.links {
		n, _ := c.st.Nodes.Get(ino)
		for _, link := range links {
			add(link.Parent, c.contribution(ino, &n))
		}
	}
	for _, e := range c.edges {
		add(meta.Inode(e.Order), meta.Stats{Inodes: 1, Dirs: 1})
	}
	for ino, d := range c.st.Dirs.Scan(0) {
		c.equal(d.Stats, sums[ino], "Stats of directory %d", ino)
	}
}

// contribution is what a name of a node that is no directory adds.
func (c *checker) contribution(ino meta.Inode, n *meta.Node) meta.Stats {
	s := meta.Stats{Inodes: 1}
	if target, ok := c.st.Symlinks.Get(ino); ok {
		s.Length = uint64(len(target))
	}
	if !n.Type.IsFile() {
		return s
	}
	s.Files, s.Chunks, s.Length = 1, n.Used, n.Length
	var last, tail uint64
	if n.Length > 0 {
		last = uint64(uint32((n.Length - 1) / meta.ChunkSize))
		tail = ((n.Length-1)%meta.ChunkSize/meta.BlockSize + 1) * meta.BlockSize
	}
	count := func(index uint32, id meta.ChunkID) {
		switch {
		case id == 0 || uint64(index) > last:
		case uint64(index) == last:
			s.Size += tail + meta.ChunkHeader
		default:
			s.Size += meta.ChunkSize + meta.ChunkHeader
		}
	}
	count(0, n.Chunk0)
	for slot, id := range c.st.Slots.Scan(meta.Slot{Inode: ino}) {
		if slot.Inode != ino {
			break
		}
		count(slot.Index, id)
	}
	s.RealSize = meta.RealSize(s.Size, n.Ratio)
	return s
}

func (c *checker) checkChunks() {
	for id, chunk := range c.st.Chunks.Scan(0) {
		c.equal(chunk.Files, c.refs[id], "Files of chunk %d", id)
		if id >= c.st.NextChunk {
			c.failf("chunk %d is not below the next id %d", id, c.st.NextChunk)
		}
	}
}

func (c *checker) checkClasses() {
	for id, class := range c.st.Classes.Scan(0) {
		c.equal(class.Files, c.files[id], "Files of class %d", id)
		c.equal(class.Directories, c.dirs[id], "Directories of class %d", id)
		delete(c.files, id)
		delete(c.dirs, id)
		if uint16(id) >= c.st.ClassesUsed {
			c.failf("class %d is not below ClassesUsed %d", id, c.st.ClassesUsed)
		}
	}
	if len(c.files)+len(c.dirs) > 0 {
		c.failf("nodes of classes that do not exist: files %v, directories %v", c.files, c.dirs)
	}
}

func (c *checker) checkOthers() {
	open := map[meta.SessionID]uint32{}
	for id := range c.st.Open.Scan() {
		open[id]++
	}
	for id, s := range c.st.Sessions.Scan(0) {
		c.equal(s.Open, open[id], "Open of session %d", id)
	}
	for ino := range c.st.Quotas.Scan(0) {
		if n, _ := c.st.Nodes.Get(ino); n.Type != meta.TypeDir {
			c.failf("quota of %d, which is no directory", ino)
		}
	}
	for ino, list := range c.st.Flocks.Scan(0) {
		for _, l := range list {
			if len(list) == 0 || l.Write && len(list) > 1 {
				c.failf("locks of %d: %+v", ino, list)
			}
		}
	}
	for ino, list := range c.st.Plocks.Scan(0) {
		for _, o := range list {
			if len(o.Ranges) == 0 {
				c.failf("locks of %d: %+v", ino, list)
			}
		}
	}
	waiting := map[meta.Inode]bool{}
	for f := range c.st.Inodes.ScanFree() {
		if _, used := c.st.Nodes.Get(f.Inode); used || waiting[f.Inode] {
			c.failf("inode %d waits in the free queue but is in use", f.Inode)
		}
		waiting[f.Inode] = true
	}
}
