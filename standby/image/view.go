package image

import (
	"context"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"mfsstandby/changelog/meta"
)

// View is the state at one version, for one goroutine, for as long as it is
// held; entries go on being applied. When the image is closed first, reading
// the view's state fails with ErrClosed.
type View struct {
	img  *Image
	core *core
	root *root
}

// viewCache is what a View may cache.
const viewCache = 64 << 20

// View commits and returns the state that is committed then, that of the call or a
// later one. Entries go on being applied meanwhile.
func (img *Image) View() (*View, error) {
	img.writer.Lock()
	defer img.writer.Unlock()
	if err := img.commitAside(); err != nil {
		return nil, err
	}
	r, err := readRoot(img.db)
	if err != nil {
		return nil, err
	}
	c := newCore(img.db, img.db.NewTransactionAt(r.ts, false))
	c.gate = &gate{open: map[*badger.Iterator]struct{}{}}
	c.limit = viewCache
	c.pub, c.priv = r.pub, r.priv
	v := &View{img, c, r}
	img.views[v] = struct{}{}
	if err := c.load(); err != nil {
		v.drop()
		return nil, err
	}
	return v, nil
}

// commitAside commits, and lets go of writer while it waits.
func (img *Image) commitAside() error {
	var ts uint64 // of the commit; 0: it has not begun
	for {
		if img.retired != nil {
			return ErrClosed
		}
		if err := img.voided(); err != nil {
			return err
		}
		if err := img.reap(false); err != nil {
			return err
		}
		switch {
		case ts > img.started: // Reset undid it
			ts = 0
		case ts != 0 && ts <= img.done:
			return nil
		}
		if img.busy == nil {
			if err := img.flush(true); err != nil {
				return err
			}
			ts = img.started
		}
		img.wanted = img.wanted || ts == 0
		ended := img.running.ended
		img.writer.Unlock()
		<-ended
		img.writer.Lock()
	}
}

// State returns the tables, for reading.
func (v *View) State() *meta.State { return v.core.st }

// Position returns where the view is.
func (v *View) Position() Position { return v.root.pos }

// Digest returns the view's digest.
func (v *View) Digest() Sum { return v.root.digest }

// Close lets go of the view.
func (v *View) Close() {
	v.img.writer.Lock()
	defer v.img.writer.Unlock()
	if _, held := v.img.views[v]; held {
		v.drop()
		v.img.discard()
	}
}

// drop takes the store away from the view; the caller holds the image's writer.
func (v *View) drop() {
	v.core.gate.close()
	v.core.txn.Discard()
	delete(v.img.views, v)
	if v.img.retired != nil && len(v.img.views) == 0 {
		close(v.img.retired)
	}
}

// Retire makes no further views, and waits until none is held or ctx ends. It
// is called once, before Close, by who has another image for those who come.
func (img *Image) Retire(ctx context.Context) error {
	img.writer.Lock()
	free := make(chan struct{})
	if len(img.views) == 0 {
		close(free)
	}
	img.retired = free
	img.writer.Unlock()
	select {
	case <-free:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gate is what a view passes for each look into the store, so that the store
// can be closed while the view is held: its files are mapped into memory, and
// reading them afterwards would end the process. A nil gate is always open.
type gate struct {
	mu     sync.Mutex // held while the store is read; guards what follows
	closed bool
	open   map[*badger.Iterator]struct{}
}

// enter tells whether the store may be read, until leave.
func (g *gate) enter() bool {
	if g == nil {
		return true
	}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return false
	}
	return true
}

func (g *gate) leave() {
	if g != nil {
		g.mu.Unlock()
	}
}

// add and end begin and end the use of an iterator, between enter and leave.
func (g *gate) add(it *badger.Iterator) {
	if g != nil {
		g.open[it] = struct{}{}
	}
}

func (g *gate) end(it *badger.Iterator) {
	if g != nil {
		delete(g.open, it)
	}
	it.Close()
}

// close waits for who is reading and lets nobody in again.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for it := range g.open {
		it.Close()
	}
	clear(g.open)
}
