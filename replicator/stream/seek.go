package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/fence"
)

// Position is where a replica is. Only Version says how far; the rest helps to
// find the place and to prove that the replica's history is the stream's.
type Position struct {
	Version meta.Version // of the entry that comes next
	Epoch   Epoch        // of the last entry applied; 0 if not known
	Seq     Seq          // a hint: message of the last entry applied; 0 if not known
	Chain   Chain        // over the entries before Version; zero if not known
}

// seek gives the sequence to read from: that of a message that begins at or
// before pos, if there is one; of the oldest message for version 0.
func (c *Cluster) seek(ctx context.Context, st jetstream.StreamState, pos Position) (Seq, error) {
	if st.Msgs == 0 {
		return Seq(st.LastSeq + 1), nil
	}
	if pos.Version == 0 {
		return Seq(st.FirstSeq), nil
	}
	if ok, err := c.hintIsGood(ctx, pos); err != nil || ok {
		return pos.Seq, err
	}
	epoch, err := c.newestEpoch(ctx, Seq(st.FirstSeq), Seq(st.LastSeq))
	if err != nil {
		return 0, err
	}
	first, oldest, err := c.seekEpoch(ctx, pos, epoch)
	if err != nil {
		return 0, err
	}
	if first == nil {
		return 0, &GapError{Want: pos.Version, Have: oldest, Where: "the stream begins"}
	}
	return c.searchEpoch(ctx, pos.Version, first)
}

// hintIsGood tells whether the message at pos.Seq holds the entry before pos. It
// is only a shortcut: what it leads to is verified as if it had been searched.
func (c *Cluster) hintIsGood(ctx context.Context, pos Position) (bool, error) {
	if pos.Seq == 0 || pos.Epoch == 0 {
		return false, nil
	}
	m, _, err := c.fetch(ctx, pos.Seq)
	if damaged(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return m.Epoch == pos.Epoch && m.First <= pos.Version && pos.Version <= m.Next(), nil
}

// newestEpoch is the last that was opened.
func (c *Cluster) newestEpoch(ctx context.Context, first, last Seq) (Epoch, error) {
	for seq := last; seq >= first; seq-- {
		m, _, err := c.fetch(ctx, seq)
		if err == nil {
			m, err = c.climb(ctx, m)
			return m.Epoch, err
		}
		if !damaged(err) || seq == first {
			return 0, err
		}
	}
	return 0, jetstream.ErrMsgNotFound
}

// seekEpoch walks back over the epochs and gives the first message of the one
// to search in: of a replica that knows its epoch, the oldest not older than
// that; else the newest. Epochs may overlap in versions, after a rebase. If none
// begins at or before pos it gives nil and the lowest version there is.
func (c *Cluster) seekEpoch(ctx context.Context, pos Position, newest Epoch) (found *message, oldest meta.Version, err error) {
	for e := newest; e > 0; e-- {
		first, err := c.firstOf(ctx, e, 1)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break // dropped with a base image, as are those before
		}
		if err != nil {
			return nil, 0, err
		}
		if oldest == 0 || first.First < oldest {
			oldest = first.First
		}
		if first.First <= pos.Version {
			found = &first
		}
		if found != nil && (pos.Epoch == 0 || e <= pos.Epoch) {
			break
		}
	}
	return found, oldest, nil
}

// firstOf gives the first good message of an epoch at or behind seq.
func (c *Cluster) firstOf(ctx context.Context, e Epoch, seq Seq) (message, error) {
	for {
		raw, err := c.log.GetMsg(ctx, uint64(seq), jetstream.WithGetMsgSubject(c.epochSubject(e)))
		if err != nil {
			return message{}, fmt.Errorf("looking for epoch %d from sequence %d: %w", e, seq, err)
		}
		m, err := c.decodeRaw(raw)
		if err == nil {
			return m, nil
		}
		seq = Seq(raw.Sequence) + 1
	}
}

// searchEpoch gives the sequence of the epoch's last message that begins at or
// before v; first is one that does.
func (c *Cluster) searchEpoch(ctx context.Context, v meta.Version, first *message) (Seq, error) {
	raw, err := c.log.GetLastMsgForSubject(ctx, c.epochSubject(first.Epoch))
	if err != nil {
		return 0, err
	}
	// Of [lo, hi): lo begins at or before v; what is at hi or behind begins after v.
	lo, hi := first.Seq, Seq(raw.Sequence)+1
	// What lies behind the record that opens the next epoch does not count.
	switch next, err := c.firstOf(ctx, first.Epoch+1, 1); {
	case err == nil:
		hi = min(hi, next.Seq)
	case !errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, err
	}
	for hi-lo > 1 {
		mid := lo + (hi-lo)/2
		m, err := c.firstOf(ctx, first.Epoch, mid)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			hi = mid
		case err != nil:
			return 0, err
		case m.First > v || m.Seq >= hi:
			hi = mid
		case m.Kind != fence.Batch && m.Seq != first.Seq:
			hi = mid // an epoch is opened once; Judge deals with another
		default:
			lo = m.Seq
		}
	}
	return lo, nil
}
