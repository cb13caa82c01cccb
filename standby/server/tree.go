package server

import (
	"slices"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// treeHandlers are the requests about a node or about all below it.
func treeHandlers() map[wire.Type]handler {
	return map[wire.Type]handler{
		wire.FuseGetDirStats:  {states: registered, serve: (*conn).dirStats},
		wire.FuseGetTrashTime: {states: registered, serve: func(c *conn) error { return c.tree(wire.FuseGetTrashTime) }},
		wire.FuseGetClass:     {states: registered, serve: func(c *conn) error { return c.tree(wire.FuseGetClass) }},
		wire.FuseGetEattr:     {states: registered, serve: func(c *conn) error { return c.tree(wire.FuseGetEattr) }},
		wire.FuseArchCtl:      {states: registered, serve: (*conn).archCtl},
	}
}

func (c *conn) dirStats() error {
	var p wire.InodeRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	ino, n, ok := c.asNobody(0, 0).Find(c.st, p.Inode, false)
	switch {
	case !ok:
		return c.status(wire.FuseGetDirStats, p.MsgID, meta.ENOENT)
	case n.Type != meta.TypeDir && !n.Type.IsFile():
		return c.status(wire.FuseGetDirStats, p.MsgID, meta.EPERM)
	}
	answer := wire.DirStats{MsgID: p.MsgID, Short: c.state == tools, Stats: changelog.StatsOf(c.st, ino, &n)}
	answer.Append(&c.out)
	return nil
}

// inlineNodes is the size of a tree that is walked under the image's lock.
const inlineNodes = 500

// tree answers with values of a node or of a whole tree.
func (c *conn) tree(t wire.Type) error {
	var p wire.TreeRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	ino, n, ok := c.asNobody(0, 0).Find(c.st, p.Inode, false)
	switch {
	case p.Mode > 1:
		return c.status(t, p.MsgID, meta.EINVAL)
	case !ok:
		return c.status(t, p.MsgID, meta.ENOENT)
	case t != wire.FuseGetEattr && n.Type != meta.TypeDir && !n.Type.IsFile():
		return c.status(t, p.MsgID, meta.EPERM)
	}
	recursive := p.Mode == 1 && n.Type == meta.TypeDir
	client := c.release
	answer := func(st *meta.State, e *wire.Encoder) meta.Status {
		switch t {
		case wire.FuseGetTrashTime:
			appendTrashTimes(e, p.MsgID, countTree(st, ino, recursive, trashTimeOf))
		case wire.FuseGetClass:
			appendClasses(e, st, p.MsgID, client, countTree(st, ino, recursive, classOf))
		default:
			appendEattrs(e, p.MsgID, client, countTree(st, ino, recursive, eattrOf))
		}
		return meta.OK
	}
	if recursive && c.large(ino) {
		return c.later(t, p.MsgID, answer)
	}
	answer(c.st, &c.out)
	return nil
}

// large tells whether a tree is too large to be walked under the image's lock.
func (c *conn) large(ino meta.Inode) bool {
	d, _ := c.st.Dirs.Get(ino)
	return d.Stats.Inodes > inlineNodes
}

// tally counts nodes by a value: files, and directories.
type tally struct{ files, dirs map[uint32]uint32 }

// valueOf returns the value of a node, and whether the node counts as a file.
type valueOf func(n *meta.Node) (value uint32, counts bool)

func trashTimeOf(n *meta.Node) (uint32, bool) { return uint32(n.TrashHours) * 3600, hasData(n) }
func classOf(n *meta.Node) (uint32, bool)     { return uint32(n.Class), hasData(n) }

// eattrOf leaves out what means something for directories only.
func eattrOf(n *meta.Node) (uint32, bool) {
	if n.Type == meta.TypeDir {
		return uint32(n.Eattr), true
	}
	return uint32(n.Eattr &^ meta.EattrNoECache), true
}

func hasData(n *meta.Node) bool { return n.Type == meta.TypeDir || n.Type.IsFile() }

// countTree counts a node, or all of a tree, each node once per name.
func countTree(st *meta.State, top meta.Inode, recursive bool, value valueOf) tally {
	t := tally{map[uint32]uint32{}, map[uint32]uint32{}}
	walkTree(st, top, recursive, func(_ meta.Inode, n *meta.Node) {
		v, counts := value(n)
		switch {
		case !counts:
		case n.Type == meta.TypeDir:
			t.dirs[v]++
		default:
			t.files[v]++
		}
	})
	return t
}

// walkTree visits a node, or all of a tree, in no order.
func walkTree(st *meta.State, top meta.Inode, recursive bool, visit func(meta.Inode, *meta.Node)) {
	fast, isFast := st.Edges.(fastEdges)
	var edges []meta.Edge
	todo := []meta.Inode{top}
	for len(todo) > 0 && st.Err() == nil {
		ino := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		n, ok := st.Nodes.Get(ino)
		if !ok {
			continue
		}
		visit(ino, &n)
		if !recursive || n.Type != meta.TypeDir {
			continue
		}
		if isFast {
			edges = fast.AppendList(edges[:0], ino)
		} else {
			edges = st.Edges.List(ino)
		}
		for i := range edges {
			todo = append(todo, edges[i].Child)
		}
	}
}

// sorted returns the values of a tally in order.
func sorted(counts map[uint32]uint32) []uint32 {
	list := make([]uint32, 0, len(counts))
	for v := range counts {
		list = append(list, v)
	}
	slices.Sort(list)
	return list
}

func appendTrashTimes(e *wire.Encoder, id uint32, t tally) {
	answer := wire.TrashTimes{MsgID: id, Files: uint32(len(t.files)), Dirs: uint32(len(t.dirs))}
	answer.Begin(e)
	for _, counts := range []map[uint32]uint32{t.files, t.dirs} {
		for _, v := range sorted(counts) {
			answer.Add(e, v, counts[v])
		}
	}
	e.End()
}

// appendClasses answers with storage classes: predefined ones by number, others
// and since 4.x all by name, which clients know since 3.0.75.
func appendClasses(e *wire.Encoder, st *meta.State, id uint32, client wire.Release, t tally) {
	names := client >= wire.NewRelease(3, 0, 75)
	groups := []map[uint32]uint32{t.files, t.dirs}
	for _, counts := range groups {
		delete(counts, 0)
		for v := range counts {
			if v >= meta.FirstOwnClass && !names {
				delete(counts, v)
			}
		}
	}
	answer := wire.Groups{MsgID: id, Files: uint8(len(t.files)), Dirs: uint8(len(t.dirs))}
	answer.Begin(e, wire.FuseGetClass)
	for _, counts := range groups {
		for _, v := range sorted(counts) {
			if v < meta.FirstOwnClass && !(names && modern(st)) {
				answer.AddValue(e, uint8(v), counts[v])
				continue
			}
			class, _ := st.Classes.Get(uint8(v))
			answer.AddClass(e, []byte(class.Name), counts[v])
		}
	}
	e.End()
}

// appendEattrs answers with extra attributes. The master has one byte for the
// number of groups and leaves out the last of 256.
func appendEattrs(e *wire.Encoder, id uint32, client wire.Release, t tally) {
	known := uint32(0xFF)
	switch {
	case client < wire.NewRelease(3, 0, 30):
		known = 0x0F
	case client < wire.NewRelease(3, 0, 113):
		known = 0x1F
	}
	groups := []map[uint32]uint32{{}, {}}
	for i, counts := range []map[uint32]uint32{t.files, t.dirs} {
		for v, n := range counts {
			groups[i][v&known] += n
		}
		if len(groups[i]) > 255 {
			delete(groups[i], 255)
		}
	}
	answer := wire.Groups{MsgID: id, Files: uint8(len(groups[0])), Dirs: uint8(len(groups[1]))}
	answer.Begin(e, wire.FuseGetEattr)
	for _, counts := range groups {
		for _, v := range sorted(counts) {
			answer.AddValue(e, uint8(v), counts[v])
		}
	}
	e.End()
}

// archCtl answers how much of a tree is stored as its archive class says.
func (c *conn) archCtl() error {
	var p wire.ArchCtl
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	ino, n, ok := c.asNobody(0, 0).Find(c.st, p.Inode, false)
	switch {
	case p.Command != wire.ArchGet:
		return c.status(wire.FuseArchCtl, p.MsgID, meta.EROFS)
	case !ok:
		return c.status(wire.FuseArchCtl, p.MsgID, meta.ENOENT)
	case !hasData(&n):
		return c.status(wire.FuseArchCtl, p.MsgID, meta.EPERM)
	}
	answer := func(st *meta.State, e *wire.Encoder) meta.Status {
		r := wire.ArchReply{MsgID: p.MsgID}
		walkTree(st, ino, true, func(ino meta.Inode, n *meta.Node) { countArchived(st, ino, n, &r) })
		r.Append(e)
		return meta.OK
	}
	if n.Type == meta.TypeDir && c.large(ino) || n.Slots > inlineNodes {
		return c.later(wire.FuseArchCtl, p.MsgID, answer)
	}
	answer(c.st, &c.out)
	return nil
}

func countArchived(st *meta.State, ino meta.Inode, n *meta.Node, r *wire.ArchReply) {
	if !n.Type.IsFile() {
		return
	}
	var archived, kept uint64
	eachChunk(st, ino, n, func(_ uint32, id meta.ChunkID) {
		ch, ok := st.Chunks.Get(id)
		switch {
		case ok && ch.Flags&meta.ChunkArchive != 0:
			archived++
		case ok:
			kept++
		}
	})
	switch {
	case archived > 0 && kept > 0:
		r.MixedNodes++
	case kept > 0:
		r.KeptNodes++
	case archived > 0:
		r.ArchivedNodes++
	}
	r.Archived += archived
	r.Kept += kept
}

// eachChunk calls f for the slots of a file that hold a chunk. It stops when
// all have been seen, however many holes follow.
func eachChunk(st *meta.State, ino meta.Inode, n *meta.Node, f func(index uint32, id meta.ChunkID)) {
	left := n.Used
	for i := uint32(0); i < n.Slots && left > 0; i++ {
		if id := st.Slot(ino, n, i); id != 0 {
			f(i, id)
			left--
		}
	}
}
