package server

import (
	"bytes"
	"crypto/md5"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/exports"
)

func registerHandlers() map[wire.Type]handler {
	return map[wire.Type]handler{
		wire.FuseRegister:         {states: anyState, serve: (*conn).register},
		wire.FuseTimeSync:         {states: mounted, serve: (*conn).timeSync},
		wire.FuseSustainedInodes:  {states: mounted, serve: (*conn).openInodes},
		wire.FuseSustainedInodes0: {states: mounted, serve: (*conn).openInodes},
		wire.FuseAmtimeInodes:     {states: mounted, serve: (*conn).accessTimes},
	}
}

var errRegister = errors.New("registration that cannot be")

func (c *conn) register() error {
	var p wire.ClientRegister
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	if (c.state == unregistered) == (p.Code == wire.RegisterCloseSession) {
		return errRegister
	}
	switch p.Code {
	case wire.RegisterRandom:
		rand.Read(c.random[:])
		wire.AppendRandom(&c.out, &c.random)
	case wire.RegisterNewSession, wire.RegisterNewMetaSession:
		return c.registerNew(&p)
	case wire.RegisterReconnect, wire.RegisterTools:
		return c.registerAgain(&p)
	case wire.RegisterCloseSession:
		c.registerClose(&p)
	}
	return nil
}

// errPromotion ends a connection of a client that has a session of the cluster.
// It was sent here because this process is to take over, which it has not done
// yet: the client comes again. A session of the standby's own would let its
// mount think for ever that it is read-only.
var errPromotion = errors.New("the client has a session of the cluster, and this process does not lead")

// setRelease takes note of what the client is, and of what it is told the server
// is. Both speak the forms of the older one.
func (c *conn) setRelease(client wire.Release) {
	c.announced = announced(c.st)
	c.client, c.release = client, min(client, c.announced)
}

// clusters tells whether that is so.
func (c *conn) clusters(r *wire.ClientRegister) bool {
	if c.lead != nil || r.HasMetaID && r.MetaID != c.st.MetaID {
		return false
	}
	_, ok := c.st.Sessions.Get(meta.SessionID(r.Session))
	return ok
}

// registerNew makes a session, or changes one that its client kept.
func (c *conn) registerNew(r *wire.ClientRegister) error {
	if r.HasSession && c.clusters(r) {
		return errPromotion
	}
	c.setRelease(r.Release)
	isMeta := r.Code == wire.RegisterNewMetaSession
	ask := exports.Request{IP: c.peer, Version: r.Release, Meta: isMeta, Path: string(r.Path), Random: &c.random}
	if r.Password != nil {
		ask.Passcode = (*[md5.Size]byte)(r.Password)
	}
	list := c.srv.cfg.Exports()
	grant, status := list.Choose(&ask)
	p := newParams(&grant, c.lead != nil)
	p.ExportsSum, p.Peer, p.Info = list.Sum(), c.peer, bytes.Clone(bytes.TrimRight(r.Info, "\x00"))
	if status == meta.OK && !isMeta {
		p.Root, status = findRoot(c.st, r.Path)
	}
	if status != meta.OK {
		wire.AppendRegisterStatus(&c.out, status)
		return nil
	}
	if isMeta {
		p.RootUID, p.RootGID, p.MapUID, p.MapGID = 0, 0, 0, 0
	}
	var kept meta.SessionID
	if r.HasSession && (!r.HasMetaID || r.MetaID == c.st.MetaID) {
		kept = meta.SessionID(r.Session)
	}
	ses, status := c.newSession(kept, p)
	if status != meta.OK {
		wire.AppendRegisterStatus(&c.out, status)
		return nil
	}
	if ses == nil {
		return fmt.Errorf("there are %d sessions already", maxSessions)
	}
	c.enter(ses, mounted)
	answer := wire.Session{
		Meta: isMeta, Release: c.announced, Process: c.srv.process, Session: uint32(ses.id), MetaID: c.st.MetaID,
		Flags: p.Flags, Umask: p.Umask, RootUID: p.RootUID, RootGID: p.RootGID, MapUID: p.MapUID, MapGID: p.MapGID,
		MinGoal: p.MinGoal, MaxGoal: p.MaxGoal, Groups: p.Groups, MinTrash: p.MinTrash, MaxTrash: p.MaxTrash, Disables: p.Disables,
	}
	answer.Append(&c.out, c.release)
	return nil
}

// newSession makes a session, or changes the one that a client kept; nil if
// there are too many.
func (c *conn) newSession(kept meta.SessionID, p *params) (*session, meta.Status) {
	if c.lead != nil {
		return c.openSession(kept, p)
	}
	if ses := c.srv.sessions.find(kept); ses != nil {
		ses.p.Store(p)
		return ses, meta.OK
	}
	return c.srv.sessions.create(p), meta.OK
}

// enter makes the connection one of a session's.
func (c *conn) enter(ses *session, state connState) {
	c.ses, c.state = ses, state
	if state == mounted {
		c.mount.Store(ses)
	}
	c.srv.sessions.attach(ses, c)
	if c.lead != nil {
		c.lead.Attach(ses.id)
	}
}

// registerAgain takes a session up again on another connection.
func (c *conn) registerAgain(r *wire.ClientRegister) error {
	if c.clusters(r) {
		return errPromotion
	}
	c.setRelease(r.Release)
	ses := c.sessionOf(meta.SessionID(r.Session))
	status := meta.OK
	if ses == nil || r.HasMetaID && r.MetaID != c.st.MetaID {
		status = meta.EBADSESSIONID
	} else if p := ses.params(); p.ExportsSum != c.srv.cfg.Exports().Sum() || p.Flags&changelog.SessionDynamicIP == 0 && p.Peer != c.peer {
		status = meta.EPERM // the client registers anew with its session's id
	}
	isTools := r.Code == wire.RegisterTools
	answer := wire.Reconnected{Tools: isTools, Release: c.announced, Process: c.srv.process, Status: status}
	answer.Append(&c.out, c.release)
	switch {
	case status != meta.OK:
	case isTools:
		c.enter(ses, tools)
	default:
		c.enter(ses, mounted)
	}
	return nil
}

// registerClose ends a session with its last connection.
func (c *conn) registerClose(r *wire.ClientRegister) {
	status := meta.OK
	if r.HasMetaID && r.MetaID != c.st.MetaID {
		status = meta.EBADSESSIONID
	} else {
		c.srv.sessions.close(meta.SessionID(r.Session))
		if c.lead != nil {
			c.lead.CloseSession(meta.SessionID(r.Session))
		}
	}
	if c.release >= wire.NewRelease(1, 7, 29) {
		wire.AppendRegisterStatus(&c.out, status)
	}
	c.closing = true
}

// findRoot walks from the root to the directory that a client wants to mount.
func findRoot(st *meta.State, path []byte) (meta.Inode, meta.Status) {
	at := meta.Root
	for name := range bytes.SplitSeq(path, []byte{'/'}) {
		if len(name) == 0 {
			continue
		}
		if badName(name) {
			return 0, meta.EINVAL
		}
		e, ok := st.Edges.Get(at, name)
		if !ok {
			return 0, meta.ENOENT
		}
		if !e.Dir {
			return 0, meta.ENOTDIR
		}
		at = e.Child
	}
	return at, meta.OK
}

// badName tells whether no node can have a name.
func badName(name []byte) bool {
	return len(name) == 0 || len(name) > meta.MaxName || name[0] == '.' && (len(name) == 1 || len(name) == 2 && name[1] == '.') ||
		bytes.IndexByte(name, 0) >= 0 || bytes.IndexByte(name, '/') >= 0
}

func (c *conn) timeSync() error {
	var p wire.TimeSync
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	answer := wire.TimeSyncReply{Numbered: p.Numbered, MsgID: p.MsgID, Micros: uint64(time.Now().UnixMicro())}
	answer.Append(&c.out)
	return nil
}

// openInodes takes note of the files that a session has open.
func (c *conn) openInodes() error {
	var p wire.OpenInodes
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	if err := c.srv.sessions.setOpen(c.ses, p.Inodes); err != nil {
		return err
	}
	c.srv.locks.release(c.ses.id, c.ses.isOpen)
	return nil
}

// accessTimes is told what a standby must not change.
func (c *conn) accessTimes() error {
	var p wire.AccessTimes
	return p.Decode(&c.d)
}
