package metafile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"mfsstandby/changelog/meta"
)

// WriteOptions are optional.
type WriteOptions struct {
	Progress func(done int64) // called now and then with the bytes written so far
	CRC      io.Writer        // gets the content of metadata.crc at the end
	Now      meta.Time        // the primary's time: chunks locked until before it are written as unlocked, as mfsmaster does; 0 keeps all locks

	// Release is the one that is to load the file; 0 is that of the State. The
	// error is a *HoldError if it cannot hold what there is.
	Release meta.Release

	// Patch, if set, is the same file as the writer, which starts at its
	// byte 0. Section lengths are then put in afterwards; without it, sections
	// are made twice, the first time only to learn their length.
	Patch io.WriterAt
}

// Write writes st, the state at h.Version, as mfsmaster 3.0.117 would store
// it, or 4.59.2 if st is of a release since 4.0. The cluster's id is that of st; h.MetaID must be the same or 0. Tables
// are in the order of their keys instead of that of mfsmaster's hash tables,
// which makes no difference to any reader.
func Write(w io.Writer, st *meta.State, h Header, opt WriteOptions) error {
	if h.Version == 0 {
		return errors.New("writing metadata: version 0 is no version: nothing has been loaded")
	}
	if h.MetaID != 0 && h.MetaID != st.MetaID {
		return fmt.Errorf("writing metadata: header has cluster id %#x, the image %#x", h.MetaID, st.MetaID)
	}
	as, err := formFor(st, opt.Release)
	if err != nil {
		return err
	}
	o := &output{w: w, form: as, progress: opt.Progress, now: opt.Now, sums: opt.CRC != nil, modern: st.Release.Since(meta.Release4), users: &chunkUsers{}}
	var sums []byte
	if o.modern {
		sums = binary.BigEndian.AppendUint64(sums, uint64(h.Version))
		sums = binary.BigEndian.AppendUint64(sums, st.MetaID)
	}
	o.head(st, h)
	sums = o.item(sums, "HEAD")
	for i := range sections {
		s := &sections[i]
		switch {
		case as.has(s) == 0:
			continue
		case as.format < formatMarked:
			if err := as.writer(s)(o, st); err != nil {
				return fmt.Errorf("writing section %s: %w", s.name, err)
			}
			continue
		}
		if err := o.section(s, st, opt.Patch); err != nil {
			return fmt.Errorf("writing section %s: %w", s.name, err)
		}
		sums = o.item(sums, s.name)
	}
	if as.format >= formatMarked { // else the end record of the chunks is the end
		o.bytes(endMarker)
		o.end()
	}
	sums = o.item(sums, "TAIL")
	o.flush()
	if o.err == nil && opt.CRC != nil {
		_, o.err = opt.CRC.Write(sums)
	}
	if o.err == nil {
		o.err = st.Err()
	}
	return o.err
}

// section writes one section with its header.
func (o *output) section(s *section, st *meta.State, patch io.WriterAt) error {
	head := sectionHeader(s, o.form.has(s))
	if patch == nil {
		count := &output{now: o.now, form: o.form, modern: o.modern, users: o.users}
		if err := o.form.writer(s)(count, st); err != nil {
			return err
		}
		binary.BigEndian.PutUint64(head[8:], uint64(count.offset()))
	}
	at := o.offset()
	o.buf = append(o.buf, head[:]...)
	o.unit = len(o.buf) // checksummed below
	if err := o.form.writer(s)(o, st); err != nil {
		return err
	}
	if patch != nil {
		o.flush()
		binary.BigEndian.PutUint64(head[8:], uint64(o.offset()-at-headerSize))
		if _, err := patch.WriteAt(head[8:], at+8); o.err == nil {
			o.err = err
		}
	} else if got := uint64(o.offset() - at - headerSize); got != binary.BigEndian.Uint64(head[8:]) {
		return o.failf("the image changed while it was written")
	}
	o.sumHeader(head)
	return o.err
}

// sectionHeader returns the header of a section of unknown length.
func sectionHeader(s *section, version uint8) (head [headerSize]byte) {
	copy(head[:], s.name)
	head[4], head[6] = ' ', '.'
	head[5], head[7] = '0'+version>>4, '0'+version&0xF
	binary.BigEndian.PutUint64(head[8:], unknownLength)
	return head
}

// File writes st to path so that a crash leaves the old file or the new one,
// and its checksums to crcPath unless that is empty.
func File(path, crcPath string, st *meta.State, h Header, opt WriteOptions) error {
	if crcPath == "" {
		return replace(path, func(f *os.File) error {
			opt.Patch = f
			return Write(f, st, h, opt)
		})
	}
	return replace(crcPath, func(crc *os.File) error {
		opt.CRC = crc
		return File(path, "", st, h, opt)
	})
}

// replace makes a file under another name, syncs it and moves it to path.
func replace(path string, fill func(*os.File) error) (err error) {
	tmp := path + ".tmp"
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(tmp))
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
