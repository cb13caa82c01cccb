package main

import (
	"errors"
	"log/slog"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"mfsstandby/replicator/events"
	"mfsstandby/standby/web"
)

// defaultListenHTTP is where the status page is unless said otherwise.
const defaultListenHTTP = "127.0.0.1:9427"

// webFlags say where metrics, API and status page are served.
type webFlags struct {
	cfg    web.Config
	listen address
}

func addWebFlags(f *pflag.FlagSet) *webFlags {
	w := &webFlags{listen: address{text: defaultListenHTTP}}
	f.Var(&w.listen, "listen-http", "HOST:PORT of the status page, API and metrics; empty is nowhere")
	f.StringVar(&w.cfg.TokenFile, "http-token-file", "", "file with the token that HTTP clients must present, read again at SIGHUP; needed to listen for other hosts")
	f.StringVar(&w.cfg.Cert, "http-cert", "", "PEM file with the certificate for HTTPS; needed to listen for other hosts")
	f.StringVar(&w.cfg.Key, "http-key", "", "PEM file with the key of --http-cert")
	return w
}

func (w *webFlags) check() error {
	if w.listen.text == "" {
		return nil
	}
	w.cfg.Listen = strings.TrimPrefix(w.listen.text, "*")
	if err := w.cfg.Validate(); err != nil {
		return usagef("--listen-http %s: %v (--http-token-file, --http-cert, --http-key)", w.listen.text, err)
	}
	return nil
}

// measureLatency lets the applier be measured for the page and for metrics.
func (d *daemon) measureLatency() *web.Latency {
	d.latency = &web.Latency{}
	return d.latency
}

// serveWeb adds the web server to the parts. A port that is in use is an error
// if it was asked for, and else only told: another process on this host may
// have it already.
func (d *daemon) serveWeb(w *webFlags) error {
	if w.listen.text == "" {
		return nil
	}
	cfg := w.cfg
	cfg.Status, cfg.Events, cfg.Latency, cfg.Logger = d.tell, d.events, d.latency, d.log
	if d.standby != nil {
		cfg.Image = d.standby.Image
	}
	if d.node != nil {
		cfg.Routes = append(cfg.Routes, roleRoutes(d.node)...)
	}
	server, err := web.New(cfg)
	if err != nil {
		return err
	}
	err = server.Listen()
	if errors.Is(err, syscall.EADDRINUSE) && !w.listen.given {
		d.log.Warn("there is no status page: another process has its port; give another with --listen-http", "listen", cfg.Listen)
		d.events.Add("web", slog.LevelWarn, events.Unreachable, "there is no status page: another process has "+cfg.Listen)
		return nil
	}
	if err != nil {
		return err
	}
	d.log.Info("the status page is ready", "url", server.URL())
	d.page = server.URL()
	d.onHUP = append(d.onHUP, func() {
		if err := server.Reload(); err != nil {
			d.log.Error("the token for HTTP stays as it was", "err", err)
		}
	})
	d.parts = append(d.parts, part{"web", server.Run})
	return nil
}
