package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// StartMaster starts mfsmaster and waits until clients can connect; with restore
// it first replays changelogs (-a), as after a crash.
func (c *Cluster) StartMaster(restore bool) error {
	args := []string{"-f", "-c", c.path("cfg", "mfsmaster.cfg")}
	if restore {
		args = append(args, "-a")
	}
	cmd := c.Command("mfsmaster", append(args, "start")...)
	if c.cfg.FakeTime {
		lib, err := faketimeLibrary("libfaketime.so.1")
		if err != nil {
			return err
		}
		// Only the wall clock moves: timeouts use the other one.
		cmd.Env = append(os.Environ(), "LD_PRELOAD="+lib, "FAKETIME_TIMESTAMP_FILE="+c.path("cfg", "clock"),
			"FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1")
	}
	p, err := start(cmd, c.path("log"), "mfsmaster")
	if err != nil {
		return err
	}
	c.master = p
	for _, address := range []string{MetaloggerAddress, ChunkserverAddress, ClientAddress} {
		if err := c.waitPort(p, address); err != nil {
			return err
		}
	}
	return nil
}

// Master is the running mfsmaster.
func (c *Cluster) Master() *Process { return c.master }

// StopMaster ends mfsmaster cleanly: it leaves a metadata.mfs.
func (c *Cluster) StopMaster() error {
	if err := c.master.Stop(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(c.DataDir(), "metadata.mfs")); err != nil {
		return fmt.Errorf("mfsmaster ended without storing its metadata: %w; its log ends with:\n%s", err, c.master.LogTail())
	}
	return nil
}

// KillMaster ends mfsmaster as a crash does.
func (c *Cluster) KillMaster() { c.master.Kill() }

// ReloadMaster makes mfsmaster read its configuration again, with new exports.
func (c *Cluster) ReloadMaster(exports string) error {
	if err := os.WriteFile(c.path("cfg", "mfsexports.cfg"), []byte(exports), 0o644); err != nil {
		return fmt.Errorf("writing new exports: %w", err)
	}
	c.master.Signal(syscall.SIGHUP)
	return nil
}

// Jump moves the clock of the master, forward as a rule. The master sees it at once.
func (c *Cluster) Jump(d time.Duration) error {
	if !c.cfg.FakeTime {
		return fmt.Errorf("the cluster's clock cannot jump: start it with Config.FakeTime")
	}
	c.jumped += d
	text := fmt.Sprintf("%+d\n", int(c.jumped.Seconds()))
	// A new file in one step: a half-written time would send the clock back.
	path := c.path("cfg", "clock")
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		return fmt.Errorf("moving the clock: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("moving the clock: %w", err)
	}
	return nil
}

func faketimeLibrary(name string) (string, error) {
	found, err := filepath.Glob("/usr/lib/*/faketime/" + name)
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("no %s: install faketime, or leave Config.FakeTime out", name)
	}
	return found[0], nil
}

// StartChunkserver starts chunkserver i, and does not wait for the master to know it.
func (c *Cluster) StartChunkserver(i int) error {
	if err := os.MkdirAll(c.path(fmt.Sprintf("cs%d", i)), 0o755); err != nil {
		return fmt.Errorf("making a chunkserver's data directory: %w", err)
	}
	cmd := c.Command("mfschunkserver", "-f", "-c", c.path("cfg", fmt.Sprintf("mfschunkserver%d.cfg", i)), "start")
	p, err := start(cmd, c.path("log"), fmt.Sprintf("mfschunkserver%d", i))
	c.chunk[i] = p
	return err
}

// StopChunkserver ends chunkserver i cleanly.
func (c *Cluster) StopChunkserver(i int) error { return c.chunk[i].Stop() }

// KillChunkserver ends chunkserver i as a crash does.
func (c *Cluster) KillChunkserver(i int) { c.chunk[i].Kill() }

// ChunkserverRunning tells whether chunkserver i has been started and not ended.
func (c *Cluster) ChunkserverRunning(i int) bool { return c.chunk[i] != nil && c.chunk[i].Running() }

// ChunkDir is where chunkserver i keeps its chunks.
func (c *Cluster) ChunkDir(i int) string { return c.path(fmt.Sprintf("hdd%d", i)) }

// waitChunkservers waits until the master has n chunkservers that told their space.
func (c *Cluster) waitChunkservers(n int) error {
	return waitFor(fmt.Sprintf("%d chunkservers with space", n), startLimit, func() bool {
		out, err := c.CLI("-SCS", "-s", "|")
		return err == nil && usableChunkservers(out) >= n
	})
}

// usableChunkservers counts the lines of mfscli -SCS that have a total space. A
// line is: title|ip|port|id|labels|version|load|maintenance|chunks|used|total|...,
// and in 4.x has one more field behind the load.
func usableChunkservers(list string) int {
	count := 0
	for line := range strings.Lines(list) {
		fields := strings.Split(line, "|")
		total := 3 + slices.IndexFunc(fields, func(f string) bool { return strings.HasPrefix(f, "maintenance_") })
		if total > 3 && len(fields) > total && strings.HasPrefix(fields[1], "10.77.") && fields[total] != "0" {
			count++
		}
	}
	return count
}

// StartMetalogger starts an mfsmetalogger; Close ends it.
func (c *Cluster) StartMetalogger() (*Process, error) {
	if err := os.MkdirAll(c.path("metalogger"), 0o755); err != nil {
		return nil, fmt.Errorf("making the metalogger's directory: %w", err)
	}
	return c.Run("mfsmetalogger", c.Command("mfsmetalogger", "-f", "-c", c.path("cfg", "mfsmetalogger.cfg"), "start"))
}

// CLI runs mfscli against the master.
func (c *Cluster) CLI(args ...string) (string, error) {
	out, err := c.Command("mfscli", append([]string{"-H", MasterIP, "-n"}, args...)...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("mfscli %v: %w: %s", args, err, out)
	}
	return string(out), nil
}

// Command prepares a program that runs in the cluster's network.
func (c *Cluster) Command(name string, args ...string) *exec.Cmd {
	return c.ns.command(name, args...)
}

// CommandAs is Command as another user with supplementary groups.
func (c *Cluster) CommandAs(u User, name string, args ...string) *exec.Cmd {
	groups := "--clear-groups"
	if len(u.Groups) > 0 {
		groups = "--groups=" + joinInts(u.Groups)
	}
	front := []string{"--reuid", fmt.Sprint(u.UID), "--regid", fmt.Sprint(u.GID), groups, name}
	return c.ns.command("setpriv", append(front, args...)...)
}

// Run starts a program, such as the one under test, that Close ends.
func (c *Cluster) Run(name string, cmd *exec.Cmd) (*Process, error) {
	p, err := start(cmd, c.path("log"), name)
	if err == nil {
		c.extra = append(c.extra, p)
	}
	return p, err
}

// Dial connects to an address of the cluster's network.
func (c *Cluster) Dial(ctx context.Context, address string) (net.Conn, error) {
	return c.ns.dial(ctx, address)
}

// Listen accepts connections in the cluster's network.
func (c *Cluster) Listen(address string) (net.Listener, error) { return c.ns.listen(address) }

// waitPort waits until something listens; the process must not end meanwhile.
func (c *Cluster) waitPort(p *Process, address string) error {
	open := false
	err := waitFor(address, startLimit, func() bool {
		if !p.Running() {
			return true
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn, err := c.Dial(ctx, address)
		if err != nil {
			return false
		}
		conn.Close()
		open = true
		return true
	})
	if err == nil && !open {
		err = fmt.Errorf("%s ended", p.Name)
	}
	if err != nil {
		return fmt.Errorf("starting %s: %w; its log ends with:\n%s", p.Name, err, p.LogTail())
	}
	return nil
}
