package promote

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"mfsstandby/replicator/stream"
	"mfsstandby/standby"
	"mfsstandby/standby/role"
)

// noTap is a tap of this process that does nothing.
type noTap struct{}

func (noTap) Stop(context.Context) error { return nil }
func (noTap) Start()                     {}
func (noTap) Heard() Heard               { return Heard{} }

func TestWhoIsHeard(t *testing.T) {
	now := time.Now()
	member := func(role, state, name string, age time.Duration) []standby.Member {
		return []standby.Member{{Role: role, State: state, Name: name, Updated: now.Add(-age)}}
	}
	leads := string(standby.Leading)
	for _, tc := range []struct {
		name   string
		status standby.Status
		role   role.Role
		own    bool // the tap is in this process
		heard  *Heard
		opt    Options
		want   string // part of the error; "" is none
	}{
		{name: "fit"},
		{name: "behind", role: role.CatchingUp, status: standby.Status{State: standby.CatchingUp, Image: 10, Stream: 15},
			want: "the image is at version 10, the stream at 15, 5 entries behind"},
		{name: "primary alive", own: true, heard: &Heard{Source: "mfsmaster:9419", Alive: true}, want: "mfsmaster:9419, is connected"},
		{name: "primary dead", own: true, heard: &Heard{Source: "mfsmaster:9419"}},
		{name: "another leads", status: standby.Status{Members: member("standby", leads, "other", time.Second)}, want: "other leads, and was heard 1s ago"},
		{name: "another leads, and the address has moved", status: standby.Status{Members: member("standby", leads, "other", time.Second)}, opt: Options{Takeover: true}},
		{name: "another led", status: standby.Status{Members: member("standby", leads, "other", oldMember)}},
		{name: "this led", status: standby.Status{Members: member("standby", leads, "this", time.Second)}},
		{name: "a tap elsewhere hears the primary", status: standby.Status{Members: member(stream.TapRole, stream.TapFollows, "other", 2*time.Second)},
			opt: Options{Takeover: true}, want: "the tap on other said 2s ago that it hears the primary"},
		{name: "a tap elsewhere heard the primary", status: standby.Status{Members: member(stream.TapRole, stream.TapFollows, "other", oldMember)}},
		{name: "a tap elsewhere hears nothing", status: standby.Status{Members: member(stream.TapRole, "waiting for the primary", "other", time.Second)}},
		{name: "the tap of this process hears nothing", own: true, status: standby.Status{Members: member(stream.TapRole, stream.TapFollows, "this", time.Second)}, heard: &Heard{}},
		{name: "a tap has more", status: standby.Status{Image: 15, Stream: 15, Received: 20}, want: "5 entries would be lost; --accept-loss 5"},
		{name: "less may be lost", status: standby.Status{Image: 15, Stream: 15, Received: 20}, opt: Options{AcceptLoss: 4}, want: "5 entries would be lost"},
		{name: "it may be lost", status: standby.Status{Image: 15, Stream: 15, Received: 20}, opt: Options{AcceptLoss: 5}},
		{name: "the tap of this process has more", own: true, status: standby.Status{Image: 15, Stream: 15, Received: 20}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRun(&Node{}, tc.opt, nil)
			if tc.own {
				r.cfg.Tap = noTap{}
			}
			r.heard = tc.heard
			if tc.role == "" {
				tc.role = role.InSync
			}
			err := errors.Join(r.unsent(&tc.status), r.others(&tc.status, tc.role, "this"))
			if (err == nil) != (tc.want == "") || err != nil && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}
