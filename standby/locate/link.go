package locate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"mfsstandby/replicator/wire"
)

// Times of a stock mount.
const (
	dialTime     = 3 * time.Second
	registerTime = 5 * time.Second
	silence      = 10 * time.Second // a primary that sends nothing for so long is gone
	keepalive    = 2 * time.Second
	writeTime    = 10 * time.Second
	spaceEvery   = 5 * time.Second
)

// maxAnswer bounds answers; that to a READ_CHUNK has at most a few kilobytes,
// one with the copies of a chunk too.
const maxAnswer = 1 << 20

// errGone answers questions whose connection ended.
var errGone = errors.New("connection to the primary ended")

// link is one registered connection.
type link struct {
	nc      net.Conn
	in      *bufio.Reader
	release wire.Release // forms of answers: the older one of the primary and of ours
	ctx     context.Context
	end     context.CancelCauseFunc
	wg      sync.WaitGroup

	wake chan struct{} // there is something to write

	mu      sync.Mutex // guards what follows
	out     wire.Encoder
	last    time.Time // something was put into out
	next    uint32
	pending map[uint32]waiter
}

// waiter is who waits for an answer.
type waiter struct {
	typ   wire.Type // of the answer
	reply chan []byte
}

func newLink(ctx context.Context, nc net.Conn) *link {
	k := &link{nc: nc, in: bufio.NewReaderSize(nc, 64<<10), wake: make(chan struct{}, 1), next: 1,
		pending: map[uint32]waiter{}, last: time.Now()}
	k.ctx, k.end = context.WithCancelCause(ctx)
	context.AfterFunc(k.ctx, func() { nc.Close() })
	k.wg.Go(k.write)
	return k
}

// fail ends the connection for a reason, which it returns.
func (k *link) fail(err error) error {
	k.end(err)
	return err
}

// send has written what appendTo appends. Questions asked at the same time
// leave together.
func (k *link) send(appendTo func(*wire.Encoder)) {
	k.mu.Lock()
	appendTo(&k.out)
	k.last = time.Now()
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default: // already awake
	}
}

// write writes until the connection ends.
func (k *link) write() {
	var spare []byte
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-k.wake:
		}
		k.mu.Lock()
		b := k.out.Buf
		k.out.Buf = spare[:0]
		k.mu.Unlock()
		k.nc.SetWriteDeadline(time.Now().Add(writeTime))
		if _, err := k.nc.Write(b); err != nil {
			k.fail(fmt.Errorf("writing to the primary: %w", err))
			return
		}
		spare = b
	}
}

// call asks and waits for the answer, whose payload is the caller's.
func (k *link) call(ctx context.Context, t wire.Type, request func(e *wire.Encoder, msgID uint32)) ([]byte, error) {
	w := waiter{t.Reply(), make(chan []byte, 1)}
	k.mu.Lock()
	for k.pending[k.next].reply != nil || k.next == 0 { // 0 is for packets that nobody asked for
		k.next++
	}
	id := k.next
	k.next++
	k.pending[id] = w
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		delete(k.pending, id)
		k.mu.Unlock()
	}()
	k.send(func(e *wire.Encoder) { request(e, id) })
	select {
	case payload := <-w.reply:
		return payload, nil
	case <-k.ctx.Done():
		return nil, errGone
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// read takes answers to those who wait until the connection ends. forget is
// called when the primary says that chunkservers came or went.
func (k *link) read(forget func()) error {
	for {
		k.nc.SetReadDeadline(time.Now().Add(silence))
		t, payload, err := wire.ReadPacket(k.in, nil, maxAnswer)
		if err != nil {
			return fmt.Errorf("reading from the primary: %w", err)
		}
		if t == wire.FuseForgetChunks {
			forget()
			continue
		}
		id := wire.NewDecoder(payload).U32()
		if id == 0 {
			continue // a NOP, or news of open files
		}
		k.mu.Lock()
		w := k.pending[id]
		delete(k.pending, id)
		k.mu.Unlock()
		switch {
		case w.reply == nil: // nobody waits any more
		case w.typ != t:
			return fmt.Errorf("the primary answered with %v where %v was due", t, w.typ)
		default:
			w.reply <- payload
		}
	}
}

// keep sends a NOP when nothing else was sent, so that the primary does not
// take this side for gone.
func (k *link) keep() {
	tick := time.NewTicker(keepalive / 2)
	defer tick.Stop()
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-tick.C:
		}
		k.mu.Lock()
		due := time.Since(k.last) >= keepalive/2
		k.mu.Unlock()
		if due {
			k.send(wire.AppendNop)
		}
	}
}
