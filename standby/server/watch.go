package server

import (
	"maps"
	"slices"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// A mount keeps what it read of a file that it has open, and where its chunks
// are, until the master says that they changed. The stock master says so when
// it answers a write or a truncation; a standby, when it applies the entries
// that these leave.

// Releases of clients that understand such news.
var (
	knowsChanges = wire.NewRelease(3, 0, 74)
	knowsForget3 = wire.NewRelease(3, 0, 100)
	knowsForget4 = wire.NewRelease(4, 3, 0)
)

// watch is what the entries said that others explain. It is the applier's.
type watch struct {
	writing   map[meta.ChunkID]place // chunks of open files between WRITE and UNLOCK
	truncated map[meta.Inode]place   // open files between TRUNC and LENGTH
	who       []*session             // scratch
}

// place is a chunk of a file.
type place struct {
	ino   meta.Inode
	index uint32
	chunk meta.ChunkID
}

// maxWatched bounds both maps: an end that never comes, because a client died,
// must not cost memory for ever.
const maxWatched = 10_000

// Watch tells clients what an entry changed, which was just applied to st and is
// not yet shown to readers. It is what standby.Config.Watch wants, called by one
// goroutine at a time.
func (s *Server) Watch(op changelog.Op, st *meta.State) {
	switch op := op.(type) {
	case *changelog.ChunkDel:
		s.forgetChunk(op.Chunk, ^uint32(0))
	case *changelog.SetVersion:
		s.forgetChunk(op.Chunk, op.ChunkVersion)
	case *changelog.IncVersion:
		s.forgetVersions(st, op.Chunk)
	case *changelog.Write:
		s.forgetVersions(st, op.Chunk)
		s.written(st, place{op.Inode, op.Index, op.Chunk})
	case *changelog.Trunc:
		s.forgetVersions(st, op.Chunk)
		if s.anyOpen(op.Inode) {
			keep(&s.watch.truncated, op.Inode, place{op.Inode, op.Index, op.Chunk})
		}
	case *changelog.Rollback:
		delete(s.watch.truncated, op.Inode)
	case *changelog.Unlock:
		if p, ok := s.watch.writing[op.Chunk]; ok {
			delete(s.watch.writing, op.Chunk)
			s.chunkChanged(st, p, false)
		}
	case *changelog.Length:
		if p, ok := s.watch.truncated[op.Inode]; ok {
			delete(s.watch.truncated, op.Inode)
			s.chunkChanged(st, p, true)
		} else {
			s.lengthChanged(st, op.Inode)
		}
	case *changelog.AppendChunks:
		s.lengthChanged(st, op.Inode)
	}
}

func keep[K comparable](m *map[K]place, k K, p place) {
	if *m == nil || len(*m) >= maxWatched {
		*m = map[K]place{}
	}
	(*m)[k] = p
}

// written tells of a chunk that is about to be written, and notes it until the
// entry that says that this is over, which does not tell the file.
func (s *Server) written(st *meta.State, p place) {
	if s.chunkChanged(st, p, false) {
		keep(&s.watch.writing, p.chunk, p)
	}
}

// forgetVersions forgets where older versions of a chunk are.
func (s *Server) forgetVersions(st *meta.State, id meta.ChunkID) {
	if s.cfg.Locator == nil {
		return
	}
	if ch, ok := st.Chunks.Get(id); ok {
		s.cfg.Locator.Forget(id, ch.Version)
	}
}

func (s *Server) forgetChunk(id meta.ChunkID, version uint32) {
	if s.cfg.Locator != nil {
		s.cfg.Locator.Forget(id, version)
	}
}

// anyOpen tells whether clients of this standby have a file open.
func (s *Server) anyOpen(ino meta.Inode) bool {
	o := &s.sessions.opened
	if o.count.Load() == 0 {
		return false
	}
	s.watch.who = o.sessions(s.watch.who[:0], ino)
	return len(s.watch.who) > 0
}

// chunkChanged tells those who have the file open; false if nobody has.
func (s *Server) chunkChanged(st *meta.State, p place, truncated bool) bool {
	if !s.anyOpen(p.ino) {
		return false
	}
	n, _ := st.Nodes.Get(p.ino)
	ch, _ := st.Chunks.Get(p.chunk)
	news := wire.ChunkChanged{Inode: p.ino, Index: p.index, Chunk: p.chunk, Version: ch.Version, Length: n.Length}
	if truncated {
		news.Truncated = 1
	}
	var e wire.Encoder
	news.Append(&e)
	s.tell(s.watch.who, e.Buf)
	return true
}

func (s *Server) lengthChanged(st *meta.State, ino meta.Inode) {
	if !s.anyOpen(ino) {
		return
	}
	n, _ := st.Nodes.Get(ino)
	var e wire.Encoder
	(&wire.LengthChanged{Inode: ino, Length: n.Length}).Append(&e)
	s.tell(s.watch.who, e.Buf)
}

// tell sends a packet to the mounts of sessions.
func (s *Server) tell(who []*session, packet []byte) {
	for _, ses := range who {
		for _, c := range ses.mounts(knowsChanges) {
			c.post(packet)
		}
	}
}

// mounts returns the connections of a session whose client is of a release, or newer.
func (s *session) mounts(since wire.Release) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.release < since {
		return nil
	}
	return slices.Collect(maps.Keys(s.links))
}

// ForgetChunks tells all mounts to forget where chunks are: chunkservers came or
// went.
func (s *Server) ForgetChunks() {
	var e wire.Encoder
	wire.AppendForgetChunks(&e)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		ses := c.mount.Load()
		if ses == nil || c.lead != nil {
			continue
		}
		ses.mu.Lock()
		r := ses.release
		ses.mu.Unlock()
		if r >= knowsForget4 || r >= knowsForget3 && r < wire.NewRelease(4, 0, 0) {
			c.post(e.Buf)
		}
	}
}
