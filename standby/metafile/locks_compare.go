package metafile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"mfsstandby/changelog/meta"
)

// Locks are few: those of the file are kept until all have been read.

func compareFlocks(c *comparer) error {
	file := map[meta.Inode][]meta.Flock{}
	for {
		c.in.begin()
		ino, f, _, ok := c.in.readFlock()
		if !ok {
			break
		}
		file[ino] = append(file[ino], f)
	}
	image := map[meta.Inode][]meta.Flock{}
	for ino, list := range c.st.Flocks.Scan(0) {
		image[ino] = slices.Clone(list)
	}
	for _, lists := range [...]map[meta.Inode][]meta.Flock{file, image} {
		for _, list := range lists {
			for i := range list {
				list[i].Write = list[i].Write && c.opt.LockTypes
			}
			slices.SortFunc(list, func(a, b meta.Flock) int {
				return cmp.Or(cmp.Compare(a.Session, b.Session), cmp.Compare(a.Owner, b.Owner))
			})
		}
	}
	compareLists(c, "FLCK", file, image)
	return c.in.err
}

func comparePlocks(c *comparer) error {
	file := map[meta.Inode][]meta.PosixOwner{}
	var rec plockRecord
	for {
		c.in.begin()
		if !c.in.readPlock(&rec) {
			break
		}
		list := file[rec.inode]
		if n := len(list); n == 0 || list[n-1].Session != rec.owner.Session || list[n-1].Owner != rec.owner.Owner {
			list = append(list, rec.owner)
		}
		last := &list[len(list)-1]
		last.Ranges = append(last.Ranges, rec.span)
		file[rec.inode] = list
	}
	image := map[meta.Inode][]meta.PosixOwner{}
	for ino, list := range c.st.Plocks.Scan(0) {
		image[ino] = slices.Clone(list)
	}
	for _, lists := range [...]map[meta.Inode][]meta.PosixOwner{file, image} {
		for _, list := range lists {
			slices.SortFunc(list, func(a, b meta.PosixOwner) int {
				return cmp.Or(cmp.Compare(a.Session, b.Session), cmp.Compare(a.Owner, b.Owner))
			})
		}
	}
	compareLists(c, "PLCK", file, image)
	return c.in.err
}

// compareLists compares the locks of each inode.
func compareLists[T any](c *comparer, table string, file, image map[meta.Inode][]T) {
	all := maps.Clone(file)
	maps.Copy(all, image)
	for _, ino := range slices.Sorted(maps.Keys(all)) {
		a, b := fmt.Sprintf("%+v", file[ino]), fmt.Sprintf("%+v", image[ino])
		if a != b {
			c.differ(Difference{Table: table, Key: inodeKey(ino), Path: c.path(ino), File: a, Image: b})
		}
	}
}
