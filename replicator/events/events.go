// Package events keeps what a person may want to know of a process: that a
// base image was loaded, that entries are missing, that a primary was lost.
// The parts of a process add to one Log; the status command, the status page
// and metrics show it. It is bounded, and with a file (see File) it outlives
// the process.
package events

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// Code names a kind of event for programs.
type Code string

// The codes there are.
const (
	Following    Code = "following"     // entries of a primary, or of its files, are followed
	Connected    Code = "connected"     // to the primary
	Disconnected Code = "disconnected"  // from the primary; it is tried again
	Retrying     Code = "retrying"      // something that broke off
	Overflow     Code = "overflow"      // entries come faster than they are taken
	Unverified   Code = "unverified"    // an entry could not be compared with the primary's
	Truncated    Code = "truncated"     // a followed file became shorter
	Lost         Code = "lost"          // the primary cannot be followed any longer
	Restarted    Code = "restarted"     // the primary loaded newer metadata than is known
	Upgraded     Code = "upgraded"      // the primary is of another release since
	Waiting      Code = "waiting"       // for a metadata file to start from
	Gap          Code = "gap"           // entries are missing
	Diverged     Code = "diverged"      // two histories differ
	NewBase      Code = "new_base"      // the stream continues from another base image
	StreamLost   Code = "stream_lost"   // the stream lost what it had acknowledged
	StreamFull   Code = "stream_full"   // the stream takes nothing, and the spool is full
	NATSAway     Code = "nats_away"     // NATS does not answer
	NATSBack     Code = "nats_back"     // it does again
	BaseLoading  Code = "base_loading"  // into the image
	BaseLoaded   Code = "base_loaded"   // into the image
	BaseStored   Code = "base_stored"   // the image, in the stream
	BaseFailed   Code = "base_failed"   // the image could not be stored in the stream
	ImageLost    Code = "image_lost"    // it does not open, and is loaded anew
	Epoch        Code = "epoch"         // another writer, or the same one anew
	InSync       Code = "in_sync"       // all entries of the stream are applied
	Behind       Code = "behind"        // entries have been waiting for seconds
	Stopped      Code = "stopped"       // a person is needed
	Started      Code = "started"       // the process
	RoleChanged  Code = "role_changed"  // of this process
	Hook         Code = "hook"          // of the user's was run
	Address      Code = "address"       // that floats: it came or left, or asks in vain
	Fenced       Code = "fenced"        // another writer has taken over
	Unreachable  Code = "unreachable"   // a port that this process should listen on
	Refused      Code = "refused"       // by the primary
	Configured   Code = "configuration" // read again
	Serving      Code = "serving"       // a port is open that was not
	Saved        Code = "saved"         // metadata.mfs.back, for metaloggers
	SaveFailed   Code = "save_failed"   // it could not be
	FilesFailed  Code = "files_failed"  // changelog files cannot be written, or metaloggers not be served
	FilesAside   Code = "files_aside"   // changelog files begin anew

	Rehearsed       Code = "rehearsed"        // a stock master has loaded an export, and has the same metadata
	RehearsalFailed Code = "rehearsal_failed" // or has not

	Archived      Code = "archived"       // a base image, or it was dropped from the archive
	ArchiveFailed Code = "archive_failed" // the archive could not be written
)

// Event is something worth telling a person.
type Event struct {
	Seq   uint64     `json:"seq"` // ascending
	Time  time.Time  `json:"time"`
	Level slog.Level `json:"level"`
	Part  string     `json:"part"` // of the process: "tap", "standby" ...
	Code  Code       `json:"code"`
	Text  string     `json:"text"`
}

// Kind is what events are counted by.
type Kind struct {
	Part  string
	Level slog.Level
	Code  Code
}

// Log holds the newest events. Its methods are safe for concurrent use. On a
// nil Log they do nothing.
type Log struct {
	keep int

	mu     sync.Mutex // guards what follows
	next   uint64
	events []Event // ascending by Seq
	counts map[Kind]uint64
	added  chan struct{} // closed when there is another one
}

// Keep is how many events a process keeps.
const Keep = 1000

// New returns a Log of the newest keep events.
func New(keep int) *Log {
	return &Log{keep: keep, next: 1, counts: map[Kind]uint64{}, added: make(chan struct{})}
}

// Add adds an event that happens now.
func (l *Log) Add(part string, level slog.Level, code Code, text string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(Event{Seq: l.next, Time: time.Now(), Level: level, Part: part, Code: code, Text: text})
	l.next++
	l.counts[Kind{part, level, code}]++
	close(l.added)
	l.added = make(chan struct{})
}

func (l *Log) append(e Event) {
	if len(l.events) >= 2*l.keep {
		l.events = slices.Clone(l.events[len(l.events)-l.keep:])
	}
	l.events = append(l.events, e)
}

// newest returns the events that are kept; the caller holds mu.
func (l *Log) newest() []Event { return l.events[max(0, len(l.events)-l.keep):] }

// Of returns the newest n events of a part, oldest first.
func (l *Log) Of(part string, n int) []Event {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []Event
	for _, e := range slices.Backward(l.newest()) {
		if e.Part == part && len(found) < n {
			found = append(found, e)
		}
	}
	slices.Reverse(found)
	return found
}

// After returns the events with a Seq above seq, oldest first, and a channel
// that is closed when there are more.
func (l *Log) After(seq uint64) ([]Event, <-chan struct{}) {
	if l == nil {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.newest()
	i, _ := slices.BinarySearchFunc(all, seq+1, func(e Event, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	return slices.Clone(all[i:]), l.added
}

// Counts returns how many events of each kind were added since the process
// started.
func (l *Log) Counts() map[Kind]uint64 {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts)
}
