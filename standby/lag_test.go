package standby_test

import (
	"bufio"
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby"
	"mfsstandby/standby/exports"
	"mfsstandby/standby/server"
)

// Mounts are turned away while the image lacks entries for longer than MaxLag,
// and let in again when it has them.
func TestMaxLagTurnsMountsAway(t *testing.T) {
	h := load(t)
	p := newPrimary(t, h)
	var received atomic.Uint64
	n := startNodeWith(t, t.TempDir(), p, func(cfg *standby.Config) {
		cfg.Received = func() meta.Version { return meta.Version(received.Load()) }
	})
	list, _, err := exports.Parse(strings.NewReader("* / ro\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	const maxLag = 1500 * time.Millisecond
	srv, err := server.New(server.Config{
		Image: n.stand.Image, Lag: n.stand.Lag, MaxLag: maxLag, Exports: func() *exports.List { return list },
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, l) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	await := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("after a minute still not %s; lag %v, %+v", what, n.stand.Lag(), n.stand.Status())
			}
		}
	}

	p.write(h.first, h.first+100)
	n.wait(h.first + 100)
	await("without lag", func() bool { return n.stand.Lag() == 0 })
	await("letting mounts in", func() bool { return mounts(t, l.Addr()) })

	received.Store(uint64(h.first + 150)) // which the tap has, and the stream not yet
	await("behind", func() bool { return n.stand.Lag() > 0 })
	await("turning mounts away", func() bool { return !mounts(t, l.Addr()) })
	first := n.stand.Lag()
	await("further behind", func() bool { return n.stand.Lag() > first })

	p.write(h.first+100, h.first+150)
	n.wait(h.first + 150)
	await("without lag", func() bool { return n.stand.Lag() == 0 })
	await("letting mounts in again", func() bool { return mounts(t, l.Addr()) })
}

// mounts tells whether a server registers a mount.
func mounts(t *testing.T, at net.Addr) bool {
	t.Helper()
	nc, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	var out wire.Encoder
	(&wire.ClientRegister{
		Code: wire.RegisterNewSession, Release: wire.NewRelease(3, 0, 117), Info: []byte("test\x00"), Path: []byte("/"),
	}).Append(&out)
	if _, err := nc.Write(out.Buf); err != nil {
		return false
	}
	_, answer, err := wire.ReadPacket(bufio.NewReader(nc), nil, wire.ClientMaxLength)
	if err != nil {
		return false
	}
	if status, refused := wire.RegisterStatus(answer); refused {
		t.Fatalf("registering: %v", status)
	}
	return true
}
