package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/fence"
)

// recover finds out what became of the messages on the way after one failed:
// those that are in the stream are confirmed, the others sent again. It waits
// while NATS is away.
func (w *Writer) recover(ctx context.Context, cause error) error {
	w.log.Debug("a message was not acknowledged, reading the stream's end", "sequence", w.flights[0].rec.Seq, "err", cause)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := w.resync(ctx)
		if err == nil || errors.Is(err, ErrFenced) || errors.Is(err, ErrLost) {
			if err == nil && len(w.flights) > 0 {
				return w.refused(cause)
			}
			return err
		}
		w.log.Warn("the stream cannot be read, trying again", "err", err, "in", wait)
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the stream at version %d: %w", w.stored.Next, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// silences is how often a message may be sent without an answer while NATS
// answers otherwise: then it cannot write.
const silences = 3

// refused tells whether it is of no use to wait for messages that were sent
// again.
func (w *Writer) refused(cause error) error {
	first := w.flights[0].rec.First
	if permanent(cause) {
		return fmt.Errorf("appending version %d: %w", first, cause)
	}
	if !errors.Is(cause, jetstream.ErrAsyncPublishTimeout) {
		return nil
	}
	if w.silence++; w.silence < silences {
		return nil
	}
	w.silence = 0
	return fmt.Errorf("appending version %d: %w: it was sent %d times and not answered; see the log of the NATS server", first, ErrStorage, silences)
}

// permanent tells whether trying again at once is of no use: the server answered
// and the reason is not the state of the stream.
func permanent(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	const wrongLastMsgID = 10070
	switch api.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence, wrongLastMsgID:
		return false
	}
	return api.Code != 503 // no leader, no quorum
}

// resync compares the stream's end with what is on the way.
func (w *Writer) resync(ctx context.Context) error {
	info, err := w.c.log.Info(ctx)
	if err != nil {
		return err
	}
	last := Seq(info.State.LastSeq)
	if last < w.stored.Seq {
		w.err = fmt.Errorf("stream %s ends at sequence %d, acknowledged was %d (version %d): %w", w.c.name, last, w.stored.Seq, w.stored.Next, ErrLost)
		return w.err
	}
	for w.stored.Seq < last {
		raw, err := w.c.getMsg(ctx, w.stored.Seq+1)
		if errors.Is(err, jetstream.ErrMsgNotFound) && w.stored.Seq+1 < Seq(info.State.FirstSeq) {
			// Only what a base image replaces is trimmed, so others have gone on.
			w.err = &FencedError{Seq: w.stored.Seq + 1, Epoch: w.stored.Epoch + 1, Who: "an unknown writer", Why: "what it wrote was trimmed since"}
			return w.err
		}
		if err != nil {
			return fmt.Errorf("getting message %d: %w", w.stored.Seq+1, err)
		}
		if len(w.flights) == 0 || !bytes.Equal(raw.Data, w.flights[0].data) {
			w.err = w.fenced(Seq(raw.Sequence), raw.Data)
			return w.err
		}
		if err := w.confirm(); err != nil {
			return err
		}
	}
	for i := range w.flights {
		w.publish(&w.flights[i])
	}
	return nil
}

// fenced describes the message that stands where this writer's should.
func (w *Writer) fenced(seq Seq, data []byte) error {
	m, err := w.c.decode(seq, data)
	if err != nil {
		return fmt.Errorf("%w: and what stands in its place is no good: %w", ErrFenced, err)
	}
	if m.Kind == fence.Batch {
		return &FencedError{Seq: seq, Epoch: m.Epoch, Who: "an unknown writer", Why: fmt.Sprintf("it appended versions %d to %d", m.First, m.Next()-1)}
	}
	return &FencedError{Seq: seq, Epoch: m.Epoch, Who: m.control.Who, Why: m.control.Why}
}

// compare checks entries that the stream has already.
func (w *Writer) compare(ctx context.Context, entries []meta.RawEntry) error {
	if err := w.Flush(ctx); err != nil {
		return err
	}
	for len(entries) > 0 {
		rest, err := w.compareFrom(ctx, entries)
		var rebase *RebaseError
		switch {
		case errors.As(err, &rebase) && rebase.Base > entries[0].Version:
			// What lies before the base image no longer matters.
			rest = entries[min(len(entries), int(rebase.Base-entries[0].Version)):]
		case err != nil:
			return fmt.Errorf("comparing with the stream from version %d: %w", entries[0].Version, err)
		}
		entries = rest
	}
	return nil
}

// compareFrom compares as far as the history goes on, and gives the rest.
func (w *Writer) compareFrom(ctx context.Context, entries []meta.RawEntry) ([]meta.RawEntry, error) {
	r := w.c.Reader(Position{Version: entries[0].Version}, ReaderConfig{})
	defer r.Close()
	for len(entries) > 0 {
		batch, err := r.Next(ctx)
		if err != nil {
			return entries, err
		}
		for _, e := range batch.Entries {
			if len(entries) == 0 {
				break
			}
			if !bytes.Equal(e.Text, entries[0].Text) {
				return entries, &DivergedError{Version: e.Version, Seq: batch.End.Seq, Here: bytes.Clone(entries[0].Text), Stream: bytes.Clone(e.Text)}
			}
			entries = entries[1:]
		}
	}
	return nil, nil
}
