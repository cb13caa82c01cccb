package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/wire"
)

// maxPeers is how many connections there may be at once: nobody has to say who
// he is, and each costs some megabytes.
const maxPeers = 64

// Status tells what is kept and served.
type Status struct {
	Running     bool         `json:"-"` // else nothing is kept or served now
	Dir         string       `json:"dir"`
	Address     string       `json:"address,omitempty"` // where metaloggers connect; "" while they cannot
	Written     meta.Version `json:"written_version"`   // the next entry for changelog.0.mfs
	Saved       Saved        `json:"saved"`
	Metaloggers []Metalogger `json:"metaloggers"`
	Error       string       `json:"error,omitempty"` // why nothing is written, or nobody served
}

// Metalogger is one that has registered.
type Metalogger struct {
	Address  string       `json:"address"` // IP:PORT
	Release  wire.Release `json:"-"`       // as it says
	Program  string       `json:"release"` // the same, as text
	Since    time.Time    `json:"since"`
	Next     meta.Version `json:"next_version"` // the first entry that it was not sent
	Fetching string       `json:"fetching,omitempty"`
}

// Status tells how things stand.
func (u *Upstream) Status() Status {
	u.mu.Lock()
	st := u.status
	peers := make([]*peer, 0, len(u.peers))
	for p := range u.peers {
		peers = append(peers, p)
	}
	u.mu.Unlock()
	st.Metaloggers = []Metalogger{}
	for _, p := range peers {
		if m := p.shown.Load(); m != nil {
			m := *m
			m.Next = meta.Version(p.sent.Load())
			if f := wire.File(p.fetching.Load()); f != 0 {
				m.Fetching = f.String()
			}
			st.Metaloggers = append(st.Metaloggers, m)
		}
	}
	slices.SortFunc(st.Metaloggers, func(a, b Metalogger) int { return cmp.Compare(a.Address, b.Address) })
	return st
}

// Leave closes the port for metaloggers, if it has that number, and all their
// connections, until Return: a stock master needs it.
func (u *Upstream) Leave(port string) {
	if port != u.cfg.Port {
		return
	}
	u.port.Lock()
	defer u.port.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.away = true
	if u.listener != nil {
		u.listener.Close()
		u.log.Info("metaloggers are not served any more: a stock master has the port", "port", port)
	}
}

// Return opens the port again as soon as it can be had, if metaloggers are to be served.
func (u *Upstream) Return() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.away = false
}

func (u *Upstream) isAway() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.away
}

// serve serves metaloggers whenever the port can be had.
func (w *work) serve(ctx context.Context) error {
	for {
		l := w.listen(ctx)
		if l == nil {
			return nil
		}
		err := w.serveAt(ctx, l)
		switch {
		case !errors.Is(err, net.ErrClosed):
			return err
		case ctx.Err() != nil:
			return nil
		}
	}
}

// serveAt serves them until the port is closed.
func (w *work) serveAt(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var wg sync.WaitGroup
	err := w.accept(ctx, l, &wg)
	cancel()
	wg.Wait()
	w.setListener(nil)
	l.Close()
	return err
}

func (w *work) setListener(l net.Listener) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listener = l; l == nil {
		w.status.Address = ""
		return
	}
	w.status.Address, w.status.Error = l.Addr().String(), ""
}

// openPort opens the port, unless it belongs to another process: then it returns nil.
func (w *work) openPort() (net.Listener, error) {
	w.port.Lock()
	defer w.port.Unlock()
	if w.isAway() {
		return nil, nil
	}
	l, err := w.cfg.Listen()
	if err == nil {
		w.setListener(l)
	}
	return l, err
}

// listen opens the port, again until it can be had. It returns nil when ctx ends.
func (w *work) listen(ctx context.Context) net.Listener {
	for {
		l, err := w.openPort()
		if err == nil && l == nil {
			if !pause(ctx, retryEvery/10) {
				return nil
			}
			continue
		}
		if err == nil {
			w.event(slog.LevelInfo, events.Serving, "metaloggers are served at "+l.Addr().String())
			return l
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w: a master on this host may have it; it is tried again, or give another with --listen-metaloggers", err)
		}
		w.fail(fmt.Errorf("metaloggers are not served, all else goes on: %w", err))
		if !pause(ctx, retryEvery) {
			return nil
		}
	}
}

func (w *work) accept(ctx context.Context, l net.Listener, wg *sync.WaitGroup) error {
	for {
		nc, err := l.Accept()
		switch {
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ECONNABORTED):
			w.log.Warn("cannot accept a metalogger", "err", err)
			pause(ctx, retryEvery/10) // until others have gone
			continue
		case err != nil:
			return fmt.Errorf("accepting metaloggers: %w", err)
		}
		p := newPeer(w, nc)
		if !w.admit(p) {
			w.log.Warn("a metalogger is turned away: there are too many", "peer", nc.RemoteAddr().String(), "limit", maxPeers)
			nc.Close()
			continue
		}
		wg.Go(func() {
			err := p.run(ctx)
			w.mu.Lock()
			delete(w.peers, p)
			w.mu.Unlock()
			if m := p.shown.Load(); m != nil && ctx.Err() == nil {
				w.log.Info("a metalogger has gone", "peer", m.Address, "why", err)
			} else {
				w.log.Debug("a connection to the metalogger port has ended", "peer", nc.RemoteAddr().String(), "why", err)
			}
		})
	}
}

func (w *work) admit(p *peer) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.peers) >= maxPeers {
		return false
	}
	w.peers[p] = struct{}{}
	return true
}
