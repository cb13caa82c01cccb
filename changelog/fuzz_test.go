package changelog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"mfsstandby/changelog/meta"
)

// FuzzParse: a text is refused with a place inside it, or written again byte
// for byte.
func FuzzParse(f *testing.F) {
	for _, tc := range spellings {
		f.Add([]byte("1|" + tc.text))
	}
	for _, tc := range refused {
		f.Add([]byte(tc.line))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		batch := NewBatch()
		now, op, err := batch.Parse(text)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Column < 1 || syntax.Column > len(text)+1 {
				t.Fatalf("%q: error %v", text, err)
			}
			return
		}
		if out := Append(nil, now, op); !bytes.Equal(out, text) {
			t.Fatalf("%q became %q", text, out)
		}
		line := Entry{Version: 7, Time: now, Op: op}.Append(nil)
		if e, err := batch.ParseLine(line); err != nil || !bytes.Equal(e.Append(nil), line) {
			t.Fatalf("%q as a line: %v", line, err)
		}
	})
}

// FuzzReader: the lines and errors do not depend on how the file is read, and
// the lines put together again are the file.
func FuzzReader(f *testing.F) {
	f.Add([]byte("1: 1|IDLE()\n2: 1|ACCESS(1)\n"))
	f.Add([]byte("1: a\n\n00: b\n18446744073709551616: c\n3"))
	f.Fuzz(func(t *testing.T, file []byte) {
		whole := readAll(t, file, bytes.NewReader(file))
		halves := readAll(t, file, iotest.HalfReader(bytes.NewReader(file)))
		if !bytes.Equal(whole, halves) {
			t.Fatalf("%q read at once:\n%s\nin parts:\n%s", file, whole, halves)
		}
	})
}

// readAll reads a file to its end and returns a protocol of it. It compares
// each line with the file.
func readAll(t *testing.T, file []byte, src io.Reader) []byte {
	t.Helper()
	var protocol []byte
	r := NewReader(src, "f")
	for {
		from := r.Offset()
		version, text, err := r.Next()
		if err == io.EOF || errors.Is(err, ErrTornLine) || errors.Is(err, ErrLongLine) {
			if err == io.EOF && from != int64(len(file)) {
				t.Fatalf("%q ended at %d", file, from)
			}
			return append(protocol, err.Error()...)
		}
		if err != nil {
			protocol = append(append(protocol, err.Error()...), '\n')
			continue
		}
		line := fmt.Appendf(nil, "%d: %s\n", version, text)
		if got := file[from:r.Offset()]; !bytes.Equal(got, line) {
			t.Fatalf("line %q was given as version %d and %q", got, version, text)
		}
		protocol = append(protocol, line...)
	}
}

// FuzzParseOld: what older releases write is refused, or gives an entry whose
// text gives the same one again. The first byte chooses the release.
func FuzzParseOld(f *testing.F) {
	releases := [...]meta.Release{meta.Reproduced16, meta.Reproduced2}
	for i := range releases {
		for _, tc := range spellings {
			f.Add(append([]byte{byte(i)}, "1|"+tc.text...))
		}
		for _, tc := range oldSpellings {
			f.Add(append([]byte{byte(i)}, "1|"+tc.text...))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) == 0 {
			return
		}
		batch := NewBatch()
		batch.SetRelease(releases[int(text[0])%len(releases)])
		now, op, err := batch.Parse(text[1:])
		if err != nil {
			return
		}
		out := Append(nil, now, op)
		now, op, err = batch.Parse(out)
		if err != nil || !bytes.Equal(Append(nil, now, op), out) {
			t.Fatalf("%q became %q, which does not round-trip: %v", text, out, err)
		}
	})
}
