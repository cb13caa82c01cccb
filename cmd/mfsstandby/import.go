package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/image"
	"mfsstandby/standby/replay"
)

const cacheAbout = "memory for the image's pages; the process takes about 300MiB more"

func importCommand() command {
	return command{
		name: "import", args: "FILE",
		short: "make an image from a metadata.mfs",
		about: `Makes the image in the data directory from a metadata file that MooseFS 3.0.117 wrote.
The image that is there is kept unless --force is given, and is replaced only when the new one is
complete and on the disk.`,
		examples: `mfsstandby import /var/lib/mfs/metadata.mfs --data ./data
mfsstandby import metadata.mfs.back --data ./data --force`,
		setup: func(f *pflag.FlagSet) runFunc {
			data := dataFlag(f)
			cache := sizeFlag(f, "cache", image.DefaultCache, cacheAbout)
			force := f.Bool("force", false, "replace the image that is there")
			return func(ctx context.Context, c *console, args []string) error {
				if len(args) != 1 {
					return usagef("import takes one metadata file")
				}
				return importFile(ctx, c, *data, args[0], int64(*cache), *force)
			}
		},
	}
}

func importFile(ctx context.Context, c *console, data, path string, cache int64, force bool) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	lock, err := control.Acquire(data, "import")
	if err != nil {
		return busy(err, "stop it first, or import into another directory")
	}
	defer lock.Release()
	if _, err := os.Stat(standby.ImageDir(data)); err == nil && !force {
		return fmt.Errorf("%s holds an image already: replace it with --force, or give another --data", data)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	p := c.progress("importing "+path, info.Size())
	pos, err := standby.Load(data, replay.Reader(ctx, file), standby.LoadOptions{
		Cache: cache, Name: path, Size: info.Size(), Progress: p.at, Logger: c.logger(),
	})
	p.end()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s: image at version %d\n", data, pos.Version)
	return err
}
