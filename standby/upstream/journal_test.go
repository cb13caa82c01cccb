package upstream

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
)

func newJournal(t *testing.T, dir string, keep int, begin meta.Version) *journal {
	t.Helper()
	j, err := openJournal(dir, metaid, keep)
	if !errors.Is(err, errNoFiles) {
		t.Fatal(err)
	}
	if err := j.begin(metaid, at(begin)); err != nil {
		t.Fatal(err)
	}
	return j
}

// add appends the entries [from, to).
func add(t *testing.T, j *journal, from, to meta.Version) {
	t.Helper()
	if err := tryAdd(j, from, to); err != nil {
		t.Fatal(err)
	}
}

func tryAdd(j *journal, from, to meta.Version) error {
	var entries []meta.RawEntry
	for v := from; v < to; v++ {
		entries = append(entries, entry(v))
	}
	return j.append(entries, at(to))
}

func TestRotation(t *testing.T) {
	for _, tc := range []struct {
		keep int
		want []string // changelog.0.mfs first
	}{
		{0, []string{lines(13, 14), "", ""}},
		{1, []string{lines(13, 14), lines(11, 13), ""}},
		{2, []string{lines(13, 14), lines(11, 13), lines(10, 11)}},
		{5, []string{lines(13, 14), lines(11, 13), lines(10, 11), lines(8, 10)}},
	} {
		dir := t.TempDir()
		j := newJournal(t, dir, tc.keep, 8)
		for _, step := range [][2]meta.Version{{8, 10}, {10, 11}, {11, 13}, {13, 14}} {
			add(t, j, step[0], step[1])
			if step[1] == 14 {
				break
			}
			if v, err := j.rotate(); err != nil || v != step[1] {
				t.Fatalf("rotation at %d: %d, %v", step[1], v, err)
			}
		}
		for n, want := range tc.want {
			if got := contentOf(t, dir, changelogName(n)); got != want {
				t.Errorf("keep %d: %s has %q, want %q", tc.keep, changelogName(n), got, want)
			}
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What a process that was killed left behind its last mark is compared with the
// stream: what is right stays, the rest is replaced.
func TestAfterKill(t *testing.T) {
	for _, tc := range []struct{ name, tail string }{
		{"nothing", ""},
		{"a torn line", lines(12, 13)[:20]},
		{"a line without its end", strings.TrimSuffix(lines(12, 13), "\n")},
		{"whole lines", lines(12, 15)},
		{"whole lines and a torn one", lines(12, 15) + lines(15, 16)[:9]},
		{"more than the stream has", lines(12, 20)},
		{"other entries", "12: 1700000012|IDLE()\n13: 1700000013|IDLE()\n14: 1700000014|IDLE()\n"},
		{"zeros, as after a loss of power", string(make([]byte, 300))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			j := newJournal(t, dir, 3, 10)
			add(t, j, 10, 12)
			if err := j.checkpoint(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, changelogName(0))
			if err := os.WriteFile(path, []byte(lines(10, 12)+tc.tail), 0o644); err != nil {
				t.Fatal(err)
			}
			j, err := openJournal(dir, metaid, 3)
			if err != nil || j.position() != at(12) {
				t.Fatalf("opened at %+v, %v", j.position(), err)
			}
			for v := meta.Version(12); v < 18; v += 3 { // as the stream gives them
				add(t, j, v, v+3)
			}
			if err := errors.Join(j.settle(), j.close()); err != nil {
				t.Fatal(err)
			}
			if got := contentOf(t, dir, changelogName(0)); got != lines(10, 18) {
				t.Errorf("the file has %q, want %q", got, lines(10, 18))
			}
		})
	}
}

// Files that are not as they were left are not continued.
func TestUnfitFiles(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(dir string) error
		want   error
	}{
		{"shorter", func(dir string) error { return os.Truncate(filepath.Join(dir, changelogName(0)), 5) }, errUnfit},
		{"another line at the end", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, changelogName(0)), []byte(strings.Replace(lines(10, 12), "11: ", "99: ", 1)), 0o644)
		}, errUnfit},
		{"a mark that is none", func(dir string) error { return os.WriteFile(filepath.Join(dir, markName), []byte("{"), 0o644) }, errUnfit},
		{"no mark", func(dir string) error { return os.Remove(filepath.Join(dir, markName)) }, ErrForeignFiles},
	} {
		dir := t.TempDir()
		j := newJournal(t, dir, 3, 10)
		add(t, j, 10, 12)
		if err := errors.Join(j.close(), tc.change(dir)); err != nil {
			t.Fatal(err)
		}
		j, err := openJournal(dir, metaid, 3)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		if tc.want != errUnfit {
			continue
		}
		if err := j.begin(metaid, at(50)); err != nil {
			t.Fatal(err)
		}
		add(t, j, 50, 52)
		if got := allLines(t, dir); got != lines(50, 52) {
			t.Errorf("%s: files that begin anew have %q", tc.name, got)
		}
		if contentOf(t, filepath.Join(dir, asideName), changelogName(0)) == "" {
			t.Errorf("%s: what was there is gone", tc.name)
		}
	}
	dir := t.TempDir()
	j := newJournal(t, dir, 3, 10)
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openJournal(dir, metaid+1, 3); !errors.Is(err, errUnfit) {
		t.Errorf("files of another cluster: %v", err)
	}
}

var errCrash = errors.New("crash")

// The process dies at each step in turn. What comes after has each entry once.
func TestCrashAtEveryStep(t *testing.T) {
	steps := 0
	for n := 1; ; n++ {
		dir := t.TempDir()
		j := newJournal(t, dir, 10, 10)
		put(t, j, 10, 10)
		left := n
		j.crash = func(string) error {
			if left--; left <= 0 {
				return errCrash // and at everything after it
			}
			return nil
		}
		script := func(j *journal) error {
			for v := j.position().Version; v < 30; v = j.position().Version {
				if err := tryAdd(j, v, min(v+2, 30)); err != nil {
					return err
				}
				if v%4 == 0 {
					if err := j.checkpoint(); err != nil {
						return err
					}
				}
				if v%6 == 0 {
					if _, err := j.rotate(); err != nil {
						return err
					}
					if err := os.WriteFile(j.path(metadataTemp), metadataFile(v, 10), 0o644); err != nil {
						return err
					}
					if err := j.install(2); err != nil {
						return err
					}
				}
			}
			return j.close()
		}
		err := script(j)
		if err == nil {
			break
		}
		if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		steps++
		j, err = openJournal(dir, metaid, 10)
		if err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
		if !j.complete() {
			t.Errorf("step %d: there is no metadata file that the changelog files continue", n)
		}
		if err := errors.Join(script(j), j.settle()); err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
		if got := allLines(t, dir); got != lines(10, 30) {
			t.Errorf("step %d: the files have\n%s", n, got)
		}
	}
	if steps < 20 {
		t.Errorf("only %d steps", steps)
	}
}

// A rotation is due when a full hour of the clock has passed, not when the clock
// was set back.
func TestHours(t *testing.T) {
	begin := time.Unix(1700000000/3600*3600, 0)
	h := hours{begin.Add(59 * time.Minute)}
	for _, tc := range []struct {
		after time.Duration
		want  bool
	}{
		{59*time.Minute + 59*time.Second, false}, {time.Hour, true}, {time.Hour + time.Second, false},
		{50 * time.Minute, false}, {55 * time.Minute, false}, {5 * time.Hour, true}, {5*time.Hour + time.Minute, false},
	} {
		if got := h.passed(begin.Add(tc.after)); got != tc.want {
			t.Errorf("at %v: %v, want %v", tc.after, got, tc.want)
		}
	}
}

// What a metalogger gets as changelog.1.mfs reaches back to the metadata file.
func TestDownloadReachesBack(t *testing.T) {
	dir := t.TempDir()
	j := newJournal(t, dir, 5, 10)
	put(t, j, 12, 10)
	for v := meta.Version(10); v < 18; v += 2 {
		add(t, j, v, v+2)
		if _, err := j.rotate(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := j.rotate(); err != nil { // an hour without entries
		t.Fatal(err)
	}
	add(t, j, 18, 20)
	d, err := j.open()
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	add(t, j, 20, 21) // not yet there when it was opened
	for name, tc := range map[string]struct {
		c    *content
		want string
	}{
		"newest": {d.newest, lines(18, 20)}, "older": {d.older, lines(12, 18)}, "metadata": {d.metadata, string(metadataFile(12, 10))},
	} {
		b := make([]byte, tc.c.size())
		if err := tc.c.readAt(b, 0); err != nil || string(b) != tc.want {
			t.Errorf("%s: %q, %v, want %q", name, b, err, tc.want)
		}
		if half := b[:len(b)/2]; len(b) > 8 {
			if err := tc.c.readAt(half, 7); err != nil || string(half) != tc.want[7:7+len(half)] {
				t.Errorf("%s from byte 7: %q, %v", name, half, err)
			}
		}
		if err := tc.c.readAt(b, 1); err == nil {
			t.Errorf("%s: bytes behind its end", name)
		}
	}
	if !j.complete() {
		t.Error("the files are said not to fit together")
	}
	put(t, j, 9, 10)
	if j.complete() {
		t.Error("files that begin behind the metadata file are said to fit")
	}
}
