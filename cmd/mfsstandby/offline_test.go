package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sorted are the lines of a dump in an order of their own.
func sorted(text string) []string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return lines
}

func TestReplayGivesWhatTheMasterSaved(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	before, after := fixture(t, dir, fixtures+"before.mfs"), fixture(t, dir, fixtures+"after.mfs.gz")
	log := fixture(t, dir, changelogGz)

	if out := mustRun(t, "import", before, "--data", data); !strings.Contains(out, "version 924") {
		t.Errorf("import printed %q", out)
	}
	wantFail(t, exitFailed, "holds an image already", "import", after, "--data", data)
	wantFail(t, exitFailed, "after.mfs has version 32837, the image is at 924", "verify", after, "--data", data)

	mustRun(t, "replay", log, "--until", "20000", "--data", data)
	if out := mustRun(t, "replay", log, "--data", data); !strings.Contains(out, "applied 12837 entries (20000 to 32836)") {
		t.Errorf("replay printed %q", out)
	}
	if out := mustRun(t, "replay", log, "--data", data); strings.Contains(out, "applied") || !strings.Contains(out, "version 32837") {
		t.Errorf("replay of what is known printed %q", out)
	}
	if out := mustRun(t, "verify", after, "--data", data); !strings.Contains(out, "the same at version 32837") {
		t.Errorf("verify printed %q", out)
	}
	wantFail(t, exitFailed, "none.mfs: no such file", "verify", filepath.Join(t.TempDir(), "none.mfs"), "--data", filepath.Join(t.TempDir(), "none"))
	wantFail(t, exitFailed, "give the changelog files between them", "verify", before, "--data", data)
	mustRun(t, "verify", before, "--changelog", log, "--data", data)

	out := filepath.Join(dir, "out.mfs")
	mustRun(t, "export", "-o", out, "--crc", filepath.Join(dir, "out.crc"), "--data", data)
	mustRun(t, "verify", out, "--data", data)
	if b, err := os.ReadFile(filepath.Join(dir, "out.crc")); err != nil || len(b) != 15*8 {
		t.Errorf("checksum file of %d bytes, %v; want 15 items of 8", len(b), err)
	}
	if !slices.Equal(sorted(mustRun(t, "dump", "--data", data)), sorted(mustRun(t, "dump", out))) {
		t.Error("the dump of the image differs from that of its export")
	}
	if got := mustRun(t, "export", "-o", "-", "--data", data); len(got) == 0 || !strings.HasPrefix(got, "MFSM 2.0") {
		t.Errorf("export to stdout begins with %.20q", got)
	}
}

func TestVerifyFindsDifferences(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	mustRun(t, "import", fixture(t, dir, fixtures+"before.mfs"), "--data", data)
	file, err := os.ReadFile(filepath.Join(dir, "before.mfs"))
	if err != nil {
		t.Fatal(err)
	}
	node := strings.Index(string(file), "NODE 1.4")
	const uid = 16 + 8 + 10 // header of the section, of the records, and of the first record
	file[node+uid+3]++
	bad := filepath.Join(dir, "bad.mfs")
	if err := os.WriteFile(bad, file, 0o644); err != nil {
		t.Fatal(err)
	}
	status, out, errs := cli(t, "verify", bad, "--data", data)
	if status != exitFailed || !strings.Contains(out, "1 differences at version 924") || errs != "" {
		t.Errorf("exit status %d, want 1; printed:\n%s%s", status, out, errs)
	}
	status, out, _ = cli(t, "verify", bad, "--json", "--data", data)
	var res struct {
		Version, Differences int
		List                 []struct{ Table, File, Image string }
	}
	if err := json.Unmarshal([]byte(out), &res); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if status != exitFailed || res.Version != firstVersion || res.Differences != 1 || len(res.List) != 1 || res.List[0].Table != "NODE" {
		t.Errorf("exit status %d, %+v; want 1 and one difference of a node", status, res)
	}
}

func TestRestore(t *testing.T) {
	dir := t.TempDir()
	before, after := fixture(t, dir, fixtures+"before.mfs"), fixture(t, dir, fixtures+"after.mfs.gz")
	log := fixture(t, dir, changelogGz)
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	files := []string{filepath.Join(dir, "changelog.0.mfs"), filepath.Join(dir, "changelog.1.mfs")}
	// The older file in the back; the newer one overlaps and ends in half a line.
	for i, content := range []string{strings.Join(lines[9000:], "") + "32837: 17000", strings.Join(lines[:10000], "")} {
		if err := os.WriteFile(files[i], []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "restored.mfs")
	var sum restoreSummary
	printed := mustRun(t, append([]string{"restore", "--json", "-m", before, "-o", out}, files...)...)
	if err := json.Unmarshal([]byte(printed), &sum); err != nil {
		t.Fatal(err)
	}
	if sum.From != firstVersion || sum.Version != lastVersion || sum.Entries != lastVersion-firstVersion || !strings.Contains(sum.Torn, "32837: 17000") {
		t.Errorf("summary %+v", sum)
	}
	data := filepath.Join(dir, "data")
	mustRun(t, "import", after, "--data", data)
	if got := mustRun(t, "verify", out, "--data", data); !strings.Contains(got, "the same") {
		t.Errorf("restored file: %s", got)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".mfsstandby*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	mustRun(t, "restore", "-m", before, "-o", out, "--until", "1000", files[1])
	wantFail(t, exitFailed, "the changelog files end at version", "restore", "-m", before, "-o", out, "--until", "20000", files[1])
	wantFail(t, exitFailed, "has no entries 924 to", "restore", "-m", before, "-o", out, files[0])
	wantFail(t, exitFailed, "no such file", "restore", "-m", before+"x", "-o", out, files[0])
	mustRun(t, "dump", out)
}

func TestReplayStopsBeforeABadEntry(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	before, log := fixture(t, dir, fixtures+"before.mfs"), fixture(t, dir, changelogGz)
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	write := func(lines []string) {
		t.Helper()
		if err := os.WriteFile(log, []byte(strings.Join(lines, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	create := slices.IndexFunc(lines[5000:], func(l string) bool { return strings.Contains(l, "|CREATE(") }) + 5000
	good := lines[create]
	at := firstVersion + create
	for _, tc := range []struct{ name, line, why string }{
		{"unknown operation", strings.Replace(good, "CREATE", "CREATF", 1), "unknown operation"},
		{"other result", strings.TrimSuffix(good, "\n") + "9\n", "primary had"},
		{"missing", "", "has no entries"},
	} {
		bad := slices.Clone(lines)
		bad[create] = tc.line
		write(bad)
		mustRun(t, "import", before, "--force", "--data", data)
		wantFail(t, exitFailed, tc.why, "replay", log, "--data", data)
		write(lines[:create])
		if out := mustRun(t, "replay", log, "--data", data); !strings.Contains(out, "version "+strconv.Itoa(at)) || strings.Contains(out, "applied") {
			t.Errorf("%s: image is not left at version %d: %s", tc.name, at, out)
		}
	}
}

func TestDataDirectoryErrors(t *testing.T) {
	dir := t.TempDir()
	wantFail(t, exitFailed, "holds no image", "dump", "--data", dir)
	wantFail(t, exitFailed, "holds no image", "export", "-o", "x", "--data", dir)
	wantFail(t, exitFailed, "no such file", "replay", "x", "--data", filepath.Join(dir, "none"))
	wantFail(t, exitFailed, "no standby is running", "status", "--data", dir)
	bad := filepath.Join(dir, "bad.mfs")
	if err := os.WriteFile(bad, []byte("MFSM 2.0 and then nonsense, for longer than a header"), 0o644); err != nil {
		t.Fatal(err)
	}
	wantFail(t, exitFailed, "bad.mfs", "import", bad, "--data", dir)
	wantFail(t, exitFailed, "holds no image", "dump", "--data", dir)
}

// TestOldReleases replays what masters of 1.6.27 and 2.0.91 wrote, compares it
// with what they stored then, and writes files for them and for later ones.
func TestOldReleases(t *testing.T) {
	for _, release := range []string{"1.6.27", "2.0.91"} {
		t.Run(release, func(t *testing.T) {
			dir := t.TempDir()
			files := "../../standby/metafile/testdata/" + release + "-a/"
			data, before, after := filepath.Join(dir, "data"), fixture(t, dir, files+"before.mfs"), fixture(t, dir, files+"after.mfs.gz")
			log := fixture(t, dir, "../../changelog/testdata/"+release+"-a.changelog.mfs.gz")
			mustRun(t, "import", before, "--data", data)
			mustRun(t, "replay", log, "--data", data)
			mustRun(t, "verify", after, "--data", data)
			for _, for1 := range []string{"", release, "3.0.117"} {
				out := filepath.Join(dir, "out"+for1+".mfs")
				mustRun(t, "export", "-o", out, "--release", for1, "--data", data)
				mustRun(t, "verify", out, "--data", data)
			}
			wantFail(t, exitUsage, `no release "9.9.9" is known`, "export", "-o", "x", "--release", "9.9.9", "--data", data)
			if release == "2.0.91" {
				wantFail(t, exitFailed, "MooseFS 1.6.27 cannot hold: 1 inodes with extended attributes", "export", "-o", filepath.Join(dir, "x"), "--release", "1.6.27", "--data", data)
			}
		})
	}
}
