package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
	"mfsstandby/replicator/wire"
)

const (
	maxRequest    = 4 << 10 // bytes of a packet from a metalogger; the longest with a meaning has 260
	firstTimeout  = 10 * time.Second
	leastTimeout  = 3 // seconds
	beat          = 250 * time.Millisecond
	writeAtOnce   = 64 << 10  // within one timeout
	entriesAtOnce = 256 << 10 // bytes of packets
)

// defaultRelease is that of the entries a leader makes.
var defaultRelease = meta.NewRelease(3, 0, 117)

// peer is one connection to the metalogger port. Up to three goroutines serve
// it: one reads packets and answers them, one sends entries after it has
// registered, one sends keepalives and rotation marks while no entries come.
type peer struct {
	w  *work
	nc net.Conn
	in *bufio.Reader

	timeout  atomic.Int64 // ns of silence, of either side, after which it is closed
	shown    atomic.Pointer[Metalogger]
	sent     atomic.Uint64 // as next
	fetching atomic.Uint32 // wire.File being downloaded; 0: none

	// Of the goroutine that reads.
	files   *download // opened with the metadata file
	current *content  // being downloaded
	block   []byte

	out   sync.Mutex // held while packets are written; guards what follows
	enc   wire.Encoder
	wrote time.Time    // last
	next  meta.Version // the first entry not sent; 0: not registered
	turns int          // rotations told
}

func newPeer(w *work, nc net.Conn) *peer {
	p := &peer{w: w, nc: nc, wrote: time.Now()}
	p.in = bufio.NewReaderSize(alive{p}, maxRequest)
	p.timeout.Store(int64(firstTimeout))
	return p
}

// alive reads from a connection whose every byte is a sign of life.
type alive struct{ p *peer }

func (a alive) Read(b []byte) (int, error) {
	if err := a.p.nc.SetReadDeadline(time.Now().Add(time.Duration(a.p.timeout.Load()))); err != nil {
		return 0, err
	}
	return a.p.nc.Read(b)
}

// run serves the connection until it ends, and returns why.
func (p *peer) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { p.nc.Close() })
	defer stop()
	defer p.nc.Close()
	defer func() { p.drop() }()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	buf := make([]byte, 0, maxRequest)
	for {
		t, payload, err := wire.ReadPacket(p.in, buf, maxRequest)
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		start, err := p.packet(ctx, t, wire.NewDecoder(payload))
		if err != nil {
			return errors.Join(fmt.Errorf("%v of %d bytes: %w", t, len(payload), err), context.Cause(ctx))
		}
		if start != nil {
			wg.Go(func() { cancel(start(ctx)) })
			wg.Go(func() { cancel(p.keepAlive(ctx)) })
		}
	}
}

// drop closes the files.
func (p *peer) drop() {
	p.current.close()
	if p.files != nil {
		p.files.close()
	}
	p.current, p.files, p.block = nil, nil, nil
	p.fetching.Store(0)
}

// packet answers one packet. After a registration it returns what sends entries.
func (p *peer) packet(ctx context.Context, t wire.Type, d *wire.Decoder) (start func(context.Context) error, err error) {
	switch t {
	case wire.Nop, wire.UnknownCommand, wire.BadCommandSize:
		return nil, nil
	case wire.GetVersion:
		return nil, p.version(d)
	case wire.GetConfig:
		return nil, p.config(d)
	case wire.MetaloggerRegister:
		return p.register(ctx, d)
	case wire.DownloadStart:
		return nil, p.start(ctx, d)
	case wire.DownloadRequest:
		return nil, p.request(d)
	case wire.DownloadEnd:
		p.current.close()
		p.current, p.block = nil, nil
		p.fetching.Store(0)
		return nil, d.End()
	}
	return nil, errors.New("a master does not get such packets here")
}

type packet interface{ Append(*wire.Encoder) }

// send writes a packet.
func (p *peer) send(a packet) error {
	p.out.Lock()
	defer p.out.Unlock()
	a.Append(&p.enc)
	return p.flush()
}

// flush writes what is encoded; the caller holds out. Some bytes have to pass
// within each timeout.
func (p *peer) flush() error {
	b := p.enc.Buf
	if len(b) == 0 {
		return nil
	}
	for len(b) > 0 {
		if err := p.nc.SetWriteDeadline(time.Now().Add(time.Duration(p.timeout.Load()))); err != nil {
			return err
		}
		n, err := p.nc.Write(b[:min(len(b), writeAtOnce)])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	p.enc.Buf = p.enc.Buf[:0]
	if cap(p.enc.Buf) > 2*entriesAtOnce {
		p.enc.Buf = nil // a block of a download
	}
	p.wrote = time.Now()
	return nil
}

// release is the release of the cluster, which says what entries mean.
func (p *peer) release() (wire.Release, string) {
	text := ""
	if p.w.cfg.Release != nil {
		text = p.w.cfg.Release()
	}
	r := meta.ParseRelease(text)
	if r == 0 {
		r = defaultRelease
	}
	return wire.NewRelease(uint16(r>>16), uint8(r>>8), uint8(r)), r.String() + "-1"
}

func (p *peer) version(d *wire.Decoder) error {
	var q wire.VersionRequest
	if err := q.Decode(d); err != nil {
		return err
	}
	release, text := p.release()
	return p.send(&wire.Version{Numbered: q.Numbered, MsgID: q.MsgID, Release: release, Text: []byte(text)})
}

func (p *peer) config(d *wire.Decoder) error {
	var q wire.ConfigRequest
	if err := q.Decode(d); err != nil {
		return err
	}
	value := p.w.cfg.Options[string(q.Name)]
	return p.send(&wire.Config{MsgID: q.MsgID, Value: []byte(value[:min(len(value), 255)])})
}

// register begins to send entries: those from a version on that the metalogger
// wants and the stream has, or else those from the end of changelog.0.mfs on,
// which overlaps what it may download from now on. That there is a gap it sees
// from the versions, as at a stock master.
func (p *peer) register(ctx context.Context, d *wire.Decoder) (func(context.Context) error, error) {
	var q wire.Register
	if err := q.Decode(d); err != nil {
		return nil, err
	}
	if p.shown.Load() != nil {
		return nil, errors.New("it has registered already")
	}
	// Before it can download anything: what it downloads reaches further.
	live := p.w.j.position()
	at := live
	if q.From != 0 {
		end, err := p.w.src.End(ctx)
		if err != nil {
			return nil, err
		}
		if q.From <= end.Version {
			at = stream.Position{Version: q.From}
		}
	}
	p.timeout.Store(int64(max(q.Timeout, leastTimeout)) * int64(time.Second))
	p.out.Lock()
	defer p.out.Unlock()
	if q.Release == 0 {
		return nil, nil // a master sends such a one nothing
	}
	p.next = at.Version
	p.sent.Store(uint64(at.Version))
	p.turns = p.w.turnsSoFar()
	if own, _ := p.release(); own >= wire.NewRelease(4, 0, 0) && q.Release >= wire.NewRelease(4, 0, 0) {
		(&wire.Ack{Release: own}).Append(&p.enc)
		if err := p.flush(); err != nil {
			return nil, err
		}
	}
	p.shown.Store(&Metalogger{Address: p.nc.RemoteAddr().String(), Release: q.Release, Program: q.Release.String(), Since: time.Now()})
	p.w.log.Info("a metalogger has connected", "peer", p.nc.RemoteAddr().String(), "release", q.Release.String(), "from", at.Version)
	return func(ctx context.Context) error { return p.follow(ctx, at, live) }, nil
}

// follow sends entries from a position on; from live on, if those cannot be had,
// or not without a gap.
func (p *peer) follow(ctx context.Context, at, live stream.Position) error {
	r := p.w.src.Read(at)
	defer func() { r.Close() }()
	for {
		b, err := r.Next(ctx)
		if at != live && superseded(err) {
			at = live
			r.Close()
			r = p.w.src.Read(live)
			continue
		}
		if err == nil {
			err = p.w.stored(ctx, b.End.Version)
		}
		if err == nil {
			err = p.entries(b.Entries)
		}
		if err != nil {
			return err
		}
	}
}

// entries sends entries, with the rotations between them.
func (p *peer) entries(entries []meta.RawEntry) error {
	p.out.Lock()
	defer p.out.Unlock()
	for _, e := range entries {
		p.rotations(e.Version)
		(&wire.Change{Version: e.Version, Text: e.Text}).Append(&p.enc)
		p.next = e.Version + 1
		if len(p.enc.Buf) >= entriesAtOnce {
			if err := p.flush(); err != nil {
				return err
			}
		}
	}
	err := p.flush()
	p.sent.Store(uint64(p.next))
	return err
}

// rotations appends the marks of rotations that were at or before a version,
// and returns what tells of the next one; the caller holds out.
func (p *peer) rotations(v meta.Version) <-chan struct{} {
	turns, more := p.w.turnsSince(p.turns)
	for _, at := range turns {
		if at > v {
			break
		}
		(&wire.Change{Rotate: true}).Append(&p.enc)
		p.turns++
	}
	return more
}

// keepAlive sends what is due while no entries come.
func (p *peer) keepAlive(ctx context.Context) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		p.out.Lock()
		turned := p.rotations(p.next)
		if len(p.enc.Buf) == 0 && time.Since(p.wrote) > time.Duration(p.timeout.Load())/3 {
			wire.AppendEmpty(&p.enc, wire.Nop)
		}
		err := p.flush()
		p.out.Unlock()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-turned:
		}
	}
}

// start opens a file for download.
func (p *peer) start(ctx context.Context, d *wire.Decoder) error {
	var q wire.Start
	if err := q.Decode(d); err != nil {
		return err
	}
	if q.File == wire.FileMetadata || q.File == wire.FileSessions {
		p.drop()
	}
	info := wire.Info{Missing: true}
	switch q.File {
	case wire.FileMetadata:
		// A stock metalogger that is told that there is none asks again a day later.
		select {
		case <-p.w.saved:
		case <-ctx.Done():
			return ctx.Err()
		}
		files, err := p.w.j.open()
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		p.files, p.current = files, files.metadata
		files.metadata = nil
	case wire.FileSessions: // there is none since 2.0
	case wire.FileChangelog0, wire.FileChangelog1:
		p.current.close()
		p.current = nil
		info.Missing = false
		if p.files != nil {
			from := &p.files.newest
			if q.File == wire.FileChangelog1 {
				from = &p.files.older
			}
			p.current, *from = *from, nil
		}
	default:
		return errors.New("there is no such file")
	}
	if p.current != nil {
		info = wire.Info{Size: uint64(p.current.size())}
		p.fetching.Store(uint32(q.File))
	}
	return p.send(&info)
}

// request sends one block of the file.
func (p *peer) request(d *wire.Decoder) error {
	var q wire.Request
	if err := q.Decode(d); err != nil {
		return err
	}
	switch {
	case p.current == nil:
		return errors.New("no file is open")
	case q.Length > wire.DownloadBlock:
		return fmt.Errorf("a block of %d bytes: %w", q.Length, wire.ErrTooLong)
	case q.Offset > uint64(p.current.size()) || uint64(q.Length) > uint64(p.current.size())-q.Offset:
		return fmt.Errorf("%d bytes at %d: %w", q.Length, q.Offset, io.ErrUnexpectedEOF)
	}
	if cap(p.block) < int(q.Length) {
		p.block = make([]byte, q.Length)
	}
	b := p.block[:q.Length]
	if err := p.current.readAt(b, int64(q.Offset)); err != nil {
		return err
	}
	return p.send(&wire.Data{Offset: q.Offset, CRC: crc32.ChecksumIEEE(b), Bytes: b})
}
