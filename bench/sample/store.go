package sample

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"mfsstandby/bench"
	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
	"mfsstandby/replicator/tap"
	"mfsstandby/standby/metafile"
)

// Names as mfsmaster gives them: it saves to savedName while it runs, and to
// stoppedName at its end.
const (
	savedName   = "metadata.mfs.back"
	stoppedName = "metadata.mfs"
	lockName    = ".mfsmaster.lock"
)

// store is the state and the files it is kept in.
type store struct {
	dir  string
	lock *os.File
	log  *os.File // changelog.0.mfs, nil until there is an entry
	buf  []byte   // entries to be written
	st   *meta.State
}

func changelogName(i int) string { return fmt.Sprintf("changelog.%d.mfs", i) }

// open returns the version of the next entry.
func (s *store) open(dir string) (next meta.Version, err error) {
	s.dir = dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	if s.lock, err = os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return 0, err
	}
	if err = syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = fmt.Errorf("a sample primary is working in %s already: %w", dir, err)
	} else if next, err = s.load(); err != nil {
		err = fmt.Errorf("%w; remove %s to begin a new cluster", err, dir)
	}
	if err != nil {
		return 0, errors.Join(err, s.lock.Close())
	}
	return next, nil
}

// load reads the newest metadata file and applies what follows it.
func (s *store) load() (meta.Version, error) {
	base, err := tap.NewestBase(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return s.create()
	}
	if err != nil {
		return 0, err
	}
	file, err := os.Open(base.Path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if err := s.read(file, base.Path); err != nil {
		return 0, err
	}
	next, err := s.replay(base.Version)
	if err != nil {
		return 0, err
	}
	if base.Path == filepath.Join(s.dir, stoppedName) {
		err = os.Rename(base.Path, filepath.Join(s.dir, savedName))
	}
	return next, err
}

func (s *store) read(r io.Reader, name string) error {
	s.st = metatest.New() // a sample is small: plain maps hold it
	s.st.Inodes = newInodes()
	_, err := metafile.Read(r, s.st, metafile.ReadOptions{Name: name})
	return err
}

// create makes the metadata of an empty file system.
func (s *store) create() (meta.Version, error) {
	if _, err := os.Stat(filepath.Join(s.dir, changelogName(0))); err == nil {
		return 0, fmt.Errorf("%s has changelog files but no metadata file", s.dir)
	}
	var id [8]byte
	rand.Read(id[:]) // never fails
	base := bench.Base{Version: 2, MetaID: binary.BigEndian.Uint64(id[:]) | 1, Time: uint32(time.Now().Unix())}
	var file bytes.Buffer
	if err := bench.FreshMetadata(&file, base); err != nil {
		return 0, err
	}
	if err := s.read(&file, "fresh metadata"); err != nil {
		return 0, err
	}
	return meta.Version(base.Version), s.save(savedName, meta.Version(base.Version))
}

// replay applies the changelog files and cuts half a line off that a crash
// left in the current one.
func (s *store) replay(next meta.Version) (meta.Version, error) {
	paths, err := filepath.Glob(filepath.Join(s.dir, "changelog.*.mfs"))
	if err != nil {
		return 0, err
	}
	files, err := tap.OpenFiles(next, paths...)
	if err != nil {
		return 0, err
	}
	defer files.Close()
	ops := changelog.NewBatch()
	for {
		b, err := files.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return next, nil
		}
		var torn *tap.TornLine
		if errors.As(err, &torn) && torn.Name == filepath.Join(s.dir, changelogName(0)) {
			return next, os.Truncate(torn.Name, torn.Offset)
		}
		if err != nil {
			return 0, err
		}
		ops.Reset()
		for _, raw := range b.Entries {
			now, op, err := ops.Parse(raw.Text)
			if err != nil {
				return 0, fmt.Errorf("entry %d: %w", raw.Version, err)
			}
			if err := changelog.ApplyEntry(s.st, changelog.Entry{Version: raw.Version, Time: now, Op: op}); err != nil {
				return 0, err
			}
			next = raw.Version + 1
		}
	}
}

// write appends the waiting entries to changelog.0.mfs, with one call as a
// master's buffer does.
func (s *store) write() error {
	if len(s.buf) == 0 {
		return nil
	}
	if s.log == nil {
		var err error
		s.log, err = os.OpenFile(filepath.Join(s.dir, changelogName(0)), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return err
		}
	}
	_, err := s.log.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}

// rotate renames the changelog files and saves the metadata, as a master does
// at each full hour.
func (s *store) rotate(keep int, next meta.Version) error {
	if s.log != nil {
		if err := s.log.Close(); err != nil {
			return err
		}
		s.log = nil
	}
	for i := keep - 1; i >= 0; i-- {
		err := os.Rename(filepath.Join(s.dir, changelogName(i)), filepath.Join(s.dir, changelogName(i+1)))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return s.save(savedName, next)
}

func (s *store) save(name string, next meta.Version) error {
	return metafile.File(filepath.Join(s.dir, name), "", s.st, metafile.Header{Version: next}, metafile.WriteOptions{})
}

// close saves the metadata as a master that ends does.
func (s *store) close(next meta.Version) error {
	err := s.save(stoppedName, next)
	if err == nil {
		err = os.Remove(filepath.Join(s.dir, savedName))
	}
	if s.log != nil {
		err = errors.Join(err, s.log.Close())
	}
	return errors.Join(err, s.lock.Close())
}
