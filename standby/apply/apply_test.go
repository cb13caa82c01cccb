package apply

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
	"mfsstandby/standby/image"
	"mfsstandby/standby/metafile"
)

const fixture = "../metafile/testdata/3.0.117-a/before.mfs"

// entries returns the fixture's changelog.
func entries(t testing.TB) []meta.RawEntry {
	t.Helper()
	f, err := os.Open("../../changelog/testdata/3.0.117-a.changelog.mfs.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var list []meta.RawEntry
	r := changelog.NewReader(bufio.NewReader(z), "changelog")
	for {
		v, text, err := r.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, meta.RawEntry{Version: v, Text: bytes.Clone(text)})
	}
}

// model is what the entries make of the fixture in plain maps, up to a version.
func model(t testing.TB, list []meta.RawEntry, until meta.Version) []byte {
	t.Helper()
	st := metatest.New()
	h := read(t, st)
	b := changelog.NewBatch()
	for _, e := range list {
		if e.Version < h.Version || e.Version >= until {
			continue
		}
		b.Reset()
		now, op, err := b.Parse(e.Text)
		if err != nil {
			t.Fatal(err)
		}
		if err := changelog.ApplyEntry(st, changelog.Entry{Version: e.Version, Time: now, Op: op}); err != nil {
			t.Fatal(err)
		}
	}
	return file(t, st, until)
}

func read(t testing.TB, st *meta.State) metafile.Header {
	t.Helper()
	f, err := os.Open(fixture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := metafile.Read(f, st, metafile.ReadOptions{Name: fixture})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// file is a State as a metadata file, which has an order of its own.
func file(t testing.TB, st *meta.State, v meta.Version) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := metafile.Write(&buf, st, metafile.Header{Version: v}, metafile.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func newImage(t testing.TB, dir string) *image.Image {
	t.Helper()
	img, err := image.Open(image.Config{Dir: dir, Cache: image.MinCache})
	if err != nil {
		t.Fatal(err)
	}
	if img.Position().Version != 0 {
		return img
	}
	err = img.Update(func(st *meta.State, pos image.Position) (image.Position, error) {
		pos.Version = read(t, st).Version
		return pos, nil
	})
	if err == nil {
		err = img.Commit(true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return img
}

var errCut = errors.New("the source broke")

// randomSource cuts the entries into batches at random, begins before the
// version asked for, and breaks at random.
type randomSource struct {
	rng    *rand.Rand
	list   []meta.RawEntry
	at     int
	breaks bool
}

func openRandom(rng *rand.Rand, list []meta.RawEntry, breaks bool) OpenFunc {
	return func(_ context.Context, from meta.Version) (Source, error) {
		at, _ := slices.BinarySearchFunc(list, from, func(e meta.RawEntry, v meta.Version) int { return int(int64(e.Version) - int64(v)) })
		return &randomSource{rng: rng, list: list, at: max(0, at-rng.IntN(50)), breaks: breaks}, nil
	}
}

// Next overwrites the texts of the batch before: nothing may look at them again.
func (s *randomSource) Next(_ context.Context, b *Batch) error {
	for i := range b.text {
		b.text[i] = '#'
	}
	if s.at == len(s.list) {
		return io.EOF
	}
	if s.breaks && s.rng.IntN(20) == 0 {
		return errCut
	}
	n := min(1+s.rng.IntN(700), len(s.list)-s.at)
	b.Seq = uint64(s.at)
	b.Copy(s.list[s.at : s.at+n])
	s.at += n
	return nil
}

// Whatever breaks and comes again, the image ends where plain maps end.
func TestApplyExactly(t *testing.T) {
	list := entries(t)
	end := list[len(list)-1].Version + 1
	want := model(t, list, end)
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 7))
		dir := filepath.Join(t.TempDir(), "image")
		img := newImage(t, dir)
		for img.Position().Version < end {
			a := New(img, openRandom(rng, list, true), Config{CommitBytes: 1 << 18})
			err := a.Run(t.Context())
			if err != nil && !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			if rng.IntN(3) == 0 {
				if err := img.Reset(); err != nil {
					t.Fatal(err)
				}
			}
			if rng.IntN(5) == 0 {
				if err := img.Close(); err != nil {
					t.Fatal(err)
				}
				img = newImage(t, dir)
			}
		}
		v, err := img.View()
		if err != nil {
			t.Fatal(err)
		}
		if got := file(t, v.State(), v.Position().Version); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: the image differs from the model", seed)
		}
		v.Close()
		if err := img.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// An entry that cannot be reproduced stops the image at the version before.
func TestStopsBeforeBadEntry(t *testing.T) {
	for _, tc := range []struct{ name, from, to, want string }{
		{"another inode", "UNLINK(", "UNLINK(1,no such name):1", "no such file"},
		{"unknown operation", "ATTR(", "ATTRIBUTE(1)", "operation"},
		{"result differs", "CREATE(1,", "CREATE(1,odd,1,420,18,0,0,0):77777777", "77777777"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			list := entries(t)
			i := 20000 + slices.IndexFunc(list[20000:], func(e meta.RawEntry) bool {
				return bytes.Contains(e.Text, []byte("|"+tc.from))
			})
			bad := list[i].Version
			head, _, _ := bytes.Cut(list[i].Text, []byte("|"))
			list[i].Text = []byte(string(head) + "|" + tc.to)
			img := newImage(t, filepath.Join(t.TempDir(), "image"))
			defer img.Close()
			a := New(img, openRandom(rand.New(rand.NewPCG(1, 1)), list, false), Config{CommitBytes: 1 << 18})
			err := a.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got error %v, want one with %q", err, tc.want)
			}
			if got := committed(img); got != bad {
				t.Fatalf("image is at version %d, want %d", got, bad)
			}
			v, err := img.View()
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			if !bytes.Equal(file(t, v.State(), bad), model(t, list[:i], bad)) {
				t.Fatal("the image is not the state before the entry")
			}
		})
	}
}

func TestGapStops(t *testing.T) {
	list := entries(t)
	gap := slices.Delete(slices.Clone(list), 5000, 5001)
	img := newImage(t, filepath.Join(t.TempDir(), "image"))
	defer img.Close()
	err := New(img, openRandom(rand.New(rand.NewPCG(1, 1)), gap, false), Config{}).Run(t.Context())
	var e *GapError
	if !errors.As(err, &e) || e.Image != list[5000].Version || e.Source != e.Image+1 {
		t.Fatalf("got %v", err)
	}
}

func TestUntil(t *testing.T) {
	list := entries(t)
	img := newImage(t, filepath.Join(t.TempDir(), "image"))
	defer img.Close()
	until := list[7777].Version
	if err := New(img, openRandom(rand.New(rand.NewPCG(1, 1)), list, false), Config{Until: until}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := committed(img); got != until {
		t.Fatalf("image is at %d, want %d", got, until)
	}
}

func committed(img *image.Image) meta.Version {
	pos := img.Known().Committed
	return pos.Version
}
