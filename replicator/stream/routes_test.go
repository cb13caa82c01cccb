package stream

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestRoutesOverTLS lets servers talk to one another over TLS only, and only with
// certificates of the authority.
func TestRoutesOverTLS(t *testing.T) {
	tr := newTrio(t)
	cert, key := selfSigned(t, t.TempDir())
	strange, strangeKey := selfSigned(t, t.TempDir())
	tr.with = func(c *ServerConfig) { c.TLSCert, c.TLSKey, c.TLSCA = cert, key, cert }
	tr.start(0, 1, 2)
	newWriter(t, tr.open(0, 3), 1)
	for i := range tr.servers {
		if next := openWriter(t, tr.open(i, 0), "w").Next(); next != 1 {
			t.Errorf("at server %d the stream ends at %d, want 1", i, next)
		}
	}
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	authority := x509.NewCertPool()
	if !authority.AppendCertsFromPEM(text) {
		t.Fatal("no certificate")
	}
	for _, tc := range []struct {
		name      string
		cert, key string
		ok        bool
	}{
		{"of the authority", cert, key, true},
		{"of another one", strange, strangeKey, false},
		{"none", "", "", false},
	} {
		conf := &tls.Config{RootCAs: authority}
		if tc.cert != "" {
			pair, err := tls.LoadX509KeyPair(tc.cert, tc.key)
			if err != nil {
				t.Fatal(err)
			}
			conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		if err := routeTo(t, tr.routes[0], conf); (err == nil) != tc.ok {
			t.Errorf("certificate %s: got %v", tc.name, err)
		}
	}
}

// routeTo connects to a server as another one would, and waits for what it
// says after the handshake.
func routeTo(t *testing.T, address string, conf *tls.Config) error {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if conf.ServerName, _, err = net.SplitHostPort(address); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(tls.Client(conn, conf)).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "INFO ") {
		t.Fatalf("a route begins with %q", line)
	}
	return err
}
