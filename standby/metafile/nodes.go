package metafile

import (
	"encoding/binary"
	"fmt"
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

	// Of files before NODE 1.4.
	trash    uint32 // seconds
	sessions int    // that have it open; their ids follow the chunks
}

// readNode reads the fixed part of the next record; false is the end.
func (in *input) readNode(rec *nodeRecord) bool {
	if in.version < nodeHours {
		return in.readOldNode(rec)
	}
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
	head := l.in.nodesHead()
	if l.in.format >= formatCurrent {
		l.st.MaxInode = head.maxInode
	}
	l.writtenBy()
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
			if err := l.openers(&rec); err != nil {
				return err
			}
		case n.Type == meta.TypeDir:
			counts.Dirs++
			l.dirs.add(rec.inode)
			l.st.Dirs.Insert(rec.inode, meta.Dir{}) // filled in by storeDirs
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
	if !l.nodeIDs.Add(uint64(rec.inode)) {
		return l.in.failf("node %d comes twice", rec.inode)
	}
	if !n.Type.IsFile() && n.Type != meta.TypeDir {
		n.Class = 0
		return nil
	}
	if n.Class == 0 {
		return l.in.failf("node %d has storage class 0", rec.inode)
	}
	if l.old {
		n.SetTrash(rec.trash)
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
	o.users.reset()
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
			if o.modern {
				o.users.add(ids, n.Class)
			}
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

// nodeLetters are mfsmetadump's letters for the types.
const nodeLetters = "?-DLFBCSTR"

func dumpNodes(d *dumper) error {
	head := d.in.nodesHead()
	if head.has {
		d.t.num("# maxinode: ", uint64(head.maxInode), 0)
		d.t.num(" ; hashelements: ", uint64(head.count), 0)
		d.endLine()
	}
	var rec nodeRecord
	for first := true; first || d.endLine(); first = false {
		d.in.begin()
		if !d.in.readNode(&rec) {
			break
		}
		d.node(&rec)
		switch n := &rec.node; {
		case n.Type.IsDevice():
			d.t.num("|d:", uint64(n.Rdev>>16), 5)
			d.t.num(",", uint64(n.Rdev&0xFFFF), 5)
		case n.Type == meta.TypeSymlink:
			path, err := d.in.target(&rec)
			if err != nil {
				return err
			}
			d.t.str("|p:", path)
		case n.Type.IsFile():
			d.t.num("|l:", n.Length, 20)
			if err := d.slots(&rec); err != nil {
				return err
			}
			if d.in.version < nodeHours {
				if err := d.openers(&rec); err != nil {
					return err
				}
			}
		}
	}
	return d.in.err
}

func (d *dumper) node(rec *nodeRecord) {
	n := &rec.node
	d.t.letter("NODE|k:", true, nodeLetters[n.Type], 0)
	d.t.num("|i:", uint64(rec.inode), 10)
	d.t.num("|#:", uint64(n.Class), 0)
	d.t.hex("|e:0x", uint64(n.Eattr), 2)
	if d.in.version >= nodeHours {
		d.t.hex("|w:0x", uint64(n.Winattr), 1)
	}
	d.t.oct("|m:0", uint64(n.Mode), 4)
	d.t.num("|u:", uint64(n.UID), 10)
	d.t.num("|g:", uint64(n.GID), 10)
	d.t.num("|a:", uint64(n.Atime), 10)
	d.t.num(",m:", uint64(n.Mtime), 10)
	d.t.num(",c:", uint64(n.Ctime), 10)
	if d.in.version < nodeHours {
		d.t.num("|t:", uint64(rec.trash), 10)
		d.t.str("s", "")
		return
	}
	d.t.num("|t:", uint64(n.TrashHours), 5)
	d.t.str("h", "")
}

// slots prints the chunks of a file, in pieces if there are many.
func (d *dumper) slots(rec *nodeRecord) error {
	open := "|c:("
	if rec.node.Slots == 0 {
		d.t.str(open, "")
	}
	err := d.in.eachSlot(rec, func(_ uint32, id meta.ChunkID) {
		if id == 0 {
			d.t.str(open, "N")
		} else {
			d.t.hex(open, uint64(id), 16)
		}
		open = ","
		if len(d.t) >= flushSize {
			d.keep(d.flush())
		}
	})
	d.t.str(")", "")
	return err
}

func compareNodes(c *comparer) error {
	head := c.in.nodesHead()
	if head.has {
		c.scalar("NODE", "max inode", uint64(head.maxInode), uint64(c.st.MaxInode))
	}
	if c.in.version >= nodeCounted {
		c.scalar("NODE", "count", uint64(head.count), c.st.Scalars.Nodes.All)
	}
	var rec nodeRecord
	for {
		c.in.begin()
		if !c.in.readNode(&rec) {
			break
		}
		c.nodeIDs.Add(uint64(rec.inode))
		image, ok := c.st.Nodes.Get(rec.inode)
		if !ok {
			c.missing("NODE", inodeKey(rec.inode), rec.node)
			image = meta.Node{Type: rec.node.Type}
		}
		if err := c.node(&rec, &image, ok); err != nil {
			return err
		}
	}
	for ino, n := range c.st.Nodes.Scan(0) {
		if !c.nodeIDs.Has(uint64(ino)) {
			c.extra("NODE", inodeKey(ino), ino, n)
		}
	}
	return c.in.err
}

// node compares one node, or only reads it if the State does not have it.
func (c *comparer) node(rec *nodeRecord, image *meta.Node, have bool) error {
	file := rec.node
	if !file.Type.IsFile() && file.Type != meta.TypeDir {
		file.Class = 0 // as mfsmaster loads it
	}
	stored := *image
	if stored.Flags&meta.TrashSeconds != 0 && c.in.version < nodeHours {
		file.Rdev = rec.trash
	}
	if !stored.Type.IsDevice() && c.in.version >= nodeHours {
		stored.Rdev = 0
	}
	stored.Flags, stored.Ratio, stored.Links, stored.Parent, stored.NameHash = 0, 0, 0, 0, 0
	stored.Slots, stored.Used, stored.Chunk0, file.Slots = 0, 0, 0, 0
	if have && file != stored {
		c.fields("NODE", inodeKey(rec.inode), rec.inode, file, stored)
	}
	switch {
	case rec.node.Type == meta.TypeSymlink:
		want, err := c.in.target(rec)
		if got, _ := c.st.Symlinks.Get(rec.inode); have && err == nil && got != want {
			c.slotDiffers(rec.inode, "Target", fmt.Sprintf("%q", want), fmt.Sprintf("%q", got))
		}
		return err
	case rec.node.Type.IsFile():
		if err := c.slots(rec, image, have); err != nil {
			return err
		}
		return c.openers(rec)
	}
	return nil
}

// slots compares the chunks of a file.
func (c *comparer) slots(rec *nodeRecord, image *meta.Node, have bool) error {
	used := uint32(0)
	equal := true
	err := c.in.eachSlot(rec, func(i uint32, id meta.ChunkID) {
		if id != 0 {
			used++
		}
		if !have {
			return
		}
		if got := c.st.Slot(rec.inode, image, i); got != id {
			equal = false
			c.slotDiffers(rec.inode, fmt.Sprintf("Chunk[%d]", i), fmt.Sprintf("%016X", uint64(id)), fmt.Sprintf("%016X", uint64(got)))
		}
	})
	if have && equal && used != image.Used { // the State has more behind the file's last one
		c.slotDiffers(rec.inode, "Used", fmt.Sprint(used), fmt.Sprint(image.Used))
	}
	return err
}

func (c *comparer) slotDiffers(ino meta.Inode, field, file, image string) {
	c.differ(Difference{Table: "NODE", Key: inodeKey(ino), Path: c.path(ino), Field: field, File: file, Image: image})
}
