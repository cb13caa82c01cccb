package metafile

import (
	"encoding/binary"

	"mfsstandby/changelog/meta"
)

// SESS before 1.5 lacks some fields. Before 1.2 another version stands in front
// of the head, which counts: 1 is 1.0, 2 is 1.1.
const (
	sessionDisconnected = 0x11 // first version with the time of disconnection
	sessionHead         = 0x12 // first version without a version in front
	sessionSum          = 0x13 // first version with the exports sum
	sessionUmask        = 0x14 // first version with the umask
	sessionDisables     = 0x15 // first version with the disabled operations
)

func (in *input) oldSessionsHead() {
	b := in.next(2)
	if b == nil {
		return
	}
	switch v := binary.BigEndian.Uint16(b); v {
	case 1, 2:
		in.version = 0x0F + uint8(v)
	default:
		in.failf("unknown version %d of the sessions", v)
	}
}

// readOldSession is readSession for versions before 1.5.
func (in *input) readOldSession(rec *sessionRecord, counters int) bool {
	size := 43
	for _, field := range [...]struct {
		since uint8
		size  int
	}{{sessionDisconnected, 4}, {sessionSum, 8}, {sessionUmask, 2}} {
		if in.version >= field.since {
			size += field.size
		}
	}
	b := in.next(size + 8*counters)
	if b == nil {
		return false
	}
	rec.counters(b[size:], counters)
	be := binary.BigEndian
	s := &rec.session
	current, last := s.Current, s.Last
	*s = meta.Session{Current: current, Last: last}
	rec.id, b = meta.SessionID(be.Uint32(b)), b[4:]
	if in.version >= sessionSum {
		s.ExportsSum, b = be.Uint64(b), b[8:]
	}
	rec.infoLen = be.Uint32(b)
	s.Peer, s.Root, s.Flags, b = be.Uint32(b[4:]), meta.Inode(be.Uint32(b[8:])), b[12], b[13:]
	if in.version >= sessionUmask {
		s.Umask, b = be.Uint16(b), b[2:]
	}
	s.MinGoal, s.MaxGoal, b = b[0], b[1], b[2:]
	for _, v := range [...]*uint32{&s.MinTrash, &s.MaxTrash, &s.RootUID, &s.RootGID, &s.MapUID, &s.MapGID} {
		*v, b = be.Uint32(b), b[4:]
	}
	if in.version >= sessionDisconnected { // mfsmaster takes the time of its start for older ones
		s.Disconnected = meta.Time(be.Uint32(b))
	}
	return rec.id != 0
}
