package image

import "mfsstandby/changelog/meta"

// near brings what a few hundred entries will look up into the processor's
// cache. Applying an entry is a chain of look-ups, each of which waits for
// memory; here those of many entries do not depend on each other, so that the
// processor has many of them on the way at once. Each loop takes one step of
// the chains: the index's slot, the page, what is behind it.
//
// It reads pages that are cached, and nothing else.
type near struct {
	nodes   []*page[nodePage]
	dirs    []*page[dirPage]
	buckets []*page[bucketPage]
	seen    uint64 // so that no reading is left out as useless
}

const cacheLine = 64

func (n *near) bring(c *core, w *meta.Wants) {
	n.look(c, w)
	n.nodes, n.dirs, n.buckets = n.nodes[:0], n.dirs[:0], n.buckets[:0]
	seen := uint64(0)
	for _, ino := range w.Nodes {
		key, i := nodeKey(ino)
		p := c.nodes.pages.find(key)
		n.nodes = append(n.nodes, p)
		if p != nil {
			seen += p.flushing + uint64(p.val.n[i].Ctime) + uint64(p.val.n[i].Chunk0)
		}
	}
	for _, name := range w.Names {
		p := c.dirs.pages.find(uint64(name.Parent))
		n.dirs = append(n.dirs, p)
		if p != nil {
			seen += p.flushing + p.val.Stats.Length + p.val.min
		}
	}
	for _, ino := range w.Opens {
		if p := c.open.pages.find(uint64(ino) >> sparseBits); p != nil {
			seen += p.flushing + uint64(len(p.val.ents))
		}
	}
	for _, id := range w.Chunks {
		key, i := chunkKey(id)
		if p := c.chunks.pages.find(key); p != nil {
			seen += p.flushing + uint64(p.val.c[i].Version)
		}
	}
	// What is known only now: the buckets of names, the directories of nodes.
	for i, name := range w.Names {
		if p := n.dirs[i]; p != nil && p.val.buckets > 0 {
			seen += c.buckets.pages.slot(bucketKey(name.Parent, bucketOf(name.Hash, p.val.buckets)))
		}
	}
	for i, ino := range w.Nodes {
		if p := n.nodes[i]; p != nil {
			_, at := nodeKey(ino)
			seen += c.dirs.pages.slot(uint64(p.val.n[at].Parent))
		}
	}
	for i, name := range w.Names {
		var b *page[bucketPage]
		if p := n.dirs[i]; p != nil && p.val.buckets > 0 {
			b = c.buckets.pages.find(bucketKey(name.Parent, bucketOf(name.Hash, p.val.buckets)))
		}
		n.buckets = append(n.buckets, b)
		if b != nil {
			seen += uint64(len(b.val.b))
		}
	}
	for i, ino := range w.Nodes {
		if p := n.nodes[i]; p != nil {
			_, at := nodeKey(ino)
			if d := c.dirs.pages.find(uint64(p.val.n[at].Parent)); d != nil {
				seen += d.flushing + d.val.Stats.Length
			}
		}
	}
	for _, b := range n.buckets {
		if b != nil {
			for at := 0; at < len(b.val.b); at += cacheLine {
				seen += uint64(b.val.b[at])
			}
		}
	}
	n.seen += seen
}

// look reads the slots of the indexes.
func (n *near) look(c *core, w *meta.Wants) {
	seen := uint64(0)
	for _, ino := range w.Nodes {
		key, _ := nodeKey(ino)
		seen += c.nodes.pages.slot(key)
	}
	for _, name := range w.Names {
		seen += c.dirs.pages.slot(uint64(name.Parent))
	}
	for _, ino := range w.Opens {
		seen += c.open.pages.slot(uint64(ino) >> sparseBits)
	}
	for _, id := range w.Chunks {
		key, _ := chunkKey(id)
		seen += c.chunks.pages.slot(key)
	}
	n.seen += seen
}

// Expect tells what the next Update will look up. It is a hint.
func (img *Image) Expect(w *meta.Wants) {
	img.writer.Lock()
	defer img.writer.Unlock()
	img.near.bring(img.core, w)
}
