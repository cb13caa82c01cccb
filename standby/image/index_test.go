package image

import (
	"math/rand/v2"
	"testing"
)

// The index does what a map does, whatever the keys have in common.
func TestIndexIsAMap(t *testing.T) {
	for name, draw := range map[string]func(*rand.Rand) uint64{
		"neighbours": func(r *rand.Rand) uint64 { return r.Uint64N(3000) },
		"far apart":  func(r *rand.Rand) uint64 { return r.Uint64N(3000) << 40 },
		"strides":    func(r *rand.Rand) uint64 { return r.Uint64N(3000) * 4096 },
		"zero":       func(r *rand.Rand) uint64 { return r.Uint64N(2) },
		"same home":  func(r *rand.Rand) uint64 { return r.Uint64N(40) * 0xF1DE83E19937733D }, // the inverse of the multiplier: homes are 0
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			var x index[int]
			want := map[uint64]*page[int]{}
			for range 50_000 {
				key := draw(rng)
				if got := x.find(key); got != want[key] {
					t.Fatalf("key %#x: found %p, want %p", key, got, want[key])
				}
				switch {
				case want[key] == nil:
					p := &page[int]{key: key}
					want[key] = p
					x.add(p)
				case rng.IntN(3) > 0:
					x.remove(key)
					delete(want, key)
				}
				if x.used != len(want) {
					t.Fatalf("%d pages in use, want %d", x.used, len(want))
				}
			}
			for p := range x.all() {
				if want[p.key] != p {
					t.Fatalf("key %#x is yielded with another page", p.key)
				}
				delete(want, p.key)
			}
			if len(want) > 0 {
				t.Fatalf("%d pages are not yielded", len(want))
			}
			x.clear()
			if x.find(draw(rng)) != nil || x.used != 0 {
				t.Fatal("pages are left after clear")
			}
		})
	}
}

func BenchmarkIndex(b *testing.B) {
	const n = 100_000
	var x index[nodePage]
	rng := rand.New(rand.NewPCG(1, 2))
	keys := make([]uint64, n)
	for i := range keys {
		keys[i] = rng.Uint64N(1<<28) << 8
		if x.find(keys[i]) == nil {
			x.add(&page[nodePage]{key: keys[i]})
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if x.find(keys[i%n]) == nil {
			b.Fatal("a page is lost")
		}
		i += 7919
	}
}
