//go:build e2e

package web

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// program runs mfsstandby over its sample primary, with a status page for those
// who have the token, and returns the page's URL.
func program(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "mfsstandby")
	if out, err := exec.Command("go", "build", "-o", binary, "mfsstandby/cmd/mfsstandby").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var free []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // both at the end, so that they differ
		free = append(free, l.Addr().String())
	}
	cmd := exec.Command(binary, append([]string{"run", "--data", filepath.Join(dir, "data"), "--listen-http", free[0], "--listen-clients", free[1],
		"--listen-metaloggers", "", "--http-token-file", write(t, filepath.Join(dir, "token"), token, 0o600)}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("mfsstandby: %v\n%s", err, out.String())
		}
	})
	return "http://" + free[0] + "/"
}

// call asks the API, with the token or without, and returns the status and what
// the answer says of the role.
func call(t *testing.T, method, url, with, body string) (code int, role string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if with != "" {
		req.Header.Set("Authorization", "Bearer "+with)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Cluster struct{ Role, Reason string } `json:"cluster_role"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(answer.Cluster.Role + " " + answer.Cluster.Reason)
}

// The button on the page promotes and demotes a real process: for who has the
// token, and when its word was typed, not before.
func TestPromoteInBrowser(t *testing.T) {
	url := program(t)
	b := startBrowser(t)
	b.screen(1320, 1000, "light")
	b.until("the page", func() string {
		if b.try("POST", "/url", map[string]any{"url": url}, nil) != nil { // it does not listen yet
			return ""
		}
		return b.eval("document.querySelector('#login')?.open")
	}, func(open string) bool { return open == "true" })
	for _, with := range []string{"", "not the token"} {
		if code, _ := call(t, "POST", url+"api/v1/promote", with, "{}"); code != http.StatusUnauthorized {
			t.Errorf("a promotion with token %q: status %d", with, code)
		}
	}
	b.press(token, keyEnter)
	b.see("#hero-state", "In sync")
	is := func(want string) { // the status is up to a second old
		t.Helper()
		b.until("the role", func() string {
			code, role := call(t, "GET", url+"api/v1/status", token, "")
			if code != http.StatusOK {
				t.Fatalf("status %d", code)
			}
			return role
		}, func(role string) bool { return role == want })
	}

	b.see("#role-open", "Promote…")
	b.click("#role-open")
	b.is("document.activeElement.id", "role-word")
	b.is("document.querySelector('#role-do').disabled", "true")
	b.press("promot", keyEnter)
	b.is("document.querySelector('#role-do').disabled", "true")
	b.is("document.querySelector('#role-steps').children.length", "0")
	is("in sync")
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{1320, 400} {
			b.screen(width, 1000, scheme)
			if problems := b.eval(looks); problems != "" {
				t.Errorf("the dialog, %s, %d:\n%s", scheme, width, problems)
			}
			b.shoot("promote-" + scheme)
		}
	}
	b.press("e")
	b.is("document.querySelector('#role-do').disabled", "false")
	b.click("#role-reason")
	b.press("a drill")
	b.click("#role-do")
	b.see("#role-steps", "It is leader")
	b.see("#role-steps", "fence,")
	is("leader a drill")
	b.shoot("promoted")
	b.see("#hero-state", "Leading")

	// Now the word is another one.
	b.click("#role-cancel")
	b.see("#role-open", "Demote…")
	b.click("#role-open")
	b.press("promote", keyEnter)
	b.is("document.querySelector('#role-do').disabled", "true")
	is("leader a drill")
	b.eval("document.querySelector('#role-word').value = ''")
	b.press("demote", keyEnter)
	b.see("#role-steps", "It is")
	b.click("#role-cancel")
	b.see("#role-open", "Promote…")
	b.see("#hero-state", "In sync")
	is("in sync")
	b.logged("browser") // of the 401 before the token, which was meant
	b.clean(url)
}
