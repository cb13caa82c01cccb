package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/standby/control"
	"mfsstandby/standby/promote"
	"mfsstandby/standby/web"
)

func promoteCommand() command {
	return command{
		name:  "promote",
		short: "let the standby take over from a dead master: it accepts writes from then on",
		about: `Makes the process that runs on the data directory the leader of its cluster, and returns when it
accepts writes. It opens an epoch in the stream, so that nothing else can append any more, applies what
the stream has, reads what the dead master left in its changelog files where --changelog-dir reaches
them, and serves changes. A standby that is behind, or whose primary still answers, is refused.
Clients come by themselves once the master's address leads to this host.

With --at a standby that stays behind on purpose (--delay) leads from a version or time that it has not
reached: what came later is given up, for all standbys. It warns of files whose chunks were deleted or
written since, which have to be looked at: data does not come back with the metadata.

With --hand-over a stock mfsmaster takes over instead: what is in its data directory is moved aside, the image is
exported there and compared, the master is started, and this process follows it from then on, in a new epoch. That
works while it leads, too. Killed at any moment, it can be told again, or given up with demote.`,
		examples: `mfsstandby promote --data /var/lib/mfsstandby --reason "mfsmaster lost its power"
mfsstandby promote --dry-run
mfsstandby promote --at "2026-01-02 15:04:05" --reason "rm -rf in the wrong directory"
mfsstandby promote --changelog-dir /mnt/dead-master/var/lib/mfs
mfsstandby promote --hand-over /etc/mfs/mfsmaster.cfg`,
		setup: func(f *pflag.FlagSet) runFunc {
			data := dataFlag(f)
			var opt promote.Options
			f.BoolVar(&opt.Force, "force", false, "although it is behind, or the primary or another leader still answers")
			f.Uint64Var(&opt.AcceptLoss, "accept-loss", 0, "entries that may be lost: received by a tap elsewhere, and not in the stream")
			f.StringVar(&opt.Reason, "reason", "", "why, for people: it is kept in the stream")
			f.BoolVar(&opt.DryRun, "dry-run", false, "only tell whether it could")
			f.StringVar(&opt.ChangelogDir, "changelog-dir", "", "data directory of the dead master, to read what it did not send")
			f.StringVar(&opt.At, "at", "", "version (1200000) or time (RFC 3339, \"2006-01-02 15:04:05\" local, @UNIX, now) to lead from, with --delay")
			f.StringVar(&opt.HandOver, "hand-over", "", "mfsmaster.cfg of a stock master on this host, which is started on the image and accepts writes instead")
			f.StringVar(&opt.Master, "mfsmaster", "", "its program, run as PROGRAM -c CFG start (default: it is looked for)")
			asJSON := f.Bool("json", false, "print everything, for programs")
			return func(ctx context.Context, c *console, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				if opt.At != "" {
					at, err := point(opt.At) // in the time zone of who asks
					if err != nil {
						return err
					}
					opt.At = at.Exact()
				}
				return changeRole(c, *asJSON, func(report func(promote.Step)) (promote.Result, error) {
					return control.NewClient(*data).Promote(ctx, opt, report)
				})
			}
		},
	}
}

func demoteCommand() command {
	return command{
		name:  "demote",
		short: "end that a promoted standby accepts writes",
		about: `Ends that the process that runs on the data directory leads; it follows the stream again, and serves
clients read-only. Taps do not follow a primary again by themselves if entries were written meanwhile:
they are not the primary's. See --take-over of run and tap.`,
		examples: `mfsstandby demote --data /var/lib/mfsstandby`,
		setup: func(f *pflag.FlagSet) runFunc {
			data := dataFlag(f)
			reason := f.String("reason", "", "why, for people")
			asJSON := f.Bool("json", false, "print everything, for programs")
			return func(ctx context.Context, c *console, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				return changeRole(c, *asJSON, func(report func(promote.Step)) (promote.Result, error) {
					return control.NewClient(*data).Demote(ctx, *reason, report)
				})
			}
		},
	}
}

// changeRole prints the steps as they end, and what came of them.
func changeRole(c *console, asJSON bool, do func(func(promote.Step)) (promote.Result, error)) error {
	var steps []promote.Step
	res, err := do(func(s promote.Step) {
		steps = append(steps, s)
		if asJSON {
			return
		}
		printStep(c, s)
	})
	if asJSON {
		answer := roleAnswer{Steps: steps, Result: res}
		if err != nil {
			answer.Error = err.Error()
		}
		if e := c.json(answer); e != nil {
			return e
		}
		return err
	}
	if res.Missing != "" {
		fmt.Fprintf(c.out, "%s.\n", res.Missing)
	}
	if res.Gone > 0 {
		fmt.Fprintf(c.out, "Look at %d files whose data may be lost or newer: %s lists them.\n", res.Gone, res.GoneIn)
	}
	if err == nil {
		fmt.Fprintf(c.out, "It is %s, after %.1f ms.\n", res.Role.Role, res.Ms)
	}
	return err
}

func printStep(c *console, s promote.Step) {
	text := s.Text
	if s.Error != "" {
		text = "failed: " + s.Error
	}
	fmt.Fprintf(c.out, "%-8s %9.1f ms  %s\n", s.Name, s.Ms, text)
}

// roleAnswer is what programs get.
type roleAnswer struct {
	Steps  []promote.Step `json:"steps"`
	Result promote.Result `json:"result"`
	Error  string         `json:"error,omitempty"`
}

// roleLimit is how long a change of role over HTTP may take.
const roleLimit = 110 * time.Second

// roleRoutes let the API change the role.
func roleRoutes(n *promote.Node) []web.Route {
	route := func(do func(context.Context, promote.Options, func(promote.Step)) (promote.Result, error)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var opt promote.Options
			var answer roleAnswer
			err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&opt)
			if err == nil && (opt.HandOver != "" || opt.Master != "") {
				err = errors.New("a hand-over runs programs: only the command promote does it") // whoever reaches this port may not
			}
			if err == nil {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), roleLimit)
				defer cancel()
				answer.Result, err = do(ctx, opt, func(s promote.Step) { answer.Steps = append(answer.Steps, s) })
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			if err != nil {
				answer.Error = err.Error()
				w.WriteHeader(http.StatusConflict)
			}
			// Whoever does not read the answer asks for the status.
			_ = json.NewEncoder(w).Encode(answer)
		}
	}
	return []web.Route{
		{Pattern: "POST /api/v1/promote", About: "let this standby lead: {\"reason\", \"force\", \"accept_loss\", \"dry_run\", \"changelog_dir\", \"at\"}", Serve: route(n.Promote)},
		{Pattern: "POST /api/v1/demote", About: "end that it leads: {\"reason\"}", Serve: route(
			func(ctx context.Context, opt promote.Options, report func(promote.Step)) (promote.Result, error) {
				return n.Demote(ctx, opt.Reason, report)
			})},
	}
}
