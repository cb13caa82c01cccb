package promote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/oprand"
	"mfsstandby/replicator/stream"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby"
	"mfsstandby/standby/image"
	"mfsstandby/standby/leader"
	"mfsstandby/standby/metafile"
	"mfsstandby/standby/role"
	"mfsstandby/standby/stock"
)

const (
	metaID = 0x5F3A7C0011223344
	first  = 100 // version of the base image
	began  = 1_700_000_000
)

var quiet = slog.New(slog.DiscardHandler)

// fakeServer takes note of who leads.
type fakeServer struct {
	mu     sync.Mutex
	lead   *leader.Leader
	listen error
}

func (s *fakeServer) Listen() error              { return s.listen }
func (s *fakeServer) Leave(string) (bool, error) { return false, nil }
func (s *fakeServer) Lead(l *leader.Leader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lead = l
}
func (s *fakeServer) Wake(meta.SessionID, wire.Type, uint32, meta.Status) {}

func (s *fakeServer) leads() *leader.Leader {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lead
}

// fakePorts notes what is done with the port for metaloggers.
type fakePorts struct{ did []string }

func (p *fakePorts) Leave(port string) { p.did = append(p.did, "leave "+port) }
func (p *fakePorts) Return()           { p.did = append(p.did, "return") }

// fakeTap is a tap that has received nothing that is not in the stream.
type fakeTap struct {
	mu      sync.Mutex
	heard   Heard
	stop    error
	follows bool
}

func (t *fakeTap) Stop(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop == nil {
		t.follows = false
	}
	return t.stop
}

func (t *fakeTap) Start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.follows = true
}

func (t *fakeTap) Heard() Heard { return t.heard }

// world is one process with a stream of its own.
type world struct {
	*testing.T
	dir    string
	base   []byte
	delay  time.Duration // how far the standby stays behind
	conn   *stream.Conn
	cl     *stream.Cluster
	stand  *standby.Standby
	server *fakeServer
	tap    *fakeTap
	ports  *fakePorts
	node   *Node
	end    func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), end: func() {}}
	srv, err := stream.StartServer(stream.ServerConfig{StoreDir: t.TempDir(), Name: "test", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	if w.conn, err = stream.Connect(stream.Config{Server: srv, Log: quiet}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.conn.Close)
	if w.cl, err = w.conn.Open(t.Context(), stream.ClusterConfig{MetaID: metaID}); err != nil {
		t.Fatal(err)
	}
	st := oprand.Fresh(began)
	st.MetaID = metaID
	var buf bytes.Buffer
	if err := metafile.Write(&buf, st, metafile.Header{Version: first, MetaID: metaID}, metafile.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.base = buf.Bytes()
	t.Cleanup(func() { w.end() })
	return w
}

// fill stores the base image, and entries behind it as a tap would.
func (w *world) fill(entries int) {
	w.Helper()
	tap := w.writer("tap")
	_, err := w.cl.PutBase(w.Context(), stream.Base{Version: first, Release: "3.0.117"}, bytes.NewReader(w.base))
	if err == nil {
		err = tap.Rebase(w.Context(), first, "test", time.Now())
	}
	if err == nil && entries > 0 {
		err = tap.Append(w.Context(), primaryEntries(entries), time.Now())
	}
	if err == nil {
		err = tap.Flush(w.Context())
	}
	if err != nil {
		w.Fatal(err)
	}
}

// primaryEntries are the first that the primary writes.
func primaryEntries(n int) (list []meta.RawEntry) {
	for i := range n {
		text := fmt.Sprintf("%d|CREATE(1,f%d,1,420,0,0,0,0):%d", began+1+i, i, 2+i)
		list = append(list, meta.RawEntry{Version: meta.Version(first + i), Text: []byte(text)})
	}
	return list
}

func (w *world) writer(who string) *stream.Writer {
	w.Helper()
	wr, err := w.cl.OpenWriter(w.Context(), stream.WriterConfig{Who: who, Release: "3.0.117"})
	if err != nil {
		w.Fatal(err)
	}
	return wr
}

// start runs the process; end ends it, as kill -9 would as far as its role and
// the stream are concerned.
func (w *world) start() {
	w.Helper()
	var err error
	w.server, w.ports, w.tap = &fakeServer{}, &fakePorts{}, &fakeTap{follows: true, heard: Heard{Source: "primary", Next: first, At: time.Now()}}
	if w.stand, err = standby.New(standby.Config{Dir: w.dir, Cache: image.MinCache, MetaID: metaID, Delay: w.delay, Logger: quiet}, w.conn); err != nil {
		w.Fatal(err)
	}
	if w.node, err = New(Config{Dir: w.dir, Standby: w.stand, Server: w.server, Tap: w.tap, Metaloggers: w.ports, Who: "me", Logger: quiet}); err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.stand.Run(ctx) })
	wg.Go(func() { w.node.Run(ctx) })
	w.end = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := w.stand.Close(); err != nil {
			w.Error(err)
		}
	})
}

func (w *world) waitRole(want role.Role) {
	w.Helper()
	for end := time.Now().Add(time.Minute); w.node.Role().Role != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("the role is %+v, want %s; standby: %+v", w.node.Role(), want, w.stand.Status())
		}
	}
}

// kept is the role that the next process of this directory reads.
func (w *world) kept() role.Role {
	w.Helper()
	m, err := role.Open(w.dir)
	if err != nil {
		w.Fatal(err)
	}
	return m.Now().Role
}

// mkdir asks the leader for a directory.
func (w *world) mkdir(name string) error {
	l := w.server.leads()
	if l == nil {
		return errors.New("nobody leads")
	}
	return l.Do(w.Context(), func(t *leader.Turn) {
		t.Add(&changelog.Create{Parent: meta.Root, Base: []byte(name), Type: meta.TypeDir, Mode: 0o755})
	})
}

// A standby that is not fit to lead is refused, with the reason and the
// distance, and nothing changes.
func TestRefusals(t *testing.T) {
	refused := func(t *testing.T, w *world, opt Options, want string) {
		t.Helper()
		before := w.kept()
		var steps []string
		_, err := w.node.Promote(t.Context(), opt, func(s Step) { steps = append(steps, s.Name) })
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want a refusal with %q", opt, err, want)
		}
		if !slices.Equal(steps, []string{"check"}) || w.kept() != before || w.server.leads() != nil || !w.tap.follows {
			t.Errorf("after the refusal: steps %q, role %s, leader %v, tap follows: %v", steps, w.kept(), w.server.leads(), w.tap.follows)
		}
	}
	t.Run("no image", func(t *testing.T) {
		w := newWorld(t)
		w.start()
		for _, force := range []bool{false, true} {
			refused(t, w, Options{Force: force}, "there is no image yet (waiting)")
		}
	})
	t.Run("diverged", func(t *testing.T) {
		w := newWorld(t)
		w.fill(3)
		tap := w.writer("tap")
		err := errors.Join(tap.Open(t.Context(), "again", time.Now()),
			tap.Append(t.Context(), []meta.RawEntry{{Version: first + 3, Text: fmt.Appendf(nil, "%d|UNLINK(1,none):9", began+9)}}, time.Now()), tap.Flush(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		w.start()
		w.waitRole(role.Stopped)
		for _, force := range []bool{false, true} {
			refused(t, w, Options{Force: force}, "replication is stopped at version 103")
		}
	})
	t.Run("the primary lives", func(t *testing.T) {
		w := newWorld(t)
		w.fill(3)
		w.start()
		w.waitRole(role.InSync)
		w.tap.heard.Alive = true
		refused(t, w, Options{}, "primary, is connected")
		refused(t, w, Options{DryRun: true}, "primary, is connected")
	})
}

var errInjected = errors.New("injected")

// Whatever step fails, this process follows again, its tap too, and can be
// promoted later. While it failed nobody was let write.
func TestAStepFails(t *testing.T) {
	for _, tc := range []struct {
		step  string
		spoil func(w *world) (mend func())
	}{
		{"tap", func(w *world) func() { w.tap.stop = errInjected; return func() { w.tap.stop = nil } }},
		{"files", func(w *world) func() { return func() {} }}, // there is no such directory
		{"flip", func(w *world) func() { w.server.listen = errInjected; return func() { w.server.listen = nil } }},
	} {
		t.Run(tc.step, func(t *testing.T) {
			w := newWorld(t)
			w.fill(3)
			w.start()
			w.waitRole(role.InSync)
			mend := tc.spoil(w)
			opt := Options{}
			if tc.step == "files" {
				opt.ChangelogDir = filepath.Join(w.dir, "none")
			}
			var last Step
			_, err := w.node.Promote(t.Context(), opt, func(s Step) { last = s })
			if err == nil || last.Name != tc.step || last.Error == "" || w.server.leads() != nil {
				t.Fatalf("%v after step %+v; leader %v", err, last, w.server.leads())
			}
			w.waitRole(role.InSync)
			if w.kept() == role.Leader || !w.tap.follows {
				t.Errorf("afterwards the role is %s, the tap follows: %v", w.kept(), w.tap.follows)
			}
			// No leader wrote: a tap may go on where the stream ends.
			tap := w.writer("tap")
			if tap.Led() || tap.Next() != first+3 {
				t.Errorf("the stream ends at %d, led: %v", tap.Next(), tap.Led())
			}
			mend()
			if _, err := w.node.Promote(t.Context(), Options{}, nil); err != nil {
				t.Fatal(err)
			}
			if err := w.mkdir("d"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// stockConfig is a configuration of a stock master, and its data directory.
func stockConfig(t *testing.T) (config, data string) {
	t.Helper()
	p, err := stock.MakePrivate(t.TempDir(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	return p.Config, p.Data
}

// A leader whose hand-over fails leads again, for the reason that it did before,
// and has its ports again.
func TestHandOverFails(t *testing.T) {
	w := newWorld(t)
	w.fill(3)
	w.start()
	w.waitRole(role.InSync)
	if _, err := w.node.Promote(t.Context(), Options{Reason: "it is here", Address: "192.0.2.10"}, nil); err != nil {
		t.Fatal(err)
	}
	config, _ := stockConfig(t)
	var last Step
	_, err := w.node.Promote(t.Context(), Options{HandOver: config, Master: "/bin/false"}, func(s Step) {
		if s.Error != "" {
			last = s
		}
	})
	if err == nil || last.Name != "start" {
		t.Fatalf("%v after step %+v", err, last)
	}
	if now := w.node.Role(); now.Role != role.Leader || now.Address != "192.0.2.10" || now.HandOver != nil {
		t.Errorf("after the failure: %+v", now)
	}
	if got := strings.Join(w.ports.did, " "); !strings.HasPrefix(got, "return leave ") || !strings.HasSuffix(got, " return return") {
		t.Errorf("the metaloggers' port: %s", got)
	}
	if err := w.mkdir("d"); err != nil {
		t.Fatal(err)
	}
}

// While the stock master runs that was handed over to nobody leads beside it,
// though the tap has not heard it yet.
func TestHandedOverMasterRuns(t *testing.T) {
	w := newWorld(t)
	w.fill(3)
	w.start()
	w.waitRole(role.InSync)
	_, data := stockConfig(t)
	lock, err := os.Create(filepath.Join(data, ".mfsmaster.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	// A lock of this kind is another one's to who asks for a lock of a process.
	held := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(lock.Fd(), unix.F_OFD_SETLK, &held); err != nil {
		t.Fatal(err)
	}
	if _, err := w.node.role.Set(func(st *role.State) { st.HandOver = &role.HandOver{Data: data, Started: true} }); err != nil {
		t.Fatal(err)
	}
	if err := w.node.Fit(Options{Address: "192.0.2.10", Takeover: true}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "stock master that was handed over to") {
		t.Errorf("while it runs: %v", err)
	}
	if err := w.node.Fit(Options{Force: true}); err != nil {
		t.Errorf("forced: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.node.Fit(Options{}); err != nil {
		t.Errorf("when it has ended: %v", err)
	}
}

// Another candidate that is faster fences this one.
func TestFencedWhilePromoting(t *testing.T) {
	w := newWorld(t)
	w.fill(3)
	w.start()
	w.waitRole(role.InSync)
	_, err := w.node.Promote(t.Context(), Options{}, func(s Step) {
		if s.Name == "fence" {
			if err := w.writer("other").Open(t.Context(), "faster", time.Now()); err != nil {
				t.Error(err)
			}
		}
	})
	// It drains, flips, and its first batch finds out.
	if err == nil {
		err = w.mkdir("d")
	}
	if err == nil {
		t.Fatal("two writers had the stream")
	}
	w.waitRole(role.InSync)
	if now := w.node.Role(); w.server.leads() != nil || w.kept() == role.Leader {
		t.Errorf("role %+v, leader %v", now, w.server.leads())
	}
}

// Killed after any step, the process follows when it is started again, but
// leads after the last one.
func TestKilledAfterAStep(t *testing.T) {
	for _, step := range []string{"check", "tap", "fence", "drain", "flip"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t)
			w.fill(3)
			w.start()
			w.waitRole(role.InSync)
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				w.node.Promote(context.Background(), Options{}, func(s Step) {
					if s.Name == step {
						runtime.Goexit() // what would come next never does
					}
				})
			}()
			<-gone
			w.end()
			w.start()
			if step == "flip" {
				w.waitRole(role.Leader)
			} else {
				w.waitRole(role.InSync)
				if w.server.leads() != nil {
					t.Error("it leads")
				}
				if _, err := w.node.Promote(t.Context(), Options{}, nil); err != nil {
					t.Fatal(err)
				}
			}
			for end := time.Now().Add(time.Minute); w.server.leads() == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
			}
			if err := w.mkdir("d"); err != nil {
				t.Fatal(err)
			}
			if at := w.writer("x").Next(); at != first+4 {
				t.Errorf("the stream ends at version %d, want %d", at, first+4)
			}
		})
	}
}

// What the dead primary had written down and not sent goes through the stream;
// what could not be read of it is said. None of it waits, if the standby stays
// behind on purpose.
func TestDrainFiles(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Hour} {
		t.Run(delay.String(), func(t *testing.T) { testDrainFiles(t, delay) })
	}
}

func testDrainFiles(t *testing.T, delay time.Duration) {
	w := newWorld(t)
	w.delay = delay
	w.fill(2)
	w.start()
	w.waitRole(role.InSync)
	dead := t.TempDir()
	var text bytes.Buffer
	for _, e := range primaryEntries(6) {
		fmt.Fprintf(&text, "%d: %s\n", e.Version, e.Text)
	}
	whole := text.Len()
	fmt.Fprintf(&text, "%d: %d|CREATE(1,to", first+6, began+9)
	for name, content := range map[string][]byte{"metadata.mfs.back": w.base, "changelog.0.mfs": text.Bytes()} {
		if err := os.WriteFile(filepath.Join(dead, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	steps := map[string]string{}
	res, err := w.node.Promote(t.Context(), Options{ChangelogDir: dead}, func(s Step) { steps[s.Name] = s.Text })
	if err != nil {
		t.Fatal(err, steps)
	}
	if res.Version != first+6 {
		t.Errorf("the leader begins at version %d, want %d", res.Version, first+6)
	}
	if got := steps["files"]; !strings.HasPrefix(got, "4 entries that the stream lacked; passed over: ") || !strings.Contains(got, "changelog.0.mfs") {
		t.Errorf("of the files it says %q (torn at byte %d)", got, whole)
	}
	if want := fmt.Sprintf("its files in %s were read to their end, at version %d", dead, first+6); !strings.Contains(res.Missing, want) || !strings.Contains(res.Missing, "had sent all before version 100") {
		t.Errorf("missing: %q, want %q in it", res.Missing, want)
	}
	if err := w.mkdir("d"); err != nil {
		t.Fatal(err)
	}
	img, err := w.stand.Image()
	if err != nil {
		t.Fatal(err)
	}
	err = img.Read(func(st *meta.State, _ image.Position) error {
		for _, name := range []string{"f0", "f5", "d"} {
			if _, ok := st.Edges.Get(meta.Root, []byte(name)); !ok {
				t.Errorf("%s is missing", name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A base image that somebody stores while this leads changes nothing.
func TestBaseImageWhileLeading(t *testing.T) {
	w := newWorld(t)
	w.fill(3)
	w.start()
	w.waitRole(role.InSync)
	if _, err := w.node.Promote(t.Context(), Options{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.cl.PutBase(t.Context(), stream.Base{Version: first + 1, Release: "3.0.117"}, bytes.NewReader(w.base)); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := w.mkdir(fmt.Sprint("d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.node.Demote(t.Context(), "test", nil); err != nil {
		t.Fatal(err)
	}
	w.waitRole(role.InSync)
	if st := w.stand.Status(); st.Image != first+6 || st.State != standby.InSync {
		t.Errorf("after demoting: version %d, %s", st.Image, st.State)
	}
}
