package stock

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"mfsstandby/replicator/wire"
)

// Child is a master that runs as a child of this process, and dies with it.
type Child struct {
	cmd  *exec.Cmd
	said string        // path of what it printed
	done chan struct{} // closed when it has ended
	err  error         // good when done
}

// StartChild starts a master that does not become a daemon. What it prints goes
// to the file said.
func StartChild(program, config, said string) (*Child, error) {
	out, err := os.Create(said)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	c := &Child{cmd: exec.Command(program, "-f", "-c", config, "start"), said: said, done: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = out, out
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The signal comes when the thread that started it ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			c.err = c.cmd.Wait()
			close(c.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// Done is closed when the master has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Said is the end of what the master printed.
func (c *Child) Said() string { return said(c.said) }

// stopTime is how long a master may take for storing its metadata.
const stopTime = 15 * time.Minute

// Stop tells the master to store its metadata and to end, and waits for that.
func (c *Child) Stop(ctx context.Context) error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	select {
	case <-c.done:
	case <-ctx.Done():
		c.Kill()
		return fmt.Errorf("mfsmaster did not end when told to: %w", ctx.Err())
	}
	if c.err != nil {
		return fmt.Errorf("mfsmaster ended with %w; it said: %s", c.err, c.Said())
	}
	return nil
}

// Kill ends the master at once, and waits for that.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill() // it has ended, then
	<-c.done
}

// KillLeftover ends the master that works on a private data directory, of a
// process that is gone.
func KillLeftover(data string) error {
	pid, err := Running(data)
	if err != nil || pid == 0 {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("ending process %d, an mfsmaster on %s: %w", pid, data, err)
	}
	for range 500 {
		if pid, err = Running(data); err != nil || pid == 0 {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("process %d, an mfsmaster on %s, does not end", pid, data)
}

// StartDaemon starts a master that outlives this process, and returns when it
// says that it works, which takes as long as loading its metadata. args come
// before "start".
func StartDaemon(ctx context.Context, program, config, dir string, args ...string) error {
	out, err := os.CreateTemp(dir, "mfsmaster-*.out")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	args = append(append([]string{"-c", config}, args...), "start")
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, out // a file: the daemon keeps it open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w; it said: %s", filepath.Base(program), strings.Join(args, " "), err, said(out.Name()))
	}
	return nil
}

// said is the end of a file, in one line.
func said(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	const keep = 600
	text = bytes.TrimSpace(text[max(0, len(text)-keep):])
	return strings.Join(strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// Times of asking a master.
const (
	askTime  = 5 * time.Second
	askEvery = 10 * time.Millisecond
)

// Ask asks the master at an address for its state, as mfscli does: without a
// session.
func Ask(ctx context.Context, address string) (wire.MasterInfo, error) {
	var info wire.MasterInfo
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return info, err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })()
	var e wire.Encoder
	(&wire.InfoRequest{}).Append(&e, wire.InfoMaster)
	if _, err := nc.Write(e.Buf); err != nil {
		return info, err
	}
	in := bufio.NewReader(nc)
	for {
		t, p, err := wire.ReadPacket(in, nil, maxInfo)
		if err != nil {
			return info, err
		}
		if t == wire.InfoMaster.Reply() {
			return info, info.Decode(wire.NewDecoder(p))
		}
	}
}

// maxInfo bounds the answer.
const maxInfo = 1 << 16

// Serving waits until the master at an address answers clients. ended is closed
// if it never will; nil is never.
func Serving(ctx context.Context, address string, ended <-chan struct{}) (wire.MasterInfo, error) {
	for {
		info, err := Ask(ctx, address)
		if err == nil {
			return info, nil
		}
		select {
		case <-ctx.Done():
			return info, fmt.Errorf("no master answers clients at %s: %w (%w)", address, ctx.Err(), err)
		case <-ended:
			return info, errors.New("mfsmaster ended")
		case <-time.After(askEvery):
		}
	}
}
