package changelog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"mfsstandby/changelog/meta"
)

// wantNext checks one call of Next; wantErr is "" if it succeeds.
func wantNext(t *testing.T, r *Reader, version meta.Version, text, wantErr string, offset int64) {
	t.Helper()
	v, b, err := r.Next()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if v != version || string(b) != text || got != wantErr {
		t.Fatalf("got %d, %q, error %q; want %d, %q, error %q", v, b, got, version, text, wantErr)
	}
	if r.Offset() != offset {
		t.Fatalf("offset is %d, want %d", r.Offset(), offset)
	}
}

func TestReader(t *testing.T) {
	const file = "0: 1|IDLE()\nx\n18446744073709551615: anything\n\n7: "
	for name, src := range map[string]io.Reader{
		"at once":          strings.NewReader(file),
		"byte by byte":     iotest.OneByteReader(strings.NewReader(file)),
		"data with errors": iotest.DataErrReader(strings.NewReader(file)),
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(src, "c.mfs")
			wantNext(t, r, 0, "1|IDLE()", "", 12)
			wantNext(t, r, 0, "", `c.mfs:2: column 1: number expected: "x"`, 14)
			wantNext(t, r, 1<<64-1, "anything", "", 45)
			wantNext(t, r, 0, "", `c.mfs:4: column 1: number expected: ""`, 46)
			wantNext(t, r, 0, "", "c.mfs:5: line ends without newline", 46)
			wantNext(t, r, 0, "", "c.mfs:5: line ends without newline", 46)
		})
	}
}

func TestReaderEndsAtNewline(t *testing.T) {
	r := NewReader(strings.NewReader("1: a\n"), "c.mfs")
	wantNext(t, r, 1, "a", "", 5)
	for range 2 {
		if _, _, err := r.Next(); err != io.EOF {
			t.Fatalf("got error %v at the end, want io.EOF", err)
		}
	}
}

// A follower calls Next again when the file has grown.
func TestReaderGoesOnWhenFileGrows(t *testing.T) {
	var file bytes.Buffer
	r := NewReader(&file, "c.mfs")
	wantNext(t, r, 0, "", "EOF", 0)
	file.WriteString("1: a\n2")
	wantNext(t, r, 1, "a", "", 5)
	_, _, err := r.Next()
	if !errors.Is(err, ErrTornLine) {
		t.Fatalf("got error %v, want ErrTornLine", err)
	}
	file.WriteString(": b")
	wantNext(t, r, 0, "", "c.mfs:2: line ends without newline", 5)
	file.WriteString("\n3: c\n")
	wantNext(t, r, 2, "b", "", 10)
	wantNext(t, r, 3, "c", "", 15)
	wantNext(t, r, 0, "", "EOF", 15)
}

func TestReaderRefusesLongLines(t *testing.T) {
	good := "18446744073709551615: " + strings.Repeat("a", maxText)
	for name, tail := range map[string]string{"with newline": "a\n2: b\n", "without end": strings.Repeat("a", 3*readSize)} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(strings.NewReader(good+"\n"+good+tail), "c.mfs")
			wantNext(t, r, 1<<64-1, good[22:], "", maxLine)
			for range 2 {
				_, _, err := r.Next()
				var where *LineError
				if !errors.Is(err, ErrLongLine) || !errors.As(err, &where) || where.Line != 2 {
					t.Fatalf("got error %v, want ErrLongLine in line 2", err)
				}
			}
		})
	}
}

func TestReaderGivesLinesBeforeAnError(t *testing.T) {
	broken := errors.New("broken disk")
	r := NewReader(io.MultiReader(strings.NewReader("1: a\n2: b\n3"), iotest.ErrReader(broken)), "c.mfs")
	wantNext(t, r, 1, "a", "", 5)
	wantNext(t, r, 2, "b", "", 10)
	for range 2 {
		if _, _, err := r.Next(); !errors.Is(err, broken) {
			t.Fatalf("got error %v, want %v", err, broken)
		}
	}
}

func TestReaderLocates(t *testing.T) {
	r := NewReader(strings.NewReader("1: 1|IDLE()\n23: 1|ACCESS(x)\n"), "c.mfs")
	wantNext(t, r, 1, "1|IDLE()", "", 12)
	if err := r.Locate(nil); err != nil {
		t.Fatalf("nil became %v", err)
	}
	_, text, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = NewBatch().Parse(text)
	const want = `c.mfs:2: column 14: number expected: "1|ACCESS(x)"`
	if got := fmt.Sprint(r.Locate(err)); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if got := fmt.Sprint(r.Locate(io.ErrShortWrite)); got != "c.mfs:2: short write" {
		t.Fatalf("got %s", got)
	}
}
