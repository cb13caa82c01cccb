package tap

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
)

func TestFiles(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files []string
		from  meta.Version
		first meta.Version // entries expected
		last  meta.Version
		want  string // error at the end; "" is io.EOF
	}{
		{"one", []string{logOf(5, 9)}, 0, 5, 9, ""},
		{"from the middle", []string{logOf(5, 9)}, 8, 8, 9, ""},
		{"any order", []string{logOf(8, 12), logOf(5, 7)}, 0, 5, 12, ""},
		{"overlap", []string{logOf(5, 9), logOf(7, 12)}, 0, 5, 12, ""},
		{"same twice, and an empty one", []string{logOf(5, 9), logOf(5, 9), ""}, 0, 5, 9, ""},
		{"holes that complete each other", []string{logOf(5, 6) + logOf(9, 9), logOf(7, 8)}, 0, 5, 9, ""},
		{"many batches", []string{logOf(1, 30000)}, 0, 1, 30000, ""},
		{"hole", []string{logOf(5, 6), logOf(8, 9)}, 0, 5, 6, "file1:1 has no entries 7 to 7 (next is 8)"},
		{"begins too late", []string{logOf(5, 6)}, 4, 4, 3, "has no entries 4 to 4"},
		{"other text", []string{logOf(5, 9), logOf(5, 6) + "7: 1|UNLINK(1,a):7\n"}, 0, 5, 6,
			`file0:3: entry 7 is "1|UNLINK(1,a):7", but was "1795400007|CREATE(`},
		{"goes back", []string{logOf(5, 9) + logOf(8, 8)}, 0, 5, 9, "file0:6: entry 8: version goes back, the line before has 9"},
		{"same line twice", []string{logOf(5, 9) + logOf(9, 9)}, 0, 5, 9, "version goes back"},
		{"torn", []string{logOf(5, 9) + "10: 1|UNL"}, 0, 5, 9, `file0: last line, at offset 221, is torn: "10: 1|UNL"`},
		{"torn, but whole elsewhere", []string{logOf(5, 9) + "10: 1|UNL", logOf(9, 10)}, 0, 5, 10, ""},
		{"glued after a crash", []string{logOf(5, 5) + "6: 17954|CRE" + logOf(6, 9)}, 0, 5, 5, "file0:2: entry is not TIME|OPERATION("},
		{"glued within the arguments", []string{logOf(5, 5) + "6: 17954|CREATE(1,na" + logOf(6, 9)}, 0, 5, 5, "with a second entry inside (a crash cut the first)"},
		{"4.x", []string{"5: 1|SCSET(ca,1,C(0:0:0),K(2:0:255),1,(1:24:0),C1):7\n"}, 6, 6, 5, ""},
		{"zeros after a power cut", []string{logOf(5, 5) + "6: 1|A(\x00\x00)\n"}, 0, 5, 5, "file0:2: entry is not"},
		{"no version", []string{logOf(5, 5) + "hello\n"}, 0, 5, 5, "file0:2: column 1: number expected"},
		{"version too large", []string{logOf(5, 5) + "99999999999999999999: 1|A()\n"}, 0, 5, 5, "number too big"},
		{"version zero", []string{logOf(5, 5) + "0: 1|A()\n"}, 0, 5, 5, "file0:2: version is 0"},
		{"from the first entry of 1.6", []string{"0: 1|SESSION():1\n" + logOf(1, 4)}, 0, 1, 4, ""},
		{"line too long", []string{logOf(5, 5) + "6: 1|A(" + strings.Repeat("a", 300000)}, 0, 5, 5, "file0:2: line is longer than"},
		{"entry too long", []string{logOf(5, 5) + "6: 1|A(" + strings.Repeat("a", 200000-5) + ")\n"}, 0, 5, 5, "file0:2: entry of 200000 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			var paths []string
			for i, content := range tc.files {
				paths = append(paths, write(t, filepath.Join(dir, "file"+string(rune('0'+i))), content))
			}
			s, err := OpenFiles(tc.from, paths...)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			take(t, s, tc.first, tc.last)
			_, err = s.Next(t.Context())
			if tc.want == "" && err != io.EOF {
				t.Fatalf("got error %v, want the end", err)
			} else if tc.want != "" {
				wantText(t, err, tc.want)
			}
			if _, again := s.Next(t.Context()); again != err {
				t.Fatalf("second error is %v, first was %v", again, err)
			}
		})
	}
}

func TestFilesErrorsAreTyped(t *testing.T) {
	dir := t.TempDir()
	gap, _ := OpenFiles(0, write(t, filepath.Join(dir, "a"), logOf(1, 2)+logOf(4, 4)))
	defer gap.Close()
	var g *GapError
	if err := takeError(t, gap); !errors.Is(err, ErrGap) || !errors.As(err, &g) || g.Want != 3 || g.Have != 4 {
		t.Fatalf("got %#v, want a gap from 3 to 4", err)
	}
	div, _ := OpenFiles(0, write(t, filepath.Join(dir, "b"), logOf(1, 3)+logOf(2, 2)))
	defer div.Close()
	if err := takeError(t, div); !errors.Is(err, ErrDiverged) {
		t.Fatalf("got %v, want ErrDiverged", err)
	}
	if _, err := OpenFiles(0, filepath.Join(dir, "absent")); err == nil {
		t.Fatal("an absent file was opened")
	}
}

// FuzzLines: every complete line of the input is refused, or given out as it
// was, and reading in two steps gives the same as in one.
func FuzzLines(f *testing.F) {
	f.Add([]byte(logOf(1, 3)), 20)
	f.Add([]byte("7: 1|A()\n7: 1|B()\n"), 9)
	f.Add([]byte("7: 1|A("), 3)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		read := func(steps ...[]byte) (string, string) {
			file := &growing{}
			l := newLines("fuzz", file)
			var out strings.Builder
			for _, step := range steps {
				file.data = step
				for {
					e, ok, err := l.peek()
					if err != nil {
						return out.String(), err.Error()
					}
					if !ok {
						break
					}
					out.WriteString(string(appendLine(nil, e)))
					l.pop()
				}
			}
			_, rest := l.rest()
			return out.String() + string(rest), ""
		}
		whole, err := read(in)
		if err == "" && whole != string(in) {
			t.Fatalf("%q became %q", in, whole)
		}
		if !strings.HasPrefix(string(in), whole) {
			t.Fatalf("%q gave %q", in, whole)
		}
		if cut < 0 || cut > len(in) {
			return
		}
		if parts, err2 := read(in[:cut], in); parts != whole || err2 != err {
			t.Fatalf("%q cut at %d: got %q, %s; whole %q, %s", in, cut, parts, err2, whole, err)
		}
	})
}

// growing is a file that is written while it is read.
type growing struct{ data []byte }

func (g *growing) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(g.data)) {
		return 0, io.EOF
	}
	n := copy(p, g.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func BenchmarkFiles(b *testing.B) {
	const entries = 200000
	content := logOf(1, entries)
	path := write(b, filepath.Join(b.TempDir(), "changelog.0.mfs"), content)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		s, err := OpenFiles(1, path)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for {
			batch, err := s.Next(b.Context())
			if err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
			n += len(batch.Entries)
		}
		if s.Close(); n != entries {
			b.Fatalf("read %d entries", n)
		}
	}
	b.ReportMetric(float64(entries*b.N)/b.Elapsed().Seconds(), "entries/s")
}
