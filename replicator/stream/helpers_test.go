package stream

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"mfsstandby/changelog/meta"
)

const testMetaID = 0x5F3A7C0011223344

// quiet drops log lines below error, so that a failed test is readable.
var quiet = slog.New(slog.NewTextHandler(testWriter{}, &slog.HandlerOptions{Level: slog.LevelError + 1}))

type testWriter struct{}

func (testWriter) Write(p []byte) (int, error) { return len(p), nil }

func startServer(t testing.TB, dir string, always bool) *Server {
	t.Helper()
	s, err := StartServer(ServerConfig{StoreDir: dir, Name: "test", SyncAlways: always, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func connect(t testing.TB, s *Server) *Conn {
	t.Helper()
	c, err := Connect(Config{Server: s, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func open(t testing.TB, c *Conn) *Cluster {
	t.Helper()
	cl, err := c.Open(t.Context(), ClusterConfig{MetaID: testMetaID})
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// newCluster is a cluster on a server of its own that does not sync.
func newCluster(t testing.TB) *Cluster {
	t.Helper()
	return open(t, connect(t, startServer(t, t.TempDir(), false)))
}

func openWriter(t testing.TB, c *Cluster, who string) *Writer {
	t.Helper()
	w, err := c.OpenWriter(t.Context(), WriterConfig{Who: who, Release: "3.0.117"})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

var testTime = time.Unix(1700000000, 123456789)

// newWriter starts the stream at version v.
func newWriter(t testing.TB, c *Cluster, v meta.Version) *Writer {
	t.Helper()
	w := openWriter(t, c, "first")
	rebase(t, w, v, "first base image")
	return w
}

// rebase stores an image and rebases on it.
func rebase(t testing.TB, w *Writer, v meta.Version, why string) {
	t.Helper()
	if _, err := w.c.PutBase(t.Context(), Base{Version: v, Release: "3.0.117"}, strings.NewReader(imageOf(v))); err != nil {
		t.Fatal(err)
	}
	if err := w.Rebase(t.Context(), v, why, testTime); err != nil {
		t.Fatal(err)
	}
}

func entryText(v meta.Version) []byte {
	return fmt.Appendf(nil, "%d|CREATE(%d,file-%06d,1,420,18,1000,1000,0):%d", 1700000000+v/1000, v%977, v, v+2)
}

func makeEntries(from meta.Version, count int) []meta.RawEntry {
	entries := make([]meta.RawEntry, count)
	for i := range entries {
		v := from + meta.Version(i)
		entries[i] = meta.RawEntry{Version: v, Text: entryText(v)}
	}
	return entries
}

// appendAll appends count entries at the writer's end, each with one message of
// up to batch entries, and waits until they are stored.
func appendAll(t testing.TB, w *Writer, count, batch int) {
	t.Helper()
	for count > 0 {
		n := min(count, batch)
		if err := w.Append(t.Context(), makeEntries(w.Next(), n), testTime); err != nil {
			t.Fatal(err)
		}
		count -= n
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// readTo reads until the position is at version to, and checks that each entry is
// the one that makeEntries makes.
func readTo(t testing.TB, r *Reader, to meta.Version) {
	t.Helper()
	want := r.Position().Version
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for r.Position().Version < to {
		b, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("reading at version %d up to %d: %v", r.Position().Version, to, err)
		}
		if b.Control != nil && want == 0 {
			want = b.End.Version
		}
		for _, e := range b.Entries {
			if e.Version != want || string(e.Text) != string(entryText(want)) {
				t.Fatalf("got entry %d %q, want %d %q", e.Version, e.Text, want, entryText(want))
			}
			want++
		}
		if b.End.Version != want || r.Position() != b.End {
			t.Fatalf("batch ends at %+v, reader is at %+v, want version %d", b.End, r.Position(), want)
		}
	}
}

// nextErr reads until there is an error.
func nextErr(t testing.TB, r *Reader) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		if _, err := r.Next(ctx); err != nil {
			return err
		}
	}
}

// publishRaw publishes without any of the Writer's rules.
func publishRaw(t testing.TB, c *Cluster, e Epoch, data []byte) {
	t.Helper()
	if _, err := c.conn.js.PublishMsg(t.Context(), &nats.Msg{Subject: c.epochSubject(e), Data: data}); err != nil {
		t.Fatal(err)
	}
}
