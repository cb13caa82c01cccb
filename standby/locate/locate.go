// Package locate finds out where the copies of chunks are. The replicated
// metadata does not tell: chunkservers report to the primary alone. So the
// primary is asked as a mount would, on one connection and in one session that
// is kept over restarts, and what it said is kept in a bounded cache. While
// the primary is gone the cache still serves.
//
// What is kept of a chunk is good for one version of it; the caller gives the
// version that the image has, so that every change of it which the changelog
// tells makes the cache ask again. What the changelog does not tell, copies
// that were moved, is found by asking again after a few seconds, or when the
// primary says that chunkservers came or went.
//
// The session costs the primary: one SESADD in its changelog when the session
// is made, one SESDISCONNECTED each time the connection ends, and SESCHANGED
// when it was registered anew after a restart of the primary. Reading chunks
// and the free space writes nothing.
package locate

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/wire"
)

// Defaults of Config.
const (
	DefaultMaxChunks = 500_000
	DefaultFresh     = 10 * time.Second
	DefaultPath      = "/"
)

// Config says whom to ask, and what to keep.
type Config struct {
	Address   string // HOST:PORT of the primary's client port
	Path      string // a directory that the primary exports to this host; "" means DefaultPath
	Password  string // of that export; "" is none
	Dir       string // where the session's number is kept; "" keeps none
	Host      string // this host's name, which the primary shows with the session
	MetaID    func() uint64
	MaxChunks int           // to keep, about 150 bytes each; 0 means DefaultMaxChunks
	Fresh     time.Duration // after which the primary is asked again; 0 means DefaultFresh
	Logger    *slog.Logger  // nil means slog.Default
	Events    *events.Log   // nil keeps none

	// Moved, if set, is told when chunkservers came or went, or may have.
	Moved func()

	// Alone, if set, tells that there is no primary but this process: nobody
	// is asked then. The address may have become this process's own.
	Alone func() bool
	// Dial connects to the address; nil means TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// release is the client that the primary is told. It decides about the form of
// answers, together with the primary's own release. Parts of erasure codes are
// told to clients of 4.x only.
var release = wire.NewRelease(4, 59, 2)

// flagsKnown is the release since which masters take flags with a chunk request;
// older ones end the connection.
var flagsKnown = wire.NewRelease(3, 0, 4)

// askTime is longer than a master holds back what is asked about a chunk that
// is being written.
const askTime = 35 * time.Second

// maxAsked is how many questions may be on the way at once.
const maxAsked = 4096

// Space is what chunkservers told the primary about their disks, in bytes.
type Space struct{ Total, Avail, Free uint64 }

// Stats tell what a Locator did since its start, and what it has.
type Stats struct {
	Connected                     bool
	Hits, Misses, Stale, Refusals uint64 // Stale: answered from the cache because the primary was gone
	Asked, Moved                  uint64 // Moved: the primary had another chunk or version there
	Chunks                        int    // kept
}

// Locator asks one primary. Its methods are safe for concurrent use; Run must
// run for questions to be answered.
type Locator struct {
	cfg   Config
	log   *slog.Logger
	cache cache
	start time.Time

	link  atomic.Pointer[link] // nil: no connection; changed under mu, so that no call starts on one that ended
	space atomic.Pointer[Space]
	saved savedSession // Run's
	last  string       // what the last event said; Run's

	mu    sync.Mutex // guards calls, which is not held while one is answered
	calls map[key]*call

	hits, misses, stale, refusals, asked, moved atomic.Uint64
}

type key struct {
	id      meta.ChunkID
	version uint32
}

// call is a question that is on the way. Those who come later wait for it.
type call struct {
	done   chan struct{} // closed when the rest is set
	copies wire.Locations
	status meta.Status
	err    error
}

// New returns a Locator.
func New(cfg Config) (*Locator, error) {
	if cfg.Address == "" {
		return nil, errors.New("there is no primary to ask where chunks are")
	}
	if cfg.Path == "" {
		cfg.Path = DefaultPath
	}
	if cfg.MaxChunks <= 0 {
		cfg.MaxChunks = DefaultMaxChunks
	}
	if cfg.Fresh <= 0 {
		cfg.Fresh = DefaultFresh
	}
	if cfg.Alone == nil {
		cfg.Alone = func() bool { return false }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialTime}).DialContext(ctx, "tcp", address)
		}
	}
	if cfg.Moved == nil {
		cfg.Moved = func() {}
	}
	l := &Locator{cfg: cfg, log: cfg.Logger.With("part", part), start: time.Now(), calls: map[key]*call{}}
	l.cache.init(cfg.MaxChunks)
	return l, l.loadSession()
}

// part names this part of the process in logs and events.
const part = "locations"

// Cached returns what is known of a chunk at once. A status other than OK says
// that the primary knows no usable copy; that is forgotten when the primary is
// gone. The list must not be changed.
func (l *Locator) Cached(id meta.ChunkID, version uint32) (wire.Locations, meta.Status, bool) {
	e, ok := l.cache.get(id)
	switch {
	case !ok || e.version != version:
		l.misses.Add(1)
		return nil, meta.OK, false
	case l.link.Load() == nil:
		if e.status != meta.OK {
			l.misses.Add(1)
			return nil, meta.OK, false
		}
		l.stale.Add(1)
		return e.copies, meta.OK, true
	case !l.fresh(&e):
		l.misses.Add(1)
		return nil, meta.OK, false
	}
	l.hits.Add(1)
	return e.copies, e.status, true
}

// Forget forgets what is known of versions of a chunk below one: the changelog
// says that they are no more.
func (l *Locator) Forget(id meta.ChunkID, below uint32) { l.cache.drop(id, below) }

func (l *Locator) fresh(e *entry) bool {
	return e.generation == l.cache.generation.Load() && l.now()-e.asked < l.cfg.Fresh
}

func (l *Locator) now() time.Duration { return time.Since(l.start) }

// Locate asks the primary about slot index of the file ino, where the image
// has version of chunk id. Without copies and with status OK it says that it
// could not find out, which clients try again; ELOCKED says that the primary
// has another chunk or version there by now, so that the image is about to
// have it too.
func (l *Locator) Locate(ctx context.Context, ino meta.Inode, index uint32, id meta.ChunkID, version uint32) (wire.Locations, meta.Status) {
	if copies, status, ok := l.Cached(id, version); ok {
		return copies, status
	}
	c := l.ask(slot{ino, index}, key{id, version})
	if c == nil {
		return nil, meta.OK
	}
	select {
	case <-c.done:
		if c.err == nil {
			return c.copies, c.status
		}
	case <-ctx.Done():
	}
	if e, ok := l.cache.get(id); ok && e.version == version && e.status == meta.OK {
		l.stale.Add(1)
		return e.copies, meta.OK
	}
	return nil, meta.OK
}

type slot struct {
	ino   meta.Inode
	index uint32
}

// ask returns the question about a chunk that is on the way, which it puts
// there if need be; nil if there is nobody to ask or too much is asked.
func (l *Locator) ask(at slot, k key) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.calls[k]; c != nil {
		return c
	}
	link := l.link.Load()
	if link == nil {
		return nil
	}
	if len(l.calls) >= maxAsked {
		return nil
	}
	c := &call{done: make(chan struct{})}
	l.calls[k] = c
	l.asked.Add(1)
	link.wg.Go(func() {
		c.copies, c.status, c.err = l.readChunk(link, at, k)
		l.mu.Lock()
		delete(l.calls, k)
		l.mu.Unlock()
		close(c.done)
	})
	return c
}

// readChunk asks and puts the answer into the cache.
func (l *Locator) readChunk(link *link, at slot, k key) (wire.Locations, meta.Status, error) {
	ctx, cancel := context.WithTimeout(link.ctx, askTime)
	defer cancel()
	generation := l.cache.generation.Load()
	payload, err := link.call(ctx, wire.FuseReadChunk, func(e *wire.Encoder, id uint32) {
		(&wire.ChunkRequest{MsgID: id, Inode: at.ino, Index: at.index, Old: link.release < flagsKnown}).Append(e, wire.FuseReadChunk)
	})
	if err != nil {
		return nil, meta.OK, err
	}
	if _, status, ok := wire.ReplyStatus(payload); ok {
		return nil, l.refused(k, status, generation), nil
	}
	var reply wire.ChunkReply
	if err := reply.Decode(wire.NewDecoder(payload), link.release); err != nil {
		return nil, meta.OK, link.fail(err)
	}
	if reply.Chunk != 0 {
		l.cache.put(reply.Chunk, entry{version: reply.Version, copies: reply.Copies, asked: l.now(), generation: generation})
	}
	if reply.Chunk != k.id || reply.Version != k.version {
		l.moved.Add(1)
		return nil, meta.ELOCKED, nil
	}
	return reply.Copies, meta.OK, nil
}

// refused translates the primary's refusal to tell. That a chunk has no copy
// is what clients are told; that the file is no longer there, or has no such
// chunk, the image will know soon.
func (l *Locator) refused(k key, status meta.Status, generation uint64) meta.Status {
	switch status {
	case meta.ECHUNKLOST, meta.ENOCHUNK:
		l.refusals.Add(1)
		l.cache.put(k.id, entry{version: k.version, status: status, asked: l.now(), generation: generation})
		return status
	case meta.ENOENT, meta.EINDEXTOOBIG:
		l.moved.Add(1)
		return meta.ELOCKED
	}
	l.refusals.Add(1)
	return status
}

func (l *Locator) setLink(k *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.link.Store(k)
}

// Space returns what the primary said last, zeros if it never did.
func (l *Locator) Space() Space {
	if s := l.space.Load(); s != nil {
		return *s
	}
	return Space{}
}

// Stats returns them.
func (l *Locator) Stats() Stats {
	return Stats{
		Connected: l.link.Load() != nil, Hits: l.hits.Load(), Misses: l.misses.Load(), Stale: l.stale.Load(),
		Refusals: l.refusals.Load(), Asked: l.asked.Load(), Moved: l.moved.Load(), Chunks: l.cache.len(),
	}
}
