package failover

import (
	"fmt"
	"time"

	"mfsstandby/changelog/meta"
)

// Words are what each node tells the others, a few times per second. They are
// JSON: a node of another release passes over what it does not know.
type Words struct {
	Node     string        `json:"node"`
	Epoch    uint64        `json:"epoch"`
	Version  meta.Version  `json:"version"`
	Priority int           `json:"priority"`
	Unfit    string        `json:"unfit,omitempty"` // why it would not lead; "": it would
	Seen     bool          `json:"seen"`            // it has seen the primary alive
	Ago      time.Duration `json:"ago"`             // how long ago that was, if it has
}

// before tells whether a node should lead rather than another: the newest
// position, then the operator's priority, then the name, so that all agree.
func (w *Words) before(o *Words) bool {
	switch {
	case w.Epoch != o.Epoch:
		return w.Epoch > o.Epoch
	case w.Version != o.Version:
		return w.Version > o.Version
	case w.Priority != o.Priority:
		return w.Priority > o.Priority
	}
	return w.Node < o.Node
}

// view is all that the decision depends on. Times are those of the process's
// monotonic clock.
type view struct {
	now    time.Duration
	me     Words
	others []heard
	paused string // why nobody is to stand; "": it is not paused
	led    bool   // the stream is a leader's: the primary's health is of no interest
	free   bool   // nobody has the lease, or nobody has renewed it for long enough
	lease  string // who has it, or had it last
	seen   time.Duration
	sawIt  bool          // the primary was seen, at seen, by this node
	steady time.Duration // since when this process has run, and reached NATS, without a break
	due    time.Duration // since when this node could stand but for its turn; negative: it could not
	after  time.Duration
	turn   time.Duration
}

// heard is what another node said, and when that was heard.
type heard struct {
	Words
	at time.Duration
}

// wordsFor is how long words count, in times of after.
const wordsFor = 1

// fresh tells whether the node that said so is there still.
func (v *view) fresh(h *heard) bool { return v.now-h.at < wordsFor*v.after }

// lastSeen is when the primary was seen alive last, by any node.
func (v *view) lastSeen() (time.Duration, string) {
	seen, by := v.seen, "this node"
	for i := range v.others {
		if h := &v.others[i]; h.Seen && h.at-h.Ago > seen {
			seen, by = h.at-h.Ago, h.Node
		}
	}
	return seen, by
}

// wait says why nobody or another one is to stand; "" means that this node could.
func (v *view) wait() string {
	switch {
	case v.paused != "":
		return "paused: " + v.paused
	case !v.free:
		return fmt.Sprintf("%s has the lease", v.lease)
	case v.me.Unfit != "":
		return v.me.Unfit
	case v.led:
		return "" // its leader has given up, or its lease is over
	case !v.sawIt:
		return "this process has not seen the primary alive yet: a person has to decide"
	}
	seen, by := v.lastSeen()
	if ago := v.now - seen; ago < v.after {
		return fmt.Sprintf("the primary was seen alive %v ago by %s", ago.Round(time.Millisecond), by)
	}
	if been := v.now - v.steady; been < v.after/2 { // nobody could see it, and nobody has looked since
		return fmt.Sprintf("this process was stopped, or cut off from NATS, until %v ago", been.Round(time.Millisecond))
	}
	return ""
}

// rank is how many nodes that are there, and fit, should lead rather than this one.
func (v *view) rank() int {
	n := 0
	for i := range v.others {
		if h := &v.others[i]; v.fresh(h) && h.Unfit == "" && h.before(&v.me) {
			n++
		}
	}
	return n
}

// decide tells whether this node is to stand now, or why not.
func (v *view) decide() (stand bool, why string) {
	if why := v.wait(); why != "" {
		return false, why
	}
	if rank := v.rank(); v.now-v.due < time.Duration(rank)*v.turn {
		return false, fmt.Sprintf("%d nodes come before this one", rank)
	}
	return true, ""
}
