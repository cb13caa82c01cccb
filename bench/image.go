package bench

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Base says what a fresh metadata image holds besides the root directory.
type Base struct {
	Version uint64 // number of the first changelog entry to replay on it; at least 1
	MetaID  uint64 // identity of the cluster; not 0
	Time    uint32 // atime, mtime and ctime of the root directory, Unix seconds
}

// DefaultBase is the image that Generate starts from with the zero Options.
var DefaultBase = Base{Version: 2, MetaID: 0x6B045E34ECCA0DA6, Time: 1_700_000_000}

const (
	maxEdgeID      = 0x7FFFFFFFFFFFFFFF
	rootInode      = 1
	defaultClass   = 2  // storage class of a fresh root
	freshTrashTime = 24 // hours
	predefined     = 9  // storage classes "1".."9"
	labelGroups    = 4  // or-groups of a label expression
	statCounters   = 16 // operation counters of a session, kept for two hours
)

// FreshMetadata writes the metadata.mfs (format "MFSM 2.0", the section versions
// of 3.0.117) of an empty file system: what a master makes of an image that says
// "MFSM NEW" when it is stopped before anybody connects.
func FreshMetadata(w io.Writer, base Base) error {
	be := binary.BigEndian
	out := append([]byte{}, "MFSM 2.0"...)
	out = be.AppendUint64(out, base.Version)
	out = be.AppendUint64(out, base.MetaID)
	section := func(name string, body []byte) {
		out = append(out, name...)
		out = be.AppendUint64(out, uint64(len(body)))
		out = append(out, body...)
	}
	section("SESS 1.5", freshSessions())
	section("SCLA 1.6", freshClasses())
	section("NODE 1.4", freshRoot(base.Time))
	section("EDGE 1.1", append(be.AppendUint64(nil, maxEdgeID-1), make([]byte, 18)...))
	section("FREE 1.0", make([]byte, 4))
	section("QUOT 1.1", make([]byte, 4))
	section("XATR 1.0", make([]byte, 9))
	section("PACL 1.1", make([]byte, 17))
	section("OPEN 1.0", make([]byte, 8))
	section("FLCK 1.0", make([]byte, 17))
	section("PLCK 1.0", make([]byte, 37))
	section("CSDB 1.3", make([]byte, 4))
	section("CHNK 1.1", append(be.AppendUint64(nil, 1), make([]byte, 17)...))
	out = append(out, "[MFS EOF MARKER]"...)
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("writing fresh metadata: %w", err)
	}
	return nil
}

// freshSessions is the head (next session 1) and the end record.
func freshSessions() []byte {
	body := binary.BigEndian.AppendUint32(nil, 1)
	body = binary.BigEndian.AppendUint16(body, statCounters)
	return append(body, make([]byte, 61+8*statCounters)...)
}

// freshClasses is one class per plain goal: n copies on any server.
func freshClasses() []byte {
	body := []byte{labelGroups}
	for id := byte(1); id <= predefined; id++ {
		const nameLen, adminOnly, standardMode = 1, 0, 1
		body = append(body, 0, id, nameLen, adminOnly, standardMode, 0, 0, id, id, id, '0'+id)
		body = append(body, make([]byte, 3*4*labelGroups*int(id))...)
	}
	return append(body, make([]byte, 10)...)
}

func freshRoot(now uint32) []byte {
	be := binary.BigEndian
	body := be.AppendUint32(nil, rootInode) // greatest inode
	body = be.AppendUint32(body, 1)         // number of nodes
	const directory, eattr, winattr = 2, 0, 0
	body = append(body, directory)
	body = be.AppendUint32(body, rootInode)
	body = append(body, defaultClass, eattr, winattr)
	body = be.AppendUint16(body, 0o777)
	body = append(body, make([]byte, 8)...) // uid, gid
	for range 3 {
		body = be.AppendUint32(body, now)
	}
	body = be.AppendUint16(body, freshTrashTime)
	return append(body, 0)
}
