package changelog

import "mfsstandby/changelog/meta"

// AddWants adds what an operation will look up first. Rare operations, and
// those that look up what only the metadata tell, add nothing.
func AddWants(w *meta.Wants, op Op) {
	switch op := op.(type) {
	case *Create:
		w.Name(op.Parent, op.Base)
		w.Node(op.Inode)
	case *Unlink:
		w.Name(op.Parent, op.Base)
		w.Node(op.Inode)
		w.Opens = append(w.Opens, op.Inode)
	case *Move:
		w.Name(op.SrcParent, op.SrcBase)
		w.Name(op.DstParent, op.DstBase)
		w.Node(op.Inode)
	case *Link:
		w.Name(op.Parent, op.Base)
		w.Node(op.Inode)
	case *Symlink:
		w.Name(op.Parent, op.Base)
		w.Node(op.Inode)
	case *Acquire:
		w.Node(op.Inode)
		w.Opens = append(w.Opens, op.Inode)
	case *Release:
		w.Opens = append(w.Opens, op.Inode)
	case *Write:
		w.Node(op.Inode)
		w.Chunks = append(w.Chunks, op.Chunk)
	case *Unlock:
		w.Chunks = append(w.Chunks, op.Chunk)
	case *Length:
		w.Node(op.Inode)
	case *Access:
		w.Node(op.Inode)
	case *Attr:
		w.Node(op.Inode)
	case *AMTime:
		w.Node(op.Inode)
	case *Trunc:
		w.Node(op.Inode)
	}
}
