package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/pflag"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
	"mfsstandby/standby/metafile"
	"mfsstandby/standby/replay"
)

func dumpCommand() command {
	return command{
		name: "dump", args: "[FILE]",
		short: "print the image, or a metadata.mfs, as text",
		about: `Prints the image, or a metadata file, in the layout of mfsmetadump. The image of a running
standby is printed at one version while it goes on. Records come in the order of their keys; sort both
outputs to compare with that of mfsmetadump, whose order is that of the master's memory.`,
		examples: `mfsstandby dump --data ./data | less
mfsstandby dump metadata.mfs
mfsstandby dump --as-mfsmetadump metadata.mfs | sort | diff - <(mfsmetadump metadata.mfs | sort)`,
		setup: func(f *pflag.FlagSet) runFunc {
			data := dataFlag(f)
			misread := f.Bool("as-mfsmetadump", false, "print file locks and patterns as mfsmetadump does, which misreads them")
			return func(ctx context.Context, c *console, args []string) error {
				out := bufio.NewWriterSize(c.out, 256<<10)
				opt := metafile.DumpOptions{Misread: *misread}
				var err error
				switch len(args) {
				case 0:
					_, err = exported(ctx, *data, image.DefaultCache, c.logger(), func(_ meta.Version, r io.Reader) error {
						opt.Name = "image"
						return metafile.Dump(out, r, opt)
					})
				case 1:
					err = dumpFile(ctx, out, args[0], opt)
				default:
					return usagef("dump takes at most one metadata file")
				}
				return errors.Join(err, out.Flush())
			}
		},
	}
}

func dumpFile(ctx context.Context, out io.Writer, path string, opt metafile.DumpOptions) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	opt.Name = path
	return metafile.Dump(out, replay.Reader(ctx, file), opt)
}
