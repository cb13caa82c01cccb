package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mfsstandby/standby/image"
)

// ReadMix says what clients ask for.
type ReadMix string

// What clients ask for, of a tree that they know.
const (
	Lookups  ReadMix = "lookup"
	Getattrs ReadMix = "getattr"
	Readdirs ReadMix = "readdir" // whole directories, with attributes
	Browsing ReadMix = "mixed"   // 45 % lookup, 45 % getattr, 5 % access, 5 % readdir
)

// ReadMixes lists every ReadMix.
func ReadMixes() []ReadMix { return []ReadMix{Lookups, Getattrs, Readdirs, Browsing} }

// ReadServer is who is asked.
type ReadServer string

// The servers that are compared.
const (
	StandbyServer ReadServer = "standby"
	MasterServer  ReadServer = "mfsmaster"
)

// ReadsConfig says what MeasureReads measures.
type ReadsConfig struct {
	Options               // of the tree: what the generated changelog makes
	Mixes   []ReadMix     // default: all
	Conns   int           // connections, each a mount of its own; default 8
	Depth   int           // requests that each has on the way; default 4
	For     time.Duration // how long each mix is measured; default 5 s
	Rate    int           // entries per second that the standby applies meanwhile; 0 is none
	Idle    int           // mounts that ask nothing, besides
	Garbage int           // packets of nonsense per second, besides
	Rounds  int           // default 1
	Against bool          // measure mfsmaster in each round too
	Cache   int64         // of the standby, bytes; default image.DefaultCache
	Dir     string        // for everything, inside a directory of its own; default: the system's for temporary files
	Program []string      // the command mfsstandby, to which "run" and flags are added
	Profile string        // directory for profiles of the standby, one per round; empty: none

	WriteState func(string)
}

// Validate says what is wrong, and fills in defaults.
func (c *ReadsConfig) Validate() error {
	setDefault(&c.Options.Entries, 300_000)
	setDefault(&c.Options.Mix, Create)
	c.Options = c.Options.withDefaults()
	if len(c.Mixes) == 0 {
		c.Mixes = ReadMixes()
	}
	setDefault(&c.Conns, 8)
	setDefault(&c.Depth, 4)
	setDefault(&c.For, 5*time.Second)
	setDefault(&c.Rounds, 1)
	setDefault(&c.Cache, image.DefaultCache)
	for _, m := range c.Mixes {
		if !slices.Contains(ReadMixes(), m) {
			return fmt.Errorf("unknown mix %q: choose from %v", m, ReadMixes())
		}
	}
	switch {
	case c.Conns < 1 || c.Depth < 1 || c.Rounds < 1:
		return fmt.Errorf("%d connections with %d requests each, %d rounds: give numbers of at least 1", c.Conns, c.Depth, c.Rounds)
	case c.Rate < 0 || c.For < 0:
		return fmt.Errorf("%d entries per second for %v: give no numbers below 0", c.Rate, c.For)
	case c.Idle < 0 || c.Garbage < 0:
		return fmt.Errorf("%d idle mounts, %d packets of nonsense per second: give no numbers below 0", c.Idle, c.Garbage)
	case c.Cache < image.MinCache:
		return fmt.Errorf("a cache of %d bytes is too small: give at least %d MiB", c.Cache, image.MinCache>>20)
	case len(c.Program) == 0:
		return errors.New("there is no command that runs a standby")
	}
	return c.Options.validate()
}

// feed is how many entries the standby may need to apply in a round.
func (c *ReadsConfig) feed() int {
	seconds := (c.For + readsWarmUp + readsSettle).Seconds() * float64(len(c.Mixes))
	return int(float64(c.Rate) * (seconds + 5))
}

// ReadResult is what one server did for one mix in one round.
type ReadResult struct {
	Server   ReadServer `json:"server"`
	Mix      ReadMix    `json:"mix"`
	Round    int        `json:"round"` // from 1
	Requests int64      `json:"requests"`
	Seconds  float64    `json:"seconds"`
	Latency  Latency    `json:"latency"`
	Errors   int64      `json:"errors"`      // answers that were only an error status
	Bytes    int64      `json:"bytes"`       // of answers
	CPU      float64    `json:"cpu_seconds"` // of the server
	Memory   int64      `json:"resident_bytes"`
	Entries  int64      `json:"entries_applied"`   // meanwhile, by the standby
	Garbage  int64      `json:"garbage,omitempty"` // packets of nonsense sent meanwhile
}

// Rate is in requests per second.
func (r *ReadResult) Rate() float64 { return float64(r.Requests) / max(r.Seconds, 1e-9) }

// ReadsReport is the outcome of MeasureReads.
type ReadsReport struct {
	Machine Machine               `json:"machine"`
	Inodes  int                   `json:"inodes"` // known to the clients
	Dirs    int                   `json:"dirs"`
	Conns   int                   `json:"connections"`
	Depth   int                   `json:"depth"`
	Rate    int                   `json:"entries_per_second"` // wanted
	Idle    int                   `json:"idle,omitempty"`
	Garbage int                   `json:"garbage_per_second,omitempty"`
	Rounds  int                   `json:"rounds"`
	Results []ReadResult          `json:"results"`
	Ratios  map[ReadMix]ReadRatio `json:"ratios,omitempty"` // standby to master, medians of the rounds' ratios
}

// ReadRatio compares the standby with the master in the same round.
type ReadRatio struct {
	Rate float64 `json:"rate"` // requests per second
	CPU  float64 `json:"cpu"`  // requests per second of processor time
	P99  float64 `json:"p99"`  // above 1 is slower
}

// MeasureReads lets clients read the same tree from the stock master and from a
// standby, in turn. All are on this machine, so all share its processors; the
// standby follows a changelog that grows meanwhile.
func MeasureReads(ctx context.Context, cfg ReadsConfig) (*ReadsReport, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(cfg.Dir, "mfsstandby-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &readsRun{cfg: cfg, dir: dir, report: &ReadsReport{
		Machine: thisMachine(), Conns: cfg.Conns, Depth: cfg.Depth, Rate: cfg.Rate, Idle: cfg.Idle, Garbage: cfg.Garbage, Rounds: cfg.Rounds,
	}}
	r.tell("making the tree")
	if r.tree, err = makeTree(ctx, dir, cfg.Options, cfg.feed(), cfg.Cache); err != nil {
		return nil, err
	}
	for round := 1; round <= cfg.Rounds; round++ {
		servers := []ReadServer{StandbyServer}
		if cfg.Against {
			servers = append(servers, MasterServer)
		}
		if round%2 == 0 {
			slices.Reverse(servers)
		}
		for _, s := range servers {
			if err := r.measure(ctx, s, round); err != nil {
				return nil, fmt.Errorf("round %d, %s: %w", round, s, err)
			}
		}
	}
	r.report.compare()
	return r.report, nil
}

// readsRun is MeasureReads at work.
type readsRun struct {
	cfg    ReadsConfig
	dir    string
	tree   *tree
	report *ReadsReport
}

func (r *readsRun) tell(format string, args ...any) {
	if r.cfg.WriteState != nil {
		r.cfg.WriteState(fmt.Sprintf(format, args...))
	}
}

// Times around a measurement.
const (
	readsWarmUp = time.Second            // clients work, nobody measures
	readsSettle = 200 * time.Millisecond // between two mixes
)

// measure starts a server and measures every mix.
func (r *readsRun) measure(ctx context.Context, which ReadServer, round int) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work := filepath.Join(r.dir, fmt.Sprintf("%d-%s", round, which))
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	r.tell("round %d of %d: starting %s", round, r.cfg.Rounds, which)
	srv, err := r.start(ctx, which, work, round)
	if err != nil {
		return err
	}
	defer func() {
		if stopped := srv.stop(); err == nil {
			err = stopped
		}
	}()
	load, err := newReadLoad(ctx, srv.address, r.cfg.Conns, r.cfg.Depth)
	if err != nil {
		return err
	}
	defer load.close()
	rest, err := startAbuse(ctx, srv.address, r.cfg.Idle, r.cfg.Garbage)
	if err != nil {
		return srv.explain(err)
	}
	defer rest.stop()
	r.report.Inodes, r.report.Dirs = len(load.names), len(load.dirs)
	for _, mix := range r.cfg.Mixes {
		r.tell("round %d of %d: %s, %s", round, r.cfg.Rounds, which, mix)
		res, err := r.measureMix(ctx, srv, load, rest, mix)
		if err != nil {
			return fmt.Errorf("mix %s: %w", mix, err)
		}
		res.Server, res.Round = which, round
		r.report.Results = append(r.report.Results, res)
		if err := pause(ctx, readsSettle); err != nil {
			return err
		}
	}
	return nil
}

func (r *readsRun) measureMix(ctx context.Context, srv *readServer, load *readLoad, rest *abuse, mix ReadMix) (ReadResult, error) {
	if _, err := load.run(ctx, mix, readsWarmUp); err != nil {
		return ReadResult{}, err
	}
	cpu, fed, garbage := processTime(srv.pid()), srv.fed(), rest.sent.Load()
	res, err := load.run(ctx, mix, r.cfg.For)
	if err != nil {
		return res, srv.explain(err)
	}
	res.CPU = (processTime(srv.pid()) - cpu).Seconds()
	res.Entries, res.Garbage = srv.fed()-fed, rest.sent.Load()-garbage
	res.Memory, _ = residentBytes(fmt.Sprint(srv.pid()))
	if n := rest.lost.Load(); n > 0 {
		return res, srv.explain(fmt.Errorf("the server closed %d connections that did nothing wrong", n))
	}
	return res, nil
}

// compare fills in Ratios.
func (r *ReadsReport) compare() {
	for _, mix := range ReadMixes() {
		var rate, cpu, p99 []float64
		for i := range r.Results {
			s := &r.Results[i]
			if s.Mix != mix || s.Server != StandbyServer {
				continue
			}
			for j := range r.Results {
				if m := &r.Results[j]; m.Mix == mix && m.Server == MasterServer && m.Round == s.Round {
					rate = append(rate, s.Rate()/m.Rate())
					cpu = append(cpu, (float64(s.Requests)/max(s.CPU, 1e-9))/(float64(m.Requests)/max(m.CPU, 1e-9)))
					p99 = append(p99, s.Latency.P99/max(m.Latency.P99, 1e-9))
				}
			}
		}
		if len(rate) > 0 {
			if r.Ratios == nil {
				r.Ratios = map[ReadMix]ReadRatio{}
			}
			r.Ratios[mix] = ReadRatio{median(rate), median(cpu), median(p99)}
		}
	}
}

// Median returns the run of a server and mix with the median rate, nil if
// there is none.
func (r *ReadsReport) Median(s ReadServer, mix ReadMix) *ReadResult {
	var runs []*ReadResult
	for i := range r.Results {
		if res := &r.Results[i]; res.Server == s && res.Mix == mix {
			runs = append(runs, res)
		}
	}
	if len(runs) == 0 {
		return nil
	}
	slices.SortFunc(runs, func(a, b *ReadResult) int { return int(a.Rate() - b.Rate()) })
	return runs[len(runs)/2]
}

// WriteText writes the report as a table, for people.
func (r *ReadsReport) WriteText(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s\n", r.Machine)
	fmt.Fprintf(out, "%d names in %d directories, %d connections with %d requests on the way each; the standby applies %d entries/s; rounds %d, medians by rate\n\n",
		r.Inodes, r.Dirs, r.Conns, r.Depth, r.Rate, r.Rounds)
	if r.Idle+r.Garbage > 0 {
		fmt.Fprintf(out, "besides %d idle mounts and %d packets of nonsense per second\n\n", r.Idle, r.Garbage)
	}
	fmt.Fprintf(out, "%-9s %-10s %11s %9s %9s %9s %7s %9s %9s %9s %8s\n", "mix", "server", "requests/s", "p50 ms", "p99 ms", "max ms",
		"CPU s", "us CPU/rq", "B/answer", "entries/s", "MiB now")
	for _, mix := range ReadMixes() {
		for _, s := range []ReadServer{StandbyServer, MasterServer} {
			if m := r.Median(s, mix); m != nil {
				n := float64(max(m.Requests, 1))
				fmt.Fprintf(out, "%-9s %-10s %11.0f %9.3f %9.3f %9.3f %7.2f %9.2f %9.1f %9.0f %8d\n", mix, s, m.Rate(), m.Latency.P50, m.Latency.P99,
					m.Latency.Max, m.CPU, m.CPU*1e6/n, float64(m.Bytes)/n, float64(m.Entries)/m.Seconds, m.Memory>>20)
			}
		}
	}
	for _, mix := range ReadMixes() {
		if ratio, ok := r.Ratios[mix]; ok {
			fmt.Fprintf(out, "\n%s, %s / %s: %.2f; per second of processor time %.2f; p99 %.2f", mix, StandbyServer, MasterServer, ratio.Rate, ratio.CPU, ratio.P99)
		}
	}
	if len(r.Ratios) > 0 {
		fmt.Fprint(out, "\n(medians of the rounds' ratios)\n")
	}
	return out.Flush()
}
