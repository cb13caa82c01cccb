package bench

import (
	"cmp"
	"slices"
)

const (
	snapOverwrite   = 0x01
	snapHardLinks   = 0x08
	snapDelete      = 0x80
	snapshotLimit   = 3000 // nodes in one snapshot
	snapshotsAtOnce = 200
)

// snapshotOf is a copy under the snapshot directory, and what it was made from.
type snapshotOf struct {
	source *node
	copy   *edge
}

// snapResult is what SNAPSHOT reports.
type snapResult struct {
	xor, removed, same, existing, links, made uint64
}

func (g *generator) snapshotLine(src uint32, name string, mode uint64, r snapResult) {
	const sessionFlags, umask = 72, 0o022
	g.begin("SNAPSHOT")
	g.line = appendList(g.line, []uint64{uint64(src), uint64(g.snapRoot.inode)})
	g.line = append(g.line, ',')
	g.line = appendEscaped(g.line, name)
	g.line = append(g.line, ',')
	g.line = appendList(g.line, []uint64{mode, sessionFlags, uidRoot})
	g.line = append(g.line, ",[0],"...)
	g.line = appendList(g.line, []uint64{umask})
	g.line = append(g.line, "):"...)
	g.line = appendList(g.line, []uint64{r.xor, r.removed, r.same, r.existing, r.links, r.made})
	g.end()
}

// countUpTo returns the number of nodes under d, or limit if there are more.
func countUpTo(d *node, limit int) int {
	count := len(d.entries)
	for _, e := range d.entries {
		if count >= limit {
			return limit
		}
		if e.child.kind == kindDir {
			count += countUpTo(e.child, limit-count)
		}
	}
	return min(count, limit)
}

func (g *generator) snapshotSource() *node {
	d := g.pickDir()
	if d == g.root || d == g.scratch || countUpTo(d, snapshotLimit) >= snapshotLimit {
		return nil
	}
	return d
}

func (g *generator) takeSnapshot(*proc) {
	src := g.snapshotSource()
	if src == nil || len(g.snapshots) >= snapshotsAtOnce {
		return
	}
	mode := uint64(0)
	if g.chance(30) {
		mode = snapHardLinks
	}
	c := copier{g: g}
	if mode == snapHardLinks {
		c.copies = map[*node]*node{}
	}
	name := g.name(g.snapRoot, dirForms)
	e := c.copyNew(src, g.snapRoot, name)
	g.snapshots = append(g.snapshots, &snapshotOf{src, e})
	g.snapshotLine(src.inode, name, mode, c.snapResult)
}

// retakeSnapshot makes a snapshot again over an existing one.
func (g *generator) retakeSnapshot(*proc) {
	if len(g.snapshots) == 0 {
		return
	}
	s := g.snapshots[g.rng.IntN(len(g.snapshots))]
	if s.source.state != live || s.source.index < 0 || countUpTo(s.source, snapshotLimit) >= snapshotLimit {
		return
	}
	c := copier{g: g}
	c.copyOver(s.source, s.copy)
	g.snapshotLine(s.source.inode, s.copy.name, snapOverwrite, c.snapResult)
}

func (g *generator) removeSnapshot(*proc) {
	if len(g.snapshots) < snapshotsAtOnce/10 {
		return
	}
	i := g.rng.IntN(len(g.snapshots))
	s := g.snapshots[i]
	g.snapshots = slices.Delete(g.snapshots, i, i+1)
	var r snapResult
	name := s.copy.name
	g.removeCopy(s.copy, &r)
	g.snapshotLine(0, name, snapDelete, r)
}

// removeCopy drops a copy for good, whatever its trash time was.
func (g *generator) removeCopy(e *edge, r *snapResult) {
	for _, child := range newestFirst(e.child.entries) {
		g.removeCopy(child, r)
	}
	e.child.trash = 0
	r.xor ^= uint64(e.child.inode)
	r.removed++
	g.drop(e)
}

// newestFirst is the order in which the master goes through a directory.
func newestFirst(entries []*edge) []*edge {
	return slices.SortedFunc(slices.Values(entries), func(a, b *edge) int { return cmp.Compare(b.seq, a.seq) })
}

// copier makes one snapshot.
type copier struct {
	g *generator
	snapResult
	copies map[*node]*node // of files with several names, if these are kept
}

func (c *copier) copyNew(src, parent *node, name string) *edge {
	linked := c.copies != nil && src.kind != kindDir && len(src.edges) > 1
	if linked && c.copies[src] != nil {
		c.links++
		return c.g.link(parent, c.copies[src], name)
	}
	e := c.g.newNode(parent, name, src.kind)
	dst := e.child
	c.made++
	c.xor ^= uint64(dst.inode)
	if linked {
		c.copies[src] = dst
	}
	c.copyContent(src, dst)
	dst.eattr, dst.hasACL = src.eattr, src.hasACL
	for _, child := range newestFirst(src.entries) {
		c.copyNew(child.child, dst, child.name)
	}
	return e
}

func (c *copier) copyContent(src, dst *node) {
	dst.class, dst.trash, dst.length = src.class, src.trash, src.length
	dst.chunks = slices.Clone(src.chunks)
	for _, id := range dst.chunks {
		c.g.attach(id)
	}
}

// copyOver copies src onto the existing dst, which is of the same kind.
func (c *copier) copyOver(src *node, dst *edge) {
	if src.kind == kindFile {
		c.replaceFile(src, dst)
		return
	}
	c.existing++
	if src.kind != kindDir {
		return
	}
	names := make(map[string]*edge, len(dst.child.entries))
	for _, e := range dst.child.entries {
		names[e.name] = e
	}
	for _, child := range newestFirst(src.entries) {
		if old := names[child.name]; old != nil {
			c.copyOver(child.child, old)
		} else {
			c.copyNew(child.child, dst.child, child.name)
		}
	}
}

func (c *copier) replaceFile(src *node, old *edge) {
	if old.child.length == src.length && slices.Equal(old.child.chunks, src.chunks) {
		c.same++
		return
	}
	parent, name := old.parent, old.name
	c.xor ^= uint64(old.child.inode)
	c.g.drop(old)
	e := c.g.newNode(parent, name, kindFile)
	c.existing++
	c.xor ^= uint64(e.child.inode)
	c.copyContent(src, e.child)
}
