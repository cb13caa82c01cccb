package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/promote"
	"mfsstandby/standby/rehearse"
)

func rehearseCommand() command {
	return command{
		name:  "rehearse",
		short: "prove that a stock mfsmaster could take over from the image",
		about: `Has the process that runs on the data directory export its image, start a stock mfsmaster on that copy,
on free ports of the loopback device, walk the tree that this master serves, have it store its metadata, and
compare both with the image, record by record. It goes on following meanwhile. Everything happens in
DATA/rehearsal, which is removed afterwards; it needs room there for two metadata files and an image, and
memory for the stock master. --rehearse-every of run and standby does the same now and then.
Exit status 1 means that there are differences, or that it could not be finished.`,
		examples: `mfsstandby rehearse --data /var/lib/mfsstandby
mfsstandby rehearse --json | jq .result.differences`,
		setup: func(f *pflag.FlagSet) runFunc {
			data := dataFlag(f)
			asJSON := f.Bool("json", false, "print everything, for programs")
			return func(ctx context.Context, c *console, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				return rehearsal(ctx, c, *data, *asJSON)
			}
		},
	}
}

func rehearsal(ctx context.Context, c *console, data string, asJSON bool) error {
	res, err := control.NewClient(data).Rehearse(ctx, func(s promote.Step) {
		if !asJSON {
			printStep(c, s)
		}
	})
	switch {
	case asJSON && res.Steps != nil: // it began; what came of it is in the result
		if e := c.json(res); e != nil {
			return e
		}
	case err == nil && res.Passed():
		fmt.Fprintf(c.out, "A stock mfsmaster %s has the same metadata at version %d, after %.1f ms.\n", res.Release, res.Version, res.Ms)
	case err == nil:
		for _, d := range res.First {
			fmt.Fprintln(c.out, d)
		}
		fmt.Fprintf(c.out, "%d differences.\n", res.Differences)
	}
	if err == nil && !res.Passed() {
		err = errDiffers
	}
	return err
}

// stockFlags are about stock masters that this process starts.
type stockFlags struct {
	master string
	every  time.Duration
}

func addStockFlags(f *pflag.FlagSet) *stockFlags {
	s := &stockFlags{}
	f.StringVar(&s.master, "mfsmaster", "", "the stock master's program, for rehearsals (default: it is looked for)")
	f.DurationVar(&s.every, "rehearse-every", 0, "how often to prove that a stock master could take over, as the command rehearse does; 0 is never")
	return s
}

func (s *stockFlags) check() error {
	if s.every < 0 {
		return usagef("--rehearse-every %v: give a time, or 0 for never", s.every)
	}
	return nil
}

// rehearse adds what makes rehearsals.
func (d *daemon) rehearse(flags *stockFlags, s *standby.Standby) error {
	r, err := rehearse.New(rehearse.Config{
		Dir: d.data, View: s.View, Program: flags.master, Cache: d.cache, Every: flags.every, Logger: d.log, Events: d.events,
	})
	if err != nil {
		return err
	}
	d.rehearser = r
	d.parts = append(d.parts, part{"rehearsal", r.Run})
	return nil
}
