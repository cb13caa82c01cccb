package image

import (
	"cmp"
	"iter"
	"math"
	"runtime"
	"slices"

	"mfsstandby/changelog/meta"
)

// accessor is how the tables below reach pages: the writer's way, through the
// cache, or a concurrent reader's, which leaves the cache as it is.
type accessor struct {
	img *core
	ro  bool
}

// view returns a page for reading.
func view[P any](a accessor, t *table[P], key uint64) *P {
	if a.ro {
		return &t.peek(key).val
	}
	return &t.look(key).val
}

// state assembles the port that operations work on.
func (c *core) state(ro bool) *meta.State {
	a := accessor{c, ro}
	return &meta.State{
		Scalars:  &c.pub,
		Nodes:    nodeTable{a},
		Dirs:     dirTable{a},
		Slots:    slotTable{a},
		Chunks:   chunkTable{a},
		Edges:    edgeTable{a},
		Detached: detachedTable{a},
		Xattrs:   xattrTable{a},
		ACLs:     aclTable{a},
		Open:     openTable{a},
		Inodes:   inodeTable{a},
		Symlinks: sparseTable[meta.Inode, string]{a, c.symlinks},
		Hard:     sparseTable[meta.Inode, []meta.HardLink]{a, c.hard},
		Quotas:   sparseTable[meta.Inode, meta.Quota]{a, c.quotas},
		Sessions: sparseTable[meta.SessionID, meta.Session]{a, c.sessions},
		Flocks:   sparseTable[meta.Inode, []meta.Flock]{a, c.flocks},
		Plocks:   sparseTable[meta.Inode, []meta.PosixOwner]{a, c.plocks},
		Classes:  sparseTable[uint8, meta.Class]{a, c.classes},
		Patterns: sparseTable[uint16, meta.Pattern]{a, c.patterns},
		Servers:  serverTable{sparseTable[uint64, meta.ServerInfo]{a, c.servers}},
	}
}

type nodeTable struct{ accessor }

func (t nodeTable) Get(ino meta.Inode) (meta.Node, bool) {
	key, i := nodeKey(ino)
	n := &view(t.accessor, t.img.nodes, key).n[i]
	return *n, n.Type != meta.TypeNone
}

// PeekAll appends the nodes that names lead to, nil where there is none, for
// reading while the state does not change. Finding several at once takes less
// time than one after the other: the processor waits for all of them together.
func (t nodeTable) PeekAll(list []*meta.Node, names []meta.Edge) []*meta.Node {
	start := len(list)
	var slots uint64
	for i := range names {
		key, _ := nodeKey(names[i].Child)
		slots += t.img.nodes.pages.slot(key)
	}
	runtime.KeepAlive(slots)
	for i := range names {
		key, at := nodeKey(names[i].Child)
		list = append(list, &view(t.accessor, t.img.nodes, key).n[at])
	}
	var ends uint64 // a node is in two cache lines: look at the second, too
	for i, n := range list[start:] {
		ends |= n.Length
		if n.Type == meta.TypeNone {
			list[start+i] = nil
		}
	}
	runtime.KeepAlive(ends)
	return list
}

func (t nodeTable) Edit(ino meta.Inode) (*meta.Node, bool) {
	key, i := nodeKey(ino)
	p := t.img.nodes.get(key)
	n := &p.val.n[i]
	if n.Type == meta.TypeNone {
		return nil, false
	}
	t.img.nodes.touch(p)
	return n, true
}

func (t nodeTable) Insert(ino meta.Inode, n meta.Node) *meta.Node {
	key, i := nodeKey(ino)
	if t.img.unusedPage(ino) {
		t.img.nodes.create(key)
	}
	p := t.img.nodes.edit(key)
	p.val.n[i] = n
	return &p.val.n[i]
}

func (t nodeTable) Delete(ino meta.Inode) {
	key, i := nodeKey(ino)
	t.img.nodes.edit(key).val.n[i] = meta.Node{}
}

func (t nodeTable) Scan(from meta.Inode) iter.Seq2[meta.Inode, meta.Node] {
	return func(yield func(meta.Inode, meta.Node) bool) {
		first, _ := nodeKey(from)
		for key, p := range scan(t.accessor, t.img.nodes, first) {
			for i := range p.n {
				ino := meta.Inode(key<<nodePageBits) | meta.Inode(i)
				if p.n[i].Type != meta.TypeNone && ino >= from && !yield(ino, p.n[i]) {
					return
				}
			}
		}
	}
}

type dirTable struct{ accessor }

func (t dirTable) Get(ino meta.Inode) (meta.Dir, bool) {
	t.settle()
	d := view(t.accessor, t.img.dirs, uint64(ino))
	return d.Dir, d.present
}

// settle makes the totals right for the writer; readers look on only when they
// are.
func (t dirTable) settle() {
	if !t.ro && len(t.img.later) > 0 {
		t.img.settle()
	}
}

func (t dirTable) Add(ino meta.Inode, s meta.Stats) {
	if ino != 0 {
		t.img.addTotals(ino, &s)
	}
}

func (t dirTable) Count(ino meta.Inode, elements, subdirs uint32) {
	p := t.img.dirs.get(uint64(ino))
	if p.val.present {
		t.img.dirs.touch(p)
		p.val.Elements += elements
		p.val.Subdirs += subdirs
	}
}

func (t dirTable) Up(ino meta.Inode) (meta.Inode, string, bool) {
	d := view(t.accessor, t.img.dirs, uint64(ino))
	return d.Parent, d.Name, d.present
}

func (t dirTable) Edit(ino meta.Inode) (*meta.Dir, bool) {
	t.settle()
	p := t.img.dirs.get(uint64(ino))
	if !p.val.present {
		return nil, false
	}
	t.img.dirs.touch(p)
	return &p.val.Dir, true
}

func (t dirTable) Insert(ino meta.Inode, d meta.Dir) *meta.Dir {
	p := t.img.dirs.edit(uint64(ino))
	p.val.Dir, p.val.present = d, true // its names may be there already
	t.img.dirs.recount(p)
	return &p.val.Dir
}

func (t dirTable) Delete(ino meta.Inode) {
	t.settle()
	p := t.img.dirs.edit(uint64(ino))
	p.val.Dir, p.val.present = meta.Dir{}, false
}

func (t dirTable) Scan(from meta.Inode) iter.Seq2[meta.Inode, meta.Dir] {
	return func(yield func(meta.Inode, meta.Dir) bool) {
		for key, p := range scan(t.accessor, t.img.dirs, uint64(from)) {
			if p.present && !yield(meta.Inode(key), p.Dir) {
				return
			}
		}
	}
}

type slotTable struct{ accessor }

func (t slotTable) Get(s meta.Slot) (meta.ChunkID, bool) {
	key, i := slotKey(s)
	id := view(t.accessor, t.img.slots, key).id[i]
	return id, id != 0
}

func (t slotTable) Edit(s meta.Slot) (*meta.ChunkID, bool) {
	key, i := slotKey(s)
	p := t.img.slots.get(key)
	if p.val.id[i] == 0 {
		return nil, false
	}
	t.img.slots.touch(p)
	return &p.val.id[i], true
}

func (t slotTable) Insert(s meta.Slot, id meta.ChunkID) *meta.ChunkID {
	key, i := slotKey(s)
	p := t.img.slots.edit(key)
	p.val.id[i] = id
	return &p.val.id[i]
}

func (t slotTable) Delete(s meta.Slot) {
	key, i := slotKey(s)
	t.img.slots.edit(key).val.id[i] = 0
}

func (t slotTable) Scan(from meta.Slot) iter.Seq2[meta.Slot, meta.ChunkID] {
	return func(yield func(meta.Slot, meta.ChunkID) bool) {
		first, skip := slotKey(from)
		for key, p := range scan(t.accessor, t.img.slots, first) {
			for i, id := range p.id {
				if id == 0 || key == first && i < skip {
					continue
				}
				if !yield(meta.Slot{Inode: meta.Inode(key >> 32), Index: uint32(key)<<slotPageBits | uint32(i)}, id) {
					return
				}
			}
		}
	}
}

type chunkTable struct{ accessor }

func (t chunkTable) Get(id meta.ChunkID) (meta.Chunk, bool) {
	key, i := chunkKey(id)
	p := view(t.accessor, t.img.chunks, key)
	return p.c[i], p.present&(1<<i) != 0
}

func (t chunkTable) Edit(id meta.ChunkID) (*meta.Chunk, bool) {
	key, i := chunkKey(id)
	p := t.img.chunks.get(key)
	if p.val.present&(1<<i) == 0 {
		return nil, false
	}
	t.img.chunks.touch(p)
	return &p.val.c[i], true
}

func (t chunkTable) Insert(id meta.ChunkID, c meta.Chunk) *meta.Chunk {
	key, i := chunkKey(id)
	p := t.img.chunks.edit(key)
	p.val.present |= 1 << i
	p.val.c[i] = c
	return &p.val.c[i]
}

func (t chunkTable) Delete(id meta.ChunkID) {
	key, i := chunkKey(id)
	p := t.img.chunks.edit(key)
	p.val.present &^= 1 << i
	p.val.c[i] = meta.Chunk{}
}

func (t chunkTable) Scan(from meta.ChunkID) iter.Seq2[meta.ChunkID, meta.Chunk] {
	return func(yield func(meta.ChunkID, meta.Chunk) bool) {
		first, skip := chunkKey(from)
		for key, p := range scan(t.accessor, t.img.chunks, first) {
			for i := range p.c {
				if p.present&(1<<i) == 0 || key == first && i < skip {
					continue
				}
				if !yield(meta.ChunkID(key<<chunkPageBits)|meta.ChunkID(i), p.c[i]) {
					return
				}
			}
		}
	}
}

func (t edgeTable) Scan() iter.Seq2[meta.Inode, []meta.Edge] {
	return func(yield func(meta.Inode, []meta.Edge) bool) {
		var dir meta.Inode
		var list []meta.Edge
		emit := func() bool {
			if len(list) == 0 {
				return true
			}
			sortEdges(list)
			ok := yield(dir, list)
			list = list[:0]
			return ok
		}
		for key, p := range scan(t.accessor, t.img.buckets, 0) {
			if parent := meta.Inode(key >> 32); parent != dir {
				if !emit() {
					return
				}
				dir = parent
			}
			list = appendEdges(list, p.b)
		}
		emit()
	}
}

// sparseTable is a Table in sparse pages, by a number.
type sparseTable[K ~uint8 | ~uint16 | ~uint32 | ~uint64, V any] struct {
	accessor
	t *table[sparsePage[V]]
}

func (t sparseTable[K, V]) at(k K) (key uint64, slot uint8) {
	return uint64(k) >> sparseBits, uint8(k) & sparseMask
}

func (t sparseTable[K, V]) Get(k K) (v V, ok bool) {
	key, slot := t.at(k)
	p := view(t.accessor, t.t, key)
	i := p.find(slot)
	if i < 0 {
		return v, false
	}
	return *p.ents[i].v, true
}

// Edit does not count what the caller adds to the record until the next
// change or flush; records are small.
func (t sparseTable[K, V]) Edit(k K) (*V, bool) {
	key, slot := t.at(k)
	p := t.t.look(key)
	i := p.val.find(slot)
	if i < 0 {
		return nil, false
	}
	t.t.touch(p)
	return p.val.ents[i].v, true
}

func (t sparseTable[K, V]) Insert(k K, v V) *V {
	key, slot := t.at(k)
	p := t.t.edit(key)
	at := p.val.insert(slot, v)
	t.t.recount(p)
	return at
}

func (t sparseTable[K, V]) Delete(k K) {
	key, slot := t.at(k)
	p := t.t.edit(key)
	p.val.remove(p.val.find(slot))
}

func (t sparseTable[K, V]) Scan(from K) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		first, skip := t.at(from)
		for key, p := range scan(t.accessor, t.t, first) {
			for i := range p.ents {
				if key == first && p.ents[i].slot < skip {
					continue
				}
				if !yield(K(key<<sparseBits|uint64(p.ents[i].slot)), *p.ents[i].v) {
					return
				}
			}
		}
	}
}

// serverTable keys chunkservers by address.
type serverTable struct {
	t sparseTable[uint64, meta.ServerInfo]
}

func serverKey(s meta.Server) uint64 { return uint64(s.IP)<<16 | uint64(s.Port) }

func (t serverTable) Get(s meta.Server) (meta.ServerInfo, bool)   { return t.t.Get(serverKey(s)) }
func (t serverTable) Edit(s meta.Server) (*meta.ServerInfo, bool) { return t.t.Edit(serverKey(s)) }
func (t serverTable) Delete(s meta.Server)                        { t.t.Delete(serverKey(s)) }
func (t serverTable) Insert(s meta.Server, v meta.ServerInfo) *meta.ServerInfo {
	return t.t.Insert(serverKey(s), v)
}

func (t serverTable) Scan(from meta.Server) iter.Seq2[meta.Server, meta.ServerInfo] {
	return func(yield func(meta.Server, meta.ServerInfo) bool) {
		for key, v := range t.t.Scan(serverKey(from)) {
			if !yield(meta.Server{IP: uint32(key >> 16), Port: uint16(key)}, v) {
				return
			}
		}
	}
}

type aclTable struct{ accessor }

func (t aclTable) sparse() sparseTable[meta.Inode, acls] {
	return sparseTable[meta.Inode, acls]{t.accessor, t.img.acls}
}

func (a *acls) of(kind uint8) **meta.ACL {
	if kind == meta.ACLAccess {
		return &a.access
	}
	return &a.deflt
}

func (t aclTable) Get(k meta.ACLKey) (meta.ACL, bool) {
	both, _ := t.sparse().Get(k.Inode)
	if a := *both.of(k.Type); a != nil {
		return *a, true
	}
	return meta.ACL{}, false
}

func (t aclTable) Edit(k meta.ACLKey) (*meta.ACL, bool) {
	both, ok := t.sparse().Edit(k.Inode)
	if !ok || *both.of(k.Type) == nil {
		return nil, false
	}
	return *both.of(k.Type), true
}

func (t aclTable) Insert(k meta.ACLKey, a meta.ACL) *meta.ACL {
	both, ok := t.sparse().Edit(k.Inode)
	if !ok {
		both = t.sparse().Insert(k.Inode, acls{})
	}
	*both.of(k.Type) = &a
	return &a
}

func (t aclTable) Delete(k meta.ACLKey) {
	both, _ := t.sparse().Edit(k.Inode)
	*both.of(k.Type) = nil
	if both.access == nil && both.deflt == nil {
		t.sparse().Delete(k.Inode)
	}
}

func (t aclTable) Scan(from meta.ACLKey) iter.Seq2[meta.ACLKey, meta.ACL] {
	return func(yield func(meta.ACLKey, meta.ACL) bool) {
		for ino, both := range t.sparse().Scan(from.Inode) {
			for kind := uint8(meta.ACLAccess); kind <= meta.ACLDefault; kind++ {
				a := *both.of(kind)
				if a == nil || ino == from.Inode && kind < from.Type {
					continue
				}
				if !yield(meta.ACLKey{Inode: ino, Type: kind}, *a) {
					return
				}
			}
		}
	}
}

type openTable struct{ accessor }

func (t openTable) sparse() sparseTable[meta.Inode, []meta.SessionID] {
	return sparseTable[meta.Inode, []meta.SessionID]{t.accessor, t.img.open}
}

func (t openTable) Has(s meta.SessionID, ino meta.Inode) bool {
	list, _ := t.sparse().Get(ino)
	return slices.Contains(list, s)
}

func (t openTable) Any(ino meta.Inode) bool {
	_, ok := t.sparse().Get(ino)
	return ok
}

func (t openTable) Add(s meta.SessionID, ino meta.Inode) {
	list, ok := t.sparse().Edit(ino)
	if !ok {
		t.sparse().Insert(ino, []meta.SessionID{s})
		return
	}
	i, _ := slices.BinarySearch(*list, s)
	*list = slices.Insert(*list, i, s)
}

func (t openTable) Remove(s meta.SessionID, ino meta.Inode) {
	list, ok := t.sparse().Edit(ino)
	if !ok {
		return
	}
	if i := slices.Index(*list, s); i >= 0 {
		*list = slices.Delete(*list, i, i+1)
	}
	if len(*list) == 0 {
		t.sparse().Delete(ino)
	}
}

// Of looks through all open files: they are in memory, and it is asked only
// when a session with open files ends.
func (t openTable) Of(s meta.SessionID) []meta.Inode {
	var inodes []meta.Inode
	for ino, list := range t.sparse().Scan(0) {
		if slices.Contains(list, s) {
			inodes = append(inodes, ino)
		}
	}
	return inodes
}

func (t openTable) Scan() iter.Seq2[meta.SessionID, meta.Inode] {
	return func(yield func(meta.SessionID, meta.Inode) bool) {
		for ino, list := range t.sparse().Scan(0) {
			for _, s := range list {
				if !yield(s, ino) {
					return
				}
			}
		}
	}
}

type xattrTable struct{ accessor }

func (t xattrTable) lists() sparseTable[meta.Inode, xattrList] {
	return sparseTable[meta.Inode, xattrList]{t.accessor, t.img.xattrs}
}

func xattrKey(ino meta.Inode, id uint32) uint64 { return uint64(ino)<<32 | uint64(id) }

func (l *xattrList) index(name []byte) int {
	return slices.IndexFunc(l.names, func(n xattrName) bool { return n.name == string(name) })
}

func (t xattrTable) Get(ino meta.Inode, name []byte) ([]byte, bool) {
	list, _ := t.lists().Get(ino)
	i := list.index(name)
	if i < 0 {
		return nil, false
	}
	return view(t.accessor, t.img.values, xattrKey(ino, list.names[i].id)).value, true
}

func (t xattrTable) Names(ino meta.Inode) []string {
	list, _ := t.lists().Get(ino)
	names := make([]string, 0, len(list.names))
	for _, n := range list.names {
		names = append(names, n.name)
	}
	return names
}

func (t xattrTable) setValue(ino meta.Inode, n xattrName, value []byte) {
	p := t.img.values.edit(xattrKey(ino, n.id))
	p.val = xattrValue{name: n.name, value: append([]byte{}, value...), set: true}
	t.img.values.recount(p)
}

func (t xattrTable) Put(ino meta.Inode, name, value []byte)    { t.put(ino, name, value, true) }
func (t xattrTable) Append(ino meta.Inode, name, value []byte) { t.put(ino, name, value, false) }

func (t xattrTable) put(ino meta.Inode, name, value []byte, head bool) {
	list, ok := t.lists().Edit(ino)
	if !ok {
		list = t.lists().Insert(ino, xattrList{})
	}
	if i := list.index(name); i >= 0 {
		t.setValue(ino, list.names[i], value)
		return
	}
	n := xattrName{string(name), list.next}
	t.img.values.create(xattrKey(ino, n.id)) // the number is new
	list.next++
	if head {
		list.names = slices.Insert(list.names, 0, n)
	} else {
		list.names = append(list.names, n)
	}
	t.setValue(ino, n, value)
}

func (t xattrTable) dropValue(ino meta.Inode, id uint32) {
	p := t.img.values.edit(xattrKey(ino, id))
	p.val = xattrValue{}
	t.img.values.recount(p)
}

func (t xattrTable) Delete(ino meta.Inode, name []byte) {
	list, _ := t.lists().Edit(ino)
	i := list.index(name)
	t.dropValue(ino, list.names[i].id)
	list.names = slices.Delete(list.names, i, i+1)
	if len(list.names) == 0 {
		t.lists().Delete(ino)
	}
}

func (t xattrTable) DeleteAll(ino meta.Inode) {
	list, ok := t.lists().Edit(ino)
	if !ok {
		return
	}
	for _, n := range list.names {
		t.dropValue(ino, n.id)
	}
	t.lists().Delete(ino)
}

func (t xattrTable) Scan() iter.Seq2[meta.Inode, []meta.Xattr] {
	return func(yield func(meta.Inode, []meta.Xattr) bool) {
		for ino, list := range t.lists().Scan(0) {
			attrs := make([]meta.Xattr, len(list.names))
			for i, n := range list.names {
				attrs[i] = meta.Xattr{Name: n.name, Value: view(t.accessor, t.img.values, xattrKey(ino, n.id)).value}
			}
			if !yield(ino, attrs) {
				return
			}
		}
	}
}

type detachedTable struct{ accessor }

func (t detachedTable) sparse() sparseTable[meta.Inode, detached] {
	return sparseTable[meta.Inode, detached]{t.accessor, t.img.detached}
}

// The members of a bucket are inodes a whole number of buckets apart; 16 of
// them that follow one another share a page, whose key holds kind, bucket and
// the number of the group.
const groupBits = 32

func bucketsOf(kind meta.Type) uint32 {
	if kind == meta.TypeSustained {
		return meta.SustainedBuckets
	}
	return meta.TrashBuckets
}

func memberKey(kind meta.Type, ino meta.Inode) (key uint64, slot uint8) {
	n := bucketsOf(kind)
	bucket, i := uint32(ino)%n, uint32(ino)/n
	return bucketPrefix(kind, bucket) | uint64(i>>sparseBits), uint8(i & sparseMask)
}

func bucketPrefix(kind meta.Type, bucket uint32) uint64 {
	return uint64(kind)<<(groupBits+16) | uint64(bucket)<<groupBits
}

func (t detachedTable) Get(ino meta.Inode) (meta.Detached, bool) {
	d, ok := t.sparse().Get(ino)
	return d.Detached, ok
}

func (t detachedTable) InsertHead(ino meta.Inode, d meta.Detached) {
	order := t.img.priv.detachedOrder
	t.img.priv.detachedOrder--
	t.insert(ino, d, order)
}

// InsertTail counts upwards in memory only: all that it inserts comes in one
// import, and all later ones at the head.
func (t detachedTable) InsertTail(ino meta.Inode, d meta.Detached) {
	t.img.detachedTail++
	t.insert(ino, d, firstOrder+t.img.detachedTail)
}

// firstOrder is the order of the first file put at the head of a bucket.
const firstOrder = math.MaxUint64 / 2

func (t detachedTable) insert(ino meta.Inode, d meta.Detached, order uint64) {
	t.sparse().Insert(ino, detached{d, order})
	key, slot := memberKey(d.Kind, ino)
	if t.img.addGroup(key) {
		t.img.members.create(key) // no other member is in it
	}
	p := t.img.members.edit(key)
	p.val.insert(slot, bucketMember{order})
	t.img.members.recount(p)
}

func (t detachedTable) Delete(ino meta.Inode) {
	d, ok := t.sparse().Get(ino)
	if !ok {
		return
	}
	t.sparse().Delete(ino)
	key, slot := memberKey(d.Kind, ino)
	p := t.img.members.edit(key)
	p.val.remove(p.val.find(slot))
	if len(p.val.ents) == 0 {
		t.img.removeGroup(key)
	}
}

func (t detachedTable) Bucket(kind meta.Type, bucket uint32) []meta.Inode {
	type member struct {
		order uint64
		ino   meta.Inode
	}
	var list []member
	prefix := bucketPrefix(kind, bucket)
	for _, group := range t.img.groups[prefix] {
		for _, e := range view(t.accessor, t.img.members, prefix|uint64(group)).ents {
			ino := (group<<sparseBits|uint32(e.slot))*bucketsOf(kind) + bucket
			list = append(list, member{e.v.order, meta.Inode(ino)})
		}
	}
	slices.SortFunc(list, func(a, b member) int { return cmp.Compare(a.order, b.order) })
	inodes := make([]meta.Inode, len(list))
	for i, m := range list {
		inodes[i] = m.ino
	}
	return inodes
}

type inodeTable struct{ accessor }

func (t inodeTable) word(ino meta.Inode) (*page[bitmapPage], int, uint64) {
	p := t.img.bitmap.get(uint64(ino >> bitmapBits))
	return p, int(ino>>6) & (len(p.val.words) - 1), 1 << (ino & 63)
}

func (t inodeTable) Alloc() meta.Inode {
	ino := t.img.lowestFree()
	t.Reserve(ino)
	return ino
}

func (t inodeTable) Reserve(ino meta.Inode) {
	p, i, bit := t.word(ino)
	if p.val.words[i]&bit == 0 {
		t.img.bitmap.touch(p)
		p.val.words[i] |= bit
		p.val.used++
	}
}

func (t inodeTable) Release(ino meta.Inode) {
	p, i, bit := t.word(ino)
	if p.val.words[i]&bit != 0 {
		t.img.bitmap.touch(p)
		p.val.words[i] &^= bit
		p.val.used--
	}
	t.img.freeFrom = min(t.img.freeFrom, uint32(ino>>6))
}

func (t inodeTable) freeAt(i uint64) (*page[freePage], int) {
	return t.img.free.get(i >> freePageBits), int(i & (1<<freePageBits - 1))
}

func (t inodeTable) PushFree(f meta.FreedInode) {
	p, i := t.freeAt(t.img.priv.freeTail)
	t.img.free.touch(p)
	p.val.f[i] = f
	p.val.live++
	if last, ok := t.lastFree(); ok && f.Freed < last.Freed {
		t.img.priv.freeUnordered = true
	}
	t.img.priv.freeTail++
}

func (t inodeTable) lastFree() (meta.FreedInode, bool) {
	if t.img.priv.freeHead == t.img.priv.freeTail {
		return meta.FreedInode{}, false
	}
	p, i := t.freeAt(t.img.priv.freeTail - 1)
	return p.val.f[i], true
}

func (t inodeTable) PopFree() {
	if t.img.priv.freeHead == t.img.priv.freeTail {
		return
	}
	p, i := t.freeAt(t.img.priv.freeHead)
	t.img.free.touch(p)
	p.val.f[i] = meta.FreedInode{}
	p.val.live--
	t.img.priv.freeHead++
}

func (t inodeTable) FirstFree() (meta.FreedInode, bool) {
	if t.img.priv.freeHead == t.img.priv.freeTail {
		return meta.FreedInode{}, false
	}
	p := view(t.accessor, t.img.free, t.img.priv.freeHead>>freePageBits)
	return p.f[t.img.priv.freeHead&(1<<freePageBits-1)], true
}

func (t inodeTable) FreeLen() uint32 { return uint32(t.img.priv.freeTail - t.img.priv.freeHead) }

// ClampFree starts at the tail. Times ascend along the queue but for what a
// metadata file brought in another order, so all of it is looked at only
// when the image says that such a file was read.
func (t inodeTable) ClampFree(ts meta.Time) {
	for at := t.img.priv.freeTail; at > t.img.priv.freeHead; at-- {
		p, i := t.freeAt(at - 1)
		if p.val.f[i].Freed <= ts {
			if !t.img.priv.freeUnordered {
				return
			}
			continue
		}
		t.img.free.touch(p)
		p.val.f[i].Freed = ts
	}
}

func (t inodeTable) ScanFree() iter.Seq[meta.FreedInode] {
	return func(yield func(meta.FreedInode) bool) {
		for at := t.img.priv.freeHead; at < t.img.priv.freeTail; at++ {
			p := view(t.accessor, t.img.free, at>>freePageBits)
			if !yield(p.f[at&(1<<freePageBits-1)]) {
				return
			}
		}
	}
}
