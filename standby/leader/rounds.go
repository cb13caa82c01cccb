package leader

import (
	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
)

// Rounds are duties that look at everything there is, a part each second.
// mfsmaster's round of all nodes begins 900 s after its start and takes up to
// 3277 s; that of all chunks takes 300 s.
const (
	nodeRest    = 900  // seconds
	nodeRound   = 3000 // seconds
	chunkRound  = 300  // seconds
	leastAtOnce = 256  // looked at each second
	lockedFor   = 512  // nodes or chunks that are looked at under one lock of the image
)

// rounds is how far they are.
type rounds struct {
	node  meta.Inode
	chunk meta.ChunkID

	// What this second's part has found.
	files  []meta.Inode   // with chunks behind their end
	chunks []meta.ChunkID // that no file has
}

// look looks at the part of one second. It only reads, so that clients wait for
// what there is to do only.
func (r *rounds) look(img *image.Image, nodes bool) error {
	r.files, r.chunks = r.files[:0], r.chunks[:0]
	var inodes, chunks int
	err := img.Read(func(st *meta.State, _ image.Position) error {
		inodes, chunks = int(st.MaxInode), int(st.NextChunk)
		for range st.Servers.Scan(meta.Server{}) {
			chunks = 0 // one of them may have a copy
			break
		}
		return nil
	})
	if nodes && err == nil {
		err = r.part(img, max(inodes/nodeRound, leastAtOnce), r.lookAtNodes)
	}
	if chunks > 0 && err == nil {
		err = r.part(img, max(chunks/chunkRound, leastAtOnce), r.lookAtChunks)
	}
	return err
}

// part looks at so many numbers of nodes or chunks, or up to the end of a round.
// They are looked up one by one: a scan is for who writes to the image.
func (r *rounds) part(img *image.Image, count int, look func(st *meta.State, most int) (more bool)) error {
	for more := true; more && count > 0; count -= lockedFor {
		err := img.Read(func(st *meta.State, _ image.Position) error {
			more = look(st, min(count, lockedFor))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *rounds) lookAtNodes(st *meta.State, most int) (more bool) {
	for ; most > 0 && r.node <= st.MaxInode; most-- {
		if n, ok := st.Nodes.Get(r.node); ok && changelog.BeyondEnd(&n) {
			r.files = append(r.files, r.node)
		}
		r.node++
	}
	more = r.node <= st.MaxInode
	if !more {
		r.node = 0
	}
	return more
}

func (r *rounds) lookAtChunks(st *meta.State, most int) (more bool) {
	for ; most > 0 && r.chunk < st.NextChunk; most-- {
		if c, ok := st.Chunks.Get(r.chunk); ok && c.Files == 0 {
			r.chunks = append(r.chunks, r.chunk)
		}
		r.chunk++
	}
	more = r.chunk < st.NextChunk
	if !more {
		r.chunk = 0
	}
	return more
}

// carryOut does what look found, as far as it is so still.
func (r *rounds) carryOut(t *Turn) {
	for _, ino := range r.files {
		for index := range changelog.UsedSlots(t.st, ino) {
			t.Do(nil, &changelog.SlotDuty{Inode: ino, Index: index})
		}
	}
	for _, id := range r.chunks {
		t.Do(nil, &changelog.ChunkDuty{Chunk: id})
	}
}
