package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// readRelease is what the clients say they are.
var readRelease = wire.NewRelease(3, 0, 117)

// maxNames is how many names the clients learn.
const maxNames = 500_000

// readLoad is a set of mounts that know a tree.
type readLoad struct {
	conns []*readConn
	depth int
	names []treeName
	dirs  []meta.Inode
}

// treeName is a name, and what it leads to.
type treeName struct {
	parent, inode meta.Inode
	name          string
}

// readConn is one mount.
type readConn struct {
	nc    net.Conn
	in    *bufio.Reader
	out   wire.Encoder
	buf   []byte
	rng   *rand.Rand
	root  wire.Identity
	sent  []time.Time // of the request with that msgid
	took  []uint32    // microseconds
	count ReadResult
}

// newReadLoad connects, and has one of the mounts read the tree.
func newReadLoad(ctx context.Context, address string, conns, depth int) (*readLoad, error) {
	l := &readLoad{depth: depth}
	for i := range conns {
		c, err := dialRead(ctx, address, uint64(i), depth, readBuffer)
		if err != nil {
			l.close()
			return nil, err
		}
		l.conns = append(l.conns, c)
	}
	if err := l.learn(); err != nil {
		l.close()
		return nil, fmt.Errorf("reading the tree: %w", err)
	}
	return l, nil
}

func (l *readLoad) close() {
	for _, c := range l.conns {
		c.nc.Close()
	}
}

// readBuffer holds the answer about a large directory.
const readBuffer = 1 << 20

// dialRead registers a mount with a buffer of so many bytes for answers.
func dialRead(ctx context.Context, address string, seed uint64, depth, buffer int) (*readConn, error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &readConn{nc: nc, in: bufio.NewReaderSize(nc, buffer/4), buf: make([]byte, 0, buffer), rng: rand.New(rand.NewPCG(seed, 2)),
		root: wire.Identity{GIDs: wire.PackNumbers(0)}, sent: make([]time.Time, depth)}
	(&wire.ClientRegister{Code: wire.RegisterNewSession, Release: readRelease, Info: []byte("bench\x00"), Path: []byte("/")}).Append(&c.out)
	err = c.flush()
	if err == nil {
		var p []byte
		if _, p, err = c.next(); err == nil {
			if status, ok := wire.RegisterStatus(p); ok {
				err = fmt.Errorf("registering: %w", status)
			}
		}
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *readConn) flush() error {
	_, err := c.nc.Write(c.out.Buf)
	c.out.Buf = c.out.Buf[:0]
	return err
}

// next returns the next answer; its payload is good until the next call.
func (c *readConn) next() (wire.Type, []byte, error) {
	for {
		t, p, err := wire.ReadPacket(c.in, c.buf, wire.ClientMaxLength)
		if err != nil || t != wire.Nop {
			return t, p, err
		}
	}
}

// learn walks the tree, breadth first.
func (l *readLoad) learn() error {
	l.dirs = []meta.Inode{meta.Root}
	for i := 0; i < len(l.dirs) && len(l.names) < maxNames; i++ {
		if err := l.readDir(l.conns[i%len(l.conns)], l.dirs[i]); err != nil {
			return fmt.Errorf("directory %d: %w", l.dirs[i], err)
		}
	}
	if len(l.names) == 0 {
		return errors.New("it is empty")
	}
	return nil
}

func (l *readLoad) readDir(c *readConn, dir meta.Inode) error {
	c.readdir(0, dir)
	if err := c.flush(); err != nil {
		return err
	}
	_, p, err := c.next()
	if err != nil {
		return err
	}
	if _, status, ok := wire.ReplyStatus(p); ok {
		return status
	}
	head := wire.ReaddirReply{Paged: true}
	if err := head.Decode(wire.NewDecoder(p)); err != nil {
		return err
	}
	for d := wire.NewDecoder(head.Entries); d.Len() > 0; {
		var e wire.DirEntry
		if err := e.Decode(d, wire.ReaddirAttr, readRelease); err != nil {
			return err
		}
		if name := string(e.Name); name != "." && name != ".." {
			l.names = append(l.names, treeName{dir, e.Inode, name})
			if e.Attr.Type == meta.TypeDir {
				l.dirs = append(l.dirs, e.Inode)
			}
		}
	}
	return nil
}

func (c *readConn) readdir(id uint32, dir meta.Inode) {
	(&wire.Readdir{MsgID: id, Inode: dir, Identity: c.root, Flags: wire.ReaddirAttr, Max: 0xFFFFFFFF}).Append(&c.out)
}

// ask appends one request of the mix.
func (c *readConn) ask(l *readLoad, mix ReadMix, id uint32) {
	n := &l.names[c.rng.IntN(len(l.names))]
	if mix == Browsing {
		switch p := c.rng.IntN(100); {
		case p < 45:
			mix = Lookups
		case p < 90:
			mix = Getattrs
		case p < 95:
			(&wire.Access{MsgID: id, Inode: n.inode, Identity: c.root, Mask: 4}).Append(&c.out)
			return
		default:
			mix = Readdirs
		}
	}
	switch mix {
	case Lookups:
		(&wire.NameRequest{MsgID: id, Parent: n.parent, Name: []byte(n.name), Identity: c.root}).Append(&c.out, wire.FuseLookup)
	case Getattrs:
		(&wire.Getattr{MsgID: id, Inode: n.inode}).Append(&c.out)
	default:
		c.readdir(id, l.dirs[c.rng.IntN(len(l.dirs))])
	}
}

// run has all mounts ask for so long. Each sends a request for every answer,
// so that depth of them are on the way.
func (l *readLoad) run(ctx context.Context, mix ReadMix, d time.Duration) (ReadResult, error) {
	began := time.Now()
	errs := make([]error, len(l.conns))
	var wg sync.WaitGroup
	for i, c := range l.conns {
		wg.Go(func() { errs[i] = c.work(ctx, l, mix, began.Add(d)) })
	}
	wg.Wait()
	res := ReadResult{Mix: mix, Seconds: time.Since(began).Seconds()}
	var took []uint32
	for _, c := range l.conns {
		res.Requests += c.count.Requests
		res.Errors += c.count.Errors
		res.Bytes += c.count.Bytes
		took = append(took, c.took...)
	}
	res.Latency = microPercentiles(took)
	return res, errors.Join(errs...)
}

// work asks until the time is over and everything is answered.
func (c *readConn) work(ctx context.Context, l *readLoad, mix ReadMix, end time.Time) error {
	c.count, c.took = ReadResult{}, c.took[:0]
	stop := context.AfterFunc(ctx, func() { c.nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	waiting := 0
	now := time.Now()
	for id := range l.depth {
		c.ask(l, mix, uint32(id)+1)
		c.sent[id] = now
		waiting++
	}
	if err := c.flush(); err != nil {
		return err
	}
	for waiting > 0 {
		_, p, err := c.next()
		if err != nil {
			return err
		}
		if len(p) < 4 {
			return wire.ErrShort
		}
		id := int(binary.BigEndian.Uint32(p)) - 1
		if id < 0 {
			continue // unasked
		}
		if id >= len(c.sent) {
			return fmt.Errorf("answer to request %d, which was not sent", id)
		}
		now := time.Now()
		c.took = append(c.took, uint32(min(now.Sub(c.sent[id]).Microseconds(), 1<<31)))
		c.count.Requests++
		c.count.Bytes += int64(len(p))
		if _, status, ok := wire.ReplyStatus(p); ok && status != meta.OK {
			c.count.Errors++
		}
		waiting--
		if now.Before(end) {
			c.ask(l, mix, uint32(id)+1)
			c.sent[id] = now
			waiting++
		}
		if c.in.Buffered() == 0 { // what came together is asked together, as a mount's threads do
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func microPercentiles(took []uint32) Latency {
	if len(took) == 0 {
		return Latency{}
	}
	slices.Sort(took)
	at := func(share float64) float64 {
		return float64(took[min(int(share*float64(len(took))), len(took)-1)]) / 1000
	}
	return Latency{P50: at(0.5), P99: at(0.99), Max: at(1)}
}

// processTime is what a process used, of all cores and threads.
func processTime(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the name, which may hold anything but this
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var ticks int64
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	const ticksPerSecond = 100 // USER_HZ, on all architectures that Go runs on
	return time.Duration(ticks) * time.Second / ticksPerSecond
}
