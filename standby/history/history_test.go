package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
)

func TestParsePoint(t *testing.T) {
	now := fixedNow
	for _, tc := range []struct {
		text string
		want Point
	}{
		{"1200000", Point{Version: 1200000}},
		{"now", Point{}},
		{"@1700000000", Point{Time: time.Unix(1700000000, 0)}},
		{"2026-01-02T15:04:05Z", Point{Time: now}},
		{"2026-01-02T16:04:05+01:00", Point{Time: now}},
		{"2026-01-02 15:04:05", Point{Time: now}},
		{"2026-01-02T15:04", Point{Time: now.Add(-5 * time.Second)}},
		{"2026-01-01", Point{Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}},
		{"15:04:05", Point{Time: now}},
		{"09:30", Point{Time: time.Date(2026, 1, 2, 9, 30, 0, 0, time.UTC)}},
	} {
		got, err := ParsePoint(tc.text, now)
		if err != nil || got.Version != tc.want.Version || !got.Time.Equal(tc.want.Time) {
			t.Errorf("%q: got %+v, %v; want %+v", tc.text, got, err, tc.want)
		}
	}
	for _, text := range []string{"", "0", "-5", "@", "@x", "25:00", "2026-13-01", "yesterday", "1e6"} {
		if got, err := ParsePoint(text, now); err == nil {
			t.Errorf("%q was taken for %+v", text, got)
		}
	}
}

// Every version is built as its entries made it.
func TestBuild(t *testing.T) {
	w := newWorld(t, 1, 300)
	w.bases = []meta.Version{100, 200}
	w.epochs[150] = 2
	src := w.source(t)
	for _, v := range []meta.Version{1, 2, 99, 100, 101, 150, 151, 200, 257, 301} {
		place, err := Locate(t.Context(), src, Point{Version: v}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := max(v/100*100, 1); place.Base.Version != min(want, 200) {
			t.Errorf("version %d is made from base image %d", v, place.Base.Version)
		}
		img, err := Build(t.Context(), src, place, options(t))
		if err != nil {
			t.Fatal(err)
		}
		view, err := img.View()
		if err != nil {
			t.Fatal(err)
		}
		w.wantState(t, v, view.State())
		view.Close()
		epoch, chain := src.lines[0].at(v)
		if pos := positionOf(img); pos.Version != v || !pos.Chain.IsZero() && pos.Chain != chain || pos.Epoch > epoch || pos.Epoch == 0 {
			t.Errorf("the image of version %d says that it is at %+v, want epoch %d and chain %v, or none", v, pos, epoch, chain)
		}
		if err := img.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for v, want := range map[meta.Version]string{302: "not there yet", 5000: "not there yet"} {
		if _, err := Locate(t.Context(), src, Point{Version: v}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("version %d: %v", v, err)
		}
	}
}

// After a rebase the newer line counts, and the older one can be asked for.
func TestBuildBehindARebase(t *testing.T) {
	a, b := newWorld(t, 1, 100), newWorld(t, 2, 100)
	src := &memory{t: t}
	src.add(a, 1, 90, 1)
	src.add(b, 60, 80, 2)
	for _, tc := range []struct {
		point Point
		want  *world
		err   string
	}{
		{Point{Version: 59}, a, ""},
		{Point{Version: 70}, b, ""},
		{Point{Version: 70, Epoch: 1}, a, ""},
		{Point{Version: 85, Epoch: 1}, a, ""},
		{Point{Version: 85}, nil, "the history ends at 80"},
		{Point{Version: 95, Epoch: 1}, nil, "version 95 was never reached"},
	} {
		place, err := Locate(t.Context(), src, tc.point, nil)
		if err == nil {
			img, buildErr := Build(t.Context(), src, place, options(t))
			if err = buildErr; err == nil {
				view, viewErr := img.View()
				if viewErr != nil {
					t.Fatal(viewErr)
				}
				tc.want.wantState(t, tc.point.Version, view.State())
				view.Close()
				img.Close()
			}
		}
		if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%v of epoch %d: %v, want %q", tc.point, tc.point.Epoch, err, tc.err)
		}
	}
}

// A time is where the last entry that is not later says, also where clocks go back.
func TestLocateTime(t *testing.T) {
	w := newWorld(t, 3, 200)
	w.bases = []meta.Version{80, 140}
	rnd := rand.New(rand.NewPCG(1, 2))
	clock := 1000
	for i := range w.entries {
		if clock += rnd.IntN(5); rnd.IntN(40) == 0 {
			clock -= rnd.IntN(100)
		}
		_, rest, _ := strings.Cut(string(w.entries[i].Text), "|")
		w.entries[i].Text = fmt.Appendf(nil, "%d|%s", clock, rest)
	}
	src := w.source(t)
	for at := 850; at < clock+10; at++ {
		want := meta.Version(0)
		for _, e := range w.entries {
			if e.Time() <= meta.Time(at) {
				want = e.Version + 1
			}
		}
		got, err := Locate(t.Context(), src, Point{Time: time.Unix(int64(at), 999)}, nil)
		if want == 0 {
			if err == nil || !strings.Contains(err.Error(), "too long ago") {
				t.Errorf("time %d: %+v, %v", at, got, err)
			}
			continue
		}
		if err != nil || got.Version != want || got.Base.Version > want {
			t.Fatalf("time %d: version %d from base image %d, %v; want %d", at, got.Version, got.Base.Version, err, want)
		}
	}
}

// Differences are those that comparing everything finds.
func TestDiff(t *testing.T) {
	kinds := map[string]int{}
	for seed := range uint64(4) {
		w := newWorld(t, 10+seed, 600)
		src := w.source(t)
		rnd := rand.New(rand.NewPCG(seed, 9))
		for range 4 {
			a, b := 1+meta.Version(rnd.IntN(601)), 1+meta.Version(rnd.IntN(601))
			var got []Change
			from, to, err := Between(t.Context(), src, Point{Version: a}, Point{Version: b}, options(t), func(c Change) error {
				got = append(got, c)
				return nil
			})
			if err != nil || from != a || to != b {
				t.Fatalf("from %d to %d: %d to %d, %v", a, b, from, to, err)
			}
			checkDiff(t, w, a, b, got, kinds)
		}
	}
	for _, kind := range []string{Created, Removed, Renamed, Changed, Purged} {
		if kinds[kind] == 0 {
			t.Errorf("nothing was %s: the test is too small", kind)
		}
	}
}

func checkDiff(t *testing.T, w *world, a, b meta.Version, got []Change, kinds map[string]int) {
	t.Helper()
	was, wasNames := survey(w.at(a))
	is, isNames := survey(w.at(b))
	reborn := map[meta.Inode]bool{}
	for v := min(a, b); v < max(a, b); v++ {
		for ino := range w.at(v + 1).Nodes.Scan(0) {
			if _, ok := w.at(v).Nodes.Get(ino); !ok {
				reborn[ino] = true
			}
		}
	}
	byInode := map[meta.Inode][]Change{}
	for _, c := range got {
		kinds[c.Kind]++
		if c.Inode != 0 {
			byInode[c.Inode] = append(byInode[c.Inode], c)
		}
	}
	file := func(f facts) bool { return f["length"] != "" }
	for ino := meta.Inode(1); ino < 5000; ino++ {
		x, y, list := was[ino], is[ino], byInode[ino]
		same := x != nil && y != nil && !reborn[ino] && (x["type"] == y["type"] || file(x) && file(y))
		var kindsGot []string
		for _, c := range list {
			kindsGot = append(kindsGot, c.Kind)
		}
		if !same {
			var want []string
			if x != nil {
				want = append(want, map[bool]string{true: Purged, false: Removed}[x["path in trash"] != ""])
			}
			if y != nil {
				want = append(want, Created)
			}
			if !slices.Equal(kindsGot, want) {
				t.Errorf("%d to %d: inode %d: %v, want %v", a, b, ino, kindsGot, want)
			}
			continue
		}
		differ := differing(x, y)
		moved := !slices.Equal(wasNames[ino], isNames[ino])
		if (len(differ) > 0 || moved) != (len(list) > 0) {
			t.Errorf("%d to %d: inode %d: %+v; facts that differ: %v, names %v and %v", a, b, ino, list, differ, wasNames[ino], isNames[ino])
			continue
		}
		if len(list) == 0 {
			continue
		}
		if only := slices.Equal(kindsGot, []string{Changed}); only == moved {
			t.Errorf("%d to %d: inode %d: %v; names %v and %v", a, b, ino, kindsGot, wasNames[ino], isNames[ino])
		}
		var names []string
		for _, f := range list[0].Fields {
			names = append(names, f.Name)
		}
		slices.Sort(names)
		if !slices.Equal(names, differ) {
			t.Errorf("%d to %d: inode %d: fields %v, want %v", a, b, ino, names, differ)
		}
		for _, c := range list {
			if c.Kind == Renamed && (walk(w.at(b), c.Path) != ino || walk(w.at(a), c.From) != ino) {
				t.Errorf("%d to %d: inode %d is not at %q, or was not at %q", a, b, ino, c.Path, c.From)
			}
		}
	}
}

// named are operations that are told of a node whether a change shows or not, by
// the first number of their text; parents are those told of a directory.
var (
	named   = regexp.MustCompile(`^(WRITE|TRUNC|LENGTH|APPEND|REPAIR|ROLLBACK|SETFILECHUNK)\((\d+),`)
	parents = regexp.MustCompile(`^(CREATE|SYMLINK|UNLINK)\((\d+),`)
)

// What Log tells is what comparing all states around each entry finds.
func TestLog(t *testing.T) {
	told := 0
	for seed := range uint64(3) {
		w := newWorld(t, 20+seed, 500)
		src := w.source(t)
		surveys := make([]map[meta.Inode]facts, len(w.states))
		names := make([]map[meta.Inode][]string, len(w.states))
		for i, st := range w.states {
			surveys[i], names[i] = survey(st)
			for _, f := range surveys[i] {
				delete(f, "chunks")
			}
		}
		for _, path := range []string{"/", "/a", "/b", "/a/b", "/" + oprandName(w)} {
			got := versions(t, src, Query{Path: path})
			var want []meta.Version
			for i, e := range w.entries {
				x, y := walkAll(w.states[i], path), walkAll(w.states[i+1], path)
				_, text, _ := strings.Cut(string(e.Text), "|")
				if x != y || x != 0 && (len(differing(surveys[i][x], surveys[i+1][x])) > 0 || names1(w.ops[i], text, x)) {
					want = append(want, e.Version)
				}
			}
			told += len(want)
			if !slices.Equal(got, want) {
				t.Errorf("seed %d, %s: entries %v, want %v; %s", seed, path, got, want, w.between(got, want))
			}
		}
		for ino := meta.Inode(1); ino < 30; ino++ {
			got := versions(t, src, Query{Inode: ino})
			var want []meta.Version
			for i, e := range w.entries {
				x, y := surveys[i][ino], surveys[i+1][ino]
				_, text, _ := strings.Cut(string(e.Text), "|")
				if (x == nil) != (y == nil) || len(differing(x, y)) > 0 || !slices.Equal(names[i][ino], names[i+1][ino]) || x != nil && names1(w.ops[i], text, ino) {
					want = append(want, e.Version)
				}
			}
			told += len(want)
			if !slices.Equal(got, want) {
				t.Errorf("seed %d, inode %d: entries %v, want %v; %s", seed, ino, got, want, w.between(got, want))
			}
		}
	}
	if told < 500 {
		t.Errorf("only %d entries were told: the test is too small", told)
	}
}

// between shows the entries that only one of two lists has.
func (w *world) between(a, b []meta.Version) (text string) {
	for i, e := range w.entries {
		if slices.Contains(a, e.Version) != slices.Contains(b, e.Version) {
			text += fmt.Sprintf("%d: %s; ", e.Version, w.entries[i].Text)
		}
	}
	return text
}

// names1 tells whether an entry names a node in a way that is told in any case.
func names1(op changelog.Op, text string, ino meta.Inode) bool {
	is := func(m []string) bool { return m != nil && m[2] == fmt.Sprint(ino) }
	switch op := op.(type) {
	case *changelog.Move:
		return op.SrcParent == ino || op.DstParent == ino || op.Inode == ino
	case *changelog.Link:
		return op.Parent == ino || op.Inode == ino
	case *changelog.Unlink:
		return op.Parent == ino || op.Inode == ino
	}
	return is(named.FindStringSubmatch(text)) || is(parents.FindStringSubmatch(text))
}

func walkAll(st *meta.State, path string) meta.Inode {
	if path == "/" {
		return meta.Root
	}
	return walk(st, path)
}

// oprandName is a name that the last state has in its root.
func oprandName(w *world) string {
	for _, e := range w.at(w.end()).Edges.List(meta.Root) {
		return string(e.Name)
	}
	return "none"
}

func versions(t *testing.T, src Source, q Query) (list []meta.Version) {
	t.Helper()
	err := Log(t.Context(), src, q, options(t), func(touch Touch) error {
		list = append(list, touch.Version)
		if touch.Kind == "" || touch.Operation == "" {
			t.Errorf("%+v does not say what it is", touch)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A range of the log is a range, and a rebase is told if it changes what is seen.
func TestLogRangeAndRebase(t *testing.T) {
	w := newWorld(t, 30, 300)
	src := w.source(t)
	all := versions(t, src, Query{Path: "/"})
	got := versions(t, src, Query{Path: "/", Since: Point{Version: 100}, Until: Point{Version: 200}})
	want := slices.DeleteFunc(slices.Clone(all), func(v meta.Version) bool { return v < 100 || v >= 200 })
	if !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("from 100 to 200: %v, want %v", got, want)
	}
	other := newWorld(t, 31, 300)
	src = &memory{t: t}
	src.add(w, 1, 150, 1)
	src.add(other, 120, 200, 2)
	var kinds []string
	err := Log(t.Context(), src, Query{Path: "/"}, options(t), func(touch Touch) error {
		if touch.Kind == Rebased {
			kinds = append(kinds, fmt.Sprintf("%s at %d", touch.Operation, touch.Version))
		}
		return nil
	})
	if err != nil || !slices.Equal(kinds, []string{"REBASE at 120"}) {
		t.Errorf("over a rebase: %v, %v", kinds, err)
	}
}

// held is entries in memory.
type held struct{ entries []meta.RawEntry }

func (h *held) Next(context.Context) ([]meta.RawEntry, error) {
	n := min(len(h.entries), 11)
	if n == 0 {
		return nil, io.EOF
	}
	b := h.entries[:n]
	h.entries = h.entries[n:]
	return b, nil
}

func (h *held) Close() error { return nil }

func TestCompare(t *testing.T) {
	w, other := newWorld(t, 40, 200), newWorld(t, 41, 300)
	fenced := *w
	fenced.epochs = map[meta.Version]stream.Epoch{120: 2}
	own := func(v meta.Version, n int) (list []meta.RawEntry) {
		for i := range n {
			list = append(list, meta.RawEntry{Version: v + meta.Version(i), Text: fmt.Appendf(nil, "1700001000|ACCESS(%d)", 1)})
		}
		return list
	}
	join := slices.Concat[[]meta.RawEntry]
	for _, tc := range []struct {
		name    string
		w       *world
		to      meta.Version // of the stream
		entries []meta.RawEntry
		want    Verdict
		lost    []meta.Version // first and last
		same    uint64
	}{
		{"all is there", w, 201, w.entries[:150], NothingLost, nil, 150},
		{"equal", w, 201, w.entries, NothingLost, nil, 200},
		{"ahead", w, 150, w.entries, Ahead, []meta.Version{150, 200}, 149},
		{"old primary wrote on", &fenced, 201, join(w.entries[:119], own(120, 30)), LostTail, []meta.Version{120, 149}, 119},
		{"old primary wrote on for long", &fenced, 130, join(w.entries[50:119], own(120, 80)), LostTail, []meta.Version{120, 199}, 69},
		{"one entry", &fenced, 201, join(w.entries[:119], own(120, 1)), LostTail, []meta.Version{120, 120}, 119},
		{"restored from an older dump", w, 201, join(w.entries[:80], own(81, 40)), AnotherHistory, []meta.Version{81, 120}, 80},
		{"nothing in common", w, 201, own(50, 20), AnotherHistory, []meta.Version{50, 69}, 0},
		{"far behind the end", w, 100, own(150, 5), AnotherHistory, []meta.Version{150, 154}, 0},
		{"nothing", w, 201, nil, NotComparable, nil, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src := &memory{t: t}
			src.add(tc.w, 1, tc.to, 1)
			var lost []LostEntry
			save := t.TempDir() + "/lost.mfs"
			got, err := Compare(t.Context(), src, &held{tc.entries}, CompareConfig{MetaID: testMetaID, Cluster: testMetaID, Save: save, Options: options(t)},
				func(e LostEntry) error { lost = append(lost, e); return nil })
			if err != nil {
				t.Fatal(err)
			}
			if got.Verdict != tc.want || got.Same != tc.same || int(got.Lost) != len(lost) {
				t.Fatalf("%+v; want %s with %d the same", got, tc.want, tc.same)
			}
			if tc.lost == nil {
				if len(lost) != 0 || got.SavedTo != "" {
					t.Fatalf("lost %v, saved to %q; want nothing", lost, got.SavedTo)
				}
				return
			}
			var text strings.Builder
			for i, e := range lost {
				if e.Version != tc.lost[0]+meta.Version(i) {
					t.Fatalf("lost entry %d is %d", i, e.Version)
				}
				fmt.Fprintf(&text, "%d: %s\n", e.Version, e.Entry)
			}
			if last := lost[len(lost)-1].Version; last != tc.lost[1] || got.LostFrom != tc.lost[0] {
				t.Fatalf("lost from %d to %d, want %v", got.LostFrom, last, tc.lost)
			}
			if tc.want == LostTail && lost[0].Path != "/" {
				t.Errorf("path of the first lost entry: %q, want /", lost[0].Path)
			}
			if b, err := os.ReadFile(got.SavedTo); err != nil || string(b) != text.String() {
				t.Errorf("saved %q, %v; want %q", b, err, text.String())
			}
		})
	}
	src := other.source(t)
	got, err := Compare(t.Context(), src, &held{w.entries}, CompareConfig{MetaID: 7, Cluster: testMetaID, Options: options(t)}, nil)
	if err != nil || got.Verdict != AnotherCluster {
		t.Errorf("of another cluster: %+v, %v", got, err)
	}
}

func TestFindGone(t *testing.T) {
	w := newWorld(t, 50, 800)
	src := w.source(t)
	found := 0
	for _, v := range []meta.Version{100, 300, 500, 700} {
		place, err := Locate(t.Context(), src, Point{Version: v}, nil)
		if err != nil {
			t.Fatal(err)
		}
		img, err := Build(t.Context(), src, place, options(t))
		if err != nil {
			t.Fatal(err)
		}
		view, err := img.View()
		if err != nil {
			t.Fatal(err)
		}
		got := map[meta.Inode]Gone{}
		err = FindGone(t.Context(), src, view.State(), positionOf(img), nil, func(g Gone) error { got[g.Inode] = g; return nil })
		if err != nil {
			t.Fatal(err)
		}
		view.Close()
		img.Close()
		deleted, written := map[meta.ChunkID]bool{}, map[meta.ChunkID]bool{}
		for _, op := range w.ops[v-1:] {
			switch op := op.(type) {
			case *changelog.ChunkDel:
				deleted[op.Chunk] = true
			case *changelog.Write:
				written[op.Chunk] = true
			case *changelog.Trunc:
				written[op.Chunk] = true
			case *changelog.IncVersion:
				written[op.Chunk] = true
			}
		}
		st := w.at(v)
		for ino, n := range st.Nodes.Scan(0) {
			var want Gone
			if n.Type.IsFile() {
				for i := range n.Slots {
					switch id := st.Slot(ino, &n, i); {
					case id == 0:
					case deleted[id]:
						want.Deleted++
					case written[id]:
						want.Rewritten++
					}
				}
			}
			if g := got[ino]; g.Deleted != want.Deleted || g.Rewritten != want.Rewritten {
				t.Errorf("version %d, inode %d: %+v, want %+v", v, ino, g, want)
			}
			found += int(want.Deleted)
		}
	}
	if found == 0 {
		t.Error("no chunk was deleted: the test is too small")
	}
}

func TestSplitPath(t *testing.T) {
	for path, want := range map[string][]string{"/": nil, "/a//b/": {"a", "b"}, "/a/./b": {"a", "b"}} {
		if got, err := splitPath(path); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", path, got, err)
		}
	}
	for _, path := range []string{"", "a", "/a/../b", "/" + strings.Repeat("x", 256)} {
		if got, err := splitPath(path); err == nil {
			t.Errorf("%q was taken for %q", path, got)
		}
	}
}

// An error of who is told ends the work.
func TestReportEnds(t *testing.T) {
	w := newWorld(t, 60, 50)
	enough := errors.New("enough")
	_, _, err := Between(t.Context(), w.source(t), Point{Version: 1}, Point{}, options(t), func(Change) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("diff ended with %v", err)
	}
	if err := Log(t.Context(), w.source(t), Query{Path: "/"}, options(t), func(Touch) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("log ended with %v", err)
	}
}
