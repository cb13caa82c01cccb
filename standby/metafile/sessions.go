package metafile

import (
	"encoding/binary"

	"mfsstandby/changelog/meta"
)

// SESS 1.5: next session:32 S:16, records, a zero record without info. Record:
//
//	session:32 exports sum:64 info length:32 peer:32 root:32 flags:8 umask:16
//	min and max goal:8 min and max trash time:32 root uid:32 gid:32
//	map-all uid:32 gid:32 disables:32 disconnected:32
//	S*[counter of this hour:32] S*[of the last hour:32] info
const sessionFixed = 61

type sessionRecord struct {
	id      meta.SessionID
	session meta.Session // without info
	infoLen uint32
}

// readSession reads the fixed part of the next record with its counters;
// false is the end.
func (in *input) readSession(rec *sessionRecord, counters int) bool {
	b := in.next(sessionFixed + 8*counters)
	if b == nil {
		return false
	}
	be := binary.BigEndian
	rec.id, rec.infoLen = meta.SessionID(be.Uint32(b)), be.Uint32(b[12:])
	rec.session = meta.Session{
		ExportsSum: be.Uint64(b[4:]), Peer: be.Uint32(b[16:]), Root: meta.Inode(be.Uint32(b[20:])),
		Flags: b[24], Umask: be.Uint16(b[25:]), MinGoal: b[27], MaxGoal: b[28],
		MinTrash: be.Uint32(b[29:]), MaxTrash: be.Uint32(b[33:]),
		RootUID: be.Uint32(b[37:]), RootGID: be.Uint32(b[41:]), MapUID: be.Uint32(b[45:]), MapGID: be.Uint32(b[49:]),
		Disables: be.Uint32(b[53:]), Disconnected: meta.Time(be.Uint32(b[57:])),
	}
	b = b[sessionFixed:]
	for i := range min(counters, meta.SessionCounters) { // more are dropped, fewer filled up with 0
		rec.session.Current[i] = be.Uint32(b[4*i:])
		rec.session.Last[i] = be.Uint32(b[4*(counters+i):])
	}
	return rec.id != 0
}

func (in *input) sessionsHead() (next meta.SessionID, counters int) {
	b := in.next(6)
	if b == nil {
		return 0, 0
	}
	return meta.SessionID(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint16(b[4:]))
}

func (l *loader) sessions() error {
	next, counters := l.in.sessionsHead()
	l.st.NextSession = next
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

func writeSessions(o *output, st *meta.State) error {
	o.u32(uint32(st.NextSession))
	o.u16(meta.SessionCounters)
	o.end()
	for id, s := range st.Sessions.Scan(0) {
		o.u32(uint32(id))
		o.u64(s.ExportsSum)
		o.u32(uint32(len(s.Info)))
		o.u32(s.Peer)
		o.u32(uint32(s.Root))
		o.u8(s.Flags)
		o.u16(s.Umask)
		o.u8(s.MinGoal)
		o.u8(s.MaxGoal)
		for _, v := range [...]uint32{s.MinTrash, s.MaxTrash, s.RootUID, s.RootGID, s.MapUID, s.MapGID, s.Disables, uint32(s.Disconnected)} {
			o.u32(v)
		}
		for i := range 2 * meta.SessionCounters {
			if i < meta.SessionCounters {
				o.u32(s.Current[i])
			} else {
				o.u32(s.Last[i-meta.SessionCounters])
			}
		}
		o.end()
		if len(s.Info) > 0 {
			o.buf = append(o.buf, s.Info...)
			o.end()
		}
	}
	o.zeros(sessionFixed + 8*meta.SessionCounters)
	o.end()
	return o.err
}
