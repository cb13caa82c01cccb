package server

import (
	"slices"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// inlineNames is the size of directory that is listed under the image's lock;
// larger ones are listed from a view, which keeps nobody waiting.
const inlineNames = 2000

// usualEntry is about the length of an entry with attributes.
const usualEntry = 64

// Cursors of a listing that are not the ids of edges.
const (
	cursorSelf = iota
	cursorParent
	cursorFirst
)

func (c *conn) readdir() error {
	var p wire.Readdir
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	c.count(statReaddir)
	who := c.as(&p.Identity)
	ino, n, ok := who.Find(c.st, p.Inode, false)
	want := uint16(changelog.MayRead)
	if p.Flags&wire.ReaddirAttr != 0 {
		want |= changelog.MayExec
	}
	switch {
	case c.disabled(changelog.DisableReaddir):
		return c.status(wire.FuseReaddir, p.MsgID, meta.EPERM)
	case !ok:
		return c.status(wire.FuseReaddir, p.MsgID, meta.ENOENT)
	case n.Type != meta.TypeDir:
		return c.status(wire.FuseReaddir, p.MsgID, meta.ENOTDIR)
	case p.Cursor == cursorSelf && !who.May(c.st, ino, &n, want):
		return c.status(wire.FuseReaddir, p.MsgID, meta.EACCES)
	}
	d, _ := c.st.Dirs.Get(ino)
	l := &c.lister
	*l = listing{e: &c.out, st: c.st, who: who, req: p, client: c.release, edges: l.edges[:0], order: l.order}
	if d.Elements <= inlineNames {
		l.append(ino, &n)
		clear(l.edges) // they alias the image
		return nil
	}
	paged := p.Max <= inlineNames
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
			l.list(ino)
			c.srv.pages.keep(ino, l.edges, time.Now())
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
	left   uint32 // entries that may still be given

	isKept bool        // the names are those in kept
	kept   []meta.Edge // from the cursor on

	entryScratch wire.DirEntry
}

// fastEdges is the part of an image that lists names without copying them; they
// are in no order, and valid while the state does not change.
type fastEdges interface {
	AppendList(list []meta.Edge, parent meta.Inode) []meta.Edge
}

var dot, dotdot = []byte("."), []byte("..")

// append appends the answer for the directory ino.
func (l *listing) append(ino meta.Inode, n *meta.Node) {
	head := wire.ReaddirReply{MsgID: l.req.MsgID, Paged: l.req.Paged, Cursor: l.req.Cursor}
	head.Begin(l.e)
	defer l.e.End()
	l.left = l.req.Max
	cursor := l.req.Cursor
	if cursor == cursorSelf && l.take() {
		l.entry(dot, ino, n, n)
	}
	if cursor <= cursorParent && l.take() {
		parent := l.who.Root
		if d, _ := l.st.Dirs.Get(ino); ino != l.who.Root && d.Parent != 0 {
			parent = d.Parent
		}
		up, _ := l.st.Nodes.Get(parent)
		l.entry(dotdot, parent, &up, n)
	}
	if l.left == 0 {
		return
	}
	edges, begun := l.kept, true
	if !l.isKept {
		l.list(ino)
		edges, begun = l.edges, cursor < cursorFirst
	}
	for i := range edges {
		e := &edges[i]
		if begun = begun || e.ID >= cursor; !begun {
			continue
		}
		child := l.node(e.Child)
		if child == nil {
			continue
		}
		if !l.take() {
			return
		}
		l.entry(e.Name, e.Child, child, n)
	}
}

// fastNodes is the part of an image that gives nodes without copying them.
type fastNodes interface {
	Peek(ino meta.Inode) (*meta.Node, bool) // valid while the state does not change; not to be changed
}

// node returns a node, nil if there is none.
func (l *listing) node(ino meta.Inode) *meta.Node {
	if fast, ok := l.st.Nodes.(fastNodes); ok {
		n, _ := fast.Peek(ino)
		return n
	}
	n, ok := l.st.Nodes.Get(ino)
	if !ok {
		return nil
	}
	return &n
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

// list collects the names in the directory's order.
func (l *listing) list(ino meta.Inode) {
	fast, ok := l.st.Edges.(fastEdges)
	if !ok {
		l.edges = l.st.Edges.List(ino)
		return
	}
	l.edges = l.order.sort(fast.AppendList(l.edges[:0], ino))
}

func (l *listing) entry(name []byte, ino meta.Inode, n, dir *meta.Node) {
	entry := &l.entryScratch
	entry.Name, entry.Inode, entry.Attr.Type = name, ino, n.Type
	if ino == l.who.Root {
		entry.Inode = meta.Root
	}
	if l.req.Flags&wire.ReaddirAttr != 0 {
		a := l.who.AttributesOf(l.st, ino, n, dir)
		setAttr(&entry.Attr, &a)
	}
	entry.Append(l.e, l.req.Flags, l.client)
}
