package standby

import (
	"slices"
	"sync"
	"time"
)

// keepLatencies is over how many batches the Latency figures are taken.
const keepLatencies = 8192

// Latency tells how long entries took from the tap's receipt until they could
// be read in the image, over the last batches, in milliseconds. It compares
// the clocks of two hosts if the tap is on another one.
type Latency struct {
	Batches int     `json:"batches"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Max     float64 `json:"max_ms"`
}

// latencies is a ring of the last ones, counted by entries: the 99th
// percentile is that of entries, not of batches.
type latencies struct {
	mu   sync.Mutex
	ring []latency
	next int
}

type latency struct {
	took    time.Duration
	entries int
}

func (l *latencies) add(took time.Duration, entries int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < keepLatencies {
		l.ring = append(l.ring, latency{took, entries})
		return
	}
	l.ring[l.next] = latency{took, entries}
	l.next = (l.next + 1) % keepLatencies
}

func (l *latencies) get() (out Latency) {
	l.mu.Lock()
	sorted := slices.Clone(l.ring)
	l.mu.Unlock()
	if len(sorted) == 0 {
		return out
	}
	slices.SortFunc(sorted, func(a, b latency) int { return int(a.took - b.took) })
	total := 0
	for _, x := range sorted {
		total += x.entries
	}
	at := func(share float64) float64 {
		rest := int(share * float64(total))
		for _, x := range sorted {
			if rest -= x.entries; rest < 0 {
				return x.took.Seconds() * 1000
			}
		}
		return sorted[len(sorted)-1].took.Seconds() * 1000
	}
	return Latency{Batches: len(sorted), P50: at(0.5), P99: at(0.99), Max: at(1)}
}
