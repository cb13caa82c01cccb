package metafile

import "mfsstandby/changelog/meta"

const pageRefs = 1 << 7 // chunks in a page of refCounts

// refCounts counts the references to each chunk and remembers which chunks
// were seen: half a byte each, as nearly all chunks belong to one file.
type refCounts struct {
	pages map[uint64]*[pageRefs / 2]uint8
	many  map[meta.ChunkID]uint32 // counts of maxNibble and more
}

const (
	maxNibble = 7 // the count is in "many"
	seenBit   = 8
)

func (c *refCounts) page(id meta.ChunkID) *[pageRefs / 2]uint8 {
	key := uint64(id) / pageRefs
	page := c.pages[key]
	if page == nil {
		if c.pages == nil {
			c.pages, c.many = map[uint64]*[pageRefs / 2]uint8{}, map[meta.ChunkID]uint32{}
		}
		page = new([pageRefs / 2]uint8)
		c.pages[key] = page
	}
	return page
}

// add counts one more reference.
func (c *refCounts) add(id meta.ChunkID) {
	p, shift := &c.page(id)[id%pageRefs/2], id%2*4
	switch n := *p >> shift & maxNibble; n {
	case maxNibble:
		c.many[id]++
	case maxNibble - 1:
		c.many[id] = maxNibble
		fallthrough
	default:
		*p += 1 << shift
	}
}

// see marks a chunk as seen and returns its references; first tells whether it
// was not seen before.
func (c *refCounts) see(id meta.ChunkID) (refs uint32, first bool) {
	p, shift := &c.page(id)[id%pageRefs/2], id%2*4
	first = *p>>shift&seenBit == 0
	*p |= seenBit << shift
	if refs = uint32(*p >> shift & maxNibble); refs == maxNibble {
		refs = c.many[id]
	}
	return refs, first
}

// names finds names that come twice in a directory. It keeps 32-bit hashes of
// up to maxNames names; what it takes for a repetition, and everything beyond
// that number, has to be looked up.
type names struct {
	slots []uint64 // generation<<32 | hash; power of two; another generation is empty
	gen   uint64
	used  int
}

const maxNames = 1 << 20

// reset forgets all names.
func (s *names) reset() { s.gen, s.used = s.gen+1, 0 }

// add remembers a hash and tells whether its name may be there already.
func (s *names) add(hash uint32) bool {
	if s.used >= maxNames {
		return true
	}
	if s.gen == 0 {
		s.gen = 1
	}
	if 2*s.used >= len(s.slots) {
		s.grow()
	}
	s.used++
	return s.put(s.gen<<32 | uint64(hash))
}

func (s *names) put(entry uint64) bool {
	mask := uint64(len(s.slots) - 1)
	for i := entry & mask; ; i = (i + 1) & mask {
		switch {
		case s.slots[i] == entry:
			return true
		case s.slots[i]>>32 != entry>>32:
			s.slots[i] = entry
			return false
		}
	}
}

func (s *names) grow() {
	old := s.slots
	s.slots = make([]uint64, max(1024, 2*len(old)))
	for _, entry := range old {
		if entry>>32 == s.gen {
			s.put(entry)
		}
	}
}
