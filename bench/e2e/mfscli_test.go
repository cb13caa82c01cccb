//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// sections are all that mfscli shows of a cluster.
var sections = []string{"IM", "IG", "MU", "IC", "IL", "MF", "CS", "MB", "HD", "EX", "MS", "SC", "OF", "AL", "MO", "QU"}

// mustDiffer are the fields in which a standby is not its primary, by the title
// of mfscli's table and the number of the field, of which the title is the
// first.
var mustDiffer = []struct {
	table string
	name  string // of the row; "" is any
	field int
	why   string
}{
	{"metadata servers", "", 4, "local time: of the moment"},
	{"metadata servers", "", 6, "metadata delay: a master has none"},
	{"metadata servers", "", 7, "memory: of each process"},
	{"metadata servers", "", 8, "processor time: of each process"},
	{"metadata servers", "", 9, "last save: the standby's image is durable each second, a master stores once an hour"},
	{"metadata servers", "", 10, "how long that took"},
	{"metadata servers", "", 11, "how it was saved"},
	{"master info", "RAM used", 2, "memory: of each process"},
	{"master info", "last successful store", 2, "as the last save above"},
	{"master info", "last save duration", 2, "as the last save above"},
	{"master info", "last save status", 2, "as the last save above"},
	{"memory usage detailed info", "", 2, "bytes of the image's cache, not of a master's structures"},
	{"memory usage detailed info", "", 3, "bytes of the image's cache, not of a master's structures"},
	{"memory usage detailed info", "", 4, "bytes of the image's cache, not of a master's structures"},
	{"memory usage detailed info", "", 5, "bytes of the image's cache, not of a master's structures"},
	{"active quotas", "", 4, "seconds left: of the moment"},
	{"inactive mounts, parameters", "", 5, "seconds left: of the moment"},
	{"exports", "", 7, "what a standby grants is read-only"},
}

// processorTime begins the lines of master info that differ even in number: a
// master does not tell for its first minute.
const processorTime = "master info:|CPU used"

// busy is work on both mounts, so that no section is empty; it is left running.
const busy = `
mkdir -p a/b c; for i in 1 2 3; do head -c 70000 /dev/urandom > a/f$i; done; ln a/f1 c/hard; head -c 70000000 /dev/zero > c/large
mfssetgoal 1 a/f1; mfssetgoal 2 a/f2 c/large; mfsscadmin create -K A,B ab; mfsscadmin create -C A -K B -A A,A -d 30 -m S archived; mfssetsclass ab a/f3
mfssetquota -i 100 -I 200 -L 1G -s 2G -R 3G a; mfssetquota -i 1 -p 3600 c || mfssetquota -i 1 c; touch c/more
mfsmakesnapshot a/f1 c/snapshot; touch trash; rm trash; ls -lR > /dev/null
`

// holdOpen keeps a file open, with locks, until it is killed.
const holdOpen = `
import fcntl, sys, time
f = open(sys.argv[1], "r+" if sys.argv[2] == "primary" else "r")
if "flock" in sys.argv[3:]:
    fcntl.flock(f, fcntl.LOCK_SH)
if "posix" in sys.argv[3:]:
    fcntl.lockf(f, fcntl.LOCK_SH, 10, 5)
print("ready", flush=True)
time.sleep(3600)
`

// Every section of mfscli shows of a standby what it shows of its primary.
func TestStandbyAnswersMfscli(t *testing.T) {
	s := startServing(t, Config{Dir: t.TempDir(), Chunkservers: 2, Mounts: 1, Meta: true})
	if _, err := s.StartMetalogger(); err != nil {
		t.Fatal(err)
	}
	s.sh(busy)
	s.sync()
	// A master that is asked for locks of both kinds writes one list over the other.
	locker := s.hold(s.primary, "a/f1", "primary", "flock")
	s.hold(s.replica, "a/f2", "replica", "flock", "posix")
	for _, section := range sections {
		s.sameSection(section)
	}
	locker.Kill()
	s.hold(s.primary, "a/f1", "primary", "posix")
	s.sync()
	s.sameSection("AL")
	s.refusesCommands()
	s.cgi()
	s.cgiShows()
	s.KillMaster()
	s.must(waitFor("the standby to know that the primary is gone", patience, func() bool {
		lines, err := s.cli(servePort, "-SIG")
		return err == nil && slices.Contains(lines, "master info:|total space|0")
	}))
	s.withoutPrimary()
	s.cgiShows()
	s.ownCharts()
}

// hold starts a process that has a file open and locked.
func (s *serving) hold(m *Mount, path string, args ...string) *Process {
	s.t.Helper()
	front := []string{"-c", holdOpen, filepath.Join(m.Path, path)}
	p, err := s.Run("holder-"+strings.Join(args, "-"), s.Command("python3", append(front, args...)...))
	s.must(err)
	s.must(waitFor("a process to hold a lock", patience, func() bool { return strings.Contains(p.LogTail(), "ready") }))
	return p
}

// cli runs mfscli against the master, or the standby.
func (s *serving) cli(port string, args ...string) ([]string, error) {
	front := []string{"-H", MasterIP, "-P", port, "-n", "-s", "|"}
	out, err := s.Command("mfscli", append(front, args...)...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err == nil && (strings.Contains(text, "Traceback") || strings.Contains(text, "---- error ----")) {
		err = fmt.Errorf("mfscli %v: %s", args, text)
	}
	lines := strings.Split(text, "\n")
	return lines, err
}

// sameSection compares a section, again and again while what it shows changes.
func (s *serving) sameSection(section string) {
	s.t.Helper()
	var found []string
	var lines int
	err := waitFor("section "+section+" to be equal", patience/4, func() bool {
		var want, got []string
		var err1, err2 error
		var both sync.WaitGroup
		both.Go(func() { want, err1 = s.cli("9421", "-S"+section) })
		got, err2 = s.cli(servePort, "-S"+section)
		both.Wait()
		if err1 != nil || err2 != nil {
			found = []string{fmt.Sprintf("%v %v", err1, err2)}
			return false
		}
		got = slices.DeleteFunc(got, s.ownSession)
		want = slices.DeleteFunc(want, func(l string) bool { return strings.HasPrefix(l, processorTime) })
		got = slices.DeleteFunc(got, func(l string) bool { return strings.HasPrefix(l, processorTime) })
		lines = len(want)
		found = sectionDiffers(want, got)
		return len(found) == 0
	})
	if err != nil {
		s.t.Errorf("section %s:\n%s", section, strings.Join(found, "\n"))
		return
	}
	s.t.Logf("section %s: %d lines are equal", section, lines)
}

// firstLocal is the lowest number of a session of a standby's own.
const firstLocal = 1 << 31

// ownSession tells the lines about sessions that only the standby has.
func (s *serving) ownSession(line string) bool {
	for _, f := range strings.Split(line, "|") {
		if n, err := strconv.ParseUint(f, 10, 32); err == nil && n >= firstLocal && (strings.HasPrefix(line, "active mounts") ||
			strings.HasPrefix(line, "open file") || strings.HasPrefix(line, "acquired locks")) {
			return true
		}
	}
	return strings.HasPrefix(line, "active mounts, operations") && strings.Contains(line, s.replica.Path)
}

func sectionDiffers(want, got []string) (found []string) {
	for i := range max(len(want), len(got)) {
		w, g := lineAt(want, i), lineAt(got, i)
		if masked(w) != masked(g) {
			found = append(found, "primary "+w, "standby "+g)
		}
	}
	return found
}

// masked takes out what must differ.
func masked(line string) string {
	f := strings.Split(strings.TrimSpace(line), "|")
	for _, d := range mustDiffer {
		if f[0] == d.table+":" && d.field < len(f) && (d.name == "" || f[1] == d.name) {
			f[d.field] = "~"
		}
	}
	return strings.Join(f, "|")
}

// ownCharts looks at the standby's own charts, which begin with its start.
func (s *serving) ownCharts() {
	s.t.Helper()
	var lines []string
	err := waitFor("a minute of charts", patience, func() bool {
		var err error
		lines, err = s.cli(servePort, "-SMC", "-a", "5", "-d", "ucpu,memoryrss,getattr,brcvd,totalspace")
		return err == nil && strings.Count(strings.Join(lines, "\n"), "|-") < 25
	})
	if err != nil {
		s.t.Errorf("charts: %v: %s", err, strings.Join(lines, "\n"))
	}
}

// refusesCommands tries to change the cluster through the standby.
func (s *serving) refusesCommands() {
	s.t.Helper()
	for _, command := range []string{"-CRC/" + chunkIP(0) + "/9422", "-CM1/" + chunkIP(0) + "/9422", "-CRS/1"} {
		before, err := s.cli("9421", "-SCS")
		s.must(err)
		out, _ := s.Command("mfscli", "-H", MasterIP, "-P", servePort, "-n", command).CombinedOutput()
		after, err := s.cli("9421", "-SCS")
		s.must(err)
		s.t.Logf("%s: %s", command, strings.TrimSpace(string(out)))
		if len(before) != len(after) || strings.Contains(strings.Join(after, ""), "|yes|") {
			s.t.Errorf("%s changed the cluster: %s", command, after)
		}
	}
}

// alone is what the standby says, besides what it says with its primary, when
// it is asked alone: parts of lines by section.
var alone = map[string][]string{
	"IG": {"master info:|total space|0", "master info:|all chunk copies|0", "master info:|chunks|5"},
	"IC": {"all chunks matrix:|chunkclass missing:|5", "all chunks matrix:|chunkclass stable:|0"},
	"IL": {"chunk loop|no data", "check loop|chunks:|5", "the primary does not answer", " ago, at version "},
	"CS": {"Disconnected chunk servers:|10.77.0.10|9422|", "Disconnected chunk servers:|10.77.0.11|9422|"},
	"MS": {"active mounts, parameters:|", "inactive mounts, parameters:|1|"},
	"SC": {"storage classes:|10|ab|", "storage classes:|11|archived|"},
	"OF": {"a/f1", "./TRASH (trash)"},
	"AL": {"|POSIX|", "|FLOCK|"},
	"QU": {"active quotas:|/a|", "active quotas:|/c|"},
}

// withoutPrimary asks the standby alone: what only a master knows is zero, and
// no section fails.
func (s *serving) withoutPrimary() {
	s.t.Helper()
	for _, section := range append(slices.Clone(sections), "IN", "RS") {
		var missing []string
		var text string
		// What the primary said last still counts for some seconds.
		err := waitFor("section "+section+" without the primary", patience, func() bool {
			lines, err := s.cli(servePort, "-S"+section)
			if err != nil {
				missing, text = []string{"answer"}, err.Error()
				return false
			}
			text = strings.Join(lines, "\n")
			missing = slices.DeleteFunc(slices.Clone(alone[section]), func(want string) bool { return strings.Contains(text, want) })
			return len(missing) == 0
		})
		if err != nil {
			s.t.Errorf("section %s without the primary has no %q:\n%s", section, missing, text)
		}
	}
}

// cgiPages are the pages of the CGI monitor, some with what can be chosen on them.
var cgiPages = []string{
	"sections=IN", "sections=IN&INmatrix=1", "sections=CS", "sections=HD", "sections=EX", "sections=MS", "sections=MO", "sections=RS",
	"sections=QU", "sections=MC", "sections=CC", "sections=IN|CS|HD|EX|MS|MO|RS|QU|MC|CC", "sections=MS&SSsessionid=1",
}

// cgi starts the CGI monitor. Its lock is the same for all network namespaces.
func (s *serving) cgi() {
	s.t.Helper()
	p, err := s.Run("mfscgiserv", s.Command("mfscgiserv", "-f", "-H", MasterIP, "-P", "9425", "-R", "/usr/share/moosefs-cgi", "start"))
	s.must(err)
	s.must(s.waitPort(p, MasterIP+":9425"))
}

// page gets a page of the CGI monitor about the standby.
func (s *serving) page(path string) (*http.Response, []byte) {
	s.t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, address string) (net.Conn, error) { return s.Dial(ctx, address) },
	}}
	answer, err := client.Get("http://" + MasterIP + ":9425/" + path)
	s.must(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	s.must(err)
	return answer, body
}

// cgiShows looks at all pages and pictures of the CGI monitor.
func (s *serving) cgiShows() {
	s.t.Helper()
	for _, query := range cgiPages {
		answer, body := s.page("mfs.cgi?masterhost=" + MasterIP + "&masterport=" + servePort + "&" + query)
		text := string(body)
		if answer.StatusCode != http.StatusOK || !strings.Contains(text, "</html>") || strings.Contains(text, "Oops!") || strings.Contains(text, "Traceback") {
			s.t.Errorf("page %s: %s: %s", query, answer.Status, text)
		}
	}
	for _, id := range []string{"0", "1000", "1011", "1022", "183", "213"} {
		answer, body := s.page("chart.cgi?host=" + MasterIP + "&port=" + servePort + "&width=500&height=220&id=" + id)
		img, err := png.Decode(bytes.NewReader(body))
		if err != nil || img.Bounds().Dx() != 500 {
			s.t.Errorf("chart %s: %s %v: %.100q", id, answer.Header.Get("Content-Type"), err, body)
		}
	}
}
