//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mfsstandby/replicator/wire"
)

// A mount of the standby that has a file open learns of what is done to it at the
// primary, as a mount of the primary would; one that holds a file that is no more
// goes on.
func TestOpenFilesOfTheStandbyAreNotStale(t *testing.T) {
	s := startServing(t, Config{Dir: t.TempDir(), Chunkservers: 2, Mounts: 1})
	s.sh("head -c 300000 /dev/zero | tr '\\0' a > kept; mfssettrashtime 0 .; echo gone > removed")
	s.sync()
	open := func(name string) *os.File {
		f, err := os.Open(filepath.Join(s.replica.Path, name))
		s.must(err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	shows := func(f *os.File, want []byte) {
		t.Helper()
		got := make([]byte, len(want))
		err := waitFor("the open file to show what the primary has", patience, func() bool {
			n, err := f.ReadAt(got, 0)
			return n == len(want) && (err == nil || errors.Is(err, io.EOF)) && bytes.Equal(got, want)
		})
		if err != nil {
			t.Errorf("%v; it begins with %.20q, not %.20q", err, got, want)
		}
	}
	kept, removed := open("kept"), open("removed")
	shows(kept, bytes.Repeat([]byte("a"), 300_000))
	shows(removed, []byte("gone\n"))

	s.sh("head -c 100000 /dev/zero | tr '\\0' b | dd of=kept conv=notrunc bs=100000 iflag=fullblock status=none")
	shows(kept, append(bytes.Repeat([]byte("b"), 100_000), bytes.Repeat([]byte("a"), 200_000)...))
	s.sh("truncate -s 50000 kept; echo end >> kept")
	shows(kept, append(bytes.Repeat([]byte("b"), 50_000), "end\n"...))

	// A read-only standby cannot keep a file for those who have it open: its name
	// is gone, and the mount goes on. What it shows of the open file is what it
	// remembers.
	s.sh("rm removed")
	s.sync()
	s.must(waitFor("the name of a removed file to be gone", patience, func() bool {
		_, err := os.Stat(filepath.Join(s.replica.Path, "removed"))
		return errors.Is(err, os.ErrNotExist)
	}))
	if _, err := removed.Stat(); err != nil && !errors.Is(err, syscall.ENOENT) {
		t.Errorf("the attributes of an open file that is no more: %v", err)
	}
	if !s.replica.Running() {
		t.Fatal("the mount has ended")
	}
	shows(kept, append(bytes.Repeat([]byte("b"), 50_000), "end\n"...))
}

// While the stream stalls, a standby with --max-lag has its mounts wait, and they
// go on when it has caught up.
func TestMaxLag(t *testing.T) {
	c := startLive(t, Config{Dir: t.TempDir(), Mounts: 1}, false)
	binary, nats := buildStandby(t), MasterIP+":4222"
	tap := newFollower(c, binary, "tap", "tap", "--primary", MasterIP, "--listen-nats", nats)
	image := newFollower(c, binary, "standby", "standby", "--nats", "nats://"+nats,
		"--listen-clients", MasterIP+":"+servePort, "--exports", c.path("cfg", "mfsexports.cfg"), "--max-lag", "2s")
	s := &serving{Cluster: c, t: t, standby: image, primary: c.mounts[0]}
	s.must(tap.start())
	s.must(c.waitPort(tap.p, nats))
	s.must(image.start())
	s.must(image.waitImage(1))
	s.must(waitFor("the standby to take mounts", patience, func() bool { return !s.turnedAway() })) // it may lag at first
	var err error
	s.replica, err = s.mountReplica("replica", mountIP(8))
	s.must(err)
	s.sync()

	s.sh("touch there")
	s.sync()

	tap.p.Signal(syscall.SIGSTOP)
	defer tap.p.Signal(syscall.SIGCONT) // so that it can end
	s.must(waitFor("the standby to turn mounts away", patience, s.turnedAway))
	var resumed atomic.Bool
	answered := make(chan error, 1)
	go func() {
		_, err := os.Stat(filepath.Join(s.replica.Path, "there"))
		if !resumed.Load() {
			err = errors.Join(err, errors.New("answered while the image was too old"))
		}
		answered <- err
	}()
	if !s.turnedAway() {
		t.Error("a mount is taken although the stream stalls")
	}
	resumed.Store(true)
	tap.p.Signal(syscall.SIGCONT)
	select {
	case err := <-answered:
		s.must(err)
	case <-time.After(patience):
		t.Fatal("the mount does not go on")
	}
	s.sh("touch late")
	s.sync()
	for _, f := range []*follower{image, tap} {
		s.must(f.p.Stop())
	}
}

// turnedAway tells whether the standby closes the connection of a new mount.
func (s *serving) turnedAway() bool {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	nc, err := s.Dial(ctx, MasterIP+":"+servePort)
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	end, _ := ctx.Deadline()
	nc.SetDeadline(end)
	var e wire.Encoder
	(&wire.ClientRegister{Code: wire.RegisterNewSession, Release: wire.NewRelease(3, 0, 117), Info: []byte("probe\x00"), Path: []byte("/")}).Append(&e)
	if _, err := nc.Write(e.Buf); err != nil {
		return true
	}
	_, _, err = wire.ReadPacket(nc, nil, wire.ClientMaxLength)
	return err != nil
}
