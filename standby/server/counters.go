package server

import (
	"sync/atomic"

	"mfsstandby/replicator/wire"
)

// counters count since the start.
type counters struct {
	accepted, refused, dropped atomic.Uint64
	received, sent             atomic.Uint64 // bytes
	packets                    atomic.Uint64 // received
	requests                   [tableSize]atomic.Uint64
	stats                      [statKinds]atomic.Uint64
}

// statKinds is the number of kinds of operation that the master counts.
const statKinds = 16

// The kinds of operation that the master counts per session, in its order.
type stat uint8

const (
	statStatfs stat = iota
	statGetattr
	statSetattr
	statLookup
	statMkdir
	statRmdir
	statSymlink
	statReadlink
	statMknod
	statUnlink
	statRename
	statLink
	statReaddir
	statOpen
	statRead
	statWrite

	noStat stat = 0xFF
)

// StatNames are the names of Stats.Operations, in order.
var StatNames = [statKinds]string{
	"statfs", "getattr", "setattr", "lookup", "mkdir", "rmdir", "symlink", "readlink",
	"mknod", "unlink", "rename", "link", "readdir", "open", "read", "write",
}

// count counts an operation of the connection's session.
func (c *conn) count(op stat) {
	c.srv.counters.stats[op].Add(1)
	c.ses.ops[op].Add(1)
}

// Stats tell what a server did since its start, and what it has now.
type Stats struct {
	Accepted, Refused   uint64 // connections
	Dropped             uint64 // connections closed for nonsense or silence
	Received, Sent      uint64 // bytes
	Packets             uint64 // received, keepalives included
	Operations          [statKinds]uint64
	Requests            map[string]uint64 // by MooseFS's name of the request
	Connections         int
	Sessions, Connected int
	Buffers             int64 // bytes in large buffers
}

// Stats returns them.
func (s *Server) Stats() Stats {
	c := &s.counters
	st := Stats{
		Accepted: c.accepted.Load(), Refused: c.refused.Load(), Dropped: c.dropped.Load(),
		Received: c.received.Load(), Sent: c.sent.Load(), Packets: c.packets.Load(),
		Requests: map[string]uint64{}, Buffers: s.buffers.Load(),
	}
	for i := range c.stats {
		st.Operations[i] = c.stats[i].Load()
	}
	for t := range s.handlers {
		if n := c.requests[t].Load(); n > 0 {
			st.Requests[wire.Type(t).String()] = n
		}
	}
	s.mu.Lock()
	st.Connections = len(s.conns)
	s.mu.Unlock()
	st.Sessions, st.Connected = s.sessions.count()
	return st
}
