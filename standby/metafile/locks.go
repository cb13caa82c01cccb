package metafile

import (
	"encoding/binary"
	"slices"

	"mfsstandby/changelog/meta"
)

// FLCK 1.0: records, a zero record. Record:
//
//	inode:32 owner:64 session:32 exclusive:8
//
// PLCK 1.0: records, a zero record; those of an inode stand together, in them
// those of an owner, with ascending ranges. Record:
//
//	inode:32 owner:64 session:32 pid:32 start:64 end:64 type:8
const (
	flockSize = 17
	plockSize = 37
	plockRead = 1
	plockSet  = 2 // a write lock
)

// readFlock reads the next record; kind is the raw type; false is the end.
func (in *input) readFlock() (ino meta.Inode, f meta.Flock, kind uint8, ok bool) {
	b := in.next(flockSize)
	if b == nil {
		return 0, f, 0, false
	}
	ino = meta.Inode(binary.BigEndian.Uint32(b))
	f = meta.Flock{Owner: binary.BigEndian.Uint64(b[4:]), Session: meta.SessionID(binary.BigEndian.Uint32(b[12:])), Write: b[16] != 0}
	return ino, f, b[16], ino != 0 || f.Owner != 0 || f.Session != 0
}

func (l *loader) flocks() error {
	for {
		l.begin()
		ino, f, kind, ok := l.in.readFlock()
		if !ok {
			return l.in.err
		}
		if kind > 1 {
			return l.in.failf("file lock of inode %d has the unknown type %d", ino, kind)
		}
		if !l.st.Open.Has(f.Session, ino) {
			return l.in.failf("session %d locks inode %d, which it has not open", f.Session, ino)
		}
		list, ok := l.st.Flocks.Edit(ino)
		if !ok {
			l.st.Flocks.Insert(ino, []meta.Flock{f})
			continue
		}
		for _, other := range *list {
			if f.Write || other.Write || f.Session == other.Session && f.Owner == other.Owner {
				return l.in.failf("file lock of session %d, owner %#x on inode %d conflicts with that of session %d, owner %#x", f.Session, f.Owner, ino, other.Session, other.Owner)
			}
		}
		*list = slices.Insert(*list, 0, f) // to the head, as in mfsmaster
	}
}

func writeFlocks(o *output, st *meta.State) error {
	for ino, list := range st.Flocks.Scan(0) {
		for _, f := range list {
			o.u32(uint32(ino))
			o.u64(f.Owner)
			o.u32(uint32(f.Session))
			o.flag(f.Write)
			o.end()
		}
	}
	o.zeros(flockSize)
	o.end()
	return o.err
}

func dumpFlocks(d *dumper) error {
	for {
		d.in.begin()
		ino, f, _, ok := d.in.readFlock()
		if !ok {
			return d.in.err
		}
		session, owner := uint64(f.Session), f.Owner
		if d.opt.Misread {
			session, owner = f.Owner>>32, f.Owner<<32|uint64(f.Session)
		}
		d.t.num("FLOCK|i:", uint64(ino), 10)
		d.t.num("|s:", session, 10)
		d.t.hex("|o:", owner, 16)
		d.t.letter("|t:", f.Write, 'W', 'R')
		if !d.endLine() {
			return d.in.err
		}
	}
}

// plockRecord is one locked range.
type plockRecord struct {
	inode meta.Inode
	owner meta.PosixOwner // without ranges
	span  meta.PosixRange
	kind  uint8
}

// readPlock reads the next record; false is the end.
func (in *input) readPlock(rec *plockRecord) bool {
	b := in.next(plockSize)
	if b == nil {
		return false
	}
	be := binary.BigEndian
	rec.inode = meta.Inode(be.Uint32(b))
	rec.owner = meta.PosixOwner{Owner: be.Uint64(b[4:]), Session: meta.SessionID(be.Uint32(b[12:])), PID: be.Uint32(b[16:])}
	rec.kind = b[36]
	rec.span = meta.PosixRange{Start: be.Uint64(b[20:]), End: be.Uint64(b[28:]), Write: rec.kind == plockSet}
	return rec.inode != 0 || rec.owner.Owner != 0 || rec.owner.Session != 0
}

func (l *loader) plocks() error {
	var rec plockRecord
	var last meta.Inode
	for {
		l.begin()
		if !l.in.readPlock(&rec) {
			return l.in.err
		}
		if rec.kind != plockRead && rec.kind != plockSet {
			return l.in.failf("range lock of inode %d has the unknown type %d", rec.inode, rec.kind)
		}
		if rec.span.Start >= rec.span.End {
			return l.in.failf("range lock of inode %d is empty: %d to %d", rec.inode, rec.span.Start, rec.span.End)
		}
		if !l.st.Open.Has(rec.owner.Session, rec.inode) {
			return l.in.failf("session %d locks a range of inode %d, which it has not open", rec.owner.Session, rec.inode)
		}
		if err := l.plock(&rec, last); err != nil {
			return err
		}
		last = rec.inode
	}
}

// plock adds a range to its owner.
func (l *loader) plock(rec *plockRecord, last meta.Inode) error {
	list, ok := l.st.Plocks.Edit(rec.inode)
	if !ok {
		list = l.st.Plocks.Insert(rec.inode, nil)
	} else if rec.inode != last {
		return l.in.failf("range locks of inode %d do not stand together", rec.inode)
	}
	i := slices.IndexFunc(*list, func(p meta.PosixOwner) bool {
		return p.Session == rec.owner.Session && p.Owner == rec.owner.Owner
	})
	if i < 0 {
		rec.owner.Ranges = []meta.PosixRange{rec.span}
		*list = append(*list, rec.owner)
		return nil
	}
	if i != len(*list)-1 {
		return l.in.failf("range locks of session %d, owner %#x on inode %d do not stand together", rec.owner.Session, rec.owner.Owner, rec.inode)
	}
	ranges := (*list)[i].Ranges
	before := ranges[len(ranges)-1]
	switch {
	case rec.span.Start < before.End:
		return l.in.failf("range locks of inode %d are not in order: %d is before %d", rec.inode, rec.span.Start, before.End)
	case rec.span.Start == before.End && rec.span.Write == before.Write:
		return l.in.failf("range locks of inode %d touch at %d and are not joined", rec.inode, before.End)
	}
	(*list)[i].Ranges = append(ranges, rec.span)
	return nil
}

func writePlocks(o *output, st *meta.State) error {
	for ino, list := range st.Plocks.Scan(0) {
		for _, p := range list {
			for _, r := range p.Ranges {
				o.u32(uint32(ino))
				o.u64(p.Owner)
				o.u32(uint32(p.Session))
				o.u32(p.PID)
				o.u64(r.Start)
				o.u64(r.End)
				if r.Write {
					o.u8(plockSet)
				} else {
					o.u8(plockRead)
				}
				o.end()
			}
		}
	}
	o.zeros(plockSize)
	o.end()
	return o.err
}

func dumpPlocks(d *dumper) error {
	var rec plockRecord
	for {
		d.in.begin()
		if !d.in.readPlock(&rec) {
			return d.in.err
		}
		d.t.num("POSIXLOCK|i:", uint64(rec.inode), 10)
		d.t.num("|s:", uint64(rec.owner.Session), 10)
		d.t.hex("|o:0x", rec.owner.Owner, 16)
		d.t.num("|p:", uint64(rec.owner.PID), 10)
		d.t.num("|r:<", rec.span.Start, 20)
		d.t.num(",", rec.span.End, 20)
		letter := byte('?')
		switch rec.kind {
		case plockRead:
			letter = 'R'
		case plockSet:
			letter = 'W'
		}
		d.t.letter(")|t:", true, letter, 0)
		if !d.endLine() {
			return d.in.err
		}
	}
}
