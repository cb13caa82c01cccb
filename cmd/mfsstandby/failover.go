package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/failover"
)

// failoverFlags say whether, and when, a process leads without being told to.
type failoverFlags struct {
	on       bool
	after    time.Duration
	priority int
	check    string
}

func addFailoverFlags(f *pflag.FlagSet) *failoverFlags {
	o := &failoverFlags{}
	f.BoolVar(&o.on, "failover", false, "lead without being told to when the primary, or the leader, is dead; on all standbys or none")
	f.DurationVar(&o.after, "failover-after", failover.DefaultAfter, "how long it has to be dead")
	f.IntVar(&o.priority, "failover-priority", 0, "of standbys whose images are as new, the one with the highest leads")
	f.StringVar(&o.check, "failover-check", "", "command for a shell that also has to say, by another exit status than 0, that the primary is dead")
	return o
}

// minAfter leaves room for a renewal of the lease that is lost.
const minAfter = 500 * time.Millisecond

// validate refuses what cannot work, also together with what the role follows.
func (o *failoverFlags) validate(roles *roleFlags) error {
	switch {
	case o.on && roles.addresses != nil:
		return usagef("--failover and --promote-on-address: either the nodes find out who leads, or the address says it; give one of them (with --failover, --on-promote can move an address)")
	case !o.on && o.check != "":
		return usagef("--failover-check needs --failover")
	case o.after < minAfter:
		return usagef("--failover-after %v: give at least %v", o.after, minAfter)
	}
	return nil
}

// use makes them count for a process.
func (o *failoverFlags) use(d *daemon) {
	if o.on {
		d.failover = o
	}
}

// make returns what decides. primary is the client port of the primary.
func (o *failoverFlags) make(d *daemon, primary string, s *standby.Standby) (*failover.Failover, error) {
	if primary == "" {
		return nil, usagef("--failover needs to know where the primary serves clients: give --primary-clients HOST:9421")
	}
	health := &failover.Health{Address: primary, Command: o.check}
	if d.tap != nil {
		health.Tap = d.tap.heard
	}
	return failover.New(failover.Config{
		Standby: s, Health: health, After: o.after, Priority: o.priority, Logger: d.log.With("part", "failover"), Events: d.events,
	}), nil
}

func failoverCommand() command {
	return command{
		name: "failover", args: "status|pause|resume",
		short: "tell how automatic fail-over stands, or freeze it for maintenance",
		about: `Asks the process that runs on the data directory about automatic fail-over (--failover), or pauses it for
all nodes of the cluster: nobody leads by itself until it is resumed, also after restarts. Pause it before
the master is stopped or restarted on purpose. "promote" works while it is paused.`,
		examples: `mfsstandby failover status --data /var/lib/mfsstandby
mfsstandby failover pause --reason "new kernel on the master"
mfsstandby failover resume`,
		setup: func(f *pflag.FlagSet) runFunc {
			data := dataFlag(f)
			reason := f.String("reason", "maintenance", "of a pause, for people")
			asJSON := f.Bool("json", false, "print the status for programs")
			return func(ctx context.Context, c *console, args []string) error {
				if len(args) != 1 {
					return usagef("say one of status, pause and resume")
				}
				client := control.NewClient(*data)
				var err error
				switch args[0] {
				case "status":
				case "pause":
					err = client.PauseFailover(ctx, *reason)
				case "resume":
					err = client.ResumeFailover(ctx)
				default:
					return usagef("%q is none of status, pause and resume", args[0])
				}
				if err != nil {
					return err
				}
				st, err := client.Status(ctx)
				if err != nil {
					return err
				}
				if *asJSON {
					return c.json(st.Failover)
				}
				return printFailover(c, args[0], st.Failover)
			}
		},
	}
}

// printFailover prints a status for people.
func printFailover(c *console, asked string, st *failover.Status) error {
	switch {
	case st == nil:
		return usagef("the process was not started with --failover")
	case asked == "pause":
		fmt.Fprintln(c.out, "Paused: nobody leads by itself.")
		return nil
	case asked == "resume":
		fmt.Fprintln(c.out, "Resumed.")
		return nil
	}
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	row := func(name, text string) { fmt.Fprintf(t, "%s\t%s\n", name, text) }
	row("node", fmt.Sprintf("%s, priority %d, after %v s", st.Node, st.Priority, st.After))
	who := "the primary"
	if st.Led {
		who = "a leader"
	}
	row("the stream is of", who)
	row("lease", orNobody(st.Lease))
	if st.Paused != "" {
		row("paused", st.Paused)
	}
	if st.Seen != "" {
		row("primary seen", fmt.Sprintf("%.1f s ago: %s", st.SeenAgo, st.Seen))
	}
	row("does not lead", strings.TrimSpace(st.Waits))
	for _, o := range st.Others {
		text := fmt.Sprintf("version %d, priority %d, heard %.1f s ago", o.Version, o.Priority, o.HeardAgo)
		if o.Unfit != "" {
			text += ", would not lead: " + o.Unfit
		}
		row(o.Node, text)
	}
	return t.Flush()
}

func orNobody(node string) string {
	if node == "" {
		return "nobody has it"
	}
	return node + " has it"
}

// nodesCommand shows and changes which hosts keep the stream.
func nodesCommand() command {
	return command{
		name: "nodes", args: "[remove NODE]",
		short: "show the hosts that keep the stream, or remove one that will not come back",
		about: `Asks the process that runs on the data directory which servers of a cluster (--peers) keep the stream. A
host is added by starting it with --peers; "remove" takes one out that is gone for good, and its copies
are made on another host, as soon as there is one.`,
		examples: `mfsstandby nodes --data /var/lib/mfsstandby
mfsstandby nodes remove host-b`,
		setup: func(f *pflag.FlagSet) runFunc {
			data := dataFlag(f)
			asJSON := f.Bool("json", false, "print them for programs")
			return func(ctx context.Context, c *console, args []string) error {
				client := control.NewClient(*data)
				switch {
				case len(args) == 2 && args[0] == "remove":
					return client.RemoveNode(ctx, args[1])
				case len(args) > 0:
					return usagef("say nothing, or remove NODE")
				}
				nodes, err := client.Nodes(ctx)
				if err != nil {
					return err
				}
				if *asJSON {
					return c.json(nodes)
				}
				t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
				for _, n := range nodes {
					text := "has all"
					switch {
					case n.Leads:
						text = "has all, the others follow it"
					case n.Offline:
						text = "is not there"
					case !n.Current:
						text = fmt.Sprintf("lacks %d messages", n.Lag)
					}
					fmt.Fprintf(t, "%s\t%s\n", n.Name, text)
				}
				return t.Flush()
			}
		},
	}
}
