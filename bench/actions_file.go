package bench

// opened is the ACQUIRE of a file that this session does not have open yet.
func opened(n *node) step {
	return func(g *generator, p *proc) {
		if bit := uint8(1) << p.session; n.open&bit == 0 {
			n.open |= bit
			g.emit("ACQUIRE", []uint64{uint64(p.session), uint64(n.inode)})
		}
	}
}

func closed(n *node) step {
	return func(g *generator, p *proc) { g.close(n, p.session) }
}

// writing appends n bytes: WRITE, LENGTH and UNLOCK for each chunk concerned.
func writing(n *node, bytes uint64) []step {
	var id uint64
	write := func(g *generator, _ *proc) {
		index := int(n.length / chunkSize)
		for len(n.chunks) <= index {
			n.chunks = append(n.chunks, 0)
		}
		id = g.modify(n.chunks[index])
		n.chunks[index] = id
		const bumpVersion, changeTimes = 1, 0
		g.emit("WRITE", []uint64{uint64(n.inode), uint64(index), bumpVersion, changeTimes}, id)
	}
	grow := func(g *generator, _ *proc) {
		end := min(n.length+bytes, (n.length/chunkSize+1)*chunkSize)
		g.setLength(n, end)
		g.emit("LENGTH", []uint64{uint64(n.inode), end, 0})
	}
	return []step{write, grow, func(g *generator, _ *proc) { g.emit("UNLOCK", []uint64{id}) }}
}

// written is what the client tells about times after writing or reading.
func written(n *node) step {
	return func(g *generator, _ *proc) {
		now := uint64(g.now)
		g.emit("AMTIME", []uint64{uint64(n.inode), now, now, now})
	}
}

func (g *generator) size() uint64 {
	if g.chance(90) {
		return 1 + g.rng.Uint64N(100_000)
	}
	return 1 + g.rng.Uint64N(chunkSize/2)
}

// makeFile is the CREATE of a regular file in a directory of the usual kind.
func (g *generator) makeFile(dir *node) *edge {
	mode := uint64(0o666)
	if g.chance(10) {
		mode = 0o600
	}
	e := g.create(dir, g.name(dir, nameForms), kindFile, typeFile, mode, 0)
	g.offer(e)
	return e
}

func (g *generator) newFile(p *proc) {
	n := g.makeFile(g.pickDir()).child
	steps := append([]step{opened(n)}, writing(n, g.size())...)
	if g.chance(20) {
		steps = append(steps, writing(n, g.size())...)
	}
	if g.chance(30) {
		steps = append(steps, written(n))
	}
	p.hold(n, append(steps, closed(n))...)
}

func (g *generator) newEmptyFile(p *proc) {
	n := g.makeFile(g.pickDir()).child
	p.hold(n, opened(n), closed(n))
}

func (g *generator) appendFile(p *proc) {
	if e := g.pickFile(); e != nil {
		g.appendTo(p, e.child)
	}
}

func (g *generator) appendTo(p *proc, n *node) {
	steps := append([]step{opened(n)}, writing(n, g.size())...)
	p.hold(n, append(steps, written(n), closed(n))...)
}

func (g *generator) readFile(p *proc) {
	if e := g.pickFile(); e != nil {
		n := e.child
		access := func(g *generator, _ *proc) { g.emit("ACCESS", []uint64{uint64(n.inode)}) }
		p.hold(n, opened(n), access, closed(n))
	}
}

// truncate cuts a file to nothing, or into its first chunk.
func (g *generator) truncate(p *proc) {
	e := g.pickFile()
	if e == nil {
		return
	}
	n := e.child
	cut := func(to uint64) step {
		return func(g *generator, _ *proc) {
			g.setLength(n, to)
			const changeTimes = 1
			g.emit("LENGTH", []uint64{uint64(n.inode), to, changeTimes})
		}
	}
	if n.length < 2 || len(n.chunks) == 0 || n.chunks[0] == 0 || g.chance(60) {
		p.hold(n, cut(0))
		return
	}
	id := g.modify(n.chunks[0])
	n.chunks[0] = id
	g.emit("TRUNC", []uint64{uint64(n.inode), 0}, id)
	unlock := func(g *generator, _ *proc) { g.emit("UNLOCK", []uint64{id}) }
	p.hold(n, unlock, cut(1+g.rng.Uint64N(min(n.length, chunkSize)-1)))
}

// lockFile takes a lock around an append, half the time the one or the other kind.
func (g *generator) lockFile(p *proc) {
	e := g.pickFile()
	if e == nil {
		return
	}
	n := e.child
	op, tail := "FLOCK", ""
	if g.chance(50) {
		op, tail = "POSIXLOCK", ",0,18446744073709551615,"
	}
	lock := func(letter byte) step {
		return func(g *generator, p *proc) {
			g.begin(op)
			g.line = appendList(g.line, []uint64{uint64(n.inode), uint64(p.session), p.owner})
			g.line = append(g.line, ',', letter)
			g.line = append(g.line, tail...)
			if tail != "" {
				pid := 2000 + uint64(p.session)
				if letter == 'U' {
					pid = 0
				}
				g.line = appendUint(g.line, pid)
			}
			g.line = append(g.line, ')')
			g.end()
		}
	}
	kind := byte('W')
	if g.chance(30) {
		kind = 'R'
	}
	steps := append([]step{opened(n), lock(kind)}, writing(n, g.size())...)
	p.hold(n, append(steps, lock('U'), closed(n))...)
}

// temporary makes a file in the scratch directory and removes its name while
// it is open: a sustained file.
func (g *generator) temporary(p *proc) {
	e := g.create(g.scratch, g.name(g.scratch, nameForms), kindFile, typeFile, 0o600, 0)
	n := e.child
	steps := append([]step{opened(n)}, writing(n, g.size())...)
	remove := func(g *generator, _ *proc) { g.remove(e) }
	if g.chance(50) {
		p.hold(n, append(append(steps, remove), closed(n))...)
		return
	}
	p.hold(n, append(append(steps, closed(n)), remove)...)
}

// saveFile is how editors save: a new file, written, is moved over the old one.
func (g *generator) saveFile(p *proc) {
	if old := g.pickFile(); old != nil {
		g.saveOver(p, old)
	}
}

func (g *generator) saveOver(p *proc, old *edge) {
	dir := old.parent
	e := g.create(dir, g.name(dir, nameForms), kindFile, typeFile, 0o666, 0)
	n := e.child
	old.child.busy++
	steps := append([]step{opened(n)}, writing(n, g.size())...)
	move := func(g *generator, _ *proc) {
		old.child.busy--
		name := old.name
		g.move(e, dir, name, old)
	}
	p.hold(n, append(steps, closed(n), move)...)
}

// appendChunks lets one file share the chunks of another one.
func (g *generator) appendChunks(*proc) {
	a, b := g.pickFile(), g.pickFile()
	if a == nil || b == nil || a.child == b.child || b.child.length == 0 || len(a.child.chunks) > 8 {
		return
	}
	dst, src := a.child, b.child
	last := int((src.length - 1) / chunkSize)
	at := int((dst.length + chunkSize - 1) / chunkSize)
	for len(dst.chunks) < at+last+1 {
		dst.chunks = append(dst.chunks, 0)
	}
	for i := range last + 1 {
		g.detach(dst.chunks[at+i])
		dst.chunks[at+i] = 0
		if i < len(src.chunks) {
			dst.chunks[at+i] = src.chunks[i]
			g.attach(src.chunks[i])
		}
	}
	dst.length = uint64(at)*chunkSize + src.length
	g.emit("APPEND", []uint64{uint64(dst.inode), uint64(src.inode), 0, uint64(last)})
}

// hot returns one of a few files, or nil.
func (g *generator) hot() *node {
	if e := g.files[g.rng.IntN(min(len(g.files), hotFiles))]; e.child.busy == 0 {
		return e.child
	}
	return nil
}

const hotFiles = 256

func (g *generator) hotAppend(p *proc) {
	if n := g.hot(); n != nil {
		g.appendTo(p, n)
	}
}

func (g *generator) hotReplace(p *proc) {
	e := g.files[g.rng.IntN(min(len(g.files), hotFiles))]
	if e.child.busy == 0 {
		g.saveOver(p, e)
	}
}

func (g *generator) hotAttr(*proc) {
	if n := g.hot(); n != nil {
		g.attr(n)
	}
}

func (g *generator) hotRead(p *proc) {
	n := g.hot()
	if n == nil {
		return
	}
	for range 4 {
		p.steps = append(p.steps, func(g *generator, _ *proc) { g.emit("ACCESS", []uint64{uint64(n.inode)}) })
	}
	p.hold(n)
}
