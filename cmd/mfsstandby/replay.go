package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
	"mfsstandby/standby/replay"
)

func replayCommand() command {
	return command{
		name: "replay", args: "FILE...",
		short: "apply changelog files to the image, without NATS",
		about: `Applies changelog files to the image of a data directory, in the order of their versions however
they are given. Entries that the image has already are passed over. At an entry that is missing or
that cannot be applied, the image is left at the version before it, and the exit status is 1.`,
		examples: `mfsstandby replay /var/lib/mfs/changelog.*.mfs --data ./data
mfsstandby replay changelog.0.mfs --until 1200000 --data ./data`,
		setup: func(f *pflag.FlagSet) runFunc {
			data := dataFlag(f)
			cache := sizeFlag(f, "cache", image.DefaultCache, cacheAbout)
			until := f.Uint64("until", 0, "version to stop at (default: the end of the files)")
			return func(ctx context.Context, c *console, args []string) error {
				if len(args) == 0 {
					return usagef("replay takes changelog files")
				}
				return replayFiles(ctx, c, *data, int64(*cache), meta.Version(*until), args)
			}
		},
	}
}

func replayFiles(ctx context.Context, c *console, data string, cache int64, until meta.Version, files []string) error {
	total, err := replay.Size(files...)
	if err != nil {
		return err
	}
	img, lock, err := openImage(data, "replay", cache, c.logger())
	if err != nil {
		return busy(err, "stop it first; it applies entries by itself")
	}
	p := c.progress("applying", total)
	res, err := replay.Files(ctx, img, replay.Options{
		Until: until, CommitBytes: cache / 8, Progress: func(n uint64) { p.at(int64(n)) },
	}, files...)
	p.end()
	err = errors.Join(err, img.Close(), lock.Release())
	reportReplay(c, &res)
	if err != nil {
		return fmt.Errorf("the image in %s is at version %d: %w", data, res.To, err)
	}
	_, err = fmt.Fprintf(c.out, "%s: image at version %d\n", data, res.To)
	return err
}

func reportReplay(c *console, res *replay.Result) {
	if res.Entries > 0 {
		fmt.Fprintf(c.out, "applied %d entries (%d to %d) in %v: %.0f entries/s\n",
			res.Entries, res.From, res.To-1, res.Took.Round(time.Millisecond), res.Rate())
	}
	if res.Torn != nil {
		fmt.Fprintf(c.err, "mfsstandby: note: %v; a crash of the master left it, nobody has been told of that change\n", res.Torn)
	}
}
