package locate

import (
	"sync"
	"sync/atomic"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// shards of a cache, a power of two: lookups of many connections look into it.
const shards = 16

// entry is what is known of a chunk.
type entry struct {
	version    uint32
	status     meta.Status // not OK: the primary knows no usable copy
	copies     wire.Locations
	asked      time.Duration // when, since the Locator's start
	generation uint64        // of the cache when it was asked
}

// cache keeps the chunks used last. An entry of an older generation is not
// fresh any more.
type cache struct {
	generation atomic.Uint64
	shard      [shards]shard
}

// shard is a map and a ring of its elements, the one used last first.
type shard struct {
	mu   sync.Mutex // guards what follows
	max  int
	byID map[meta.ChunkID]*element
	root element // of the ring
}

type element struct {
	prev, next *element
	id         meta.ChunkID
	entry      entry
}

func (c *cache) init(max int) {
	for i := range c.shard {
		c.shard[i].max = (max + shards - 1) / shards
		c.shard[i].clear()
	}
}

func (s *shard) clear() {
	s.byID = map[meta.ChunkID]*element{}
	s.root.prev, s.root.next = &s.root, &s.root
}

func (c *cache) of(id meta.ChunkID) *shard { return &c.shard[id%shards] }

func (c *cache) get(id meta.ChunkID) (entry, bool) {
	s := c.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[id]
	if e == nil {
		return entry{}, false
	}
	s.toFront(e)
	return e.entry, true
}

// put keeps an entry and, when there are too many, drops the one not used for
// the longest time.
func (c *cache) put(id meta.ChunkID, v entry) {
	s := c.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[id]
	if e == nil {
		if len(s.byID) >= s.max {
			e = s.root.prev
			delete(s.byID, e.id)
		} else {
			e = &element{}
		}
		e.id = id
		s.byID[id] = e
	}
	e.entry = v
	s.toFront(e)
}

func (s *shard) toFront(e *element) {
	if e.prev != nil {
		e.prev.next, e.next.prev = e.next, e.prev
	}
	e.prev, e.next = &s.root, s.root.next
	e.prev.next, e.next.prev = e, e
}

// drop forgets a chunk if it is known in a version below one.
func (c *cache) drop(id meta.ChunkID, below uint32) {
	s := c.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byID[id]; e != nil && e.entry.version < below {
		e.prev.next, e.next.prev = e.next, e.prev
		delete(s.byID, id)
	}
}

// age makes all entries no longer fresh.
func (c *cache) age() { c.generation.Add(1) }

func (c *cache) clear() {
	c.age()
	for i := range c.shard {
		s := &c.shard[i]
		s.mu.Lock()
		s.clear()
		s.mu.Unlock()
	}
}

func (c *cache) len() int {
	n := 0
	for i := range c.shard {
		s := &c.shard[i]
		s.mu.Lock()
		n += len(s.byID)
		s.mu.Unlock()
	}
	return n
}
