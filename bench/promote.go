package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/image"
	"mfsstandby/standby/stock"
)

// Way is how a cluster gets a master again.
type Way string

// The ways that are compared.
const (
	Promotion Way = "promote"      // a standby that has followed all the time
	StockWay  Way = "mfsmaster -a" // a stock master on the files of a metalogger
)

// PromoteConfig says what MeasurePromotion measures.
type PromoteConfig struct {
	Inodes  []int // sizes of the tree; default 100,000, 1 and 10 million
	Backlog int   // entries after the metadata file that the metalogger has; default 100,000
	Rate    int   // entries per second until the primary dies; default 5,000
	Rounds  int   // default 1
	Against bool  // start mfsmaster -a on the same files in each round
	Cache   int64 // of the standby, bytes; default image.DefaultCache
	Dir     string
	Program []string // the command mfsstandby

	WriteState func(string)
}

// Validate says what is wrong, and fills in defaults.
func (c *PromoteConfig) Validate() error {
	if len(c.Inodes) == 0 {
		c.Inodes = []int{100_000, 1_000_000, 10_000_000}
	}
	setDefault(&c.Backlog, 100_000)
	setDefault(&c.Rate, 5_000)
	setDefault(&c.Rounds, 1)
	setDefault(&c.Cache, image.DefaultCache)
	for _, n := range c.Inodes {
		if n < 1000 || n > 1<<31 {
			return fmt.Errorf("a tree of %d inodes: give numbers of at least 1000", n)
		}
	}
	switch {
	case c.Backlog < 0 || c.Rate < 0 || c.Rounds < 1:
		return fmt.Errorf("%d entries, %d per second, %d rounds: give no numbers below 0, and at least 1 round", c.Backlog, c.Rate, c.Rounds)
	case c.Cache < image.MinCache:
		return fmt.Errorf("a cache of %d bytes is too small: give at least %d MiB", c.Cache, image.MinCache>>20)
	case len(c.Program) == 0:
		return errors.New("there is no command that runs a standby")
	}
	return nil
}

// PromoteResult is one time that a cluster got a master again.
type PromoteResult struct {
	Way     Way           `json:"way"`
	Inodes  int           `json:"inodes"`
	Round   int           `json:"round"`          // from 1
	Write   float64       `json:"first_write_ms"` // from the command until a client's first write was accepted
	Drain   float64       `json:"drain_ms"`       // of it, applying what the stream had
	Command float64       `json:"command_ms"`     // until the command ended
	Connect float64       `json:"connect_ms"`     // until a client could connect
	Steps   []PromoteStep `json:"steps,omitempty"`
	Memory  int64         `json:"resident_bytes"` // then
}

// PromoteStep is a step of a promotion, as the command tells it.
type PromoteStep struct {
	Name string  `json:"name"`
	Ms   float64 `json:"ms"`
}

// Beyond is the time until the first write that was not spent in the drain.
func (r *PromoteResult) Beyond() float64 { return r.Write - r.Drain }

// PromoteReport is the outcome of MeasurePromotion.
type PromoteReport struct {
	Machine Machine         `json:"machine"`
	Backlog int             `json:"entries_since_metadata"`
	Rate    int             `json:"entries_per_second"`
	Rounds  int             `json:"rounds"`
	Results []PromoteResult `json:"results"`
}

// MeasurePromotion lets a primary die and takes the time until a mount's write
// is accepted again: by a standby that is promoted, and by a stock master that
// loads and replays the very files, as they would be at a metalogger.
func MeasurePromotion(ctx context.Context, cfg PromoteConfig) (*PromoteReport, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(cfg.Dir, "mfsstandby-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &promoteRun{cfg: cfg, report: &PromoteReport{Machine: thisMachine(), Backlog: cfg.Backlog, Rate: cfg.Rate, Rounds: cfg.Rounds}}
	for _, n := range cfg.Inodes {
		work := filepath.Join(dir, fmt.Sprint(n))
		if err := os.Mkdir(work, 0o755); err != nil {
			return nil, err
		}
		if err := r.size(ctx, work, n); err != nil {
			return nil, fmt.Errorf("%d inodes: %w", n, err)
		}
		if err := os.RemoveAll(work); err != nil {
			return nil, err
		}
	}
	return r.report, nil
}

// promoteRun is MeasurePromotion at work.
type promoteRun struct {
	cfg    PromoteConfig
	report *PromoteReport
}

func (r *promoteRun) tell(format string, args ...any) {
	if r.cfg.WriteState != nil {
		r.cfg.WriteState(fmt.Sprintf(format, args...))
	}
}

// feedFor is for how long there are entries to feed: longer than a standby
// needs to be in sync.
const feedFor = 10 * time.Second

// size measures all rounds with a tree of so many inodes.
func (r *promoteRun) size(ctx context.Context, dir string, inodes int) error {
	r.tell("making a tree of %d inodes", inodes)
	metadata := filepath.Join(dir, "metadata.mfs")
	tree, err := savePlainTree(ctx, dir, metadata, inodes, r.cfg.Cache)
	if err != nil {
		return err
	}
	backlog, rest := tree.lines(r.cfg.Backlog), tree.lines(int(feedFor.Seconds()*float64(r.cfg.Rate)))
	for round := 1; round <= r.cfg.Rounds; round++ {
		work := filepath.Join(dir, fmt.Sprint(round))
		if err := os.Mkdir(work, 0o755); err != nil {
			return err
		}
		r.tell("%d inodes, round %d of %d: %s", inodes, round, r.cfg.Rounds, Promotion)
		res, err := r.promotion(ctx, work, standbySetup{program: r.cfg.Program, metadata: metadata, log: backlog, exports: writeExports, cache: r.cfg.Cache}, rest)
		if err != nil {
			return fmt.Errorf("round %d, %s: %w", round, Promotion, err)
		}
		res.Inodes, res.Round = inodes, round
		r.report.Results = append(r.report.Results, res)
		if r.cfg.Against {
			r.tell("%d inodes, round %d of %d: %s", inodes, round, r.cfg.Rounds, StockWay)
			if res, err = stockRestart(ctx, work); err != nil {
				return fmt.Errorf("round %d, %s: %w", round, StockWay, err)
			}
			res.Inodes, res.Round = inodes, round
			r.report.Results = append(r.report.Results, res)
		}
		if err := os.RemoveAll(work); err != nil {
			return err
		}
	}
	return nil
}

// promotion lets a standby follow a primary, which then dies.
func (r *promoteRun) promotion(ctx context.Context, dir string, setup standbySetup, rest []byte) (res PromoteResult, err error) {
	s := newReadServer()
	follow, err := s.prepareStandby(ctx, dir, setup)
	if err != nil {
		return res, err
	}
	if err := s.launch(ctx); err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	data := filepath.Join(dir, "data")
	if err := r.inSync(ctx, data); err != nil {
		return res, s.explain(err)
	}
	if err := s.settle(ctx); err != nil {
		return res, s.explain(err)
	}
	w, err := startWriter(ctx, s.address)
	if err != nil {
		return res, s.explain(err)
	}
	defer w.stop()
	if r.cfg.Rate > 0 {
		s.startFeed(ctx, follow, rest, r.cfg.Rate)
		if err := pause(ctx, feedBefore); err != nil {
			return res, err
		}
		s.stopFeed()
	}
	began := time.Now()
	out, err := r.command(ctx, "promote", "--json", "--data", data).Output()
	res = PromoteResult{Way: Promotion, Command: msSince(began)}
	if err != nil {
		return res, s.explain(fmt.Errorf("%w: %s", err, out))
	}
	if err := json.Unmarshal(out, &res); err != nil {
		return res, fmt.Errorf("what the command promote printed: %w", err)
	}
	for _, step := range res.Steps {
		if step.Name == "drain" {
			res.Drain = step.Ms
		}
	}
	if err := w.wait(ctx, began, &res); err != nil {
		return res, s.explain(err)
	}
	res.Memory, _ = residentBytes(fmt.Sprint(s.pid()))
	return res, nil
}

// Bounds of settle.
const (
	settledOver = 2 * time.Second
	settledWith = settledOver / 10 // processor time
	settledTime = 2 * time.Minute
)

// settle waits, not for ever, until a server has no more to do about what it loaded
// than to compact it now and then: it has run for long when its primary dies.
func (s *readServer) settle(ctx context.Context) error {
	for end := time.Now().Add(settledTime); time.Now().Before(end); {
		before := processTime(s.pid())
		if err := pause(ctx, settledOver); err != nil {
			return err
		}
		if processTime(s.pid())-before < settledWith {
			break
		}
	}
	return nil
}

// feedBefore is for how long entries come before the primary dies.
const feedBefore = time.Second

// command is one of the program that is measured.
func (r *promoteRun) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, r.cfg.Program[0], append(slices.Clone(r.cfg.Program[1:]), args...)...)
}

// inSync waits until a standby has all that its primary has.
func (r *promoteRun) inSync(ctx context.Context, data string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		var st struct {
			Role    struct{ Role string } `json:"cluster_role"`
			Standby struct {
				Lag uint64 `json:"lag_entries"`
			} `json:"standby"`
		}
		// Until it answers, the command fails.
		out, err := r.command(ctx, "status", "--json", "--data", data).Output()
		if err == nil && json.Unmarshal(out, &st) == nil && st.Role.Role == "in sync" && st.Standby.Lag == 0 {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("the standby did not come to be in sync: %w", err)
		}
	}
}

// stockRestart starts a stock master on what a metalogger would have of the
// primary in dir.
func stockRestart(ctx context.Context, dir string) (res PromoteResult, err error) {
	files, err := masterFiles(filepath.Join(dir, "stock"), writeExports, stock.DefaultNice, map[string]string{
		"metadata_ml.mfs.back": filepath.Join(dir, "primary", "metadata.mfs.back"),
		"changelog_ml.0.mfs":   filepath.Join(dir, "primary", "changelog.0.mfs"),
	})
	if err != nil {
		return res, err
	}
	path, err := stock.Find()
	if err != nil {
		return res, err
	}
	s := newReadServer()
	s.address = files.Clients
	s.cmd = exec.CommandContext(ctx, path, "-f", "-a", "-c", files.Config, "start")
	w, err := startWriter(ctx, s.address)
	if err != nil {
		return res, err
	}
	defer w.stop()
	began := time.Now()
	if err := s.launch(ctx); err != nil {
		return res, err
	}
	defer func() {
		s.cmd.Process.Kill() // it has nothing to save that anybody needs
		err = errors.Join(err, s.stop())
	}()
	res = PromoteResult{Way: StockWay, Command: msSince(began)}
	err = w.wait(ctx, began, &res)
	res.Memory, _ = residentBytes(fmt.Sprint(s.pid()))
	return res, err
}

func msSince(t time.Time) float64 { return float64(time.Since(t).Microseconds()) / 1000 }

// writer is a mount that wants to make a directory, and tries until it may.
type writer struct {
	address   string
	end       context.CancelFunc
	done      chan error
	connected time.Time // good when done; of the connection on which it was accepted
	accepted  time.Time
}

// startWriter returns when the mount waits: for a server, or for one that is
// read-only to end that.
func startWriter(ctx context.Context, address string) (*writer, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &writer{address: address, end: cancel, done: make(chan error, 1)}
	waits := make(chan struct{}, 1)
	go func() { w.done <- w.run(ctx, waits) }()
	select {
	case <-waits:
		return w, nil
	case err := <-w.done:
		cancel()
		return nil, fmt.Errorf("a write was accepted, or failed, before anything was promoted (%v)", err)
	}
}

func (w *writer) stop() { w.end() }

// wait waits for the write, and takes the times.
func (w *writer) wait(ctx context.Context, began time.Time, res *PromoteResult) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	select {
	case err := <-w.done:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return fmt.Errorf("no write was accepted: %w", ctx.Err())
	}
	res.Write = float64(w.accepted.Sub(began).Microseconds()) / 1000
	res.Connect = float64(w.connected.Sub(began).Microseconds()) / 1000
	return nil
}

// retryWrite is how long a mount waits before it connects again.
const retryWrite = time.Millisecond

func (w *writer) run(ctx context.Context, waits chan<- struct{}) error {
	told := func() {
		select {
		case waits <- struct{}{}:
		default:
		}
	}
	for {
		accepted, err := w.try(ctx, told)
		if accepted || err != nil {
			return err
		}
		told()
		if err := pause(ctx, retryWrite); err != nil {
			return err
		}
	}
}

// try makes a directory over a new connection. A server that is read-only is
// left when it closes the connection. Errors of the connection are no errors.
func (w *writer) try(ctx context.Context, told func()) (bool, error) {
	c, err := dialRead(ctx, w.address, 0, 1, 64<<10)
	if err != nil {
		return false, ctx.Err()
	}
	defer c.nc.Close()
	defer context.AfterFunc(ctx, func() { c.nc.Close() })()
	connected := time.Now()
	(&wire.Mkdir{Create: wire.Create{MsgID: 1, Parent: meta.Root, Name: []byte("first write"), Mode: 0o755, Identity: c.root}}).Append(&c.out)
	if c.flush() != nil {
		return false, ctx.Err()
	}
	for {
		_, p, err := c.next()
		if err != nil {
			return false, ctx.Err()
		}
		id, status, failed := wire.ReplyStatus(p)
		switch {
		case id != 1 && failed, len(p) < 4: // not an answer
		case failed && status == meta.EROFS:
			told()
		case failed:
			return false, fmt.Errorf("making a directory: %w", status)
		default:
			w.connected, w.accepted = connected, time.Now()
			return true, nil
		}
	}
}

// of returns the results of a way with so many inodes.
func (r *PromoteReport) of(way Way, inodes int) []*PromoteResult {
	var out []*PromoteResult
	for i := range r.Results {
		if res := &r.Results[i]; res.Way == way && res.Inodes == inodes {
			out = append(out, res)
		}
	}
	return out
}

// Median returns the run with the median time until the first write, nil if
// there is none.
func (r *PromoteReport) Median(way Way, inodes int) *PromoteResult {
	runs := r.of(way, inodes)
	if len(runs) == 0 {
		return nil
	}
	slices.SortFunc(runs, func(a, b *PromoteResult) int { return int(1000 * (a.Write - b.Write)) })
	return runs[len(runs)/2]
}

// sizes are the numbers of inodes, in the order in which they were measured.
func (r *PromoteReport) sizes() []int {
	var out []int
	for i := range r.Results {
		if n := r.Results[i].Inodes; !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// WriteText writes the report as a table, for people.
func (r *PromoteReport) WriteText(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s\n", r.Machine)
	fmt.Fprintf(out, "%d entries since the metadata file, then %d entries/s until the primary dies; rounds %d, medians by the first write, ms\n\n", r.Backlog, r.Rate, r.Rounds)
	fmt.Fprintf(out, "%-10s %-13s %11s %9s %9s %9s %9s %9s %7s\n", "inodes", "way", "first write", "least", "most", "drain", "beyond it", "command", "MiB")
	for _, n := range r.sizes() {
		for _, way := range []Way{Promotion, StockWay} {
			m := r.Median(way, n)
			if m == nil {
				continue
			}
			runs := r.of(way, n)
			least, most := runs[0].Write, runs[0].Write
			for _, run := range runs {
				least, most = min(least, run.Write), max(most, run.Write)
			}
			fmt.Fprintf(out, "%-10d %-13s %11.1f %9.1f %9.1f %9.1f %9.1f %9.1f %7d\n", n, way, m.Write, least, most, m.Drain, m.Beyond(), m.Command, m.Memory>>20)
		}
		if m := r.Median(Promotion, n); m != nil {
			var steps []string
			for _, s := range m.Steps {
				steps = append(steps, fmt.Sprintf("%s %.1f", s.Name, s.Ms))
			}
			fmt.Fprintf(out, "%-10s steps: %s\n", "", strings.Join(steps, ", "))
		}
	}
	return out.Flush()
}
