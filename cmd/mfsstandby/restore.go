package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
	"mfsstandby/standby/replay"
)

func restoreCommand() command {
	return command{
		name: "restore", args: "CHANGELOG...",
		short: "make a current metadata.mfs of an older one and changelog files (mfsmetarestore)",
		about: `Brings a metadata file forward by changelog files and writes the result, as mfsmetarestore did. It
needs no data directory; a temporary image is made beside the output and removed.`,
		examples: `mfsstandby restore -m metadata.mfs.back -o metadata.mfs changelog.*.mfs
mfsstandby restore -m metadata.mfs.back -o at-noon.mfs --until 1200000 changelog.*.mfs`,
		setup: func(f *pflag.FlagSet) runFunc {
			cfg := replay.RestoreConfig{}
			f.StringVarP(&cfg.Base, "metadata", "m", "", "metadata file to start from")
			f.StringVarP(&cfg.Out, "output", "o", "", "metadata file to write")
			f.StringVar(&cfg.CRC, "crc", "", "file to write the checksums to, as mfsmaster's metadata.crc")
			until := f.Uint64("until", 0, "version to stop at (default: the end of the files)")
			cache := sizeFlag(f, "cache", image.DefaultCache, cacheAbout)
			asJSON := f.Bool("json", false, "print a summary for programs")
			return func(ctx context.Context, c *console, args []string) error {
				if cfg.Base == "" || cfg.Out == "" {
					return usagef("restore needs -m METADATA and -o OUT")
				}
				cfg.Changes, cfg.Until, cfg.Cache, cfg.Logger = args, meta.Version(*until), int64(*cache), c.logger()
				return restore(ctx, c, cfg, *asJSON)
			}
		},
	}
}

// restoreSummary is what restore --json prints.
type restoreSummary struct {
	Output  string       `json:"output"`
	From    meta.Version `json:"from_version"`
	Version meta.Version `json:"version"`
	Entries uint64       `json:"entries"`
	Seconds float64      `json:"seconds"`
	Torn    string       `json:"torn,omitempty"`
}

func restore(ctx context.Context, c *console, cfg replay.RestoreConfig, asJSON bool) error {
	stages := stages{c: c}
	cfg.Stage = stages.begin
	start := time.Now()
	res, err := replay.Restore(ctx, cfg)
	stages.end()
	if err != nil {
		return err
	}
	if asJSON {
		sum := restoreSummary{Output: cfg.Out, From: res.To - meta.Version(res.Entries), Version: res.To,
			Entries: res.Entries, Seconds: time.Since(start).Seconds()}
		if res.Torn != nil {
			sum.Torn = res.Torn.Error()
		}
		return c.json(sum)
	}
	reportReplay(c, &res)
	_, err = fmt.Fprintf(c.out, "%s: version %d\n", cfg.Out, res.To)
	return err
}
