// Command mfsstandby follows a stock MooseFS 3.0.117 master into an exact,
// durable image of its metadata. Each file of this package is one subcommand:
// it turns flags and the configuration file into the Config of the package
// that does the work.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// leaveWithin is how long leaving may take after a signal. What a process that
// was cut off then had not committed comes again from the stream.
const leaveWithin = 4800 * time.Millisecond

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		stop() // a second signal ends the process at once
		time.AfterFunc(leaveWithin, func() {
			fmt.Fprintln(os.Stderr, "mfsstandby: something does not end; leaving now, what is not committed comes again from the stream")
			os.Exit(exitFailed)
		})
	})
	os.Exit(Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
