package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"mfsstandby/changelog/meta"
)

func putBase(t *testing.T, c *Cluster, b Base, image string) Base {
	t.Helper()
	b, err := c.PutBase(t.Context(), b, strings.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBases(t *testing.T) {
	c := newCluster(t)
	if bases, err := c.ListBases(t.Context()); err != nil || len(bases) != 0 {
		t.Fatalf("empty store: %v, %v", bases, err)
	}
	noise := make([]byte, 3<<20)
	rnd := rand.New(rand.NewChaCha8([32]byte{1}))
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	images := map[meta.Version]string{5: "", 7: "small", 70: string(noise), 9: imageOf(9)}
	for v, image := range images {
		b := putBase(t, c, Base{Version: v, Epoch: 1, Release: "3.0.117"}, image)
		if b.Size != int64(len(image)) || b.MetaID != testMetaID || b.Created.IsZero() || b.Sum.IsZero() {
			t.Fatalf("stored %+v of %d bytes", b, len(image))
		}
	}
	bases, err := c.ListBases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var versions []meta.Version
	for _, b := range bases {
		versions = append(versions, b.Version)
		var out bytes.Buffer
		got, err := c.GetBase(t.Context(), b.Version, &out)
		if err != nil || out.String() != images[b.Version] || got.Sum != b.Sum || got.Release != "3.0.117" || got.Epoch != 1 || got.Stored != b.Stored {
			t.Fatalf("image %d: %v, %d bytes, %+v, listed as %+v", b.Version, err, out.Len(), got, b)
		}
	}
	if want := []meta.Version{5, 7, 9, 70}; !reflect.DeepEqual(versions, want) {
		t.Fatalf("listed %v, want %v", versions, want)
	}
	putBase(t, c, Base{Version: 7, Epoch: 2}, "replaced")
	var out bytes.Buffer
	if got, err := c.GetBase(t.Context(), 7, &out); err != nil || out.String() != "replaced" || got.Epoch != 2 {
		t.Fatalf("replaced image: %q, %+v, %v", out.String(), got, err)
	}
	if _, err := c.GetBase(t.Context(), 8, io.Discard); !errors.Is(err, ErrNoBase) {
		t.Fatalf("missing image: got %v, want ErrNoBase", err)
	}
	if _, err := c.PutBase(t.Context(), Base{}, strings.NewReader("")); err == nil {
		t.Fatal("an image without a version was stored")
	}
}

type failingReader struct{ left int }

var errDisk = errors.New("disk on fire")

func (f *failingReader) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, errDisk
	}
	n := min(len(p), f.left)
	f.left -= n
	return n, nil
}

func TestHalfABase(t *testing.T) {
	c := newCluster(t)
	if _, err := c.PutBase(t.Context(), Base{Version: 5}, &failingReader{left: 1 << 20}); !errors.Is(err, errDisk) {
		t.Fatalf("image that cannot be read: got %v, want it", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.PutBase(ctx, Base{Version: 5}, strings.NewReader("x")); err == nil {
		t.Fatal("stored in spite of the cancelled context")
	}
	if bases, err := c.ListBases(t.Context()); err != nil || len(bases) != 0 {
		t.Fatalf("half an image is listed: %v, %v", bases, err)
	}
	putBase(t, c, Base{Version: 5}, "whole")
}

// TestOrphans: what a crash leaves of an image is dropped later, and only that.
func TestOrphans(t *testing.T) {
	c := newCluster(t)
	putBase(t, c, Base{Version: 5}, imageOf(5))
	if err := c.putChunks(t.Context(), &jetstream.ObjectInfo{NUID: "crashed"}, strings.NewReader(imageOf(6))); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		age  time.Duration
		want uint64 // messages: 2 per image, 1 that was left
	}{{time.Hour, 5}, {0, 6}} {
		c.orphanAge = tc.age
		putBase(t, c, Base{Version: 7 + meta.Version(tc.want)}, imageOf(7))
		info, err := c.baseStream.Info(t.Context())
		if err != nil || info.State.Msgs != tc.want {
			t.Fatalf("orphans of age %v: %d messages (%v), want %d", tc.age, info.State.Msgs, err, tc.want)
		}
	}
	for _, v := range []meta.Version{5, 12, 13} {
		if _, err := c.GetBase(t.Context(), v, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamagedChunks: missing and changed chunks are found.
func TestDamagedChunks(t *testing.T) {
	c := newCluster(t)
	putBase(t, c, Base{Version: 5}, imageOf(5))
	info, err := c.bases.GetInfo(t.Context(), baseName(5))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.baseStream.Purge(t.Context(), jetstream.WithPurgeSubject(c.chunkSubject(info.NUID))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetBase(t.Context(), 5, io.Discard); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("without its chunk: got %v, want ErrCorrupt", err)
	}
	var other bytes.Buffer
	if err := compress(&other, strings.NewReader(imageOf(6))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.conn.js.Publish(t.Context(), c.chunkSubject(info.NUID), other.Bytes()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetBase(t.Context(), 5, io.Discard); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("with another chunk: got %v, want ErrCorrupt", err)
	}
}

func TestDamagedBase(t *testing.T) {
	c := newCluster(t)
	good := putBase(t, c, Base{Version: 5}, imageOf(5))
	for _, tc := range []struct {
		name   string
		change func(md map[string]string)
		want   error
	}{
		{"size", func(md map[string]string) { md[keySize] = "1" }, ErrCorrupt},
		{"sum", func(md map[string]string) { md[keySum] = strings.Repeat("0", 32) }, ErrCorrupt},
		{"chain", func(md map[string]string) { md[keyChain] = strings.Repeat("x", 32) }, ErrCorrupt},
		{"short sum", func(md map[string]string) { md[keySum] = "0" }, ErrCorrupt},
		{"no number", func(md map[string]string) { md[keyEpoch] = "one" }, ErrCorrupt},
		{"other version", func(md map[string]string) { md[keyVersion] = "6" }, ErrCorrupt},
		{"other cluster", func(md map[string]string) { md[keyMetaID] = "1" }, ErrForeign},
	} {
		md := good.metadata()
		tc.change(md)
		if err := c.bases.UpdateMeta(t.Context(), baseName(5), jetstream.ObjectMeta{Name: baseName(5), Metadata: md}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.GetBase(t.Context(), 5, io.Discard); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
}

// thieving takes the reader's consumer away once something was read.
type thieving struct {
	t     *testing.T
	c     *Cluster
	after int
}

func (w *thieving) Write(p []byte) (int, error) {
	if w.after -= len(p); w.after > 0 {
		return len(p), nil
	}
	names := w.c.baseStream.ConsumerNames(w.t.Context())
	for name := range names.Name() {
		if err := w.c.baseStream.DeleteConsumer(w.t.Context(), name); err != nil {
			w.t.Error(err)
		}
	}
	w.after = 1 << 40
	return len(p), names.Err()
}

// An image of which the rest does not come is there all the same: it is worth
// another try.
func TestBaseBreaksOff(t *testing.T) {
	c := newCluster(t)
	noise := make([]byte, 40<<20)
	rand.NewChaCha8([32]byte{2}).Read(noise)
	putBase(t, c, Base{Version: 5, Epoch: 1}, string(noise))
	if _, err := c.GetBase(t.Context(), 5, &thieving{t, c, 1 << 20}); !errors.Is(err, errBrokenOff) || !Away(err) {
		t.Errorf("without its consumer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stop := writer(func(p []byte) (int, error) { cancel(); return len(p), nil })
	if _, err := c.GetBase(ctx, 5, stop); !errors.Is(err, context.Canceled) || errors.Is(err, errBrokenOff) {
		t.Errorf("ended by the caller: %v", err)
	}
	var out bytes.Buffer
	if _, err := c.GetBase(t.Context(), 5, &out); err != nil || !bytes.Equal(out.Bytes(), noise) {
		t.Errorf("read again: %d bytes, %v", out.Len(), err)
	}
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestTrim(t *testing.T) {
	c := newCluster(t)
	w := newWriter(t, c, 100)
	for i := range 5 {
		if i > 0 { // the first is there
			putBase(t, c, Base{Version: w.Next(), Epoch: w.End().Epoch, Chain: w.End().Chain}, "image")
		}
		appendAll(t, w, 50, 10)
		w = openWriterAt(t, c, w.Next())
		appendAll(t, w, 50, 10)
	}
	for _, tc := range []struct {
		keep    int
		deleted int
		first   meta.Version
	}{{9, 0, 100}, {4, 1, 200}, {4, 0, 200}, {2, 2, 400}, {1, 1, 500}, {1, 0, 500}} {
		deleted, err := c.Trim(t.Context(), Retention{Keep: tc.keep}, 0)
		if err != nil || len(deleted) != tc.deleted {
			t.Fatalf("keep %d: deleted %+v, %v; want %d", tc.keep, deleted, err, tc.deleted)
		}
		bases, err := c.ListBases(t.Context())
		if err != nil || bases[0].Version != tc.first {
			t.Fatalf("keep %d: oldest is %+v (%v), want %d", tc.keep, bases[0], err, tc.first)
		}
		for _, pos := range []Position{bases[0].Position(), {Version: tc.first}, {Version: tc.first + 33}} {
			r := c.Reader(pos, ReaderConfig{})
			readTo(t, r, 600)
			r.Close()
		}
		var gap *GapError
		r := c.Reader(Position{Version: tc.first - 11}, ReaderConfig{})
		if err := nextErr(t, r); !errors.As(err, &gap) || gap.Want != tc.first-11 {
			t.Fatalf("keep %d: before the oldest image: got %v, want ErrGap", tc.keep, err)
		}
		r.Close()
	}
	if next := openWriter(t, c, "w").Next(); next != 600 {
		t.Fatalf("the stream ends at %d, want 600", next)
	}
}

func TestMembers(t *testing.T) {
	c := newCluster(t)
	if members, err := c.Members(t.Context()); err != nil || len(members) != 0 {
		t.Fatalf("no members: %v, %v", members, err)
	}
	a := Member{Name: "host-b.example.org", Role: "standby", State: "in sync", Primary: 20, Version: 17, Epoch: 2, Seq: 9, Rate: 1.5, Error: "none", Updated: testTime.UTC()}
	b := Member{Name: "host-a", Role: "tap", Updated: testTime.UTC()}
	for _, m := range []Member{{Name: "host-a", Role: "tap", Version: 1}, a, b} {
		if err := c.PutMember(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	members, err := c.Members(t.Context())
	for i := range members {
		members[i].Updated = members[i].Updated.UTC()
	}
	if want := []Member{b, a}; err != nil || !reflect.DeepEqual(members, want) {
		t.Fatalf("got %+v (%v)\nwant %+v", members, err, want)
	}
	if err := c.DeleteMember(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if members, err = c.Members(t.Context()); err != nil || len(members) != 1 {
		t.Fatalf("after deleting: %+v, %v", members, err)
	}
	for _, m := range []Member{{}, {Name: "a b", Role: "tap"}, {Name: "a.", Role: "tap"}, {Name: "a", Role: "x/y"}, {Name: "a", Role: ">"}} {
		if err := c.PutMember(t.Context(), m); err == nil || !strings.Contains(err.Error(), "letters") {
			t.Errorf("member %+v: got %v", m, err)
		}
	}
	if _, err := c.members.Put(t.Context(), "host-a/tap", []byte("junk")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Members(t.Context()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("damaged member: got %v, want ErrCorrupt", err)
	}
}

func FuzzMember(f *testing.F) {
	f.Add([]byte("\x81\xa4name\xa1a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := decodeMember(data); err == nil && len(m.Name) > len(data) {
			t.Fatalf("%x gave a name of %d bytes", data, len(m.Name))
		}
	})
}
