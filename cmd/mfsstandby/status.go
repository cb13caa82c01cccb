package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/standby"
	"mfsstandby/standby/control"
)

func statusCommand() command {
	return command{
		name:  "status",
		short: "show versions, lag and rate of a running standby",
		about: `Asks the process that runs on the data directory what it does and how far it is. The exit status is
1 when none runs or when it is stopped and needs a person.`,
		examples: `mfsstandby status --data ./data
mfsstandby status --watch --data ./data
mfsstandby status --json --data ./data | jq .standby.lag_entries
mfsstandby status --digest --json --data ./data      # two standbys at the same version have the same digest`,
		setup: func(f *pflag.FlagSet) runFunc {
			data := dataFlag(f)
			asJSON := f.Bool("json", false, "print everything, for programs")
			watch := f.Bool("watch", false, "show it anew every second until interrupted")
			digest := f.Bool("digest", false, "commit, and show the digest of the image's content")
			return func(ctx context.Context, c *console, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				client := control.NewClient(*data)
				if *watch {
					return watchStatus(ctx, c, client, *asJSON, *digest)
				}
				st, err := client.Status(ctx, *digest)
				if err != nil {
					return err
				}
				return showStatus(c, &st, *asJSON)
			}
		},
	}
}

func showStatus(c *console, st *control.Status, asJSON bool) error {
	if asJSON {
		if err := c.json(st); err != nil {
			return err
		}
	} else if err := printStatus(c.out, st, time.Now()); err != nil {
		return err
	}
	if s := st.Standby; s != nil && s.State == standby.Stopped {
		return fmt.Errorf("replication is stopped: %s", s.Error)
	}
	return nil
}

// watchStatus shows the status every second.
func watchStatus(ctx context.Context, c *console, client *control.Client, asJSON, digest bool) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		st, err := client.Status(ctx, digest)
		switch {
		case ctx.Err() != nil:
			return nil
		case asJSON && err == nil:
			err = c.json(&st)
		case !asJSON:
			var b strings.Builder
			b.WriteString("\x1b[H\x1b[J") // to the corner, clear
			if err != nil {
				fmt.Fprintf(&b, "%v\n", err)
			} else if err = printStatus(&b, &st, time.Now()); err != nil {
				return err
			}
			_, err = io.WriteString(c.out, b.String())
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// printStatus prints a table for people.
func printStatus(w io.Writer, st *control.Status, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "role\t%s, process %d, for %s\n", st.Role, st.PID, ago(now.Sub(st.Started)))
	fmt.Fprintf(t, "data\t%s\n", st.Data)
	if s := st.Standby; s != nil {
		printStandby(t, s)
	}
	if st.Digest != nil {
		fmt.Fprintf(t, "digest\t%s at version %d\n", st.Digest.Sum, st.Digest.Version)
	}
	return t.Flush()
}

func printStandby(t io.Writer, s *standby.Status) {
	fmt.Fprintf(t, "standby\t%s\n", s.State)
	if s.MetaID != "" {
		fmt.Fprintf(t, "cluster\t%s, epoch %d\n", s.MetaID, s.Epoch)
	}
	if s.Image != 0 {
		fmt.Fprintf(t, "stream version\t%d\n", s.Stream)
		fmt.Fprintf(t, "image version\t%d (on disk: %d)\n", s.Image, s.Committed)
		fmt.Fprintf(t, "lag\t%d entries, %.3f s\n", s.LagEntries, s.LagSeconds)
		fmt.Fprintf(t, "rate\t%.0f entries/s\n", s.Rate)
		fmt.Fprintf(t, "cache\t%s, %s of it not committed yet\n", formatSize(s.CacheBytes), formatSize(s.DirtyBytes))
	}
	if s.Error != "" {
		fmt.Fprintf(t, "error\t%s\n", s.Error)
	}
}

// ago writes a time span in the unit that matters.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < 24*time.Hour:
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%.1f days", d.Hours()/24)
}
