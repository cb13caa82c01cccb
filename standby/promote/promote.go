// Package promote makes a standby the leader of its cluster, and a follower again.
//
// A promotion takes these steps, in this order:
//
//	check   whether the image is fit to lead, and whether somebody leads already
//	tap     stop following the primary, when what it sent is in the stream
//	fence   open an epoch by compare-and-set: nobody else can append from here on
//	drain   apply the stream to its end, and then what files of a dead primary
//	        have beyond it, which goes through the stream too
//	hold    stop applying: the leader changes the image from now on
//	flip    write down that this leads, and serve changes
//	hook    run the user's command, if there is one
//
// Nothing is accepted before fence has succeeded, and what was fenced off can
// never be appended, so two leaders cannot both be believed: at most one of them
// has the stream. Whatever fails after fence gives the epoch up again.
//
// What a primary accepted and had not sent when it died is lost unless its files
// can be reached. Result says how much is known of that.
package promote

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/stream"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby"
	"mfsstandby/standby/image"
	"mfsstandby/standby/leader"
	"mfsstandby/standby/role"
)

// Server serves the changes of clients: a server.Server.
type Server interface {
	// Listen makes sure that clients can connect.
	Listen() error
	// Leave makes clients unable to connect if they do at a port, which another
	// process needs, and tells whether they did.
	Leave(port string) (bool, error)
	// Lead begins to serve changes, or ends it with nil.
	Lead(*leader.Leader)
	Wake(id meta.SessionID, t wire.Type, msgID uint32, status meta.Status)
}

// Metaloggers serves metaloggers: an upstream.Upstream.
type Metaloggers interface {
	// Leave makes metaloggers unable to connect if they do at a port, which another
	// process needs, until Return.
	Leave(port string)
	Return()
}

// Tap is what this process follows a primary with.
type Tap interface {
	// Stop ends following, when what was received is in the stream, and returns
	// when that is so.
	Stop(ctx context.Context) error
	// Start follows again.
	Start()
	// Heard tells from where, whether the primary answers now, the version after
	// what it sent, and when it sent something last.
	Heard() Heard
}

// Lease is what a leader has to have, where several processes may lead by
// themselves.
type Lease interface {
	// Take takes it; the context ends when the lease does.
	Take(ctx context.Context, how Claim) (context.Context, error)
	// Valid tells whether this process has it at this moment.
	Valid() bool
	// Release gives it back.
	Release()
	// Pause keeps all processes from leading by themselves.
	Pause(ctx context.Context, reason string) error
}

// Claim is how much a lease is wanted.
type Claim int

// The claims.
const (
	ClaimIfFree   Claim = iota // or not at all
	ClaimWhenFree              // unless another process takes it
	ClaimByForce               // from whoever has it
)

// Heard is what is known of a primary.
type Heard struct {
	Source string       `json:"source"`
	Alive  bool         `json:"alive"`
	Next   meta.Version `json:"next_version"`
	At     time.Time    `json:"at"`
}

// Config says with what a Node works. Dir, Standby and Server are needed.
type Config struct {
	Dir     string // data directory of the process, for its role
	Standby *standby.Standby
	Server  Server
	Tap     Tap   // nil: the tap is in another process
	Lease   Lease // nil: none is needed
	// Metaloggers has the port for them; nil: nobody has.
	Metaloggers Metaloggers
	// Beside, if set, runs beside each leader, until ctx ends; the image is given
	// back when it has returned.
	Beside func(ctx context.Context, l *leader.Leader)
	Hooks  Hooks
	Rules  func() *changelog.Rules // options of a leader in force; nil: changelog.DefaultRules
	Who    string
	Logger *slog.Logger
	Events *events.Log
}

// Node is one process that may lead. Its methods are safe for concurrent use.
type Node struct {
	cfg  Config
	log  *slog.Logger
	role *role.Machine

	turn  sync.Mutex // held while the role is being changed
	hooks hooks

	mu   sync.Mutex // guards what follows
	ctx  context.Context
	lead *term // nil: this follows
}

// term is the time of one leader.
type term struct {
	begun  meta.Version
	end    context.CancelFunc
	ended  chan struct{} // closed when the image is given back
	writer *stream.Writer
}

// New reads which role this process had.
func New(cfg Config) (*Node, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Who == "" {
		cfg.Who = stream.HostName()
	}
	m, err := role.Open(cfg.Dir)
	if err != nil {
		return nil, err
	}
	return &Node{cfg: cfg, log: cfg.Logger.With("part", part), role: m}, nil
}

// part is what this package is in the log and among the events.
const part = "promote"

// Role tells what this process is to its cluster.
func (n *Node) Role() role.State {
	n.observe()
	return n.role.Now()
}

// observe brings the role of a follower up to date with what its standby does.
func (n *Node) observe() {
	want := n.cfg.Standby.Status().State
	if want == standby.Delayed {
		want = standby.InSync // a promotion applies what waits
	}
	for range 2 { // from stopped to in sync there are two steps
		var e role.Event
		switch now := n.role.Now().Role; {
		case now == role.Stopped && want != standby.Stopped:
			e = role.Reloaded
		case now == role.CatchingUp && want == standby.InSync:
			e = role.CaughtUp
		case now == role.InSync && (want == standby.CatchingUp || want == standby.Loading || want == standby.Waiting):
			e = role.FellBack
		case (now == role.CatchingUp || now == role.InSync) && want == standby.Stopped:
			e = role.Diverged
		default:
			return
		}
		if _, err := n.role.Fire(e, "", nil); err != nil {
			n.log.Warn("keeping the role", "err", err)
			return
		}
	}
}

// fire changes the role and makes an event of it.
func (n *Node) fire(e role.Event, reason string, with func(*role.State)) error {
	before := n.role.Now().Role
	now, err := n.role.Fire(e, reason, with)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("from %s to %s (%s)", before, now.Role, e)
	if reason != "" {
		text += ": " + reason
	}
	n.log.Info("the role has changed", "from", before, "to", now.Role, "event", e, "reason", reason)
	n.cfg.Events.Add(part, slog.LevelWarn, events.RoleChanged, text)
	return nil
}

// Run lets this process lead for as long as ctx lasts. One that led before it
// was stopped leads again if nobody has taken over since.
func (n *Node) Run(ctx context.Context) error {
	n.mu.Lock()
	n.ctx = ctx
	n.mu.Unlock()
	if n.role.Now().Role == role.Leader {
		if err := n.resume(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("this process led before, and does not any more", "err", err)
			n.cfg.Events.Add(part, slog.LevelWarn, events.RoleChanged, "it led before, and does not any more: "+err.Error())
		}
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if t := n.term(); t != nil {
				<-t.ended
			}
			n.hooks.background.Wait()
			return nil
		case <-tick.C:
			n.observe()
		}
	}
}

func (n *Node) term() *term {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lead
}

// resume leads again in a new epoch, if the last one is still its own.
func (n *Node) resume(ctx context.Context) error {
	n.turn.Lock()
	defer n.turn.Unlock()
	kept := n.role.Now()
	r := newRun(n, Options{Reason: "the leader was started again", Address: kept.Address}, nil)
	r.resumes = true
	err := n.awaitSync(ctx)
	if err == nil && n.cfg.Lease != nil {
		r.hold, err = n.cfg.Lease.Take(ctx, ClaimWhenFree)
	}
	if err == nil {
		err = r.fence(ctx, func(w *stream.Writer) error {
			if end := w.End(); !w.Led() || uint64(end.Epoch) != kept.Epoch {
				return fmt.Errorf("epoch %d was its own, %d is the stream's", kept.Epoch, end.Epoch)
			}
			return nil
		})
	}
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, n.fire(role.Fenced, err.Error(), nil))
	}
	if err != nil {
		n.releaseLease()
	}
	if err == nil {
		err = n.fire(role.Resume, r.opt.Reason, nil)
	}
	if err == nil {
		err = r.finish(ctx)
	}
	if err != nil && ctx.Err() == nil {
		r.hook(ctx, onDemote)
	}
	return err
}

// awaitSync waits until the standby follows the stream.
func (n *Node) awaitSync(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		switch st := n.cfg.Standby.Status(); st.State {
		case standby.InSync, standby.Delayed, standby.CatchingUp:
			return nil
		case standby.Stopped:
			return errors.New(st.Error)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// streamWriter is a stream.Writer in the leader's terms.
type streamWriter struct{ *stream.Writer }

func (w streamWriter) End() image.Position {
	end := w.Writer.End()
	pos := image.Position{Version: end.Version, Epoch: uint64(end.Epoch), Seq: uint64(end.Seq)}
	binary.BigEndian.PutUint64(pos.Chain[:8], end.Chain.Hi)
	binary.BigEndian.PutUint64(pos.Chain[8:], end.Chain.Lo)
	return pos
}

// begin lets a leader change the image, which is held, and serves its clients.
func (n *Node) begin(img *image.Image, w *stream.Writer, hold context.Context, release func()) (*leader.Leader, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx == nil || n.ctx.Err() != nil {
		return nil, errors.New("this process is being stopped, or started")
	}
	ctx, cancel := context.WithCancel(n.ctx)
	t := &term{begun: w.Next(), end: cancel, ended: make(chan struct{}), writer: w}
	cfg := leader.Config{Image: img, Stream: streamWriter{w}, Rules: n.cfg.Rules, Wake: n.cfg.Server.Wake}
	over := func() bool { return true }
	if n.cfg.Lease != nil {
		cfg.Valid = n.cfg.Lease.Valid
		over = context.AfterFunc(hold, cancel)
	}
	l := leader.New(cfg)
	n.lead = t
	var beside sync.WaitGroup
	if n.cfg.Beside != nil {
		beside.Go(func() { n.cfg.Beside(ctx, l) })
	}
	go func() {
		defer close(t.ended)
		defer n.releaseLease()
		defer cancel()
		err := l.Run(ctx)
		if !over() {
			err = errLease
		}
		cancel()
		beside.Wait()
		n.mu.Lock()
		n.lead = nil
		n.mu.Unlock()
		n.cfg.Server.Lead(nil)
		self := n.ended(img, err)
		release()
		if self {
			n.hooks.background.Go(func() { newRun(n, Options{}, nil).hook(n.ctx, onDemote) })
		}
	}()
	return l, nil
}

// errLease ends a leader that could not renew its lease in time.
var errLease = errors.New("the lease could not be renewed")

func (n *Node) releaseLease() {
	if n.cfg.Lease != nil {
		n.cfg.Lease.Release()
	}
}

// ended takes note that a leader has ended, and makes the image what the stream
// says. It tells whether it ended by itself, and will not go on.
func (n *Node) ended(img *image.Image, err error) (self bool) {
	if err == context.Canceled { // not within a batch
		err = img.Commit(true)
	}
	if err != nil {
		if reset := img.Reset(); reset != nil {
			n.log.Error("going back to what is in the stream", "err", reset)
		}
	}
	n.mu.Lock()
	stopping := n.ctx.Err() != nil
	n.mu.Unlock()
	if stopping || n.role.Now().Role != role.Leader { // it goes on when it is started again, or was demoted
		return false
	}
	e := role.Lost
	if errors.Is(err, stream.ErrFenced) {
		e = role.Fenced
	}
	if err := n.fire(e, fmt.Sprint(err), nil); err != nil {
		n.log.Error("keeping the role", "err", err)
	}
	return true
}
