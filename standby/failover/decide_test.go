package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mfsstandby/changelog/meta"
)

const testAfter = 2 * time.Second

// ready is a view in which this node stands.
func ready() view {
	return view{
		now: time.Minute, me: Words{Node: "b", Epoch: 3, Version: 100, Priority: 1}, free: true,
		seen: time.Minute - testAfter, sawIt: true, due: time.Minute, steady: time.Minute - testAfter/2, after: testAfter, turn: testAfter / 4,
	}
}

func other(node string, epoch uint64, version meta.Version, priority int) heard {
	return heard{Words{Node: node, Epoch: epoch, Version: version, Priority: priority}, time.Minute - 100*time.Millisecond}
}

func TestDecide(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*view)
		want   string // part of why not; "": it stands
	}{
		{"all agree", func(*view) {}, ""},
		{"paused", func(v *view) { v.paused = "new kernel" }, "new kernel"},
		{"somebody has the lease", func(v *view) { v.free, v.lease = false, "a" }, "a has the lease"},
		{"stopped", func(v *view) { v.me.Unfit = "it is stopped" }, "stopped"},
		{"lagging", func(v *view) { v.me.Unfit = "it is catching up" }, "catching up"},
		{"the primary was seen a moment ago", func(v *view) { v.seen += time.Millisecond }, "seen alive"},
		{"never seen", func(v *view) { v.sawIt = false }, "person"},
		{"this process has only just gone on", func(v *view) { v.steady++ }, "was stopped"},
		{"it has, but a leader is gone", func(v *view) { v.led, v.steady = true, v.now }, ""},
		{"another node sees it", func(v *view) {
			h := other("c", 3, 100, 0)
			h.Seen, h.Ago = true, 200*time.Millisecond
			v.others = []heard{h}
		}, "by c"},
		{"what another node saw is old", func(v *view) {
			h := other("c", 3, 100, 0)
			h.Seen, h.Ago = true, testAfter
			v.others = []heard{h}
		}, ""},
		{"a leader is gone: the primary does not matter", func(v *view) { v.led, v.sawIt = true, false }, ""},
		{"another one is newer", func(v *view) { v.others = []heard{other("c", 3, 101, 0)} }, "1 nodes come before"},
		{"another one is of a newer epoch", func(v *view) { v.others = []heard{other("c", 4, 90, 0)} }, "1 nodes"},
		{"another one has a higher priority", func(v *view) { v.others = []heard{other("c", 3, 100, 2)} }, "1 nodes"},
		{"another name comes before", func(v *view) { v.others = []heard{other("a", 3, 100, 1)} }, "1 nodes"},
		{"another one is older", func(v *view) { v.others = []heard{other("a", 3, 99, 9)} }, ""},
		{"the better one would not lead", func(v *view) {
			h := other("c", 3, 101, 0)
			h.Unfit = "it is stopped"
			v.others = []heard{h}
		}, ""},
		{"the better one is not there any more", func(v *view) {
			h := other("c", 3, 101, 0)
			h.at = v.now - testAfter
			v.others = []heard{h}
		}, ""},
		{"the better one had its turn", func(v *view) {
			v.others = []heard{other("c", 3, 101, 0)}
			v.due = v.now - v.turn
		}, ""},
		{"two better ones, one turn is over", func(v *view) {
			v.others = []heard{other("c", 3, 101, 0), other("d", 3, 102, 0)}
			v.due = v.now - v.turn
		}, "2 nodes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := ready()
			tc.change(&v)
			stand, why := v.decide()
			if stand != (tc.want == "") || !strings.Contains(why, tc.want) {
				t.Errorf("stands: %v, %q; want %q", stand, why, tc.want)
			}
		})
	}
}

// Of nodes that know the same, one comes first, whoever asks.
func TestOneComesFirst(t *testing.T) {
	var all []Words
	for _, epoch := range []uint64{1, 2} {
		for version := range meta.Version(2) {
			for priority := range 2 {
				for _, node := range []string{"a", "b"} {
					all = append(all, Words{Node: fmt.Sprint(node, len(all)), Epoch: epoch, Version: version, Priority: priority})
				}
			}
		}
	}
	for i := range all {
		for j := range all {
			if i != j && all[i].before(&all[j]) == all[j].before(&all[i]) {
				t.Errorf("%+v and %+v: each or neither comes before the other", all[i], all[j])
			}
			for k := range all {
				if all[i].before(&all[j]) && all[j].before(&all[k]) && !all[i].before(&all[k]) {
					t.Errorf("%+v, %+v, %+v are in no order", all[i], all[j], all[k])
				}
			}
		}
	}
}

// Each way to see the primary alive counts, at the time when the look began.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var alive atomic.Bool
		alive.Store(true)
		h := &Health{Address: "x", Every: testAfter / 8, Limit: testAfter / 2, Log: slog.New(slog.DiscardHandler)}
		h.dial = func(ctx context.Context) error {
			if alive.Load() {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		done := make(chan struct{})
		go func() { h.Run(ctx); close(done) }()
		if at, _ := h.Seen(); !at.IsZero() {
			t.Errorf("seen at %v before anybody looked", at)
		}
		time.Sleep(10 * time.Second)
		if at, how := h.Seen(); time.Since(at) > h.Every || how == "" {
			t.Errorf("seen %v ago, %q", time.Since(at), how)
		}
		alive.Store(false)
		died := time.Now()
		time.Sleep(10 * time.Second)
		if at, _ := h.Seen(); at.After(died) {
			t.Errorf("seen %v after its death", at.Sub(died))
		}
		connected := true
		h.Tap = func() (time.Time, bool) { return died.Add(time.Second), connected }
		if at, _ := h.Seen(); !at.Equal(died.Add(time.Second)) {
			t.Errorf("the tap heard it later, and does not count: %v", at)
		}
		connected = false
		if at, _ := h.Seen(); at.After(died) {
			t.Error("a connection that is lost counts")
		}
		cancel()
		<-done
	})
}

func TestCheckCommand(t *testing.T) {
	for _, tc := range []struct {
		command string
		alive   bool
	}{
		{"true", true},
		{"exit 1", false},
		{"sleep 60", false}, // it hangs as its primary does
		{"/no/such/check", true},
	} {
		t.Run(tc.command, func(t *testing.T) {
			h := &Health{Command: tc.command, Limit: 300 * time.Millisecond, Log: slog.New(slog.DiscardHandler)}
			ctx, cancel := context.WithTimeout(t.Context(), h.Limit)
			defer cancel()
			if !strings.HasPrefix(tc.command, "sleep") {
				ctx = t.Context()
			}
			if _, err := h.command(ctx); (err == nil) != tc.alive {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := (&Health{dial: func(context.Context) error { return errors.New("refused") }}).probe(t.Context()); err == nil {
		t.Error("a port that refuses is alive")
	}
}
