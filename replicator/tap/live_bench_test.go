package tap

import (
	"context"
	"net"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// BenchmarkLive takes entries from a connection on loopback.
func BenchmarkLive(b *testing.B) {
	const entries = 1_000_000
	var e wire.Encoder
	for v := meta.Version(1); v <= entries; v++ {
		(&wire.Change{Version: v, Text: []byte(text(v))}).Append(&e)
	}
	b.SetBytes(int64(len(e.Buf)))
	b.ReportAllocs()
	for b.Loop() {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		go serveBytes(listener, e.Buf)
		benchLive(b, listener.Addr().String(), entries)
		listener.Close()
	}
	b.ReportMetric(float64(entries*b.N)/b.Elapsed().Seconds(), "entries/s")
}

// serveBytes plays a master without a metadata file that has all its entries
// in memory and sends them at once.
func serveBytes(listener net.Listener, entries []byte) {
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _, rest, _, _ := wire.Split(entries, wire.MetaloggerMaxLength)
			for {
				t, _, err := wire.ReadPacket(c, nil, 100)
				if err != nil {
					return
				}
				var e wire.Encoder
				switch t {
				case wire.GetVersion:
					(&wire.Version{Numbered: true, MsgID: 1, Release: announced}).Append(&e)
				case wire.MetaloggerRegister:
					(&wire.Change{Version: 1, Text: []byte(text(1))}).Append(&e)
				case wire.DownloadStart:
					(&wire.Info{Missing: true}).Append(&e)
					e.Buf = append(e.Buf, rest...)
				}
				c.Write(e.Buf)
			}
		}()
	}
}

func benchLive(b *testing.B, address string, last meta.Version) {
	l, err := NewLive(LiveConfig{Address: address, Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ran := make(chan error)
	go func() { ran <- l.Run(ctx) }()
	if err := l.Resume(Position{Next: 1}); err != nil {
		b.Fatal(err)
	}
	for at := meta.Version(1); at <= last; {
		batch, err := l.Next(ctx)
		if err != nil {
			b.Fatal(err)
		}
		at += meta.Version(len(batch.Entries))
	}
	cancel()
	<-ran
	l.Close()
}
