package bench

// action is one thing a process does: it writes its first entry at once and
// leaves the rest as steps. It writes nothing if there is no fitting file.
type action struct {
	weight int
	run    func(*generator, *proc)
}

// actionsOf returns the operations of a mix by weight.
func actionsOf(m Mix) []action {
	switch m {
	case Create:
		return []action{
			{70, (*generator).newFile}, {14, (*generator).newEmptyFile}, {3, (*generator).newDir},
			{2, (*generator).newSymlink}, {1, (*generator).newLink}, {4, (*generator).readFile},
			{3, (*generator).changeAttr}, {1, (*generator).setXattr}, {2, (*generator).rename},
		}
	case Hot:
		return []action{
			{40, (*generator).hotAppend}, {20, (*generator).hotReplace}, {15, (*generator).hotAttr},
			{10, (*generator).hotRead}, {8, (*generator).lockFile}, {7, (*generator).temporary},
		}
	case Snapshot:
		return []action{
			{60, (*generator).newFile}, {8, (*generator).newDir}, {60, (*generator).appendFile},
			{4, (*generator).takeSnapshot}, {3, (*generator).retakeSnapshot}, {2, (*generator).removeSnapshot},
			{20, (*generator).unlinkFile}, {4, (*generator).newLink}, {4, (*generator).rename},
			{2, (*generator).appendChunks}, {3, (*generator).newSymlink},
		}
	case Delete:
		return []action{
			{50, (*generator).newFile}, {20, (*generator).newEmptyFile}, {5, (*generator).newDir},
			{40, (*generator).unlinkFile}, {5, (*generator).removeTree}, {12, (*generator).temporary},
			{4, (*generator).newLink}, {2, (*generator).purge}, {1, (*generator).setPath},
			{3, (*generator).newSymlink}, {4, (*generator).truncate},
		}
	}
	return []action{
		{260, (*generator).newFile}, {60, (*generator).newEmptyFile}, {25, (*generator).newDir},
		{120, (*generator).appendFile}, {120, (*generator).readFile}, {20, (*generator).readDir},
		{50, (*generator).changeAttr}, {90, (*generator).unlinkFile}, {40, (*generator).rename},
		{60, (*generator).saveFile}, {40, (*generator).temporary}, {12, (*generator).newLink},
		{20, (*generator).newSymlink}, {5, (*generator).newSpecial}, {15, (*generator).setXattr},
		{6, (*generator).setACL}, {15, (*generator).truncate}, {15, (*generator).lockFile},
		{6, (*generator).removeTree}, {1, (*generator).takeSnapshot}, {1, (*generator).retakeSnapshot},
		{1, (*generator).removeSnapshot}, {3, (*generator).setEattr}, {3, (*generator).setTrashTime},
		{3, (*generator).setClass}, {1, (*generator).setQuota}, {2, (*generator).appendChunks},
		{4, (*generator).purge}, {1, (*generator).setPath}, {4, (*generator).moveDir},
	}
}

// start makes the sessions and the first directories.
func (g *generator) start() {
	for id := uint64(1); id <= 2; id++ {
		const rights = ",1,8,0000,0,0,999,999,1,9,0,4294967295,0x00000000,"
		g.begin("SESADD")
		g.line = append(g.line, "#11824373388697070094"+rights...)
		g.line = appendUint(g.line, 0x0A4E0000+id) // address of the client
		g.line = append(g.line, ",/mnt/mfs):"...)
		g.line = appendUint(g.line, id)
		g.end()
	}
	const hours, set = 1, 0
	g.emit("SETTRASHTIME", []uint64{rootInode, 0, hours * 3600, set}, 1, 0, 0)
	g.root.trash = hours
	g.snapRoot = g.makeDir(g.root, "snapshots").child
	g.scratch = g.makeDir(g.root, "scratch").child
	g.emit("SETTRASHTIME", []uint64{uint64(g.scratch.inode), 0, 0, set}, 1, 0, 0)
	g.scratch.trash = 0
	g.offerDir(g.scratch)
	for range 16 {
		g.offerDir(g.makeDir(g.root, g.name(g.root, dirForms)).child)
	}
	if g.opts.Mix == Hot {
		for range hotFiles {
			g.makeFile(g.dirs[2+g.rng.IntN(4)]) // a few large directories
		}
	}
}

// create writes CREATE and makes the node. kind letters are the master's types.
func (g *generator) create(parent *node, name string, k kind, typ, mode, rdev uint64) *edge {
	e := g.newNode(parent, name, k)
	g.begin("CREATE")
	g.line = appendUint(g.line, parent.inode)
	g.line = append(g.line, ',')
	g.line = appendEscaped(g.line, name)
	g.line = append(g.line, ',')
	g.line = appendList(g.line, []uint64{typ, mode, 0o022, g.uid(), 100, rdev})
	g.line = append(g.line, "):"...)
	g.line = appendUint(g.line, e.child.inode)
	g.end()
	return e
}

const (
	typeFile = 1
	typeDir  = 2
	typeFIFO = 4
	typeSock = 7
)

func (g *generator) makeDir(parent *node, name string) *edge {
	return g.create(parent, name, kindDir, typeDir, 0o777, 0)
}

func (g *generator) uid() uint64 { return uint64(1000 + g.rng.IntN(20)) }

func (g *generator) chance(percent int) bool { return g.rng.IntN(100) < percent }

// pickDir prefers young directories a little, as work does.
func (g *generator) pickDir() *node {
	n := len(g.dirs)
	if g.chance(50) {
		return g.dirs[n-1-g.rng.IntN(min(n, 64))]
	}
	return g.dirs[g.rng.IntN(n)]
}

// pickFile returns the name of a file that no steps wait for, or nil.
func (g *generator) pickFile() *edge {
	for range 4 {
		if len(g.files) == 0 {
			return nil
		}
		e := g.files[g.rng.IntN(len(g.files))]
		if e.child.busy == 0 {
			return e
		}
	}
	return nil
}

// hold keeps the file as it is until the steps are done.
func (p *proc) hold(n *node, steps ...step) {
	n.busy++
	p.steps = append(p.steps, steps...)
	p.steps = append(p.steps, func(*generator, *proc) { n.busy-- })
}
