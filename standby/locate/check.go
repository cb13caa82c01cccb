package locate

import (
	"context"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// statusAgain tells clients to ask again: MooseFS's EAGAIN.
const statusAgain meta.Status = 45

// indexKnown is the release since which masters tell of one chunk of a file.
var indexKnown = wire.NewRelease(3, 0, 26)

// CheckFile asks the primary how many chunks of a file have 0 to 9, and 10 or
// more, valid copies, and last how many slots have no chunk.
func (l *Locator) CheckFile(ctx context.Context, ino meta.Inode) ([12]uint32, meta.Status) {
	var reply wire.CheckReply
	status := l.check(ctx, &wire.Check{Inode: ino}, func(d *wire.Decoder, primary wire.Release) error { return reply.Decode(d, primary) })
	return reply.Counts, status
}

// CheckChunk asks the primary for all copies of one chunk of a file; they are
// as in wire.CheckedChunk, and the caller's. Masters that do not know the question
// are not asked: EINVAL.
func (l *Locator) CheckChunk(ctx context.Context, ino meta.Inode, index uint32) ([]byte, meta.Status) {
	if link := l.link.Load(); link != nil && link.release < indexKnown {
		return nil, meta.EINVAL
	}
	var reply wire.CheckedChunk
	status := l.check(ctx, &wire.Check{Inode: ino, HasIndex: true, Index: index},
		func(d *wire.Decoder, _ wire.Release) error { return reply.Decode(d) })
	return reply.Copies, status
}

// CheckModern asks the primary with a mode, which masters before 4.x do not
// know: for those the status is EINVAL. The answer is behind its message id, and
// the caller's.
func (l *Locator) CheckModern(ctx context.Context, p wire.Check) (answer []byte, status meta.Status) {
	if link := l.link.Load(); link != nil && link.release < wire.NewRelease(4, 0, 0) {
		return nil, meta.EINVAL
	}
	status = l.check(ctx, &p, func(d *wire.Decoder, _ wire.Release) error {
		d.U32()
		answer = d.Rest()
		return d.Err()
	})
	return answer, status
}

// check asks one question and has decode read its answer. Without a primary,
// and after an answer that cannot be, the status is statusAgain.
func (l *Locator) check(ctx context.Context, p *wire.Check, decode func(*wire.Decoder, wire.Release) error) meta.Status {
	link := l.link.Load()
	if link == nil {
		return statusAgain
	}
	payload, err := link.call(ctx, wire.FuseCheck, func(e *wire.Encoder, id uint32) {
		p.MsgID = id
		p.Append(e)
	})
	if err != nil {
		return statusAgain
	}
	if _, status, ok := wire.ReplyStatus(payload); ok {
		return status
	}
	if err := decode(wire.NewDecoder(payload), link.release); err != nil {
		link.fail(err)
		return statusAgain
	}
	return meta.OK
}
