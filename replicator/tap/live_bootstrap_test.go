package tap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

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
