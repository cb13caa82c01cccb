//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
)

// patience is for what needs no more than a moment on a machine that is not busy.
const patience = 2 * time.Minute

// buildStandby builds the program under test.
func buildStandby(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mfsstandby")
	if out, err := exec.Command("go", "build", "-o", path, "mfsstandby/cmd/mfsstandby").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return path
}

// musts returns what ends the test at an error.
func musts(t *testing.T) func(error) {
	return func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// shell returns what runs a script in a directory, on the cluster's host.
func shell(t *testing.T, c *Cluster, dir string) func(script string) {
	return func(script string) {
		t.Helper()
		cmd := c.Command("bash", "-euxc", script)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

// startLive starts a cluster. If it is not fresh its master has stored its
// metadata once: a new one does so at its end or at the next full hour only.
func startLive(t *testing.T, cfg Config, fresh bool) *Cluster {
	t.Helper()
	c, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if fresh {
		return c
	}
	if err := errors.Join(c.StopMaster(), c.StartMaster(false), c.waitChunkservers(cfg.Chunkservers)); err != nil {
		t.Fatal(err)
	}
	// With few retries a mount that is not connected again gives an error soon. It
	// looks up a name without a cache.
	for _, m := range c.mounts {
		if err := waitFor("a mount of the restarted master", startLimit, func() bool {
			_, err := os.Lstat(filepath.Join(m.Path, "no such name"))
			return errors.Is(err, fs.ErrNotExist)
		}); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// follower is an mfsstandby process in a cluster's network, and its data directory.
type follower struct {
	c      *Cluster
	name   string
	binary string
	data   string
	args   []string // of the process
	p      *Process
}

// newFollower makes one that runs "mfsstandby args --data DIR". The cluster's
// Close ends it.
func newFollower(c *Cluster, binary, name string, args ...string) *follower {
	data := c.path(name)
	return &follower{c: c, name: name, binary: binary, data: data, args: append(args, "--data", data)}
}

func (f *follower) start() error {
	var err error
	f.p, err = f.c.Run(f.name, f.c.Command(f.binary, f.args...))
	return err
}

// command runs another command on its data directory.
func (f *follower) command(args ...string) (string, error) {
	out, err := f.c.Command(f.binary, append(args, "--data", f.data)...).CombinedOutput()
	return string(out), err
}

func (f *follower) status() (control.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return control.NewClient(f.data).Status(ctx)
}

// image is the version of its image, 0 while it has none or does not answer.
func (f *follower) image() meta.Version {
	if st, err := f.status(); err == nil && st.Standby != nil {
		return st.Standby.Image
	}
	return 0
}

// wait waits until its status is as wanted. A process that ended or needs a
// person is an error.
func (f *follower) wait(what string, ok func(control.Status) bool) error {
	var last control.Status
	var broken error
	err := waitFor(what, patience, func() bool {
		if !f.p.Running() {
			broken = errors.New("the process ended")
			return true
		}
		st, err := f.status()
		if err != nil {
			return false
		}
		last = st
		if s := st.Standby; s != nil && s.State == standby.Stopped {
			broken = fmt.Errorf("the standby is stopped: %s", s.Error)
			return true
		}
		return ok(st)
	})
	if err = errors.Join(err, broken); err != nil {
		return fmt.Errorf("%s: %w; status: %s; its log ends with:\n%s", f.name, err, brief(last), f.p.LogTail())
	}
	return nil
}

// brief tells the versions in a status.
func brief(st control.Status) string {
	var b strings.Builder
	if s := st.Tap; s != nil {
		fmt.Fprintf(&b, "received %d, published %d, epoch %d, tap error %q; ", s.Received, s.Published, s.Epoch, s.Error)
	}
	if s := st.Standby; s != nil {
		fmt.Fprintf(&b, "%s, stream %d, image %d, error %q", s.State, s.Stream, s.Image, s.Error)
	}
	return b.String()
}

// waitImage waits until the image is at a version or after it.
func (f *follower) waitImage(v uint64) error {
	return f.wait(fmt.Sprintf("version %d", v), func(st control.Status) bool {
		return st.Standby != nil && uint64(st.Standby.Image) >= v
	})
}

// differences compares the image with a metadata file that the master stored at
// the same version: record by record, and in the words of mfsmetadump.
func (f *follower) differences(saved string) ([]string, error) {
	var found []string
	if out, err := f.command("verify", saved); err != nil {
		found = append(found, fmt.Sprintf("%s: verify %s: %v\n%s", f.name, filepath.Base(saved), err, out))
	}
	export := filepath.Join(f.data, "export.mfs")
	if out, err := f.command("export", "-o", export); err != nil {
		return nil, fmt.Errorf("%s: exporting: %w\n%s", f.name, err, out)
	}
	want, err := dumpWithoutLocks(saved)
	if err != nil {
		return nil, err
	}
	got, err := dumpWithoutLocks(export)
	if err != nil {
		return nil, err
	}
	for _, d := range Differences(want, got) {
		if !permitted(d) {
			found = append(found, fmt.Sprintf("%s: dump: %s", f.name, strings.TrimSpace(d)))
		}
	}
	return found, os.Remove(export)
}

// dumpWithoutLocks is DumpLines without until when chunks are locked: a master
// locks those that it copies, and logs nothing. Verify looks closer.
func dumpWithoutLocks(image string) ([]string, error) {
	list, err := DumpLines(image)
	for i, line := range list {
		if strings.HasPrefix(line, "CHUNK|") {
			list[i] = chunkLock.ReplaceAllString(line, "")
		}
	}
	slices.Sort(list)
	return list, err
}

var chunkLock = regexp.MustCompile(`\|t: *[0-9]+`)

// permitted tells whether a line of a dump may differ from the master's: a
// header with sizes and counts of derived things, a lock, which mfsmetadump
// misreads (verify reads them), and a session that said goodbye, which the
// master does not store although its SESDEL is yet to come.
func permitted(difference string) bool {
	side, line := difference[:1], difference[1:]
	return strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "FLOCK|") ||
		side == "+" && (strings.HasPrefix(line, "SESSION|") || strings.HasPrefix(line, "OPENFILE|"))
}
