package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/history"
)

func logCommand() command {
	return command{
		name: "log", args: "PATH",
		short: "show who changed a file or directory, what and when",
		about: `Shows the entries that touched what is at PATH, whatever that is at the time, since the oldest base
image: created, changed (each value, old and new), moved, removed, also by something that happened to
a directory above it; of a directory also what was done in it. With --inode it shows those of one node,
wherever it is. Who it was, the entry tells: a user, or a session with its client's address and mount
point. Entries that write tell neither; then those that have the file open are shown.`,
		examples: `mfsstandby log /projects/report.txt
mfsstandby log /projects --since "2026-01-02 09:00" --until 2026-01-02T10:00:00Z --json
mfsstandby log --inode 4711 --archive /backup/mfs
mfsstandby log /projects/report.txt --follow --since now`,
		setup: func(f *pflag.FlagSet) runFunc {
			h := addHistoryFlags(f)
			inode := f.Uint32("inode", 0, "inode to look for instead of a path")
			since := f.String("since", "", "version or time to start at (default: the oldest base image)")
			until := f.String("until", "", "version or time to stop at (default: now)")
			all := f.Bool("all", false, "show opens, closes and locks, too")
			follow := f.Bool("follow", false, "go on when all is shown")
			asJSON := f.Bool("json", false, "print one JSON object per line")
			return func(ctx context.Context, c *console, args []string) error {
				q := history.Query{Inode: meta.Inode(*inode), All: *all, Follow: *follow}
				switch {
				case len(args) == 1 && *inode == 0:
					q.Path = args[0]
				case len(args) != 0 || *inode == 0:
					return usagef("log takes a path, or --inode N")
				}
				start := *since
				var err error
				if start == "now" {
					return followNow(ctx, c, h, q, *asJSON)
				}
				if start != "" {
					if q.Since, err = point(start); err != nil {
						return err
					}
				}
				if *until != "" {
					if q.Until, err = point(*until); err != nil {
						return err
					}
				}
				return showLog(ctx, c, h, q, *asJSON)
			}
		},
	}
}

// followNow is showLog from the end on.
func followNow(ctx context.Context, c *console, h *historyFlags, q history.Query, asJSON bool) error {
	return h.with(ctx, c, func(o *origin, opt history.Options) error {
		end, err := o.End(ctx)
		if err != nil {
			return err
		}
		q.Since = history.Point{Version: end.Version}
		return history.Log(ctx, o, q, opt, touchPrinter(c, asJSON))
	})
}

func showLog(ctx context.Context, c *console, h *historyFlags, q history.Query, asJSON bool) error {
	return h.with(ctx, c, func(o *origin, opt history.Options) error {
		return history.Log(ctx, o, q, opt, touchPrinter(c, asJSON))
	})
}

func touchPrinter(c *console, asJSON bool) func(history.Touch) error {
	w := bufio.NewWriter(c.out)
	return func(t history.Touch) error {
		if asJSON {
			return errors.Join(json.NewEncoder(w).Encode(t), w.Flush())
		}
		from := ""
		switch {
		case t.From == "":
		case t.Kind == history.MovedAway:
			from = " (to " + printable(t.From) + ")"
		default:
			from = " (" + printable(t.From) + ")"
		}
		fmt.Fprintf(w, "%d  %s  %-10s %s %s%s, inode %d%s\n", t.Version, time.Unix(int64(t.Time), 0).Format(time.DateTime),
			t.Kind, t.Type, printable(t.Path), from, t.Inode, whoText(t.UID, t.GID, t.Session, t.OpenBy))
		fmt.Fprintf(w, "          %s\n", printable(t.Entry))
		return errors.Join(printFields(w, t.Fields), w.Flush())
	}
}

// whoText tells who it was, as far as that is known.
func whoText(uid, gid *uint32, session *history.Client, openBy []history.Client) string {
	var b strings.Builder
	if uid != nil {
		fmt.Fprintf(&b, ", uid %d", *uid)
	}
	if gid != nil {
		fmt.Fprintf(&b, ", gid %d", *gid)
	}
	if session != nil {
		b.WriteString(", " + printable(session.String()))
	}
	for i, by := range openBy {
		if i == 0 {
			b.WriteString(", open by")
		}
		b.WriteString(" " + printable(by.String()))
	}
	return b.String()
}
