package image

import (
	"sync"
	"sync/atomic"
)

// found are the pages that readers had to fetch from the store since the last
// update. Readers must not change the cache, so they leave them here, where
// others find them; whoever next has the image for itself takes them into the
// cache. Nothing can change in between: pages change in updates only, and each
// begins by taking these.
type found struct {
	count atomic.Int32

	mu    sync.Mutex // guards what follows
	pages map[foundKey]any
	take  []func() // puts one page into its table
}

type foundKey struct {
	prefix byte
	key    uint64
}

const (
	maxFound   = 4096 // pages; more are fetched again by who wants them
	enoughOfIt = 64   // pages that a reader takes into the cache itself when no update does
)

// lookUp returns what another reader has found, nil if none has.
func (f *found) lookUp(k foundKey) any {
	if f.count.Load() == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pages[k]
}

// add keeps a page. take is called at most once, by who has the image for itself.
func (f *found) add(k foundKey, page any, take func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.take) >= maxFound || f.pages[k] != nil {
		return
	}
	if f.pages == nil {
		f.pages = map[foundKey]any{}
	}
	f.pages[k] = page
	f.take = append(f.take, take)
	f.count.Store(int32(len(f.take)))
}

// empty hands out all functions that take a page.
func (f *found) empty() []func() {
	if f.count.Load() == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	take := f.take
	f.take = nil
	clear(f.pages)
	f.count.Store(0)
	return take
}

// takeFound takes what readers found into the cache. The caller has the image
// for itself, and makes room.
func (c *core) takeFound() {
	for _, take := range c.found.empty() {
		take()
	}
}

// peek returns a page for a concurrent reader: the cached one, one that some
// reader found, or one read from the store.
func (t *table[P]) peek(key uint64) *page[P] {
	if p := t.pages.find(key); p != nil {
		return p
	}
	if t.resident {
		return &t.none
	}
	k := foundKey{t.prefix, key}
	if p, ok := t.found.lookUp(k).(*page[P]); ok {
		return p
	}
	p := t.fresh(key)
	if err := t.fetch(p); err != nil {
		t.src.fail(err)
		return p
	}
	t.found.add(k, p, func() {
		if t.pages.find(key) == nil {
			p.used = true
			t.add(p)
		}
	})
	return p
}

// takeFound is what readers do when there were no updates for a while. It
// waits for nobody who works on the image for long.
func (img *Image) takeFound() {
	if img.core.found.count.Load() < enoughOfIt || !img.writer.TryLock() {
		return
	}
	defer img.writer.Unlock()
	img.shared.Lock()
	defer img.shared.Unlock()
	if img.voided() != nil {
		return
	}
	img.core.takeFound()
	img.trim()
}
