package server

import (
	"bytes"
	"context"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/image"
)

// infoClasses lists the storage classes, with the files and directories of
// each as the image counts them. How many copies chunks have, and which
// chunkservers there are for them, is what the primary says; without it no
// chunk has a copy.
func (c *conn) infoClasses() error {
	if modern(c.st) {
		return c.modernClasses()
	}
	if err := c.empty(); err != nil {
		return err
	}
	seen, s := c.seen, c.srv
	return c.beside(func(e *reply) error {
		answer := s.ask(wire.InfoClasses, nil)
		servers, live := classesOf(answer)
		var count *census
		if answer == nil {
			count = s.census()
		}
		return s.read(seen, func(st *meta.State, _ image.Position) error {
			e.Begin(wire.InfoClasses.Reply())
			e.U16(servers)
			for id, class := range st.Classes.Scan(1) {
				a := classInfo(id, &class)
				if l := live[id]; l != nil && sameClass(&a, l) {
					a = *l
					a.Files, a.Dirs = uint32(class.Files), uint32(class.Directories)
				} else if count != nil {
					a.Under, a.UnderArch = count.classes[id].keep, count.classes[id].arch
				}
				a.Append(&e.Encoder)
			}
			e.End()
			return nil
		})
	})
}

// classNames is the form of SCLASS_INFO that has nothing but the names.
const classNames = 128

// modernClasses lists the classes as 4.x does, in the form that the client asks
// for. All of it is the primary's; without it no chunk has a copy.
func (c *conn) modernClasses() error {
	var p wire.InfoRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	if p.Mode > newestClassInfo && p.Mode != classNames {
		p.Mode = newestClassInfo
	}
	seen, s := c.seen, c.srv
	return c.passOn(wire.InfoClasses, []byte{p.Mode}, func(n int) bool { return n >= 2 }, func(e *reply) error {
		count := s.census()
		return s.read(seen, func(st *meta.State, _ image.Position) error {
			e.Begin(wire.InfoClasses.Reply())
			switch p.Mode {
			case classNames:
				e.U8(0)
				e.Name([]byte("(deleted)"))
				e.U8(0)
			default:
				e.U16(0)
			}
			for id, class := range st.Classes.Scan(1) {
				n := &count.classes[id]
				switch p.Mode {
				case 0:
					old, _ := classBefore4(&class)
					old.Name, old.Files, old.Directories = class.Name, class.Files, class.Directories
					a := classInfo(id, &old)
					a.Under, a.UnderArch = n.keep, n.arch
					a.Append(&e.Encoder)
				case classNames:
					e.U8(id)
					e.Name([]byte(class.Name))
					var has uint8
					if n.keep+n.arch > 0 {
						has = 1
					}
					e.U8(has)
				default:
					a := wire.ModernClassInfo{ModernClass: wire.ModernClass{ID: id, Class: &class}}
					a.Chunks[0] = [3]uint64{n.keep, n.arch, 0}
					a.Append(&e.Encoder, p.Mode)
				}
			}
			e.End()
			return nil
		})
	})
}

// newestClassInfo is the newest form of wire.ModernClassInfo.
const newestClassInfo = 5

// classesOf reads the primary's list of classes.
func classesOf(payload []byte) (servers uint16, live map[uint8]*wire.ClassInfo) {
	if payload == nil {
		return 0, nil
	}
	d := wire.NewDecoder(payload)
	servers = d.U16()
	live = map[uint8]*wire.ClassInfo{}
	for d.Len() > 0 {
		a := &wire.ClassInfo{}
		if a.Decode(d) != nil {
			return 0, nil // another release's form
		}
		live[a.ID] = a
	}
	return servers, live
}

// sameClass tells whether the primary speaks of the class that the image has,
// which may be a moment behind.
func sameClass(a, b *wire.ClassInfo) bool {
	return bytes.Equal(a.Name, b.Name) && a.AdminOnly == b.AdminOnly && a.Mode == b.Mode && a.ArchDelay == b.ArchDelay &&
		a.Create.Copies == b.Create.Copies && a.Keep.Copies == b.Keep.Copies && a.Archive.Copies == b.Archive.Copies
}

// classInfo tells of a class what the metadata has of it.
func classInfo(id uint8, class *meta.Class) wire.ClassInfo {
	a := wire.ClassInfo{
		ID: id, Name: []byte(class.Name), Files: uint32(class.Files), Dirs: uint32(class.Directories),
		AdminOnly: class.AdminOnly, Mode: class.Mode, ArchDelay: class.ArchDelay,
	}
	for _, part := range []struct {
		labels []meta.LabelMasks
		to     *wire.ClassLabels
	}{{class.Create, &a.Create}, {class.Keep, &a.Keep}, {class.Arch, &a.Archive}} {
		part.to.Copies = uint8(len(part.labels))
		for _, l := range part.labels {
			a.AddLabel(l, 0)
		}
	}
	return a
}

// nodeTime bounds the time spent on finding copies for one answer.
const nodeTime = 2 * time.Second

// maxNodeEntries bounds one answer about a node.
const maxNodeEntries = 100_000

// infoNode lists what a node consists of: the nodes in a directory, the chunks
// of a file.
func (c *conn) infoNode() error {
	var p wire.NodeRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	ino, n, ok := c.asNobody(0, 0).Find(c.st, p.Inode, false)
	switch {
	case !ok:
		p.AppendStatus(&c.out, meta.ENOENT)
	case n.Type == meta.TypeDir:
		do := func(st *meta.State, e *wire.Encoder) { c.srv.nodeDir(&p, st, ino, e) }
		if d, _ := c.st.Dirs.Get(ino); d.Elements > inlineNames {
			return c.besideView(do)
		}
		do(c.st, &c.out)
	case n.Type.IsFile() && n.Slots > inlineNames:
		eighths := c.release >= release4
		return c.besideView(func(st *meta.State, e *wire.Encoder) {
			list := chunksOf(&p, st, ino)
			list.eighths = eighths
			c.srv.appendChunks(e, list)
		})
	case n.Type.IsFile():
		list := chunksOf(&p, c.st, ino)
		list.eighths = c.release >= release4
		return c.beside(func(e *reply) error {
			c.srv.appendChunks(&e.Encoder, list)
			return nil
		})
	default:
		p.Begin(&c.out, wire.NodeOther)
		c.out.End()
	}
	return nil
}

// besideView is beside with a view of the image, of which there may be few at
// once. do appends the whole answer.
func (c *conn) besideView(do func(*meta.State, *wire.Encoder)) error {
	seen, s := c.seen, c.srv
	return c.beside(func(e *reply) error {
		select {
		case s.jobs <- struct{}{}:
			defer func() { <-s.jobs }()
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
		err := s.work(seen, &e.Encoder, wire.InfoNode, 0, func(st *meta.State, e *wire.Encoder) meta.Status {
			do(st, e)
			return meta.OK
		})
		if err != nil {
			return err
		}
		return e.charge()
	})
}

// nodeDir lists the nodes in a directory, from the cursor on, which is the id of a name.
func (s *Server) nodeDir(p *wire.NodeRequest, st *meta.State, ino meta.Inode, e *wire.Encoder) {
	edges, found := s.pages.find(ino, p.Cursor, time.Now())
	if !found || p.Cursor == 0 {
		edges = st.Edges.List(ino)
		if len(edges) > inlineNames {
			s.pages.keep(ino, edges, time.Now())
		}
		for len(edges) > 0 && edges[0].ID < p.Cursor {
			edges = edges[1:]
		}
	}
	n := min(len(edges), int(min(p.Max, maxNodeEntries)))
	var next uint64
	if n < len(edges) {
		next = edges[n].ID
	}
	p.Begin(e, wire.NodeDir)
	e.U64(next)
	for _, edge := range edges[:n] {
		e.U32(uint32(edge.Child))
	}
	e.End()
}

// fileChunks are some chunks of a file, for an answer.
type fileChunks struct {
	req    wire.NodeRequest
	ino    meta.Inode
	length uint64 // of the file
	next   uint64 // where the next answer begins; 0: at no place
	chunks []fileChunk

	eighths bool // copies are told in eighths
}

type fileChunk struct {
	index, version uint32
	id             meta.ChunkID
}

// chunksOf finds the chunks that a request asks for.
func chunksOf(p *wire.NodeRequest, st *meta.State, ino meta.Inode) *fileChunks {
	n, _ := st.Nodes.Get(ino)
	l := &fileChunks{req: *p, ino: ino, length: n.Length, next: p.Cursor}
	most := int(min(p.Max, maxNodeEntries))
	for i := p.Cursor; i < uint64(n.Slots) && len(l.chunks) < most; i++ {
		id := st.Slot(ino, &n, uint32(i))
		if id == 0 {
			continue
		}
		if ch, ok := st.Chunks.Get(id); ok {
			l.chunks = append(l.chunks, fileChunk{uint32(i), ch.Version, id})
			l.next = i + 1
		}
	}
	if l.next >= uint64(n.Slots) {
		l.next = 0
	}
	return l
}

// appendChunks appends an answer. The size of a chunk is that of its data in
// whole blocks and of its head.
func (s *Server) appendChunks(e *wire.Encoder, l *fileChunks) {
	ctx, cancel := context.WithTimeout(s.ctx, nodeTime)
	defer cancel()
	kind := uint16(wire.NodeFile)
	if l.eighths {
		kind = wire.NodeEighths
	}
	l.req.Begin(e, kind)
	e.U64(l.next)
	e.U64(l.length)
	for _, ch := range l.chunks {
		e.U64(uint64(ch.id))
		e.U32(chunkBytes(l.length, uint64(ch.index)))
		e.U8(s.copies(ctx, l.ino, &ch, l.eighths))
	}
	e.End()
}

// chunkBytes returns what a copy of chunk i of a file of a length takes.
func chunkBytes(length, i uint64) uint32 {
	switch from := i * meta.ChunkSize; {
	case length == 0 && i == 0:
		return meta.ChunkHeader
	case from >= length:
		return 0
	case length-from >= meta.ChunkSize:
		return meta.ChunkSize + meta.ChunkHeader
	default:
		return uint32((length-from+meta.BlockSize-1)/meta.BlockSize*meta.BlockSize) + meta.ChunkHeader
	}
}

// copies returns how many copies of a chunk are known, or how many eighths of
// one: parts of an erasure code are those of one copy.
func (s *Server) copies(ctx context.Context, ino meta.Inode, ch *fileChunk, eighths bool) uint8 {
	if s.cfg.Locator == nil {
		return 0
	}
	list, _ := s.cfg.Locator.Locate(ctx, ino, ch.index, ch.id, ch.version)
	n := list.Len()
	if list.Parts() {
		n = 1
	}
	if eighths {
		return uint8(min(8*n, 255))
	}
	return uint8(min(n, 100))
}
