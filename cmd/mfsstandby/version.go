package main

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/spf13/pflag"
)

func versionCommand() command {
	return command{
		name:     "version",
		short:    "print the version of this program",
		about:    "Prints the version of this program, what it was built from, and the MooseFS releases it follows.",
		examples: "mfsstandby version",
		setup: func(*pflag.FlagSet) runFunc {
			return func(_ context.Context, c *console, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				_, err := fmt.Fprintf(c.out, "mfsstandby %s, for MooseFS 1.5 to 4.59.2\n", programVersion())
				return err
			}
		},
	}
}

// programVersion is the module's version, with commit and Go release.
func programVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	text := info.Main.Version
	if text == "" {
		text = "(devel)"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			text += " " + s.Value[:min(12, len(s.Value))]
		}
		if s.Key == "vcs.modified" && s.Value == "true" {
			text += " (modified)"
		}
	}
	return text + " " + info.GoVersion
}
