package replicator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/stream"
	"mfsstandby/replicator/tap"
)

// keepEvents is how many events Status gives.
const keepEvents = 50

// Status tells how replication is doing. A version is that of the next entry.
type Status struct {
	Source    string         `json:"source"`
	Connected bool           `json:"connected"` // to a live primary
	Following bool           `json:"following"` // it continues the history known
	Release   string         `json:"release,omitempty"`
	MetaID    string         `json:"metaid,omitempty"` // 16 hexadecimal digits
	Epoch     uint64         `json:"epoch"`
	Received  meta.Version   `json:"received_version"`  // from the primary, into the spool
	Published meta.Version   `json:"published_version"` // acknowledged by the stream
	Entries   uint64         `json:"entries_received"`  // since the start
	Heard     time.Time      `json:"heard"`             // when the primary sent something last
	Spool     int64          `json:"spool_bytes"`
	Error     string         `json:"error,omitempty"`
	Waits     string         `json:"waits,omitempty"` // why another tap follows the primary, where several may; "": this one does
	Events    []events.Event `json:"events,omitempty"`
}

// aliveFor is how old the last sign of a primary that lives may be; it gives one every second.
const aliveFor = 5 * time.Second

// Alive tells whether a live primary answers.
func (s *Status) Alive() bool { return s.Connected && time.Since(s.Heard) < aliveFor }

// Status tells how replication is doing.
func (r *Replicator) Status() Status {
	s := r.status.get()
	s.Release = r.origin.release()
	if sp := r.opened.Load(); sp != nil {
		if pos, err := sp.Position(); err == nil {
			s.Spool = pos.Bytes
		}
	}
	return s
}

// Received is the version after what was received and is on its way to the stream;
// 0 if this tap brings nothing there: another one does, or a leader has the stream,
// and what this one has beyond it is lost.
func (r *Replicator) Received() meta.Version {
	r.status.mu.Lock()
	defer r.status.mu.Unlock()
	if r.status.idle {
		return 0
	}
	return r.status.now.Received
}

// tracker keeps the Status.
type tracker struct {
	log    *slog.Logger
	events *events.Log
	live   *tap.Live // nil without

	mu   sync.Mutex
	now  Status
	idle bool // others write to the stream
}

func (t *tracker) get() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.now
	s.Events = t.events.Of(part, keepEvents)
	if t.live != nil {
		l := t.live.Status()
		s.Connected, s.Following, s.Heard = l.Connected, l.Following, l.Heard
		if l.Err != nil && s.Error == "" {
			s.Error = l.Err.Error()
		}
	}
	return s
}

func (t *tracker) cluster(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.MetaID = fmt.Sprintf("%016X", id)
}

func (t *tracker) position(w *stream.Writer, received meta.Version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Received, t.now.Published, t.now.Epoch = received, w.Acked(), uint64(w.End().Epoch)
}

func (t *tracker) received(b tap.Batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Received = b.Entries[len(b.Entries)-1].Version + 1
	t.now.Entries += uint64(len(b.Entries))
	t.now.Heard = b.Received
}

func (t *tracker) published(w *stream.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Published, t.now.Epoch = w.Acked(), uint64(w.End().Epoch)
}

func (t *tracker) acknowledged(v meta.Version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Published = v
}

func (t *tracker) acked() meta.Version {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now.Published
}

// wait says that another tap goes on.
func (t *tracker) wait(err error) {
	t.mu.Lock()
	known := t.now.Waits == err.Error()
	t.now.Waits, t.idle = err.Error(), true
	t.mu.Unlock()
	if !known {
		t.event(slog.LevelInfo, events.Waiting, "not following", err)
	}
}

func (t *tracker) goOn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Waits, t.idle = "", false
}

func (t *tracker) fail(err error) {
	fenced := errors.Is(err, stream.ErrFenced) || errors.Is(err, ErrLed)
	t.mu.Lock()
	t.now.Error = err.Error()
	t.idle = t.idle || fenced
	t.mu.Unlock()
	if fenced {
		t.event(slog.LevelWarn, events.Fenced, "the primary is no longer followed", err)
		return
	}
	t.event(slog.LevelError, events.Stopped, "replication is stopped", err)
}

// part is what this package is in the log and among the events.
const part = "tap"

func (t *tracker) event(level slog.Level, code events.Code, text string, err error) {
	if err != nil {
		text += ": " + err.Error()
	}
	t.log.Log(context.Background(), level, text)
	t.events.Add(part, level, code, text)
}

// tapCodes are the codes of what a source tells.
var tapCodes = map[tap.Kind]events.Code{
	tap.Connected: events.Connected, tap.Disconnected: events.Disconnected, tap.Following: events.Following,
	tap.Retrying: events.Retrying, tap.Overflow: events.Overflow, tap.Unverified: events.Unverified,
	tap.Truncated: events.Truncated, tap.Lost: events.Lost, tap.Restarted: events.Restarted,
}

// tapEvent turns what a source tells into events.
func (t *tracker) tapEvent(e tap.Event) {
	level := slog.LevelInfo
	switch e.Kind {
	case tap.Rotated, tap.Downloading:
		return
	case tap.Disconnected, tap.Retrying, tap.Unverified, tap.Truncated, tap.Restarted:
		level = slog.LevelWarn
	case tap.Overflow, tap.Lost:
		level = slog.LevelError
	}
	text := "primary: " + e.Kind.String()
	if e.Text != "" {
		text += " " + e.Text
	}
	if e.Version != 0 {
		text += fmt.Sprintf(" at version %d", e.Version)
	}
	t.event(level, tapCodes[e.Kind], text, e.Err)
}

// describe is what other members are told of this tap.
func (r *Replicator) describe() stream.Member {
	s := r.Status()
	state := stream.TapFollows
	switch {
	case s.Error != "":
		state = "trouble"
	case s.Waits != "":
		state = "waiting for its turn"
	case r.status.live == nil:
		state = "reading files"
	case !s.Following:
		state = "waiting for the primary"
	case !s.Alive():
		state = "the primary is silent"
	}
	return stream.Member{
		Role: stream.TapRole, State: state, Primary: s.Received, Version: s.Published,
		Epoch: stream.Epoch(s.Epoch), Error: s.Error,
	}
}
