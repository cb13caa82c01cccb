// Package web shows a running process over HTTP: metrics for Prometheus,
// health checks, a JSON API for programs, and a status page for people, which
// is embedded and needs nothing from elsewhere. It only presents what
// control.Status, events.Log and the image tell; it decides nothing.
//
//	GET /                  the status page; it asks the API
//	GET /healthz           200 while the process works
//	GET /readyz            200 while it could take over: the image is in sync
//	GET /metrics           for Prometheus
//	GET /api/v1/           the routes of the API with their parameters
//
// What listens beyond loopback needs a certificate and a token. Requests that
// name another host, or come from another site's page, are refused (see
// guard.go), so that routes that change something can be added to the table of
// routes without further care.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"mfsstandby/replicator/events"
	"mfsstandby/standby/control"
	"mfsstandby/standby/image"
)

// Config says where to listen and what to show.
type Config struct {
	Listen    string // HOST:PORT
	Cert, Key string // PEM files; without, HTTP is served
	TokenFile string // its first word is what clients must present; without, none is needed

	Status  func() control.Status
	Image   func() (*image.Image, error) // nil: there is none in this process
	Events  *events.Log
	Latency *Latency // nil: nothing is applied here
	Routes  []Route  // of other parts of the process, behind the same guard
	Logger  *slog.Logger
}

// Route is one place of the API. Its pattern is that of http.ServeMux, such as
// "POST /api/v1/promote". One that changes something has a method other than
// GET: then a browser's request from another site never reaches it, and its
// body must be JSON.
type Route struct {
	Pattern string
	About   string // one line for people
	Serve   http.HandlerFunc
}

// Server serves HTTP for one process.
type Server struct {
	cfg      Config
	log      *slog.Logger
	guard    guard
	hub      *hub
	lists    lists
	metrics  *metrics
	cert     *certificate // nil: HTTP
	handler  http.Handler
	busy     sync.RWMutex // held for reading by each request, for writing after the end
	listener net.Listener
}

// New makes a server of cfg; Listen and Run let it serve.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	s := &Server{cfg: cfg, log: cfg.Logger.With("part", "web")}
	s.guard.names = localNames()
	if err := s.Reload(); err != nil {
		return nil, err
	}
	if cfg.Cert != "" {
		cert, err := loadCertificate(cfg.Cert, cfg.Key)
		if err != nil {
			return nil, err
		}
		s.cert, s.guard.cert = cert, cert
	}
	s.hub = newHub(&s.cfg)
	s.metrics = newMetrics(s.hub, &s.cfg)
	s.handler = s.routes()
	return s, nil
}

// Reload reads the token file again; after an error the token stays as it was.
func (s *Server) Reload() error {
	if s.cfg.TokenFile == "" {
		return nil
	}
	token, err := readToken(s.cfg.TokenFile)
	if err == nil {
		s.guard.setToken(token)
	}
	return err
}

// Validate refuses what would let strangers in.
func (c *Config) Validate() error {
	host, _, err := net.SplitHostPort(c.Listen)
	switch {
	case err != nil:
		return fmt.Errorf("listening for HTTP: %w", err)
	case (c.Cert == "") != (c.Key == ""):
		return errors.New("a certificate for HTTP needs its key, and the key its certificate")
	case loopback(host) || c.Cert != "" && c.TokenFile != "":
		return nil
	}
	return fmt.Errorf("other hosts can reach %s: HTTP there needs a token file, and a certificate with its key; or listen on 127.0.0.1", c.Listen)
}

// loopback tells whether only this host can connect to host.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Listen takes the port.
func (s *Server) Listen() error {
	l, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listening for HTTP: %w", err)
	}
	s.listener = newLimited(l, maxConns)
	return nil
}

// URL is where people find the page. Listen must have been called.
func (s *Server) URL() string {
	scheme := "http"
	if s.cert != nil {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err != nil {
		return scheme + "://" + s.listener.Addr().String() + "/"
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = hostname()
	}
	return scheme + "://" + net.JoinHostPort(host, port) + "/"
}

// Run serves until ctx ends; requests under way are then cut off, and it
// returns when none reads the image any more.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() { defer close(watched); s.hub.run(ctx) }()
	defer func() { cancel(); <-watched; s.busy.Lock() }()
	server := &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() {
		if s.cert == nil {
			done <- server.Serve(s.listener)
			return
		}
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.cert.get}
		done <- server.ServeTLS(s.listener, "", "")
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	err := server.Close()
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.busy.TryRLock() {
		return // too late
	}
	defer s.busy.RUnlock()
	s.handler.ServeHTTP(w, r)
}

// maxConns is how many connections are served at once.
const maxConns = 512

// limited is a listener that accepts no more while too many connections are
// open.
type limited struct {
	net.Listener
	room   chan struct{}
	once   sync.Once
	closed chan struct{}
}

func newLimited(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, room: make(chan struct{}, n), closed: make(chan struct{})}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &limitedConn{Conn: c, room: l.room}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// limitedConn gives its place free when it is closed.
type limitedConn struct {
	net.Conn
	once sync.Once
	room chan struct{}
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.room })
	return err
}
