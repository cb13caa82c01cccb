package bench

import "container/heap"

const (
	trashBuckets     = 4096
	sustainedBuckets = 256
	reuseDelay       = 300 // seconds an inode number rests; the lowest a master allows
	closeDelay       = 5   // seconds until a client tells that a file is closed
	quietSeconds     = 2 * 3600
)

// timers holds what the master does by itself.
type timers struct {
	trash     [trashBuckets][]*node
	sustained [sustainedBuckets][]*node
	closed    []closing // oldest first
	unused    []uint64  // chunks without a file, oldest first
}

type closing struct {
	file    *node
	session uint32
	due     uint32
}

// gapOf says how often the load pauses for hours, so that trash runs out and
// inode numbers come back.
func gapOf(m Mix) int {
	switch m {
	case Delete:
		return 120_000
	case Mixed, Snapshot:
		return 400_000
	case Hot:
		return 800_000
	}
	return 0
}

// second moves the clock and does what is due each second.
func (g *generator) second() {
	g.inSecond = 0
	g.now++
	g.tick++
	g.release()
	g.emptySustained(g.tick % sustainedBuckets)
	g.emptyTrash(g.tick % trashBuckets)
	if g.tick%60 == 0 {
		g.freeInodes()
	}
	g.deleteChunks(1 + len(g.unused)/4)
}

// quietTime is two hours in which only timers write.
func (g *generator) quietTime() {
	for range quietSeconds {
		if g.left == 0 {
			break
		}
		g.second()
	}
	g.sinceGap, g.inSecond = 0, 0
}

// release closes what clients closed some seconds ago.
func (g *generator) release() {
	for len(g.closed) > 0 && g.closed[0].due <= g.now {
		c := g.closed[0]
		g.closed = g.closed[1:]
		bit := uint8(1) << c.session
		if c.file.open&bit == 0 {
			continue // closed twice, told once
		}
		if c.file.busy > 0 {
			g.close(c.file, c.session) // in use again
			continue
		}
		c.file.open &^= bit
		g.emit("RELEASE", []uint64{uint64(c.session), uint64(c.file.inode)})
	}
}

func (g *generator) close(n *node, session uint32) {
	g.closed = append(g.closed, closing{n, session, g.now + closeDelay})
}

func (g *generator) emptySustained(bucket uint32) {
	var kept []*node
	var count, xor uint64
	for _, n := range g.sustained[bucket] {
		if n.open != 0 {
			kept = append(kept, n)
			continue
		}
		count++
		xor ^= uint64(n.inode)
		g.destroy(n)
	}
	if count > 0 {
		g.sustained[bucket] = kept
		g.emit("EMPTYSUSTAINED", []uint64{uint64(bucket)}, count, xor)
	}
}

func (g *generator) emptyTrash(bucket uint32) {
	var kept []*node
	var count, stillOpen, xor uint64
	for _, n := range g.trash[bucket] {
		switch {
		case n.state != inTrash: // purged
		case n.ctime+uint32(n.trash)*3600 >= g.now:
			kept = append(kept, n)
		case n.open != 0:
			stillOpen++
			xor ^= uint64(n.inode)
			g.sustain(n)
		default:
			count++
			xor ^= uint64(n.inode)
			g.destroy(n)
		}
	}
	g.trash[bucket] = kept
	if count+stillOpen > 0 {
		g.emit("EMPTYTRASH", []uint64{uint64(bucket)}, count, stillOpen, xor)
	}
}

func (g *generator) freeInodes() {
	var count, xor uint64
	for len(g.freeQueue) > 0 && g.freeQueue[0].time+reuseDelay < g.now {
		inode := g.freeQueue[0].inode
		g.freeQueue = g.freeQueue[1:]
		heap.Push(&g.reusable, inode)
		count++
		xor ^= uint64(inode)
	}
	if count > 0 {
		g.emit("FREEINODES", []uint64{reuseDelay}, count, 0, xor)
	}
}

// deleteChunks tells the end of at most n unused chunks.
func (g *generator) deleteChunks(n int) {
	for ; n > 0 && len(g.unused) > 0; n-- {
		id := g.unused[0]
		g.unused = g.unused[1:]
		g.emit("CHUNKDEL", []uint64{id, uint64(g.chunks[id].version)})
	}
}
