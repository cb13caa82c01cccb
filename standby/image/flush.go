package image

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
)

// flush is one writing of changed pages to the store. The writer only makes the
// list of pages and works on; a goroutine encodes them, and a second one writes
// what is encoded. A page that the writer wants to change before its turn came,
// it encodes itself first (table.capture), so that what is written is the state
// when the flush began.
type flush struct {
	ts    uint64
	root  *root // what to commit, its digest without that of the pages; nil if the flush is no commit
	bulk  *bulk // for the first flush of a new image, else nil
	early encoded
	keys  uint64
	bytes uint64
	diff  Sum           // of the digest
	ended chan struct{} // closed when it is written, or failed
}

// encoded is encoded pages, and how they change the digest.
type encoded struct {
	flushBatch
	diff Sum
}

// chunkSize is how many encoded bytes are written at a time, about.
const chunkSize = 2 << 20

// chunksAhead is how many may wait to be written.
const chunksAhead = 2

// Whether a page waits for a flush; see table.capture.
const (
	notWaiting = iota
	waiting    // the flush has not come to it
	encoding   // the flush, or the writer, is at it
)

// begin lists the pages of a flush: all dirty ones, or those that have not been
// changed since a generation.
func (c *core) begin(f *flush, before uint32) {
	c.settle()
	for _, t := range c.tables {
		t.queue(f, before)
	}
}

// encode encodes the pages listed by begin, and those that the writer came for
// first. emit takes a full batch and returns an empty one.
func (f *flush) encode(c *core, emit func(*encoded) *encoded) {
	out := emit(nil)
	next := func() {
		f.keys += uint64(len(out.keys))
		f.bytes += uint64(len(out.arena))
		f.diff = f.diff.plus(out.diff)
		out = emit(out)
	}
	for _, t := range c.tables {
		for !t.encodeQueued(&out.flushBatch, &out.diff) {
			next()
		}
	}
	next()
	out = &f.early // complete: no page waits any more
	next()
}

// write makes a flush durable.
func (img *Image) write(f *flush) error {
	full, empty := make(chan *encoded, chunksAhead), make(chan *encoded, chunksAhead)
	for range chunksAhead {
		empty <- &encoded{}
	}
	go func() {
		defer close(full)
		f.encode(img.core, func(out *encoded) *encoded {
			if out != nil {
				full <- out
			}
			if out == &f.early {
				return nil
			}
			return <-empty
		})
	}()
	var err error
	for out := range full {
		if f.bulk != nil && out == &f.early {
			err = f.bulk.end(err) // what is left is in no order
			f.bulk = nil
		}
		switch {
		case err != nil || len(out.keys) == 0:
		case f.bulk != nil:
			err = f.bulk.write(&out.flushBatch, f.ts)
		default:
			err = writeBatch(img.db, &out.flushBatch, f.ts)
		}
		if out != &f.early {
			out.reset()
			out.diff = Sum{}
			empty <- out
		}
	}
	if err == nil && f.root != nil {
		err = syncLogs(img.cfg.Dir) // of the flushes since the last commit, too
	}
	if err != nil {
		return fmt.Errorf("writing to image %s: %w", img.cfg.Dir, err)
	}
	if f.root == nil {
		return nil
	}
	if img.cfg.SyncLog != nil {
		if err := img.cfg.SyncLog(); err != nil {
			return fmt.Errorf("committing to image %s: %w", img.cfg.Dir, err)
		}
	}
	f.root.digest = f.root.digest.plus(f.diff)
	if err := writeRoot(img.db, img.cfg.Dir, f.root); err != nil {
		return fmt.Errorf("committing to image %s: %w", img.cfg.Dir, err)
	}
	return nil
}

// queue lists the dirty pages for a flush, or of them those not changed since
// generation before; they are clean then.
func (t *table[P]) queue(f *flush, before uint32) {
	kept := t.dirty[:0]
	for _, p := range t.dirty {
		if p.gen >= before {
			kept = append(kept, p)
			continue
		}
		p.dirty = false
		*t.dirtyMem -= int64(p.mem)
		p.flushing = f.ts
		t.last = max(t.last, p.key)
		p.wait.Store(waiting)
		t.queued = append(t.queued, p)
	}
	clear(t.dirty[len(kept):])
	t.dirty = kept
	t.early = &f.early
	if f.bulk != nil {
		slices.SortFunc(t.queued, func(a, b *page[P]) int { return cmp.Compare(a.key, b.key) })
	}
}

// encodeQueued encodes the pages that wait; false means that out is full and
// there are more.
func (t *table[P]) encodeQueued(out *flushBatch, diff *Sum) bool {
	for t.at < len(t.queued) {
		if len(out.arena) >= chunkSize {
			return false
		}
		p := t.queued[t.at]
		t.queued[t.at] = nil
		t.at++
		switch {
		case p.wait.CompareAndSwap(waiting, encoding):
			if t.encodePage(p, out, diff) && t.resident {
				t.emptying = append(t.emptying, p)
			}
			p.wait.Store(notWaiting)
		default:
			for p.wait.Load() != notWaiting {
				runtime.Gosched() // the writer is at it
			}
		}
	}
	t.queued, t.at = t.queued[:0], 0
	return true
}

// capture keeps for the running flush what a page holds now, before the writer
// changes it.
func (t *table[P]) capture(p *page[P]) {
	if p.wait.CompareAndSwap(waiting, encoding) {
		t.encodePage(p, &t.early.flushBatch, &t.early.diff)
		p.wait.Store(notWaiting)
		return
	}
	for p.wait.Load() != notWaiting {
		runtime.Gosched()
	}
}

// encodePage tells whether the page is empty.
func (t *table[P]) encodePage(p *page[P], out *flushBatch, diff *Sum) (empty bool) {
	start := len(out.arena)
	out.arena = t.encode(&p.val, out.arena)
	empty = len(out.arena) == start
	if !empty || p.stored {
		out.add(t.prefix, p.key, start)
	}
	p.stored = !empty
	sum := t.digest(p.key, &p.val)
	*diff = diff.plus(sum).minus(p.sum)
	p.sum = sum
	return empty
}

// flushed takes note of the end of a flush.
func (t *table[P]) flushed() {
	t.emptied = append(t.emptied, t.emptying...)
	clear(t.emptying)
	t.emptying = t.emptying[:0]
}
