package stream

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/fence"
)

func TestReaderMeetsDamage(t *testing.T) {
	foreign := func(t *testing.T, w *Writer) []byte {
		m := message{Record: w.sent.Batch(1, w.sent.Chain.Next(w.sent.Next, []byte("x"))), metaid: 0xBAD, received: testTime}
		var e encoder
		e.begin(nil, w.sent.Chain)
		e.add(w.sent.Next, []byte("x"))
		data, _, err := e.finish(&m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	ours := func(t *testing.T, s fence.State, change func(*fence.Record)) []byte {
		var e encoder
		e.begin(nil, s.Chain)
		e.add(s.Next, entryText(s.Next))
		m := message{Record: s.Batch(1, e.chain), metaid: testMetaID, received: testTime}
		change(&m.Record)
		data, _, err := e.finish(&m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, tc := range []struct {
		name string
		data func(t *testing.T, w *Writer) []byte
		want error
		text string
	}{
		{"not ours at all", func(*testing.T, *Writer) []byte { return []byte("hello") }, ErrCorrupt, "sequence 12, version 150"},
		{"other cluster", foreign, ErrForeign, "metaid 0000000000000BAD"},
		{"entries missing", func(t *testing.T, w *Writer) []byte {
			return ours(t, w.sent, func(r *fence.Record) { r.First += 5 })
		}, ErrGap, "version 150 is wanted, message 12 begins at 155"},
		{"another history", func(t *testing.T, w *Writer) []byte {
			return ours(t, w.sent, func(r *fence.Record) { r.Before.Hi++ })
		}, ErrCorrupt, "chain"},
		{"epoch never opened", func(t *testing.T, w *Writer) []byte {
			return ours(t, w.sent, func(r *fence.Record) { r.Epoch = 9 })
		}, ErrCorrupt, "never opened"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t)
			w := newWriter(t, c, 100)
			appendAll(t, w, 50, 5)
			publishRaw(t, c, 1, tc.data(t, w))
			r := c.Reader(Position{Version: 100}, ReaderConfig{})
			defer r.Close()
			readTo(t, r, 150)
			for range 2 { // and it stays so
				err := nextErr(t, r)
				if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
					t.Fatalf("got error %v, want %v with %q", err, tc.want, tc.text)
				}
				if r.Position().Version != 150 {
					t.Fatalf("the reader is at %d after the error, want 150", r.Position().Version)
				}
			}
			// The writer notices before it appends more.
			if err := w.Append(t.Context(), makeEntries(150, 1), testTime); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(t.Context()); !errors.Is(err, ErrFenced) {
				t.Fatalf("writer behind the foreign message: got %v, want ErrFenced", err)
			}
		})
	}
}

// TestLateBatchOfFencedWriter: were one to get in, readers pass over it.
func TestLateBatchOfFencedWriter(t *testing.T) {
	c := newCluster(t)
	old := newWriter(t, c, 100)
	appendAll(t, old, 20, 5)
	var e encoder
	e.begin(nil, old.sent.Chain)
	e.add(old.sent.Next, []byte("late"))
	m := message{Record: old.sent.Batch(1, e.chain), metaid: testMetaID, received: testTime}
	late, _, err := e.finish(&m)
	if err != nil {
		t.Fatal(err)
	}
	w := openWriter(t, c, "second")
	if err := w.Open(t.Context(), "promoted", testTime); err != nil {
		t.Fatal(err)
	}
	publishRaw(t, c, 1, late)
	appendAll(t, openWriterAt(t, c, 120), 20, 5)
	for _, from := range []meta.Version{100, 120, 130} {
		r := c.Reader(Position{Version: from}, ReaderConfig{})
		readTo(t, r, 140)
		r.Close()
	}
}

// openWriterAt opens a writer, and an epoch, of a stream that ends at version v.
func openWriterAt(t *testing.T, c *Cluster, v meta.Version) *Writer {
	t.Helper()
	w := openWriter(t, c, "another")
	if w.Next() != v {
		t.Fatalf("stream ends at %d, want %d", w.Next(), v)
	}
	if err := w.Open(t.Context(), "test", testTime); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestSalvage(t *testing.T) {
	c := newCluster(t)
	appendAll(t, newWriter(t, c, 100), 50, 5)
	publishRaw(t, c, 1, []byte("hello"))
	publishRaw(t, c, 77, []byte("hello"))
	if _, err := c.OpenWriter(t.Context(), WriterConfig{Who: "w"}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("opening a damaged stream: got %v, want ErrCorrupt", err)
	}
	w, err := c.OpenWriter(t.Context(), WriterConfig{Who: "w", Salvage: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Open(t.Context(), "go on", testTime); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("epoch behind damage: got %v, want ErrCorrupt", err)
	}
	rebase(t, w, 160, "damaged")
	appendAll(t, w, 30, 5)
	r := c.Reader(Position{Version: 160}, ReaderConfig{})
	defer r.Close()
	readTo(t, r, 190)
	stuck := c.Reader(Position{Version: 100}, ReaderConfig{})
	defer stuck.Close()
	readTo(t, stuck, 150)
	if err := nextErr(t, stuck); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("reader before the damage: got %v, want ErrCorrupt", err)
	}
}

func TestRebase(t *testing.T) {
	for _, tc := range []struct {
		name string
		base meta.Version
	}{{"forward", 500}, {"same version", 150}, {"back", 120}} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t)
			w := newWriter(t, c, 100)
			appendAll(t, w, 50, 5)
			live := c.Reader(Position{Version: 100}, ReaderConfig{})
			defer live.Close()
			readTo(t, live, 150)
			rebase(t, w, tc.base, "the primary was restored")
			began := w.End()
			appendAll(t, w, 50, 5)
			known := c.Reader(live.Position(), ReaderConfig{}) // the same after a restart
			defer known.Close()
			for _, r := range []*Reader{live, known} {
				var re *RebaseError
				if err := nextErr(t, r); !errors.As(err, &re) || re.Base != tc.base || re.At != 150 || re.Control.Why != "the primary was restored" {
					t.Fatalf("got %v, want a rebase at version %d", err, tc.base)
				}
			}
			listed, err := c.ListBases(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			base := listed[len(listed)-1]
			if pos := base.Position(); pos.Version != tc.base || pos.Epoch != 2 || pos.Chain != began.Chain {
				t.Fatalf("the newest image is at %+v, the stream began at %+v", pos, began)
			}
			moved := c.Reader(base.Position(), ReaderConfig{})
			defer moved.Close()
			readTo(t, moved, tc.base+50)
			fresh := c.Reader(Position{Version: tc.base + 10}, ReaderConfig{})
			defer fresh.Close()
			readTo(t, fresh, tc.base+50)
			past := c.Reader(Position{Version: 110, Epoch: 1}, ReaderConfig{}) // point in time
			defer past.Close()
			readTo(t, past, 150)
			again := openWriter(t, c, "restarted")
			if again.Next() != tc.base+50 {
				t.Fatalf("the stream ends at %d, want %d", again.Next(), tc.base+50)
			}
		})
	}
}

// TestRebaseThatLost: the image of a writer that was fenced before its rebase is
// not taken for one of the other writer's history.
func TestRebaseThatLost(t *testing.T) {
	c := newCluster(t)
	appendAll(t, newWriter(t, c, 100), 50, 5)
	late, w := openWriter(t, c, "late"), openWriterAt(t, c, 150)
	appendAll(t, w, 50, 5)
	if _, err := c.PutBase(t.Context(), Base{Version: 160}, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := late.Rebase(t.Context(), 160, "too late", testTime); !errors.Is(err, ErrFenced) {
		t.Fatalf("got %v, want ErrFenced", err)
	}
	bases, err := c.ListBases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := c.Reader(bases[len(bases)-1].Position(), ReaderConfig{})
	defer r.Close()
	if err := nextErr(t, r); !errors.Is(err, ErrDiverged) {
		t.Fatalf("following from the image that lost: got %v, want ErrDiverged", err)
	}
	if err := w.Rebase(t.Context(), 300, "no image", testTime); !errors.Is(err, ErrNoBase) {
		t.Fatalf("rebase without an image: got %v, want ErrNoBase", err)
	}
}

func TestPositions(t *testing.T) {
	c := newCluster(t)
	w := newWriter(t, c, 100)
	ends := map[meta.Version]Position{100: w.End()}
	for range 10 {
		appendAll(t, w, 7, 3)
		ends[w.Next()] = w.End()
		w = openWriterAt(t, c, w.Next())
		appendAll(t, w, 3, 2)
		ends[w.Next()] = w.End()
	}
	for v, pos := range ends {
		for _, tc := range []struct {
			name   string
			change func(*Position)
		}{
			{"as stored", func(*Position) {}},
			{"no hint", func(p *Position) { p.Seq = 0 }},
			{"wrong hint", func(p *Position) { p.Seq = 3 }},
			{"hint behind the end", func(p *Position) { p.Seq = 1e6 }},
			{"no epoch", func(p *Position) { p.Epoch = 0 }},
			{"newer epoch", func(p *Position) { p.Epoch = 1000 }},
			{"only the version", func(p *Position) { *p = Position{Version: p.Version} }},
		} {
			p := pos
			tc.change(&p)
			r := c.Reader(p, ReaderConfig{})
			if v < 200 {
				readTo(t, r, 200)
			}
			r.Close()
		}
		pos.Chain.Lo++
		r := c.Reader(pos, ReaderConfig{})
		var diverged *DivergedError
		if err := nextErr(t, r); !errors.As(err, &diverged) || diverged.Version != v {
			t.Fatalf("another chain at %d: got %v, want ErrDiverged", v, err)
		}
		r.Close()
	}
	r := c.Reader(Position{Version: 99}, ReaderConfig{})
	defer r.Close()
	var gap *GapError
	if err := nextErr(t, r); !errors.As(err, &gap) || gap.Want != 99 || gap.Have != 100 {
		t.Fatalf("before the stream: got %v, want a gap from 99 to 100", err)
	}
}

// TestStreamLostItsEnd: a replica may be ahead of a stream that lost what it had
// not synced. It waits, and compares when the entries come again.
func TestStreamLostItsEnd(t *testing.T) {
	c := newCluster(t)
	w := newWriter(t, c, 100)
	appendAll(t, w, 20, 5)
	ahead := w.End()
	for v := meta.Version(120); v < 130; v++ {
		ahead.Chain, ahead.Version, ahead.Seq = ahead.Chain.Next(v, entryText(v)), v+1, ahead.Seq+1
	}
	other := ahead
	other.Chain.Hi++
	same, differs := c.Reader(ahead, ReaderConfig{}), c.Reader(other, ReaderConfig{})
	defer same.Close()
	defer differs.Close()
	appendAll(t, openWriterAt(t, c, 120), 40, 7)
	readTo(t, same, 160)
	if err := nextErr(t, differs); !errors.Is(err, ErrDiverged) {
		t.Fatalf("replica with other entries: got %v, want ErrDiverged", err)
	}
}

func TestRecreatedStream(t *testing.T) {
	c := newCluster(t)
	w := newWriter(t, c, 100)
	appendAll(t, w, 50, 5)
	r := c.Reader(Position{Version: 100}, ReaderConfig{IdleCheck: 50e6})
	defer r.Close()
	readTo(t, r, 150)
	if err := c.conn.js.DeleteStream(t.Context(), c.name); err != nil {
		t.Fatal(err)
	}
	again := open(t, c.conn)
	// What was sent to a stream that is gone is not acknowledged by the new one.
	if err := w.Append(t.Context(), makeEntries(150, 1), testTime); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(t.Context()); !errors.Is(err, ErrLost) {
		t.Fatalf("writer of the old stream: got %v, want ErrLost", err)
	}
	w = newWriter(t, again, 140)
	appendAll(t, w, 50, 5)
	if err := nextErr(t, r); !errors.Is(err, ErrDiverged) {
		t.Fatalf("reader of the old stream: got %v, want ErrDiverged", err)
	}
	fresh := again.Reader(Position{Version: 150}, ReaderConfig{})
	defer fresh.Close()
	readTo(t, fresh, 190)
}

func TestStreamSettings(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*jetstream.StreamConfig)
		want   string
	}{
		{"in memory", func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, "memory"},
		{"age", func(c *jetstream.StreamConfig) { c.MaxAge = 3600e9 }, "limits"},
		{"count", func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 }, "limits"},
		{"bytes", func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20; c.Discard = jetstream.DiscardOld }, "limits"},
		{"work queue", func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, "retention"},
		{"subjects", func(c *jetstream.StreamConfig) { c.Subjects = []string{"other.*"} }, "subjects"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t)
			info, err := c.log.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			cfg := info.Config
			if err := c.conn.js.DeleteStream(t.Context(), c.name); err != nil {
				t.Fatal(err)
			}
			tc.change(&cfg)
			if _, err := c.conn.js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			if _, err := c.conn.Open(t.Context(), ClusterConfig{MetaID: testMetaID}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}
