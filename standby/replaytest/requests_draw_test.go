//go:build e2e

package replaytest

import (
	"fmt"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

func identity(uid uint32, gids ...uint32) wire.Identity {
	return wire.Identity{UID: uid, GIDs: wire.PackNumbers(gids...)}
}

// one returns one of several values.
func one[T any](d *duel, values ...T) T { return values[d.rnd.IntN(len(values))] }

func (d *duel) some(percent int) bool { return d.rnd.IntN(100) < percent }

// who is a user: often root.
func (d *duel) who() wire.Identity {
	uid := one(d, uint32(0), 0, 0, 0, 0, 1000, 1000, 1001, 7)
	gids := []uint32{one(d, uid, uid, 1000, 8)}
	for d.some(30) {
		gids = append(gids, one(d, uint32(0), 1000, 1001, 8, 100))
	}
	return identity(uid, gids...)
}

// inode is one that exists, seldom one that does not.
func (d *duel) inode() meta.Inode {
	if d.some(3) {
		return one(d, meta.Inode(0), 99999, meta.Inode(d.rnd.Uint32()))
	}
	if d.some(15) {
		return meta.Root
	}
	return d.nodes[d.rnd.IntN(len(d.nodes))]
}

// ofType is a node of one of the types, if a few tries find one.
func (d *duel) ofType(types ...meta.Type) meta.Inode {
	for range 40 {
		ino := d.inode()
		n, ok := d.st.Nodes.Get(ino)
		for _, t := range types {
			if ok && n.Type == t {
				return ino
			}
		}
	}
	return d.inode()
}

func (d *duel) dir() meta.Inode {
	if d.some(4) {
		return d.inode()
	}
	return d.ofType(meta.TypeDir)
}

func (d *duel) file() meta.Inode {
	if d.some(8) {
		return d.inode()
	}
	return d.ofType(meta.TypeFile)
}

// unless is a file whose chunks may be asked for. In its first second the master
// has no place for a request that must wait for a chunk, and crashes.
func (d *duel) unless(ino meta.Inode) meta.Inode {
	if time.Since(d.served) < 5*time.Second {
		return meta.Root
	}
	return ino
}

// newName is a name that may be free.
func (d *duel) newName() []byte {
	switch {
	case d.some(2):
		return one(d, []byte(""), []byte("."), []byte(".."), []byte("a/b"), []byte("a\x00b"), []byte("%(),"))
	case d.some(5):
		return []byte{byte(d.rnd.Uint32()), byte(d.rnd.Uint32()), 'x'}
	}
	return fmt.Appendf(nil, "n%d", d.rnd.IntN(30))
}

// oldName is a name that the directory has, mostly.
func (d *duel) oldName(dir meta.Inode) []byte {
	list := d.st.Edges.List(dir)
	if dir == meta.Root && len(list) == 0 || len(list) == 0 || d.some(5) {
		return d.newName()
	}
	name := list[d.rnd.IntN(len(list))].Name
	if string(name) == "sub" {
		return d.newName() // a session has its root there
	}
	return name
}

func (d *duel) mode() uint16 {
	return one(d, uint16(0o777), 0o755, 0o700, 0o644, 0o770, 0o2775, 0o4755, 0o1777, 0o6711, uint16(d.rnd.UintN(0o10000)))
}

// request draws a request of a session.
func (d *duel) request(m *mount) packet {
	m.msgID++
	kinds := weights
	if params, _ := d.st.Sessions.Get(m.session); params.Root == 0 && d.some(80) {
		kinds = metaWeights
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	n := d.rnd.IntN(total)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			var e wire.Encoder
			p := k.draw(d, m, &e)
			drawn := packet{kind: k.kind, show: fmt.Sprintf("%v %+v", k.kind, p), data: e.Buf, msgID: m.msgID}
			switch q := p.(type) {
			case wire.Readdir:
				drawn.reads, drawn.inode = true, q.Inode
			case wire.InodeRequest:
				drawn.reads, drawn.inode = k.kind == wire.FuseReadlink, q.Inode
			case wire.Truncate:
				drawn.inode, drawn.index = q.Inode, uint32(q.Length>>meta.ChunkBits)
			case wire.ChunkRequest:
				drawn.inode, drawn.index = q.Inode, q.Index
				if n, ok := d.st.Nodes.Get(q.Inode); ok && n.Type.IsFile() && q.Index >= n.Slots {
					d.longer[q.Inode] = true // without an entry, whatever it answers
				}
			}
			if q, ok := p.(wire.QuotaControl); ok {
				drawn.inode = q.Inode
				if params, _ := d.st.Sessions.Get(m.session); q.Inode == meta.Root {
					drawn.inode = params.Root
				}
			}
			return drawn
		}
	}
	panic("unreachable")
}

// drawn is a kind of request and how often it is drawn.
type drawn struct {
	kind   wire.Type
	weight int
	draw   func(d *duel, m *mount, e *wire.Encoder) any
}

var metaWeights = []drawn{
	{wire.FuseUndel, 4, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.InodeRequest{MsgID: m.msgID, Inode: d.ofType(meta.TypeTrash)}
		p.Append(e, wire.FuseUndel)
		return p
	}},
	{wire.FusePurge, 2, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.InodeRequest{MsgID: m.msgID, Inode: d.ofType(meta.TypeTrash, meta.TypeSustained)}
		p.Append(e, wire.FusePurge)
		return p
	}},
	{wire.FuseSetTrashPath, 3, func(d *duel, m *mount, e *wire.Encoder) any {
		path := one(d, "n1/n2", "n3", "/sub/n4", "n5//n6", "n7/./n8", "", "n1/n2/n3/n4", "a\x00b", "n9/")
		p := wire.SetTrashPath{MsgID: m.msgID, Inode: d.ofType(meta.TypeTrash), Path: []byte(path)}
		p.Append(e)
		return p
	}},
}

var weights = []drawn{
	{wire.FuseMkdir, 6, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.Mkdir{Create: d.create(m), CopySgid: uint8(d.rnd.IntN(2))}
		p.Append(e)
		return p
	}},
	{wire.FuseMknod, 5, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.Mknod{Create: d.create(m), Type: meta.Type(1 + d.rnd.IntN(8)), Rdev: d.rnd.Uint32()}
		if p.Type == meta.TypeDir {
			p.Type = meta.TypeFile
		}
		p.Append(e)
		return p
	}},
	{wire.FuseCreate, 6, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.CreateFile{Create: d.create(m)}
		p.Append(e)
		return p
	}},
	{wire.FuseSymlink, 3, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.Symlink{MsgID: m.msgID, Parent: d.dir(), Name: d.newName(), Target: []byte(one(d, "x", "../y", "", "a\x00b")), Identity: d.who()}
		p.Append(e)
		return p
	}},
	{wire.FuseLink, 4, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.Link{MsgID: m.msgID, Inode: d.file(), Parent: d.dir(), Name: d.newName(), Identity: d.who()}
		p.Append(e)
		return p
	}},
	{wire.FuseUnlink, 6, func(d *duel, m *mount, e *wire.Encoder) any { return d.remove(m, e, wire.FuseUnlink) }},
	{wire.FuseRmdir, 4, func(d *duel, m *mount, e *wire.Encoder) any { return d.remove(m, e, wire.FuseRmdir) }},
	{wire.FuseRename, 8, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.Rename{MsgID: m.msgID, Parent: d.dir(), NewParent: d.dir(), Identity: d.who()}
		if d.some(40) {
			p.NewParent = p.Parent
		}
		p.Name, p.NewName = d.oldName(p.Parent), d.newName()
		if d.some(40) {
			p.NewName = d.oldName(p.NewParent)
		}
		if e, ok := d.st.Edges.Get(p.Parent, p.Name); ok && e.Child == p.NewParent {
			p.NewParent = p.Parent // the master would move a directory into itself, and crash
		}
		if p.Parent == p.NewParent && string(p.Name) == string(p.NewName) {
			p.NewName = append([]byte("y"), p.Name[:min(len(p.Name), 9)]...) // the master would use what it has freed
		}
		p.Append(e)
		return p
	}},
	{wire.FuseSetattr, 9, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.Setattr{MsgID: m.msgID, Inode: d.inode(), Opened: uint8(d.rnd.IntN(5) / 4), Identity: d.who(),
			Mask: one(d, uint8(2), 4, 8, 12, 14, 0x90, 0x60, 0x30, 1, uint8(d.rnd.Uint32())), Mode: d.mode(),
			NewUID: one(d, uint32(0), 1000, 1001, 7), NewGID: one(d, uint32(0), 1000, 1001, 8),
			Atime: meta.Time(d.rnd.Uint32()), Mtime: meta.Time(d.rnd.Uint32()), Winattr: uint8(d.rnd.IntN(4)), SuidClear: uint8(d.rnd.IntN(6))}
		if n, ok := d.st.Nodes.Get(p.Inode); ok && d.some(15) {
			p.Mask, p.Mode = 2, n.Mode&0o1777
		}
		p.Append(e, client)
		return p
	}},
	{wire.FuseTruncate, 5, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.Truncate{MsgID: m.msgID, Inode: d.file(), Flags: one(d, uint8(0), 1, 4, 5, 2, 3), Identity: d.who(),
			Length: one(d, uint64(0), 1000, meta.ChunkSize, 3*meta.ChunkSize, meta.ChunkSize-1, 1<<58)}
		if n, ok := d.st.Nodes.Get(p.Inode); ok && d.some(30) {
			p.Length = n.Length
		}
		if p.Flags&2 != 0 {
			p.Length %= 1 << 40 // else it is set, whatever it is
		}
		p.Inode = d.unless(p.Inode)
		p.Append(e)
		return p
	}},
	{wire.FuseOpen, 6, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.Open{MsgID: m.msgID, Inode: d.file(), Identity: d.who(), Flags: one(d, uint8(1), 2, 3, 3, 1|4, 2|8, 3|8)}
		p.Append(e)
		return p
	}},
	{wire.FuseSustainedInodes, 1, func(d *duel, m *mount, e *wire.Encoder) any {
		// The order in which the master closes files is that of its hash table,
		// so one at most is closed.
		var open []uint32
		for i, ino := range d.st.Open.Of(m.session) {
			// Those who wait for a lock of fcntl(2) get it here after an entry that
			// ends the one before, which the master leaves out.
			if _, locked := d.st.Plocks.Get(ino); i > 0 || locked || d.some(30) {
				open = append(open, uint32(ino))
			}
		}
		if f := d.file(); d.some(30) && f != 0 && !d.st.Open.Has(m.session, f) {
			open = append(open, uint32(f))
		}
		p := wire.OpenInodes{Inodes: wire.PackNumbers(open...)}
		p.Append(e)
		return open
	}},
	{wire.FuseFlock, 8, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.Flock{MsgID: m.msgID, Inode: d.opened(m), Request: uint32(d.rnd.IntN(3)), Owner: uint64(1 + d.rnd.IntN(3)), Command: uint8(d.rnd.IntN(7))}
		list, _ := d.st.Flocks.Get(p.Inode)
		for _, l := range list {
			if l.Session == m.session && l.Owner == p.Owner && (p.Command == wire.FlockTryShared || p.Command == wire.FlockTryExcl) {
				p.Command++ // the master would change the lock without an entry
			}
		}
		p.Append(e)
		return p
	}},
	{wire.FusePosixLock, 8, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.PosixLock{MsgID: m.msgID, Inode: d.opened(m), Request: uint32(d.rnd.IntN(3)), Owner: uint64(1 + d.rnd.IntN(3)),
			PID: uint32(d.rnd.IntN(5)), Command: uint8(d.rnd.IntN(4)), Type: uint8(d.rnd.IntN(3)), Start: uint64(d.rnd.IntN(20))}
		p.End = p.Start + uint64(1+d.rnd.IntN(20))
		if d.some(20) {
			p.Start, p.End = 0, 1<<64-1
		}
		p.Append(e)
		return p
	}},
	{wire.FuseAmtimeInodes, 2, func(d *duel, m *mount, e *wire.Encoder) any {
		at := func() uint32 {
			return one(d, 0, uint32(d.now)+uint32(d.rnd.IntN(100)), uint32(d.now)-uint32(d.rnd.IntN(200000)))
		}
		list := []uint32{uint32(d.file()), at(), at(), uint32(d.file()), at(), at()}
		p := wire.AccessTimes{Triples: wire.PackNumbers(list...)}
		p.Append(e)
		return list
	}},
	{wire.FuseWriteChunk, 3, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.ChunkRequest{MsgID: m.msgID, Inode: d.unless(d.file()), Index: one(d, uint32(0), 0, 1, 2, 5, 1<<31), Flags: one(d, uint8(4), 4, 5, 6, 0)}
		p.Append(e, wire.FuseWriteChunk)
		return p
	}},
	{wire.FuseRepair, 1, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.Repair{MsgID: m.msgID, Inode: d.file(), Identity: d.who()}
		p.Append(e)
		return p
	}},
	{wire.FuseReaddir, 3, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.Readdir{MsgID: m.msgID, Inode: d.dir(), Identity: d.who(), Flags: uint8(d.rnd.IntN(2)), Max: one(d, ^uint32(0), 3)}
		p.Append(e)
		return p
	}},
	{wire.FuseReadlink, 3, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.InodeRequest{MsgID: m.msgID, Inode: d.ofType(meta.TypeSymlink)}
		p.Append(e, wire.FuseReadlink)
		return p
	}},
	{wire.FuseWriteChunkEnd, 3, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.WriteEnd{MsgID: m.msgID, Inode: d.file(), Length: one(d, uint64(0), 100, 1<<26, 1<<27), HasIndex: d.some(50), Flags: uint8(d.rnd.IntN(8))}
		for id := range d.st.Chunks.Scan(meta.ChunkID(d.rnd.IntN(int(d.st.NextChunk)))) {
			p.Chunk = id // an unknown one has the master write an entry that stops its replay
			break
		}
		if p.Chunk == 0 {
			for id := range d.st.Chunks.Scan(0) {
				p.Chunk = id
				break
			}
		}
		p.Append(e)
		return p
	}},
	{wire.FuseAppendSlice, 4, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.AppendSlice{MsgID: m.msgID, Flags: uint8(d.rnd.IntN(4)), Inode: d.file(), Source: d.file(),
			From: one(d, uint32(0), 1, 2, 3), To: one(d, uint32(0x80000000), 0, 1, 2, 5), Identity: d.who()}
		p.Append(e)
		return p
	}},
	{wire.FuseSetTrashTime, 3, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.SetTrashTime{MsgID: m.msgID, Inode: d.inode(), UID: d.who().UID, Seconds: one(d, uint32(0), 3600, 86400, 86401, 1000000), Mode: d.smode(8)}
		p.Append(e)
		return p
	}},
	{wire.FuseSetClass, 5, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.SetClass{MsgID: m.msgID, Inode: d.inode(), UID: d.who().UID, Goal: one(d, uint8(0xFF), 0xFF, 1, 2, 3, 5, 9, 0, 10),
			Mode: d.smode(8), From: d.class(), To: d.class()}
		if len(p.From) == 0 || len(p.To) == 0 {
			p.From, p.To = []byte("none"), []byte("none") // the master would find a class that was deleted
		}
		p.Append(e)
		return p
	}},
	{wire.FuseSetEattr, 4, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.SetEattr{MsgID: m.msgID, Inode: d.inode(), UID: d.who().UID, Eattr: one(d, uint8(1), 2, 4, 8, 16, 32, 64, 128, 3, 0xE0), Mode: one(d, uint8(1), 1, 2, 2, 2, 6, 6, 0, 5, 3, 9)}
		if p.Inode == meta.Root && p.Mode != 2 && p.Mode != 6 && p.Eattr >= 32 {
			p.Mode = 6 // a protected root would end all changes
		}
		p.Append(e)
		return p
	}},
	{wire.FuseSetXattr, 5, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.SetXattr{MsgID: m.msgID, Inode: d.inode(), Name: []byte(one(d, "user.a", "user.b", "system.x", "trusted.y", "security.z", "a\x00b")),
			Value: []byte(one(d, "", "v", "%,()\x00\xff")), Mode: uint8(d.rnd.IntN(5)), Opened: uint8(d.rnd.IntN(5) / 4), Identity: d.who()}
		p.Append(e)
		return p
	}},
	{wire.FuseSetACL, 4, func(d *duel, m *mount, e *wire.Encoder) any {
		perm := func() uint16 { return one(d, 0xFFFF, uint16(d.rnd.IntN(8))) }
		p := wire.SetACL{MsgID: m.msgID, Inode: d.inode(), UID: d.who().UID, Type: one(d, uint8(1), 1, 1, 2, 2, 3)}
		p.User, p.Group, p.Other, p.Mask = perm(), perm(), perm(), perm()
		if d.some(60) {
			for range d.rnd.IntN(3) {
				p.AddEntry(one(d, uint32(1000), 1001, 7), uint16(d.rnd.IntN(8)))
				p.Users++
			}
			for range d.rnd.IntN(3) {
				p.AddEntry(one(d, uint32(1000), 1001, 8), uint16(d.rnd.IntN(8)))
				p.Groups++
			}
		}
		p.Append(e)
		return p
	}},
	{wire.FuseQuotaControl, 3, func(d *duel, m *mount, e *wire.Encoder) any {
		limit := func() wire.Limits {
			return wire.Limits{Inodes: uint32(d.rnd.IntN(60)), Length: one(d, uint64(1000), 1<<27, 1<<40), Size: one(d, uint64(1<<26), 1<<30), RealSize: one(d, uint64(1<<27), 1<<32)}
		}
		p := wire.QuotaControl{MsgID: m.msgID, Inode: d.dir(), Flags: one(d, uint8(0), 1, 2, 4, 8, 16, 32, 64, 128, uint8(d.rnd.Uint32())), Set: d.some(50),
			Grace: uint32(d.rnd.IntN(3)), Soft: limit(), Hard: limit()}
		if d.relabels {
			p.Flags &^= realSizeFlags
		}
		if p.Flags == 0 {
			p.Set = false // the master would change the grace period without an entry
		}
		p.Append(e)
		return p
	}},
	{wire.FuseSnapshot, 4, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.Snapshot{MsgID: m.msgID, Inode: d.inode(), Parent: d.dir(), Name: d.newName(), Identity: d.who(),
			Mode: one(d, uint8(0), 1, 2, 3, 8, 9, 0x80, 0x84, 0x81), Umask: one(d, uint16(0o22), 0, 0o77)}
		if p.Inode == meta.Root {
			p.Inode = d.file()
		}
		if p.Mode&0x80 != 0 && d.some(90) {
			p.Inode, p.Name = 0, d.oldName(p.Parent)
		} else if d.some(30) {
			p.Name = d.oldName(p.Parent)
		}
		old, _ := d.st.Edges.Get(p.Parent, p.Name)
		if p.Mode&0x80 == 0 && (d.someLonger(p.Inode) || d.someLonger(old.Child)) {
			p.Inode = 99999 // the number of slots decides what is the same in both places
		}
		p.Append(e)
		return p
	}},
	{wire.FuseArchCtl, 3, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.ArchCtl{MsgID: m.msgID, Inode: d.inode(), Command: uint8(d.rnd.IntN(2)), UID: d.who().UID}
		p.Append(e)
		return p
	}},
	{wire.ClassCreate, 1, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.CreateClass{MsgID: m.msgID, Name: d.class(), Class: d.classDef()}
		p.Append(e)
		return p
	}},
	{wire.ClassChange, 1, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.ChangeClass{MsgID: m.msgID, Name: d.class(), Changes: one(d, uint16(0), 1, 2, 0x20, 0x23, 0x8001), Class: d.classDef()}
		if d.relabels {
			p.Changes |= one(d, uint16(0), 4, 8, 0x10, 0x1C)
		}
		p.Append(e)
		return p
	}},
	{wire.ClassDelete, 1, func(d *duel, m *mount, e *wire.Encoder) any { return d.classNames(m, e, wire.ClassDelete) }},
	{wire.ClassDuplicate, 1, func(d *duel, m *mount, e *wire.Encoder) any { return d.classNames(m, e, wire.ClassDuplicate) }},
	{wire.ClassRename, 1, func(d *duel, m *mount, e *wire.Encoder) any { return d.classNames(m, e, wire.ClassRename) }},
	{wire.FuseUndel, 1, func(d *duel, m *mount, e *wire.Encoder) any {
		p := wire.InodeRequest{MsgID: m.msgID, Inode: d.ofType(meta.TypeTrash)}
		p.Append(e, wire.FuseUndel)
		return p
	}},
}

// someLonger tells whether a tree has a file of which the master has more slots
// than entries tell.
func (d *duel) someLonger(ino meta.Inode) bool {
	if d.longer[ino] {
		return true
	}
	for _, e := range d.st.Edges.List(ino) {
		if d.someLonger(e.Child) {
			return true
		}
	}
	return false
}

// opened is a file that the session has open, and others too, mostly.
func (d *duel) opened(m *mount) meta.Inode {
	var many []meta.Inode
	open := d.st.Open.Of(m.session)
	for _, ino := range open {
		n := 0
		for _, other := range d.conns {
			if d.st.Open.Has(other.session, ino) {
				n++
			}
		}
		if n > 1 {
			many = append(many, ino)
		}
	}
	switch {
	case len(many) > 0 && d.some(85):
		return many[d.rnd.IntN(min(len(many), 2))]
	case len(open) > 0 && d.some(85):
		return open[d.rnd.IntN(len(open))]
	}
	return d.file()
}

func (d *duel) create(m *mount) wire.Create {
	return wire.Create{MsgID: m.msgID, Parent: d.dir(), Name: d.newName(), Mode: d.mode(), Umask: one(d, uint16(0o22), 0, 0o77), Identity: d.who()}
}

func (d *duel) remove(m *mount, e *wire.Encoder, kind wire.Type) any {
	p := wire.NameRequest{MsgID: m.msgID, Parent: d.dir(), Identity: d.who()}
	p.Name = d.oldName(p.Parent)
	p.Append(e, kind)
	return p
}

// smode is how a value of a node or a tree changes; up to below what is valid
// or a little more.
func (d *duel) smode(below int) uint8 {
	if d.some(3) {
		return 9
	}
	return uint8(d.rnd.IntN(below))
}

func (d *duel) class() []byte {
	return []byte(one(d, "1", "2", "3", "9", "own1", "own2", "own3", "own4", "none", ""))
}

func (d *duel) classDef() wire.Class {
	c := wire.Class{AdminOnly: uint8(d.rnd.IntN(2)), Mode: uint8(d.rnd.IntN(3)), ArchDelay: uint16(d.rnd.IntN(10)), Create: 1, Keep: uint8(1 + d.rnd.IntN(3)), Archive: 1}
	labels := make([]uint32, 4*(1+int(c.Keep)+1))
	for i := range labels {
		labels[i] = one(d, uint32(0), 0, 1, 2)
	}
	c.Labels = wire.PackNumbers(labels...)
	return c
}

func (d *duel) classNames(m *mount, e *wire.Encoder, kind wire.Type) any {
	p := wire.ClassNames{MsgID: m.msgID, From: d.class(), To: d.class()}
	p.Append(e, kind)
	return p
}
