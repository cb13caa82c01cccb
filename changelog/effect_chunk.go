package changelog

import "mfsstandby/changelog/meta"

const (
	lockTime   = 120           // seconds a chunk stays locked for writing
	unusedTime = 7 * 24 * 3600 // seconds a lost chunk past the end of a file is kept
	maxIDJump  = 1_000_000_000 // how far ahead of the next id a chunkserver's chunk may be
)

// attachChunk notes one more slot that holds a chunk. What a slot names need
// not exist.
func attachChunk(st *meta.State, id meta.ChunkID) {
	if c, ok := st.Chunks.Edit(id); ok {
		c.Files++
	}
}

// detachChunk notes one slot less that holds a chunk. A chunk that no file
// holds stays until an entry removes it.
func detachChunk(st *meta.State, id meta.ChunkID) {
	if c, ok := st.Chunks.Edit(id); ok && c.Files > 0 {
		c.Files--
	}
}

// newChunk makes the next chunk, which the entry says is want, held by one
// slot and locked.
func newChunk(st *meta.State, now meta.Time, want meta.ChunkID) error {
	if err := match("chunk", want, st.NextChunk); err != nil {
		return err
	}
	st.NextChunk++
	st.Chunks.Insert(want, meta.Chunk{Version: 1, LockedTo: now + lockTime, Files: 1})
	return nil
}

// modifyChunk readies chunk old of a slot for a change: one that other slots
// hold too is copied, else its version rises if raise is set. The slot gets
// chunk want; the entry tells it and it must be what this state gives.
func modifyChunk(st *meta.State, now meta.Time, old, want meta.ChunkID, raise bool) error {
	c, ok := st.Chunks.Edit(old)
	switch {
	case !ok:
		return chunkError(old, meta.ENOCHUNK)
	case c.Files == 0:
		return chunkError(old, meta.ECHUNKLOST)
	case c.Files > 1:
		c.Files--
		return newChunk(st, now, want)
	}
	if err := match("chunk", want, old); err != nil {
		return err
	}
	if raise {
		c.Version++
	}
	c.LockedTo = now + lockTime
	return nil
}

// unlockChunk ends the lock of a chunk, if it still exists. 4.x keeps the time
// of that: whether a chunk is archived can depend on it.
func unlockChunk(st *meta.State, now meta.Time, id meta.ChunkID) {
	if c, ok := st.Chunks.Edit(id); ok {
		c.LockedTo = 0
		if modern(st) {
			c.LockedTo = now - 1
		}
	}
}

// zerosMark is the bit of a chunk's version, in entries and files, that stands
// for meta.ChunkZeros; the version proper has 30 bits since 4.x.
const (
	zerosMark   = 1 << 31
	versionBits = 1<<30 - 1
)

// setVersion gives a chunk the version that an entry has.
func setVersion(st *meta.State, c *meta.Chunk, version uint32) {
	c.Version = version
	if !modern(st) {
		return
	}
	c.Version &= versionBits
	c.Flags &^= meta.ChunkZeros
	if version&zerosMark != 0 {
		c.Flags |= meta.ChunkZeros
	}
}

// Apply ends the lock. The primary writes the entry before it looks for the
// chunk, with the id that a client gave: an unknown one has no effect there,
// while its own replay would stop.
func (op *Unlock) Apply(st *meta.State, now meta.Time) error {
	unlockChunk(st, now, op.Chunk)
	return nil
}

// Apply makes a chunk that a chunkserver has and no file holds.
func (op *ChunkAdd) Apply(st *meta.State, now meta.Time) error {
	if _, ok := st.Chunks.Get(op.Chunk); ok {
		return chunkError(op.Chunk, meta.ECHUNKEXIST)
	}
	if op.Chunk > st.NextChunk+maxIDJump || op.LockedTo > 0 && op.LockedTo < now {
		return chunkError(op.Chunk, meta.EMISMATCH)
	}
	st.NextChunk = max(st.NextChunk, op.Chunk+1)
	st.Chunks.Insert(op.Chunk, meta.Chunk{Version: op.ChunkVersion, LockedTo: op.LockedTo})
	return nil
}

// Apply removes a chunk that no file holds and whose lock is over.
func (op *ChunkDel) Apply(st *meta.State, now meta.Time) error {
	c, ok := st.Chunks.Get(op.Chunk)
	switch {
	case !ok:
		return chunkError(op.Chunk, meta.ENOCHUNK)
	case c.Files != 0:
		return chunkError(op.Chunk, meta.EACTIVE)
	case c.LockedTo >= now && st.Release.Since(meta.Release3): // before, locks ended in other ways too
		return chunkError(op.Chunk, meta.ELOCKED)
	}
	if err := match("chunk version", op.ChunkVersion, c.Version); err != nil {
		return err
	}
	st.Chunks.Delete(op.Chunk)
	return nil
}

// Apply sets the version.
func (op *SetVersion) Apply(st *meta.State, _ meta.Time) error {
	c, ok := st.Chunks.Edit(op.Chunk)
	if !ok {
		return chunkError(op.Chunk, meta.ENOCHUNK)
	}
	setVersion(st, c, op.ChunkVersion)
	return nil
}

// Apply takes the chunk out of archive and trash.
func (op *ChunkFlagsClr) Apply(st *meta.State, now meta.Time) error {
	c, ok := st.Chunks.Edit(op.Chunk)
	switch {
	case !ok:
		return chunkError(op.Chunk, meta.ENOCHUNK)
	case c.LockedTo >= now:
		return chunkError(op.Chunk, meta.ELOCKED)
	}
	c.Flags &^= meta.ChunkArchive | meta.ChunkTrash
	return nil
}

// Apply adds one to the version.
func (op *IncVersion) Apply(st *meta.State, _ meta.Time) error {
	c, ok := st.Chunks.Edit(op.Chunk)
	if !ok {
		return chunkError(op.Chunk, meta.ENOCHUNK)
	}
	c.Version++
	return nil
}

// Apply raises the next chunk id.
func (op *NextChunkID) Apply(st *meta.State, _ meta.Time) error {
	if op.Chunk <= st.NextChunk {
		return chunkError(op.Chunk, meta.EMISMATCH)
	}
	st.NextChunk = op.Chunk
	return nil
}
