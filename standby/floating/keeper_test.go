package floating

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mfsstandby/replicator/events"
	"mfsstandby/standby/promote"
	"mfsstandby/standby/role"
)

// cluster is what hosts share: who leads, as the fence says.
type cluster struct {
	mu     sync.Mutex
	leader *host
	silent bool // the leader is not heard
}

// host is a Node, and where its Keeper finds the address.
type host struct {
	t       *testing.T
	name    string
	cluster *cluster
	role    *role.Machine
	events  *events.Log
	keeper  *Keeper
	end     func()
	changed chan<- struct{}

	mu     sync.Mutex // guards what follows
	here   bool
	blind  error             // look fails
	unfit  error             // a promotion would be refused
	broken error             // it fails
	takes  time.Duration     // so long
	deaf   bool              // and does not heed its context
	stuck  int               // so many calls of Leave fail
	asked  []promote.Options // all promotions
}

func newHost(t *testing.T, c *cluster, name string) *host {
	m, err := role.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, name: name, cluster: c, role: m, events: events.New(1000)}
	h.fire(role.CaughtUp)
	return h
}

// start starts the keeper; stop ends it, as the process does.
func (h *host) start() {
	ctx, cancel := context.WithCancel(h.t.Context())
	k := New(Config{Addresses: list(h.t, "192.0.2.10"), Node: h, Logger: slog.New(slog.DiscardHandler), Events: h.events})
	k.look = func(List) (bool, string, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.here {
			return true, "", h.blind
		}
		return false, "192.0.2.10 is on another host, or on none", h.blind
	}
	k.watch = func(ctx context.Context, changed chan<- struct{}) error {
		h.mu.Lock()
		h.changed = changed
		h.mu.Unlock()
		<-ctx.Done()
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := k.Run(ctx); err != nil {
			h.t.Error(err)
		}
	}()
	h.keeper, h.end = k, func() { cancel(); <-done }
	h.t.Cleanup(func() { h.end() })
	synctest.Wait()
}

// with changes what the host is like, and lets the kernel say so.
func (h *host) with(change func()) {
	h.mu.Lock()
	change()
	changed := h.changed
	h.mu.Unlock()
	if changed != nil {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

func (h *host) move(here bool) { h.with(func() { h.here = here }) }

func (h *host) fire(list ...role.Event) {
	h.t.Helper()
	for _, e := range list {
		if _, err := h.role.Fire(e, "", nil); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *host) Role() role.State {
	if now := h.role.Now(); now.Role == role.CatchingUp {
		h.fire(role.CaughtUp)
	}
	return h.role.Now()
}

func (h *host) Fit(opt promote.Options) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cluster.mu.Lock()
	defer h.cluster.mu.Unlock()
	if l := h.cluster.leader; l != nil && l != h && !h.cluster.silent && !opt.Takeover {
		return fmt.Errorf("%w: %s leads, and was heard %v ago", promote.ErrRefused, l.name, time.Since(h.role.Now().Since))
	}
	return h.unfit
}

func (h *host) Promote(ctx context.Context, opt promote.Options, _ func(promote.Step)) (promote.Result, error) {
	h.mu.Lock()
	h.asked = append(h.asked, opt)
	takes, deaf, broken := h.takes, h.deaf, h.broken
	h.mu.Unlock()
	if deaf {
		ctx = context.WithoutCancel(ctx)
	}
	select {
	case <-ctx.Done():
		return promote.Result{}, ctx.Err()
	case <-time.After(takes):
	}
	if broken != nil {
		return promote.Result{}, broken
	}
	h.cluster.mu.Lock()
	defer h.cluster.mu.Unlock()
	if l := h.cluster.leader; l != nil {
		l.fire(role.Fenced)
	}
	h.cluster.leader = h
	h.fire(role.Promote)
	_, err := h.role.Fire(role.Drained, opt.Reason, func(st *role.State) { st.Address = opt.Address })
	return promote.Result{}, err
}

func (h *host) Leave(context.Context, string) error { return h.demote(role.Left) }

func (h *host) demote(e role.Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.role.Now().Role != role.Leader {
		return promote.ErrFollows
	}
	if h.stuck > 0 {
		h.stuck--
		return errors.New("the disk is full")
	}
	h.cluster.mu.Lock()
	defer h.cluster.mu.Unlock()
	h.cluster.leader = nil
	_, err := h.role.Fire(e, "", nil)
	return err
}

// lose ends the lead as a stream does that takes nothing.
func (h *host) lose() {
	h.cluster.mu.Lock()
	defer h.cluster.mu.Unlock()
	h.cluster.leader = nil
	h.fire(role.Lost)
}

func (h *host) leads() bool { return h.role.Now().Role == role.Leader }

// want checks who leads after so much time, and how often it was asked to.
func (h *host) want(after time.Duration, leads bool, promotions int) {
	h.t.Helper()
	time.Sleep(after)
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leads() != leads || len(h.asked) != promotions {
		h.t.Fatalf("%s leads: %v, after %d promotions; want %v, %d; events: %v", h.name, h.leads(), len(h.asked), leads, promotions, h.texts())
	}
}

func (h *host) texts() (texts []string) {
	for _, e := range h.events.Of(part, 1000) {
		texts = append(texts, e.Text)
	}
	return texts
}

func list(t *testing.T, text string) List {
	t.Helper()
	var l List
	if err := l.Set(text); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestKeeper(t *testing.T) {
	behind := fmt.Errorf("%w: 5 entries behind", promote.ErrRefused)
	for _, tc := range []struct {
		name string
		play func(h *host)
	}{
		{"arrives and leaves", func(h *host) {
			h.start()
			h.want(time.Minute, false, 0)
			h.move(true)
			h.want(settle, true, 1)
			if opt := h.asked[0]; opt.Address != "192.0.2.10" || !opt.Takeover || opt.Force || opt.Reason != "192.0.2.10 is here" {
				h.t.Errorf("promoted with %+v", opt)
			}
			h.want(time.Hour, true, 1)
			h.move(false)
			h.want(settle, false, 1)
			if now := h.Role(); now.Ended != role.Left {
				h.t.Errorf("the lead ended by %q", now.Ended)
			}
			h.move(true)
			h.want(settle, true, 2)
		}},
		{"is seen though the kernel says nothing", func(h *host) {
			h.start()
			h.mu.Lock()
			h.here = true
			h.mu.Unlock()
			h.want(lookEvery+settle, true, 1)
		}},
		{"flickers", func(h *host) {
			h.start()
			for range 20 {
				h.move(true)
				h.want(settle/2, false, 0)
				h.move(false)
				h.want(settle/2, false, 0)
			}
			h.move(true)
			h.want(settle, true, 1)
			h.move(false)
			time.Sleep(settle / 2)
			h.move(true)
			h.want(time.Hour, true, 1)
		}},
		{"comes and goes", func(h *host) {
			h.start()
			for range 100 {
				h.move(true)
				time.Sleep(3 * time.Second)
				h.move(false)
				time.Sleep(3 * time.Second)
			}
			// At once, after 1 s, and after 2 s; then it leaves before it counts.
			h.want(0, false, 3)
			h.move(true)
			h.want(longestWait+time.Second, true, 4)
			// One that stayed counts at once when it comes again.
			h.move(false)
			time.Sleep(time.Second)
			h.move(true)
			h.want(settle, true, 5)
		}},
		{"refused until it has caught up", func(h *host) {
			h.unfit = behind
			h.start()
			h.move(true)
			for n := range 100 {
				h.with(func() { h.unfit = fmt.Errorf("%w: %d entries behind", promote.ErrRefused, 100-n) })
				h.want(time.Second, false, 0)
			}
			if st := h.keeper.Status(); !st.Here || !strings.Contains(st.Refused, "1 entries behind") {
				h.t.Errorf("status %+v", st)
			}
			if texts := h.texts(); len(texts) != 3 { // not here, here, refused
				h.t.Errorf("events %q", texts)
			}
			h.with(func() { h.unfit = nil })
			h.want(askEvery, true, 1)
			time.Sleep(lookEvery)
			if st := h.keeper.Status(); st.Refused != "" {
				h.t.Errorf("status of a leader %+v", st)
			}
		}},
		{"leaves while it is refused", func(h *host) {
			h.unfit = behind
			h.start()
			h.move(true)
			time.Sleep(time.Second)
			h.move(false)
			time.Sleep(time.Second)
			h.with(func() { h.unfit = nil })
			h.want(time.Hour, false, 0)
		}},
		{"leaves during the promotion", func(h *host) {
			h.takes = time.Hour
			h.start()
			h.move(true)
			h.want(time.Second, false, 1)
			h.move(false)
			h.want(2*time.Hour, false, 1)
		}},
		{"leaves during a promotion that cannot be ended", func(h *host) {
			h.takes, h.deaf = time.Minute, true
			h.start()
			h.move(true)
			h.want(time.Second, false, 1)
			h.move(false)
			h.want(2*time.Minute, false, 1)
			if now := h.Role(); now.Ended != role.Left {
				h.t.Errorf("it did not lead, or not end: %+v", now)
			}
		}},
		{"was here at the start", func(h *host) {
			h.here = true
			h.start()
			h.want(0, true, 1)
			if opt := h.asked[0]; opt.Takeover {
				h.t.Errorf("promoted with %+v", opt)
			}
		}},
		{"was here at the start, and another leads", func(h *host) {
			h.here = true
			other := newHost(h.t, h.cluster, "other")
			other.lead()
			h.start()
			h.want(time.Hour, false, 0)
			h.cluster.mu.Lock()
			h.cluster.silent = true
			h.cluster.mu.Unlock()
			h.want(askEvery, true, 1)
		}},
		{"arrives, and another leads", func(h *host) {
			other := newHost(h.t, h.cluster, "other")
			other.lead()
			h.start()
			h.move(true)
			h.want(settle, true, 1)
		}},
		{"demoted by a person", func(h *host) {
			h.start()
			h.move(true)
			h.want(time.Second, true, 1)
			h.must(h.demote(role.Demote))
			h.want(time.Hour, false, 1)
			if st := h.keeper.Status(); !strings.Contains(st.Refused, "a person demoted it") {
				h.t.Errorf("status %+v", st)
			}
			h.end()
			h.start()
			h.want(time.Hour, false, 1)
			h.move(false)
			time.Sleep(time.Second)
			h.move(true)
			h.want(settle, true, 2)
		}},
		{"promoted by a person", func(h *host) {
			h.lead()
			h.start()
			h.want(time.Hour, true, 0)
			h.move(true)
			h.want(time.Hour, true, 0)
			h.move(false)
			h.want(settle, false, 0)
		}},
		{"handed over to a stock master, which dies", func(h *host) {
			h.start()
			h.move(true)
			h.want(time.Second, true, 1)
			h.with(func() { h.unfit = fmt.Errorf("%w: the stock master runs", promote.ErrRefused) })
			h.must(h.demote(role.Demote))
			h.fire(role.Force, role.HandedOver)
			h.want(time.Hour, false, 1)
			h.with(func() { h.unfit = nil })
			h.want(lookEvery, true, 2)
			if h.asked[1].Takeover {
				h.t.Errorf("promoted again with %+v", h.asked[1])
			}
		}},
		{"lost the stream", func(h *host) {
			h.start()
			h.move(true)
			h.want(time.Second, true, 1)
			h.with(func() { h.broken = errors.New("no answer from NATS") })
			h.lose()
			h.want(10*time.Minute, false, 1+24) // after 1, 2, 4, 8, 16, 30, 30 ... s
			h.with(func() { h.broken = nil })
			h.want(lastRetry, true, 1+24+1)
			if h.asked[25].Takeover {
				h.t.Errorf("promoted again with %+v", h.asked[25])
			}
		}},
		{"looking fails", func(h *host) {
			h.start()
			h.move(true)
			h.want(time.Second, true, 1)
			h.with(func() { h.here, h.blind = false, errors.New("no memory") })
			h.want(time.Minute, true, 1)
			h.with(func() { h.blind = nil })
			h.want(settle, false, 1)
		}},
		{"ending the lead fails", func(h *host) {
			h.start()
			h.move(true)
			h.want(time.Second, true, 1)
			h.with(func() { h.stuck = 3 })
			h.move(false)
			h.want(settle, true, 1)
			h.want(3*lookEvery, false, 1)
		}},
		{"leader started again without it", func(h *host) {
			h.start()
			h.move(true)
			h.want(time.Second, true, 1)
			h.end()
			h.move(false)
			h.start()
			h.want(startGrace-time.Second, true, 1)
			h.want(2*time.Second, false, 1)
		}},
		{"leader started again, and it comes", func(h *host) {
			h.start()
			h.move(true)
			h.want(time.Second, true, 1)
			h.end()
			h.move(false)
			h.start()
			time.Sleep(5 * time.Second)
			h.move(true)
			h.want(time.Hour, true, 1)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, &cluster{}, "host")
				tc.play(h)
				h.end()
			})
		})
	}
}

// lead makes a person promote the host.
func (h *host) lead() {
	h.t.Helper()
	_, err := h.Promote(h.t.Context(), promote.Options{Reason: "a person"}, nil)
	h.must(err)
	h.asked = nil
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// Both hosts of a split network have the address. One leads, and stays so; the
// other takes over when that one is silent.
func TestAddressOnTwoHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		a, b := newHost(t, c, "a"), newHost(t, c, "b")
		a.start()
		b.start()
		a.move(true)
		a.want(time.Second, true, 1)
		b.move(true)
		b.want(time.Hour, true, 1)
		a.want(0, false, 1)
		if a.Role().Ended != role.Fenced {
			t.Errorf("a: %+v", a.Role())
		}
		b.end()
		c.mu.Lock()
		c.silent = true
		c.mu.Unlock()
		a.want(lookEvery, true, 2)
		a.end()
	})
}

func TestList(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"192.0.2.10", "192.0.2.10"},
		{" 192.0.2.10%eth0 , fd00::10 ", "192.0.2.10%eth0,fd00::10"},
		{"fe80::1%bond0.7", "fe80::1%bond0.7"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"", ""},
		{"192.0.2.10/24", "error"},
		{"192.0.2.10%", "error"},
		{"mfsmaster", "error"},
		{"127.0.0.1", "error"},
		{"::", "error"},
		{"224.0.0.18", "error"},
	} {
		l := List{{}}
		got := "error"
		if l.Set(tc.text) == nil {
			got = l.String()
		}
		if got != tc.want {
			t.Errorf("%q is %q, want %q", tc.text, got, tc.want)
		}
		var again List
		if got != "error" && (again.Set(got) != nil || !slices.Equal(again, l)) {
			t.Errorf("%q does not give the same list again", got)
		}
	}
}

func FuzzList(f *testing.F) {
	f.Add("192.0.2.10%eth0,fd00::1")
	f.Fuzz(func(t *testing.T, text string) {
		var l, again List
		if l.Set(text) != nil {
			return
		}
		if err := again.Set(l.String()); err != nil || !slices.Equal(again, l) {
			t.Fatalf("%q became %q, which does not round-trip: %v", text, l.String(), err)
		}
	})
}
