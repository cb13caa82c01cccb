package oprand

import (
	"strconv"

	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
)

// Fresh returns the State of a new file system, with a root made at now.
func Fresh(now meta.Time) *meta.State {
	st := metatest.New()
	*st.Scalars = meta.Scalars{
		NextChunk: 1, NextSession: 1, NextEdge: meta.EdgeIDMax - 1, MaxInode: meta.Root,
		ClassesUsed: meta.FirstOwnClass, Nodes: meta.Counts{All: 1, Dirs: 1},
	}
	for id := 1; id < meta.FirstOwnClass; id++ {
		any := make([]meta.LabelMasks, id)
		st.Classes.Insert(uint8(id), meta.Class{Name: strconv.Itoa(id), Mode: 1, Create: any, Keep: any, Arch: any})
	}
	class, _ := st.Classes.Edit(2)
	class.Directories = 1
	st.Inodes.Reserve(meta.Root)
	st.Nodes.Insert(meta.Root, meta.Node{Type: meta.TypeDir, Class: 2, Mode: 0o777, TrashHours: 24, Atime: now, Mtime: now, Ctime: now})
	st.Dirs.Insert(meta.Root, meta.Dir{})
	return st
}
