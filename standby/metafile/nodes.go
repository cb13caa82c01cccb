package metafile

import (
	"encoding/binary"
	"iter"

	"mfsstandby/changelog/meta"
)

// NODE 1.4: max inode:32 count:32, records, a zero byte. Record:
//
//	type:8 inode:32 class:8 eattr:8 winattr:8 mode:16 uid:32 gid:32
//	atime:32 mtime:32 ctime:32 trash hours:16
//	device: rdev:32
//	symlink: length:32 target
//	file: length:64 chunks:32 chunks*[chunk:64]
//
// A chunk of 0 is a hole. Writers leave trailing holes out.
const (
	nodeFixed   = 31 // common part without the type
	slotsPiece  = 65536
	pathTooLong = "... path too long ...\x00" // what mfsmaster puts for a longer target
)

// nodeRecord is a node as it stands in a file. Slots chunk ids follow a file's
// record, pathLen bytes that of a symlink.
type nodeRecord struct {
	inode   meta.Inode
	node    meta.Node
	pathLen uint32
}

// readNode reads the fixed part of the next record; false is the end.
func (in *input) readNode(rec *nodeRecord) bool {
	kind := meta.Type(in.u8())
	if kind == meta.TypeNone {
		return false
	}
	size := nodeFixed
	switch {
	case kind.IsFile():
		size += 12
	case kind.IsDevice(), kind == meta.TypeSymlink:
		size += 4
	case kind > meta.TypeSustained:
		in.failf("unknown type of node %d", kind)
		return false
	}
	b := in.next(size)
	if b == nil {
		return false
	}
	rec.inode = meta.Inode(binary.BigEndian.Uint32(b))
	rec.pathLen = 0
	rec.node = meta.Node{
		Type: kind, Class: b[4], Eattr: b[5], Winattr: b[6],
		Mode: binary.BigEndian.Uint16(b[7:]),
		UID:  binary.BigEndian.Uint32(b[9:]), GID: binary.BigEndian.Uint32(b[13:]),
		Atime:      meta.Time(binary.BigEndian.Uint32(b[17:])),
		Mtime:      meta.Time(binary.BigEndian.Uint32(b[21:])),
		Ctime:      meta.Time(binary.BigEndian.Uint32(b[25:])),
		TrashHours: binary.BigEndian.Uint16(b[29:]),
	}
	switch {
	case kind.IsFile():
		rec.node.Length = binary.BigEndian.Uint64(b[31:])
		rec.node.Slots = binary.BigEndian.Uint32(b[39:])
	case kind.IsDevice():
		rec.node.Rdev = binary.BigEndian.Uint32(b[31:])
	case kind == meta.TypeSymlink:
		rec.pathLen = binary.BigEndian.Uint32(b[31:])
	}
	return true
}

// eachSlot reads the chunk ids of a file and calls use for each, holes too.
func (in *input) eachSlot(rec *nodeRecord, use func(index uint32, id meta.ChunkID)) error {
	if rec.node.Slots > meta.MaxIndex+1 {
		return in.failf("node %d: %d chunks are more than a file can have", rec.inode, rec.node.Slots)
	}
	for i := uint32(0); i < rec.node.Slots; {
		k := min(rec.node.Slots-i, 4096)
		b := in.next(int(8 * k))
		if b == nil {
			return in.err
		}
		for ; len(b) > 0; b = b[8:] {
			use(i, meta.ChunkID(binary.BigEndian.Uint64(b)))
			i++
		}
	}
	return nil
}

// target reads the target of a symlink, as mfsmaster takes it.
func (in *input) target(rec *nodeRecord) (string, error) {
	if rec.pathLen > meta.MaxSymlink {
		return pathTooLong, in.skip(uint64(rec.pathLen))
	}
	return string(in.next(int(rec.pathLen))), in.err
}

func (l *loader) nodes() error {
	l.st.MaxInode = meta.Inode(l.in.u32())
	l.in.u32() // number of nodes: only a hint, not checked by mfsmaster either
	var rec nodeRecord
	use := func(i uint32, id meta.ChunkID) { l.slot(&rec, i, id) }
	for {
		l.begin()
		if !l.in.readNode(&rec) {
			return l.in.err
		}
		if err := l.checkNode(&rec); err != nil {
			return err
		}
		n, counts := &rec.node, &l.st.Scalars.Nodes
		l.class[n.Class].use(n.Type)
		switch {
		case n.Type.IsFile():
			counts.Files++
			if err := l.in.eachSlot(&rec, use); err != nil {
				return err
			}
		case n.Type == meta.TypeDir:
			counts.Dirs++
			l.dirs.add(rec.inode)
		case n.Type == meta.TypeSymlink:
			path, err := l.in.target(&rec)
			if err != nil {
				return err
			}
			l.st.Symlinks.Insert(rec.inode, path)
		}
		counts.All++
		l.st.Nodes.Insert(rec.inode, rec.node)
		l.st.Inodes.Reserve(rec.inode)
	}
}

// checkNode refuses what cannot be in a State and drops what mfsmaster drops.
func (l *loader) checkNode(rec *nodeRecord) error {
	n := &rec.node
	if rec.inode == 0 {
		return l.in.failf("inode 0")
	}
	if !l.nodeIDs.add(uint64(rec.inode)) {
		return l.in.failf("node %d comes twice", rec.inode)
	}
	if !n.Type.IsFile() && n.Type != meta.TypeDir {
		n.Class = 0
		return nil
	}
	if n.Class == 0 {
		return l.in.failf("node %d has storage class 0", rec.inode)
	}
	return nil
}

// slot stores one chunk of the file that is being read.
func (l *loader) slot(rec *nodeRecord, i uint32, id meta.ChunkID) {
	if id == 0 {
		return
	}
	rec.node.Used++
	if i == 0 {
		rec.node.Chunk0 = id
	} else {
		l.st.Slots.Insert(meta.Slot{Inode: rec.inode, Index: i}, id)
		if l.sinceRun++; l.sinceRun >= recordsPerRoom {
			l.makeRoom()
		}
	}
	if !l.chunksIn {
		l.refs.add(id)
	} else if c, ok := l.st.Chunks.Edit(id); ok {
		c.Files++
	}
}

// merged gives the records of a table to a scan of another one that is in the
// same order.
type merged[K, V any] struct {
	next func() (K, V, bool)
	key  K
	val  V
	ok   bool
}

func merge[K, V any](seq iter.Seq2[K, V]) (*merged[K, V], func()) {
	next, stop := iter.Pull2(seq)
	m := &merged[K, V]{next: next}
	m.advance()
	return m, stop
}

func (m *merged[K, V]) advance() { m.key, m.val, m.ok = m.next() }

func writeNodes(o *output, st *meta.State) error {
	o.u32(uint32(st.MaxInode))
	o.u32(uint32(st.Scalars.Nodes.All))
	o.end()
	paths, stop := merge(st.Symlinks.Scan(0))
	defer stop()
	slots, stop := merge(st.Slots.Scan(meta.Slot{}))
	defer stop()
	var ids []meta.ChunkID
	count := uint64(0)
	for ino, n := range st.Nodes.Scan(0) {
		count++
		o.node(ino, &n)
		switch {
		case n.Type.IsFile():
			ids = fileSlots(ids[:0], ino, &n, slots)
			o.fileTail(n.Length, ids)
		case n.Type == meta.TypeSymlink:
			for paths.ok && paths.key < ino {
				paths.advance()
			}
			if !paths.ok || paths.key != ino {
				return o.failf("symlink %d has no target", ino)
			}
			o.u32(uint32(len(paths.val)))
			o.end()
			o.bytes(paths.val)
			o.end()
		case n.Type.IsDevice():
			o.u32(n.Rdev)
			o.end()
		default:
			o.end()
		}
		if o.err != nil {
			return o.err
		}
	}
	if count != st.Scalars.Nodes.All {
		return o.failf("the image holds %d nodes but counts %d", count, st.Scalars.Nodes.All)
	}
	o.u8(0)
	o.end()
	return o.err
}

func (o *output) node(ino meta.Inode, n *meta.Node) {
	o.u8(uint8(n.Type))
	o.u32(uint32(ino))
	o.u8(n.Class)
	o.u8(n.Eattr)
	o.u8(n.Winattr)
	o.u16(n.Mode)
	o.u32(n.UID)
	o.u32(n.GID)
	o.u32(uint32(n.Atime))
	o.u32(uint32(n.Mtime))
	o.u32(uint32(n.Ctime))
	o.u16(n.TrashHours)
}

// fileSlots collects the chunks of a file without trailing holes.
func fileSlots(ids []meta.ChunkID, ino meta.Inode, n *meta.Node, slots *merged[meta.Slot, meta.ChunkID]) []meta.ChunkID {
	if n.Chunk0 != 0 {
		ids = append(ids, n.Chunk0)
	}
	for slots.ok && slots.key.Inode < ino {
		slots.advance()
	}
	for ; slots.ok && slots.key.Inode == ino; slots.advance() {
		for uint32(len(ids)) < slots.key.Index {
			ids = append(ids, 0)
		}
		ids = append(ids, slots.val)
	}
	return ids
}

// fileTail ends a file's record. Lists are written in pieces, which only the
// checksum shows.
func (o *output) fileTail(length uint64, ids []meta.ChunkID) {
	o.u64(length)
	o.u32(uint32(len(ids)))
	o.end()
	for len(ids) > 0 {
		piece := ids[:min(len(ids), slotsPiece)]
		for _, id := range piece {
			o.u64(uint64(id))
		}
		o.end()
		ids = ids[len(piece):]
	}
}
