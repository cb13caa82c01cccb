package fence

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
)

func text(v meta.Version) []byte { return fmt.Appendf(nil, "17|ACCESS(%d)", v) }

// entries is the chain after count entries from v on.
func entries(c Chain, v meta.Version, count uint32) Chain {
	for i := range meta.Version(count) {
		c = c.Next(v+i, text(v+i))
	}
	return c
}

func TestChain(t *testing.T) {
	start := Chain{Hi: 1, Lo: 2}
	a := start.Next(7, []byte("1|A()"))
	for _, tc := range []struct {
		name string
		got  Chain
	}{
		{"other version", start.Next(8, []byte("1|A()"))},
		{"other text", start.Next(7, []byte("1|B()"))},
		{"other low half", Chain{Hi: 1, Lo: 3}.Next(7, []byte("1|A()"))},
		{"other high half", Chain{Hi: 2, Lo: 2}.Next(7, []byte("1|A()"))},
		{"empty text", start.Next(7, nil)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.got == a {
				t.Fatalf("chain %v does not notice", tc.got)
			}
			if entries(tc.got, 100, 1000) == entries(a, 100, 1000) {
				t.Fatalf("the difference is lost after 1000 equal entries")
			}
		})
	}
	if b, err := a.AppendBinary(nil); err != nil || ChainOf([16]byte(b)) != a {
		t.Fatalf("chain %v became %v (%v)", a, ChainOf([16]byte(b)), err)
	}
	if len(a.String()) != 32 || a.IsZero() || !(Chain{}).IsZero() {
		t.Fatalf("chain prints as %q, zero %v", a, a.IsZero())
	}
}

// TestChainIsFixed guards the definition: streams on disk depend on it.
func TestChainIsFixed(t *testing.T) {
	c := State{}.Rebase(10).After
	if got, want := c.String(), "3a4e4671d4b2139ec560761766f75ea7"; got != want {
		t.Errorf("seed of epoch 1 at version 10: got %s, want %s", got, want)
	}
	if got, want := entries(c, 10, 3).String(), "3414d2e9a7cacc846163bd858cb15206"; got != want {
		t.Errorf("chain after three entries: got %s, want %s", got, want)
	}
}

func TestJudge(t *testing.T) {
	first := State{}.Rebase(10)
	opened, _, err := State{}.Judge(first)
	if err != nil {
		t.Fatal(err)
	}
	batch := opened.Batch(3, entries(opened.Chain, 10, 3))
	s, _, err := opened.Judge(batch)
	if err != nil {
		t.Fatal(err)
	}
	with := func(r Record, change func(*Record)) Record {
		change(&r)
		return r
	}
	good := s.Batch(2, entries(s.Chain, 13, 2))
	for _, tc := range []struct {
		name    string
		r       Record
		verdict Verdict
		err     error
		want    State // after it, if accepted
	}{
		{"next batch", good, Accept, nil, State{3, 1, 15, good.After}},
		{"sequences may have holes", with(good, func(r *Record) { r.Seq = 9 }), Accept, nil, State{9, 1, 15, good.After}},
		{"redelivered", batch, Redelivered, nil, s},
		{"redelivered opening", first, Redelivered, nil, s},
		{"gap", with(good, func(r *Record) { r.First++ }), Accept, ErrGap, s},
		{"overlap", with(good, func(r *Record) { r.First-- }), Accept, ErrOverlap, s},
		{"other history", with(good, func(r *Record) { r.Before.Lo++ }), Accept, ErrChain, s},
		{"batch of an epoch not opened", with(good, func(r *Record) { r.Epoch++ }), Accept, ErrUnopened, s},
		{"batch of an older epoch", with(good, func(r *Record) { r.Epoch-- }), Stale, nil, State{3, 1, 13, s.Chain}},
		{"unknown kind", with(good, func(r *Record) { r.Kind, r.Epoch = 9, 2 }), Accept, ErrKind, s},
		{"next epoch", s.Open(), Accept, nil, State{3, 2, 13, s.Chain}},
		{"same epoch again", with(s.Open(), func(r *Record) { r.Epoch = 1 }), Stale, nil, State{3, 1, 13, s.Chain}},
		{"epoch left out", with(s.Open(), func(r *Record) { r.Epoch = 3 }), Accept, ErrUnopened, s},
		{"epoch at a gap", with(s.Open(), func(r *Record) { r.First++ }), Accept, ErrGap, s},
		{"epoch before the end", with(s.Open(), func(r *Record) { r.First-- }), Accept, ErrOverlap, s},
		{"epoch with another chain", with(s.Open(), func(r *Record) { r.After.Hi++ }), Accept, ErrChain, s},
		{"rebase forward", s.Rebase(50), Accept, nil, State{3, 2, 50, s.Rebase(50).After}},
		{"rebase back", s.Rebase(5), Accept, nil, State{3, 2, 5, s.Rebase(5).After}},
		{"rebase with another seed", with(s.Rebase(50), func(r *Record) { r.After.Hi++ }), Accept, ErrChain, s},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, verdict, err := s.Judge(tc.r)
			if !errors.Is(err, tc.err) || err == nil && tc.err != nil {
				t.Fatalf("%+v: got error %v, want %v", tc.r, err, tc.err)
			}
			if verdict != tc.verdict || got != tc.want {
				t.Fatalf("%+v:\n got %d %+v\nwant %d %+v", tc.r, verdict, got, tc.verdict, tc.want)
			}
			if err != nil && !strings.Contains(err.Error(), fmt.Sprint("version ", tc.r.First)) {
				t.Fatalf("error does not name the version: %v", err)
			}
		})
	}
	for _, r := range []Record{{Seq: 1, Kind: Batch, First: 0}, {Seq: 1, Kind: Open, Epoch: 1}} {
		if _, _, err := (State{}).Judge(r); !errors.Is(err, ErrUnopened) {
			t.Errorf("%v as first record: got %v, want ErrUnopened", r.Kind, err)
		}
	}
	for _, r := range []Record{first, batch, good, s.Open(), s.Rebase(99)} {
		if got, _, err := Before(r).Judge(r); err != nil || got.Next != r.Next() || got.Epoch != r.Epoch {
			t.Errorf("%+v after Before: %+v, %v", r, got, err)
		}
	}
}
