package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"mfsstandby/standby/control"
	"mfsstandby/standby/image"
	"mfsstandby/standby/metafile"
	"mfsstandby/standby/verify"
)

func verifyCommand() command {
	return command{
		name: "verify", args: "[FILE]",
		short: "compare the image record by record with a metadata.mfs or with a running primary",
		about: `Compares the image record by record with a metadata file, or with what a running primary gives to
metaloggers (its newest metadata file and the entries since then), at the same version, and prints each
difference. While a standby runs on the data directory it makes the comparison itself, and goes on
applying entries meanwhile; files are then read by it. What the changelog does not carry is not
compared: operation counters of sessions, when a session was disconnected and whether its client closed
it, chunk locks that have ended.

Exit status: 0 no difference, 1 differences or failed.`,
		examples: `mfsstandby verify --primary mfsmaster --data ./data
mfsstandby verify /var/lib/mfs/metadata.mfs --data ./data          # of a stopped master
mfsstandby verify metadata.mfs.back --changelog changelog.0.mfs --changelog changelog.1.mfs`,
		setup: func(f *pflag.FlagSet) runFunc {
			req := control.VerifyRequest{}
			data := dataFlag(f)
			f.StringVar(&req.Primary, "primary", "", "compare with this master, HOST[:9419]")
			f.StringArrayVar(&req.Changes, "changelog", nil, "changelog file that brings an older FILE to the image's version; may be repeated")
			cache := sizeFlag(f, "cache", image.DefaultCache, cacheAbout)
			asJSON := f.Bool("json", false, "print the differences and a summary for programs")
			return func(ctx context.Context, c *console, args []string) error {
				if len(args) > 1 || len(args) == 1 && c.config.fromArg["primary"] {
					return usagef("verify takes one metadata file or --primary HOST")
				}
				if len(args) == 1 {
					req.File, req.Primary = args[0], ""
				} else if req.Primary == "" {
					return usagef("verify takes one metadata file or --primary HOST")
				}
				if err := present(&req); err != nil {
					return err
				}
				return verifyImage(ctx, c, *data, int64(*cache), req, *asJSON)
			}
		},
	}
}

// present looks for the files first: without them nothing else matters.
func present(req *control.VerifyRequest) error {
	files := req.Changes
	if req.File != "" {
		files = append([]string{req.File}, files...)
	}
	for _, path := range files {
		if _, err := os.Stat(path); err != nil {
			return err
		}
	}
	return nil
}

func verifyImage(ctx context.Context, c *console, data string, cache int64, req control.VerifyRequest, asJSON bool) error {
	stages := stages{c: c}
	var list []metafile.Difference
	cfg := verify.Config{
		Dir: data, Cache: cache, Logger: c.logger(), Stage: stages.begin,
		Report: func(d metafile.Difference) {
			if asJSON {
				list = append(list, d)
				return
			}
			fmt.Fprintln(c.out, d)
		},
	}
	var res verify.Result
	err := askOr(ctx, func() (err error) {
		res, err = control.NewClient(data).Verify(ctx, req, cfg)
		return err
	}, func() error {
		return withView(data, "verify", cache, c.logger(), func(v *image.View) (err error) {
			res, err = control.Verify(ctx, v, req, cfg)
			return err
		})
	})
	stages.end()
	if err != nil {
		return err
	}
	return reportVerify(c, &res, list, asJSON)
}

func reportVerify(c *console, res *verify.Result, list []metafile.Difference, asJSON bool) error {
	var err error
	switch {
	case asJSON:
		err = c.json(struct {
			*verify.Result
			List []metafile.Difference `json:"list"`
		}{res, list})
	case res.Differences == 0:
		_, err = fmt.Fprintf(c.out, "the same at version %d, digest %s\n", res.Version, res.Digest)
	default:
		_, err = fmt.Fprintf(c.out, "%d differences at version %d\n", res.Differences, res.Version)
	}
	if err == nil && res.Differences > 0 {
		err = errDiffers
	}
	return err
}
