package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/web"
)

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// The page, its API and metrics tell of the running process, and the events of
// earlier processes.
func TestRunServesHTTP(t *testing.T) {
	data := t.TempDir()
	for round := range 2 {
		addr := freeAddress(t)
		p := start(t, data, "run", "--rate", "500", "--listen-http", addr)
		p.status("in sync", func(st *control.Status) bool { return st.Standby != nil && st.Standby.State == standby.InSync })
		url := "http://" + addr + "/"
		if !strings.Contains(p.out.String(), "Open in a browser: "+url) {
			t.Errorf("the page is not named in:\n%s", p.out.String())
		}
		if code, body := fetch(t, url); code != 200 || !strings.Contains(body, "<title>mfsstandby") {
			t.Errorf("page: %d %.200s", code, body)
		}
		waitReady(t, url)
		var now web.Now
		if _, body := fetch(t, url+"api/v1/status"); json.Unmarshal([]byte(body), &now) != nil || now.PID != p.cmd.Process.Pid || now.Metadata == nil || now.Primary == 0 {
			t.Errorf("status: %s", body)
		}
		if code, body := fetch(t, url+"api/v1/list"); code != 200 || !strings.Contains(body, `"type":"directory"`) {
			t.Errorf("list: %d %s", code, body)
		}
		if code, body := fetch(t, url+"metrics"); code != 200 || !strings.Contains(body, "mfsstandby_entries_applied_total ") {
			t.Errorf("metrics: %d %.500s", code, body)
		}
		_, body := fetch(t, url+"api/v1/events")
		if n := strings.Count(body, `"code":"started"`); n != round+1 {
			t.Errorf("round %d: %d starts among the events: %s", round, n, body)
		}
		p.signal(os.Interrupt)
		if code := p.end(time.Minute); code != exitDone {
			t.Errorf("exit status %d:\n%s", code, p.out.String())
		}
	}
}

func waitReady(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		code, body := fetch(t, url+"readyz")
		if code == 200 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never ready: %s", body)
		}
	}
}

// A port that was asked for must be free; the default one may be another
// process's.
func TestHTTPPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := start(t, t.TempDir(), "run", "--listen-http", taken.Addr().String())
	if code := p.end(time.Minute); code != exitFailed || !strings.Contains(p.out.String(), "address already in use") {
		t.Errorf("exit status %d:\n%s", code, p.out.String())
	}
	if l, err := net.Listen("tcp", defaultListenHTTP); err == nil { // else it is taken already
		defer l.Close()
	}
	data := t.TempDir()
	p = start(t, data, "run", "--rate", "100")
	p.status("in sync", func(st *control.Status) bool { return st.Standby != nil && st.Standby.State == standby.InSync })
	if out := p.out.String(); !strings.Contains(out, "there is no status page: another process has its port") || strings.Contains(out, "Open in a browser") {
		t.Errorf("it printed:\n%s", out)
	}
	p = start(t, t.TempDir(), "run", "--rate", "100", "--listen-http=")
	p.status("in sync", func(st *control.Status) bool { return st.Standby != nil && st.Standby.State == standby.InSync })
	if out := p.out.String(); strings.Contains(out, "status page") {
		t.Errorf("without a page it printed:\n%s", out)
	}
}

func TestHTTPForOthersIsRefusedWithoutProtection(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"run --listen-http 0.0.0.0:9427", "run --listen-http *:9427 --http-token-file " + token, "tap --primary x --nats nats://x --listen-http :9427",
		"standby --nats nats://x --listen-http 192.0.2.1:80 --http-cert c --http-key k", "run --http-cert c",
	} {
		var out strings.Builder
		full := append(strings.Fields(args), "--data", t.TempDir())
		if code := Run(t.Context(), full, &out, &out); code != exitUsage || !strings.Contains(out.String(), "--listen-http") {
			t.Errorf("%s: exit status %d, printed %s", args, code, out.String())
		}
	}
	var out strings.Builder
	args := fmt.Sprintf("run --listen-http 127.0.0.1:0 --http-token-file %s.none --data %s", token, t.TempDir())
	if code := Run(t.Context(), strings.Fields(args), &out, &out); code != exitFailed || !strings.Contains(out.String(), "token file") {
		t.Errorf("without the token file: exit status %d, printed %s", code, out.String())
	}
}
