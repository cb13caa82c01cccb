package stream

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"mfsstandby/changelog/meta"
)

// TestLed: whoever opens the stream sees whether a leader wrote last, also when
// the record that opened its epoch is gone, and until another writer goes on.
func TestLed(t *testing.T) {
	c := newCluster(t)
	led := func(want bool, when string) *Writer {
		t.Helper()
		w := openWriter(t, c, "looks")
		if w.Led() != want {
			t.Fatalf("%s: led %v, want %v", when, w.Led(), want)
		}
		return w
	}
	led(false, "empty")
	tap := newWriter(t, c, 10)
	late := led(false, "a tap's")
	leader, err := c.OpenWriter(t.Context(), WriterConfig{Who: "leader", Leads: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.Open(t.Context(), "promoted", testTime); err != nil {
		t.Fatal(err)
	}
	led(true, "after the record that opens the epoch")
	entry := []meta.RawEntry{{Version: 10, Text: fmt.Append(nil, "17|ACCESS(1)")}}
	if err := leader.Append(t.Context(), entry, testTime); err != nil {
		t.Fatal(err)
	}
	if err := leader.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.log.Purge(t.Context(), jetstream.WithPurgeKeep(1)); err != nil {
		t.Fatal(err)
	}
	entry[0].Version = 11
	if err := leader.Append(t.Context(), entry, testTime); err != nil {
		t.Fatal(err)
	}
	if err := leader.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := led(true, "after a batch")
	for name, old := range map[string]*Writer{"the tap": tap, "a tap that looked before": late} {
		if err := old.Open(t.Context(), "again", testTime); !errors.Is(err, ErrFenced) {
			t.Errorf("%s opens an epoch: %v", name, err)
		}
	}
	if err := w.Open(t.Context(), "takes over", testTime); err != nil {
		t.Fatal(err)
	}
	led(false, "after another writer's epoch")
}
