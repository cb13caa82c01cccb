package server

import (
	"encoding/binary"
	"slices"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/image"
)

// inlineNames is the size of directory that is listed under the image's lock;
// larger ones are listed from a view, which keeps nobody waiting.
const inlineNames = 2000

// pageNames is the largest page that is given from a kept listing. Mounts of
// 4.59 ask for 4096 names at a time.
const pageNames = 8192

// usualEntry is about the length of an entry with attributes.
const usualEntry = 64

// Cursors of a listing that are not the ids of edges.
const (
	cursorSelf = iota
	cursorParent
	cursorFirst

	cursorEnd = 1<<63 - 1 // there is no other page; told since 4.58
)

func (c *conn) readdir() error {
	var p wire.Readdir
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	who := c.as(&p.Identity)
	ino, n, ok := who.Find(c.st, p.Inode, false)
	want := uint16(changelog.MayRead)
	if p.Flags&wire.ReaddirAttr != 0 {
		want |= changelog.MayExec
	}
	status := meta.OK
	switch {
	case c.disabled(changelog.DisableReaddir):
		status = meta.EPERM
	case !ok:
		status = meta.ENOENT
	case n.Type != meta.TypeDir:
		status = meta.ENOTDIR
	case p.Cursor == cursorSelf && !who.May(c.st, ino, &n, want):
		status = meta.EACCES
	default:
		if err := c.accessTime(who, &changelog.AccessRequest{Inode: p.Inode}); err != nil {
			return err
		}
		n, _ = c.st.Nodes.Get(ino)
	}
	c.count(statReaddir)
	if status != meta.OK {
		return c.status(wire.FuseReaddir, p.MsgID, status)
	}
	d, _ := c.st.Dirs.Get(ino)
	l := c.lister
	*l = listing{e: &c.out, st: c.st, who: who, req: p, client: c.release, edges: l.edges[:0], nodes: l.nodes[:0], order: l.order, orders: &c.srv.orders}
	if d.Elements <= inlineNames {
		l.append(ino, &n)
		clear(l.edges) // they alias the image
		return nil
	}
	paged := p.Max <= pageNames
	if paged && p.Cursor >= cursorFirst {
		var found bool
		if l.kept, found = c.srv.pages.find(ino, p.Cursor, time.Now()); found {
			l.isKept = true
			l.append(ino, &n)
			l.kept = nil
			return nil
		}
	}
	caller, client := *who, c.release
	caller.GIDs = slices.Clone(who.GIDs)
	req := p
	req.Identity.GIDs = nil
	return c.later(wire.FuseReaddir, p.MsgID, func(st *meta.State, e *wire.Encoder) meta.Status {
		l := listing{e: e, st: st, who: &caller, req: req, client: client}
		n, ok := st.Nodes.Get(ino)
		if !ok {
			return meta.ENOENT
		}
		if !paged {
			e.Buf = make([]byte, 0, int(d.Elements)*usualEntry)
		}
		l.append(ino, &n)
		if paged {
			c.srv.pages.keep(ino, l.list(ino), time.Now())
		}
		return meta.OK
	})
}

// listing makes one answer to READDIR.
type listing struct {
	e      *wire.Encoder
	st     *meta.State
	who    *changelog.Caller
	req    wire.Readdir
	client wire.Release
	edges  []meta.Edge // scratch
	order  order
	orders *orders      // nil: none are kept
	nodes  []*meta.Node // scratch
	left   uint32       // entries that may still be given
	next   uint64       // cursor of the next page

	isKept bool        // the names are those in kept
	kept   []meta.Edge // from the cursor on

	entryScratch wire.DirEntry
	attributes   changelog.Attributes // scratch
}

// fastEdges is the part of an image that lists names without copying them; they
// are in no order, and valid while the state does not change.
type fastEdges interface {
	AppendList(list []meta.Edge, parent meta.Inode) []meta.Edge
	// Stamp returns what differs when the names of parent do.
	Stamp(parent meta.Inode) image.Stamp
}

var dot, dotdot = []byte("."), []byte("..")

// append appends the answer for the directory ino.
func (l *listing) append(ino meta.Inode, n *meta.Node) {
	head := wire.ReaddirReply{MsgID: l.req.MsgID, Paged: l.req.Paged, Cursor: l.req.Cursor}
	head.Begin(l.e)
	defer l.e.End()
	if l.req.Paged && l.client >= pagedRead {
		at := len(l.e.Buf) - 8
		defer func() { binary.BigEndian.PutUint64(l.e.Buf[at:], l.next) }()
	}
	l.left, l.next = l.req.Max, cursorSelf
	cursor := l.req.Cursor
	if cursor == cursorSelf && l.take() {
		l.entry(dot, ino, n, n)
		l.next = cursorParent
	}
	if cursor <= cursorParent && l.take() {
		parent := l.who.Root
		if d, _ := l.st.Dirs.Get(ino); ino != l.who.Root && d.Parent != 0 {
			parent = d.Parent
		}
		up, _ := l.st.Nodes.Get(parent)
		l.entry(dotdot, parent, &up, n)
		l.next = cursorFirst
	}
	if l.left == 0 {
		return
	}
	edges, begun := l.kept, true
	if !l.isKept {
		edges, begun = l.list(ino), cursor < cursorFirst
	}
	for !begun && len(edges) > 0 {
		if begun = edges[0].ID >= cursor; !begun {
			edges = edges[1:]
		}
	}
	for len(edges) > 0 && l.left > 0 {
		some := min(len(edges), nodesAtOnce, int(l.left))
		l.some(edges[:some], n)
		edges = edges[some:]
	}
	l.next = cursorEnd
	if len(edges) > 0 {
		l.next = edges[0].ID
	}
}

// nodesAtOnce is how many nodes are looked up together.
const nodesAtOnce = 64

// fastNodes is the part of an image that gives nodes without copying them.
type fastNodes interface {
	// PeekAll appends the nodes that names lead to, nil where there is none.
	// They are valid while the state does not change, and not to be changed.
	PeekAll(list []*meta.Node, names []meta.Edge) []*meta.Node
}

// some appends entries for names of a directory; those without a node are
// left out.
func (l *listing) some(edges []meta.Edge, dir *meta.Node) {
	if fast, ok := l.st.Nodes.(fastNodes); ok {
		l.nodes = fast.PeekAll(l.nodes[:0], edges)
	} else {
		l.nodes = l.nodes[:0]
		for i := range edges {
			if n, ok := l.st.Nodes.Get(edges[i].Child); ok {
				l.nodes = append(l.nodes, &n)
			} else {
				l.nodes = append(l.nodes, nil)
			}
		}
	}
	for i, n := range l.nodes {
		if n != nil && l.take() {
			l.entry(edges[i].Name, edges[i].Child, n, dir)
		}
	}
	clear(l.nodes)
}

func (l *listing) take() bool {
	if l.left == 0 {
		return false
	}
	if l.left != ^uint32(0) {
		l.left--
	}
	return true
}

// list returns the names in the directory's order.
func (l *listing) list(ino meta.Inode) []meta.Edge {
	fast, ok := l.st.Edges.(fastEdges)
	if !ok {
		return l.st.Edges.List(ino)
	}
	if l.orders == nil {
		l.edges = l.order.sort(fast.AppendList(l.edges[:0], ino))
		return l.edges
	}
	now := fast.Stamp(ino)
	if edges, ok := l.orders.find(ino, now); ok {
		return edges
	}
	l.edges = l.order.sort(fast.AppendList(l.edges[:0], ino))
	l.orders.listed(ino, now, l.edges)
	return l.edges
}

func (l *listing) entry(name []byte, ino meta.Inode, n, dir *meta.Node) {
	entry := &l.entryScratch
	entry.Name, entry.Inode, entry.Attr.Type = name, ino, n.Type
	if ino == l.who.Root {
		entry.Inode = meta.Root
	}
	if l.req.Flags&wire.ReaddirAttr != 0 {
		l.who.SetAttributes(&l.attributes, l.st, ino, n, dir)
		setAttr(&entry.Attr, &l.attributes)
	}
	entry.Append(l.e, l.req.Flags, l.client)
}
