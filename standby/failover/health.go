package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Health looks whether the primary lives, in all ways that it is given. Each way
// that says yes counts: the primary is dead only when all of them have said no
// for long enough.
type Health struct {
	Address string                   // of the primary's port for clients: it lives if that can be connected to
	Command string                   // for a shell; it lives if the exit status is 0. "": none
	Tap     func() (time.Time, bool) // when the tap heard it last, and whether it is connected; nil: there is none
	Every   time.Duration            // between looks
	Limit   time.Duration            // of one look
	Log     *slog.Logger
	dial    func(context.Context) error // tests have another

	mu   sync.Mutex // guards what follows
	last time.Time  // when it was seen alive; zero: never
	how  string
}

// Seen tells when the primary was seen alive last, zero if never, and how.
func (h *Health) Seen() (time.Time, string) {
	h.mu.Lock()
	last, how := h.last, h.how
	h.mu.Unlock()
	if h.Tap != nil {
		if at, connected := h.Tap(); connected && at.After(last) {
			return at, "the tap hears it"
		}
	}
	return last, how
}

func (h *Health) saw(at time.Time, how string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at.After(h.last) {
		h.last, h.how = at, how
	}
}

// Run looks until ctx ends.
func (h *Health) Run(ctx context.Context) {
	var wg sync.WaitGroup
	if h.Address != "" {
		wg.Go(func() { h.repeat(ctx, h.probe) })
	}
	if h.Command != "" {
		wg.Go(func() { h.repeat(ctx, h.command) })
	}
	wg.Wait()
}

// repeat looks, each time whether it lived when the look began.
func (h *Health) repeat(ctx context.Context, look func(context.Context) (string, error)) {
	tick := time.NewTicker(h.Every)
	defer tick.Stop()
	for {
		at := time.Now()
		limited, cancel := context.WithTimeout(ctx, h.Limit)
		how, err := look(limited)
		cancel()
		if err == nil {
			h.saw(at, how)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (h *Health) probe(ctx context.Context) (string, error) {
	if h.dial != nil {
		return "it takes connections", h.dial(ctx)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", h.Address)
	if err != nil {
		return "", err
	}
	return "it takes connections", conn.Close()
}

// command asks the operator's own check. One that cannot be started says nothing,
// and nobody is to lead because of that.
func (h *Health) command(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", h.Command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it starts ends with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = h.Limit
	err := cmd.Run()
	var exit *exec.ExitError
	const notFound, notExecutable = 127, 126
	switch {
	case err == nil:
		return "the check says so", nil
	case errors.As(err, &exit) && exit.ExitCode() != notFound && exit.ExitCode() != notExecutable, ctx.Err() != nil:
		return "", err
	}
	h.Log.Error("the check of the primary cannot be run, so it is taken to be alive", "command", h.Command, "err", err)
	return fmt.Sprintf("the check cannot be run: %v", err), nil
}
