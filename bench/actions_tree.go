package bench

const (
	uidRoot = 0
	setMode = 0 // SMODE_SET of the recursive tools
)

func (g *generator) newDir(*proc) {
	parent := g.pickDir()
	g.offerDir(g.makeDir(parent, g.name(parent, dirForms)).child)
}

func (g *generator) newSymlink(*proc) {
	dir := g.pickDir()
	e := g.newNode(dir, g.name(dir, nameForms), kindOther)
	g.begin("SYMLINK")
	g.line = appendUint(g.line, dir.inode)
	g.line = append(g.line, ',')
	g.line = appendEscaped(g.line, e.name)
	g.line = append(g.line, ",../shared/"...)
	g.line = appendEscaped(g.line, e.name)
	g.line = append(g.line, ',')
	g.line = appendList(g.line, []uint64{g.uid(), 100})
	g.line = append(g.line, "):"...)
	g.line = appendUint(g.line, e.child.inode)
	g.end()
}

func (g *generator) newSpecial(*proc) {
	dir := g.pickDir()
	typ := uint64(typeFIFO)
	if g.chance(40) {
		typ = typeSock
	}
	g.create(dir, g.name(dir, nameForms), kindOther, typ, 0o666, 0)
}

func (g *generator) newLink(*proc) {
	e := g.pickFile()
	if e == nil || len(e.child.edges) > 4 {
		return
	}
	dir := g.pickDir()
	name := g.name(dir, nameForms)
	g.offer(g.link(dir, e.child, name))
	g.begin("LINK")
	g.line = appendList(g.line, []uint64{uint64(e.child.inode), uint64(dir.inode)})
	g.line = append(g.line, ',')
	g.line = appendEscaped(g.line, name)
	g.line = append(g.line, ')')
	g.end()
}

// remove is UNLINK, of a file or an empty directory.
func (g *generator) remove(e *edge) {
	g.begin("UNLINK")
	g.line = appendUint(g.line, e.parent.inode)
	g.line = append(g.line, ',')
	g.line = appendEscaped(g.line, e.name)
	g.line = append(g.line, "):"...)
	g.line = appendUint(g.line, e.child.inode)
	g.end()
	g.drop(e)
}

func (g *generator) unlinkFile(*proc) {
	if e := g.pickFile(); e != nil {
		g.remove(e)
	}
}

// removeTree removes what is in a directory, entry by entry, then itself.
func (g *generator) removeTree(p *proc) {
	d := g.pickDir()
	if d == g.root || d == g.scratch || d.subdirs > 0 || len(g.dirs) < 16 {
		return
	}
	g.withdrawDir(d)
	var next step
	next = func(g *generator, p *proc) {
		for i := len(d.entries) - 1; i >= 0; i-- {
			if e := d.entries[i]; e.child.busy == 0 {
				g.remove(e)
				p.steps = append(p.steps, next)
				return
			}
		}
		if len(d.entries) > 0 { // something in it is in use
			g.offerDir(d)
			return
		}
		g.remove(d.edges[0])
	}
	p.steps = append(p.steps, next)
}

// move is MOVE of a name to dir/name; over is what has that name, or nil.
func (g *generator) move(e *edge, dir *node, name string, over *edge) {
	n := e.child
	offered := e.index >= 0 || over != nil && over.index >= 0
	g.begin("MOVE")
	g.line = appendUint(g.line, e.parent.inode)
	g.line = append(g.line, ',')
	g.line = appendEscaped(g.line, e.name)
	g.line = append(g.line, ',')
	g.line = appendUint(g.line, dir.inode)
	g.line = append(g.line, ',')
	g.line = appendEscaped(g.line, name)
	g.line = append(g.line, "):"...)
	g.line = appendUint(g.line, n.inode)
	g.end()
	if over != nil {
		g.drop(over)
	}
	g.unlink(e)
	if moved := g.link(dir, n, name); offered {
		g.offer(moved)
	}
}

func (g *generator) rename(*proc) {
	e := g.pickFile()
	if e == nil {
		return
	}
	dir := e.parent
	if dir.index < 0 || g.chance(40) {
		dir = g.pickDir()
	}
	g.move(e, dir, g.name(dir, nameForms), nil)
}

func (g *generator) moveDir(*proc) {
	d, to := g.pickDir(), g.pickDir()
	if d == g.root || d == g.scratch || d.subdirs > 0 || d == to {
		return
	}
	g.move(d.edges[0], to, g.name(to, dirForms), nil)
}

func (g *generator) readDir(*proc) {
	g.emit("ACCESS", []uint64{uint64(g.pickDir().inode)})
}

func (g *generator) changeAttr(*proc) {
	if e := g.pickFile(); e != nil {
		g.attr(e.child)
	}
}

func (g *generator) attr(n *node) {
	modes := []uint64{0o644, 0o600, 0o755, 0o664, 0o4755, 0o2750}
	mode := modes[g.rng.IntN(len(modes))]
	aclMode := uint64(0)
	if n.hasACL {
		aclMode = 4096 | mode&0o777
	}
	past := uint64(g.now) - g.rng.Uint64N(10_000_000)
	g.emit("ATTR", []uint64{uint64(n.inode), mode, g.uid(), 100, uint64(g.now), past, 0, aclMode})
}

func (g *generator) setXattr(*proc) {
	e := g.pickFile()
	if e == nil {
		return
	}
	names := []string{"user.mime", "user.checksum", "security.label", "user.a,b"}
	value := make([]byte, 4+g.rng.IntN(40))
	for i := range value {
		value[i] = byte(g.rng.Uint32())
	}
	g.begin("SETXATTR")
	g.line = appendUint(g.line, e.child.inode)
	g.line = append(g.line, ',')
	g.line = appendEscaped(g.line, names[g.rng.IntN(len(names))])
	g.line = append(g.line, ',')
	g.line = appendEscaped(g.line, value)
	g.line = append(g.line, ",0)"...) // create or replace
	g.end()
}

func (g *generator) setACL(*proc) {
	e := g.pickFile()
	if e == nil {
		return
	}
	e.child.hasACL = true
	const changeTime, access, users, groups = 1, 1, 1, 0
	g.begin("SETACL")
	g.line = appendList(g.line, []uint64{uint64(e.child.inode), 0o640, changeTime, access, 6, 4, 0, 6, users, groups})
	g.line = append(g.line, ',')
	uid := g.uid()
	g.line = appendEscaped(g.line, []byte{0, 0, byte(uid >> 8), byte(uid), 0, 6})
	g.line = append(g.line, ')')
	g.end()
}

// tool writes what a recursive tool logs for one node, which changed or not.
func (g *generator) tool(op string, n *node, changed bool, args ...uint64) {
	one, other := uint64(1), uint64(0)
	if !changed {
		one, other = 0, 1
	}
	g.emit(op, append([]uint64{uint64(n.inode), uidRoot}, args...), one, other, 0)
}

func (g *generator) setEattr(*proc) {
	if e := g.pickFile(); e != nil {
		const noDataCache, increase = 8, 1
		n := e.child
		g.tool("SETEATTR", n, n.eattr&noDataCache == 0, noDataCache, increase)
		n.eattr |= noDataCache
	}
}

func (g *generator) setTrashTime(*proc) {
	if e := g.pickFile(); e != nil {
		n, hours := e.child, uint16(g.rng.IntN(3))
		g.tool("SETTRASHTIME", n, n.trash != hours, uint64(hours)*3600, setMode)
		n.trash = hours
	}
}

func (g *generator) setClass(*proc) {
	if e := g.pickFile(); e != nil {
		n, class := e.child, uint8(1+g.rng.IntN(3))
		g.tool("SETSCLASS", n, n.class != class, uint64(class), uint64(class), setMode)
		n.class = class
	}
}

// setQuota sets limits that are never reached, so that no QUOTA entry of the
// master's own follows.
func (g *generator) setQuota(*proc) {
	const far = 1 << 50
	const inodesAndLength = 0x33
	d := g.pickDir()
	g.emit("QUOTA", []uint64{uint64(d.inode), 0, inodesAndLength, 0, 1 << 31, 1<<31 + 1, far, far + 1, 0, 0, 0, 0, 86400})
}

// pickTrashed returns a file that is in trash, or nil.
func (g *generator) pickTrashed() *node {
	if len(g.trashed) == 0 {
		return nil
	}
	if n := g.trashed[g.rng.IntN(len(g.trashed))]; n.state == inTrash && n.busy == 0 {
		return n
	}
	return nil
}

func (g *generator) purge(*proc) {
	n := g.pickTrashed()
	if n == nil {
		return
	}
	g.emit("PURGE", []uint64{uint64(n.inode)})
	if n.open != 0 {
		g.sustain(n)
		return
	}
	g.destroy(n)
}

func (g *generator) setPath(*proc) {
	n := g.pickTrashed()
	if n == nil {
		return
	}
	g.begin("SETPATH")
	g.line = appendUint(g.line, n.inode)
	g.line = append(g.line, ",restored/file "...)
	g.line = appendUint(g.line, n.inode)
	g.line = append(g.line, ')')
	g.end()
}
