package changelog

import (
	"errors"
	"fmt"
)

// SyntaxError tells why the text of an entry was refused. Nothing of the
// entry was used.
type SyntaxError struct {
	Column int    // byte in the text, from 1
	Reason string // what is wrong there
	Text   string // the text, or up to 80 bytes of it around Column
}

// Error gives column, reason and text.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("column %d: %s: %q", e.Column, e.Reason, e.Text)
}

// LineError tells which line of which file an error is about.
type LineError struct {
	File string
	Line int   // from 1
	Err  error // a *SyntaxError, ErrTornLine, ErrLongLine, or of the file itself
}

// Error gives file, line and the error.
func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap gives the error without its place.
func (e *LineError) Unwrap() error { return e.Err }

// ErrTornLine is the error for a last line without newline: its rest is not
// written yet, or was lost with the master that wrote it.
var ErrTornLine = errors.New("line ends without newline")

// ErrLongLine is the error for a line longer than mfsmaster writes.
var ErrLongLine = fmt.Errorf("line is longer than %d bytes", maxLine)

// excerptRange is how many bytes of a refused text are shown on each side of
// the place of the error.
const excerptRange = 40

// newSyntaxError describes an error at byte pos of text.
func newSyntaxError(text []byte, pos int, reason string) *SyntaxError {
	from, to := max(pos-excerptRange, 0), min(pos+excerptRange, len(text))
	return &SyntaxError{Column: pos + 1, Reason: reason, Text: string(text[from:to])}
}
