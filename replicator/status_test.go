package replicator

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/stream"
	"mfsstandby/replicator/tap"
)

// What a tap has that will not come into the stream is not told as received: a
// standby would wait for it for ever.
func TestReceived(t *testing.T) {
	r := &Replicator{status: tracker{log: slog.New(slog.DiscardHandler), events: events.New(events.Keep)}}
	received := func(want meta.Version, when string) {
		t.Helper()
		if got := r.Received(); got != want {
			t.Errorf("%s: received up to version %d, want %d", when, got, want)
		}
	}
	r.status.received(tap.Batch{Received: time.Now(), Entries: []meta.RawEntry{{Version: 7, Text: []byte("1|IDLE()")}}})
	received(8, "while it follows")
	r.status.wait(fmt.Errorf("%w: the tap of b follows the primary", errNotMine))
	received(0, "while another one follows")
	r.status.goOn()
	received(8, "when it goes on")
	r.status.fail(errors.New("the disk is full"))
	received(8, "when it cannot go on by itself")
	r.status.fail(fmt.Errorf("opening: %w", ErrLed))
	received(0, "when a leader has the stream")
	r.status.goOn()
	r.status.fail(fmt.Errorf("appending: %w", stream.ErrFenced))
	received(0, "when another writer has it")
}
