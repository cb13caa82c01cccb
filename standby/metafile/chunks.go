package metafile

import (
	"encoding/binary"

	"mfsstandby/changelog/meta"
)

// CHNK 1.1: next chunk:64, records, a zero record. Record:
//
//	chunk:64 version:32 locked to:32 archive:8
const chunkSize = 17

// readChunk reads the next record; archive is the raw flag; false is the end.
func (in *input) readChunk() (id meta.ChunkID, c meta.Chunk, archive uint8, ok bool) {
	b := in.next(chunkSize)
	if b == nil {
		return 0, c, 0, false
	}
	id, archive = meta.ChunkID(binary.BigEndian.Uint64(b)), b[16]
	c = meta.Chunk{Version: binary.BigEndian.Uint32(b[8:]), LockedTo: meta.Time(binary.BigEndian.Uint32(b[12:])), Archive: archive&1 != 0}
	if id == 0 && (c.Version != 0 || c.LockedTo != 0 || archive != 0) {
		in.failf("chunk 0 with version %d, locked to %d: neither a chunk nor the end record", c.Version, c.LockedTo)
	}
	return id, c, archive, id != 0
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
		locked := c.LockedTo
		if locked < o.now {
			locked = 0
		}
		o.u64(uint64(id))
		o.u32(c.Version)
		o.u32(uint32(locked))
		o.flag(c.Archive)
		o.end()
		if o.err != nil {
			return o.err
		}
	}
	o.zeros(chunkSize)
	o.end()
	return o.err
}
