package web

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator"
	"mfsstandby/replicator/events"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/image"
	"mfsstandby/standby/metafile"
)

// base is the time in which everything in the test's world happens.
const base = meta.Time(1_700_000_000)

// oddNames are names that a page could trip over.
var oddNames = []string{
	"<img src=x onerror=alert(1)>", "a\nb", "b\xffad\xfe", "c\u202egpj.exe", "d \u00e4\u65e5\u672c", "e&amp;\"'`", "f\x1b[31m", "%2e%2e", `\x41`, " g ",
}

// world is an image with some of everything.
type world struct {
	t    testing.TB
	img  *image.Image
	next meta.Inode
}

func newWorld(t testing.TB) *world {
	t.Helper()
	img, err := image.Open(image.Config{Dir: t.TempDir(), Cache: image.MinCache})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := img.Close(); err != nil && !errors.Is(err, image.ErrClosed) {
			t.Error(err)
		}
	})
	w := &world{t: t, img: img, next: 2}
	err = img.Update(func(st *meta.State, pos image.Position) (image.Position, error) {
		_, err := metafile.Empty(st, base, meta.Reproduced)
		pos.Version = 1
		return pos, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// do applies operations as entries.
func (w *world) do(ops ...changelog.Op) {
	w.t.Helper()
	err := w.img.Update(func(st *meta.State, pos image.Position) (image.Position, error) {
		for _, op := range ops {
			if err := changelog.ApplyEntry(st, changelog.Entry{Version: pos.Version, Time: base, Op: op}); err != nil {
				return pos, err
			}
			pos.Version++
		}
		return pos, nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(parent meta.Inode, name string, kind meta.Type) *changelog.Create {
	op := &changelog.Create{Parent: parent, Base: []byte(name), Type: kind, Mode: 0o644, UID: 1000, GID: 100, Inode: w.next}
	if kind == meta.TypeDir {
		op.Mode = 0o755
	}
	if kind.IsDevice() {
		op.Rdev = 8<<16 | 1
	}
	w.next++
	return op
}

func (w *world) make(parent meta.Inode, name string, kind meta.Type) meta.Inode {
	w.t.Helper()
	op := w.create(parent, name, kind)
	w.do(op)
	return op.Inode
}

// fill makes n files in a directory.
func (w *world) fill(parent meta.Inode, n int) {
	w.t.Helper()
	var ops []changelog.Op
	for i := range n {
		ops = append(ops, w.create(parent, fmt.Sprintf("file-%07d", i), meta.TypeFile))
	}
	w.do(ops...)
}

// furnish makes the tree that the golden file shows.
func (w *world) furnish() {
	w.t.Helper()
	docs := w.make(meta.Root, "docs", meta.TypeDir)
	deep := w.make(docs, "deep", meta.TypeDir)
	file := w.make(deep, "report.txt", meta.TypeFile)
	odd := w.make(meta.Root, "odd", meta.TypeDir)
	for _, name := range oddNames {
		w.make(odd, name, meta.TypeFile)
	}
	inside := w.make(odd, "dir\xff", meta.TypeDir)
	w.make(inside, "in it", meta.TypeFile)
	device := w.make(docs, "disk", meta.TypeBlockDev)
	gone := w.make(docs, "gone", meta.TypeFile)
	w.do(
		&changelog.Length{Inode: file, Length: 123_456_789, CanModMtime: 1},
		&changelog.Link{Inode: file, Parent: odd, Base: []byte("hard\xfelink")},
		&changelog.Symlink{Parent: docs, Base: []byte("link"), Target: []byte("../odd/b\xffad"), UID: 1, GID: 2, Inode: w.next},
		&changelog.SetXattr{Inode: file, Attr: []byte("user.note"), Value: []byte("hello")},
		&changelog.SetACL{Inode: file, Mode: 0o640, ChangeCtime: 1, Type: meta.ACLAccess, User: 6, Group: 4, Other: 0, Mask: 7,
			Users: []meta.ACLEntry{{ID: 1001, Perm: 7}}},
		&changelog.Unlink{Parent: docs, Base: []byte("gone"), Inode: gone},
		&changelog.Attr{Inode: device, Mode: 0o600, UID: 5, GID: 6, Atime: base, Mtime: base + 5},
	)
	w.next++
}

// quiet is a log that nobody reads.
var quiet = slog.New(slog.DiscardHandler)

// started is when the process of the test's status started.
var started = time.Unix(int64(base), 0).UTC()

// told is a status with something in every field.
func told() control.Status {
	return control.Status{
		Role: "run", Program: "test", PID: 42, Started: started, Data: "/data",
		Tap: &replicator.Status{
			Source: "mfsmaster", Connected: true, Following: true, Release: "3.0.117", MetaID: "00000000000000AB", Epoch: 3,
			Received: 1200, Published: 1190, Entries: 700, Heard: started, Spool: 4096,
			Events: []events.Event{{Seq: 1, Text: "not told here"}},
		},
		Standby: &standby.Status{
			State: standby.InSync, MetaID: "00000000000000AB", Epoch: 3, Image: 1180, Committed: 1100, Stream: 1190, Digest: "abcd",
			LagEntries: 10, LagSeconds: 0.25, Rate: 123.5, Entries: 680, EntryTime: base, CacheBytes: 1 << 20, DirtyBytes: 1 << 10, Commits: 7,
			Latency: standby.Latency{Batches: 5, P50: 1.5, P99: 9, Max: 20},
			Events:  []events.Event{{Seq: 1, Text: "not told here"}},
			Members: []standby.Member{{Name: "host-a", Role: "tap", State: "following", Primary: 1200, Version: 1190, Epoch: 3, Updated: started}},
		},
		Clients: &control.Clients{
			Connections: 3, Sessions: 5, Connected: 2, Accepted: 9, Refused: 1, Dropped: 4, Received: 1000, Sent: 2000,
			Requests: map[string]uint64{"lookup": 70, "getattr": 30},
		},
	}
}

// newServer returns a server that shows the image and told's status.
func newServer(t testing.TB, img *image.Image, change func(*Config)) *Server {
	t.Helper()
	cfg := Config{Listen: "127.0.0.1:0", Status: told, Events: events.New(100), Latency: &Latency{}, Logger: quiet}
	if img != nil {
		cfg.Image = func() (*image.Image, error) { return img, nil }
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends a request that a program on this host could send.
func ask(s *Server, method, target string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:9427"+target, nil)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}
