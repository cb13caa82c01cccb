package spool

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"mfsstandby/replicator/fence"
)

// open finds the segments, and repairs the end of the newest.
func (s *Spool) open() error {
	names, err := s.fs.List()
	if err != nil {
		return err
	}
	for _, name := range names {
		number, ok := segmentNumber(name)
		if !ok {
			continue
		}
		file, err := s.fs.Open(name)
		if err != nil {
			return err
		}
		s.segs = append(s.segs, &segment{number: number, name: name, file: file})
	}
	slices.SortFunc(s.segs, func(a, b *segment) int { return int(int64(a.number) - int64(b.number)) })
	torn, err := s.headers()
	if err != nil {
		return err
	}
	if len(s.segs) == 0 {
		return nil
	}
	if err := s.dropVoid(); err != nil {
		return err
	}
	return s.end(torn)
}

// headers reads those of all segments. One of the newest segment that was
// never on disk is torn: the segment is removed.
func (s *Spool) headers() (torn bool, err error) {
	for i, seg := range s.segs {
		size, err := seg.file.Size()
		if err != nil {
			return false, err
		}
		head := make([]byte, min(headerSize, size))
		if _, err := seg.file.ReadAt(head, 0); err != nil && err != io.EOF {
			return false, err
		}
		seg.start, seg.begins, err = parseHeader(head)
		if err == nil {
			if i > 0 && seg.number != s.segs[i-1].number+1 && !seg.begins {
				return false, s.damage(seg, 0, fmt.Errorf("%s is missing", s.fs.Path(segmentName(seg.number-1))))
			}
			seg.size, seg.synced = size, size
			continue
		}
		if synced, e := syncedBehind(seg.file, 0); e != nil || i+1 < len(s.segs) || synced > 0 {
			return false, errors.Join(s.damage(seg, 0, err), e)
		}
		seg.file.Close()
		s.segs = s.segs[:i]
		if err := s.fs.Remove(seg.name); err != nil {
			return false, err
		}
		return true, s.fs.Sync()
	}
	return false, nil
}

// dropVoid removes what is older than the newest beginning of history: a crash
// interrupted Reset.
func (s *Spool) dropVoid() error {
	n := 0
	for i, seg := range s.segs {
		if seg.begins {
			n = i
		}
	}
	// The new history must be there for good before the old one goes.
	if n > 0 {
		if err := errors.Join(s.segs[n].file.Sync(), s.fs.Sync()); err != nil {
			return err
		}
	}
	old := s.segs[:n:n]
	s.segs = slices.Clone(s.segs[n:])
	return s.discard(old)
}

// end finds where the newest segment ends, and with it the spool. strict: a
// newer one was torn, so this one has been on disk as a whole.
func (s *Spool) end(strict bool) error {
	for i, seg := range s.segs {
		s.bytes += seg.size
		if i > 0 {
			s.segs[i-1].next = seg.start.Next
		}
	}
	seg := s.segs[len(s.segs)-1]
	r, err := scanSegment(seg.file, seg.start)
	if err != nil {
		return err
	}
	if r.bad != nil {
		synced, err := syncedBehind(seg.file, r.size)
		if err != nil {
			return err
		}
		if strict || synced > r.size {
			return s.damage(seg, r.size, r.bad)
		}
		if err := seg.file.Truncate(r.size); err != nil {
			return err
		}
		s.bytes -= seg.size - r.size
		seg.size = r.size
	}
	// What is here may not be on disk: it came from a process that was killed.
	if err := errors.Join(seg.file.Sync(), s.fs.Sync()); err != nil {
		return err
	}
	seg.next, seg.synced = r.next, r.size
	s.next, s.chain, s.last, s.durable = r.next, r.chain, r.last, r.next
	if n := len(s.segs); s.last == nil && n > 1 {
		return s.lastOf(s.segs[n-2], seg.start.Chain)
	}
	return nil
}

// lastOf takes the last entry from the segment before an empty one.
func (s *Spool) lastOf(seg *segment, chain fence.Chain) error {
	r, err := scanSegment(seg.file, seg.start)
	if err != nil {
		return err
	}
	if r.bad == nil && (r.next != seg.next || r.chain != chain) {
		r.bad = errOrder
	}
	if r.bad != nil {
		return s.damage(seg, r.size, r.bad)
	}
	s.last = r.last
	return nil
}

func (s *Spool) damage(seg *segment, offset int64, err error) error {
	return &DamageError{File: s.fs.Path(seg.name), Offset: offset, Version: seg.start.Next, Err: err}
}
