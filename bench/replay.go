package bench

import (
	"bytes"
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

	"mfsstandby/replicator/tap"
	"mfsstandby/standby"
	"mfsstandby/standby/image"
)

// Stage is a part of the way of an entry, or what it is compared with.
type Stage string

// The stages, in the order in which they run.
const (
	Parse       Stage = "parse"        // lines in memory -> operations
	Read        Stage = "read"         // changelog file -> batches of lines
	Publish     Stage = "publish"      // changelog file -> stream
	Consume     Stage = "consume"      // stream -> batches, checked
	ApplyMemory Stage = "apply-memory" // changelog file -> image, without a commit
	Apply       Stage = "apply"        // changelog file -> durable image: the command replay
	Reads       Stage = "reads"        // apply, with inodes looked up meanwhile: their latency
	Pipeline    Stage = "pipeline"     // changelog file -> tap, spool, stream -> durable image
	Export      Stage = "export"       // image -> metadata file
	Import      Stage = "import"       // metadata file -> durable image
	Master      Stage = "mfsmaster -a" // the stock master replaying the same file into its memory
)

// Stages lists all but Master.
func Stages() []Stage {
	return []Stage{Parse, Read, Publish, Consume, ApplyMemory, Apply, Reads, Pipeline, Export, Import}
}

// needs says which stage leaves behind what another one takes.
var needs = map[Stage]Stage{Consume: Publish, Export: Apply, Import: Export}

// ReplayConfig says what Replay measures.
type ReplayConfig struct {
	Options             // of the generated changelog, unless there is one:
	Changelog  string   // file; .gz is unpacked
	Metadata   string   // file that Changelog continues
	Cache      int64    // bytes; default image.DefaultCache
	Sync       string   // "always" (default) or "interval": see the commands' --sync
	Batch      int      // entries per message of publish, at most; default as many as a message takes
	Rounds     int      // default 1
	Stages     []Stage  // default: all
	Against    bool     // run mfsmaster -a in each round
	Dir        string   // for everything, inside a directory of its own; default: the system's for temporary files
	Child      []string // command that runs RunJob with the path of a job, which is appended
	Profiles   string   // directory for profiles of each child, given to it with --pprof; empty: none
	WriteState func(string)
}

// Captured is the Mix of a changelog that a real master wrote.
const Captured Mix = "captured"

// The changelog of a real master that comes with the source.
const (
	fixtureChangelog = "changelog/testdata/3.0.117-a.changelog.mfs.gz"
	fixtureMetadata  = "standby/metafile/testdata/3.0.117-a/before.mfs"
)

// Validate says what is wrong, and fills in defaults.
func (c *ReplayConfig) Validate() error {
	c.Options = c.Options.withDefaults()
	if c.Mix == Captured && c.Changelog == "" && c.Metadata == "" {
		c.Changelog, c.Metadata = fixtureChangelog, fixtureMetadata
	}
	if len(c.Stages) == 0 {
		c.Stages = Stages()
	}
	for _, s := range c.Stages {
		if !slices.Contains(Stages(), s) {
			return fmt.Errorf("unknown stage %q: choose from %v", s, Stages())
		}
	}
	setDefault(&c.Cache, image.DefaultCache)
	setDefault(&c.Sync, "always")
	setDefault(&c.Rounds, 1)
	setDefault(&c.Batch, tap.MaxBatchEntries)
	switch {
	case (c.Changelog == "") != (c.Metadata == ""):
		return errors.New("a changelog and the metadata file that it continues are given together")
	case c.Batch < 1:
		return fmt.Errorf("batches of %d entries: give a number of at least 1", c.Batch)
	case c.Rounds < 1:
		return fmt.Errorf("%d rounds: give a number of at least 1", c.Rounds)
	case c.Sync != "always" && c.Sync != "interval":
		return fmt.Errorf("sync %q: use always or interval", c.Sync)
	case c.Cache < image.MinCache:
		return fmt.Errorf("a cache of %d bytes is too small: give at least %d MiB", c.Cache, image.MinCache>>20)
	case len(c.Child) == 0:
		return errors.New("there is no command that runs a stage")
	}
	if c.Changelog != "" {
		c.Mix = Captured
		return nil
	}
	return c.Options.validate()
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Replay runs a changelog through each stage, round after round, each run in a
// process of its own, so that memory and processor time are the stage's.
func Replay(ctx context.Context, cfg ReplayConfig) (*Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(cfg.Dir, "mfsstandby-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cfg.tell("preparing the changelog")
	in, err := cfg.input(dir)
	if err != nil {
		return nil, err
	}
	report := &Report{
		Machine: thisMachine(), Mix: cfg.Mix, Seed: cfg.Seed, Entries: in.entries(), Bytes: in.Bytes,
		Cache: cfg.Cache, Sync: cfg.Sync, Rounds: cfg.Rounds,
	}
	for round := 1; round <= cfg.Rounds; round++ {
		if err := cfg.round(ctx, dir, in, round, report); err != nil {
			return nil, err
		}
	}
	report.compare()
	return report, nil
}

func (c *ReplayConfig) tell(format string, args ...any) {
	if c.WriteState != nil {
		c.WriteState(fmt.Sprintf(format, args...))
	}
}

// round runs each stage once, and before it those that it needs.
func (c *ReplayConfig) round(ctx context.Context, dir string, in input, round int, report *Report) error {
	work := filepath.Join(dir, fmt.Sprint(round))
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	var done []Stage
	var run func(s Stage) error
	run = func(s Stage) error {
		if slices.Contains(done, s) {
			return nil
		}
		if before, ok := needs[s]; ok {
			if err := run(before); err != nil {
				return err
			}
		}
		c.tell("round %d of %d: %s", round, c.Rounds, s)
		res, err := c.child(ctx, job{Stage: s, Input: in, Dir: work, Cache: c.Cache, SyncAlways: c.Sync == "always", Batch: c.Batch}, round)
		if err != nil {
			return fmt.Errorf("stage %s: %w", s, err)
		}
		done = append(done, s)
		report.Results = append(report.Results, res)
		return nil
	}
	for _, s := range Stages() {
		if slices.Contains(c.Stages, s) {
			if err := run(s); err != nil {
				return err
			}
		}
	}
	if !c.Against {
		return nil
	}
	c.tell("round %d of %d: %s", round, c.Rounds, Master)
	res, err := runMaster(ctx, filepath.Join(work, "master"), in)
	if err != nil {
		return fmt.Errorf("%s: %w", Master, err)
	}
	res.Round = round
	report.Results = append(report.Results, res)
	return nil
}

// child runs a job in another process.
func (c *ReplayConfig) child(ctx context.Context, j job, round int) (res Result, err error) {
	text, err := json.Marshal(j)
	if err != nil {
		return res, err
	}
	path := filepath.Join(j.Dir, "job.json")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return res, err
	}
	args := append(slices.Clone(c.Child[1:]), path)
	if c.Profiles != "" {
		args = append(args, "--pprof", filepath.Join(c.Profiles, fmt.Sprintf("%s-%d", j.Stage, round)))
	}
	cmd := exec.CommandContext(ctx, c.Child[0], args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return res, ctx.Err()
		}
		return res, fmt.Errorf("%w: %s", err, strings.TrimSpace(errs.String()))
	}
	if err := json.Unmarshal(out.Bytes(), &res); err != nil {
		return res, fmt.Errorf("reading its result: %w", err)
	}
	res.Round = round
	return res, nil
}

// job is what a child does.
type job struct {
	Stage      Stage
	Input      input
	Dir        string // shared by the jobs of a round
	Cache      int64
	SyncAlways bool
	Batch      int
}

// RunJob runs the stage described in the file at path, and writes its Result
// as JSON to w.
func RunJob(ctx context.Context, path string, w io.Writer) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var j job
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("reading job %s: %w", path, err)
	}
	work, ok := stages[j.Stage]
	if !ok {
		return fmt.Errorf("job %s: unknown stage %q", path, j.Stage)
	}
	standby.LimitMemory(j.Cache)
	r := &stageRun{job: j}
	if err := work(r, ctx); err != nil {
		return err
	}
	if !r.meter.ended.Load() {
		return fmt.Errorf("stage %s did not come to its end", j.Stage)
	}
	res := r.meter.end
	res.Stage, res.Bytes, res.Image, res.Inodes = j.Stage, r.bytes, r.image, r.inodes
	return json.NewEncoder(w).Encode(&res)
}
