package sample

import (
	"strconv"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// action is one thing that a client does, with how often it does it.
type action struct {
	weight int
	run    func(*Primary)
}

func actions() []action {
	return []action{
		{300, (*Primary).newFile}, {150, (*Primary).appendFile}, {120, (*Primary).readFile}, {230, (*Primary).unlink},
		{60, (*Primary).replaceFile}, {50, (*Primary).rename}, {60, (*Primary).changeAttr}, {40, (*Primary).touch},
		{30, (*Primary).setXattr}, {20, (*Primary).symlink}, {15, (*Primary).link}, {25, (*Primary).truncate},
		{20, (*Primary).lockBytes}, {12, (*Primary).newDir}, {10, (*Primary).removeDir},
	}
}

var (
	clientActions = actions()
	totalWeight   = weigh(clientActions)
)

func weigh(list []action) (sum int) {
	for _, a := range list {
		sum += a.weight
	}
	return sum
}

// act lets a client do something and returns how many entries that took.
func (p *Primary) act() int {
	before := p.next.Load()
	n := p.rng.IntN(totalWeight)
	for _, a := range clientActions {
		if n -= a.weight; n < 0 {
			a.run(p)
			break
		}
	}
	return max(int(p.next.Load()-before), 1)
}

func appendNumber(b []byte, n uint64) []byte { return strconv.AppendUint(b, n, 10) }

func (p *Primary) session() meta.SessionID { return meta.SessionID(1 + p.rng.IntN(sessions)) }

func (p *Primary) uid() uint32 { return 1000 + uint32(p.rng.IntN(8)) }

// alloc is the inode number that the next new node gets.
func (p *Primary) alloc() meta.Inode { return p.st.Inodes.(*inodes).peek() }

// pick chooses a name of a node with the type wanted; -1 if luck has it.
func (p *Primary) pick(want meta.Type) int {
	for range 4 {
		if len(p.files) == 0 {
			return -1
		}
		i := p.rng.IntN(len(p.files))
		if n, ok := p.st.Nodes.Get(p.files[i].inode); ok && n.Type == want {
			return i
		}
	}
	return -1
}

// openFile opens a file for some seconds and returns by which session.
func (p *Primary) openFile(ino meta.Inode) meta.SessionID {
	s := p.session()
	if !p.st.Open.Has(s, ino) {
		p.emit(&changelog.Acquire{Session: s, Inode: ino})
		p.closing = append(p.closing, closing{s, ino, p.now + meta.Time(p.rng.IntN(2*openSeconds))})
	}
	return s
}

func (p *Primary) create(parent meta.Inode, base string, t meta.Type, mode uint16) name {
	n := name{parent, base, p.alloc()}
	p.emit(&changelog.Create{Parent: parent, Base: []byte(base), Type: t, Mode: mode, Umask: 0o022, UID: p.uid(), GID: 100, Inode: n.inode})
	return n
}

func (p *Primary) makeDir(parent meta.Inode, base string) {
	p.dirs = append(p.dirs, p.create(parent, base, meta.TypeDir, 0o777))
}

// newFile makes a file and mostly writes to it.
func (p *Primary) newFile() {
	if len(p.files) >= p.cfg.Files {
		p.unlink()
		return
	}
	n := p.create(p.dir(), p.newName(), meta.TypeFile, 0o666)
	p.files = append(p.files, n)
	p.openFile(n.inode)
	if p.rng.IntN(8) > 0 {
		p.write(n.inode, 0, uint64(1+p.rng.IntN(4<<20)))
	}
}

// write writes length bytes at offset from.
func (p *Primary) write(ino meta.Inode, from, length uint64) {
	end := from + length
	for index := uint32(from >> meta.ChunkBits); uint64(index)<<meta.ChunkBits < end; index++ {
		n, _ := p.st.Nodes.Get(ino)
		id := p.writeChunk(p.st.Slot(ino, &n, index))
		p.emit(&changelog.Write{Inode: ino, Index: index, OpFlag: 1, CanModMtime: 1, Chunk: id})
		length := min(end, uint64(index+1)<<meta.ChunkBits)
		p.emit(&changelog.Length{Inode: ino, Length: max(length, n.Length), CanModMtime: 1})
		p.emit(&changelog.Unlock{Chunk: id})
	}
}

// writeChunk is the chunk that writing to chunk id leads to.
func (p *Primary) writeChunk(id meta.ChunkID) meta.ChunkID {
	if c, ok := p.st.Chunks.Get(id); ok && c.Files == 1 {
		return id
	}
	return p.st.NextChunk
}

func (p *Primary) appendFile() {
	i := p.pick(meta.TypeFile)
	if i < 0 {
		return
	}
	ino := p.files[i].inode
	n, _ := p.st.Nodes.Get(ino)
	more := uint64(1 + p.rng.IntN(1<<20))
	if p.rng.IntN(200) == 0 {
		more += 2 * meta.ChunkSize
	}
	if n.Length < 4*meta.ChunkSize {
		p.openFile(ino)
		p.write(ino, n.Length, more)
	}
}

func (p *Primary) readFile() {
	if i := p.pick(meta.TypeFile); i >= 0 {
		p.openFile(p.files[i].inode)
		p.emit(&changelog.Access{Inode: p.files[i].inode})
	}
}

func (p *Primary) unlink() {
	if len(p.files) < p.cfg.Files/2 {
		return // the tree is to grow first
	}
	i := p.rng.IntN(len(p.files))
	n := p.files[i]
	p.files = drop(p.files, i)
	p.emit(&changelog.Unlink{Parent: n.parent, Base: []byte(n.base), Inode: n.inode})
}

// replaceFile saves a file as editors do: a new one is renamed over it.
func (p *Primary) replaceFile() {
	i := p.pick(meta.TypeFile)
	if i < 0 {
		return
	}
	old := &p.files[i]
	n := p.create(old.parent, p.newName()+"~", meta.TypeFile, 0o666)
	p.openFile(n.inode)
	p.write(n.inode, 0, uint64(1+p.rng.IntN(1<<20)))
	p.emit(&changelog.Move{SrcParent: n.parent, SrcBase: []byte(n.base), DstParent: old.parent, DstBase: []byte(old.base), Inode: n.inode})
	old.inode = n.inode
}

func (p *Primary) rename() {
	if len(p.files) == 0 {
		return
	}
	n := &p.files[p.rng.IntN(len(p.files))]
	to, base := p.dir(), p.newName()
	p.emit(&changelog.Move{SrcParent: n.parent, SrcBase: []byte(n.base), DstParent: to, DstBase: []byte(base), Inode: n.inode})
	n.parent, n.base = to, base
}

func (p *Primary) changeAttr() {
	if len(p.files) == 0 {
		return
	}
	ino := choose(p, p.files).inode
	n, _ := p.st.Nodes.Get(ino)
	mode := n.Mode ^ 0o020
	p.emit(&changelog.Attr{Inode: ino, Mode: mode, UID: p.uid(), GID: n.GID, Atime: n.Atime, Mtime: n.Mtime, ACLMode: mode})
}

// touch is what a client reports of times that it kept for itself.
func (p *Primary) touch() {
	if i := p.pick(meta.TypeFile); i >= 0 {
		p.emit(&changelog.AMTime{Inode: p.files[i].inode, Atime: p.now, Mtime: p.now - 1, Ctime: p.now})
	}
}

func (p *Primary) setXattr() {
	if i := p.pick(meta.TypeFile); i >= 0 {
		value := appendNumber([]byte("checked:"), uint64(p.now))
		p.emit(&changelog.SetXattr{Inode: p.files[i].inode, Attr: []byte("user.state"), Value: value})
	}
}

func (p *Primary) symlink() {
	if len(p.files) == 0 || len(p.files) >= p.cfg.Files {
		return
	}
	n := name{p.dir(), p.newName(), p.alloc()}
	p.emit(&changelog.Symlink{Parent: n.parent, Base: []byte(n.base), Target: []byte("../" + choose(p, p.files).base), UID: p.uid(), GID: 100, Inode: n.inode})
	p.files = append(p.files, n)
}

func (p *Primary) link() {
	i := p.pick(meta.TypeFile)
	if i < 0 || len(p.files) >= p.cfg.Files {
		return
	}
	n := name{p.dir(), p.newName(), p.files[i].inode}
	p.emit(&changelog.Link{Inode: n.inode, Parent: n.parent, Base: []byte(n.base)})
	p.files = append(p.files, n)
}

// truncate empties a file, as the start of writing it anew.
func (p *Primary) truncate() {
	if i := p.pick(meta.TypeFile); i >= 0 {
		ino := p.files[i].inode
		p.emit(&changelog.Length{Inode: ino, CanModMtime: 1})
		p.openFile(ino)
		p.write(ino, 0, uint64(1+p.rng.IntN(1<<20)))
	}
}

// lockBytes takes and gives back a lock of some bytes.
func (p *Primary) lockBytes() {
	i := p.pick(meta.TypeFile)
	if i < 0 {
		return
	}
	ino := p.files[i].inode
	if _, held := p.st.Plocks.Get(ino); held {
		return
	}
	op := changelog.PosixLock{Inode: ino, Session: p.openFile(ino), Owner: uint64(p.rng.Uint32()), Kind: changelog.LockWrite, Start: 0, End: 4096, PID: 4242}
	p.emit(&op)
	free := op
	free.Kind, free.PID = changelog.LockUnlock, 0
	p.emit(&free)
}

// maxDirs keeps the tree readable.
const maxDirs = 200

func (p *Primary) newDir() {
	if len(p.dirs) < maxDirs {
		p.makeDir(p.dir(), "set-"+string(appendNumber(nil, uint64(p.Version()))))
	}
}

func (p *Primary) removeDir() {
	if len(p.dirs) <= homeDirs {
		return
	}
	i := homeDirs + p.rng.IntN(len(p.dirs)-homeDirs)
	d := p.dirs[i]
	if rec, ok := p.st.Dirs.Get(d.inode); !ok || rec.Elements > 0 || d.parent == meta.Root {
		return
	}
	p.dirs = drop(p.dirs, i)
	p.emit(&changelog.Unlink{Parent: d.parent, Base: []byte(d.base), Inode: d.inode})
}
