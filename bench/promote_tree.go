package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby"
	"mfsstandby/standby/apply"
	"mfsstandby/standby/image"
)

// Sizes of plainTree's directories.
const (
	filesPerDir = 100  // of the second level
	dirsPerDir  = 1000 // of the first
)

// plainTree makes a tree of empty files in two levels of directories, and then
// changes that leave the number of inodes as it is. The entries are an
// apply.Source as long as there are inodes to make; lines gives more.
type plainTree struct {
	inodes  int
	version meta.Version
	now     uint32
	last    meta.Inode
	top     meta.Inode // directory of the first level
	dir     meta.Inode // and in it
	tops    int
	dirs    int // made in top
	files   int // made in dir
	moved   int // changes made
	firsts  []meta.Inode
}

const plainBatch = 8192 // entries

func newPlainTree(base Base, inodes int) *plainTree {
	return &plainTree{inodes: inodes, version: meta.Version(base.Version), now: base.Time, last: rootInode}
}

// Next makes inodes until there are enough of them.
func (t *plainTree) Next(_ context.Context, b *apply.Batch) error {
	if int(t.last) >= t.inodes {
		return io.EOF
	}
	b.Received, b.Entries = time.Now(), b.Entries[:0]
	for len(b.Entries) < plainBatch && int(t.last) < t.inodes {
		b.Entries = append(b.Entries, meta.RawEntry{Version: t.version, Text: t.make()})
		t.version++
	}
	t.now++
	return nil
}

// make makes the next inode.
func (t *plainTree) make() []byte {
	t.last++
	switch {
	case t.top == 0 || t.files == filesPerDir && t.dirs == dirsPerDir:
		t.top, t.dirs, t.dir = t.last, 0, 0
		t.tops++
		return t.create(rootInode, 'd', t.tops, typeDir, 0o755, t.last)
	case t.dir == 0 || t.files == filesPerDir:
		t.dir, t.files = t.last, 0
		t.dirs++
		t.firsts = append(t.firsts, t.dir)
		return t.create(t.top, 'd', t.dirs, typeDir, 0o755, t.last)
	}
	t.files++
	return t.create(t.dir, 'f', t.files, typeFile, 0o644, t.last)
}

func (t *plainTree) create(parent meta.Inode, letter byte, number, typ, mode int, ino meta.Inode) []byte {
	return fmt.Appendf(nil, "%d|CREATE(%d,%c%d,%d,%d,18,1000,100,0):%d", t.now, parent, letter, number, typ, mode, ino)
}

// lines are n changelog lines that give the first file of each directory
// another name, in turn.
func (t *plainTree) lines(n int) []byte {
	var out bytes.Buffer
	for range n {
		dir := t.firsts[t.moved%len(t.firsts)]
		from, to := "f1", "g1"
		if t.moved/len(t.firsts)%2 == 1 {
			from, to = to, from
		}
		fmt.Fprintf(&out, "%d: %d|MOVE(%d,%s,%d,%s):%d\n", t.version, t.now, dir, from, dir, to, dir+1)
		t.version++
		if t.moved++; t.moved%1000 == 0 {
			t.now++
		}
	}
	return out.Bytes()
}

// savePlainTree writes the metadata file of a tree of so many inodes.
func savePlainTree(ctx context.Context, dir, path string, inodes int, cache int64) (*plainTree, error) {
	t := newPlainTree(DefaultBase, inodes)
	data := filepath.Join(dir, "tree")
	defer os.RemoveAll(data)
	var fresh bytes.Buffer
	if err := FreshMetadata(&fresh, DefaultBase); err != nil {
		return nil, err
	}
	if _, err := standby.Load(data, &fresh, standby.LoadOptions{Cache: cache, Name: "fresh metadata", Logger: quiet()}); err != nil {
		return nil, err
	}
	img, err := image.Open(image.Config{Dir: standby.ImageDir(data), Cache: cache, Logger: quiet()})
	if err != nil {
		return nil, err
	}
	open := func(context.Context, meta.Version) (apply.Source, error) { return t, nil }
	err = apply.New(img, open, apply.Config{CommitEvery: time.Minute, CommitBytes: cache / 2}).Run(ctx)
	if err == nil {
		err = (&tree{metadata: path}).save(img)
	}
	return t, errors.Join(err, img.Close())
}
