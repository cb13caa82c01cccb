package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
)

func exportCommand() command {
	return command{
		name:  "export",
		short: "write a metadata.mfs that mfsmaster loads",
		about: `Writes the image as a metadata file that mfsmaster of the primary's release loads, or the one given:
1.6.27, 2.0.91, 3.0.117 or 4.59.2. A later one gets what the primary's own release stores, and converts
it when it starts; for an earlier one the command refuses, and lists what that cannot hold. While a standby runs on the data
directory it is asked for the file, at one version, and goes on applying entries meanwhile; else the
image itself is read. The file appears under its name only when it is complete and on the disk.`,
		examples: `mfsstandby export -o metadata.mfs --data ./data
mfsstandby export -o /var/lib/mfs/metadata.mfs --crc /var/lib/mfs/metadata.crc
mfsstandby export -o metadata.mfs --release 2.0.91
mfsstandby export -o - --data ./data | zstd > metadata.mfs.zst`,
		setup: func(f *pflag.FlagSet) runFunc {
			data := dataFlag(f)
			out := f.StringP("output", "o", "", "file to write, - for stdout")
			crc := f.String("crc", "", "file to write the checksums to, as mfsmaster's metadata.crc")
			release := f.String("release", "", "release of the mfsmaster that is to load the file (default that of the primary)")
			return func(ctx context.Context, c *console, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				if *out == "" {
					return usagef("export needs -o FILE")
				}
				r := meta.ParseRelease(*release)
				if *release != "" && (r < meta.Release16 || r > meta.Latest) {
					return usagef("no release %q is known: give one from 1.6.0 to %s", *release, meta.Latest)
				}
				return export(ctx, c, *data, *out, *crc, r)
			}
		},
	}
}

func export(ctx context.Context, c *console, data, out, crcPath string, release meta.Release) error {
	var version meta.Version
	p := c.progress("exporting", 0)
	crc, err := exportedFor(ctx, data, image.DefaultCache, c.logger(), release, func(v meta.Version, r io.Reader) error {
		version = v
		if out == "-" {
			_, err := io.Copy(c.out, r)
			return err
		}
		return replaceFile(out, &counted{r: r, tell: p.at})
	})
	p.end()
	if err != nil {
		return err
	}
	if crcPath != "" {
		if err := replaceFile(crcPath, bytes.NewReader(crc)); err != nil {
			return err
		}
	}
	if out == "-" {
		return nil
	}
	_, err = fmt.Fprintf(c.out, "%s: version %d\n", out, version)
	return err
}

// counted tells how much was read.
type counted struct {
	r    io.Reader
	n    int64
	tell func(int64)
}

func (r *counted) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.n += int64(n)
	if r.tell != nil {
		r.tell(r.n)
	}
	return n, err
}

// replaceFile writes what r holds to path, so that a crash or an error leaves
// the old file or the whole new one.
func replaceFile(path string, r io.Reader) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
