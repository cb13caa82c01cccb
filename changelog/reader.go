package changelog

import (
	"bytes"
	"errors"
	"io"

	"mfsstandby/changelog/meta"
)

// maxLine is the length of the longest line that mfsmaster writes: a version
// of up to 20 digits, ": ", the entry and a newline.
const maxLine = 20 + 2 + maxText + 1

// readSize is how much a Reader asks for at once; its buffer holds that much
// beside the longest line.
const readSize = 256 << 10

// Reader splits a changelog file into lines. It does not look at the entries
// themselves, nor at the order of their versions.
//
// A file may still be written to: after io.EOF or ErrTornLine, Next goes on
// where it was, as soon as the underlying reader has more.
type Reader struct {
	src  io.Reader
	name string

	buf        []byte
	start, end int   // of what is read and not yet given out
	offset     int64 // of start in the file
	line       int   // given out
	prefix     int   // length of the version and ": " of the last one
	stuck      error // an error that stays; lines before it are given out
}

// NewReader reads the changelog file r; name is for errors. r should start at
// the beginning of a line.
func NewReader(r io.Reader, name string) *Reader {
	return &Reader{src: r, name: name, buf: make([]byte, readSize+maxLine)}
}

// Next returns the next line as version and entry, the latter as Batch.Parse
// wants it and valid until the next call of Next.
//
// At the end of the file the error is io.EOF. Other errors are *LineError: of
// ErrTornLine if the file ends within a line, of *SyntaxError if a line does
// not begin with a version (the call after it gives the next line), of
// ErrLongLine or of the underlying reader.
func (r *Reader) Next() (meta.Version, []byte, error) {
	line, err := r.nextLine()
	if err != nil {
		return 0, nil, err
	}
	version, n, reason := splitVersion(line)
	if reason != "" {
		return 0, nil, &LineError{File: r.name, Line: r.line, Err: newSyntaxError(line, n, reason)}
	}
	r.prefix = n
	return version, line[n:], nil
}

// Offset is the position in the file behind the last full line that Next
// looked at, counted from where the underlying reader was at first.
func (r *Reader) Offset() int64 { return r.offset }

// Locate adds file and line to what is wrong with the entry that Next
// returned last. The column of a *SyntaxError then counts from the beginning
// of the line.
func (r *Reader) Locate(err error) error {
	if err == nil {
		return nil
	}
	var syntax *SyntaxError
	if errors.As(err, &syntax) {
		err = &SyntaxError{Column: syntax.Column + r.prefix, Reason: syntax.Reason, Text: syntax.Text}
	}
	return &LineError{File: r.name, Line: r.line, Err: err}
}

// nextLine returns the next line without its newline.
func (r *Reader) nextLine() ([]byte, error) {
	searched := r.start
	for {
		if i := bytes.IndexByte(r.buf[searched:r.end], '\n'); i >= 0 {
			line := r.buf[r.start : searched+i]
			if len(line) >= maxLine {
				r.stuck = ErrLongLine
				return nil, r.at(r.stuck)
			}
			r.start += len(line) + 1
			r.offset += int64(len(line)) + 1
			r.line++
			return line, nil
		}
		if r.end-r.start >= maxLine {
			r.stuck = ErrLongLine
		}
		if r.stuck != nil {
			return nil, r.at(r.stuck)
		}
		searched = r.end - r.start
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// fill reads more behind what is there, which it moves to the start of the
// buffer. It returns an error only if there is nothing more for now.
func (r *Reader) fill() error {
	copy(r.buf, r.buf[r.start:r.end])
	r.start, r.end = 0, r.end-r.start
	for range 100 {
		n, err := r.src.Read(r.buf[r.end:])
		r.end += n
		if err != nil && err != io.EOF {
			r.stuck = err
			return nil
		}
		switch {
		case n > 0:
			return nil
		case err == nil:
			continue
		case r.end > 0:
			return r.at(ErrTornLine)
		default:
			return io.EOF
		}
	}
	r.stuck = io.ErrNoProgress
	return nil
}

// at says that err is about the line that follows those given out.
func (r *Reader) at(err error) error {
	return &LineError{File: r.name, Line: r.line + 1, Err: err}
}

// splitVersion reads "VERSION: " and returns the length of it. If that is not
// what the line begins with, it returns where and the reason.
func splitVersion(line []byte) (version meta.Version, n int, reason string) {
	l := lexer{text: line}
	version = meta.Version(l.number64())
	l.eat(':')
	l.eat(' ')
	if l.reason != "" {
		return 0, l.at, l.reason
	}
	return version, l.pos, ""
}
