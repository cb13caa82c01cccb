//go:build e2e

package crash

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby"
)

// source is a directory as a master leaves it, to be spoiled.
type source struct {
	h        *history
	dir, log string
}

func newSource(t *testing.T, h *history, to meta.Version) *source {
	t.Helper()
	dir := t.TempDir()
	s := &source{h, dir, filepath.Join(dir, "changelog.0.mfs")}
	must(t, os.WriteFile(s.base(), h.base, 0o644))
	must(t, os.WriteFile(s.log, h.between(h.first, to), 0o644))
	return s
}

func (s *source) base() string { return filepath.Join(s.dir, "metadata.mfs.back") }

func (s *source) follow() []string { return []string{"--changelog-dir", s.dir} }

// refuses runs mfsstandby until it has said something, by itself ended or not.
func refuses(t *testing.T, dir, says string, args ...string) {
	t.Helper()
	c := start(t, dir, "run", args...)
	awaitText(t, c, says)
	select {
	case <-c.done:
		if code := c.cmd.ProcessState.ExitCode(); code != 1 {
			t.Errorf("exit status %d, want 1\n%s", code, c.out)
		}
	default:
		c.kill()
	}
}

// awaitText waits until the child has said something, in its log or status.
func awaitText(t *testing.T, c *child, says string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		ended := false
		select {
		case <-c.done:
			ended = true
		default:
		}
		if st, err := c.status(); err == nil && st.Standby != nil && st.Standby.State == standby.Stopped && strings.Contains(st.Standby.Error, says) {
			return
		}
		if strings.Contains(c.out.String(), says) {
			<-time.After(50 * time.Millisecond) // for its end, if it is to end
			return
		}
		if ended {
			break
		}
	}
	t.Fatalf("it does not say %q:\n%s", says, c.out)
}

// comesTo runs mfsstandby until the image is at a version, and compares it.
func comesTo(t *testing.T, dir string, h *history, v meta.Version, args ...string) {
	t.Helper()
	c := start(t, dir, "run", args...)
	(&seen{back: true}).applied(t, c, v)
	if got := exact(t, newModel(t, h), export(t, dir)); got != v {
		t.Fatalf("image is at version %d, want %d", got, v)
	}
	c.kill()
}

// within checks that the image is what the model is, at one of these versions.
func within(t *testing.T, dir string, h *history, from, to meta.Version) {
	t.Helper()
	if v := exact(t, newModel(t, h), export(t, dir)); v < from || v > to {
		t.Errorf("image is at version %d, want %d to %d", v, from, to)
	}
}

// Damaged changelog files are told by file and line, the image keeps what came
// before, and with the files repaired it goes on. An entry that is well-formed
// and wrong gets into the stream: that is made anew then.
func TestDamagedChangelog(t *testing.T) {
	const at = 500 // the line of the second half that is damaged
	h := newHistory(t, 5, 3_000, 4_000)
	half := h.first + 2_000
	created := bytes.Index(h.between(half+at, h.end()), []byte("|CREATE("))
	wrong := at + bytes.Count(h.between(half+at, h.end())[:created], []byte("\n"))
	for _, tc := range []struct {
		name, says string
		reached    int  // entries of the second half that are applied; -1: up to at
		stream     bool // the damage is in the stream
		bad        func(lines [][]byte) [][]byte
	}{
		{"a letter is another", "unknown operation", at, true, func(l [][]byte) [][]byte {
			l[at] = bytes.Replace(l[at], []byte("|"), []byte("|Q"), 1)
			return l
		}},
		{"a result is another", "primary had", wrong, true, func(l [][]byte) [][]byte {
			l[wrong] = append(bytes.TrimSuffix(l[wrong], []byte("\n")), "7\n"...)
			return l
		}},
		{"half a line is missing", "changelog.0.mfs:2501: entry is not TIME|OPERATION(ARGUMENTS)[:RESULTS]", -1, false, func(l [][]byte) [][]byte {
			l[at] = l[at][:len(l[at])/2]
			return l
		}},
		{"zeros instead of a line", "changelog.0.mfs:2501: column 1: number expected", -1, false, func(l [][]byte) [][]byte {
			clear(l[at])
			return l
		}},
		{"the end is cut off", "", at, false, func(l [][]byte) [][]byte {
			l[at] = l[at][:len(l[at])/2]
			return l[:at+1]
		}},
		{"a line is missing", "entries are missing", at, false, func(l [][]byte) [][]byte { return slices.Delete(l, at, at+1) }},
		{"two lines are the wrong way round", "entries are missing", at, false, func(l [][]byte) [][]byte {
			l[at], l[at+1] = l[at+1], l[at]
			return l
		}},
		{"a line is there twice", "version goes back", -1, false, func(l [][]byte) [][]byte { return slices.Insert(l, at, l[at-1]) }},
		{"all lines are there twice", "version goes back", -1, false, func(l [][]byte) [][]byte { return slices.Concat(l, l) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, src := filepath.Join(t.TempDir(), "data"), newSource(t, h, half)
			c := start(t, dir, "run", src.follow()...)
			var saw seen
			saw.applied(t, c, half)
			f, err := os.OpenFile(src.log, os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			lines := bytes.SplitAfter(bytes.TrimSuffix(h.between(half, h.end()), nil), []byte("\n"))
			for i := range lines {
				lines[i] = bytes.Clone(lines[i])
			}
			_, err = f.Write(slices.Concat(tc.bad(lines)...))
			must(t, err)
			must(t, f.Close())
			awaitText(t, c, tc.says)
			from, to := max(h.first, saw.committed), h.end() // what was applied need not be committed
			if tc.reached >= 0 {
				from, to = half+meta.Version(tc.reached), half+meta.Version(tc.reached)
				new(seen).reached(t, c, from)
			}
			if c.kill(); tc.reached < 0 {
				within(t, dir, h, from, to)
			}
			must(t, os.WriteFile(src.log, h.between(h.first, h.end()), 0o644))
			if tc.stream {
				refuses(t, dir, tc.says, src.follow()...)
				within(t, dir, h, from, to)
				must(t, os.RemoveAll(filepath.Join(dir, "nats")))
				must(t, os.RemoveAll(filepath.Join(dir, "tap")))
			}
			comesTo(t, dir, h, h.end(), src.follow()...)
		})
	}
}

// What does not belong together is refused, and left as it is.
func TestForeign(t *testing.T) {
	h := newHistory(t, 6, 1_000, 2_000)
	other := *h
	other.base = bytes.Clone(h.base)
	other.base[16] ^= 1 // the metaid follows format and version
	id := fmt.Sprintf("%016X", binary.BigEndian.Uint64(h.base[16:]))
	otherID := fmt.Sprintf("%016X", binary.BigEndian.Uint64(other.base[16:]))
	for _, tc := range []struct {
		name  string
		says  []string // one of them
		spoil func(t *testing.T, dir, foreign string, src *source) (args []string, restore func())
	}{
		{"another --metaid", []string{otherID}, func(t *testing.T, dir, foreign string, src *source) ([]string, func()) {
			return append(src.follow(), "--metaid", otherID), func() {}
		}},
		{"stream of another cluster", []string{"the stream continues from base image"}, exchange("nats")}, // one of its own, beside it
		{"spool of another cluster", []string{id, otherID}, exchange("tap")},
		{"image of another cluster", []string{id, otherID}, exchange("image")},
		{"metadata and changelog of another cluster", []string{otherID}, func(t *testing.T, dir, foreign string, src *source) ([]string, func()) {
			must(t, os.WriteFile(src.base(), other.base, 0o644))
			return src.follow(), func() { must(t, os.WriteFile(src.base(), h.base, 0o644)) }
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			half := h.first + 1_000
			root := t.TempDir()
			dir, foreign := filepath.Join(root, "data"), filepath.Join(root, "foreign")
			src, otherSrc := newSource(t, h, half), newSource(t, &other, half)
			comesTo(t, dir, h, half, src.follow()...)
			comesTo(t, foreign, &other, half, otherSrc.follow()...)
			args, restore := tc.spoil(t, dir, foreign, src)
			c := start(t, dir, "run", args...)
			said := ""
			for end := time.Now().Add(30 * time.Second); said == "" && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				out := c.out.String()
				if st, err := c.status(); err == nil && st.Standby != nil {
					out += st.Standby.Error
				}
				if slices.ContainsFunc(tc.says, func(s string) bool { return strings.Contains(out, s) }) {
					said = out
				}
			}
			c.kill()
			if said == "" {
				t.Fatalf("it does not say any of %q\n%s", tc.says, c.out)
			}
			restore()
			within(t, dir, h, half, half)
			must(t, os.WriteFile(src.log, h.between(h.first, h.end()), 0o644))
			comesTo(t, dir, h, h.end(), src.follow()...)
		})
	}
}

// exchange swaps a part of two data directories.
func exchange(part string) func(*testing.T, string, string, *source) ([]string, func()) {
	return func(t *testing.T, dir, foreign string, src *source) ([]string, func()) {
		swap := func() {
			mine, theirs, aside := filepath.Join(dir, part), filepath.Join(foreign, part), filepath.Join(foreign, "aside")
			must(t, os.Rename(mine, aside))
			must(t, os.Rename(theirs, mine))
			must(t, os.Rename(aside, theirs))
		}
		swap()
		return src.follow(), swap
	}
}

// A metadata file that is damaged leads to no image; with a good one it does.
func TestDamagedMetadata(t *testing.T) {
	h := newHistory(t, 7, 1_000, 1_000)
	for _, tc := range []struct {
		name, says string
		bad        []byte
	}{
		{"cut", "metadata file is cut", h.base[:len(h.base)/2]},
		{"empty", "too short", nil},
		{"nonsense", "not a metadata file", bytes.Repeat([]byte("nonsense"), 1000)},
		{"a section's name", "unknown section", bytes.Replace(h.base, []byte("NODE 1."), []byte("NODF 1."), 1)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, src := filepath.Join(t.TempDir(), "data"), newSource(t, h, h.end())
			must(t, os.WriteFile(src.base(), tc.bad, 0o644))
			refuses(t, dir, tc.says, src.follow()...)
			if file := export(t, dir); file != nil {
				t.Fatal("there is an image")
			}
			must(t, os.WriteFile(src.base(), h.base, 0o644))
			if _, err := os.Stat(filepath.Join(dir, "tap", "spool", "0000000000000001.spool")); err == nil {
				must(t, os.RemoveAll(dir)) // it is in the stream
			}
			comesTo(t, dir, h, h.end(), src.follow()...)
		})
	}
}

// A master that answers nonsense is told of, again and again, and the image
// stays.
func TestNonsenseMaster(t *testing.T) {
	h := newHistory(t, 8, 1_000, 1_000)
	dir, src := filepath.Join(t.TempDir(), "data"), newSource(t, h, h.end()-500)
	comesTo(t, dir, h, h.end()-500, src.follow()...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html>no such thing</html>")
			conn.Close()
		}
	}()
	c := start(t, dir, "run", "--primary", l.Addr().String())
	awaitText(t, c, "primary: ")
	c.running(t)
	c.kill()
	within(t, dir, h, h.end()-500, h.end()-500)
	must(t, os.WriteFile(src.log, h.between(h.first, h.end()), 0o644))
	comesTo(t, dir, h, h.end(), src.follow()...)
}
