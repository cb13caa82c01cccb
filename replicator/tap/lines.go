package tap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// lineBuffer is how much of a file is read at once; it holds any legal line.
const lineBuffer = 512 << 10

// maxLine is the longest line, version and newline included.
const maxLine = wire.MaxEntryText + 24

// lines reads the complete lines "VERSION: TEXT\n" of one changelog file from
// front to back. The file may grow meanwhile; bytes after the last newline are
// left until their newline is there.
type lines struct {
	name string // for messages
	file io.ReaderAt
	buf  []byte
	pos  int          // first byte of buf not taken yet
	end  int          // end of what was read into buf
	off  int64        // offset in the file of buf[end]
	line int64        // lines taken
	last meta.Version // version of the line taken last
	head Entry        // the line at pos, if size > 0
	size int          // its bytes, newline included
}

func newLines(name string, file io.ReaderAt) *lines {
	return &lines{name: name, file: file}
}

// restart goes back to the front of the file.
func (l *lines) restart() {
	l.pos, l.end, l.off, l.line, l.last, l.size = 0, 0, 0, 0, 0, 0
}

// where names the line at the head.
func (l *lines) where() string { return fmt.Sprintf("%s:%d", l.name, l.line+1) }

// peek returns the first line not taken. ok is false when the file has no
// further complete line now. The text is valid until the next peek after pop.
func (l *lines) peek() (e Entry, ok bool, err error) {
	if l.size > 0 {
		return l.head, true, nil
	}
	for {
		if i := bytes.IndexByte(l.buf[l.pos:l.end], '\n'); i >= 0 {
			return l.parse(l.buf[l.pos : l.pos+i])
		}
		if l.end-l.pos > maxLine {
			return Entry{}, false, fmt.Errorf("%s: line is longer than %d bytes", l.where(), maxLine)
		}
		if more, err := l.fill(); err != nil || !more {
			return Entry{}, false, err
		}
	}
}

// pop takes the line that peek returned.
func (l *lines) pop() {
	l.last = l.head.Version
	l.pos += l.size
	l.size = 0
	l.line++
}

// fill reads on; it returns false at the present end of the file.
func (l *lines) fill() (more bool, err error) {
	if l.buf == nil {
		l.buf = make([]byte, lineBuffer)
	}
	if l.pos > 0 {
		l.end = copy(l.buf, l.buf[l.pos:l.end])
		l.pos = 0
	}
	n, err := l.file.ReadAt(l.buf[l.end:], l.off)
	l.end += n
	l.off += int64(n)
	if err != nil && err != io.EOF {
		return false, fmt.Errorf("%s at offset %d: %w", l.name, l.off, err)
	}
	return n > 0, nil
}

// rest returns the bytes after the last complete line, once peek found none.
func (l *lines) rest() (offset int64, text []byte) {
	return l.off - int64(l.end-l.pos), l.buf[l.pos:l.end]
}

func (l *lines) parse(line []byte) (Entry, bool, error) {
	v, text, err := SplitLine(line)
	if err != nil {
		return Entry{}, false, fmt.Errorf("%s: %w", l.where(), err)
	}
	if v <= l.last {
		return Entry{}, false, &DivergedError{Version: v, Seen: bytes.Clone(text), Source: l.where(),
			Reason: fmt.Sprintf("version goes back, the line before has %d: the primary was restored from an older state, or the file is a mixture", l.last)}
	}
	l.head, l.size = Entry{Version: v, Text: text}, len(line)+1
	return l.head, true, nil
}

// SplitLine takes a line of a changelog file, without its newline, apart. It
// returns an error for anything that a master does not write; what is inside
// the parentheses of the operation is not looked at.
func SplitLine(line []byte) (meta.Version, []byte, error) {
	var v uint64
	i := 0
	for ; i < len(line) && line[i]-'0' <= 9; i++ {
		if v > (1<<64-1-9)/10 {
			return 0, nil, fmt.Errorf("version is too large in %q", clip(line))
		}
		v = v*10 + uint64(line[i]-'0')
	}
	if i == 0 || v == 0 || line[0] == '0' || len(line) < i+2 || line[i] != ':' || line[i+1] != ' ' {
		return 0, nil, fmt.Errorf("line does not start with \"VERSION: \": %q", clip(line))
	}
	text := line[i+2:]
	return meta.Version(v), text, checkText(text)
}

var errText = errors.New("entry is not TIME|OPERATION(ARGUMENTS)[:RESULTS]")

// checkText looks at the outer form of an entry, and for a second entry in it:
// that is what two lines look like of which a crash cut the first.
func checkText(text []byte) error {
	i := 0
	for i < len(text) && i < 10 && text[i]-'0' <= 9 {
		i++
	}
	j := i + 1
	for j < len(text) && isOperation(text[j]) {
		j++
	}
	end := bytes.LastIndexByte(text, ')')
	switch {
	case i == 0 || j <= i+1 || j >= len(text) || text[i] != '|' || text[j] != '(',
		end < j || end+1 < len(text) && text[end+1] != ':',
		bytes.IndexByte(text, 0) >= 0 || bytes.IndexByte(text, '\r') >= 0:
		return fmt.Errorf("%w: %q", errText, clip(text))
	case len(text) > wire.MaxEntryText:
		return fmt.Errorf("entry of %d bytes, limit %d: %w", len(text), wire.MaxEntryText, wire.ErrTooLong)
	}
	// Parentheses in names are escaped; only 4.x has inner ones of its own.
	for at := j + 1; ; at++ {
		next := bytes.IndexByte(text[at:], '(')
		if next < 0 {
			return nil
		}
		if at += next; startsEntry(text[:at]) {
			return fmt.Errorf("%w, with a second entry inside (a crash cut the first): %q", errText, clip(text))
		}
	}
}

func isOperation(c byte) bool { return c-'A' <= 'Z'-'A' || c == '_' }

// startsEntry tells whether b ends with ": TIME|OPERATION".
func startsEntry(b []byte) bool {
	name := bytes.TrimRightFunc(b, func(r rune) bool { return r < 0x80 && isOperation(byte(r)) })
	if len(name) == len(b) || !bytes.HasSuffix(name, []byte("|")) {
		return false
	}
	name = name[:len(name)-1]
	number := bytes.TrimRight(name, "0123456789")
	return len(number) < len(name) && bytes.HasSuffix(number, []byte(": "))
}

// clip shortens what an error message shows.
func clip(b []byte) []byte {
	if len(b) > 200 {
		return append(b[:200:200], "..."...)
	}
	return b
}

// firstVersion reads the version of a file's first line; 0 when there is no
// complete number yet.
func firstVersion(f io.ReaderAt) (meta.Version, error) {
	var buf [32]byte
	n, err := f.ReadAt(buf[:], 0)
	if err != nil && err != io.EOF {
		return 0, err
	}
	return leadingVersion(buf[:n]), nil
}

// lastVersion reads the version of a file's last complete line; 0 when the
// file has none within the length of the longest line.
func lastVersion(f *os.File) (meta.Version, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	n := min(st.Size(), 2*maxLine)
	buf := make([]byte, n)
	if _, err := f.ReadAt(buf, st.Size()-n); err != nil && err != io.EOF {
		return 0, err
	}
	end := bytes.LastIndexByte(buf, '\n')
	if end < 0 {
		return 0, nil
	}
	return leadingVersion(buf[bytes.LastIndexByte(buf[:end], '\n')+1 : end]), nil
}

func leadingVersion(b []byte) meta.Version {
	var v uint64
	for i, c := range b {
		if c-'0' > 9 {
			if i == 0 || i > 19 || c != ':' {
				return 0
			}
			return meta.Version(v)
		}
		v = v*10 + uint64(c-'0')
	}
	return 0
}
