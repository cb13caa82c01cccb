// Package fence decides, as a pure function, which record of a stream counts.
//
// A stream is a list of records with ascending sequences. Each belongs to an
// epoch: the time during which one writer may append. A writer opens its epoch
// with a control record, and from there on whatever an older epoch still wrote
// is void for everyone. Invariants that hold for what Judge accepts:
//
//   - each version is accepted once, in order, without gap, until a rebase moves
//     the version on purpose;
//   - no record of an epoch is accepted after a newer epoch was opened;
//   - the chain of what was accepted is the chain the writer saw.
//
// Package stream calls it for writing and for reading; both therefore agree.
package fence

import (
	"errors"
	"fmt"

	"mfsstandby/changelog/meta"
)

// Epoch counts the changes of writer; 0 is "none was opened yet".
type Epoch uint64

// Seq is a sequence of the JetStream stream. It says where a record lies, never
// how far a replica is: that is the version's job.
type Seq uint64

// Kind tells records apart.
type Kind uint8

// The kinds of record.
const (
	Batch  Kind = 1 // entries
	Open   Kind = 2 // opens an epoch; history goes on where it was
	Rebase Kind = 3 // opens an epoch at another version: followers must load the base image of that version
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case Batch:
		return "batch"
	case Open:
		return "epoch"
	case Rebase:
		return "rebase"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Record is what Judge has to know of a message.
type Record struct {
	Seq    Seq
	Kind   Kind
	Epoch  Epoch
	First  meta.Version // of the first entry; of a control record: of the entry that comes next
	Count  uint32       // entries; 0 in control records
	Before Chain        // at the end of the record before
	After  Chain        // at First+Count
}

// Next is the version that follows the record.
func (r Record) Next() meta.Version { return r.First + meta.Version(r.Count) }

// State is where a stream has got to.
type State struct {
	Seq   Seq          // of the newest record judged
	Epoch Epoch        // the one that may append
	Next  meta.Version // version of the entry that comes next
	Chain Chain        // over all entries before Next
}

// Verdict is what to do with a record.
type Verdict uint8

// The verdicts.
const (
	Accept      Verdict = iota // it counts
	Redelivered                // it was judged before
	Stale                      // an older epoch wrote it after it had been fenced off
)

// Reasons to refuse a record. No writer that obeys compare-and-set makes such
// records: they mean that messages were lost or that someone else published.
var (
	ErrGap      = errors.New("entries are missing")
	ErrOverlap  = errors.New("the record begins before the end of the one before")
	ErrChain    = errors.New("the hash chain does not continue")
	ErrUnopened = errors.New("the epoch was never opened")
	ErrKind     = errors.New("unknown kind of record")
)

// Judge says whether r counts after s, and the state after it. On an error s is
// returned unchanged.
func (s State) Judge(r Record) (State, Verdict, error) {
	if r.Seq <= s.Seq {
		return s, Redelivered, nil
	}
	stale := r.Epoch < s.Epoch
	if r.Kind != Batch {
		stale = r.Epoch <= s.Epoch // an epoch is opened once
	}
	if stale {
		s.Seq = r.Seq
		return s, Stale, nil
	}
	if err := s.check(r); err != nil {
		return s, Accept, fmt.Errorf("%s of epoch %d from version %d, after epoch %d version %d: %w", r.Kind, r.Epoch, r.First, s.Epoch, s.Next, err)
	}
	return State{Seq: r.Seq, Epoch: r.Epoch, Next: r.Next(), Chain: r.After}, Accept, nil
}

// check compares a record of this or a newer epoch with what must come next.
func (s State) check(r Record) error {
	switch r.Kind {
	case Batch:
		if r.Epoch != s.Epoch {
			return ErrUnopened
		}
	case Open, Rebase:
		if r.Epoch != s.Epoch+1 {
			return ErrUnopened
		}
	default:
		return ErrKind
	}
	if r.Kind != Rebase {
		switch {
		case s.Epoch == 0:
			return ErrUnopened // the first record of all gives the version of the first base image
		case r.First > s.Next:
			return ErrGap
		case r.First < s.Next:
			return ErrOverlap
		}
	}
	if r.Before != s.Chain {
		return ErrChain
	}
	if r.Kind == Open && r.After != r.Before || r.Kind == Rebase && r.After != seed(r.Before, r.Epoch, r.First) {
		return ErrChain
	}
	return nil
}

// Before is the state in which r is what comes next, on r's own word. A reader
// that starts in the middle of a stream starts with it.
func Before(r Record) State {
	s := State{Seq: r.Seq - 1, Epoch: r.Epoch, Next: r.First, Chain: r.Before}
	if r.Kind != Batch {
		s.Epoch--
	}
	return s
}

// Batch is the record for count entries after s; after is their chain.
func (s State) Batch(count uint32, after Chain) Record {
	return Record{Seq: s.Seq + 1, Kind: Batch, Epoch: s.Epoch, First: s.Next, Count: count, Before: s.Chain, After: after}
}

// Open is the record that opens the next epoch after s.
func (s State) Open() Record {
	return Record{Seq: s.Seq + 1, Kind: Open, Epoch: s.Epoch + 1, First: s.Next, Before: s.Chain, After: s.Chain}
}

// Rebase is the record that opens the next epoch at the base image of version v.
func (s State) Rebase(v meta.Version) Record {
	e := s.Epoch + 1
	return Record{Seq: s.Seq + 1, Kind: Rebase, Epoch: e, First: v, Before: s.Chain, After: seed(s.Chain, e, v)}
}
