package exports

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"strconv"
	"sync/atomic"
)

// DefaultFile is where mfsmaster looks for its exports.
const DefaultFile = "/etc/mfs/mfsexports.cfg"

// File is the exports of a file as last read. Its methods are safe for
// concurrent use.
type File struct {
	path string
	log  *slog.Logger
	list atomic.Pointer[List]
}

// Open reads the file at path. A file that is not there yet exports nothing
// until Reload finds it.
func Open(path string, log *slog.Logger) (*File, error) {
	f := &File{path: path, log: log}
	err := f.Reload()
	if errors.Is(err, fs.ErrNotExist) {
		log.Warn("there is no exports file: no client may mount", "file", path)
		return f, nil
	}
	return f, err
}

// List returns what is in force.
func (f *File) List() *List { return f.list.Load() }

// Reload reads the file again. After an error what was in force stays.
func (f *File) Reload() error {
	file, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("exports: %w", err)
	}
	defer file.Close()
	l, warnings, err := Parse(file, systemNames{})
	if err != nil {
		return fmt.Errorf("exports: %s: %w", f.path, err)
	}
	for _, w := range warnings {
		f.log.Warn("exports", "file", f.path, "warning", w)
	}
	f.list.Store(l)
	f.log.Info("exports read", "file", f.path, "lines", len(l.Exports))
	return nil
}

// systemNames are the users and groups of this machine.
type systemNames struct{}

func (systemNames) User(name string) (uid, gid uint32, ok bool) {
	find := user.Lookup
	if _, isNumber := number(name); isNumber && name != "" {
		find = user.LookupId
	}
	u, err := find(name)
	if err != nil {
		return 0, 0, false
	}
	return id(u.Uid), id(u.Gid), true
}

func (systemNames) Group(name string) (gid uint32, ok bool) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, false
	}
	return id(g.Gid), true
}

func id(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}
