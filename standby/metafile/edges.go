package metafile

import (
	"encoding/binary"
	"fmt"
	"slices"

	"mfsstandby/changelog/meta"
)

// EDGE 1.1: next edge id:64, records, a zero record. Record:
//
//	parent:32 child:32 edge id:64 length:16 name
//
// Parent 0 is the trash or sustained, by the child's type; name is a path
// then. The edges of a directory stand together and in the order of its list;
// only those of the root may stand in several places.
//
// EDGE 1.0 has no ids, which is as if all were 0: the counter then is at its
// end, so that new edges get none either.
const (
	edgeFixed    = 18
	edgeFixedOld = 10
	edgeIDs      = 0x11 // first version with ids
)

// edgesHead reads the next edge id.
func (in *input) edgesHead() uint64 {
	if in.version < edgeIDs {
		return meta.EdgeIDMax
	}
	return in.u64()
}

type edgeRecord struct {
	parent, child meta.Inode
	id            uint64
	name          []byte // valid until the next read
}

// readEdge reads the next record; false is the end.
func (in *input) readEdge(rec *edgeRecord) bool {
	size := edgeFixed
	if in.version < edgeIDs {
		size = edgeFixedOld
	}
	b := in.next(size)
	if b == nil {
		return false
	}
	rec.parent = meta.Inode(binary.BigEndian.Uint32(b))
	rec.child = meta.Inode(binary.BigEndian.Uint32(b[4:]))
	rec.id = 0
	if in.version >= edgeIDs {
		rec.id = binary.BigEndian.Uint64(b[8:])
	}
	n := int(binary.BigEndian.Uint16(b[size-2:]))
	if rec.parent == 0 && rec.child == 0 {
		return false
	}
	longest := meta.MaxName
	if rec.parent == 0 {
		longest = meta.MaxPath
	}
	rec.name = in.tail(n, longest)
	return rec.name != nil
}

// edgeLoader is the state of reading section EDGE.
type edgeLoader struct {
	*loader
	root, other names // of the root and of the current other directory
	current     int32 // index of that directory, -1 before the first
}

func (l *loader) edges() error {
	l.st.NextEdge = l.in.edgesHead()
	e := edgeLoader{loader: l, current: -1}
	var rec edgeRecord
	for {
		l.begin()
		if !l.in.readEdge(&rec) {
			return l.in.err
		}
		if len(rec.name) == 0 {
			return l.in.failf("edge %d -> %d has an empty name", rec.parent, rec.child)
		}
		var err error
		if rec.parent == 0 {
			err = l.detachedEdge(&rec)
		} else {
			err = e.edge(&rec)
		}
		if err != nil {
			return err
		}
	}
}

// detachedEdge stores a file in the trash or sustained.
func (l *loader) detachedEdge(rec *edgeRecord) error {
	n, ok := l.st.Nodes.Get(rec.child)
	if !ok {
		return l.in.failf("entry %q of trash or sustained leads to inode %d, which does not exist", rec.name, rec.child)
	}
	counts := &l.st.Scalars.Nodes
	switch n.Type {
	case meta.TypeTrash:
		counts.Trash++
		counts.TrashBytes += n.Length
	case meta.TypeSustained:
		counts.Sustained++
		counts.SustainedBytes += n.Length
	default:
		return l.in.failf("inode %d (%q) has no directory, but is neither in trash nor sustained (type %d)", rec.child, rec.name, n.Type)
	}
	if !l.detached.Add(uint64(rec.child)) {
		return l.in.failf("inode %d is twice in trash or sustained", rec.child)
	}
	l.attached++
	d := meta.Detached{Kind: n.Type, EdgeID: rec.id, Path: string(rec.name)}
	if l.modern {
		l.st.Detached.InsertTail(rec.child, d)
	} else { // in mfsmaster before 4.x each goes to the head: the order in a bucket turns round
		l.st.Detached.InsertHead(rec.child, d)
	}
	return nil
}

// edge stores a name in a directory.
func (e *edgeLoader) edge(rec *edgeRecord) error {
	parent, err := e.enterDir(rec)
	if err != nil {
		return err
	}
	n, ok := e.st.Nodes.Edit(rec.child)
	if !ok {
		return e.failEdge(rec, "which does not exist")
	}
	if n.Type == meta.TypeTrash || n.Type == meta.TypeSustained {
		return e.failEdge(rec, fmt.Sprintf("which belongs to no directory (type %d)", n.Type))
	}
	hash := meta.HashName(rec.name)
	known := &e.other
	if rec.parent == meta.Root {
		known = &e.root
	}
	if known.add(hash) {
		if _, twice := e.st.Edges.Get(rec.parent, rec.name); twice {
			return e.failEdge(rec, "but the directory has that name already")
		}
	}
	dir := n.Type == meta.TypeDir
	e.st.Edges.InsertTail(rec.parent, rec.name, rec.child, dir, rec.id)
	up := &e.dirs.nodes[parent]
	up.elements++
	if dir {
		return e.subdir(rec, parent)
	}
	e.link(rec, n, hash)
	var symlink string
	if n.Type == meta.TypeSymlink {
		symlink, _ = e.st.Symlinks.Get(rec.child)
	}
	n.Ratio = e.class[n.Class].ratio
	stats := fileStats(e.st, rec.child, n, uint64(len(symlink)))
	up.stats.Add(&stats)
	return nil
}

// enterDir returns the index of the directory of an edge.
func (e *edgeLoader) enterDir(rec *edgeRecord) (int32, error) {
	if e.current >= 0 && e.dirs.nodes[e.current].inode == rec.parent {
		return e.current, nil
	}
	i, ok := e.dirs.index[rec.parent]
	switch {
	case !ok && e.nodeIDs.Has(uint64(rec.parent)):
		return 0, e.in.failf("edge %d/%q: the parent is no directory", rec.parent, rec.name)
	case !ok:
		return 0, e.in.failf("edge %d/%q: the parent does not exist", rec.parent, rec.name)
	case rec.parent == meta.Root:
		return i, nil
	case e.dirs.nodes[i].elements > 0:
		return 0, e.in.failf("edge %d/%q: the names of directory %d do not stand together (parent node sequence error)", rec.parent, rec.name, rec.parent)
	}
	e.current = i
	e.other.reset()
	return i, nil
}

func (e *edgeLoader) failEdge(rec *edgeRecord, what string) error {
	return e.in.failf("edge %d/%q leads to inode %d, %s", rec.parent, rec.name, rec.child, what)
}

// subdir puts a directory into its parent. Its only name is in its meta.Dir,
// not in its node.
func (e *edgeLoader) subdir(rec *edgeRecord, parent int32) error {
	d := &e.dirs.nodes[e.dirs.index[rec.child]]
	switch {
	case rec.child == meta.Root:
		return e.failEdge(rec, "the root: a directory would be its own ancestor")
	case d.parent >= 0:
		return e.failEdge(rec, fmt.Sprintf("a directory that is in directory %d already", e.dirs.nodes[d.parent].inode))
	}
	d.parent, d.name = parent, string(rec.name)
	e.dirs.nodes[parent].subdirs++
	e.attached++
	return nil
}

// link counts a name of a non-directory. The newest is the first of its names,
// as in mfsmaster.
func (e *edgeLoader) link(rec *edgeRecord, n *meta.Node, hash uint32) {
	switch n.Links {
	case 0:
		e.attached++
	case 1:
		e.st.Hard.Insert(rec.child, []meta.HardLink{{Parent: rec.parent, NameHash: hash}, {Parent: n.Parent, NameHash: n.NameHash}})
	default:
		if list, ok := e.st.Hard.Edit(rec.child); ok {
			*list = slices.Insert(*list, 0, meta.HardLink{Parent: rec.parent, NameHash: hash})
		}
	}
	n.Links++
	n.Parent, n.NameHash = rec.parent, hash
}

func writeEdges(o *output, st *meta.State) error {
	o.u64(st.NextEdge)
	o.end()
	for parent, list := range st.Edges.Scan() {
		for i := range list {
			e := &list[i]
			o.edge(parent, e.Child, e.ID, len(e.Name))
			o.buf = append(o.buf, e.Name...)
			o.end()
		}
		if o.err != nil {
			return o.err
		}
	}
	o.buckets(st, meta.TypeTrash, meta.TrashBuckets)
	o.buckets(st, meta.TypeSustained, meta.SustainedBuckets)
	o.zeros(edgeFixed)
	o.end()
	return o.err
}

func (o *output) edge(parent, child meta.Inode, id uint64, nameLen int) {
	o.u32(uint32(parent))
	o.u32(uint32(child))
	o.u64(id)
	o.u16(uint16(nameLen))
}

// buckets writes the trash or the sustained files.
func (o *output) buckets(st *meta.State, kind meta.Type, buckets uint32) {
	for b := range buckets {
		for _, ino := range st.Detached.Bucket(kind, b) {
			d, ok := st.Detached.Get(ino)
			if !ok {
				o.failf("inode %d is in bucket %d of type %d, but has no entry", ino, b, kind)
				return
			}
			o.edge(0, ino, d.EdgeID, len(d.Path))
			o.bytes(d.Path)
			o.end()
		}
	}
}

func dumpEdges(d *dumper) error {
	if next := d.in.edgesHead(); d.in.version >= edgeIDs {
		d.t.hex("# nextedgeid: ", next, 16)
		d.endLine()
	}
	var rec edgeRecord
	for first := true; first || d.endLine(); first = false {
		d.in.begin()
		if !d.in.readEdge(&rec) {
			break
		}
		if rec.parent == 0 {
			d.t.str("EDGE|p:", "      NULL")
		} else {
			d.t.num("EDGE|p:", uint64(rec.parent), 10)
		}
		d.t.num("|c:", uint64(rec.child), 10)
		d.t.hex("|i:0x", rec.id, 16)
		d.t.raw("|n:", rec.name)
	}
	return d.in.err
}
