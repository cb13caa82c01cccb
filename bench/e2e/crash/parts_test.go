//go:build e2e

package crash

import (
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// parts are a tap and a standby in processes of their own.
type parts struct {
	server, client part // the NATS server is in the first
}

type part struct {
	dir  string
	args []string
	c    *child
}

func (p *part) start(t *testing.T) {
	t.Helper()
	p.c = start(t, p.dir, p.args[0], p.args[1:]...)
}

// newParts starts both.
func newParts(t *testing.T, changelogDir string, serverInTap bool) *parts {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := l.Addr().String()
	must(t, l.Close())
	dir := t.TempDir()
	tap := part{dir: filepath.Join(dir, "tap"), args: []string{"tap", "--changelog-dir", changelogDir}}
	standby := part{dir: filepath.Join(dir, "standby"), args: []string{"standby", "--commit-every", "50ms"}}
	p := &parts{server: tap, client: standby}
	if !serverInTap {
		p.server, p.client = standby, tap
	}
	p.server.args = append(p.server.args, "--listen-nats", addr)
	p.client.args = append(p.client.args, "--nats", "nats://"+addr)
	p.server.start(t)
	p.startClient(t)
	return p
}

// startClient starts the part without server when the server is there.
func (p *parts) startClient(t *testing.T) {
	t.Helper()
	p.waitServer(t)
	p.client.start(t)
}

// waitServer waits until the NATS server serves: the control socket is made
// after it.
func (p *parts) waitServer(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		p.server.c.running(t)
		if _, err := p.server.c.status(); err == nil {
			return
		}
	}
	t.Fatalf("no NATS server:\n%s", p.server.c.out)
}

// kill kills one of the parts or both and starts them again.
func (p *parts) kill(t *testing.T, rnd *rand.Rand) {
	t.Helper()
	p.server.c.running(t)
	p.client.c.running(t)
	which := rnd.IntN(3)
	if which != 0 {
		p.client.c.kill()
	}
	if which != 1 {
		p.server.c.kill()
		p.server.start(t)
	}
	if which != 0 {
		p.startClient(t)
	}
}

func (p *parts) all() []part { return []part{p.server, p.client} }

// Tap and standby in processes of their own, killed one at a time or together,
// with the NATS server in either.
func TestKillParts(t *testing.T) {
	for _, inTap := range []bool{true, false} {
		t.Run(fmt.Sprintf("server in tap %v", inTap), func(t *testing.T) {
			rnd := random(t)
			n := rounds(t, 15)
			h := newHistory(t, rnd.Uint64(), 20_000, 5_000*n)
			primary := startPrimary(t, h, 5_000, rnd)
			p := newParts(t, primary.dir, inTap)
			var s seen
			for range n {
				until := time.Now().Add(lifetime(rnd))
				for time.Now().Before(until) {
					for _, part := range p.all() {
						if st, err := part.c.status(); err == nil {
							s.note(t, st)
						}
					}
					time.Sleep(15 * time.Millisecond)
				}
				p.kill(t, rnd)
			}
			t.Logf("%d kills, published %d, committed %d; %d to %d", n, s.published, s.committed, h.first, h.end())
			primary.finish(t)
			standby := p.client
			if standby.args[0] != "standby" {
				standby = p.server
			}
			s.applied(t, standby.c, h.end())
			if v := exact(t, newModel(t, h), export(t, standby.dir)); v != h.end() {
				t.Fatalf("image is at version %d, want %d", v, h.end())
			}
		})
	}
}
