package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
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
	addr := freeAddress(t)
	said := filepath.Join(t.TempDir(), "hooks")
	say := func(status int) string {
		return fmt.Sprintf("echo $MFSSTANDBY_HOOK $MFSSTANDBY_EVENT $MFSSTANDBY_ROLE $MFSSTANDBY_REASON >>%s; echo oh; exit %d", said, status)
	}
	metaloggers := freeAddress(t)
	args := []string{"run", "--rate", "200", "--listen-http", addr, "--listen-clients", freeAddress(t),
		"--listen-metaloggers", metaloggers, "--on-promote", say(3), "--on-demote", say(0)}
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
	if code != http.StatusOK || a.Result.Role.Role != role.Leader || strings.Join(steps(a.Steps), " ") != "check tap fence drain flip hook" {
		t.Fatalf("promotion: %d %+v\n%s", code, a, p.out.String())
	}
	// What a hook returns is told; the role stands.
	if s := a.Steps[5]; s.Error != "on-promote: exit status 3; the role stands; it wrote: oh" {
		t.Errorf("the hook: %+v", s)
	}
	st := p.status("leading", inRole(role.Leader))
	if h := st.Hook; h == nil || h.Name != "on-promote" || h.Status != 3 || h.Output != "oh" {
		t.Errorf("status of the hook: %+v", h)
	}
	if st.Standby.State != standby.Leading || st.Cluster.Reason != "drill" || st.Cluster.Epoch == 0 {
		t.Errorf("status of a leader: %+v %+v", st.Cluster, st.Standby.State)
	}
	st = p.status("a metadata file for metaloggers", func(st *control.Status) bool { return st.Upstream != nil && st.Upstream.Saved.Version != 0 })
	if base, err := tap.ReadBase(filepath.Join(data, "mfs", "metadata.mfs.back")); err != nil || base.Version != st.Upstream.Saved.Version {
		t.Errorf("the metadata file is %+v, %v; status %+v", base, err, st.Upstream.Saved)
	}
	p.status("metaloggers being served", func(st *control.Status) bool { return st.Upstream != nil && st.Upstream.Address == metaloggers })
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
			return inRole(role.Leader)(st) && st.Standby != nil && st.Standby.State == standby.Leading && st.Cluster.Epoch > epoch && st.Hook != nil
		})
		epoch = st.Cluster.Epoch
	}
	for range 10 {
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
	want := "on-promote promote leader drill\n" +
		strings.Repeat("on-promote resume leader the leader was started again\n", 2) +
		strings.Repeat("on-demote demote follower\non-promote promote leader\n", 10)
	if got, err := os.ReadFile(said); err != nil || string(got) != want {
		t.Errorf("the hooks were told\n%s, %v, want\n%s", got, err, want)
	}
}

// Who has no image, or one that cannot be brought to the end of the stream, does
// not lead, whatever is said.
func TestPromotionIsRefused(t *testing.T) {
	dir := t.TempDir()
	empty := start(t, filepath.Join(dir, "empty"), "standby", "--listen-nats", freeAddress(t), "--listen-clients", freeAddress(t), "--listen-http", "")
	empty.status("it waits", func(st *control.Status) bool { return st.Standby != nil && st.Standby.State == standby.Waiting })
	wantFail(t, exitFailed, "there is no image yet", "promote", "--force", "--data", empty.data)

	master := filepath.Join(dir, "master")
	if err := os.Mkdir(master, 0o755); err != nil {
		t.Fatal(err)
	}
	before, log := fixture(t, master, fixtures+"before.mfs"), fixture(t, master, changelogGz)
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")[:1000]
	const bad = firstVersion + 1000
	lines = append(lines, fmt.Sprintf("%d: 1700000000|UNLINK(1,nothing):99999\n", bad))
	err = os.WriteFile(filepath.Join(master, "changelog.0.mfs"), []byte(strings.Join(lines, "")), 0o644)
	if err == nil {
		err = os.Rename(before, filepath.Join(master, "metadata.mfs.back"))
	}
	if err != nil {
		t.Fatal(err)
	}
	stopped := start(t, filepath.Join(dir, "stopped"), "run", "--changelog-dir", master, "--listen-clients", freeAddress(t), "--listen-http", "", "--cache", "64M")
	stopped.status("it is stopped", inRole(role.Stopped))
	wantFail(t, exitFailed, fmt.Sprintf("replication is stopped at version %d", bad), "promote", "--force", "--data", stopped.data)
	stopped.status("it is stopped", inRole(role.Stopped))
}

// A standby that has heard no primary since it was started has a good image all
// the same, and may lead.
func TestPromotionOfAStandbyThatHeardNobody(t *testing.T) {
	data := t.TempDir()
	p := start(t, data, "run", "--listen-http", "", "--listen-clients", "")
	p.status("it has an image", func(st *control.Status) bool { return st.Standby != nil && st.Standby.Image > 10000 })
	p.signal(syscall.SIGTERM)
	p.end(30 * time.Second)
	p = start(t, data, "run", "--primary", freeAddress(t), "--listen-http", "", "--listen-clients", freeAddress(t))
	p.status("in sync", inRole(role.InSync))
	if out := mustRun(t, "promote", "--data", data); !strings.Contains(out, "was not heard since this process started") {
		t.Errorf("it printed %s", out)
	}
	p.status("leading", inRole(role.Leader))
}

// An export that began before a promotion is of the version at which it began.
func TestPromotionDuringAnExport(t *testing.T) {
	data := t.TempDir()
	p := start(t, data, "run", "--rate", "500", "--listen-http", "", "--listen-clients", freeAddress(t))
	p.status("in sync", inRole(role.InSync))
	file := filepath.Join(t.TempDir(), "metadata.mfs")
	_, err := control.NewClient(data).Export(t.Context(), func(v meta.Version, r io.Reader) error {
		out, err := os.Create(file)
		if err != nil {
			return err
		}
		defer out.Close()
		if _, err := io.CopyN(out, r, 100); err != nil {
			return err
		}
		mustRun(t, "promote", "--data", data)
		if st := p.status("leading", inRole(role.Leader)); st.Cluster.Begun < v {
			t.Errorf("it leads from version %d on, the export is of %d", st.Cluster.Begun, v)
		}
		_, err = io.Copy(out, r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if out := mustRun(t, "dump", file); !strings.Contains(out, "NODE") {
		t.Errorf("the export is %s", out)
	}
	p.status("leading", inRole(role.Leader))
}
