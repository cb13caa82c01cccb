package tap

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
)

// dirOf makes a directory with files, given as name, content, ...
func dirOf(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		write(t, filepath.Join(dir, files[i]), files[i+1])
	}
	return dir
}

func follow(t testing.TB, dir string, at Position, events ...func(Event)) *Dir {
	t.Helper()
	cfg := DirConfig{Path: dir, Poll: 20 * time.Millisecond, Quiet: 100 * time.Millisecond}
	if len(events) > 0 {
		cfg.Event = events[0]
	}
	d, err := NewDir(cfg, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// rotate renames changelog.0..n-1 as a master does.
func rotate(t testing.TB, dir string, n int) {
	t.Helper()
	for i := n; i > 0; i-- {
		from := filepath.Join(dir, fmt.Sprintf("changelog.%d.mfs", i-1))
		if err := os.Rename(from, filepath.Join(dir, fmt.Sprintf("changelog.%d.mfs", i))); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func TestDirStarts(t *testing.T) {
	for _, tc := range []struct {
		name        string
		files       []string
		from, first meta.Version
		last        meta.Version
		want        string // error after the entries; "" is io.EOF when drained
	}{
		{"current file", []string{"changelog.0.mfs", logOf(5, 9)}, 5, 5, 9, ""},
		{"in the middle", []string{"changelog.0.mfs", logOf(5, 9)}, 7, 7, 9, ""},
		{"nothing yet", nil, 5, 5, 4, ""},
		{"from old files", []string{"changelog.0.mfs", logOf(30, 39), "changelog.1.mfs", logOf(20, 29),
			"changelog.2.mfs", logOf(10, 19), "changelog.10.mfs", logOf(1, 9)}, 12, 12, 39, ""},
		{"only a metalogger's", []string{"changelog_ml.0.mfs", logOf(30, 39), "changelog_ml.1.mfs", logOf(20, 29)}, 25, 25, 39, ""},
		{"a metalogger's copies overlap", []string{"changelog_ml.0.mfs", logOf(27, 39), "changelog_ml_back.0.mfs", logOf(20, 30),
			"changelog_ml_back.1.mfs", logOf(10, 19)}, 12, 12, 39, ""},
		{"master and metalogger in one place", []string{"changelog.0.mfs", logOf(30, 39), "changelog.1.mfs", logOf(20, 29),
			"changelog_ml.0.mfs", logOf(15, 45)}, 20, 20, 45, ""},
		{"other files lie there", []string{"changelog.0.mfs", logOf(5, 9), "changelog.0.mfs.old", logOf(1, 3), "changelog.mfs", "x",
			"changelog.a.mfs", "x", "changelog..mfs", "x", "metadata.mfs", "x", "changelog_ml.tmp", logOf(10, 20)}, 5, 5, 9, ""},
		{"an old file has a torn end, another has it whole", []string{"changelog.0.mfs", logOf(10, 12), "changelog.1.mfs", logOf(5, 8) + "9: 1|CR",
			"changelog_ml.1.mfs", logOf(5, 9)}, 5, 5, 12, ""},
		{"hole", []string{"changelog.0.mfs", logOf(10, 12), "changelog.1.mfs", logOf(5, 8)}, 5, 5, 8, "no entries 9 to 9 (next is 10)"},
		{"hole where a line is torn", []string{"changelog.0.mfs", logOf(10, 12), "changelog.1.mfs", logOf(5, 8) + "9: 1|CR"}, 5, 5, 8,
			`at offset 176, is torn: "9: 1|CR"`},
		{"starts too early", []string{"changelog.0.mfs", logOf(10, 12)}, 3, 3, 2, "no entries 3 to 9 (next is 10)"},
		{"a given up history in an older file", []string{"changelog.0.mfs", logOf(5, 9), "changelog.1.mfs", logOf(1, 4) + otherLog(5, 30)}, 2, 2, 9, ""},
		{"given up histories after the wanted", []string{"changelog.0.mfs", logOf(5, 9), "changelog.1.mfs", otherLog(30, 40), "changelog.2.mfs", otherLog(6, 29)}, 5, 5, 9, ""},
		{"other text", []string{"changelog.0.mfs", logOf(5, 9), "changelog_ml.0.mfs", logOf(5, 6) + "7: 1|A()\n"}, 5, 5, 6, `entry 7 is "`},
		{"bad line", []string{"changelog.0.mfs", logOf(5, 6) + "what\n"}, 5, 5, 6, "changelog.0.mfs:3: column 1: number expected"},
		{"goes back within a file", []string{"changelog.0.mfs", logOf(5, 9) + logOf(7, 7)}, 5, 5, 9, "goes back"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := follow(t, dirOf(t, tc.files...), Position{Next: tc.from})
			take(t, d, tc.first, tc.last)
			if tc.want != "" {
				wantText(t, takeError(t, d), tc.want)
				return
			}
			idle(t, d)
			d.Drain()
			if err := takeError(t, d); err != io.EOF {
				t.Fatalf("drained: got error %v, want the end", err)
			}
		})
	}
}

// otherLog is a file of the same versions as logOf, in another history.
func otherLog(from, to meta.Version) string {
	return strings.ReplaceAll(logOf(from, to), "CREATE(1,f", "CREATE(1,g")
}

// A master that was restored from an older state, with the old files left in
// place: who begins anew from there gets the new history, also where the old one
// is ahead of it.
func TestDirOfARestoredMaster(t *testing.T) {
	dir := dirOf(t, "changelog.0.mfs", logOf(5, 9), "changelog.1.mfs", otherLog(1, 29))
	d := follow(t, dir, Position{Next: 5})
	take(t, d, 5, 9)
	idle(t, d)
	appendTo(t, filepath.Join(dir, "changelog.0.mfs"), logOf(10, 15))
	rotate(t, dir, 5)
	appendTo(t, filepath.Join(dir, "changelog.0.mfs"), logOf(16, 31))
	take(t, d, 10, 31)
	idle(t, d)
	if n := len(d.tails); n != 1 {
		t.Errorf("%d files are open, want only the current one", n)
	}
}

func TestDirFollowsRotation(t *testing.T) {
	dir := dirOf(t, "changelog.0.mfs", logOf(1, 3)+"4: 17954")
	current := filepath.Join(dir, "changelog.0.mfs")
	d := follow(t, dir, Position{Next: 1})
	take(t, d, 1, 3)
	idle(t, d) // half a line is not an entry

	appendTo(t, current, logOf(4, 4)[len("4: 17954"):])
	take(t, d, 4, 4)

	appendTo(t, current, logOf(5, 6)) // not read before the file has another name
	rotate(t, dir, 3)
	take(t, d, 5, 6)
	idle(t, d) // there is no current file now
	appendTo(t, current, logOf(7, 8))
	take(t, d, 7, 8)

	for v := meta.Version(9); v <= 11; v++ { // several rotations between two looks
		appendTo(t, current, logOf(v, v))
		rotate(t, dir, 5)
	}
	appendTo(t, current, logOf(12, 12))
	take(t, d, 9, 12)

	appendTo(t, current, logOf(13, 13))
	if err := os.Remove(current); err != nil { // BACK_LOGS = 0
		t.Fatal(err)
	}
	appendTo(t, current, logOf(14, 14))
	take(t, d, 13, 14)

	appendTo(t, current, logOf(15, 15)+"16: 179")
	d.Drain()
	take(t, d, 15, 15)
	if err := takeError(t, d); err != io.EOF {
		t.Fatalf("drained: got error %v, want the end", err)
	}
	torn := d.Torn()
	if len(torn) != 1 || string(torn[0].Text) != "16: 179" || torn[0].Name != current || torn[0].Offset != int64(len(logOf(14, 15))) {
		t.Fatalf("torn lines are %+v", torn)
	}
	if len(d.tails) > 3 {
		t.Fatalf("%d files are still open", len(d.tails))
	}
}

func TestDirSeesAnotherHistory(t *testing.T) {
	other := func(v meta.Version) string { return fmt.Sprintf("%d: 17|UNLINK(1,x):%d\n", v, v) }
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   string
	}{
		{"current file replaced by another history", func(t *testing.T, dir string) {
			rename(t, write(t, filepath.Join(dir, "new"), logOf(3, 5)+other(6)), filepath.Join(dir, "changelog.0.mfs"))
		}, `changelog.0.mfs:4: entry 6 is "17|UNLINK(1,x):6", not what was read before`},
		{"truncated and written again otherwise", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "changelog.0.mfs"), other(9))
		}, `changelog.0.mfs:1: entry 9 is "17|UNLINK(1,x):9"`},
		{"goes on, then hole", func(t *testing.T, dir string) {
			appendTo(t, filepath.Join(dir, "changelog.0.mfs"), logOf(12, 12))
		}, "no entries 11 to 11"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := dirOf(t, "changelog.0.mfs", logOf(1, 10))
			d := follow(t, dir, Position{Next: 1})
			take(t, d, 1, 10)
			tc.change(t, dir)
			wantText(t, takeError(t, d), tc.want)
		})
	}
}

func TestDirSeesAnOlderFile(t *testing.T) {
	dir := dirOf(t, "changelog.0.mfs", logOf(100001, 100002))
	d := follow(t, dir, Position{Next: 100001})
	take(t, d, 100001, 100002)
	rename(t, write(t, filepath.Join(dir, "new"), logOf(7, 8)), filepath.Join(dir, "changelog.0.mfs"))
	err := takeError(t, d)
	wantText(t, err, "a new file begins with it although entry 100002 was read already")
	if !errors.Is(err, ErrDiverged) {
		t.Fatalf("got %T, want a divergence", err)
	}
}

func TestDirCompletesATruncatedFile(t *testing.T) {
	dir := dirOf(t, "changelog.0.mfs", logOf(1, 10))
	var events []Kind
	d := follow(t, dir, Position{Next: 1}, func(e Event) { events = append(events, e.Kind) })
	take(t, d, 1, 10)
	write(t, filepath.Join(dir, "changelog.0.mfs"), logOf(9, 9))
	for len(events) == 0 {
		idle(t, d)
	}
	appendTo(t, filepath.Join(dir, "changelog.0.mfs"), logOf(10, 12))
	take(t, d, 11, 12)
	if events[0] != Truncated {
		t.Fatalf("events are %v", events)
	}
}

func TestDirVerifiesWhereItStarts(t *testing.T) {
	for _, tc := range []struct{ name, files, last, want, event string }{
		{"same history", logOf(5, 12), text(9), "", ""},
		{"other history", logOf(5, 12), "1|A()", `entry 9 is "1795400009|CREATE(1,f9,1,438,18,0,0,0):10", but was "1|A()" before`, ""},
		{"entry before is gone", logOf(10, 12), text(9), "", "unverified"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			event := ""
			d := follow(t, dirOf(t, "changelog.1.mfs", tc.files), Position{Next: 10, Last: []byte(tc.last)}, func(e Event) { event += e.Kind.String() })
			if tc.want != "" {
				wantText(t, takeError(t, d), tc.want)
				return
			}
			take(t, d, 10, 12)
			if event != tc.event {
				t.Fatalf("got event %q, want %q", event, tc.event)
			}
		})
	}
}

// A writer that stops anywhere in a line and rotates at random is followed
// exactly.
func TestDirRandomWriter(t *testing.T) {
	const last = 20000
	dir := t.TempDir()
	d := follow(t, dir, Position{Next: 1})
	done := make(chan error, 1)
	go func() {
		rnd := rand.New(rand.NewPCG(1, 2))
		v, pending := meta.Version(1), ""
		for v <= last || pending != "" {
			n := meta.Version(rnd.IntN(200))
			if v <= last {
				n = min(n, last-v+1)
				pending += logOf(v, v+n-1)
				v += n
			}
			cut := rnd.IntN(len(pending) + 1)
			f, err := os.OpenFile(filepath.Join(dir, "changelog.0.mfs"), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
			if err == nil {
				_, err = f.WriteString(pending[:cut])
				f.Close()
			}
			if err != nil {
				done <- err
				return
			}
			if pending = pending[cut:]; rnd.IntN(20) == 0 { // a master rotates between lines only
				appendTo(t, filepath.Join(dir, "changelog.0.mfs"), pending)
				pending = ""
				rotate(t, dir, 50)
			}
		}
		done <- nil
	}()
	take(t, d, 1, last)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestNewestBase(t *testing.T) {
	good := metadataFile(48, 7, "body")
	for _, tc := range []struct {
		name  string
		files []string
		want  string // name of the best, or error
	}{
		{"newest wins", []string{"metadata.mfs.back", good, "metadata.mfs.back.1", metadataFile(40, 7, ""), "metadata_ml.mfs.back", metadataFile(50, 7, "")}, "metadata_ml.mfs.back"},
		{"what was put aside is not the newest", []string{"metadata.mfs.back", good, "metadata.mfs.back.1", metadataFile(60, 7, ""), "metadata.mfs.broken", metadataFile(90, 7, "")}, "metadata.mfs.back"},
		{"nothing but old ones", []string{"metadata.mfs.back.1", good, "metadata.mfs.back.2", metadataFile(40, 7, "")}, "metadata.mfs.back.1"},
		{"cut one is passed over", []string{"metadata.mfs", metadataFile(60, 7, "")[:30], "metadata.mfs.back", good}, "metadata.mfs.back"},
		{"other cluster", []string{"metadata.mfs", metadataFile(60, 8, ""), "metadata.mfs.back", good}, "another metaid"},
		{"1.6", []string{"metadata.mfs.back", "MFSM 1.5\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x30\x00\x00\x00\x01" + string(make([]byte, 16))}, "metadata.mfs.back"},
		{"new file system", []string{"metadata.mfs", "MFSM NEW"}, "metadata.mfs"},
		{"nothing", nil, "no metadata file in"},
		{"wrong start", []string{"metadata.mfs", "MFSX 2.0" + good[8:]}, `it starts with "MFSX 2.0"`},
		{"wrong end", []string{"metadata.mfs", good + "x"}, "metadata file is cut"},
		{"version 0", []string{"metadata.mfs", metadataFile(0, 7, "")}, "has version 0"},
		{"too short", []string{"metadata.mfs", good[:20]}, "is too short"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := NewestBase(dirOf(t, tc.files...))
			if err != nil {
				wantText(t, err, tc.want)
			} else if filepath.Base(got.Path) != tc.want || got.Version == 0 {
				t.Fatalf("got %+v, want %s", got, tc.want)
			}
		})
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add([]byte(metadataFile(48, 7, "")))
	f.Add([]byte("MFSM NEW"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if b, _, err := parseHead(in); err == nil && b.Version == 0 {
			t.Fatalf("%q was taken for a metadata file of version 0", in)
		}
	})
}
