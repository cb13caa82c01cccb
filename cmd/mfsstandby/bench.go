package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"mfsstandby/bench"
	"mfsstandby/standby/image"
)

func benchReplayCommand() command {
	return command{
		name:  "bench replay",
		short: "measure each stage between a changelog and the image",
		about: `Runs a changelog through each stage alone and through all together, each in a process of its own:
parse, read, publish, consume, apply-memory, apply, pipeline, export, import. The changelog is generated
from --mix and --seed, or given. With --against mfsmaster the stock master replays the same file in the
same rounds.

Latency is per batch: of parse, read and consume the time it takes, of publish until it is acknowledged,
of apply and pipeline from reading it until it can be read in the image. Peak memory is what is resident;
for parse that holds the file.`,
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
	f.IntVar(&cfg.Rounds, "rounds", 1, "how often everything is run; the median counts")
	stages := f.StringSlice("stage", nil, "stages to run (default: all)")
	against := f.String("against", "", "mfsmaster: let the stock master replay the same file in each round")
	f.StringVar(&cfg.Dir, "dir", "", "where to work: a directory on the disk to be measured (default: the system's for temporary files)")
	asJSON := f.Bool("json", false, "print JSON")
	plot := f.String("plot", "", "SVG file for rate and memory over time")
	job := f.String("job", "", "run one stage, as described in this file")
	f.Lookup("job").Hidden = true
	return func(ctx context.Context, c *console, args []string) error {
		if *job != "" {
			return bench.RunJob(ctx, *job, c.out)
		}
		if err := noArgs(args); err != nil {
			return err
		}
		if *against != "" && *against != "mfsmaster" {
			return usagef("--against %s: only mfsmaster can be compared with", *against)
		}
		cfg.Mix, cfg.Cache, cfg.Sync, cfg.Against = bench.Mix(mix.value), int64(*cache), sync.value, *against != ""
		for _, s := range *stages {
			cfg.Stages = append(cfg.Stages, bench.Stage(s))
		}
		profile := f.Lookup("pprof").Value.String()
		return benchReplay(ctx, c, cfg, profile, *plot, *asJSON)
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

func benchReplay(ctx context.Context, c *console, cfg bench.ReplayConfig, profile, plot string, asJSON bool) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cfg.Child = []string{self, "bench", "replay", "--job"}
	if strings.ContainsRune(profile, filepath.Separator) || !strings.Contains(profile, ":") {
		cfg.Profiles = profile // the stages' own, not only that of this process
	}
	cfg.WriteState = func(what string) { fmt.Fprintln(c.err, "mfsstandby:", what) }
	if err := cfg.Validate(); err != nil {
		return usagef("%v", err)
	}
	report, err := bench.Replay(ctx, cfg)
	if err != nil {
		return err
	}
	if plot != "" {
		if err := writePlot(plot, report); err != nil {
			return err
		}
	}
	if asJSON {
		return c.json(report)
	}
	return report.WriteText(c.out)
}

func writePlot(path string, report *bench.Report) error {
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
