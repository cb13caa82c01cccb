package server

import (
	"slices"
	"sync"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// Locks that clients of a standby take are the standby's own: they exclude its
// other clients, and are refused where somebody holds a lock at the primary,
// but the primary does not learn of them. Who only reads needs no more.

func lockHandlers() map[wire.Type]handler {
	return map[wire.Type]handler{
		wire.FuseFlock:     {states: mounted, serve: (*conn).flock},
		wire.FusePosixLock: {states: mounted, serve: (*conn).posixLock},
	}
}

// holder is who holds a lock.
type holder struct {
	session meta.SessionID
	owner   uint64
}

// localLock is one lock held at this standby. A flock covers everything.
type localLock struct {
	holder
	pid   uint32
	flock bool
	meta.PosixRange
}

// locks are all local locks.
type locks struct {
	mu      sync.Mutex // guards what follows
	byInode map[meta.Inode][]localLock
}

// whole is the range of a flock.
var whole = meta.PosixRange{End: ^uint64(0)}

// conflict finds a lock of somebody else's in the way of l: a local one, or one
// at the primary.
func (t *locks) conflict(st *meta.State, ino meta.Inode, l *localLock) (localLock, bool) {
	for _, o := range t.byInode[ino] {
		if o.flock == l.flock && o.holder != l.holder && overlap(o.PosixRange, l.PosixRange) {
			return o, true
		}
	}
	if l.flock {
		list, _ := st.Flocks.Get(ino)
		for _, o := range list {
			if r := (meta.PosixRange{End: whole.End, Write: o.Write}); overlap(r, l.PosixRange) {
				return localLock{holder{o.Session, o.Owner}, 0, true, r}, true
			}
		}
		return localLock{}, false
	}
	list, _ := st.Plocks.Get(ino)
	for _, o := range list {
		for _, r := range o.Ranges {
			if overlap(r, l.PosixRange) {
				return localLock{holder{o.Session, o.Owner}, o.PID, false, r}, true
			}
		}
	}
	return localLock{}, false
}

// overlap tells whether two ranges share a byte and one of them is for writing.
func overlap(a, b meta.PosixRange) bool {
	return (a.Write || b.Write) && a.Start < b.End && b.Start < a.End
}

// try takes a lock, in place of what its holder had of the range.
func (t *locks) try(st *meta.State, ino meta.Inode, l localLock) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, bad := t.conflict(st, ino, &l); bad {
		return false
	}
	t.cut(ino, &l)
	t.byInode[ino] = append(t.byInode[ino], l)
	return true
}

// unlock gives up what the holder of l has of its range.
func (t *locks) unlock(ino meta.Inode, l localLock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cut(ino, &l)
}

// cut takes the range of l out of the locks of its holder; t.mu is held.
func (t *locks) cut(ino meta.Inode, l *localLock) {
	var list []localLock
	for _, o := range t.byInode[ino] {
		if o.flock != l.flock || o.holder != l.holder || o.Start >= l.End || l.Start >= o.End {
			list = append(list, o)
			continue
		}
		left, right := o, o
		left.End, right.Start = l.Start, l.End
		for _, part := range []localLock{left, right} {
			if part.Start < part.End {
				list = append(list, part)
			}
		}
	}
	t.set(ino, list)
}

func (t *locks) set(ino meta.Inode, list []localLock) {
	if len(list) == 0 {
		delete(t.byInode, ino)
		return
	}
	t.byInode[ino] = list
}

// release drops the locks of a session on the files that keep refuses.
func (t *locks) release(session meta.SessionID, keep func(meta.Inode) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ino, list := range t.byInode {
		if !keep(ino) {
			t.set(ino, slices.DeleteFunc(list, func(l localLock) bool { return l.session == session }))
		}
	}
}

// Bounds of what is kept, and looked through, at a standby.
const (
	maxLocked    = 1 << 20 // files that are locked
	maxFileLocks = 4096    // locks on one file
)

func (t *locks) full(ino meta.Inode) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byInode) >= maxLocked || len(t.byInode[ino]) >= maxFileLocks
}

func (c *conn) flock() error {
	var p wire.Flock
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	l := localLock{holder: holder{c.ses.id, p.Owner}, flock: true, PosixRange: whole}
	l.Write = p.Command == wire.FlockTryExcl || p.Command == wire.FlockExclusive
	w := lockWait{t: wire.FuseFlock, msg: p.MsgID, request: p.Request, ino: p.Inode, lock: l}
	switch p.Command {
	case wire.FlockUnlock, wire.FlockRelease:
		c.srv.locks.unlock(p.Inode, l)
		c.interrupt(func(o *lockWait) bool {
			return p.Command == wire.FlockRelease && o.t == w.t && o.ino == w.ino && o.lock.holder == l.holder
		}, statusCanceled)
		return c.status(w.t, p.MsgID, meta.OK)
	case wire.FlockInterrupt:
		c.interrupt(func(o *lockWait) bool {
			return o.t == w.t && o.ino == w.ino && o.lock.holder == l.holder && o.request == w.request
		}, statusInterrupted)
		return c.status(w.t, p.MsgID, meta.OK)
	case wire.FlockTryShared, wire.FlockTryExcl:
		return c.takeLock(&w, false)
	case wire.FlockShared, wire.FlockExclusive:
		return c.takeLock(&w, true)
	}
	return c.status(w.t, p.MsgID, meta.EINVAL)
}

func (c *conn) posixLock() error {
	var p wire.PosixLock
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	l := localLock{
		holder: holder{c.ses.id, p.Owner}, pid: p.PID,
		PosixRange: meta.PosixRange{Start: p.Start, End: p.End, Write: p.Type == wire.PosixTypeWrite},
	}
	w := lockWait{t: wire.FusePosixLock, msg: p.MsgID, request: p.Request, ino: p.Inode, lock: l}
	switch {
	case p.Command == wire.PosixInterrupt:
		c.interrupt(func(o *lockWait) bool { return o.t == w.t && o.ino == w.ino && o.request == w.request }, statusInterrupted)
		return c.status(w.t, p.MsgID, meta.OK)
	case p.Command == wire.PosixGet:
		return c.askLock(&p, &l)
	case p.Type == wire.PosixTypeUnlock:
		c.srv.locks.unlock(p.Inode, l)
		return c.status(w.t, p.MsgID, meta.OK)
	}
	return c.takeLock(&w, p.Command == wire.PosixSet)
}

// askLock tells of a lock in the way, or that there is none.
func (c *conn) askLock(p *wire.PosixLock, l *localLock) error {
	answer := wire.PosixLockReply{MsgID: p.MsgID, Type: wire.PosixTypeUnlock}
	if p.Type != wire.PosixTypeUnlock {
		t := &c.srv.locks
		t.mu.Lock()
		o, found := t.conflict(c.st, p.Inode, l)
		t.mu.Unlock()
		if found {
			answer.PID, answer.Start, answer.End, answer.Type = o.pid, o.Start, o.End, wire.PosixTypeRead
			if o.Write {
				answer.Type = wire.PosixTypeWrite
			}
		}
	}
	answer.Append(&c.out)
	return nil
}

// lockWait is a request for a lock that may have to wait.
type lockWait struct {
	t            wire.Type
	msg, request uint32
	ino          meta.Inode
	lock         localLock
}

// takeLock takes a lock, or waits for it.
func (c *conn) takeLock(w *lockWait, wait bool) error {
	switch {
	case c.srv.locks.full(w.ino):
		return c.status(w.t, w.msg, meta.ENOSPACE)
	case c.srv.locks.try(c.st, w.ino, w.lock):
		return c.status(w.t, w.msg, meta.OK)
	case !wait, len(c.waits) >= maxParked:
		return c.status(w.t, w.msg, statusAgain)
	}
	c.waits = append(c.waits, *w)
	return nil
}

// retryLocks tries again what waits for a lock.
func (c *conn) retryLocks() {
	c.waits = slices.DeleteFunc(c.waits, func(w lockWait) bool {
		if !c.srv.locks.try(c.st, w.ino, w.lock) {
			return false
		}
		c.status(w.t, w.msg, meta.OK)
		return true
	})
}

// interrupt ends the waiting of some requests.
func (c *conn) interrupt(which func(*lockWait) bool, status meta.Status) {
	c.waits = slices.DeleteFunc(c.waits, func(w lockWait) bool {
		if !which(&w) {
			return false
		}
		c.status(w.t, w.msg, status)
		return true
	})
}
