package metafile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

const (
	bufferSize = 1 << 20 // longest piece that can be had at once
	maxBlob    = 50e6    // longest packet that a master takes from a client, thus longest string in it
)

// input reads a file from front to back. It knows where it is, so that every
// error can say so, and never gives more than the section has. The first error
// sticks.
type input struct {
	r        io.Reader
	name     string
	progress func(done int64)

	buf      []byte
	pos, end int   // the unread part is buf[pos:end]
	base     int64 // offset in the file of buf[0]
	limit    int64 // offset where the section ends, if known

	format  uint8 // of the frame
	version uint8 // of the section, as if the format had section headers
	pairs   int   // of classes, that follow a chunk
	section string
	start   int64  // offset of the record, for errors
	record  uint64 // its number
	err     error
}

func newInput(r io.Reader, name string, size int64, progress func(int64)) *input {
	if name == "" {
		name = "metadata"
	}
	if progress == nil {
		progress = func(int64) {}
	}
	n := int64(bufferSize)
	if size > 0 { // small files are common in tests; the buffer never needs to hold more than the file
		n = min(n, size+1)
	}
	return &input{r: r, name: name, progress: progress, buf: make([]byte, max(n, 4096)), limit: math.MaxInt64}
}

func (in *input) offset() int64 { return in.base + int64(in.pos) }

// enter starts a section, or the space between sections if name is empty.
func (in *input) enter(name string) {
	in.section, in.record, in.start = name, 0, in.offset()
}

// begin starts a record, for the sake of error messages.
func (in *input) begin() {
	in.start = in.base + int64(in.pos)
	in.record++
}

// problem makes err the input's error, with the place of the current record.
func (in *input) problem(err error) error {
	if in.err == nil {
		in.err = &FormatError{Name: in.name, Section: in.section, Offset: in.start, Record: in.record, Err: err}
	}
	return in.err
}

func (in *input) failf(format string, args ...any) error {
	return in.problem(fmt.Errorf(format, args...))
}

// next consumes n bytes and returns them, valid until the following call, or
// nil after setting err.
func (in *input) next(n int) []byte {
	if in.end-in.pos < n || in.base+int64(in.pos+n) > in.limit || in.err != nil {
		if !in.fill(n) {
			return nil
		}
	}
	b := in.buf[in.pos : in.pos+n]
	in.pos += n
	return b
}

// fill makes n bytes available.
func (in *input) fill(n int) bool {
	if in.err != nil {
		return false
	}
	if left := in.limit - in.offset(); int64(n) > left {
		in.failf("%d bytes are needed, but the section has only %d left", n, left)
		return false
	}
	if n > len(in.buf) {
		in.problem(in.grow(n))
		if in.err != nil {
			return false
		}
	}
	copy(in.buf, in.buf[in.pos:in.end])
	in.base += int64(in.pos)
	in.end -= in.pos
	in.pos = 0
	m, err := io.ReadAtLeast(in.r, in.buf[in.end:], n-in.end)
	in.end += m
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		in.problem(fmt.Errorf("the file ends where %d more bytes are needed: %w", n-in.end, io.ErrUnexpectedEOF))
		return false
	case err != nil:
		in.problem(err)
		return false
	}
	in.progress(in.base + int64(in.end))
	return true
}

// grow gives the buffer its full size; it starts smaller for small files.
func (in *input) grow(n int) error {
	if n > bufferSize {
		return fmt.Errorf("a piece of %d bytes is longer than any in a metadata file", n)
	}
	buf := make([]byte, bufferSize)
	in.end = copy(buf, in.buf[in.pos:in.end])
	in.base += int64(in.pos)
	in.pos, in.buf = 0, buf
	return nil
}

func (in *input) u8() uint8 {
	if b := in.next(1); b != nil {
		return b[0]
	}
	return 0
}

func (in *input) u32() uint32 {
	if b := in.next(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (in *input) u64() uint64 {
	if b := in.next(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// skip consumes n bytes.
func (in *input) skip(n uint64) error {
	for n > 0 && in.err == nil {
		k := min(n, 4096)
		in.next(int(k))
		n -= k
	}
	return in.err
}

// blob consumes n bytes and returns a copy. Memory is spent only as the bytes
// turn up.
func (in *input) blob(n uint32) ([]byte, error) {
	if n > maxBlob {
		return nil, in.failf("a string of %d bytes is longer than a client can send", n)
	}
	var blob []byte
	for left := int(n); left > 0; {
		k := min(left, 4096)
		b := in.next(k)
		if b == nil {
			return nil, in.err
		}
		blob = append(blob, b...)
		left -= k
	}
	return blob, nil
}

// tail consumes n bytes and returns the last keep of them: so does mfsmaster
// cut what is too long.
func (in *input) tail(n, keep int) []byte {
	if n > keep {
		in.skip(uint64(n - keep))
		n = keep
	}
	return in.next(n)
}

// limitTo ends what can be read at length bytes from here.
func (in *input) limitTo(length uint64) error {
	in.limit = math.MaxInt64
	if length == unknownLength {
		return nil
	}
	if length > uint64(math.MaxInt64-in.offset()) {
		return in.failf("length %d is impossible", length)
	}
	in.limit = in.offset() + int64(length)
	return nil
}

// unlimit checks that the section was consumed to its end.
func (in *input) unlimit(length uint64) error {
	if length != unknownLength && in.offset() != in.limit {
		in.start, in.record = in.offset(), 0
		return in.failf("the section's end record is here, but by its length of %d bytes %d are left", length, in.limit-in.offset())
	}
	in.limit = math.MaxInt64
	return nil
}

// expectEnd checks that nothing follows.
func (in *input) expectEnd() error {
	in.start = in.offset()
	if in.pos < in.end {
		return in.failf("wrong ending: %d or more bytes follow the end marker", in.end-in.pos)
	}
	switch _, err := io.ReadFull(in.r, in.buf[:1]); {
	case err == nil:
		return in.failf("wrong ending: bytes follow the end marker")
	case errors.Is(err, io.EOF):
		in.progress(in.offset())
		return nil
	default:
		return in.problem(err)
	}
}
