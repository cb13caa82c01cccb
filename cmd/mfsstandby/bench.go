package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/bench"
	"mfsstandby/bench/sample"
	"mfsstandby/replicator/tap"
	"mfsstandby/standby/image"
)

func benchReplayCommand() command {
	return command{
		name:  "bench replay",
		short: "measure each stage between a changelog and the image",
		about: `Runs a changelog through each stage alone and through all together, each in a process of its own:
parse, read, publish, consume, apply-memory, apply, reads, pipeline, export, import. The changelog is generated
from --mix and --seed, or given. With --against mfsmaster the stock master replays the same file in the
same rounds.

Latency is per batch: of parse, read and consume the time it takes, of publish until it is acknowledged,
of apply and pipeline from reading it until it can be read in the image; of reads it is that of looking
up an inode while entries are applied at full speed. Peak memory is what is resident,
mapped tables of the image included, which the kernel takes back when it needs room; own memory is
the rest. For parse it holds the file.`,
		examples: `mfsstandby bench replay --entries 3000000 --mix mixed --against mfsmaster --rounds 3
mfsstandby bench replay --stage apply --cache 64M --json
mfsstandby bench replay --changelog changelog.0.mfs --metadata metadata.mfs.back --plot replay.svg`,
		setup: setupBenchReplay,
	}
}

func setupBenchReplay(f *pflag.FlagSet) runFunc {
	var cfg bench.ReplayConfig
	f.IntVar(&cfg.Entries, "entries", 1_000_000, "lines of the generated changelog")
	mix := choiceFlag(f, "mix", "what the changelog is made of; captured is one of a real master, from the source", mixes()...)
	f.Uint64Var(&cfg.Seed, "seed", 1, "of the generated changelog")
	f.StringVar(&cfg.Changelog, "changelog", "", "changelog file to take instead")
	f.StringVar(&cfg.Metadata, "metadata", "", "metadata file that --changelog continues")
	cache := sizeFlag(f, "cache", image.DefaultCache, cacheAbout)
	sync := addSyncFlag(f)
	f.IntVar(&cfg.Batch, "batch", tap.MaxBatchEntries, "most entries per message of publish")
	f.IntVar(&cfg.Rounds, "rounds", 1, "how often everything is run; the median counts")
	stages := f.StringSlice("stage", nil, "stages to run (default: all)")
	common := addBenchFlags(f, &cfg.Dir)
	common.addAgainst(f, "let the stock master replay the same file in each round")
	common.addPlot(f, "rate and memory over time")
	job := f.String("job", "", "run one stage, as described in this file")
	f.Lookup("job").Hidden = true
	return func(ctx context.Context, c *console, args []string) error {
		if *job != "" {
			return bench.RunJob(ctx, *job, c.out)
		}
		if err := noArgs(args); err != nil {
			return err
		}
		self, err := common.check()
		if err != nil {
			return err
		}
		cfg.Mix, cfg.Cache, cfg.Sync, cfg.Against = bench.Mix(mix.value), int64(*cache), sync.value, common.against != ""
		for _, s := range *stages {
			cfg.Stages = append(cfg.Stages, bench.Stage(s))
		}
		cfg.Child = []string{self, "bench", "replay", "--job"}
		cfg.Profiles = profileDir(f) // the stages' own, not only that of this process
		cfg.WriteState = c.tell
		if err := cfg.Validate(); err != nil {
			return usagef("%v", err)
		}
		report, err := bench.Replay(ctx, cfg)
		if err != nil {
			return err
		}
		return common.write(c, report)
	}
}

// mixes begins with the default.
func mixes() []string {
	list := []string{string(bench.Mixed)}
	for _, m := range append(bench.Mixes(), bench.Captured) {
		if m != bench.Mixed {
			list = append(list, string(m))
		}
	}
	return list
}

// benchFlags are flags that the bench commands share.
type benchFlags struct {
	against string
	json    *bool
	plot    string
}

func addBenchFlags(f *pflag.FlagSet, dir *string) *benchFlags {
	f.StringVar(dir, "dir", "", "where to work: a directory on the disk to be measured (default: the system's for temporary files)")
	return &benchFlags{json: f.Bool("json", false, "print JSON")}
}

func (b *benchFlags) addAgainst(f *pflag.FlagSet, about string) {
	f.StringVar(&b.against, "against", "", "mfsmaster: "+about)
}

func (b *benchFlags) addPlot(f *pflag.FlagSet, about string) {
	f.StringVar(&b.plot, "plot", "", "SVG file for "+about)
}

// check returns the path of this program, which is what is measured.
func (b *benchFlags) check() (self string, err error) {
	if b.against != "" && b.against != "mfsmaster" {
		return "", usagef("--against %s: only mfsmaster can be compared with", b.against)
	}
	return os.Executable()
}

// write prints a report, and draws it if that is wanted.
func (b *benchFlags) write(c *console, report interface{ WriteText(io.Writer) error }) error {
	if p, ok := report.(plotter); ok && b.plot != "" {
		if err := writePlot(b.plot, p); err != nil {
			return err
		}
	}
	if *b.json {
		return c.json(report)
	}
	return report.WriteText(c.out)
}

// tell says on stderr what is being done.
func (c *console) tell(what string) { fmt.Fprintln(c.err, "mfsstandby:", what) }

// plotter is a report that can be drawn.
type plotter interface{ WriteSVG(io.Writer) error }

func writePlot(path string, report plotter) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := report.WriteSVG(f); err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}

func benchLagCommand() command {
	return command{
		name:  "bench lag",
		short: "measure how far the image is behind a primary",
		about: `Follows a primary through tap, spool, stream and image, and measures how long each entry takes from
the tap's receipt until it can be read in the image, and how long it takes to look up an inode meanwhile.
Without --primary a sample primary in the same process writes entries at a set rate.`,
		examples: `mfsstandby bench lag --rate 10000 --seconds 30
mfsstandby bench lag --primary mfsmaster --seconds 60 --sync interval`,
		setup: func(f *pflag.FlagSet) runFunc {
			var cfg bench.LagConfig
			f.StringVar(&cfg.Primary, "primary", "", "HOST[:PORT] of a master's metalogger port (default: a sample primary)")
			f.IntVar(&cfg.Rate, "rate", 0, "entries per second of the sample primary (default 2000)")
			seconds := f.Float64("seconds", 10, "how long to measure, after the image has caught up")
			cache := sizeFlag(f, "cache", image.DefaultCache, cacheAbout)
			sync := addSyncFlag(f)
			common := addBenchFlags(f, &cfg.Dir)
			return func(ctx context.Context, c *console, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				cfg.For = time.Duration(*seconds * float64(time.Second))
				cfg.Cache, cfg.Sync, cfg.Sample = int64(*cache), sync.value, samplePrimary
				if err := cfg.Validate(); err != nil {
					return usagef("%v", err)
				}
				report, err := bench.Lag(ctx, cfg)
				if err != nil {
					return err
				}
				return common.write(c, report)
			}
		},
	}
}

func samplePrimary(dir string, rate int) (func(context.Context) error, error) {
	p, err := sample.New(sample.Config{Dir: dir, Rate: rate, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return p.Run, nil
}

func benchReadsCommand() command {
	return command{
		name:  "bench reads",
		short: "measure how many requests of mounts a standby answers",
		about: `Makes a tree from a generated changelog and has clients read it over the client protocol, as mounts do:
names, attributes, directories. The standby is this program, which follows a changelog that grows by
--rate entries per second meanwhile; with --against mfsmaster the stock master serves the same metadata in
the same rounds, and has nothing else to do. Clients and servers share this machine.

Latency is from sending a request until its answer is there. "us CPU/rq" is processor time of the server
alone per request, for the standby that of applying included.`,
		examples: `mfsstandby bench reads --rate 5000 --against mfsmaster --rounds 5
mfsstandby bench reads --mix lookup --connections 64 --depth 16 --json
mfsstandby bench reads --mix mixed --idle 10000 --garbage 100000`,
		setup: func(f *pflag.FlagSet) runFunc {
			var cfg bench.ReadsConfig
			f.IntVar(&cfg.Entries, "entries", 300_000, "lines of the changelog that makes the tree")
			f.Uint64Var(&cfg.Seed, "seed", 1, "of the changelog")
			kinds := f.StringSlice("mix", nil, "what is asked for: lookup, getattr, readdir, mixed (default: each)")
			f.IntVar(&cfg.Conns, "connections", 8, "mounts at once")
			f.IntVar(&cfg.Depth, "depth", 4, "requests that each has on the way")
			seconds := f.Float64("seconds", 5, "how long each is measured, after a second that is not")
			f.IntVar(&cfg.Rate, "rate", 5000, "entries per second that the standby applies meanwhile")
			f.IntVar(&cfg.Idle, "idle", 0, "more mounts, which ask nothing")
			f.IntVar(&cfg.Garbage, "garbage", 0, "packets of nonsense per second that others send meanwhile")
			f.IntVar(&cfg.Rounds, "rounds", 1, "how often everything is run; the median counts")
			cache := sizeFlag(f, "cache", image.DefaultCache, cacheAbout)
			common := addBenchFlags(f, &cfg.Dir)
			common.addAgainst(f, "measure the stock master in each round too")
			return func(ctx context.Context, c *console, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				self, err := common.check()
				if err != nil {
					return err
				}
				cfg.Program, cfg.Against, cfg.Cache = []string{self}, common.against != "", int64(*cache)
				cfg.For = time.Duration(*seconds * float64(time.Second))
				for _, m := range *kinds {
					cfg.Mixes = append(cfg.Mixes, bench.ReadMix(m))
				}
				cfg.Profile = profileDir(f)
				cfg.WriteState = c.tell
				if err := cfg.Validate(); err != nil {
					return usagef("%v", err)
				}
				report, err := bench.MeasureReads(ctx, cfg)
				if err != nil {
					return err
				}
				return common.write(c, report)
			}
		},
	}
}

func benchPromoteCommand() command {
	return command{
		name:  "bench promote",
		short: "measure how long it takes until writes are accepted again",
		about: `Lets a standby follow a primary, until it has settled, and then the primary dies; promotes it, and takes
the time from the command until the first write of a mount is accepted, with trees of several sizes. With
--against mfsmaster a stock master starts on the same files in the same round, as a metalogger has them:
metadata_ml.mfs.back and changelog_ml.0.mfs.

"drain" is the time it takes to apply what the stream had; "beyond it" is the rest of the time until the
first write.`,
		examples: `mfsstandby bench promote --against mfsmaster --rounds 3
mfsstandby bench promote --inodes 100000,1000000 --rate 20000 --json
mfsstandby bench promote --against mfsmaster --plot promote.svg`,
		setup: func(f *pflag.FlagSet) runFunc {
			var cfg bench.PromoteConfig
			f.IntSliceVar(&cfg.Inodes, "inodes", nil, "sizes of the tree (default 100000,1000000,10000000)")
			f.IntVar(&cfg.Backlog, "entries", 100_000, "entries since the metadata file was saved")
			f.IntVar(&cfg.Rate, "rate", 5000, "entries per second until the primary dies")
			f.IntVar(&cfg.Rounds, "rounds", 1, "how often everything is run; the median counts")
			cache := sizeFlag(f, "cache", image.DefaultCache, cacheAbout)
			common := addBenchFlags(f, &cfg.Dir)
			common.addAgainst(f, "start the stock master on the same files in each round")
			common.addPlot(f, "the times over the number of inodes")
			return func(ctx context.Context, c *console, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				self, err := common.check()
				if err != nil {
					return err
				}
				cfg.Program, cfg.Against, cfg.Cache = []string{self}, common.against != "", int64(*cache)
				cfg.WriteState = c.tell
				if err := cfg.Validate(); err != nil {
					return usagef("%v", err)
				}
				report, err := bench.MeasurePromotion(ctx, cfg)
				if err != nil {
					return err
				}
				return common.write(c, report)
			}
		},
	}
}

// profileDir is the directory given with --pprof, for the processes that are
// measured; "" if there is none, or it is an address.
func profileDir(f *pflag.FlagSet) string {
	profile := f.Lookup("pprof").Value.String()
	if strings.ContainsRune(profile, filepath.Separator) || !strings.Contains(profile, ":") {
		return profile
	}
	return ""
}
