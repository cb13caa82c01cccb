package spool

import (
	"errors"
	"testing"

	"mfsstandby/changelog/meta"
)

func BenchmarkAppend(b *testing.B)         { benchAppend(b, SyncInterval, 1000) }
func BenchmarkAppendSynced(b *testing.B)   { benchAppend(b, SyncAlways, 1000) }
func BenchmarkAppendOneByOne(b *testing.B) { benchAppend(b, SyncInterval, 1) }
func BenchmarkAppendOneByOneSynced(b *testing.B) {
	benchAppend(b, SyncAlways, 1)
}

func benchAppend(b *testing.B, mode Mode, n int) {
	s := begun(b, Config{Dir: b.TempDir(), Max: 1 << 30, Mode: mode})
	in := batch(100, 100+meta.Version(n)-1)
	b.SetBytes(int64(n * len(in.Entries[0].Text)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Append(in); errors.Is(err, ErrFull) {
			must(b, s.Sync())
			must(b, s.Trim(s.next))
		} else if err != nil {
			b.Fatal(err)
		}
		for i := range in.Entries {
			in.Entries[i].Version = s.next + meta.Version(i)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "entries/s")
}

func BenchmarkRead(b *testing.B) {
	s := begun(b, Config{Dir: b.TempDir(), Mode: SyncInterval})
	const end = 1_000_100
	for v := meta.Version(100); v < end; v += 1000 {
		must(b, s.Append(batch(v, v+999)))
	}
	b.ReportAllocs()
	for b.Loop() {
		r, err := s.Read(100)
		must(b, err)
		for v := meta.Version(100); v < end; {
			batch, err := r.Next(b.Context())
			must(b, err)
			v += meta.Version(len(batch.Entries))
		}
	}
	b.ReportMetric(float64((end-100)*b.N)/b.Elapsed().Seconds(), "entries/s")
}
