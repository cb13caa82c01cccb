package tap

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"mfsstandby/changelog/meta"
)

// errOverflow ends a connection whose entries nobody takes.
var errOverflow = errors.New("entries are received faster than they are taken")

// chunk is a run of received entries.
type chunk struct {
	batcher
	received time.Time // of the first
}

// chunkCost is the memory a chunk holds.
const chunkCost = MaxBatchBytes + MaxBatchEntries*32

// newChunk returns an empty chunk with all the memory it will need.
func newChunk() *chunk {
	return &chunk{batcher: batcher{entries: make([]Entry, 0, MaxBatchEntries), buf: make([]byte, 0, MaxBatchBytes)}}
}

// piece is what Next hands on at once or, if it is a run of files, over
// several calls.
type piece struct {
	chunk *chunk
	files *fileRun
}

// queue is what lies between the socket and Next. Its memory is bounded.
//
// What comes over a new connection is held back until it is known to follow
// what was queued before; then it is released.
type queue struct {
	max  int64         // bytes of memory
	wake chan struct{} // something was queued, or err was set; capacity 1
	room chan struct{} // half of the memory is free again; capacity 1

	mu       sync.Mutex
	pieces   []piece
	held     []*chunk
	holding  bool
	heldNext meta.Version // version that must come next over this connection; 0: any
	bytes    int64        // of pieces and held
	free     []*chunk     // at most two, to be used again
	next     meta.Version // follows the last entry of pieces
	last     []byte       // its text; nil: not known
	err      error        // what Next returns after pieces
	closed   bool
}

func newQueue(max int64, next meta.Version, last []byte) *queue {
	return &queue{max: max, wake: make(chan struct{}, 1), room: make(chan struct{}, 1), next: next, last: bytes.Clone(last)}
}

// close drops everything; what is queued later is dropped at once.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range q.pieces {
		if p.files != nil {
			p.files.close()
		}
	}
	q.pieces, q.held, q.bytes, q.closed = nil, nil, 0, true
}

// position returns where the next connection has to continue; err is set when
// there must be none.
func (q *queue) position() (next meta.Version, last []byte, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.next, bytes.Clone(q.last), q.err
}

// hold begins a new connection.
func (q *queue) hold() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropHeld()
	q.holding, q.heldNext = true, 0
}

func (q *queue) dropHeld() {
	q.bytes -= int64(len(q.held)) * chunkCost
	q.held = nil
}

// add appends an entry received over the present connection; signal has to be
// called after some. It returns errOverflow, or an error when the version does
// not follow.
func (q *queue) add(v meta.Version, text []byte, now time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	want := q.heldNext
	if !q.holding {
		want = q.next
	}
	if q.closed {
		return errors.New("entries are not wanted any more")
	}
	if want != 0 && v != want {
		return fmt.Errorf("the primary sent entry %d where %d was due", v, want)
	}
	c, err := q.tail(len(text))
	if err != nil {
		return err
	}
	if len(c.entries) == 0 {
		c.received = now
	}
	c.add(Entry{Version: v, Text: text})
	if q.holding {
		q.heldNext = v + 1
	} else {
		q.next, q.last = v+1, append(q.last[:0], text...)
	}
	return nil
}

// tail returns the chunk that the next entry, of n bytes, goes to.
func (q *queue) tail(n int) (*chunk, error) {
	var c *chunk
	if q.holding && len(q.held) > 0 {
		c = q.held[len(q.held)-1]
	} else if !q.holding && len(q.pieces) > 0 {
		c = q.pieces[len(q.pieces)-1].chunk
	}
	if c != nil && !c.full(n) {
		return c, nil
	}
	if k := len(q.free); k > 0 {
		c, q.free = q.free[k-1], q.free[:k-1]
	} else {
		c = newChunk()
	}
	if q.bytes+chunkCost > q.max {
		if !q.holding || len(q.held) == 0 {
			return nil, fmt.Errorf("%w: %d MiB wait", errOverflow, q.bytes>>20)
		}
		// What is held can be had from the primary's files as well.
		q.dropHeld()
	}
	q.bytes += chunkCost
	if q.holding {
		q.held = append(q.held, c)
	} else {
		q.pieces = append(q.pieces, piece{chunk: c})
	}
	return c, nil
}

// heldRange returns the first version held, and the one after the last. Both
// are 0 when nothing is held.
func (q *queue) heldRange() (first, end meta.Version) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.held) == 0 {
		return 0, 0
	}
	return q.held[0].entries[0].Version, q.heldNext
}

// heldCursor returns what is held at the moment.
func (q *queue) heldCursor() *heldCursor {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := &heldCursor{}
	for _, h := range q.held {
		c.runs = append(c.runs, h.entries)
	}
	return c
}

// release queues what files have (they may be nil) and then what is held from
// version next on; what is held must reach there. From now on entries are
// queued as they come.
func (q *queue) release(files *fileRun, next meta.Version, last []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.held) > 0 {
		if first := q.held[0].entries[0].Version; first > next || q.heldNext < next {
			return fmt.Errorf("entries %d to %d do not follow entry %d", first, q.heldNext-1, next-1)
		}
	}
	if files != nil && q.closed {
		files.close()
	} else if files != nil {
		q.pieces = append(q.pieces, piece{files: files})
	}
	q.next, q.last = next, bytes.Clone(last)
	for _, c := range q.held {
		for len(c.entries) > 0 && c.entries[0].Version < next {
			q.last = append(q.last[:0], c.entries[0].Text...)
			c.entries = c.entries[1:]
		}
		if n := len(c.entries); n > 0 {
			q.pieces = append(q.pieces, piece{chunk: c})
			q.next, q.last = c.entries[n-1].Version+1, append(q.last[:0], c.entries[n-1].Text...)
		} else {
			q.bytes -= chunkCost
		}
	}
	q.held, q.holding = nil, false
	return nil
}

// end queues what files have (they may be nil), before version next, and
// nothing that comes over the connection.
func (q *queue) end(files *fileRun, next meta.Version) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if files != nil && q.closed {
		files.close()
	} else if files != nil {
		q.pieces = append(q.pieces, piece{files: files})
	}
	q.dropHeld()
	q.next, q.last, q.holding = next, nil, true
}

// fail makes Next return err after what is queued; if now is set, instead of it.
func (q *queue) fail(err error, now bool) {
	if now {
		q.close()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = err
}

// signal wakes Next.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take removes the first piece; ok is false when there is none.
func (q *queue) take() (p piece, ok bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pieces) == 0 || q.closed {
		return piece{}, false, q.err
	}
	p = q.pieces[0]
	q.pieces[0] = piece{}
	q.pieces = q.pieces[1:]
	return p, true, nil
}

// recycle gives back a chunk that was taken.
func (q *queue) recycle(c *chunk) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= chunkCost
	if len(q.free) < 2 && cap(c.buf) == MaxBatchBytes && cap(c.entries) == MaxBatchEntries {
		c.reset()
		q.free = append(q.free, c)
	}
	if q.bytes < q.max/2 {
		select {
		case q.room <- struct{}{}:
		default:
		}
	}
}

// size returns the memory in use.
func (q *queue) size() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// heldCursor reads held entries without taking them.
type heldCursor struct{ runs [][]Entry }

func (c *heldCursor) peek() (Entry, bool, error) {
	for len(c.runs) > 0 && len(c.runs[0]) == 0 {
		c.runs = c.runs[1:]
	}
	if len(c.runs) == 0 {
		return Entry{}, false, nil
	}
	return c.runs[0][0], true, nil
}

func (c *heldCursor) pop() { c.runs[0] = c.runs[0][1:] }

func (c *heldCursor) where() string { return "the primary's connection" }
