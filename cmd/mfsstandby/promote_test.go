package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mfsstandby/replicator/tap"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/promote"
	"mfsstandby/standby/role"
)

// post asks the API and returns the answer with the status of HTTP.
func post(t *testing.T, url string, body string) (int, roleAnswer) {
	t.Helper()
	resp, err := http.Post(url, "application/json", bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer roleAnswer
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func inRole(want role.Role) func(*control.Status) bool {
	return func(st *control.Status) bool { return st.Cluster != nil && st.Cluster.Role == want }
}

func steps(list []promote.Step) (names []string) {
	for _, s := range list {
		names = append(names, s.Name)
	}
	return names
}

// A standby is promoted and demoted again and again, over the API and by the
// command; what cannot be done is refused and changes nothing.
func TestPromoteAndDemote(t *testing.T) {
	data := t.TempDir()
	addr := freePort(t)
	args := []string{"run", "--rate", "200", "--listen-http", addr, "--listen-clients", freePort(t), "--listen-metaloggers", freePort(t)}
	p := start(t, data, args...)
	api := "http://" + addr + "/api/v1/"
	p.status("in sync", inRole(role.InSync))

	if code, a := post(t, api+"demote", `{}`); code != http.StatusConflict || !strings.Contains(a.Error, promote.ErrFollows.Error()) {
		t.Errorf("demoting a follower: %d %+v", code, a)
	}
	if code, a := post(t, api+"promote", `{"dry_run":true}`); code != http.StatusOK || strings.Join(steps(a.Steps), " ") != "check" {
		t.Errorf("dry run: %d %+v", code, a)
	}
	if st := p.status("in sync", inRole(role.InSync)); st.Tap.Error != "" {
		t.Errorf("after a dry run the tap says %q", st.Tap.Error)
	}
	code, a := post(t, api+"promote", `{"reason":"drill"}`)
	if code != http.StatusOK || a.Result.Role.Role != role.Leader || strings.Join(steps(a.Steps), " ") != "check tap fence drain flip" {
		t.Fatalf("promotion: %d %+v\n%s", code, a, p.out.String())
	}
	st := p.status("leading", inRole(role.Leader))
	if st.Standby.State != standby.Leading || st.Cluster.Reason != "drill" || st.Cluster.Epoch == 0 {
		t.Errorf("status of a leader: %+v %+v", st.Cluster, st.Standby.State)
	}
	st = p.status("a metadata file for metaloggers", func(st *control.Status) bool { return st.Upstream != nil && st.Upstream.Saved.Version != 0 })
	if base, err := tap.ReadBase(filepath.Join(data, "mfs", "metadata.mfs.back")); err != nil || base.Version != st.Upstream.Saved.Version {
		t.Errorf("the metadata file is %+v, %v; status %+v", base, err, st.Upstream.Saved)
	}
	p.status("metaloggers being served", func(st *control.Status) bool { return st.Upstream != nil && st.Upstream.Address == args[len(args)-1] })
	if code, a := post(t, api+"promote", `{}`); code != http.StatusConflict || !strings.Contains(a.Error, promote.ErrLeads.Error()) {
		t.Errorf("second promotion: %d %+v", code, a)
	}

	// It leads on after a crash and after a clean end, in an epoch of its own.
	epoch := st.Cluster.Epoch
	for _, end := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		p.signal(end)
		p.end(30 * time.Second)
		p = start(t, data, args...)
		st = p.status("leading again", func(st *control.Status) bool {
			return inRole(role.Leader)(st) && st.Standby != nil && st.Standby.State == standby.Leading && st.Cluster.Epoch > epoch
		})
		epoch = st.Cluster.Epoch
	}
	for range 3 {
		var out, errs bytes.Buffer
		if code := Run(t.Context(), []string{"demote", "--data", data}, &out, &errs); code != exitDone {
			t.Fatalf("demote: %d\n%s%s", code, out.String(), errs.String())
		}
		if st := p.status("following", inRole(role.InSync)); st.Upstream != nil {
			t.Errorf("metaloggers are served after the demotion: %+v", st.Upstream)
		}
		if code := Run(t.Context(), []string{"promote", "--data", data, "--force"}, &out, &errs); code != exitDone {
			t.Fatalf("promote: %d\n%s%s\n%s", code, out.String(), errs.String(), p.out.String())
		}
		p.status("leading", inRole(role.Leader))
	}
}
