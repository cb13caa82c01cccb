package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mfsstandby/replicator/wire"
)

// abuse is what a server must bear besides its clients: mounts that ask
// nothing, and connections that send nonsense.
type abuse struct {
	address string
	idle    []net.Conn
	wg      sync.WaitGroup
	cancel  context.CancelFunc
	sent    atomic.Int64 // packets of nonsense
	lost    atomic.Int64 // idle mounts that were closed
}

// startAbuse returns when all idle mounts are registered and nonsense begins.
func startAbuse(ctx context.Context, address string, idle, garbage int) (*abuse, error) {
	a := &abuse{address: address}
	ctx, a.cancel = context.WithCancel(ctx)
	for i := range idle {
		c, err := dialRead(ctx, address, uint64(i), 1, 1<<10)
		if err != nil {
			a.stop()
			return nil, fmt.Errorf("idle mount %d: %w", i, err)
		}
		a.idle = append(a.idle, c.nc)
		if i%1000 == 999 {
			a.keepAlive(a.idle[:i])
		}
	}
	a.wg.Go(func() { a.keepIdle(ctx) })
	if garbage > 0 {
		a.wg.Go(func() { a.garble(ctx, garbage) })
	}
	return a, nil
}

func (a *abuse) stop() {
	a.cancel()
	a.wg.Wait()
	for _, nc := range a.idle {
		nc.Close()
	}
}

// keepIdle does what a mount without work does: it sends a NOP now and then.
// What the server sends stays unread in the kernel's buffers, as it is little.
func (a *abuse) keepIdle(ctx context.Context) {
	for pause(ctx, 3*time.Second) == nil {
		a.keepAlive(a.idle)
	}
}

func (a *abuse) keepAlive(idle []net.Conn) {
	var e wire.Encoder
	wire.AppendNop(&e)
	for _, nc := range idle {
		if _, err := nc.Write(e.Buf); err != nil {
			a.lost.Add(1)
		}
	}
}

// garbageBurst is how many packets of nonsense a connection sends before the
// next one takes over; the server closes it long before.
const garbageBurst = 1000

// garble sends nonsense at a rate of packets per second.
func (a *abuse) garble(ctx context.Context, rate int) {
	rnd := rand.New(rand.NewPCG(1, 3))
	began := time.Now()
	for ctx.Err() == nil {
		if ahead := a.sent.Load() - int64(time.Since(began).Seconds()*float64(rate)); ahead > 0 {
			if pause(ctx, time.Duration(ahead)*time.Second/time.Duration(rate)) != nil {
				return
			}
		}
		nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", a.address)
		if err != nil {
			a.sent.Add(1) // so that a server that refuses is not asked all the time
			continue
		}
		var e wire.Encoder
		if rnd.IntN(2) == 0 { // half of them register first
			(&wire.ClientRegister{Code: wire.RegisterNewSession, Release: readRelease, Path: []byte("/")}).Append(&e)
		}
		for range garbageBurst {
			nonsense(rnd, &e)
		}
		nc.SetWriteDeadline(time.Now().Add(time.Second))
		nc.Write(e.Buf)
		nc.Close()
		a.sent.Add(garbageBurst)
	}
}

// nonsense appends a packet of a type that may exist, with a content that
// hardly fits, sometimes with a wrong length.
func nonsense(rnd *rand.Rand, e *wire.Encoder) {
	e.Begin(wire.Type(rnd.IntN(800)))
	for range rnd.IntN(40) {
		e.U8(uint8(rnd.IntN(3) * rnd.IntN(256)))
	}
	e.End()
	if rnd.IntN(20) == 0 {
		e.U32(rnd.Uint32())
	}
}
