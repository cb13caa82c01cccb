package server

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/image"
)

// census counts the chunks of an image, which takes a pass over all files. It
// is made in the background when somebody asks and the primary, which has
// these figures at hand, does not answer; and not again before the last one
// has reached an age.
type census struct {
	start, end    time.Time
	version       meta.Version
	files, chunks uint64     // chunks: each once
	matrix        [11]uint64 // of them, by how many copies are wanted
	classes       [meta.MaxClasses]struct{ keep, arch uint64 }
}

// Times of a census.
const (
	censusAge  = time.Minute            // before a new one is made
	censusRest = 10                     // or so many times what the last one took
	censusWait = 200 * time.Millisecond // for the first one: with the time to ask the primary, less than mfscli waits
)

// census returns the last count, which may be empty at first.
func (s *Server) census() *census {
	i := &s.info
	i.mu.Lock()
	last, running := i.count, i.running
	if running == nil && (last == nil || time.Since(last.end) > max(censusAge, censusRest*last.end.Sub(last.start))) {
		running = make(chan struct{})
		i.running = running
		s.wg.Go(func() { s.takeCensus(running) })
	}
	i.mu.Unlock()
	if last == nil {
		select {
		case <-running:
		case <-time.After(censusWait):
		case <-s.ctx.Done():
		}
		i.mu.Lock()
		last = i.count
		i.mu.Unlock()
	}
	if last == nil {
		last = &census{}
	}
	return last
}

func (s *Server) takeCensus(done chan struct{}) {
	n, err := s.countChunks(s.ctx)
	if err != nil {
		s.log.Debug("chunks could not be counted", "err", err)
	}
	s.info.mu.Lock()
	defer s.info.mu.Unlock()
	if err == nil {
		s.info.count = n
	}
	s.info.running = nil
	close(done)
}

func (s *Server) countChunks(ctx context.Context) (*census, error) {
	img, err := s.cfg.Image()
	if err != nil {
		return nil, err
	}
	v, err := img.View()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	n := &census{start: time.Now(), version: v.Position().Version}
	st := v.State()
	shared := goals{}
	for ino, node := range st.Nodes.Scan(0) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if node.Type.IsFile() {
			n.files++
			n.countFile(st, ino, &node, shared)
		}
	}
	shared.each(func(class uint8, arch bool) { n.add(st, class, arch) })
	n.end = time.Now()
	if err := st.Err(); err != nil {
		return nil, fmt.Errorf("counting chunks: %w", err)
	}
	return n, nil
}

func (n *census) countFile(st *meta.State, ino meta.Inode, node *meta.Node, shared goals) {
	eachChunk(st, ino, node, func(_ uint32, id meta.ChunkID) {
		ch, ok := st.Chunks.Get(id)
		switch {
		case !ok:
		case ch.Files > 1:
			shared.see(st, id, node.Class, ch.Flags&meta.ChunkArchive != 0)
		default:
			n.add(st, node.Class, ch.Flags&meta.ChunkArchive != 0)
		}
	})
}

// add counts a chunk of a file of a class.
func (n *census) add(st *meta.State, class uint8, arch bool) {
	n.chunks++
	n.matrix[min(wanted(st, class, arch), 10)]++
	if arch {
		n.classes[class].arch++
	} else {
		n.classes[class].keep++
	}
}

// wanted returns how many copies a class wants of a chunk.
func wanted(st *meta.State, class uint8, arch bool) int {
	cl, ok := st.Classes.Get(class)
	switch {
	case !ok:
		return 0
	case len(cl.Parts) > 0 && arch:
		return len(cl.Parts[meta.PartArch].Exprs)
	case len(cl.Parts) > 0:
		return len(cl.Parts[meta.PartKeep].Exprs)
	case arch:
		return len(cl.Arch)
	}
	return len(cl.Keep)
}

// goals remember, of chunks that several files have, the class that wants the
// most copies: two bytes per chunk, in blocks where there are any.
type goals map[meta.ChunkID]*[4096]goal

type goal struct {
	class uint8
	mark  uint8 // 0: not seen; 1 kept, 2 archived
}

func (g goals) see(st *meta.State, id meta.ChunkID, class uint8, arch bool) {
	block := g[id/4096]
	if block == nil {
		block = new([4096]goal)
		g[id/4096] = block
	}
	p := &block[id%4096]
	if p.mark != 0 && wanted(st, p.class, arch) >= wanted(st, class, arch) {
		return
	}
	p.class, p.mark = class, 1
	if arch {
		p.mark = 2
	}
}

func (g goals) each(f func(class uint8, arch bool)) {
	for _, block := range g {
		for _, p := range block {
			if p.mark != 0 {
				f(p.class, p.mark == 2)
			}
		}
	}
}

// infoTreeTest answers with the primary's last pass over all files; without
// it, with the standby's count and how old that is.
func (c *conn) infoTreeTest() error {
	var p wire.InfoRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	head := 36
	if p.HasMode {
		head = 44
	}
	return c.passOn(wire.InfoTreeTest, modeOf(&p), func(n int) bool { return n >= head }, func(e *reply) error {
		n := c.srv.census()
		a := wire.TreeTest{Long: p.HasMode, Files: uint32(n.files), Chunks: uint32(n.chunks)}
		if !n.end.IsZero() {
			a.Start, a.End = uint32(n.start.Unix()), uint32(n.end.Unix())
			a.Text = fmt.Appendf(nil, "the primary does not answer: copies of chunks are not known; files and chunks were counted %v ago, at version %d\n",
				time.Since(n.end).Round(time.Second), n.version)
		}
		a.Append(&e.Encoder)
		return nil
	})
}

// modeOf returns the payload of a request to the primary. No request here has
// more than two modes; so few questions are worth keeping the answers of.
func modeOf(p *wire.InfoRequest) []byte {
	if p.HasMode {
		return []byte{min(p.Mode, 1)}
	}
	return nil
}

// Lengths of MATOCL_CHUNKSTEST_INFO.
const (
	chunkTestSize  = 72
	chunkTestSize4 = 96 // since 4.4
)

// infoChunkTest answers with what the primary does to chunks.
func (c *conn) infoChunkTest() error {
	if err := c.empty(); err != nil {
		return err
	}
	size := chunkTestSize
	if modern(c.st) {
		size = chunkTestSize4
	}
	return c.passOn(wire.InfoChunkTest, nil, func(n int) bool { return n == size }, func(e *reply) error {
		e.Begin(wire.InfoChunkTest.Reply())
		e.Bytes(make([]byte, size))
		e.End()
		return nil
	})
}

// infoMatrix answers with the primary's count of chunks by copies wanted and
// had; without it, all chunks that the image knows have none.
//
// A 4.x primary has eight matrices where others have two, and counts the chunks
// of one class, too: 0:8 class:8.
func (c *conn) infoMatrix() error {
	if modern(c.st) && c.d.Len() != 1 {
		return c.modernMatrices()
	}
	var p wire.InfoRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	const one = 4 * wire.MatrixSide * wire.MatrixSide
	size := one
	if !p.HasMode {
		size = 1 + 2*one
	}
	if p.HasMode && p.Mode > 1 { // there is no such matrix
		c.out.Begin(wire.InfoMatrix.Reply())
		(&wire.Matrix{}).Append(&c.out)
		c.out.End()
		return nil
	}
	return c.beside(func(e *reply) error {
		e.Begin(wire.InfoMatrix.Reply())
		switch m := c.srv.ask(wire.InfoMatrix, modeOf(&p)); {
		case len(m) == size:
			e.Bytes(m)
		default:
			c.srv.census().appendMatrices(&e.Encoder, !p.HasMode)
		}
		e.End()
		return nil
	})
}

// modernMatrices answers with the eight matrices of 4.x. Without the primary all
// chunks are counted as ordinary ones, whatever class is asked for.
func (c *conn) modernMatrices() error {
	ask := bytes.Clone(c.d.Rest())
	if len(ask) != 0 && len(ask) != 2 {
		return fmt.Errorf("a request for matrices of %d bytes", len(ask))
	}
	const one, all = 4 * wire.MatrixSide * wire.MatrixSide, 8
	return c.passOn(wire.InfoMatrix, ask, func(n int) bool { return n == 1+all*one }, func(e *reply) error {
		e.Begin(wire.InfoMatrix.Reply())
		e.U8(0)
		n := &census{}
		if len(ask) == 0 {
			n = c.srv.census()
		}
		n.appendMatrices(&e.Encoder, false)
		e.Bytes(make([]byte, (all-1)*one))
		e.End()
		return nil
	})
}

// appendMatrices appends the count as a matrix of chunks without copies, or
// both matrices after whether copies are still being counted.
func (n *census) appendMatrices(e *wire.Encoder, both bool) {
	var m wire.Matrix
	for goal, chunks := range n.matrix {
		m[goal][0] = uint32(chunks)
	}
	if both {
		e.U8(0)
		m.Append(e)
	}
	m.Append(e)
}

// infoMissing answers with the chunks that the primary misses.
func (c *conn) infoMissing() error {
	var p wire.InfoRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	entry := 16
	if p.Mode != 0 {
		entry = 17
	}
	return c.passOn(wire.InfoMissing, modeOf(&p), func(n int) bool { return n%entry == 0 }, func(e *reply) error {
		e.Begin(wire.InfoMissing.Reply())
		e.End()
		return nil
	})
}

// infoMetaloggers answers with the metaloggers of the master: those that follow
// this process if it leads, else the primary's.
func (c *conn) infoMetaloggers() error {
	if err := c.empty(); err != nil {
		return err
	}
	if c.srv.cfg.Metaloggers != nil {
		if own, leads := c.srv.cfg.Metaloggers(); leads {
			c.out.Begin(wire.InfoMetaloggers.Reply())
			for _, m := range own {
				c.out.U32(uint32(m.Release))
				c.out.U32(m.IP)
			}
			c.out.End()
			return nil
		}
	}
	return c.passOn(wire.InfoMetaloggers, nil, func(n int) bool { return n%8 == 0 }, func(e *reply) error {
		e.Begin(wire.InfoMetaloggers.Reply())
		e.End()
		return nil
	})
}

// Lengths of a wire.ServerInfo.
const (
	serverInfoSize  = 69
	serverInfoSize4 = 73 // since 4.26: the address it is configured with, too
	serverInfoMode  = 77 // since 4.35 to a request with a mode: the end of its maintenance, too
)

// infoServers answers with the chunkservers of the primary, as it sees them;
// without it, with those that the image remembers, as disconnected.
func (c *conn) infoServers() error {
	var p wire.InfoRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	size := serverInfoSize
	switch {
	case modern(c.st) && p.Mode != 0:
		size = serverInfoMode
	case modern(c.st):
		size = serverInfoSize4
	}
	seen := c.seen
	return c.passOn(wire.InfoServers, modeOf(&p), func(n int) bool { return n%size == 0 }, func(e *reply) error {
		return c.srv.read(seen, func(st *meta.State, _ image.Position) error {
			e.Begin(wire.InfoServers.Reply())
			for at, known := range st.Servers.Scan(meta.Server{}) {
				a := wire.ServerInfo{Flags: wire.ServerDisconnected, IP: at.IP, Port: at.Port, ID: known.ID}
				if known.Maintenance != 0 {
					a.Flags |= wire.ServerMaintenance
				}
				if known.Maintenance == 2 {
					a.Flags |= wire.ServerTempMaintenance
				}
				a.Modern = size > serverInfoSize
				a.Append(&e.Encoder)
				if size == serverInfoMode {
					e.U32(uint32(known.Timeout))
				}
			}
			e.End()
			return nil
		})
	})
}
