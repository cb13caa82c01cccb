package server

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/leader"
)

// A chunk that is being written is not read, nor written or cut by others: the
// request waits, at most for parkTime, and is tried again each retryEvery. As
// many may wait as a mount has requests on the way.
const (
	parkTime   = 30 * time.Second
	retryEvery = 50 * time.Millisecond
	maxParked  = 4096
	maxLocates = 1024 // questions to the Locator at once, of all connections
)

// parked is a request for a chunk that waits for the end of a lock.
type parked struct {
	t       wire.Type
	payload []byte
	led     bool // a turn of the leader tries it again
	until   time.Time
}

// park has a request wait that was refused with leader.ErrLocked.
func (c *conn) park(t wire.Type, payload []byte, led bool) {
	p := parked{t, bytes.Clone(payload), led, time.Now().Add(c.srv.cfg.parkTime)}
	if len(c.parked) >= maxParked {
		c.locked(&p)
		return
	}
	c.parked = append(c.parked, p)
}

// locked answers that the chunk is locked still.
func (c *conn) locked(p *parked) {
	wire.AppendStatus(&c.out, p.t, wire.NewDecoder(p.payload).U32(), meta.ELOCKED)
}

// retry tries the parked requests again that are for a turn, if this is one, or
// those that are not.
func (c *conn) retry() error {
	now := time.Now()
	left := c.parked[:0]
	for i := range c.parked {
		p := &c.parked[i]
		if p.led == (c.turn != nil) {
			err := c.handle(p.t, p.payload, p.led)
			if !errors.Is(err, leader.ErrLocked) {
				if err != nil {
					return err
				}
				continue
			}
			if now.After(p.until) {
				c.locked(p)
				continue
			}
		}
		left = append(left, *p)
	}
	clear(c.parked[len(left):])
	c.parked = left
	return nil
}

// retryLed is retry for those that need a turn.
func (c *conn) retryLed() error {
	if !slices.ContainsFunc(c.parked, func(p parked) bool { return p.led }) {
		return nil
	}
	return c.inATurn(c.retry)
}

// readChunk answers, or has somebody answer, unless the chunk is locked.
func (c *conn) readChunk() error {
	var p wire.ChunkRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
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
		return c.status(wire.FuseReadChunk, p.MsgID, status)
	}
	answer := wire.ChunkReply{MsgID: p.MsgID, Length: n.Length}
	if answer.Chunk = c.st.Slot(p.Inode, &n, p.Index); answer.Chunk != 0 {
		ch, ok := c.st.Chunks.Get(answer.Chunk)
		if !ok {
			return c.status(wire.FuseReadChunk, p.MsgID, meta.ENOCHUNK)
		}
		if int64(ch.LockedTo) >= time.Now().Unix() {
			return leader.ErrLocked
		}
		answer.Version = ch.Version
	}
	if p.Flags&wire.ChunkModTime != 0 && c.release < accessTimesTold {
		if err := c.accessTime(c.asNobody(0, 0), &changelog.AccessRequest{Inode: p.Inode, File: true}); err != nil {
			return err
		}
	}
	c.count(statRead)
	if answer.Chunk != 0 {
		return c.locate(&p, &answer)
	}
	answer.Append(&c.out, wire.FuseReadChunk, c.release)
	return nil
}

// accessTimesTold is the release since which clients tell themselves when they
// read files (wire.AccessTimes).
var accessTimesTold = wire.NewRelease(3, 0, 74)

// locate finds the copies of a chunk and answers: at once if they are known. A
// leader has no primary to ask.
func (c *conn) locate(p *wire.ChunkRequest, answer *wire.ChunkReply) error {
	l := c.srv.cfg.Locator
	if l == nil {
		answer.Append(&c.out, wire.FuseReadChunk, c.release)
		return nil
	}
	copies, status, ok := l.Cached(answer.Chunk, answer.Version)
	switch {
	case ok && status != meta.OK:
		c.status(wire.FuseReadChunk, p.MsgID, status)
	case ok || c.lead != nil:
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
	return nil
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
