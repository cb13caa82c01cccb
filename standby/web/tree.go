package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
)

// read calls f with the state of the image, while no entry is applied: f must
// be short and keep nothing of what it is given.
func (s *Server) read(f func(*meta.State, image.Position) error) error {
	img, err := s.image()
	if err != nil {
		return err
	}
	return img.Read(f)
}

// find returns the inode of a place and its node.
func find(st *meta.State, at place) (meta.Inode, meta.Node, error) {
	ino := at.inode
	if ino == 0 {
		ino = meta.Root
		for i, name := range at.names {
			e, ok := st.Edges.Get(ino, []byte(name))
			if !ok {
				n, _ := st.Nodes.Get(ino)
				return 0, n, missing(st, at, i, n)
			}
			ino = e.Child
		}
	}
	n, ok := st.Nodes.Get(ino)
	if err := st.Err(); err != nil {
		return 0, n, err
	}
	if !ok {
		return 0, n, problemf(http.StatusNotFound, "not_found", "there is no %s", at.text)
	}
	return ino, n, nil
}

// missing says why the name i of a place is not in the node n.
func missing(st *meta.State, at place, i int, n meta.Node) error {
	if err := st.Err(); err != nil {
		return err
	}
	name, _ := escape([]byte(at.names[i]))
	if n.Type != meta.TypeDir {
		return problemf(http.StatusNotFound, "not_a_directory", "%s: %q is looked for in something that is no directory", at.text, name)
	}
	return problemf(http.StatusNotFound, "not_found", "%s: there is no %q", at.text, name)
}

// findDir is find for a directory.
func findDir(st *meta.State, at place) (meta.Inode, meta.Dir, error) {
	ino, n, err := find(st, at)
	if err != nil {
		return 0, meta.Dir{}, err
	}
	d, ok := st.Dirs.Get(ino)
	if n.Type != meta.TypeDir || !ok {
		return 0, d, problemf(http.StatusBadRequest, "not_a_directory", "%s is no directory", at.text)
	}
	return ino, d, st.Err()
}

// maxDepth bounds a walk to the root, and maxPaths the paths of one inode.
const (
	maxDepth = 1 << 14
	maxPaths = 100
)

// dirPath returns the path of a directory.
func dirPath(st *meta.State, ino meta.Inode) (string, error) {
	var names []string
	for ino != meta.Root {
		d, ok := st.Dirs.Get(ino)
		if !ok || d.Parent == 0 || len(names) > maxDepth {
			return "", fmt.Errorf("directory %d does not lead to the root", ino)
		}
		names = append(names, strings.Clone(d.Name))
		ino = d.Parent
	}
	slices.Reverse(names)
	return "/" + strings.Join(names, "/"), st.Err()
}

// join puts a name behind a directory's path.
func join(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

// paths returns the paths that lead to a node, at most maxPaths.
func paths(st *meta.State, ino meta.Inode, n *meta.Node) ([]Path, error) {
	if n.Type == meta.TypeDir {
		text, err := dirPath(st, ino)
		d, _ := st.Dirs.Get(ino)
		p := pathOf(text)
		p.Parent = d.Parent
		return []Path{p}, err
	}
	links := []meta.HardLink{{Parent: n.Parent, NameHash: n.NameHash}}
	switch {
	case n.Links == 0 || n.Type == meta.TypeTrash || n.Type == meta.TypeSustained:
		return []Path{}, nil
	case n.Links > 1:
		links, _ = st.Hard.Get(ino)
	}
	var all []Path
	for _, l := range links[:min(len(links), maxPaths)] {
		name, ok := st.Edges.Find(l.Parent, ino, l.NameHash)
		if !ok {
			return nil, fmt.Errorf("inode %d is not in its directory %d", ino, l.Parent)
		}
		dir, err := dirPath(st, l.Parent)
		if err != nil {
			return nil, err
		}
		p := pathOf(join(dir, string(name)))
		p.Parent = l.Parent
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Path) int { return strings.Compare(a.Text, b.Text) })
	return all, st.Err()
}

// path answers with the paths of an inode.
func (s *Server) path(w http.ResponseWriter, r *http.Request) {
	at, err := where(r)
	if err == nil && at.inode == 0 {
		err = problemf(http.StatusBadRequest, "bad_request", "give the inode: inode=N")
	}
	var out struct {
		Version  meta.Version `json:"version"`
		Inode    meta.Inode   `json:"inode"`
		Links    uint32       `json:"nlink"`
		Paths    []Path       `json:"paths"`
		Detached *Detached    `json:"detached,omitempty"`
	}
	if err == nil {
		err = s.read(func(st *meta.State, pos image.Position) error {
			ino, n, err := find(st, at)
			if err != nil {
				return err
			}
			all, err := paths(st, ino, &n)
			out.Version, out.Inode, out.Links = pos.Version, ino, linksOf(st, ino, &n)
			out.Paths, out.Detached = all, detachedOf(st, ino)
			return err
		})
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, out)
}

func linksOf(st *meta.State, ino meta.Inode, n *meta.Node) uint32 {
	if n.Type == meta.TypeDir {
		d, _ := st.Dirs.Get(ino)
		return 2 + d.Subdirs
	}
	return n.Links
}

// Totals are those of a tree, itself excluded.
type Totals struct {
	Inodes      uint32 `json:"inodes"`
	Directories uint32 `json:"directories"`
	Files       uint32 `json:"files"`
	Chunks      uint32 `json:"chunks"`
	Length      uint64 `json:"length_bytes"`
	Size        uint64 `json:"size_bytes"`
	RealSize    uint64 `json:"realsize_bytes"`
}

func totalsOf(s *meta.Stats) Totals {
	return Totals{s.Inodes, s.Dirs, s.Files, s.Chunks, s.Length, s.Size, s.RealSize}
}

// tree answers with the totals of a tree.
func (s *Server) tree(w http.ResponseWriter, r *http.Request) {
	at, err := where(r)
	var out struct {
		Version  meta.Version `json:"version"`
		Inode    meta.Inode   `json:"inode"`
		Path     Path         `json:"directory"`
		Elements uint32       `json:"elements"`
		Subdirs  uint32       `json:"subdirectories"`
		Totals   Totals       `json:"below"`
	}
	if err == nil {
		err = s.read(func(st *meta.State, pos image.Position) error {
			ino, d, err := findDir(st, at)
			if err != nil {
				return err
			}
			p, err := dirPath(st, ino)
			out.Version, out.Inode, out.Path = pos.Version, ino, pathOf(p)
			out.Elements, out.Subdirs, out.Totals = d.Elements, d.Subdirs, totalsOf(&d.Stats)
			return err
		})
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, out)
}
