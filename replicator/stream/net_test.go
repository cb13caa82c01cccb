package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
)

func listenServer(t *testing.T, dir, addr string) *Server {
	t.Helper()
	s, err := StartServer(ServerConfig{StoreDir: dir, Name: "test", Listen: addr, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func connectTo(t *testing.T, url string) *Conn {
	t.Helper()
	c, err := Connect(Config{URL: url, Timeout: 2 * time.Second, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestServerRestart(t *testing.T) {
	dir := t.TempDir()
	s := listenServer(t, dir, "127.0.0.1:0")
	addr := s.nats.Addr().String()
	c := open(t, connectTo(t, s.URL()))
	w := newWriter(t, c, 1)
	r := c.Reader(Position{Version: 1}, ReaderConfig{})
	defer r.Close()
	for i := range 3 {
		appendAll(t, w, 100, 10)
		readTo(t, r, w.Next())
		s.Close()
		// Nobody answers: the writer waits as long as it may.
		short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := w.Append(short, makeEntries(w.Next(), 10), testTime)
		if err == nil {
			err = w.Flush(short)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("without a server: got %v, want DeadlineExceeded", err)
		}
		if _, err := r.Next(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("reading without a server: got %v, want DeadlineExceeded", err)
		}
		cancel()
		s = listenServer(t, dir, addr)
		appendAll(t, w, 100, 10)
		readTo(t, r, w.Next())
		if w.Acked() != meta.Version(1+210*(i+1)) {
			t.Fatalf("acked %d after %d restarts, want each entry once", w.Acked(), i+1)
		}
	}
}

// What fails because there is no server is worth another try; what the server
// says is not.
func TestAway(t *testing.T) {
	s := listenServer(t, t.TempDir(), "127.0.0.1:0")
	conn := connectTo(t, s.URL())
	c := open(t, conn)
	if _, err := c.GetBase(t.Context(), 17, io.Discard); !errors.Is(err, ErrNoBase) || Away(err) {
		t.Errorf("a base image that is not there: %v, away: %v", err, Away(err))
	}
	s.Close()
	_, endErr := c.End(t.Context())
	_, listErr := c.ListBases(t.Context())
	_, getErr := c.GetBase(t.Context(), 17, io.Discard)
	_, openErr := conn.Open(t.Context(), ClusterConfig{MetaID: 1})
	_, writerErr := c.OpenWriter(t.Context(), WriterConfig{Who: "test"})
	for what, err := range map[string]error{"end": endErr, "list": listErr, "get": getErr, "open": openErr, "writer": writerErr} {
		if err == nil || !Away(err) {
			t.Errorf("%s without a server: %v is not taken for the lack of one", what, err)
		}
	}
}

// flakyProxy forwards to addr and cuts each connection after a random number of
// bytes from either side.
func flakyProxy(t *testing.T, addr string, rnd *rand.Rand) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				return
			}
			var once sync.Once
			cut := func() { once.Do(func() { in.Close(); out.Close() }) }
			up, down := int64(20000+rnd.IntN(400000)), int64(20000+rnd.IntN(20000))
			go func() { io.CopyN(out, in, up); cut() }()
			go func() { io.CopyN(in, out, down); cut() }()
		}
	}()
	return "nats://" + l.Addr().String()
}

// TestFlakyNetwork loses messages and acknowledgements in the middle; each entry
// is in the stream once nevertheless.
func TestFlakyNetwork(t *testing.T) {
	s := listenServer(t, t.TempDir(), "127.0.0.1:0")
	near := open(t, connectTo(t, s.URL()))
	newWriter(t, near, 1)
	far, err := connectTo(t, flakyProxy(t, s.nats.Addr().String(), rand.New(rand.NewPCG(3, 4)))).Open(t.Context(), ClusterConfig{MetaID: testMetaID})
	if err != nil {
		t.Fatal(err)
	}
	w := openWriterAt(t, far, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	for w.Next() < 20000 {
		if err := w.Append(ctx, makeEntries(w.Next(), 50), testTime); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if cuts := far.conn.nc.Stats().Reconnects; cuts < 3 {
		t.Fatalf("the connection was cut %d times only", cuts)
	}
	r := near.Reader(Position{Version: 1}, ReaderConfig{})
	defer r.Close()
	readTo(t, r, w.Acked())
	if w.Acked() != w.Next() || r.Position() != w.End() {
		t.Fatalf("acked %d, next %d, reader %+v, writer %+v", w.Acked(), w.Next(), r.Position(), w.End())
	}
}

// TestManyWriters: writers that take over from one another at once. What a
// writer saw acknowledged is in the stream, in its words.
func TestManyWriters(t *testing.T) {
	s := startServer(t, t.TempDir(), false)
	c := open(t, connect(t, s))
	newWriter(t, c, 1)
	var mu sync.Mutex
	acked := map[meta.Version][]byte{}
	var group sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := range 4 {
		mine := open(t, connect(t, s))
		group.Go(func() {
			for life := range 15 {
				w, err := mine.OpenWriter(ctx, WriterConfig{Who: fmt.Sprint(i)})
				if err != nil {
					t.Error(err)
					return
				}
				sent := map[meta.Version][]byte{}
				err = w.Open(ctx, "race", testTime)
				for n := 0; err == nil && n < 30; n++ {
					e := meta.RawEntry{Version: w.Next(), Text: fmt.Appendf(nil, "writer %d life %d", i, life)}
					sent[e.Version] = e.Text
					err = w.Append(ctx, []meta.RawEntry{e}, testTime)
				}
				if err == nil {
					err = w.Flush(ctx)
				}
				if err != nil && !errors.Is(err, ErrFenced) {
					t.Error(err)
				}
				mu.Lock()
				for v, text := range sent {
					if v < w.Acked() {
						acked[v] = text
					}
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	end := openWriter(t, c, "end").Next()
	r := c.Reader(Position{Version: 1}, ReaderConfig{})
	defer r.Close()
	for want := meta.Version(1); want < end; {
		b, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Entries {
			if e.Version != want {
				t.Fatalf("version %d, want %d", e.Version, want)
			}
			if text, ok := acked[want]; ok && !bytes.Equal(text, e.Text) {
				t.Fatalf("entry %d: acknowledged was %q, the stream has %q", want, text, e.Text)
			}
			want++
		}
	}
	if len(acked) < 20 {
		t.Fatalf("only %d entries were acknowledged", len(acked))
	}
}

// A server that goes away while it is being greeted is one to try again.
func TestConnectBrokenOff(t *testing.T) {
	for _, reset := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := l.Accept()
			l.Close()
			if err != nil {
				return
			}
			if reset {
				c.(*net.TCPConn).SetLinger(0)
			}
			c.Close()
		}()
		conn, err := Connect(Config{URL: "nats://" + l.Addr().String(), Log: quiet})
		if err == nil {
			conn.Close()
		}
		if !Away(err) {
			t.Errorf("reset %v: got %v, want one that Away knows", reset, err)
		}
	}
}
