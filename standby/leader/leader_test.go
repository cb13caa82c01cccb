package leader

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/oprand"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby/image"
	"mfsstandby/standby/metafile"
)

const (
	testMetaID  = 0x5F3A7C0011223344
	testVersion = 100
	testTime    = 1_700_000_000
)

var quiet = slog.New(slog.DiscardHandler)

// base is the metadata that all images of the tests begin with.
func base(t testing.TB) []byte {
	t.Helper()
	st := oprand.Fresh(testTime)
	st.MetaID = testMetaID
	st.NextSession = 2
	st.Sessions.Insert(1, meta.Session{Root: meta.Root, MaxGoal: 9, MaxTrash: 1 << 31})
	var buf bytes.Buffer
	if err := metafile.Write(&buf, st, metafile.Header{Version: testVersion, MetaID: testMetaID}, metafile.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// newImage opens an image of the base.
func newImage(t testing.TB) *image.Image {
	t.Helper()
	img, err := image.Open(image.Config{Dir: t.TempDir(), Cache: image.MinCache})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	err = img.Update(func(st *meta.State, pos image.Position) (image.Position, error) {
		h, err := metafile.Read(bytes.NewReader(base(t)), st, metafile.ReadOptions{})
		pos.Version, pos.Time = h.Version, testTime
		return pos, err
	})
	if err == nil {
		err = img.Commit(true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// newCluster is a stream of its own that begins at the base.
func newCluster(t testing.TB) *stream.Cluster {
	t.Helper()
	s, err := stream.StartServer(stream.ServerConfig{StoreDir: t.TempDir(), Name: "test", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return newClusterOn(t, s)
}

func newClusterOn(t testing.TB, s *stream.Server) *stream.Cluster {
	t.Helper()
	c, err := stream.Connect(stream.Config{Server: s, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl, err := c.Open(t.Context(), stream.ClusterConfig{MetaID: testMetaID})
	if err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, cl, "tap")
	if _, err := cl.PutBase(t.Context(), stream.Base{Version: testVersion, Release: "3.0.117"}, bytes.NewReader(base(t))); err != nil {
		t.Fatal(err)
	}
	if err := w.Rebase(t.Context(), testVersion, "test", time.Unix(testTime, 0)); err != nil {
		t.Fatal(err)
	}
	return cl
}

func newWriter(t testing.TB, cl *stream.Cluster, who string) *stream.Writer {
	t.Helper()
	w, err := cl.OpenWriter(t.Context(), stream.WriterConfig{Who: who, Release: "3.0.117"})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// writer gives a stream.Writer the form that a Leader wants.
type writer struct{ *stream.Writer }

func (w writer) End() image.Position {
	end := w.Writer.End()
	pos := image.Position{Version: end.Version, Epoch: uint64(end.Epoch), Seq: uint64(end.Seq)}
	binary.BigEndian.PutUint64(pos.Chain[:8], end.Chain.Hi)
	binary.BigEndian.PutUint64(pos.Chain[8:], end.Chain.Lo)
	return pos
}

// promote opens an epoch, again and again while another writer is faster.
func promote(t testing.TB, cl *stream.Cluster, who string) writer {
	t.Helper()
	for {
		w := newWriter(t, cl, who)
		err := w.Open(t.Context(), "promoted", time.Unix(testTime, 0))
		if err == nil {
			return writer{w}
		}
		if !errors.Is(err, stream.ErrFenced) {
			t.Fatal(err)
		}
	}
}

// follow brings an image to the end of the stream.
func follow(t *testing.T, img *image.Image, cl *stream.Cluster) {
	t.Helper()
	end, err := cl.End(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := cl.Reader(stream.Position{Version: img.Position().Version}, stream.ReaderConfig{})
	defer r.Close()
	for img.Position().Version < end.Version {
		b, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		err = img.Update(func(st *meta.State, pos image.Position) (image.Position, error) {
			for _, raw := range b.Entries {
				now, op, err := changelog.NewBatch().Parse(raw.Text)
				if err != nil {
					return pos, err
				}
				if raw.Version < pos.Version {
					continue
				}
				if err := changelog.ApplyEntry(st, changelog.Entry{Version: raw.Version, Time: now, Op: op}); err != nil {
					return pos, err
				}
				pos.Version++
				pos.Time = now
			}
			return pos, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func digest(t *testing.T, img *image.Image) string {
	t.Helper()
	v, sum, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d:%v", v, sum)
}

// lead runs a leader; stop ends it and returns why Run ended.
func lead(t testing.TB, cfg Config) (l *Leader, stop func() error) {
	t.Helper()
	if cfg.Clock == nil {
		cfg.Clock = func() time.Time { return time.Unix(testTime+10, 0) }
	}
	ctx, cancel := context.WithCancel(t.Context())
	l = New(cfg)
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() {
			cancel()
			err = <-ended
		})
		return err
	}
	t.Cleanup(func() { stop() })
	return l, stop
}

// mkdir asks for a directory in the root.
func mkdir(ctx context.Context, l *Leader, name string) (meta.Status, error) {
	var status meta.Status
	err := l.Do(ctx, func(t *Turn) {
		s, _ := t.State().Sessions.Get(1)
		c := changelog.NewCaller(1, &s, true, 0, []uint32{0}, nil)
		_, status = t.Do(&c, &changelog.CreateRequest{Parent: meta.Root, Base: []byte(name), Type: meta.TypeDir, Mode: 0o755})
	})
	return status, err
}

func has(t *testing.T, img *image.Image, name string) (ok bool) {
	t.Helper()
	err := img.Read(func(st *meta.State, _ image.Position) error {
		_, ok = st.Edges.Get(meta.Root, []byte(name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// The last change is soon committed when nothing comes after it, also if its pages
// were written before.
func TestTheLastChangeIsCommitted(t *testing.T) {
	img, begun := newImage(t), time.Now()
	clock := func() time.Time { return time.Unix(testTime, 0).Add(time.Since(begun)) }
	l, _ := lead(t, Config{Image: img, Stream: promote(t, newCluster(t), "leader"), Clock: clock, CommitEvery: time.Millisecond})
	err := l.Do(t.Context(), func(turn *Turn) {
		turn.Add(&changelog.Create{Parent: meta.Root, Base: []byte("d"), Type: meta.TypeDir, Mode: 0o755})
		for range turn.State().Nodes.Scan(0) { // needs all of them in the store
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); img.Known().Committed.Version != testVersion+1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the image is at %+v", img.Known())
		}
	}
}

// What many clients ask for at once is in the stream when they are answered,
// and whoever follows the stream has the same metadata.
func TestRequestsBecomeEntries(t *testing.T) {
	cl := newCluster(t)
	img := newImage(t)
	l, stop := lead(t, Config{Image: img, Stream: promote(t, cl, "a"), CommitEvery: 20 * time.Millisecond})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 10 {
				name := fmt.Sprintf("d%d-%d", i, j)
				if status, err := mkdir(t.Context(), l, name); err != nil || status != meta.OK {
					t.Errorf("mkdir %s: %v, %v", name, status, err)
				}
				if status, err := mkdir(t.Context(), l, name); err != nil || status != meta.EEXIST {
					t.Errorf("mkdir %s again: %v, %v", name, status, err)
				}
			}
		})
	}
	wg.Wait()
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Fatalf("Run ended with %v", err)
	}
	replica := newImage(t)
	follow(t, replica, cl)
	if got, want := digest(t, replica), digest(t, img); got != want {
		t.Fatalf("a follower is at %s, the leader at %s", got, want)
	}
	if got := img.Position().Version; got != testVersion+200 {
		t.Fatalf("the leader is at version %d, want %d", got, testVersion+200)
	}
	if _, err := mkdir(t.Context(), l, "late"); !errors.Is(err, ErrLost) {
		t.Fatalf("a request after the end: %v, want ErrLost", err)
	}
}

// fake is a Writer in the hands of a test.
type fake struct {
	version meta.Version
	appends atomic.Int32
	append  func() error
	flush   func() error
}

func (f *fake) Append(_ context.Context, entries []meta.RawEntry, _ time.Time) error {
	f.appends.Add(1)
	if f.append != nil {
		if err := f.append(); err != nil {
			return err
		}
	}
	f.version += meta.Version(len(entries))
	return nil
}

func (f *fake) Flush(context.Context) error {
	if f.flush != nil {
		return f.flush()
	}
	return nil
}

func (f *fake) End() image.Position { return image.Position{Version: f.version, Epoch: 2, Seq: 7} }

// While a batch is on the way nobody is told of it, neither who asked for it nor
// who reads; requests that come meanwhile travel together.
func TestAnswersWaitForTheStream(t *testing.T) {
	img := newImage(t)
	reached, release := make(chan struct{}), make(chan struct{})
	f := &fake{version: testVersion, flush: func() error {
		reached <- struct{}{}
		<-release
		return nil
	}}
	l, _ := lead(t, Config{Image: img, Stream: f})
	answered := make(chan string, 100)
	ask := func(name string) {
		go func() {
			status, err := mkdir(t.Context(), l, name)
			answered <- fmt.Sprint(name, status, err)
		}()
	}
	ask("first")
	<-reached
	saw := make(chan bool, 1)
	read := make(chan error, 1)
	go func() {
		read <- l.Read(t.Context(), func(st *meta.State, _ image.Position) error {
			_, ok := st.Edges.Get(meta.Root, []byte("first"))
			saw <- ok
			return nil
		})
	}()
	if !<-saw {
		t.Fatal("a reader is kept from the state that it is to wait for")
	}
	for i := range 50 {
		ask(fmt.Sprint("more", i))
	}
	for len(l.in) < 50 {
		time.Sleep(time.Millisecond)
	}
	select {
	case a := <-answered:
		t.Fatalf("answered before the stream has the entry: %s", a)
	case err := <-read:
		t.Fatalf("read before the stream has the entry: %v", err)
	default:
	}
	if got := img.Position().Version; got != testVersion {
		t.Fatalf("the image says version %d before the stream has it", got)
	}
	release <- struct{}{}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	for n := 1; n < 51; {
		select {
		case <-reached:
			release <- struct{}{}
		case <-answered:
			n++
		}
	}
	if got := f.appends.Load(); got != 2 {
		t.Errorf("%d batches, want 2: those that waited should have travelled together", got)
	}
}

// Whatever fails, no request is answered with success, nothing of the batch is
// left after Reset, and the next leader goes on from there.
func TestFaults(t *testing.T) {
	bad := errors.New("broken")
	for name, f := range map[string]*fake{
		"append": {append: func() error { return bad }},
		"flush":  {flush: func() error { return bad }},
		"fenced": {append: func() error { return stream.ErrFenced }},
	} {
		t.Run(name, func(t *testing.T) {
			img := newImage(t)
			want := digest(t, img)
			f.version = testVersion
			l, stop := lead(t, Config{Image: img, Stream: f})
			var wg sync.WaitGroup
			for i := range 10 {
				wg.Go(func() {
					if _, err := mkdir(t.Context(), l, fmt.Sprint("d", i)); !errors.Is(err, ErrLost) {
						t.Errorf("mkdir: %v, want ErrLost", err)
					}
				})
			}
			wg.Wait()
			if err := stop(); errors.Is(err, context.Canceled) || err == nil {
				t.Fatalf("Run ended with %v", err)
			}
			if err := img.Commit(true); err == nil {
				t.Fatal("what is not in the stream could be committed")
			}
			if err := img.Reset(); err != nil {
				t.Fatal(err)
			}
			if got := digest(t, img); got != want {
				t.Fatalf("after Reset the image is at %s, want %s", got, want)
			}
			next, _ := lead(t, Config{Image: img, Stream: &fake{version: testVersion}})
			if status, err := mkdir(t.Context(), next, "d0"); err != nil || status != meta.OK {
				t.Fatalf("mkdir with the next leader: %v, %v", status, err)
			}
		})
	}
}

// A request whose entry cannot be applied although it was planned ends the lead.
func TestBrokenPlan(t *testing.T) {
	img := newImage(t)
	l, stop := lead(t, Config{Image: img, Stream: &fake{version: testVersion}})
	err := l.Do(t.Context(), func(turn *Turn) { turn.Add(&changelog.Unlink{Parent: 1, Base: []byte("none"), Inode: 9}) })
	if !errors.Is(err, ErrLost) {
		t.Fatalf("got %v, want ErrLost", err)
	}
	var applied *changelog.ApplyError
	if err := stop(); !errors.As(err, &applied) {
		t.Fatalf("Run ended with %v, want an *ApplyError", err)
	}
}

// Leaders die at any moment, also between storing a batch and answering it.
// What was answered is there for the next one, each once.
func TestCrashes(t *testing.T) {
	cl := newCluster(t)
	img := newImage(t)
	answered := map[string]bool{}
	for round := range 8 {
		w := &mortal{writer: promote(t, cl, fmt.Sprint("leader", round)), calls: 3 + round}
		l, stop := lead(t, Config{Image: img, Stream: w, CommitEvery: time.Millisecond})
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for j := 0; ; j++ {
					name := fmt.Sprintf("r%d-%d-%d", round, i, j)
					status, err := mkdir(t.Context(), l, name)
					if errors.Is(err, ErrLost) {
						return
					}
					if err != nil || status != meta.OK {
						t.Errorf("mkdir %s: %v, %v", name, status, err)
						return
					}
					mu.Lock()
					answered[name] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if err := stop(); !errors.Is(err, errDead) {
			t.Fatalf("Run ended with %v", err)
		}
		if err := img.Reset(); err != nil {
			t.Fatal(err)
		}
		follow(t, img, cl)
		for name := range answered {
			if !has(t, img, name) {
				t.Fatalf("after round %d %s is missing, which was answered", round, name)
			}
		}
	}
	if len(answered) == 0 {
		t.Fatal("nothing was answered")
	}
	replica := newImage(t)
	follow(t, replica, cl)
	if got, want := digest(t, replica), digest(t, img); got != want {
		t.Fatalf("a follower is at %s, the leader at %s", got, want)
	}
}

// mortal is a Writer that dies in one of its calls: before it did its work or
// after.
type mortal struct {
	writer
	calls int
}

var errDead = errors.New("dead")

func (m *mortal) count() bool {
	m.calls--
	return m.calls == 0
}

func (m *mortal) Append(ctx context.Context, entries []meta.RawEntry, received time.Time) error {
	if m.count() {
		return errDead
	}
	return m.writer.Append(ctx, entries, received)
}

func (m *mortal) Flush(ctx context.Context) error {
	err := m.writer.Flush(ctx)
	if m.count() {
		return errDead
	}
	return err
}

// Two leaders on images of their own: from when the second opened its epoch
// nothing that the first is asked for is answered with success. What either
// answered is in the stream, once.
func TestTwoLeaders(t *testing.T) {
	cl := newCluster(t)
	first, second := newImage(t), newImage(t)
	a, stopA := lead(t, Config{Image: first, Stream: promote(t, cl, "a")})
	var mu sync.Mutex
	answered := map[string]string{}
	var wg sync.WaitGroup
	client := func(l *Leader, who string, count int) {
		for i := 0; count == 0 || i < count; i++ {
			name := fmt.Sprintf("d%d", i)
			status, err := mkdir(t.Context(), l, name)
			if err != nil {
				return
			}
			if status == meta.OK {
				mu.Lock()
				if other := answered[name]; other != "" {
					t.Errorf("both %s and %s made %s", other, who, name)
				}
				answered[name] = who
				mu.Unlock()
			}
		}
	}
	wg.Go(func() { client(a, "a", 0) })
	for ok := false; !ok; time.Sleep(time.Millisecond) { // the first works
		mu.Lock()
		ok = len(answered) > 20
		mu.Unlock()
	}
	w := promote(t, cl, "b") // from here on the first is fenced
	follow(t, second, cl)
	b, stopB := lead(t, Config{Image: second, Stream: w})
	client(b, "b", 200)
	wg.Wait() // the first has failed by itself
	if err := stopA(); !errors.Is(err, stream.ErrFenced) {
		t.Fatalf("the first leader ended with %v, want ErrFenced", err)
	}
	if err := stopB(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := first.Reset(); err != nil {
		t.Fatal(err)
	}
	follow(t, first, cl)
	if got, want := digest(t, first), digest(t, second); got != want {
		t.Fatalf("the first image is at %s, the second at %s", got, want)
	}
	for name := range answered {
		if !has(t, first, name) {
			t.Errorf("%s is missing, which was answered", name)
		}
	}
}

// The clock going back does not take the times of entries with it.
func TestTimesNeverGoBack(t *testing.T) {
	img := newImage(t)
	var clock atomic.Int64
	var times []string
	l, _ := lead(t, Config{Image: img, Stream: &fake{version: testVersion},
		Clock: func() time.Time { return time.Unix(clock.Load(), 0) },
		Published: func(entries []meta.RawEntry) {
			for _, e := range entries {
				times = append(times, string(e.Text[:10]))
			}
		}})
	for i, now := range []int64{testTime - 50, testTime + 5, testTime + 2, testTime + 9} {
		clock.Store(now)
		if _, err := mkdir(t.Context(), l, fmt.Sprint("d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(times), "[1700000000 1700000005 1700000005 1700000009]"; got != want {
		t.Fatalf("times of entries: %s, want %s", got, want)
	}
}

// What a request costs with everything that 64 clients ask for at once: the
// stream syncs each message to the disk.
func BenchmarkDo(b *testing.B) {
	dir := b.TempDir()
	s, err := stream.StartServer(stream.ServerConfig{StoreDir: dir, Name: "bench", SyncAlways: true, Log: quiet})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	cl := newClusterOn(b, s)
	img := newImage(b)
	l, stop := lead(b, Config{Image: img, Stream: promote(b, cl, "bench")})
	var n atomic.Int64
	b.SetParallelism(64)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if status, err := mkdir(b.Context(), l, fmt.Sprint("d", n.Add(1))); err != nil || status != meta.OK {
				b.Errorf("mkdir: %v, %v", status, err)
				return
			}
		}
	})
	b.StopTimer()
	stop()
}
