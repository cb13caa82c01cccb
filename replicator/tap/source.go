// Package tap reads the changelog entries of a stock MooseFS master, raw: from
// its metalogger port (Live), from a data directory that is followed through
// rotation (Dir), or from plain files (Files).
//
// Whatever the source, entries come in version order, each version once,
// without a gap. What cannot be had is a *GapError, and what contradicts an
// entry known already is a *DivergedError; a source never goes on after either.
// Nothing here waits for a timer before it hands on what it has, and nothing a
// caller does makes the primary wait.
//
// The replicator calls it and writes what it yields to the spool.
package tap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mfsstandby/changelog/meta"
)

// Entry is one changelog entry as the primary wrote it.
type Entry = meta.RawEntry

// Batch is what a source could read at once: at least one entry, at most
// MaxBatchEntries and, but for a single long entry, MaxBatchBytes of text.
// It is valid until the next call to the source that gave it.
type Batch struct {
	Entries  []Entry   // contiguous versions
	Received time.Time // when the oldest of them reached this process
}

// Limits of a Batch.
const (
	MaxBatchEntries = 8192
	MaxBatchBytes   = 512 << 10
)

// Source yields entries in version order without a gap.
type Source interface {
	// Next returns the next entries, waiting until there are some. It returns
	// io.EOF from a source that ends, a *GapError, a *DivergedError, if asked
	// for a *RestartedError, the context's error, or whatever made reading impossible. Errors stick, but
	// for the context's.
	Next(ctx context.Context) (Batch, error)
	Close() error
}

// Position says where a source is to continue.
type Position struct {
	Next   meta.Version // first version wanted
	Last   []byte       // text of entry Next-1, to see that the primary still has the same history; nil: not known
	MetaID uint64       // id of the cluster; 0: not known
}

// ErrGap is what a *GapError is.
var ErrGap = errors.New("entries are missing")

// GapError is returned when entry Want cannot be had: the oldest that can is
// Have. Following goes on only from a new base image.
type GapError struct {
	Want, Have meta.Version // Have is 0 when nothing newer is known
	Source     string       // where it was looked for
	Reason     string       // more about why; may be empty
}

func (e *GapError) Error() string {
	s := fmt.Sprintf("%s has no entry %d", e.Source, e.Want)
	if e.Have != 0 {
		s = fmt.Sprintf("%s has no entries %d to %d (next is %d)", e.Source, e.Want, e.Have-1, e.Have)
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// Is makes errors.Is(err, ErrGap) true.
func (e *GapError) Is(target error) bool { return target == ErrGap }

// ErrDiverged is what a *DivergedError is.
var ErrDiverged = errors.New("the primary has another history")

// DivergedError is returned when a source shows another entry of a version
// that is known already: the primary was restored from an older state, or two
// files belong to different histories. Nothing of that source may be used
// before a new base image and a new epoch.
type DivergedError struct {
	Version meta.Version
	Known   []byte // text known before; nil when only its hash was kept
	Seen    []byte // text seen now; nil when the primary is behind Version
	Source  string // where Seen was
	Reason  string // used instead of the texts if not empty
}

func (e *DivergedError) Error() string {
	switch {
	case e.Reason != "":
		return fmt.Sprintf("%s: entry %d: %s", e.Source, e.Version, e.Reason)
	case e.Known == nil:
		return fmt.Sprintf("%s: entry %d is %q, not what was read before", e.Source, e.Version, e.Seen)
	}
	return fmt.Sprintf("%s: entry %d is %q, but was %q before", e.Source, e.Version, e.Seen, e.Known)
}

// Is makes errors.Is(err, ErrDiverged) true.
func (e *DivergedError) Is(target error) bool { return target == ErrDiverged }

// ErrRestarted is what a *RestartedError is.
var ErrRestarted = errors.New("the primary was restarted")

// RestartedError is returned after the entries before Version when the primary
// has loaded its metadata at that version from a file since. A master forgets at
// that, without an entry, what it does not store: above all sessions that their
// clients had just closed, with all they had open. Following goes on only from
// that file, or a newer one.
type RestartedError struct {
	Version meta.Version
	Source  string
}

func (e *RestartedError) Error() string {
	return fmt.Sprintf("%s: %v from its metadata at version %d; it has forgotten what it does not store, such as sessions just closed", e.Source, ErrRestarted, e.Version)
}

// Is makes errors.Is(err, ErrRestarted) true.
func (e *RestartedError) Is(target error) bool { return target == ErrRestarted }

// ErrUpgraded is what an *UpgradedError is.
var ErrUpgraded = errors.New("the primary was upgraded")

// UpgradedError is returned when a primary has become one of another release:
// what it writes from then on can mean something else, and following goes on
// only from metadata that the new release stored.
type UpgradedError struct {
	From, To meta.Release // families
	Source   string
}

func (e *UpgradedError) Error() string {
	return fmt.Sprintf("%s: %v from MooseFS %s to %s", e.Source, ErrUpgraded, family(e.From), family(e.To))
}

// Is makes errors.Is(err, ErrUpgraded) true.
func (e *UpgradedError) Is(target error) bool { return target == ErrUpgraded }

// family is "1.6" of 1.6.0.
func family(r meta.Release) string {
	if r == 0 {
		return "another release"
	}
	return fmt.Sprintf("%d.%d", r>>16, r>>8&0xFF)
}

// ErrMetaID is returned when the primary belongs to another cluster.
var ErrMetaID = errors.New("the primary has another metaid")

// Kind tells what an Event is about.
type Kind uint8

// Kinds of event. An Event's Err and Text say more.
const (
	Connected    Kind = iota // to the primary; Text has its address and release
	Disconnected             // Err says why; the source reconnects by itself
	Following                // Version is the next entry; everything before is queued
	Rotated                  // the primary rotates its changelog files
	Downloading              // Done of Size bytes of the file named by Text
	Retrying                 // a download did not fit together or broke; Err says why
	Overflow                 // entries were received faster than they were taken; Err says more
	Unverified               // the entry before Version could not be compared with the primary's
	Truncated                // a followed file (Text) became shorter; it is read from its start
	Lost                     // following ended: Err is a gap, divergence or another cluster
	Restarted                // following ended: Err is a *RestartedError
)

var kindNames = [...]string{"connected", "disconnected", "following", "rotated", "downloading",
	"retrying", "overflow", "unverified", "truncated", "lost", "restarted"}

func (k Kind) String() string { return kindNames[k] }

// Event is something an operator may want to know. Which fields are set
// depends on Kind.
type Event struct {
	Kind       Kind
	Text       string
	Version    meta.Version
	Done, Size uint64
	Err        error
}

// batcher builds one Batch after the other in the same memory.
type batcher struct {
	entries []Entry
	buf     []byte
}

func (b *batcher) reset() { b.entries, b.buf = b.entries[:0], b.buf[:0] }

// full tells whether a Batch may not get another entry of n bytes.
func (b *batcher) full(n int) bool {
	return len(b.entries) >= MaxBatchEntries || len(b.entries) > 0 && len(b.buf)+n > MaxBatchBytes
}

// add copies e. A buffer that grows leaves the earlier texts where they were.
func (b *batcher) add(e Entry) {
	if cap(b.buf)-len(b.buf) < len(e.Text) {
		b.buf = make([]byte, 0, max(MaxBatchBytes, len(e.Text)))
	}
	at := len(b.buf)
	b.buf = append(b.buf, e.Text...)
	b.entries = append(b.entries, Entry{Version: e.Version, Text: b.buf[at:len(b.buf):len(b.buf)]})
}
