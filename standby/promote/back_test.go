package promote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby"
	"mfsstandby/standby/history"
	"mfsstandby/standby/image"
	"mfsstandby/standby/role"
)

// mistake is a history: entry first+6 and those behind it should not have been.
var mistake = []string{
	"CREATE(1,a,1,420,0,0,0,0):2", "CREATE(1,b,1,420,0,0,0,0):3", "WRITE(2,0,1,0):1", "LENGTH(2,5,0)", "UNLOCK(1)", "WRITE(3,0,1,0):2",
	"CREATE(1,late,2,493,0,0,0,0):4", "WRITE(2,0,0,0):1", "UNLINK(1,b):3",
}

const good = first + 6 // version before the mistake

// newMistake is a world with that history, in one batch, and a delayed standby.
func newMistake(t *testing.T) *world {
	w := newWorld(t)
	w.delay = time.Hour
	w.fill(0)
	var entries []meta.RawEntry
	for i, text := range mistake {
		entries = append(entries, meta.RawEntry{Version: meta.Version(first + i), Text: fmt.Appendf(nil, "%d|%s", began+1+i, text)})
	}
	tap := w.writer("tap")
	if err := errors.Join(tap.Open(t.Context(), "test", time.Now()), tap.Append(t.Context(), entries, time.Now()), tap.Flush(t.Context())); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.waitRole(role.InSync)
	return w
}

// names are those in the root directory, and the position.
func names(t *testing.T, s *standby.Standby) (list []string, pos image.Position) {
	t.Helper()
	img, err := s.Image()
	if err != nil {
		t.Fatal(err)
	}
	err = img.Read(func(st *meta.State, at image.Position) error {
		pos = at
		for _, name := range []string{"a", "b", "late", "new"} {
			if _, ok := st.Edges.Get(meta.Root, []byte(name)); ok {
				list = append(list, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list, pos
}

// A delayed standby that is promoted at a version, or a time, leads from there;
// others come along, what is given up is told, and what data may be lost with it.
func TestPromoteAt(t *testing.T) {
	for _, at := range []string{fmt.Sprint(good), fmt.Sprint("@", began+6)} {
		t.Run(at, func(t *testing.T) {
			w := newMistake(t)
			other, err := standby.New(standby.Config{Dir: t.TempDir(), Cache: image.MinCache, MetaID: metaID, Logger: quiet}, w.conn)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { other.Run(ctx) })
			defer func() {
				cancel()
				wg.Wait()
				if err := other.Close(); err != nil {
					t.Error(err)
				}
			}()
			end := meta.Version(first + len(mistake))
			await := func(v meta.Version, want ...string) {
				t.Helper()
				var have []string
				for deadline := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
					if _, err := other.Image(); err == nil {
						var pos image.Position
						if have, pos = names(t, other); pos.Version == v && slices.Equal(have, want) {
							return
						}
					}
					if time.Now().After(deadline) {
						t.Fatalf("the other standby has %q, want %q at version %d: %+v", have, want, v, other.Status())
					}
				}
			}
			await(end, "a", "late")

			var steps []string
			res, err := w.node.Promote(t.Context(), Options{At: at}, func(s Step) { steps = append(steps, s.Name) })
			if err != nil {
				t.Fatal(err)
			}
			if want := []string{"check", "point", "tap", "fence", "back", "gone", "rebase", "flip"}; !slices.Equal(steps, want) {
				t.Errorf("steps %q, want %q", steps, want)
			}
			if res.Version != good || res.Role.Role != role.Leader || !strings.Contains(res.Missing, fmt.Sprintf("from version %d on, which the stream has up to %d, were given up", good, end)) {
				t.Errorf("result %+v", res)
			}
			text, err := os.ReadFile(res.GoneIn)
			if err != nil {
				t.Fatal(err)
			}
			var gone history.Gone
			if err := json.Unmarshal(text, &gone); err != nil {
				t.Fatal(err)
			}
			if want := (history.Gone{Path: "/a", Inode: 2, Chunks: 1, Rewritten: 1}); res.Gone != 1 || gone != want {
				t.Errorf("%d files, %+v; want one, %+v", res.Gone, gone, want)
			}
			if err := w.mkdir("new"); err != nil {
				t.Fatal(err)
			}
			if have, pos := names(t, w.stand); !slices.Equal(have, []string{"a", "b", "new"}) || pos.Version != good+1 {
				t.Errorf("the leader has %q at version %d", have, pos.Version)
			}
			await(good+1, "a", "b", "new")

			// What was given up can still be had.
			place, err := history.Locate(t.Context(), history.OfStream(w.cl), history.Point{Version: end, Epoch: stream.Epoch(2)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			img, err := history.Build(t.Context(), history.OfStream(w.cl), place, history.Options{Dir: t.TempDir(), Cache: image.MinCache, Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			if err := img.Close(); err != nil {
				t.Error(err)
			}

			// Started again it leads on, from its own entries.
			w.end()
			w.start()
			w.waitRole(role.Leader)
			for deadline := time.Now().Add(time.Minute); w.server.leads() == nil; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("it does not lead again: %+v", w.node.Role())
				}
			}
			if have, pos := names(t, w.stand); !slices.Equal(have, []string{"a", "b", "new"}) || pos.Version != good+1 {
				t.Errorf("after a restart the leader has %q at version %d", have, pos.Version)
			}
		})
	}
}

// The end of the stream gives nothing up.
func TestPromoteAtTheEnd(t *testing.T) {
	for _, at := range []string{"now", fmt.Sprint(first + len(mistake))} {
		t.Run(at, func(t *testing.T) {
			w := newMistake(t)
			res, err := w.node.Promote(t.Context(), Options{At: at}, nil)
			if err != nil || res.Gone != 0 || res.GoneIn != "" {
				t.Fatalf("%+v: %v", res, err)
			}
			if err := w.mkdir("new"); err != nil {
				t.Fatal(err)
			}
			if have, pos := names(t, w.stand); !slices.Equal(have, []string{"a", "late", "new"}) || int(pos.Version) != first+len(mistake)+1 {
				t.Errorf("the leader has %q at version %d", have, pos.Version)
			}
			if bases, err := w.cl.ListBases(t.Context()); err != nil || len(bases) != 1 {
				t.Errorf("base images %v: %v", bases, err)
			}
		})
	}
}

// A point that cannot be led from is refused, and nothing changes.
func TestPromoteAtIsRefused(t *testing.T) {
	w := newMistake(t)
	w.stand.Hurry(first + 2)
	if err := w.stand.Reach(t.Context(), first+2, nil); err != nil {
		t.Fatal(err)
	}
	refused := func(opt Options, want string) {
		t.Helper()
		_, err := w.node.Promote(t.Context(), opt, nil)
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want a refusal with %q", opt, err, want)
		}
		if w.server.leads() != nil || !w.tap.follows || w.kept() == role.Leader {
			t.Errorf("%+v: leader %v, tap follows: %v, role %s", opt, w.server.leads(), w.tap.follows, w.kept())
		}
	}
	refused(Options{At: "yesterday"}, "neither a version nor a time")
	refused(Options{At: fmt.Sprint(first + 1)}, "at version 102 already")
	refused(Options{At: fmt.Sprint(first + 100)}, "not there yet")
	refused(Options{At: fmt.Sprint(good), ChangelogDir: t.TempDir()}, "hand over afterwards")
	w.end()
	w.delay = 0
	w.start()
	w.waitRole(role.InSync)
	refused(Options{At: fmt.Sprint(good)}, "not delayed")
}

// Whatever step of going back fails, nothing is given up, and the standby follows
// with its delay as before.
func TestGoingBackFails(t *testing.T) {
	for _, tc := range []struct {
		step  string
		spoil func(w *world) error
	}{
		{"gone", func(w *world) error { return os.MkdirAll(fmt.Sprintf("%s/gone-%d.jsonl/x", w.dir, good), 0o755) }},
		{"rebase", func(w *world) error { return os.MkdirAll(w.dir+"/base.export/x", 0o755) }},
	} {
		t.Run(tc.step, func(t *testing.T) {
			w := newMistake(t)
			if err := tc.spoil(w); err != nil {
				t.Fatal(err)
			}
			var last Step
			_, err := w.node.Promote(t.Context(), Options{At: fmt.Sprint(good)}, func(s Step) { last = s })
			if err == nil || last.Name != tc.step || w.server.leads() != nil {
				t.Fatalf("%v after step %+v; leader %v", err, last, w.server.leads())
			}
			w.waitRole(role.InSync)
			end := meta.Version(first + len(mistake))
			if wr := w.writer("tap"); wr.Led() || wr.Next() != end {
				t.Errorf("afterwards the stream is led: %v, and ends at %d, not %d", wr.Led(), wr.Next(), end)
			}
			if _, pos := names(t, w.stand); pos.Version != good {
				t.Errorf("the image is at version %d", pos.Version)
			}
			w.stand.Hurry(end)
			if err := w.stand.Reach(t.Context(), end, nil); err != nil {
				t.Error(err)
			}
		})
	}
}
