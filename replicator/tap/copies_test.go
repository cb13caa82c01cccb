package tap

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
)

// followCopies follows a directory with times so short that tests need not wait.
func followCopies(t *testing.T, dir string, at Position, release meta.Release) *Copies {
	t.Helper()
	c, err := NewCopies(CopiesConfig{Path: dir, Poll: 2 * time.Millisecond, Settle: 10 * time.Millisecond, Quiet: 50 * time.Millisecond, Release: release}, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// copyTo writes a file as scp does: in place, or with a rename as rsync does.
func copyTo(t *testing.T, dir, name, content string, inPlace bool) {
	t.Helper()
	if inPlace {
		write(t, filepath.Join(dir, name), content)
		return
	}
	rename(t, write(t, filepath.Join(dir, "."+name+".tmp"), content), filepath.Join(dir, name))
}

// TestCopies follows copies that are replaced, grow, are rotated and half done.
func TestCopies(t *testing.T) {
	dir := t.TempDir()
	c := followCopies(t, dir, Position{Next: 5}, 0)
	idle(t, c)
	copyTo(t, dir, "changelog.0.mfs", logOf(1, 9), true)
	take(t, c, 5, 9)
	copyTo(t, dir, "changelog.0.mfs", logOf(1, 12), true) // grown, in place
	take(t, c, 10, 12)
	copyTo(t, dir, "changelog.1.mfs", logOf(1, 15), false) // rotated: the same again under another name
	copyTo(t, dir, "changelog.0.mfs", logOf(16, 20), true)
	take(t, c, 13, 20)
	copyTo(t, dir, "changelog.0.mfs", logOf(16, 18), true) // an older copy once more
	idle(t, c)
	copyTo(t, dir, "changelog.0.mfs", logOf(30, 33), false) // 21 to 29 are still to come
	idle(t, c)
	copyTo(t, dir, "changelog.1.mfs", logOf(16, 29), false)
	take(t, c, 21, 33)
}

// TestCopiesHalf: half a copy gives its whole lines at most.
func TestCopiesHalf(t *testing.T) {
	dir := t.TempDir()
	c := followCopies(t, dir, Position{Next: 1}, 0)
	whole := logOf(1, 40)
	path := filepath.Join(dir, "changelog.0.mfs")
	half := whole[:len(whole)/2]
	write(t, path, half)
	lines := meta.Version(strings.Count(half, "\n")) // it settles like that
	take(t, c, 1, lines)
	write(t, path, "")
	write(t, path, whole)
	take(t, c, lines+1, 40)
}

// TestCopiesRandom: however copies are made, each entry comes once and in order.
func TestCopiesRandom(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		c := followCopies(t, dir, Position{Next: 1}, 0)
		const last = 300
		go func() {
			put := func(i int, content string) {
				os.WriteFile(filepath.Join(dir, fmt.Sprintf("changelog.%d.mfs", i)), []byte(content), 0o644)
			}
			files := []string{""} // of the primary: 0 is current
			for v := meta.Version(1); v <= last; {
				n := min(meta.Version(1+r.IntN(12)), last-v+1)
				files[0] += logOf(v, v+n-1)
				v += n
				if r.IntN(4) == 0 {
					files = append([]string{""}, files...)
				}
				for i, content := range files {
					switch r.IntN(4) {
					case 0: // not copied this time
					case 1: // begun only
						put(i, content[:r.IntN(len(content)+1)])
					default:
						put(i, content)
					}
				}
			}
			for i, content := range files {
				put(i, content)
			}
		}()
		take(t, c, 1, last)
	}
}

// TestCopiesGap: with a newer metadata file missing entries are a gap, and that
// file is where to go on.
func TestCopiesGap(t *testing.T) {
	dir := t.TempDir()
	c := followCopies(t, dir, Position{Next: 5}, 0)
	copyTo(t, dir, "changelog.0.mfs", logOf(5, 6), true)
	take(t, c, 5, 6)
	copyTo(t, dir, "changelog.0.mfs", logOf(20, 25), true)
	idle(t, c) // 7 to 19 may be still to come
	whole := oldMetadataFile(22)
	copyTo(t, dir, "metadata.mfs.back", whole[:len(whole)-3], true)
	idle(t, c) // half a copy
	copyTo(t, dir, "metadata.mfs.back", whole, true)
	err := takeError(t, c)
	wantText(t, err, "has no entries 7 to 19 (next is 20)")
	if !errors.Is(err, ErrGap) {
		t.Errorf("error %v is no gap", err)
	}
	b, err := CopiedBase(t.Context(), CopiesConfig{Path: dir, Poll: time.Millisecond, Settle: 10 * time.Millisecond})
	if err != nil || b.Version != 22 || b.Release != meta.Release16 {
		t.Fatalf("base %+v, %v; want version 22 of 1.6", b, err)
	}
	take(t, followCopies(t, dir, Position{Next: b.Version}, 0), 22, 25)
}

// TestCopiesDiffer: two texts of one entry are no matter of taste.
func TestCopiesDiffer(t *testing.T) {
	dir := t.TempDir()
	c := followCopies(t, dir, Position{Next: 1}, 0)
	copyTo(t, dir, "changelog.0.mfs", logOf(1, 5), true)
	take(t, c, 1, 5)
	copyTo(t, dir, "changelog.1.mfs", otherLog(3, 8), true)
	if err := takeError(t, c); !errors.Is(err, ErrDiverged) {
		t.Errorf("error %v, want a divergence", err)
	}
	known := followCopies(t, dir, Position{Next: 4, Last: []byte("1|ACCESS(1)")}, 0)
	if err := takeError(t, known); !errors.Is(err, ErrDiverged) {
		t.Errorf("error %v, want a divergence", err)
	}
}

// laterFile is a metadata file since format 2.0 whose sections are those of a
// family of releases.
func laterFile(version meta.Version, sections ...string) string {
	var body string
	for _, s := range sections {
		body += s + "\x00\x00\x00\x00\x00\x00\x00\x00"
	}
	return metadataFile(version, 7, body)
}

// TestUpgrade: metadata that a later release stored ends following, so that it
// goes on from there; in a directory of copies and in the primary's own.
func TestUpgrade(t *testing.T) {
	for _, tc := range []struct {
		name   string
		from   meta.Release
		before string
		after  string
		to     meta.Release
	}{
		{"1.6 to 2.0", meta.Release16, oldMetadataFile(5), laterFile(9, "SESS 1.2", "NODE 1.3"), meta.Release2},
		{"2.0 to 3.0", meta.Release2, laterFile(5, "SESS 1.2", "NODE 1.3"), laterFile(9, "SESS 1.2", "LABS 1.5"), meta.Release3},
		{"2.0 to 3.0.117", meta.Release2, laterFile(5, "SESS 1.2", "NODE 1.3"), laterFile(9, "SESS 1.5", "SCLA 1.6"), meta.Release3},
		{"3.0 to 4.59", meta.Release3, laterFile(5, "SESS 1.5", "SCLA 1.6"), laterFile(9, "SESS 1.6", "SCLA 1.<"), meta.Release4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, copies := range []bool{true, false} {
				dir := t.TempDir()
				copyTo(t, dir, "changelog.0.mfs", logOf(5, 8), true)
				copyTo(t, dir, "metadata.mfs.back", tc.before, true)
				var s Source = followCopies(t, dir, Position{Next: 5}, tc.from)
				if !copies {
					d, err := NewDir(DirConfig{Path: dir, Poll: time.Millisecond, Restarts: true, Release: tc.from}, Position{Next: 5})
					if err != nil {
						t.Fatal(err)
					}
					defer d.Close()
					s = d
				}
				take(t, s, 5, 8)
				idle(t, s)
				copyTo(t, dir, "metadata.mfs.back", tc.after, false)
				err := takeError(t, s)
				var up *UpgradedError
				if !errors.As(err, &up) || !errors.Is(err, ErrUpgraded) || up.From != tc.from || up.To != tc.to {
					t.Fatalf("copies %v: error %v, want an upgrade to %v", copies, err, tc.to)
				}
			}
		})
	}
}
