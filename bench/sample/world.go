package sample

import (
	"math/rand/v2"
	"slices"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// name is an edge of the tree.
type name struct {
	parent meta.Inode
	base   string
	inode  meta.Inode
}

// closing is an open file that its client will close.
type closing struct {
	session meta.SessionID
	inode   meta.Inode
	due     meta.Time
}

// world is what clients know of the state, to choose from.
type world struct {
	files   []name // names of everything but directories
	dirs    []name // without the root
	closing []closing
	bare    bool // there is nothing yet
}

// init finds everything in a loaded state.
func (w *world) init(st *meta.State, rng *rand.Rand) {
	w.bare = st.NextSession <= 1
	for parent, list := range st.Edges.Scan() {
		for _, e := range slices.Backward(list) { // oldest first: the order in which found made them
			n := name{parent, string(e.Name), e.Child}
			if e.Dir {
				w.dirs = append(w.dirs, n)
			} else {
				w.files = append(w.files, n)
			}
		}
	}
	for s, ino := range st.Open.Scan() {
		w.closing = append(w.closing, closing{session: s, inode: ino})
	}
	rng.Shuffle(len(w.closing), func(i, j int) { w.closing[i], w.closing[j] = w.closing[j], w.closing[i] })
}

const (
	sessions    = 4
	homeDirs    = 12 // direct children of the root; the first has a trash
	openSeconds = 3  // for which a client keeps a file open, about
)

// found makes sessions and the first directories.
func (p *Primary) found() {
	for i := range sessions {
		p.emit(&changelog.SesAdd{SessionData: changelog.SessionData{
			ExportsSum: 11824373388697070094, Root: meta.Root, Flags: 1, RootUID: 0, RootGID: 0, MapUID: 999, MapGID: 999,
			MinGoal: 1, MaxGoal: 9, MaxTrash: 1<<32 - 1, Peer: 0x0A000010 + uint32(i), Info: []byte("/mnt/mfs"),
		}, Session: p.st.NextSession})
	}
	// Without a trash for most: what is removed there waits for an hour.
	p.emit(&changelog.SetTrashTime{Inode: meta.Root, Counts: changelog.Counts{Changed: 1}})
	for i := range homeDirs {
		p.makeDir(meta.Root, homeNames[i])
	}
	p.emit(&changelog.SetTrashTime{Inode: p.dirs[0].inode, TrashTime: 3600, Counts: changelog.Counts{Changed: 1}})
}

var homeNames = [homeDirs]string{"archive", "build", "data", "home", "incoming", "jobs", "logs", "media", "models", "projects", "results", "scratch"}

var (
	stems = []string{"report", "model", "frame", "index", "segment", "notes", "result", "sensor", "photo", "draft", "build", "trace"}
	ends  = []string{".txt", ".dat", ".log", ".bin", ".csv", ".json", ".tmp", "", ".jpg", ".tar.gz"}
)

// choose picks any element.
func choose[T any](p *Primary, list []T) T { return list[p.rng.IntN(len(list))] }

// dir picks a directory; the one with a trash seldom.
func (p *Primary) dir() meta.Inode {
	d := choose(p, p.dirs)
	if d == p.dirs[0] && p.rng.IntN(4) > 0 {
		d = choose(p, p.dirs)
	}
	return d.inode
}

// newName is a name that was never used: a version comes once only.
func (p *Primary) newName() string {
	stem := append([]byte(choose(p, stems)), '-')
	return string(appendNumber(stem, uint64(p.Version()))) + choose(p, ends)
}

// drop takes element i out of a list whose order does not matter.
func drop(list []name, i int) []name {
	list[i] = list[len(list)-1]
	return list[:len(list)-1]
}

// timers does what a master does by itself each second.
func (p *Primary) timers() {
	if p.bare {
		p.bare = false
		p.found()
	}
	p.closeFiles()
	p.emptyTrash(uint32(p.now) % meta.TrashBuckets)
	p.emptySustained(uint32(p.now) % meta.SustainedBuckets)
	if p.now%5 == 0 {
		p.deleteChunks()
	}
	if p.now%30 == 0 {
		p.freeInodes()
	}
}

func (p *Primary) closeFiles() {
	kept := p.closing[:0]
	for _, c := range p.closing {
		if c.due > p.now {
			kept = append(kept, c)
		} else if p.st.Open.Has(c.session, c.inode) {
			p.emit(&changelog.Release{Session: c.session, Inode: c.inode})
		}
	}
	p.closing = kept
}

func (p *Primary) emptyTrash(bucket uint32) {
	op := &changelog.EmptyTrash{Bucket: bucket}
	for _, ino := range p.st.Detached.Bucket(meta.TypeTrash, bucket) {
		n, _ := p.st.Nodes.Get(ino)
		if uint64(max(n.Atime, n.Mtime, n.Ctime))+uint64(n.TrashHours)*3600 >= uint64(p.now) {
			continue
		}
		op.InodeXor ^= uint32(ino)
		if p.st.Open.Any(ino) {
			op.Sustained++
		} else {
			op.Freed++
		}
	}
	if op.Freed+op.Sustained > 0 {
		p.emit(op)
	}
}

func (p *Primary) emptySustained(bucket uint32) {
	op := &changelog.EmptySustained{Bucket: bucket}
	for _, ino := range p.st.Detached.Bucket(meta.TypeSustained, bucket) {
		if !p.st.Open.Any(ino) {
			op.InodeXor ^= uint32(ino)
			op.Freed++
		}
	}
	if op.Freed > 0 {
		p.emit(op)
	}
}

// deleteChunks tells the end of chunks that no file holds.
func (p *Primary) deleteChunks() {
	var ops []*changelog.ChunkDel
	for id, c := range p.st.Chunks.Scan(0) {
		if c.Files == 0 && c.LockedTo < p.now {
			ops = append(ops, &changelog.ChunkDel{Chunk: id, ChunkVersion: c.Version})
		}
	}
	for _, op := range ops {
		p.emit(op)
	}
}

// reuseDelay is the shortest that a master allows, in seconds.
const reuseDelay = 300

func (p *Primary) freeInodes() {
	op := &changelog.FreeInodes{Delay: reuseDelay}
	for f := range p.st.Inodes.ScanFree() {
		if f.Freed+reuseDelay >= p.now || p.st.Open.Any(f.Inode) {
			break
		}
		op.Freed++
		op.InodeXor ^= uint32(f.Inode)
	}
	if op.Freed > 0 {
		p.emit(op)
	}
}
