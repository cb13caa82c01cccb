package web

import (
	"fmt"
	"net/http"
	"strings"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
)

// typeNames are the kinds of node as the API names them.
var typeNames = map[meta.Type]string{
	meta.TypeFile: "file", meta.TypeDir: "directory", meta.TypeSymlink: "symlink", meta.TypeFifo: "fifo",
	meta.TypeBlockDev: "block", meta.TypeCharDev: "char", meta.TypeSocket: "socket",
	meta.TypeTrash: "trash", meta.TypeSustained: "sustained",
}

// eattrNames are the extra attributes by bit.
var eattrNames = [...]string{
	"noowner", "noattrcache", "noentrycache", "nodatacache", "snapshot", "undeletable", "appendonly", "immutable",
}

// Attr is what a list shows of an inode.
type Attr struct {
	Inode  meta.Inode `json:"inode"`
	Type   string     `json:"type"`
	Mode   string     `json:"mode"` // octal
	UID    uint32     `json:"uid"`
	GID    uint32     `json:"gid"`
	Links  uint32     `json:"nlink"`
	Length uint64     `json:"length"` // files: bytes; symlinks: of the target
	Mtime  meta.Time  `json:"mtime"`  // Unix seconds, by the primary's clock
	Atime  meta.Time  `json:"atime"`
	Ctime  meta.Time  `json:"ctime"`
}

func attrOf(st *meta.State, ino meta.Inode, n *meta.Node) Attr {
	a := Attr{
		Inode: ino, Type: typeNames[n.Type], Mode: fmt.Sprintf("%04o", n.Mode), UID: n.UID, GID: n.GID,
		Links: linksOf(st, ino, n), Mtime: n.Mtime, Atime: n.Atime, Ctime: n.Ctime,
	}
	switch {
	case n.Type.IsFile():
		a.Length = n.Length
	case n.Type == meta.TypeSymlink:
		target, _ := st.Symlinks.Get(ino)
		a.Length = uint64(len(target))
	}
	return a
}

// Stat is all there is about an inode. What does not apply to it is absent.
type Stat struct {
	Version meta.Version `json:"version"` // of the image
	Attr
	Paths      []Path    `json:"paths"` // at most 100; none if it is in no directory
	Class      string    `json:"storage_class,omitempty"`
	TrashHours uint16    `json:"trash_hours"`
	Eattr      []string  `json:"eattr,omitempty"`
	Target     *Name     `json:"target,omitempty"` // symlinks
	Device     string    `json:"device,omitempty"` // MAJOR:MINOR
	Chunks     *Chunks   `json:"chunks,omitempty"` // files
	Directory  *Children `json:"directory,omitempty"`
	Quota      *Quota    `json:"quota,omitempty"`
	ACL        string    `json:"acl,omitempty"` // short text form, as of getfacl
	DefaultACL string    `json:"default_acl,omitempty"`
	Xattrs     []Xattr   `json:"xattrs,omitempty"` // at most 100
	Detached   *Detached `json:"detached,omitempty"`
	Open       bool      `json:"open"` // some client has it open
}

// Chunks tells of a file's data.
type Chunks struct {
	Slots uint32 `json:"slots"` // of 64 MiB, holes included
	Used  uint32 `json:"used"`
}

// Children tells of a directory.
type Children struct {
	Elements uint32 `json:"elements"`
	Subdirs  uint32 `json:"subdirectories"`
	Below    Totals `json:"below"`
}

// Quota is that of a directory; absent limits are 0.
type Quota struct {
	Exceeded   bool   `json:"exceeded"`
	Grace      uint32 `json:"grace_seconds"`
	SoftInodes uint32 `json:"soft_inodes,omitempty"`
	HardInodes uint32 `json:"hard_inodes,omitempty"`
	SoftLength uint64 `json:"soft_length,omitempty"`
	HardLength uint64 `json:"hard_length,omitempty"`
	SoftSize   uint64 `json:"soft_size,omitempty"`
	HardSize   uint64 `json:"hard_size,omitempty"`
	SoftReal   uint64 `json:"soft_realsize,omitempty"`
	HardReal   uint64 `json:"hard_realsize,omitempty"`
}

// Xattr is an extended attribute without its value.
type Xattr struct {
	Name
	Size int `json:"size"`
}

// Detached is where a file without directory is.
type Detached struct {
	In string `json:"in"` // "trash" or "sustained"
	Path
}

// stat answers with all there is about an inode.
func (s *Server) stat(w http.ResponseWriter, r *http.Request) {
	at, err := where(r)
	var out Stat
	if err == nil {
		err = s.read(func(st *meta.State, pos image.Position) (err error) {
			ino, n, err := find(st, at)
			if err != nil {
				return err
			}
			out, err = statOf(st, ino, &n)
			out.Version = pos.Version
			return err
		})
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, out)
}

func statOf(st *meta.State, ino meta.Inode, n *meta.Node) (Stat, error) {
	all, err := paths(st, ino, n)
	if err != nil {
		return Stat{}, err
	}
	out := Stat{
		Attr: attrOf(st, ino, n), Paths: all, TrashHours: n.TrashHours,
		Xattrs: xattrsOf(st, ino, n), Detached: detachedOf(st, ino), Quota: quotaOf(st, ino), Open: st.Open.Any(ino),
		ACL: aclOf(st, ino, meta.ACLAccess, n), DefaultACL: aclOf(st, ino, meta.ACLDefault, n),
	}
	if c, ok := st.Classes.Get(n.Class); ok && n.Class != 0 {
		out.Class = nameOf([]byte(c.Name)).Text
	}
	for i, name := range eattrNames {
		if n.Eattr&(1<<i) != 0 {
			out.Eattr = append(out.Eattr, name)
		}
	}
	switch {
	case n.Type.IsFile():
		out.Chunks = &Chunks{n.Slots, n.Used}
	case n.Type == meta.TypeSymlink:
		target, _ := st.Symlinks.Get(ino)
		name := nameOf([]byte(target))
		out.Target = &name
	case n.Type.IsDevice():
		out.Device = fmt.Sprintf("%d:%d", n.Rdev>>16, n.Rdev&0xffff)
	case n.Type == meta.TypeDir:
		d, _ := st.Dirs.Get(ino)
		out.Directory = &Children{d.Elements, d.Subdirs, totalsOf(&d.Stats)}
	}
	return out, st.Err()
}

func xattrsOf(st *meta.State, ino meta.Inode, n *meta.Node) (all []Xattr) {
	if n.Flags&meta.HasXattr == 0 {
		return nil
	}
	names := st.Xattrs.Names(ino)
	for _, name := range names[:min(len(names), maxPaths)] {
		value, _ := st.Xattrs.Get(ino, []byte(name))
		all = append(all, Xattr{nameOf([]byte(name)), len(value)})
	}
	return all
}

func detachedOf(st *meta.State, ino meta.Inode) *Detached {
	d, ok := st.Detached.Get(ino)
	if !ok {
		return nil
	}
	return &Detached{typeNames[d.Kind], pathOf(d.Path)}
}

func quotaOf(st *meta.State, ino meta.Inode) *Quota {
	q, ok := st.Quotas.Get(ino)
	if !ok {
		return nil
	}
	return &Quota{q.Exceeded, q.Grace, q.SoftInodes, q.HardInodes, q.SoftLength, q.HardLength, q.SoftSize, q.HardSize, q.SoftReal, q.HardReal}
}

// aclOf writes an ACL in the short text form.
func aclOf(st *meta.State, ino meta.Inode, kind uint8, n *meta.Node) string {
	if n.Flags&(meta.HasAccessACL|meta.HasDefaultACL) == 0 {
		return ""
	}
	a, ok := st.ACLs.Get(meta.ACLKey{Inode: ino, Type: kind})
	if !ok {
		return ""
	}
	var parts []string
	add := func(who, id string, perm uint16) {
		const unset = 0xFFFF
		if perm == unset {
			return
		}
		bits := []byte("rwx")
		for i := range bits {
			if perm&(4>>i) == 0 {
				bits[i] = '-'
			}
		}
		parts = append(parts, who+":"+id+":"+string(bits))
	}
	add("user", "", a.User)
	for _, e := range a.Users {
		add("user", fmt.Sprint(e.ID), e.Perm)
	}
	add("group", "", a.Group)
	for _, e := range a.Groups {
		add("group", fmt.Sprint(e.ID), e.Perm)
	}
	add("mask", "", a.Mask)
	add("other", "", a.Other)
	return strings.Join(parts, ",")
}
