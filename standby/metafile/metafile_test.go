package metafile

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
)

// fixture returns a file of the capture of 3.0.117, unpacked.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	return captured(t, "3.0.117-a", name)
}

// captured returns a file of a capture, unpacked.
func captured(t testing.TB, capture, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", capture, name))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(name, ".gz") {
		return b
	}
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	b, err = io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustRead(t testing.TB, file []byte) (*meta.State, Header) {
	t.Helper()
	st := metatest.New()
	h, err := Read(bytes.NewReader(file), st, ReadOptions{Size: int64(len(file))})
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return st, h
}

func mustWrite(t testing.TB, st *meta.State, h Header, opt WriteOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, st, h, opt); err != nil {
		t.Fatalf("Write: %v", err)
	}
	return out.Bytes()
}

// content is everything in a State, comparable with reflect.DeepEqual.
type content struct {
	Scalars  meta.Scalars
	Nodes    map[meta.Inode]meta.Node
	Dirs     map[meta.Inode]meta.Dir
	Symlinks map[meta.Inode]string
	Slots    map[meta.Slot]meta.ChunkID
	Hard     map[meta.Inode][]meta.HardLink
	Edges    map[meta.Inode][]meta.Edge
	Detached map[meta.Inode]meta.Detached
	Chunks   map[meta.ChunkID]meta.Chunk
	Xattrs   map[meta.Inode][]meta.Xattr
	ACLs     map[meta.ACLKey]meta.ACL
	Quotas   map[meta.Inode]meta.Quota
	Sessions map[meta.SessionID]meta.Session
	Open     map[meta.SessionID][]meta.Inode
	Flocks   map[meta.Inode][]meta.Flock
	Plocks   map[meta.Inode][]meta.PosixOwner
	Servers  map[meta.Server]meta.ServerInfo
	Classes  map[uint8]meta.Class
	Patterns map[uint16]meta.Pattern
	Free     []meta.FreedInode
}

func collect[K comparable, V any](t meta.Table[K, V]) map[K]V {
	var first K
	m := map[K]V{}
	for k, v := range t.Scan(first) {
		m[k] = v
	}
	return m
}

func contentOf(st *meta.State) content {
	c := content{
		Scalars: *st.Scalars, Nodes: collect(st.Nodes), Dirs: collect(st.Dirs), Symlinks: collect(st.Symlinks),
		Slots: collect(st.Slots), Hard: collect(st.Hard), Edges: map[meta.Inode][]meta.Edge{}, Detached: map[meta.Inode]meta.Detached{},
		Chunks: collect(st.Chunks), Xattrs: map[meta.Inode][]meta.Xattr{}, ACLs: collect(st.ACLs), Quotas: collect(st.Quotas),
		Sessions: collect(st.Sessions), Open: map[meta.SessionID][]meta.Inode{}, Flocks: collect(st.Flocks), Plocks: collect(st.Plocks),
		Servers: collect(st.Servers), Classes: collect(st.Classes), Patterns: collect(st.Patterns), Free: slices.Collect(st.Inodes.ScanFree()),
	}
	for parent, list := range st.Edges.Scan() {
		c.Edges[parent] = slices.Clone(list)
	}
	for ino, list := range st.Xattrs.Scan() {
		c.Xattrs[ino] = list
	}
	for s, ino := range st.Open.Scan() {
		c.Open[s] = append(c.Open[s], ino)
	}
	for ino := range c.Nodes {
		if d, ok := st.Detached.Get(ino); ok {
			c.Detached[ino] = d
		}
	}
	return c
}

// wantEqual compares two contents table by table.
func wantEqual(t *testing.T, got, want content) {
	t.Helper()
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		name := g.Type().Field(i).Name
		a, b := g.Field(i), w.Field(i)
		if reflect.DeepEqual(a.Interface(), b.Interface()) {
			continue
		}
		if a.Kind() != reflect.Map {
			t.Errorf("%s: got %+v, want %+v", name, a, b)
			continue
		}
		for _, k := range b.MapKeys() {
			if x := a.MapIndex(k); !x.IsValid() || !reflect.DeepEqual(x.Interface(), b.MapIndex(k).Interface()) {
				t.Errorf("%s[%v]: got %+v, want %+v", name, k, x, b.MapIndex(k))
			}
		}
		if a.Len() != b.Len() {
			t.Errorf("%s: got %d records, want %d", name, a.Len(), b.Len())
		}
	}
}

func TestFixturesRoundTrip(t *testing.T) {
	for _, name := range []string{"3.0.117-a/before.mfs", "3.0.117-a/after.mfs.gz", "4.59.2-a/before.mfs", "4.59.2-a/after.mfs.gz"} {
		t.Run(name, func(t *testing.T) {
			capture, base, _ := strings.Cut(name, "/")
			file := captured(t, capture, base)
			st, h := mustRead(t, file)
			var crc, crcPatched bytes.Buffer
			out := mustWrite(t, st, h, WriteOptions{CRC: &crc})
			if len(out) != len(file) {
				t.Errorf("wrote %d bytes, the master %d", len(out), len(file))
			}
			path := filepath.Join(t.TempDir(), "metadata.mfs")
			if err := File(path, "", st, h, WriteOptions{CRC: &crcPatched}); err != nil {
				t.Fatal(err)
			}
			patched, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(patched, out) || !bytes.Equal(crc.Bytes(), crcPatched.Bytes()) {
				t.Error("the file with lengths patched in differs from the one with lengths known before")
			}
			if got, err := ReadHeaderFile(path); err != nil || got != h {
				t.Errorf("header of the copy: %+v, %v, want %+v", got, err, h)
			}
			again, h2 := mustRead(t, out)
			if h2 != h {
				t.Errorf("header %+v, want %+v", h2, h)
			}
			wantEqual(t, normalised(again), normalised(st))
		})
	}
}

// normalised is the content without what writing and loading change: trailing
// holes, and the order of a file's names and of the holders of a lock.
func normalised(st *meta.State) content {
	c := contentOf(st)
	for ino, n := range c.Nodes {
		for n.Slots > 0 && st.Slot(ino, &n, n.Slots-1) == 0 {
			n.Slots--
		}
		c.Nodes[ino] = n
	}
	for ino, list := range c.Hard {
		list = slices.Clone(list)
		slices.SortFunc(list, func(a, b meta.HardLink) int {
			return cmp.Or(cmp.Compare(a.Parent, b.Parent), cmp.Compare(a.NameHash, b.NameHash))
		})
		c.Hard[ino] = list
		n := c.Nodes[ino]
		n.Parent, n.NameHash = list[0].Parent, list[0].NameHash
		c.Nodes[ino] = n
	}
	for ino, list := range c.Flocks {
		list = slices.Clone(list)
		slices.SortFunc(list, func(a, b meta.Flock) int { return cmp.Compare(a.Owner, b.Owner) })
		c.Flocks[ino] = list
	}
	return c
}
