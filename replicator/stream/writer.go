package stream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/fence"
)

// WriterConfig describes a Writer. Only Who is needed.
type WriterConfig struct {
	Who          string // host and role, for people
	Release      string // of the primary, e.g. "3.0.117"
	MessageBytes int    // a message is closed when it is this long; default 512 KiB
	Window       int    // messages on the way at once; default 4

	// Leads marks all that is written as a leader's own, see Writer.Led.
	// As names the term under which a leader's stock master is followed; Writer.LedAs
	// tells it. It has no spaces.
	Leads bool
	As    string

	// Salvage opens a stream whose last messages are damaged. Only Rebase is
	// possible then.
	Salvage bool
}

const (
	defaultMessageBytes = 512 << 10
	defaultWindow       = 4
	headersRoom         = 1 << 10 // bytes of NATS headers in a message, at most

	roleHeader = "Mfsstandby-Role" // of the writer, in all its messages, so that it outlives trimming
	roleLeader = "leader"
)

// Writer appends entries, each exactly once, and only in its own epoch. It is for
// one goroutine; Acked may be called by all.
//
// Append gives messages to NATS and returns; up to Window of them, one where
// several servers keep the stream, wait for their acknowledgement. Errors of earlier messages are found by the next call. While
// NATS is away, Append and Flush wait until ctx ends.
type Writer struct {
	c   *Cluster
	cfg WriterConfig
	id  string // tells this writer's control records from others'
	log *slog.Logger

	opened  bool
	cluster bool // several servers keep the stream: messages go one by one, see readEnd
	led     bool // what was stored last, by whoever, was a leader's
	ledAs   string
	salvage bool
	err     error // fenced or worse: for good

	sent    fence.State // the stream's end when all on the way has arrived
	sentID  string      // message id of the last one sent; "" if it has none
	stored  fence.State // the end of what is acknowledged
	flights []flight    // on the way, oldest first
	silence int         // how often the oldest was not answered while NATS was there

	inStream atomic.Uint64 // stored.Next
	acked    atomic.Uint64 // what of it is as durable as it gets
	syncing  sync.Mutex    // held by Sync

	target int // bytes of a message
	limit  int // bytes an entry may have
	enc    encoder
	spare  [][]byte
}

// flight is a message on the way.
type flight struct {
	rec    fence.Record
	id     string
	prev   string // id of the message before, "" if not known
	data   []byte
	future jetstream.PubAckFuture // nil if it could not be sent
}

// OpenWriter reads where the stream ends. Nothing is written yet. The error is
// ErrCorrupt if the last message is damaged; see Salvage.
func (c *Cluster) OpenWriter(ctx context.Context, cfg WriterConfig) (*Writer, error) {
	if cfg.Who == "" {
		return nil, errors.New("a writer needs a name")
	}
	if cfg.MessageBytes <= 0 {
		cfg.MessageBytes = defaultMessageBytes
	}
	if cfg.Window <= 0 {
		cfg.Window = defaultWindow
	}
	limit := int(min(c.conn.nc.MaxPayload(), maxPayload)) - headersRoom - headRoom - countSize - sumSize
	w := &Writer{
		c: c, cfg: cfg, id: rand.Text(), log: c.conn.log.With("part", "stream", "stream", c.name),
		target: min(cfg.MessageBytes, limit), limit: limit - countSize,
	}
	if err := w.readEnd(ctx); err != nil {
		return nil, fmt.Errorf("reading the end of stream %s: %w", c.name, err)
	}
	return w, nil
}

// readEnd sets the state from the last message.
func (w *Writer) readEnd(ctx context.Context) error {
	info, err := w.c.log.Info(ctx)
	if err != nil {
		return err
	}
	w.stored = fence.State{Seq: Seq(info.State.LastSeq)}
	if w.cluster = info.Cluster != nil && info.Cluster.Name != ""; w.cluster {
		// Each server compares the id of the message before with that of the last
		// one it got itself, and forgets it when it catches up with the others: then
		// it takes the message for one that it cannot store, and gives the stream up
		// (nats-server 2.15: processCatchupMsg leaves lmsgId as it is). So ids are of
		// no use here. The sequence alone does the same if a message is sent only
		// when the one before it is acknowledged: what was fenced off then wants a
		// sequence that is taken.
		w.cfg.Window = 1
	}
	for seq := info.State.LastSeq; info.State.Msgs > 0 && seq >= info.State.FirstSeq; seq-- {
		m, raw, err := w.c.fetch(ctx, Seq(seq))
		if err == nil && m.Kind == fence.Batch {
			_, _, err = m.entries(nil, 0)
		}
		if err != nil {
			if !w.cfg.Salvage || !damaged(err) {
				return err
			}
			w.log.Error("passing over a damaged message at the stream's end", "err", err)
			w.salvage = true
			continue
		}
		if m, err = w.c.climb(ctx, m); err != nil {
			return err
		}
		w.stored = fence.State{Seq: w.stored.Seq, Epoch: m.Epoch, Next: m.Next(), Chain: m.After}
		var who string
		who, w.ledAs, _ = strings.Cut(raw.Header.Get(roleHeader), " ")
		w.led = who == roleLeader
		if !w.salvage {
			w.sentID = raw.Header.Get(jetstream.MsgIDHeader)
		}
		break
	}
	w.sent = w.stored
	w.inStream.Store(uint64(w.stored.Next))
	return w.Sync() // a process that was killed may have left it in memory
}

// damaged tells whether err means that there is a message, or was one, that is of
// no use.
func damaged(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrForeign) || errors.Is(err, jetstream.ErrMsgNotFound)
}

// Next is the version of the entry that Append wants next; 0 if the stream is
// empty and needs Rebase first.
func (w *Writer) Next() meta.Version { return w.sent.Next }

// Led tells whether a leader wrote what the stream ended with when this writer
// was opened: entries of the primary do not continue it then.
func (w *Writer) Led() bool { return w.led }

// LedAs is the WriterConfig.As of who wrote that; "" if it has none.
func (w *Writer) LedAs() string { return w.ledAs }

// Acked is the version up to which (exclusive) entries are stored as durably as
// the server was told to. Safe for concurrent use.
func (w *Writer) Acked() meta.Version { return meta.Version(w.acked.Load()) }

// End is the position at the end of what is stored.
func (w *Writer) End() Position {
	return Position{Version: w.stored.Next, Epoch: w.stored.Epoch, Seq: w.stored.Seq, Chain: w.stored.Chain}
}

// SetRelease changes the primary's release for the batches to come.
func (w *Writer) SetRelease(release string) { w.cfg.Release = release }

// Open opens the next epoch where the stream ends, and returns when that is
// stored: older writers cannot append any more. ErrFenced if another writer was
// faster.
func (w *Writer) Open(ctx context.Context, why string, now time.Time) error {
	if w.sent.Epoch == 0 {
		return fmt.Errorf("opening an epoch of an empty stream: %w", ErrNoEpoch)
	}
	if w.salvage {
		return fmt.Errorf("the end of stream %s is damaged: only Rebase on a new base image is possible: %w", w.c.name, ErrCorrupt)
	}
	return w.control(ctx, fence.State.Open, why, now)
}

// Rebase opens the next epoch at the base image of version v, which must have
// been stored (ErrNoBase). It starts an empty stream, and continues one when
// entries are missing for ever: followers must move to that image.
func (w *Writer) Rebase(ctx context.Context, v meta.Version, why string, now time.Time) error {
	if err := w.Flush(ctx); err != nil {
		return err
	}
	// From now on the image leads to the epoch to be opened. Should another
	// writer open it first, the chain gives the image away.
	rec := w.sent.Rebase(v)
	if err := w.c.moveBase(ctx, v, rec.Epoch, rec.After); err != nil {
		return fmt.Errorf("rebase on version %d: %w", v, err)
	}
	return w.control(ctx, func(s fence.State) fence.Record { return s.Rebase(v) }, why, now)
}

func (w *Writer) control(ctx context.Context, record func(fence.State) fence.Record, why string, now time.Time) error {
	if err := w.Flush(ctx); err != nil {
		return err
	}
	m := message{
		Record: record(w.sent), metaid: w.c.metaid, release: w.cfg.Release, received: now,
		control: Control{Who: w.cfg.Who, Why: why, ID: w.id},
	}
	data, sum, err := encodeControl(&m)
	if err != nil {
		return err
	}
	m.sum = sum
	w.launch(&m, data)
	if err := w.Flush(ctx); err != nil {
		return fmt.Errorf("opening epoch %d: %w", m.Epoch, err)
	}
	w.opened, w.salvage = true, false
	return nil
}

// Append appends entries of consecutive versions that continue at Next. Entries
// before Next are compared with those in the stream instead: *DivergedError if
// they differ. Texts are copied; received is when the last was received. After an
// error Next tells how far Append came.
func (w *Writer) Append(ctx context.Context, entries []meta.RawEntry, received time.Time) error {
	if w.err != nil {
		return w.err
	}
	if !w.opened {
		return ErrNoEpoch
	}
	if err := w.check(entries); err != nil {
		return err
	}
	if len(entries) > 0 && entries[0].Version < w.sent.Next {
		known := min(len(entries), int(w.sent.Next-entries[0].Version))
		if err := w.compare(ctx, entries[:known]); err != nil {
			return err
		}
		entries = entries[known:]
	}
	for len(entries) > 0 {
		w.enc.begin(w.buffer(), w.sent.Chain)
		n := 0
		for n < len(entries) && (n == 0 || w.enc.size()+countSize+len(entries[n].Text) <= w.target) {
			w.enc.add(entries[n].Version, entries[n].Text)
			n++
		}
		if err := w.send(ctx, received); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// check looks at versions and lengths before anything is appended.
func (w *Writer) check(entries []meta.RawEntry) error {
	if len(entries) == 0 {
		return nil
	}
	want := entries[0].Version
	if want > w.sent.Next {
		return &GapError{Want: w.sent.Next, Have: want, Where: "entries to append begin"}
	}
	for i := range entries {
		if entries[i].Version != want {
			return &GapError{Want: want, Have: entries[i].Version, Where: "an entry to append is"}
		}
		if len(entries[i].Text) > w.limit {
			return fmt.Errorf("entry %d of %d bytes: %w for messages of %d bytes; raise max_payload of the NATS server",
				want, len(entries[i].Text), ErrTooBig, w.c.conn.nc.MaxPayload())
		}
		want++
	}
	return nil
}

func (w *Writer) buffer() []byte {
	if n := len(w.spare); n > 0 {
		b := w.spare[n-1]
		w.spare = w.spare[:n-1]
		return b
	}
	return nil
}

// send closes the encoder's batch and puts it on the way, when there is room.
func (w *Writer) send(ctx context.Context, received time.Time) error {
	if err := w.settle(ctx, w.cfg.Window-1); err != nil {
		return err
	}
	m := message{Record: w.sent.Batch(w.enc.count, w.enc.chain), metaid: w.c.metaid, release: w.cfg.Release, received: received}
	data, sum, err := w.enc.finish(&m)
	if err != nil {
		return err
	}
	m.sum = sum
	w.launch(&m, data)
	return nil
}

// launch puts a message on the way, behind what is there.
func (w *Writer) launch(m *message, data []byte) {
	f := flight{rec: m.Record, id: m.id(), prev: w.sentID, data: data}
	w.publish(&f)
	w.flights = append(w.flights, f)
	w.sent = fence.State{Seq: m.Seq, Epoch: m.Epoch, Next: m.Next(), Chain: m.After}
	w.sentID = f.id
}

// publish sends a message, also again. What goes wrong shows in the future.
func (w *Writer) publish(f *flight) {
	msg := &nats.Msg{Subject: w.c.epochSubject(f.rec.Epoch), Data: f.data, Header: nats.Header{
		jetstream.MsgIDHeader:           []string{f.id},
		jetstream.ExpectedLastSeqHeader: []string{strconv.FormatUint(uint64(f.rec.Seq-1), 10)},
	}}
	if w.cfg.Leads {
		msg.Header[roleHeader] = []string{strings.TrimSpace(roleLeader + " " + w.cfg.As)}
	}
	if f.prev != "" && !w.cluster {
		msg.Header[jetstream.ExpectedLastMsgIDHeader] = []string{f.prev}
	}
	future, err := w.c.conn.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0))
	if err != nil {
		w.log.Debug("sending", "sequence", f.rec.Seq, "err", err)
		future = nil
	}
	f.future = future
}

// Settle waits until everything appended is in the stream, where readers see it.
func (w *Writer) Settle(ctx context.Context) error {
	if w.err != nil {
		return w.err
	}
	return w.settle(ctx, 0)
}

// Flush waits until everything appended is in the stream and acknowledged.
func (w *Writer) Flush(ctx context.Context) error {
	if err := w.Settle(ctx); err != nil {
		return err
	}
	return w.Sync()
}

// Sync acknowledges what is in the stream, as soon as it is on the disk where
// the server of this process is to have it there. It may run beside all other
// methods: readers then see entries while Sync waits for the disk. Without it, or
// Flush, nothing is acknowledged.
func (w *Writer) Sync() error {
	w.syncing.Lock()
	defer w.syncing.Unlock()
	upto := w.inStream.Load()
	if upto == w.acked.Load() {
		return nil
	}
	if err := w.c.conn.harden(w.c.name); err != nil {
		return err
	}
	w.acked.Store(upto)
	return nil
}

// settle takes acknowledgements until at most n messages are on the way.
func (w *Writer) settle(ctx context.Context, n int) error {
	for len(w.flights) > 0 {
		err := w.await(ctx, &w.flights[0], len(w.flights) > n)
		if errors.Is(err, errPending) {
			return nil
		}
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("waiting for the stream at version %d: %w", w.stored.Next, ctx.Err())
		}
		switch {
		case errors.Is(err, ErrStorage):
			return fmt.Errorf("appending version %d: %w", w.stored.Next, err)
		case err != nil:
			err = w.recover(ctx, err)
		default:
			err = w.confirm()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var (
	errPending  = errors.New("not acknowledged yet")
	errNoAnswer = errors.New("not sent, or its answer is lost")
)

// await gives nil when the message is stored where it was meant to be. A future
// answers once: it is dropped with its answer, so that a message whose answer
// was not dealt with is looked for in the stream.
func (w *Writer) await(ctx context.Context, f *flight, wait bool) error {
	if f.future == nil {
		return errNoAnswer
	}
	select {
	case ack := <-f.future.Ok():
		return f.answered(ack, nil)
	case err := <-f.future.Err():
		return f.answered(nil, err)
	default:
		if !wait {
			return errPending
		}
	}
	fault := w.c.conn.fault()
	select {
	case ack := <-f.future.Ok():
		return f.answered(ack, nil)
	case err := <-f.future.Err():
		return f.answered(nil, err)
	case <-fault.found:
		return fault.err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *flight) answered(ack *jetstream.PubAck, err error) error {
	f.future = nil
	if err == nil && Seq(ack.Sequence) != f.rec.Seq {
		err = fmt.Errorf("stored at sequence %d, want %d", ack.Sequence, f.rec.Seq)
	}
	return err
}

// confirm counts the oldest message as stored.
func (w *Writer) confirm() error {
	w.silence = 0
	f := w.flights[0]
	w.flights = w.flights[:copy(w.flights, w.flights[1:])]
	w.stored = fence.State{Seq: f.rec.Seq, Epoch: f.rec.Epoch, Next: f.rec.Next(), Chain: f.rec.After}
	w.inStream.Store(uint64(w.stored.Next))
	if !w.c.conn.hardens() { // the server has done it
		if err := w.Sync(); err != nil {
			return err
		}
	}
	if len(w.spare) < w.cfg.Window {
		w.spare = append(w.spare, f.data[:0])
	}
	return nil
}
