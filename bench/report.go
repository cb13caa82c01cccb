package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Result is what one run of one stage took.
type Result struct {
	Stage   Stage    `json:"stage"`
	Round   int      `json:"round"` // from 1
	Done    int64    `json:"done"`  // entries; inodes for export and import
	Bytes   int64    `json:"bytes"` // of the file read or written
	Seconds float64  `json:"seconds"`
	Latency Latency  `json:"latency"`
	CPU     float64  `json:"cpu_seconds"`
	Memory  int64    `json:"peak_bytes"`            // resident
	Own     int64    `json:"own_peak_bytes"`        // of them, what is no mapped file; looked at now and then
	Written int64    `json:"written_bytes"`         // to disks; 0 where it is not known
	Image   int64    `json:"image_bytes,omitempty"` // on the disk afterwards
	Inodes  int64    `json:"inodes,omitempty"`      // in it
	Samples []Sample `json:"samples,omitempty"`
}

// Rate is in entries, or inodes, per second.
func (r *Result) Rate() float64 { return float64(r.Done) / max(r.Seconds, 1e-9) }

// Report is the outcome of Replay.
type Report struct {
	Machine Machine         `json:"machine"`
	Mix     Mix             `json:"mix"`
	Seed    uint64          `json:"seed"`
	Entries int64           `json:"entries"`
	Bytes   int64           `json:"bytes"` // of the changelog
	Cache   int64           `json:"cache_bytes"`
	Sync    string          `json:"sync"`
	Rounds  int             `json:"rounds"`
	Results []Result        `json:"results"`          // of all rounds, in the order of the runs
	Ratios  map[Stage]Ratio `json:"ratios,omitempty"` // to the master in the same round; medians
}

// Ratio compares a stage with the master.
type Ratio struct {
	Rate float64 `json:"rate"` // entries per second
	CPU  float64 `json:"cpu"`  // entries per second of processor time: what is left of it on a busy machine
}

// Machine is where something was measured.
type Machine struct {
	CPUs   int    `json:"cpus"`
	Memory int64  `json:"memory_bytes"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Load   string `json:"load"` // of the last minute, before
}

func thisMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU(), Go: runtime.Version()}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = int64(info.Totalram) * int64(info.Unit)
	}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		m.Kernel = unix.ByteSliceToString(uts.Sysname[:]) + " " + unix.ByteSliceToString(uts.Release[:])
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load, _, _ = strings.Cut(string(text), " ")
	}
	return m
}

func (m Machine) String() string {
	return fmt.Sprintf("%d CPUs, %.0f GiB, %s, %s, load %s", m.CPUs, float64(m.Memory)/(1<<30), m.Kernel, m.Go, m.Load)
}

// of returns a stage's results, one for each round.
func (r *Report) of(s Stage) []*Result {
	var out []*Result
	for i := range r.Results {
		if r.Results[i].Stage == s {
			out = append(out, &r.Results[i])
		}
	}
	return out
}

// Median returns the run of a stage with the median rate, nil if there is none.
func (r *Report) Median(s Stage) *Result {
	runs := r.of(s)
	if len(runs) == 0 {
		return nil
	}
	slices.SortFunc(runs, func(a, b *Result) int { return int(a.Rate() - b.Rate()) })
	return runs[len(runs)/2]
}

// compare fills in Ratios: of each stage that does what the master does, to
// the master in the same round.
func (r *Report) compare() {
	masters := r.of(Master)
	if len(masters) == 0 {
		return
	}
	r.Ratios = map[Stage]Ratio{}
	for _, stage := range []Stage{ApplyMemory, Apply, Pipeline} {
		var rate, cpu []float64
		for _, run := range r.of(stage) {
			for _, m := range masters {
				if m.Round == run.Round {
					rate = append(rate, run.Rate()/m.Rate())
					cpu = append(cpu, m.CPU/max(run.CPU, 1e-9))
				}
			}
		}
		if len(rate) > 0 {
			r.Ratios[stage] = Ratio{median(rate), median(cpu)}
		}
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// stages returns those that were run, in the order of their first run.
func (r *Report) stages() []Stage {
	var out []Stage
	for i := range r.Results {
		if s := r.Results[i].Stage; !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// WriteText writes the report as a table, for people.
func (r *Report) WriteText(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s\n", r.Machine)
	fmt.Fprintf(out, "mix %s, seed %d, %d entries, %.1f MB; cache %d MiB, sync %s; rounds %d, medians by rate\n\n",
		r.Mix, r.Seed, r.Entries, float64(r.Bytes)/1e6, r.Cache>>20, r.Sync, r.Rounds)
	fmt.Fprintf(out, "%-13s %10s %7s %9s %9s %9s %7s %8s %8s %9s %9s\n", "stage", "entries/s", "MB/s",
		"p50 ms", "p99 ms", "max ms", "CPU s", "peak MiB", "own MiB", "written B", "image B")
	fmt.Fprintf(out, "%-13s %10s %7s %9s %9s %9s %7s %8s %8s %9s %9s\n", "", "", "", "", "", "", "", "", "", "per entry", "per inode")
	for _, s := range r.stages() {
		writeRow(out, r.Median(s))
	}
	for _, s := range r.stages() {
		if ratio, ok := r.Ratios[s]; ok {
			fmt.Fprintf(out, "\n%s / %s: %.2f; per second of processor time %.2f", s, Master, ratio.Rate, ratio.CPU)
		}
	}
	if len(r.Ratios) > 0 {
		fmt.Fprint(out, "\n(medians of the rounds' ratios; of the master, its replay alone counts)\n")
	}
	return out.Flush()
}

func writeRow(w io.Writer, m *Result) {
	latencies := []string{"-", "-", "-"}
	if m.Latency != (Latency{}) {
		for i, ms := range []float64{m.Latency.P50, m.Latency.P99, m.Latency.Max} {
			latencies[i] = fmt.Sprintf("%.2f", ms)
		}
	}
	written, image := "-", "-"
	if m.Stage != Master && m.Done > 0 {
		written = fmt.Sprintf("%.1f", float64(m.Written)/float64(m.Done))
	}
	if m.Inodes > 0 && m.Image > 0 {
		image = fmt.Sprintf("%.1f", float64(m.Image)/float64(m.Inodes))
	}
	fmt.Fprintf(w, "%-13s %10.0f %7.1f %9s %9s %9s %7.2f %8d %8d %9s %9s\n", m.Stage, m.Rate(), float64(m.Bytes)/1e6/max(m.Seconds, 1e-9),
		latencies[0], latencies[1], latencies[2], m.CPU, m.Memory>>20, m.Own>>20, written, image)
}
