package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"mfsstandby/standby"
	"mfsstandby/standby/exports"
	"mfsstandby/standby/server"
)

// defaultListenClients is where stock clients look for a master.
const defaultListenClients = "*:9421"

// address is a flag that takes HOST:PORT, with * for all addresses, or nothing.
type address struct {
	text  string
	given bool // it is not the default
}

func (a *address) String() string { return a.text }
func (a *address) Type() string   { return "host:port" }

func (a *address) Set(text string) error {
	if text != "" {
		if _, _, err := net.SplitHostPort(text); err != nil {
			return fmt.Errorf("%q is no HOST:PORT", text)
		}
	}
	a.text, a.given = text, true
	return nil
}

// listen opens the address.
func (a *address) listen() (net.Listener, error) {
	return net.Listen("tcp", strings.TrimPrefix(a.text, "*"))
}

// clientFlags are about serving clients from the image.
type clientFlags struct {
	listen  address
	exports *string
	maxLag  *time.Duration
}

func addClientFlags(f *pflag.FlagSet) *clientFlags {
	c := &clientFlags{listen: address{text: defaultListenClients}}
	f.Var(&c.listen, "listen-clients", "HOST:PORT to serve mounts and tools on, read-only; empty is nowhere")
	c.exports = f.String("exports", exports.DefaultFile, "who may mount what, as the stock master's file; SIGHUP reads it again")
	c.maxLag = f.Duration("max-lag", 0, "turn mounts away, as a master that is not ready, while the image is further behind; 0 is never")
	return c
}

func (c *clientFlags) check() error {
	if *c.maxLag < 0 {
		return usagef("--max-lag %v: give a time, or 0 for never", *c.maxLag)
	}
	return nil
}

// serveClients adds a server of the standby's image to the parts.
func (d *daemon) serveClients(c *clientFlags, s *standby.Standby) error {
	if c.listen.text == "" {
		return nil
	}
	listener, err := c.listen.listen()
	switch {
	case err == nil:
	case errors.Is(err, syscall.EADDRINUSE) && !c.listen.given:
		d.log.Warn("clients are not served: the port is in use, perhaps by a master on this host; give another with --listen-clients",
			"address", c.listen.text)
		return nil
	default:
		return fmt.Errorf("serving clients on %s: %w; give another address with --listen-clients", c.listen.text, err)
	}
	file, err := exports.Open(*c.exports, d.log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	srv, err := server.New(server.Config{
		Image: s.Image, Exports: file.List, Lag: s.Lag, MaxLag: *c.maxLag, Logger: d.log,
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	d.server = srv
	d.onHUP = append(d.onHUP, func() {
		if err := file.Reload(); err != nil {
			d.log.Error("the exports stay as they were", "err", err)
			return
		}
		srv.Reload()
	})
	d.log.Info("serving clients, read-only", "address", listener.Addr().String())
	d.parts = append(d.parts, part{"client server", func(ctx context.Context) error { return srv.Serve(ctx, listener) }})
	return nil
}
