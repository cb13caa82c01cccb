package metafile

import (
	"encoding/binary"
	"strings"

	"mfsstandby/changelog/meta"
)

// NODE before 1.4 has the trash time in seconds, no winattr, and for files the
// sessions that have them open, which only 1.6 uses. Record:
//
//	type:8 inode:32 class:8 (eattr:8 mode:16, or before 1.2 eattr:4 mode:12)
//	uid:32 gid:32 atime:32 mtime:32 ctime:32 trash seconds:32
//	device: rdev:32
//	symlink: length:32 target
//	file: length:64 chunks:32 sessions:16 chunks*[chunk:64] sessions*[session:32]
//
// Before 1.3 the type is one of nodeLettersOld. Before 1.1 there is no count in
// front, and in files before format 2.0 nothing at all.
const (
	nodeCounted    = 0x11 // first version with a count
	nodeFlags      = 0x12 // first version with eattr and mode apart
	nodeNumbers    = 0x13 // first version with numbers as types
	nodeHours      = 0x14 // first version with the trash time in hours
	nodeLettersOld = "\x00fdlqbcstr"
)

// nodesHead is what precedes the nodes.
type nodesHead struct {
	has      bool
	maxInode meta.Inode
	count    uint32 // only a hint, not checked by mfsmaster either
}

func (in *input) nodesHead() nodesHead {
	if in.format < formatCurrent {
		in.version = 0x10 // whatever the section's header says
		return nodesHead{}
	}
	h := nodesHead{has: true, maxInode: meta.Inode(in.u32()), count: 1}
	if in.version >= nodeCounted {
		h.count = in.u32()
	}
	return h
}

// writtenBy notes whose the file is, and so which release's rules hold.
func (l *loader) writtenBy() {
	var wrote meta.Release
	switch {
	case l.in.format < formatCurrent:
		wrote = meta.Reproduced16
	case l.in.version < nodeHours && !l.classesIn:
		wrote = meta.Reproduced2
	default:
		return
	}
	if l.by > wrote {
		wrote = l.by
	}
	l.st.Release = wrote
	l.old = !wrote.Since(meta.Release3)
}

// readOldNode is readNode for versions before 1.4.
func (in *input) readOldNode(rec *nodeRecord) bool {
	kind, ok := in.oldType()
	if !ok {
		return false
	}
	size := 31
	if in.version >= nodeFlags {
		size++
	}
	tail := 0
	switch {
	case kind.IsFile():
		tail = 14
	case kind.IsDevice(), kind == meta.TypeSymlink:
		tail = 4
	}
	b := in.next(size + tail)
	if b == nil {
		return false
	}
	be := binary.BigEndian
	*rec = nodeRecord{inode: meta.Inode(be.Uint32(b)), node: meta.Node{Type: kind, Class: b[4]}}
	n := &rec.node
	if in.version < nodeFlags {
		n.Eattr, n.Mode = b[5]>>4, be.Uint16(b[5:])&0xFFF
		b = b[7:]
	} else {
		n.Eattr, n.Mode = b[5], be.Uint16(b[6:])
		b = b[8:]
	}
	n.UID, n.GID = be.Uint32(b), be.Uint32(b[4:])
	n.Atime, n.Mtime, n.Ctime = meta.Time(be.Uint32(b[8:])), meta.Time(be.Uint32(b[12:])), meta.Time(be.Uint32(b[16:]))
	rec.trash = be.Uint32(b[20:])
	n.TrashHours = meta.TrashHoursOf(rec.trash)
	switch b = b[24:]; {
	case kind.IsFile():
		n.Length, n.Slots, rec.sessions = be.Uint64(b), be.Uint32(b[8:]), int(be.Uint16(b[12:]))
	case kind.IsDevice():
		n.Rdev = be.Uint32(b)
	case kind == meta.TypeSymlink:
		rec.pathLen = be.Uint32(b)
	}
	return true
}

// oldType reads a type; false is the end.
func (in *input) oldType() (meta.Type, bool) {
	raw := in.u8()
	if raw == 0 {
		return 0, false
	}
	kind := int(raw)
	if in.version < nodeNumbers {
		kind = strings.IndexByte(nodeLettersOld, raw)
	}
	if kind <= 0 || kind > int(meta.TypeSustained) {
		in.failf("unknown type of node %d", raw)
		return 0, false
	}
	return meta.Type(kind), true
}

// eachOpener reads the sessions that have a file open.
func (in *input) eachOpener(rec *nodeRecord, use func(meta.SessionID)) error {
	for range rec.sessions {
		b := in.next(4)
		if b == nil {
			return in.err
		}
		use(meta.SessionID(binary.BigEndian.Uint32(b)))
	}
	return nil
}

// openers notes who has a file open. That of 1.6 knows no sessions; their
// records are in a file of their own.
func (l *loader) openers(rec *nodeRecord) error {
	return l.in.eachOpener(rec, func(s meta.SessionID) {
		switch {
		case s == 0:
			l.in.failf("node %d is open for session 0", rec.inode)
		case l.st.Open.Has(s, rec.inode):
			l.in.failf("session %d has inode %d open twice", s, rec.inode)
		default:
			l.st.Open.Add(s, rec.inode)
			if session, ok := l.st.Sessions.Edit(s); ok {
				session.Open++
			}
			l.inNodes++
		}
	})
}

func (d *dumper) openers(rec *nodeRecord) error {
	open := "|r:("
	if rec.sessions == 0 {
		d.t.str(open, "")
	}
	err := d.in.eachOpener(rec, func(s meta.SessionID) {
		d.t.num(open, uint64(s), 0)
		open = ","
	})
	d.t.str(")", "")
	return err
}

// openers compares who has a file open with a file of 1.6.
func (c *comparer) openers(rec *nodeRecord) error {
	return c.in.eachOpener(rec, func(s meta.SessionID) { c.opened(s, rec.inode) })
}
