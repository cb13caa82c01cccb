package stream

import (
	"errors"
	"fmt"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/fence"
)

// Seq, Epoch and Chain are those of package fence.
type (
	Seq   = fence.Seq
	Epoch = fence.Epoch
	Chain = fence.Chain
)

// ChainOf is that of package fence.
func ChainOf(b [16]byte) Chain { return fence.ChainOf(b) }

// Errors to decide on. Those with a typed error beside them are found with
// errors.Is; errors.As gives the details.
var (
	// ErrFenced: another writer opened an epoch. Nothing more can be appended.
	ErrFenced = errors.New("another writer has taken over")
	// ErrNoEpoch: Append before Open or Rebase.
	ErrNoEpoch = errors.New("no epoch is open: call Open, or Rebase on an empty stream")
	// ErrLost: the stream ends before what it acknowledged (power loss without
	// SyncAlways, or it was recreated). Open a new Writer and append again.
	ErrLost = errors.New("the stream lost entries that it had acknowledged")
	// ErrGap: entries are missing, in what is appended or in the stream.
	ErrGap = errors.New("entries are missing")
	// ErrDiverged: the stream holds other entries than the caller has.
	ErrDiverged = errors.New("histories differ")
	// ErrRebase: entries do not continue here; load the base image named by
	// *RebaseError.
	ErrRebase = errors.New("the stream continues from another base image")
	// ErrCorrupt: a message is not what its writer sent.
	ErrCorrupt = errors.New("damaged message")
	// ErrForeign: a message or image belongs to another cluster.
	ErrForeign = errors.New("of another cluster")
	// ErrTooBig: an entry does not fit into a message.
	ErrTooBig = errors.New("entry is too big")
	// ErrInUse: another process has the store directory open.
	ErrInUse = errors.New("in use by another process")
	// ErrStorage: NATS cannot write to its disk. The embedded server stays so until
	// it is started again.
	ErrStorage = errors.New("NATS cannot store messages")
	// ErrNoBase: there is no base image of that version.
	ErrNoBase = errors.New("no such base image")
)

// FencedError tells who took over.
type FencedError struct {
	Seq   Seq
	Epoch Epoch
	Who   string
	Why   string
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("%v: epoch %d was opened at sequence %d by %s (%s)", ErrFenced, e.Epoch, e.Seq, e.Who, e.Why)
}

// Is makes it an ErrFenced.
func (e *FencedError) Is(target error) bool { return target == ErrFenced }

// GapError names the version that was wanted and the next one there is.
type GapError struct {
	Want, Have meta.Version
	Where      string // "the stream begins", "the batch begins", ...
}

func (e *GapError) Error() string {
	return fmt.Sprintf("%v: version %d is wanted, %s at %d", ErrGap, e.Want, e.Where, e.Have)
}

// Is makes it an ErrGap.
func (e *GapError) Is(target error) bool { return target == ErrGap }

// DivergedError shows the first difference. The texts are nil where only the
// chains are known.
type DivergedError struct {
	Version   meta.Version // the entry that differs; of chains: the version at which they do
	Seq       Seq
	Here      []byte // what the caller has
	Stream    []byte // what the stream has
	HereChain Chain
	ThatChain Chain
}

func (e *DivergedError) Error() string {
	if e.Here != nil || e.Stream != nil {
		return fmt.Sprintf("%v: entry %d is %q here and %q in the stream (sequence %d)", ErrDiverged, e.Version, e.Here, e.Stream, e.Seq)
	}
	return fmt.Sprintf("%v before version %d: chain %v here and %v in the stream (sequence %d); start over from a base image", ErrDiverged, e.Version, e.HereChain, e.ThatChain, e.Seq)
}

// Is makes it an ErrDiverged.
func (e *DivergedError) Is(target error) bool { return target == ErrDiverged }

// RebaseError tells where the stream continues.
type RebaseError struct {
	Seq      Seq
	Epoch    Epoch
	At       meta.Version // version the reader is at
	Base     meta.Version // version of the base image to load
	Control  Control
	Received time.Time // when the epoch was opened
}

func (e *RebaseError) Error() string {
	return fmt.Sprintf("%v: at version %d, the base image of version %d is needed (epoch %d, sequence %d, by %s: %s)",
		ErrRebase, e.At, e.Base, e.Epoch, e.Seq, e.Control.Who, e.Control.Why)
}

// Is makes it an ErrRebase.
func (e *RebaseError) Is(target error) bool { return target == ErrRebase }

// CorruptError names the message and what is wrong with it.
type CorruptError struct {
	Seq     Seq
	Version meta.Version // the version wanted there, 0 if not known
	Err     error
}

func (e *CorruptError) Error() string {
	if e.Version != 0 {
		return fmt.Sprintf("%v at sequence %d, version %d: %v", ErrCorrupt, e.Seq, e.Version, e.Err)
	}
	return fmt.Sprintf("%v at sequence %d: %v", ErrCorrupt, e.Seq, e.Err)
}

// Is makes it an ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap gives the reason.
func (e *CorruptError) Unwrap() error { return e.Err }

// ForeignError names both clusters.
type ForeignError struct {
	What      string // "message 17", "base image 1234", ...
	Want, Got uint64 // metaids
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s is %v: metaid %016X, want %016X", e.What, ErrForeign, e.Got, e.Want)
}

// Is makes it an ErrForeign.
func (e *ForeignError) Is(target error) bool { return target == ErrForeign }
