package oprand

import (
	"fmt"
	"strings"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// rows are the operations that 3.0.117 writes, then some of older releases.
var rows = []row{
	{60, (*Generator).create},
	{25, (*Generator).unlink},
	{8, (*Generator).link},
	{15, (*Generator).move},
	{6, (*Generator).symlink},
	{8, (*Generator).attr},
	{4, func(g *Generator) changelog.Op {
		return &changelog.AMTime{Inode: g.inode(), Atime: g.Now - 5, Mtime: g.Now - 4, Ctime: g.Now - 3}
	}},
	{3, func(g *Generator) changelog.Op { return &changelog.Access{Inode: g.inode()} }},
	{25, (*Generator).write},
	{12, (*Generator).length},
	{6, (*Generator).trunc},
	{6, (*Generator).appendChunks},
	{5, (*Generator).rollback},
	{3, (*Generator).repair},
	{2, (*Generator).setFileChunk},
	{4, (*Generator).unlock},
	{2, (*Generator).chunkAdd},
	{8, (*Generator).chunkDel},
	{1, (*Generator).setVersion},
	{20, (*Generator).snapshot},
	{6, (*Generator).removeSnapshot},
	{4, func(g *Generator) changelog.Op { return &changelog.Undel{Inode: g.of(meta.TypeTrash)} }},
	{2, func(g *Generator) changelog.Op { return &changelog.Purge{Inode: g.of(meta.TypeTrash)} }},
	{3, (*Generator).setPath},
	{4, func(g *Generator) changelog.Op {
		return &changelog.EmptyTrash{Bucket: uint32(g.of(meta.TypeTrash)) % meta.TrashBuckets}
	}},
	{4, func(g *Generator) changelog.Op {
		return &changelog.EmptySustained{Bucket: uint32(g.of(meta.TypeSustained)) % meta.SustainedBuckets}
	}},
	{4, (*Generator).freeInodes},
	{6, (*Generator).setTrashTime},
	{6, (*Generator).setEattr},
	{6, (*Generator).setSClass},
	{3, (*Generator).archChg},
	{8, (*Generator).setXattr},
	{12, (*Generator).setACL},
	{4, (*Generator).quota},
	{2, (*Generator).scSet},
	{1, (*Generator).scDup},
	{1, func(g *Generator) changelog.Op {
		id, name := g.class()
		return &changelog.SCRen{Old: name, New: g.name(), ID: uint16(id)}
	}},
	{1, func(g *Generator) changelog.Op {
		id, name := g.class()
		return &changelog.SCDel{Class: name, ID: uint16(id)}
	}},
	{2, (*Generator).sesAdd},
	{1, (*Generator).sesChanged},
	{1, (*Generator).sesDel},
	{1, func(g *Generator) changelog.Op { return &changelog.SesDisconnected{Session: g.session()} }},
	{14, (*Generator).acquire},
	{6, (*Generator).release},
	{6, (*Generator).flock},
	{8, (*Generator).posixLock},
	{3, (*Generator).csdbOp},
	{1, func(*Generator) changelog.Op { return &changelog.RenumerateEdges{} }},
	{1, func(g *Generator) changelog.Op { return &changelog.SetMetaID{MetaID: g.st.MetaID} }},

	{1, func(g *Generator) changelog.Op {
		id, _ := g.chunk(false)
		return &changelog.IncVersion{Chunk: id}
	}},
	{1, func(g *Generator) changelog.Op {
		return &changelog.NextChunkID{Chunk: g.st.NextChunk + meta.ChunkID(g.n(3))}
	}},
	{1, func(g *Generator) changelog.Op {
		return &changelog.SetGoal{Inode: g.inode(), UID: g.uid(), Goal: uint8(g.n(10)), Mode: uint8(g.n(8))}
	}},
	{1, func(g *Generator) changelog.Op { return &changelog.CSAdd{IP: 0x7F000001, Port: uint16(9000 + g.n(9))} }},
	{1, func(g *Generator) changelog.Op {
		at, _ := g.server()
		return &changelog.CSDel{IP: at.IP, Port: at.Port}
	}},
	{1, func(g *Generator) changelog.Op { return &changelog.Session{Session: g.st.NextSession} }},
	{1, func(*Generator) changelog.Op { return &changelog.EmptyTrash{AllBuckets: true} }},
	{1, func(*Generator) changelog.Op { return &changelog.EmptySustained{AllBuckets: true} }},
}

func (g *Generator) create() changelog.Op {
	kind := meta.TypeFile
	if g.chance(2) {
		kind = meta.TypeDir
	}
	if g.chance(6) {
		kind = meta.Type(1 + g.n(7))
	}
	return &changelog.Create{Parent: g.dir(), Base: g.name(), Type: kind, Mode: g.mode(), Umask: uint16(g.n(0o100)),
		UID: g.uid(), GID: g.gid(), Rdev: uint32(g.n(9)), Inode: g.newInode()}
}

func (g *Generator) unlink() changelog.Op {
	p := g.place()
	return &changelog.Unlink{Parent: p.parent, Base: p.edge.Name, Inode: p.edge.Child}
}

func (g *Generator) link() changelog.Op {
	return &changelog.Link{Inode: g.inode(), Parent: g.dir(), Base: g.name()}
}

func (g *Generator) move() changelog.Op {
	p := g.place()
	return &changelog.Move{SrcParent: p.parent, SrcBase: p.edge.Name, DstParent: g.dir(), DstBase: g.name(), Inode: p.edge.Child}
}

func (g *Generator) symlink() changelog.Op {
	return &changelog.Symlink{Parent: g.dir(), Base: g.name(), Target: []byte(strings.Repeat("t", 1+g.n(9))),
		UID: g.uid(), GID: g.gid(), Inode: g.newInode()}
}

func (g *Generator) attr() changelog.Op {
	return &changelog.Attr{Inode: g.inode(), Mode: g.mode(), UID: g.uid(), GID: g.gid(),
		Atime: g.Now - meta.Time(g.n(9)), Mtime: g.Now - meta.Time(g.n(9)), Winattr: uint8(g.n(4)), ACLMode: g.mode() | 1<<12}
}

func (g *Generator) write() changelog.Op {
	ino, index := g.file(), g.index()
	return &changelog.Write{Inode: ino, Index: index, OpFlag: g.flag(), CanModMtime: g.flag(), Chunk: g.resultOf(g.slot(ino, index))}
}

func (g *Generator) length() changelog.Op {
	return &changelog.Length{Inode: g.file(), Length: g.fileLength(), CanModMtime: g.flag()}
}

func (g *Generator) trunc() changelog.Op {
	ino, index := g.file(), g.index()
	return &changelog.Trunc{Inode: ino, Index: index, Chunk: g.resultOf(g.slot(ino, index))}
}

func (g *Generator) appendChunks() changelog.Op {
	op := &changelog.AppendChunks{Inode: g.file(), Source: g.file(), From: uint32(g.n(2)), To: uint32(g.n(3))}
	if g.chance(3) {
		op.From, op.To = 0xFFFFFFFF, 0
	}
	return op
}

func (g *Generator) rollback() changelog.Op {
	ino, index := g.file(), g.index()
	op := &changelog.Rollback{Inode: ino, Index: index, Chunk: g.slot(ino, index)}
	switch g.n(3) {
	case 0:
		op.Prev = op.Chunk
	case 1:
		op.Prev, _ = g.chunk(false)
		if _, ok := g.st.Chunks.Get(op.Prev); !ok {
			op.Prev = 0 // a slot must not name what does not exist
		}
	}
	return op
}

func (g *Generator) repair() changelog.Op {
	op := &changelog.Repair{Inode: g.file(), Index: g.index()}
	if !g.Strict {
		op.ChunkVersion = uint32(g.n(3))
	}
	return op
}

func (g *Generator) setFileChunk() changelog.Op {
	if g.Strict { // the lock of the chunk differs
		return &changelog.Idle{}
	}
	return &changelog.SetFileChunk{Inode: g.file(), Index: g.index()}
}

func (g *Generator) unlock() changelog.Op {
	id, _ := g.chunk(false)
	if _, ok := g.st.Chunks.Get(id); !ok && g.Strict {
		return &changelog.Idle{}
	}
	return &changelog.Unlock{Chunk: id}
}

func (g *Generator) chunkAdd() changelog.Op {
	op := &changelog.ChunkAdd{Chunk: g.st.NextChunk + meta.ChunkID(g.n(3)), ChunkVersion: uint32(g.n(9))}
	if g.chance(2) {
		op.LockedTo = g.Now + 7*24*3600
	}
	return op
}

func (g *Generator) chunkDel() changelog.Op {
	id, c := g.chunk(true)
	return &changelog.ChunkDel{Chunk: id, ChunkVersion: c.Version}
}

func (g *Generator) setVersion() changelog.Op {
	id, _ := g.chunk(false)
	return &changelog.SetVersion{Chunk: id, ChunkVersion: uint32(g.n(9))}
}

func (g *Generator) snapshot() changelog.Op {
	src := g.inode()
	if g.chance(2) {
		src = g.dir()
	}
	op := &changelog.Snapshot{Source: src, Parent: g.dir(), Base: g.name(), Mode: uint8(g.n(16)) | uint8(g.n(2)),
		SesFlags: uint8(g.n(16)), UID: g.uid(), GIDs: g.groups(), Umask: uint16(g.n(0o100))}
	op.InodeXor = 1 // anything: is fixed
	return op
}

func (g *Generator) removeSnapshot() changelog.Op {
	p := g.place()
	return &changelog.Snapshot{Parent: p.parent, Base: p.edge.Name, Mode: 0x80 | uint8(g.n(16)), SesFlags: uint8(g.n(16)),
		UID: g.uid(), GIDs: g.groups(), InodeXor: 1}
}

func (g *Generator) setPath() changelog.Op {
	parts := make([]string, 1+g.n(3))
	for i := range parts {
		parts[i] = string(g.name())
	}
	return &changelog.SetPath{Inode: g.of(meta.TypeTrash), Path: []byte(strings.Join(parts, "/"))}
}

func (g *Generator) freeInodes() changelog.Op {
	op := &changelog.FreeInodes{Delay: uint32(300 + g.n(100_000))}
	if g.chance(4) {
		op.Sustained = 1 // anything but 0: ask whether they are open
	}
	return op
}

func (g *Generator) setTrashTime() changelog.Op {
	return &changelog.SetTrashTime{Inode: g.inode(), UID: g.uid(), TrashTime: uint32(g.n(4)) * 3000, Mode: uint8(g.n(8))}
}

func (g *Generator) setEattr() changelog.Op {
	bits := 0xFF
	for range 3 { // few of them
		bits &= g.n(256)
	}
	return &changelog.SetEattr{Inode: g.inode(), UID: g.uid(), Eattr: uint8(bits), Mode: uint8(g.n(8))}
}

func (g *Generator) setSClass() changelog.Op {
	return &changelog.SetSClass{Inode: g.inode(), UID: g.uid(), Src: g.classID(), Dst: g.classID(), Mode: uint8(g.n(8))}
}

func (g *Generator) archChg() changelog.Op {
	return &changelog.ArchChg{Inode: g.inode(), UID: 1000 + uint32(g.n(2)), Command: g.flag()}
}

func (g *Generator) setXattr() changelog.Op {
	return &changelog.SetXattr{Inode: g.inode(), Attr: append([]byte("user."), g.name()[0]), Value: []byte(strings.Repeat("\x00v", g.n(3))), Mode: uint8(g.n(4))}
}

func (g *Generator) setACL() changelog.Op {
	op := &changelog.SetACL{Inode: g.inode(), Mode: g.mode(), ChangeCtime: g.flag(), Type: uint8(1 + g.n(2)),
		User: g.perm(), Group: g.perm(), Other: g.perm(), Mask: g.perm()}
	if g.chance(2) {
		op.Users, op.Groups = g.aclEntries(), g.aclEntries()
	}
	if g.chance(2) {
		op.Inode = g.dir()
	}
	return op
}

func (g *Generator) quota() changelog.Op {
	op := &changelog.Quota{Inode: g.dir(), Flags: uint8(g.n(256)), SoftInodes: uint32(g.n(9)), HardInodes: uint32(g.n(99)),
		SoftLength: uint64(g.n(9)), HardReal: uint64(g.n(1 << 40)), Grace: uint32(g.n(3))}
	if g.chance(4) {
		op.Exceeded, op.SoftTime = 1, g.Now
	}
	if g.chance(5) {
		*op = changelog.Quota{Inode: op.Inode}
	}
	return op
}

func (g *Generator) class() (id uint8, name []byte) {
	id = g.classID()
	c, _ := g.st.Classes.Get(id)
	return id, []byte(c.Name)
}

// newClass tells which id the next class gets.
func (g *Generator) newClass() uint16 {
	for id := uint16(1); id < g.st.ClassesUsed; id++ {
		if _, ok := g.st.Classes.Get(uint8(id)); !ok {
			return id
		}
	}
	return g.st.ClassesUsed
}

func (g *Generator) scSet() changelog.Op {
	op := &changelog.SCSet{Class: g.name(), New: 1, Mode: uint8(g.n(3)), ArchDelay: uint16(g.n(9)),
		Create: g.labels(), Keep: g.labels(), Arch: g.labels(), ID: g.newClass()}
	if !g.Strict {
		op.AdminOnly = g.flag()
	}
	if g.chance(2) {
		id, name := g.class()
		op.New, op.Class, op.ID = 0, name, uint16(id)
	}
	return op
}

func (g *Generator) scDup() changelog.Op {
	id, name := g.class()
	return &changelog.SCDup{Src: name, Dst: g.name(), SrcID: uint16(id), DstID: g.newClass()}
}

func (g *Generator) sessionData() changelog.SessionData {
	return changelog.SessionData{ExportsSum: uint64(g.n(99)), Root: g.dir(), Flags: uint8(g.n(128)), Umask: uint16(g.n(0o1000)),
		RootUID: g.uid(), RootGID: g.gid(), MapUID: g.uid(), MapGID: g.gid(), MinGoal: 1, MaxGoal: 9, MaxTrash: 1 << 31,
		Disables: uint32(g.n(256)), Peer: 0x7F000001, Info: fmt.Appendf(nil, "/mnt/%d\x00", g.n(9))}
}

func (g *Generator) sesAdd() changelog.Op {
	return &changelog.SesAdd{SessionData: g.sessionData(), Session: g.st.NextSession}
}

func (g *Generator) sesChanged() changelog.Op {
	return &changelog.SesChanged{Session: g.session(), SessionData: g.sessionData()}
}

// acquire strictly leaves out sessions that do not exist.
func (g *Generator) acquire() changelog.Op {
	op := &changelog.Acquire{Session: g.session(), Inode: g.file()}
	if _, ok := g.st.Sessions.Get(op.Session); !ok && g.Strict {
		return &changelog.Idle{}
	}
	return op
}

// sesDel does not close files with locks of flock(2) if all is to be strict:
// the primary drops these locks before. It then leaves out sessions that do not
// exist, too, as no stock master replays the end of one.
func (g *Generator) sesDel() changelog.Op {
	op := &changelog.SesDel{Session: g.session()}
	if _, ok := g.st.Sessions.Get(op.Session); !ok && g.Strict {
		return &changelog.Idle{}
	}
	for ino := range g.st.Flocks.Scan(0) {
		if g.Strict && g.st.Open.Has(op.Session, ino) {
			return &changelog.Idle{}
		}
	}
	return op
}

// release does as sesDel.
func (g *Generator) release() changelog.Op {
	f := g.openFile()
	if list, _ := g.st.Flocks.Get(f.inode); len(list) > 0 && g.Strict {
		return &changelog.Idle{}
	}
	return &changelog.Release{Session: f.session, Inode: f.inode}
}

func (g *Generator) flock() changelog.Op {
	f := g.openFile()
	op := &changelog.Flock{Inode: f.inode, Session: f.session, Owner: uint64(g.n(3)), Kind: oneOf(g, []changelog.LockKind{'U', 'R', 'R', 'W'}, 'U')}
	if g.Strict && !g.st.Open.Has(f.session, f.inode) {
		return &changelog.Idle{}
	}
	list, _ := g.st.Flocks.Get(f.inode)
	if op.Kind == changelog.LockUnlock && len(list) > 0 {
		l := oneOf(g, list, meta.Flock{})
		op.Session, op.Owner = l.Session, l.Owner
	}
	for _, l := range list {
		same := l.Session == op.Session && l.Owner == op.Owner
		if g.Strict && op.Kind != changelog.LockUnlock && (same || l.Write) {
			return &changelog.Idle{}
		}
	}
	return op
}

func (g *Generator) posixLock() changelog.Op {
	f := g.openFile()
	op := &changelog.PosixLock{Inode: f.inode, Session: f.session, Owner: uint64(g.n(3)), Kind: oneOf(g, []changelog.LockKind{'U', 'R', 'W'}, 'U'), PID: uint32(g.n(3))}
	op.Start, op.End = g.lockRange()
	if g.Strict && !g.st.Open.Has(f.session, f.inode) {
		return &changelog.Idle{}
	}
	list, _ := g.st.Plocks.Get(f.inode)
	for _, o := range list {
		if g.Strict && op.Kind != changelog.LockUnlock && (o.Session != op.Session || o.Owner != op.Owner) {
			return &changelog.Idle{}
		}
	}
	return op
}

func (g *Generator) csdbOp() changelog.Op {
	at, info := g.server()
	op := &changelog.CSDBOp{Op: uint8(g.n(8)), IP: at.IP, Port: at.Port}
	switch op.Op {
	case changelog.CSDBAdd:
		op.Port, op.Arg = uint16(9000+g.n(9)), uint32(g.n(4))
	case changelog.CSDBNewAddress:
		op.Port, op.Arg = uint16(9000+g.n(9)), uint32(info.ID)
	case changelog.CSDBNewID:
		op.Arg = uint32(g.n(9))
	case changelog.CSDBMaintenanceOn, changelog.CSDBMaintenanceTmp:
		op.Arg = uint32(g.Now) + uint32(g.n(999))
	}
	return op
}
