package stream

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"
)

func TestOneProcessPerDirectory(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, false)
	_, err := StartServer(ServerConfig{StoreDir: dir, Log: quiet})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second server: got %v, want ErrInUse with the directory", err)
	}
	s.Close()
	s.Close() // twice does no harm
	startServer(t, dir, false)
}

func TestServerRefuses(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		cfg  ServerConfig
		want string
	}{
		{"no directory", ServerConfig{}, "directory"},
		{"directory is a file", ServerConfig{StoreDir: file}, "not a directory"},
		{"port in use", ServerConfig{StoreDir: t.TempDir(), Listen: busy.Addr().String()}, "in use"},
		{"no port", ServerConfig{StoreDir: t.TempDir(), Listen: "localhost"}, "port"},
		{"bad port", ServerConfig{StoreDir: t.TempDir(), Listen: "localhost:x"}, "port"},
		{"key without certificate", ServerConfig{StoreDir: t.TempDir(), TLSKey: "k"}, "certificate"},
		{"no such certificate", ServerConfig{StoreDir: t.TempDir(), TLSKey: "nokey", TLSCert: "nocert"}, "nocert"},
		{"user without password", ServerConfig{StoreDir: t.TempDir(), User: "u"}, "password"},
		{"cluster without routes", ServerConfig{StoreDir: t.TempDir(), Cluster: &ClusterPeers{Name: "n", Listen: ":1"}}, "those of its nodes"},
		{"bad route", ServerConfig{StoreDir: t.TempDir(), Cluster: &ClusterPeers{Name: "n", Listen: ":1", Peers: []string{"nowhere"}}}, "nowhere"},
		{"negative interval", ServerConfig{StoreDir: t.TempDir(), SyncInterval: -1}, "negative"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.cfg.Log = quiet
			s, err := StartServer(tc.cfg)
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got error %v, want one with %q", err, tc.want)
			}
			if tc.cfg.StoreDir != "" && tc.cfg.StoreDir != file {
				startServer(t, tc.cfg.StoreDir, false) // the failed start left no lock
			}
		})
	}
}

func TestConnectRefuses(t *testing.T) {
	s := startServer(t, t.TempDir(), false)
	for _, tc := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"nowhere", Config{}, "neither"},
		{"both", Config{Server: s, URL: "nats://x"}, "not both"},
		{"two kinds of credentials", Config{URL: "nats://x", Creds: "a", NKey: "b"}, "not both"},
		{"no credentials file", Config{URL: "nats://x", Creds: "/none"}, "credentials file"},
		{"no nkey file", Config{URL: "nats://x", NKey: "/none"}, "nkey file"},
		{"key without certificate", Config{URL: "nats://x", TLSKey: "b"}, "certificate"},
		{"nobody there", Config{URL: "nats://127.0.0.1:1"}, "nats://127.0.0.1:1"},
	} {
		tc.cfg.Log = quiet
		if _, err := Connect(tc.cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got error %v, want one with %q", tc.name, err, tc.want)
		}
	}
	c := connect(t, s)
	for name, cfg := range map[string]ClusterConfig{
		"metaid":   {},
		"replicas": {MetaID: 1, Replicas: 7},
		"prefix":   {MetaID: 1, Prefix: "a.b"},
	} {
		if _, err := c.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("cluster with bad %s: got %v", name, err)
		}
	}
}

// TestLogin lets in who has a certificate and a password or an nkey, and this
// process.
func TestLogin(t *testing.T) {
	dir := t.TempDir()
	cert, key := selfSigned(t, dir)
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	seedFile := filepath.Join(dir, "seed")
	if err := os.WriteFile(seedFile, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := StartServer(ServerConfig{
		StoreDir: filepath.Join(dir, "store"), Listen: "127.0.0.1:0", Log: quiet,
		TLSCert: cert, TLSKey: key, TLSCA: cert, User: "standby", Pass: "secret", NKeys: []string{public},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	newWriter(t, open(t, connect(t, s)), 1)
	tls := Config{URL: s.URL(), TLSCA: cert, TLSCert: cert, TLSKey: key, Log: quiet}
	for _, tc := range []struct {
		name   string
		change func(*Config)
		ok     bool
	}{
		{"password", func(c *Config) { c.User, c.Pass = "standby", "secret" }, true},
		{"nkey", func(c *Config) { c.NKey = seedFile }, true},
		{"nothing", func(*Config) {}, false},
		{"wrong password", func(c *Config) { c.User, c.Pass = "standby", "guess" }, false},
		{"no certificate", func(c *Config) { c.User, c.Pass, c.TLSCert, c.TLSKey = "standby", "secret", "", "" }, false},
	} {
		cfg := tls
		tc.change(&cfg)
		c, err := Connect(cfg)
		if (err == nil) != tc.ok {
			t.Errorf("%s: got error %v", tc.name, err)
		}
		if err == nil {
			if next := openWriter(t, open(t, c), "w").Next(); next != 1 {
				t.Errorf("%s: the stream ends at %d, want 1", tc.name, next)
			}
			c.Close()
		}
	}
}

func selfSigned(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
