// Package spool keeps raw changelog entries on disk between the tap and the
// stream, in order and bounded: so that a stream that stalls does not hold back
// the primary, and so that what was received and not published yet is not lost
// with the process.
//
// Invariants:
//
//   - Entries are contiguous. What Append refuses or fails to store is not
//     there at all.
//   - After a crash, a kill or a loss of power the spool has every entry that
//     was synced, and of the others the first ones, if any. Anything else it
//     finds is an error that names file and offset.
//   - Each block has a CRC and the hash chain over all entries since history
//     began (fence.Chain, the same as in the stream); every reader checks both.
//
// The replicator appends what a tap.Source yields, reads it for publishing, and
// trims what is published.
package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/fence"
	"mfsstandby/replicator/tap"
)

// ErrFull is returned by Append when the spool has reached Config.Max. Nothing
// of the batch was stored; Trim makes room.
var ErrFull = errors.New("spool is full")

// ErrEmpty is returned when the spool has no history yet: Reset begins one.
var ErrEmpty = errors.New("spool has no history yet")

// ErrReset is returned to a Reader whose history was dropped by Reset.
var ErrReset = errors.New("spool was reset")

// DamageError tells that a file of the spool is not as it was written. The
// entries from Version on have to be had from the primary again, after Reset
// at the version up to which they are in the stream.
type DamageError struct {
	File    string
	Offset  int64
	Version meta.Version // first entry that is lost; 0 if not even that is known
	Err     error
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s is damaged at offset %d (entry %d on): %v; remove the spool to fetch what is missing from the primary again", e.File, e.Offset, e.Version, e.Err)
}

func (e *DamageError) Unwrap() error { return e.Err }

// Mode says when entries are put on disk for good.
type Mode uint8

const (
	SyncAlways   Mode = iota // before Append returns
	SyncInterval             // when the caller calls Sync
)

// Config says where and how large a spool is.
type Config struct {
	Dir     string // is made if it does not exist
	Max     int64  // bytes on disk; at least 4 MiB, default 4 GiB
	Segment int64  // bytes of a file; default a quarter of Max, at most 64 MiB
	Mode    Mode
	FS      FS // nil: Dir of the operating system
}

// Validate fills in defaults.
func (c *Config) Validate() error {
	if c.Max == 0 {
		c.Max = 4 << 30
	}
	if c.Segment == 0 {
		c.Segment = min(c.Max/4, 64<<20)
	}
	switch {
	case c.Max < 4<<20:
		return fmt.Errorf("spool of %d bytes is smaller than 4 MiB", c.Max)
	case c.Segment < 4096 || c.Segment > c.Max/2:
		return fmt.Errorf("segments of %d bytes do not fit a spool of %d: 4096 to half of it are possible", c.Segment, c.Max)
	case c.Mode > SyncInterval:
		return fmt.Errorf("sync mode %d does not exist", c.Mode)
	case c.Dir == "" && c.FS == nil:
		return errors.New("directory of the spool is not set")
	}
	return nil
}

// Start says which history a spool holds, from where.
type Start struct {
	MetaID uint64
	Epoch  fence.Epoch  // in which it began; for information
	Next   meta.Version // first entry
	Chain  fence.Chain  // before that entry, as in the stream
}

// Spool is the queue. Append and Reset are for one goroutine; the other
// methods, and Readers, for any.
type Spool struct {
	cfg  Config
	fs   FS
	lock io.Closer

	// Of the goroutine that appends.
	buf []byte

	mu      sync.Mutex
	segs    []*segment // oldest first; the last one is written
	next    meta.Version
	chain   fence.Chain
	last    []byte        // text of entry next-1; nil if there is none
	durable meta.Version  // entries below are on disk for good
	bytes   int64         // of all segments
	changed chan struct{} // closed when any of this changes
	moved   int           // counts Resets
	err     error         // after a failure that left a file in an unknown state, and after Close
}

// Open opens the spool in a directory. It cuts off what a crash left unfinished
// at its end, and returns a *DamageError for anything else that is wrong.
func Open(cfg Config) (*Spool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Spool{cfg: cfg, fs: cfg.FS, changed: make(chan struct{})}
	if s.fs == nil {
		if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
			return nil, err
		}
		s.fs = dirFS(cfg.Dir)
	}
	var err error
	if s.lock, err = s.fs.Lock(); err != nil {
		return nil, fmt.Errorf("opening spool: %w", err)
	}
	if err := s.open(); err != nil {
		s.Close()
		return nil, fmt.Errorf("opening spool: %w", err)
	}
	return s, nil
}

// Position is where a spool ends.
type Position struct {
	First   Start        // the oldest entry
	End     meta.Version // the entry that Append wants next
	Chain   fence.Chain  // before it
	Last    []byte       // text of entry End-1; nil if the spool has none
	Durable meta.Version // entries below are on disk for good
	Bytes   int64        // on disk
}

// Position returns where the spool ends. It returns ErrEmpty when there is no
// history.
func (s *Spool) Position() (Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segs) == 0 {
		return Position{}, ErrEmpty
	}
	return Position{First: s.segs[0].start, End: s.next, Chain: s.chain, Last: slices.Clone(s.last), Durable: s.durable, Bytes: s.bytes}, nil
}

// Append stores a batch. Readers see it as soon as it is written; with
// SyncAlways it is on disk for good when Append returns.
//
// After ErrFull, and after an error of the disk that could be undone, nothing
// was stored and Append may be tried again. After any other error the Spool
// has to be closed and opened again.
func (s *Spool) Append(b tap.Batch) error {
	if len(b.Entries) == 0 {
		return nil
	}
	for i, e := range b.Entries {
		if e.Version != b.Entries[0].Version+meta.Version(i) {
			return fmt.Errorf("batch has entry %d out of order", e.Version)
		}
	}
	seg, err := s.ready(b.Entries)
	if err != nil {
		return err
	}
	s.mu.Lock()
	chain, synced := s.chain, seg.synced
	s.mu.Unlock()
	s.buf = s.buf[:0]
	for rest := b.Entries; len(rest) > 0; {
		s.buf, rest, chain = appendBlock(s.buf, rest, b.Received, synced, chain)
	}
	if _, err := seg.file.WriteAt(s.buf, seg.size); err != nil {
		return s.undo(seg, err)
	}
	s.publish(seg, b.Entries, chain)
	if s.cfg.Mode == SyncAlways {
		return s.Sync()
	}
	return nil
}

// ready returns the segment that has room for a batch.
func (s *Spool) ready(entries []tap.Entry) (*segment, error) {
	n := int64(0) // at most this is needed
	for _, e := range entries {
		n += int64(len(e.Text)) + 3
	}
	n += (n/maxBlock + 1) * 2 * blockSize
	s.mu.Lock()
	err, segs, next, room := s.err, s.segs, s.next, s.cfg.Max-s.bytes
	s.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case len(segs) == 0:
		return nil, ErrEmpty
	case entries[0].Version != next:
		return nil, fmt.Errorf("spool is at version %d, the batch begins with entry %d", next, entries[0].Version)
	case n+headerSize > room:
		return nil, fmt.Errorf("%w: %d bytes are allowed", ErrFull, s.cfg.Max)
	}
	seg := segs[len(segs)-1]
	if seg.size+n <= s.cfg.Segment || seg.size == headerSize {
		return seg, nil
	}
	return s.roll(seg)
}

func (s *Spool) publish(seg *segment, entries []tap.Entry, chain fence.Chain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, n := entries[len(entries)-1], int64(len(s.buf))
	s.next, s.chain, s.last = e.Version+1, chain, append(s.last[:0], e.Text...)
	seg.size, seg.next = seg.size+n, s.next
	s.bytes += n
	s.wake()
}

// wake tells all who wait that something changed.
func (s *Spool) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// undo takes back a write that failed.
func (s *Spool) undo(seg *segment, cause error) error {
	cause = fmt.Errorf("writing %s: %w", s.fs.Path(seg.name), cause)
	if err := seg.file.Truncate(seg.size); err != nil {
		return s.fail(fmt.Errorf("%w (and taking it back: %w)", cause, err))
	}
	return cause
}

// fail makes err the Spool's error.
func (s *Spool) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = fmt.Errorf("spool has to be opened again: %w", err)
		s.wake()
	}
	return s.err
}

// roll ends the segment that is written and begins another. The old one is on
// disk before the new one exists, so a crash can only tear the newest.
func (s *Spool) roll(old *segment) (*segment, error) {
	if err := s.Sync(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	start := old.start
	start.Next, start.Chain = s.next, s.chain
	s.mu.Unlock()
	return s.create(old.number+1, start, false)
}

// create makes a new segment, which is written from then on.
func (s *Spool) create(number uint64, start Start, begins bool) (*segment, error) {
	seg := &segment{number: number, name: segmentName(number), start: start, begins: begins, size: headerSize, next: start.Next}
	var err error
	if seg.file, err = s.fs.Create(seg.name); err != nil {
		return nil, fmt.Errorf("creating a segment of the spool: %w", err)
	}
	if _, err := seg.file.WriteAt(appendHeader(nil, start, begins), 0); err != nil {
		err = fmt.Errorf("writing %s: %w", s.fs.Path(seg.name), err)
		seg.file.Close()
		if e := s.fs.Remove(seg.name); e != nil {
			return nil, s.fail(errors.Join(err, e))
		}
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segs = append(s.segs, seg)
	s.bytes += headerSize
	return seg, nil
}

// Sync puts all that was appended on disk for good.
func (s *Spool) Sync() error {
	s.mu.Lock()
	if s.err != nil || len(s.segs) == 0 {
		defer s.mu.Unlock()
		return s.err
	}
	seg := s.segs[len(s.segs)-1]
	size, next, named, synced := seg.size, seg.next, seg.synced > 0, seg.synced
	s.mu.Unlock()
	if synced == size {
		return nil
	}
	err := seg.file.Sync()
	if err == nil && !named {
		err = s.fs.Sync()
	}
	s.mu.Lock()
	if seg.synced >= size { // another Sync did it, and the file may be gone
		defer s.mu.Unlock()
		return nil
	}
	if err != nil {
		s.mu.Unlock()
		// The system may have dropped what it could not write.
		return s.fail(fmt.Errorf("syncing %s: %w", s.fs.Path(seg.name), err))
	}
	defer s.mu.Unlock()
	seg.synced = size
	s.durable = max(s.durable, next)
	s.wake()
	return nil
}

// Trim removes what is not needed any more: segments whose entries are all
// below version v. The entry before End is always kept.
func (s *Spool) Trim(v meta.Version) error {
	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return s.err
	}
	n := 0
	for n+1 < len(s.segs) && s.segs[n+1].start.Next <= min(v, s.durable-1) {
		n++
	}
	old := slices.Clone(s.segs[:n])
	s.segs = slices.Clone(s.segs[n:])
	for _, seg := range old {
		s.bytes -= seg.size
		seg.removed = true
	}
	if n > 0 {
		s.wake()
	}
	s.mu.Unlock()
	return s.discard(old)
}

// discard removes segments, oldest first and each for good before the next, so
// that a crash leaves no hole.
func (s *Spool) discard(old []*segment) error {
	for _, seg := range old {
		seg.file.Close()
		if err := errors.Join(s.fs.Remove(seg.name), s.fs.Sync()); err != nil {
			return s.fail(fmt.Errorf("removing a segment of the spool: %w", err))
		}
	}
	return nil
}

// Reset drops what the spool has and begins a history. It is on disk when
// Reset returns; after a crash either the old history is there or the new one.
func (s *Spool) Reset(start Start) error {
	if start.Next == 0 {
		return errors.New("a history cannot begin with entry 0")
	}
	// A crash must find the old history whole as long as the new one is torn.
	if err := s.Sync(); err != nil {
		return err
	}
	s.mu.Lock()
	old, err := s.segs, s.err
	number := uint64(1)
	if n := len(old); n > 0 {
		number = old[n-1].number + 1
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	seg, err := s.create(number, start, true)
	if err != nil {
		return err
	}
	if err := s.Sync(); err != nil {
		return err
	}
	s.mu.Lock()
	s.segs = []*segment{seg}
	s.next, s.chain, s.last, s.durable, s.bytes = start.Next, start.Chain, nil, start.Next, seg.size
	for _, seg := range old {
		seg.removed = true
	}
	s.moved++
	s.wake()
	s.mu.Unlock()
	return s.discard(old)
}

// WaitRoom waits until the spool's size is at most its maximum less n bytes:
// after ErrFull.
func (s *Spool) WaitRoom(ctx context.Context, n int64) error {
	for {
		s.mu.Lock()
		room, err, changed := s.cfg.Max-s.bytes, s.err, s.changed
		s.mu.Unlock()
		if err != nil || room >= n {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// Close closes the files. It does not sync: call Sync before.
func (s *Spool) Close() error {
	s.mu.Lock()
	segs := s.segs
	if s.err == nil {
		s.err = os.ErrClosed
	}
	s.wake()
	s.mu.Unlock()
	var errs []error
	for _, seg := range segs {
		errs = append(errs, seg.file.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
		s.lock = nil
	}
	return errors.Join(errs...)
}

// received turns what a block has into a time.
func received(ns int64) time.Time { return time.Unix(0, ns) }
