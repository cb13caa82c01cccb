//go:build e2e

package web

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// browser is a headless Chromium, driven over the W3C WebDriver protocol.
type browser struct {
	t       *testing.T
	session string // URL of the session
}

// startBrowser starts chromedriver and a browser that knows nobody.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	driver, err := exec.LookPath("chromedriver")
	if err != nil {
		t.Fatalf("%v; it is in Debian's package chromium-driver", err)
	}
	cmd := exec.Command(driver, "--port=0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	port := driverPort(t, out)
	b := &browser{t: t, session: "http://127.0.0.1:" + port}
	options := map[string]any{
		"args": []string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
			"--disable-background-networking", "--disable-component-update", "--disable-sync",
			"--lang=en-US", "--user-data-dir=" + filepath.Join(t.TempDir(), "profile"),
		},
	}
	var got struct {
		Session string `json:"sessionId"`
	}
	b.call("POST", "/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName": "chrome", "goog:chromeOptions": options, "acceptInsecureCerts": true,
		"goog:loggingPrefs": map[string]string{"browser": "ALL", "performance": "ALL"},
	}}}, &got)
	b.session += "/session/" + got.Session
	t.Cleanup(func() { b.call("DELETE", "", nil, nil) })
	b.open("about:blank")
	b.requests() // of the page that a new browser shows
	return b
}

// driverPort reads the port that chromedriver tells, and lets it talk on.
func driverPort(t *testing.T, out io.Reader) string {
	t.Helper()
	var text []byte
	buf := make([]byte, 4096)
	for {
		n, err := out.Read(buf)
		text = append(text, buf[:n]...)
		if _, after, ok := strings.Cut(string(text), "started successfully on port "); ok {
			if port, _, ok := strings.Cut(after, "."); ok {
				go func() { _, _ = io.Copy(io.Discard, out) }()
				return port
			}
		}
		if err != nil {
			t.Fatalf("chromedriver said %q, then %v", text, err)
		}
	}
}

// call does one command and fails the test if the driver refuses it.
func (b *browser) call(method, path string, params, result any) {
	b.t.Helper()
	if err := b.try(method, path, params, result); err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
}

func (b *browser) try(method, path string, params, result any) error {
	var body io.Reader
	if method == "POST" {
		if params == nil {
			params = map[string]any{}
		}
		text, err := json.Marshal(params)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, b.session+path, body)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: 2 * time.Minute}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Value json.RawMessage `json:"value"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %.600s", resp.Status, answer.Value)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, result)
}

func (b *browser) open(url string) {
	b.t.Helper()
	b.call("POST", "/url", map[string]any{"url": url}, nil)
}

// eval returns what a JavaScript expression is worth, as text.
func (b *browser) eval(expr string) string {
	b.t.Helper()
	var value any
	b.call("POST", "/execute/sync", map[string]any{"script": "return (" + expr + ")", "args": []any{}}, &value)
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

// text returns the text of the first element that a CSS selector finds.
func (b *browser) text(css string) string {
	b.t.Helper()
	return strings.TrimSpace(b.eval(fmt.Sprintf("(document.querySelector(%q) || {}).innerText ?? ''", css)))
}

// patience is how long to wait for what must come.
const patience = time.Minute

// click clicks the first element that a CSS selector finds, as a person does: it
// must be seen, and nothing may be in front of it.
func (b *browser) click(css string) {
	b.t.Helper()
	var found map[string]string
	b.call("POST", "/element", map[string]any{"using": "css selector", "value": css}, &found)
	for _, id := range found {
		b.call("POST", "/element/"+id+"/click", nil, nil)
	}
}

// until waits until good likes what get returns, and returns it.
func (b *browser) until(what string, get func() string, good func(string) bool) string {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := get()
		if good(got) {
			return got
		}
		if time.Now().After(deadline) {
			b.shoot("failed")
			b.t.Fatalf("%s: still %q", what, got)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// see waits until an element's text contains want.
func (b *browser) see(css, want string) string {
	b.t.Helper()
	return b.until(css+" contains "+want, func() string { return b.text(css) }, func(got string) bool { return strings.Contains(got, want) })
}

// is waits until an expression is worth want.
func (b *browser) is(expr, want string) {
	b.t.Helper()
	b.until(expr, func() string { return b.eval(expr) }, func(got string) bool { return got == want })
}

// Keys as WebDriver names them.
const (
	keyBackspace = "\ue003"
	keyTab       = "\ue004"
	keyEnter     = "\ue007"
	keyControl   = "\ue009"
	keyEnd       = "\ue010"
	keyHome      = "\ue011"
	keyLeft      = "\ue012"
	keyUp        = "\ue013"
	keyRight     = "\ue014"
	keyDown      = "\ue015"
)

// press types keys; those in a string with a first keyControl go with it.
func (b *browser) press(keys ...string) {
	b.t.Helper()
	var actions []map[string]string
	for _, k := range keys {
		rest, control := strings.CutPrefix(k, keyControl)
		if control {
			actions = append(actions, map[string]string{"type": "keyDown", "value": keyControl})
		}
		for _, r := range rest {
			actions = append(actions, map[string]string{"type": "keyDown", "value": string(r)}, map[string]string{"type": "keyUp", "value": string(r)})
		}
		if control {
			actions = append(actions, map[string]string{"type": "keyUp", "value": keyControl})
		}
	}
	b.call("POST", "/actions", map[string]any{"actions": []any{map[string]any{"type": "key", "id": "keyboard", "actions": actions}}}, nil)
}

// cdp does a command of Chromium's own protocol.
func (b *browser) cdp(command string, params map[string]any) {
	b.t.Helper()
	b.call("POST", "/goog/cdp/execute", map[string]any{"cmd": command, "params": params}, nil)
}

// screen sets the size of the window and the colours that its user likes.
func (b *browser) screen(width, height int, scheme string) {
	b.t.Helper()
	b.cdp("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false})
	b.cdp("Emulation.setScrollbarsHidden", map[string]any{"hidden": true})
	b.cdp("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}, map[string]any{"name": "prefers-reduced-motion", "value": "reduce"}}})
}

// shoot writes a picture of the whole page to the directory in SCREENSHOTS.
func (b *browser) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.call("POST", "/goog/cdp/execute", map[string]any{"cmd": "Page.captureScreenshot", "params": map[string]any{"captureBeyondViewport": true}}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// logged returns what the browser logged since it was asked last: of the page's
// console ("browser"), or of its network ("performance").
func (b *browser) logged(kind string) (lines []string) {
	b.t.Helper()
	var entries []struct{ Level, Message string }
	b.call("POST", "/se/log", map[string]any{"type": kind}, &entries)
	for _, e := range entries {
		lines = append(lines, e.Level+" "+e.Message)
	}
	return lines
}

// requests returns the addresses that the page asked since this was called last.
func (b *browser) requests() (urls []string) {
	b.t.Helper()
	for _, line := range b.logged("performance") {
		_, text, _ := strings.Cut(line, " ")
		var event struct {
			Message struct {
				Method string
				Params struct{ Request struct{ URL string } }
			}
		}
		if err := json.Unmarshal([]byte(text), &event); err != nil {
			b.t.Fatalf("the browser's log: %v", err)
		}
		if event.Message.Method == "Network.requestWillBeSent" {
			urls = append(urls, event.Message.Params.Request.URL)
		}
	}
	return urls
}
