package metafile

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
)

// importInto reads a file into a new image and returns a view of it.
func importInto(t testing.TB, file []byte, cache int64) *meta.State {
	t.Helper()
	img, err := image.Open(image.Config{Dir: t.TempDir(), Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := img.Close(); err != nil {
			t.Errorf("closing the image: %v", err)
		}
	})
	err = img.Update(func(st *meta.State, pos image.Position) (image.Position, error) {
		h, err := Read(bytes.NewReader(file), st, ReadOptions{})
		pos.Version = h.Version
		return pos, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := img.Commit(true); err != nil {
		t.Fatal(err)
	}
	view, err := img.View()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(view.Close)
	return view.State()
}

// TestImage imports real files into an image and exports them again.
func TestImage(t *testing.T) {
	for _, name := range []string{"before.mfs", "after.mfs.gz"} {
		file := fixture(t, name)
		want, h := mustRead(t, file)
		st := importInto(t, file, 0)
		wantEqual(t, contentOf(st), contentOf(want))
		if got := mustWrite(t, st, h, WriteOptions{}); !bytes.Equal(got, mustWrite(t, want, h, WriteOptions{})) {
			t.Errorf("%s: the export of an image differs from that of a State in maps", name)
		}
		if list := differences(t, file, st, strict); len(list) > 0 {
			t.Errorf("%s: %q", name, list)
		}
	}
}

// TestSmallCache imports a file that is much larger than the image's cache.
func TestSmallCache(t *testing.T) {
	const files = 150_000
	file, _ := bigFile(files)
	st := importInto(t, file, image.MinCache)
	list := differences(t, file, st, strict)
	list = slices.DeleteFunc(list, func(d string) bool { return strings.HasPrefix(d, "SCLA") }) // the file has no predefined classes
	if len(list) > 0 {
		t.Errorf("%d differences, first %q", len(list), list[0])
	}
	if root, ok := st.Dirs.Get(meta.Root); !ok || root.Stats.Files != files || root.Elements != files/filesPerDir {
		t.Errorf("root: %+v", root)
	}
}

func BenchmarkImageImport(b *testing.B) {
	file, inodes := bigFile(benchFiles)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		importInto(b, file, 0)
	}
	perInode(b, inodes)
}

func BenchmarkImageExport(b *testing.B) {
	file, inodes := bigFile(benchFiles)
	st := importInto(b, file, 0)
	var out countingWriter
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Write(&out, st, Header{Version: 50}, WriteOptions{Patch: discardAt{}}); err != nil {
			b.Fatal(err)
		}
	}
	perInode(b, inodes)
}

type countingWriter struct{ n int }

func (w *countingWriter) Write(b []byte) (int, error) {
	w.n += len(b)
	return len(b), nil
}
