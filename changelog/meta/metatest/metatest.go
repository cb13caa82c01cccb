// Package metatest holds a State in plain maps: the simplest thing that can
// be right. Tests of operations run on it, and tests of the real image
// compare with it.
package metatest

import (
	"bytes"
	"cmp"
	"iter"
	"maps"
	"slices"

	"mfsstandby/changelog/meta"
)

// New returns an empty State: no node, not even the root.
func New() *meta.State {
	open := &openTable{m: map[openKey]bool{}}
	return &meta.State{
		Scalars:  &meta.Scalars{},
		Nodes:    newTable[meta.Inode, meta.Node](cmp.Compare[meta.Inode]),
		Dirs:     dirs{newTable[meta.Inode, meta.Dir](cmp.Compare[meta.Inode])},
		Symlinks: newTable[meta.Inode, string](cmp.Compare[meta.Inode]),
		Slots: newTable[meta.Slot, meta.ChunkID](func(a, b meta.Slot) int {
			return cmp.Or(cmp.Compare(a.Inode, b.Inode), cmp.Compare(a.Index, b.Index))
		}),
		Hard:     newTable[meta.Inode, []meta.HardLink](cmp.Compare[meta.Inode]),
		Edges:    &edges{m: map[meta.Inode][]meta.Edge{}},
		Detached: &detached{m: map[meta.Inode]meta.Detached{}},
		Chunks:   newTable[meta.ChunkID, meta.Chunk](cmp.Compare[meta.ChunkID]),
		Xattrs:   &xattrs{m: map[meta.Inode][]meta.Xattr{}},
		ACLs: newTable[meta.ACLKey, meta.ACL](func(a, b meta.ACLKey) int {
			return cmp.Or(cmp.Compare(a.Inode, b.Inode), cmp.Compare(a.Type, b.Type))
		}),
		Quotas:   newTable[meta.Inode, meta.Quota](cmp.Compare[meta.Inode]),
		Sessions: newTable[meta.SessionID, meta.Session](cmp.Compare[meta.SessionID]),
		Open:     open,
		Flocks:   newTable[meta.Inode, []meta.Flock](cmp.Compare[meta.Inode]),
		Plocks:   newTable[meta.Inode, []meta.PosixOwner](cmp.Compare[meta.Inode]),
		Servers: newTable[meta.Server, meta.ServerInfo](func(a, b meta.Server) int {
			return cmp.Or(cmp.Compare(a.IP, b.IP), cmp.Compare(a.Port, b.Port))
		}),
		Classes:  newTable[uint8, meta.Class](cmp.Compare[uint8]),
		Patterns: newTable[uint16, meta.Pattern](cmp.Compare[uint16]),
		Inodes:   &inodes{used: map[meta.Inode]bool{0: true}},
	}
}

type table[K comparable, V any] struct {
	m   map[K]*V
	cmp func(a, b K) int
}

func newTable[K comparable, V any](cmp func(a, b K) int) *table[K, V] {
	return &table[K, V]{m: map[K]*V{}, cmp: cmp}
}

func (t *table[K, V]) Get(k K) (v V, ok bool) {
	p, ok := t.m[k]
	if ok {
		v = *p
	}
	return v, ok
}

func (t *table[K, V]) Edit(k K) (*V, bool) {
	p, ok := t.m[k]
	return p, ok
}

func (t *table[K, V]) Insert(k K, v V) *V {
	if _, ok := t.m[k]; ok {
		panic("metatest: Insert of a key that is present")
	}
	t.m[k] = &v
	return &v
}

func (t *table[K, V]) Delete(k K) {
	if _, ok := t.m[k]; !ok {
		panic("metatest: Delete of a key that is absent")
	}
	delete(t.m, k)
}

func (t *table[K, V]) Scan(from K) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, k := range slices.SortedFunc(maps.Keys(t.m), t.cmp) {
			if t.cmp(k, from) >= 0 && !yield(k, *t.m[k]) {
				return
			}
		}
	}
}

type dirs struct {
	*table[meta.Inode, meta.Dir]
}

func (t dirs) Add(dir meta.Inode, s meta.Stats) {
	for d := t.m[dir]; d != nil; d = t.m[d.Parent] {
		d.Stats.Add(&s)
	}
}

func (t dirs) Count(dir meta.Inode, elements, subdirs uint32) {
	if d := t.m[dir]; d != nil {
		d.Elements += elements
		d.Subdirs += subdirs
	}
}

func (t dirs) Up(dir meta.Inode) (meta.Inode, string, bool) {
	d, ok := t.Get(dir)
	return d.Parent, d.Name, ok
}

type edges struct{ m map[meta.Inode][]meta.Edge }

func (t *edges) index(parent meta.Inode, name []byte) int {
	return slices.IndexFunc(t.m[parent], func(e meta.Edge) bool { return bytes.Equal(e.Name, name) })
}

func (t *edges) Get(parent meta.Inode, name []byte) (meta.Edge, bool) {
	i := t.index(parent, name)
	if i < 0 {
		return meta.Edge{}, false
	}
	e := t.m[parent][i]
	e.Name = nil
	return e, true
}

func (t *edges) InsertHead(parent meta.Inode, name []byte, child meta.Inode, dir bool, id uint64) {
	if t.index(parent, name) >= 0 {
		panic("metatest: InsertHead of a name that is present")
	}
	order := cmp.Or(id, meta.NoEdgeID)
	if list := t.m[parent]; len(list) > 0 && list[0].Order <= order {
		order = list[0].Order - 1
	}
	e := meta.Edge{Child: child, Dir: dir, ID: id, Order: order, Name: bytes.Clone(name)}
	t.m[parent] = slices.Insert(t.m[parent], 0, e)
}

func (t *edges) InsertTail(parent meta.Inode, name []byte, child meta.Inode, dir bool, id uint64) {
	order := cmp.Or(id, meta.NoEdgeID)
	if list := t.m[parent]; len(list) > 0 && list[len(list)-1].Order >= order {
		order = list[len(list)-1].Order + 1
	}
	t.m[parent] = append(t.m[parent], meta.Edge{Child: child, Dir: dir, ID: id, Order: order, Name: bytes.Clone(name)})
}

func (t *edges) SetID(parent meta.Inode, name []byte, id uint64) {
	t.m[parent][t.index(parent, name)].ID = id
}

func (t *edges) Delete(parent meta.Inode, name []byte) {
	i := t.index(parent, name)
	if t.m[parent] = slices.Delete(t.m[parent], i, i+1); len(t.m[parent]) == 0 {
		delete(t.m, parent)
	}
}

func (t *edges) List(parent meta.Inode) []meta.Edge { return slices.Clone(t.m[parent]) }

func (t *edges) Find(parent, child meta.Inode, hash uint32) ([]byte, bool) {
	for _, e := range t.m[parent] {
		if e.Child == child && meta.HashName(e.Name) == hash {
			return e.Name, true
		}
	}
	return nil, false
}

func (t *edges) Scan() iter.Seq2[meta.Inode, []meta.Edge] {
	return func(yield func(meta.Inode, []meta.Edge) bool) {
		for _, parent := range slices.Sorted(maps.Keys(t.m)) {
			if !yield(parent, t.List(parent)) {
				return
			}
		}
	}
}

type detached struct {
	m    map[meta.Inode]meta.Detached
	list []meta.Inode // newest first
}

func (t *detached) Get(ino meta.Inode) (meta.Detached, bool) {
	d, ok := t.m[ino]
	return d, ok
}

func (t *detached) InsertHead(ino meta.Inode, d meta.Detached) {
	if _, ok := t.m[ino]; ok {
		panic("metatest: InsertHead of an inode that is present")
	}
	t.m[ino] = d
	t.list = slices.Insert(t.list, 0, ino)
}

func (t *detached) InsertTail(ino meta.Inode, d meta.Detached) {
	if _, ok := t.m[ino]; ok {
		panic("metatest: InsertTail of an inode that is present")
	}
	t.m[ino] = d
	t.list = append(t.list, ino)
}

func (t *detached) Delete(ino meta.Inode) {
	i := slices.Index(t.list, ino)
	t.list = slices.Delete(t.list, i, i+1)
	delete(t.m, ino)
}

func (t *detached) Bucket(kind meta.Type, bucket uint32) []meta.Inode {
	buckets := uint32(meta.TrashBuckets)
	if kind == meta.TypeSustained {
		buckets = meta.SustainedBuckets
	}
	var list []meta.Inode
	for _, ino := range t.list {
		if t.m[ino].Kind == kind && uint32(ino)%buckets == bucket {
			list = append(list, ino)
		}
	}
	return list
}

type xattrs struct{ m map[meta.Inode][]meta.Xattr }

func (t *xattrs) index(ino meta.Inode, name []byte) int {
	return slices.IndexFunc(t.m[ino], func(x meta.Xattr) bool { return x.Name == string(name) })
}

func (t *xattrs) Get(ino meta.Inode, name []byte) ([]byte, bool) {
	i := t.index(ino, name)
	if i < 0 {
		return nil, false
	}
	return t.m[ino][i].Value, true
}

func (t *xattrs) Names(ino meta.Inode) []string {
	var names []string
	for _, x := range t.m[ino] {
		names = append(names, x.Name)
	}
	return names
}

func (t *xattrs) Put(ino meta.Inode, name, value []byte) {
	x := meta.Xattr{Name: string(name), Value: bytes.Clone(value)}
	if i := t.index(ino, name); i >= 0 {
		t.m[ino][i] = x
		return
	}
	t.m[ino] = slices.Insert(t.m[ino], 0, x)
}

func (t *xattrs) Append(ino meta.Inode, name, value []byte) {
	t.m[ino] = append(t.m[ino], meta.Xattr{Name: string(name), Value: bytes.Clone(value)})
}

func (t *xattrs) Delete(ino meta.Inode, name []byte) {
	i := t.index(ino, name)
	if t.m[ino] = slices.Delete(t.m[ino], i, i+1); len(t.m[ino]) == 0 {
		delete(t.m, ino)
	}
}

func (t *xattrs) DeleteAll(ino meta.Inode) { delete(t.m, ino) }

func (t *xattrs) Scan() iter.Seq2[meta.Inode, []meta.Xattr] {
	return func(yield func(meta.Inode, []meta.Xattr) bool) {
		for _, ino := range slices.Sorted(maps.Keys(t.m)) {
			if !yield(ino, t.m[ino]) {
				return
			}
		}
	}
}

type openKey struct {
	session meta.SessionID
	inode   meta.Inode
}

type openTable struct{ m map[openKey]bool }

func (t *openTable) Has(s meta.SessionID, ino meta.Inode) bool { return t.m[openKey{s, ino}] }
func (t *openTable) Add(s meta.SessionID, ino meta.Inode)      { t.m[openKey{s, ino}] = true }
func (t *openTable) Remove(s meta.SessionID, ino meta.Inode)   { delete(t.m, openKey{s, ino}) }

func (t *openTable) Any(ino meta.Inode) bool {
	for k := range t.m {
		if k.inode == ino {
			return true
		}
	}
	return false
}

func (t *openTable) Of(s meta.SessionID) []meta.Inode {
	var list []meta.Inode
	for k := range t.m {
		if k.session == s {
			list = append(list, k.inode)
		}
	}
	slices.Sort(list)
	return list
}

func (t *openTable) Scan() iter.Seq2[meta.SessionID, meta.Inode] {
	return func(yield func(meta.SessionID, meta.Inode) bool) {
		keys := slices.SortedFunc(maps.Keys(t.m), func(a, b openKey) int {
			return cmp.Or(cmp.Compare(a.inode, b.inode), cmp.Compare(a.session, b.session))
		})
		for _, k := range keys {
			if !yield(k.session, k.inode) {
				return
			}
		}
	}
}

type inodes struct {
	used map[meta.Inode]bool
	low  meta.Inode // all below it are used
	free []meta.FreedInode
}

func (t *inodes) Alloc() meta.Inode {
	for t.used[t.low] {
		t.low++
	}
	t.used[t.low] = true
	return t.low
}

func (t *inodes) Reserve(ino meta.Inode) { t.used[ino] = true }
func (t *inodes) Release(ino meta.Inode) {
	delete(t.used, ino)
	t.low = min(t.low, ino)
}
func (t *inodes) PushFree(f meta.FreedInode) { t.free = append(t.free, f) }
func (t *inodes) PopFree()                   { t.free = t.free[1:] }
func (t *inodes) FreeLen() uint32            { return uint32(len(t.free)) }

func (t *inodes) FirstFree() (meta.FreedInode, bool) {
	if len(t.free) == 0 {
		return meta.FreedInode{}, false
	}
	return t.free[0], true
}

func (t *inodes) ClampFree(ts meta.Time) {
	for i := range t.free {
		t.free[i].Freed = min(t.free[i].Freed, ts)
	}
}

func (t *inodes) ScanFree() iter.Seq[meta.FreedInode] { return slices.Values(t.free) }
