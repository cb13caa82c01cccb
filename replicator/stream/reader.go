package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/fence"
)

// ReaderConfig describes a Reader.
type ReaderConfig struct {
	Prefetch  int           // bytes of messages fetched ahead, at most; default 16 MiB, at least two messages
	IdleCheck time.Duration // when nothing comes for so long, look whether the stream is still the same; default 3 s
}

// lookInterval is how soon a reader for which nothing comes notices that the
// connection was lost and is there again.
const lookInterval = 100 * time.Millisecond

// prefetchMessages bounds the number of messages fetched ahead, beside their bytes.
const prefetchMessages = 512

// Reader gives the entries of a stream from a position on, in order, each once. It
// is for one goroutine.
type Reader struct {
	c   *Cluster
	cfg ReaderConfig
	log *slog.Logger

	pos Position // what Next gives next

	// Set while messages are read:
	it      jetstream.MessagesContext
	state   fence.State // of the stream, at or before pos
	started bool        // state is set
	created time.Time   // of the stream
	nextCon uint64      // the consumer's number of the next message

	connection uint64        // which of the connections to NATS the consumer was made on
	idle       time.Duration // how long nothing has come, about
}

// Batch is what Next gives: entries that continue at the position before, or a
// control record that opened an epoch.
type Batch struct {
	Entries  []meta.RawEntry // texts alias memory that is the batch's own
	Control  *Control        // of a control record; nil else
	End      Position        // after the batch: to be kept with the data
	Release  string          // of the primary
	Received time.Time       // when the tap had the last entry
}

// Reader starts reading at pos. A zero pos.Version is the oldest entry kept.
// Nothing is asked of NATS before Next is called.
func (c *Cluster) Reader(pos Position, cfg ReaderConfig) *Reader {
	if cfg.Prefetch <= 0 {
		cfg.Prefetch = 16 << 20
	}
	if cfg.IdleCheck <= 0 {
		cfg.IdleCheck = 3 * time.Second
	}
	return &Reader{c: c, cfg: cfg, pos: pos, log: c.conn.log.With("part", "stream", "stream", c.name)}
}

// Position is where Next continues.
func (r *Reader) Position() Position { return r.pos }

// Close ends the reading.
func (r *Reader) Close() { r.stop() }

func (r *Reader) stop() {
	if r.it != nil {
		r.it.Stop()
		r.it = nil
	}
	r.started = false
}

// Next waits for the next batch. While NATS is away it waits, until ctx ends.
// Errors to decide on: ErrGap, ErrRebase and ErrDiverged: the replica must load a
// base image. ErrCorrupt, ErrForeign: a message is no good, and was so when read
// again. The position stays before the error; Next may be called again.
func (r *Reader) Next(ctx context.Context) (*Batch, error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		batch, err := r.next(ctx)
		switch {
		case err == nil:
			return batch, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		r.stop()
		if final(err) {
			return nil, err
		}
		r.log.Warn("reading the stream again", "version", r.pos.Version, "err", err, "in", wait)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// final tells whether err is about what the stream holds.
func final(err error) bool {
	for _, f := range []error{ErrGap, ErrRebase, ErrDiverged, ErrCorrupt, ErrForeign} {
		if errors.Is(err, f) {
			return true
		}
	}
	return false
}

// errMoved: the consumer skipped something, or the stream is another one.
var errMoved = errors.New("the stream or its consumer changed")

// next reads until there is something to give.
func (r *Reader) next(ctx context.Context) (*Batch, error) {
	for {
		if r.it == nil {
			if err := r.start(ctx); err != nil {
				return nil, err
			}
		}
		msg, err := r.receive(ctx)
		if err != nil {
			return nil, err
		}
		if msg == nil {
			continue
		}
		md, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		if md.Sequence.Consumer != r.nextCon {
			return nil, fmt.Errorf("%w: message %d of the consumer instead of %d", errMoved, md.Sequence.Consumer, r.nextCon)
		}
		r.nextCon++
		batch, err := r.accept(Seq(md.Sequence.Stream), msg.Data())
		if errors.Is(err, ErrCorrupt) {
			batch, err = r.again(ctx, Seq(md.Sequence.Stream), err)
		}
		if batch != nil || err != nil {
			return batch, err
		}
	}
}

// again reads a damaged message once more from the store: the damage may have
// happened on the way.
func (r *Reader) again(ctx context.Context, seq Seq, cause error) (*Batch, error) {
	raw, err := r.c.getMsg(ctx, seq)
	if err != nil {
		return nil, cause
	}
	return r.accept(seq, raw.Data)
}

// start makes a consumer that begins at the position. It lives in the server's
// memory and goes away with the reader.
func (r *Reader) start(ctx context.Context) error {
	r.connection, r.idle = r.c.conn.reconnects(), 0
	info, err := r.c.log.Info(ctx)
	if err != nil {
		return err
	}
	seq, err := r.c.seek(ctx, info.State, r.pos)
	if err != nil {
		return fmt.Errorf("looking for version %d: %w", r.pos.Version, err)
	}
	con, err := r.c.log.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(seq),
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 30 * time.Second,
	})
	if err != nil {
		return fmt.Errorf("making a consumer: %w", err)
	}
	limit := max(r.cfg.Prefetch, 2*maxPayload)
	r.it, err = con.Messages(jetstream.PullMaxMessagesWithBytesLimit(prefetchMessages, limit),
		jetstream.PullExpiry(30*time.Second), jetstream.PullHeartbeat(time.Second), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return fmt.Errorf("consuming: %w", err)
	}
	r.created, r.nextCon, r.started = info.Created, 1, false
	r.state = fence.State{Seq: seq - 1}
	return nil
}

// receive waits for a message; none came if both results are nil.
func (r *Reader) receive(ctx context.Context) (jetstream.Msg, error) {
	look, cancel := context.WithTimeout(ctx, min(lookInterval, r.cfg.IdleCheck))
	defer cancel()
	msg, err := r.it.Next(jetstream.NextContext(look))
	if err == nil {
		r.idle = 0
		return msg, nil
	}
	if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	if r.c.conn.reconnects() != r.connection {
		return nil, fmt.Errorf("%w: the connection was lost for a while", errMoved)
	}
	if r.idle += lookInterval; r.idle < r.cfg.IdleCheck {
		return nil, nil
	}
	r.idle = 0
	return nil, r.sameStream(ctx)
}

// sameStream fails if the stream was made anew, cut back, or has messages that
// the consumer does not deliver.
func (r *Reader) sameStream(ctx context.Context) error {
	info, err := r.c.log.Info(ctx)
	if err != nil {
		return err
	}
	switch last := Seq(info.State.LastSeq); {
	case !info.Created.Equal(r.created):
		return fmt.Errorf("%w: it was created anew", errMoved)
	case last < r.state.Seq:
		return fmt.Errorf("%w: it ends at sequence %d, %d was read", errMoved, last, r.state.Seq)
	case last > r.state.Seq && info.State.Msgs > 0:
		return fmt.Errorf("%w: it ends at sequence %d, and after %d nothing comes", errMoved, last, r.state.Seq)
	}
	return nil
}

// accept judges one message. It gives nil if there is nothing new in it.
func (r *Reader) accept(seq Seq, data []byte) (*Batch, error) {
	m, err := r.c.decode(seq, data)
	if err != nil {
		return nil, r.at(err)
	}
	state := r.state
	if !r.started {
		state = fence.Before(m.Record)
		if r.pos.Version == 0 {
			r.pos.Version = m.First
		}
		if m.Kind != fence.Rebase && m.First > r.pos.Version {
			return nil, &GapError{Want: r.pos.Version, Have: m.First, Where: fmt.Sprintf("message %d begins", seq)}
		}
	}
	next, verdict, err := state.Judge(m.Record)
	if errors.Is(err, fence.ErrGap) {
		return nil, &GapError{Want: state.Next, Have: m.First, Where: fmt.Sprintf("message %d begins", seq)}
	}
	if err != nil {
		return nil, &CorruptError{Seq: seq, Version: r.pos.Version, Err: err}
	}
	var batch *Batch
	switch {
	case verdict != fence.Accept:
		r.log.Debug("passing over a message of a fenced writer", "sequence", seq, "epoch", m.Epoch)
	case m.Kind == fence.Batch:
		batch, err = r.acceptEntries(&m)
	default:
		batch, err = r.acceptControl(&m)
	}
	if err != nil {
		return nil, err
	}
	r.state, r.started = next, true
	if batch != nil {
		r.pos = batch.End
	}
	return batch, nil
}

// at adds the version wanted to an error about a message.
func (r *Reader) at(err error) error {
	var c *CorruptError
	if errors.As(err, &c) && c.Version == 0 {
		c.Version = r.pos.Version
	}
	return err
}

// acceptEntries gives those from the position on, or nil if there are none.
func (r *Reader) acceptEntries(m *message) (*Batch, error) {
	entries, chain, err := m.entries(make([]meta.RawEntry, 0, m.Count), r.pos.Version)
	if err != nil {
		return nil, err
	}
	if r.pos.Version > m.Next() {
		return nil, nil // behind the position: the stream is being filled again
	}
	if err := r.sameHistory(m, chain); err != nil {
		return nil, err
	}
	entries = entries[r.pos.Version-m.First:]
	if len(entries) == 0 {
		// Nothing new; from here on the chain is known and the hint right.
		r.pos = Position{Version: r.pos.Version, Epoch: max(r.pos.Epoch, m.Epoch), Seq: m.Seq, Chain: chain}
		return nil, nil
	}
	return &Batch{Entries: entries, End: m.end(), Release: m.release, Received: m.received}, nil
}

func (m *message) end() Position {
	return Position{Version: m.Next(), Epoch: m.Epoch, Seq: m.Seq, Chain: m.After}
}

// sameHistory compares the stream's chain at the position with the replica's.
func (r *Reader) sameHistory(m *message, chain Chain) error {
	if r.pos.Chain.IsZero() || r.pos.Chain == chain {
		return nil
	}
	return &DivergedError{Version: r.pos.Version, Seq: m.Seq, HereChain: r.pos.Chain, ThatChain: chain}
}

// acceptControl lets a replica into the next epoch, or tells it to move to
// another base image.
func (r *Reader) acceptControl(m *message) (*Batch, error) {
	inside := r.pos.Epoch == 0 || r.pos.Epoch >= m.Epoch // of this epoch already
	if m.Kind == fence.Rebase && (!inside || m.First > r.pos.Version) {
		return nil, &RebaseError{Seq: m.Seq, Epoch: m.Epoch, At: r.pos.Version, Base: m.First, Control: m.control, Received: m.received}
	}
	if m.First != r.pos.Version {
		return nil, nil // on the way to the position
	}
	if err := r.sameHistory(m, m.After); err != nil {
		return nil, err
	}
	if r.pos.Epoch >= m.Epoch {
		return nil, nil // it is known already
	}
	control := m.control
	return &Batch{Control: &control, End: m.end(), Release: m.release, Received: m.received}, nil
}
