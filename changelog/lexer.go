package changelog

import (
	"math"

	"mfsstandby/changelog/meta"
)

// lexer reads one entry from left to right. Its first error sticks and moves
// it to the end of the text, so that the parse methods need no checks of their
// own; what they read after it is zero.
type lexer struct {
	text  []byte
	pos   int
	op    string // name of the operation as written
	batch *Batch // memory for what cannot alias the text

	reason string // of the first error, "" if there is none
	at     int    // its place
}

// fail records an error at byte at.
func (l *lexer) fail(at int, reason string) {
	if l.reason == "" {
		l.reason, l.at = reason, at
	}
	l.pos = len(l.text)
}

// before tells whether a release older than r wrote the entry.
func (l *lexer) before(r meta.Release) bool { return !l.batch.release.Since(r) }

// peek returns the next byte, 0 at the end.
func (l *lexer) peek() byte {
	if l.pos < len(l.text) {
		return l.text[l.pos]
	}
	return 0
}

// expected is the reason given when a byte is not there.
var expected = map[byte]string{
	'(': "'(' expected", ')': "')' expected", ',': "',' expected", ':': "':' expected", '|': "'|' expected",
	'[': "'[' expected", ']': "']' expected", '#': "'#' expected", ' ': "blank expected",
	'C': "'C' expected", 'T': "'T' expected", 'W': "'W' expected", 'K': "'K' expected", 'A': "'A' expected", '-': "'-' expected", 'x': "'0x' expected",
}

// eat skips the byte c, which must come next.
func (l *lexer) eat(c byte) {
	if l.pos < len(l.text) && l.text[l.pos] == c {
		l.pos++
		return
	}
	l.fail(l.pos, expected[c])
}

// number reads a decimal number up to limit, which is below 2^59. It has no
// sign, no blank and no leading zero.
func (l *lexer) number(limit uint64) uint64 {
	t, start := l.text, l.pos
	i := start
	var n uint64
	for ; i < len(t); i++ {
		d := uint64(t[i] - '0')
		if d > 9 {
			break
		}
		if n = n*10 + d; n > limit {
			l.fail(start, "number too big")
			return 0
		}
	}
	if !l.digits(start, i) {
		return 0
	}
	l.pos = i
	return n
}

// digits checks that the number in [start,i) has digits and no leading zero.
func (l *lexer) digits(start, i int) bool {
	switch {
	case i == start:
		l.fail(start, "number expected")
	case l.text[start] == '0' && i > start+1:
		l.fail(start, "number with leading zero")
	default:
		return true
	}
	return false
}

// u8, u16 and u32 read the byte sep and a number of their width.
func (l *lexer) u8(sep byte) uint8   { l.eat(sep); return uint8(l.number(math.MaxUint8)) }
func (l *lexer) u16(sep byte) uint16 { l.eat(sep); return uint16(l.number(math.MaxUint16)) }
func (l *lexer) u32(sep byte) uint32 { l.eat(sep); return uint32(l.number(math.MaxUint32)) }

// u64 reads the byte sep and a number of 64 bits.
func (l *lexer) u64(sep byte) uint64 { l.eat(sep); return l.number64() }

// number64 is like number, for the whole range of 64 bits.
func (l *lexer) number64() uint64 {
	t, start := l.text, l.pos
	i := start
	var n uint64
	for ; i < len(t); i++ {
		d := uint64(t[i] - '0')
		if d > 9 {
			break
		}
		if n > math.MaxUint64/10 || n*10 > math.MaxUint64-d {
			l.fail(start, "number too big")
			return 0
		}
		n = n*10 + d
	}
	if !l.digits(start, i) {
		return 0
	}
	l.pos = i
	return n
}

func (l *lexer) inode(sep byte) meta.Inode       { return meta.Inode(l.u32(sep)) }
func (l *lexer) time(sep byte) meta.Time         { return meta.Time(l.u32(sep)) }
func (l *lexer) session(sep byte) meta.SessionID { return meta.SessionID(l.u32(sep)) }
func (l *lexer) chunk(sep byte) meta.ChunkID     { return meta.ChunkID(l.u64(sep)) }

// name reads a NAME after the byte sep: 1 to 255 bytes without NUL. The
// result aliases the text, or the batch's memory if there are escapes.
func (l *lexer) name(sep byte) []byte {
	start := l.pos + 1
	raw := l.path(sep)
	if len(raw) > meta.MaxName {
		l.fail(start, "name longer than 255 bytes")
		return nil
	}
	return raw
}

// path reads a PATH after the byte sep: at least one byte, no NUL.
func (l *lexer) path(sep byte) []byte {
	start := l.pos + 1
	raw := l.escaped(sep, false)
	if len(raw) == 0 {
		l.fail(start, "empty name")
	}
	return raw
}

// data reads DATA after the byte sep: any bytes, or none.
func (l *lexer) data(sep byte) []byte { return l.escaped(sep, true) }

// escaped reads escaped text up to the first byte that cannot be part of it,
// which the caller then checks.
func (l *lexer) escaped(sep byte, nul bool) []byte {
	l.eat(sep)
	t, start := l.text, l.pos
	i := start
	for i < len(t) && plain[t[i]] {
		i++
	}
	l.pos = i
	if i < len(t) && t[i] == '%' {
		return l.unescape(start, nul)
	}
	return t[start:i:i]
}

// unescape reads on at the first '%' of a text that began at start.
func (l *lexer) unescape(start int, nul bool) []byte {
	t, i := l.text, l.pos
	out := append(l.batch.bytes.reserve(len(t)-start), t[start:i]...)
	for ; i < len(t); i++ {
		c := t[i]
		if plain[c] {
			out = append(out, c)
			continue
		}
		if c != '%' {
			break
		}
		if i+2 >= len(t) || hexDigit[t[i+1]] > 15 || hexDigit[t[i+2]] > 15 {
			l.fail(i, "'%' without two uppercase hexadecimal digits")
			return nil
		}
		c = hexDigit[t[i+1]]<<4 | hexDigit[t[i+2]]
		if plain[c] && !l.before(meta.Release3) { // tools around older releases escaped more than these did
			l.fail(i, "escaped byte that needs no escape")
			return nil
		}
		if c == 0 && !nul {
			l.fail(i, "NUL in a name")
			return nil
		}
		out = append(out, c)
		i += 2
	}
	l.pos = i
	return l.batch.bytes.keep(out)
}
