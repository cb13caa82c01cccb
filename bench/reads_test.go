package bench

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"context"

	"mfsstandby/standby"
	"mfsstandby/standby/exports"
	"mfsstandby/standby/image"
	"mfsstandby/standby/server"
)

// serveTree serves a small generated tree on loopback.
func serveTree(t *testing.T) (address string, made *tree) {
	t.Helper()
	dir := t.TempDir()
	opt := Options{Entries: 3000, Mix: Create}.withDefaults()
	made, err := makeTree(t.Context(), dir, opt, 500, image.MinCache)
	if err != nil {
		t.Fatal(err)
	}
	in := input{Metadata: made.metadata}
	data := t.TempDir()
	run := &stageRun{job: job{Input: in, Cache: image.MinCache}}
	if err := run.load(data, made.metadata); err != nil {
		t.Fatal(err)
	}
	img, err := image.Open(image.Config{Dir: standby.ImageDir(data), Cache: image.MinCache, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := exports.Parse(strings.NewReader("* / ro,maproot=0:0\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{
		Image: func() (*image.Image, error) { return img, nil }, Exports: func() *exports.List { return list }, Logger: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := img.Close(); err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String(), made
}

func TestReadLoad(t *testing.T) {
	address, made := serveTree(t)
	if n := bytes.Count(made.rest, []byte("\n")); n != 500 {
		t.Errorf("%d entries are left for the standby, want 500", n)
	}
	load, err := newReadLoad(t.Context(), address, 3, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer load.close()
	if len(load.names) < 100 || len(load.dirs) < 2 {
		t.Fatalf("%d names in %d directories", len(load.names), len(load.dirs))
	}
	rest, err := startAbuse(t.Context(), address, 50, 20_000)
	if err != nil {
		t.Fatal(err)
	}
	defer rest.stop()
	for _, mix := range ReadMixes() {
		res, err := load.run(t.Context(), mix, 50*time.Millisecond)
		if err != nil {
			t.Fatalf("%s: %v", mix, err)
		}
		if res.Requests < 12 || res.Errors != 0 || res.Latency.Max <= 0 || res.Bytes < 5*res.Requests {
			t.Errorf("%s: %+v", mix, res)
		}
	}
	rest.keepAlive(rest.idle)
	if rest.sent.Load() == 0 || rest.lost.Load() != 0 {
		t.Errorf("%d packets of nonsense, %d idle mounts lost", rest.sent.Load(), rest.lost.Load())
	}
}

func TestReadRatios(t *testing.T) {
	r := ReadsReport{Rounds: 2}
	for round, rate := range []int64{0, 100, 300} {
		if round > 0 {
			r.Results = append(r.Results,
				ReadResult{Server: StandbyServer, Mix: Lookups, Round: round, Requests: rate, Seconds: 1, CPU: 2, Latency: Latency{P99: 2}},
				ReadResult{Server: MasterServer, Mix: Lookups, Round: round, Requests: 200, Seconds: 1, CPU: 1, Latency: Latency{P99: 1}})
		}
	}
	r.compare()
	if got := r.Ratios[Lookups]; got != (ReadRatio{Rate: 1.5, CPU: 0.75, P99: 2}) || len(r.Ratios) != 1 {
		t.Fatalf("got %+v", r.Ratios)
	}
	var out strings.Builder
	if err := r.WriteText(&out); err != nil || !strings.Contains(out.String(), "lookup, standby / mfsmaster: 1.50") {
		t.Fatalf("%v:\n%s", err, out.String())
	}
}
