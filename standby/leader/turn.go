package leader

import (
	"fmt"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// Turn is one request's turn at the state: nothing else changes it meanwhile.
// What it adds is applied at once and published with the batch.
type Turn struct {
	st      *meta.State
	locks   *Locks
	now     meta.Time
	version meta.Version // of the next entry
	entries []meta.RawEntry
	text    []byte // of the entries
	err     error  // the state is void
}

// NewTurn returns a turn at a state that is at version. Locks holds who waits
// for locks.
func NewTurn(st *meta.State, locks *Locks, version meta.Version, now meta.Time) *Turn {
	return &Turn{st: st, locks: locks, version: version, now: now}
}

// State is the state as the entries so far left it. It may be read only.
func (t *Turn) State() *meta.State { return t.st }

// Now is the time of the entries of this turn.
func (t *Turn) Now() meta.Time { return t.now }

// Entries are those added so far, by all turns of the batch.
func (t *Turn) Entries() []meta.RawEntry { return t.entries }

// Err is why the state is void: an entry that was planned could not be
// applied, or storage failed.
func (t *Turn) Err() error { return t.err }

// Do plans a request and adds its entry. The operation has its results then; it
// is nil if there was nothing to change.
func (t *Turn) Do(c *changelog.Caller, r changelog.Request) (changelog.Op, meta.Status) {
	if t.err != nil {
		return nil, statusIO
	}
	op, status := r.Plan(t.st, c, t.now)
	if status != meta.OK || op == nil {
		return nil, status
	}
	return op, t.Add(op)
}

// Add applies an operation that needs no plan and adds its entry.
func (t *Turn) Add(op changelog.Op) meta.Status {
	if t.err != nil {
		return statusIO
	}
	if err := changelog.Originate(t.st, changelog.Entry{Version: t.version, Time: t.now, Op: op}); err != nil {
		t.err = fmt.Errorf("an entry that was planned cannot be applied: %w", err)
		return statusIO
	}
	start := len(t.text)
	t.text = changelog.Append(t.text, t.now, op)
	t.entries = append(t.entries, meta.RawEntry{Version: t.version, Text: t.text[start:len(t.text):len(t.text)]})
	t.version++
	return meta.OK
}

// statusIO is what a client is told when the state is void.
const statusIO meta.Status = 22

// CloseFile ends that a session has a file open: its locks go to those who
// wait for them.
func (t *Turn) CloseFile(id meta.SessionID, ino meta.Inode) {
	t.locks.closed(t, id, ino)
	t.Add(&changelog.Release{Session: id, Inode: ino})
}

// SyncOpen makes the open files of a session those that its client tells.
func (t *Turn) SyncOpen(id meta.SessionID, open []meta.Inode) {
	closed, opened := changelog.SyncOpen(t.st, id, open)
	for _, ino := range closed {
		t.CloseFile(id, ino)
	}
	for _, ino := range opened {
		t.Add(&changelog.Acquire{Session: id, Inode: ino})
	}
}

// RemoveSession removes a session with its open files and locks.
func (t *Turn) RemoveSession(id meta.SessionID) meta.Status {
	if _, ok := t.st.Sessions.Get(id); !ok {
		return meta.ENOTFOUND
	}
	for _, ino := range t.st.Open.Of(id) {
		t.locks.closed(t, id, ino)
	}
	return t.Add(&changelog.SesDel{Session: id})
}
