package changelog

import (
	"fmt"
	"slices"

	"mfsstandby/changelog/meta"
)

// dropLocks drops all locks that a session holds on a file. The primary writes
// entries for those of flock(2) before that, but not for those of fcntl(2).
func dropLocks(st *meta.State, id meta.SessionID, ino meta.Inode) {
	if list, ok := st.Flocks.Get(ino); ok {
		setFlocks(st, ino, without(list, func(l meta.Flock) bool { return l.Session == id }))
	}
	if list, ok := st.Plocks.Get(ino); ok {
		setPlocks(st, ino, without(list, func(o meta.PosixOwner) bool { return o.Session == id }))
	}
}

// without returns a copy of list without the elements that drop selects.
func without[E any](list []E, drop func(E) bool) []E {
	return slices.DeleteFunc(slices.Clone(list), drop)
}

// setFlocks replaces the list of a file, which has one; an empty one goes.
func setFlocks(st *meta.State, ino meta.Inode, list []meta.Flock) {
	if len(list) == 0 {
		st.Flocks.Delete(ino)
	} else if p, ok := st.Flocks.Edit(ino); ok {
		*p = list
	}
}

// setPlocks replaces the list of a file, which has one; an empty one goes.
func setPlocks(st *meta.State, ino meta.Inode, list []meta.PosixOwner) {
	if len(list) == 0 {
		st.Plocks.Delete(ino)
	} else if p, ok := st.Plocks.Edit(ino); ok {
		*p = list
	}
}

// lockError tells what is wrong with a lock.
func lockError(ino meta.Inode, id meta.SessionID, owner uint64, status meta.Status) error {
	return fmt.Errorf("lock of owner %d of session %d on inode %d: %w", owner, id, ino, status)
}

// Apply takes or drops the lock; a new one goes to the head of the file's
// list. Dropping several locks of one owner is one step here, while the
// primary's own replay counts each. There is nothing to drop for a session that
// is gone.
//
// A lock that its owner turns from exclusive to shared without waiting leaves
// no entry. The first shared lock that another owner gets thereupon tells of
// it, since the primary does not give one beside an exclusive lock.
func (op *Flock) Apply(st *meta.State, _ meta.Time) error {
	list, _ := st.Flocks.Get(op.Inode)
	if op.Kind == LockUnlock {
		rest := without(list, func(l meta.Flock) bool { return l.Session == op.Session && l.Owner == op.Owner })
		if len(rest) == len(list) {
			if gone(st, op.Session) {
				return nil
			}
			return lockError(op.Inode, op.Session, op.Owner, meta.EMISMATCH)
		}
		setFlocks(st, op.Inode, rest)
		return nil
	}
	lock := meta.Flock{Session: op.Session, Owner: op.Owner, Write: op.Kind == LockWrite}
	if len(list) == 0 {
		st.Flocks.Insert(op.Inode, []meta.Flock{lock})
		return nil
	}
	if lock.Write {
		return lockError(op.Inode, op.Session, op.Owner, meta.EMISMATCH)
	}
	list = append([]meta.Flock{lock}, list...)
	for i := range list {
		list[i].Write = false
	}
	setFlocks(st, op.Inode, list)
	return nil
}

// Apply takes or drops a lock on a range of bytes. A new owner goes to the end
// of the file's list.
//
// When a session closes a file, the primary gives its locks on it to those who
// wait and writes their entries before that of the closing. So if a lock is in
// the way, it belongs to a session that has just closed the file. The
// primary's own replay stops there.
func (op *PosixLock) Apply(st *meta.State, _ meta.Time) error {
	list, held := st.Plocks.Get(op.Inode)
	if op.Kind == LockUnlock && !held {
		return lockError(op.Inode, op.Session, op.Owner, meta.EMISMATCH)
	}
	list = slices.Clone(list)
	if op.Kind != LockUnlock {
		for i := 0; i < len(list); i++ {
			if closing := list[i].Session; op.conflicts(&list[i]) {
				if closing == op.Session {
					return lockError(op.Inode, op.Session, op.Owner, meta.EMISMATCH)
				}
				list = without(list, func(o meta.PosixOwner) bool { return o.Session == closing })
				i = -1
			}
		}
	}
	i := slices.IndexFunc(list, func(o meta.PosixOwner) bool {
		return o.Session == op.Session && o.Owner == op.Owner
	})
	if i < 0 && op.Kind != LockUnlock {
		i = len(list)
		list = append(list, meta.PosixOwner{Session: op.Session, Owner: op.Owner, PID: op.PID})
	}
	if i >= 0 {
		list[i].Ranges = op.changeRanges(list[i].Ranges)
		if len(list[i].Ranges) == 0 {
			list = slices.Delete(list, i, i+1)
		}
	}
	if !held && len(list) > 0 {
		st.Plocks.Insert(op.Inode, list)
	} else if held {
		setPlocks(st, op.Inode, list)
	}
	return nil
}

// conflicts tells whether a range of another owner is in the way.
func (op *PosixLock) conflicts(o *meta.PosixOwner) bool {
	if o.Session == op.Session && o.Owner == op.Owner {
		return false
	}
	return slices.ContainsFunc(o.Ranges, op.Conflicts)
}

// Conflicts tells whether a range of another owner is in the way of the lock.
func (op *PosixLock) Conflicts(r meta.PosixRange) bool {
	return (op.Kind == LockWrite || r.Write) && op.End > r.Start && op.Start < r.End
}

// Blocker returns the first owner who is in the way of the lock, nil if there
// is none.
func (op *PosixLock) Blocker(st *meta.State) *meta.PosixOwner {
	list, _ := st.Plocks.Get(op.Inode)
	for i := range list {
		if op.conflicts(&list[i]) {
			return &list[i]
		}
	}
	return nil
}

// changeRanges returns the ranges of the owner with those in [Start,End)
// replaced: ascending, and merged with neighbours of the same kind that touch
// the new one.
func (op *PosixLock) changeRanges(ranges []meta.PosixRange) []meta.PosixRange {
	added := meta.PosixRange{Start: op.Start, End: op.End, Write: op.Kind == LockWrite}
	merges := func(r meta.PosixRange) bool { return op.Kind != LockUnlock && r.Write == added.Write }
	var before, after []meta.PosixRange
	for _, r := range ranges {
		switch {
		case r.End < op.Start:
			before = append(before, r)
		case r.Start > op.End:
			after = append(after, r)
		case merges(r):
			added.Start, added.End = min(added.Start, r.Start), max(added.End, r.End)
		default:
			if r.Start < op.Start {
				before = append(before, meta.PosixRange{Start: r.Start, End: op.Start, Write: r.Write})
			}
			if r.End > op.End {
				after = append(after, meta.PosixRange{Start: op.End, End: r.End, Write: r.Write})
			}
		}
	}
	if op.Kind != LockUnlock {
		before = append(before, added)
	}
	return append(before, after...)
}
