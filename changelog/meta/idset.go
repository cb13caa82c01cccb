package meta

// pageIDs is how many numbers are in a page of an IDSet.
const pageIDs = 1 << 12

// IDSet is a set of numbers that are mostly dense, as inodes and chunk ids are: a
// bit for each. The zero value is empty.
type IDSet struct {
	pages map[uint64]*[pageIDs / 64]uint64
}

// Add puts id into the set and tells whether it was missing.
func (s *IDSet) Add(id uint64) bool {
	page := s.pages[id/pageIDs]
	if page == nil {
		if s.pages == nil {
			s.pages = map[uint64]*[pageIDs / 64]uint64{}
		}
		page = new([pageIDs / 64]uint64)
		s.pages[id/pageIDs] = page
	}
	word, bit := &page[id%pageIDs/64], uint64(1)<<(id%64)
	missing := *word&bit == 0
	*word |= bit
	return missing
}

// Has tells whether id is in the set.
func (s *IDSet) Has(id uint64) bool {
	page := s.pages[id/pageIDs]
	return page != nil && page[id%pageIDs/64]&(1<<(id%64)) != 0
}

// Empty tells whether nothing is in the set.
func (s *IDSet) Empty() bool { return len(s.pages) == 0 }
