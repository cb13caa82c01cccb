package server

import (
	"slices"
	"sort"
	"sync"
	"time"

	"mfsstandby/changelog/meta"
)

// Whoever reads a large directory in pages gets all of them from one listing,
// which is kept for a while: finding a page costs nothing then, and no name
// comes twice or not at all because another one came or went in between.
// Attributes are those of the moment; names whose node is gone are left out.
const (
	keptLists = 4         // listings kept at once
	keptNames = 2_000_000 // names in all of them
	keptTime  = time.Minute
)

// keptList is the listing of a directory.
type keptList struct {
	dir     meta.Inode
	edges   []meta.Edge // in order; they own their names
	ordered bool        // by id, too
	used    time.Time
}

// pages are the listings kept, latest used first.
type pages struct {
	mu    sync.Mutex // guards what follows
	lists []*keptList
}

// find returns the names of a directory from a cursor on.
func (p *pages) find(dir meta.Inode, cursor uint64, now time.Time) ([]meta.Edge, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lists = slices.DeleteFunc(p.lists, func(l *keptList) bool { return now.Sub(l.used) > keptTime })
	i := slices.IndexFunc(p.lists, func(l *keptList) bool { return l.dir == dir })
	if i < 0 {
		return nil, false
	}
	l := p.lists[i]
	l.used = now
	return l.from(cursor), true
}

// from returns the names from the first whose id is not below the cursor.
func (l *keptList) from(cursor uint64) []meta.Edge {
	below := func(i int) bool { return l.edges[i].ID < cursor }
	if l.ordered {
		return l.edges[sort.Search(len(l.edges), func(i int) bool { return !below(i) }):]
	}
	i := 0
	for i < len(l.edges) && below(i) {
		i++
	}
	return l.edges[i:]
}

// keep keeps a listing in place of an older one of the same directory. edges
// may alias the image.
func (p *pages) keep(dir meta.Inode, edges []meta.Edge, now time.Time) {
	if len(edges) > keptNames {
		return
	}
	l := &keptList{dir: dir, used: now}
	l.edges, _ = cloneEdges(edges)
	l.ordered = slices.IsSortedFunc(l.edges, func(a, b meta.Edge) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lists = slices.DeleteFunc(p.lists, func(o *keptList) bool { return o.dir == dir || now.Sub(o.used) > keptTime })
	p.lists = slices.Insert(p.lists, 0, l)
	total := 0
	for i, o := range p.lists {
		if total += len(o.edges); i >= keptLists || total > keptNames {
			p.lists = p.lists[:i]
			return
		}
	}
}
