//go:build e2e

package crash

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// onDisk does things on a mounted disk, takes its power away and gives what is
// there afterwards, by path.
func onDisk(t *testing.T, strict bool, r reach, do func(dir string)) map[string]string {
	t.Helper()
	d, dir := newDisk(strict), t.TempDir()
	unmount := d.mount(t, dir)
	do(dir)
	unmount()
	d.powerLoss(r, rand.New(rand.NewPCG(1, 1)))
	unmount = d.mount(t, dir)
	defer unmount()
	found := map[string]string{}
	err := filepath.Walk(dir, func(path string, st os.FileInfo, err error) error {
		if err != nil || st.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		found[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put makes a file.
func put(t *testing.T, path, content string, sync bool) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	_, err = f.WriteString(content)
	must(t, err)
	if sync {
		must(t, f.Sync())
	}
	must(t, f.Close())
}

func syncDir(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

// The disk itself: what is synced is there after a loss of power, what is not
// is not.
func TestDiskForgets(t *testing.T) {
	for _, tc := range []struct {
		name   string
		strict bool
		reach  reach
		do     func(dir string)
		want   map[string]string
	}{
		{"nothing synced", false, reachNothing, func(dir string) { put(t, dir+"/a", "x", false) }, nil},
		{"nothing synced, all written", false, reachAll, func(dir string) { put(t, dir+"/a", "x", false) }, map[string]string{"a": "x"}},
		{"file synced", false, reachNothing, func(dir string) { put(t, dir+"/a", "x", true) }, map[string]string{"a": "x"}},
		{"file synced, name not", true, reachNothing, func(dir string) { put(t, dir+"/a", "x", true) }, nil},
		{"name synced, file not", true, reachNothing, func(dir string) {
			put(t, dir+"/a", "x", false)
			syncDir(t, dir)
		}, map[string]string{"a": ""}},
		{"both synced", true, reachNothing, func(dir string) {
			put(t, dir+"/a", "x", true)
			syncDir(t, dir)
		}, map[string]string{"a": "x"}},
		{"directories above too", false, reachNothing, func(dir string) {
			must(t, os.MkdirAll(dir+"/b/c", 0o755))
			put(t, dir+"/b/c/a", "x", true)
		}, map[string]string{"b/c/a": "x"}},
		{"made again", false, reachNothing, func(dir string) {
			must(t, os.Mkdir(dir+"/b", 0o755))
			must(t, os.Remove(dir+"/b"))
			must(t, os.Mkdir(dir+"/b", 0o755))
			put(t, dir+"/b/a", "x", true)
			syncDir(t, dir)
		}, map[string]string{"b/a": "x"}},
		{"renamed after", false, reachNothing, func(dir string) {
			put(t, dir+"/a", "x", true)
			put(t, dir+"/b", "y", true)
			must(t, os.Rename(dir+"/b", dir+"/a"))
		}, map[string]string{"a": "x", "b": "y"}},
		{"renamed and synced", true, reachNothing, func(dir string) {
			put(t, dir+"/a", "x", true)
			put(t, dir+"/b", "y", true)
			must(t, os.Rename(dir+"/b", dir+"/a"))
			syncDir(t, dir)
		}, map[string]string{"a": "y"}},
		{"removed after", false, reachNothing, func(dir string) {
			put(t, dir+"/a", "x", true)
			must(t, os.Remove(dir+"/a"))
		}, map[string]string{"a": "x"}},
		{"changed after", false, reachNothing, func(dir string) {
			put(t, dir+"/a", "hello", true)
			f, err := os.OpenFile(dir+"/a", os.O_RDWR|os.O_TRUNC, 0)
			must(t, err)
			_, err = f.WriteString("other, and longer")
			must(t, err)
			must(t, f.Close())
		}, map[string]string{"a": "hello"}},
		{"mapped and synced", false, reachNothing, func(dir string) { mapped(t, dir, true) }, map[string]string{"a": "Hello"}},
		{"mapped and not synced", false, reachNothing, func(dir string) { mapped(t, dir, false) }, map[string]string{"a": "hello"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := onDisk(t, tc.strict, tc.reach, tc.do)
			if len(got) != len(tc.want) {
				t.Fatalf("found %q, want %q", got, tc.want)
			}
			for name, want := range tc.want {
				if got[name] != want {
					t.Errorf("%s is %q, want %q", name, got[name], want)
				}
			}
		})
	}
}

// mapped changes a file through a map, and syncs it through another descriptor.
func mapped(t *testing.T, dir string, sync bool) {
	t.Helper()
	put(t, dir+"/a", "hello", true)
	f, err := os.OpenFile(dir+"/a", os.O_RDWR, 0)
	must(t, err)
	b, err := unix.Mmap(int(f.Fd()), 0, 5, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	b[0] = 'H'
	if sync {
		other, err := os.Open(dir + "/a")
		must(t, err)
		must(t, other.Sync())
		must(t, other.Close())
	}
	must(t, unix.Munmap(b))
	must(t, f.Close())
}

// What was not synced may be there in part; what was, is there in whole.
func TestDiskTears(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 2))
	seen := map[bool]bool{}
	for range 50 {
		n := newNode(unix.S_IFREG, rootNode)
		n.write(bytes.Repeat([]byte("a"), 3*blockSize), 0)
		n.synced = n.size
		clear(n.undo)
		n.write(bytes.Repeat([]byte("b"), 2*blockSize), 2*blockSize)
		n.restore(reachSome, rnd)
		p := make([]byte, 5*blockSize)
		p = p[:n.read(p, 0)]
		if !bytes.Equal(p[:2*blockSize], bytes.Repeat([]byte("a"), 2*blockSize)) {
			t.Fatal("what was synced changed")
		}
		if len(p) != 3*blockSize && len(p) != 4*blockSize {
			t.Fatalf("%d bytes", len(p))
		}
		third := p[2*blockSize : 3*blockSize]
		seen[bytes.Contains(third, []byte("ab")) || bytes.Contains(third, []byte("ba"))] = true
	}
	if !seen[true] || !seen[false] {
		t.Fatalf("blocks are torn always or never: %v", seen)
	}
}
