//go:build e2e

package crash

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
)

// A loss of power takes nothing that was acknowledged, whatever of the rest
// reached the disk.
func TestPowerLoss(t *testing.T) {
	for _, tc := range []struct {
		name   string
		strict bool
		forget bool // what was acknowledged cannot be had from the primary again
		stall  time.Duration
		rounds int
	}{
		{"names with files", false, false, 0, 20},
		{"names with files, primary forgets", false, true, 0, 15},
		{"names with directories", true, true, 0, 20},
		{"names with files, stream stalls", false, false, 100 * time.Millisecond, 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rnd := random(t)
			n := rounds(t, tc.rounds)
			p := &powerTest{disk: newDisk(tc.strict), mountpoint: t.TempDir(), rnd: rnd}
			p.disk.stall = tc.stall
			p.h = newHistory(t, rnd.Uint64(), 20_000, 5_000*n)
			p.primary, p.model = startPrimary(t, p.h, 4_000, rnd), newModel(t, p.h)
			for i := range n {
				p.cut(t, reach(i%3))
				if tc.forget && p.seen.published != 0 {
					must(t, p.primary.forget(p.seen.published))
				}
			}
			t.Logf("%d cuts, %d images made anew, published %d, committed %d; %d to %d", n, p.lost, p.seen.published, p.seen.committed, p.h.first, p.h.end())
			unmount := p.disk.mount(t, p.mountpoint)
			finishRun(t, p.primary, p.dir(), p.model, &p.seen)
			unmount()
		})
	}
}

type powerTest struct {
	disk       *disk
	mountpoint string
	h          *history
	primary    *primary
	model      *model
	image      meta.Version // what it was after the last cut
	rnd        *rand.Rand
	seen       seen
	lost       int // images
}

func (p *powerTest) dir() string { return filepath.Join(p.mountpoint, "data") }

// cut runs a child until the power goes, at some time or at some sync, and
// looks at the image that is left.
func (p *powerTest) cut(t *testing.T, r reach) {
	t.Helper()
	unmount := p.disk.mount(t, p.mountpoint)
	c := start(t, p.dir(), "run", "--changelog-dir", p.primary.dir, commitEvery(p.rnd))
	how := "after a time"
	until := time.Now().Add(lifetime(p.rnd))
	if p.rnd.IntN(2) == 0 {
		n, late := 1+p.rnd.IntN(60), p.rnd.IntN(2) == 0
		how = fmt.Sprintf("at sync %d (late: %v)", n, late)
		until = time.Now().Add(5 * time.Second)
		p.disk.cutAt(n, late, func() { c.cmd.Process.Kill() })
	}
	p.seen.watch(t, c, p.disk, until)
	c.kill()
	unmount()
	p.disk.powerLoss(r, p.rnd)

	unmount = p.disk.mount(t, p.mountpoint)
	defer unmount()
	file, refused := tryExport(t, p.dir())
	switch {
	case p.disk.strict && strings.Contains(refused, "file does not exist for table"):
		p.anew(t)
	case refused != "":
		t.Fatalf("power lost %s: export: %s", how, refused)
	case file == nil && p.image == 0 && p.seen.committed == 0:
	case file == nil:
		t.Fatalf("power lost %s: there is no image, committed was %d", how, p.seen.committed)
	default:
		v := exact(t, p.model, file)
		if v < p.seen.committed || v < p.image {
			t.Fatalf("power lost %s: image is at version %d, committed was %d, and %d before", how, v, p.seen.committed, p.image)
		}
		p.image = v
		if end := streamEnd(t, p.dir()); end < v && v != p.h.first { // that is the primary's file
			t.Fatalf("power lost %s: image is at version %d, the stream ends at %d", how, v, end)
		}
	}
}

// streamEnd looks where the stream of a data directory ends: with "--sync
// always" an image never knows of entries that the stream lost.
func streamEnd(t *testing.T, dir string) meta.Version {
	t.Helper()
	srv, err := stream.StartServer(stream.ServerConfig{StoreDir: filepath.Join(dir, "nats"), SyncAlways: true, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	defer srv.Close()
	conn, err := stream.Connect(stream.Config{Server: srv})
	must(t, err)
	defer conn.Close()
	ids, err := conn.Clusters(t.Context())
	must(t, err)
	if len(ids) == 0 {
		return 0
	}
	cluster, err := conn.Open(t.Context(), stream.ClusterConfig{MetaID: ids[0]})
	must(t, err)
	end, err := cluster.End(t.Context())
	must(t, err)
	return end.Version
}

// anew takes note of an image that does not open: Badger names a table in its
// manifest before it syncs the directory that the table is in. The next run
// makes it anew from the stream, which lost nothing.
func (p *powerTest) anew(t *testing.T) {
	t.Helper()
	p.image, p.seen.committed, p.model = 0, 0, newModel(t, p.h)
	p.lost++
}
