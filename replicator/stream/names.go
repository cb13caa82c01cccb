package stream

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// clockTick is longer than the tick of any file system's clock (4 or 10 ms).
const clockTick = 20 * time.Millisecond

// nameSyncer makes the names of the file store's files durable. nats-server
// syncs a block file's content but not the directory when it creates or
// replaces one; POSIX lets the name of such a file vanish with the power.
type nameSyncer struct {
	root    string
	enabled bool
	tick    time.Duration // at least one of the file system's clock

	mu   sync.Mutex
	seen map[string]time.Time // modification time of a directory when it was last synced
	done int                  // directories synced so far
}

// sync syncs the directories of one stream that have changed since they were
// last synced. It costs a few stat calls if nothing has.
func (n *nameSyncer) sync(stream string) error {
	if !n.enabled {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen == nil {
		n.seen = make(map[string]time.Time)
	}
	// The root's own name is in the directory above it; the path below it is
	// nats-server's: jetstream/<account>/streams/<stream>/msgs.
	dirs := []string{filepath.Dir(n.root), n.root}
	for _, part := range []string{"jetstream", "$G", "streams", stream, "msgs"} {
		dirs = append(dirs, filepath.Join(dirs[len(dirs)-1], part))
	}
	for _, dir := range dirs {
		if err := n.syncOne(dir); err != nil {
			return fmt.Errorf("making file names durable: %w", err)
		}
	}
	return nil
}

func (n *nameSyncer) syncOne(dir string) error {
	st, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another layout of another nats-server: its own syncs have to do
	}
	if err != nil {
		return err
	}
	if n.seen[dir].Equal(st.ModTime()) {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	n.done++
	// A change within the same tick of the file system's clock would not move
	// the time: believe it only when that tick is over.
	if time.Since(st.ModTime()) > n.tick {
		n.seen[dir] = st.ModTime()
	}
	return nil
}
