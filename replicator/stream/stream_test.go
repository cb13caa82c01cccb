package stream

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
)

func TestWriteRead(t *testing.T) {
	c := newCluster(t)
	w := newWriter(t, c, 1000)
	for _, batch := range []int{1, 7, 100} {
		appendAll(t, w, 700, batch)
	}
	if w.Next() != 3100 || w.Acked() != 3100 {
		t.Fatalf("next %d, acked %d, want 3100", w.Next(), w.Acked())
	}
	for _, from := range []meta.Version{0, 1000, 1001, 1699, 1700, 1705, 2405, 3099, 3100} {
		r := c.Reader(Position{Version: from}, ReaderConfig{})
		readTo(t, r, 3100)
		if from != 3100 {
			if got, want := r.Position(), w.End(); got != want {
				t.Errorf("from %d: position %+v, want %+v", from, got, want)
			}
		}
		r.Close()
	}
}

func TestReaderFollows(t *testing.T) {
	c := newCluster(t)
	w := newWriter(t, c, 5)
	r := c.Reader(Position{Version: 5}, ReaderConfig{})
	defer r.Close()
	for i := range 200 {
		if err := w.Append(t.Context(), makeEntries(w.Next(), i%5+1), testTime.Add(time.Duration(i))); err != nil {
			t.Fatal(err)
		}
		readTo(t, r, w.Next())
	}
}

func TestBatchFields(t *testing.T) {
	c := newCluster(t)
	w := newWriter(t, c, 5)
	appendAll(t, w, 3, 3)
	r := c.Reader(Position{}, ReaderConfig{})
	defer r.Close()
	first, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if first.Control == nil || first.Control.Who != "first" || first.Control.Why != "first base image" || first.Control.ID == "" || first.End.Version != 5 || len(first.Entries) != 0 {
		t.Fatalf("control record: got %+v %+v", first, first.Control)
	}
	b, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b.Control != nil || b.Release != "3.0.117" || !b.Received.Equal(testTime) || len(b.Entries) != 3 || b.End != w.End() || b.End.Epoch != 1 || b.End.Seq != 2 {
		t.Fatalf("batch: got %+v, writer's end %+v", b, w.End())
	}
}

func TestEpochs(t *testing.T) {
	c := newCluster(t)
	old := newWriter(t, c, 100)
	appendAll(t, old, 50, 10)
	next := openWriter(t, c, "second")
	if err := next.Append(t.Context(), makeEntries(150, 1), testTime); !errors.Is(err, ErrNoEpoch) {
		t.Fatalf("append before Open: got %v, want ErrNoEpoch", err)
	}
	if err := next.Open(t.Context(), "promoted", testTime); err != nil {
		t.Fatal(err)
	}
	// The old writer has sent several messages before it learns.
	var err error
	for i := 0; err == nil && i < 20; i++ {
		err = old.Append(t.Context(), makeEntries(old.Next(), 2), testTime)
	}
	var fenced *FencedError
	if !errors.As(err, &fenced) || fenced.Who != "second" || fenced.Why != "promoted" || fenced.Epoch != 2 {
		t.Fatalf("old writer: got %v, want it fenced by second", err)
	}
	if old.Acked() != 150 {
		t.Fatalf("old writer: acked %d, want 150", old.Acked())
	}
	for _, err := range []error{old.Append(t.Context(), makeEntries(150, 1), testTime), old.Flush(t.Context()), old.Open(t.Context(), "again", testTime)} {
		if !errors.Is(err, ErrFenced) {
			t.Fatalf("fenced writer goes on: %v", err)
		}
	}
	appendAll(t, next, 50, 10)
	r := c.Reader(Position{Version: 100}, ReaderConfig{})
	defer r.Close()
	readTo(t, r, 200)
	if info, err := c.log.Info(t.Context()); err != nil || info.State.Msgs != 1+5+1+5 {
		t.Fatalf("stream has %d messages (%v), want 12: nothing of the fenced writer", info.State.Msgs, err)
	}
}

func TestOpenRace(t *testing.T) {
	c := newCluster(t)
	appendAll(t, newWriter(t, c, 1), 5, 5)
	a, b := openWriter(t, c, "a"), openWriter(t, c, "b")
	if err := a.Open(t.Context(), "race", testTime); err != nil {
		t.Fatal(err)
	}
	var fenced *FencedError
	if err := b.Open(t.Context(), "race", testTime); !errors.As(err, &fenced) || fenced.Who != "a" {
		t.Fatalf("second to open the epoch: got %v, want fenced by a", err)
	}
	appendAll(t, a, 5, 1)
}

func TestRepublish(t *testing.T) {
	c := newCluster(t)
	appendAll(t, newWriter(t, c, 10), 500, 20)
	w := openWriter(t, c, "after the crash")
	if w.Next() != 510 {
		t.Fatalf("next is %d, want 510", w.Next())
	}
	if err := w.Open(t.Context(), "restart", testTime); err != nil {
		t.Fatal(err)
	}
	before, err := c.log.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(t.Context(), makeEntries(205, 300), testTime); err != nil {
		t.Fatal(err)
	}
	if after, err := c.log.Info(t.Context()); err != nil || after.State.LastSeq != before.State.LastSeq {
		t.Fatalf("known entries were appended: %d messages, were %d (%v)", after.State.LastSeq, before.State.LastSeq, err)
	}
	if err := w.Append(t.Context(), makeEntries(500, 20), testTime); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(t.Context()); err != nil || w.Acked() != 520 {
		t.Fatalf("acked %d (%v), want 520", w.Acked(), err)
	}
	changed := makeEntries(300, 20)
	changed[7].Text = []byte("1700000000|ACCESS(1)")
	var diverged *DivergedError
	if err := w.Append(t.Context(), changed, testTime); !errors.As(err, &diverged) || diverged.Version != 307 ||
		!bytes.Equal(diverged.Here, changed[7].Text) || !bytes.Equal(diverged.Stream, entryText(307)) {
		t.Fatalf("other text for a known version: got %v", err)
	}
	if err := w.Append(t.Context(), makeEntries(5, 10), testTime); !errors.Is(err, ErrGap) {
		t.Fatalf("entries from before the stream: got %v, want ErrGap", err)
	}
	for name, bad := range map[string][]meta.RawEntry{
		"gap":      makeEntries(521, 1),
		"hole":     {{Version: 520}, {Version: 522}},
		"repeated": {{Version: 520}, {Version: 520}},
	} {
		if err := w.Append(t.Context(), bad, testTime); !errors.Is(err, ErrGap) {
			t.Errorf("%s: got %v, want ErrGap", name, err)
		}
	}
	huge := []meta.RawEntry{{Version: 520, Text: make([]byte, maxPayload)}}
	if err := w.Append(t.Context(), huge, testTime); !errors.Is(err, ErrTooBig) {
		t.Errorf("huge entry: got %v, want ErrTooBig", err)
	}
	appendAll(t, w, 5, 5)
	r := c.Reader(Position{Version: 10}, ReaderConfig{})
	defer r.Close()
	readTo(t, r, 525)
}
