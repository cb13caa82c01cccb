package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/replicator"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/upstream"
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
mfsstandby status --json --data ./data | jq '.standby | [.committed_version, .digest]'`,
		setup: func(f *pflag.FlagSet) runFunc {
			data := dataFlag(f)
			asJSON := f.Bool("json", false, "print everything, for programs")
			watch := f.Bool("watch", false, "show it anew every second until interrupted")
			return func(ctx context.Context, c *console, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				client := control.NewClient(*data)
				if *watch {
					return watchStatus(ctx, c, client, *asJSON)
				}
				st, err := client.Status(ctx)
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
func watchStatus(ctx context.Context, c *console, client *control.Client, asJSON bool) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		st, err := client.Status(ctx)
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
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("role", "%s, process %d, for %s", st.Role, st.PID, span(now.Sub(st.Started)))
	if c := st.Cluster; c != nil {
		text := fmt.Sprintf("%s, for %s", c.Role, span(now.Sub(c.Since)))
		if c.Reason != "" {
			text += " (" + c.Reason + ")"
		}
		row("cluster role", "%s", text)
	}
	if a := st.Address; a != nil {
		where, why := "elsewhere", a.Why
		if a.Here {
			where, why = "here", a.Refused
		}
		if why != "" {
			why = ": " + why
		}
		row("address", "%s, %s for %s%s", a.Addresses, where, span(now.Sub(a.Since)), why)
	}
	if h := st.Hook; h != nil {
		text := fmt.Sprintf("exit status %d", h.Status)
		if h.Error != "" {
			text = h.Error
		}
		row("last hook", "%s, %s ago: %s", h.Name, span(now.Sub(h.At)), text)
	}
	row("data", "%s", st.Data)
	if st.Page != "" {
		row("status page", "%s", st.Page)
	}
	var events []event
	if st.Tap != nil {
		printTap(row, st.Tap, now)
		for _, e := range st.Tap.Events {
			events = append(events, event{e.Time, "tap", e.Text})
		}
	}
	if st.Standby != nil {
		printStandby(row, st.Standby)
		for _, e := range st.Standby.Events {
			events = append(events, event{e.Time, "standby", e.Text})
		}
	}
	if a := st.Archive; a != nil {
		row("archive", "%s: versions %d to %d, %d base images, %s", a.Dir, a.Oldest, a.Version, a.Bases, formatSize(a.Bytes))
		if a.Error != "" {
			row("archive error", "%s", a.Error)
		}
	}
	if c := st.Clients; c != nil {
		row("clients", "%d connections of %d sessions, %d packets received", c.Connections, c.Connected, c.Packets)
	}
	if st.Upstream != nil {
		printUpstream(row, st.Upstream, now)
	}
	if r := st.Rehearsal; r != nil {
		text := fmt.Sprintf("a stock master had the same metadata at version %d", r.Version)
		switch {
		case r.Error != "":
			text = "failed: " + r.Error
		case r.Differences > 0:
			text = fmt.Sprintf("%d differences at version %d: %s ...", r.Differences, r.Version, r.First[0])
		}
		row("rehearsal", "%s ago, %s", span(now.Sub(r.Time)), text)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return printEvents(w, events)
}

// printUpstream tells of metaloggers and of what is kept for them.
func printUpstream(row func(string, string, ...any), u *upstream.Status, now time.Time) {
	row("changelog files", "in %s, up to version %d", u.Dir, u.Written)
	saved := "not saved yet"
	if u.Saved.Version != 0 {
		saved = fmt.Sprintf("of version %d, saved %s ago in %.0f ms", u.Saved.Version, span(now.Sub(u.Saved.At)), u.Saved.Ms)
	}
	if u.Saved.Error != "" {
		saved += "; the last try failed: " + u.Saved.Error
	}
	row("metadata.mfs.back", "%s", saved)
	if u.Address != "" {
		row("metaloggers", "%d at %s", len(u.Metaloggers), u.Address)
	}
	for _, m := range u.Metaloggers {
		text := fmt.Sprintf("%s, MooseFS %s, for %s, sent all before version %d", m.Address, m.Program, span(now.Sub(m.Since)), m.Next)
		if m.Fetching != "" {
			text += ", fetching " + m.Fetching
		}
		row("metalogger", "%s", text)
	}
	if u.Error != "" {
		row("upstream error", "%s", u.Error)
	}
}

func printTap(row func(string, string, ...any), s *replicator.Status, now time.Time) {
	source := s.Source
	if s.Release != "" {
		source += ", release " + s.Release
	}
	switch {
	case s.Following:
		source += ", following"
	case s.Connected:
		source += ", connected"
	}
	if !s.Heard.IsZero() {
		source += fmt.Sprintf(", heard %s ago", span(now.Sub(s.Heard)))
	}
	row("primary", "%s", source)
	if s.MetaID != "" {
		row("cluster", "%s, epoch %d", s.MetaID, s.Epoch)
	}
	row("primary version", "%d", s.Received)
	row("published version", "%d", s.Published)
	if s.Error != "" {
		row("tap error", "%s", s.Error)
	}
}

func printStandby(row func(string, string, ...any), s *standby.Status) {
	state := string(s.State)
	if s.Delay > 0 {
		state += fmt.Sprintf(", to stay %s behind", span(time.Duration(s.Delay*float64(time.Second))))
	}
	row("standby", "%s", state)
	if s.MetaID != "" {
		row("image of cluster", "%s, epoch %d", s.MetaID, s.Epoch)
	}
	if s.Image != 0 {
		row("stream version", "%d", s.Stream)
		row("image version", "%d, on disk %d", s.Image, s.Committed)
		row("lag", "%d entries, %.3f s", s.LagEntries, s.LagSeconds)
		row("rate", "%.0f entries/s", s.Rate)
		if l := s.Latency; l.Batches > 0 {
			row("receipt to readable", "%.1f ms, 99%% of entries within %.1f ms", l.P50, l.P99)
		}
		row("digest", "%s at version %d", s.Digest, s.Committed)
		row("cache", "%s, not committed yet %s", formatSize(s.CacheBytes), formatSize(s.DirtyBytes))
	}
	if s.Error != "" {
		row("error", "%s", s.Error)
	}
	for _, m := range s.Members {
		row("member", "%s on %s: %s, version %d, epoch %d, %s ago", m.Role, m.Name, m.State, m.Version, m.Epoch, span(time.Since(m.Updated)))
	}
}

// event is one of a part of the process.
type event struct {
	time time.Time
	part string
	text string
}

// shownEvents is how many events people see; --json gives all there are.
const shownEvents = 6

func printEvents(w io.Writer, events []event) error {
	slices.SortStableFunc(events, func(a, b event) int { return a.time.Compare(b.time) })
	events = slices.CompactFunc(events, func(a, b event) bool { return a.part == b.part && a.text == b.text })
	events = events[max(0, len(events)-shownEvents):]
	for _, e := range events {
		if _, err := fmt.Fprintf(w, "%s  %s: %s\n", e.time.Format(time.DateTime), e.part, e.text); err != nil {
			return err
		}
	}
	return nil
}

// span writes a time span in the unit that matters.
func span(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%.1f days", d.Hours()/24)
}
