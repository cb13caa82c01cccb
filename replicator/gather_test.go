package replicator

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/spool"
	"mfsstandby/replicator/tap"
)

// timedSource notes when it is asked, and gives batches of so many entries.
type timedSource struct {
	sizes []int
	next  meta.Version
	asked []time.Time
}

func (s *timedSource) Next(context.Context) (tap.Batch, error) {
	s.asked = append(s.asked, time.Now())
	if len(s.sizes) == 0 {
		return tap.Batch{}, io.EOF
	}
	b := tap.Batch{Received: time.Now()}
	for range s.sizes[0] {
		b.Entries = append(b.Entries, meta.RawEntry{Version: s.next, Text: []byte("1|IDLE()")})
		s.next++
	}
	s.sizes = s.sizes[1:]
	return b, nil
}

func (s *timedSource) Close() error { return nil }

// While others need the processors, what comes in small pieces is gathered; all of
// it arrives.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sp, err := spool.Open(spool.Config{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer sp.Close()
		if err := sp.Reset(spool.Start{Next: 5}); err != nil {
			t.Fatal(err)
		}
		busy := false
		r := &Replicator{spool: sp, cfg: Config{Busy: func() bool { return busy }}, status: tracker{log: slog.New(slog.DiscardHandler), events: events.New(events.Keep)}}
		receive := func(ctx context.Context, sizes ...int) (pauses []time.Duration, err error) {
			pos, err := sp.Position()
			if err != nil {
				t.Fatal(err)
			}
			src := &timedSource{sizes: sizes, next: pos.End}
			err = r.receive(ctx, src)
			for i := 1; i < len(src.asked); i++ {
				pauses = append(pauses, src.asked[i].Sub(src.asked[i-1]))
			}
			return pauses, err
		}
		for _, c := range []struct {
			busy bool
			want []time.Duration
		}{{false, []time.Duration{0, 0, 0}}, {true, []time.Duration{gatherFor, 0, gatherFor}}} {
			busy = c.busy
			before, _ := sp.Position()
			got, err := receive(t.Context(), 1, gatherMost, gatherMost-1)
			if !errors.Is(err, io.EOF) || len(got) != 3 || got[0] != c.want[0] || got[1] != c.want[1] || got[2] != c.want[2] {
				t.Errorf("busy %v: pauses of %v (%v), want %v", c.busy, got, err, c.want)
			}
			if after, _ := sp.Position(); after.End != before.End+2*gatherMost {
				t.Errorf("busy %v: %d entries in the spool, want %d", c.busy, after.End-before.End, 2*gatherMost)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), gatherFor/2)
		defer cancel()
		if got, err := receive(ctx, 1, 1); !errors.Is(err, context.DeadlineExceeded) || len(got) != 0 {
			t.Errorf("a pause that is cut short: %v, after pauses of %v", err, got)
		}
	})
}
