package changelog

import (
	"bytes"
	"fmt"

	"mfsstandby/changelog/meta"
)

// sessionError tells what is wrong with a session.
func sessionError(id meta.SessionID, status meta.Status) error {
	return fmt.Errorf("session %d: %w", id, status)
}

// set writes what an entry tells of a session. Zero bytes at the end of its
// info do not count; the bit by which mfsmaster marks replayed sessions is
// never stored.
func (d *SessionData) set(s *meta.Session, modern bool) {
	const replayed = 0x80
	s.ExportsSum, s.Peer, s.Root = d.ExportsSum, d.Peer, d.Root
	s.Flags, s.Umask = d.Flags&^replayed, d.Umask
	s.MinTrash, s.MaxTrash = d.MinTrash, d.MaxTrash
	s.MinGoal, s.MaxGoal, s.Groups = d.MinGoal, d.MaxGoal, d.Groups
	if modern && !d.HasGroups {
		s.MinGoal, s.MaxGoal, s.Groups = 0, 0, GoalGroups(d.MinGoal, d.MaxGoal)
	}
	s.RootUID, s.RootGID, s.MapUID, s.MapGID = d.RootUID, d.RootGID, d.MapUID, d.MapGID
	s.Disables = d.Disables
	s.Info = append([]byte(nil), bytes.TrimRight(d.Info, "\x00")...)
}

// GoalGroups turns the range of goals that a session could use before 4.x into
// the storage class groups it then may.
func GoalGroups(minGoal, maxGoal uint8) uint16 {
	groups := uint16(1)
	for goal := uint(minGoal); goal <= uint(maxGoal); goal++ {
		groups |= 1 << goal // beyond the sixteenth there is none
	}
	return groups
}

// gone tells whether there was such a session and nothing of it is left. The
// metadata file that the primary stores between a client's closing of its session
// and the SESDEL for it, up to 10 s later, has neither the session nor, once
// loaded, its open files and locks: what entries still remove of it is not there,
// and nothing of it is left in the primary either.
func gone(st *meta.State, id meta.SessionID) bool {
	_, is := st.Sessions.Get(id)
	return !is && 0 < id && id < st.NextSession && len(st.Open.Of(id)) == 0
}

// Apply makes the session. Files may be open for it already: 1.6 kept its
// sessions elsewhere.
func (op *SesAdd) Apply(st *meta.State, _ meta.Time) error {
	if op.HasGroups && !modern(st) {
		if err := becomeModern(st); err != nil {
			return err
		}
	}
	id := st.NextSession
	if err := settle(st, "session", &op.Session, id); err != nil {
		return err
	}
	if _, ok := st.Sessions.Get(id); ok {
		return sessionError(id, meta.EMISMATCH)
	}
	st.NextSession++
	s := meta.Session{Open: uint32(len(st.Open.Of(id)))}
	op.set(&s, modern(st))
	st.Sessions.Insert(id, s)
	return nil
}

// Apply changes the session. The primary writes the entry when a client
// registers again, so the session is connected then.
func (op *SesChanged) Apply(st *meta.State, _ meta.Time) error {
	s, ok := st.Sessions.Edit(op.Session)
	if !ok {
		return sessionError(op.Session, meta.EMISMATCH)
	}
	op.set(s, modern(st))
	s.Disconnected = 0
	return nil
}

// Apply notes that the session is connected again.
func (op *SesConnected) Apply(st *meta.State, _ meta.Time) error {
	s, ok := st.Sessions.Edit(op.Session)
	if !ok {
		return sessionError(op.Session, meta.ENOTFOUND)
	}
	s.Disconnected = 0
	return nil
}

// Apply notes when the session lost its last connection.
func (op *SesDisconnected) Apply(st *meta.State, now meta.Time) error {
	s, ok := st.Sessions.Edit(op.Session)
	if !ok {
		return sessionError(op.Session, meta.ENOTFOUND)
	}
	s.Disconnected = now
	return nil
}

// Apply removes the session with its open files and locks. Sustained files
// that were open only there stay until an entry frees them.
//
// One that was closed before the metadata was stored may be gone already.
func (op *SesDel) Apply(st *meta.State, _ meta.Time) error {
	if _, ok := st.Sessions.Get(op.Session); !ok {
		if gone(st, op.Session) {
			return nil
		}
		return sessionError(op.Session, meta.EBADSESSIONID)
	}
	for _, ino := range st.Open.Of(op.Session) {
		st.Open.Remove(op.Session, ino)
		dropLocks(st, op.Session, ino)
		st.MakeRoom()
	}
	st.Sessions.Delete(op.Session)
	return nil
}

// Apply takes the next session id.
func (op *Session) Apply(st *meta.State, _ meta.Time) error {
	if err := match("session", op.Session, st.NextSession); err != nil {
		return err
	}
	st.NextSession++
	return nil
}

// Apply notes that the file is open; whether it exists is not asked.
func (op *Acquire) Apply(st *meta.State, _ meta.Time) error {
	if !st.Release.Since(meta.Release2) { // open files are in their nodes there
		if _, err := editFile(st, op.Inode, meta.EPERM); err != nil {
			return err
		}
	}
	if st.Open.Has(op.Session, op.Inode) {
		return fmt.Errorf("inode %d is open already: %w", op.Inode, sessionError(op.Session, meta.EMISMATCH))
	}
	st.Open.Add(op.Session, op.Inode)
	countOpen(st, op.Session, 1)
	return nil
}

// Apply notes that the file is closed, which drops the session's locks on it.
func (op *Release) Apply(st *meta.State, _ meta.Time) error {
	if !st.Open.Has(op.Session, op.Inode) {
		return fmt.Errorf("inode %d is not open: %w", op.Inode, sessionError(op.Session, meta.EMISMATCH))
	}
	st.Open.Remove(op.Session, op.Inode)
	countOpen(st, op.Session, ^uint32(0))
	dropLocks(st, op.Session, op.Inode)
	return nil
}

// countOpen adds delta, 1 or -1 modulo 2^32, to the number of files that a
// session has open. Only a client that is connected opens and closes files:
// the primary writes no entry when a session comes back, but from here on it
// is known.
func countOpen(st *meta.State, id meta.SessionID, delta uint32) {
	if s, ok := st.Sessions.Edit(id); ok {
		s.Open += delta
		s.Disconnected = 0
	}
}
