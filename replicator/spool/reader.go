package spool

import (
	"context"
	"fmt"
	"io"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/fence"
	"mfsstandby/replicator/tap"
)

// readSize is how much a Reader reads at once; larger blocks are possible.
const readSize = 1 << 20

// Reader yields what is in a Spool, from some entry on, and waits for more. It
// is for one goroutine; many Readers may be there.
type Reader struct {
	s       *Spool
	moved   int
	seg     *segment
	off     int64 // in seg, of what is behind buf[hi]
	buf     []byte
	lo, hi  int // what of buf was read and not given out
	next    meta.Version
	from    meta.Version // first entry wanted
	chain   fence.Chain
	entries []tap.Entry
	err     error
}

// Read returns a Reader that yields entries from version from on. It returns a
// *tap.GapError if the spool begins later, and ErrEmpty if it has no history.
func (s *Spool) Read(from meta.Version) (*Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return nil, s.err
	case len(s.segs) == 0:
		return nil, ErrEmpty
	case from < s.segs[0].start.Next:
		return nil, &tap.GapError{Want: from, Have: s.segs[0].start.Next, Source: "spool"}
	case from > s.next:
		return nil, fmt.Errorf("spool is at version %d, entry %d is to be read", s.next, from)
	}
	i := len(s.segs) - 1
	for s.segs[i].start.Next > from {
		i--
	}
	r := &Reader{s: s, moved: s.moved, from: from, buf: make([]byte, readSize)}
	r.enter(s.segs[i])
	return r, nil
}

// enter begins a segment.
func (r *Reader) enter(seg *segment) {
	r.seg, r.off, r.lo, r.hi = seg, headerSize, 0, 0
	r.next, r.chain = seg.start.Next, seg.start.Chain
}

// Next returns the next entries, waiting until there are some. A batch holds at
// most as many as are allowed for one of the tap's, and is valid until the
// next call. The error is ErrReset, a *DamageError, the Spool's or ctx's; all
// but ctx's stick.
func (r *Reader) Next(ctx context.Context) (tap.Batch, error) {
	for r.err == nil {
		if err := ctx.Err(); err != nil {
			return tap.Batch{}, err
		}
		if r.lo < r.hi {
			b, err := r.blocks()
			if len(b.Entries) > 0 {
				r.err = err // the next call's
				return b, nil
			}
			if err != nil {
				r.err = err
				break
			}
		}
		if err := r.more(ctx); err != nil {
			if ctx.Err() != nil {
				return tap.Batch{}, ctx.Err()
			}
			r.err = err
		}
	}
	return tap.Batch{}, r.err
}

// more reads on, or waits until there is more to read.
func (r *Reader) more(ctx context.Context) error {
	s := r.s
	s.mu.Lock()
	size, changed, err := r.seg.size, s.changed, s.err
	var follower *segment
	if err == nil && s.moved != r.moved {
		err = ErrReset
	}
	if err == nil && r.off == size {
		follower, err = r.follower()
	}
	s.mu.Unlock()
	switch {
	case err != nil:
		return err
	case r.off < size:
		return r.fill(size)
	case follower != nil:
		if r.lo < r.hi || r.next != follower.start.Next || r.chain != follower.start.Chain {
			return r.damage(r.off-int64(r.hi-r.lo), errOrder)
		}
		r.enter(follower)
		return nil
	}
	if r.lo < r.hi {
		return r.damage(r.off-int64(r.hi-r.lo), errShort)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
		return nil
	}
}

// follower returns the segment after the present one, nil if that is the
// newest.
func (r *Reader) follower() (*segment, error) {
	segs := r.s.segs
	for i, seg := range segs {
		if seg.number == r.seg.number+1 {
			return seg, nil
		}
		if i == 0 && seg.number > r.seg.number {
			return nil, &tap.GapError{Want: r.next, Have: seg.start.Next, Source: "spool", Reason: "it was trimmed"}
		}
	}
	return nil, nil
}

// fill reads what follows in the segment.
func (r *Reader) fill(size int64) error {
	r.hi = copy(r.buf, r.buf[r.lo:r.hi])
	r.lo = 0
	if r.hi == len(r.buf) { // one block is larger
		r.buf = append(r.buf, make([]byte, len(r.buf))...)
	}
	n, err := r.seg.file.ReadAt(r.buf[r.hi:min(int64(len(r.buf)), int64(r.hi)+size-r.off)], r.off)
	r.hi += n
	r.off += int64(n)
	if err != nil && (err != io.EOF || n == 0) {
		if r.trimmed() {
			return &tap.GapError{Want: r.next, Source: "spool", Reason: "it was trimmed"}
		}
		return fmt.Errorf("reading %s at offset %d: %w", r.s.fs.Path(r.seg.name), r.off, err)
	}
	return nil
}

func (r *Reader) trimmed() bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.seg.removed
}

// blocks gives out whole blocks of what was read.
func (r *Reader) blocks() (tap.Batch, error) {
	batch, size := tap.Batch{}, 0
	r.entries = r.entries[:0]
	for r.lo < r.hi {
		b, err := parseBlock(r.buf[r.lo:r.hi])
		if err == errShort && b.length <= maxPayload {
			break // more has to be read
		}
		at := r.off - int64(r.hi-r.lo)
		if err == nil && b.first != r.next {
			err = errOrder
		}
		if err != nil {
			return r.cut(batch), r.damage(at, err)
		}
		n := len(r.entries)
		if n > 0 && (n+b.count > tap.MaxBatchEntries || size+b.length > tap.MaxBatchBytes) {
			break
		}
		payload := r.buf[r.lo+blockSize : r.lo+b.size()]
		var chain fence.Chain
		if r.entries, chain, err = b.entries(r.entries, payload, r.chain); err != nil {
			r.entries = r.entries[:n]
			return r.cut(batch), r.damage(at, err)
		}
		if n == 0 {
			batch.Received = received(b.received)
		}
		r.chain, r.next, r.lo, size = chain, r.next+meta.Version(b.count), r.lo+b.size(), size+b.length
		if r.next <= r.from { // all of it is before what is wanted
			r.entries, size = r.entries[:0], 0
		}
	}
	return r.cut(batch), nil
}

// cut makes a batch of the entries that are wanted.
func (r *Reader) cut(batch tap.Batch) tap.Batch {
	batch.Entries = r.entries
	for len(batch.Entries) > 0 && batch.Entries[0].Version < r.from {
		batch.Entries = batch.Entries[1:]
	}
	return batch
}

func (r *Reader) damage(offset int64, err error) error {
	return &DamageError{File: r.s.fs.Path(r.seg.name), Offset: offset, Version: r.next, Err: err}
}
