package metafile

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
)

// raw is a metadata file in pieces: per section its head, records and end
// record, so that a test can change one of them.
type raw struct {
	signature string
	version   uint64
	order     []string
	head      map[string]string // "SESS 1.5"
	records   map[string][][]byte
	length    map[string]func(uint64) uint64
	tail      string
}

// pack makes bytes of numbers of fixed width and strings.
func pack(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		if s, ok := p.(string); ok {
			b = append(b, s...)
			continue
		}
		b, _ = binary.Append(b, binary.BigEndian, p)
	}
	return b
}

type (
	u8  = uint8
	u16 = uint16
	u32 = uint32
	u64 = uint64
)

func rawNode(kind meta.Type, ino u32, class u8, tail ...any) []byte {
	times := [3]u32{100, 200, 300}
	return append(pack(u8(kind), ino, class, u8(0), u8(0), u16(0o644), u32(1000), u32(1000), times, u16(24)), pack(tail...)...)
}

func rawEdge(parent, child u32, id u64, name string) []byte {
	return pack(parent, child, id, u16(len(name)), name)
}

func rawSession(id u32, info string) []byte {
	return pack(id, u64(7), u32(len(info)), u32(0x7F000001), u32(1), u8(8), u16(0o22), u8(1), u8(9), u32(0), ^u32(0),
		[4]u32{0, 0, 999, 999}, u32(0), u32(0), [32]u32{5, 6, 31: 8}, info)
}

func rawQuota(ino u32) []byte {
	return pack(ino, u32(3600), u8(1), u8(0x11), u32(500), u32(1), u32(2), [6]u64{3, 4, 5, 6, 7, 8})
}

func rawClass(id u16, name string, labels u8) []byte {
	return pack(id, u8(len(name)), u8(0), u8(1), u16(3), labels, labels, labels, name, make([]u32, 3*4*int(labels)))
}

func rawPlock(ino u32, owner u64, session u32, start, end u64, kind u8) []byte {
	return pack(ino, owner, session, u32(77), start, end, kind)
}

const edgeTop = u64(meta.EdgeIDMax) - 1

// sample has at least one record of each kind:
//
//	/        1: d 2, ln 4 (symlink), link 3, dev 10, sub 12
//	/d       2: a 3 (file with a hole), e 5 (directory)
//	/d/e     5: b 6 (file), fifo 11, sock 9
//	trash 7, sustained 8 (open by session 2)
func sample() *raw {
	long := pack(u64(3*meta.ChunkSize+1), u32(4), [4]u64{1, 0, 0, 2})
	return &raw{
		signature: "MFSM 2.0", version: 50, tail: endMarker,
		length: map[string]func(u64) u64{},
		order:  []string{"SESS", "SCLA", "NODE", "EDGE", "FREE", "QUOT", "XATR", "PACL", "OPEN", "FLCK", "PLCK", "CSDB", "CHNK"},
		head: map[string]string{
			"SESS": "SESS 1.5", "SCLA": "SCLA 1.6", "NODE": "NODE 1.4", "EDGE": "EDGE 1.1", "FREE": "FREE 1.0", "QUOT": "QUOT 1.1", "XATR": "XATR 1.0",
			"PACL": "PACL 1.1", "OPEN": "OPEN 1.0", "FLCK": "FLCK 1.0", "PLCK": "PLCK 1.0", "CSDB": "CSDB 1.3", "CHNK": "CHNK 1.1",
		},
		records: map[string][][]byte{
			"SESS": {pack(u32(3), u16(16)), rawSession(1, "/mnt/a"), rawSession(2, ""), make([]byte, 189)},
			"SCLA": {pack(u8(4)), rawClass(10, "ten", 2), rawClass(12, "twelve", 4), make([]byte, 10)},
			"NODE": {
				pack(u32(12), u32(12)),
				rawNode(meta.TypeDir, 1, 2), rawNode(meta.TypeDir, 2, 10),
				rawNode(meta.TypeFile, 3, 10, long),
				rawNode(meta.TypeSymlink, 4, 0, u32(3), "d/a"),
				rawNode(meta.TypeDir, 5, 2),
				rawNode(meta.TypeFile, 6, 12, u64(5), u32(1), u64(2)),
				rawNode(meta.TypeTrash, 7, 2, u64(9), u32(1), u64(3)),
				rawNode(meta.TypeSustained, 8, 2, u64(0), u32(0)),
				rawNode(meta.TypeSocket, 9, 0),
				rawNode(meta.TypeBlockDev, 10, 0, u32(0x00080001)),
				rawNode(meta.TypeFifo, 11, 0),
				rawNode(meta.TypeDir, 12, 2),
				pack(u8(0)),
			},
			"EDGE": {
				pack(edgeTop - 20),
				rawEdge(1, 2, edgeTop-19, "d"), rawEdge(1, 4, edgeTop-18, "ln"), rawEdge(1, 3, edgeTop-17, "link"),
				rawEdge(1, 10, edgeTop-16, "dev"), rawEdge(1, 12, edgeTop-15, "sub"),
				rawEdge(2, 3, edgeTop-10, "a"), rawEdge(2, 5, edgeTop-9, "e"),
				rawEdge(5, 6, edgeTop-5, "b"), rawEdge(5, 11, edgeTop-4, "fifo"), rawEdge(5, 9, edgeTop-3, "sock"),
				rawEdge(0, 7, edgeTop-2, "d/old"), rawEdge(0, 8, edgeTop-1, "d/busy"),
				make([]byte, 18),
			},
			"FREE": {pack(u32(2)), pack(u32(20), u32(400)), pack(u32(21), u32(410))},
			"QUOT": {pack(u32(1)), rawQuota(2)},
			"XATR": {pack(u32(3), u8(6), u32(2), "user.a", "xy"), pack(u32(3), u8(6), u32(0), "user.b"), make([]byte, 9)},
			"PACL": {
				pack(u32(5), u8(1), [6]u16{7, 5, 4, 6, 1, 1}, u32(77), u16(7), u32(78), u16(5)),
				pack(u32(5), u8(2), [6]u16{7, 5, 4, 0xFFFF, 0, 0}), make([]byte, 17),
			},
			"OPEN": {pack(u32(1), u32(3)), pack(u32(2), u32(3)), pack(u32(2), u32(8)), make([]byte, 8)},
			"FLCK": {pack(u32(3), u64(0xA1), u32(1), u8(0)), pack(u32(3), u64(0xA2), u32(2), u8(0)), make([]byte, 17)},
			"PLCK": {rawPlock(3, 0xB1, 1, 0, 10, 1), rawPlock(3, 0xB1, 1, 10, 20, 2), rawPlock(3, 0xB2, 2, 0, 5, 1), make([]byte, 37)},
			"CSDB": {pack(u32(2)), pack(u32(0x0A000001), u16(9422), u16(1), u8(0), u32(0)), pack(u32(0x0A000002), u16(9422), u16(2), u8(1), u32(0xF0000000))},
			"CHNK": {
				pack(u64(4)), pack(u64(1), u32(1), u32(0), u8(0)), pack(u64(2), u32(5), u32(990), u8(1)), pack(u64(3), u32(1), u32(0), u8(0)),
				make([]byte, 17),
			},
		},
	}
}

// bytes puts the file together.
func (r *raw) bytes() []byte {
	b := pack(r.signature, r.version, u64(0x6B042596554A4B07))
	for _, name := range r.order {
		body := slices.Concat(r.records[name[:4]]...)
		n := u64(len(body))
		if change := r.length[name]; change != nil {
			n = change(n)
		}
		b = append(b, pack(r.head[name[:4]], n)...)
		b = append(b, body...)
	}
	return append(b, r.tail...)
}

// add puts records before the end record of a section.
func (r *raw) add(name string, records ...[]byte) {
	list := r.records[name]
	r.records[name] = slices.Insert(slices.Clone(list), len(list)-1, records...)
}

// drop removes the record at an index, and move puts it elsewhere.
func (r *raw) drop(name string, i int) { r.records[name] = slices.Delete(r.records[name], i, i+1) }

func (r *raw) move(name string, from, to int) {
	rec := r.records[name][from]
	r.drop(name, from)
	r.records[name] = slices.Insert(r.records[name], to, rec)
}

func readRaw(file []byte) (*meta.State, Header, error) {
	st := metatest.New()
	h, err := Read(bytes.NewReader(file), st, ReadOptions{Name: "test.mfs", Size: int64(len(file))})
	return st, h, err
}

// acceptance has one change each to a good file: a part of the error, empty if
// the file loads, and what a real 3.0.117 does with it.
var acceptance = []struct {
	name, wantErr, master string
	change                func(*raw)
}{
	{"unchanged", "", "loads", func(*raw) {}},
	{"edges of a directory in two groups", "do not stand together", "refuses", func(r *raw) { r.move("EDGE", 6, 11) }},
	{"edges of the root in two groups", "", "loads", func(r *raw) { r.move("EDGE", 2, 8) }},
	{"child directory before its parent", "", "loads", func(r *raw) {
		r.move("EDGE", 8, 1)
		r.move("EDGE", 9, 2)
		r.move("EDGE", 10, 3)
	}},
	{"trash and sustained first", "", "loads", func(r *raw) { r.move("EDGE", 11, 1); r.move("EDGE", 12, 1) }},
	{"parent 0 with a normal file", "neither in trash nor sustained", "refuses", func(r *raw) { r.add("EDGE", rawEdge(0, 3, 5, "x")) }},
	{"child is missing", `edge 5/"x" leads to inode 99, which does not exist`, "refuses", func(r *raw) { r.records["EDGE"][8] = rawEdge(5, 99, 5, "x") }},
	{"trash entry of a missing inode", "leads to inode 99, which does not exist", "refuses", func(r *raw) { r.add("EDGE", rawEdge(0, 99, 5, "x")) }},
	{"parent is missing", "the parent does not exist", "refuses", func(r *raw) { r.add("EDGE", rawEdge(98, 3, 5, "x")) }},
	{"parent is a file", "the parent is no directory", "refuses", func(r *raw) { r.add("EDGE", rawEdge(6, 3, 5, "x")) }},
	{"empty name", "empty name", "refuses", func(r *raw) { r.add("EDGE", rawEdge(1, 6, 5, "")) }},
	{"same name twice in a directory", "has that name already", "loads both", func(r *raw) { r.records["EDGE"][4] = rawEdge(1, 10, 5, "ln") }},
	{"edge ids not in order", "", "loads, then renumbers", func(r *raw) { r.records["EDGE"][4] = rawEdge(1, 10, 5, "dev") }},
	{"name of 300 bytes", "", "loads its last 255", func(r *raw) {
		r.records["EDGE"][4] = rawEdge(1, 10, 5, strings.Repeat("x", 45)+strings.Repeat("y", 255))
	}},
	{"node without edge", "node 10 has no name in any directory", "refuses", func(r *raw) { r.drop("EDGE", 4) }},
	{"directory without edge", "node 12 has no name in any directory", "refuses", func(r *raw) { r.drop("EDGE", 5) }},
	{"trash file without entry", "node 7 has no name in any directory", "refuses", func(r *raw) { r.drop("EDGE", 11) }},
	{"trash file in a directory", "which belongs to no directory", "loads", func(r *raw) { r.add("EDGE", rawEdge(1, 7, 5, "x")) }},
	{"two trash entries of a file", "twice in trash or sustained", "loads both", func(r *raw) { r.add("EDGE", rawEdge(0, 7, 5, "x")) }},
	{"no root", "the parent does not exist", "refuses", func(r *raw) { r.drop("NODE", 1) }},
	{"root is a file", "the parent is no directory", "refuses", func(r *raw) { r.records["NODE"][1] = rawNode(meta.TypeFifo, 1, 0) }},
	{"empty file system without root", "no root directory", "refuses", func(r *raw) { r.order = []string{"NODE"}; r.records["NODE"] = [][]byte{make([]byte, 9)} }},
	{"directory with two parents", "a directory that is in directory 2 already", "loads", func(r *raw) { r.add("EDGE", rawEdge(12, 5, 5, "x")) }},
	{"edge to the root", "its own ancestor", "crashes", func(r *raw) { r.add("EDGE", rawEdge(12, 1, 5, "x")) }},
	{"directories in a circle", "directory 2 is its own ancestor", "hangs", func(r *raw) {
		r.records["EDGE"][1] = rawEdge(12, 2, 5, "x")
		r.move("EDGE", 1, 11)
		r.records["EDGE"][4] = rawEdge(5, 12, 6, "y")
		r.move("EDGE", 4, 9)
	}},
	{"duplicate inode", "node 6 comes twice", "refuses", func(r *raw) { r.add("NODE", rawNode(meta.TypeFifo, 6, 0)) }},
	{"inode 0", "inode 0", "loads", func(r *raw) { r.add("NODE", rawNode(meta.TypeFifo, 0, 0)) }},
	{"unknown type of node", "unknown type of node 10", "refuses", func(r *raw) { r.add("NODE", rawNode(10, 30, 0)) }},
	{"wrong count of nodes", "", "loads", func(r *raw) { r.records["NODE"][0] = pack(u32(12), u32(1)) }},
	{"max inode too small", "", "loads", func(r *raw) { r.records["NODE"][0] = pack(u32(1), u32(12)) }},
	{"nodes in another order", "", "loads", func(r *raw) { r.move("NODE", 1, 9) }},
	{"class on a symlink", "", "loads without", func(r *raw) { r.records["NODE"][4][5] = 77 }},
	{"class that does not exist", "nodes have storage class 77", "loads", func(r *raw) { r.records["NODE"][2][5] = 77 }},
	{"class 0 on a file", "node 3 has storage class 0", "aborts if it has chunks", func(r *raw) { r.records["NODE"][3][5] = 0 }},
	{"target of 5000 bytes", "", "loads a placeholder", func(r *raw) {
		r.records["NODE"][4] = rawNode(meta.TypeSymlink, 4, 0, u32(5000), strings.Repeat("x", 5000))
	}},
	{"more chunks than the section has bytes", "section NODE 1.4, record 6 at byte 1198: 32768 bytes are needed, but the section has only", "refuses", func(r *raw) {
		r.records["NODE"][6] = rawNode(meta.TypeFile, 6, 2, u64(5), u32(1<<31), u64(2))
	}},
	{"more chunks than possible", "more than a file can have", "out of memory", func(r *raw) { r.records["NODE"][6] = rawNode(meta.TypeFile, 6, 2, u64(5), u32(1<<31+1)) }},
	{"free inode in use", "a node has it", "loads", func(r *raw) { r.records["FREE"][1] = pack(u32(3), u32(400)) }},
	{"free inode twice", "waits twice", "loads", func(r *raw) { r.records["FREE"][2] = pack(u32(20), u32(410)) }},
	{"free inode 0", "inode 0", "loads", func(r *raw) { r.records["FREE"][2] = pack(u32(0), u32(410)) }},
	{"free times not in order", "", "loads", func(r *raw) { r.records["FREE"][2] = pack(u32(21), u32(390)) }},
	{"fewer free inodes than counted", "section FREE 1.0, record 2 at byte 1800: 8 bytes are needed", "refuses", func(r *raw) { r.drop("FREE", 1) }},
	{"more free inodes than counted", "are left", "refuses", func(r *raw) { r.records["FREE"][0] = pack(u32(1)) }},
	{"quota of a file", "quota of inode 3, which is no directory", "refuses", func(r *raw) { r.records["QUOT"][1] = rawQuota(3) }},
	{"quota twice", "second quota of directory 2", "loads both", func(r *raw) { r.records["QUOT"] = [][]byte{pack(u32(2)), rawQuota(2), rawQuota(2)} }},
	{"attribute of a missing inode", "", "drops it", func(r *raw) { r.add("XATR", pack(u32(99), u8(1), u32(1), "xy")) }},
	{"attribute twice", `inode 3 has attribute "user.a" twice`, "loads both", func(r *raw) { r.add("XATR", pack(u32(3), u8(6), u32(0), "user.a")) }},
	{"attribute without name", "empty name", "refuses", func(r *raw) { r.add("XATR", pack(u32(3), u8(0), u32(0))) }},
	{"value too long", "65536 are allowed", "refuses", func(r *raw) { r.add("XATR", pack(u32(3), u8(1), u32(65537), "x", make([]byte, 65537))) }},
	{"attributes not together", "", "loads", func(r *raw) { r.add("XATR", pack(u32(4), u8(1), u32(0), "x"), pack(u32(3), u8(1), u32(0), "z")) }},
	{"ACL twice", "second ACL of type 1 of inode 5", "refuses", func(r *raw) { r.add("PACL", pack(u32(5), u8(1), [6]u16{})) }},
	{"ACL of type 3", "unknown type 3", "refuses", func(r *raw) { r.add("PACL", pack(u32(5), u8(3), [6]u16{})) }},
	{"ACL of a missing inode", "", "drops it", func(r *raw) { r.add("PACL", pack(u32(99), u8(3), [6]u16{5: 1}, u32(1), u16(1))) }},
	{"open by an unknown session", "", "drops it", func(r *raw) { r.add("OPEN", pack(u32(9), u32(3))) }},
	{"open of a missing inode", "", "loads", func(r *raw) { r.add("OPEN", pack(u32(1), u32(99))) }},
	{"open twice", "session 1 has inode 3 open twice", "loads both", func(r *raw) { r.add("OPEN", pack(u32(1), u32(3))) }},
	{"open of inode 0", "0 is no such number", "refuses", func(r *raw) { r.add("OPEN", pack(u32(1), u32(0))) }},
	{"file lock without open file", "which it has not open", "refuses", func(r *raw) { r.add("FLCK", pack(u32(8), u64(1), u32(1), u8(0))) }},
	{"file lock in conflict", "conflicts", "refuses", func(r *raw) { r.add("FLCK", pack(u32(3), u64(1), u32(1), u8(1))) }},
	{"file lock of an unknown type", "unknown type 2", "loads", func(r *raw) { r.add("FLCK", pack(u32(8), u64(1), u32(2), u8(2))) }},
	{"range lock without open file", "which it has not open", "refuses", func(r *raw) { r.add("PLCK", rawPlock(8, 1, 1, 0, 1, 1)) }},
	{"range locks overlap", "not in order", "refuses", func(r *raw) { r.add("PLCK", rawPlock(3, 0xB2, 2, 4, 9, 2)) }},
	{"range locks touch", "are not joined", "refuses", func(r *raw) { r.add("PLCK", rawPlock(3, 0xB2, 2, 5, 9, 1)) }},
	{"range lock is empty", "is empty", "loads", func(r *raw) { r.add("PLCK", rawPlock(3, 0xB2, 2, 9, 9, 1)) }},
	{"range lock of an unknown type", "unknown type 3", "loads", func(r *raw) { r.add("PLCK", rawPlock(3, 0xB2, 2, 9, 10, 3)) }},
	{"owner comes back", "do not stand together", "loads a second owner", func(r *raw) { r.add("PLCK", rawPlock(3, 0xB1, 1, 30, 40, 1)) }},
	{"locked inode comes back", "range locks of inode 3 do not stand together", "loses the first", func(r *raw) { r.add("PLCK", rawPlock(8, 1, 2, 0, 1, 1), rawPlock(3, 0xB2, 2, 30, 40, 1)) }},
	{"chunkserver twice", "chunkserver 010.000.000.001:9422 comes twice", "refuses", func(r *raw) { r.records["CSDB"][2] = r.records["CSDB"][1] }},
	{"chunkserver id twice", "has id 1, which another one has already", "refuses", func(r *raw) { r.records["CSDB"][2][7] = 1 }},
	{"session twice", "session 1 comes twice", "loads both", func(r *raw) { r.add("SESS", rawSession(1, "")) }},
	{"huge info string", "longer than a client can send", "runs out of memory", func(r *raw) { r.records["SESS"][2] = pack(u32(2), u64(0), ^u32(0), make([]byte, 173)) }},
	{"info string longer than the section", "the section has only", "refuses", func(r *raw) { r.records["SESS"][2] = pack(u32(2), u64(0), u32(5000), make([]byte, 173)) }},
	{"class twice", "storage class 10 comes twice", "refuses", func(r *raw) { r.add("SCLA", rawClass(10, "x", 1)) }},
	{"predefined class redefined", "", "loads", func(r *raw) { r.add("SCLA", rawClass(3, "3", 1)) }},
	{"predefined class without name", "storage class 3 has no name", "refuses", func(r *raw) { r.add("SCLA", rawClass(3, "", 1)) }},
	{"class without name", "", "loads as sclass_4", func(r *raw) { r.add("SCLA", rawClass(13, "", 1)) }},
	{"class with 10 labels", "each must be 1 to 9", "refuses", func(r *raw) { r.add("SCLA", rawClass(13, "x", 10)) }},
	{"class 256", "bad id of a storage class: 256", "refuses", func(r *raw) { r.add("SCLA", rawClass(256, "x", 1)) }},
	{"5 or-groups", "5 or-groups", "refuses", func(r *raw) { r.records["SCLA"][0][0] = 5 }},
	{"chunk listed twice", "chunk 0000000000000002 comes twice", "loads both", func(r *raw) { r.add("CHNK", pack(u64(2), u32(5), u32(0), u8(0))) }},
	{"chunk of a file is missing", "", "loads", func(r *raw) { r.drop("CHNK", 1) }},
	{"chunk 0 with a version", "neither a chunk nor the end record", "refuses", func(r *raw) { r.add("CHNK", pack(u64(0), u32(5), u32(0), u8(0))) }},
	{"chunks before all others", "", "loads", func(r *raw) { r.order = append([]string{"CHNK"}, r.order[:12]...) }},
	{"edges before nodes", "the parent does not exist", "refuses", func(r *raw) { r.order[2], r.order[3] = "EDGE", "NODE" }},
	{"locks before open files", "which it has not open", "refuses", func(r *raw) { r.order[8], r.order[9] = "FLCK", "OPEN" }},
	{"only classes, nodes and edges", "", "loads", func(r *raw) { r.order = []string{"SCLA", "NODE", "EDGE"} }},
	{"section twice", "section FREE 1.0 comes twice", "loads both", func(r *raw) { r.order = append(r.order, "FREE") }},
	{"unknown section", `unknown section "SESX 1.5"`, "refuses", func(r *raw) { r.head["SESS"] = "SESX 1.5" }},
	{"newer section", `section "SESS 1.7" is not supported (written by a release after 4.59.2)`, "refuses", func(r *raw) { r.head["SESS"] = "SESS 1.7" }},
	{"section of another version than it says", "section NODE 1.3, at byte", "refuses", func(r *raw) { r.head["NODE"] = "NODE 1.3" }},
	{"section older than any", `section "NODE 0.9" is not supported`, "refuses", func(r *raw) { r.head["NODE"] = "NODE 0.9" }},
	{"section of no release", `section "NODE 1.5" is not supported (written by a release after 4.59.2)`, "refuses", func(r *raw) { r.head["NODE"] = "NODE 1.5" }},
	{"old name of the classes", "", "loads", func(r *raw) { r.head["SCLA"] = "LABS 1.6" }},
	{"length one too small", "the section has only", "refuses", func(r *raw) { r.length["EDGE"] = func(n u64) u64 { return n - 1 } }},
	{"length one too big", "by its length of 278 bytes 1 are left", "refuses", func(r *raw) { r.length["EDGE"] = func(n u64) u64 { return n + 1 } }},
	{"impossible length", "length 18446744073709551614 is impossible", "refuses", func(r *raw) { r.length["EDGE"] = func(u64) u64 { return unknownLength - 1 } }},
	{"all lengths unknown", "", "loads", func(r *raw) {
		for _, name := range r.order {
			r.length[name] = func(u64) u64 { return unknownLength }
		}
	}},
	{"a byte after the end marker", "wrong ending", "refuses", func(r *raw) { r.tail += "x" }},
	{"signature of another product", `wrong signature "LFSM 2.0"`, "refuses", func(r *raw) { r.signature = "LFSM 2.0" }},
	{"signature without version", `wrong signature "MFSM LEA"`, "refuses", func(r *raw) { r.signature = "MFSM LEA" }},
	{"later format", "", "loads", func(r *raw) { r.signature = "MFSM 3.5" }},
	{"older format than the sections", "section NODE 1.4", "refuses", func(r *raw) { r.signature = "MFSM 1.7" }},
	{"oldest format", "format 1.4 is not supported (written by a release before 1.5)", "refuses", func(r *raw) { r.signature = "MFSM 1.4" }},
	{"mark of a new file system", "start mfsmaster on it once", "makes a new one", func(r *raw) { r.signature = "MFSM NEW" }},
	{"version 0", "", "loads", func(r *raw) { r.version = 0 }},
}

func TestAcceptance(t *testing.T) {
	for _, tc := range acceptance {
		t.Run(tc.name, func(t *testing.T) {
			r := sample()
			tc.change(r)
			st, h, err := readRaw(r.bytes())
			switch {
			case tc.wantErr == "" && err != nil:
				t.Fatalf("refused: %v; a master %s", err, tc.master)
			case tc.wantErr == "":
				if h.Version > 0 {
					again, _ := mustRead(t, mustWrite(t, st, h, WriteOptions{}))
					wantEqual(t, normalised(again), normalised(st))
				}
			case err == nil:
				t.Fatalf("loaded, want an error with %q", tc.wantErr)
			case !strings.Contains(err.Error(), tc.wantErr) || !strings.HasPrefix(err.Error(), "test.mfs: "):
				t.Fatalf("error %q, want test.mfs and %q in it", err, tc.wantErr)
			}
		})
	}
}

// TestDerived checks what the loader works out, on the sample by hand.
func TestDerived(t *testing.T) {
	st, h, err := readRaw(sample().bytes())
	if err != nil {
		t.Fatal(err)
	}
	if want := (Header{Format: 0x20, Version: 50, MetaID: 0x6B042596554A4B07}); h != want {
		t.Errorf("header %+v, want %+v", h, want)
	}
	c := contentOf(st)
	wantScalars := meta.Scalars{
		MetaID: 0x6B042596554A4B07, NextChunk: 4, NextSession: 3, NextEdge: edgeTop - 20, MaxInode: 12, LastFreed: 410, ClassesUsed: 13, Release: meta.Reproduced,
		Nodes: meta.Counts{All: 12, Dirs: 4, Files: 4, Trash: 1, Sustained: 1, TrashBytes: 9},
	}
	if c.Scalars != wantScalars {
		t.Errorf("scalars\n got %+v\nwant %+v", c.Scalars, wantScalars)
	}
	const full, three, five = meta.ChunkSize + meta.ChunkHeader, 0x10000 + meta.ChunkHeader, 0x10000 + meta.ChunkHeader
	b := meta.Stats{Inodes: 3, Files: 1, Chunks: 1, Length: 5, Size: five, RealSize: 4 * five} // in e
	a := meta.Stats{Inodes: 1, Files: 1, Chunks: 2, Length: 3*meta.ChunkSize + 1, Size: full + three, RealSize: 2 * (full + three)}
	d := b
	d.Add(&a)
	d.Add(&meta.Stats{Inodes: 1, Dirs: 1})
	root := d
	root.Add(&a) // its second name
	root.Add(&meta.Stats{Inodes: 4, Dirs: 2, Length: 3})
	wantDirs := map[meta.Inode]meta.Dir{
		1:  {Elements: 5, Subdirs: 2, Stats: root},
		2:  {Parent: 1, Name: "d", Elements: 2, Subdirs: 1, Stats: d},
		5:  {Parent: 2, Name: "e", Elements: 3, Stats: b},
		12: {Parent: 1, Name: "sub"},
	}
	for ino, want := range wantDirs {
		if c.Dirs[ino] != want {
			t.Errorf("directory %d\n got %+v\nwant %+v", ino, c.Dirs[ino], want)
		}
	}
	hash := func(name string) u32 { return meta.HashName([]byte(name)) }
	n := c.Nodes[3]
	if n.Links != 2 || n.Parent != 2 || n.NameHash != hash("a") || n.Slots != 4 || n.Used != 2 || n.Chunk0 != 1 || n.Ratio != 2 || n.Flags != meta.HasXattr {
		t.Errorf("node 3: %+v", n)
	}
	if want := []meta.HardLink{{Parent: 2, NameHash: hash("a")}, {Parent: 1, NameHash: hash("link")}}; !slices.Equal(c.Hard[3], want) {
		t.Errorf("names of inode 3: %+v, want %+v", c.Hard[3], want)
	}
	if n := c.Nodes[5]; n.Links != 0 || n.Parent != 0 || n.Flags != meta.HasAccessACL|meta.HasDefaultACL {
		t.Errorf("node 5: %+v", n)
	}
	if c.Classes[10].Files != 1 || c.Classes[10].Directories != 1 || c.Classes[2].Files != 2 || c.Classes[2].Directories != 3 {
		t.Errorf("references of classes: %+v and %+v", c.Classes[10], c.Classes[2])
	}
	if c.Chunks[1].Files != 1 || c.Chunks[2].Files != 2 || c.Sessions[2].Open != 2 {
		t.Errorf("references: chunk 1 %+v, chunk 2 %+v, session 2 %+v", c.Chunks[1], c.Chunks[2], c.Sessions[2])
	}
	if ino := st.Inodes.Alloc(); ino != 13 {
		t.Errorf("the first unused inode is %d, want 13", ino)
	}
}

// TestManyReferences has chunks with more references than fit beside the id.
func TestManyReferences(t *testing.T) {
	r := sample()
	var ids [2000]u64
	for i := range ids {
		ids[i] = 1 + u64(i%2)*(1<<40)
	}
	r.records["NODE"][6] = rawNode(meta.TypeFile, 6, 12, u64(5), u32(len(ids)), ids)
	r.add("CHNK", pack(u64(1+1<<40), u32(1), u32(0), u8(0)))
	for _, order := range [][]string{r.order, append([]string{"CHNK"}, r.order[:12]...)} {
		r.order = order
		st, _, err := readRaw(r.bytes())
		if err != nil {
			t.Fatal(err)
		}
		for id, want := range map[meta.ChunkID]u32{1: 1001, 2: 1, 3: 1, 1 + 1<<40: 1000} {
			if c, _ := st.Chunks.Get(id); c.Files != want {
				t.Errorf("order %v: chunk %x has %d references, want %d", order, id, c.Files, want)
			}
		}
	}
}

// TestClassesAfterNodes: a master forgets the nodes it counted, except for
// classes that the section does not have, and so do we.
func TestClassesAfterNodes(t *testing.T) {
	r := sample()
	r.order[1], r.order[2] = "NODE", "SCLA"
	st, _, err := readRaw(r.bytes())
	if err != nil {
		t.Fatal(err)
	}
	own, _ := st.Classes.Get(10)
	predefined, _ := st.Classes.Get(2)
	if own.Files != 0 || own.Directories != 0 || predefined.Files != 2 || predefined.Directories != 3 {
		t.Errorf("class 10 has %d files, %d directories, want none; class 2 %d and %d, want 2 and 3", own.Files, own.Directories, predefined.Files, predefined.Directories)
	}
	if d, _ := st.Dirs.Get(5); d.Stats.RealSize != 4*d.Stats.Size {
		t.Errorf("real size %d of %d: the class of a file in it has 4 copies", d.Stats.RealSize, d.Stats.Size)
	}
}

// TestStatsOfFixture sums up every directory of a real file in the plainest
// way: each name adds to all directories above it.
func TestStatsOfFixture(t *testing.T) {
	st, _ := mustRead(t, fixture(t, "after.mfs.gz"))
	c := contentOf(st)
	want := map[meta.Inode]*meta.Stats{}
	for ino := range c.Dirs {
		want[ino] = &meta.Stats{}
	}
	for parent, list := range c.Edges {
		for _, e := range list {
			s := naiveStats(c, e.Child)
			for up := parent; up != 0; up = c.Dirs[up].Parent {
				want[up].Add(&s)
			}
		}
	}
	for ino, d := range c.Dirs {
		if d.Stats != *want[ino] {
			t.Errorf("directory %d\n got %+v\nwant %+v", ino, d.Stats, *want[ino])
		}
	}
	if root := c.Dirs[1].Stats; root.Files < 100 || root.Chunks < 100 {
		t.Errorf("the fixture's root has too little in it for this test: %+v", root)
	}
}

func naiveStats(c content, ino meta.Inode) meta.Stats {
	n := c.Nodes[ino]
	s := meta.Stats{Inodes: 1, Length: u64(len(c.Symlinks[ino]))}
	switch {
	case n.Type == meta.TypeDir:
		s.Dirs = 1
	case n.Type.IsFile():
		s.Files, s.Length = 1, n.Length
		for i := range n.Slots {
			id := n.Chunk0
			if i > 0 {
				id = c.Slots[meta.Slot{Inode: ino, Index: i}]
			}
			start := u64(i) * meta.ChunkSize
			if id == 0 {
				continue
			}
			s.Chunks++
			if start < n.Length || i == 0 {
				blocks := (min(n.Length-start, meta.ChunkSize) + meta.BlockSize - 1) / meta.BlockSize
				s.Size += blocks*meta.BlockSize + meta.ChunkHeader
			}
		}
		class := c.Classes[n.Class]
		s.RealSize = s.Size * u64(class.Ratio(false))
	}
	return s
}
