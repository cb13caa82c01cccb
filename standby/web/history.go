package web

import (
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// Sample is how things were in one step of time. Of several steps together,
// rates are averages, the rest is the most there was.
type Sample struct {
	LagEntries        uint64
	LagSeconds        float64
	Applied, Received float64 // entries/s
	P50, P99          float64 // ms from receipt to readable

	n float64 // how many samples are in it
}

// ranges are the histories that are kept: about 300 KiB together.
var ranges = []struct {
	name       string
	span, step time.Duration
}{
	{"10m", 10 * time.Minute, time.Second},
	{"6h", 6 * time.Hour, 30 * time.Second},
	{"48h", 48 * time.Hour, 4 * time.Minute},
}

// ring keeps the newest samples of one step width.
type ring struct {
	step time.Duration
	keep int
	at   []int64 // begin of the step, in ms since 1970, ascending
	all  []Sample
}

// add adds a sample to its step.
func (r *ring) add(now time.Time, x Sample) {
	at := now.Truncate(r.step).UnixMilli()
	if n := len(r.at); n == 0 || r.at[n-1] < at {
		if n >= 2*r.keep {
			r.at = slices.Clone(r.at[n-r.keep:])
			r.all = slices.Clone(r.all[n-r.keep:])
		}
		r.at, r.all = append(r.at, at), append(r.all, Sample{})
	}
	s := &r.all[len(r.all)-1]
	s.n++
	s.Applied += (x.Applied - s.Applied) / s.n
	s.Received += (x.Received - s.Received) / s.n
	s.LagEntries, s.LagSeconds = max(s.LagEntries, x.LagEntries), max(s.LagSeconds, x.LagSeconds)
	s.P50, s.P99 = max(s.P50, x.P50), max(s.P99, x.P99)
}

// History is a range of samples, by column.
type History struct {
	Range      string    `json:"range"`
	Step       float64   `json:"step_seconds"`
	Time       []int64   `json:"time_ms"`
	LagEntries []uint64  `json:"lag_entries"`
	LagSeconds []float64 `json:"lag_seconds"`
	Applied    []float64 `json:"applied_per_second"`
	Received   []float64 `json:"received_per_second"`
	P50        []float64 `json:"p50_ms"`
	P99        []float64 `json:"p99_ms"`
}

// history returns the samples of a range that began after a time in ms. The
// newest one may still change.
func (h *hub) history(name string, after int64) (History, bool) {
	if name == "" {
		name = ranges[0].name
	}
	for i, r := range ranges {
		if r.name == name {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.rings[i].history(name, after), true
		}
	}
	return History{}, false
}

func (r *ring) history(name string, after int64) History {
	h := History{
		Range: name, Step: r.step.Seconds(), Time: []int64{}, LagEntries: []uint64{}, LagSeconds: []float64{},
		Applied: []float64{}, Received: []float64{}, P50: []float64{}, P99: []float64{},
	}
	for i := max(0, len(r.at)-r.keep); i < len(r.at); i++ {
		if r.at[i] <= after {
			continue
		}
		s := &r.all[i]
		h.Time = append(h.Time, r.at[i])
		h.LagEntries, h.LagSeconds = append(h.LagEntries, s.LagEntries), append(h.LagSeconds, round(s.LagSeconds))
		h.Applied, h.Received = append(h.Applied, round(s.Applied)), append(h.Received, round(s.Received))
		h.P50, h.P99 = append(h.P50, round(s.P50)), append(h.P99, round(s.P99))
	}
	return h
}

// round keeps what people can see.
func round(x float64) float64 { return float64(int64(x*1000+0.5)) / 1000 }

// bounds are the upper bounds of the latency classes in seconds.
var bounds = [...]float64{
	0.0001, 0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.018, 0.025, 0.04,
	0.06, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
}

// Latency counts how long entries took from their receipt until they could be
// read in the image. Applied is standby.Config.Applied.
type Latency struct {
	classes [len(bounds) + 1]atomic.Uint64
	seconds atomic.Uint64 // bits of the sum, a float64
}

// Applied counts a batch.
func (l *Latency) Applied(took time.Duration, entries int) {
	took = max(took, 0) // the clocks of two hosts may differ
	i, _ := slices.BinarySearch(bounds[:], took.Seconds())
	l.classes[i].Add(uint64(entries))
	for {
		old := l.seconds.Load()
		sum := math.Float64frombits(old) + took.Seconds()*float64(entries)
		if l.seconds.CompareAndSwap(old, math.Float64bits(sum)) {
			return
		}
	}
}

// latencyCounts are the counts of a Latency at one time.
type latencyCounts struct {
	classes [len(bounds) + 1]uint64
	seconds float64
}

func (l *Latency) counts() (c latencyCounts) {
	for i := range l.classes {
		c.classes[i] = l.classes[i].Load()
	}
	c.seconds = math.Float64frombits(l.seconds.Load())
	return c
}

// since returns what was counted after before.
func (c *latencyCounts) since(before *latencyCounts) *latencyCounts {
	d := *c
	for i := range d.classes {
		d.classes[i] -= before.classes[i]
	}
	return &d
}

// quantile returns about the time in seconds within which a share of the
// entries was readable; 0 without entries.
func (c *latencyCounts) quantile(share float64) float64 {
	var total uint64
	for _, n := range c.classes {
		total += n
	}
	rest := share * float64(total)
	for i, n := range c.classes {
		if n == 0 || rest > float64(n) {
			rest -= float64(n)
			continue
		}
		low, high := 0.0, bounds[len(bounds)-1]
		if i > 0 {
			low = bounds[i-1]
		}
		if i < len(bounds) {
			high = bounds[i]
		}
		return low + (high-low)*rest/float64(n)
	}
	return 0
}
