package metafile

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
)

const (
	benchFiles  = 200_000
	filesPerDir = 500
)

// dense is a table with keys near 1 in a slice: as fast as a State can be, so
// that benchmarks show the cost of this package.
type dense[K ~uint32 | ~uint64, V any] struct {
	have []bool
	list []V
}

func (t *dense[K, V]) Get(k K) (v V, ok bool) {
	if k >= K(len(t.list)) || !t.have[k] {
		return v, false
	}
	return t.list[k], true
}

func (t *dense[K, V]) Edit(k K) (*V, bool) {
	if k >= K(len(t.list)) || !t.have[k] {
		return nil, false
	}
	return &t.list[k], true
}

func (t *dense[K, V]) Insert(k K, v V) *V {
	t.list[k], t.have[k] = v, true
	return &t.list[k]
}

func (t *dense[K, V]) Delete(k K) { t.have[k] = false }

func (t *dense[K, V]) Scan(from K) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for k := from; k < K(len(t.list)); k++ {
			if t.have[k] && !yield(k, t.list[k]) {
				return
			}
		}
	}
}

// denseEdges keeps lists without finding names in them.
type denseEdges struct {
	meta.EdgeTable
	lists [][]meta.Edge
	names []byte
}

func (t *denseEdges) Get(meta.Inode, []byte) (meta.Edge, bool) { return meta.Edge{}, false }

func (t *denseEdges) InsertTail(parent meta.Inode, name []byte, child meta.Inode, dir bool, id uint64) {
	t.names = append(t.names, name...)
	t.lists[parent] = append(t.lists[parent], meta.Edge{Child: child, Dir: dir, ID: id, Order: id, Name: t.names[len(t.names)-len(name):]})
}

func (t *denseEdges) Scan() iter.Seq2[meta.Inode, []meta.Edge] {
	return func(yield func(meta.Inode, []meta.Edge) bool) {
		for parent, list := range t.lists {
			if len(list) > 0 && !yield(meta.Inode(parent), list) {
				return
			}
		}
	}
}

// denseDirs has what reading and writing a file asks for.
type denseDirs struct {
	meta.Table[meta.Inode, meta.Dir]
}

func (denseDirs) Add(meta.Inode, meta.Stats)                      { panic("not for reading a file") }
func (denseDirs) Count(meta.Inode, uint32, uint32)                { panic("not for reading a file") }
func (denseDirs) Up(meta.Inode) (_ meta.Inode, _ string, ok bool) { return 0, "", false }

type denseInodes struct{ meta.InodeTable }

func (denseInodes) Reserve(meta.Inode) {}

func denseState(inodes int) *meta.State {
	st := metatest.New()
	st.Nodes = &dense[meta.Inode, meta.Node]{make([]bool, inodes+2), make([]meta.Node, inodes+2)}
	st.Dirs = denseDirs{&dense[meta.Inode, meta.Dir]{make([]bool, inodes+2), make([]meta.Dir, inodes+2)}}
	st.Chunks = &dense[meta.ChunkID, meta.Chunk]{make([]bool, inodes+2), make([]meta.Chunk, inodes+2)}
	st.Edges = &denseEdges{lists: make([][]meta.Edge, inodes+2)}
	st.Inodes = denseInodes{st.Inodes}
	return st
}

// bigFile makes a file of so many files with one chunk each, nodes in an order
// like that of a hash table.
func bigFile(files int) (file []byte, inodes int) {
	r := sample()
	dirs := (files + filesPerDir - 1) / filesPerDir
	inodes = 1 + dirs + files
	nodes := [][]byte{pack(u32(inodes), u32(inodes)), rawNode(meta.TypeDir, 1, 2)}
	edges := [][]byte{pack(u64(1))}
	chunks := [][]byte{pack(u64(files + 1))}
	id := u64(2)
	for i := range dirs {
		edges = append(edges, rawEdge(1, u32(2+i), id, fmt.Sprintf("directory-%d", i)))
		id++
	}
	for i := range dirs {
		nodes = append(nodes, rawNode(meta.TypeDir, u32(2+i), 2))
		for k := range min(filesPerDir, files-i*filesPerDir) {
			n := i*filesPerDir + k
			ino := u32(2 + dirs + n)
			nodes = append(nodes, rawNode(meta.TypeFile, ino, 2, u64(1000), u32(1), u64(n+1)))
			edges = append(edges, rawEdge(u32(2+i), ino, id, fmt.Sprintf("some-file-%d.dat", n)))
			chunks = append(chunks, pack(u64(n+1), u32(1), u32(0), u8(0)))
			id++
		}
	}
	step := len(nodes)/3 | 1
	for i, k := 1, 1; i < len(nodes); i++ {
		k = 1 + (k-1+step)%(len(nodes)-1)
		nodes[i], nodes[k] = nodes[k], nodes[i]
	}
	for _, name := range r.order {
		r.records[name] = r.records[name][len(r.records[name])-1:]
	}
	r.records["NODE"], r.records["EDGE"], r.records["CHNK"] = append(nodes, []byte{0}), append(edges, make([]byte, 18)), append(chunks, make([]byte, 17))
	r.records["SESS"] = [][]byte{pack(u32(1), u16(16)), make([]byte, 189)}
	r.records["SCLA"] = [][]byte{{4}, make([]byte, 10)}
	for _, name := range []string{"FREE", "QUOT", "CSDB"} {
		r.records[name] = [][]byte{make([]byte, 4)}
	}
	return r.bytes(), inodes
}

func perInode(b *testing.B, inodes int) {
	b.ReportMetric(float64(b.N)*float64(inodes)/b.Elapsed().Seconds(), "inodes/s")
}

func BenchmarkRead(b *testing.B) {
	file, inodes := bigFile(benchFiles)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		st := denseState(inodes)
		b.StartTimer()
		if _, err := Read(bytes.NewReader(file), st, ReadOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	perInode(b, inodes)
}

func BenchmarkWrite(b *testing.B) {
	file, inodes := bigFile(benchFiles)
	st := denseState(inodes)
	h, err := Read(bytes.NewReader(file), st, ReadOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(file)))
	for name, opt := range map[string]WriteOptions{"plain": {Patch: discardAt{}}, "crc": {Patch: discardAt{}, CRC: io.Discard}, "twice": {}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := Write(io.Discard, st, h, opt); err != nil {
					b.Fatal(err)
				}
			}
			perInode(b, inodes)
		})
	}
}

type discardAt struct{}

func (discardAt) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

func BenchmarkDump(b *testing.B) {
	file, inodes := bigFile(benchFiles)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Dump(io.Discard, bytes.NewReader(file), DumpOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	perInode(b, inodes)
}

func BenchmarkCompare(b *testing.B) {
	file, inodes := bigFile(benchFiles)
	st := metatest.New()
	if _, err := Read(bytes.NewReader(file), st, ReadOptions{}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if n, err := Compare(bytes.NewReader(file), st, CompareOptions{}, nil); n != 9 || err != nil { // the file has no predefined classes
			b.Fatal(n, err)
		}
	}
	perInode(b, inodes)
}
