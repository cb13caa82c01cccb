package archive

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/zeebo/xxh3"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
)

// Kind tells files apart.
type Kind string

// The kinds of file.
const (
	BaseImage Kind = "base image"
	Entries   Kind = "entries"
)

// format is that of the files; others are refused.
const format = 1

// Info is what a file says about itself at its end.
type Info struct {
	Format  int          `json:"format"`
	Kind    Kind         `json:"kind"`
	MetaID  uint64       `json:"metaid"`
	Epoch   stream.Epoch `json:"epoch"`
	First   meta.Version `json:"first"`             // the first entry; of a base image its version
	Next    meta.Version `json:"next"`              // behind the last entry; of a base image its version
	Before  stream.Chain `json:"before"`            // hash chain before the first entry
	After   stream.Chain `json:"after"`             // and at Next
	Release string       `json:"release,omitempty"` // of the primary
	Oldest  meta.Time    `json:"oldest,omitempty"`  // least time of an entry, by the primary's clock
	Newest  meta.Time    `json:"newest,omitempty"`  // greatest
	Created time.Time    `json:"created"`           // a base image: when it was stored in the stream; entries: when the tap had the last

	Size      int64        `json:"size"`   // bytes, not compressed
	Sum       stream.Chain `json:"sum"`    // XXH3-128 of them
	Stored    int64        `json:"stored"` // bytes of the compressed data
	StoredSum stream.Chain `json:"stored_sum"`
}

// name is the one file name that fits.
func (i *Info) name() string {
	if i.Kind == BaseImage {
		return fmt.Sprintf("base-%010d-%020d.mfs.zst", i.Epoch, i.First)
	}
	return fmt.Sprintf("changelog-%010d-%020d-%020d.mfs.zst", i.Epoch, i.First, i.Next)
}

// same tells whether two descriptions are of the same file.
func (i *Info) same(other *Info) bool {
	return i.name() == other.name() && i.StoredSum == other.StoredSum && i.Before == other.Before && i.After == other.After
}

// validName tells whether name may be that of a file of the archive.
func validName(name string) bool {
	var i Info
	if n, err := fmt.Sscanf(name, "base-%d-%d.mfs.zst", &i.Epoch, &i.First); n == 2 && err == nil {
		i.Kind = BaseImage
		return i.name() == name
	}
	if n, err := fmt.Sscanf(name, "changelog-%d-%d-%d.mfs.zst", &i.Epoch, &i.First, &i.Next); n == 3 && err == nil {
		i.Kind = Entries
		return i.name() == name
	}
	return false
}

func (i *Info) base() stream.Base {
	return stream.Base{MetaID: i.MetaID, Version: i.First, Epoch: i.Epoch, Chain: i.After, Release: i.Release,
		Size: i.Size, Stored: i.Stored, Sum: i.Sum, Created: i.Created}
}

// validate refuses what cannot be.
func (i *Info) validate() error {
	switch {
	case i.Format != format:
		return fmt.Errorf("format %d is not known: a newer release wrote it", i.Format)
	case i.Kind != BaseImage && i.Kind != Entries:
		return fmt.Errorf("kind %q is not known", i.Kind)
	case i.MetaID == 0 || i.First == 0 || i.Next < i.First || i.Stored <= 0 || i.Size < 0:
		return errors.New("its numbers cannot be")
	case i.Kind == BaseImage && i.Next != i.First, i.Kind == Entries && (i.Next == i.First || i.Size > maxSegment):
		return errors.New("its numbers cannot be")
	}
	return nil
}

// The end of a file: a skippable frame of zstd (RFC 8878, 3.1.2), little-endian,
//
//	magic:32 length:32 JSON checksum:64 length of JSON:32 "MFSA"
const (
	skippable = 0x184D2A5E
	endMark   = "MFSA"
	headSize  = 8
	tailSize  = 16
	maxInfo   = 4096 // bytes of JSON
)

// appendEnd appends the end of a file.
func appendEnd(b []byte, i *Info) ([]byte, error) {
	text, err := json.Marshal(i)
	if err != nil {
		return nil, err
	}
	if len(text) > maxInfo {
		return nil, fmt.Errorf("a description of %d bytes is too long", len(text))
	}
	b = binary.LittleEndian.AppendUint32(b, skippable)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)+tailSize))
	b = append(b, text...)
	b = binary.LittleEndian.AppendUint64(b, xxh3.Hash(text))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	return append(b, endMark...), nil
}

// readEnd reads the end of a file of size bytes.
func readEnd(r io.ReaderAt, size int64) (i Info, err error) {
	buf := make([]byte, min(size, headSize+maxInfo+tailSize))
	if _, err := r.ReadAt(buf, size-int64(len(buf))); err != nil && !errors.Is(err, io.EOF) {
		return i, err
	}
	if len(buf) < headSize+tailSize || string(buf[len(buf)-len(endMark):]) != endMark {
		return i, fmt.Errorf("%w: it is cut off", ErrDamaged)
	}
	tail := buf[len(buf)-tailSize:]
	n := int(binary.LittleEndian.Uint32(tail[8:]))
	if n > len(buf)-headSize-tailSize {
		return i, fmt.Errorf("%w: it is cut off", ErrDamaged)
	}
	frame := buf[len(buf)-tailSize-n-headSize:]
	text := frame[headSize : headSize+n]
	switch {
	case xxh3.Hash(text) != binary.LittleEndian.Uint64(tail):
		return i, fmt.Errorf("%w: the checksum of its description is wrong", ErrDamaged)
	case binary.LittleEndian.Uint32(frame) != skippable, int(binary.LittleEndian.Uint32(frame[4:])) != n+tailSize:
		return i, fmt.Errorf("%w: its description has no frame", ErrDamaged)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&i); err != nil {
		return i, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := i.validate(); err != nil {
		return i, err
	}
	if i.Stored != size-int64(len(frame)) {
		return i, fmt.Errorf("%w: %d bytes of data, want %d", ErrDamaged, size-int64(len(frame)), i.Stored)
	}
	return i, nil
}

// summing counts and hashes what goes through it.
type summing struct {
	w io.Writer // nil: nowhere
	h *xxh3.Hasher128
	n int64
}

func newSumming(w io.Writer) *summing { return &summing{w: w, h: xxh3.New128()} }

func (s *summing) Write(p []byte) (n int, err error) {
	n = len(p)
	if s.w != nil {
		n, err = s.w.Write(p)
	}
	s.h.Write(p[:n])
	s.n += int64(n)
	return n, err
}

func (s *summing) sum() stream.Chain {
	sum := s.h.Sum128()
	return stream.Chain{Hi: sum.Hi, Lo: sum.Lo}
}
