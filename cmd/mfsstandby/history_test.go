package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The history of the fixture, in a data directory and in an archive: whatever it is
// read from, the same comes out.
func TestHistoryCommands(t *testing.T) {
	dir := t.TempDir()
	data, arch := filepath.Join(dir, "data"), filepath.Join(dir, "archive")
	before, log := fixture(t, dir, fixtures+"before.mfs"), fixture(t, dir, changelogGz)
	mustRun(t, "run", "--base", before, log, "--data", data, "--archive", arch, "--archive-every", "10ms", "--listen-clients", "", "--listen-http", "", "--sync", "interval")

	if out := mustRun(t, "archive", "check", arch); !strings.Contains(out, fmt.Sprintf("versions %d to %d", firstVersion, lastVersion)) || !strings.Contains(out, " 0 problems") {
		t.Fatalf("archive check printed %q", out)
	}
	want := filepath.Join(dir, "want.mfs")
	mustRun(t, "restore", "-m", before, "-o", want, "--until", "20000", log)
	for i, from := range [][]string{{"--data", data}, {"--archive", arch}} {
		out := filepath.Join(dir, fmt.Sprintf("out%d.mfs", i))
		var sum restoreSummary
		if err := json.Unmarshal([]byte(mustRun(t, append([]string{"restore", "--json", "--at", "20000", "-o", out}, from...)...)), &sum); err != nil {
			t.Fatal(err)
		}
		if sum.Version != 20000 || sum.From != firstVersion || sum.Time == nil {
			t.Errorf("from %v: summary %+v", from, sum)
		}
		wantFile, gotFile := readAll(t, want), readAll(t, out)
		if !bytes.Equal(wantFile, gotFile) {
			t.Errorf("from %v: another file of version 20000 than from the changelog files", from)
		}
		at := fmt.Sprintf("@%d", sum.Time.Unix())
		if got := mustRun(t, append([]string{"restore", "--at", at, "-o", out}, from...)...); !strings.Contains(got, "version ") {
			t.Errorf("restore at a time printed %q", got)
		}
	}
	into := filepath.Join(dir, "into")
	mustRun(t, "restore", "--at", "20000", "--into", into, "--archive", arch)
	if got := mustRun(t, "verify", want, "--data", into); !strings.Contains(got, "the same at version 20000") {
		t.Errorf("the image of the new data directory: %s", got)
	}
	wantFail(t, exitFailed, "holds an image already", "restore", "--at", "20001", "--into", into, "--archive", arch)
	wantFail(t, exitFailed, "not there yet", "restore", "--at", "99999999", "-o", want, "--archive", arch)
	wantFail(t, exitUsage, "neither a version nor a time", "restore", "--at", "soon", "-o", want, "--archive", arch)
	wantFail(t, exitUsage, "-o OUT or --into DIR", "restore", "--at", "20000", "--archive", arch)

	fromHistory := mustRun(t, "diff", "20000", "20500", "--json", "--times", "--archive", arch)
	later := filepath.Join(dir, "later.mfs")
	mustRun(t, "restore", "--at", "20500", "-o", later, "--archive", arch)
	if got := mustRun(t, "diff", want, later, "--json", "--times"); got != fromHistory || got == "" {
		t.Errorf("differences of the files:\n%sof the versions:\n%s", got, fromHistory)
	}
	line, _, _ := strings.Cut(fromHistory, "\n")
	var shown struct{ Change, Path, Type string }
	if err := json.Unmarshal([]byte(line), &shown); err != nil || shown.Path == "" {
		t.Fatalf("%q: %v", line, err)
	}
	if out := mustRun(t, "diff", "20000", "20000", "--archive", arch); out != "0 differences between version 20000 and version 20000\n" {
		t.Errorf("a version differs from itself: %s", out)
	}
	out := mustRun(t, "log", "/", "--archive", arch, "--since", "20000", "--until", "20500")
	if !strings.Contains(out, "directory /, inode 1") && out != "" {
		t.Errorf("log of the root printed %q", out)
	}
}

// An old master's directory: lost entries are listed and saved.
func TestCompareCommand(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	before, log := fixture(t, dir, fixtures+"before.mfs"), fixture(t, dir, changelogGz)
	lines := strings.SplitAfter(string(readAll(t, log)), "\n")
	short := filepath.Join(dir, "short.mfs")
	write := func(path string, content ...string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Join(content, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(short, lines[:2000]...)
	mustRun(t, "run", "--base", before, short, "--data", data, "--listen-clients", "", "--listen-http", "", "--sync", "interval")

	old := filepath.Join(dir, "old")
	write(filepath.Join(old, "metadata.mfs.back"), string(readAll(t, before)))
	write(filepath.Join(old, "changelog.0.mfs"), strings.Join(lines[1000:1500], ""))
	write(filepath.Join(old, "changelog.1.mfs"), strings.Join(lines[:1000], ""))
	if out := mustRun(t, "compare", old, "--data", data); !strings.HasPrefix(out, "nothing lost: 1500 entries are the same") {
		t.Errorf("compare printed %q", out)
	}
	next := firstVersion + 1500
	own := fmt.Sprintf("%d: 1700000000|CREATE(1,only here,1,420,18,1000,1001,0):999999\n%d: 17000", next, next+1)
	write(filepath.Join(old, "changelog.0.mfs"), strings.Join(lines[1000:1500], ""), own)
	save := filepath.Join(dir, "lost.mfs")
	status, out, errs := cli(t, "compare", old, "--data", data, "--save", save)
	if status != exitFailed || !strings.Contains(out, "/only here, uid 1000, gid 1001") || !strings.Contains(out, fmt.Sprintf("another history: 1 entries from version %d", next)) {
		t.Errorf("exit status %d: %s%s", status, out, errs)
	}
	if got := string(readAll(t, save)); !strings.HasPrefix(own, got) || got == "" {
		t.Errorf("saved %q", got)
	}
}

func readAll(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
