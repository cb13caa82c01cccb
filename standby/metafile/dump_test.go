package metafile

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
)

func mustDump(t *testing.T, file []byte, opt DumpOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Dump(&out, bytes.NewReader(file), opt); err != nil {
		t.Fatalf("Dump: %v", err)
	}
	return out.Bytes()
}

// wantSameLines compares two texts line by line.
func wantSameLines(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Fatalf("line %d is missing: %q", i+1, want[i])
		case i >= len(want):
			t.Fatalf("line %d is too much: %q", i+1, got[i])
		case got[i] != want[i]:
			t.Fatalf("line %d:\n got %q\nwant %q", i+1, got[i], want[i])
		}
	}
}

func lines(b []byte) []string { return strings.Split(string(b), "\n") }

func sortedLines(b []byte) []string {
	l := lines(b)
	slices.Sort(l)
	return l
}

func TestDumpIsThatOfMfsmetadump(t *testing.T) {
	for _, name := range []string{"3.0.117-a/before", "3.0.117-a/after", "4.59.2-a/before", "4.59.2-a/after"} {
		t.Run(name, func(t *testing.T) {
			capture, name, _ := strings.Cut(name, "/")
			file := captured(t, capture, map[string]string{"before": "before.mfs", "after": "after.mfs.gz"}[name])
			want := captured(t, capture, name+".dump.gz")
			opt := DumpOptions{Misread: true, Size: int64(len(file))}
			wantSameLines(t, lines(mustDump(t, file, opt)), lines(want))

			st, h := mustRead(t, file)
			var out bytes.Buffer
			if err := DumpState(&out, st, h, opt); err != nil {
				t.Fatal(err)
			}
			wantSameLines(t, sortedLines(out.Bytes()), sortedLines(want))
		})
	}
}

func TestDumpPrintsFileLocksRight(t *testing.T) {
	const want = "FLOCK|i:       695|s:         1|o:BBC2A8920FE8F604|t:W"
	text := string(mustDump(t, fixture(t, "after.mfs.gz"), DumpOptions{}))
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "FLOCK|i:       695|") {
			if strings.TrimSpace(line) != want {
				t.Fatalf("got %q, want %q", line, want)
			}
			return
		}
	}
	t.Fatal("the lock of inode 695 is missing")
}

// failingWriter takes n bytes.
type failingWriter struct{ n int }

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.n -= len(b); w.n < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

func TestDumpAndWriteReportAFullDisk(t *testing.T) {
	file := fixture(t, "after.mfs.gz")
	st, h := mustRead(t, file)
	for name, run := range map[string]func(io.Writer) error{
		"Dump":      func(w io.Writer) error { return Dump(w, bytes.NewReader(file), DumpOptions{}) },
		"DumpState": func(w io.Writer) error { return DumpState(w, st, h, DumpOptions{}) },
		"Write":     func(w io.Writer) error { return Write(w, st, h, WriteOptions{}) },
	} {
		if err := run(&failingWriter{n: 300 << 10}); err == nil || !strings.Contains(err.Error(), io.ErrShortWrite.Error()) {
			t.Errorf("%s: error %v, want %q", name, err, io.ErrShortWrite)
		}
	}
}
