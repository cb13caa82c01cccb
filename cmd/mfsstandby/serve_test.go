package main

import (
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// A port that is taken stops a standby only if it was asked for.
func TestClientPortInUse(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	var log strings.Builder
	d := &daemon{data: t.TempDir(), log: slog.New(slog.NewTextHandler(&log, nil))}
	c := addClientFlags(pflag.NewFlagSet("", pflag.ContinueOnError))
	*c.exports = filepath.Join(t.TempDir(), "none")
	c.listen.text = busy.Addr().String() // as if it were the default
	if err := d.serveClients(c, &roleFlags{}, "", nil); err != nil || d.node == nil || !strings.Contains(log.String(), "clients are not served") {
		t.Errorf("with the default port in use: %v, can be promoted %v, log %q", err, d.node != nil, log.String())
	}
	free := "127.0.0.1:0"
	for given, text := range map[bool]string{false: "the master's on this host", true: "serving clients"} {
		log.Reset()
		c.listen, c.beside = address{text: free, given: given}, true
		if err := d.serveClients(c, &roleFlags{}, "", nil); err != nil || !strings.Contains(log.String(), text) {
			t.Errorf("beside a master that is down, port given %v: %v, log %q", given, err, log.String())
		}
	}
	d.parts, c.beside = nil, false
	if err := c.listen.Set(busy.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if err := d.serveClients(c, &roleFlags{}, "", nil); err == nil || !strings.Contains(err.Error(), "--listen-clients") {
		t.Errorf("with the port that was asked for in use: %v", err)
	}
	if err := c.listen.Set(""); err != nil || d.serveClients(c, &roleFlags{}, "", nil) != nil || len(d.parts) > 0 {
		t.Error("an empty address is not taken as nowhere")
	}
	if err := c.listen.Set("nonsense"); err == nil {
		t.Error("an address without a port is taken")
	}
}
