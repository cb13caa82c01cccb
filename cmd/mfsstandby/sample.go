package main

import (
	"context"

	"github.com/spf13/pflag"

	"mfsstandby/bench/sample"
)

func sampleCommand() command {
	return command{
		name:  "sample",
		short: "a stand-in for a master: writes an endless realistic changelog",
		about: `Writes a metadata file and an endless changelog, as a master of 3.0.117 with a few busy clients would,
for trying things out. Both are kept small. It goes on where it was when it is started again on the same
directory, also after a crash; in an empty one it begins a new cluster.`,
		examples: `mfsstandby sample --dir /tmp/primary --rate 5000
mfsstandby run --changelog-dir /tmp/primary --data ./data         # in a second terminal`,
		setup: func(f *pflag.FlagSet) runFunc {
			cfg := sample.Config{}
			f.StringVar(&cfg.Dir, "dir", "", "directory to work in, made if missing")
			rate := rateFlag(f)
			f.IntVar(&cfg.Files, "files", 20_000, "how many files there are about")
			logs := addLogFlags(f)
			return func(ctx context.Context, c *console, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				if cfg.Dir == "" {
					return usagef("sample needs --dir DIR")
				}
				cfg.Rate, cfg.Logger = *rate, logs.logger(c)
				if err := cfg.Validate(); err != nil {
					return usagef("%v", err)
				}
				p, err := sample.New(cfg)
				if err != nil {
					return err
				}
				cfg.Logger.Info("writing entries", "dir", cfg.Dir, "metaid", hexID(p.MetaID()), "version", p.Version(), "rate", cfg.Rate)
				return p.Run(ctx)
			}
		},
	}
}

func rateFlag(f *pflag.FlagSet) *int {
	return f.Int("rate", 2000, "entries per second of the sample primary")
}
