package metatest

import (
	"maps"
	"slices"

	"mfsstandby/changelog/meta"
)

// Clone returns a copy of a State that New made.
func Clone(st *meta.State) *meta.State {
	scalars := *st.Scalars
	ino := st.Inodes.(*inodes)
	det := st.Detached.(*detached)
	return &meta.State{
		Scalars:  &scalars,
		Nodes:    cloneTable(st.Nodes),
		Dirs:     dirs{cloneTable[meta.Inode, meta.Dir](st.Dirs.(dirs).table)},
		Symlinks: cloneTable(st.Symlinks),
		Slots:    cloneTable(st.Slots),
		Hard:     cloneTable(st.Hard),
		Edges:    &edges{m: cloneLists(st.Edges.(*edges).m)},
		Detached: &detached{m: maps.Clone(det.m), list: slices.Clone(det.list)},
		Chunks:   cloneTable(st.Chunks),
		Xattrs:   &xattrs{m: cloneLists(st.Xattrs.(*xattrs).m)},
		ACLs:     cloneTable(st.ACLs),
		Quotas:   cloneTable(st.Quotas),
		Sessions: cloneTable(st.Sessions),
		Open:     &openTable{m: maps.Clone(st.Open.(*openTable).m)},
		Flocks:   cloneTable(st.Flocks),
		Plocks:   cloneTable(st.Plocks),
		Servers:  cloneTable(st.Servers),
		Classes:  cloneTable(st.Classes),
		Patterns: cloneTable(st.Patterns),
		Inodes:   &inodes{used: maps.Clone(ino.used), low: ino.low, free: slices.Clone(ino.free)},
	}
}

func cloneTable[K comparable, V any](t meta.Table[K, V]) *table[K, V] {
	from := t.(*table[K, V])
	to := newTable[K, V](from.cmp)
	for k, v := range from.m {
		c := *v // slices in it are never changed in place
		to.m[k] = &c
	}
	return to
}

func cloneLists[V any](m map[meta.Inode][]V) map[meta.Inode][]V {
	to := make(map[meta.Inode][]V, len(m))
	for k, v := range m {
		to[k] = slices.Clone(v)
	}
	return to
}
