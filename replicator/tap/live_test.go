package tap

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// journal collects events.
type journal struct {
	mu     sync.Mutex
	events []Event
}

func (j *journal) add(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
}

// has tells whether an event of a kind came whose error contains text.
func (j *journal) has(kind Kind, text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.events {
		if e.Kind == kind && (text == "" || e.Err != nil && strings.Contains(e.Err.Error(), text)) {
			return true
		}
	}
	return false
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, e := range j.events {
		fmt.Fprintf(&b, "%v %s %d %v\n", e.Kind, e.Text, e.Version, e.Err)
	}
	return b.String()
}

// inBubble runs f in a synctest bubble with a Live that follows m. What runs is
// stopped at the end, and no file but bases may be left.
func inBubble(t *testing.T, m func(*testing.T) *master, f func(*testing.T, *Live, *master, *journal)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := m(t)
		j := &journal{}
		l, err := NewLive(LiveConfig{Address: "primary", Dir: dir, MaxMemory: 4 << 20, Event: j.add, Dial: m.dial})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- l.Run(ctx) }()
		defer func() {
			l.Close()
			cancel()
			if err := <-ran; err != context.Canceled {
				t.Errorf("Run returned %v", err)
			}
			m.hangUp()
			if t.Failed() {
				t.Logf("events:\n%v", j)
			}
		}()
		f(t, l, m, j)
	})
	names, err := filepath.Glob(filepath.Join(dir, "changelog*"))
	if err != nil || len(names) > 0 {
		t.Fatalf("files left: %v, %v", names, err)
	}
}

func resume(t *testing.T, l *Live, next meta.Version) {
	t.Helper()
	at := Position{Next: next, MetaID: 7}
	if next > 1 {
		at.Last = []byte(text(next - 1))
	}
	if err := l.Resume(at); err != nil {
		t.Fatal(err)
	}
}

func bootstrap(t *testing.T, l *Live) Base {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	b, err := l.Bootstrap(ctx, 0)
	if err != nil {
		t.Fatalf("bootstrap: %v", err)
	}
	return b
}

func TestLiveResumes(t *testing.T) {
	for _, tc := range []struct {
		name       string
		master     func(*testing.T) *master
		next, last meta.Version // resumes at next, gets entries up to last
		event      Kind
	}{
		{"from memory", func(t *testing.T) *master { return newMaster(t, 50, 50, 60, 100) }, 80, 99, Following},
		{"nothing new", func(t *testing.T) *master { return newMaster(t, 50, 50, 60, 100) }, 100, 99, Following},
		{"memory begins with the entry wanted", func(t *testing.T) *master { return newMaster(t, 50, 50, 80, 100) }, 80, 99, Following},
		{"from changelog.0", func(t *testing.T) *master { return newMaster(t, 50, 50, 90, 100) }, 60, 99, Following},
		{"primary restarted, idle", func(t *testing.T) *master { return newMaster(t, 50, 50, 100, 100) }, 60, 99, Following},
		{"primary restarted, nothing new", func(t *testing.T) *master { return newMaster(t, 50, 50, 100, 100) }, 100, 99, Following},
		{"from changelog.1 and 0", func(t *testing.T) *master {
			m := newMaster(t, 95, 80, 90, 100)
			m.files[1] = logOf(50, 79)
			return m
		}, 60, 99, Following},
		{"last entry is in changelog.1", func(t *testing.T) *master {
			m := newMaster(t, 95, 80, 90, 100)
			m.files[1] = logOf(50, 79)
			return m
		}, 80, 99, Following},
		{"rotated, nothing written since", func(t *testing.T) *master {
			m := newMaster(t, 100, 50, 100, 100)
			m.rotate(false)
			return m
		}, 100, 99, Following},
		{"no changelog at all, dump is of that version", func(t *testing.T) *master {
			m := newMaster(t, 100, 100, 100, 100)
			return m
		}, 100, 99, Unverified},
		{"from the first", func(t *testing.T) *master { return newMaster(t, 1, 1, 1, 100) }, 1, 99, Following},
		{"no metadata file", func(t *testing.T) *master {
			m := newMaster(t, 1, 50, 60, 100)
			m.base = ""
			return m
		}, 80, 99, Following},
		{"large file", func(t *testing.T) *master { return newMaster(t, 1, 1, 60000, 60000) }, 10, 59999, Following},
		{"more than memory allows", func(t *testing.T) *master { return newMaster(t, 1, 1, 1, 60000) }, 10, 59999, Following},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, tc.master, func(t *testing.T, l *Live, m *master, j *journal) {
				resume(t, l, tc.next)
				take(t, l, tc.next, tc.last)
				synctest.Wait()
				idle(t, l)
				m.change(5)
				take(t, l, tc.last+1, tc.last+5)
				if !j.has(tc.event, "") {
					t.Fatalf("event %v did not come", tc.event)
				}
				if s := l.Status(); !s.Following || s.Next != tc.last+6 || s.ReleaseText != "3.0.117-1" || s.Release.String() != "3.0.117" {
					t.Fatalf("status is %+v", s)
				}
			})
		})
	}
}

// A primary that loaded newer metadata than is known gives what came before, and
// then an end.
func TestLiveEndsAtRestart(t *testing.T) {
	for _, tc := range []struct {
		name    string
		master  func(*testing.T) *master
		next    meta.Version
		at      meta.Version // RestartedError; 0: none comes
		entries meta.Version // up to which there are some
	}{
		{"idle since", func(t *testing.T) *master { return newMaster(t, 100, 50, 100, 100) }, 100, 100, 99},
		{"changes since", func(t *testing.T) *master { return newMaster(t, 100, 50, 100, 120) }, 100, 100, 99},
		{"changes before and since", func(t *testing.T) *master { return newMaster(t, 100, 50, 100, 120) }, 60, 100, 99},
		{"only the connection was lost", func(t *testing.T) *master { return newMaster(t, 100, 50, 60, 100) }, 100, 0, 99},
		{"its own replay after a crash", func(t *testing.T) *master { return newMaster(t, 50, 50, 100, 100) }, 100, 0, 99},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, tc.master, func(t *testing.T, l *Live, m *master, j *journal) {
				l.cfg.Restarts = true
				resume(t, l, tc.next)
				take(t, l, tc.next, tc.entries)
				if tc.at == 0 {
					idle(t, l)
					return
				}
				var restarted *RestartedError
				if err := takeError(t, l); !errors.As(err, &restarted) || restarted.Version != tc.at {
					t.Fatalf("got %v, want a restart at version %d", err, tc.at)
				}
				if !j.has(Restarted, "") {
					t.Error("no event tells of the restart")
				}
				if b := bootstrap(t, l); b.Version != tc.at {
					t.Fatalf("base is %+v, want version %d", b, tc.at)
				}
			})
		})
	}
}

func TestLiveRefuses(t *testing.T) {
	for _, tc := range []struct {
		name    string
		master  func(*testing.T) *master
		next    meta.Version
		want    string
		wantErr error
	}{
		{"files do not reach back", func(t *testing.T) *master { return newMaster(t, 50, 50, 60, 100) }, 40, "has no entries 39 to 49", ErrGap},
		{"restarted, and files do not reach back", func(t *testing.T) *master { return newMaster(t, 95, 95, 100, 100) }, 60, "has no entries 59 to 94", ErrGap},
		{"only the entry before is gone", func(t *testing.T) *master { return newMaster(t, 50, 50, 60, 100) }, 50, "has no entries 49 to 49", ErrGap},
		{"lines lost at its end", func(t *testing.T) *master {
			m := newMaster(t, 100, 50, 100, 100)
			m.files[0] = logOf(50, 95)
			return m
		}, 90, "has no entries 96 to 99 (next is 100): the primary has loaded its metadata", ErrGap},
		{"nothing but a newer dump", func(t *testing.T) *master {
			m := newMaster(t, 100, 100, 100, 100)
			return m
		}, 80, "has no entries 80 to 99 (next is 100)", ErrGap},
		{"nothing at all", func(t *testing.T) *master {
			m := newMaster(t, 100, 100, 100, 100)
			m.base = ""
			return m
		}, 80, "has no entry 80", ErrGap},
		{"last entry differs, in memory", func(t *testing.T) *master {
			m := newMaster(t, 50, 50, 60, 100)
			m.texts[79] = "1|UNLINK(1,x):4"
			return m
		}, 80, `primary:9419: entry 79 is "1|UNLINK(1,x):4", but was "1795400079|CREATE(`, ErrDiverged},
		{"last entry differs, in the file", func(t *testing.T) *master {
			m := newMaster(t, 50, 50, 100, 100)
			m.files[0] = logOf(50, 78) + "79: 1|UNLINK(1,x):4\n" + logOf(80, 99)
			return m
		}, 80, `entry 79 is "1|UNLINK(1,x):4", but was`, ErrDiverged},
		{"primary is behind", func(t *testing.T) *master { return newMaster(t, 50, 50, 60, 100) }, 120,
			"at version 100, entry 119 is known: it was restored from an older state", ErrDiverged},
		{"primary is behind, with nothing but a dump", func(t *testing.T) *master { return newMaster(t, 100, 100, 100, 100) }, 120,
			"at version 100, entry 119 is known", ErrDiverged},
		{"file goes back", func(t *testing.T) *master {
			m := newMaster(t, 50, 50, 100, 100)
			m.files[0] += logOf(80, 80)
			return m
		}, 70, "version goes back", ErrDiverged},
		{"memory and file differ", func(t *testing.T) *master {
			m := newMaster(t, 50, 50, 90, 100)
			m.meddle = func(_, k int, p []byte) ([]byte, bool) {
				if k == 2 { // behind the release: an entry before the download's answer
					var e wire.Encoder
					(&wire.Change{Version: 95, Text: []byte("1|A()")}).Append(&e)
					p = append(e.Buf, p...)
				}
				return p, true
			}
			return m
		}, 70, `entry 95 is "1|A()", but was "17954`, ErrDiverged},
		{"other cluster", func(t *testing.T) *master {
			m := newMaster(t, 50, 50, 60, 100)
			m.base = metadataFile(50, 8, "")
			return m
		}, 80, "another metaid: 0000000000000008, not 0000000000000007", ErrMetaID},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, tc.master, func(t *testing.T, l *Live, m *master, j *journal) {
				l.cfg.Restarts = true
				resume(t, l, tc.next)
				err := takeError(t, l)
				wantText(t, err, tc.want)
				if !errors.Is(err, tc.wantErr) || !j.has(Lost, tc.want) || l.Status().Err == nil {
					t.Fatalf("got %v, want %v, an event and a status", err, tc.wantErr)
				}
				if again := takeError(t, l); again != err {
					t.Fatalf("second error is %v", again)
				}
				before := m.connections()
				time.Sleep(time.Hour)
				if n := m.connections(); n != before {
					t.Fatalf("%d connections after the end", n-before)
				}
			})
		})
	}
}

// A primary that was restored while it was away and sends versions long known.
func TestLiveSeesOlderVersions(t *testing.T) {
	inBubble(t, func(t *testing.T) *master { return newMaster(t, 50, 50, 60, 100) }, func(t *testing.T, l *Live, m *master, j *journal) {
		m.meddle = func(_, k int, p []byte) ([]byte, bool) {
			if k == 2 {
				var e wire.Encoder
				(&wire.Change{Version: 100, Text: []byte("1|A()")}).Append(&e)
				p = append(e.Buf, p...)
			}
			return p, true
		}
		resume(t, l, 120)
		err := takeError(t, l)
		wantText(t, err, "the primary is at version 101 only: it was restored from an older state")
		if !errors.Is(err, ErrDiverged) {
			t.Fatalf("got %T", err)
		}
	})
}

func TestLiveReconnects(t *testing.T) {
	inBubble(t, func(t *testing.T) *master {
		m := newMaster(t, 50, 50, 60, 100)
		m.refuse = 5
		return m
	}, func(t *testing.T, l *Live, m *master, j *journal) {
		resume(t, l, 80)
		take(t, l, 80, 99)
		for range 5 {
			m.hangUp()
			m.change(3)
			last := m.next - 1
			take(t, l, last-2, last)
		}
		m.rotate(true)
		time.Sleep(time.Hour) // keepalives hold the connection
		if n := m.connections(); n != 6 || !j.has(Rotated, "") || !j.has(Disconnected, "refused") {
			t.Fatalf("%d connections, want 6", n)
		}
		m.mu.Lock()
		m.mute = true
		m.mu.Unlock()
		time.Sleep(15 * time.Second)
		if !j.has(Disconnected, "the primary sent nothing for 10s") {
			t.Fatal("silence was not seen")
		}
	})
}

// A connection that breaks anywhere, again and again: each entry comes once.
func TestLiveRandomBreaks(t *testing.T) {
	for seed := range uint64(20) {
		inBubble(t, func(t *testing.T) *master {
			m := newMaster(t, 50, 50, 60, 100)
			m.base = metadataFile(50, 7, strings.Repeat("x", 1_500_000))
			rnd := rand.New(rand.NewPCG(seed, 1))
			m.meddle = func(conn, _ int, p []byte) ([]byte, bool) {
				often := 15
				if p[3] == byte(wire.MetachangesLog) {
					often = 500
				}
				if rnd.IntN(often) == 0 {
					return p[:rnd.IntN(len(p)+1)], false
				}
				return p, true
			}
			m.asked = func(_ int, typ wire.Type, _ []byte) {
				n, rotate, dump := rnd.IntN(5), rnd.IntN(30) == 0, rnd.IntN(2) == 0
				m.mu.Unlock()
				if m.change(n); rotate {
					m.rotate(dump)
				}
				m.mu.Lock()
			}
			return m
		}, func(t *testing.T, l *Live, m *master, j *journal) {
			b := bootstrap(t, l)
			at := b.Version
			for range 50 {
				m.change(20)
				m.mu.Lock()
				last := m.next - 1
				m.mu.Unlock()
				take1(t, l, &at, last)
			}
		})
	}
}

// take1 reads entries from *at until at least last.
func take1(t *testing.T, l *Live, at *meta.Version, last meta.Version) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for *at <= last {
		b, err := l.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for entry %d: %v", *at, err)
		}
		for _, e := range b.Entries {
			if e.Version != *at || string(e.Text) != text(*at) {
				t.Fatalf("got %d %q, want %d", e.Version, e.Text, *at)
			}
			*at++
		}
	}
}

// Nobody takes: the connection is closed, the primary queues nothing, and all
// comes later.
func TestLiveOverflow(t *testing.T) {
	const last = 200_000
	inBubble(t, func(t *testing.T) *master { return newMaster(t, 50, 50, 60, 100) }, func(t *testing.T, l *Live, m *master, j *journal) {
		resume(t, l, 80)
		for m.next <= last {
			m.change(10_000)
			time.Sleep(time.Minute)
		}
		if !j.has(Overflow, "3 MiB wait") {
			t.Fatal("no event of the overflow")
		}
		if s := l.Status(); s.Queued > 4<<20 || s.Connected {
			t.Fatalf("status is %+v", s)
		}
		at := meta.Version(80)
		take1(t, l, &at, m.next-1)
	})
}

func TestLiveConfig(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct{ name, address, want string }{
		{"default port", "master.example", "master.example:9419"},
		{"own port", "master.example:19419", "master.example:19419"},
		{"IPv6", "::1", "[::1]:9419"},
		{"IPv6 in brackets", "[::1]", "[::1]:9419"},
		{"IPv6 with port", "[::1]:7", "[::1]:7"},
	} {
		c := LiveConfig{Address: tc.address, Dir: dir}
		if err := c.Validate(); err != nil || c.Address != tc.want {
			t.Errorf("%s: got %q, %v, want %q", tc.name, c.Address, err, tc.want)
		}
	}
	for name, c := range map[string]LiveConfig{
		"address of the primary is not set": {Dir: dir},
		"directory for downloads":           {Address: "a", Dir: filepath.Join(dir, "absent")},
		"timeout of 1s":                     {Address: "a", Dir: dir, Timeout: time.Second},
		"less than 4 MiB":                   {Address: "a", Dir: dir, MaxMemory: 1},
		"is no range":                       {Address: "a", Dir: dir, MinBackoff: time.Hour},
	} {
		wantText(t, c.Validate(), name)
	}
}
