//go:build e2e

package crash

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	blockSize  = 4096
	sectorSize = 512
	rootNode   = 1
)

type block [blockSize]byte

// disk is a file system in memory that knows what a loss of power leaves: of
// each file the content at its last sync, of each directory the names at its.
type disk struct {
	// strict lets a name become durable only when its directory is synced, as
	// POSIX has it. Otherwise the sync of a file also makes its name and those of
	// the directories above it durable, as the journals of ext4, XFS and btrfs
	// do; they do more, but only this is relied on.
	strict bool

	// stall is how long the disk thinks about the sync of a stream's file, while
	// it goes on with others. It shows what should have waited for that.
	stall time.Duration

	mu      sync.Mutex
	nodes   map[uint64]*node
	last    uint64   // node made
	pending []change // of names, not durable yet, oldest first
	left    int      // syncs until the power goes; 0: it does not by itself
	late    bool     // it goes after that sync, not before
	cut     func()   // called when it goes
	off     bool     // nothing becomes durable any more
}

// node is a file, a directory or a socket.
type node struct {
	mode  uint32
	mtime time.Time
	above uint64 // the directory that it was put into last

	size   int64
	blocks map[int64]*block // absent: zeros

	synced int64            // size at the last sync
	undo   map[int64]*block // what blocks written since then held at it; nil: zeros

	names   map[string]uint64 // of a directory
	durable map[string]uint64

	refs int // names, durable names, pending changes, open files
}

// change is what one call does to names; it becomes durable as a whole.
type change []edit

// edit sets a name to a node, or removes it from one.
type edit struct {
	dir      uint64
	name     string
	was, now uint64 // 0: none
}

func newDisk(strict bool) *disk {
	d := &disk{strict: strict, nodes: map[uint64]*node{}, last: rootNode}
	d.nodes[rootNode] = newNode(unix.S_IFDIR|0o755, rootNode)
	d.nodes[rootNode].refs = 1
	return d
}

// stalls tells whether syncs of a file take d.stall.
func (d *disk) stalls(id uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nodes[id]
	for name, child := range d.nodes[n.above].names {
		if child == id {
			return d.stall > 0 && strings.HasSuffix(name, ".blk")
		}
	}
	return false
}

func newNode(mode uint32, above uint64) *node {
	return &node{
		mode: mode, mtime: time.Now(), above: above, blocks: map[int64]*block{}, undo: map[int64]*block{},
		names: map[string]uint64{}, durable: map[string]uint64{},
	}
}

func (d *disk) ref(id uint64, n int) {
	f := d.nodes[id]
	if f == nil {
		return
	}
	if f.refs += n; f.refs == 0 {
		delete(d.nodes, id)
		for _, child := range f.durable {
			d.ref(child, -1)
		}
	}
}

// edit changes names now; they become durable later.
func (d *disk) edit(c change) {
	for _, e := range c {
		dir := d.nodes[e.dir]
		dir.mtime = time.Now()
		if e.now != 0 {
			d.ref(e.now, 2) // the name and the pending change
			d.nodes[e.now].above = e.dir
			dir.names[e.name] = e.now
		} else {
			delete(dir.names, e.name)
		}
		d.ref(e.dir, 1)
		d.ref(e.was, -1)
	}
	d.pending = append(d.pending, c)
}

// settle makes a pending change durable.
func (d *disk) settle(c change) {
	for _, e := range c {
		names := d.nodes[e.dir].durable
		switch old := names[e.name]; {
		case e.now != 0:
			d.ref(e.now, 1)
			names[e.name] = e.now
			d.ref(old, -1)
		case old == e.was:
			delete(names, e.name)
			d.ref(old, -1)
		}
		if e.now != 0 {
			d.ref(e.now, -1)
		}
	}
	for _, e := range c {
		d.ref(e.dir, -1)
	}
}

// settleIf makes the pending changes durable that have an edit for which want
// holds, and those before them of the same names.
func (d *disk) settleIf(want func(edit) bool) {
	type place struct {
		dir  uint64
		name string
	}
	needed, chosen := map[place]bool{}, make([]bool, len(d.pending))
	for i, c := range slices.Backward(d.pending) {
		for _, e := range c {
			chosen[i] = chosen[i] || want(e) || needed[place{e.dir, e.name}]
		}
		for _, e := range c {
			if chosen[i] {
				needed[place{e.dir, e.name}] = true
			}
		}
	}
	rest := d.pending[:0]
	for i, c := range d.pending {
		if chosen[i] {
			d.settle(c)
		} else {
			rest = append(rest, c)
		}
	}
	clear(d.pending[len(rest):])
	d.pending = rest
}

// sync makes a file or the names in a directory durable.
func (d *disk) sync(id uint64) {
	if d.goes() {
		return
	}
	n := d.nodes[id]
	n.synced = n.size
	clear(n.undo)
	if n.mode&unix.S_IFMT == unix.S_IFDIR {
		d.settleIf(func(e edit) bool { return e.dir == id })
	}
	if !d.strict {
		above := map[uint64]bool{}
		for ; id != rootNode && !above[id]; id = d.nodes[id].above {
			above[id] = true
			if d.nodes[id] == nil {
				break
			}
		}
		d.settleIf(func(e edit) bool { return above[e.now] })
	}
	d.went()
}

// goes tells whether the power is off, and turns it off when it is time.
func (d *disk) goes() bool {
	if d.off {
		return true
	}
	if d.left > 0 {
		d.left--
		if d.left == 0 && !d.late {
			d.turnOff()
			return true
		}
	}
	return false
}

func (d *disk) went() {
	if d.left == 0 && d.late {
		d.turnOff()
	}
}

func (d *disk) turnOff() {
	d.off, d.late = true, false
	if d.cut != nil {
		d.cut()
	}
}

// cutAt lets the power go before or after the n-th sync from now on.
func (d *disk) cutAt(n int, late bool, cut func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.late, d.cut = n, late, cut
}

// isOff tells whether the power went.
func (d *disk) isOff() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off
}

// reach says what of that which was not synced is on the disk all the same.
type reach int

const (
	reachNothing reach = iota
	reachSome          // any of it, in any order, blocks also in part
	reachAll
)

// powerLoss leaves what the disk holds after a loss of power, on again.
func (d *disk) powerLoss(r reach, rnd *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	switch r {
	case reachSome:
		n = rnd.IntN(len(d.pending) + 1)
	case reachAll:
		n = len(d.pending)
	}
	for _, c := range d.pending[:n] {
		d.settle(c)
	}
	d.pending, d.left, d.late, d.cut, d.off = nil, 0, false, nil, false
	found := map[uint64]*node{}
	d.restore(rootNode, found, r, rnd)
	d.nodes = found
}

// restore sets a node, and those below it, to what is durable.
func (d *disk) restore(id uint64, found map[uint64]*node, r reach, rnd *rand.Rand) {
	n := d.nodes[id]
	if found[id] != nil {
		return
	}
	found[id] = n
	n.refs = 1
	n.restore(r, rnd)
	n.names = map[string]uint64{}
	for name, child := range n.durable {
		n.names[name] = child
		d.restore(child, found, r, rnd)
		found[child].refs++
		found[child].above = id
	}
}

func (n *node) restore(r reach, rnd *rand.Rand) {
	size := n.synced
	if r == reachAll || r == reachSome && rnd.IntN(2) == 0 {
		size = n.size
	}
	for i, old := range n.undo {
		switch now := n.blocks[i]; {
		case r == reachAll, r == reachSome && rnd.IntN(3) == 0:
		case r == reachSome && rnd.IntN(3) == 0:
			n.blocks[i] = tear(old, now, rnd)
		case old == nil:
			delete(n.blocks, i)
		default:
			n.blocks[i] = old
		}
	}
	n.size = max(n.size, n.synced)
	n.truncate(size)
	n.synced = size
	clear(n.undo)
}

// tear mixes the sectors of two states of a block.
func tear(old, now *block, rnd *rand.Rand) *block {
	var mixed block
	for at := 0; at < blockSize; at += sectorSize {
		from := old
		if rnd.IntN(2) == 0 {
			from = now
		}
		if from != nil {
			copy(mixed[at:at+sectorSize], from[at:])
		}
	}
	return &mixed
}

// touch gives a block for writing.
func (n *node) touch(i int64) *block {
	old := n.blocks[i]
	if _, ok := n.undo[i]; ok && old != nil {
		return old
	} else if !ok {
		n.undo[i] = old
	}
	b := new(block)
	if old != nil {
		*b = *old
	}
	n.blocks[i] = b
	return b
}

func (n *node) write(data []byte, off int64) {
	n.mtime = time.Now()
	n.size = max(n.size, off+int64(len(data)))
	for len(data) > 0 {
		k := copy(n.touch(off / blockSize)[off%blockSize:], data)
		data, off = data[k:], off+int64(k)
	}
}

// read fills p as far as there is content.
func (n *node) read(p []byte, off int64) int {
	p = p[:max(0, min(int64(len(p)), n.size-off))]
	for at := 0; at < len(p); {
		i, from := (off+int64(at))/blockSize, (off+int64(at))%blockSize
		part := p[at:min(len(p), at+int(blockSize-from))]
		if b := n.blocks[i]; b != nil {
			copy(part, b[from:])
		} else {
			clear(part)
		}
		at += len(part)
	}
	return len(p)
}

func (n *node) truncate(size int64) {
	n.mtime = time.Now()
	for i, b := range n.blocks {
		if i*blockSize < size {
			continue
		}
		if _, ok := n.undo[i]; !ok {
			n.undo[i] = b
		}
		delete(n.blocks, i)
	}
	if in := size % blockSize; in != 0 && size < n.size {
		if b := n.blocks[size/blockSize]; b != nil && !bytes.Equal(b[in:], make([]byte, blockSize-in)) {
			clear(n.touch(size / blockSize)[in:])
		}
	}
	n.size = size
}
