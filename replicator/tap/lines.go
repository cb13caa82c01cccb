package tap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// lines is the cursor over one changelog file, from front to back. The file
// may grow meanwhile; what is after the last newline is left until its newline
// is there.
type lines struct {
	name  string // for messages
	src   *tailReader
	r     *changelog.Reader
	taken int          // lines
	last  meta.Version // version of the line taken last
	head  Entry        // the next line, if ahead
	ahead bool
}

// tailReader reads a file that may grow, each time from where it was.
type tailReader struct {
	file io.ReaderAt
	off  int64
}

func (t *tailReader) Read(p []byte) (int, error) {
	n, err := t.file.ReadAt(p, t.off)
	t.off += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func newLines(name string, file io.ReaderAt) *lines {
	l := &lines{name: name, src: &tailReader{file: file}}
	l.restart()
	return l
}

// restart goes back to the front of the file.
func (l *lines) restart() {
	l.src.off, l.taken, l.last, l.ahead = 0, 0, 0, false
	l.r = changelog.NewReader(l.src, l.name)
}

// where names the line at the head.
func (l *lines) where() string { return fmt.Sprintf("%s:%d", l.name, l.taken+1) }

// peek returns the first line not taken. ok is false when the file has no
// further complete line now. The text is valid until the next peek after pop.
func (l *lines) peek() (e Entry, ok bool, err error) {
	if l.ahead {
		return l.head, true, nil
	}
	v, text, err := l.r.Next()
	switch {
	case err == io.EOF || errors.Is(err, changelog.ErrTornLine):
		return Entry{}, false, nil
	case err != nil:
		return Entry{}, false, err
	case v == 0 && l.taken == 0: // a new file system of 1.6 begins so; every metadata file is from after it
		l.taken++
		return l.peek()
	case v == 0:
		return Entry{}, false, fmt.Errorf("%s: version is 0", l.where())
	case v <= l.last:
		return Entry{}, false, &DivergedError{Version: v, Seen: bytes.Clone(text), Source: l.where(),
			Reason: fmt.Sprintf("version goes back, the line before has %d: the primary was restored from an older state, or the file is a mixture", l.last)}
	}
	if err := checkText(text); err != nil {
		return Entry{}, false, fmt.Errorf("%s: %w", l.where(), err)
	}
	l.head, l.ahead = Entry{Version: v, Text: text}, true
	return l.head, true, nil
}

// pop takes the line that peek returned.
func (l *lines) pop() {
	l.last, l.ahead = l.head.Version, false
	l.taken++
}

// rest returns what is after the last complete line, once peek found no more:
// where it begins, and as much of it as a message may need.
func (l *lines) rest() (offset int64, text []byte) {
	offset = l.r.Offset()
	text = make([]byte, min(l.src.off-offset, 64<<10))
	n, _ := l.src.file.ReadAt(text, offset)
	return offset, text[:n]
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
	n := min(st.Size(), 2*(wire.MaxEntryText+24))
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
