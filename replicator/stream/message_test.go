package stream

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/fence"
)

func testBatch(t testing.TB, from meta.Version, count int) []byte {
	t.Helper()
	return batchOf(t, makeEntries(from, count))
}

var testChain = Chain{Hi: 1, Lo: 2}

func batchOf(t testing.TB, entries []meta.RawEntry) []byte {
	t.Helper()
	var e encoder
	e.begin(nil, testChain)
	for _, en := range entries {
		e.add(en.Version, en.Text)
	}
	m := message{metaid: testMetaID, release: "3.0.117", received: testTime}
	m.Kind, m.Epoch, m.First, m.Count, m.Before, m.After = fence.Batch, 3, entries[0].Version, e.count, testChain, e.chain
	data, _, err := e.finish(&m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func testControl(t testing.TB) []byte {
	t.Helper()
	m := message{
		Record: fence.State{Seq: 9, Epoch: 4, Next: 77, Chain: testChain}.Rebase(90),
		metaid: testMetaID, received: testTime, control: Control{Who: "me", Why: "why not", ID: "X"},
	}
	data, _, err := encodeControl(&m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// resealed gives the message a right checksum after change.
func resealed(data []byte, change func([]byte) []byte) []byte {
	b, _ := seal(change(bytes.Clone(data[:len(data)-sumSize])))
	return b
}

func TestMessageRoundTrip(t *testing.T) {
	long := func(n int) []byte { return bytes.Repeat([]byte{'x'}, n) }
	for _, texts := range [][][]byte{
		{[]byte("1|A():2")},
		{nil, {}, []byte("\x00\xff\n")},
		{long(255), long(256), long(65535), long(65536), long(300000), nil},
	} {
		var entries []meta.RawEntry
		for i, text := range texts {
			entries = append(entries, meta.RawEntry{Version: meta.Version(7 + i), Text: text})
		}
		m, err := decodeMessage(5, batchOf(t, entries))
		if err != nil {
			t.Fatal(err)
		}
		if m.Seq != 5 || m.Epoch != 3 || m.First != 7 || int(m.Count) != len(texts) || m.metaid != testMetaID || m.release != "3.0.117" || !m.received.Equal(testTime) {
			t.Fatalf("decoded %+v", m)
		}
		got, chain, err := m.entries(nil, m.Next())
		if err != nil || chain != m.After {
			t.Fatalf("entries: %v, chain %v, want %v", err, chain, m.After)
		}
		for i := range got {
			if got[i].Version != entries[i].Version || !bytes.Equal(got[i].Text, entries[i].Text) {
				t.Fatalf("entry %d: got %d, %d bytes", i, got[i].Version, len(got[i].Text))
			}
		}
	}
	m, err := decodeMessage(10, testControl(t))
	if err != nil || m.Kind != fence.Rebase || m.control.Who != "me" || m.control.Why != "why not" || m.control.ID != "X" || m.First != 90 || m.Epoch != 5 {
		t.Fatalf("control record: %+v, %v", m, err)
	}
}

// TestLayoutIsFixed guards the format: streams on disk depend on it.
func TestLayoutIsFixed(t *testing.T) {
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"batch":   {batchOf(t, []meta.RawEntry{{Version: 7, Text: []byte("1|A():2")}, {Version: 8}}), "9ccc01cc01cf5f3a7c0011223344cf0000000000000003cf0000000000000007ce00000002a7332e302e313137d317979cfe3d85cd15cf0000000000000001cf0000000000000002cf36b9bf8d23caef02cf0a21454fa1e4325ddd00000002c407317c4128293a32c400cf4aa0cfbc7d3c577f"},
		"control": {testControl(t), "9ccc01cc03cf5f3a7c0011223344cf0000000000000005cf000000000000005ace00000000a0d317979cfe3d85cd15cf0000000000000001cf0000000000000002cfa0042636eb572c3acf5f3175ace63032f793a26d65a7776879206e6f74a158cfd72b249ffa2f5e19"},
	} {
		if got := hex.EncodeToString(tc.data); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tc.want)
		}
	}
}

// TestGroupingDoesNotMatter: the chain at a version is the same however the
// entries are grouped, and known inside a batch.
func TestGroupingDoesNotMatter(t *testing.T) {
	all := makeEntries(100, 50)
	whole, err := decodeMessage(1, batchOf(t, all))
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= len(all); n++ {
		part, err := decodeMessage(1, batchOf(t, all[:n]))
		if err != nil {
			t.Fatal(err)
		}
		_, chain, err := whole.entries(nil, part.Next())
		if err != nil || chain != part.After {
			t.Fatalf("chain at %d: %v in a batch of 50, %v at the end of one of %d (%v)", part.Next(), chain, part.After, n, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	batch, control := testBatch(t, 1000, 3), testControl(t)
	head := bytes.IndexByte(batch, codeArray32) // the header has none before the body
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "cut off"},
		{"cut off", batch[:len(batch)-1], "checksum"},
		{"trailing byte", append(bytes.Clone(batch), 0), "checksum"},
		{"not msgpack", resealed(batch, func(b []byte) []byte { b[0] = 0xc1; return b }), "header"},
		{"header of 11", resealed(batch, func(b []byte) []byte { b[0]--; return b }), "header"},
		{"other format", resealed(batch, func(b []byte) []byte { b[2] = 2; return b }), "newer release"},
		{"unknown kind", resealed(batch, func(b []byte) []byte { b[4] = 7; return b }), "kind 7"},
		{"count too high", resealed(batch, func(b []byte) []byte { b[head+4]++; return b }), "body"},
		{"no body", resealed(batch, func(b []byte) []byte { return b[:head] }), "body"},
		{"entry missing", resealed(batch, func(b []byte) []byte { return b[:len(b)-len(entryText(1))-2] }), "not the layout"},
		{"entry cut", resealed(batch, func(b []byte) []byte { return b[:len(b)-1] }), "not the layout"},
		{"bytes behind", resealed(batch, func(b []byte) []byte { return append(b, 0xc4, 0) }), "not the layout"},
		{"other text", resealed(batch, func(b []byte) []byte { b[len(b)-1]++; return b }), "chain"},
		{"control cut", resealed(control, func(b []byte) []byte { return b[:len(b)-1] }), "control"},
		{"control and more", resealed(control, func(b []byte) []byte { return append(b, 0xc0) }), "control"},
		{"batch as control", resealed(batch, func(b []byte) []byte { b[4] = 2; return b }), "control"},
		{"control as batch", resealed(control, func(b []byte) []byte { b[4] = 1; return b }), "body"},
		{"long form", resealed(batch, func(b []byte) []byte {
			return slices.Concat(b[:head+5], []byte{codeBin16, 0}, b[head+6:])
		}), "not the layout"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := decodeMessage(17, tc.data)
			if err == nil {
				_, _, err = m.entries(nil, 0)
			}
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "sequence 17") {
				t.Fatalf("%q: got error %v, want a damaged message at sequence 17 with %q", tc.data, err, tc.want)
			}
		})
	}
	for i := range batch {
		for bit := range 8 {
			bad := bytes.Clone(batch)
			bad[i] ^= 1 << bit
			if _, err := decodeMessage(1, bad); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("bit %d of byte %d flipped: %v", bit, i, err)
			}
		}
	}
}

// FuzzMessage: whatever decodes can be encoded again and is the same then. The
// checksum is made right, so that the fuzzer gets past it.
func FuzzMessage(f *testing.F) {
	f.Add(testBatch(f, 1000, 3))
	f.Add(testBatch(f, 1, 1))
	f.Add(testControl(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n := len(data) - sumSize; n > 0 {
			data = bytes.Clone(data)
			data[n] = codeUint64
			binary.BigEndian.PutUint64(data[n+1:], xxh3.Hash(data[:n]))
		}
		m, err := decodeMessage(1, data)
		if err != nil {
			return // refused; a panic or a hang would have failed
		}
		again := data
		if m.Kind == fence.Batch {
			entries, _, err := m.entries(nil, 0)
			if err != nil {
				return
			}
			var e encoder
			e.begin(nil, m.Before)
			for _, en := range entries {
				e.add(en.Version, en.Text)
			}
			if again, _, err = e.finish(&m); err != nil {
				t.Fatalf("%x cannot be encoded again: %v", data, err)
			}
		} else if again, _, err = encodeControl(&m); err != nil {
			t.Fatalf("%x cannot be encoded again: %v", data, err)
		}
		m2, err := decodeMessage(1, again)
		if err != nil || m2.Record != m.Record || m2.control != m.control || m2.metaid != m.metaid || m2.release != m.release || !m2.received.Equal(m.received) || !bytes.Equal(m2.body, m.body) {
			t.Fatalf("%x became %x: %+v became %+v, %v", data, again, m, m2, err)
		}
	})
}
