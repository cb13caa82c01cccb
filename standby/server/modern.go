package server

import (
	"fmt"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// newestPlain is what a server says it is unless the primary's release has
// packets of its own that this one speaks.
var newestPlain = wire.NewRelease(3, 0, 117)

// announced is what the server says it is, by which clients choose the forms of
// requests: the release of the primary. Before 3.0.75 and from 4.0 to 4.55
// there are forms that this server does not speak; a cluster of these is served
// as 3.0.117 would, which all clients understand.
func announced(st *meta.State) wire.Release {
	r := st.Scalars.Release
	switch {
	case r == 0, r < meta.NewRelease(3, 0, 75), r > meta.Reproduced && r < meta.NewRelease(4, 56, 0):
		return newestPlain
	case r > meta.Latest:
		r = meta.Latest
	}
	return wire.NewRelease(uint16(r>>16), uint8(r>>8), uint8(r))
}

// Releases, of the server and the client, at which what they say changes.
var (
	release4  = wire.NewRelease(4, 0, 0)  // copies are told in eighths, as parts of erasure codes
	pagedRead = wire.NewRelease(4, 58, 0) // directories are read in pages
)

// modern tells whether the image is that of a 4.x primary.
func modern(st *meta.State) bool { return st.Scalars.Release.Since(meta.Release4) }

// modernHandlers are the requests that only clients of 4.x know.
func modernHandlers() map[wire.Type]handler {
	all := map[wire.Type]handler{
		wire.FuseOpData:    {states: mounted, serve: (*conn).opData},
		wire.FuseWorkFlags: {states: mounted, serve: (*conn).workFlags},
		wire.PathLookup:    {states: mounted, serve: (*conn).pathLookup},
		wire.PatternList:   {states: mounted, serve: (*conn).patternList},
		wire.TrashList:     {states: mounted, serve: func(c *conn) error { return c.detachedList(wire.TrashList) }},
		wire.SustainedList: {states: mounted, serve: func(c *conn) error { return c.detachedList(wire.SustainedList) }},
		wire.GetConfigFile: {states: mounted, offline: true, serve: (*conn).getConfigFile},
		wire.FullDirectory: {states: mounted, serve: func(c *conn) error { return c.refuse(wire.FullDirectory, statusNotSupported) }},
	}
	for _, t := range []wire.Type{wire.PatternAdd, wire.PatternDelete, wire.TrashRecover, wire.TrashRemove, wire.SetAllOfNode} {
		all[t] = change(mounted, t, noStat)
	}
	return all
}

// refuse answers a request, whatever is in it, with a status.
func (c *conn) refuse(t wire.Type, s meta.Status) error {
	id := c.d.U32()
	if err := c.d.Err(); err != nil {
		return err
	}
	return c.status(t, id, s)
}

// opData takes what a mount did since it told last:
//
//	readbytes:64 writebytes:64 reads:32 writes:32 fsyncs:32 [received:64 sent:64]
//
// Where a master counts chunk requests as reads and writes, these come on top.
func (c *conn) opData() error {
	c.d.Bytes(8 + 8 + 3*4)
	if c.d.Len() > 0 {
		c.d.Bytes(8 + 8)
	}
	return c.d.End()
}

// workFlags takes the byte in which a mount tells whether it is told when data
// in its cache changes. A standby never lets it keep any.
func (c *conn) workFlags() error {
	c.d.U8()
	return c.d.End()
}

// pathLookup walks a path, as libmfsio asks for it.
func (c *conn) pathLookup() error {
	var p wire.PathRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	who := c.as(&p.Identity)
	base, dir, ok := who.Find(c.st, p.Base, false)
	if !ok {
		return c.status(wire.PathLookup, p.MsgID, statusENOENTNoCache)
	}
	answer := wire.PathReply{MsgID: p.MsgID}
	at, n, end, status := c.walk(who, base, dir, p.Path)
	if status != meta.OK {
		return c.status(wire.PathLookup, p.MsgID, status)
	}
	above := &n
	if end == nil {
		answer.Inode, above = at, nil
	} else {
		answer.Parent, answer.Name = c.asRoot(who, at), end
		if e, ok := c.st.Edges.Get(at, end); ok {
			answer.Inode = e.Child
		}
	}
	if answer.Inode != 0 {
		child, ok := c.st.Nodes.Get(answer.Inode)
		if !ok {
			return c.status(wire.PathLookup, p.MsgID, meta.ENOENT)
		}
		a := who.AttributesOf(c.st, answer.Inode, &child, above)
		answer.Attr, answer.Inode = attrOf(&a), c.asRoot(who, answer.Inode)
	}
	answer.Append(&c.out, c.release)
	return nil
}

// asRoot is the number under which a client knows an inode.
func (c *conn) asRoot(who *changelog.Caller, ino meta.Inode) meta.Inode {
	if ino == who.Root {
		return meta.Root
	}
	return ino
}

// walk follows a path from a node to the directory of its last name, which it
// returns unless the path ends in a directory itself: it is empty, or ends with
// "." or "..". A path that ends with a slash has an empty last name. What is
// behind a zero byte does not count.
func (c *conn) walk(who *changelog.Caller, at meta.Inode, n meta.Node, path []byte) (meta.Inode, meta.Node, []byte, meta.Status) {
	began := false
	for {
		var part []byte
		var slash bool
		part, path, slash = cutPath(path)
		switch {
		case !slash && len(part) == 0 && !began:
			return at, n, nil, meta.OK
		case !slash && len(part) == 0:
			return at, n, []byte{}, meta.OK
		case len(part) == 0:
			continue
		case len(part) > meta.MaxName:
			return 0, n, nil, statusNameTooLong
		case n.Type != meta.TypeDir:
			return 0, n, nil, meta.ENOTDIR
		case !who.May(c.st, at, &n, changelog.MayExec):
			return 0, n, nil, meta.EACCES
		}
		began = true
		next := at
		switch string(part) {
		case ".":
		case "..":
			d, _ := c.st.Dirs.Get(at)
			switch {
			case at == who.Root:
				return 0, n, nil, meta.EPERM
			case d.Parent == 0:
				return 0, n, nil, meta.ENOENT
			}
			next = d.Parent
		default:
			if badName(part) {
				return 0, n, nil, meta.EINVAL
			}
			if !slash {
				return at, n, part, meta.OK
			}
			e, ok := c.st.Edges.Get(at, part)
			if !ok {
				return 0, n, nil, meta.ENOENT
			}
			next = e.Child
		}
		if next != at {
			at = next
			n, _ = c.st.Nodes.Get(at)
		}
		if !slash {
			return at, n, nil, meta.OK
		}
	}
}

// cutPath cuts the first name off a path, and tells whether a slash follows it.
func cutPath(path []byte) (part, rest []byte, slash bool) {
	for i, ch := range path {
		switch ch {
		case '/':
			return path[:i], path[i+1:], true
		case 0:
			return path[:i], nil, false
		}
	}
	return path, nil, false
}

// classBefore4 gives a class of 4.x as releases before would have it, and tells
// whether it is the same.
func classBefore4(class *meta.Class) (old meta.Class, exact bool) {
	const hours = 24
	old = meta.Class{AdminOnly: class.AdminOnly, Mode: class.Mode, ArchDelay: class.ArchDelay / hours}
	exact = class.ArchDelay%hours == 0 && len(class.Parts[meta.PartTrash].Exprs) == 0
	for i, to := range []*[]meta.LabelMasks{&old.Create, &old.Keep, &old.Arch, nil} {
		part := &class.Parts[i]
		exact = exact && part.EC == 0 && part.Uniq == 0
		if to == nil {
			continue
		}
		for _, expr := range part.Exprs {
			masks, ok := meta.MasksOf(expr)
			if !ok {
				masks, exact = meta.LabelMasks{}, false
			}
			*to = append(*to, masks)
		}
	}
	return old, exact
}

// patternInfo is what clients are told of a pattern.
func patternInfo(st *meta.State, p *meta.Pattern) wire.PatternInfo {
	a := wire.PatternInfo{Pattern: *p}
	if p.Mask&meta.PatternClass != 0 {
		class, _ := st.Classes.Get(p.Class)
		a.ClassName = []byte(class.Name)
	}
	return a
}

// patternList serves CLTOMA_PATTERN_LIST: msgid:32 form:8=0.
func (c *conn) patternList() error {
	id, form := c.d.U32(), c.d.U8()
	if err := c.d.End(); err != nil {
		return err
	}
	if form != 0 {
		return fmt.Errorf("there is no form %d of a list of patterns", form)
	}
	c.out.Begin(wire.PatternList.Reply())
	defer c.out.End()
	c.out.U32(id)
	c.appendPatterns()
	return nil
}

func (c *conn) appendPatterns() {
	for _, p := range c.st.Patterns.Scan(0) {
		a := patternInfo(c.st, &p)
		a.Append(&c.out)
	}
}

// infoPatterns lists the patterns to anybody.
func (c *conn) infoPatterns() error {
	if err := c.empty(); err != nil {
		return err
	}
	c.out.Begin(wire.InfoPatterns.Reply())
	defer c.out.End()
	c.appendPatterns()
	return nil
}

// detachedList lists a part of the trash, or of the sustained files, for
// mfstrashtool: those of a user whose path fits a glob.
func (c *conn) detachedList(t wire.Type) error {
	var p wire.TrashListRequest
	if err := p.Decode(&c.d, t); err != nil {
		return err
	}
	uid := c.asNobody(p.UID, 0).UID
	kind, buckets, all := meta.TypeTrash, uint32(meta.TrashBuckets), c.st.Scalars.Nodes.Trash
	if t == wire.SustainedList {
		kind, buckets, all = meta.TypeSustained, meta.SustainedBuckets, c.st.Scalars.Nodes.Sustained
	}
	glob := string(p.Glob)
	answer := func(st *meta.State, e *wire.Encoder) meta.Status {
		l := detachedListing{st: st, e: e, req: &p, sustained: t == wire.SustainedList, uid: uid, glob: glob}
		l.append(t, kind, buckets/detachedParts)
		return meta.OK
	}
	if all > inlineDetached {
		return c.later(t, p.MsgID, answer)
	}
	answer(c.st, &c.out)
	return nil
}

// detachedParts is the number of parts in which mfstrashtool asks for all.
const detachedParts = 256

// detachedListing makes one answer to mfstrashtool.
type detachedListing struct {
	st        *meta.State
	e         *wire.Encoder
	req       *wire.TrashListRequest
	sustained bool
	uid       uint32
	glob      string
	openIn    map[meta.Inode][]meta.SessionID
}

// append appends the answer:
//
//	msgid:32 all:32 own:32 found:32 found*[inode:32 [ATTR trash:16] path:TEXT]
//	msgid:32 all:32 found:32 found*[inode:32 N:32 N*[session:32] path:TEXT]   of sustained files
func (l *detachedListing) append(t wire.Type, kind meta.Type, buckets uint32) {
	l.e.Begin(t.Reply())
	defer l.e.End()
	l.e.U32(l.req.MsgID)
	counts := len(l.e.Buf)
	l.e.U64(0)
	if !l.sustained {
		l.e.U32(0)
	}
	var all, own, found uint32
	from := uint32(l.req.Part) * buckets
	for b := from; b < from+buckets; b++ {
		for _, ino := range l.st.Detached.Bucket(kind, b) {
			all++
			n, ok := l.st.Nodes.Get(ino)
			if !ok || l.uid != meta.AnyID && l.uid != n.UID {
				continue
			}
			own++
			d, _ := l.st.Detached.Get(ino)
			if l.fits(&n, d.Path) {
				found++
				l.entry(ino, &n, d.Path)
			}
		}
	}
	head := wire.Encoder{Buf: l.e.Buf[:counts]}
	head.U32(all)
	if !l.sustained {
		head.U32(own)
	}
	head.U32(found)
}

// fits tells whether a file is asked for. The master compares no more of a path
// with a glob than its length modulo 256.
func (l *detachedListing) fits(n *meta.Node, path string) bool {
	if newest := max(n.Ctime, n.Atime, n.Mtime); !l.sustained && (newest < l.req.From || newest > l.req.To) {
		return false
	}
	return changelog.GlobMatches(l.glob, []byte(path[:len(path)&0xFF]))
}

func (l *detachedListing) entry(ino meta.Inode, n *meta.Node, path string) {
	l.e.U32(uint32(ino))
	switch {
	case l.sustained:
		open := l.sessions(ino)
		l.e.U32(uint32(len(open)))
		for _, id := range open {
			l.e.U32(uint32(id))
		}
	case l.req.Format == 1:
		who := changelog.NewCaller(0, &meta.Session{Root: meta.Root}, true, n.UID, []uint32{n.GID}, nil)
		a := who.AttributesOf(l.st, ino, n, nil)
		attr := attrOf(&a)
		attr.Append(l.e, newestPlain) // whatever the client's form is
		l.e.U16(n.TrashHours)
	}
	l.e.Text([]byte(path))
}

// sessions returns those that have a file open.
func (l *detachedListing) sessions(ino meta.Inode) []meta.SessionID {
	if l.openIn == nil {
		l.openIn = map[meta.Inode][]meta.SessionID{}
		for id, ino := range l.st.Open.Scan() {
			l.openIn[ino] = append(l.openIn[ino], id)
		}
	}
	return l.openIn[ino]
}

// getConfigFile serves ANTOAN_GET_CONFIG_FILE: msgid:32 name:NAME. Clients are
// shown no file but the licence, which a community build does not have.
func (c *conn) getConfigFile() error {
	id := c.d.U32()
	c.d.Name()
	if err := c.d.End(); err != nil {
		return err
	}
	return c.status(wire.GetConfigFile, id, meta.ENOENT)
}

// infoInstance serves CLTOMA_INSTANCE_NAME: [msgid:32] -> [msgid:32] name:NAME.
// The name is one of the master's settings, which a standby does not have.
func (c *conn) infoInstance() error {
	numbered := c.d.Len() > 0
	var id uint32
	if numbered {
		id = c.d.U32()
	}
	if err := c.d.End(); err != nil {
		return err
	}
	c.out.Begin(wire.InfoInstance.Reply())
	defer c.out.End()
	if numbered {
		c.out.U32(id)
	}
	c.out.Name(nil)
	return nil
}
