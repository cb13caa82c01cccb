package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"mfsstandby/replicator/events"
)

// Config says where NATS is and how to log in.
type Config struct {
	// Server is the embedded server of this process; else URL is used.
	Server *Server
	URL    string // nats://HOST:PORT, several separated by commas

	Name    string // shown by NATS's monitoring; default "mfsstandby"
	Node    string // what other members call this process's host; default HostName
	Creds   string // file with JWT and seed
	NKey    string // file with an nkey seed
	User    string
	Pass    string
	TLSCA   string // PEM file with the authority that signed the server's certificate
	TLSCert string // PEM file, with TLSKey: this side's certificate
	TLSKey  string

	// Patient lets Connect succeed while there is no server to be reached, which
	// may be starting, like this process after a power failure: it is tried until
	// it is there, and what needs it fails with an error that is Away. One that
	// refuses is an error at once all the same.
	Patient bool

	Timeout time.Duration // of one request to NATS, default 10 s
	Log     *slog.Logger  // default: slog.Default()
	Events  *events.Log   // told of a connection that is lost; may be nil
}

// Validate says what is wrong or contradictory.
func (c *Config) Validate() error {
	switch {
	case c.Server == nil && c.URL == "":
		return errors.New("neither an embedded NATS server nor the URL of one")
	case c.Server != nil && c.URL != "":
		return errors.New("either an embedded NATS server or the URL of one, not both")
	case c.Creds != "" && c.NKey != "":
		return errors.New("either a credentials file or an nkey, not both")
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return errors.New("a TLS certificate needs its key and the key its certificate")
	case c.Timeout < 0:
		return fmt.Errorf("timeout %v is negative", c.Timeout)
	}
	return nil
}

// Conn is a connection to NATS; it reconnects by itself for ever. Safe for
// concurrent use.
type Conn struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	server *Server // nil if not embedded
	url    string
	node   string
	log    *slog.Logger
	lost   atomic.Pointer[error] // why there was no connection last
}

// Connect connects; see Config.Patient.
func Connect(cfg Config) (*Conn, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	c := &Conn{server: cfg.Server, url: redacted(cfg.URL), node: memberName(cfg.Node), log: cfg.Log}
	opts, err := c.options(&cfg)
	if err != nil {
		return nil, err
	}
	if c.nc, err = nats.Connect(cfg.URL, opts...); err != nil && brokenOff(err) {
		err = fmt.Errorf("%w: %w", nats.ErrDisconnected, err)
	}
	if err != nil && cfg.Patient && Away(err) {
		why := err
		c.lost.Store(&why)
		c.log.Warn("NATS cannot be reached yet; trying again", "url", c.url, "err", err)
		cfg.Events.Add("nats", slog.LevelWarn, events.NATSAway, "NATS cannot be reached yet; trying again: "+err.Error())
		c.nc, err = nats.Connect(cfg.URL, append(opts, nats.RetryOnFailedConnect(true), nats.IgnoreAuthErrorAbort())...)
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS %s: %w", c.url, err)
	}
	// The Writer bounds what is on the way; what the library bounds must not
	// make it wait.
	c.js, err = jetstream.New(c.nc, jetstream.WithDefaultTimeout(cfg.Timeout),
		jetstream.WithPublishAsyncTimeout(cfg.Timeout), jetstream.WithPublishAsyncMaxPending(1<<20))
	if err != nil {
		c.nc.Close()
		return nil, fmt.Errorf("using JetStream: %w", err)
	}
	return c, nil
}

// redacted is a list of URLs without the passwords in them.
func redacted(list string) string {
	all := strings.Split(list, ",")
	for i, text := range all {
		if u, err := url.Parse(strings.TrimSpace(text)); err == nil {
			all[i] = u.Redacted()
		}
	}
	return strings.Join(all, ",")
}

// brokenOff tells whether a server went away while it was being greeted.
func brokenOff(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.As(err, &network) && network.Timeout()
}

func (c *Conn) options(cfg *Config) ([]nats.Option, error) {
	name := cfg.Name
	if name == "" {
		name = "mfsstandby"
	}
	opts := []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		// Nothing is kept for later while there is no connection: the Writer
		// decides what is sent again.
		nats.ReconnectBufSize(-1),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if before := c.lost.Swap(&err); before == nil || (*before).Error() != err.Error() {
				c.log.Warn("NATS cannot be reached; trying again", "err", err)
			}
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				c.lost.Store(&err)
				c.log.Warn("connection to NATS lost, reconnecting", "err", err)
				cfg.Events.Add("nats", slog.LevelWarn, events.NATSAway, "connection to NATS lost, reconnecting: "+err.Error())
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.log.Info("connected to NATS again", "url", nc.ConnectedUrlRedacted())
			cfg.Events.Add("nats", slog.LevelInfo, events.NATSBack, "connected to NATS again")
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.log.Warn("NATS", "err", err) }),
	}
	if cfg.Server != nil {
		opts = append(opts, nats.InProcessServer(cfg.Server.nats))
		if cfg.Server.pass != "" {
			opts = append(opts, nats.UserInfo(localUser, cfg.Server.pass))
		}
		return opts, nil
	}
	if cfg.Creds != "" {
		if _, err := os.Stat(cfg.Creds); err != nil {
			return nil, fmt.Errorf("credentials file: %w", err)
		}
		opts = append(opts, nats.UserCredentials(cfg.Creds))
	}
	if cfg.NKey != "" {
		opt, err := nats.NkeyOptionFromSeed(cfg.NKey)
		if err != nil {
			return nil, fmt.Errorf("nkey file %s: %w", cfg.NKey, err)
		}
		opts = append(opts, opt)
	}
	if cfg.User != "" {
		opts = append(opts, nats.UserInfo(cfg.User, cfg.Pass))
	}
	if cfg.TLSCA != "" {
		opts = append(opts, nats.RootCAs(cfg.TLSCA))
	}
	if cfg.TLSCert != "" {
		opts = append(opts, nats.ClientCert(cfg.TLSCert, cfg.TLSKey))
	}
	return opts, nil
}

// Close closes the connection.
func (c *Conn) Close() { c.nc.Close() }

// Lost says that there is no connection to NATS now, and why; nil while there
// is. The error is Away.
func (c *Conn) Lost() error {
	if c.nc.IsConnected() {
		return nil
	}
	why := "it does not answer"
	if err := c.lost.Load(); err != nil {
		why = (*err).Error()
	}
	return &lostError{c.url, why}
}

// lostError is what Lost gives. It tells less than it is, for people.
type lostError struct{ url, why string }

func (e *lostError) Error() string { return fmt.Sprintf("no connection to NATS %s: %s", e.url, e.why) }
func (e *lostError) Unwrap() error { return nats.ErrDisconnected }

// fault is that of the embedded server, or one that never happens.
func (c *Conn) fault() *fault {
	if c.server == nil {
		return &fault{} // waiting for a nil channel takes for ever
	}
	return c.server.fault
}

// Away tells whether err says only that NATS does not answer: it is useful to
// try again. A caller whose context has ended looks at that first.
func Away(err error) bool {
	for _, away := range []error{
		nats.ErrReconnectBufExceeded, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrNoServers,
		nats.ErrStaleConnection, nats.ErrTimeout, nats.ErrNoResponders,
		jetstream.ErrNoStreamResponse, jetstream.ErrJetStreamNotEnabled, context.DeadlineExceeded, errCopying, errBrokenOff,
		jetstream.ErrStreamNameAlreadyInUse, // another process makes it at this moment
	} {
		if errors.Is(err, away) {
			return true
		}
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && api.Code == 503 || tooFew(err) // it is starting, or has no leader, or not all servers yet
}

// reconnects counts the connections made after the first.
func (c *Conn) reconnects() uint64 { return c.nc.Stats().Reconnects }

// Durable tells whether what a Writer has acknowledged is on the disk: this
// process's own server stores it, and syncs always.
func (c *Conn) Durable() bool { return c.server != nil && c.server.names.enabled }

// hardens tells whether it takes harden to put a stream on the disk.
func (c *Conn) hardens() bool { return c.server != nil && c.server.files.enabled }

// harden makes what a stream has stored durable where this process can and is to.
func (c *Conn) harden(stream string) error {
	if c.server == nil {
		return nil
	}
	if err := c.server.files.sync(stream); err != nil {
		return err
	}
	return c.server.names.sync(stream)
}
