package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
)

const (
	segmentBytes = 8 << 20  // of text, at which a file of entries is closed
	maxSegment   = 64 << 20 // that a reader takes
	batchEntries = 4096     // that a reader gives at once
)

// Reader gives the entries of an archive from a position on, each once, in
// order. It is for one goroutine.
type Reader struct {
	a     *Archive
	pos   stream.Position
	file  *Info
	text  []byte // of file, from pos on
	chain stream.Chain
}

// Reader starts at the position of a base image, or where another Reader was.
func (a *Archive) Reader(pos stream.Position) *Reader { return &Reader{a: a, pos: pos} }

// Close lets go of what was read.
func (r *Reader) Close() error {
	r.text = nil
	return nil
}

// Next gives the next entries, and io.EOF at the end of the archive. A
// *stream.GapError says that there is more, but not what follows here.
func (r *Reader) Next(ctx context.Context) (*stream.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(r.text) == 0 {
		if err := r.enter(); err != nil {
			return nil, err
		}
	}
	b := &stream.Batch{Release: r.file.Release, Received: r.file.Created}
	for len(r.text) > 0 && len(b.Entries) < batchEntries {
		v, text, rest, err := cutLine(r.text)
		if err != nil || v != r.pos.Version {
			return nil, fmt.Errorf("%s: %w: line of version %d instead of %d", r.a.d.path(r.file.name()), ErrDamaged, v, r.pos.Version)
		}
		b.Entries = append(b.Entries, meta.RawEntry{Version: v, Text: text})
		r.chain, r.text = r.chain.Next(v, text), rest
		r.pos.Version++
	}
	if len(r.text) == 0 && (r.pos.Version != r.file.Next || r.chain != r.file.After) {
		return nil, fmt.Errorf("%s: %w: its entries are not those that it was written with", r.a.d.path(r.file.name()), ErrDamaged)
	}
	r.pos.Epoch, r.pos.Chain = r.file.Epoch, r.chain
	b.End = r.pos
	return b, nil
}

// enter opens the file with the next entry.
func (r *Reader) enter() error {
	f := r.a.find(r.pos)
	if f == nil {
		if have := r.a.after(r.pos); have != 0 {
			return &stream.GapError{Want: r.pos.Version, Have: have, Where: "the archive continues"}
		}
		return io.EOF
	}
	var text bytes.Buffer
	text.Grow(int(f.Size) + 1)
	if err := r.a.d.get(f, &text); err != nil {
		return err
	}
	r.file, r.chain = f, f.Before
	rest := text.Bytes()
	for v := f.First; v < r.pos.Version; v++ {
		at, line, more, err := cutLine(rest)
		if err != nil || at != v {
			return fmt.Errorf("%s: %w: line of version %d instead of %d", r.a.d.path(f.name()), ErrDamaged, at, v)
		}
		r.chain, rest = r.chain.Next(v, line), more
	}
	if !r.pos.Chain.IsZero() && r.chain != r.pos.Chain {
		return &stream.DivergedError{Version: r.pos.Version, HereChain: r.pos.Chain, ThatChain: r.chain}
	}
	r.text = rest
	return nil
}

var errLine = errors.New("not a line of a changelog file")

// cutLine cuts one line off.
func cutLine(b []byte) (v meta.Version, text, rest []byte, err error) {
	line, rest, ok := bytes.Cut(b, []byte("\n"))
	number, text, cut := bytes.Cut(line, []byte(": "))
	if !ok || !cut {
		return 0, nil, nil, errLine
	}
	n, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil {
		return 0, nil, nil, errLine
	}
	return meta.Version(n), text[:len(text):len(text)], rest, nil
}

// appendLine is the other way round.
func appendLine(b []byte, e meta.RawEntry) []byte {
	b = append(strconv.AppendUint(b, uint64(e.Version), 10), ": "...)
	return append(append(b, e.Text...), '\n')
}
