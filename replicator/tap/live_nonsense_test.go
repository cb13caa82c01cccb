package tap

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

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
