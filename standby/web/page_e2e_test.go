//go:build e2e

package web

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
)

// many is how many names the large directory of these tests has.
const many = 5000

// live is a status whose numbers move.
type live struct {
	version atomic.Uint64
	state   atomic.Value // standby.State
}

func (l *live) tell() control.Status {
	st := told()
	v := meta.Version(l.version.Add(1000))
	st.Tap.Received, st.Tap.Published, st.Tap.Entries = v+20, v+10, uint64(v)
	st.Standby.Image, st.Standby.Stream, st.Standby.Committed, st.Standby.Entries = v, v+10, v-500, uint64(v)
	st.Started, st.Tap.Heard = time.Now().Add(-time.Hour), time.Now()
	st.Standby.Members[0].Updated = time.Now()
	if state, ok := l.state.Load().(standby.State); ok {
		if st.Standby.State = state; state == standby.Stopped {
			st.Standby.Error = "entry 4711: UNLINK: inode is 7, primary had 8"
		}
	}
	return st
}

// served is a server with a world and moving numbers, and what it shows.
func served(t *testing.T, change func(*Config)) (*Server, *live, string) {
	t.Helper()
	w := newWorld(t)
	w.furnish()
	w.fill(w.make(meta.Root, "many", meta.TypeDir), many)
	l := &live{}
	s := newServer(t, w.img, func(c *Config) {
		c.Status = l.tell
		if change != nil {
			change(c)
		}
	})
	s.cfg.Events.Add("tap", 0, events.Connected, "primary: connected 192.0.2.1:9419, release 3.0.117")
	s.cfg.Events.Add("standby", 4, events.Behind, "behind the stream, which is at version 81; catching up")
	s.cfg.Events.Add("standby", 8, events.Gap, "<b>entries</b> cannot be continued")
	// A past for the charts.
	for i := range 590 {
		at := time.Now().Add(time.Duration(i-600) * time.Second)
		for _, r := range s.hub.rings {
			r.add(at, Sample{LagEntries: uint64(i % 90), Applied: 2000 + 800*float64(i%60)/60, Received: 2100 + float64(i%77)*9, P50: 1 + float64(i%5)/5, P99: 6 + float64(i%11)})
		}
	}
	return s, l, run(t, s)
}

// clean fails the test if the page complained, or asked anyone but base.
func (b *browser) clean(base string) {
	b.t.Helper()
	for _, line := range b.logged("browser") {
		if strings.HasPrefix(line, "SEVERE") || strings.HasPrefix(line, "WARNING") {
			b.t.Errorf("the page's console: %s", line)
		}
	}
	asked := 0
	for _, url := range b.requests() {
		if strings.HasPrefix(url, base) {
			asked++
		} else {
			b.t.Errorf("the page asked %s", url)
		}
	}
	if asked == 0 {
		b.t.Error("no request was seen: the test does not see what it should")
	}
}

// looks checks what people see: contrast of all texts, names of all controls,
// and that nothing is wider than the window.
const looks = `(() => {
  const problems = [];
  const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const light = ([r, g, b]) => { const f = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
  let texts = 0;
  for (const e of document.querySelectorAll('body *')) {
    if (!e.checkVisibility() || e.closest('.hidden, .skip, svg, button:disabled')) continue;
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    texts++;
    const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) problems.push('contrast ' + contrast.toFixed(2) + ' of "' + e.textContent.trim().slice(0, 40) + '"');
  }
  if (texts < 20) problems.push('only ' + texts + ' texts are seen');
  for (const e of document.querySelectorAll('button, input, select, a')) {
    if (!e.checkVisibility()) continue;
    const name = e.getAttribute('aria-label') || e.textContent.trim() || [...(e.labels ?? [])].map((l) => l.textContent.trim()).join('');
    if (!name) problems.push('no name: ' + e.outerHTML.slice(0, 80));
  }
  for (const e of document.querySelectorAll('img')) if (!e.hasAttribute('alt')) problems.push('no alt: ' + e.outerHTML);
  if (document.documentElement.scrollWidth > innerWidth) problems.push('the page is ' + document.documentElement.scrollWidth + ' wide in a window of ' + innerWidth);
  return problems.join('\n');
})()`

func TestOverviewInBrowser(t *testing.T) {
	_, l, url := served(t, nil)
	b := startBrowser(t)
	seen := map[string]string{}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{1320, 400} {
			b.screen(width, 1000, scheme)
			b.open(url)
			b.see("#hero-state", "In sync")
			b.see("#recent", "<b>entries</b> cannot be continued") // as text
			b.is("document.querySelectorAll('.plot path.line').length >= 5", "true")
			name := fmt.Sprintf("%s-%d", scheme, width)
			if problems := b.eval(looks); problems != "" {
				t.Errorf("overview %s:\n%s", name, problems)
			}
			b.shoot("overview-" + name)
			seen[scheme] = b.eval("getComputedStyle(document.body).backgroundColor")
			b.open(url + "#/events")
			b.see("#all-events", "behind the stream")
			if problems := b.eval(looks); problems != "" && !strings.HasPrefix(problems, "only") {
				t.Errorf("events %s:\n%s", name, problems)
			}
			b.shoot("events-" + name)
		}
	}
	if seen["light"] == seen["dark"] {
		t.Errorf("dark and light are both %s", seen["dark"])
	}
	b.open(url)
	version := b.see("#flow", "Image")
	b.until("versions move", func() string { return b.text("#flow") }, func(now string) bool { return now != version })
	b.see("#alerts", "1")

	// By keyboard: a moment of a chart, another range, the colours.
	b.eval("document.querySelector('.plot').focus()")
	b.press(keyLeft, keyLeft)
	b.see("#announce", "entries not applied")
	b.eval("document.querySelector('#ranges input').focus()")
	b.press(keyRight)
	b.is("document.querySelector('#ranges input:checked').value", "6h")
	b.eval("document.querySelector('#theme').value = 'light', document.querySelector('#theme').dispatchEvent(new Event('change'))")
	b.is("getComputedStyle(document.body).backgroundColor", seen["light"])

	// What goes wrong is told.
	l.state.Store(standby.Stopped)
	b.see("#hero-why", "inode is 7, primary had 8")
	b.see("#announce", "State: Stopped")
	b.shoot("stopped")
	b.clean(url)
	b.eval("window.fetch = () => Promise.reject(new TypeError('gone'))")
	b.see("#trouble", "No answer from the process")
}

// chosen is the name in the row that the keyboard is on.
const chosen = `(document.activeElement.closest('tr') ?? document.createElement('tr')).cells[0]?.innerText.trim() ?? ''`

func TestBrowsingByKeyboard(t *testing.T) {
	_, _, url := served(t, nil)
	b := startBrowser(t)
	b.screen(1320, 1000, "light")
	b.open(url + "#/browse/1")
	b.see("#position", "1–3 of 3")
	// From the start of the page to the names, with Tab only.
	for i := 0; b.eval("document.activeElement.closest('#names tbody') !== null") != "true"; i++ {
		if i > 30 {
			t.Fatal("Tab does not reach the names")
		}
		b.press(keyTab)
	}
	b.is(chosen, "▸docs")
	b.press(keyDown)
	b.is(chosen, "▸many")
	b.press(keyDown, keyEnter)
	b.see("#crumbs", "odd")
	b.is(chosen, `\u{20}g\u{20}`)
	for _, want := range []string{`<img src=x onerror=alert(1)>`, `a\u{a}b`, `b\xffad\xfe`, `c\u{202e}gpj.exe`, "d ä日本", "e&amp;\"'`", `f\u{1b}[31m`, "%2e%2e", `\x41`, `dir\xff`} {
		b.see("#names tbody", want)
	}
	if n := b.eval("document.querySelectorAll('#names img').length"); n != "0" {
		t.Errorf("a name became %s images", n)
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{1320, 400} {
			b.screen(width, 1000, scheme)
			b.see("#details", "Storage class")
			if problems := b.eval(looks); problems != "" {
				t.Errorf("namespace, %s, %d:\n%s", scheme, width, problems)
			}
			b.shoot(fmt.Sprintf("browse-%s-%d", scheme, width))
		}
	}
	b.screen(1320, 1000, "light")
	// Into a directory whose name is not UTF-8, and back to it.
	b.until("typing chooses", func() string { b.press(keyHome, "di"); return b.eval(chosen) }, func(got string) bool { return got == `▸dir\xff` })
	b.press(keyRight)
	b.is(chosen, "in it")
	b.see("#crumbs", `dir\xff`)
	b.press(keyBackspace)
	b.is(chosen, `▸dir\xff`)
	b.press(keyLeft)
	b.is(chosen, "▸odd")
	b.press(keyUp, keyRight)

	// A large directory, page by page.
	b.see("#position", "1–200 of 5,000")
	b.press(keyEnd, keyDown)
	b.is(chosen, "file-0000200")
	b.see("#position", "201–400 of 5,000")
	b.press(keyUp)
	b.is(chosen, "file-0000199")
	b.press(keyControl + keyEnd)
	b.is(chosen, fmt.Sprintf("file-%07d", many-1))
	b.see("#position", "4,801–5,000 of 5,000")
	b.press(keyControl + keyHome)
	b.is(chosen, "file-0000000")
	b.press("file-0003")
	b.is("document.querySelector('#names').hasAttribute('aria-busy')", "false")
	b.until("typing finds", func() string { return b.eval(chosen) }, func(got string) bool { return strings.HasPrefix(got, "file-000") })

	// By path, as the page shows it.
	goTo := func(where string) {
		b.eval("document.querySelector('#goto-text').focus(), document.querySelector('#goto-text').value = ''")
		b.press(where, keyEnter)
	}
	goTo("/docs/deep/report.txt")
	b.is(chosen, "report.txt")
	for _, want := range []string{"118 MiB (123,456,789 bytes)", "user.note (5 bytes)", "user:1001:rwx", `/odd/hard\xfelink`, "-rw-r-----"} {
		b.see("#details", want)
	}
	b.shoot("details")
	goTo(`/odd/b\xffad\xfe`)
	b.is(chosen, `b\xffad\xfe`)
	goTo("/none")
	b.see("#browse-error", `there is no "none"`)
	goTo("19")
	b.see("#details", "trash")
	b.logged("browser") // of the 404, which was meant
	b.clean(url)
}

func TestTokenInBrowser(t *testing.T) {
	dir := t.TempDir()
	cert, key := certify(t, dir, "standby.example", 1)
	file := write(t, filepath.Join(dir, "token"), token, 0o600)
	_, _, url := served(t, func(c *Config) { c.Cert, c.Key, c.TokenFile = cert, key, file })
	b := startBrowser(t)
	b.screen(1320, 1000, "dark")
	b.open(url)
	b.is("document.querySelector('#login').open", "true")
	b.shoot("login")
	b.press("not the token", keyEnter)
	b.see("#login-error", "not the token")
	b.press(token, keyEnter)
	b.see("#hero-state", "In sync")
	b.is("document.querySelector('#login').open", "false")
	b.eval("location.reload()")
	b.see("#hero-state", "In sync") // it is kept for the tab
	if n, err := strconv.Atoi(b.eval("document.cookie.length + localStorage.length")); err != nil || n != 0 {
		t.Errorf("the page keeps %d things for good", n)
	}
}

// A tap has no image to show or to browse.
func TestTapInBrowser(t *testing.T) {
	_, _, url := served(t, func(c *Config) {
		tell := c.Status
		c.Image, c.Latency, c.Status = nil, nil, func() control.Status { st := tell(); st.Role, st.Standby = "tap", nil; return st }
	})
	b := startBrowser(t)
	b.screen(1320, 1000, "dark")
	b.open(url)
	b.see("#hero-state", "Publishing")
	b.see("#charts", "entries not published")
	b.is("document.querySelectorAll('.chart').length", "2")
	b.is("document.querySelector('[data-view=browse]').checkVisibility()", "false")
	if problems := b.eval(looks); problems != "" {
		t.Error(problems)
	}
	b.shoot("tap")
	b.clean(url)
}
