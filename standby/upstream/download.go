package upstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"mfsstandby/changelog/meta"
)

// download is what a metalogger may fetch, as it was at one moment: the metadata
// file, and the changelog files that continue it.
type download struct {
	metadata, newest, older *content
}

// content is some files, one behind the other; nil is none.
type content struct {
	files []*os.File
	sizes []int64
}

// size is the number of bytes.
func (c *content) size() int64 {
	n := int64(0)
	for _, s := range c.sizes {
		n += s
	}
	return n
}

// readAt reads exactly len(b) bytes.
func (c *content) readAt(b []byte, at int64) error {
	for i, f := range c.files {
		if len(b) > 0 && at < c.sizes[i] {
			n := min(int64(len(b)), c.sizes[i]-at)
			if _, err := f.ReadAt(b[:n], at); err != nil {
				return err
			}
			b, at = b[n:], at+n
		}
		at -= c.sizes[i]
	}
	if len(b) > 0 {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (c *content) add(f *os.File, size int64) {
	c.files, c.sizes = append(c.files, f), append(c.sizes, size)
}

// close is for nil, too. The files were only read.
func (c *content) close() {
	if c == nil {
		return
	}
	for _, f := range c.files {
		f.Close()
	}
}

func (d *download) close() {
	d.metadata.close()
	d.newest.close()
	d.older.close()
}

// open opens what a metalogger may fetch. A stock master gives changelog.0.mfs
// and changelog.1.mfs. Here the latter is followed back to the version of the
// metadata file where that is older than both, so that what is fetched has no gap
// whatever METADATA_SAVE_FREQ is. The error is fs.ErrNotExist if there is no
// metadata file.
func (j *journal) open() (*download, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	d := &download{}
	err := j.openAll(d)
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (j *journal) openAll(d *download) error {
	f, size, err := j.openFile(metadataName)
	if err != nil {
		return err
	}
	d.metadata = &content{}
	d.metadata.add(f, size)
	version, err := versionOf(f)
	if err != nil {
		return err
	}
	first := j.pos.Version
	if f, _, err := j.openFile(changelogName(0)); err == nil {
		d.newest = &content{}
		d.newest.add(f, j.size) // it may have half a line more at the moment
		if v := firstVersion(f, j.size); v != 0 {
			first = v
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.older = &content{}
	for n := 1; n <= j.keep && (n == 1 || first > version); n++ {
		f, size, err := j.openFile(changelogName(n))
		if errors.Is(err, fs.ErrNotExist) { // an hour without entries
			continue
		}
		if err != nil {
			return err
		}
		d.older.files, d.older.sizes = append([]*os.File{f}, d.older.files...), append([]int64{size}, d.older.sizes...)
		first = firstVersion(f, size)
	}
	return nil
}

func (j *journal) openFile(name string) (*os.File, int64, error) {
	f, err := os.Open(j.path(name))
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, st.Size(), nil
}

// versionOf reads the version in the head of a metadata file that was made here.
func versionOf(f *os.File) (meta.Version, error) {
	var head [16]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return 0, fmt.Errorf("reading the head of %s: %w", f.Name(), err)
	}
	return meta.Version(binary.BigEndian.Uint64(head[8:])), nil
}

// complete tells whether there is a metadata file that the changelog files
// continue without a gap.
func (j *journal) complete() bool {
	d, err := j.open()
	if err != nil {
		return false
	}
	defer d.close()
	version, err := versionOf(d.metadata.files[0])
	if err != nil {
		return false
	}
	j.mu.Lock()
	first := j.pos.Version
	j.mu.Unlock()
	for _, c := range []*content{d.newest, d.older} {
		if c != nil && len(c.files) > 0 {
			if v := firstVersion(c.files[0], c.sizes[0]); v != 0 {
				first = min(first, v)
			}
		}
	}
	return first <= version
}

// install makes a new metadata file the current one, and keeps up to keep of
// those before it. There is one at every moment.
func (j *journal) install(keep int) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for n := keep; n > 1; n-- {
		if err := present(j.do("shift", func() error { return os.Rename(j.path(previousName(n-1)), j.path(previousName(n))) })); err != nil {
			return err
		}
	}
	if keep > 0 {
		err := present(j.do("keep", func() error { return keepFile(j.path(metadataName), j.path(previousName(1))) }))
		if err != nil {
			return err
		}
	}
	if err := j.do("install", func() error { return os.Rename(j.path(metadataTemp), j.path(metadataName)) }); err != nil {
		return err
	}
	return syncDir(j.dir)
}

func previousName(n int) string { return fmt.Sprintf("%s.%d", metadataName, n) }

// keepFile gives a file a second name, or where that cannot be, the other one.
func keepFile(from, to string) error {
	if err := present(os.Remove(to)); err != nil {
		return err
	}
	err := os.Link(from, to)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = os.Rename(from, to)
	}
	return err
}
