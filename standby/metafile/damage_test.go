package metafile

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"mfsstandby/changelog/meta/metatest"
)

func TestTruncated(t *testing.T) {
	file := sample().bytes()
	for n := range file {
		_, _, err := readRaw(file[:n])
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut to %d of %d bytes: error %v, want %v", n, len(file), err, io.ErrUnexpectedEOF)
		}
		if _, err := ReadHeader(bytes.NewReader(file[:n]), int64(n)); err == nil {
			t.Fatalf("cut to %d of %d bytes: the quick check does not notice", n, len(file))
		}
	}
}

// TestBitFlips flips one bit of every byte: the file is refused, or loads as
// another state that survives a round trip.
func TestBitFlips(t *testing.T) {
	file := sample().bytes()
	loaded := 0
	for i := range file {
		damaged := bytes.Clone(file)
		damaged[i] ^= 1 << (i * 5 % 8)
		if tryFile(t, damaged) {
			loaded++
		}
	}
	if loaded == 0 || loaded == len(file) {
		t.Errorf("%d of %d damaged files load", loaded, len(file))
	}
}

// tryFile reads, writes, prints and compares an arbitrary file.
func tryFile(t *testing.T, file []byte) bool {
	t.Helper()
	size := int64(len(file))
	Dump(io.Discard, bytes.NewReader(file), DumpOptions{Size: size}) // must not panic
	st := metatest.New()
	h, err := Read(bytes.NewReader(file), st, ReadOptions{Size: size})
	if err != nil {
		return false
	}
	h.Version = max(h.Version, 1)
	out := mustWrite(t, st, h, WriteOptions{})
	again, _ := mustRead(t, out)
	wantEqual(t, normalised(again), normalised(st))
	opt := CompareOptions{Size: int64(len(out)), Version: h.Version, Counters: true, Disconnects: true, LockTypes: true, ChunkLocks: true}
	n, err := Compare(bytes.NewReader(out), st, opt, func(d Difference) { t.Errorf("a file differs from the State it was made of: %v", d) })
	if err != nil || n != 0 {
		t.Fatalf("Compare: %d differences, %v", n, err)
	}
	return true
}

func TestReaderErrors(t *testing.T) {
	broken := errors.New("disk is broken")
	file := sample().bytes()
	for name, r := range map[string]io.Reader{
		"error in the middle": io.MultiReader(bytes.NewReader(file[:2000]), iotest.ErrReader(broken)),
		"error at the end":    io.MultiReader(bytes.NewReader(file), iotest.ErrReader(broken)),
	} {
		if _, err := Read(r, metatest.New(), ReadOptions{}); !errors.Is(err, broken) {
			t.Errorf("%s: error %v, want %v", name, err, broken)
		}
	}
	if _, err := Read(iotest.OneByteReader(bytes.NewReader(file)), metatest.New(), ReadOptions{}); err != nil {
		t.Errorf("byte by byte: %v", err)
	}
}

// TestStateFails: an error of the State ends the reading soon.
func TestStateFails(t *testing.T) {
	broken := errors.New("image is broken")
	st := metatest.New()
	calls := 0
	st.Pause = func() {
		if calls++; calls == 3 {
			st.Fail(broken)
		}
	}
	if _, err := Read(bytes.NewReader(fixture(t, "after.mfs.gz")), st, ReadOptions{}); !errors.Is(err, broken) || calls != 3 {
		t.Errorf("error %v after %d pauses, want %v after 3", err, calls, broken)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(fixture(f, "before.mfs"))
	f.Add(sample().bytes())
	unknown := sample()
	for _, name := range unknown.order {
		unknown.length[name] = func(u64) u64 { return unknownLength }
	}
	f.Add(unknown.bytes())
	f.Add(bare())
	for _, release := range []string{"1.6.27-a", "2.0.91-a"} {
		f.Add(oldFixture(f, release, "after.mfs.gz"))
	}
	for _, name := range []string{"SESS", "SCLA", "NODE", "EDGE", "QUOT", "CSDB", "CHNK"} {
		old := sample()
		downgrade(old, name, 0x10)
		f.Add(old.bytes())
	}
	st, _ := mustRead(f, sample().bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		tryFile(t, file)
		Compare(bytes.NewReader(file), st, CompareOptions{Size: int64(len(file))}, nil) // must not panic
	})
}
