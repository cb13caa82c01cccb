package changelog

import (
	"bytes"
	"math"

	"mfsstandby/changelog/meta"
)

// Batch owns the memory of the entries parsed into it. They, and the slices in
// them, are valid until Reset, which makes the memory free for the next
// entries: parsing then allocates only while a batch is greater than all
// before it. Names and data without escapes alias the parsed text, which must
// therefore stay as it is until Reset too. A Batch is for one goroutine.
type Batch struct {
	slabs []slabber   // by row of the table, made at first use
	bytes arena[byte] // names and data with escapes undone
	gids  arena[uint32]
	masks arena[meta.LabelMasks]
	acl   arena[meta.ACLEntry]
	exprs arena[[]byte]
	lex   lexer

	release meta.Release // of the primary; of the next texts
}

// maxText is the length of the longest entry without version that mfsmaster
// writes whole; it cuts longer ones.
const maxText = 199999

// NewBatch returns an empty batch.
func NewBatch() *Batch { return &Batch{slabs: make([]slabber, len(table))} }

// SetRelease tells which release wrote the texts to come; 0 counts as 3.0.117.
// It matters only to those that other releases understand differently.
func (b *Batch) SetRelease(r meta.Release) { b.release = r }

// Reset voids everything parsed so far and keeps the memory. Until they are
// overwritten, old entries keep the texts that they alias from being freed.
func (b *Batch) Reset() {
	for _, s := range b.slabs {
		if s != nil {
			s.reset()
		}
	}
	b.bytes.reset()
	b.gids.reset()
	b.masks.reset()
	b.acl.reset()
	b.exprs.reset()
	b.lex.text = nil
}

// Parse reads an entry without version and without newline, as metaloggers
// get it: "1700000000|UNLINK(1,a):7". The error is a *SyntaxError.
func (b *Batch) Parse(text []byte) (meta.Time, Op, error) {
	l := &b.lex
	*l = lexer{text: text, batch: b}
	now, op := l.entry()
	if l.reason != "" {
		return 0, nil, newSyntaxError(text, l.at, l.reason)
	}
	return now, op, nil
}

// ParseLine reads a line of a changelog file, with or without its newline:
// "123: 1700000000|UNLINK(1,a):7". The error is a *SyntaxError.
func (b *Batch) ParseLine(line []byte) (Entry, error) {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	version, n, reason := splitVersion(line)
	if reason != "" {
		return Entry{}, newSyntaxError(line, n, reason)
	}
	l := &b.lex
	*l = lexer{text: line[n:], batch: b}
	now, op := l.entry()
	if l.reason != "" {
		return Entry{}, newSyntaxError(line, n+l.at, l.reason)
	}
	return Entry{Version: version, Time: now, Op: op}, nil
}

const unknownOp = "unknown operation"

// entry reads the whole text.
func (l *lexer) entry() (meta.Time, Op) {
	if len(l.text) > maxText {
		l.fail(maxText, "longer than mfsmaster writes")
		return 0, nil
	}
	now := meta.Time(l.number(math.MaxUint32))
	l.eat('|')
	start := l.pos
	for l.pos < len(l.text) && l.text[l.pos] != '(' {
		if l.pos-start > maxOpName {
			break
		}
		l.pos++
	}
	i := lookup(l.text[start:l.pos])
	if i < 0 {
		l.fail(start, unknownOp)
		return 0, nil
	}
	s := l.batch.slabs[i]
	if s == nil {
		s = table[i].slab()
		l.batch.slabs[i] = s
	}
	l.op = table[i].name
	op := s.next()
	op.parse(l)
	if l.pos < len(l.text) {
		l.fail(l.pos, "text after the end of the entry")
	}
	return now, op
}

// parser is an operation that can be read.
type parser interface {
	Op
	// parse reads everything after the name. The struct is zero before.
	parse(l *lexer)
}

// parserOf lets a slab of T hand out T as a parser.
type parserOf[T any] interface {
	*T
	parser
}

// slabber is a slab of some operation.
type slabber interface {
	next() parser
	reset()
}

// slab hands out zeroed structs of one operation. Its chunks never move, so
// pointers into them stay valid while it grows.
type slab[T any, P parserOf[T]] struct {
	chunks [][]T
	chunk  int // the one in use
	used   int // of it
}

// Sizes of the chunks of a slab, in structs.
const (
	firstChunk = 16
	lastChunk  = 1024
)

func newSlab[T any, P parserOf[T]]() slabber {
	return &slab[T, P]{chunks: [][]T{make([]T, firstChunk)}}
}

func (s *slab[T, P]) next() parser {
	if s.used == len(s.chunks[s.chunk]) {
		s.chunk++
		s.used = 0
		if s.chunk == len(s.chunks) {
			n := min(2*len(s.chunks[s.chunk-1]), lastChunk)
			s.chunks = append(s.chunks, make([]T, n))
		}
	}
	p := &s.chunks[s.chunk][s.used]
	s.used++
	var zero T
	*p = zero
	return P(p)
}

func (s *slab[T, P]) reset() { s.chunk, s.used = 0, 0 }

// arena hands out slices that share large chunks.
type arena[T any] struct {
	chunks [][]T // len is what is handed out of each
	chunk  int   // the one in use
}

// Least capacities of the chunks of an arena, in elements; each is twice the
// one before.
const (
	firstArenaChunk = 1 << 10
	lastArenaChunk  = 1 << 16
)

// reserve returns an empty slice with room for n elements. It is to be filled
// by append and given to keep before the next call of reserve.
func (a *arena[T]) reserve(n int) []T {
	for ; a.chunk < len(a.chunks); a.chunk++ {
		if c := a.chunks[a.chunk]; cap(c)-len(c) >= n {
			return c[len(c):]
		}
	}
	c := make([]T, 0, max(n, min(firstArenaChunk<<min(len(a.chunks), 16), lastArenaChunk)))
	a.chunks = append(a.chunks, c)
	return c
}

// keep makes s, filled after reserve, valid until reset.
func (a *arena[T]) keep(s []T) []T {
	c := &a.chunks[a.chunk]
	*c = (*c)[:len(*c)+len(s)]
	return s[:len(s):len(s)]
}

func (a *arena[T]) reset() {
	for i := range a.chunks {
		a.chunks[i] = a.chunks[i][:0]
	}
	a.chunk = 0
}
