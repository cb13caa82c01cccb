package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"mfsstandby/changelog/meta"
)

// freePorts returns addresses that nobody listens on now.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

// trio is a cluster of servers, by default three.
type trio struct {
	t       testing.TB
	routes  []string
	dirs    []string
	servers []*Server
	with    func(*ServerConfig) // changes what they are started with; nil: nothing
}

func newTrio(t testing.TB) *trio {
	return &trio{t: t, routes: freePorts(t, 3), dirs: []string{t.TempDir(), t.TempDir(), t.TempDir()}, servers: make([]*Server, 3)}
}

func (tr *trio) start(which ...int) {
	tr.t.Helper()
	done := make(chan error)
	for _, i := range which {
		go func() {
			cfg := ServerConfig{
				StoreDir: tr.dirs[i], Name: fmt.Sprint("s", i), Log: quiet,
				Cluster: &ClusterPeers{Name: "test", Listen: tr.routes[i], Peers: tr.routes, Pass: "secret"},
			}
			if tr.with != nil {
				tr.with(&cfg)
			}
			var err error
			tr.servers[i], err = StartServer(cfg)
			done <- err
		}()
	}
	for range which {
		if err := <-done; err != nil {
			tr.t.Fatal(err)
		}
	}
	for _, i := range which {
		tr.t.Cleanup(tr.servers[i].Close)
	}
}

// conn connects to a server, in whose process it is.
func (tr *trio) conn(i int) *Conn {
	tr.t.Helper()
	c, err := Connect(Config{Server: tr.servers[i], Timeout: 2 * time.Second, Log: quiet})
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.t.Cleanup(c.Close)
	return c
}

// eventually repeats what NATS may be too busy for with itself.
func eventually(t testing.TB, what string, do func(context.Context) error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err := do(ctx)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func (tr *trio) open(i, replicas int) *Cluster {
	tr.t.Helper()
	conn := tr.conn(i)
	var cl *Cluster
	eventually(tr.t, "opening", func(ctx context.Context) (err error) {
		cl, err = conn.Open(ctx, ClusterConfig{MetaID: testMetaID, Replicas: replicas})
		if err != nil && !Away(err) {
			tr.t.Fatal(err)
		}
		return err
	})
	return cl
}

// caughtUp waits until all nodes have what the cluster has.
func caughtUp(t *testing.T, cl *Cluster) {
	t.Helper()
	eventually(t, "having caught up", func(ctx context.Context) error {
		nodes, err := cl.Nodes(ctx)
		for _, n := range nodes {
			if !n.Current || n.Offline {
				err = fmt.Errorf("nodes %+v", nodes)
			}
		}
		return err
	})
}

// TestThreeServers keeps each message on three servers, and leaves it so when
// somebody opens the cluster who does not say how many.
func TestThreeServers(t *testing.T) {
	tr := newTrio(t)
	tr.start(0, 1, 2)
	tr.open(0, 3)
	for i := range tr.servers {
		cl := tr.open(i, 0)
		if got := cl.log.CachedInfo().Config.Replicas; got != 3 {
			t.Errorf("opened at server %d: %d replicas of entries, want 3", i, got)
		}
		if got := cl.log.CachedInfo().Config.Compression; got != jetstream.NoCompression {
			t.Errorf("opened at server %d: what servers may have to take back is compressed: %v", i, got)
		}
		members, err := cl.members.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := members.Config().Replicas; got != 3 {
			t.Errorf("opened at server %d: %d replicas of the members, want 3", i, got)
		}
		bases, err := cl.bases.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := bases.Replicas(); got != 3 {
			t.Errorf("opened at server %d: %d replicas of base images, want 3", i, got)
		}
	}
	// Who does not know the password is none of them.
	stranger, err := StartServer(ServerConfig{
		StoreDir: t.TempDir(), Name: "stranger", Log: quiet,
		Cluster: &ClusterPeers{Name: "test", Listen: freePorts(t, 1)[0], Peers: tr.routes, Pass: "guessed"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	for range 20 { // it tries again and again
		for i, known := range tr.servers {
			routes, err := known.nats.Routez(nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(routes.Routes) == 0 {
				t.Fatalf("server %d has no routes at all", i)
			}
			for _, r := range routes.Routes {
				if r.RemoteName == "stranger" {
					t.Fatalf("server %d let a node with another password in", i)
				}
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestCopyNode: what a node has that does not run can be read without the others.
func TestCopyNode(t *testing.T) {
	tr := newTrio(t)
	tr.start(0, 1, 2)
	cl := tr.open(0, 3)
	w := newWriter(t, cl, 1)
	appendAll(t, w, 500, 20)
	if _, err := cl.PutBase(t.Context(), Base{Version: 201, Epoch: w.End().Epoch, Release: "3.0.117"}, strings.NewReader("image")); err != nil {
		t.Fatal(err)
	}
	caughtUp(t, cl)
	for i := range tr.servers {
		tr.servers[i].Close()
	}
	for _, i := range []int{0, 2} {
		if !Clustered(tr.dirs[i]) {
			t.Fatalf("node %d is not known as one", i)
		}
		for _, gone := range []string{".BEING_REMOVED", "REMOVED"} {
			if err := os.MkdirAll(filepath.Join(tr.dirs[i], storeName, "$G", "streams", gone, "msgs"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		dir := t.TempDir()
		if err := CopyNode(tr.dirs[i], dir); err != nil {
			t.Fatal(err)
		}
		if Clustered(dir) {
			t.Fatal("the copy is still one of a node")
		}
		alone := open(t, connect(t, startServer(t, dir, true)))
		if got := alone.log.CachedInfo().Config.Replicas; got != 1 {
			t.Errorf("the copy of node %d says that there are %d", i, got)
		}
		end, err := alone.End(t.Context())
		if err != nil || end != w.End() {
			t.Errorf("node %d ends at %+v (%v), want %+v", i, end, err, w.End())
		}
		r := alone.Reader(Position{Version: 1}, ReaderConfig{})
		readTo(t, r, w.Next())
		r.Close()
		bases, err := alone.ListBases(t.Context())
		if err != nil || len(bases) != 2 || bases[1].Version != 201 {
			t.Errorf("node %d has the base images %+v (%v)", i, bases, err)
		}
	}
	if Clustered(t.TempDir()) {
		t.Error("an empty directory is taken for a node's")
	}
}

// TestNodesComeAndGo: whichever server dies, the two others take entries again
// within seconds; one alone does not, and fails nobody who waits.
func TestNodesComeAndGo(t *testing.T) {
	tr := newTrio(t)
	tr.start(0, 1, 2)
	cl := tr.open(0, 3)
	w := newWriter(t, cl, 1)
	appendAll(t, w, 10, 10)
	var nodes []Node
	eventually(t, "three copies", func(ctx context.Context) (err error) {
		nodes, err = cl.Nodes(ctx)
		if len(nodes) != 3 && err == nil {
			err = fmt.Errorf("nodes %+v", nodes)
		}
		return err
	})
	for i := range tr.servers {
		tr.servers[i].Close()
		other := tr.open((i+1)%3, 0)
		var again *Writer
		start := time.Now()
		eventually(t, "opening an epoch without a server", func(ctx context.Context) (err error) {
			if again, err = other.OpenWriter(ctx, WriterConfig{Who: fmt.Sprint("without ", i)}); err == nil {
				err = again.Open(ctx, "test", testTime)
			}
			return err
		})
		appendAll(t, again, 10, 10)
		// Servers that know no better elect after 4 to 9 s; that takes longer even
		// on a busy machine than this should.
		t.Logf("without server %d entries are taken after %v", i, time.Since(start))
		tr.start(i)
		caughtUp(t, other)
		w = again
	}
	r := tr.open(1, 0).Reader(Position{Version: 1}, ReaderConfig{})
	defer r.Close()
	readTo(t, r, w.Next())
}

// TestElectionsAreQuick holds that nats-server heeds what is set for it.
func TestElectionsAreQuick(t *testing.T) {
	tr := newTrio(t)
	tr.start(0, 1, 2)
	tr.open(0, 3)
	z, err := tr.servers[0].nats.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	if z.JetStream.Meta == nil || z.JetStream.Meta.Size != 3 {
		t.Fatalf("the servers are no cluster: %+v", z.JetStream.Meta)
	}
	if hbInterval != 200*time.Millisecond || maxElectionTimeout != 2*time.Second {
		t.Errorf("heartbeats each %v, elections within %v", hbInterval, maxElectionTimeout)
	}
}

// TestAloneBefore: what a server stored while it was alone is in the cluster,
// message by message, also if the copy is interrupted, and others wait for it.
func TestAloneBefore(t *testing.T) {
	tr := newTrio(t)
	alone := startServer(t, tr.dirs[0], true)
	cl := open(t, connect(t, alone))
	w := newWriter(t, cl, 1)
	appendAll(t, w, 500, 20)
	if _, err := cl.PutBase(t.Context(), Base{Version: 201, Epoch: w.End().Epoch, Release: "3.0.117"}, strings.NewReader("image")); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.Trim(t.Context(), Retention{Keep: 1}, 0); err != nil {
		t.Fatal(err)
	}
	want, err := cl.End(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := cl.Reader(Position{}, ReaderConfig{})
	b, err := first.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	alone.Close()

	tr.start(0, 1, 2)
	ready, cancel := context.WithCancel(t.Context())
	interrupted, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { <-ready.Done(); stop() }()
	conn := tr.conn(0)
	if err := conn.Adopt(interrupted, 3, cancel); err == nil {
		t.Log("the copy was faster than its interruption")
	} else if _, err := tr.conn(1).Open(t.Context(), ClusterConfig{MetaID: testMetaID}); err == nil || !Away(err) {
		t.Errorf("opened while it is copied: %v", err)
	}
	called := 0
	if err := conn.Adopt(t.Context(), 3, func() { called++ }); err != nil || called == 0 {
		t.Fatalf("copying: %v, ready was called %d times", err, called)
	}
	if err := conn.Adopt(t.Context(), 3, func() {}); err != nil {
		t.Fatalf("again: %v", err)
	}
	got := tr.open(2, 0)
	if end, err := got.End(t.Context()); err != nil || end != want {
		t.Fatalf("it ends at %+v, want %+v; %v", end, want, err)
	}
	var image strings.Builder
	if base, err := got.GetBase(t.Context(), 201, &image); err != nil || image.String() != "image" || base.Epoch != want.Epoch {
		t.Errorf("base image %q, %+v, %v", &image, base, err)
	}
	r := got.Reader(Position{Version: b.Entries[0].Version}, ReaderConfig{})
	defer r.Close()
	readTo(t, r, meta.Version(want.Version))
	// The history goes on.
	w = openWriterAt(t, got, want.Version)
	appendAll(t, w, 10, 10)
	// A node of a cluster does not start alone.
	tr.servers[0].Close()
	if s, err := StartServer(ServerConfig{StoreDir: tr.dirs[0], Name: "s0", Log: quiet}); err == nil {
		s.Close()
		t.Error("the store of a node of a cluster was opened by a server alone")
	}
}

// TestNodeIsReplaced: a host is added while the cluster runs, and one that will
// not come back is removed; the new one gets its copies.
func TestNodeIsReplaced(t *testing.T) {
	tr := newTrio(t)
	tr.start(0, 1, 2)
	cl := tr.open(0, 3)
	w := newWriter(t, cl, 1)
	appendAll(t, w, 10, 10)
	tr.routes, tr.dirs, tr.servers = append(tr.routes, freePorts(t, 1)...), append(tr.dirs, t.TempDir()), append(tr.servers, nil)
	tr.start(3)
	tr.servers[2].Close()
	eventually(t, "removing", func(ctx context.Context) error {
		return tr.servers[1].RemoveNode(ctx, "s2")
	})
	if err := tr.servers[1].RemoveNode(t.Context(), "nobody"); err == nil {
		t.Error("a node was removed that there is not")
	}
	eventually(t, "the new node having copies", func(ctx context.Context) error {
		nodes, err := cl.Nodes(ctx)
		if err == nil && (len(nodes) != 3 || nodes[0].Name != "s0" || nodes[1].Name != "s1" || nodes[2].Name != "s3" || !nodes[2].Current) {
			err = fmt.Errorf("nodes %+v", nodes)
		}
		return err
	})
}

// TestGrow: copies are made of what one server kept, while a writer goes on; a
// server that has caught up takes what comes then.
func TestGrow(t *testing.T) {
	tr := newTrio(t)
	tr.start(0, 1, 2)
	cl := tr.open(0, 1)
	if got := cl.log.CachedInfo().Config.Compression; got != jetstream.S2Compression {
		t.Errorf("alone it is compressed: %v", got)
	}
	w := newWriter(t, cl, 1)
	appendAll(t, w, 200, 10)
	tr.conn(1).Grow(t.Context(), 3)
	if got := tr.open(1, 0).log.CachedInfo().Config.Compression; got != jetstream.NoCompression {
		t.Errorf("in three copies it is compressed: %v", got)
	}
	eventually(t, "three copies", func(ctx context.Context) error {
		nodes, err := cl.Nodes(ctx)
		if err == nil && len(nodes) != 3 {
			err = fmt.Errorf("nodes %+v", nodes)
		}
		for _, n := range nodes {
			if !n.Current {
				err = fmt.Errorf("nodes %+v", nodes)
			}
		}
		return err
	})
	appendAll(t, w, 200, 10)
	// Of the small streams, too, such as that of the members: a copy that was
	// not complete when the first server ends is none.
	eventually(t, "copies of all streams", func(ctx context.Context) (err error) {
		streams := tr.conn(1).js.ListStreams(ctx)
		for s := range streams.Info() {
			if s.Cluster == nil || len(s.Cluster.Replicas) != 2 {
				err = fmt.Errorf("%s has %+v", s.Config.Name, s.Cluster)
				continue
			}
			for _, peer := range s.Cluster.Replicas {
				if !peer.Current {
					err = fmt.Errorf("%s: %+v", s.Config.Name, peer)
				}
			}
		}
		return errors.Join(err, streams.Err())
	})
	for i := range tr.servers {
		c := tr.conn(i)
		select {
		case <-c.Failed():
			t.Errorf("server %d: %v", i, c.Failure())
		default:
		}
	}
	tr.servers[0].Close()
	r := tr.open(1, 0).Reader(Position{Version: 1}, ReaderConfig{})
	defer r.Close()
	readTo(t, r, w.Next())
}
