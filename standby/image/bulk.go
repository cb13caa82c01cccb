package image

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
)

// bulk writes the first pages of a new image, in the order of their keys,
// straight into tables: without log, memtable and later compaction, which take
// two thirds of the time otherwise. Until its end nothing else can be written.
type bulk struct {
	stream *badger.StreamWriter
	kv     pb.KV
}

// newBulk empties the store: there may be pages of an import that was cut short.
func newBulk(db *badger.DB) (*bulk, error) {
	b := &bulk{stream: db.NewStreamWriter()}
	if err := b.stream.Prepare(); err != nil {
		b.cancel()
		return nil, err
	}
	return b, nil
}

// write takes pages after those before.
func (b *bulk) write(f *flushBatch, ts uint64) error {
	buf := z.NewBuffer(len(f.arena)+32*len(f.keys), "image") // of what is beside a value about 20 bytes each
	defer buf.Release()
	b.kv.Version = ts
	for _, k := range f.keys {
		if k.start == k.end {
			return fmt.Errorf("page %c%d of a new image is to be deleted", k.prefix, k.key) // nothing is stored yet
		}
		b.kv.Key = storeKey(k.prefix, k.key)
		b.kv.Value = f.arena[k.start:k.end]
		badger.KVToBuffer(&b.kv, buf)
	}
	return b.stream.Write(buf)
}

// end makes all of it part of the store, and durable but for large values, which
// are in Badger's logs; with an error, it only lets others write again.
func (b *bulk) end(err error) error {
	if err != nil {
		b.cancel()
		return err
	}
	return b.stream.Flush()
}

// cancel ends it without.
func (b *bulk) cancel() { b.stream.Cancel() }
