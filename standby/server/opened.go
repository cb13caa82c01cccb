package server

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// openCost is about what one open file of a session takes, in bytes; openAtOnce
// is how many are looked at before others, who wait for the index, go on.
const (
	openCost   = 64
	openAtOnce = 256
)

// opened is an index of all sessions' open files.
type opened struct {
	count atomic.Int64 // of sessions' files: without any, nobody needs the lock

	mu sync.RWMutex // guards what follows
	by map[meta.Inode][]*session
}

// sessions appends those who have a file open.
func (o *opened) sessions(list []*session, ino meta.Inode) []*session {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return append(list, o.by[ino]...)
}

// change makes fresh the list of files that s has open; both lists are in order.
// s.mu is held.
func (o *opened) change(s *session, fresh []meta.Inode) {
	o.count.Add(int64(len(fresh) - len(s.open)))
	for old, now := s.open, fresh; len(old)+len(now) > 0; {
		old, now = o.some(s, old, now)
	}
	s.open = fresh
}

// some compares the beginnings of two lists and returns what is left of them.
func (o *opened) some(s *session, old, fresh []meta.Inode) (oldLeft, freshLeft []meta.Inode) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for range openAtOnce {
		switch {
		case len(old)+len(fresh) == 0:
			return nil, nil
		case len(fresh) == 0 || len(old) > 0 && old[0] < fresh[0]:
			o.remove(s, old[0])
			old = old[1:]
		case len(old) == 0 || fresh[0] < old[0]:
			o.by[fresh[0]] = append(o.by[fresh[0]], s)
			fresh = fresh[1:]
		default:
			old, fresh = old[1:], fresh[1:]
		}
	}
	return old, fresh
}

func (o *opened) remove(s *session, ino meta.Inode) {
	list := o.by[ino]
	if i := slices.Index(list, s); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(o.by, ino)
		return
	}
	o.by[ino] = list
}

// open notes that a session opened a file, until its client's next list says
// whether it still has it open.
func (t *sessions) open(s *session, ino meta.Inode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := slices.BinarySearch(s.open, ino)
	if found {
		return nil
	}
	if !t.reserve(openCost) {
		return fmt.Errorf("no room for a list of %d open files", len(s.open)+1)
	}
	t.opened.change(s, slices.Insert(slices.Clone(s.open), i, ino))
	return nil
}

// setOpen takes note of all files that a session's client has open.
func (t *sessions) setOpen(s *session, list wire.Numbers) error {
	fresh := make([]meta.Inode, list.Len())
	for i := range fresh {
		fresh[i] = meta.Inode(list.At(i))
	}
	slices.Sort(fresh)
	fresh = slices.Compact(fresh)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !t.reserve(openCost * int64(len(fresh)-len(s.open))) {
		return fmt.Errorf("no room for a list of %d open files", len(fresh))
	}
	t.opened.change(s, fresh)
	return nil
}

// isOpen tells whether a session has a file open.
func (s *session) isOpen(ino meta.Inode) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := slices.BinarySearch(s.open, ino)
	return found
}
