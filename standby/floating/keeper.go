package floating

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/vishvananda/netns"

	"mfsstandby/replicator/events"
	"mfsstandby/standby/promote"
	"mfsstandby/standby/role"
)

// Node is whose role follows the address: a promote.Node.
type Node interface {
	Role() role.State
	// Fit tells why a promotion would be refused now.
	Fit(promote.Options) error
	Promote(context.Context, promote.Options, func(promote.Step)) (promote.Result, error)
	// Leave demotes, or returns promote.ErrFollows.
	Leave(ctx context.Context, reason string) error
}

// Config of a Keeper; all fields but Events are needed.
type Config struct {
	Addresses List
	Node      Node
	Logger    *slog.Logger
	Events    *events.Log
}

// Status tells where the address is, and what follows from that.
type Status struct {
	Addresses string    `json:"addresses"`
	Here      bool      `json:"here"`
	Since     time.Time `json:"since"`             // that is so, or the process runs
	Why       string    `json:"why,omitempty"`     // it is not here, in words
	Refused   string    `json:"refused,omitempty"` // why this process does not lead although it is here
}

// Keeper keeps the role of a process in line with where the address is.
//
// The address arrives: the process is promoted as soon as the checks allow it,
// for as long as the address stays. Another leader that answers does not count
// at that time, since clients cannot reach it any more and it answers only for
// what the stream has; a primary that answers does, as its entries would be
// lost. Once this process has led, it asks again only if it lost the lead for
// another reason than a person's word, and then another leader does count: two
// hosts that both have the address do not take the lead from each other in turn.
//
// The address was here already when the process started: as above, but another
// leader counts from the beginning.
//
// The address leaves: a promotion under way ends, a leader is demoted. A leader
// that was promoted for an address, was started again and does not get it within
// startGrace, is demoted too.
type Keeper struct {
	cfg   Config
	log   *slog.Logger
	look  func(List) (here bool, why string, err error)
	watch func(ctx context.Context, changed chan<- struct{}) error

	mu     sync.Mutex // guards what follows
	status Status
}

// part is what this package is in the log and among the events.
const part = "address"

// How long things take.
const (
	settle      = 200 * time.Millisecond // that an address must stay where it is before that counts
	lookEvery   = time.Second            // though nothing seems to change
	askEvery    = 200 * time.Millisecond // whether a promotion is still refused
	shortStay   = time.Minute            // an address that left sooner may be flapping
	longestWait = time.Minute            // before the next promotion for one that does
	startGrace  = 30 * time.Second       // for the address to come to a leader that was started again
	firstRetry  = time.Second            // after a promotion that failed, doubled each time
	lastRetry   = 30 * time.Second
)

// New returns a Keeper, which does nothing before Run.
func New(cfg Config) *Keeper {
	k := kernel{ns: netns.None()}
	return &Keeper{
		cfg: cfg, log: cfg.Logger.With("part", part), look: k.look, watch: k.watch,
		status: Status{Addresses: cfg.Addresses.String(), Since: time.Now()},
	}
}

// Status tells where the address is.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

func (k *Keeper) set(change func(*Status)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&k.status)
}

func (k *Keeper) tell(level slog.Level, text string) {
	k.log.Log(context.Background(), level, text)
	k.cfg.Events.Add(part, level, events.Address, text)
}

// Run follows the address until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer cancel()
	changed := make(chan struct{}, 1)
	watcher.Go(func() {
		for ctx.Err() == nil {
			if err := k.watch(ctx, changed); err != nil {
				k.log.Warn("looking once a second only", "err", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(lastRetry):
			}
		}
	})
	l := loop{Keeper: k, started: time.Now()}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			l.cancel()
			return nil
		case <-changed:
		case <-timer.C:
		case err := <-l.done:
			l.promoted(err)
		}
		timer.Reset(l.step(ctx))
	}
}

// loop is what Run knows. Only its goroutine touches it.
type loop struct {
	*Keeper
	started time.Time

	known   bool      // the fields below tell something
	here    bool      // where the address is, once settled
	seen    bool      // it has been here
	arrived time.Time // the last time
	turning time.Time // since when it seems to be elsewhere than here says; zero: it does not

	fresh     bool          // it arrived, and this process has not led since
	leaving   bool          // a leader is to be demoted
	stays     int           // short ones, one after another
	notBefore time.Time     // of the next promotion
	retry     time.Duration // the last time between two of them
	told      string        // the last refusal, without figures

	done chan error         // of the promotion under way; nil: there is none
	stop context.CancelFunc // ends it
}

// step looks, and does what follows. It returns after which time to look again.
func (l *loop) step(ctx context.Context) time.Duration {
	here, why, err := l.look(l.cfg.Addresses)
	if err != nil { // then it is where it was
		l.once("where the address is, is not known now: " + err.Error())
		return lookEvery
	}
	switch now := time.Now(); {
	case !l.known:
		l.known, l.here, l.seen, l.arrived = true, here, here, now
		l.found(why)
	case here == l.here:
		l.turning = time.Time{}
	case l.turning.IsZero():
		l.turning = now
		return settle
	case now.Sub(l.turning) < settle:
		return settle - now.Sub(l.turning)
	default:
		l.turn(here, why)
	}
	return l.act(ctx)
}

// turn takes note that the address is elsewhere now.
func (l *loop) turn(here bool, why string) {
	now := time.Now()
	l.here, l.turning, l.notBefore, l.retry = here, time.Time{}, time.Time{}, 0
	l.found(why)
	l.leaving = !here
	if !here {
		l.fresh = false
		if l.stays++; now.Sub(l.arrived) >= shortStay {
			l.stays = 0
		}
		l.cancel()
		return
	}
	l.seen, l.fresh, l.arrived = true, true, now
	if l.stays > 0 {
		wait := min(time.Second<<min(l.stays-1, 10), longestWait)
		l.notBefore = now.Add(wait)
		l.tell(slog.LevelWarn, fmt.Sprintf("the address comes and goes: it must stay for %v before it counts", wait))
	}
}

// found tells where the address is.
func (l *loop) found(why string) {
	text := why
	if l.here {
		text = l.cfg.Addresses.String() + " is here"
	}
	l.tell(slog.LevelInfo, text)
	l.told = ""
	l.set(func(st *Status) { st.Here, st.Since, st.Why, st.Refused = l.here, time.Now(), why, "" })
}

// act brings the role in line.
func (l *loop) act(ctx context.Context) time.Duration {
	now := l.cfg.Node.Role()
	if !l.here {
		if !l.seen && now.Role == role.Leader && now.Address != "" && time.Since(l.started) >= startGrace {
			l.leaving = true
		}
		l.leave(ctx)
		return lookEvery
	}
	switch {
	case l.done != nil || now.Role == role.Candidate:
		return lookEvery
	case now.Role == role.Leader:
		l.fresh, l.told = false, ""
		l.set(func(st *Status) { st.Refused = "" })
		return lookEvery
	case !l.fresh && now.Ended == role.Demote:
		l.refuse(errors.New("a person demoted it: promote, or let the address leave and come again"))
		return lookEvery
	case time.Now().Before(l.notBefore):
		return min(time.Until(l.notBefore), lookEvery)
	}
	opt := promote.Options{Reason: l.cfg.Addresses.String() + " is here", Address: l.cfg.Addresses.String(), Takeover: l.fresh}
	if err := l.cfg.Node.Fit(opt); err != nil {
		l.refuse(err)
		return askEvery
	}
	ctx, l.stop = context.WithCancel(ctx)
	l.done = make(chan error, 1)
	go func() {
		_, err := l.cfg.Node.Promote(ctx, opt, nil)
		l.done <- err
	}()
	return lookEvery
}

// leave demotes a leader whose address has left.
func (l *loop) leave(ctx context.Context) {
	if !l.leaving {
		return
	}
	err := l.cfg.Node.Leave(ctx, l.Status().Why)
	if err == nil || errors.Is(err, promote.ErrFollows) {
		l.leaving = false
		return
	}
	l.tell(slog.LevelError, "ending the lead, since the address has left: "+err.Error()+"; it is tried again")
}

// cancel ends a promotion under way.
func (l *loop) cancel() {
	if l.done == nil {
		return
	}
	l.stop()
	if err := <-l.done; err != nil && !errors.Is(err, context.Canceled) {
		l.log.Info("a promotion that is no longer wanted", "err", err)
	}
	l.done = nil
}

// promoted takes note of what became of a promotion.
func (l *loop) promoted(err error) {
	l.stop()
	l.done = nil
	switch {
	case err == nil, errors.Is(err, promote.ErrLeads):
		l.fresh, l.retry = false, 0
	case errors.Is(err, promote.ErrRefused):
		l.refuse(err)
	default:
		l.retry = min(max(2*l.retry, firstRetry), lastRetry)
		l.notBefore = time.Now().Add(l.retry)
		l.set(func(st *Status) { st.Refused = err.Error() })
		l.tell(slog.LevelError, fmt.Sprintf("promotion: %v; it is tried again in %v", err, l.retry))
	}
}

// refuse tells why this process does not lead.
func (l *loop) refuse(err error) {
	l.set(func(st *Status) { st.Refused = err.Error() })
	l.once("it does not lead, although the address is here: " + err.Error())
}

// once tells a text, unless it differs in figures only from the one before.
func (l *loop) once(text string) {
	kind := strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, text)
	if kind == l.told {
		return
	}
	l.told = kind
	l.tell(slog.LevelWarn, text)
}
