// Package failover lets one of several standbys lead when nobody does: the
// primary is dead, or the leader is. It is off unless it is asked for.
//
// Each node that stands looks itself whether the primary lives (Health), tells
// the others what it sees and how far its image is (Words), and decides by a
// pure function (view.decide) whether it is its turn. What makes it a leader is
// promote.Node, as if a person had asked. Three things see to it that there is
// one, in this order of strength: the epoch of the stream, which alone decides
// what counts; the lease, which a leader has to renew; and the turns.
//
// # Times
//
// With After, 2 s by default: the primary was not seen by anybody for After, or
// the leader's lease was not renewed for After. Looks come every After/8, so
// that seven in a row have failed. A shorter time would take a primary for dead
// that waits for its disk, or for a packet that TCP sends again (1 s, then 2 s);
// a longer one would not leave the second that promoting and the clients' own
// attempts need of the 3 s that the whole may take.
//
// A process that was stopped itself, or cut off from all others, has seen nothing
// either. When that is over it looks for After/2 before it takes a primary for
// dead.
package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"mfsstandby/replicator/events"
	"mfsstandby/replicator/lease"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby"
	"mfsstandby/standby/promote"
	"mfsstandby/standby/role"
)

// Config says who stands, and when.
type Config struct {
	Standby  *standby.Standby
	Health   *Health
	After    time.Duration // see above; 0: DefaultAfter
	Priority int           // among nodes whose image is as new, the highest leads
	Logger   *slog.Logger
	Events   *events.Log
}

// DefaultAfter is the default of Config.After.
const DefaultAfter = 2 * time.Second

// Failover decides for one process. It is the promote.Lease of its Node.
type Failover struct {
	cfg   Config
	node  *promote.Node
	start time.Time // of the monotonic clock

	ready   chan struct{} // closed when what follows is set
	cluster *stream.Cluster
	lease   *lease.Lease
	pause   *stream.Register

	mu     sync.Mutex // guards what follows
	others map[string]heard
	now    Status
	due    time.Duration
	led    bool
	ledAt  time.Duration // when led was asked
	looked time.Duration // when it was looked last
	steady time.Duration // see view
}

// Status tells how fail-over stands.
type Status struct {
	Node     string  `json:"node"`
	Paused   string  `json:"paused,omitempty"` // why; "": it is not
	Lease    string  `json:"lease,omitempty"`  // the node that has it; "": nobody
	Led      bool    `json:"led"`              // the stream is a leader's, not the primary's
	Waits    string  `json:"waits,omitempty"`  // why this node does not stand
	Priority int     `json:"priority"`
	After    float64 `json:"after_seconds"`
	Seen     string  `json:"seen,omitempty"` // how this node saw the primary alive last
	SeenAgo  float64 `json:"seen_seconds,omitempty"`
	Others   []Other `json:"others,omitempty"`
}

// Other is another node that can stand.
type Other struct {
	Words
	HeardAgo float64 `json:"heard_seconds"`
}

// New returns a Failover; SetNode and Run follow.
func New(cfg Config) *Failover {
	if cfg.After == 0 {
		cfg.After = DefaultAfter
	}
	cfg.Health.Every, cfg.Health.Limit, cfg.Health.Log = cfg.After/8, cfg.After/2, cfg.Logger
	return &Failover{cfg: cfg, start: time.Now(), ready: make(chan struct{}), others: map[string]heard{}, due: -1}
}

// SetNode says what is promoted.
func (f *Failover) SetNode(n *promote.Node) { f.node = n }

func (f *Failover) clock() time.Duration { return time.Since(f.start) }

// Run stands when it is this node's turn, until ctx ends.
func (f *Failover) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { f.cfg.Health.Run(ctx) })
	if err := f.open(ctx); err != nil {
		return nil // ctx has ended
	}
	stop, err := f.cluster.Listen(f.hear)
	if err != nil {
		return err
	}
	defer stop()
	wg.Go(func() { f.tell(ctx) })
	tick := time.NewTicker(f.cfg.After / 20)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if f.look(ctx) {
			f.stand(ctx)
			f.looked = f.clock()
		}
	}
}

// open waits for the stream, and for NATS.
func (f *Failover) open(ctx context.Context) error {
	for {
		if f.cluster = f.cfg.Standby.Cluster(); f.cluster != nil {
			leader, err := f.cluster.Register(ctx, "leader")
			if err == nil {
				f.pause, err = f.cluster.Register(ctx, "pause")
			}
			if err == nil {
				f.lease = lease.New(leader, f.cluster.Node(), lease.Within(f.cfg.After))
				close(f.ready)
				return nil
			}
			f.waits("NATS does not answer: " + err.Error())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (f *Failover) waits(why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now.Waits = why
}

// tell tells the others of this node.
func (f *Failover) tell(ctx context.Context) {
	tick := time.NewTicker(f.cfg.After / 8)
	defer tick.Stop()
	for {
		w := f.words()
		if text, err := json.Marshal(&w); err == nil {
			if err := f.cluster.Tell(text); err != nil {
				f.cfg.Logger.Debug("telling the other nodes", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// words are what this node has to say.
func (f *Failover) words() Words {
	st, r := f.cfg.Standby.Status(), f.node.Role()
	w := Words{Node: f.cluster.Node(), Epoch: st.Epoch, Version: st.Image, Priority: f.cfg.Priority}
	switch {
	case r.Role != role.InSync:
		w.Unfit = "it is " + string(r.Role)
	case st.Delay > 0:
		w.Unfit = "it is delayed on purpose"
	}
	if at, _ := f.cfg.Health.Seen(); !at.IsZero() {
		w.Seen, w.Ago = true, time.Since(at)
	}
	return w
}

func (f *Failover) hear(text []byte) {
	var w Words
	if err := json.Unmarshal(text, &w); err != nil || w.Node == "" || w.Ago < 0 {
		f.cfg.Logger.Debug("words that are not understood", "text", string(text), "err", err)
		return
	}
	if w.Node == f.cluster.Node() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.others[w.Node] = heard{w, f.clock()}
}

// Paused is what is stored while nobody is to stand.
type paused struct {
	Paused bool      `json:"paused"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

func (f *Failover) isPaused(ctx context.Context) (string, uint64, error) {
	text, revision, err := f.pause.Get(ctx)
	if err != nil || revision == 0 {
		return "", revision, err
	}
	var p paused
	if err := json.Unmarshal(text, &p); err != nil {
		return "", revision, fmt.Errorf("the register %q: %w", text, err)
	}
	if !p.Paused {
		return "", revision, nil
	}
	return fmt.Sprintf("%s (by %s, %s)", p.Reason, p.By, p.At.Format(time.RFC3339)), revision, nil
}

// look brings what is known up to date, and tells whether to stand.
func (f *Failover) look(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.After/2)
	defer cancel()
	v := view{after: f.cfg.After, turn: f.cfg.After / 4, me: f.words()}
	var err error
	if v.paused, _, err = f.isPaused(ctx); err == nil {
		err = f.lease.Look(ctx)
	}
	if err == nil {
		v.led, err = f.isLed(ctx, f.clock()-f.ledAt > f.cfg.After/2)
	}
	if err != nil {
		f.due = -1
		f.looked = f.clock()
		f.steady = f.looked
		f.waits("NATS does not answer: " + err.Error())
		return false
	}
	rec, free := f.lease.Seen()
	v.free, v.lease = free, rec.Node
	at, how := f.cfg.Health.Seen()
	v.sawIt, v.now = !at.IsZero(), f.clock()
	v.seen = v.now - time.Since(at)
	if v.now-f.looked > f.cfg.After/4 { // this process, or its machine, stood still
		f.steady = v.now
	}
	f.looked, v.steady = v.now, f.steady
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.others {
		v.others = append(v.others, h)
	}
	if who := f.outsider(); who != "" {
		v.free, v.lease = false, who+", which takes no part in this,"
	}
	if v.wait() != "" {
		f.due = -1
	} else if f.due < 0 {
		f.due = v.now
	}
	v.due = f.due
	stand, why := v.decide()
	f.now = Status{Node: v.me.Node, Paused: v.paused, Led: v.led, Waits: why, Priority: f.cfg.Priority, After: f.cfg.After.Seconds(), Seen: how}
	if !free {
		f.now.Lease = rec.Node
	}
	if v.sawIt {
		f.now.SeenAgo = time.Since(at).Seconds()
	}
	for _, h := range v.others {
		if v.now-h.at > forget {
			delete(f.others, h.Node)
			continue
		}
		f.now.Others = append(f.now.Others, Other{h.Words, (v.now - h.at).Seconds()})
	}
	return stand
}

// outsider is a leader that knows of no lease: one promoted by hand where
// fail-over is off. The caller holds mu.
func (f *Failover) outsider() string {
	for _, m := range f.cfg.Standby.Status().Members {
		if _, heard := f.others[m.Name]; !heard && m.State == string(standby.Leading) && m.Name != f.cluster.Node() && time.Since(m.Updated) < 3*stream.AnnounceEvery {
			return m.Name
		}
	}
	return ""
}

// forget is when a node that says nothing more is not told of any longer.
const forget = time.Minute

// isLed tells whether the stream is a leader's, by what is known unless anew.
func (f *Failover) isLed(ctx context.Context, anew bool) (bool, error) {
	if !anew {
		return f.led, nil
	}
	led, err := f.cluster.Led(ctx)
	if err == nil {
		f.led, f.ledAt = led, f.clock()
	}
	return f.led, err
}

// stand promotes this node, if what was looked at is still so.
func (f *Failover) stand(ctx context.Context) {
	before := f.led
	led, err := f.isLed(ctx, true)
	if err != nil || led != before {
		return // the next look sees
	}
	why := "fail-over: the primary was not seen alive for " + f.cfg.After.String()
	if led {
		why = "fail-over: the leader is gone"
	}
	f.cfg.Logger.Warn("standing for leader", "why", why)
	if _, err := f.node.Promote(ctx, promote.Options{Reason: why, Judged: true}, nil); err != nil && ctx.Err() == nil {
		f.cfg.Logger.Warn("this node does not lead", "err", err)
		if !errors.Is(err, lease.ErrTaken) {
			f.cfg.Events.Add("failover", slog.LevelError, events.RoleChanged, "fail-over to this node failed: "+err.Error())
		}
		select {
		case <-ctx.Done():
		case <-time.After(f.cfg.After / 2):
		}
	}
}

// Status tells how things stand.
func (f *Failover) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := f.now
	st.Node, st.Priority, st.After = stream.HostName(), f.cfg.Priority, f.cfg.After.Seconds()
	if f.now.Node != "" {
		st.Node = f.now.Node
	}
	return st
}

func (f *Failover) awaitReady(ctx context.Context) error {
	select {
	case <-f.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the register of the leader cannot be reached: %w", ctx.Err())
	}
}

// Take is that of promote.Lease.
func (f *Failover) Take(ctx context.Context, how promote.Claim) (context.Context, error) {
	if err := f.awaitReady(ctx); err != nil {
		return nil, err
	}
	if how == promote.ClaimWhenFree {
		return f.lease.Await(ctx, false)
	}
	return f.lease.Take(ctx, how == promote.ClaimByForce)
}

// Valid is that of promote.Lease.
func (f *Failover) Valid() bool { return f.isReady() && f.lease.Valid() }

func (f *Failover) isReady() bool {
	select {
	case <-f.ready:
		return true
	default:
		return false
	}
}

// Release is that of promote.Lease.
func (f *Failover) Release() {
	if !f.isReady() {
		return // it was never taken
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.cfg.After/2)
	defer cancel()
	f.lease.Release(ctx)
}

// Pause keeps everybody from standing, until Resume; it outlives all processes.
func (f *Failover) Pause(ctx context.Context, reason string) error {
	return f.setPaused(ctx, paused{Paused: true, Reason: reason})
}

// Resume ends Pause.
func (f *Failover) Resume(ctx context.Context) error { return f.setPaused(ctx, paused{}) }

func (f *Failover) setPaused(ctx context.Context, p paused) error {
	if err := f.awaitReady(ctx); err != nil {
		return err
	}
	p.By, p.At = f.cluster.Node(), time.Now()
	text, err := json.Marshal(&p)
	if err != nil {
		return err
	}
	for {
		_, revision, err := f.pause.Get(ctx)
		if err == nil {
			_, err = f.pause.Set(ctx, text, revision)
		}
		if !errors.Is(err, stream.ErrChanged) {
			return err
		}
	}
}
