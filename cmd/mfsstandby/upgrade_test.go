package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
	"mfsstandby/standby/control"
	"mfsstandby/standby/metafile"
)

// laterFile is what a release would store after it has read a file and applied
// entries up to a version that change nothing but that.
func laterFile(t *testing.T, file string, release meta.Release, version meta.Version, metaid uint64) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	st := metatest.New()
	if _, err := metafile.Read(bytes.NewReader(b), st, metafile.ReadOptions{Release: release}); err != nil {
		t.Fatal(err)
	}
	st.MetaID = metaid
	var out bytes.Buffer
	if err := metafile.Write(&out, st, metafile.Header{Version: version}, metafile.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// put copies a file into a directory, as rsync does.
func put(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	tmp := filepath.Join(dir, ".tmp")
	if err := os.WriteFile(tmp, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// TestUpgradeInPlace follows a cluster whose files are copied to a directory, and
// that is upgraded meanwhile: the new release's metadata and grammar take over.
func TestUpgradeInPlace(t *testing.T) {
	const metaid = 0x6B0428AE0AF6D43D // of the capture of 2.0.91
	for _, tc := range []struct {
		from          string
		end           meta.Version // of the capture
		to            meta.Release
		stored        meta.Version // what the new release stored first
		entries       string       // that follow, in its grammar
		last          meta.Version
		wantRelease   string
		wantTrashUnit bool // seconds
	}{
		{"2.0.91", 38, meta.Reproduced, 45, "45: 1795435000|EMPTYTRASH(7):0,0,0\n46: 1795435001|CREATE(1,new,1,420,18,0,0,0):9\n", 47, "3.0", false},
		{"1.6.27", 319, meta.Reproduced2, 400, "400: 1795435000|EMPTYTRASH():0,0\n401: 1795435001|CREATE(1,new,1,420,18,0,0,0):70\n", 402, "2.0.91", true},
	} {
		t.Run(tc.from+" to "+tc.to.String(), func(t *testing.T) {
			t.Parallel()
			work, dir := t.TempDir(), t.TempDir()
			files := "../../standby/metafile/testdata/" + tc.from + "-a/"
			before := fixture(t, work, files+"before.mfs")
			after := fixture(t, work, files+"after.mfs.gz")
			log, err := os.ReadFile(fixture(t, work, "../../changelog/testdata/"+tc.from+"-a.changelog.mfs.gz"))
			if err != nil {
				t.Fatal(err)
			}
			base, err := os.ReadFile(before)
			if err != nil {
				t.Fatal(err)
			}
			put(t, dir, "metadata.mfs.back", base)
			put(t, dir, "changelog.0.mfs", log[:len(log)/2]) // half a copy
			data := filepath.Join(work, "data")
			p := start(t, data, "run", "--metadata-dir", dir)
			p.status("the first half is applied", func(st *control.Status) bool { return st.Standby != nil && st.Standby.Image > 8 })
			put(t, dir, "changelog.0.mfs", log)
			st := p.status("all is applied", func(st *control.Status) bool { return st.Standby != nil && st.Standby.Image == tc.end })
			if st.Standby.Release != tc.from {
				t.Errorf("release %q, want %q", st.Standby.Release, tc.from)
			}
			mustRun(t, "verify", after, "--data", data)

			put(t, dir, "changelog.1.mfs", log)
			put(t, dir, "changelog.0.mfs", []byte(tc.entries))
			put(t, dir, "metadata.mfs.back", laterFile(t, after, tc.to, tc.stored, metaid))
			st = p.status("the new release is followed", func(st *control.Status) bool { return st.Standby != nil && st.Standby.Image == tc.last })
			if st.Standby.Release != tc.wantRelease {
				t.Errorf("release %q after the upgrade, want %q", st.Standby.Release, tc.wantRelease)
			}
			if out := p.out.String(); !strings.Contains(out, "the primary was upgraded from MooseFS "+tc.from[:3]) {
				t.Errorf("no event tells of the upgrade:\n%s", out)
			}
			out := filepath.Join(work, "out.mfs")
			mustRun(t, "export", "-o", out, "--data", data)
			if text := mustRun(t, "dump", out); strings.Contains(text, "86400s") != tc.wantTrashUnit || !strings.Contains(text, "|n:new") {
				t.Errorf("dump after the upgrade: trash times in the wrong unit, or the new file is missing:\n%s", text)
			}
		})
	}
}
