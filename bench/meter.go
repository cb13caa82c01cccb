package bench

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Sample is a look at a running measurement.
type Sample struct {
	At     float64 `json:"at"`     // seconds since its start
	Done   int64   `json:"done"`   // entries, or inodes
	Memory int64   `json:"memory"` // resident bytes
}

// sampleEvery is how often a measurement is looked at for the plot.
const sampleEvery = 20 * time.Millisecond

// meter measures what this process does between start and stop.
type meter struct {
	done    atomic.Int64
	began   time.Time
	cpu     time.Duration // of the process when it began
	written int64
	ended   atomic.Bool
	end     Result
	quit    chan struct{}
	sampler sync.WaitGroup
	samples []Sample
	own     int64 // most bytes that are no mapped files

	mu      sync.Mutex
	running bool
	batches []latency
}

// latency is how long so many entries took.
type latency struct {
	took    time.Duration
	entries int
}

// start begins to measure.
func (m *meter) start() error {
	// So that the peak counts from now on; without the right to it, it counts
	// from the start of the process.
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	var err error
	if m.written, err = diskWrites(); err != nil {
		return err
	}
	if m.cpu, err = cpuTime(); err != nil {
		return err
	}
	m.quit = make(chan struct{})
	m.mu.Lock()
	m.running = true
	m.mu.Unlock()
	m.began = time.Now()
	m.sampler.Go(m.sample)
	return nil
}

func (m *meter) sample() {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		all, own := residentBytes("self")
		m.own = max(m.own, own)
		m.samples = append(m.samples, Sample{time.Since(m.began).Seconds(), m.done.Load(), all})
		select {
		case <-m.quit:
			return
		case <-tick.C:
		}
	}
}

// batch counts entries that took so long, between start and stop.
func (m *meter) batch(took time.Duration, entries int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running {
		m.done.Add(int64(entries))
		m.batches = append(m.batches, latency{took, entries})
	}
}

// stop ends the measurement; only the first call counts.
func (m *meter) stop() error {
	if m.ended.Swap(true) {
		return nil
	}
	took := time.Since(m.began)
	cpu, err := cpuTime()
	if err != nil {
		return err
	}
	written, err := diskWrites()
	if err != nil {
		return err
	}
	peak, err := peakMemory()
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.running = false
	m.mu.Unlock()
	close(m.quit)
	m.sampler.Wait()
	m.end = Result{
		Done: m.done.Load(), Seconds: took.Seconds(), CPU: (cpu - m.cpu).Seconds(),
		Memory: peak, Own: m.own, Written: written - m.written, Samples: m.samples, Latency: percentiles(m.batches),
	}
	return nil
}

// Latency is over entries, in milliseconds.
type Latency struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

func percentiles(batches []latency) Latency {
	if len(batches) == 0 {
		return Latency{}
	}
	sorted := slices.SortedFunc(slices.Values(batches), func(a, b latency) int { return int(a.took - b.took) })
	total := 0
	for _, b := range sorted {
		total += b.entries
	}
	at := func(share float64) float64 {
		rest := int(share * float64(total))
		for _, b := range sorted {
			if rest -= b.entries; rest < 0 {
				return b.took.Seconds() * 1000
			}
		}
		return sorted[len(sorted)-1].took.Seconds() * 1000
	}
	return Latency{P50: at(0.5), P99: at(0.99), Max: at(1)}
}

// cpuTime is what this process used, of all cores.
func cpuTime() (time.Duration, error) {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		return 0, fmt.Errorf("asking for the processor time: %w", err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano()), nil
}

// diskWrites is how many bytes this process caused to be written to disks.
func diskWrites() (int64, error) { return procNumber("/proc/self/io", "write_bytes:", 1) }

// peakMemory is the most memory that was resident.
func peakMemory() (int64, error) { return procNumber("/proc/self/status", "VmHWM:", 1024) }

func procNumber(path, name string, unit int64) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if fields := bytes.Fields(line); len(fields) > 1 && string(fields[0]) == name {
			n, err := strconv.ParseInt(string(fields[1]), 10, 64)
			return n * unit, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, name)
}

// residentBytes of a process, and those of them that are no files mapped into
// it: what the kernel cannot take back. 0 when it has ended.
func residentBytes(pid string) (all, own int64) {
	text, err := os.ReadFile("/proc/" + pid + "/statm")
	if err != nil {
		return 0, 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 3 {
		return 0, 0
	}
	all, allErr := strconv.ParseInt(string(fields[1]), 10, 64)
	shared, err := strconv.ParseInt(string(fields[2]), 10, 64)
	if allErr != nil || err != nil {
		return 0, 0
	}
	page := int64(os.Getpagesize())
	return all * page, (all - shared) * page
}

// diskUse is what a directory takes on the disk.
func diskUse(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		total += st.Blocks * 512
		return nil
	})
	return total, err
}
