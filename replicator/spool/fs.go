package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// FS is the one directory a Spool lives in; tests have one that fails.
type FS interface {
	// Create makes a new file, Open opens one that exists; both for reading
	// and writing. Names have no directory.
	Create(name string) (File, error)
	Open(name string) (File, error)
	Remove(name string) error
	List() ([]string, error)
	// Sync makes names durable: what was created and removed.
	Sync() error
	// Lock keeps other processes out until the result is closed.
	Lock() (io.Closer, error)
	// Path is what messages call a file.
	Path(name string) string
}

// File is a file of an FS. ReadAt may be called while others write.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error
}

// dirFS is a directory of the operating system.
type dirFS string

func (d dirFS) Path(name string) string { return filepath.Join(string(d), name) }

func (d dirFS) Create(name string) (File, error) {
	f, err := os.OpenFile(d.Path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	return osFile{f}, err
}

func (d dirFS) Open(name string) (File, error) {
	f, err := os.OpenFile(d.Path(name), os.O_RDWR, 0)
	return osFile{f}, err
}

func (d dirFS) Remove(name string) error { return os.Remove(d.Path(name)) }

func (d dirFS) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

func (d dirFS) Sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (d dirFS) Lock() (io.Closer, error) {
	f, err := os.OpenFile(d.Path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another process has the spool open")
		}
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return f, nil
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
