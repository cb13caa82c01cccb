package image

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// codec says how the pages of one table are kept on disk and counted.
type codec[P any] struct {
	name   string // for errors
	prefix byte   // first byte of the table's keys
	// encode appends the page's disk form; nothing appended means the page is
	// empty and its key is deleted.
	encode func(p *P, b []byte) []byte
	decode func(p *P, b []byte) error // b is valid during the call only
	memory func(p *P) int             // bytes beyond the page struct itself
	grows  bool                       // records may grow after Edit gave them out
	digest func(key uint64, p *P) Sum // sum over the records in the page
}

// page is one cached page. An absent key is cached as an empty page.
type page[P any] struct {
	key      uint64
	flushing uint64 // flush that carries its newest flushed content
	mem      int32
	gen      uint32 // the table's when it was changed last
	wait     atomic.Uint32
	dirty    bool
	used     bool // since the clock hand last passed
	stored   bool // the key exists in the store; the flush's while the page waits for it
	val      P
	sum      Sum // digest of the content last flushed; as stored
}

// pageOverhead is about what the cache's own bookkeeping costs per page: the
// index's slot, the ring's slot and the allocator's rounding.
const pageOverhead = 64

// table caches the pages of one kind. The writer alone changes it; readers
// may look pages up (peek) while the writer is kept out.
type table[P any] struct {
	codec[P]
	src      source
	found    *found // the core's
	resident bool   // all pages are in memory, always
	size     int    // of the page struct
	pages    index[P]
	last     uint64     // no greater key was ever stored: no need to look for one
	recent   *page[P]   // the one that get returned last
	none     page[P]    // what readers of a resident table find at an absent key
	ring     []*page[P] // of the pages, in clock order
	hand     int
	dirty    []*page[P]
	gen      uint32     // counts flushes
	queued   []*page[P] // of the running flush, whose own this and the next are
	at       int        // in queued
	emptying []*page[P] // resident pages that it found empty
	early    *encoded   // what it gets from the writer
	emptied  []*page[P] // resident pages flushed empty
	bytes    int64      // of all its pages
	mem      *int64     // of all tables
	dirtyMem *int64
}

// source reads pages from the store.
type source interface {
	// read calls found with the value of a key, if there is one.
	read(prefix byte, key uint64, found func([]byte) error) error
	fail(error)
	// grew is called after a page was added to the cache.
	grew()
}

// get returns the page of a key to the writer.
func (t *table[P]) get(key uint64) *page[P] {
	if p := t.recent; p != nil && p.key == key {
		return p
	}
	p := t.pages.find(key)
	if p == nil {
		if key > t.last {
			p = t.fresh(key)
		} else {
			p = t.load(key)
		}
		t.add(p)
	}
	p.used = true
	t.recent = p
	return p
}

// fresh makes the page of a key that is not in the store.
func (t *table[P]) fresh(key uint64) *page[P] {
	return &page[P]{key: key, mem: int32(t.size + pageOverhead)}
}

// look returns the page of a key for reading by the writer. An absent page of
// a resident table is not cached for that.
func (t *table[P]) look(key uint64) *page[P] {
	if t.resident {
		if p := t.pages.find(key); p != nil {
			return p
		}
		return &t.none
	}
	return t.get(key)
}

// edit returns the page of a key for change.
func (t *table[P]) edit(key uint64) *page[P] {
	p := t.get(key)
	t.touch(p)
	return p
}

// create returns the page of a key that is known to be absent, for change: it
// saves looking for it in the store.
func (t *table[P]) create(key uint64) *page[P] {
	p := t.pages.find(key)
	if p == nil {
		p = t.fresh(key)
		t.add(p)
	}
	p.used = true
	t.touch(p)
	return p
}

// touch must come before a change. It marks the page dirty, and counts its memory again if what Edit gave out
// may have grown since.
func (t *table[P]) touch(p *page[P]) {
	if p.wait.Load() != notWaiting {
		t.capture(p)
	}
	p.gen = t.gen
	if !p.dirty {
		p.dirty = true
		t.dirty = append(t.dirty, p)
		*t.dirtyMem += int64(p.mem)
	}
	if t.grows {
		t.recount(p)
	}
}

func (t *table[P]) grow(n int64) {
	t.bytes += n
	*t.mem += n
}

func (t *table[P]) recount(p *page[P]) {
	mem := int32(t.size + pageOverhead + t.memory(&p.val))
	diff := int64(mem - p.mem)
	t.grow(diff)
	if p.dirty {
		*t.dirtyMem += diff
	}
	p.mem = mem
}

func (t *table[P]) load(key uint64) *page[P] {
	p := t.fresh(key)
	if t.resident {
		return p
	}
	if err := t.fetch(p); err != nil {
		t.src.fail(err)
	}
	return p
}

// fetch reads a fresh page from the store.
func (t *table[P]) fetch(p *page[P]) error {
	return t.src.read(t.prefix, p.key, func(b []byte) error { return t.fill(p, b) })
}

// fill sets a page from its stored form.
func (t *table[P]) fill(p *page[P], b []byte) error {
	if err := t.decode(&p.val, b); err != nil {
		return fmt.Errorf("image is damaged: table %s, key %#x: %w", t.name, p.key, err)
	}
	p.stored = true
	if t.memory != nil {
		p.mem += int32(t.memory(&p.val))
	}
	p.sum = t.digest(p.key, &p.val)
	return nil
}

func (t *table[P]) add(p *page[P]) {
	t.pages.add(p)
	t.grow(int64(p.mem))
	if !t.resident {
		t.ring = append(t.ring, p)
		t.src.grew()
	}
}

// sweep drops the resident pages that were flushed empty and still are.
func (t *table[P]) sweep() {
	for _, p := range t.emptied {
		if p.dirty || p.wait.Load() != notWaiting || p.stored || t.pages.find(p.key) != p {
			continue
		}
		t.forget(p)
	}
	clear(t.emptied)
	t.emptied = t.emptied[:0]
}

// forget takes a page out of the cache.
func (t *table[P]) forget(p *page[P]) {
	t.pages.remove(p.key)
	t.grow(-int64(p.mem))
	if t.recent == p {
		t.recent = nil
	}
}

// held returns the bytes of the pages that evict may drop.
func (t *table[P]) held() int64 {
	if t.resident {
		return 0
	}
	return t.bytes
}

// evict drops clean pages that were not used lately until about want bytes
// are free or the hand went round twice. Pages of flush done and before are
// in the store.
func (t *table[P]) evict(want int64, done uint64) {
	for steps := 2 * len(t.ring); steps > 0 && want > 0 && len(t.ring) > 0; steps-- {
		if t.hand >= len(t.ring) {
			t.hand = 0
		}
		p := t.ring[t.hand]
		switch {
		case p.dirty || p.flushing > done:
			t.hand++
		case p.used:
			p.used = false
			t.hand++
		default:
			last := len(t.ring) - 1
			t.ring[t.hand] = t.ring[last]
			t.ring[last] = nil
			t.ring = t.ring[:last]
			t.forget(p)
			want -= int64(p.mem)
		}
	}
}

// drop forgets everything cached.
func (t *table[P]) drop() {
	t.grow(-t.bytes)
	for _, p := range t.dirty {
		*t.dirtyMem -= int64(p.mem)
	}
	t.pages.clear()
	t.recent = nil
	t.ring, t.dirty, t.emptied, t.hand = nil, nil, nil, 0
}

// keys returns the keys of all cached pages in order; of a resident table
// these are all there are.
func (t *table[P]) keys() []uint64 {
	keys := make([]uint64, 0, t.pages.used)
	for p := range t.pages.all() {
		keys = append(keys, p.key)
	}
	slices.Sort(keys)
	return keys
}

// anyTable is what the image does with every table.
type anyTable interface {
	queue(f *flush, before uint32)
	encodeQueued(out *flushBatch, diff *Sum) bool
	flushed()
	age() uint32
	sweep()
	evict(want int64, done uint64)
	drop()
	id() byte
	loadStored(key uint64, value []byte) error
	isResident() bool
	held() int64
	cached() int64
	setLast(key uint64)
}

func (t *table[P]) id() byte         { return t.prefix }
func (t *table[P]) cached() int64    { return t.bytes }
func (t *table[P]) isResident() bool { return t.resident }

// age begins a new generation of changes and returns the one that ended.
func (t *table[P]) age() uint32 {
	t.gen++
	return t.gen - 1
}

func (t *table[P]) setLast(key uint64) { t.last = key }

// loadStored puts a stored page into a resident table.
func (t *table[P]) loadStored(key uint64, value []byte) error {
	p := t.fresh(key)
	if err := t.fill(p, value); err != nil {
		return err
	}
	t.add(p)
	return nil
}
