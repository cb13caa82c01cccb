package server

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/exports"
)

// localSession marks the ids of a standby's own sessions. The primary gives
// ids from 1 upward, so none of them is a replicated session's in any cluster
// that made fewer than 2^31; the rest is drawn at random, so that neither a
// restarted standby nor another one takes a client for somebody else.
const localSession = 0x80000000

// sustain is how long a session outlives its last connection.
const sustain = 86400 * time.Second

// params are what an export grants a session; they are not changed, but
// replaced.
type params struct {
	meta.Session // as the metadata would hold it; Root 0 is a meta mount
}

// newParams returns the parameters of a session that a grant allows. Unless
// changes are led, sessions are read-only, whatever the exports say.
func newParams(g *exports.Grant, led bool) *params {
	flags := g.Flags
	if !led {
		flags |= changelog.SessionReadOnly
	}
	return &params{meta.Session{
		Flags: flags, Umask: g.Umask,
		RootUID: g.RootUID, RootGID: g.RootGID, MapUID: g.MapUID, MapGID: g.MapGID,
		MinGoal: g.MinGoal, MaxGoal: g.MaxGoal, Groups: g.Groups, MinTrash: g.MinTrash, MaxTrash: g.MaxTrash, Disables: uint32(g.Disables),
	}}
}

// session is a client's, on this standby only.
type session struct {
	id   meta.SessionID
	p    atomic.Pointer[params]
	ops  [statKinds]atomic.Uint32 // since the hour began
	last [statKinds]atomic.Uint32 // of the hour before

	mu           sync.Mutex // guards what follows
	conns        int
	closed       bool // by its client: it ends with its last connection
	disconnected time.Time
	release      wire.Release       // of the client
	address      uint32             // that it connected from last
	open         []meta.Inode       // in order, as the client told last
	links        map[*conn]struct{} // its mounts' connections
}

func (s *session) params() *params { return s.p.Load() }

// maxSessions is how many sessions there may be; those whose clients have
// gone make room for new ones.
const maxSessions = 100_000

// sessions are all sessions of a server.
type sessions struct {
	reserve func(int64) bool // counts the memory of lists of open files
	opened  opened

	mu   sync.Mutex // guards what follows
	byID map[meta.SessionID]*session
	hour int64
}

func (t *sessions) init(reserve func(int64) bool) {
	t.byID, t.reserve = map[meta.SessionID]*session{}, reserve
	t.opened.by = map[meta.Inode][]*session{}
}

// find returns a session, nil if there is none.
func (t *sessions) find(id meta.SessionID) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// create makes a session; nil if there are too many.
func (t *sessions) create(p *params) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.byID) >= maxSessions {
		t.purge(time.Time{})
		if len(t.byID) >= maxSessions {
			return nil
		}
	}
	s := &session{}
	for s.id == 0 || t.byID[s.id] != nil {
		s.id = meta.SessionID(localSession | rand.Uint32())
	}
	s.p.Store(p)
	t.byID[s.id] = s
	return s
}

// purge ends the sessions without a connection since before a time; the zero
// time ends all of them. t.mu is held.
func (t *sessions) purge(before time.Time) {
	for _, s := range t.byID {
		s.mu.Lock()
		if s.conns == 0 && (before.IsZero() || s.disconnected.Before(before)) {
			t.drop(s)
		}
		s.mu.Unlock()
	}
}

// drop forgets a session. t.mu and s.mu are held.
func (t *sessions) drop(s *session) {
	t.reserve(-openCost * int64(len(s.open)))
	t.opened.change(s, nil)
	delete(t.byID, s.id)
}

// attach counts a connection of a session.
func (t *sessions) attach(s *session, c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns++
	s.closed = false
	s.address, s.release = c.peer, c.client
	if c.state == mounted {
		if s.links == nil {
			s.links = map[*conn]struct{}{}
		}
		s.links[c] = struct{}{}
	}
}

// close marks a session that its client has closed; with other connections
// left it lives on.
func (t *sessions) close(id meta.SessionID) {
	s := t.find(id)
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == 1 {
		s.closed = true
	}
}

// detach takes note that a connection has ended, and tells whether it was the
// last of its session.
func (t *sessions) detach(s *session, c *conn, now time.Time) (last bool) {
	s.mu.Lock()
	delete(s.links, c)
	s.conns--
	gone := s.conns == 0
	s.disconnected = now
	closed := s.closed
	s.mu.Unlock()
	if gone && closed {
		t.remove(s)
	}
	return gone
}

// remove ends a session unless it has a connection again.
func (t *sessions) remove(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == 0 {
		t.drop(s)
	}
}

// expire ends the sessions whose client did not come back, and moves the
// counters of operations when an hour has passed.
func (t *sessions) expire(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.purge(now.Add(-sustain))
	hour := now.Unix() / 3600
	if t.hour != 0 && hour != t.hour {
		for _, s := range t.byID {
			for i := range s.ops {
				s.last[i].Store(s.ops[i].Swap(0))
			}
		}
	}
	t.hour = hour
}

// count returns how many sessions there are, and how many have a connection.
func (t *sessions) count() (all, connected int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.byID {
		s.mu.Lock()
		if s.conns > 0 {
			connected++
		}
		s.mu.Unlock()
	}
	return len(t.byID), connected
}
