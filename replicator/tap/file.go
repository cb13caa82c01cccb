package tap

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"mfsstandby/changelog/meta"
)

// TornLine is a last line without its newline: a crash cut it off.
type TornLine struct {
	Name   string
	Offset int64  // of its first byte
	Text   []byte // what is there of it, version included
}

func (t *TornLine) Error() string {
	return fmt.Sprintf("%s: last line, at offset %d, is torn: %q", t.Name, t.Offset, clip(t.Text))
}

// Files is a Source of plain changelog files, which do not change any more,
// merged by version. Between the first and the last version no entry may be
// missing, and no line may be bad.
type Files struct {
	m     *merger
	files []*os.File
	lines []*lines
	batch batcher
	err   error
}

// OpenFiles opens changelog files in any order. Entries come from version
// from on; 0 stands for the lowest there is.
func OpenFiles(from meta.Version, paths ...string) (*Files, error) {
	s := &Files{m: newMerger(from)}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.files = append(s.files, f)
		s.lines = append(s.lines, newLines(path, f))
		s.m.cursors = append(s.m.cursors, s.lines[len(s.lines)-1])
	}
	if from == 0 {
		if err := s.findStart(); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

func (s *Files) findStart() error {
	start := ^meta.Version(0)
	for _, l := range s.lines {
		e, ok, err := l.peek()
		if err != nil {
			return err
		}
		if ok {
			start = min(start, e.Version)
		}
	}
	*s.m = *newMerger(start, s.m.cursors...)
	return nil
}

// Next returns the next entries; at the end of all files io.EOF, or the
// *TornLine if one of them ends with half a line that no other file has whole.
func (s *Files) Next(ctx context.Context) (Batch, error) {
	if err := ctx.Err(); err != nil {
		return Batch{}, err
	}
	if s.err != nil {
		return Batch{}, s.err
	}
	ahead, err := s.m.collect(&s.batch)
	if err != nil {
		s.err = err
	}
	if len(s.batch.entries) > 0 {
		return Batch{Entries: s.batch.entries, Received: time.Now()}, nil
	}
	if s.err == nil {
		s.err = s.end(ahead)
	}
	return Batch{}, s.err
}

// end is the error for there being no entry of the version wanted.
func (s *Files) end(ahead meta.Version) error {
	for _, l := range s.lines {
		offset, text := l.rest()
		if v := leadingVersion(text); len(text) > 0 && !l.ahead && (v == 0 || v >= s.m.want) {
			return &TornLine{Name: l.name, Offset: offset, Text: append([]byte(nil), text...)}
		}
	}
	if ahead == 0 {
		return io.EOF
	}
	gap := &GapError{Want: s.m.want, Have: ahead, Source: "changelog"}
	for _, l := range s.lines {
		if l.ahead && l.head.Version == ahead {
			gap.Source = l.where()
		}
	}
	return gap
}

// Close closes the files.
func (s *Files) Close() error {
	var err error
	for _, f := range s.files {
		if e := f.Close(); err == nil {
			err = e
		}
	}
	return err
}
