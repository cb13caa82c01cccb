package server

import (
	"context"
	"errors"
	"slices"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/leader"
)

// While this process leads, what may change the metadata is carried out in turns
// of the leader, and what is read is told when the stream has it. A connection
// is led for all its life or not at all: when the lead begins or ends, all are
// closed, and the clients, which take that for a restart of the master, come
// again.

// Lead begins to serve changes with l, or ends it with nil, and closes all
// connections. l must run until it has been taken away again.
func (s *Server) Lead(l *leader.Leader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lead = l
	s.sessions.forget()
	for c := range s.conns {
		c.link.shut()
	}
}

// Wake sends a client the answer to a request that waited for a lock. It is
// what leader.Config.Wake wants.
func (s *Server) Wake(id meta.SessionID, t wire.Type, msgID uint32, status meta.Status) {
	var e wire.Encoder
	wire.AppendStatus(&e, t, msgID, status)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if ses := c.mount.Load(); ses != nil && ses.id == id && c.lead != nil {
			c.post(e.Buf)
		}
	}
}

// leads tells whether this process leads.
func (s *Server) leads() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lead != nil
}

// forget drops the sessions that have no connection; the others go with theirs.
func (t *sessions) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.purge(time.Time{})
	for id := range t.byID {
		delete(t.byID, id) // those of connections that are about to end
	}
}

// adopt returns the session of an id that the metadata has.
func (t *sessions) adopt(id meta.SessionID, p *params) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.byID[id]
	if s == nil {
		s = &session{id: id}
		t.byID[id] = s
	}
	s.p.Store(p)
	return s
}

// changeStats are the kinds of operation that changes are counted as.
var changeStats = map[wire.Type]stat{
	wire.FuseSetattr: statSetattr, wire.FuseSymlink: statSymlink, wire.FuseMknod: statMknod, wire.FuseMkdir: statMkdir,
	wire.FuseUnlink: statUnlink, wire.FuseRmdir: statRmdir, wire.FuseRename: statRename, wire.FuseLink: statLink,
	wire.FuseCreate: statMknod, wire.FuseTruncate: statSetattr, wire.FuseOpen: statOpen,
}

// led tells whether a packet is for a turn of the leader.
func (c *conn) led(t wire.Type, p []byte) bool {
	switch {
	case c.lead == nil:
		return false
	case t == wire.FuseRegister:
		return true
	case t == wire.FuseReadChunk:
		return c.release < accessTimesTold
	case t == wire.FuseArchCtl:
		const command = 8 // its offset
		return len(p) > command && p[command] != wire.ArchGet
	}
	return c.state != unregistered && leader.Changes(t)
}

// errTurn says that a request that reads is for a turn, as it sets an access
// time. Nothing was answered.
var errTurn = errors.New("for a turn")

// accessTime sets the access time of a node that the request at hand is about to
// read. Outside of a turn it returns errTurn if there is one to set: the
// handler is called again in a turn.
func (c *conn) accessTime(who *changelog.Caller, r *changelog.AccessRequest) error {
	switch {
	case c.turn != nil:
		c.turn.Do(who, r)
	case c.lead != nil && c.lead.Accessed(c.st, who, r):
		return errTurn
	}
	return nil
}

// ledNext tells whether the next packet, which is whole, is for a turn.
func (c *conn) ledNext() bool {
	if c.inTurn {
		return true
	}
	h, err := c.header()
	return err == nil && c.led(h.Type, c.in[wire.HeaderSize:wire.HeaderSize+int(h.Length)])
}

// processLed gives the packets that come next a turn. Their answers may be sent
// when it returns nil.
func (c *conn) processLed() error { return c.inATurn(c.dispatch) }

// inATurn calls do in a turn of the leader.
func (c *conn) inATurn(do func() error) error {
	var failed error
	// Not a context that ends: the turn uses this connection.
	err := c.lead.Do(context.Background(), func(t *leader.Turn) {
		c.turn, c.st = t, t.State()
		failed = do()
		c.turn, c.st = nil, nil
	})
	if err != nil {
		c.out.Buf = c.out.Buf[:0] // nobody knows whether that is true
		return err
	}
	return failed
}

// serveLed answers one packet in a turn.
func (c *conn) serveLed(t wire.Type, p []byte) error {
	client := leader.Client{Release: c.release, Session: c.ses.id, Params: c.ses.params().Session, Rules: c.lead.Rules()}
	err := leader.Serve(c.turn, &client, t, p, &c.out)
	if op, ok := changeStats[t]; ok && err == nil {
		c.count(op)
	}
	return err
}

// settled waits until what was read may be told.
func (c *conn) settled() error {
	if c.lead == nil || c.seen == 0 || len(c.out.Buf) == 0 {
		return nil
	}
	err := c.lead.Wait(context.Background(), c.seen)
	if err != nil {
		c.out.Buf = c.out.Buf[:0]
	}
	return err
}

// endLed tells the leader that the connection has ended.
func (c *conn) endLed() {
	c.srv.sessions.detach(c.ses, c, time.Time{})
	if err := c.lead.Detach(context.Background(), c.ses.id); err != nil {
		c.srv.log.Debug("a connection ended with the lead", "peer", c.from, "err", err)
	}
}

// data is what the metadata keep of a session.
func (p *params) data() changelog.SessionData {
	return changelog.SessionData{
		ExportsSum: p.ExportsSum, Root: p.Root, Flags: p.Flags, Umask: p.Umask,
		RootUID: p.RootUID, RootGID: p.RootGID, MapUID: p.MapUID, MapGID: p.MapGID,
		MinGoal: p.MinGoal, MaxGoal: p.MaxGoal, MinTrash: p.MinTrash, MaxTrash: p.MaxTrash,
		Disables: p.Disables, Peer: p.Peer, Info: p.Info,
	}
}

// openSession makes a session in the metadata, or changes the one with an id.
func (c *conn) openSession(id meta.SessionID, p *params) (*session, meta.Status) {
	op, status := c.turn.Do(nil, &changelog.SessionRequest{Session: id, SessionData: p.data()})
	if status != meta.OK {
		return nil, status
	}
	if made, ok := op.(*changelog.SesAdd); ok {
		id = made.Session
	}
	return c.srv.sessions.adopt(id, p), meta.OK
}

// sessionOf is the session with an id, nil if there is none.
func (c *conn) sessionOf(id meta.SessionID) *session {
	if c.lead == nil {
		return c.srv.sessions.find(id)
	}
	kept, ok := c.st.Sessions.Get(id)
	if !ok {
		return nil
	}
	kept.Info = slices.Clone(kept.Info)
	return c.srv.sessions.adopt(id, &params{kept})
}
