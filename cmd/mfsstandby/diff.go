package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/pflag"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/history"
)

func diffCommand() command {
	return command{
		name: "diff", args: "A B",
		short: "list what changed between two versions, times or metadata files, by path",
		about: `Lists what is different at B from what was at A: created, removed, renamed, linked, unlinked, changed,
each with its path and, line by line, the values that changed, old and new. A and B are versions or
times of the cluster's history, or "now"; or both are metadata files. What lay below a directory that
was renamed is not listed. Without --times, changes of nothing but access, modification and change
times are left out.`,
		examples: `mfsstandby diff 1200000 now
mfsstandby diff "2026-01-02 09:00" "2026-01-02 10:00" --json | jq -r 'select(.change=="removed").path'
mfsstandby diff @1700000000 now --archive /backup/mfs
mfsstandby diff metadata.mfs.back.1 metadata.mfs.back`,
		setup: func(f *pflag.FlagSet) runFunc {
			h := addHistoryFlags(f)
			times := f.Bool("times", false, "list changes of times alone, too")
			asJSON := f.Bool("json", false, "print one JSON object per line")
			return func(ctx context.Context, c *console, args []string) error {
				if len(args) != 2 {
					return usagef("diff takes two versions, times, or metadata files")
				}
				d := &diffPrinter{w: bufio.NewWriter(c.out), times: *times, asJSON: *asJSON}
				from, to, err := d.run(ctx, c, h, args[0], args[1])
				if err = errors.Join(err, d.w.Flush()); err != nil || *asJSON {
					return err
				}
				_, err = fmt.Fprintf(c.out, "%d differences between version %d and version %d\n", d.count, from, to)
				return err
			}
		},
	}
}

type diffPrinter struct {
	w      *bufio.Writer
	times  bool
	asJSON bool
	count  int
}

func (d *diffPrinter) run(ctx context.Context, c *console, h *historyFlags, a, b string) (from, to meta.Version, err error) {
	if isFile(a) && isFile(b) {
		dir, done, err := h.scratch()
		if err != nil {
			return 0, 0, err
		}
		defer done()
		stages := &stages{c: c}
		defer stages.end()
		return history.Files(ctx, a, b, history.Options{Dir: dir, Cache: int64(*h.cache), Logger: c.logger(), Stage: stages.begin}, d.print)
	}
	first, err := point(a)
	if err != nil {
		return 0, 0, err
	}
	second, err := point(b)
	if err != nil {
		return 0, 0, err
	}
	err = h.with(ctx, c, func(o *origin, opt history.Options) (err error) {
		from, to, err = history.Between(ctx, o, first, second, opt, d.print)
		return err
	})
	return from, to, err
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

var timeFields = []string{"atime", "mtime", "ctime"}

func (d *diffPrinter) print(c history.Change) error {
	if !d.times && c.Kind == history.Changed &&
		!slices.ContainsFunc(c.Fields, func(f history.Field) bool { return !slices.Contains(timeFields, f.Name) }) {
		return nil
	}
	d.count++
	if d.asJSON {
		return json.NewEncoder(d.w).Encode(c)
	}
	from := ""
	if c.From != "" {
		from = " (was " + printable(c.From) + ")"
	}
	if _, err := fmt.Fprintf(d.w, "%-9s %s %s%s\n", c.Kind, c.Type, printable(c.Path), from); err != nil {
		return err
	}
	return printFields(d.w, c.Fields)
}

func printFields(w io.Writer, fields []history.Field) error {
	for _, f := range fields {
		if _, err := fmt.Fprintf(w, "          %s: %s -> %s\n", printable(f.Name), orNone(f.Old), orNone(f.New)); err != nil {
			return err
		}
	}
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return printable(s)
}
