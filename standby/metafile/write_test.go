package metafile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
)

// sumsOf makes a map of a metadata.crc.
func sumsOf(t *testing.T, crc []byte) map[string]uint32 {
	t.Helper()
	if len(crc) != 15*8 {
		t.Fatalf("metadata.crc has %d bytes, want 120", len(crc))
	}
	sums := map[string]uint32{}
	for ; len(crc) > 0; crc = crc[8:] {
		sums[string(crc[:4])] = binary.BigEndian.Uint32(crc[4:])
	}
	return sums
}

// TestChecksums compares with those that a 3.0.117 master wrote beside a file
// with a session, a directory, a file that is open and a symlink.
func TestChecksums(t *testing.T) {
	r := sample()
	r.version = 10
	empty := func(name string, end int) { r.records[name] = [][]byte{make([]byte, end)} }
	empty("FREE", 4)
	empty("QUOT", 4)
	empty("XATR", 9)
	empty("PACL", 17)
	empty("FLCK", 17)
	empty("PLCK", 37)
	empty("CSDB", 4)
	empty("SCLA", 10)
	r.records["SCLA"] = append([][]byte{{4}}, r.records["SCLA"]...)
	session := pack(u32(1), u64(0x1122334455667788), u32(8), u32(0x7F000001), u32(1), u8(8), u16(0o22), u8(1), u8(9), u32(0), ^u32(0),
		[4]u32{0, 0, 999, 999}, [2]u32{}, [32]u32{}, "/mnt/mfs")
	r.records["SESS"] = [][]byte{pack(u32(2), u16(16)), session, make([]byte, 189)}
	r.records["NODE"] = [][]byte{
		pack(u32(4), u32(4)), rawNode(meta.TypeDir, 1, 2), rawNode(meta.TypeDir, 2, 2),
		rawNode(meta.TypeFile, 3, 2, u64(5), u32(1), u64(1)), rawNode(meta.TypeSymlink, 4, 0, u32(9), "dir/a.txt"), {0},
	}
	r.records["EDGE"] = [][]byte{
		pack(edgeTop - 3), rawEdge(1, 4, edgeTop-2, "ln"), rawEdge(1, 2, edgeTop, "dir"), rawEdge(2, 3, edgeTop-1, "a.txt"), make([]byte, 18),
	}
	r.records["OPEN"] = [][]byte{pack(u32(1), u32(3)), make([]byte, 8)}
	r.records["CHNK"] = [][]byte{pack(u64(2)), pack(u64(1), u32(1), u32(0), u8(0)), make([]byte, 17)}
	st, h, err := readRaw(r.bytes())
	if err != nil {
		t.Fatal(err)
	}
	var crc bytes.Buffer
	if n := len(mustWrite(t, st, h, WriteOptions{CRC: &crc})); n != 3320 {
		t.Errorf("the file has %d bytes, the master's 3320", n)
	}
	sums := sumsOf(t, crc.Bytes())
	for name, want := range map[string]uint32{ // without NODE: the times of the directories are not known
		"HEAD": 0x7550E21C, "SESS": 0x3D767F9F, "SCLA": 0xC17B5CE4, "EDGE": 0xA0D1383E, "FREE": 0x5BEE4240, "QUOT": 0x77EC3A36, "XATR": 0x4361B5D4,
		"PACL": 0x561D7F5B, "OPEN": 0x562D31C7, "FLCK": 0x75AD4836, "PLCK": 0x0C916520, "CSDB": 0x41BD9F55, "CHNK": 0xF25F8A1C, "TAIL": 0xC58EBFF5,
	} {
		if sums[name] != want {
			t.Errorf("checksum of %s: %08X, want %08X", name, sums[name], want)
		}
	}
}

func TestEmpty(t *testing.T) {
	st := metatest.New()
	h, err := Empty(st, 1700000000, meta.Reproduced)
	if err != nil {
		t.Fatal(err)
	}
	var crc bytes.Buffer
	file := mustWrite(t, st, h, WriteOptions{CRC: &crc})
	if len(file) != 2905 {
		t.Errorf("a new file has %d bytes, the master's 2905", len(file))
	}
	if sum := sumsOf(t, crc.Bytes())["OPEN"]; sum != 0x840A0EF2 {
		t.Errorf("checksum of an empty OPEN: %08X", sum)
	}
	again, _ := mustRead(t, file)
	wantEqual(t, contentOf(again), contentOf(st))
	if ino := st.Inodes.Alloc(); ino != 2 {
		t.Errorf("the first inode is %d, want 2", ino)
	}
}

func TestLocksInThePast(t *testing.T) {
	st, h, err := readRaw(sample().bytes()) // chunk 2 is locked until 990
	if err != nil {
		t.Fatal(err)
	}
	for now, want := range map[meta.Time]meta.Time{0: 990, 989: 990, 990: 990, 991: 0} {
		again, _ := mustRead(t, mustWrite(t, st, h, WriteOptions{Now: now}))
		if c, _ := again.Chunks.Get(2); c.LockedTo != want {
			t.Errorf("stored at %d: locked to %d, want %d", now, c.LockedTo, want)
		}
	}
}

func TestWriteRefusals(t *testing.T) {
	st, h, err := readRaw(sample().bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, want string
		h          Header
	}{
		{"version 0", "version 0", Header{MetaID: h.MetaID}},
		{"another cluster", "cluster id", Header{Version: 5, MetaID: 1}},
	} {
		if err := Write(&bytes.Buffer{}, st, tc.h, WriteOptions{}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q in it", tc.name, err, tc.want)
		}
	}
	st.Scalars.Nodes.All++
	if err := Write(&bytes.Buffer{}, st, h, WriteOptions{}); err == nil || !strings.Contains(err.Error(), "holds 12 nodes but counts 13") {
		t.Errorf("wrong count: error %v", err)
	}
}

// TestLongLists has lists that a master writes in pieces.
func TestLongLists(t *testing.T) {
	r := sample()
	ids := make([]u64, 70000)
	ids[0], ids[69999] = 1, 2
	r.records["NODE"][6] = rawNode(meta.TypeFile, 6, 2, u64(5), u32(len(ids)), ids)
	r.records["FREE"] = [][]byte{pack(u32(2500))}
	for i := range u32(2500) {
		r.records["FREE"] = append(r.records["FREE"], pack(100+i, u32(400)))
	}
	r.add("PACL", pack(u32(6), u8(1), [6]u16{4: 251, 5: 70}), make([]byte, 6*321))
	st, h, err := readRaw(r.bytes())
	if err != nil {
		t.Fatal(err)
	}
	file := mustWrite(t, st, h, WriteOptions{})
	again, _ := mustRead(t, file)
	wantEqual(t, normalised(again), normalised(st))
	if n, _ := again.Nodes.Get(6); n.Slots != 70000 || n.Used != 2 {
		t.Errorf("node 6 has %d chunks, %d used", n.Slots, n.Used)
	}
	records := func(file []byte) []string {
		return slices.DeleteFunc(sortedLines(mustDump(t, file, DumpOptions{})), func(line string) bool {
			return strings.HasPrefix(line, "#") || strings.HasPrefix(line, "SCLASS") // the copy has the predefined ones too
		})
	}
	wantSameLines(t, records(file), records(r.bytes()))
}

// TestFileKeepsTheOldOne makes writing fail and looks at what is left.
func TestFileKeepsTheOldOne(t *testing.T) {
	dir := t.TempDir()
	path, crc := filepath.Join(dir, "metadata.mfs"), filepath.Join(dir, "metadata.crc")
	st, h, err := readRaw(sample().bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := File(path, crc, st, h, WriteOptions{Now: 1000}); err != nil {
		t.Fatal(err)
	}
	want := mustWrite(t, st, h, WriteOptions{Now: 1000})
	sums, err := os.ReadFile(crc)
	if err != nil {
		t.Fatal(err)
	}
	sumsOf(t, sums)
	st.Fail(errors.New("disk is gone"))
	if err := File(path, crc, st, h, WriteOptions{}); err == nil || !strings.Contains(err.Error(), "disk is gone") {
		t.Fatalf("error %v, want that of the State", err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the old file was touched (%v)", err)
	}
	if got, err := os.ReadFile(crc); err != nil || !bytes.Equal(got, sums) {
		t.Errorf("the old checksums were touched (%v)", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left in the folder: %v, %v", entries, err)
	}
}

func TestProgress(t *testing.T) {
	file := fixture(t, "after.mfs.gz")
	var read, written []int64
	st := metatest.New()
	h, err := Read(bytes.NewReader(file), st, ReadOptions{Progress: func(n int64) { read = append(read, n) }})
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, st, h, WriteOptions{Progress: func(n int64) { written = append(written, n) }})
	for name, list := range map[string][]int64{"read": read, "written": written} {
		if len(list) < 2 || !slices.IsSorted(list) || list[len(list)-1] != int64(len(file)) {
			t.Errorf("%s: %v, want ascending up to %d", name, list, len(file))
		}
	}
}

func TestReadHeader(t *testing.T) {
	good := string(sample().bytes())
	for _, tc := range []struct {
		name, file, wantErr string
		want                Header
	}{
		{"good", good, "", Header{Format: 0x20, Version: 50, MetaID: 0x6B042596554A4B07}},
		{"new file system", "MFSM NEW and more", "", Header{Version: 1}},
		{"1.5", "MFSM 1.5" + string(pack(u32(9), u64(77), u32(3))) + string(make([]byte, 16)), "", Header{Format: 0x15, MaxInode: 9, Version: 77, NextSession: 3}},
		{"empty", "", "not a metadata file: 0 bytes", Header{}},
		{"short", good[:20], "not a metadata file: 20 bytes", Header{}},
		{"cut", good[:len(good)-1], "wrong ending", Header{}},
		{"appended", good + "x", "wrong ending", Header{}},
		{"signature", "MFSM A.0" + good[8:], "wrong signature", Header{}},
	} {
		h, err := ReadHeader(strings.NewReader(tc.file), int64(len(tc.file)))
		if got := fmt.Sprint(err); (tc.wantErr == "") != (err == nil) || !strings.Contains(got, tc.wantErr) || h != tc.want {
			t.Errorf("%s: %+v, %v, want %+v, %q", tc.name, h, err, tc.want, tc.wantErr)
		}
	}
}
