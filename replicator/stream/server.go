package stream

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	maxPayload    = 8 << 20 // bytes of a message; more makes nats-server warn
	startTimeout  = 30 * time.Second
	lockName      = "mfsstandby.lock"
	localUser     = "mfsstandby-local"  // of connections within the process, if others need credentials
	systemUser    = "mfsstandby-system" // likewise, where they concern the servers of a cluster
	openUser      = "anybody"           // who has no credentials, and needs none
	defaultSyncIn = time.Second
	ownSyncIn     = 10 * time.Minute // where nothing depends on it: it holds up the stream
)

// ServerConfig describes the embedded NATS server.
type ServerConfig struct {
	StoreDir string // everything is below it; created if missing
	Name     string // default: the host's name. Nodes of one NATS cluster need different ones

	// SyncAlways puts each message on the disk before it is acknowledged. Without
	// it SyncInterval (default 1 s) bounds what a power failure can take.
	SyncAlways   bool
	SyncInterval time.Duration

	// Listen is HOST:PORT for other processes; empty: nothing listens and only
	// Connect with this Server gets in.
	Listen  string
	TLSCert string // PEM file; with TLSKey, others must use TLS
	TLSKey  string
	TLSCA   string // PEM file; if set, others must show a certificate that it signed
	User    string // with Password: what others log in with
	Pass    string
	NKeys   []string // public user nkeys that may log in

	Cluster *ClusterPeers // nil: this server is alone

	Log *slog.Logger // default: slog.Default()
}

// Validate says what is wrong or contradictory.
func (c *ServerConfig) Validate() error {
	switch {
	case c.StoreDir == "":
		return errors.New("the NATS server needs a directory")
	case c.SyncInterval < 0:
		return fmt.Errorf("sync interval %v is negative", c.SyncInterval)
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return errors.New("a TLS certificate needs its key and the key its certificate")
	case c.TLSCA != "" && c.TLSCert == "":
		return errors.New("checking clients' certificates needs a certificate of the server's own")
	case (c.User == "") != (c.Pass == ""):
		return errors.New("a user needs a password and a password its user")
	}
	if c.Cluster != nil {
		return c.Cluster.validate()
	}
	return nil
}

// private tells whether only this process writes to the server. Then its Writers
// make messages durable before they acknowledge them, and the server need not
// before it shows them to readers.
func (c *ServerConfig) private() bool { return c.Listen == "" && c.Cluster == nil }

// Server is an embedded NATS server with JetStream.
type Server struct {
	nats   *server.Server
	lock   *os.File
	files  fileSyncer
	names  nameSyncer
	pass   string // of localUser and systemUser; empty if nobody needs credentials
	fault  *fault
	peers  *ClusterPeers // nil: this server is alone
	closed bool          // nobody else is to connect
}

// fault tells that the server has stopped to write. It does not answer then: a
// publisher would wait for nothing.
type fault struct {
	once   sync.Once
	found  chan struct{} // closed when reason is set
	reason string
}

// look finds the server's own words for it in its log.
func (f *fault) look(line string) {
	if !writeError.MatchString(line) {
		return
	}
	f.once.Do(func() {
		f.reason = line
		close(f.found)
	})
}

var writeError = regexp.MustCompile(`(?i)critical write error|while writing msg, disabling JetStream`)

// err is the reason in words, once found is closed.
func (f *fault) err() error {
	return fmt.Errorf("%w: %s; make room or repair the disk, then start again", ErrStorage, f.reason)
}

// StartServer starts the server and waits until it serves. Only one process may
// have StoreDir open (ErrInUse).
func StartServer(cfg ServerConfig) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if err := os.MkdirAll(cfg.StoreDir, 0o755); err != nil {
		return nil, fmt.Errorf("creating the NATS server's directory: %w", err)
	}
	s := &Server{
		files: fileSyncer{root: cfg.StoreDir, enabled: cfg.SyncAlways && cfg.private(), tick: clockTick, syncFile: syncFile},
		names: nameSyncer{root: cfg.StoreDir, enabled: cfg.SyncAlways, tick: clockTick},
	}
	s.fault, s.peers, s.closed = &fault{found: make(chan struct{})}, cfg.Cluster, cfg.Listen == ""
	opts, err := s.options(&cfg)
	if err != nil {
		return nil, err
	}
	if s.lock, err = lockDir(cfg.StoreDir); err != nil {
		return nil, err
	}
	if err := checkLayout(&cfg); err != nil {
		s.Close()
		return nil, err
	}
	if err := s.start(opts, cfg.Log); err != nil {
		s.Close()
		return nil, fmt.Errorf("starting the NATS server in %s: %w", cfg.StoreDir, err)
	}
	return s, nil
}

func (s *Server) start(opts *server.Options, log *slog.Logger) error {
	srv, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	s.nats = srv
	bridge := &logBridge{log: log.With("part", "nats"), fatal: make(chan string, 1), fault: s.fault}
	srv.SetLoggerV2(bridge, false, false, false)
	go srv.Start() // ends with Shutdown; Close waits for it
	ready := make(chan bool, 1)
	go func() { ready <- srv.ReadyForConnections(startTimeout) }()
	select {
	case reason := <-bridge.fatal:
		return errors.New(reason)
	case ok := <-ready:
		if !ok {
			return fmt.Errorf("not ready after %v", startTimeout)
		}
	}
	if !srv.JetStreamEnabled() {
		return errors.New("JetStream did not start: see the log")
	}
	return nil
}

// Close stops the server and waits until all is on disk. It may be called twice.
func (s *Server) Close() {
	if s.nats != nil {
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
		s.nats = nil
	}
	if s.lock != nil {
		s.lock.Close() // the lock goes with the descriptor
		s.lock = nil
	}
}

// URL is where others connect, empty if nothing listens for them.
func (s *Server) URL() string {
	if s.nats.Addr() == nil || s.closed {
		return ""
	}
	return s.nats.ClientURL()
}

// lockDir keeps other processes out of dir for as long as the file is open. The
// kernel drops the lock with the process, so nothing is left after a crash.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the NATS server's directory: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("directory %s is %w: stop it, or give this one another directory", dir, ErrInUse)
		}
		return nil, fmt.Errorf("locking %s: %w", name, err)
	}
	return f, nil
}

// options turns the configuration into nats-server's.
func (s *Server) options(cfg *ServerConfig) (*server.Options, error) {
	name := cfg.Name
	if name == "" {
		var err error
		if name, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("the NATS server needs a name: %w", err)
		}
	}
	opts := &server.Options{
		ServerName: name,
		DontListen: cfg.Listen == "" && cfg.Cluster == nil,
		NoSigs:     true,
		MaxPayload: maxPayload,
		JetStream:  true,
		StoreDir:   cfg.StoreDir,
		// Disks fill up slowly and are shared: the store stops when the disk is
		// full, not at a guess made at the start.
		JetStreamMaxStore:  1 << 62,
		JetStreamMaxMemory: 64 << 20, // consumers' state only
		SyncAlways:         cfg.SyncAlways && !cfg.private(),
		SyncInterval:       cfg.SyncInterval,
	}
	switch {
	case cfg.SyncAlways:
		opts.SyncInterval = ownSyncIn
	case opts.SyncInterval == 0:
		opts.SyncInterval = defaultSyncIn
	}
	switch {
	case cfg.Listen != "":
		var err error
		if opts.Host, opts.Port, err = hostPort(cfg.Listen); err != nil {
			return nil, err
		}
	case cfg.Cluster != nil: // it looks for others only when it listens; nobody has credentials for this
		opts.Host, opts.Port = "127.0.0.1", server.RANDOM_PORT
	}
	if cfg.TLSCert != "" {
		if err := serverTLS(opts, cfg); err != nil {
			return nil, err
		}
	}
	s.credentials(opts, cfg)
	if cfg.Cluster != nil {
		return opts, clusterOptions(opts, cfg.Cluster)
	}
	return opts, nil
}

func serverTLS(opts *server.Options, cfg *ServerConfig) error {
	tc := &server.TLSConfigOpts{CertFile: cfg.TLSCert, KeyFile: cfg.TLSKey, CaFile: cfg.TLSCA, Verify: cfg.TLSCA != ""}
	conf, err := server.GenTLSConfig(tc)
	if err != nil {
		return fmt.Errorf("TLS of the NATS server: %w", err)
	}
	conf.MinVersion = tls.VersionTLS12
	opts.TLS, opts.TLSConfig, opts.TLSTimeout = true, conf, 5
	opts.TLSVerify = tc.Verify
	return nil
}

// credentials lets in who is configured, and this process.
func (s *Server) credentials(opts *server.Options, cfg *ServerConfig) {
	open := cfg.User == "" && len(cfg.NKeys) == 0 && (cfg.Listen != "" || cfg.Cluster == nil)
	if open && cfg.Cluster == nil {
		return
	}
	s.pass = rand.Text()
	opts.Users = append(opts.Users, &server.User{Username: localUser, Password: s.pass})
	if cfg.Cluster != nil {
		system := server.NewAccount(server.DEFAULT_SYSTEM_ACCOUNT)
		opts.Accounts, opts.SystemAccount = append(opts.Accounts, system), system.Name
		opts.Users = append(opts.Users, &server.User{Username: systemUser, Password: s.pass, Account: system})
	}
	if open { // as it is where there are no users at all
		opts.NoAuthUser = openUser
		opts.Users = append(opts.Users, &server.User{Username: openUser, Password: rand.Text()})
	}
	if cfg.User != "" {
		opts.Users = append(opts.Users, &server.User{Username: cfg.User, Password: cfg.Pass})
	}
	for _, key := range cfg.NKeys {
		opts.Nkeys = append(opts.Nkeys, &server.NkeyUser{Nkey: key})
	}
}

// hostPort splits HOST:PORT; port 0 takes a free one.
func hostPort(addr string) (string, int, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("address to listen on: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("address to listen on: port %q is not a number up to 65535", port)
	}
	if n == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(n), nil
}

// logBridge gives nats-server's log lines to slog. The server calls Fatalf where
// its own program would exit.
type logBridge struct {
	log   *slog.Logger
	fatal chan string
	fault *fault
}

func (b *logBridge) Noticef(f string, v ...any) { b.log.Debug(fmt.Sprintf(f, v...)) }
func (b *logBridge) Debugf(f string, v ...any)  { b.log.Debug(fmt.Sprintf(f, v...)) }
func (b *logBridge) Tracef(f string, v ...any)  { b.log.Debug(fmt.Sprintf(f, v...)) }

func (b *logBridge) Warnf(f string, v ...any) {
	text := fmt.Sprintf(f, v...)
	b.log.Warn(text)
	b.fault.look(text)
}

func (b *logBridge) Errorf(f string, v ...any) {
	text := fmt.Sprintf(f, v...)
	b.log.Error(text)
	b.fault.look(text)
}

func (b *logBridge) Fatalf(f string, v ...any) {
	text := fmt.Sprintf(f, v...)
	select {
	case b.fatal <- text:
	default: // nobody waits any more
		b.log.Error(text)
	}
}
