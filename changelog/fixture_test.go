package changelog

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// releases are the fixtures: testdata/RELEASE.changelog.mfs.gz, written by
// real masters (2.0.91: by hand, for its replay).
var releases = []string{"3.0.117-a", "4.59.2-a", "2.0.91-a", "1.6.27-a"}

// fixture returns a whole changelog file.
func fixture(tb testing.TB, release string) []byte {
	tb.Helper()
	f, err := os.Open(filepath.Join("testdata", release+".changelog.mfs.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	// The hand-written file escapes slashes and blanks, which no master does.
	text = bytes.ReplaceAll(text, []byte("%2F"), []byte("/"))
	return bytes.ReplaceAll(text, []byte("%20"), []byte(" "))
}

// lines splits a changelog file; the last line is not empty.
func lines(text []byte) [][]byte {
	return bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
}

func TestFixturesRoundTrip(t *testing.T) {
	for _, release := range releases {
		t.Run(release, func(t *testing.T) {
			text := fixture(t, release)
			batch := NewBatch()
			var entries []Entry
			for i, line := range lines(text) {
				e, err := batch.ParseLine(line)
				if err != nil {
					t.Fatalf("line %d %q: %v", i+1, line, err)
				}
				if out := e.Append(nil); !bytes.Equal(out, line) {
					t.Fatalf("line %d became\n%s, want\n%s", i+1, out, line)
				}
				entries = append(entries, e)
			}
			// Nothing parsed later may have touched what was parsed before.
			var all []byte
			for _, e := range entries {
				all = append(e.Append(all), '\n')
			}
			if !bytes.Equal(all, text) {
				t.Fatal("entries changed while their batch grew")
			}
		})
	}
}

func TestReaderGivesFixture(t *testing.T) {
	text := fixture(t, releases[0])
	r := NewReader(bytes.NewReader(text), "changelog.0.mfs")
	batch := NewBatch()
	var out []byte
	for {
		version, entry, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		now, op, err := batch.Parse(entry)
		if err != nil {
			t.Fatal(r.Locate(err))
		}
		out = append(Entry{version, now, op}.Append(out), '\n')
		batch.Reset()
	}
	if !bytes.Equal(out, text) {
		t.Fatal("what the reader gave is not the file")
	}
	if r.Offset() != int64(len(text)) {
		t.Fatalf("offset at the end is %d, want %d", r.Offset(), len(text))
	}
}

// parseAll parses every line into batch and empties it every 1024 entries.
func parseAll(tb testing.TB, batch *Batch, texts [][]byte) {
	for i, text := range texts {
		if i%1024 == 0 {
			batch.Reset()
		}
		if _, _, err := batch.Parse(text); err != nil {
			tb.Fatal(err)
		}
	}
}

// texts returns the entries of a fixture without their versions.
func texts(tb testing.TB, release string) (list [][]byte, size int64) {
	for _, line := range lines(fixture(tb, release)) {
		_, n, reason := splitVersion(line)
		if reason != "" {
			tb.Fatalf("%q: %s", line, reason)
		}
		list = append(list, line[n:])
		size += int64(len(line) - n)
	}
	return list, size
}

func TestParseDoesNotAllocate(t *testing.T) {
	list, _ := texts(t, releases[0])
	batch := NewBatch()
	parseAll(t, batch, list)
	if n := testing.AllocsPerRun(5, func() { parseAll(t, batch, list) }); n != 0 {
		t.Fatalf("parsing %d entries again allocates %v times, want 0", len(list), n)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	list, size := texts(t, releases[0])
	batch := NewBatch()
	ops := make([]Op, len(list))
	for i, text := range list {
		var err error
		if _, ops[i], err = batch.Parse(text); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 0, size)
	if n := testing.AllocsPerRun(5, func() {
		b := buf
		for _, op := range ops {
			b = Append(b, 1795433716, op)
		}
	}); n != 0 {
		t.Fatalf("formatting %d entries allocates %v times, want 0", len(ops), n)
	}
}

func BenchmarkParse(b *testing.B) {
	list, size := texts(b, releases[0])
	batch := NewBatch()
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		parseAll(b, batch, list)
	}
	b.ReportMetric(float64(b.N)*float64(len(list))/b.Elapsed().Seconds(), "entries/s")
}

func BenchmarkAppend(b *testing.B) {
	list, size := texts(b, releases[0])
	batch := NewBatch()
	ops := make([]Op, len(list))
	for i, text := range list {
		var err error
		if _, ops[i], err = batch.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
	buf := make([]byte, 0, size)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		out := buf
		for _, op := range ops {
			out = Append(out, 1795433716, op)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(ops))/b.Elapsed().Seconds(), "entries/s")
}

func BenchmarkReader(b *testing.B) {
	text := fixture(b, releases[0])
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var n int
	for b.Loop() {
		r := NewReader(bytes.NewReader(text), "changelog.0.mfs")
		for {
			if _, _, err := r.Next(); err != nil {
				break
			}
			n++
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "entries/s")
}
