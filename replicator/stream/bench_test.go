package stream

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
)

func BenchmarkEncode(b *testing.B) {
	for _, n := range []int{1, 100, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			entries := makeEntries(1000, n)
			m := message{metaid: testMetaID, release: "3.0.117", received: testTime}
			m.Kind, m.Epoch, m.First, m.Count = 1, 1, 1000, uint32(n)
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				var e encoder
				e.begin(buf, Chain{})
				for i := range entries {
					e.add(entries[i].Version, entries[i].Text)
				}
				data, _, err := e.finish(&m)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(data)))
				buf = data[:0]
			}
			b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range []int{1, 100, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			data := testBatch(b, 1000, n)
			dst := make([]meta.RawEntry, 0, n)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				m, err := decodeMessage(1, data)
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err := m.entries(dst, 0); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

// BenchmarkWriter appends batches: "latency" waits for each, "throughput" lets as
// many as the window allows be on the way.
func BenchmarkWriter(b *testing.B) {
	for _, always := range []bool{true, false} {
		for _, n := range []int{1, 100, 5000} {
			for _, wait := range []bool{true, false} {
				name := fmt.Sprintf("always=%v/batch=%d/wait=%v", always, n, wait)
				b.Run(name, func(b *testing.B) { benchWriter(b, always, n, wait) })
			}
		}
	}
}

// BenchmarkWriterThree is the same with three servers on this host that sync always,
// where each message is kept by one of them or by all.
func BenchmarkWriterThree(b *testing.B) {
	for _, replicas := range []int{1, 3} {
		for _, n := range []int{1, 100, 5000} {
			for _, wait := range []bool{true, false} {
				b.Run(fmt.Sprintf("replicas=%d/batch=%d/wait=%v", replicas, n, wait), func(b *testing.B) {
					tr := newTrio(b)
					tr.with = func(c *ServerConfig) { c.SyncAlways = true }
					tr.start(0, 1, 2)
					benchAppend(b, newWriter(b, tr.open(0, replicas), 1), n, wait)
				})
			}
		}
	}
}

func benchWriter(b *testing.B, always bool, n int, wait bool) {
	benchAppend(b, newWriter(b, open(b, connect(b, startServer(b, b.TempDir(), always))), 1), n, wait)
}

func benchAppend(b *testing.B, w *Writer, n int, wait bool) {
	entries := makeEntries(0, n)
	var took []time.Duration
	for b.Loop() {
		for i := range entries {
			entries[i].Version = w.Next() + meta.Version(i)
		}
		start := time.Now()
		if err := w.Append(b.Context(), entries, testTime); err != nil {
			b.Fatal(err)
		}
		if wait {
			if err := w.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(start))
		}
	}
	if err := w.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "entries/s")
	if wait {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
	}
}

func BenchmarkReader(b *testing.B) {
	const batch, batches = 5000, 400
	c := newCluster(b)
	appendAll(b, newWriter(b, c, 1), batch*batches, batch)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		r := c.Reader(Position{Version: 1}, ReaderConfig{})
		for r.Position().Version < batch*batches+1 {
			got, err := r.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			n += len(got.Entries)
		}
		r.Close()
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkDelivery measures from before Append until Next gives the entry.
func BenchmarkDelivery(b *testing.B) {
	for _, always := range []bool{true, false} {
		b.Run(fmt.Sprintf("always=%v", always), func(b *testing.B) {
			c := open(b, connect(b, startServer(b, b.TempDir(), always)))
			w := newWriter(b, c, 1)
			r := c.Reader(Position{Version: 1}, ReaderConfig{})
			defer r.Close()
			var took, ack []time.Duration
			for b.Loop() {
				start := time.Now()
				if err := w.Append(b.Context(), makeEntries(w.Next(), 1), testTime); err != nil {
					b.Fatal(err)
				}
				for r.Position().Version < w.Next() {
					if _, err := r.Next(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				took = append(took, time.Since(start))
				if err := w.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
				ack = append(ack, time.Since(start))
			}
			slices.Sort(took)
			slices.Sort(ack)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
			b.ReportMetric(float64(ack[len(ack)/2].Microseconds()), "µs-ack-p50")
		})
	}
}

// BenchmarkPipeline writes and reads at the same time.
func BenchmarkPipeline(b *testing.B) {
	const batch, count = 5000, 2_000_000
	c := open(b, connect(b, startServer(b, b.TempDir(), true)))
	w := newWriter(b, c, 1)
	entries := makeEntries(1, count)
	r := c.Reader(Position{Version: 1}, ReaderConfig{})
	defer r.Close()
	for b.Loop() {
		ctx, cancel := context.WithCancelCause(b.Context())
		end := w.Next() + count
		for i := range entries {
			entries[i].Version = w.Next() + meta.Version(i)
		}
		go func() {
			for at := 0; at < count; at += batch {
				if err := w.Append(ctx, entries[at:at+batch], testTime); err != nil {
					cancel(err)
					return
				}
			}
			if err := w.Flush(ctx); err != nil {
				cancel(err)
			}
		}()
		for r.Position().Version < end {
			if _, err := r.Next(ctx); err != nil {
				b.Fatal(err, context.Cause(ctx))
			}
		}
		cancel(nil)
	}
	b.ReportMetric(float64(b.N)*count/b.Elapsed().Seconds(), "entries/s")
}
