package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"mfsstandby/standby"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1 // or: what was compared differs
	exitUsage  = 2
)

// runFunc does a command's work once its flags are set.
type runFunc func(ctx context.Context, c *console, args []string) error

// command is one subcommand.
type command struct {
	name     string
	args     string // what follows the flags
	short    string // one line for the list of commands
	about    string
	examples string
	// setup defines the flags and returns what is to be run with them.
	setup func(f *pflag.FlagSet) runFunc
}

// commands lists all subcommands in the order of the help text.
func commands() []command {
	return []command{
		runCommand(), tapCommand(), standbyCommand(), statusCommand(), promoteCommand(), demoteCommand(), failoverCommand(), nodesCommand(), rehearseCommand(),
		importCommand(), exportCommand(), dumpCommand(), verifyCommand(), replayCommand(), restoreCommand(),
		diffCommand(), logCommand(), compareCommand(), archiveCheckCommand(),
		sampleCommand(), benchReplayCommand(), benchLagCommand(), benchReadsCommand(), benchPromoteCommand(), versionCommand(),
	}
}

// usageError is a command line or configuration that cannot be meant.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errDiffers ends a comparison that found differences, which are printed.
var errDiffers = errors.New("there are differences")

// Run runs the command line args and returns the exit status.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := newConsole(stdout, stderr)
	err := run(ctx, c, args)
	var usage *usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "mfsstandby: %v\nTry: mfsstandby help\n", err)
		return exitUsage
	case errors.Is(err, errDiffers):
		return exitFailed
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(stderr, "mfsstandby: interrupted")
		return exitFailed
	}
	fmt.Fprintf(stderr, "mfsstandby: %v\n", err)
	return exitFailed
}

func run(ctx context.Context, c *console, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(c.err, overview())
		return usagef("a command is missing")
	}
	name, rest := args[0], args[1:]
	if (name == "bench" || name == "archive") && len(rest) > 0 {
		name, rest = name+" "+rest[0], rest[1:]
	}
	switch name {
	case "help", "-h", "--help":
		return help(c, rest)
	case "--version":
		name = "version"
	}
	cmd, ok := find(name)
	if !ok {
		return usagef("unknown command %q", name)
	}
	f := flagSet(cmd)
	work := cmd.setup(f)
	config := f.String("config", "", "configuration file (default "+defaultConfig+", if there is one)")
	profile := f.String("pprof", "", "HOST:PORT to serve profiles on, or a directory for cpu.pprof and heap.pprof")
	f.Lookup("pprof").Hidden = true
	if err := f.Parse(rest); errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(c.out, usage(cmd, f))
		return nil
	} else if err != nil {
		return usagef("%s: %v", cmd.name, err)
	}
	var err error
	if c.config, err = readConfig(*config, f); err != nil {
		return err
	}
	if cache := f.Lookup("cache"); cache != nil {
		standby.LimitMemory(int64(*cache.Value.(*size)))
	}
	stop, err := startProfile(*profile)
	if err != nil {
		return err
	}
	err = work(ctx, c, f.Args())
	return errors.Join(err, stop())
}

func find(name string) (command, bool) {
	all := commands()
	i := slices.IndexFunc(all, func(c command) bool { return c.name == name })
	if i < 0 {
		return command{}, false
	}
	return all[i], true
}

func flagSet(cmd command) *pflag.FlagSet {
	f := pflag.NewFlagSet(cmd.name, pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	return f
}

func help(c *console, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(c.out, overview())
		return nil
	}
	cmd, ok := find(strings.Join(args, " "))
	if !ok {
		return usagef("unknown command %q", strings.Join(args, " "))
	}
	f := flagSet(cmd)
	cmd.setup(f)
	fmt.Fprint(c.out, usage(cmd, f))
	return nil
}

// overview is the text of "mfsstandby help".
func overview() string {
	var b strings.Builder
	b.WriteString("mfsstandby follows a stock MooseFS 3.0.117 master into an exact, durable image of its metadata.\n\n")
	b.WriteString("Usage: mfsstandby COMMAND [FLAGS] [ARGUMENTS]\n\nCommands:\n")
	for _, cmd := range commands() {
		fmt.Fprintf(&b, "  %-12s %s\n", cmd.name, cmd.short)
	}
	b.WriteString("  help         this text, or that of a command: mfsstandby help run\n\nExamples:\n")
	b.WriteString(indent(`mfsstandby run --data ./data                             # try it: follows a built-in sample primary
mfsstandby run --primary mfsmaster --data /var/lib/mfsstandby
mfsstandby status --watch --data /var/lib/mfsstandby`))
	b.WriteString("\nExit status: 0 done, 1 differs or failed, 2 wrong usage.\n")
	return b.String()
}

// usage is the text of "mfsstandby COMMAND --help".
func usage(cmd command, f *pflag.FlagSet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: mfsstandby %s [FLAGS]", cmd.name)
	if cmd.args != "" {
		b.WriteString(" " + cmd.args)
	}
	fmt.Fprintf(&b, "\n\n%s\n", strings.TrimSpace(cmd.about))
	if flags := f.FlagUsagesWrapped(100); flags != "" {
		b.WriteString("\nFlags:\n" + flags)
	}
	if cmd.examples != "" {
		b.WriteString("\nExamples:\n" + indent(cmd.examples))
	}
	return b.String()
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
}

// noArgs refuses arguments where a command takes none.
func noArgs(args []string) error {
	if len(args) > 0 {
		return usagef("argument %q is not understood: this command takes flags only", args[0])
	}
	return nil
}
