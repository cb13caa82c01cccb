package archive

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/klauspost/compress/zstd"
)

const (
	indexName = "index.json"
	lockName  = "lock"
	tmpPrefix = ".tmp-"

	asidePrefix = "damaged-"
)

// disk is the directory of an archive. In tests fault makes a change fail, or
// stops all that follow.
type disk struct {
	dir   string
	fault func(op, name string) error
}

func (d *disk) change(op, name string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(op, name)
}

func (d *disk) path(name string) string { return filepath.Join(d.dir, name) }

// list gives the names of all files with their sizes.
func (d *disk) list() (map[string]int64, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	files := map[string]int64{}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			files[e.Name()] = info.Size()
		}
	}
	return files, nil
}

// put writes a file, which appears when all of it is on the disk. One that is
// there already is replaced by what must be the same.
func (d *disk) put(name string, write func(io.Writer) error) (err error) {
	tmp := tmpPrefix + name
	if err := d.change("create", tmp); err != nil {
		return err
	}
	f, err := os.OpenFile(d.path(tmp), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", d.path(name), errors.Join(err, f.Close(), d.remove(tmp)))
		}
	}()
	if err := write(&faultyWriter{f, d, tmp}); err != nil {
		return err
	}
	if err := errors.Join(d.change("sync", tmp), f.Sync()); err != nil {
		return err
	}
	if err := d.change("rename", name); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), d.path(name)); err != nil {
		return err
	}
	return errors.Join(f.Close(), d.sync())
}

func (d *disk) sync() error {
	if err := d.change("sync", "."); err != nil {
		return err
	}
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	// Some mounted object stores cannot; they need not either.
	if err = f.Sync(); errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

func (d *disk) rename(from, to string) error {
	if err := d.change("rename", to); err != nil {
		return err
	}
	return errors.Join(os.Rename(d.path(from), d.path(to)), d.sync())
}

func (d *disk) remove(name string) error {
	if err := d.change("remove", name); err != nil {
		return err
	}
	if err := os.Remove(d.path(name)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// lock keeps other writers out until it is closed, where the file system can.
func (d *disk) lock() (io.Closer, error) {
	f, err := os.OpenFile(d.path(lockName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("another process archives to %s: give each a directory of its own", d.dir), f.Close())
	}
	return f, nil
}

// clean removes what a crash left half written.
func (d *disk) clean() error {
	files, err := d.list()
	if err != nil {
		return err
	}
	for name := range files {
		if strings.HasPrefix(name, tmpPrefix) {
			if err := d.remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

type faultyWriter struct {
	f    *os.File
	d    *disk
	name string
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if err := w.d.change("write", w.name); err != nil {
		n, _ := w.f.Write(p[:len(p)/2]) // half of it is there all the same
		return n, err
	}
	return w.f.Write(p)
}

// putData stores what give gives, compressed, as the file that info describes,
// and completes info with sizes and checksums.
func (d *disk) putData(info Info, give func(io.Writer) error) (Info, error) {
	info.Format = format
	err := d.put(info.name(), func(w io.Writer) error {
		stored := newSumming(w)
		z, err := zstd.NewWriter(stored, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return err
		}
		plain := newSumming(z)
		if err := give(plain); err != nil {
			return errors.Join(err, z.Close())
		}
		if err := z.Close(); err != nil {
			return err
		}
		info.Size, info.Sum, info.Stored, info.StoredSum = plain.n, plain.sum(), stored.n, stored.sum()
		end, err := appendEnd(nil, &info)
		if err != nil {
			return err
		}
		_, err = w.Write(end)
		return err
	})
	return info, err
}

// get writes the data of a file to w. What was written is good only if there is
// no error.
func (d *disk) get(want *Info, w io.Writer) error {
	path := d.path(want.name())
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	info, err := readEnd(f, st.Size())
	if err == nil && !info.same(want) {
		err = fmt.Errorf("%w: it is another file than the index says; remove %s", ErrDamaged, d.path(indexName))
	}
	if err == nil {
		err = getData(f, &info, w)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func getData(f io.ReaderAt, info *Info, w io.Writer) error {
	stored := newSumming(nil)
	z, err := zstd.NewReader(io.TeeReader(io.NewSectionReader(f, 0, info.Stored), stored), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer z.Close()
	plain := newSumming(w)
	// One byte more than it should be is enough to see that it is too long.
	if _, err := io.Copy(plain, io.LimitReader(z, info.Size+1)); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if plain.n != info.Size || plain.sum() != info.Sum || stored.n != info.Stored || stored.sum() != info.StoredSum {
		return fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	return nil
}
