package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mfsstandby/replicator/events"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/image"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file under testdata.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			t.Fatalf("%s:%d (rewrite with -update):\n got %s\nwant %s", path, i+1, g[i], w[min(i, len(w)-1)])
		}
	}
	t.Fatalf("%s has %d lines, the answers %d", path, len(w), len(g))
}

func TestAPIGolden(t *testing.T) {
	w := newWorld(t)
	w.furnish()
	s := newServer(t, w.img, nil)
	s.hub.last = s.hub.ask(started.Add(time.Minute))
	var out bytes.Buffer
	for _, target := range []string{
		"", "history", "history?range=6h&after=5", "history?range=1y",
		"list", "list?path=/odd", "list?inode=5&limit=3", "list?path=/odd&from=c&limit=2", "list?path=/docs/disk", "list?limit=0", "list?limit=9999",
		"list?after=*", "list?after=YQ&from=b", "list?path=/odd/dir%FF", "list?inode=0", "list?inode=x", "list?inode=3&path=/docs",
		"stat", "stat?path=/docs/deep/report.txt", "stat?path=docs//deep/", "stat?path=/docs/link", "stat?path=/docs/disk", "stat?path=/odd/b%FFad", "stat?path=/odd/b%FFad%FE",
		"stat?path=/docs/none", "stat?path=/docs/disk/below", "stat?path=/docs/no%FF", "stat?inode=19", "stat?inode=4000000000", "stat?inode=4294967296",
		"path?inode=4", "path?inode=1", "path?inode=19", "path", "tree", "tree?path=/docs", "tree?inode=4", "nothing",
	} {
		got := ask(s, "GET", api+target, nil)
		var text bytes.Buffer
		if err := json.Indent(&text, got.Body.Bytes(), "", "  "); err != nil {
			t.Fatalf("%s: %v in %q", target, err, got.Body)
		}
		fmt.Fprintf(&out, "== GET %s%s: %d\n%s", api, target, got.Code, text.Bytes())
	}
	text := strings.ReplaceAll(out.String(), "\u202e", `\u202e`) // what turns a line around does not belong in a file
	golden(t, "testdata/api.golden", []byte(text))
}

// The status is what the process tells, but for events, and what the page adds.
func TestStatusRoute(t *testing.T) {
	w := newWorld(t)
	w.furnish()
	s := newServer(t, w.img, nil)
	got := ask(s, "GET", api+"status", nil)
	var now Now
	if err := json.Unmarshal(got.Body.Bytes(), &now); err != nil {
		t.Fatal(err)
	}
	if !now.Ready || now.Primary != 1200 || now.Metadata == nil || now.Metadata.Inodes != 20 || now.Metadata.Trash != 1 {
		t.Errorf("it says %s", got.Body)
	}
	want := told()
	want.Tap.Events, want.Standby.Events = nil, nil
	if !reflect.DeepEqual(now.Status, want) {
		t.Errorf("it says %+v of what is %+v", now.Status, want)
	}
}

func TestEventsRoute(t *testing.T) {
	s := newServer(t, nil, nil)
	for i := range 5 {
		s.cfg.Events.Add("tap", []slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError}[i%3], events.Gap, fmt.Sprint("e", i))
	}
	for _, tc := range []struct{ query, want string }{
		{"", "e0 e1 e2 e3 e4"}, {"?after=3", "e3 e4"}, {"?level=warn", "e1 e2 e4"}, {"?level=ERROR", "e2"},
		{"?limit=2", "e3 e4"}, {"?after=99", ""}, {"?level=loud", "400"}, {"?limit=x", "400"}, {"?after=-1", "400"},
	} {
		got := ask(s, "GET", api+"events"+tc.query, nil)
		var answer struct {
			Events []events.Event
		}
		if err := json.Unmarshal(got.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, e := range answer.Events {
			texts = append(texts, e.Text)
		}
		text := strings.Join(texts, " ")
		if got.Code != http.StatusOK {
			text = fmt.Sprint(got.Code)
		}
		if text != tc.want {
			t.Errorf("events%s: got %q, want %q", tc.query, text, tc.want)
		}
	}
}

// walk reads a whole directory page by page.
func walk(t *testing.T, s *Server, inode, limit int, forward bool) (names []string) {
	t.Helper()
	query := fmt.Sprintf("inode=%d&limit=%d", inode, limit)
	if !forward {
		query += "&offset=1000000"
	}
	for {
		got := ask(s, "GET", api+"list?"+query, nil)
		var page List
		if err := json.Unmarshal(got.Body.Bytes(), &page); err != nil || got.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", query, got.Code, got.Body)
		}
		var here []string
		for _, e := range page.Entries {
			here = append(here, e.Name.Text)
			if e.Type != "file" || e.Links != 1 {
				t.Fatalf("%s: entry %+v", query, e)
			}
		}
		cursor := "&after=" + page.Next
		if forward {
			names = append(names, here...)
		} else {
			names = slices.Concat(here, names)
			cursor = "&before=" + page.Previous
		}
		if strings.HasSuffix(cursor, "=") {
			if !forward && len(page.Entries) == 0 { // beyond the end: there is no cursor
				return append(walkBack(t, s, inode, limit, page.Total), names...)
			}
			return names
		}
		query = fmt.Sprintf("inode=%d&limit=%d%s", inode, limit, cursor)
	}
}

// walkBack begins with the last name.
func walkBack(t *testing.T, s *Server, inode, limit, total int) (names []string) {
	t.Helper()
	query := fmt.Sprintf("inode=%d&limit=%d&offset=%d", inode, limit, max(0, total-limit))
	for {
		got := ask(s, "GET", api+"list?"+query, nil)
		var page List
		if err := json.Unmarshal(got.Body.Bytes(), &page); err != nil {
			t.Fatal(err)
		}
		var here []string
		for _, e := range page.Entries {
			here = append(here, e.Name.Text)
		}
		names = slices.Concat(here, names)
		if page.Previous == "" {
			return names
		}
		query = fmt.Sprintf("inode=%d&limit=%d&before=%s", inode, limit, page.Previous)
	}
}

// Small directories are listed at once, large ones from a view; the pages of
// both hold each name once, in order.
func TestPagesHoldEachNameOnce(t *testing.T) {
	w := newWorld(t)
	for _, n := range []int{0, 1, 7, 1000, largeDir + 1} {
		dir := w.make(1, fmt.Sprint("d", n), 2)
		w.fill(dir, n)
		s := newServer(t, w.img, nil)
		for _, limit := range []int{7, 500} {
			if n > 1000 && limit == 7 {
				continue
			}
			for _, forward := range []bool{true, false} {
				names := walk(t, s, int(dir), limit, forward)
				if len(names) != n || !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != n {
					t.Errorf("%d names by %d, forward %v: got %d, sorted %v", n, limit, forward, len(names), slices.IsSorted(names))
				}
			}
		}
	}
}

// Who turns pages of a large directory stays in one listing, although names
// come and go; a first page is soon new.
func TestPagesOfALargeDirectoryFitTogether(t *testing.T) {
	w := newWorld(t)
	dir := w.make(1, "large", 2)
	w.fill(dir, largeDir+10)
	s := newServer(t, w.img, nil)
	total := func(query string) (n int) {
		t.Helper()
		var page List
		if err := json.Unmarshal(ask(s, "GET", api+"list?"+query, nil).Body.Bytes(), &page); err != nil {
			t.Fatal(err)
		}
		return page.Total
	}
	first := fmt.Sprintf("inode=%d&limit=1", dir)
	if n := total(first); n != largeDir+10 {
		t.Fatalf("%d names", n)
	}
	w.fill(w.make(dir, "new", 2), 1)
	if n := total(first + "&offset=5"); n != largeDir+10 {
		t.Errorf("another page has %d names in all", n)
	}
	s.lists.last.made = s.lists.last.made.Add(-freshFor)
	if n := total(first); n != largeDir+11 {
		t.Errorf("a first page later has %d names in all", n)
	}
	s.lists.last.made = s.lists.last.made.Add(-keptFor)
	if n := total(first + "&offset=5"); n != largeDir+11 {
		t.Errorf("another page much later has %d names in all", n)
	}
	s.lists.drop(s.lists.last)
	if s.lists.last != nil {
		t.Error("a listing is kept for ever")
	}
}

func TestWithoutImage(t *testing.T) {
	tap := newServer(t, nil, nil)
	empty := newServer(t, nil, func(c *Config) { c.Image = func() (*image.Image, error) { return nil, standby.ErrNoImage } })
	broken := newServer(t, nil, func(c *Config) { c.Image = func() (*image.Image, error) { return nil, errors.New("the disk is gone") } })
	w := newWorld(t)
	if err := w.img.Close(); err != nil {
		t.Fatal(err)
	}
	closed := newServer(t, w.img, nil)
	for _, route := range []string{"stat", "list", "tree", "path?inode=1"} {
		for _, tc := range []struct {
			s    *Server
			code int
			want string
		}{{tap, 404, "it is a tap only"}, {empty, 503, "no_image"}, {closed, 503, "no_image"}, {broken, 500, "the disk is gone"}} {
			got := ask(tc.s, "GET", api+route, nil)
			if got.Code != tc.code || !strings.Contains(got.Body.String(), tc.want) {
				t.Errorf("%s: %d %s, want %d with %q", route, got.Code, got.Body, tc.code, tc.want)
			}
		}
	}
}

func TestHealth(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*control.Status)
		code   int
		want   string
	}{
		{"in sync", func(*control.Status) {}, 200, "ready"},
		{"in sync, primary gone", func(st *control.Status) { st.Tap.Error = "no answer" }, 200, "ready"},
		{"catching up", func(st *control.Status) { st.Standby.State = standby.CatchingUp }, 503, "not ready: catching up: 10 entries behind"},
		{"stopped", func(st *control.Status) { st.Standby.State, st.Standby.Error = standby.Stopped, "entry 7: no" }, 503, "not ready: stopped: entry 7: no"},
		{"loading", func(st *control.Status) { st.Standby.State = standby.Loading }, 503, "not ready: loading"},
		{"tap", func(st *control.Status) { st.Standby = nil }, 200, "ready"},
		{"tap in trouble", func(st *control.Status) { st.Standby = nil; st.Tap.Error = "no answer" }, 503, "not ready: no answer"},
		{"tap that begins", func(st *control.Status) { st.Standby = nil; st.Tap.Published = 0 }, 503, "not ready: nothing is published yet"},
		{"neither", func(st *control.Status) { st.Standby, st.Tap = nil, nil }, 503, "not ready: it neither"},
	} {
		s := newServer(t, nil, func(c *Config) {
			c.Status = func() control.Status { st := told(); tc.change(&st); return st }
		})
		got := ask(s, "GET", "/readyz", nil)
		if got.Code != tc.code || !strings.HasPrefix(got.Body.String(), tc.want) {
			t.Errorf("%s: %d %q, want %d %q", tc.name, got.Code, got.Body, tc.code, tc.want)
		}
	}
	s := newServer(t, nil, nil)
	if got := ask(s, "GET", "/healthz", nil); got.Code != 200 {
		t.Errorf("healthz: %d %s", got.Code, got.Body)
	}
	s.hub.last.Time = time.Now().Add(-2 * hung)
	if got := ask(s, "GET", "/healthz", nil); got.Code != 503 || !strings.Contains(got.Body.String(), "has not answered") {
		t.Errorf("healthz of a process that hangs: %d %s", got.Code, got.Body)
	}
}

func TestEscape(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"plain", "plain"}, {"\xff", `\xff`}, {"a\xc3", `a\xc3`}, {"\u00e4\xffb", `ä\xffb`}, {`\xff`, `\xff`}, {"\ufffd", "\ufffd"},
	} {
		if got, _ := escape([]byte(tc.in)); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.in, got, tc.want)
		}
	}
}

// FuzzName: what JSON says of a name leads back to its bytes.
func FuzzName(f *testing.F) {
	for _, name := range oddNames {
		f.Add([]byte(name))
	}
	f.Fuzz(func(t *testing.T, name []byte) {
		text, err := json.Marshal(nameOf(name))
		if err != nil {
			t.Fatal(err)
		}
		var back struct {
			Name   string `json:"name"`
			Base64 []byte `json:"name_base64"`
		}
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if back.Base64 == nil {
			back.Base64 = []byte(back.Name)
		}
		if !bytes.Equal(back.Base64, name) {
			t.Fatalf("%q became %s", name, text)
		}
	})
}

// FuzzQuery: no parameters make the API fail.
func FuzzQuery(f *testing.F) {
	w := newWorld(f)
	w.furnish()
	s := newServer(f, w.img, nil)
	for _, q := range []string{"path=/docs", "inode=5&limit=2&after=YQ", "path=%FF&from=x", "offset=99999999999", "before=YQ&limit=1000", "range=6h&after=1", "level=error"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		for _, route := range s.table() {
			_, path, _ := strings.Cut(route.Pattern, " ")
			got := ask(s, "GET", path, func(r *http.Request) { r.URL = &url.URL{Path: path, RawQuery: query} })
			if got.Code >= 500 || !json.Valid(got.Body.Bytes()) {
				t.Fatalf("%s?%s: %d %s", path, query, got.Code, got.Body)
			}
		}
	})
}
