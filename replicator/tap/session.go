package tap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// session is one connection to a primary. Three goroutines share it: run,
// which asks for things; read, which never waits for anything but the socket;
// write, which keeps the connection alive. They end together.
type session struct {
	live    *Live
	goal    *goal
	conn    net.Conn
	timeout atomic.Int64 // of silence, as a time.Duration

	out     chan []byte   // packets for write
	replies chan reply    // answers for run; each was asked for, so there is room
	asked   [2]answerable // of replies, by kind
	version answerable
	dead    chan struct{} // read has ended
	deadErr error         // why; valid then
	block   []byte        // the download block in the last reply

	followed bool // run got as far as following

	// A master of 1.6 hangs up when asked for its release, and has other faults.
	silent     bool // it is not asked, and taken for one of 1.6
	unanswered bool // it hung up when it was asked
	refused    bool // it hung up when it was asked for a changelog
}

// answerable notes that an answer of some type is due.
type answerable = atomic.Bool

// reply is an answer of the primary; which part is set depends on its type.
type reply struct {
	typ     wire.Type
	info    wire.Info
	offset  uint64
	intact  bool
	release wire.Release
	text    string
}

func newSession(l *Live, g *goal, conn net.Conn) *session {
	s := &session{live: l, goal: g, conn: conn, out: make(chan []byte, 4), replies: make(chan reply, 3), dead: make(chan struct{})}
	s.timeout.Store(int64(l.cfg.Timeout))
	return s
}

// run holds the connection until it fails or ctx ends.
func (s *session) run(outer context.Context) error {
	ctx, cancel := context.WithCancel(outer)
	s.goal.q.hold()
	var group sync.WaitGroup
	var writeErr error
	group.Go(func() {
		s.deadErr = s.read()
		close(s.dead)
		cancel()
	})
	group.Go(func() {
		writeErr = s.write(ctx)
		cancel()
	})
	err := s.converse(ctx)
	cancel()
	s.conn.Close()
	group.Wait()
	s.unanswered = outer.Err() == nil && s.version.Load() && (closed(s.deadErr) || closed(writeErr))
	if errors.Is(err, context.Canceled) { // the cause is what ended one of the others
		err = s.deadErr
		if writeErr != nil && errors.Is(err, net.ErrClosed) {
			err = writeErr
		}
	}
	return err
}

// converse registers, makes sure that what comes follows what is known, and
// waits for the end.
func (s *session) converse(ctx context.Context) error {
	next, last, err := s.goal.q.position()
	if err != nil {
		return err
	}
	from := next
	if last != nil {
		from--
	}
	head, err := s.greet(ctx, from)
	if err != nil {
		return err
	}
	s.live.mu.Lock()
	bootstrap := s.goal.bootstrap
	s.live.mu.Unlock()
	if bootstrap {
		err = s.bootstrap(ctx, head)
	} else {
		err = s.join(ctx, next, last, head)
	}
	if err != nil {
		return err
	}
	s.goal.q.signal()
	s.followed = true
	at, _, _ := s.goal.q.position()
	s.live.setStatus(func(st *LiveStatus) { st.Following, st.Err = true, nil })
	s.live.cfg.Event(Event{Kind: Following, Text: s.conn.RemoteAddr().String(), Version: at})
	<-ctx.Done()
	return ctx.Err()
}

// greet asks for the release, registers from a version on (0: from now), and
// asks for the head of the metadata file. The first of the entries wanted, if
// the primary has them in memory, come before that.
func (s *session) greet(ctx context.Context, from meta.Version) (*remoteFile, error) {
	if s.silent {
		return s.greetSilent(ctx)
	}
	var e wire.Encoder
	(&wire.VersionRequest{Numbered: true, MsgID: 1}).Append(&e)
	(&wire.Register{Release: announced, Timeout: uint16(s.live.cfg.Timeout / time.Second), From: from}).Append(&e)
	s.version.Store(true)
	if err := s.send(ctx, e.Buf); err != nil {
		return nil, err
	}
	r, err := s.await(ctx, wire.VersionReply)
	if err != nil {
		return nil, err
	}
	s.live.setStatus(func(st *LiveStatus) {
		st.Connected, st.Address = true, s.conn.RemoteAddr().String()
		st.Release, st.ReleaseText = r.release, r.text
	})
	s.live.cfg.Event(Event{Kind: Connected, Text: fmt.Sprintf("%s, MooseFS %s (%s)", s.conn.RemoteAddr(), r.release, r.text)})
	return s.openBase(ctx)
}

// greetSilent is greet for a master of 1.6, which its metadata shows it to be.
// What such a one has in memory it sends the wrong way round, so only new entries
// are asked for.
func (s *session) greetSilent(ctx context.Context) (*remoteFile, error) {
	f, err := s.openBase(ctx)
	switch {
	case err != nil:
		return nil, err
	case f.missing:
		return nil, fmt.Errorf("the primary did not tell its release, and has no %v by which to know it", wire.FileMetadata)
	case f.head.Release != meta.Release16:
		return nil, errors.New("the primary did not tell its release, but its metadata is not that of 1.6")
	}
	release := wire.NewRelease(1, 6, 27) // whichever it is: all of 1.6 mean the same
	var e wire.Encoder
	(&wire.Register{Release: release, Timeout: uint16(s.live.cfg.Timeout / time.Second)}).Append(&e)
	if err := s.send(ctx, e.Buf); err != nil {
		return nil, err
	}
	if f, err = s.openBase(ctx); err != nil { // anew, so that nothing is between it and the new entries
		return nil, err
	}
	s.live.setStatus(func(st *LiveStatus) {
		st.Connected, st.Address = true, s.conn.RemoteAddr().String()
		st.Release, st.ReleaseText = release, ""
	})
	s.live.cfg.Event(Event{Kind: Connected, Text: fmt.Sprintf("%s, MooseFS 1.6", s.conn.RemoteAddr())})
	return f, nil
}

// hungUp tells whether the other side ended the connection, which led to err.
func (s *session) hungUp(err error) bool {
	select {
	case <-s.dead:
		err = s.deadErr
	default:
	}
	return closed(err)
}

var errClosed = errors.New("the primary closed the connection")

// closed tells whether an error is that the other side has ended the connection.
func closed(err error) bool {
	return errors.Is(err, errClosed) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// join lets what is held follow the entries known, if it does; otherwise it
// fetches what lies between.
func (s *session) join(ctx context.Context, next meta.Version, last []byte, head *remoteFile) error {
	q := s.goal.q
	first, end := q.heldRange()
	switch {
	case first == 0 || first > next || last != nil && first == next: // what is before is not in its memory
		fl := filler{session: s, next: next, last: last, head: head}
		return fl.fill(ctx)
	case last == nil && first == next:
		if next > 1 {
			s.live.cfg.Event(Event{Kind: Unverified, Version: next, Text: s.live.cfg.Address})
		}
		return q.release(nil, next, nil)
	case first < next-1 || last == nil:
		return &DivergedError{Version: next - 1, Source: s.live.cfg.Address, Reason: fmt.Sprintf(
			"the primary is at version %d only: it was restored from an older state, or lost entries in a crash", end)}
	}
	if e, _, _ := q.heldCursor().peek(); !bytes.Equal(e.Text, last) {
		return &DivergedError{Version: e.Version, Known: last, Seen: bytes.Clone(e.Text), Source: s.live.cfg.Address}
	}
	return q.release(nil, next, last)
}

// send hands packets to write.
func (s *session) send(ctx context.Context, packets []byte) error {
	select {
	case s.out <- packets:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await waits for the answer to what was asked.
func (s *session) await(ctx context.Context, t wire.Type) (reply, error) {
	// Keepalives may come for ever from a master that has lost the question.
	patience := time.NewTimer(6 * s.live.cfg.Timeout)
	defer patience.Stop()
	select {
	case r := <-s.replies:
		if r.typ != t {
			return r, fmt.Errorf("the primary sent %v where %v was due", r.typ, t)
		}
		return r, nil
	case <-s.dead:
		return reply{}, s.deadErr
	case <-ctx.Done():
		return reply{}, ctx.Err()
	case <-patience.C:
		return reply{}, fmt.Errorf("the primary did not send %v", t)
	}
}

// write sends what is asked for and a keepalive every third of the timeout.
func (s *session) write(ctx context.Context) error {
	nop := wire.AppendPacket(nil, wire.Nop, nil)
	ticker := time.NewTicker(s.live.cfg.Timeout / 3)
	defer ticker.Stop()
	for {
		packets := nop
		select {
		case <-ctx.Done():
			return nil
		case packets = <-s.out:
		case <-ticker.C:
		}
		if err := s.conn.SetWriteDeadline(time.Now().Add(s.live.cfg.Timeout)); err != nil {
			return err
		}
		if _, err := s.conn.Write(packets); err != nil {
			return err
		}
	}
}

// read takes packets from the socket until it fails or one is wrong.
func (s *session) read() error {
	buf, have := make([]byte, 256<<10), 0
	for {
		timeout := time.Duration(s.timeout.Load())
		if err := s.conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
		n, err := s.conn.Read(buf[have:])
		if err != nil {
			return s.readError(err, timeout, have > 0)
		}
		now := time.Now()
		s.live.setStatus(func(st *LiveStatus) { st.Heard = now })
		have += n
		rest, err := s.packets(buf[:have], now)
		if err != nil {
			return err
		}
		if need := packetSize(rest); need > len(buf) {
			buf = append(make([]byte, 0, need), rest...)[:need]
		} else {
			copy(buf, rest)
		}
		have = len(rest)
	}
}

// readError says what the end of reading means.
func (s *session) readError(err error, timeout time.Duration, within bool) error {
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		return fmt.Errorf("the primary sent nothing for %v", timeout)
	case err == io.EOF && within:
		return fmt.Errorf("%w within a packet", errClosed)
	case err == io.EOF:
		return errClosed
	}
	return err
}

// packetSize returns the size of the packet that b begins with, as far as b
// tells.
func packetSize(b []byte) int {
	if len(b) < wire.HeaderSize {
		return wire.HeaderSize
	}
	h, err := wire.ParseHeader(b, wire.MetaloggerMaxLength)
	if err != nil {
		return wire.HeaderSize
	}
	return wire.HeaderSize + int(h.Length)
}

// packets handles all whole packets in b and returns what is left.
func (s *session) packets(b []byte, now time.Time) (rest []byte, err error) {
	defer s.goal.q.signal()
	var d wire.Decoder
	for {
		t, payload, rest, ok, err := wire.Split(b, wire.MetaloggerMaxLength)
		if err != nil || !ok {
			return rest, err
		}
		d.Reset(payload)
		if err := s.packet(t, &d, now); err != nil {
			return nil, fmt.Errorf("%v of %d bytes from the primary: %w", t, len(payload), err)
		}
		b = rest
	}
}

// packet handles one packet.
func (s *session) packet(t wire.Type, d *wire.Decoder, now time.Time) error {
	switch t {
	case wire.MetachangesLog:
		return s.change(d, now)
	case wire.Nop:
		return d.End()
	case wire.UnknownCommand, wire.BadCommandSize:
		return nil
	case wire.ForceTimeout:
		var p wire.Timeout
		if err := p.Decode(d); err != nil {
			return err
		}
		s.timeout.Store(int64(max(10, p.Seconds)) * int64(time.Second))
		return nil
	case wire.MasterAck:
		var p wire.Ack
		if err := p.Decode(d); err != nil {
			return err
		}
		if p.Type > 1 {
			return fmt.Errorf("the primary refuses the registration (%d)", p.Type)
		}
		return nil
	case wire.VersionReply, wire.DownloadInfo, wire.DownloadData:
		return s.answer(t, d)
	}
	return errors.New("metaloggers do not get such packets")
}

// change queues an entry.
func (s *session) change(d *wire.Decoder, now time.Time) error {
	var p wire.Change
	if err := p.Decode(d); err != nil {
		return err
	}
	if p.Rotate {
		s.live.cfg.Event(Event{Kind: Rotated, Text: s.live.cfg.Address})
		return nil
	}
	if p.Version == 0 {
		return errors.New("entry has version 0")
	}
	if err := checkText(p.Text); err != nil {
		return fmt.Errorf("entry %d: %w", p.Version, err)
	}
	return s.goal.q.add(p.Version, p.Text, now)
}

// due returns the note for an answer's type.
func (s *session) due(t wire.Type) *answerable {
	switch t {
	case wire.DownloadInfo:
		return &s.asked[0]
	case wire.DownloadData:
		return &s.asked[1]
	}
	return &s.version
}

// answer hands an answer that was asked for to run.
func (s *session) answer(t wire.Type, d *wire.Decoder) error {
	if !s.due(t).CompareAndSwap(true, false) {
		return errors.New("it was not asked for")
	}
	r := reply{typ: t}
	switch t {
	case wire.VersionReply:
		p := wire.Version{Numbered: true}
		if err := p.Decode(d); err != nil {
			return err
		}
		if p.MsgID != 1 {
			return fmt.Errorf("it answers question %d, not 1", p.MsgID)
		}
		r.release, r.text = p.Release, string(p.Text)
	case wire.DownloadInfo:
		if err := r.info.Decode(d); err != nil {
			return err
		}
	case wire.DownloadData:
		var p wire.Data
		if err := p.Decode(d); err != nil {
			return err
		}
		// run waits for this block, so it has no use for the one before.
		s.block = append(s.block[:0], p.Bytes...)
		r.offset, r.intact = p.Offset, p.Intact()
	}
	s.replies <- r
	return nil
}
