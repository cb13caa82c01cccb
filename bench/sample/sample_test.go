package sample

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
	"mfsstandby/replicator/tap"
	"mfsstandby/standby/metafile"
)

func mustNew(t *testing.T, cfg Config) *Primary {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// spend lets the primary work for some seconds of its clock.
func spend(t *testing.T, p *Primary, seconds, perSecond int) {
	t.Helper()
	for range seconds {
		p.clock(max(p.now, 1_800_000_000) + 1)
		for n := 0; n < perSecond; {
			n += p.act()
		}
		if err := p.flush(); err != nil {
			t.Fatal(err)
		}
	}
}

// kill ends a primary as a crash does.
func kill(t *testing.T, p *Primary) {
	t.Helper()
	if p.log != nil {
		p.log.Close()
	}
	if err := p.lock.Close(); err != nil {
		t.Fatal(err)
	}
}

// dump prints the state, what is in the trash and sustained by inode: loading
// a metadata file turns the order in each of their buckets round, as a
// master's start does.
func dump(t *testing.T, p *Primary) string {
	t.Helper()
	var out bytes.Buffer
	if err := metafile.DumpState(&out, p.st, metafile.Header{Version: p.Version()}, metafile.DumpOptions{}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	isDetached := func(line string) bool { return strings.HasPrefix(line, "EDGE|p:      NULL|") }
	if first := slices.IndexFunc(lines, isDetached); first >= 0 {
		last := first
		for last < len(lines) && isDetached(lines[last]) {
			last++
		}
		slices.Sort(lines[first:last])
	}
	return strings.Join(lines, "\n")
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return x[i] + "\n" + y[i]
		}
	}
	return "one is longer"
}

func TestGoesOnWhereItWas(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Files: 500}
	p := mustNew(t, cfg)
	for round := range 4 {
		spend(t, p, 700, 20)
		if round == 1 {
			if err := p.rotate(3, p.Version()); err != nil {
				t.Fatal(err)
			}
			spend(t, p, 50, 20)
		}
		if problems := metatest.Check(p.st); len(problems) > 0 {
			t.Fatalf("inconsistent: %v", problems)
		}
		want, version, now := dump(t, p), p.Version(), p.now
		if round%2 == 0 {
			kill(t, p)
		} else if err := p.close(); err != nil {
			t.Fatal(err)
		}
		p = mustNew(t, cfg)
		p.now = now
		if got := dump(t, p); p.Version() != version || got != want {
			t.Fatalf("after a restart at version %d, want %d; first difference:\n%s", p.Version(), version, firstDifference(got, want))
		}
	}
	kill(t, p)
}

func TestEveryKindOfEntryComes(t *testing.T) {
	dir := t.TempDir()
	p := mustNew(t, Config{Dir: dir, Files: 200})
	spend(t, p, 12000, 4) // a file of the trash expires when its bucket comes round, up to 7700 s later
	kill(t, p)
	text, err := os.ReadFile(filepath.Join(dir, changelogName(0)))
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{
		"SESADD", "CREATE", "WRITE", "LENGTH", "UNLOCK", "ACQUIRE", "RELEASE", "UNLINK", "MOVE", "LINK", "SYMLINK", "ATTR", "AMTIME",
		"ACCESS", "SETXATTR", "SETTRASHTIME", "POSIXLOCK", "CHUNKDEL", "EMPTYTRASH", "EMPTYSUSTAINED", "FREEINODES",
	} {
		if !bytes.Contains(text, []byte("|"+op+"(")) {
			t.Errorf("no entry of kind %s among %d", op, bytes.Count(text, []byte("\n")))
		}
	}
	if n := len(p.files); n > 220 {
		t.Errorf("%d names, want about 200 at most", n)
	}
}

func TestCutsHalfALineOff(t *testing.T) {
	dir := t.TempDir()
	p := mustNew(t, Config{Dir: dir})
	spend(t, p, 3, 20)
	kill(t, p)
	path := filepath.Join(dir, changelogName(0))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text[:len(text)-5], 0o644); err != nil {
		t.Fatal(err)
	}
	q := mustNew(t, Config{Dir: dir})
	if q.Version() != p.Version()-1 {
		t.Fatalf("resumed at version %d, want %d", q.Version(), p.Version()-1)
	}
	spend(t, q, 3, 20)
	kill(t, q)
	kill(t, mustNew(t, Config{Dir: dir}))
}

// The changelog files and metadata files must be what the tap follows.
func TestIsFollowedThroughRotation(t *testing.T) {
	dir := t.TempDir()
	p := mustNew(t, Config{Dir: dir, Rate: 2000, Files: 300, Rotate: time.Second, Keep: 2})
	base, err := tap.NewestBase(dir)
	if err != nil {
		t.Fatal(err)
	}
	if base.MetaID != p.MetaID() {
		t.Fatalf("metadata file has cluster id %x, want %x", base.MetaID, p.MetaID())
	}
	src, err := tap.NewDir(tap.DirConfig{Path: dir}, tap.Position{Next: base.Version})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	next := base.Version
	var kinds []string
	for next < base.Version+8000 { // four rotations
		b, err := src.Next(t.Context())
		if err != nil {
			t.Fatalf("at version %d: %v", next, err)
		}
		if b.Entries[0].Version != next {
			t.Fatalf("got version %d, want %d", b.Entries[0].Version, next)
		}
		next += meta.Version(len(b.Entries))
		kinds = append(kinds, string(b.Entries[0].Text))
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "changelog.*.mfs"))
	if err != nil || len(names) > 3 {
		t.Errorf("changelog files %v, %v; want at most 3", names, err)
	}
	if base, err = tap.NewestBase(dir); err != nil || base.Version != p.Version() || filepath.Base(base.Path) != stoppedName {
		t.Errorf("base after the end is %+v, %v; want version %d in %s", base, err, p.Version(), stoppedName)
	}
	if slices.Contains(kinds, "") {
		t.Error("an entry without text")
	}
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	p := mustNew(t, Config{Dir: dir})
	if _, err := New(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "working in") {
		t.Errorf("a second primary in the same directory: %v", err)
	}
	spend(t, p, 3, 20)
	kill(t, p)
	if err := os.Remove(filepath.Join(dir, savedName)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "no metadata file") {
		t.Errorf("changelog without metadata file: %v", err)
	}
	for _, cfg := range []Config{{}, {Dir: dir, Rate: -1}, {Dir: dir, Files: 3}, {Dir: dir, Rotate: 1}} {
		if err := cfg.Validate(); err == nil || errors.Is(err, os.ErrNotExist) {
			t.Errorf("%+v is valid", cfg)
		}
	}
}
