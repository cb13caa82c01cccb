package image

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
	"runtime"
	"slices"

	"mfsstandby/changelog/meta"
)

// A directory's names are in buckets, by hash. The number of buckets follows
// the number of names (linear hashing: one bucket is split or merged at a
// time), so a name is found in one page whatever the directory's size. The
// list order is in the entries; whoever wants the list sorts.
const (
	splitAbove = 20 // names per bucket on average
	mergeBelow = 6
)

// dirPage is a directory's record and what the image needs to find its names.
type dirPage struct {
	meta.Dir
	present  bool
	names    uint32 // in all buckets
	buckets  uint32
	min, max uint64 // bounds of Order of its names
	changes  uint64 // of its names since the page was made; never stored

	// What was added to the totals and is not in them yet, nor above: see
	// core.settle. Never stored.
	pending   meta.Stats
	unsettled bool
}

var dirCodec = codec[dirPage]{
	name: "dirs", prefix: 'd', encode: encodeDir, decode: decodeDir,
	memory: func(p *dirPage) int { return len(p.Name) },
	digest: func(uint64, *dirPage) Sum { return Sum{} }, // all of it follows from nodes and edges
}

func encodeDir(p *dirPage, b []byte) []byte {
	if !p.present && p.names == 0 {
		return b
	}
	b = putBool(b, p.present) // names may come before their directory
	b = put32(b, uint32(p.Parent))
	b = putBytes(b, p.Name)
	for _, v := range [...]uint32{
		p.Elements, p.Subdirs, p.Stats.Inodes, p.Stats.Dirs, p.Stats.Files, p.Stats.Chunks, p.names, p.buckets,
	} {
		b = putUvarint(b, uint64(v))
	}
	for _, v := range [...]uint64{p.Stats.Length, p.Stats.Size, p.Stats.RealSize} {
		b = putUvarint(b, v)
	}
	return put64(put64(b, p.min), p.max)
}

func decodeDir(p *dirPage, b []byte) error {
	r := reader{b: b}
	p.present = r.u8() != 0
	p.Parent = meta.Inode(r.u32())
	p.Name = r.string()
	for _, v := range [...]*uint32{
		&p.Elements, &p.Subdirs, &p.Stats.Inodes, &p.Stats.Dirs, &p.Stats.Files, &p.Stats.Chunks, &p.names, &p.buckets,
	} {
		*v = uint32(r.uvarint())
	}
	for _, v := range [...]*uint64{&p.Stats.Length, &p.Stats.Size, &p.Stats.RealSize} {
		*v = r.uvarint()
	}
	p.min, p.max = r.u64(), r.u64()
	return r.end()
}

// bucketPage holds names of one directory in their disk form, one after
// another in no order:
//
//	hash:32 child:32 order:64 length:8 flags:8 name [id:64]
//
// little-endian; the id is there only if it differs from the order.
type bucketPage struct{ b []byte }

const (
	edgeHead  = 18 // bytes before the name
	edgeIsDir = 1
	edgeHasID = 2
)

func bucketKey(dir meta.Inode, bucket uint32) uint64 { return uint64(dir)<<32 | uint64(bucket) }

// bucketOf returns the bucket of a hash when there are n (at least one).
func bucketOf(hash, n uint32) uint32 {
	m := uint32(1) << bits.Len32(n-1)
	if b := hash & (m - 1); b < n {
		return b
	}
	return hash & (m>>1 - 1)
}

var bucketCodec = codec[bucketPage]{
	name: "edges", prefix: 'e',
	encode: func(p *bucketPage, b []byte) []byte { return append(b, p.b...) },
	decode: decodeBucket,
	memory: func(p *bucketPage) int { return cap(p.b) },
	digest: digestBucket,
}

func decodeBucket(p *bucketPage, b []byte) error {
	for rest := b; len(rest) > 0; {
		if len(rest) < edgeHead || rest[16] == 0 || rest[17] > edgeIsDir|edgeHasID || len(rest) < edgeLen(rest) {
			return errDamaged
		}
		rest = rest[edgeLen(rest):]
	}
	p.b = bytes.Clone(b)
	return nil
}

// edgeLen is the length of the entry that e begins with.
func edgeLen(e []byte) int {
	n := edgeHead + int(e[16])
	if e[17]&edgeHasID != 0 {
		n += 8
	}
	return n
}

func edgeHash(e []byte) uint32      { return binary.LittleEndian.Uint32(e) }
func edgeChild(e []byte) meta.Inode { return meta.Inode(binary.LittleEndian.Uint32(e[4:])) }
func edgeName(e []byte) []byte      { return e[edgeHead : edgeHead+int(e[16])] }
func edgeOrder(e []byte) uint64     { return binary.LittleEndian.Uint64(e[8:]) }

func edgeID(e []byte) uint64 {
	if e[17]&edgeHasID != 0 {
		return binary.LittleEndian.Uint64(e[edgeHead+int(e[16]):])
	}
	return edgeOrder(e)
}

func decodeEdge(e []byte) meta.Edge {
	return meta.Edge{Child: edgeChild(e), Dir: e[17]&edgeIsDir != 0, ID: edgeID(e), Order: edgeOrder(e)}
}

func appendEdge(b []byte, hash uint32, e *meta.Edge) []byte {
	var flags byte
	if e.Dir {
		flags |= edgeIsDir
	}
	if e.ID != e.Order {
		flags |= edgeHasID
	}
	b = put32(b, hash)
	b = put32(b, uint32(e.Child))
	b = put64(b, e.Order)
	b = append(b, byte(len(e.Name)), flags)
	b = append(b, e.Name...)
	if flags&edgeHasID != 0 {
		b = put64(b, e.ID)
	}
	return b
}

// find returns the offset of a name's entry, or -1.
func (p *bucketPage) find(hash uint32, name []byte) int {
	for at := 0; at < len(p.b); {
		e := p.b[at:]
		if edgeHash(e) == hash && bytes.Equal(edgeName(e), name) {
			return at
		}
		at += edgeLen(e)
	}
	return -1
}

func (p *bucketPage) remove(at int) {
	n := edgeLen(p.b[at:])
	p.b = append(p.b[:at], p.b[at+n:]...)
}

// move takes the entries that keep refuses out of p and appends them to q.
func (p *bucketPage) move(q *bucketPage, keep func(hash uint32) bool) {
	kept := 0
	for at := 0; at < len(p.b); {
		n := edgeLen(p.b[at:])
		e := p.b[at : at+n]
		at += n
		if keep(edgeHash(e)) {
			kept += copy(p.b[kept:], e)
		} else {
			q.b = append(q.b, e...)
		}
	}
	p.b = p.b[:kept]
}

func digestBucket(key uint64, p *bucketPage) (sum Sum) {
	var buf [288]byte
	for at := 0; at < len(p.b); {
		e := p.b[at:]
		at += edgeLen(e)
		b := append(buf[:0], 'e')
		b = put32(b, uint32(key>>32))
		b = put32(b, uint32(edgeChild(e)))
		b = put64(b, edgeID(e))
		b = append(b, edgeName(e)...)
		sum = sum.plus(hashRecord(b))
	}
	return sum
}

// edgeTable is meta.EdgeTable over dirs and buckets.
type edgeTable struct{ accessor }

func (t edgeTable) Get(parent meta.Inode, name []byte) (meta.Edge, bool) {
	d := view(t.accessor, t.img.dirs, uint64(parent))
	if d.buckets == 0 {
		return meta.Edge{}, false
	}
	hash := meta.HashName(name)
	p := view(t.accessor, t.img.buckets, bucketKey(parent, bucketOf(hash, d.buckets)))
	at := p.find(hash, name)
	if at < 0 {
		return meta.Edge{}, false
	}
	return decodeEdge(p.b[at:]), true
}

func (t edgeTable) Find(parent, child meta.Inode, hash uint32) ([]byte, bool) {
	d := view(t.accessor, t.img.dirs, uint64(parent))
	if d.buckets == 0 {
		return nil, false
	}
	p := view(t.accessor, t.img.buckets, bucketKey(parent, bucketOf(hash, d.buckets)))
	for at := 0; at < len(p.b); {
		e := p.b[at:]
		if edgeHash(e) == hash && edgeChild(e) == child {
			return edgeName(e), true
		}
		at += edgeLen(e)
	}
	return nil, false
}

func (t edgeTable) InsertHead(parent meta.Inode, name []byte, child meta.Inode, dir bool, id uint64) {
	d := &t.img.dirs.edit(uint64(parent)).val
	order := cmp.Or(id, meta.NoEdgeID)
	if d.names > 0 && order >= d.min {
		order = d.min - 1
	}
	t.insert(parent, d, &meta.Edge{Child: child, Dir: dir, ID: id, Order: order, Name: name})
}

func (t edgeTable) InsertTail(parent meta.Inode, name []byte, child meta.Inode, dir bool, id uint64) {
	d := &t.img.dirs.edit(uint64(parent)).val
	order := cmp.Or(id, meta.NoEdgeID)
	if d.names > 0 && order <= d.max {
		order = d.max + 1
	}
	t.insert(parent, d, &meta.Edge{Child: child, Dir: dir, ID: id, Order: order, Name: name})
}

func (t edgeTable) insert(parent meta.Inode, d *dirPage, e *meta.Edge) {
	d.changes++
	if d.names == 0 {
		d.min, d.max = e.Order, e.Order
	}
	d.min, d.max = min(d.min, e.Order), max(d.max, e.Order)
	d.names++
	if d.buckets == 0 {
		d.buckets = 1
		t.img.buckets.create(bucketKey(parent, 0))
	} else if d.names > d.buckets*splitAbove {
		t.split(parent, d)
	}
	hash := meta.HashName(e.Name)
	p := t.img.buckets.edit(bucketKey(parent, bucketOf(hash, d.buckets)))
	p.val.b = appendEdge(p.val.b, hash, e)
	t.img.buckets.recount(p)
}

// split adds one bucket and moves its names there.
func (t edgeTable) split(parent meta.Inode, d *dirPage) {
	added := d.buckets
	from := added - uint32(1)<<(bits.Len32(added)-1)
	d.buckets++
	p := t.img.buckets.edit(bucketKey(parent, from))
	q := t.img.buckets.create(bucketKey(parent, added))
	p.val.move(&q.val, func(hash uint32) bool { return bucketOf(hash, d.buckets) == from })
	t.img.buckets.recount(q)
}

// merge removes the last bucket.
func (t edgeTable) merge(parent meta.Inode, d *dirPage) {
	d.buckets--
	removed := d.buckets
	into := removed - uint32(1)<<(bits.Len32(removed)-1)
	p, q := t.img.buckets.edit(bucketKey(parent, removed)), t.img.buckets.edit(bucketKey(parent, into))
	p.val.move(&q.val, func(uint32) bool { return false })
	t.img.buckets.recount(q)
}

func (t edgeTable) SetID(parent meta.Inode, name []byte, id uint64) {
	d := &t.img.dirs.get(uint64(parent)).val
	d.changes++
	hash := meta.HashName(name)
	p := t.img.buckets.edit(bucketKey(parent, bucketOf(hash, d.buckets)))
	at := p.val.find(hash, name)
	e := decodeEdge(p.val.b[at:])
	e.ID, e.Name = id, name
	p.val.remove(at)
	p.val.b = appendEdge(p.val.b, hash, &e)
	t.img.buckets.recount(p)
}

func (t edgeTable) Delete(parent meta.Inode, name []byte) {
	d := &t.img.dirs.edit(uint64(parent)).val
	hash := meta.HashName(name)
	p := t.img.buckets.edit(bucketKey(parent, bucketOf(hash, d.buckets)))
	p.val.remove(p.val.find(hash, name))
	d.names--
	d.changes++
	switch {
	case d.names == 0 && d.buckets == 1:
		d.buckets = 0
	case d.buckets > 1 && d.names < d.buckets*mergeBelow:
		t.merge(parent, d)
	}
}

func (t edgeTable) List(parent meta.Inode) []meta.Edge {
	d := view(t.accessor, t.img.dirs, uint64(parent))
	list := make([]meta.Edge, 0, d.names)
	for i := range d.buckets {
		list = appendEdges(list, view(t.accessor, t.img.buckets, bucketKey(parent, i)).b)
	}
	sortEdges(list)
	return list
}

// appendEdges appends copies of the entries in a bucket.
func appendEdges(list []meta.Edge, b []byte) []meta.Edge {
	return appendAliases(list, bytes.Clone(b))
}

func sortEdges(list []meta.Edge) {
	slices.SortFunc(list, func(a, b meta.Edge) int { return cmp.Compare(a.Order, b.Order) })
}

// bucketsAtOnce is how many buckets AppendList reads together.
const bucketsAtOnce = 16

// AppendList appends the names of parent to list, in no order. The names alias
// the image: they are valid for the Read or the View that the table is of. Each
// step is taken for several buckets, so that the processor waits for the memory
// of all of them together.
func (t edgeTable) AppendList(list []meta.Edge, parent meta.Inode) []meta.Edge {
	d := view(t.accessor, t.img.dirs, uint64(parent))
	var pages [bucketsAtOnce]*bucketPage
	var seen uint64 // so that no reading is left out as useless
	for from := uint32(0); from < d.buckets; from += bucketsAtOnce {
		n := min(d.buckets-from, bucketsAtOnce)
		for i := range n {
			seen += t.img.buckets.pages.slot(bucketKey(parent, from+i))
		}
		for i := range n {
			pages[i] = view(t.accessor, t.img.buckets, bucketKey(parent, from+i))
		}
		for _, p := range pages[:n] {
			seen += uint64(len(p.b))
		}
		for _, p := range pages[:n] {
			for at := 0; at < len(p.b); at += cacheLine {
				seen += uint64(p.b[at])
			}
		}
		for _, p := range pages[:n] {
			list = appendAliases(list, p.b)
		}
	}
	runtime.KeepAlive(seen)
	return list
}

// Stamp tells states of a directory's names apart. It holds the memory of one page.
type Stamp struct {
	page    *dirPage
	changes uint64
}

// Stamp returns the stamp of a directory's names now. It is equal to an earlier
// one of the same directory only if List would still return the same. It may
// differ although it would: when the page was not cached meanwhile.
func (t edgeTable) Stamp(parent meta.Inode) Stamp {
	d := view(t.accessor, t.img.dirs, uint64(parent))
	return Stamp{d, d.changes}
}

// appendAliases appends the entries in a bucket, with names that alias it.
func appendAliases(list []meta.Edge, b []byte) []meta.Edge {
	for len(b) > 0 {
		e := decodeEdge(b)
		e.Name = edgeName(b)
		list = append(list, e)
		b = b[edgeLen(b):]
	}
	return list
}
