package metafile

import (
	"encoding/binary"
	"fmt"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// SESS 1.5: next session:32 S:16, records, a zero record without info. Record:
//
//	session:32 exports sum:64 info length:32 peer:32 root:32 flags:8 umask:16
//	min and max goal:8 min and max trash time:32 root uid:32 gid:32
//	map-all uid:32 gid:32 disables:32 disconnected:32
//	S*[counter of this hour:32] S*[of the last hour:32] info
//
// SESS 1.6, of 4.x, has storage class groups:16 in place of the goals, and S 0.
const sessionGroups = 0x16 // first version with groups
const sessionFixed = 61

type sessionRecord struct {
	id      meta.SessionID
	session meta.Session // without info
	infoLen uint32
}

// readSession reads the fixed part of the next record with its counters;
// false is the end.
func (in *input) readSession(rec *sessionRecord, counters int) bool {
	if in.version < sessionDisables {
		return in.readOldSession(rec, counters)
	}
	b := in.next(sessionFixed + 8*counters)
	if b == nil {
		return false
	}
	be := binary.BigEndian
	rec.id, rec.infoLen = meta.SessionID(be.Uint32(b)), be.Uint32(b[12:])
	rec.session = meta.Session{
		ExportsSum: be.Uint64(b[4:]), Peer: be.Uint32(b[16:]), Root: meta.Inode(be.Uint32(b[20:])),
		Flags: b[24], Umask: be.Uint16(b[25:]),
		MinTrash: be.Uint32(b[29:]), MaxTrash: be.Uint32(b[33:]),
		RootUID: be.Uint32(b[37:]), RootGID: be.Uint32(b[41:]), MapUID: be.Uint32(b[45:]), MapGID: be.Uint32(b[49:]),
		Disables: be.Uint32(b[53:]), Disconnected: meta.Time(be.Uint32(b[57:])),
	}
	if in.version >= sessionGroups {
		rec.session.Groups = be.Uint16(b[27:])
	} else {
		rec.session.MinGoal, rec.session.MaxGoal = b[27], b[28]
	}
	rec.counters(b[sessionFixed:], counters)
	return rec.id != 0
}

// counters reads the operation counters; more than are known are dropped, fewer
// filled up with 0.
func (rec *sessionRecord) counters(b []byte, counters int) {
	for i := range min(counters, meta.SessionCounters) {
		rec.session.Current[i] = binary.BigEndian.Uint32(b[4*i:])
		rec.session.Last[i] = binary.BigEndian.Uint32(b[4*(counters+i):])
	}
}

func (in *input) sessionsHead() (next meta.SessionID, counters int) {
	if in.version < sessionHead {
		in.oldSessionsHead()
	}
	b := in.next(6)
	if b == nil {
		return 0, 0
	}
	return meta.SessionID(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint16(b[4:]))
}

func (l *loader) sessions() error {
	next, counters := l.in.sessionsHead()
	l.st.NextSession, l.sessionsVersion = next, l.in.version
	var rec sessionRecord
	for {
		l.begin()
		if !l.in.readSession(&rec, counters) {
			return l.in.err
		}
		info, err := l.in.blob(rec.infoLen)
		if err != nil {
			return err
		}
		if _, twice := l.st.Sessions.Get(rec.id); twice {
			return l.in.failf("session %d comes twice", rec.id)
		}
		rec.session.Info = info
		l.st.Sessions.Insert(rec.id, rec.session)
	}
}

// modernSessions turns the goals of sessions of older files into groups, as
// 4.x does when it loads them.
func (l *loader) modernSessions() {
	if l.sessionsVersion >= sessionGroups {
		return
	}
	for id := range l.st.Sessions.Scan(0) {
		if s, ok := l.st.Sessions.Edit(id); ok {
			changelog.ModernSession(s)
		}
	}
}

func writeSessions(o *output, st *meta.State) error {
	counters := meta.SessionCounters
	if o.modern {
		counters = 0
	}
	o.u32(uint32(st.NextSession))
	o.u16(uint16(counters))
	o.end()
	for id, s := range st.Sessions.Scan(0) {
		o.u32(uint32(id))
		o.u64(s.ExportsSum)
		o.u32(uint32(len(s.Info)))
		o.u32(s.Peer)
		o.u32(uint32(s.Root))
		o.u8(s.Flags)
		o.u16(s.Umask)
		if o.modern {
			o.u16(s.Groups)
		} else {
			o.u8(s.MinGoal)
			o.u8(s.MaxGoal)
		}
		for _, v := range [...]uint32{s.MinTrash, s.MaxTrash, s.RootUID, s.RootGID, s.MapUID, s.MapGID, s.Disables, uint32(s.Disconnected)} {
			o.u32(v)
		}
		for i := range 2 * counters {
			if i < counters {
				o.u32(s.Current[i])
			} else {
				o.u32(s.Last[i-counters])
			}
		}
		o.end()
		if len(s.Info) > 0 {
			o.buf = append(o.buf, s.Info...)
			o.end()
		}
	}
	o.zeros(sessionFixed + 8*counters)
	o.end()
	return o.err
}

func dumpSessions(d *dumper) error {
	next, counters := d.in.sessionsHead()
	d.t.num("# nextsessionid: ", uint64(next), 0)
	d.t.num(" ; statscount: ", uint64(counters), 0)
	var rec sessionRecord
	for d.endLine() {
		d.in.begin()
		if !d.in.readSession(&rec, counters) {
			break
		}
		info, err := d.in.blob(rec.infoLen)
		if err != nil {
			return err
		}
		rec.session.Info = info
		d.session(&rec, min(counters, meta.SessionCounters))
	}
	return d.in.err
}

func (d *dumper) session(rec *sessionRecord, counters int) {
	s := &rec.session
	d.t.num("SESSION|s:", uint64(rec.id), 10)
	if d.in.version >= sessionSum {
		d.t.num("|e:#", s.ExportsSum, 0)
	}
	d.t.str("|p:", ipText(s.Peer))
	d.t.num("|r:", uint64(s.Root), 10)
	if d.in.version >= sessionUmask {
		d.t.hex("|f:0x", uint64(s.Flags), 2)
		d.t.oct("|u:0", uint64(s.Umask), 3)
	} else {
		d.t.hex("|f:", uint64(s.Flags), 2)
	}
	if d.in.version >= sessionGroups {
		d.t.hex("|a:0x", uint64(s.Groups), 4)
	} else {
		d.t.num("|g:", uint64(s.MinGoal), 0)
		d.t.num("-", uint64(s.MaxGoal), 0)
	}
	d.t.num("|t:", uint64(s.MinTrash), 10)
	d.t.num("-", uint64(s.MaxTrash), 10)
	for i, id := range [...]uint32{s.RootUID, s.RootGID, s.MapUID, s.MapGID} {
		label := ","
		if i == 0 {
			label = "|m:"
		}
		d.t.num(label, uint64(id), 10)
	}
	if d.in.version >= sessionDisables {
		d.t.hex("|x:0x", uint64(s.Disables), 8)
	}
	if d.in.version >= sessionDisconnected {
		d.t.num("|d:", uint64(s.Disconnected), 10)
	}
	d.counters("|c:[", s.Current[:counters])
	d.counters("|l:[", s.Last[:counters])
	d.t.raw("|i:", s.Info)
}

func (d *dumper) counters(label string, list []uint32) {
	for _, n := range list {
		d.t.num(label, uint64(n), 0)
		label = ","
	}
	if len(list) == 0 {
		d.t.str(label, "")
	}
	d.t.str("]", "")
}

func compareSessions(c *comparer) error {
	next, counters := c.in.sessionsHead()
	c.scalar("SESS", "next session", uint64(next), uint64(c.st.NextSession))
	var rec sessionRecord
	for {
		c.in.begin()
		if !c.in.readSession(&rec, counters) {
			break
		}
		info, err := c.in.blob(rec.infoLen)
		if err != nil {
			return err
		}
		rec.session.Info = info
		if c.modern() && c.in.version < sessionGroups {
			changelog.ModernSession(&rec.session)
		}
		c.known[rec.id] = &meta.IDSet{}
		key := fmt.Sprintf("session %d", rec.id)
		image, ok := c.st.Sessions.Get(rec.id)
		if !ok {
			c.missing("SESS", key, rec.session)
			continue
		}
		image.Open = 0
		if !c.opt.Counters {
			image.Current, image.Last = rec.session.Current, rec.session.Last
		}
		if !c.opt.Disconnects {
			image.Disconnected = rec.session.Disconnected
		}
		c.fields("SESS", key, 0, rec.session, image)
	}
	for id, s := range c.st.Sessions.Scan(0) {
		switch {
		case c.known[id] != nil:
		case s.Disconnected != 0 && !c.opt.Disconnects:
			c.known[id] = nil // closed by its client: not stored, and SESDEL follows; like its open files
		default:
			c.extra("SESS", fmt.Sprintf("session %d", id), 0, s)
		}
	}
	return c.in.err
}
