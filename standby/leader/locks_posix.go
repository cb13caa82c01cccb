package leader

import (
	"math"
	"slices"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// posixWaiter is a request that waits for a lock of fcntl(2).
type posixWaiter struct {
	op             changelog.PosixLock // with which it gets the lock
	request, msgID uint32
}

// Posix carries out a command. With meta.EWAITING the answer comes through
// Wake; to wire.PosixGet it is the lock in the way, or one of type unlock.
func (l *Locks) Posix(t *Turn, id meta.SessionID, p *wire.PosixLock) (wire.PosixLockReply, meta.Status) {
	reply := wire.PosixLockReply{MsgID: p.MsgID}
	unlock := p.Type == wire.PosixTypeUnlock
	set := p.Command == wire.PosixSet || p.Command == wire.PosixTry
	if set && !unlock && !t.st.Open.Has(id, p.Inode) {
		return reply, meta.ENOTOPENED
	}
	op := changelog.PosixLock{Inode: p.Inode, Session: id, Owner: p.Owner, Kind: changelog.LockUnlock, Start: p.Start, End: p.End, PID: p.PID}
	if !unlock {
		op.Kind = kindOf(p.Type == wire.PosixTypeWrite)
	}
	switch p.Command {
	case wire.PosixInterrupt:
		l.interruptPosix(id, p)
		return reply, meta.OK
	case wire.PosixGet:
		if !unlock {
			l.findPosix(t, &op, &reply)
		}
		return reply, meta.OK
	}
	list, _ := t.st.Plocks.Get(p.Inode)
	if unlock {
		if len(list) > 0 || len(l.posix[p.Inode]) > 0 {
			l.changePosix(t, &op)
		}
		return reply, meta.OK
	}
	if op.Blocker(t.st) == nil {
		l.changePosix(t, &op)
		return reply, meta.OK
	}
	if p.Command == wire.PosixTry {
		return reply, meta.EAGAIN
	}
	l.posix[p.Inode] = append(l.posix[p.Inode], &posixWaiter{op: op, request: p.Request, msgID: p.MsgID})
	return reply, meta.EWAITING
}

// changePosix takes or drops ranges, and gives what is free now to those who
// wait. Nothing to drop leaves no entry here.
func (l *Locks) changePosix(t *Turn, op *changelog.PosixLock) {
	if list, _ := t.st.Plocks.Get(op.Inode); op.Kind != changelog.LockUnlock || len(list) > 0 {
		t.Add(op)
	}
	l.grantPosix(t, op.Inode)
}

// grantPosix gives locks to those who wait and whom nothing is in the way of,
// in order.
func (l *Locks) grantPosix(t *Turn, ino meta.Inode) {
	for _, w := range slices.Clone(l.posix[ino]) {
		if w.op.Blocker(t.st) == nil {
			l.dropPosix(ino, w)
			t.Add(&w.op)
			l.Wake(w.op.Session, wire.FusePosixLock, w.msgID, meta.OK)
		}
	}
}

func (l *Locks) dropPosix(ino meta.Inode, w *posixWaiter) {
	rest := slices.DeleteFunc(l.posix[ino], func(other *posixWaiter) bool { return other == w })
	if len(rest) == 0 {
		delete(l.posix, ino)
	} else {
		l.posix[ino] = rest
	}
}

func (l *Locks) interruptPosix(id meta.SessionID, p *wire.PosixLock) {
	for _, w := range l.posix[p.Inode] {
		if w.op.Session == id && w.request == p.Request {
			l.Wake(id, wire.FusePosixLock, w.msgID, meta.EINTR)
			l.dropPosix(p.Inode, w)
			return
		}
	}
}

// findPosix fills in the lock that is in the way. Only a session's own
// processes have numbers that mean something to it.
func (l *Locks) findPosix(t *Turn, op *changelog.PosixLock, reply *wire.PosixLockReply) {
	owner := op.Blocker(t.st)
	if owner == nil {
		return
	}
	for _, r := range owner.Ranges {
		if op.Conflicts(r) {
			reply.Start, reply.End, reply.Type = r.Start, r.End, wire.PosixTypeRead
			if r.Write {
				reply.Type = wire.PosixTypeWrite
			}
			if owner.Session == op.Session {
				reply.PID = owner.PID
			}
			return
		}
	}
}

// closedPosix is closed for locks of fcntl(2). If others wait the locks get
// entries of their own: mfsmaster gives them on before the entry of the closing
// that ends them, and its own replay stops there.
func (l *Locks) closedPosix(t *Turn, id meta.SessionID, ino meta.Inode) {
	for _, w := range slices.Clone(l.posix[ino]) {
		if w.op.Session == id {
			l.dropPosix(ino, w)
		}
	}
	if len(l.posix[ino]) == 0 {
		return
	}
	list, _ := t.st.Plocks.Get(ino)
	for _, o := range slices.Clone(list) {
		if o.Session == id {
			t.Add(&changelog.PosixLock{Inode: ino, Session: id, Owner: o.Owner, Kind: changelog.LockUnlock, End: math.MaxUint64, PID: o.PID})
		}
	}
	l.grantPosix(t, ino)
}
