package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
)

const testMetaID = 0x5F3A7C0011223344

var (
	quiet    = slog.New(slog.DiscardHandler)
	testTime = time.Unix(1700000000, 0)
)

// world is a stream and what its writer put there.
type world struct {
	t       testing.TB
	conn    *stream.Conn
	cluster *stream.Cluster
	writer  *stream.Writer
}

func newWorld(t testing.TB) *world {
	t.Helper()
	s, err := stream.StartServer(stream.ServerConfig{StoreDir: t.TempDir(), Name: "test", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	conn, err := stream.Connect(stream.Config{Server: s, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	w := &world{t: t, conn: conn}
	if w.cluster, err = conn.Open(t.Context(), stream.ClusterConfig{MetaID: testMetaID}); err != nil {
		t.Fatal(err)
	}
	if w.writer, err = w.cluster.OpenWriter(t.Context(), stream.WriterConfig{Who: "test", Release: "3.0.117"}); err != nil {
		t.Fatal(err)
	}
	return w
}

func text(v meta.Version) string { return fmt.Sprintf("%d|ACCESS(%d)", 1700000000+v, v) }

func image(v meta.Version) string { return fmt.Sprintf("image of version %d", v) }

// base stores a base image of where the stream is.
func (w *world) base(v meta.Version) {
	w.t.Helper()
	b := stream.Base{Version: v, Release: "3.0.117"}
	if v != 0 && v == w.writer.Next() {
		end, err := w.cluster.End(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		b.Epoch, b.Chain = end.Epoch, end.Chain
	}
	if _, err := w.cluster.PutBase(w.t.Context(), b, strings.NewReader(image(v))); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) rebase(v meta.Version) {
	w.t.Helper()
	w.base(v)
	if err := w.writer.Rebase(w.t.Context(), v, "test", testTime); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) append(n int) {
	w.t.Helper()
	for range n {
		v := w.writer.Next()
		if err := w.writer.Append(w.t.Context(), []meta.RawEntry{{Version: v, Text: []byte(text(v))}}, testTime); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.writer.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// archiver makes one that writes a file for every few entries.
func (w *world) archiver(dir string, limits stream.Retention) *Archiver {
	w.t.Helper()
	a, err := NewArchiver(Config{Dir: dir, Every: 5 * time.Millisecond, Limits: limits, Logger: quiet}, w.conn)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// archive archives until the archive is at version v, or something fails.
func (w *world) archive(a *Archiver, v meta.Version) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	for a.Status().Version < v && ctx.Err() == nil {
		select {
		case err := <-done:
			return err
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	return <-done
}

func (w *world) mustArchive(dir string, v meta.Version, limits stream.Retention) {
	w.t.Helper()
	if err := w.archive(w.archiver(dir, limits), v); err != nil {
		w.t.Fatal(err)
	}
	if a := open(w.t, dir); must(a.End(w.t.Context())).Version < v {
		w.t.Fatalf("the archive ends at %v, want %d", must(a.End(w.t.Context())), v)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func open(t testing.TB, dir string) *Archive {
	t.Helper()
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// wantEntries reads from a base image to the end and wants each entry once.
func wantEntries(t testing.TB, a *Archive, pos stream.Position, to meta.Version) {
	t.Helper()
	r := a.Reader(pos)
	for want := pos.Version; ; {
		b, err := r.Next(t.Context())
		if errors.Is(err, io.EOF) || errors.Is(err, stream.ErrGap) {
			if want != to {
				t.Fatalf("entries from %d end at %d, want %d: %v", pos.Version, want, to, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Entries {
			if e.Version != want || string(e.Text) != text(want) {
				t.Fatalf("got entry %d %q, want %d %q", e.Version, e.Text, want, text(want))
			}
			want++
		}
		if b.End.Version != want {
			t.Fatalf("a batch ends at %d, want %d", b.End.Version, want)
		}
	}
}

// wantSpans checks the whole archive.
func wantSpans(t testing.TB, dir string, want ...Span) {
	t.Helper()
	rep, err := Check(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Problems) != 0 || !slices.Equal(rep.Spans, want) {
		t.Fatalf("spans %+v, problems %v; want %+v and none", rep.Spans, rep.Problems, want)
	}
}

func TestArchiveFollowsAndContinues(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	w.rebase(100)
	w.append(50)
	w.mustArchive(dir, 150, stream.Retention{})
	w.append(10)
	w.base(160)
	w.append(40)
	if err := w.writer.Open(t.Context(), "another writer", testTime); err != nil {
		t.Fatal(err)
	}
	w.append(20)
	w.mustArchive(dir, 220, stream.Retention{})
	w.mustArchive(dir, 220, stream.Retention{}) // nothing new
	a := open(t, dir)
	bases := must(a.Bases(t.Context()))
	if len(bases) != 2 || bases[0].Version != 100 || bases[1].Version != 160 {
		t.Fatalf("base images %+v, want 100 and 160", bases)
	}
	for _, b := range bases {
		var buf bytes.Buffer
		if err := a.GetBase(t.Context(), b, &buf); err != nil || buf.String() != image(b.Version) {
			t.Errorf("base image %d: %q, %v", b.Version, buf.String(), err)
		}
		wantEntries(t, a, b.Position(), 220)
	}
	wantEntries(t, a, stream.Position{Version: 137, Epoch: 1}, 220)
	wantSpans(t, dir, Span{Epoch: 1, First: 100, Last: 220, Bases: 2})
	if err := a.GetBase(t.Context(), stream.Base{Version: 7}, io.Discard); !errors.Is(err, stream.ErrNoBase) {
		t.Errorf("base image that is not there: %v", err)
	}
}

// Without its index an archive is the same.
func TestIndexIsMadeAnew(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	w.rebase(1)
	w.append(30)
	w.mustArchive(dir, 31, stream.Retention{})
	with := open(t, dir)
	for _, content := range []string{"", "{", `{"format":1,"files":[{"format":1,"kind":"entries","metaid":7,"first":5,"next":9,"stored":3}]}`} {
		if err := os.WriteFile(filepath.Join(dir, indexName), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		without := open(t, dir)
		if !slices.Equal(with.files, without.files) {
			t.Errorf("with index %q: files %+v, want %+v", content, without.files, with.files)
		}
	}
	if err := os.Remove(filepath.Join(dir, indexName)); err != nil {
		t.Fatal(err)
	}
	if without := open(t, dir); !slices.Equal(with.files, without.files) {
		t.Errorf("without index: files %+v, want %+v", without.files, with.files)
	}
}

// A rebase begins another line, and what it gives up stays readable.
func TestArchiveOfARebase(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	w.rebase(100)
	w.append(50)
	w.mustArchive(dir, 150, stream.Retention{})
	w.rebase(120) // back
	w.append(10)
	w.rebase(500)
	w.append(5)
	w.mustArchive(dir, 505, stream.Retention{})
	wantSpans(t, dir, Span{1, 100, 150, 1}, Span{2, 120, 130, 1}, Span{3, 500, 505, 1})
	a := open(t, dir)
	for i, to := range []meta.Version{150, 130, 505} {
		wantEntries(t, a, must(a.Bases(t.Context()))[i].Position(), to)
	}
}

// Where the stream has dropped what follows, the archive goes on from a base
// image, and says so.
func TestArchiveAfterAGap(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	w.rebase(100)
	w.append(50)
	w.mustArchive(dir, 150, stream.Retention{})
	w.append(50)
	w.base(200)
	w.append(50)
	if _, err := w.cluster.Trim(t.Context(), stream.Retention{Keep: 1}, 0); err != nil {
		t.Fatal(err)
	}
	w.mustArchive(dir, 250, stream.Retention{})
	wantSpans(t, dir, Span{1, 100, 150, 1}, Span{1, 200, 250, 1})
	a := open(t, dir)
	r := a.Reader(stream.Position{Version: 150, Epoch: 1})
	if _, err := r.Next(t.Context()); !errors.Is(err, stream.ErrGap) || !strings.Contains(err.Error(), "continues at 200") {
		t.Errorf("reading on at the gap: %v", err)
	}
}

func TestArchiveRetention(t *testing.T) {
	for _, tc := range []struct {
		name   string
		limits stream.Retention
		want   meta.Version // the oldest base image
	}{
		{"all", stream.Retention{}, 100},
		{"count", stream.Retention{Keep: 2}, 140},
		{"one", stream.Retention{Keep: 1}, 160},
		{"age", stream.Retention{MaxAge: time.Hour}, 100},
		{"old", stream.Retention{MaxAge: 1}, 160},
		{"large enough", stream.Retention{MaxSize: 1 << 20}, 100},
		{"small", stream.Retention{MaxSize: 1}, 160},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, dir := newWorld(t), t.TempDir()
			w.rebase(100)
			for range 3 {
				w.append(20)
				w.base(w.writer.Next())
				w.mustArchive(dir, w.writer.Next(), stream.Retention{})
			}
			w.append(5)
			w.mustArchive(dir, 165, tc.limits)
			a := open(t, dir)
			bases := must(a.Bases(t.Context()))
			if bases[0].Version != tc.want {
				t.Fatalf("the oldest base image is %d, want %d", bases[0].Version, tc.want)
			}
			wantSpans(t, dir, Span{1, tc.want, 165, len(bases)})
			for _, f := range a.files {
				if f.Next < tc.want || f.Kind == Entries && f.Next == tc.want {
					t.Errorf("%s is kept without need", f.name())
				}
			}
		})
	}
}

func TestDamageIsFound(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	w.rebase(100)
	w.append(20)
	w.mustArchive(dir, 120, stream.Retention{})
	w.append(20)
	w.mustArchive(dir, 140, stream.Retention{})
	whole := map[string][]byte{}
	for name := range must((&disk{dir: dir}).list()) {
		if validName(name) {
			whole[name] = must(os.ReadFile(filepath.Join(dir, name)))
		}
	}
	for name, content := range whole {
		path := filepath.Join(dir, name)
		for at := 0; at <= len(content); at += 7 {
			broken := content[:at] // cut there
			if at%2 == 0 && at < len(content) {
				broken = slices.Clone(content)
				broken[at] ^= 4
			}
			if len(broken) == len(content) && bytes.Equal(broken, content) {
				continue
			}
			if err := os.WriteFile(path, broken, 0o644); err != nil {
				t.Fatal(err)
			}
			rep, err := Check(t.Context(), dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(rep.Problems, func(p Problem) bool { return p.File == name }) {
				t.Fatalf("%s of %d bytes with damage at %d: not found; problems %v", name, len(content), at, rep.Problems)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		rep, err := Check(t.Context(), dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		// Without the last file there is less, but nothing that is missing.
		if last := strings.Contains(name, "-00000000000000000140."); len(rep.Problems) == 0 != last {
			t.Errorf("without %s: problems %v", name, rep.Problems)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	wantSpans(t, dir, Span{1, 100, 140, 1})
}

// A damaged end is written anew from the stream.
func TestDamagedEndIsArchivedAnew(t *testing.T) {
	for _, what := range []string{"cut", "changed"} {
		t.Run(what, func(t *testing.T) {
			w, dir := newWorld(t), t.TempDir()
			w.rebase(100)
			w.append(20)
			w.mustArchive(dir, 120, stream.Retention{})
			a := open(t, dir)
			last := filepath.Join(dir, a.files[len(a.files)-1].name())
			content := must(os.ReadFile(last))
			if what == "cut" {
				content = content[:len(content)/2]
			} else {
				content[10] ^= 1
			}
			if err := os.WriteFile(last, content, 0o644); err != nil {
				t.Fatal(err)
			}
			w.append(5)
			w.mustArchive(dir, 125, stream.Retention{})
			wantSpans(t, dir, Span{1, 100, 125, 1})
		})
	}
}

// The writer dies at every step, and another continues.
func TestCrashAtEveryStep(t *testing.T) {
	w := newWorld(t)
	w.rebase(100)
	w.append(30)
	w.base(130)
	w.append(30)
	died := errors.New("killed")
	for n, ended := 1, false; !ended; n++ {
		dir := t.TempDir()
		calls := 0
		a := w.archiver(dir, stream.Retention{Keep: 1})
		ctx, kill := context.WithCancel(t.Context())
		a.d.fault = func(op, name string) error {
			if calls++; calls >= n {
				kill()
				return died
			}
			return nil
		}
		err := func() error {
			defer kill()
			done := make(chan error, 1)
			go func() { done <- a.Run(ctx) }()
			for {
				if st := a.Status(); st.Version == 160 && st.Oldest == 130 {
					kill()
				}
				select {
				case err := <-done:
					return err
				case <-time.After(time.Millisecond):
				}
			}
		}()
		if ended = err == nil && calls < n; ended && n < 20 {
			t.Fatalf("only %d steps", calls)
		}
		next := w.archiver(dir, stream.Retention{Keep: 1})
		if err := next.begin(t.Context()); err != nil && !errors.Is(err, errNoBase) {
			t.Fatal(err)
		}
		if err := w.archive(next, 160); err != nil {
			t.Fatal(err)
		}
		bases := must(open(t, dir).Bases(t.Context()))
		first := bases[0].Version
		wantSpans(t, dir, Span{1, first, 160, len(bases)})
		wantEntries(t, open(t, dir), stream.Position{Version: first, Epoch: 1}, 160)
		for name := range must(a.d.list()) {
			if strings.HasPrefix(name, tmpPrefix) {
				t.Errorf("after a crash in step %d %s is left", n, name)
			}
		}
	}
}

func TestOneWriterAtATime(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	lock, err := (&disk{dir: dir}).lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := w.archiver(dir, stream.Retention{}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another process archives") {
		t.Errorf("second writer: %v", err)
	}
}

func TestArchiveOfAnotherCluster(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	w.rebase(100)
	w.append(1)
	w.mustArchive(dir, 101, stream.Retention{})
	_, err := NewArchiver(Config{Dir: dir, MetaID: 7, Logger: quiet}, w.conn)
	if err == nil || !strings.Contains(err.Error(), "is of cluster 5F3A7C0011223344") {
		t.Errorf("archiving another cluster there: %v", err)
	}
}

// What zstd makes of the files is what was archived.
func TestStockToolsReadTheFiles(t *testing.T) {
	tool, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("no zstd here")
	}
	w, dir := newWorld(t), t.TempDir()
	w.rebase(100)
	w.append(3)
	w.mustArchive(dir, 103, stream.Retention{})
	for pattern, want := range map[string]string{
		"base-*":      image(100),
		"changelog-*": "100: " + text(100) + "\n101: " + text(101) + "\n102: " + text(102) + "\n",
	} {
		files := must(filepath.Glob(filepath.Join(dir, pattern)))
		slices.Sort(files)
		got, err := exec.Command(tool, append([]string{"-dc"}, files...)...).Output()
		if err != nil || string(got) != want {
			t.Errorf("zstd -dc %s: %q, %v; want %q", pattern, got, err, want)
		}
	}
}

func FuzzReadEnd(f *testing.F) {
	info := Info{Format: format, Kind: Entries, MetaID: 1, Epoch: 2, First: 3, Next: 4, Size: 5, Stored: 6, Created: testTime.UTC()}
	end, err := appendEnd([]byte("123456"), &info)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(end)
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := readEnd(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if !validName(i.name()) {
			t.Fatalf("%+v gives the name %q", i, i.name())
		}
		again, err := appendEnd(b[:i.Stored:i.Stored], &i)
		if err != nil {
			t.Fatal(err)
		}
		if j, err := readEnd(bytes.NewReader(again), int64(len(again))); err != nil || !j.same(&i) {
			t.Fatalf("%+v became %+v, %v", i, j, err)
		}
	})
}
