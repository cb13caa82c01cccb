// Package image keeps the metadata of a cluster in Badger: one writer applies
// entries to a write-behind cache of pages and commits them together with the
// position in the stream; any number of readers look on.
//
// Invariants. A commit is everything flushed before its root record; what was
// flushed after the newest root is undone when the image is opened. Nothing
// becomes durable apart from its position. Memory is bounded by Config.Cache
// and about 300 MiB, whatever the number of inodes, but for one bit per inode
// number and the records of open files, locks, quotas, sessions, servers and
// classes, which are always in memory. Readers see whole updates only.
//
// Package apply is the writer; servers and exports read.
package image

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"mfsstandby/changelog/meta"
)

// Config says where an image is and what it may use.
type Config struct {
	Dir    string
	Cache  int64        // bytes of cached pages; 0 means DefaultCache
	Logger *slog.Logger // of Badger's warnings; nil is none

	// SyncLog, if set, makes durable what the state follows from: an image
	// must not know of entries that a loss of power takes from the stream. It
	// is called before each commit, in the background.
	SyncLog func() error
}

// DefaultCache is the default of Config.Cache.
const DefaultCache = 1 << 30

// MinCache is the least Config.Cache.
const MinCache = 16 << 20

// ErrEmpty says that the directory holds no image yet.
var ErrEmpty = errors.New("there is no image yet")

// ErrClosed says that the image was closed.
var ErrClosed = errors.New("the image is closed")

// Image is the state at one version. Its methods are safe for concurrent use.
type Image struct {
	cfg Config
	db  *badger.DB

	writer sync.Mutex   // held by whoever changes or flushes
	shared sync.RWMutex // held for writing while pages change
	core   *core
	near   near
	reader *meta.State // for concurrent readers of core

	root       root // as of the last update; its ts is that of the last flush
	digests    Sum  // of the flushed tables
	durable    Position
	durableSum Sum
	started    uint64 // last flush begun
	done       uint64 // last flush known to be in the store
	busy       chan error
	running    *flush                // until busy tells its end
	wanted     bool                  // a commit comes next
	rooted     Position              // of the last commit begun
	kept       int64                 // bytes that were dirty after the last flush began
	bulk       *bulk                 // takes the first flush of a new image; nil after it
	void       atomic.Pointer[error] // why the state may not be used until Reset
	views      map[*View]struct{}    // those held
	retired    chan struct{}         // closed when no view is held; nil: Retire was not called
	counters   Counters
	position   atomic.Pointer[Position]

	known    atomic.Pointer[Known]
	learning sync.Mutex    // guards what follows
	learnt   chan struct{} // closed when known is up to date; nil: nobody is at it
}

// Counters tell what an image did since it was opened.
type Counters struct {
	Flushes, Commits uint64
	Keys, Bytes      uint64 // written to the store
	Spills           uint64 // flushes in the middle of an update, for lack of room
}

// Open opens the image in cfg.Dir and undoes what was not committed. Without
// one it makes a new one at version 0, without even a root node: read a
// metadata file into it.
func Open(cfg Config) (*Image, error) {
	if cfg.Cache == 0 {
		cfg.Cache = DefaultCache
	}
	if cfg.Cache < MinCache {
		return nil, fmt.Errorf("a cache of %d bytes is too small: give at least %d MiB", cfg.Cache, MinCache>>20)
	}
	db, err := openStore(cfg.Dir, cfg.Logger)
	if err != nil {
		return nil, err
	}
	img := &Image{cfg: cfg, db: db, views: map[*View]struct{}{}}
	if err := img.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening image %s: %w", cfg.Dir, err), db.Close())
	}
	return img, nil
}

func (img *Image) open() error {
	r, err := readRoot(img.db)
	if err != nil {
		return err
	}
	if r == nil {
		if img.bulk, err = newBulk(img.db); err != nil {
			return err
		}
		r = &root{ts: 1, priv: privScalars{detachedOrder: firstOrder}}
		r.pub.NextEdge = meta.EdgeIDMax
	} else if err := rollback(img.db, img.cfg.Dir, r); err != nil {
		return err
	}
	img.core = newCore(img.db, img.db.NewTransactionAt(math.MaxUint64, false))
	img.reader = img.core.state(true)
	img.core.st.Pause = img.spill
	img.core.before = img.flushForScan
	return img.restart(r)
}

// restart sets the writer to a root whose pages are in the store.
func (img *Image) restart(r *root) error {
	c := img.core
	c.drop()
	c.detachedTail = 0
	*c.st = *c.state(false)
	c.st.Pause = img.spill
	img.root, img.digests = *r, r.digest
	c.pub, c.priv = r.pub, r.priv
	img.digests = img.digests.minus(c.digestScalars())
	if r.pos.Version == 0 {
		img.digests = Sum{}
	}
	img.started, img.done = r.ts, r.ts
	img.durable, img.durableSum = r.pos, r.digest
	img.kept, img.wanted, img.rooted = 0, false, r.pos
	img.tell()
	img.void.Store(nil)
	img.publish()
	img.db.SetDiscardTs(r.ts)
	c.findLasts()
	if err := c.load(); err != nil {
		return err
	}
	c.st.Inodes.Reserve(0)
	return c.st.Err()
}

func (img *Image) voided() error {
	if p := img.void.Load(); p != nil {
		return fmt.Errorf("the image is void after an error: %w", *p)
	}
	return nil
}

func (img *Image) setVoid(err error) { img.void.Store(&err) }

func (img *Image) publish() {
	pos := img.root.pos
	img.position.Store(&pos)
}

// Position returns where the image is, uncommitted updates included.
func (img *Image) Position() Position { return *img.position.Load() }

// MetaID returns the cluster's id.
func (img *Image) MetaID() uint64 {
	img.shared.RLock()
	defer img.shared.RUnlock()
	return img.core.pub.MetaID
}

// Release returns that of the primary, whose effect entries have.
func (img *Image) Release() meta.Release {
	img.shared.RLock()
	defer img.shared.RUnlock()
	return img.core.pub.Release
}

// Known is what an image tells of itself.
type Known struct {
	Committed     Position // that a crash now would leave
	Digest        Sum      // of the state there
	Counters      Counters
	Cached, Dirty int64 // bytes that its cache holds now
}

// Known tells it. Where a proposal waits for long to be confirmed it is what was
// known before.
func (img *Image) Known() Known {
	img.learning.Lock()
	learnt := img.learnt
	if learnt == nil {
		learnt = make(chan struct{})
		img.learnt = learnt
		go img.learn(learnt)
	}
	img.learning.Unlock()
	select {
	case <-learnt:
	case <-time.After(knownWait):
	}
	return *img.known.Load()
}

// knownWait is how long Known waits for who changes the state.
const knownWait = 200 * time.Millisecond

// learn brings what Known tells up to date.
func (img *Image) learn(learnt chan struct{}) {
	img.writer.Lock()
	img.reap(false)
	img.tell()
	img.writer.Unlock()
	img.learning.Lock()
	img.learnt = nil
	img.learning.Unlock()
	close(learnt)
}

// tell sets what Known tells. writer is held.
func (img *Image) tell() {
	img.known.Store(&Known{img.durable, img.durableSum, img.counters, img.core.mem, img.core.dirty})
}

// CacheBytes returns the bytes that the pages of each table take in the cache
// now, by the table's prefix in the store.
func (img *Image) CacheBytes() map[byte]int64 {
	img.writer.Lock()
	defer img.writer.Unlock()
	sizes := map[byte]int64{}
	for _, t := range img.core.tables {
		sizes[t.id()] = t.cached()
	}
	return sizes
}

// Update changes the state: f gets it at the image's position and returns
// where it took it. Readers see all of f's work or none. If f fails the image
// refuses further work until Reset.
func (img *Image) Update(f func(*meta.State, Position) (Position, error)) error {
	img.writer.Lock()
	defer img.writer.Unlock()
	if err := img.voided(); err != nil {
		return err
	}
	img.shared.Lock()
	defer img.shared.Unlock()
	img.core.takeFound()
	pos, err := f(img.core.st, img.root.pos)
	img.core.settle()
	if err == nil {
		err = img.core.st.Err()
	}
	if err != nil {
		img.setVoid(err)
		return err
	}
	img.root.pos = pos
	img.publish()
	return img.makeRoom()
}

// Propose changes the state like Update, and then waits for confirm: only when
// that returns is the change the image's. Until then readers see it, but it
// cannot be committed: no other Update, Commit or View begins. confirm returns
// the position, of the same version, to be stored. If it fails, as if f fails,
// the image refuses further work until Reset, which undoes the change.
func (img *Image) Propose(f func(*meta.State, Position) (Position, error), confirm func(Position) (Position, error)) error {
	img.writer.Lock()
	defer img.writer.Unlock()
	if err := img.voided(); err != nil {
		return err
	}
	pos, err := img.propose(f)
	if err == nil {
		pos, err = confirm(pos)
	}
	img.shared.Lock()
	defer img.shared.Unlock()
	if err != nil {
		img.setVoid(err)
		return err
	}
	img.root.pos = pos
	img.publish()
	return img.makeRoom()
}

// propose is the part of Propose that keeps readers out.
func (img *Image) propose(f func(*meta.State, Position) (Position, error)) (Position, error) {
	img.shared.Lock()
	defer img.shared.Unlock()
	pos, err := f(img.core.st, img.root.pos)
	img.core.settle()
	if err == nil {
		err = img.core.st.Err()
	}
	if err == nil {
		img.root.pos.Version = pos.Version // what a reader has seen
	}
	return pos, err
}

// makeRoom keeps the cache within its bounds between updates.
func (img *Image) makeRoom() error {
	c := img.core
	for _, t := range c.tables {
		t.sweep()
	}
	if c.dirty > img.cfg.Cache/2 {
		img.spill()
	}
	if err := img.trickle(); err != nil {
		return err
	}
	img.trim()
	return c.st.Err()
}

// trim drops clean pages that are too many.
func (img *Image) trim() {
	if over := img.core.mem - img.cfg.Cache; over > 0 {
		img.reap(false)
		img.core.evict(over+img.cfg.Cache/32, img.done)
	}
}

// trickleShare of the cache is dirtied between two trickles, at least
// trickleLeast bytes.
const (
	trickleShare = 16
	trickleLeast = 4 << 20
)

// trickle writes what has not been changed lately, without committing it, when
// enough was changed meanwhile and no other flush runs. So a commit under load
// finds little left to write, and most pages are written once however long ago
// the last commit was.
func (img *Image) trickle() error {
	if img.wanted || img.core.dirty-img.kept < max(img.cfg.Cache/trickleShare, trickleLeast) {
		return nil
	}
	if err := img.reap(false); err != nil || img.busy != nil {
		return err
	}
	return img.flushOlder(false, img.core.age())
}

// spill is State.Pause: it flushes, without committing, when changed pages
// take too much of the cache, and drops clean ones.
func (img *Image) spill() {
	c := img.core
	c.settle()
	room := img.cfg.Cache / 2
	if img.bulk != nil {
		room = img.cfg.Cache // all is dirty, and what goes in bulk goes best
	}
	if c.dirty > room {
		if err := img.flush(false); err == nil {
			err = img.reap(true)
			img.counters.Spills++
			if err != nil {
				c.fail(err)
			}
		} else {
			c.fail(err)
		}
	}
	if over := c.mem - img.cfg.Cache; over > img.cfg.Cache/32 {
		img.reap(false)
		c.evict(over, img.done)
	}
}

// flushForScan makes the store hold everything the cache does.
func (img *Image) flushForScan() {
	err := img.flush(false)
	if err == nil {
		err = img.reap(true)
	}
	if err != nil {
		img.core.fail(err)
	}
}

// Commit makes the state and its position durable, together. It returns at once;
// the changed pages are written in the background, and the next call waits for
// that and returns its error. The caller must hold no lock; wait makes it return
// only when all is durable.
func (img *Image) Commit(wait bool) error {
	img.writer.Lock()
	defer img.writer.Unlock()
	return img.commit(wait)
}

func (img *Image) commit(wait bool) error {
	if err := img.voided(); err != nil {
		return err
	}
	if err := img.flush(true); err != nil {
		return err
	}
	if wait {
		return img.reap(true)
	}
	return nil
}

// MayCommit tells whether Commit would begin at once. If not, because something
// is still being written, nothing else begins to be written before Commit.
func (img *Image) MayCommit() bool {
	img.writer.Lock()
	defer img.writer.Unlock()
	img.reap(false)
	img.wanted = img.busy != nil
	return !img.wanted
}

// Uncommitted tells whether there is something that no Commit was begun for. Pages
// may be written without one, so that none is dirty.
func (img *Image) Uncommitted() bool {
	img.writer.Lock()
	defer img.writer.Unlock()
	return img.core.dirty > 0 || img.root.pos != img.rooted
}

// Dirty returns the bytes of cache that wait to be written.
func (img *Image) Dirty() int64 {
	img.writer.Lock()
	defer img.writer.Unlock()
	return img.core.dirty
}

// flush writes all dirty pages, in the background; with commit, the root too.
func (img *Image) flush(commit bool) error { return img.flushOlder(commit, math.MaxUint32) }

// flushOlder is flush for pages not changed since generation before.
func (img *Image) flushOlder(commit bool, before uint32) error {
	if err := img.reap(true); err != nil {
		return err
	}
	c := img.core
	if err := checkRoom(img.cfg.Dir, c.dirty); err != nil {
		return err
	}
	f := &flush{ts: img.started + 1, ended: make(chan struct{})}
	if f.bulk, img.bulk = img.bulk, nil; f.bulk != nil {
		before = math.MaxUint32 // all there is goes this way at least cost
	}
	c.begin(f, before)
	img.kept = c.dirty
	if commit {
		digest := img.digests.plus(c.digestScalars())
		f.root = &root{ts: f.ts, pos: img.root.pos, pub: c.pub, priv: c.priv, digest: digest}
		img.counters.Commits++
		img.wanted, img.rooted = false, img.root.pos
	}
	img.counters.Flushes++
	img.started = f.ts
	img.running = f
	img.busy = make(chan error, 1)
	go func(busy chan<- error) {
		defer close(f.ended)
		busy <- img.write(f)
	}(img.busy)
	return nil
}

// reap takes note of a flush that has ended; wait waits for it.
func (img *Image) reap(wait bool) error {
	if img.busy == nil {
		return nil
	}
	var err error
	if wait {
		err = <-img.busy
	} else {
		select {
		case err = <-img.busy:
		default:
			return nil
		}
	}
	f := img.running
	img.busy, img.running = nil, nil
	img.digests = img.digests.plus(f.diff)
	img.counters.Keys += f.keys
	img.counters.Bytes += f.bytes
	for _, t := range img.core.tables {
		t.flushed()
	}
	if err != nil {
		img.setVoid(err)
		return err
	}
	img.done = img.started
	if r, err := readRoot(img.db); err != nil {
		img.setVoid(err)
		return err
	} else if r != nil {
		img.root.ts = r.ts
		img.durable, img.durableSum = r.pos, r.digest
	}
	img.discard()
	return nil
}

// discard lets Badger drop versions that neither a view nor a roll-back needs.
func (img *Image) discard() {
	oldest := img.root.ts
	for v := range img.views {
		oldest = min(oldest, v.root.ts)
	}
	img.db.SetDiscardTs(oldest)
}

// Digest returns the digest of the state as of the last Update, and its
// version. Two images with the same digest at the same version hold the same
// metadata, but for what the master changes without an entry.
func (img *Image) Digest() (meta.Version, Sum, error) {
	img.writer.Lock()
	defer img.writer.Unlock()
	if err := img.commit(true); err != nil {
		return 0, Sum{}, err
	}
	return img.root.pos.Version, img.digests.plus(img.core.digestScalars()), nil
}

// Reset drops everything after the last commit, in memory and in the store.
func (img *Image) Reset() error {
	img.writer.Lock()
	defer img.writer.Unlock()
	img.shared.Lock()
	defer img.shared.Unlock()
	img.reap(true) // its error is why we are here, or comes again
	r, err := readRoot(img.db)
	if err != nil {
		return err
	}
	if r == nil {
		return ErrEmpty
	}
	if err := rollback(img.db, img.cfg.Dir, r); err != nil {
		return fmt.Errorf("resetting image %s: %w", img.cfg.Dir, err)
	}
	return img.restart(r)
}

// Read calls f with the state for looking things up by key, while entries are
// kept from being applied; it must be short, change nothing and scan nothing
// but small tables. Many Reads run at once.
func (img *Image) Read(f func(*meta.State, Position) error) error {
	defer img.takeFound()
	img.shared.RLock()
	defer img.shared.RUnlock()
	if err := img.voided(); err != nil {
		return err
	}
	return f(img.reader, img.root.pos)
}

// Close commits and closes the image. Views that are still held, and whoever
// reads, find ErrClosed from then on; see Retire. On a full disk it leaves the
// store open, as a crash would: closing Badger writes tables, and without room
// that kills the process.
func (img *Image) Close() error {
	img.writer.Lock()
	defer img.writer.Unlock()
	img.shared.Lock() // readers have gone, and others find it void
	defer img.shared.Unlock()
	defer img.setVoid(ErrClosed)
	var err error
	if img.voided() == nil && img.root.pos.Version != 0 {
		err = img.commit(true)
	} else {
		img.reap(true)
	}
	for v := range img.views {
		v.drop()
	}
	img.core.txn.Discard()
	if img.bulk != nil {
		img.bulk.cancel()
	}
	if full := checkRoom(img.cfg.Dir, 0); full != nil && (err == nil || errors.Is(err, ErrDiskFull)) {
		return full
	}
	return errors.Join(err, img.db.Close())
}
