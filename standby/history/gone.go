package history

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
)

// Gone is a file of an old state whose data the chunkservers may no longer have:
// metadata can be taken back, data cannot.
type Gone struct {
	Path      string     `json:"path"`
	Inode     meta.Inode `json:"inode"`
	Chunks    uint32     `json:"chunks"`    // of the file, then
	Deleted   uint32     `json:"deleted"`   // of them, since
	Rewritten uint32     `json:"rewritten"` // of them, since: with other data and mostly another version
}

// FindGone reports the files of a state of which chunks were deleted or written
// since, as far as the entries from its position on tell. A chunk is told to be
// deleted when its last copy is: of what was purged in the last minutes some may
// be missing here. Memory is a few bits per chunk.
func FindGone(ctx context.Context, src Source, st *meta.State, from stream.Position, tell func(entries int64), report func(Gone) error) error {
	deleted, rewritten, err := touchedChunks(ctx, src, st.Release, from, tell)
	if err != nil || deleted.Empty() && rewritten.Empty() {
		return err
	}
	var marked meta.IDSet
	hit := func(id meta.ChunkID) bool { return deleted.Has(uint64(id)) || rewritten.Has(uint64(id)) }
	for slot, id := range st.Slots.Scan(meta.Slot{}) {
		if hit(id) {
			marked.Add(uint64(slot.Inode))
		}
	}
	for ino, n := range st.Nodes.Scan(0) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !n.Type.IsFile() || !marked.Has(uint64(ino)) && (n.Chunk0 == 0 || !hit(n.Chunk0)) {
			continue
		}
		t, _ := look(st, ino)
		path, _ := Text(t.path(st, ino))
		g := Gone{Path: path, Inode: ino, Chunks: n.Used}
		count := func(id meta.ChunkID) {
			switch {
			case deleted.Has(uint64(id)):
				g.Deleted++
			case rewritten.Has(uint64(id)):
				g.Rewritten++
			}
		}
		count(n.Chunk0)
		for slot, id := range st.Slots.Scan(meta.Slot{Inode: ino, Index: 1}) {
			if slot.Inode != ino {
				break
			}
			count(id)
		}
		if err := report(g); err != nil {
			return err
		}
	}
	return st.Err()
}

// touchedChunks gathers the chunks that entries delete or write.
func touchedChunks(ctx context.Context, src Source, release meta.Release, from stream.Position, tell func(int64)) (deleted, rewritten *meta.IDSet, err error) {
	deleted, rewritten = &meta.IDSet{}, &meta.IDSet{}
	r := src.Reader(from)
	defer r.Close()
	ops, read := changelog.NewBatch(), int64(0)
	for {
		b, err := r.Next(ctx)
		if errors.Is(err, io.EOF) || broken(err) {
			return deleted, rewritten, nil // what comes after a rebase is of another history
		}
		if err != nil {
			return nil, nil, err
		}
		if rel := meta.ParseRelease(b.Release); rel != 0 {
			release = rel
		}
		ops.Reset()
		ops.SetRelease(release)
		for _, e := range b.Entries {
			_, op, err := ops.Parse(e.Text)
			if err != nil {
				return nil, nil, fmt.Errorf("entry %d: %w", e.Version, err)
			}
			switch op := op.(type) {
			case *changelog.ChunkDel:
				deleted.Add(uint64(op.Chunk))
			case *changelog.Write:
				rewritten.Add(uint64(op.Chunk))
			case *changelog.Trunc:
				rewritten.Add(uint64(op.Chunk))
			case *changelog.IncVersion:
				rewritten.Add(uint64(op.Chunk))
			}
		}
		if read += int64(len(b.Entries)); tell != nil {
			tell(read)
		}
	}
}
