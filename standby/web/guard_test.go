package web

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// token is that of the tests' servers.
const token = "0123456789abcdef0123456789abcdef"

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// certify writes a certificate for a name.
func certify(t *testing.T, dir, name string, serial int64) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return write(t, filepath.Join(dir, "cert.pem"), block("CERTIFICATE", der), 0o644), write(t, filepath.Join(dir, "key.pem"), block("PRIVATE KEY", secret), 0o600)
}

func TestListeningForOthersNeedsTokenAndTLS(t *testing.T) {
	for _, tc := range []struct {
		listen, cert, key, token string
		want                     string
	}{
		{"127.0.0.1:9427", "", "", "", ""},
		{"localhost:9427", "", "", "", ""},
		{"[::1]:9427", "", "", "", ""},
		{"127.8.0.1:9427", "", "", "token", ""},
		{"0.0.0.0:9427", "", "", "", "a token file, and a certificate"},
		{":9427", "", "", "token", "a token file, and a certificate"},
		{"[::]:9427", "c", "k", "", "a token file, and a certificate"},
		{"192.0.2.1:9427", "", "", "", "other hosts can reach 192.0.2.1:9427"},
		{"some.name:9427", "", "", "", "other hosts can reach"},
		{"192.0.2.1:9427", "c", "k", "token", ""},
		{"127.0.0.1:9427", "c", "", "", "needs its key"},
		{"9427", "", "", "", "missing port"},
	} {
		c := Config{Listen: tc.listen, Cert: tc.cert, Key: tc.key, TokenFile: tc.token}
		err := c.Validate()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%+v: got error %v, want %q", tc, err, tc.want)
		}
	}
}

func TestTokenFile(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{token + "\n", 0o600, ""}, {"  " + token, 0o440, ""},
		{token, 0o644, "chmod o="}, {"", 0o600, "one word"}, {"short", 0o600, "at least 16"}, {token + " " + token, 0o600, "one word"},
	} {
		got, err := readToken(write(t, filepath.Join(dir, "token"), tc.text, tc.mode))
		if tc.want == "" && (err != nil || got != token) || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%q, mode %v: got %q, %v; want error %q", tc.text, tc.mode, got, err, tc.want)
		}
		if err := os.Remove(filepath.Join(dir, "token")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := readToken(filepath.Join(dir, "none")); err == nil {
		t.Error("no error without the file")
	}
}

// Requests that change something are refused unless they are JSON from here;
// the route that a test adds stands for those to come.
func TestGuard(t *testing.T) {
	reached := 0
	s := newServer(t, nil, func(c *Config) {
		c.Routes = []Route{{"POST " + api + "act", "for the test", func(w http.ResponseWriter, r *http.Request) { reached++ }}}
	})
	head := func(pairs ...string) func(*http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(pairs); i += 2 {
				if r.Header.Set(pairs[i], pairs[i+1]); pairs[i] == "Host" {
					r.Host = pairs[i+1]
				}
			}
		}
	}
	const js = "application/json"
	for _, tc := range []struct {
		name, method, target string
		change               func(*http.Request)
		code                 int
	}{
		{"a program", "GET", "/api/v1/status", nil, 200},
		{"localhost", "GET", "/api/v1/status", head("Host", "LocalHost:9427"), 200},
		{"an address", "GET", "/api/v1/status", head("Host", "192.0.2.7"), 200},
		{"an IPv6 address", "GET", "/api/v1/status", head("Host", "[2001:db8::1]:9427"), 200},
		{"a name that was made to lead here", "GET", "/api/v1/status", head("Host", "evil.example:9427"), 421},
		{"the same for the page", "GET", "/", head("Host", "evil.example"), 421},
		{"the same for metrics", "GET", "/metrics", head("Host", "evil.example"), 421},
		{"no name", "GET", "/", head("Host", ""), 421},
		{"another site's script", "GET", "/api/v1/status", head("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"), 403},
		{"a link on another site", "GET", "/", head("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"), 200},
		{"our page", "GET", "/api/v1/status", head("Sec-Fetch-Site", "same-origin"), 200},
		{"wrong method", "POST", "/api/v1/status", head("Content-Type", js), 405},
		{"wrong method for the page", "DELETE", "/", head("Content-Type", js), 405},
		{"act from a program", "POST", "/api/v1/act", head("Content-Type", js), 200},
		{"act from our page", "POST", "/api/v1/act", head("Content-Type", js+"; charset=utf-8", "Sec-Fetch-Site", "same-origin", "Origin", "http://127.0.0.1:9427"), 200},
		{"act from another site", "POST", "/api/v1/act", head("Content-Type", js, "Sec-Fetch-Site", "cross-site", "Origin", "http://evil.example"), 403},
		{"act from another site, old browser", "POST", "/api/v1/act", head("Content-Type", js, "Origin", "http://evil.example"), 403},
		{"act from another port of this host", "POST", "/api/v1/act", head("Content-Type", js, "Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:1"), 403},
		{"act by a form", "POST", "/api/v1/act", head("Content-Type", "text/plain"), 415},
		{"act without a type", "POST", "/api/v1/act", nil, 415},
		{"act by a link", "GET", "/api/v1/act", nil, 404},
	} {
		before := reached
		got := ask(s, tc.method, tc.target, tc.change)
		if got.Code != tc.code {
			t.Errorf("%s: %d %s, want %d", tc.name, got.Code, got.Body, tc.code)
		}
		if acts := strings.HasSuffix(tc.target, "act") && tc.code == 200; (reached > before) != acts {
			t.Errorf("%s: acted %v, want %v", tc.name, reached > before, acts)
		}
		csp := got.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'; script-src 'self';") || strings.Contains(csp, "unsafe") || got.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", tc.name, got.Header())
		}
	}
}

func TestTokenIsNeeded(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "token"), token, 0o600)
	s := newServer(t, nil, func(c *Config) { c.TokenFile = file })
	for _, tc := range []struct {
		auth, target string
		code         int
	}{
		{"", "/api/v1/status", 401}, {"Bearer " + token, "/api/v1/status", 200}, {"bearer  " + token, "/api/v1/status", 200},
		{"Bearer x" + token, "/api/v1/status", 401}, {"Basic " + token, "/api/v1/status", 401}, {token, "/api/v1/status", 401}, {"Bearer", "/api/v1/status", 401},
		{"", "/metrics", 401}, {"Bearer " + token, "/metrics", 200}, {"", "/api/v1/", 401}, {"", "/api/v1/none", 401},
		{"", "/", 200}, {"", "/app.js", 200}, {"", "/healthz", 200}, {"", "/readyz", 200},
	} {
		got := ask(s, "GET", tc.target, func(r *http.Request) { r.Header.Set("Authorization", tc.auth) })
		if got.Code != tc.code {
			t.Errorf("%s with %q: %d, want %d", tc.target, tc.auth, got.Code, tc.code)
		}
		if tc.code == 401 && !strings.HasPrefix(got.Header().Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: the answer does not say what is wanted: %v", tc.target, got.Header())
		}
	}
	// Strangers learn that it is not ready, not why.
	s.hub.last = Now{Time: time.Now(), Reason: "secret"}
	if got := ask(s, "GET", "/readyz", nil).Body.String(); got != "not ready\n" {
		t.Errorf("a stranger is told %q", got)
	}
}

func TestTokenIsReadAgain(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "token"), token, 0o600)
	s := newServer(t, nil, func(c *Config) { c.TokenFile = file })
	other := strings.ToUpper(token) + "X"
	check := func(when, right, wrong string) {
		t.Helper()
		for want, text := range map[int]string{200: right, 401: wrong} {
			got := ask(s, "GET", "/api/v1/status", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+text) })
			if got.Code != want {
				t.Errorf("%s: %d, want %d", when, got.Code, want)
			}
		}
	}
	check("at the start", token, other)
	write(t, file, other, 0o600)
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	check("after another token", other, token)
	write(t, file, "short", 0o600)
	if err := s.Reload(); err == nil {
		t.Error("a short token was taken")
	}
	check("after a bad token", other, token)
}

// run runs a server until the test ends and returns its URL.
func run(t *testing.T, s *Server) string {
	t.Helper()
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return s.URL()
}

func TestHTTPSAndARenewedCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := certify(t, dir, "standby.example", 1)
	file := write(t, filepath.Join(dir, "token"), token, 0o600)
	s := newServer(t, nil, func(c *Config) { c.Cert, c.Key, c.TokenFile = cert, key, file })
	url := run(t, s)
	if !strings.HasPrefix(url, "https://127.0.0.1:") {
		t.Fatalf("URL %s", url)
	}
	serial := func(host string) string {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
		req, err := http.NewRequest("GET", url+"healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		if resp.ProtoMajor != 2 {
			t.Errorf("it speaks %s", resp.Proto)
		}
		return fmt.Sprint(resp.TLS.PeerCertificates[0].SerialNumber, " ", resp.StatusCode)
	}
	if got := serial("standby.example:9427"); got != "1 200" {
		t.Errorf("by the certificate's name: %s", got)
	}
	if got := serial("other.example"); got != "1 421" {
		t.Errorf("by another name: %s", got)
	}
	certify(t, dir, "standby.example", 2)
	future := time.Now().Add(time.Minute)
	if err := os.Chtimes(cert, future, future); err != nil {
		t.Fatal(err)
	}
	s.cert.mu.Lock()
	s.cert.looked = time.Time{}
	s.cert.mu.Unlock()
	if got := serial("standby.example"); got != "2 200" {
		t.Errorf("after it was renewed: %s", got)
	}
	write(t, cert, "half written", 0o644)
	s.cert.mu.Lock()
	s.cert.looked = time.Time{}
	s.cert.mu.Unlock()
	if got := serial("standby.example"); got != "2 200" {
		t.Errorf("while it is written: %s", got)
	}
	if _, err := New(Config{Listen: "127.0.0.1:0", Cert: cert, Key: key}); err == nil {
		t.Error("a damaged certificate is taken")
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newServer(t, nil, func(c *Config) { c.Listen = l.Addr().String() })
	if err := s.Listen(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
}

// A connection beyond the most waits until another one ends.
func TestConnectionsAreLimited(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLimited(inner, 2)
	accepted := make(chan net.Conn, 3)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	for range 3 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first := <-accepted
	<-accepted
	if n := len(l.(*limited).room); n != 2 {
		t.Fatalf("%d places taken", n)
	}
	first.Close()
	first.Close() // once more gives no second place
	if c, ok := <-accepted; !ok || len(l.(*limited).room) != 2 {
		t.Errorf("the third: %v", c)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, ok := <-accepted; ok {
		t.Error("it accepts after its end")
	}
}

// The page is complete, and loads and asks nothing from elsewhere.
func TestPageIsComplete(t *testing.T) {
	s := newServer(t, nil, nil)
	seen := map[string]bool{}
	var visit func(path string)
	visit = func(path string) {
		if seen[path] {
			return
		}
		seen[path] = true
		got := ask(s, "GET", path, nil)
		if got.Code != 200 {
			t.Fatalf("%s: %d", path, got.Code)
		}
		if again := ask(s, "GET", path, func(r *http.Request) { r.Header.Set("If-None-Match", got.Header().Get("ETag")) }); again.Code != 304 {
			t.Errorf("%s asked for again: %d", path, again.Code)
		}
		text := got.Body.Bytes()
		for _, bad := range []string{"https://", "innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "new Function", "style=\"", "onclick=\""} {
			if bytes.Contains(text, []byte(bad)) {
				t.Errorf("%s contains %s", path, bad)
			}
		}
		for _, quote := range []string{`href="/`, `src="/`, `from './`} {
			for _, part := range strings.Split(string(text), quote)[1:] {
				visit("/" + part[:strings.IndexAny(part, `"'`)])
			}
		}
	}
	visit("/")
	list, err := embedded.ReadDir("page")
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != len(list) {
		t.Errorf("reached %v, of %d files", seen, len(list))
	}
}
