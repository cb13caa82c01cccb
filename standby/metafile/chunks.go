package metafile

import (
	"encoding/binary"
	"fmt"

	"mfsstandby/changelog/meta"
)

// CHNK 1.1: next chunk:64, records, a zero record. Record:
//
//	chunk:64 version:32 locked to:32 archive:8
//
// CHNK 1.0 has no archive flag. 1.2, of 4.x, has more flags, and tells of what
// classes the slots are that hold the chunk, see chunks_users.go.
const (
	chunkSize      = 17
	chunkArchive   = 0x11 // first version with the flag
	chunkClasses   = 0x12 // first version with classes
	versionBits    = 1<<30 - 1
	versionZeros   = 1 << 31 // of a version: meta.ChunkZeros
	chunkManyPairs = 0x80    // of the flags: 256 pairs more
)

// readChunk reads the next record; archive is the raw flag; false is the end.
func (in *input) readChunk() (id meta.ChunkID, c meta.Chunk, archive uint8, ok bool) {
	size := chunkSize + int(in.version) - chunkArchive
	b := in.next(size)
	if b == nil {
		return 0, c, 0, false
	}
	id = meta.ChunkID(binary.BigEndian.Uint64(b))
	if in.version >= chunkArchive {
		archive = b[16]
	}
	in.pairs = 0
	c = meta.Chunk{Version: binary.BigEndian.Uint32(b[8:]), LockedTo: meta.Time(binary.BigEndian.Uint32(b[12:])), Flags: archive & meta.ChunkArchive}
	if id == 0 && (c.Version != 0 || c.LockedTo != 0 || archive != 0) {
		in.failf("chunk 0 with version %d, locked to %d: neither a chunk nor the end record", c.Version, c.LockedTo)
	}
	if in.version >= chunkClasses {
		in.pairs = int(b[17])
		archive = in.modernChunk(&c, archive)
	}
	return id, c, archive, id != 0
}

// modernChunk reads what is new in 1.2.
func (in *input) modernChunk(c *meta.Chunk, flags uint8) uint8 {
	if flags&chunkManyPairs != 0 {
		in.pairs += 256
		flags &^= chunkManyPairs
	}
	c.Flags = flags & (meta.ChunkArchive | meta.ChunkTrash)
	if c.Version&versionZeros != 0 {
		c.Flags |= meta.ChunkZeros
	}
	c.Version &= versionBits
	return flags
}

func (l *loader) chunks() error {
	l.st.NextChunk = meta.ChunkID(l.in.u64())
	for {
		l.begin()
		id, c, _, ok := l.in.readChunk()
		if !ok {
			l.chunksIn = true
			return l.in.err
		}
		l.in.classPairs(nil)
		refs, first := l.refs.see(id)
		if !first {
			return l.in.failf("chunk %016X comes twice", uint64(id))
		}
		c.Files = refs
		l.st.Chunks.Insert(id, c)
	}
}

func writeChunks(o *output, st *meta.State) error {
	o.u64(uint64(st.NextChunk))
	o.end()
	for id, c := range st.Chunks.Scan(0) {
		if o.modern {
			o.modernChunk(st, id, &c)
		} else {
			o.chunk(id, &c)
		}
		if o.err != nil {
			return o.err
		}
	}
	size := chunkSize
	if o.modern {
		size++
	}
	o.zeros(size)
	o.end()
	return o.err
}

func (o *output) chunk(id meta.ChunkID, c *meta.Chunk) {
	locked := c.LockedTo
	if locked < o.now {
		locked = 0
	}
	o.u64(uint64(id))
	o.u32(c.Version)
	o.u32(uint32(locked))
	o.u8(c.Flags & meta.ChunkArchive)
	o.end()
}

func dumpChunks(d *dumper) error {
	d.t.hex("# nextchunkid: ", d.in.u64(), 16)
	for d.endLine() {
		d.in.begin()
		id, c, archive, ok := d.in.readChunk()
		if !ok {
			break
		}
		d.t.hex("CHUNK|i:0x", uint64(id), 16)
		d.t.hex("|v:0x", uint64(c.Version), 8)
		d.t.num("|t:", uint64(c.LockedTo), 10)
		d.t.num("|a:", uint64(archive), 0)
		if d.in.version >= chunkClasses {
			d.classPairs()
		}
	}
	return d.in.err
}

// copyLock is for how many seconds mfsmaster locks an unlocked chunk to copy it.
const copyLock = 120

func compareChunks(c *comparer) error {
	c.scalar("CHNK", "next chunk", c.in.u64(), uint64(c.st.NextChunk))
	var seen meta.IDSet
	for {
		c.in.begin()
		id, chunk, _, ok := c.in.readChunk()
		if !ok {
			break
		}
		seen.Add(uint64(id))
		c.in.classPairs(nil)
		image, ok := c.st.Chunks.Get(id)
		if !ok {
			c.missing("CHNK", chunkKey(id), chunk)
			continue
		}
		image.Files = 0
		if !c.modern() && chunk.LockedTo == 0 && (c.opt.Now == 0 || image.LockedTo < c.opt.Now) {
			image.LockedTo = 0 // over when the file was stored
		}
		if !c.modern() && !c.opt.ChunkLocks && chunk.LockedTo > image.LockedTo+copyLock {
			image.LockedTo = chunk.LockedTo
		}
		if image != chunk {
			c.fields("CHNK", chunkKey(id), 0, chunk, image)
		}
	}
	for id, chunk := range c.st.Chunks.Scan(0) {
		if !seen.Has(uint64(id)) {
			c.extra("CHNK", chunkKey(id), 0, chunk)
		}
	}
	return c.in.err
}

func chunkKey(id meta.ChunkID) string { return fmt.Sprintf("%016X", uint64(id)) }
