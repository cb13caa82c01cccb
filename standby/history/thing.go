package history

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"mfsstandby/changelog/meta"
)

// Field is a value that changed. Times are RFC 3339 in UTC; what is not there is "".
type Field struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// link is a name that leads to a node.
type link struct {
	parent meta.Inode
	name   string
}

// thing is what is known of a node: copies, which later changes do not reach.
type thing struct {
	node     meta.Node
	links    []link // sorted
	entries  uint32 // of a directory
	class    string
	target   string
	detached meta.Detached
	acls     [2]string
	xattrs   []meta.Xattr // sorted; values shared
	quota    *meta.Quota
	chunks   string // of a file, see chunkText
}

// look gathers what is known of a node.
func look(st *meta.State, ino meta.Inode) (t thing, ok bool) {
	if t.node, ok = st.Nodes.Get(ino); !ok {
		return t, false
	}
	n := &t.node
	t.links = linksOf(st, ino, n)
	switch n.Type {
	case meta.TypeDir:
		d, _ := st.Dirs.Get(ino)
		t.entries = d.Elements
	case meta.TypeSymlink:
		t.target, _ = st.Symlinks.Get(ino)
	case meta.TypeTrash, meta.TypeSustained:
		t.detached, _ = st.Detached.Get(ino)
	}
	if c, ok := st.Classes.Get(n.Class); ok {
		t.class = c.Name
	}
	for i, flag := range [...]uint8{meta.HasAccessACL, meta.HasDefaultACL} {
		if n.Flags&flag == 0 {
			continue
		}
		if acl, ok := st.ACLs.Get(meta.ACLKey{Inode: ino, Type: uint8(meta.ACLAccess + i)}); ok {
			t.acls[i] = aclText(&acl)
		}
	}
	if n.Flags&meta.HasXattr != 0 {
		for _, name := range st.Xattrs.Names(ino) {
			value, _ := st.Xattrs.Get(ino, []byte(name))
			t.xattrs = append(t.xattrs, meta.Xattr{Name: name, Value: bytes.Clone(value)})
		}
		slices.SortFunc(t.xattrs, func(a, b meta.Xattr) int { return cmp.Compare(a.Name, b.Name) })
	}
	if q, ok := st.Quotas.Get(ino); ok {
		t.quota = &q
	}
	return t, true
}

// lookWhole is look with all chunks of the file.
func lookWhole(st *meta.State, ino meta.Inode) (thing, bool) {
	t, ok := look(st, ino)
	if ok && t.node.Type.IsFile() {
		t.chunks = chunkText(st, ino, &t.node)
	}
	return t, ok
}

// chunkText tells chunk tables apart without holding them: a table may have 2^31
// slots.
func chunkText(st *meta.State, ino meta.Inode, n *meta.Node) string {
	if n.Used == 0 {
		return "0"
	}
	h := xxh3.New()
	put := func(index uint32, id meta.ChunkID) {
		fmt.Fprintf(h, "%d=%X ", index, uint64(id))
	}
	put(0, n.Chunk0)
	for slot, id := range st.Slots.Scan(meta.Slot{Inode: ino, Index: 1}) {
		if slot.Inode != ino {
			break
		}
		put(slot.Index, id)
	}
	if n.Used == 1 && n.Chunk0 != 0 {
		return fmt.Sprintf("1 (%016X)", uint64(n.Chunk0))
	}
	return fmt.Sprintf("%d (checksum %016x)", n.Used, h.Sum64())
}

// linksOf gives all names that lead to a node.
func linksOf(st *meta.State, ino meta.Inode, n *meta.Node) (links []link) {
	if n.Type == meta.TypeDir {
		if parent, name, ok := st.Dirs.Up(ino); ok && parent != 0 {
			links = append(links, link{parent, strings.Clone(name)})
		}
		return links
	}
	if n.Links == 0 {
		return nil
	}
	if hard, ok := st.Hard.Get(ino); ok {
		for _, h := range hard {
			if name, ok := st.Edges.Find(h.Parent, ino, h.NameHash); ok {
				links = append(links, link{h.Parent, string(name)})
			}
		}
	} else if name, ok := st.Edges.Find(n.Parent, ino, n.NameHash); ok {
		links = append(links, link{n.Parent, string(name)})
	}
	slices.SortFunc(links, compareLinks)
	return links
}

func compareLinks(a, b link) int {
	return cmp.Or(cmp.Compare(a.parent, b.parent), cmp.Compare(a.name, b.name))
}

// maxDepth is deeper than any path: a circle.
const maxDepth = 4096

// path gives where a name is.
func (l link) path(st *meta.State) string {
	parts := []string{l.name}
	for ino := l.parent; ino != meta.Root && len(parts) < maxDepth; {
		parent, name, ok := st.Dirs.Up(ino)
		if !ok || parent == 0 {
			parts = append(parts, fmt.Sprintf("(inode %d)", ino))
			break
		}
		parts, ino = append(parts, name), parent
	}
	slices.Reverse(parts)
	return "/" + strings.Join(parts, "/")
}

// path gives where a node is: the first of its names, or where it was if it is
// in the trash or kept for those who have it open.
func (t *thing) path(st *meta.State, ino meta.Inode) string {
	switch {
	case ino == meta.Root:
		return "/"
	case len(t.links) > 0:
		return t.links[0].path(st)
	case t.node.Type == meta.TypeTrash:
		return "trash:/" + t.detached.Path
	case t.node.Type == meta.TypeSustained:
		return "sustained:/" + t.detached.Path
	}
	return fmt.Sprintf("(inode %d)", ino)
}

var typeNames = map[meta.Type]string{
	meta.TypeFile: "file", meta.TypeDir: "directory", meta.TypeSymlink: "symlink", meta.TypeFifo: "fifo",
	meta.TypeBlockDev: "block device", meta.TypeCharDev: "character device", meta.TypeSocket: "socket",
	meta.TypeTrash: "file in trash", meta.TypeSustained: "sustained file",
}

// sameKind tells whether a node can have become the other: files go to the trash
// and come back.
func sameKind(a, b meta.Type) bool { return a == b || a.IsFile() && b.IsFile() }

// fields gives what differs between two states of a node, but its names.
func fields(a, b *thing) (list []Field) {
	add := func(name, before, after string) {
		if before != after {
			list = append(list, Field{name, before, after})
		}
	}
	num := func(name string, before, after uint64) {
		add(name, strconv.FormatUint(before, 10), strconv.FormatUint(after, 10))
	}
	x, y := &a.node, &b.node
	add("type", typeNames[x.Type], typeNames[y.Type])
	add("mode", fmt.Sprintf("%04o", x.Mode), fmt.Sprintf("%04o", y.Mode))
	num("uid", uint64(x.UID), uint64(y.UID))
	num("gid", uint64(x.GID), uint64(y.GID))
	if x.Type.IsFile() && y.Type.IsFile() {
		num("length", x.Length, y.Length)
		add("chunks", a.chunks, b.chunks)
		num("chunks in use", uint64(x.Used), uint64(y.Used))
	}
	num("entries", uint64(a.entries), uint64(b.entries))
	if x.Type.IsDevice() && y.Type.IsDevice() {
		num("device", uint64(x.Rdev), uint64(y.Rdev))
	}
	add("target", a.target, b.target)
	add("storage class", classText(a), classText(b))
	num("trash time", x.Trash(), y.Trash())
	add("extra attributes", fmt.Sprintf("%#02x", x.Eattr), fmt.Sprintf("%#02x", y.Eattr))
	add("windows attributes", fmt.Sprintf("%#02x", x.Winattr), fmt.Sprintf("%#02x", y.Winattr))
	add("access acl", a.acls[0], b.acls[0])
	add("default acl", a.acls[1], b.acls[1])
	xattrFields(a.xattrs, b.xattrs, add)
	add("quota", quotaText(a.quota), quotaText(b.quota))
	add("path in trash", a.detached.Path, b.detached.Path)
	add("atime", timeText(x.Atime), timeText(y.Atime))
	add("mtime", timeText(x.Mtime), timeText(y.Mtime))
	add("ctime", timeText(x.Ctime), timeText(y.Ctime))
	return list
}

func classText(t *thing) string {
	if t.node.Class == 0 {
		return ""
	}
	return fmt.Sprintf("%d (%s)", t.node.Class, t.class)
}

func timeText(t meta.Time) string { return time.Unix(int64(t), 0).UTC().Format(time.RFC3339) }

func xattrFields(a, b []meta.Xattr, add func(name, before, after string)) {
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Name < b[0].Name:
			add("xattr "+a[0].Name, valueText(a[0].Value), "")
			a = a[1:]
		case len(a) == 0 || b[0].Name < a[0].Name:
			add("xattr "+b[0].Name, "", valueText(b[0].Value))
			b = b[1:]
		default:
			add("xattr "+a[0].Name, valueText(a[0].Value), valueText(b[0].Value))
			a, b = a[1:], b[1:]
		}
	}
}

// valueText quotes a value; of a long one its start, length and checksum.
func valueText(v []byte) string {
	const most = 64
	if len(v) <= most {
		return strconv.Quote(string(v))
	}
	return fmt.Sprintf("%s... (%d bytes, checksum %016x)", strconv.Quote(string(v[:most])), len(v), xxh3.Hash(v))
}

// aclText is an ACL as getfacl prints it, on one line, with numbers.
func aclText(a *meta.ACL) string {
	var b []byte
	put := func(tag, id string, perm uint16) {
		if perm == 0xFFFF {
			return
		}
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = append(append(append(append(b, tag...), ':'), id...), ':')
		for i, c := range "rwx" {
			if perm&(4>>i) == 0 {
				c = '-'
			}
			b = append(b, byte(c))
		}
		if perm > 7 {
			b = fmt.Appendf(b, "(%#o)", perm)
		}
	}
	put("user", "", a.User)
	for _, e := range a.Users {
		put("user", strconv.FormatUint(uint64(e.ID), 10), e.Perm)
	}
	put("group", "", a.Group)
	for _, e := range a.Groups {
		put("group", strconv.FormatUint(uint64(e.ID), 10), e.Perm)
	}
	put("mask", "", a.Mask)
	put("other", "", a.Other)
	return string(b)
}

func quotaText(q *meta.Quota) string {
	if q == nil {
		return ""
	}
	b := fmt.Appendf(nil, "grace %d s", q.Grace)
	for i, l := range [...]struct {
		name       string
		soft, hard uint64
	}{
		{"inodes", uint64(q.SoftInodes), uint64(q.HardInodes)}, {"length", q.SoftLength, q.HardLength},
		{"size", q.SoftSize, q.HardSize}, {"real size", q.SoftReal, q.HardReal},
	} {
		if q.Flags&(1<<i) != 0 {
			b = fmt.Appendf(b, ", soft %s %d", l.name, l.soft)
		}
		if q.Flags&(16<<i) != 0 {
			b = fmt.Appendf(b, ", hard %s %d", l.name, l.hard)
		}
	}
	if q.SoftTime != 0 {
		b = append(b, ", soft limit crossed "+timeText(q.SoftTime)...)
	}
	if q.Exceeded {
		b = append(b, ", exceeded"...)
	}
	return string(b)
}
