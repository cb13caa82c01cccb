package metafile

import (
	"bytes"
	"fmt"
	"slices"

	"mfsstandby/changelog/meta"
)

// edgeComparer is the state of comparing section EDGE.
type edgeComparer struct {
	*comparer
	root, other []meta.Edge // names in the file of the root and of the directory being read
	parent      meta.Inode  // that directory, 0 is none
	dirs        meta.IDSet  // directories that have been compared
	detached    meta.IDSet  // trash and sustained entries of the file
}

func compareEdges(c *comparer) error {
	c.scalar("EDGE", "next edge id", c.in.edgesHead(), c.st.NextEdge)
	e := edgeComparer{comparer: c}
	var rec edgeRecord
	for {
		c.in.begin()
		if !c.in.readEdge(&rec) {
			break
		}
		edge := meta.Edge{Child: rec.child, ID: rec.id, Name: bytes.Clone(rec.name)}
		switch rec.parent {
		case 0:
			e.detachedEdge(&rec)
		case meta.Root:
			e.root = append(e.root, edge)
		default:
			if rec.parent != e.parent {
				e.flush()
				e.parent = rec.parent
			}
			e.other = append(e.other, edge)
		}
	}
	if c.in.err != nil {
		return c.in.err
	}
	e.flush()
	e.directory(meta.Root, e.root)
	e.extras()
	return nil
}

// flush compares the directory that has been read.
func (e *edgeComparer) flush() {
	if e.parent != 0 {
		e.directory(e.parent, e.other)
	}
	e.parent, e.other = 0, e.other[:0]
}

func (e *edgeComparer) detachedEdge(rec *edgeRecord) {
	e.detached.Add(uint64(rec.child))
	file := meta.Detached{EdgeID: rec.id, Path: string(rec.name)}
	image, ok := e.st.Detached.Get(rec.child)
	if !ok {
		e.missing("EDGE", "detached "+inodeKey(rec.child), file)
		return
	}
	image.Kind = 0 // that is the type of the node
	if image != file {
		e.fields("EDGE", "detached "+inodeKey(rec.child), rec.child, file, image)
	}
}

// directory compares the names of one directory.
func (e *edgeComparer) directory(parent meta.Inode, file []meta.Edge) {
	e.dirs.Add(uint64(parent))
	image := e.st.Edges.List(parent)
	same := func(a, b meta.Edge) bool { return a.Child == b.Child && a.ID == b.ID && bytes.Equal(a.Name, b.Name) }
	if slices.EqualFunc(file, image, same) {
		return
	}
	inImage, inFile := make(map[string]*meta.Edge, len(image)), make(map[string]bool, len(file))
	for i := range image {
		inImage[string(image[i].Name)] = &image[i]
	}
	common := file[:0:0]
	for _, f := range file {
		inFile[string(f.Name)] = true
		m := inImage[string(f.Name)]
		if m == nil {
			e.edgeDiffers(parent, f.Name, "", edgeText(f), absent)
			continue
		}
		common = append(common, f)
		if f.Child != m.Child {
			e.edgeDiffers(parent, f.Name, "Child", fmt.Sprint(f.Child), fmt.Sprint(m.Child))
		}
		if f.ID != m.ID {
			e.edgeDiffers(parent, f.Name, "ID", fmt.Sprintf("%016X", f.ID), fmt.Sprintf("%016X", m.ID))
		}
	}
	i := 0
	for _, m := range image {
		switch {
		case !inFile[string(m.Name)]:
			e.edgeDiffers(parent, m.Name, "", absent, edgeText(m))
			continue
		case i >= 0 && i < len(common) && !bytes.Equal(common[i].Name, m.Name):
			e.edgeDiffers(parent, nil, "order", fmt.Sprintf("%q at %d", common[i].Name, i), fmt.Sprintf("%q", m.Name))
			i = -1 // one report for a directory
		}
		if i >= 0 {
			i++
		}
	}
}

func edgeText(m meta.Edge) string { return fmt.Sprintf("inode %d id %016X", m.Child, m.ID) }

func (e *edgeComparer) edgeDiffers(parent meta.Inode, name []byte, field, file, image string) {
	key := fmt.Sprintf("directory %d", parent)
	if name != nil {
		key = fmt.Sprintf("%d/%q", parent, name)
	}
	e.differ(Difference{Table: "EDGE", Key: key, Path: e.path(parent), Field: field, File: file, Image: image})
}

// extras reports what only the State has.
func (e *edgeComparer) extras() {
	for parent, list := range e.st.Edges.Scan() {
		if e.dirs.Has(uint64(parent)) {
			continue
		}
		for _, m := range list {
			e.edgeDiffers(parent, m.Name, "", absent, edgeText(m))
		}
	}
	for kind, buckets := range map[meta.Type]uint32{meta.TypeTrash: meta.TrashBuckets, meta.TypeSustained: meta.SustainedBuckets} {
		for b := range buckets {
			for _, ino := range e.st.Detached.Bucket(kind, b) {
				if !e.detached.Has(uint64(ino)) {
					d, _ := e.st.Detached.Get(ino)
					e.extra("EDGE", "detached "+inodeKey(ino), ino, d)
				}
			}
		}
	}
}
