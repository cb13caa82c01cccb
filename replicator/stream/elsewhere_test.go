package stream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// elsewhere is a NATS cluster that this program did not start: three servers with
// TLS, run by an operator who gives out credentials.
type elsewhere struct {
	servers     []*server.Server
	urls        []string
	cert, creds string
}

// signedKey makes a key, and a claim about it that another key signs.
func signedKey(t *testing.T, kind nkeys.PrefixByte, by nkeys.KeyPair, claim func(public string) jwt.Claims) (nkeys.KeyPair, string) {
	t.Helper()
	pair, err := nkeys.CreatePair(kind)
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = pair
	}
	text, err := claim(public).Encode(by)
	if err != nil {
		t.Fatal(err)
	}
	return pair, text
}

func startElsewhere(t *testing.T) *elsewhere {
	t.Helper()
	dir := t.TempDir()
	e := &elsewhere{creds: filepath.Join(dir, "standby.creds")}
	var key string
	e.cert, key = selfSigned(t, dir)

	operator, said := signedKey(t, nkeys.PrefixByteOperator, nil, func(p string) jwt.Claims { return jwt.NewOperatorClaims(p) })
	trusted, err := jwt.DecodeOperatorClaims(said)
	if err != nil {
		t.Fatal(err)
	}
	var accounts server.MemAccResolver
	newAccount := func(change func(*jwt.AccountClaims)) (nkeys.KeyPair, string) {
		var id string
		pair, text := signedKey(t, nkeys.PrefixByteAccount, operator, func(p string) jwt.Claims {
			c := jwt.NewAccountClaims(p)
			change(c)
			id = p
			return c
		})
		if err := accounts.Store(id, text); err != nil {
			t.Fatal(err)
		}
		return pair, id
	}
	_, system := newAccount(func(*jwt.AccountClaims) {})
	account, _ := newAccount(func(c *jwt.AccountClaims) {
		c.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	})
	user, said := signedKey(t, nkeys.PrefixByteUser, account, func(p string) jwt.Claims { return jwt.NewUserClaims(p) })
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(said, seed)
	if err == nil {
		err = os.WriteFile(e.creds, creds, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}

	pair, err := tls.LoadX509KeyPair(e.cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(e.cert)
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate", err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, MinVersion: tls.VersionTLS12}
	routes := freePorts(t, 3)
	for i := range routes {
		opts := &server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: filepath.Join(dir, fmt.Sprint("store", i)), TLS: true, TLSConfig: conf, TLSTimeout: 5,
			TrustedOperators: []*jwt.OperatorClaims{trusted}, AccountResolver: &accounts, SystemAccount: system,
		}
		opts.Cluster.Name = "elsewhere"
		if opts.Cluster.Host, opts.Cluster.Port, err = hostPort(routes[i]); err != nil {
			t.Fatal(err)
		}
		for _, r := range routes {
			opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: r})
		}
		s, err := server.NewServer(opts)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		e.servers = append(e.servers, s)
	}
	for _, s := range e.servers {
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("a server does not take connections")
		}
		e.urls = append(e.urls, strings.Replace(s.ClientURL(), "nats://", "tls://", 1))
	}
	return e
}

// TestElsewhere keeps a stream, and what else belongs to it, three times in a NATS
// cluster that runs elsewhere, over TLS, with credentials, and goes on when one of
// its servers is gone.
func TestElsewhere(t *testing.T) {
	e := startElsewhere(t)
	cfg := Config{URL: strings.Join(e.urls, ","), Creds: e.creds, TLSCA: e.cert, Node: "me", Timeout: 5 * time.Second, Log: quiet}
	strange := cfg
	strange.Creds = ""
	if c, err := Connect(strange); err == nil {
		c.Close()
		t.Error("without credentials it is let in")
	}
	strange = cfg
	strange.TLSCA = ""
	if c, err := Connect(strange); err == nil {
		c.Close()
		t.Error("a certificate of nobody known is taken")
	}
	conn, err := Connect(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var cl *Cluster
	eventually(t, "opening", func(ctx context.Context) (err error) {
		cl, err = conn.Open(ctx, ClusterConfig{MetaID: testMetaID, Replicas: 3})
		return err
	})
	w := newWriter(t, cl, 1)
	appendAll(t, w, 1000, 100)
	for _, s := range e.servers {
		if s.JetStreamIsLeader() {
			s.Shutdown()
			s.WaitForShutdown()
			break
		}
	}
	appendAll(t, w, 1000, 100)
	reg, err := cl.Register(t.Context(), "leader")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the register", func(ctx context.Context) error {
		_, revision, err := reg.Get(ctx)
		if err == nil {
			_, err = reg.Set(ctx, []byte("me"), revision)
		}
		return err
	})
	r := cl.Reader(Position{}, ReaderConfig{})
	defer r.Close()
	readTo(t, r, 2001)
}
