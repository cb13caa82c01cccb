package bench

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// input is a changelog file and the metadata file that it continues.
type input struct {
	Metadata, Changelog string
	MetaID              uint64
	First               meta.Version // of the metadata file: the first entry that is applied
	End                 meta.Version // after the last entry
	Bytes               int64        // of the changelog
}

func (in *input) entries() int64 { return int64(in.End - in.First) }

// input makes or finds the files.
func (c *ReplayConfig) input(dir string) (in input, err error) {
	in.Metadata, in.Changelog = c.Metadata, c.Changelog
	switch {
	case c.Changelog == "":
		in.Metadata, in.Changelog = filepath.Join(dir, "metadata.mfs"), filepath.Join(dir, "changelog.0.mfs")
		err = c.generate(in)
	case strings.HasSuffix(c.Changelog, ".gz"):
		in.Changelog = filepath.Join(dir, "changelog.0.mfs")
		err = unpack(c.Changelog, in.Changelog)
	}
	if err != nil && c.Changelog == fixtureChangelog && errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; the captured changelog is in the source: run this at its top, or give --changelog and --metadata", err)
	}
	if err != nil {
		return in, err
	}
	for _, path := range []*string{&in.Metadata, &in.Changelog} {
		if *path, err = filepath.Abs(*path); err != nil {
			return in, err
		}
	}
	return in, in.look()
}

func (c *ReplayConfig) generate(in input) error {
	err := create(in.Metadata, func(w io.Writer) error { return FreshMetadata(w, c.Base) })
	if err != nil {
		return err
	}
	return create(in.Changelog, func(w io.Writer) error { return Generate(w, c.Options) })
}

func create(path string, fill func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = fill(f)
	return errors.Join(err, f.Close())
}

func unpack(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", from, err)
	}
	return create(to, func(w io.Writer) error {
		if _, err := io.Copy(w, z); err != nil {
			return fmt.Errorf("unpacking %s: %w", from, err)
		}
		return nil
	})
}

// look finds out which entries there are.
func (in *input) look() error {
	f, err := os.Open(in.Metadata)
	if err != nil {
		return err
	}
	defer f.Close()
	var head [24]byte // "MFSM 2.0", the version, the cluster's id
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return fmt.Errorf("reading %s: %w", in.Metadata, err)
	}
	if string(head[:8]) != "MFSM 2.0" {
		return fmt.Errorf("%s does not begin as a metadata file that a master of 3.0 has saved", in.Metadata)
	}
	in.First, in.MetaID = meta.Version(binary.BigEndian.Uint64(head[8:])), binary.BigEndian.Uint64(head[16:])
	if err := in.lookAtChangelog(); err != nil {
		return fmt.Errorf("%s: %w", in.Changelog, err)
	}
	if in.End <= in.First {
		return fmt.Errorf("%s ends at version %d, %s begins there or later", in.Changelog, in.End, in.Metadata)
	}
	return nil
}

// lookAtChangelog reads the last line.
func (in *input) lookAtChangelog() error {
	f, err := os.Open(in.Changelog)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	const enough = 256 << 10 // for the longest line
	in.Bytes = info.Size()
	tail := make([]byte, min(in.Bytes, enough))
	if _, err := f.ReadAt(tail, in.Bytes-int64(len(tail))); err != nil && err != io.EOF {
		return err
	}
	tail = bytes.TrimSuffix(tail, []byte("\n"))
	last, err := changelog.NewBatch().ParseLine(tail[bytes.LastIndexByte(tail, '\n')+1:])
	if err != nil {
		return fmt.Errorf("last line: %w", err)
	}
	in.End = last.Version + 1
	return nil
}
