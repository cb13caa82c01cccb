package changelog

import "mfsstandby/changelog/meta"

// maxDepth bounds the way up from a node: a damaged tree must not hang anyone.
const maxDepth = 1 << 16

// Parents returns the directories that have a name of a node, as often as they
// have one, in the order of its names. Trash and sustained files have none, nor
// has the root.
func Parents(st *meta.State, ino meta.Inode, n *meta.Node) []meta.HardLink {
	switch {
	case n.Type == meta.TypeDir:
		d, ok := st.Dirs.Get(ino)
		if !ok || d.Parent == 0 {
			return nil
		}
		return []meta.HardLink{{Parent: d.Parent, NameHash: meta.HashName([]byte(d.Name))}}
	case n.Type == meta.TypeTrash || n.Type == meta.TypeSustained:
		return nil
	case n.Links > 1:
		links, _ := st.Hard.Get(ino)
		return links
	}
	return []meta.HardLink{{Parent: n.Parent, NameHash: n.NameHash}}
}

// AppendPaths appends the paths by which a node is reached from the directory
// top, without a slash in front. The path of top itself is empty.
func AppendPaths(paths []string, st *meta.State, top, ino meta.Inode, n *meta.Node) []string {
	if ino == top {
		return append(paths, "")
	}
	for _, l := range Parents(st, ino, n) {
		var name []byte
		if n.Type == meta.TypeDir {
			d, _ := st.Dirs.Get(ino)
			name = []byte(d.Name)
		} else {
			name, _ = st.Edges.Find(l.Parent, ino, l.NameHash)
		}
		if path, ok := pathUp(st, top, l.Parent, name); ok {
			paths = append(paths, path)
		}
	}
	return paths
}

// pathUp returns the path of a name in a directory, from top.
func pathUp(st *meta.State, top, dir meta.Inode, name []byte) (string, bool) {
	path := string(name)
	for range maxDepth {
		if dir == top {
			return path, true
		}
		d, ok := st.Dirs.Get(dir)
		if !ok || d.Parent == 0 {
			return "", false
		}
		path = d.Name + "/" + path
		dir = d.Parent
	}
	return "", false
}

// IsBelow tells whether a directory is top or below it.
func IsBelow(st *meta.State, dir, top meta.Inode) bool { return isBelow(st, dir, top) }
