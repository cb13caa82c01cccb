package role

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
)

// A scenario is a line of events; "restart" opens the directory anew, "!event"
// must be refused. What follows "=" is the role at the end.
func TestScenarios(t *testing.T) {
	for _, script := range []string{
		"= catching up",
		"caught up = in sync",
		"caught up, fell back, caught up = in sync",
		"caught up, promote, drained = leader",
		"!promote, force, drained = leader",
		"!drained, !demote, !fenced, !lost = catching up",
		"caught up, promote, !promote, !force, !demote, drained, !promote, !force = leader",
		"caught up, promote, drained, demote, caught up, promote, drained, demote = catching up",
		"caught up, promote, fenced, !drained = catching up",
		"caught up, promote, failed, caught up, promote, drained = leader",
		"caught up, promote, diverged, !promote, !force, !caught up, reloaded = catching up",
		"caught up, promote, drained, fenced, !demote, caught up = in sync",
		"caught up, promote, drained, lost, !demote = catching up",
		"!left, caught up, promote, !left, drained, left, !left, caught up = in sync",
		"caught up, diverged, !promote, !force, restart = catching up",
		"caught up, restart, !promote, caught up, promote, drained = leader",
		"caught up, promote, restart, !drained = catching up",
		"caught up, promote, drained, restart = leader",
		"caught up, promote, drained, restart, resume, drained = leader",
		"caught up, promote, drained, restart, resume, restart, !drained = catching up",
		"caught up, promote, drained, restart, fenced, !resume = catching up",
		"caught up, promote, drained, demote, restart, !resume = catching up",
	} {
		t.Run(script, func(t *testing.T) { play(t, script) })
	}
}

func play(t *testing.T, script string) {
	dir := t.TempDir()
	m := open(t, dir)
	events, want, _ := strings.Cut(script, "=")
	for step := range strings.SplitSeq(events, ",") {
		step = strings.TrimSpace(step)
		refused := strings.HasPrefix(step, "!")
		step = strings.TrimPrefix(step, "!")
		switch step {
		case "":
			continue
		case "restart":
			m = open(t, dir)
			continue
		}
		before := m.Now()
		_, err := m.Fire(Event(step), "", nil)
		if refused != errors.Is(err, ErrNot) || err != nil && !refused {
			t.Fatalf("%s as %s: %v", step, before.Role, err)
		}
		if refused && m.Now() != before {
			t.Fatalf("%s was refused and changed %+v to %+v", step, before, m.Now())
		}
	}
	if got := m.Now().Role; string(got) != strings.TrimSpace(want) {
		t.Fatalf("it ended as %s", got)
	}
}

func open(t *testing.T, dir string) *Machine {
	t.Helper()
	m, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// There is one way to write only: from candidate, by draining.
func TestOnlyACandidateBecomesLeader(t *testing.T) {
	for from, events := range next {
		for e, to := range events {
			if to == Leader && (from != Candidate || e != Drained) {
				t.Errorf("%s becomes a leader by %s", from, e)
			}
			if _, ok := next[to]; !ok {
				t.Errorf("%s leads to %q, which is no role", e, to)
			}
		}
	}
}

func TestStateIsKept(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir)
	for _, e := range []Event{CaughtUp, Promote} {
		if _, err := m.Fire(e, "drill", nil); err != nil {
			t.Fatal(err)
		}
	}
	want, err := m.Fire(Drained, "drill", func(st *State) { st.Epoch, st.Begun = 7, meta.Version(1234) })
	if err != nil {
		t.Fatal(err)
	}
	got := open(t, dir).Now()
	if !got.Since.Equal(want.Since) {
		t.Errorf("since %v, want %v", got.Since, want.Since)
	}
	got.Since = want.Since
	if got != want {
		t.Errorf("after a restart %+v, want %+v", got, want)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.new-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What ended the last lead is known until the next one, over restarts too: it
// decides whether an address that is still here lets the process lead again.
func TestEndOfTheLeadIsKept(t *testing.T) {
	for _, end := range []Event{Demote, Left, Lost, Fenced} {
		dir := t.TempDir()
		m := open(t, dir)
		fire := func(events ...Event) {
			t.Helper()
			for _, e := range events {
				if _, err := m.Fire(e, "", func(st *State) {
					if e == Drained {
						st.Address = "192.0.2.10"
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
		fire(CaughtUp, Promote, Drained, Resume, Drained)
		if now := m.Now(); now.Address == "" || now.Ended != "" {
			t.Errorf("a leader: %+v", now)
		}
		fire(end, CaughtUp, FellBack)
		m = open(t, dir)
		if now := m.Now(); now.Address != "" || now.Ended != end {
			t.Errorf("after %s and a restart: %+v", end, now)
		}
		fire(CaughtUp, Promote)
		if now := m.Now(); now.Ended != end {
			t.Errorf("a candidate after %s: %+v", end, now)
		}
		fire(HandedOver, CaughtUp)
		if now := m.Now(); now.Ended != HandedOver {
			t.Errorf("handed over after %s: %+v", end, now)
		}
		fire(Promote, Drained)
		if now := m.Now(); now.Ended != "" {
			t.Errorf("a leader after %s: %+v", end, now)
		}
	}
}

func TestRoleThatCannotBeKeptDoesNotChange(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m := open(t, dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Fire(CaughtUp, "", nil); err == nil || m.Now().Role != CatchingUp {
		t.Errorf("as %s: %v", m.Now().Role, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range []string{`{"role":"leader","epoch":3}`, `{"role":"king"}`, `{`, ``} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		st, err := decode(text)
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), fileName)
		if st.Since.Year() < 0 || st.Since.Year() > 9999 {
			return // encoding/json refuses to write it
		}
		if err := write(path, &st); err != nil {
			t.Fatal(err)
		}
		again, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decode(again); err != nil || got.Role != st.Role || got.Epoch != st.Epoch {
			t.Fatalf("%q became %q: %v", text, again, err)
		}
	})
}

// What is known of a hand-over outlives restarts and roles, but not leading.
func TestHandOverIsKept(t *testing.T) {
	dir := t.TempDir()
	m, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	fire := func(e Event, with func(*State)) {
		t.Helper()
		if _, err := m.Fire(e, "", with); err != nil {
			t.Fatal(err)
		}
	}
	fire(CaughtUp, nil)
	fire(Promote, func(st *State) { st.HandOver = &HandOver{Term: "T"} })
	told := m.Now().HandOver
	if _, err := m.Set(func(st *State) { st.HandOver.Started = true }); err != nil {
		t.Fatal(err)
	}
	if told.Started {
		t.Error("what was told before has changed")
	}
	if m, err = Open(dir); err != nil {
		t.Fatal(err)
	}
	if st := m.Now(); st.Role != CatchingUp || st.HandOver == nil || !st.HandOver.Started || st.HandOver.Term != "T" {
		t.Errorf("a candidate that was killed is %+v, %+v", st, st.HandOver)
	}
	fire(Force, nil)
	fire(HandedOver, nil)
	fire(CaughtUp, nil)
	if st := m.Now(); st.Role != InSync || st.HandOver == nil {
		t.Errorf("after the hand-over: %+v", st)
	}
	fire(Promote, nil)
	fire(Drained, func(st *State) { st.HandOver = nil })
	if m, err = Open(dir); err != nil || m.Now().Role != Leader || m.Now().HandOver != nil {
		t.Errorf("a leader: %v, %+v", err, m.Now())
	}
}
