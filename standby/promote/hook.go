package promote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"mfsstandby/replicator/events"
	"mfsstandby/standby/role"
)

// Hooks are commands of the user's, run by sh -c when the role has changed; ""
// is none. What they return changes nothing: the role stands.
type Hooks struct {
	OnPromote string        // when this process leads: promoted, or started again
	OnDemote  string        // when it does not any more: demoted, fenced off, or without a stream
	Limit     time.Duration // then a command is killed; 0: DefaultHookLimit
}

// DefaultHookLimit is how long a hook may take.
const DefaultHookLimit = 10 * time.Second

// HookRun tells what became of a hook.
type HookRun struct {
	Name   string    `json:"name"` // "on-promote" or "on-demote"
	At     time.Time `json:"at"`   // it began
	Ms     float64   `json:"ms"`
	Status int       `json:"status"` // its exit status; -1: it was killed, or could not be started
	Error  string    `json:"error,omitempty"`
	Output string    `json:"output,omitempty"` // the end of what it wrote
}

// The names of the hooks.
const (
	onPromote = "on-promote"
	onDemote  = "on-demote"
)

// hooks lets one hook run at a time.
type hooks struct {
	turn       sync.Mutex
	background sync.WaitGroup // those that nobody waits for

	mu   sync.Mutex // guards what follows
	last *HookRun
}

// LastHook tells of the last hook that was run, nil if none was.
func (n *Node) LastHook() *HookRun {
	n.hooks.mu.Lock()
	defer n.hooks.mu.Unlock()
	return n.hooks.last
}

// hook runs a command as a step. One that comes too late, because the role has
// changed again, is not run: the last that runs is that of the role at the end.
func (r *run) hook(ctx context.Context, name string) {
	command := r.cfg.Hooks.OnPromote
	if name == onDemote {
		command = r.cfg.Hooks.OnDemote
	}
	if command == "" {
		return
	}
	r.hooks.turn.Lock()
	defer r.hooks.turn.Unlock()
	if leads := r.term() != nil; leads != (name == onPromote) {
		return
	}
	// Its error is told, and nothing else.
	_ = r.step("hook", func() (string, error) {
		h := runHook(ctx, name, command, r.environment(name), r.cfg.Hooks.Limit)
		r.hooks.mu.Lock()
		r.hooks.last = &h
		r.hooks.mu.Unlock()
		text := fmt.Sprintf("%s: exit status %d", name, h.Status)
		if h.Error == "" {
			r.cfg.Events.Add(part, slog.LevelInfo, events.Hook, text)
			return text, nil
		}
		text = fmt.Sprintf("%s: %s; the role stands", name, h.Error)
		if h.Output != "" {
			text += "; it wrote: " + h.Output
		}
		r.cfg.Events.Add(part, slog.LevelWarn, events.Hook, text)
		return "", errors.New(text)
	})
}

// environment is what a hook can know.
func (r *run) environment(name string) []string {
	now, st := r.role.Now(), r.cfg.Standby.Status()
	values := map[string]string{
		"HOOK":    name,
		"ROLE":    string(role.Leader),
		"EVENT":   string(role.Promote),
		"REASON":  now.Reason,
		"ADDRESS": now.Address,
		"EPOCH":   fmt.Sprint(now.Epoch),
		"VERSION": fmt.Sprint(now.Begun),
		"CLUSTER": st.MetaID,
		"DATA":    r.cfg.Dir,
		"HOST":    r.cfg.Who,
	}
	switch {
	case name == onDemote:
		values["ROLE"], values["EVENT"], values["VERSION"] = "follower", string(cmp.Or(now.Ended, role.Failed)), fmt.Sprint(st.Image)
	case r.resumes:
		values["EVENT"] = string(role.Resume)
	}
	env := os.Environ()
	for key, value := range values {
		env = append(env, "MFSSTANDBY_"+key+"="+strings.ReplaceAll(value, "\x00", ""))
	}
	return env
}

// hookOutput is how much of what a hook writes is kept, in bytes.
const hookOutput = 500

// runHook runs a command until it ends, the limit is over, or ctx ends; then it
// is killed with all that it started.
func runHook(ctx context.Context, name, command string, env []string, limit time.Duration) HookRun {
	if limit == 0 {
		limit = DefaultHookLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var out tail
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 100 * time.Millisecond // for what it left running with its output
	h := HookRun{Name: name, At: time.Now(), Status: -1}
	err := cmd.Run()
	h.Ms = ms(time.Since(h.At))
	h.Output = strings.TrimSpace(strings.ToValidUTF8(string(out.text), "?"))
	if cmd.ProcessState != nil {
		h.Status = cmd.ProcessState.ExitCode()
	}
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay) && h.Status == 0:
	case context.Cause(ctx) == context.DeadlineExceeded:
		h.Error = fmt.Sprintf("it did not end within %v, and was killed (--hook-timeout)", limit)
	default:
		h.Error = err.Error()
	}
	return h
}

// tail keeps the end of what is written to it.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if over := len(t.text) - hookOutput; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}
