package server

import (
	"context"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// A chunk that is being written is not read: the request waits, at most for
// parkTime, and is tried again each retryEvery. As many may wait as a mount
// has requests on the way.
const (
	parkTime   = 30 * time.Second
	retryEvery = 50 * time.Millisecond
	maxParked  = 4096
	maxLocates = 1024 // questions to the Locator at once, of all connections
)

// parked is a request for a chunk that waits for the end of a lock.
type parked struct {
	req   wire.ChunkRequest
	until time.Time
}

func (c *conn) readChunk() error {
	var p wire.ChunkRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	if c.tryReadChunk(&p) == meta.ELOCKED {
		if len(c.parked) >= maxParked {
			return c.status(wire.FuseReadChunk, p.MsgID, meta.ELOCKED)
		}
		c.parked = append(c.parked, parked{p, time.Now().Add(parkTime)})
	}
	return nil
}

// tryReadChunk answers, or has somebody answer, unless the chunk is locked.
func (c *conn) tryReadChunk(p *wire.ChunkRequest) meta.Status {
	n, ok := c.st.Nodes.Get(p.Inode)
	status := meta.OK
	switch {
	case c.disabled(changelog.DisableRead):
		status = meta.EPERM
	case !ok:
		status = meta.ENOENT
	case !n.Type.IsFile():
		status = meta.EPERM
	case p.Index > meta.MaxIndex:
		status = meta.EINDEXTOOBIG
	}
	if status != meta.OK {
		c.status(wire.FuseReadChunk, p.MsgID, status)
		return status
	}
	answer := wire.ChunkReply{MsgID: p.MsgID, Length: n.Length}
	if answer.Chunk = c.st.Slot(p.Inode, &n, p.Index); answer.Chunk != 0 {
		ch, ok := c.st.Chunks.Get(answer.Chunk)
		if !ok {
			c.status(wire.FuseReadChunk, p.MsgID, meta.ENOCHUNK)
			return meta.ENOCHUNK
		}
		if int64(ch.LockedTo) >= time.Now().Unix() {
			return meta.ELOCKED
		}
		answer.Version = ch.Version
		c.count(statRead)
		return c.locate(p, &answer)
	}
	c.count(statRead)
	answer.Append(&c.out, wire.FuseReadChunk, c.release)
	return meta.OK
}

// locate finds the copies of a chunk and answers: at once if they are known.
func (c *conn) locate(p *wire.ChunkRequest, answer *wire.ChunkReply) meta.Status {
	l := c.srv.cfg.Locator
	if l == nil {
		answer.Append(&c.out, wire.FuseReadChunk, c.release)
		return meta.OK
	}
	copies, status, ok := l.Cached(answer.Chunk, answer.Version)
	switch {
	case ok && status != meta.OK:
		c.status(wire.FuseReadChunk, p.MsgID, status)
	case ok:
		appendCopies(&c.out, answer, copies, c.release)
	case c.srv.locating.Add(1) > maxLocates:
		c.srv.locating.Add(-1)
		c.status(wire.FuseReadChunk, p.MsgID, statusAgain)
	default:
		req, reply := *p, *answer
		c.srv.wg.Go(func() {
			defer c.srv.locating.Add(-1)
			c.answerLocated(&req, &reply)
		})
	}
	return meta.OK
}

// answerLocated waits for the Locator and posts the answer.
func (c *conn) answerLocated(p *wire.ChunkRequest, reply *wire.ChunkReply) {
	ctx, cancel := context.WithTimeout(c.srv.ctx, parkTime)
	defer cancel()
	copies, status := c.srv.cfg.Locator.Locate(ctx, p.Inode, p.Index, reply.Chunk, reply.Version)
	var e wire.Encoder
	if status != meta.OK {
		wire.AppendStatus(&e, wire.FuseReadChunk, p.MsgID, status)
	} else {
		appendCopies(&e, reply, copies, c.release)
	}
	c.post(e.Buf)
}

// appendCopies answers with the copies of a chunk, unless these are parts of an
// erasure code that the client is too old for.
func appendCopies(e *wire.Encoder, reply *wire.ChunkReply, copies wire.Locations, client wire.Release) {
	if !copies.Fits(client) {
		wire.AppendStatus(e, wire.FuseReadChunk, reply.MsgID, statusIO)
		return
	}
	reply.Copies = copies
	reply.Append(e, wire.FuseReadChunk, client)
}

// retry tries the parked requests again; it runs under the image's lock.
func (c *conn) retry() {
	now := time.Now()
	left := c.parked[:0]
	for i := range c.parked {
		p := &c.parked[i]
		if c.tryReadChunk(&p.req) != meta.ELOCKED {
			continue
		}
		if now.After(p.until) {
			c.status(wire.FuseReadChunk, p.req.MsgID, meta.ELOCKED)
			continue
		}
		left = append(left, *p)
	}
	c.parked = left
}

// onlyChunk fills in the only chunk of a file for LOOKUP, if it can be told at
// once.
func (c *conn) onlyChunk(n *meta.Node, out *wire.ChunkCopies) bool {
	if n.Chunk0 == 0 {
		return true
	}
	ch, ok := c.st.Chunks.Get(n.Chunk0)
	if !ok || int64(ch.LockedTo) >= time.Now().Unix() || c.srv.cfg.Locator == nil {
		return false
	}
	copies, status, ok := c.srv.cfg.Locator.Cached(n.Chunk0, ch.Version)
	if !ok || status != meta.OK || !copies.Fits(c.release) {
		return false
	}
	out.Chunk, out.Version, out.Copies = n.Chunk0, ch.Version, copies
	return true
}

// check answers with how many copies the chunks of a file have, or with the
// copies of one.
func (c *conn) check() error {
	var p wire.Check
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	ino, n, ok := c.asNobody(0, 0).Find(c.st, p.Inode, false)
	switch {
	case !ok:
		return c.status(wire.FuseCheck, p.MsgID, meta.ENOENT)
	case !n.Type.IsFile():
		return c.status(wire.FuseCheck, p.MsgID, meta.EPERM)
	case p.HasIndex && p.Index > meta.MaxIndex:
		return c.status(wire.FuseCheck, p.MsgID, meta.EINDEXTOOBIG)
	case !p.Known():
		return c.status(wire.FuseCheck, p.MsgID, meta.EINVAL)
	}
	return c.checkCopies(&p, ino, &n)
}

// Checker is a Locator that also knows what a master knows of copies that
// cannot be read.
type Checker interface {
	// CheckFile returns how many chunks of a file have 0 to 9, and 10 or more,
	// valid copies, and last how many slots have no chunk.
	CheckFile(ctx context.Context, ino meta.Inode) (counts [12]uint32, status meta.Status)
	// CheckChunk returns all copies of one chunk of a file, seven bytes each as
	// wire.CheckedChunk has them.
	CheckChunk(ctx context.Context, ino meta.Inode, index uint32) (copies []byte, status meta.Status)
	// CheckModern returns the primary's answer to a request with a mode, as it
	// is behind the message id. The status is EINVAL if the primary knows no modes.
	CheckModern(ctx context.Context, p wire.Check) (answer []byte, status meta.Status)
}

// checkCopies answers from the Checker in a goroutine of its own, or with what
// the metadata alone tells: chunks of which no copy is known.
func (c *conn) checkCopies(p *wire.Check, ino meta.Inode, n *meta.Node) error {
	one := wire.CheckedChunk{MsgID: p.MsgID}
	if p.HasIndex {
		if one.Chunk = c.st.Slot(ino, n, p.Index); one.Chunk != 0 {
			ch, ok := c.st.Chunks.Get(one.Chunk)
			if !ok {
				return c.status(wire.FuseCheck, p.MsgID, meta.ENOCHUNK)
			}
			one.Version = ch.Version
		}
	}
	checker, ok := c.srv.cfg.Locator.(Checker)
	if !ok || n.Used == 0 {
		switch {
		case p.HasIndex:
			one.Begin(&c.out)
			if p.Mode == wire.CheckTime {
				c.out.U32(0)
			}
			c.out.End()
		case p.Mode != 0:
			p.AppendStored(&c.out, n.Used, n.Slots-n.Used)
		default:
			answer := wire.CheckReply{MsgID: p.MsgID}
			answer.Counts[0], answer.Counts[11] = n.Used, n.Slots-n.Used
			answer.Append(&c.out, c.release)
		}
		return nil
	}
	if c.srv.locating.Add(1) > maxLocates {
		c.srv.locating.Add(-1)
		return errTooManyJobs
	}
	req, client := *p, c.release
	c.srv.wg.Go(func() {
		defer c.srv.locating.Add(-1)
		ctx, cancel := context.WithTimeout(c.srv.ctx, parkTime)
		defer cancel()
		var e wire.Encoder
		status := askChecker(ctx, checker, &e, &req, ino, &one, client)
		if status != meta.OK {
			wire.AppendStatus(&e, wire.FuseCheck, req.MsgID, status)
		}
		c.post(e.Buf)
	})
	return nil
}

func askChecker(ctx context.Context, from Checker, e *wire.Encoder, p *wire.Check, ino meta.Inode, one *wire.CheckedChunk, client wire.Release) meta.Status {
	if p.Mode != 0 {
		ask := *p
		ask.Inode = ino
		answer, status := from.CheckModern(ctx, ask)
		if status == meta.OK {
			e.Begin(wire.FuseCheck.Reply())
			e.U32(p.MsgID)
			e.Bytes(answer)
			e.End()
		}
		return status
	}
	if !p.HasIndex {
		counts, status := from.CheckFile(ctx, ino)
		if status == meta.OK {
			answer := wire.CheckReply{MsgID: p.MsgID, Counts: counts}
			answer.Append(e, client)
		}
		return status
	}
	copies, status := from.CheckChunk(ctx, ino, p.Index)
	if status == meta.OK {
		one.Begin(e)
		e.Bytes(copies)
		e.End()
	}
	return status
}
