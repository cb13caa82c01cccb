package metafile

import (
	"encoding/binary"
	"fmt"
	"iter"

	"mfsstandby/changelog/meta"
)

// FREE 1.0: count:32 count*[inode:32 time freed:32], oldest first: numbers
// that wait to be used again.
const (
	freeSize  = 8
	freePiece = 1024 // records that are written at once
)

// readFree reads the next record.
func (in *input) readFree() (meta.FreedInode, bool) {
	b := in.next(freeSize)
	if b == nil {
		return meta.FreedInode{}, false
	}
	return meta.FreedInode{
		Inode: meta.Inode(binary.BigEndian.Uint32(b)),
		Freed: meta.Time(binary.BigEndian.Uint32(b[4:])),
	}, true
}

func (l *loader) free() error {
	for left := l.in.u32(); left > 0; left-- {
		l.begin()
		f, ok := l.in.readFree()
		if !ok {
			return l.in.err
		}
		switch {
		case f.Inode == 0:
			return l.in.failf("inode 0 cannot be free")
		case l.nodeIDs.Has(uint64(f.Inode)):
			return l.in.failf("inode %d waits to be used again, but a node has it", f.Inode)
		case !l.freed.Add(uint64(f.Inode)):
			return l.in.failf("inode %d waits twice to be used again", f.Inode)
		}
		l.st.Inodes.Reserve(f.Inode)
		l.st.Inodes.PushFree(f)
		l.st.LastFreed = f.Freed // the last one's, also if an earlier one was freed later
	}
	return l.in.err
}

func writeFree(o *output, st *meta.State) error {
	o.u32(st.Inodes.FreeLen())
	o.end()
	count := uint32(0)
	for f := range st.Inodes.ScanFree() {
		if count > 0 && (o.modern || count%freePiece == 0) {
			o.end()
		}
		count++
		o.u32(uint32(f.Inode))
		o.u32(uint32(f.Freed))
		if o.err != nil {
			return o.err
		}
	}
	if count > 0 {
		o.end()
	}
	if count != st.Inodes.FreeLen() {
		return o.failf("the free list holds %d inodes but counts %d", count, st.Inodes.FreeLen())
	}
	return o.err
}

func dumpFree(d *dumper) error {
	left := d.in.u32()
	d.t.num("# free nodes: ", uint64(left), 0)
	for ; d.endLine() && left > 0; left-- {
		d.in.begin()
		f, ok := d.in.readFree()
		if !ok {
			break
		}
		d.t.num("FREEID|i:", uint64(f.Inode), 10)
		d.t.num("|f:", uint64(f.Freed), 10)
	}
	return d.in.err
}

func compareFree(c *comparer) error {
	image, stop := iter.Pull(c.st.Inodes.ScanFree())
	defer stop()
	var swapped freeSwaps
	at, total := uint32(0), c.in.u32()
	for ; at < total; at++ {
		c.in.begin()
		f, ok := c.in.readFree()
		if !ok {
			return c.in.err
		}
		got, ok := image()
		if len(swapped) > 0 && (!ok || f.Freed != swapped[0].file.Freed) {
			swapped.report(c)
			swapped = swapped[:0]
		}
		switch {
		case !ok:
			c.missing("FREE", fmt.Sprintf("entry %d", at), f)
		case got.Freed != f.Freed:
			c.fields("FREE", fmt.Sprintf("entry %d", at), 0, f, got)
		case got != f:
			swapped = append(swapped, freeSwap{at, f, got})
		}
	}
	swapped.report(c)
	for got, ok := image(); ok; got, ok = image() {
		c.extra("FREE", fmt.Sprintf("entry %d", at), 0, got)
		at++
	}
	return c.in.err
}

// freeSwaps are places of the queue, all of one time, where file and image
// name different inodes. What is freed at once is freed in the order of a trash
// bucket's list, which reading a metadata file turns round: the same inodes in
// another order are no difference.
type freeSwaps []freeSwap

type freeSwap struct {
	at          uint32
	file, image meta.FreedInode
}

func (s freeSwaps) report(c *comparer) {
	count := map[meta.Inode]int{}
	for _, x := range s {
		count[x.file.Inode]++
		count[x.image.Inode]--
	}
	for _, n := range count {
		if n != 0 {
			for _, x := range s {
				c.fields("FREE", fmt.Sprintf("entry %d", x.at), 0, x.file, x.image)
			}
			return
		}
	}
}
