package stream

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// fileSyncer makes what nats-server has written of a stream durable, beside it:
// nats-server would do so while it holds up everything that wants to write or
// read the stream. One sync serves all messages that came while the last one
// ran.
//
// It relies on this of the file store: messages are in the newest block file,
// <number>.blk, when they are acknowledged; a new block has a higher number; a
// block that is rewritten is synced before it takes the old one's name; the
// stream's own settings are in meta.inf and meta.sum.
type fileSyncer struct {
	root    string
	enabled bool
	tick    time.Duration // at least one of the file system's clock

	syncFile func(path string) error // as the function of that name; tests have others

	mu      sync.Mutex
	streams map[string]*syncedFiles
}

// syncedFiles is what is known to be durable of a stream.
type syncedFiles struct {
	newest uint64               // block
	listed time.Time            // modification time of the blocks' directory when it was read last
	meta   map[string]time.Time // modification time of a file when it was synced last
}

// sync syncs what a stream has on disk, and was written before the call.
func (f *fileSyncer) sync(stream string) error {
	if !f.enabled {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.streams == nil {
		f.streams = map[string]*syncedFiles{}
	}
	s := f.streams[stream]
	if s == nil {
		s = &syncedFiles{meta: map[string]time.Time{}}
		f.streams[stream] = s
	}
	dir := filepath.Join(f.root, "jetstream", "$G", "streams", stream)
	err := f.syncMeta(s, dir)
	if err == nil {
		err = f.syncBlocks(s, filepath.Join(dir, "msgs"))
	}
	if err != nil {
		return fmt.Errorf("%w: making stream %s durable: %w", ErrStorage, stream, err)
	}
	return nil
}

func (f *fileSyncer) syncMeta(s *syncedFiles, dir string) error {
	for _, name := range []string{"meta.inf", "meta.sum"} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if s.meta[name].Equal(st.ModTime()) {
			continue
		}
		if err := f.syncFile(filepath.Join(dir, name)); err != nil {
			return err
		}
		if time.Since(st.ModTime()) > f.tick {
			s.meta[name] = st.ModTime()
		}
	}
	return nil
}

// syncBlocks syncs the newest block and, where there are new ones, those before.
func (f *fileSyncer) syncBlocks(s *syncedFiles, dir string) error {
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	blocks := []uint64{s.newest}
	if !s.listed.Equal(st.ModTime()) {
		if blocks, err = listBlocks(dir, s.newest); err != nil {
			return err
		}
	}
	for _, n := range blocks {
		err := f.syncFile(filepath.Join(dir, strconv.FormatUint(n, 10)+blockSuffix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it was dropped as a whole
			return err
		}
		s.newest = max(s.newest, n)
	}
	if time.Since(st.ModTime()) > f.tick { // see nameSyncer
		s.listed = st.ModTime()
	}
	return nil
}

const blockSuffix = ".blk"

// listBlocks returns the numbers of the blocks from one on, ascending.
func listBlocks(dir string, from uint64) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var blocks []uint64
	for _, e := range entries {
		number, isBlock := strings.CutSuffix(e.Name(), blockSuffix)
		if !isBlock {
			continue
		}
		if n, err := strconv.ParseUint(number, 10, 64); err == nil && n >= from {
			blocks = append(blocks, n)
		}
	}
	slices.Sort(blocks)
	return blocks, nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
