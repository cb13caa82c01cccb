package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"fmt"
	"mime"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// guard decides which requests are answered.
type guard struct {
	names   map[string]bool                   // this host's; in a Host header any address is right too
	cert    *certificate                      // nil without TLS; its names are right
	token   atomic.Pointer[[sha256.Size]byte] // its hash; nil if none is needed
	origins http.CrossOriginProtection
}

// setToken may be called while requests are answered.
func (g *guard) setToken(token string) {
	sum := sha256.Sum256([]byte(token))
	g.token.Store(&sum)
}

// headers are sent with every answer. Nothing but this server's own files can
// run, be loaded or be asked on its pages, and no other site can frame or read
// them.
var headers = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy":           "camera=(), geolocation=(), microphone=()",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
}

// around refuses what does not come from this server's own pages or from a
// program that means this server.
func (g *guard) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range headers {
			w.Header().Set(k, v)
		}
		switch {
		case !g.knows(r.Host):
			// A name that an attacker made lead here (DNS rebinding).
			refuse(w, http.StatusMisdirectedRequest, "wrong_host", fmt.Sprintf("%q is not a name of this server: use its address, or a name that is in its certificate", r.Host))
		case r.Header.Get("Sec-Fetch-Site") == "cross-site" && r.Header.Get("Sec-Fetch-Mode") != "navigate",
			g.origins.Check(r) != nil:
			refuse(w, http.StatusForbidden, "cross_site", "requests from pages of other sites are refused")
		case changes(r) && !isJSON(r):
			refuse(w, http.StatusUnsupportedMediaType, "not_json", "the body must be JSON, with Content-Type: application/json")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// changes tells whether a request may change something.
func changes(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions
}

func isJSON(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

// private lets only those in who have the token.
func (g *guard) private(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.admits(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="mfsstandby"`)
			refuse(w, http.StatusUnauthorized, "token", "present the token of this server: Authorization: Bearer TOKEN")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *guard) admits(r *http.Request) bool {
	want := g.token.Load()
	if want == nil {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], want[:]) == 1
}

// knows tells whether a Host header names this server. A page of another site
// can only get here by a name of its own, never by an address.
func (g *guard) knows(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if net.ParseIP(host) != nil || g.names[strings.TrimSuffix(host, ".")] {
		return true
	}
	return g.cert != nil && g.cert.covers(host)
}

// localNames are the names that this host has for itself.
func localNames() map[string]bool {
	return map[string]bool{"localhost": true, strings.ToLower(hostname()): true}
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}

// minToken is the least length of a token.
const minToken = 16

// readToken reads a token, which other users must not be able to read.
func readToken(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("token file %s: every user of this host can read or change it: chmod o= %[1]s", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	words := strings.Fields(string(text))
	if len(words) != 1 || len(words[0]) < minToken {
		return "", fmt.Errorf("token file %s: it must hold one word of at least %d characters, such as \"openssl rand -hex 32\" prints", path, minToken)
	}
	return words[0], nil
}

// certificate is the server's, read again when its file changes, as it does
// when it is renewed.
type certificate struct {
	certFile, keyFile string

	mu      sync.Mutex // guards what follows
	pair    tls.Certificate
	changed time.Time // the file's
	looked  time.Time
}

// certEvery is how often to look whether the certificate was renewed.
const certEvery = 10 * time.Second

func loadCertificate(certFile, keyFile string) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile}
	return c, c.load()
}

// load reads the files; the caller holds mu or is alone.
func (c *certificate) load() error {
	info, err := os.Stat(c.certFile)
	if err != nil {
		return fmt.Errorf("certificate for HTTP: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate for HTTP: %w", err)
	}
	c.pair, c.changed, c.looked = pair, info.ModTime(), time.Now()
	return nil
}

// get is tls.Config.GetCertificate. While a new certificate is half written the
// old one serves on.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) > certEvery {
		c.looked = now
		if info, err := os.Stat(c.certFile); err == nil && !info.ModTime().Equal(c.changed) {
			_ = c.load()
		}
	}
	pair := c.pair
	return &pair, nil
}

func (c *certificate) covers(host string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pair.Leaf != nil && c.pair.Leaf.VerifyHostname(host) == nil
}
