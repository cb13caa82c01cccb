package server

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

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

// busyRate is how many packets per second keep a server busy: they take about a
// tenth of a processor.
const busyRate = 20_000

// busyOver is the least time over which that is measured.
const busyOver = 10 * time.Millisecond

// busyness measures the rate of packets from one question to the next.
type busyness struct {
	mu      sync.Mutex // guards what follows
	at      time.Time
	packets uint64 // until then
	busy    bool
}

// Busy tells whether clients lately asked so much that the processors had better
// be left to them.
func (s *Server) Busy() bool {
	b := &s.busy
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := time.Now(); now.Sub(b.at) >= busyOver {
		packets := s.counters.packets.Load()
		b.busy = float64(packets-b.packets) > busyRate*now.Sub(b.at).Seconds()
		b.at, b.packets = now, packets
	}
	return b.busy
}

// Stats tell what a server did since its start, and what it has now.
type Stats struct {
	Connections int
	Sessions    int    // also of clients that have gone and may come back
	Connected   int    // sessions with a connection
	Accepted    uint64 // connections
	Refused     uint64 // connections over the limit
	Dropped     uint64 // connections closed for nonsense, silence, or because the image could not be shown
	Received    uint64 // bytes
	Sent        uint64 // bytes
	Packets     uint64 // received, keepalives included
	Buffers     int64  // bytes in large buffers

	Requests   map[string]uint64 // by name, such as "lookup"
	Operations [statKinds]uint64 // as the master counts them, see StatNames
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
			st.Requests[requestName(wire.Type(t))] = n
		}
	}
	s.mu.Lock()
	st.Connections = len(s.conns)
	s.mu.Unlock()
	st.Sessions, st.Connected = s.sessions.count()
	return st
}

// requestNames are short names of requests.
var requestNames = map[wire.Type]string{
	wire.FuseRegister: "register", wire.FuseStatfs: "statfs", wire.FuseAccess: "access", wire.FuseLookup: "lookup",
	wire.FuseGetattr: "getattr", wire.FuseSetattr: "setattr", wire.FuseReadlink: "readlink", wire.FuseSymlink: "symlink",
	wire.FuseMknod: "mknod", wire.FuseMkdir: "mkdir", wire.FuseUnlink: "unlink", wire.FuseRmdir: "rmdir",
	wire.FuseRename: "rename", wire.FuseLink: "link", wire.FuseReaddir: "readdir", wire.FuseOpen: "open",
	wire.FuseReadChunk: "read_chunk", wire.FuseWriteChunk: "write_chunk", wire.FuseWriteChunkEnd: "write_chunk_end",
	wire.FuseAppendSlice: "append_slice", wire.FuseCheck: "check", wire.FuseGetTrashTime: "gettrashtime",
	wire.FuseSetTrashTime: "settrashtime", wire.FuseGetClass: "getsclass", wire.FuseSetClass: "setsclass",
	wire.FuseGetTrash: "gettrash", wire.FuseGetDetachedAttr: "getdetachedattr", wire.FuseGetTrashPath: "gettrashpath",
	wire.FuseSetTrashPath: "settrashpath", wire.FuseUndel: "undel", wire.FusePurge: "purge",
	wire.FuseGetDirStats: "getdirstats", wire.FuseTruncate: "truncate", wire.FuseRepair: "repair",
	wire.FuseSnapshot: "snapshot", wire.FuseGetSustained: "getsustained", wire.FuseGetEattr: "geteattr",
	wire.FuseSetEattr: "seteattr", wire.FuseQuotaControl: "quotacontrol", wire.FuseGetXattr: "getxattr",
	wire.FuseSetXattr: "setxattr", wire.FuseCreate: "create", wire.FuseParents: "parents", wire.FusePaths: "paths",
	wire.FuseGetACL: "getfacl", wire.FuseSetACL: "setfacl", wire.FuseFlock: "flock", wire.FusePosixLock: "posix_lock",
	wire.FuseArchCtl: "archctl", wire.FuseSustainedInodes: "open_inodes", wire.FuseAmtimeInodes: "amtime_inodes",
	wire.FuseTimeSync: "time_sync", wire.GetVersion: "get_version", wire.GetConfig: "get_config",
}

func requestName(t wire.Type) string {
	if name := requestNames[t]; name != "" {
		return name
	}
	return fmt.Sprint(uint32(t))
}
