package control

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockName is the file in a data directory that its user holds locked.
const lockName = "lock"

// ErrBusy is what a *BusyError is.
var ErrBusy = errors.New("in use by another process")

// BusyError tells who uses a data directory.
type BusyError struct {
	Dir string
	Who string // command and process id, as far as known
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("data directory %s is %v: %s", e.Dir, ErrBusy, e.Who)
}

// Is makes errors.Is(err, ErrBusy) true.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// Lock is the right to use a data directory. The kernel takes it back when the
// process ends, however that happens.
type Lock struct{ file *os.File }

// Acquire locks an existing data directory for a command, or returns a
// *BusyError.
func Acquire(dir, command string) (*Lock, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(&BusyError{dir, holder(file)}, file.Close())
	}
	if err == nil {
		err = errors.Join(file.Truncate(0), writeHolder(file, command))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", file.Name(), err), file.Close())
	}
	return &Lock{file}, nil
}

func writeHolder(file *os.File, command string) error {
	_, err := file.WriteAt(fmt.Appendf(nil, "mfsstandby %s, process %d\n", command, os.Getpid()), 0)
	return err
}

// holder returns what the holder of the lock wrote about itself.
func holder(file *os.File) string {
	text, err := io.ReadAll(io.NewSectionReader(file, 0, 200))
	if who := strings.TrimSpace(string(text)); err == nil && who != "" {
		return who
	}
	return "an unknown one"
}

// Release gives the directory free.
func (l *Lock) Release() error { return l.file.Close() }
