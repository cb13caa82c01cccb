// Package changelog holds what the entries of a MooseFS changelog mean: their
// text (this side of the package) and their effect on the metadata (the Apply
// methods).
//
// An entry is one line of a file changelog.N.mfs, or one packet to a
// metalogger without the version:
//
//	VERSION: TIME|OPERATION(ARGUMENTS)[:RESULTS]
//
// The grammar is exact both ways: what Batch.Parse accepts, Append writes
// again byte for byte, and every line that MooseFS 3.0.117 or 4.59.2 writes is
// accepted, as are the spellings of releases since 1.6 that their readers still
// understand. Everything else is a *SyntaxError. In this the package is
// stricter than mfsmaster, whose reader takes blanks, signs, leading zeros,
// numbers that overflow, names cut at a NUL, and any text after the last
// result: mfsmaster never writes such lines, so one that has them is damaged.
//
// The type of each operation documents its arguments in the order of the
// text. NAME, PATH and DATA stand for escaped text (see AppendEscaped); NAME
// has 1 to 255 bytes, PATH at least one, both without NUL; DATA is binary.
// Fields that only tell how an old release spelled the entry are false or zero
// for the spelling of the last release, so that an operation made in Go needs none.
package changelog

import (
	"strconv"

	"mfsstandby/changelog/meta"
)

// Entry is one line: it changes an image at Version into one at Version+1.
type Entry struct {
	Version meta.Version
	Time    meta.Time // the primary's clock
	Op      Op
}

// Op is one operation with its arguments and results: a pointer to the struct
// named after it (*Create, *Unlink, ...).
type Op interface {
	// Name is the operation as the entry spells it, aliases of old releases
	// included: "CREATE".
	Name() string
	// AppendArgs appends what follows the name, from '(' to the last result.
	AppendArgs(b []byte) []byte
	// Apply changes the state as the primary did at time now, and compares the
	// entry's results with what they are here. The error wraps a meta.Status,
	// or is a *MismatchError; the State is void after one. ApplyEntry is the
	// way to call it.
	Apply(st *meta.State, now meta.Time) error
}

// Append appends an entry without its version: "TIME|OP(ARGS)[:RESULTS]".
// This is the form that metaloggers get and that Batch.Parse reads.
func Append(b []byte, now meta.Time, op Op) []byte {
	b = append(strconv.AppendUint(b, uint64(now), 10), '|')
	return op.AppendArgs(append(b, op.Name()...))
}

// Append appends the entry as a line of a changelog file, without newline.
func (e Entry) Append(b []byte) []byte {
	b = append(strconv.AppendUint(b, uint64(e.Version), 10), ": "...)
	return Append(b, e.Time, e.Op)
}

// appendNum appends a separator and a decimal number.
func appendNum(b []byte, sep byte, n uint64) []byte {
	return strconv.AppendUint(append(b, sep), n, 10)
}

// appendText appends a separator and escaped text.
func appendText(b []byte, sep byte, raw []byte) []byte {
	return AppendEscaped(append(b, sep), raw)
}
