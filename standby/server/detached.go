package server

import (
	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// detachedHandlers are what meta mounts ask about files in the trash and
// sustained ones, and the ways that lead to a node.
func detachedHandlers() map[wire.Type]handler {
	return map[wire.Type]handler{
		wire.FuseGetTrash:        {states: mounted, serve: (*conn).getTrash},
		wire.FuseGetSustained:    {states: mounted, serve: (*conn).getSustained},
		wire.FuseGetDetachedAttr: {states: mounted, serve: (*conn).detachedAttr},
		wire.FuseGetTrashPath:    {states: mounted, serve: (*conn).trashPath},
		wire.FuseParents:         {states: mounted, serve: (*conn).parents},
		wire.FusePaths:           {states: mounted, serve: (*conn).paths},
	}
}

// inlineDetached is how many files may be listed under the image's lock.
const inlineDetached = 500

func (c *conn) getTrash() error {
	var p wire.GetTrash
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	from, to := p.Bucket, p.Bucket+1
	if p.Bucket >= meta.TrashBuckets {
		from, to = 0, meta.TrashBuckets
	}
	return c.listDetached(wire.FuseGetTrash, p.MsgID, meta.TypeTrash, from, to, c.st.Scalars.Nodes.Trash)
}

func (c *conn) getSustained() error {
	var p wire.EmptyRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	return c.listDetached(wire.FuseGetSustained, p.MsgID, meta.TypeSustained, 0, meta.SustainedBuckets, c.st.Scalars.Nodes.Sustained)
}

// listDetached lists the files in some buckets; all is how many there are in all.
func (c *conn) listDetached(t wire.Type, id uint32, kind meta.Type, from, to uint32, all uint64) error {
	if c.ses.params().Root != 0 {
		return c.status(t, id, meta.EPERM)
	}
	answer := func(st *meta.State, e *wire.Encoder) meta.Status {
		r := wire.DetachedReply{MsgID: id}
		r.Begin(e, t)
		defer e.End()
		var name []byte
		for b := from; b < to; b++ {
			for _, ino := range st.Detached.Bucket(kind, b) {
				d, _ := st.Detached.Get(ino)
				name = listedPath(name[:0], d.Path)
				r.Add(e, name, ino)
			}
		}
		return meta.OK
	}
	if all > inlineDetached {
		return c.later(t, id, answer)
	}
	answer(c.st, &c.out)
	return nil
}

// listedPath appends the name under which a meta mount shows a path: without
// slashes, and of a long one its end.
func listedPath(b []byte, path string) []byte {
	const most, cut = 240, "(...)"
	if len(path) > most {
		b = append(b, cut...)
		path = path[len(path)-most+len(cut):]
	}
	for i := range len(path) {
		ch := path[i]
		if ch == '/' {
			ch = '|'
		}
		b = append(b, ch)
	}
	return b
}

// Kinds of GetDetachedAttr.
const (
	kindAny = iota
	kindTrash
	kindSustained
)

func (c *conn) detachedAttr() error {
	var p wire.GetDetachedAttr
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	n, ok := c.st.Nodes.Get(p.Inode)
	status := meta.OK
	switch {
	case c.ses.params().Root != 0:
		status = meta.EPERM
	case p.Kind > kindSustained:
		status = meta.EINVAL
	case !ok, n.Type == meta.TypeTrash && p.Kind == kindSustained, n.Type == meta.TypeSustained && p.Kind == kindTrash,
		n.Type != meta.TypeTrash && n.Type != meta.TypeSustained:
		status = meta.ENOENT
	}
	if status != meta.OK {
		return c.status(wire.FuseGetDetachedAttr, p.MsgID, status)
	}
	a := c.asNobody(n.UID, n.GID).AttributesOf(c.st, p.Inode, &n, nil)
	answer := wire.AttrReply{MsgID: p.MsgID, Attr: attrOf(&a)}
	answer.Append(&c.out, wire.FuseGetDetachedAttr, c.release)
	return nil
}

func (c *conn) trashPath() error {
	var p wire.InodeRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	d, ok := c.st.Detached.Get(p.Inode)
	switch {
	case c.ses.params().Root != 0:
		return c.status(wire.FuseGetTrashPath, p.MsgID, meta.EPERM)
	case !ok || d.Kind != meta.TypeTrash:
		return c.status(wire.FuseGetTrashPath, p.MsgID, meta.ENOENT)
	}
	answer := wire.TrashPathReply{MsgID: p.MsgID, Path: []byte(d.Path)}
	answer.Append(&c.out)
	return nil
}

func (c *conn) parents() error {
	var p wire.InodeRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	who := c.asNobody(0, 0)
	ino, n, ok := who.Find(c.st, p.Inode, false)
	if !ok {
		return c.status(wire.FuseParents, p.MsgID, meta.ENOENT)
	}
	var list []uint32
	if ino != who.Root {
		for _, l := range changelog.Parents(c.st, ino, &n) {
			switch {
			case l.Parent == who.Root:
				list = append(list, uint32(meta.Root))
			case who.Root == meta.Root || changelog.IsBelow(c.st, l.Parent, who.Root):
				list = append(list, uint32(l.Parent))
			}
		}
	}
	answer := wire.ParentsReply{MsgID: p.MsgID, Parents: wire.PackNumbers(list...)}
	answer.Append(&c.out)
	return nil
}

func (c *conn) paths() error {
	var p wire.InodeRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	who := c.asNobody(0, 0)
	ino, n, ok := who.Find(c.st, p.Inode, false)
	if !ok {
		return c.status(wire.FusePaths, p.MsgID, meta.ENOENT)
	}
	answer := wire.PathsReply{MsgID: p.MsgID}
	answer.Begin(&c.out)
	defer c.out.End()
	for _, path := range NodePaths(c.st, who.Root, ino, &n) {
		c.out.Text([]byte(path))
	}
	return nil
}

// NodePaths returns what a master tells of the ways to a node: its paths from
// top, "/" for top itself, or where it is without a directory.
func NodePaths(st *meta.State, top, ino meta.Inode, n *meta.Node) []string {
	switch n.Type {
	case meta.TypeTrash:
		d, _ := st.Detached.Get(ino)
		return []string{"./TRASH (" + d.Path + ")"}
	case meta.TypeSustained:
		d, _ := st.Detached.Get(ino)
		return []string{"./SUSTAINED (" + d.Path + ")"}
	}
	if ino == top {
		return []string{"/"}
	}
	return changelog.AppendPaths(nil, st, top, ino, n)
}
