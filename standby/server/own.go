package server

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
)

// own serves a connection in a goroutine of its own: one whose requests wait
// for the leader, or that is none of the system's.
type own struct {
	*conn
	nc       net.Conn
	deadline time.Time // of the read; zero: to be set
	writeBy  time.Time // deadline of writes
	ahead    foresight
	lister   listing
}

func newOwn(c *conn, nc net.Conn) *own {
	o := &own{conn: c, nc: nc}
	c.link, c.lister = o, &o.lister
	return o
}

func (o *own) wake() { o.nc.SetReadDeadline(time.Unix(1, 0)) }
func (o *own) shut() { o.nc.Close() }

// run serves the connection until it ends.
func (o *own) run() {
	err := o.serve()
	o.nc.Close()
	o.end(err)
}

func (o *own) serve() error {
	for {
		if err := o.receive(); err != nil {
			return err
		}
		for {
			more, err := o.process()
			if sent := o.send(); err == nil {
				err = sent
			}
			if err != nil {
				return err
			}
			if o.closing {
				return errClose
			}
			if !more {
				break
			}
		}
		if o.lastWrite.After(o.lastRead) {
			o.lastRead = o.lastWrite // the client was not silent while it was served
		}
		o.shrink()
	}
}

// receive waits until something came, from the client or by post. Its
// deadline is set once per second, not once per read.
func (o *own) receive() error {
	for {
		if len(o.in) == cap(o.in) {
			if err := o.grow(); err != nil {
				return err
			}
		}
		if o.deadline.IsZero() || o.waiting() && time.Until(o.deadline) > retryEvery {
			o.arm() // what waits is not to wait for the next NOP
		}
		n, err := o.nc.Read(o.in[len(o.in):cap(o.in)])
		if n > 0 {
			o.in = o.in[:len(o.in)+n]
			o.lastRead = time.Now()
			o.srv.counters.received.Add(uint64(n))
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			if err == nil {
				err = io.ErrNoProgress
			}
			return err
		}
		o.deadline = time.Time{}
		if err := o.tick(); err != nil {
			return err
		}
	}
}

// arm sets when the next read gives up: when a NOP may be due.
func (o *own) arm() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.async) > 0 {
		return // post has set it to now
	}
	o.deadline = o.lastWrite.Add(keepalive)
	now := time.Now()
	if o.deadline.Before(now.Add(keepalive / 10)) {
		o.deadline = now.Add(keepalive)
	}
	if o.waiting() {
		o.deadline = now.Add(retryEvery)
	}
	o.nc.SetReadDeadline(o.deadline)
}

// tick does what is due without a request.
func (o *own) tick() error {
	if err := o.watch(time.Now()); err != nil {
		return err
	}
	if o.waiting() {
		img, err := o.srv.ready()
		if err == nil {
			err = img.Read(o.answer)
			o.st = nil
		}
		if err == nil {
			err = o.retryLed()
		}
		if err != nil {
			return err
		}
	}
	return o.send()
}

// process answers what has been received whole: at most one batch. more tells
// whether there is more.
func (o *own) process() (more bool, err error) {
	if !o.whole() {
		return false, nil
	}
	if o.ledNext() {
		if err := o.processLed(); err != nil {
			return false, err
		}
		return o.whole(), nil
	}
	img, err := o.srv.ready()
	if err == nil {
		o.counts = 0
		err = img.Read(func(st *meta.State, pos image.Position) error {
			o.ahead.reset()
			o.ahead.see(o.in)
			o.ahead.bring(img)
			return o.answer(st, pos)
		})
		o.st = nil
		o.srv.counters.packets.Add(o.counts)
	}
	if img == nil || errors.Is(err, image.ErrClosed) { // another one takes its place
		err = o.unready()
	}
	if err != nil {
		return false, err
	}
	return o.whole(), nil
}

// send writes the answers, and what was posted.
func (o *own) send() error {
	if err := o.settled(); err != nil {
		return err
	}
	async := o.posted()
	if len(o.out.Buf)+len(async) == 0 {
		return nil
	}
	o.lastWrite = time.Now()
	if o.writeBy.Sub(o.lastWrite) < writeTimeout/2 {
		o.writeBy = o.lastWrite.Add(writeTimeout)
		o.nc.SetWriteDeadline(o.writeBy)
	}
	o.srv.info.sent.Add(countPackets(o.out.Buf) + countPackets(async))
	err := o.write(o.out.Buf)
	o.out.Buf = o.out.Buf[:0]
	for rest := async; err == nil && len(rest) > 0; {
		n := min(len(rest), asyncBlock)
		o.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
		err = o.write(rest[:n])
		rest = rest[n:]
		o.writeBy = time.Time{}
		o.lastWrite = time.Now()
	}
	o.srv.reserve(-int64(len(async)))
	return err
}

func (o *own) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := o.nc.Write(b)
	o.srv.counters.sent.Add(uint64(n))
	return err
}
