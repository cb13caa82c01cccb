//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"mfsstandby/standby"
	"mfsstandby/standby/control"
)

// Four processes create and delete files. The image keeps up, and is at the
// master's version as soon as they pause. MFSSTANDBY_SECONDS says how long.
func TestLiveLag(t *testing.T) {
	c := startLive(t, Config{Dir: t.TempDir(), Mounts: 1}, true)
	f := newFollower(c, buildStandby(t), "net", "run", "--primary", MasterIP)
	if err := f.start(); err != nil {
		t.Fatal(err)
	}
	inSync := func(st control.Status) bool { return st.Standby != nil && st.Standby.State == standby.InSync }
	if err := f.wait("the image to be in sync", inSync); err != nil {
		t.Fatal(err)
	}
	from, began := f.image(), time.Now()
	end := churn(t, c, "files", c.Mounts()[0], 4)
	pause(t.Context(), time.Duration(number(t, "MFSSTANDBY_SECONDS", 10))*time.Second)
	end()
	took := time.Since(began)
	version, err := changelogEnd(c.DataDir())
	if err != nil {
		t.Fatal(err)
	}
	err = f.wait("no lag", func(st control.Status) bool {
		return uint64(st.Standby.Image) >= version && st.Standby.LagEntries == 0 && inSync(st)
	})
	if err != nil {
		t.Fatal(err)
	}
	st, err := f.status()
	if err != nil {
		t.Fatal(err)
	}
	if st.Standby.Error != "" || st.Tap.Error != "" {
		t.Errorf("errors: %q, %q", st.Standby.Error, st.Tap.Error)
	}
	entries := version - uint64(from)
	if entries < 1000 {
		t.Errorf("only %d entries were written", entries)
	}
	l := st.Standby.Latency
	t.Logf("%d entries, %.0f/s; from the tap's receipt to the image, of %d batches: p50 %.2f ms, p99 %.2f ms, max %.2f ms",
		entries, float64(entries)/took.Seconds(), l.Batches, l.P50, l.P99, l.Max)
	if out, err := f.command("verify", "--primary", MasterIP); err != nil {
		t.Errorf("comparing with the running master: %v\n%s", err, out)
	}
}

// A standby that takes nothing, with the stream in its process, holds up neither
// the tap nor the master, which would have to keep in memory what is not taken
// from it. When the standby goes on it gets everything.
func TestSlowStream(t *testing.T) {
	const (
		volume = 256 << 20 // written while the stream is stalled
		bound  = 128 << 20 // by which the master may grow: it keeps twice 5,000 entries
	)
	cfg := Config{Dir: t.TempDir(), Mounts: 1, Master: map[string]string{"CHANGELOG_PRESERVE_SECONDS": "1"}}
	c := startLive(t, cfg, true)
	binary, nats := buildStandby(t), MasterIP+":4222"
	image := newFollower(c, binary, "standby", "standby", "--listen-nats", nats)
	tap := newFollower(c, binary, "tap", "tap", "--primary", MasterIP, "--nats", "nats://"+nats)
	if err := image.start(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.waitPort(image.p, nats), tap.start(), image.waitImage(2)); err != nil {
		t.Fatal(err)
	}
	end := churn(t, c, "attributes", c.Mounts()[0], 4)
	if err := waitFor("the master to be warm", patience, grows(c.DataDir(), 64<<20)); err != nil {
		t.Fatal(err)
	}
	image.p.Signal(syscall.SIGSTOP)
	before, began := status(t, tap), residentMemory(t, c.Master())
	if err := waitFor("entries", patience, grows(c.DataDir(), volume)); err != nil {
		t.Fatal(err)
	}
	end()
	version, err := changelogEnd(c.DataDir())
	if err != nil {
		t.Fatal(err)
	}
	err = tap.wait("the tap to receive everything", func(st control.Status) bool { return uint64(st.Tap.Received) >= version })
	if err != nil {
		t.Fatal(err)
	}
	after := status(t, tap)
	if after.Tap.Published >= after.Tap.Received {
		t.Errorf("the stream was not stalled: %s", brief(after))
	}
	if grown := after.Tap.Spool - before.Tap.Spool; grown < volume/2 {
		t.Errorf("the spool has grown by %d bytes only: %s", grown, brief(after))
	}
	grown := residentMemory(t, c.Master()) - began
	if grown > bound {
		t.Errorf("the master has grown by %d MiB while the stream was stalled", grown>>20)
	}
	t.Logf("received %d entries while none were taken; the master has grown by %d MiB, the spool by %d MiB",
		after.Tap.Received-before.Tap.Received, grown>>20, (after.Tap.Spool-before.Tap.Spool)>>20)
	image.p.Signal(syscall.SIGCONT)
	if err := image.waitImage(version); err != nil {
		t.Fatal(err)
	}
	if out, err := image.command("verify", "--primary", MasterIP); err != nil {
		t.Errorf("comparing with the running master: %v\n%s", err, out)
	}
	for _, f := range []*follower{tap, image} {
		if err := f.p.Stop(); err != nil {
			t.Error(err)
		}
	}
}

func status(t *testing.T, f *follower) control.Status {
	t.Helper()
	st, err := f.status()
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// residentMemory returns the bytes of memory that a process has.
func residentMemory(t *testing.T, p *Process) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var kilobytes int64
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		t.Fatalf("no VmRSS in %s", text)
	}
	return kilobytes << 10
}
