package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mfsstandby/replicator"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby"
	"mfsstandby/standby/image"
)

// LagConfig says what Lag measures.
type LagConfig struct {
	Primary  string        // HOST or HOST:PORT of a master's metalogger port; empty: a sample primary in this process
	Rate     int           // of the sample primary, entries per second; default 2,000
	For      time.Duration // how long to measure; default 10 s
	Cache    int64         // bytes; default image.DefaultCache
	Sync     string        // "always" (default) or "interval"
	Dir      string        // for everything, inside a directory of its own; default: the system's for temporary files
	AskEvery time.Duration // how often an inode is looked up meanwhile; default 1 ms

	// Sample makes a sample primary that writes into dir at a rate, and returns
	// what runs it.
	Sample func(dir string, rate int) (run func(context.Context) error, err error)
}

// Validate says what is wrong, and fills in defaults.
func (c *LagConfig) Validate() error {
	if c.Primary != "" && c.Rate != 0 {
		return errors.New("a primary has its own rate: give one of primary and rate")
	}
	setDefault(&c.Rate, 2000)
	setDefault(&c.For, 10*time.Second)
	setDefault(&c.Cache, image.DefaultCache)
	setDefault(&c.Sync, "always")
	setDefault(&c.AskEvery, time.Millisecond)
	switch {
	case c.Primary == "" && c.Sample == nil:
		return errors.New("there is neither a primary nor a sample")
	case c.Rate < 1:
		return fmt.Errorf("rate of %d entries per second: give a number of at least 1", c.Rate)
	case c.For < 0 || c.AskEvery < 0:
		return fmt.Errorf("measuring for %v, asking every %v: give times above 0", c.For, c.AskEvery)
	case c.Sync != "always" && c.Sync != "interval":
		return fmt.Errorf("sync %q: use always or interval", c.Sync)
	case c.Cache < image.MinCache:
		return fmt.Errorf("a cache of %d bytes is too small: give at least %d MiB", c.Cache, image.MinCache>>20)
	}
	return nil
}

// LagReport is the outcome of Lag.
type LagReport struct {
	Machine Machine `json:"machine"`
	Primary string  `json:"primary"`
	Sync    string  `json:"sync"`
	Wanted  int     `json:"wanted_rate,omitempty"` // of the sample primary
	Seconds float64 `json:"seconds"`
	Entries int64   `json:"entries"` // received and applied in that time
	Batches int     `json:"batches"`
	Latency Latency `json:"latency"` // of entries, from the tap's receipt until they can be read
	Lookups int     `json:"lookups"` // of inodes in the image meanwhile
	Lookup  Latency `json:"lookup"`
	CPU     float64 `json:"cpu_seconds"` // of all in this process, a sample primary included
	Memory  int64   `json:"peak_bytes"`
	Written int64   `json:"written_bytes"`
}

// WriteText writes the report for people.
func (r *LagReport) WriteText(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s\n%s, sync %s, %.1f s: %d entries in %d batches, %.0f entries/s\n", r.Machine, r.Primary, r.Sync,
		r.Seconds, r.Entries, r.Batches, float64(r.Entries)/r.Seconds)
	fmt.Fprintf(out, "\n%-22s %9s %9s %9s\n", "", "p50 ms", "p99 ms", "max ms")
	fmt.Fprintf(out, "%-22s %9.3f %9.3f %9.3f\n", "receipt -> readable", r.Latency.P50, r.Latency.P99, r.Latency.Max)
	fmt.Fprintf(out, "%-22s %9.3f %9.3f %9.3f\n", "lookup of an inode", r.Lookup.P50, r.Lookup.P99, r.Lookup.Max)
	fmt.Fprintf(out, "\nCPU %.2f s, peak %d MiB, written %.1f B per entry\n", r.CPU, r.Memory>>20, float64(r.Written)/float64(max(r.Entries, 1)))
	return out.Flush()
}

// Lag follows a primary through the whole pipeline and measures how far behind
// the image is, when nothing waits.
func Lag(ctx context.Context, cfg LagConfig) (*LagReport, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(cfg.Dir, "mfsstandby-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	l := &lagRun{cfg: cfg, dir: dir}
	return l.run(ctx)
}

// lagRun is the pipeline that Lag measures.
type lagRun struct {
	cfg   LagConfig
	dir   string
	parts []func(context.Context) error
	stand *standby.Standby

	meter meter
	look  reader
}

func (l *lagRun) run(ctx context.Context) (*LagReport, error) {
	server, err := stream.StartServer(stream.ServerConfig{
		StoreDir: filepath.Join(l.dir, "nats"), SyncAlways: l.cfg.Sync == "always", Log: quiet(),
	})
	if err != nil {
		return nil, err
	}
	defer server.Close()
	conn, err := stream.Connect(stream.Config{Server: server, Log: quiet()})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := l.prepare(conn); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, part := range l.parts {
		wg.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	err = l.measure(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	cancel(nil)
	wg.Wait()
	if err = errors.Join(err, l.stand.Close()); err != nil {
		return nil, err
	}
	return l.report(), nil
}

// prepare makes the parts: primary, tap, standby.
func (l *lagRun) prepare(conn *stream.Conn) error {
	tap := replicator.Config{Primary: l.cfg.Primary, Dir: filepath.Join(l.dir, "tap"), Logger: quiet()} // as "run" does
	if l.cfg.Primary == "" {
		tap.ChangelogDir = filepath.Join(l.dir, "primary")
		run, err := l.cfg.Sample(tap.ChangelogDir, l.cfg.Rate)
		if err != nil {
			return err
		}
		l.parts = append(l.parts, run)
	}
	rep, err := replicator.New(tap, conn)
	if err != nil {
		return err
	}
	l.stand, err = standby.New(standby.Config{Dir: l.dir, Cache: l.cfg.Cache, Applied: l.meter.batch, Logger: quiet()}, conn)
	if err != nil {
		return err
	}
	l.parts = append(l.parts, rep.Run, l.stand.Run)
	return nil
}

// measure waits until the image has caught up, and measures from then on.
func (l *lagRun) measure(ctx context.Context) error {
	for l.stand.Status().State != standby.InSync {
		if st := l.stand.Status(); st.State == standby.Stopped {
			return errors.New(st.Error)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	img, err := l.stand.Image()
	if err != nil {
		return err
	}
	if err := l.meter.start(); err != nil {
		return err
	}
	l.look = reader{img: img, every: l.cfg.AskEvery}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.For)
	defer cancel()
	l.look.run(ctx)
	err = l.look.err
	if errors.Is(ctx.Err(), context.Canceled) {
		err = ctx.Err()
	}
	return errors.Join(err, l.meter.stop())
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (l *lagRun) report() *LagReport {
	m := &l.meter.end
	r := &LagReport{
		Machine: thisMachine(), Primary: l.cfg.Primary, Sync: l.cfg.Sync, Seconds: m.Seconds, Entries: m.Done,
		Batches: len(l.meter.batches), Latency: m.Latency, Lookups: len(l.look.took), Lookup: percentiles(l.look.took),
		CPU: m.CPU, Memory: m.Memory, Written: m.Written,
	}
	if r.Primary == "" {
		r.Primary, r.Wanted = fmt.Sprintf("sample primary, %d entries/s", l.cfg.Rate), l.cfg.Rate
	}
	return r
}
