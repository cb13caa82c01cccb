//go:build e2e

package crash

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lifetime is how long a child may live: often short enough to die while it
// starts.
func lifetime(rnd *rand.Rand) time.Duration {
	limit := 1500 * time.Millisecond
	if rnd.IntN(2) == 0 {
		limit = 400 * time.Millisecond
	}
	return time.Duration(rnd.Int64N(int64(limit)))
}

// commitEvery lets commits of the image be as frequent as what may disturb them.
func commitEvery(rnd *rand.Rand) string {
	return "--commit-every=" + []string{"20ms", "200ms", "1s"}[rnd.IntN(3)]
}

// Killed at any moment, also while it loads its first image, mfsstandby goes on
// without gap or double apply.
func TestKill(t *testing.T) {
	rnd := random(t)
	n := rounds(t, 100)
	h := newHistory(t, rnd.Uint64(), 50_000, 4_000*n)
	p := startPrimary(t, h, 4_000, rnd)
	dir, m := filepath.Join(t.TempDir(), "data"), newModel(t, h)
	var s seen
	for i := range n {
		c := start(t, dir, "run", "--changelog-dir", p.dir, commitEvery(rnd))
		s.watch(t, c, nil, time.Now().Add(lifetime(rnd)))
		c.running(t)
		c.kill()
		if i%10 == 9 {
			if file := export(t, dir); file != nil {
				if v := exact(t, m, file); v < s.committed {
					t.Fatalf("image is at version %d, committed was %d", v, s.committed)
				}
			}
		}
	}
	t.Logf("%d kills, published %d, committed %d; %d to %d", n, s.published, s.committed, h.first, h.end())
	finishRun(t, p, dir, m, &s)
}

// finishRun lets a child come to the end undisturbed and checks what it has.
func finishRun(t *testing.T, p *primary, dir string, m *model, s *seen) {
	t.Helper()
	p.finish(t)
	c := start(t, dir, "run", "--changelog-dir", p.dir)
	s.applied(t, c, p.h.end())
	if v := exact(t, m, export(t, dir)); v != p.h.end() {
		t.Fatalf("image is at version %d, want %d", v, p.h.end())
	}
	if left, err := filepath.Glob(filepath.Join(dir, "base*")); err != nil || len(left) > 0 {
		t.Errorf("base images are left behind: %v, %v", left, err)
	}
	must(t, c.cmd.Process.Signal(unix.SIGTERM))
	if status := c.wait(t, 10*time.Second); status != 0 {
		t.Fatalf("exit status %d\n%s", status, c.out)
	}
	if v := exact(t, m, export(t, dir)); v != p.h.end() {
		t.Fatalf("after the end, image is at version %d, want %d", v, p.h.end())
	}
}
