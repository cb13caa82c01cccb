package leader

import (
	"slices"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// Locks is who waits for locks on files. Those that are held are in the
// metadata; those who wait are not, as with a stock master, whose clients ask
// again when they connect to another. It is used within turns only.
type Locks struct {
	// Wake answers a request that waited; it is called within a turn and must
	// hold the answer back until the turn's entries are published.
	Wake func(id meta.SessionID, t wire.Type, msgID uint32, status meta.Status)

	flocks map[meta.Inode][]*flockWaiter
	posix  map[meta.Inode][]*posixWaiter
}

// NewLocks returns Locks for which nobody waits.
func NewLocks(wake func(id meta.SessionID, t wire.Type, msgID uint32, status meta.Status)) *Locks {
	return &Locks{Wake: wake, flocks: map[meta.Inode][]*flockWaiter{}, posix: map[meta.Inode][]*posixWaiter{}}
}

// flockWaiter is an owner that waits for a lock of flock(2), perhaps with
// several requests.
type flockWaiter struct {
	lock     meta.Flock
	requests []flockRequest // the newest first
}

type flockRequest struct{ id, msgID uint32 }

// Flock carries out a command. With meta.EWAITING the answer comes through
// Wake.
//
// mfsmaster changes the kind of a lock in place, without an entry, when that
// needs no waiting. Here it is two entries: what is not in an entry does not
// happen.
func (l *Locks) Flock(t *Turn, id meta.SessionID, p *wire.Flock) meta.Status {
	f := flocking{l, t, id, p}
	if p.Command != wire.FlockInterrupt && p.Command != wire.FlockRelease && !t.st.Open.Has(id, p.Inode) {
		return meta.ENOTOPENED
	}
	if p.Command == wire.FlockInterrupt {
		f.interrupt()
		return meta.OK
	}
	list, _ := t.st.Flocks.Get(p.Inode)
	if i := slices.IndexFunc(list, func(k meta.Flock) bool { return k.Session == id && k.Owner == p.Owner }); i >= 0 {
		return f.again(list[i], len(list))
	}
	for _, w := range l.flocks[p.Inode] {
		if w.lock.Session == id && w.lock.Owner == p.Owner {
			return f.whileWaiting(w)
		}
	}
	return f.first()
}

// flocking is a command of flock(2) being carried out.
type flocking struct {
	l  *Locks
	t  *Turn
	id meta.SessionID
	p  *wire.Flock
}

// again is the command of an owner who has a lock.
func (f *flocking) again(held meta.Flock, holders int) meta.Status {
	write := f.p.Command == wire.FlockTryExcl || f.p.Command == wire.FlockExclusive
	switch f.p.Command {
	case wire.FlockUnlock, wire.FlockRelease:
		return f.l.dropFlock(f.t, f.p.Inode, held)
	case wire.FlockTryShared, wire.FlockShared, wire.FlockTryExcl, wire.FlockExclusive:
		if held.Write == write {
			return meta.OK
		}
	default:
		return meta.EINVAL
	}
	switch f.p.Command {
	case wire.FlockTryExcl:
		if holders > 1 {
			return meta.EAGAIN
		}
		f.change(held, true)
	case wire.FlockTryShared:
		f.change(held, false)
		f.l.grantFlocks(f.t, f.p.Inode)
	default: // the lock is let go of before another is asked for
		if status := f.l.dropFlock(f.t, f.p.Inode, held); status != meta.OK {
			return status
		}
		return f.first()
	}
	return meta.OK
}

// change makes a lock shared or exclusive without letting others have it.
func (f *flocking) change(held meta.Flock, write bool) {
	f.t.Add(&changelog.Flock{Inode: f.p.Inode, Session: held.Session, Owner: held.Owner, Kind: changelog.LockUnlock})
	f.take(write)
}

func (f *flocking) take(write bool) {
	f.t.Add(&changelog.Flock{Inode: f.p.Inode, Session: f.id, Owner: f.p.Owner, Kind: kindOf(write)})
}

func kindOf(write bool) changelog.LockKind {
	if write {
		return changelog.LockWrite
	}
	return changelog.LockRead
}

// whileWaiting is the command of an owner who waits.
func (f *flocking) whileWaiting(w *flockWaiter) meta.Status {
	switch f.p.Command {
	case wire.FlockRelease, wire.FlockUnlock:
		f.l.wakeFlock(w, meta.ECANCELED)
		f.l.dropWaiter(f.p.Inode, w)
		return meta.OK
	case wire.FlockTryShared, wire.FlockTryExcl:
		return meta.EAGAIN
	case wire.FlockShared, wire.FlockExclusive:
		if write := f.p.Command == wire.FlockExclusive; w.lock.Write != write {
			f.l.wakeFlock(w, meta.ECANCELED)
			w.lock.Write = write
		}
		w.add(f.p)
		return meta.EWAITING
	}
	return meta.EINVAL
}

// add notes one more request of an owner who waits.
func (w *flockWaiter) add(p *wire.Flock) {
	for i := range w.requests {
		if w.requests[i].id == p.Request {
			w.requests[i].msgID = p.MsgID
			return
		}
	}
	w.requests = append([]flockRequest{{p.Request, p.MsgID}}, w.requests...)
}

// first is the command of an owner who neither has a lock nor waits for one.
func (f *flocking) first() meta.Status {
	write := f.p.Command == wire.FlockTryExcl || f.p.Command == wire.FlockExclusive
	switch f.p.Command {
	case wire.FlockUnlock, wire.FlockRelease:
		return meta.OK
	case wire.FlockTryShared, wire.FlockTryExcl, wire.FlockShared, wire.FlockExclusive:
	default:
		write = true // as mfsmaster takes a command that it does not know
	}
	if !f.busy(write) {
		f.take(write)
		return meta.OK
	}
	if f.p.Command == wire.FlockTryShared || f.p.Command == wire.FlockTryExcl {
		return meta.EAGAIN
	}
	w := &flockWaiter{lock: meta.Flock{Session: f.id, Owner: f.p.Owner, Write: write}}
	w.add(f.p)
	f.l.flocks[f.p.Inode] = append(f.l.flocks[f.p.Inode], w)
	return meta.EWAITING
}

// busy tells whether a new lock has to wait: one to read also if others wait,
// so that those who want to write have their turn.
func (f *flocking) busy(write bool) bool {
	list, _ := f.t.st.Flocks.Get(f.p.Inode)
	if write {
		return len(list) > 0
	}
	return len(list) > 0 && list[0].Write || len(f.l.flocks[f.p.Inode]) > 0
}

func (f *flocking) interrupt() {
	for _, w := range slices.Clone(f.l.flocks[f.p.Inode]) {
		if w.lock.Session != f.id || w.lock.Owner != f.p.Owner {
			continue
		}
		w.requests = slices.DeleteFunc(w.requests, func(r flockRequest) bool {
			if r.id == f.p.Request {
				f.l.Wake(f.id, wire.FuseFlock, r.msgID, meta.EINTR)
			}
			return r.id == f.p.Request
		})
		if len(w.requests) == 0 {
			f.l.dropWaiter(f.p.Inode, w)
		}
	}
}

// wakeFlock answers all requests of an owner who waited.
func (l *Locks) wakeFlock(w *flockWaiter, status meta.Status) {
	for _, r := range w.requests {
		l.Wake(w.lock.Session, wire.FuseFlock, r.msgID, status)
	}
	w.requests = nil
}

func (l *Locks) dropWaiter(ino meta.Inode, w *flockWaiter) {
	rest := slices.DeleteFunc(l.flocks[ino], func(other *flockWaiter) bool { return other == w })
	if len(rest) == 0 {
		delete(l.flocks, ino)
	} else {
		l.flocks[ino] = rest
	}
}

// dropFlock ends a lock that is held. Those who wait get it once nobody has
// one.
func (l *Locks) dropFlock(t *Turn, ino meta.Inode, held meta.Flock) meta.Status {
	status := t.Add(&changelog.Flock{Inode: ino, Session: held.Session, Owner: held.Owner, Kind: changelog.LockUnlock})
	if list, _ := t.st.Flocks.Get(ino); len(list) == 0 {
		l.grantFlocks(t, ino)
	}
	return status
}

// grantFlocks gives locks to the first who wait: to one who writes, or to all
// who read until one who writes.
func (l *Locks) grantFlocks(t *Turn, ino meta.Inode) {
	for len(l.flocks[ino]) > 0 {
		w := l.flocks[ino][0]
		list, _ := t.st.Flocks.Get(ino)
		if len(list) > 0 && (w.lock.Write || list[0].Write) {
			return
		}
		l.dropWaiter(ino, w)
		t.Add(&changelog.Flock{Inode: ino, Session: w.lock.Session, Owner: w.lock.Owner, Kind: kindOf(w.lock.Write)})
		l.wakeFlock(w, meta.OK)
	}
}

// closed ends the locks of a session on a file, which it is about to close, and
// that it waits for any. Locks of flock(2) end with an entry each, those of
// fcntl(2) with that of the closing.
func (l *Locks) closed(t *Turn, id meta.SessionID, ino meta.Inode) {
	for _, w := range slices.Clone(l.flocks[ino]) {
		if w.lock.Session == id {
			l.dropWaiter(ino, w)
		}
	}
	list, _ := t.st.Flocks.Get(ino)
	for _, held := range slices.Clone(list) {
		if held.Session == id {
			l.dropFlock(t, ino, held)
		}
	}
	l.closedPosix(t, id, ino)
}
