package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Process is a program that the cluster runs, with its output in a file, if that is not taken elsewhere.
type Process struct {
	Name string
	Log  string // path of its output, stdout and stderr
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu  sync.Mutex
	err error // how it ended
}

// start runs cmd with its output appended to dir/name.log.
func start(cmd *exec.Cmd, dir, name string) (*Process, error) {
	p := &Process{Name: name, Log: filepath.Join(dir, name+".log"), cmd: cmd, done: make(chan struct{})}
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", name, err)
	}
	defer out.Close() // the child has its own descriptor
	if cmd.Stderr = out; cmd.Stdout == nil {
		cmd.Stdout = out
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true // an interrupt at the terminal is for us alone
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(p.done)
	}()
	return p, nil
}

// PID of the program; nsenter becomes it without a fork.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Running tells whether it has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ended waits for the end, at most so long, and tells whether it came.
func (p *Process) ended(within time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(within):
		return false
	}
}

// Signal sends a signal; to an ended process it does nothing.
func (p *Process) Signal(s syscall.Signal) {
	if p.Running() {
		p.cmd.Process.Signal(s)
	}
}

// Stop sends SIGTERM and waits for the end, at most a minute; then it kills.
func (p *Process) Stop() error {
	p.Signal(syscall.SIGTERM)
	if !p.ended(time.Minute) {
		p.Kill()
		return fmt.Errorf("%s did not end within a minute of SIGTERM; its log ends with:\n%s", p.Name, p.LogTail())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return fmt.Errorf("%s ended with %w; its log ends with:\n%s", p.Name, p.err, p.LogTail())
	}
	return nil
}

// Kill sends SIGKILL and waits for the end.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// LogTail returns the end of its output, for error texts.
func (p *Process) LogTail() string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	const keep = 2000
	return string(bytes.TrimSpace(text[max(0, len(text)-keep):]))
}

// waitFor polls a condition until it holds or the time is over.
func waitFor(what string, limit time.Duration, ok func() bool) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if ok() {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v in vain for %s", limit, what)
		}
	}
}
