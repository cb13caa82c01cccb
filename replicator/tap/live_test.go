package tap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
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

func TestLiveBootstraps(t *testing.T) {
	for _, tc := range []struct {
		name       string
		master     func(*testing.T) *master
		base, last meta.Version
	}{
		{"from changelog.0", func(t *testing.T) *master { return newMaster(t, 50, 50, 60, 100) }, 50, 99},
		{"dump is just made", func(t *testing.T) *master { return newMaster(t, 100, 100, 60, 100) }, 100, 99},
		{"changelog.0 begins before the dump", func(t *testing.T) *master { return newMaster(t, 50, 20, 60, 100) }, 50, 99},
		{"from changelog.1 and 0", func(t *testing.T) *master {
			m := newMaster(t, 60, 80, 100, 100)
			m.files[1] = logOf(20, 79)
			return m
		}, 60, 99},
		{"changelog.1 is another history, and not needed", func(t *testing.T) *master {
			m := newMaster(t, 60, 60, 100, 100)
			m.files[1] = strings.ReplaceAll(logOf(20, 79), "CREATE", "MKNOD")
			return m
		}, 60, 99},
		{"both are the same file", func(t *testing.T) *master {
			m := newMaster(t, 60, 80, 100, 100)
			m.files[1] = logOf(20, 99)
			return m
		}, 60, 99},
		{"new file system", func(t *testing.T) *master {
			m := newMaster(t, 1, 1, 1, 10)
			m.base = "MFSM NEW"
			return m
		}, 1, 9},
		{"larger than a block", func(t *testing.T) *master {
			m := newMaster(t, 50, 50, 60, 100)
			m.base = metadataFile(50, 7, strings.Repeat("0123456789", 250_001))
			return m
		}, 50, 99},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, tc.master, func(t *testing.T, l *Live, m *master, j *journal) {
				b := bootstrap(t, l)
				got, err := os.ReadFile(b.Path)
				if err != nil || string(got) != m.base || b.Version != tc.base || b.Size != int64(len(m.base)) {
					t.Fatalf("base is %+v with %d bytes, want version %d and %d bytes, %v", b, len(got), tc.base, len(m.base), err)
				}
				take(t, l, tc.base, tc.last)
				m.change(5)
				take(t, l, tc.last+1, tc.last+5)
				m.hangUp()
				m.change(5)
				take(t, l, tc.last+6, tc.last+10)
			})
		})
	}
}

// While the base is downloaded entries come, files are rotated and a newer
// dump replaces the one being read.
func TestLiveBootstrapWhilePrimaryWorks(t *testing.T) {
	for _, rotateAt := range []int{-1, 0, 1, 2, 3, 4, 5, 6} {
		for _, dump := range []bool{false, true} {
			t.Run(fmt.Sprintf("rotation at request %d, dump %v", rotateAt, dump), func(t *testing.T) {
				inBubble(t, func(t *testing.T) *master {
					m := newMaster(t, 50, 50, 60, 100)
					m.base = metadataFile(50, 7, strings.Repeat("0123456789", 250_001))
					n := 0
					m.asked = func(_ int, typ wire.Type, _ []byte) {
						if typ == wire.DownloadRequest || typ == wire.DownloadStart {
							m.mu.Unlock()
							if m.change(3); n == rotateAt {
								m.rotate(dump)
							}
							m.change(3)
							m.mu.Lock()
							n++
						}
					}
					return m
				}, func(t *testing.T, l *Live, m *master, j *journal) {
					b := bootstrap(t, l)
					synctest.Wait()
					m.mu.Lock()
					last := m.next - 1
					m.mu.Unlock()
					take(t, l, b.Version, last)
				})
			})
		}
	}
}

// The files that a writer in the background has not finished are fetched again.
func TestLiveWaitsForUnwrittenLines(t *testing.T) {
	inBubble(t, func(t *testing.T) *master {
		m := newMaster(t, 50, 50, 100, 100)
		m.files[0] = logOf(50, 90) + "91: 179"
		starts := 0
		m.asked = func(_ int, typ wire.Type, p []byte) {
			if typ == wire.DownloadStart && p[0] == 1 {
				if starts++; starts == 1 {
					m.mu.Unlock()
					m.change(1) // entry 100 comes, 91 to 99 are not in the file
					m.mu.Lock()
					m.files[0] = logOf(50, 90) + "91: 179"
				}
				if starts == 3 {
					m.files[0] = logOf(50, 100)
				}
			}
		}
		return m
	}, func(t *testing.T, l *Live, m *master, j *journal) {
		b := bootstrap(t, l)
		take(t, l, b.Version, 100)
		if !j.has(Retrying, "has no entries 91 to 99") {
			t.Fatal("no event of the retry")
		}
	})
}

// Without a new entry nothing tells that lines are not written yet; then the
// primary is asked again.
func TestLiveAsksForUnwrittenLines(t *testing.T) {
	half := func(t *testing.T) *master {
		m := newMaster(t, 50, 50, 60, 100)
		m.files[0] = logOf(50, 90) + "91: 179"
		return m
	}
	inBubble(t, half, func(t *testing.T, l *Live, m *master, j *journal) {
		b := bootstrap(t, l)
		take(t, l, b.Version, 99)
	})
	inBubble(t, half, func(t *testing.T, l *Live, m *master, j *journal) {
		resume(t, l, 55) // no more in memory
		take(t, l, 55, 99)
	})
}

// A dump older than both changelogs cannot be used; when a newer one is there,
// it is.
func TestLiveBootstrapNeedsARecentDump(t *testing.T) {
	old := func(t *testing.T) *master {
		m := newMaster(t, 20, 80, 100, 100)
		m.files[1] = logOf(50, 79)
		return m
	}
	inBubble(t, old, func(t *testing.T, l *Live, m *master, j *journal) {
		_, err := l.Bootstrap(t.Context(), 0)
		wantText(t, err, "has no entries 20 to 49 (next is 50): its changelog.0.mfs and changelog.1.mfs do not reach back to its metadata.mfs.back")
		if !errors.Is(err, ErrGap) {
			t.Fatalf("got %T", err)
		}
		m.rotate(true)
		if b := bootstrap(t, l); b.Version != 100 {
			t.Fatalf("base is %+v", b)
		}
	})
	inBubble(t, func(t *testing.T) *master {
		m := old(t)
		starts := 0
		m.asked = func(_ int, typ wire.Type, p []byte) {
			if typ == wire.DownloadStart && p[0] == 1 {
				if starts++; starts == 2 {
					m.base = metadataFile(80, 7, "newer")
				}
			}
		}
		return m
	}, func(t *testing.T, l *Live, m *master, j *journal) {
		b := bootstrap(t, l)
		if b.Version != 80 {
			t.Fatalf("base is %+v", b)
		}
		take(t, l, 80, 99)
	})
}

func TestLiveBootstrapRefusals(t *testing.T) {
	for _, tc := range []struct {
		name  string
		base  string
		event string
	}{
		{"no file", "", "the primary has no metadata.mfs.back yet"},
		{"cut file", metadataFile(50, 7, "body")[:40], "metadata file is cut"},
		{"not a metadata file", strings.Repeat("x", 100), `it starts with "xxxxxxxx"`},
		{"empty file that exists", "x", "is too short"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) *master {
				m := newMaster(t, 50, 50, 60, 100)
				m.base = tc.base
				return m
			}, func(t *testing.T, l *Live, m *master, j *journal) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := l.Bootstrap(ctx, 0); !errors.Is(err, context.DeadlineExceeded) || !j.has(Disconnected, tc.event) {
					t.Fatalf("got error %v, want event %q", err, tc.event)
				}
				if n := m.connections(); n < 8 || n > 60 {
					t.Fatalf("%d connections in a minute", n)
				}
				m.mu.Lock()
				m.base = metadataFile(50, 7, "good")
				m.mu.Unlock()
				bootstrap(t, l)
				take(t, l, 50, 99)
			})
		})
	}
	inBubble(t, func(t *testing.T) *master { return newMaster(t, 50, 50, 60, 100) }, func(t *testing.T, l *Live, m *master, j *journal) {
		if _, err := l.Bootstrap(t.Context(), 9); !errors.Is(err, ErrMetaID) {
			t.Fatalf("got %v, want another metaid", err)
		}
	})
}

func TestLiveDownloadRepairs(t *testing.T) {
	const size = 3_500_000
	content := metadataFile(50, 7, strings.Repeat("0123456", size/7))
	isBlock := func(p []byte, k *int) bool {
		if p[3] == byte(wire.DownloadData) {
			*k++
			return true
		}
		return false
	}
	t.Run("a block with a wrong CRC is asked for again", func(t *testing.T) {
		blocks := 0
		inBubble(t, func(t *testing.T) *master {
			m := newMaster(t, 50, 50, 60, 100)
			m.base = content
			m.meddle = func(_, _ int, p []byte) ([]byte, bool) {
				if isBlock(p, &blocks) && (blocks >= 3 && blocks <= 6) {
					p[30] ^= 1
				}
				return p, true
			}
			return m
		}, func(t *testing.T, l *Live, m *master, j *journal) {
			b := bootstrap(t, l)
			if got, err := os.ReadFile(b.Path); err != nil || string(got) != content {
				t.Fatalf("base differs, %v", err)
			}
			if !j.has(Retrying, "bytes 1000000+1000000 of metadata.mfs.back of the primary have a wrong CRC") || j.has(Disconnected, "") {
				t.Fatal("no event, or the wrong one")
			}
		})
	})
	t.Run("a block that is never right ends the connection", func(t *testing.T) {
		blocks := 0
		inBubble(t, func(t *testing.T) *master {
			m := newMaster(t, 50, 50, 60, 100)
			m.base = content
			m.meddle = func(_, _ int, p []byte) ([]byte, bool) {
				if isBlock(p, &blocks) && (blocks >= 3 && blocks <= 8) {
					p[30] ^= 1
				}
				return p, true
			}
			return m
		}, func(t *testing.T, l *Live, m *master, j *journal) {
			bootstrap(t, l)
			if !j.has(Disconnected, "have a wrong CRC") {
				t.Fatal("no event, or the wrong one")
			}
		})
	})
	t.Run("a lost connection is taken up where it was", func(t *testing.T) {
		blocks := 0
		var offsets []uint64
		inBubble(t, func(t *testing.T) *master {
			m := newMaster(t, 50, 50, 60, 100)
			m.base = content
			m.meddle = func(conn, _ int, p []byte) ([]byte, bool) {
				return p, !isBlock(p, &blocks) || conn > 1 || blocks < 4
			}
			m.asked = func(conn int, typ wire.Type, p []byte) {
				var r wire.Request
				if conn == 2 && typ == wire.DownloadRequest && r.Decode(wire.NewDecoder(p)) == nil && r.Length > 24 {
					offsets = append(offsets, r.Offset)
				}
			}
			return m
		}, func(t *testing.T, l *Live, m *master, j *journal) {
			b := bootstrap(t, l)
			got, err := os.ReadFile(b.Path)
			if err != nil || string(got) != content || len(offsets) < 2 || offsets[0] != 3_000_000 {
				t.Fatalf("base differs, %v; the second connection asked for %v", err, offsets)
			}
		})
	})
	t.Run("another dump is downloaded from its start", func(t *testing.T) {
		blocks := 0
		other := metadataFile(60, 7, strings.Repeat("6543210", size/7))
		inBubble(t, func(t *testing.T) *master {
			m := newMaster(t, 50, 50, 60, 100)
			m.base = content
			m.meddle = func(conn, _ int, p []byte) ([]byte, bool) {
				if !isBlock(p, &blocks) || conn > 1 || blocks < 4 {
					return p, true
				}
				m.base = other
				return p, false
			}
			return m
		}, func(t *testing.T, l *Live, m *master, j *journal) {
			b := bootstrap(t, l)
			if got, err := os.ReadFile(b.Path); err != nil || !bytes.Equal(got, []byte(other)) || b.Version != 60 {
				t.Fatalf("base %+v is not the other dump, %v", b, err)
			}
		})
	})
}

// Whatever a primary sends on its first connections: the error is told, and a
// later connection goes on exactly where it was.
func TestLiveSurvivesNonsense(t *testing.T) {
	entry := func(v meta.Version, text string) []byte {
		var e wire.Encoder
		(&wire.Change{Version: v, Text: []byte(text)}).Append(&e)
		return e.Buf
	}
	packet := func(typ wire.Type, payload string) []byte { return wire.AppendPacket(nil, typ, []byte(payload)) }
	for _, tc := range []struct {
		name  string
		sends []byte
		want  string
	}{
		{"unknown packet", packet(4711, "x"), "packet type 4711 of 1 bytes from the primary: metaloggers do not get such packets"},
		{"register sent back", packet(wire.MetaloggerRegister, "x"), "ANTOMA_REGISTER (50) of 1 bytes from the primary"},
		{"packet too long", []byte{0, 0, 0, 51, 0xFF, 0, 0, 0}, "longer than allowed"},
		{"HTTP", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "longer than allowed"},
		{"entry without NUL", packet(wire.MetachangesLog, "\xff\x00\x00\x00\x00\x00\x00\x00\x64abc"), "does not end with a NUL"},
		{"entry too short", packet(wire.MetachangesLog, "\xff\x00\x00"), "too short"},
		{"entry with another mark", packet(wire.MetachangesLog, "\x01\x00"), "neither an entry nor a rotation mark"},
		{"entry of version 0", entry(0, text(1)), "entry has version 0"},
		{"entry that is none", entry(100, "rubbish"), `entry 100: entry is not TIME|OPERATION(ARGUMENTS)[:RESULTS]: "rubbish"`},
		{"entry too high", entry(107, text(107)), "the primary sent entry 107 where 100 was due"},
		{"entry again", entry(99, text(99)), "the primary sent entry 99 where 100 was due"},
		{"keepalive with content", packet(wire.Nop, "x"), "left after its last field"},
		{"answer nobody wants", packet(wire.DownloadInfo, "12345678"), "it was not asked for"},
		{"data nobody wants", packet(wire.DownloadData, strings.Repeat("x", 20)), "it was not asked for"},
		{"version nobody wants", packet(wire.VersionReply, strings.Repeat("x", 20)), "it was not asked for"},
		{"refusal of 4.x", packet(wire.MasterAck, "\x02\x00\x04\x3b\x04"), "refuses the registration (2)"},
		{"bad acknowledgement", packet(wire.MasterAck, "\x02"), "too short"},
		{"bad timeout", packet(wire.ForceTimeout, "\x02"), "too short"},
		{"half a packet", []byte{0, 0, 0, 51, 0, 0, 0, 99, 1}, "closed the connection within a packet"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) *master { return newMaster(t, 50, 50, 60, 100) }, func(t *testing.T, l *Live, m *master, j *journal) {
				resume(t, l, 80)
				take(t, l, 80, 99)
				synctest.Wait()
				m.mu.Lock()
				m.meddle = func(conn, _ int, p []byte) ([]byte, bool) {
					if conn == 1 {
						return tc.sends, false
					}
					return p, true
				}
				m.mu.Unlock()
				m.change(1)
				take(t, l, 100, 100)
				m.change(3)
				take(t, l, 101, 103)
				if !j.has(Disconnected, tc.want) {
					t.Fatalf("no event with %q", tc.want)
				}
			})
		})
	}
}

// The same while a connection begins: each answer is replaced by nonsense.
func TestLiveSurvivesNonsenseAtStart(t *testing.T) {
	nop := wire.AppendPacket(nil, wire.Nop, nil)
	for k := 1; k <= 3; k++ {
		for name, sends := range map[string]func(p []byte) ([]byte, bool){
			"cut":          func(p []byte) ([]byte, bool) { return p[:len(p)-1], false },
			"empty":        func(p []byte) ([]byte, bool) { return append(p[:4:4], 0, 0, 0, 0), true },
			"longer":       func(p []byte) ([]byte, bool) { return wire.AppendPacket(nil, wire.Type(p[3]), append(p[8:], 1)), true },
			"twice":        func(p []byte) ([]byte, bool) { return append(p, p...), true },
			"closed":       func(p []byte) ([]byte, bool) { return nil, false },
			"never":        func(p []byte) ([]byte, bool) { return nop, true },
			"another kind": func(p []byte) ([]byte, bool) { return wire.AppendPacket(nil, wire.DownloadEnd, nil), true },
		} {
			t.Run(fmt.Sprintf("answer %d %s", k, name), func(t *testing.T) {
				inBubble(t, func(t *testing.T) *master {
					m := newMaster(t, 50, 50, 100, 100)
					m.meddle = func(conn, n int, p []byte) ([]byte, bool) {
						if conn <= 2 && n == k {
							return sends(p)
						}
						return p, true
					}
					return m
				}, func(t *testing.T, l *Live, m *master, j *journal) {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
					defer cancel()
					if _, err := l.Bootstrap(ctx, 0); err != nil {
						t.Fatal(err)
					}
					take(t, l, 50, 99)
				})
			})
		}
	}
}

func TestLiveKnowsPacketsOf4x(t *testing.T) {
	inBubble(t, func(t *testing.T) *master { return newMaster(t, 50, 50, 60, 100) }, func(t *testing.T, l *Live, m *master, j *journal) {
		resume(t, l, 80)
		take(t, l, 80, 99)
		synctest.Wait()
		m.mu.Lock()
		c := m.conns[0]
		c.push(&wire.Ack{Type: 1, Release: 0x00043B04})
		c.push(&wire.Timeout{Seconds: 60})
		m.mute = true
		m.mu.Unlock()
		time.Sleep(50 * time.Second)
		m.change(1)
		take(t, l, 100, 100)
		if n := m.connections(); n != 1 {
			t.Fatalf("%d connections, want that the timeout is 60 s now", n)
		}
		time.Sleep(61 * time.Second)
		if n := m.connections(); n < 2 || !j.has(Disconnected, "the primary sent nothing for 1m0s") {
			t.Fatalf("%d connections, want a new one after 60 s of silence", n)
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

// A full disk ends the bootstrap with a clear error.
func TestLiveCannotStore(t *testing.T) {
	inBubble(t, func(t *testing.T) *master { return newMaster(t, 50, 50, 60, 100) }, func(t *testing.T, l *Live, m *master, j *journal) {
		if err := os.Mkdir(filepath.Join(l.cfg.Dir, "base.part"), 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := l.Bootstrap(t.Context(), 0)
		wantText(t, err, "base.part: is a directory")
	})
}
