package tap

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// master plays a MooseFS 3.0.117 master on its metalogger port.
type master struct {
	t *testing.T

	mu     sync.Mutex
	metaid uint64
	base   string                  // metadata.mfs.back; "" if there is none
	files  map[int]string          // changelog.N.mfs
	memory meta.Version            // first version that is in memory
	next   meta.Version            // of the next entry
	texts  map[meta.Version]string // entries that are not text(v)
	mute   bool                    // sends nothing by itself
	conns  []*masterConn
	refuse int // dials that fail

	// As a master of 1.6 it hangs up when asked for its release, and before
	// 1.6.20 also when asked for its changelogs.
	old, noLogs bool
	// meddle may change what the n-th connection (from 1) sends as the k-th
	// packet (keepalives not counted); it returns false to close the
	// connection.
	meddle func(conn, k int, packet []byte) ([]byte, bool)
	// asked is told of each packet received. Both are called with mu held.
	asked func(conn int, t wire.Type, payload []byte)
}

type masterConn struct {
	net.Conn
	m     *master
	n     int // of the connection, from 1
	sent  int
	wake  chan struct{}
	muOut sync.Mutex
	out   [][]byte
	live  bool // gets new entries
	open  string
	chain [2]string // changelogs opened with the metadata file
	done  chan struct{}
}

// newMaster has entries 1..next-1, a base of version base, all entries from
// memory on in memory, and all from file0 on in changelog.0.mfs.
func newMaster(t *testing.T, base, file0, memory, next meta.Version) *master {
	m := &master{t: t, metaid: 7, memory: memory, next: next, files: map[int]string{}, texts: map[meta.Version]string{}}
	m.base = metadataFile(base, 7, "some sections")
	m.files[0] = logOf(file0, next-1)
	return m
}

func (m *master) dial(ctx context.Context, _ string) (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse != 0 {
		m.refuse--
		return nil, errors.New("connection refused")
	}
	a, b := net.Pipe()
	c := &masterConn{Conn: b, m: m, n: len(m.conns) + 1, wake: make(chan struct{}, 1), done: make(chan struct{})}
	m.conns = append(m.conns, c)
	go c.serve()
	go c.send()
	return a, nil
}

// hangUp closes all connections.
func (m *master) hangUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		c.Close()
	}
}

// connections returns how many there were.
func (m *master) connections() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.conns)
}

func (m *master) text(v meta.Version) string {
	if s, ok := m.texts[v]; ok {
		return s
	}
	return text(v)
}

// change makes n entries, which go to memory, file and connections.
func (m *master) change(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var lines []byte
	defer func() { m.files[0] += string(lines) }()
	for range n {
		e := Entry{Version: m.next, Text: []byte(m.text(m.next))}
		lines = appendLine(lines, e)
		m.next++
		for _, c := range m.conns {
			if c.live {
				c.push(&wire.Change{Version: e.Version, Text: e.Text})
			}
		}
	}
}

// rotate does what a master does each hour, dump included.
func (m *master) rotate(dump bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := 5; i > 0; i-- {
		m.files[i] = m.files[i-1]
	}
	m.files[0] = ""
	if dump && m.old {
		m.base = oldMetadataFile(m.next)
	} else if dump {
		m.base = metadataFile(m.next, m.metaid, "other sections")
	}
	for _, c := range m.conns {
		if c.live {
			c.push(&wire.Change{Rotate: true})
		}
	}
}

func (c *masterConn) push(p interface{ Append(*wire.Encoder) }) {
	var e wire.Encoder
	p.Append(&e)
	c.muOut.Lock()
	c.out = append(c.out, e.Buf)
	c.muOut.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// pop waits for something to send; nil is a keepalive. ok is false at the end.
func (c *masterConn) pop(tick <-chan time.Time) (packet []byte, ok bool) {
	for {
		c.muOut.Lock()
		if len(c.out) > 0 {
			packet, c.out = c.out[0], c.out[1:]
		}
		c.muOut.Unlock()
		if packet != nil {
			return packet, true
		}
		select {
		case <-c.done:
			return nil, false
		case <-tick:
			return nil, true
		case <-c.wake:
		}
	}
}

// send writes what is pushed, and keepalives.
func (c *masterConn) send() {
	defer c.Close()
	ticker := time.NewTicker(3 * time.Second)
	defer ticker.Stop()
	for {
		packet, ok := c.pop(ticker.C)
		if !ok {
			return
		}
		c.m.mu.Lock()
		mute := c.m.mute
		if c.sent++; packet == nil {
			packet = wire.AppendPacket(nil, wire.Nop, nil)
			c.sent--
		} else {
			mute = false
		}
		if c.m.meddle != nil && !mute {
			packet, ok = c.m.meddle(c.n, c.sent, packet)
		}
		c.m.mu.Unlock()
		if mute {
			continue
		}
		if _, err := c.Write(packet); err != nil || !ok {
			return
		}
	}
}

// serve answers packets.
func (c *masterConn) serve() {
	defer func() {
		c.m.mu.Lock()
		c.live = false
		c.m.mu.Unlock()
		close(c.done)
	}()
	for {
		t, payload, err := wire.ReadPacket(c, nil, wire.MetaloggerMaxLength)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, io.ErrUnexpectedEOF) {
				c.m.t.Errorf("reading from the tap: %v", err)
			}
			return
		}
		c.m.mu.Lock()
		if c.m.asked != nil {
			c.m.asked(c.n, t, payload)
		}
		err = c.packet(t, wire.NewDecoder(payload))
		c.m.mu.Unlock()
		if errors.Is(err, errHangUp) {
			c.Close()
			return
		}
		if err != nil {
			c.m.t.Errorf("the tap sent %v %x: %v", t, payload, err)
			return
		}
	}
}

var errHangUp = errors.New("hanging up")

func (c *masterConn) packet(t wire.Type, d *wire.Decoder) error {
	if c.m.old && t == wire.GetVersion {
		return errHangUp
	}
	switch t {
	case wire.Nop, wire.DownloadEnd:
		return d.End()
	case wire.GetVersion:
		var p wire.VersionRequest
		err := p.Decode(d)
		c.push(&wire.Version{Numbered: p.Numbered, MsgID: p.MsgID, Release: announced, Text: []byte("3.0.117-1")})
		return err
	case wire.MetaloggerRegister:
		return c.register(d)
	case wire.DownloadStart:
		return c.start(d)
	case wire.DownloadRequest:
		var p wire.Request
		if err := p.Decode(d); err != nil {
			return err
		}
		if p.Offset+uint64(p.Length) > uint64(len(c.open)) {
			return errors.New("block is not in the file")
		}
		b := []byte(c.open[p.Offset:][:p.Length])
		c.push(&wire.Data{Offset: p.Offset, Bytes: b, CRC: crc32.ChecksumIEEE(b)})
		return nil
	}
	return errors.New("unknown packet")
}

func (c *masterConn) register(d *wire.Decoder) error {
	var p wire.Register
	if err := p.Decode(d); err != nil {
		return err
	}
	if c.m.old {
		if p.From != 0 {
			return errors.New("1.6 is asked for what it has in memory")
		}
		p.Release = announced
	}
	if p.Release != announced || p.Timeout != 10 || c.live {
		return errors.New("bad registration")
	}
	if c.live = true; p.From == 0 || p.From < c.m.memory {
		return nil
	}
	for v := p.From; v < c.m.next; v++ {
		c.push(&wire.Change{Version: v, Text: []byte(c.m.text(v))})
	}
	return nil
}

func (c *masterConn) start(d *wire.Decoder) error {
	var p wire.Start
	if err := p.Decode(d); err != nil {
		return err
	}
	switch p.File {
	case wire.FileMetadata:
		c.open, c.chain = c.m.base, [2]string{c.m.files[0], c.m.files[1]}
		if c.open == "" {
			c.push(&wire.Info{Missing: true})
			return nil
		}
	case wire.FileChangelog0, wire.FileChangelog1:
		if c.m.noLogs {
			return errHangUp
		}
		i := p.File - wire.FileChangelog0
		c.open, c.chain[i] = c.chain[i], ""
	default:
		return errors.New("unknown file")
	}
	c.push(&wire.Info{Size: uint64(len(c.open))})
	return nil
}
