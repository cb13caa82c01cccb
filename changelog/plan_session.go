package changelog

import (
	"maps"
	"slices"

	"mfsstandby/changelog/meta"
)

// SessionRequest registers a client that has no session here, or changes the
// session that it has.
type SessionRequest struct {
	Session meta.SessionID // 0: a new one
	SessionData
}

// maxInfo is how long a session's info may be to fit into an entry.
const maxInfo = (maxLine - 500) / 3

// Plan gives a client whose session is not known a new one.
func (r *SessionRequest) Plan(st *meta.State, _ *Caller, _ meta.Time) (Op, meta.Status) {
	if len(r.Info) > maxInfo {
		return nil, meta.EINVAL
	}
	if _, ok := st.Sessions.Get(r.Session); ok && r.Session != 0 {
		return &SesChanged{Session: r.Session, SessionData: r.SessionData}, meta.OK
	}
	return &SesAdd{SessionData: r.SessionData}, meta.OK
}

// DisconnectRequest notes that a session has lost its last connection.
type DisconnectRequest struct{ Session meta.SessionID }

// Plan does nothing about a session that is gone already.
func (r *DisconnectRequest) Plan(st *meta.State, _ *Caller, _ meta.Time) (Op, meta.Status) {
	if _, ok := st.Sessions.Get(r.Session); !ok {
		return nil, meta.OK
	}
	return &SesDisconnected{Session: r.Session}, meta.OK
}

// SyncOpen gives the files that a client closed and those that it has open
// without the master knowing, when it tells all that it has open. They are
// RELEASE and ACQUIRE entries; both lists ascend.
func SyncOpen(st *meta.State, id meta.SessionID, open []meta.Inode) (closed, opened []meta.Inode) {
	has := make(map[meta.Inode]bool, len(open))
	for _, ino := range open {
		has[ino] = true
	}
	for _, ino := range st.Open.Of(id) {
		if has[ino] {
			delete(has, ino)
		} else {
			closed = append(closed, ino)
		}
	}
	delete(has, 0)
	return closed, slices.Sorted(maps.Keys(has))
}
