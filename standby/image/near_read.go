package image

import "mfsstandby/changelog/meta"

// Near does for the requests of a reader what near does for entries. Where
// entries tell the inodes that their names lead to, here names are looked up,
// and the nodes and first chunks behind them are brought, too. It is one
// goroutine's; the zero value is ready.
type Near struct {
	dirs    []*page[dirPage]
	buckets []*page[bucketPage]
	nodes   []meta.Inode
	found   []*meta.Node
	seen    uint64 // so that no reading is left out as useless
}

// Bring brings near what is cached of that which a reader wants. It is called
// by the function given to Read.
func (img *Image) Bring(n *Near, w *meta.Wants) {
	c := img.core
	n.dirs, n.buckets, n.found = n.dirs[:0], n.buckets[:0], n.found[:0]
	seen := uint64(0)
	for _, ino := range w.Nodes {
		key, _ := nodeKey(ino)
		seen += c.nodes.pages.slot(key)
	}
	for _, name := range w.Names {
		seen += c.dirs.pages.slot(uint64(name.Parent))
	}
	n.nodes = append(n.nodes[:0], w.Nodes...)
	n.seen += seen + n.names(c, w.Names) + n.behind(c)
}

// names finds names, step by step as near does, and lists what they lead to.
func (n *Near) names(c *core, names []meta.WantedName) (seen uint64) {
	for _, name := range names {
		p := c.dirs.pages.find(uint64(name.Parent))
		n.dirs = append(n.dirs, p)
		if p != nil {
			seen += uint64(p.val.buckets)
		}
	}
	key := func(i int) uint64 {
		return bucketKey(names[i].Parent, bucketOf(names[i].Hash, n.dirs[i].val.buckets))
	}
	for i, p := range n.dirs {
		if p != nil && p.val.buckets > 0 {
			seen += c.buckets.pages.slot(key(i))
		}
	}
	for i, p := range n.dirs {
		var b *page[bucketPage]
		if p != nil && p.val.buckets > 0 {
			b = c.buckets.pages.find(key(i))
		}
		n.buckets = append(n.buckets, b)
		if b != nil {
			seen += uint64(len(b.val.b))
		}
	}
	for _, b := range n.buckets {
		if b != nil {
			for at := 0; at < len(b.val.b); at += cacheLine {
				seen += uint64(b.val.b[at])
			}
		}
	}
	for i, b := range n.buckets {
		if b == nil {
			continue
		}
		if child := b.val.child(names[i].Hash); child != 0 {
			n.nodes = append(n.nodes, child)
			key, _ := nodeKey(child)
			seen += c.nodes.pages.slot(key)
		}
	}
	return seen
}

// behind brings nodes and their first chunks.
func (n *Near) behind(c *core) (seen uint64) {
	for _, ino := range n.nodes {
		key, i := nodeKey(ino)
		if p := c.nodes.pages.find(key); p != nil {
			n.found = append(n.found, &p.val.n[i])
		}
	}
	for _, p := range n.found {
		seen += uint64(p.Type) + uint64(p.Ctime) + uint64(p.Chunk0)
	}
	for _, p := range n.found {
		if p.Chunk0 != 0 {
			key, _ := chunkKey(p.Chunk0)
			seen += c.chunks.pages.slot(key)
		}
	}
	for _, p := range n.found {
		if p.Chunk0 != 0 {
			key, i := chunkKey(p.Chunk0)
			if q := c.chunks.pages.find(key); q != nil {
				seen += uint64(q.val.c[i].Version)
			}
		}
	}
	clear(n.found) // what is evicted shall not be kept by this
	clear(n.dirs)
	clear(n.buckets)
	return seen
}

// child returns what a name of that hash leads to, 0 if there is none.
func (p *bucketPage) child(hash uint32) meta.Inode {
	for at := 0; at < len(p.b); {
		e := p.b[at:]
		if edgeHash(e) == hash {
			return edgeChild(e)
		}
		at += edgeLen(e)
	}
	return 0
}
