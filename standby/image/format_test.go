package image

import (
	"bytes"
	"reflect"
	"testing"

	"mfsstandby/changelog/meta"
)

// Images that were made before the release counted are opened as they are.
func TestRootOfOldFormat(t *testing.T) {
	r := &root{ts: 7, pos: Position{Version: 9, Release: "3.0.117"}, digest: Sum{1, 2}}
	r.pub.ClassesUsed, r.priv.freeTail = 12, 3
	b := r.encode()
	const added, sum = 7, 16
	old := append([]byte{oldFormat}, b[1:len(b)-sum-added]...)
	old = append(old, b[len(b)-sum:]...)
	got, err := decodeRoot(old)
	if err != nil {
		t.Fatal(err)
	}
	r.pub.Release = meta.Reproduced
	if !reflect.DeepEqual(got, r) {
		t.Fatalf("got %+v, want %+v", got, r)
	}
	r.pub.Release, r.pub.ECVersion, r.pub.PatternCount = meta.Latest, 2, 3
	if got, err = decodeRoot(r.encode()); err != nil || !reflect.DeepEqual(got, r) {
		t.Fatalf("got %+v, %v; want %+v", got, err, r)
	}
	b[0] = rootFormat + 1
	if _, err := decodeRoot(b); err == nil {
		t.Fatal("a root of an unknown format was accepted")
	}
}

// checkRecord encodes a record and decodes it again.
func checkRecord[V any](t *testing.T, c sparseCodec[V], v V) []byte {
	t.Helper()
	b := c.put(nil, &v)
	r := reader{b: b}
	var got V
	c.get(&r, &got)
	if err := r.end(); err != nil || !reflect.DeepEqual(got, v) {
		t.Fatalf("%+v became %+v, %v", v, got, err)
	}
	return b
}

// What records have since 4.x is in their pages only where they have it, so
// that those of 3.0.117 are stored as before.
func TestRecordsOfBothFormats(t *testing.T) {
	s := meta.Session{Umask: 0o027, MinGoal: 1, MaxGoal: 9, Info: []byte("/mnt"), Open: 3}
	plain := checkRecord(t, sessionCodec, s)
	s.Groups = 1 // in place of the goals
	if with := checkRecord(t, sessionCodec, s); len(with) != len(plain)+4 {
		t.Fatalf("a session has %d bytes with groups, %d without", len(with), len(plain))
	}
	s.Groups, s.Umask = 0, 0xFFFF
	checkRecord(t, sessionCodec, s)

	c := meta.Class{Name: "a", Mode: 2, ArchDelay: 3, Create: []meta.LabelMasks{{1}}, Keep: []meta.LabelMasks{{2}}, Arch: []meta.LabelMasks{{3, 4}}, Files: 5}
	want := append(putBytes(nil, "a"), 0, 2, 3, 0, 1)
	if b := checkRecord(t, classCodec, c); !bytes.HasPrefix(b, want) {
		t.Fatalf("class is %x, want %x first", b, want)
	}
	c = meta.Class{
		Name: "b", Mode: 1, AdminOnly: 1, Description: "two", Priority: 7, Group: 3, ArchMode: meta.ArchModeCtime, ArchMinSize: 1 << 40, MinTrash: 4,
		Parts: []meta.Labels{{Mode: 255}, {Mode: 255, Uniq: 1, Exprs: []string{"\xC0", ""}}, {EC: 0x81, Exprs: []string{""}}, {}},
	}
	checkRecord(t, classCodec, c)
	checkRecord(t, classCodec, meta.Class{Name: "odd mode", Mode: 0xFF, Parts: make([]meta.Labels, meta.ClassParts)})
	checkRecord(t, patternCodec, meta.Pattern{Glob: "*.o", UID: meta.AnyID, GID: 5, Priority: 1, Mask: 7, Class: 2, TrashHours: 300, SetEattr: 1, ClearEattr: 2})
}
