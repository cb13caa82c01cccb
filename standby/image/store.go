package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"golang.org/x/sys/unix"
)

// Badger's share of the memory beyond the cache: memtables and indices. Tables are
// not compressed, so that their blocks are read where they are mapped. A
// builder of tables takes at least twice a table's size, is enlarged in
// doubling steps, and up to eight of them are kept: so memtables are small
// enough to become a table in twice tableSize, and the tables of all levels are
// of the same size.
const (
	memTableSize   = 4 << 20
	tableSize      = 4 << 20
	numMemTables   = 4
	indexCacheSize = 48 << 20
)

// ErrDiskFull says that a commit was not begun, or an image not opened, because
// the disk may not hold what is to be written; the image stays at its last
// commit.
var ErrDiskFull = errors.New("the disk is full")

// ErrLostTable says that an image lost a file with the power: Badger names a new
// table in its manifest before it syncs the directory that the table is in,
// which only file systems without a common journal of both can tell apart. Such
// an image is of no use, and is to be made anew.
var ErrLostTable = errors.New("the image lost a file, as a power failure can make it; run or standby load it anew from the stream")

// openStore opens Badger as the image uses it: every write carries the number
// of its flush as its version (managed mode), and flushes are synced by
// syncLogs.
func openStore(dir string, log *slog.Logger) (*badger.DB, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	opt := badger.DefaultOptions(dir).
		WithSyncWrites(false).
		WithDetectConflicts(false).
		WithNumVersionsToKeep(1).
		WithValueThreshold(256 << 10). // must be below what a memtable takes at once
		WithMemTableSize(memTableSize).
		WithNumMemtables(numMemTables).
		WithNumLevelZeroTables(20).
		WithNumLevelZeroTablesStall(30).
		WithNumCompactors(2).
		WithBaseTableSize(tableSize).
		WithValueLogFileSize(16 << 20).
		WithBlockCacheSize(0).
		WithIndexCacheSize(indexCacheSize).
		WithCompression(options.None).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithMetricsEnabled(false).
		WithLogger(logger{log})
	opt.TableSizeMultiplier = 1
	if err := checkRoom(dir, 0); err != nil {
		return nil, err
	}
	if err := dropEmptyLogs(dir); err != nil {
		return nil, fmt.Errorf("opening image %s: %w", dir, err)
	}
	db, err := badger.OpenManaged(opt)
	if err != nil {
		if strings.Contains(err.Error(), "Cannot acquire directory lock") {
			return nil, fmt.Errorf("image %s is in use by another process", dir)
		}
		if strings.Contains(err.Error(), "file does not exist for table") {
			return nil, fmt.Errorf("opening image %s: %w: %w", dir, ErrLostTable, err)
		}
		return nil, fmt.Errorf("opening image %s: %w", dir, err)
	}
	return db, nil
}

// dropEmptyLogs removes logs of no length. A crash leaves one when it comes
// between the making of a log and its first sync, or between the two steps in
// which Badger removes one: nothing in it was ever needed, but Badger does not
// open a directory with such a file.
func dropEmptyLogs(dir string) error {
	lock, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer lock.Close() // the lock goes with it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // in use, perhaps by one that is making a log: Badger will tell
	}
	for _, pattern := range []string{"*.mem", "*.vlog"} {
		logs, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, path := range logs {
			if st, err := os.Stat(path); err != nil {
				return err
			} else if st.Size() > 0 {
				continue
			}
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// logger gives Badger's warnings and errors to the program's log.
type logger struct{ log *slog.Logger }

func (l logger) put(level slog.Level, format string, args []any) {
	if l.log != nil {
		l.log.Log(context.Background(), level, "badger: "+strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}

func (l logger) Errorf(format string, args ...any)   { l.put(slog.LevelError, format, args) }
func (l logger) Warningf(format string, args ...any) { l.put(slog.LevelWarn, format, args) }
func (l logger) Infof(format string, args ...any)    { l.put(slog.LevelDebug, format, args) }
func (l logger) Debugf(string, ...any)               {}

// flushBatch is the encoded dirty pages of one flush.
type flushBatch struct {
	arena []byte
	keys  []flushKey
}

type flushKey struct {
	prefix     byte
	key        uint64
	start, end int // in arena; equal: delete
}

func (f *flushBatch) add(prefix byte, key uint64, start int) {
	f.keys = append(f.keys, flushKey{prefix, key, start, len(f.arena)})
}

func (f *flushBatch) reset() {
	f.arena, f.keys = f.arena[:0], f.keys[:0]
}

// writeBatch writes pages; syncLogs makes them durable.
func writeBatch(db *badger.DB, f *flushBatch, ts uint64) error {
	wb := db.NewWriteBatchAt(ts)
	defer wb.Cancel()
	keys := make([]byte, 0, 9*len(f.keys))
	for _, k := range f.keys {
		at := len(keys)
		keys = append(keys, storeKey(k.prefix, k.key)...)
		var err error
		if key := keys[at:len(keys):len(keys)]; k.start == k.end {
			err = wb.Delete(key)
		} else {
			err = wb.Set(key, f.arena[k.start:k.end:k.end])
		}
		if err != nil {
			return err
		}
	}
	return wb.Flush()
}

// flushed ends a batch and makes it durable.
func flushed(wb *badger.WriteBatch, dir string) error {
	if err := wb.Flush(); err != nil {
		return err
	}
	return syncLogs(dir)
}

// syncLogs makes what was written durable. Badger can sync after each of its
// own transactions, which is once per megabyte; and it does not sync the log of
// a memtable that is full but not yet a table, nor the name of a new log. What
// became a table meanwhile, Badger has synced itself.
func syncLogs(dir string) error {
	logs, _ := filepath.Glob(filepath.Join(dir, "*.mem"))
	large, _ := filepath.Glob(filepath.Join(dir, "*.vlog")) // of large values
	for _, path := range slices.Concat(large, logs, []string{dir}) {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeRoot makes everything up to its ts the image.
func writeRoot(db *badger.DB, dir string, r *root) error {
	txn := db.NewTransactionAt(math.MaxUint64, true)
	defer txn.Discard()
	if err := txn.Set([]byte(rootKey), r.encode()); err != nil {
		return err
	}
	if err := txn.CommitAt(r.ts, nil); err != nil {
		return err
	}
	return syncLogs(dir)
}

// readRoot returns the newest root, nil if there is none.
func readRoot(db *badger.DB) (*root, error) {
	txn := db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	item, err := txn.Get([]byte(rootKey))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := item.ValueCopy(nil)
	if err != nil {
		return nil, err
	}
	return decodeRoot(b)
}

// rollback undoes what was flushed after the last commit: each key that has a
// newer version gets its committed value again. Badger cannot take versions
// back, so the image continues at a ts after all of them.
func rollback(db *badger.DB, dir string, r *root) error {
	keys, newest, err := newerKeys(db, r.ts)
	if err != nil || newest == r.ts {
		return err
	}
	old := db.NewTransactionAt(r.ts, false)
	defer old.Discard()
	ts := newest + 1
	wb := db.NewWriteBatchAt(ts)
	defer wb.Cancel()
	for _, key := range keys {
		item, err := old.Get([]byte(key))
		if errors.Is(err, badger.ErrKeyNotFound) {
			if err := wb.Delete([]byte(key)); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		value, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		if err := wb.Set([]byte(key), value); err != nil {
			return err
		}
	}
	if err := flushed(wb, dir); err != nil {
		return err
	}
	r.ts = ts
	return writeRoot(db, dir, r)
}

// newerKeys lists the keys with a version above ts, and the highest version.
func newerKeys(db *badger.DB, ts uint64) (keys []string, newest uint64, err error) {
	newest = ts
	txn := db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	opt := badger.DefaultIteratorOptions
	opt.AllVersions = true
	opt.PrefetchValues = false
	opt.SinceTs = ts
	it := txn.NewIterator(opt)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		newest = max(newest, item.Version())
		key := item.Key()
		if string(key) == rootKey {
			return nil, 0, fmt.Errorf("image is damaged: a commit newer than the newest")
		}
		if n := len(keys); n == 0 || keys[n-1] != string(key) {
			keys = append(keys, string(key))
		}
	}
	return keys, newest, nil
}

// checkRoom refuses a flush that the disk may not hold: Badger writes through
// memory maps, where a full disk kills the process.
func checkRoom(dir string, need int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("looking at the disk of %s: %w", dir, err)
	}
	const reserve = 64 << 20 // log, tables being written, compaction
	free := int64(fs.Bavail) * int64(fs.Bsize)
	if free < reserve+2*need {
		return fmt.Errorf("%w: image %s needs %d MiB of free disk, %d MiB are there; make room and start again, nothing is lost",
			ErrDiskFull, dir, (reserve+2*need)>>20, free>>20)
	}
	return nil
}
