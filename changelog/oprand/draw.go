package oprand

import (
	"strings"

	"mfsstandby/changelog/meta"
)

// Values that are drawn often, so that they meet.
var (
	names = []string{"a", "b", "c", "d", "e", "f", "g", "h", "i j", ".k", "l,)%", "m\n\xff", strings.Repeat("n", meta.MaxName)}
	uids  = []uint32{0, 0, 1000, 1001}
	gids  = []uint32{0, 1000, 1002, 4294967294}
	perms = []uint16{0, 4, 5, 6, 7, 0xFFFF}
)

func (g *Generator) name() []byte { return []byte(oneOf(g, names, "")) }
func (g *Generator) uid() uint32  { return oneOf(g, uids, 0) }
func (g *Generator) gid() uint32  { return oneOf(g, gids, 0) }

// groups draws the groups of a user. Strictly, they leave room for one more
// digit, since the primary's replay drops one.
func (g *Generator) groups() []uint32 {
	list := make([]uint32, 1+g.n(3))
	for i := range list {
		if list[i] = g.gid(); g.Strict {
			list[i] %= 1 << 20
		}
	}
	return list
}

func (g *Generator) perm() uint16 { return oneOf(g, perms, 0) }
func (g *Generator) mode() uint16 { return uint16(g.n(0o10000)) }
func (g *Generator) flag() uint8  { return uint8(g.n(2)) }

// inode draws an inode: one that exists, or seldom any.
func (g *Generator) inode() meta.Inode {
	if g.chance(30) {
		return meta.Inode(g.n(200))
	}
	kind := meta.Type(1 + g.n(int(meta.TypeSustained)))
	return oneOf(g, g.nodes[kind], oneOf(g, g.files, meta.Root))
}

func (g *Generator) dir() meta.Inode {
	if g.chance(50) {
		return g.inode()
	}
	if g.chance(4) {
		return meta.Root
	}
	return oneOf(g, g.nodes[meta.TypeDir], meta.Root)
}

func (g *Generator) file() meta.Inode {
	if g.chance(50) {
		return g.inode()
	}
	return oneOf(g, g.files, meta.Root)
}

func (g *Generator) of(kind meta.Type) meta.Inode { return oneOf(g, g.nodes[kind], g.inode()) }

// place draws a name that exists, or seldom any.
func (g *Generator) place() place {
	if g.chance(30) {
		return place{g.dir(), meta.Edge{Name: g.name(), Child: g.inode()}}
	}
	return oneOf(g, g.edges, place{meta.Root, meta.Edge{Name: g.name()}})
}

// newInode tells which inode the next node gets.
func (g *Generator) newInode() meta.Inode {
	ino := g.st.Inodes.Alloc()
	g.st.Inodes.Release(ino)
	return ino
}

func (g *Generator) session() meta.SessionID {
	var ids []meta.SessionID
	for id := range g.st.Sessions.Scan(0) {
		ids = append(ids, id)
	}
	return oneOf(g, ids, 1)
}

func (g *Generator) openFile() openFile {
	return oneOf(g, g.open, openFile{g.session(), g.file()})
}

// index draws a chunk index.
func (g *Generator) index() uint32 {
	if g.chance(60) && !g.Strict {
		return uint32(meta.MaxIndex - 1 + g.n(3))
	}
	if g.chance(12) {
		return uint32(g.n(40))
	}
	return uint32(g.n(4))
}

// slot returns what a file has at an index.
func (g *Generator) slot(ino meta.Inode, index uint32) meta.ChunkID {
	n, _ := g.st.Nodes.Get(ino)
	return g.st.Slot(ino, &n, index)
}

// resultOf tells which chunk a change of chunk id results in.
func (g *Generator) resultOf(id meta.ChunkID) meta.ChunkID {
	if c, _ := g.st.Chunks.Get(id); id != 0 && c.Files == 1 {
		return id
	}
	return g.st.NextChunk
}

// chunk draws a chunk that exists, one that no file holds if unused is set.
func (g *Generator) chunk(unused bool) (meta.ChunkID, meta.Chunk) {
	var ids []meta.ChunkID
	for id, c := range g.st.Chunks.Scan(0) {
		if !unused || c.Files == 0 && c.LockedTo < g.Now {
			ids = append(ids, id)
		}
	}
	id := oneOf(g, ids, g.st.NextChunk)
	c, _ := g.st.Chunks.Get(id)
	return id, c
}

func (g *Generator) fileLength() uint64 {
	return uint64(g.n(4))<<meta.ChunkBits + uint64(g.n(3)*g.n(meta.ChunkSize))
}

func (g *Generator) classID() uint8 {
	var ids []uint8
	for id := range g.st.Classes.Scan(0) {
		ids = append(ids, id)
	}
	return oneOf(g, ids, 2)
}

func (g *Generator) labels() []meta.LabelMasks {
	list := make([]meta.LabelMasks, 1+g.n(3))
	for i := range list {
		list[i] = meta.LabelMasks{uint32(g.n(1 << 26)), uint32(g.n(2))}
	}
	return list
}

func (g *Generator) aclEntries() []meta.ACLEntry {
	list := make([]meta.ACLEntry, g.n(3))
	for i := range list {
		list[i] = meta.ACLEntry{ID: g.uid() + uint32(g.n(3)), Perm: uint16(g.n(8))}
	}
	return list
}

func (g *Generator) lockRange() (start, end uint64) {
	start = uint64(g.n(10)) * 10
	if g.chance(6) {
		return start, 1<<64 - 1
	}
	return start, start + 10 + uint64(g.n(4))*10
}

func (g *Generator) server() (at meta.Server, info meta.ServerInfo) {
	var all []meta.Server
	for at := range g.st.Servers.Scan(meta.Server{}) {
		all = append(all, at)
	}
	at = oneOf(g, all, meta.Server{IP: 0x7F000001, Port: 9422})
	info, _ = g.st.Servers.Get(at)
	return at, info
}
