// Package role is the one place that knows what a process is to its cluster: it
// follows, it is about to lead, it leads, or it needs a person. What is not in
// the table cannot happen, and what happened is on the disk before it counts.
package role

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mfsstandby/changelog/meta"
)

// Role is what a process is to its cluster.
type Role string

// The roles. Only a Leader accepts writes.
const (
	CatchingUp Role = "catching up" // a follower with entries, or an image, to come
	InSync     Role = "in sync"     // a follower that has all there is
	Candidate  Role = "candidate"   // fences the writer before it, drains, and leads then
	Leader     Role = "leader"
	Stopped    Role = "stopped" // a follower that needs a person
)

// Event is what changes a role.
type Event string

// The events.
const (
	CaughtUp Event = "caught up" // all entries of the stream are applied
	FellBack Event = "fell back" // entries wait, or another image is loaded
	Promote  Event = "promote"   // a person, or the address, wants this process to lead
	Force    Event = "force"     // as Promote, of one that is not in sync
	Resume   Event = "resume"    // a leader was started again
	Drained  Event = "drained"   // nothing can come any more that is not applied
	Failed   Event = "failed"    // the promotion could not be finished
	Fenced   Event = "fenced"    // another writer opened an epoch
	Lost     Event = "lost"      // the stream does not take entries
	Demote   Event = "demote"    // a person wants it to lead no more
	Left     Event = "left"      // the address, with which it led, went elsewhere
	Diverged Event = "diverged"  // an entry cannot be applied
	Reloaded Event = "reloaded"  // a stopped follower goes on

	HandedOver Event = "handed over" // a stock master that this process started accepts writes instead of it
)

// next is the table.
var next = map[Role]map[Event]Role{
	CatchingUp: {CaughtUp: InSync, Force: Candidate, Diverged: Stopped},
	InSync:     {FellBack: CatchingUp, Promote: Candidate, Force: Candidate, Diverged: Stopped},
	Candidate:  {Drained: Leader, HandedOver: CatchingUp, Failed: CatchingUp, Fenced: CatchingUp, Diverged: Stopped},
	Leader:     {Resume: Candidate, Fenced: CatchingUp, Lost: CatchingUp, Demote: CatchingUp, Left: CatchingUp},
	Stopped:    {Reloaded: CatchingUp},
}

// ErrNot says that an event cannot happen in the present role.
var ErrNot = errors.New("that cannot be done now")

// After is the role after an event, or an error that wraps ErrNot.
func After(r Role, e Event) (Role, error) {
	to, ok := next[r][e]
	if !ok {
		return r, fmt.Errorf("%q, while this is %q: %w", string(e), string(r), ErrNot)
	}
	return to, nil
}

// State is a role with what led to it, as it is kept on the disk.
type State struct {
	Role   Role         `json:"role"`
	Since  time.Time    `json:"since"`
	Event  Event        `json:"event,omitempty"`  // that led to it
	Reason string       `json:"reason,omitempty"` // in the words of who wanted it
	Epoch  uint64       `json:"epoch,omitempty"`  // that a leader opened
	Begun  meta.Version `json:"begun,omitempty"`  // version at which it did
	// Address is the one that a leader was promoted for, as it is configured; "" if by a person.
	Address string `json:"address,omitempty"`
	// Ended is what ended the last lead of this process, or HandedOver if a stock
	// master came after it; "" while it leads, or if it never did.
	Ended Event `json:"ended,omitempty"`

	HandOver *HandOver `json:"hand_over,omitempty"` // nil: no stock master was, or is to be, started here
}

// HandOver is what is known of a stock master that this process hands over to,
// or has handed over to. It stays until the process leads, or gives it up.
type HandOver struct {
	Term        string       `json:"term"` // marks what is written to the stream for that master, see stream.WriterConfig
	Config      string       `json:"config"`
	Data        string       `json:"data"`        // its data directory
	Metaloggers string       `json:"metaloggers"` // HOST:PORT where it is followed
	Epoch       uint64       `json:"epoch,omitempty"`
	Led         bool         `json:"led,omitempty"`     // a leader had written to the stream before
	Left        bool         `json:"left,omitempty"`    // the master has this process's port for clients
	Started     bool         `json:"started,omitempty"` // it may have accepted writes
	Version     meta.Version `json:"version,omitempty"` // with which it was started
	Before      *HandOver    `json:"before,omitempty"`  // while handing over: what there was
}

// fileName is the file in a data directory that holds the State.
const fileName = "role"

// Machine is the role of this process. Its methods are safe for concurrent use.
type Machine struct {
	path string

	mu  sync.Mutex // guards what follows
	now State
}

// Open reads the role that a data directory has. One without a role follows. A
// candidate was interrupted: nobody was told that it leads, so it follows, and
// whoever wants it to lead asks again. A leader is one still: its caller fires
// Resume, or Fenced when it sees that another one took over.
func Open(dir string) (*Machine, error) {
	m := &Machine{path: filepath.Join(dir, fileName), now: State{Role: CatchingUp, Since: time.Now()}}
	text, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		m.now, err = decode(text)
	}
	if err != nil {
		return nil, fmt.Errorf("the role of this process, in %s: %w", m.path, err)
	}
	if m.now.Role != Leader {
		m.now.Role = CatchingUp // how far the image is, is seen anew
	}
	return m, nil
}

func decode(text []byte) (State, error) {
	var st State
	if err := json.Unmarshal(text, &st); err != nil {
		return st, err
	}
	if _, ok := next[st.Role]; !ok {
		return st, fmt.Errorf("%q is no role", st.Role)
	}
	return st, nil
}

// Now tells the present role.
func (m *Machine) Now() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Fire lets an event happen. with, if not nil, completes the new state. The
// role changes when the new one is on the disk, or not at all.
func (m *Machine) Fire(e Event, reason string, with func(*State)) (State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	to, err := After(m.now.Role, e)
	if err != nil {
		return m.now, err
	}
	st := m.now
	st.HandOver = st.HandOver.clone()
	st.Role, st.Since, st.Event, st.Reason = to, time.Now(), e, reason
	switch to {
	case Candidate:
	case Leader:
		st.Ended = ""
	default:
		st.Address = ""
		if m.now.Role == Leader || e == HandedOver {
			st.Ended = e
		}
	}
	if with != nil {
		with(&st)
	}
	if err := write(m.path, &st); err != nil {
		return m.now, fmt.Errorf("keeping the new role, %s: %w", to, err)
	}
	m.now = st
	return st, nil
}

// Set completes the state, without an event. It changes when it is on the disk,
// or not at all.
func (m *Machine) Set(with func(*State)) (State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.now
	st.HandOver = st.HandOver.clone()
	with(&st)
	if err := write(m.path, &st); err != nil {
		return m.now, fmt.Errorf("keeping what is known of the role: %w", err)
	}
	m.now = st
	return st, nil
}

// clone keeps what was told from being changed.
func (h *HandOver) clone() *HandOver {
	if h == nil {
		return nil
	}
	c := *h
	return &c
}

// write replaces the file so that a crash leaves the old content or the new.
func write(path string, st *State) error {
	text, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, fileName+".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
