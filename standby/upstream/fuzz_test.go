package upstream

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"mfsstandby/replicator/wire"
)

// script is a connection on which some bytes come, and then its end.
type script struct {
	net.Conn
	in io.Reader

	mu  sync.Mutex // guards what follows
	out bytes.Buffer
}

func (s *script) Read(b []byte) (int, error)       { return s.in.Read(b) }
func (s *script) Close() error                     { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1} }

func (s *script) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

// Whatever a metalogger sends, the answers are whole packets of the master's
// kinds, and its end is the connection's.
func FuzzPackets(f *testing.F) {
	seed := func(packets ...packet) {
		var e wire.Encoder
		for _, p := range packets {
			p.Append(&e)
		}
		f.Add(e.Buf)
	}
	seed(&wire.Register{Release: release3, Timeout: 10}, &wire.Start{File: wire.FileMetadata}, &wire.Request{Length: 100})
	seed(&wire.Register{Release: release3, Timeout: 3, From: 11}, &wire.Start{File: wire.FileMetadata}, &wire.Start{File: wire.FileChangelog0}, &wire.Request{Offset: 5, Length: 20}, &wire.Start{File: wire.FileChangelog1})
	seed(&wire.VersionRequest{}, &wire.VersionRequest{Numbered: true}, &wire.ConfigRequest{Name: []byte("BACK_LOGS")}, &wire.Start{File: wire.FileSessions})
	seed(&wire.Register{Release: wire.NewRelease(4, 59, 2), From: 1 << 63}, &wire.Register{})
	f.Add(wire.AppendPacket(wire.AppendPacket(nil, wire.DownloadEnd, nil), wire.Nop, []byte{1}))

	u, err := New(Config{Dir: f.TempDir(), BackLogs: 3, SaveEvery: 1, Options: map[string]string{"BACK_LOGS": "3"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	j, _ := openJournal(u.cfg.Dir, metaid, 3)
	if err := j.begin(metaid, at(200)); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(j.path(metadataName), metadataFile(200, 500), 0o644); err != nil {
		f.Fatal(err)
	}
	w := &work{Upstream: u, src: newMemory(10, 200), j: j, saved: make(chan struct{}), turned: make(chan struct{})}
	w.durable.sync = func() error { return nil }
	close(w.saved)
	f.Fuzz(func(t *testing.T, in []byte) {
		s := &script{in: bytes.NewReader(in)}
		if err := newPeer(w, s).run(t.Context()); err == nil {
			t.Fatal("it ended without a reason")
		}
		for b := s.out.Bytes(); len(b) > 0; {
			typ, _, rest, ok, err := wire.Split(b, wire.MetaloggerMaxLength)
			if err != nil || !ok {
				t.Fatalf("%x is no packet: %v", b[:min(len(b), 40)], err)
			}
			switch typ {
			case wire.Nop, wire.MetachangesLog, wire.DownloadInfo, wire.DownloadData, wire.ConfigValue, wire.MasterAck, wire.VersionReply:
			default:
				t.Fatalf("a master does not send %v", typ)
			}
			b = rest
		}
	})
}
