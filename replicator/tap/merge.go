package tap

import (
	"bytes"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"

	"github.com/zeebo/xxh3"
)

// cursor is a run of entries in ascending version order; lines is one.
type cursor interface {
	peek() (e Entry, ok bool, err error) // the first entry not taken
	pop()                                // takes it
	where() string                       // names it in messages
}

// remembered is how many of the entries it gave out a merger can still compare
// with later copies of them.
const remembered = 1 << 16

// merger yields the entries of several cursors in version order, each once.
// Copies of an entry must have the same text.
type merger struct {
	want     meta.Version // the next entry
	until    meta.Version // nothing from it on is given out; 0: no bound
	cursors  []cursor
	oldest   meta.Version       // hashes has [max(oldest, want-remembered), want)
	last     []byte             // text of entry oldest, if know was called
	hashes   [remembered]uint64 // of texts, by version
	verified bool               // a copy of an entry known before was seen
}

func newMerger(from meta.Version, cursors ...cursor) *merger {
	return &merger{want: from, oldest: from, cursors: cursors}
}

// know tells the merger the text of the entry before the first one wanted.
func (m *merger) know(last []byte) {
	m.oldest, m.last = m.want-1, last
	m.hashes[m.oldest%remembered] = xxh3.Hash(last)
}

// knows tells whether entry v can be compared.
func (m *merger) knows(v meta.Version) bool {
	return v >= m.oldest && v < m.want && m.want-v <= remembered
}

// next returns entry m.want and takes it; its text is valid until the next
// call. When no cursor has it now, ok is false and ahead is the lowest version
// above it that one has, or 0.
func (m *merger) next() (e Entry, ok bool, ahead meta.Version, err error) {
	if m.until != 0 && m.want >= m.until {
		return Entry{}, false, 0, nil
	}
	var first cursor
	for _, c := range m.cursors {
		got, has, err := m.seek(c)
		switch {
		case err != nil:
			return Entry{}, false, 0, err
		case !has:
		case got.Version > m.want:
			if ahead == 0 || got.Version < ahead {
				ahead = got.Version
			}
		case first == nil:
			first, e = c, got
		case !bytes.Equal(got.Text, e.Text):
			return Entry{}, false, 0, &DivergedError{Version: got.Version, Source: c.where() + " and " + first.where(),
				Seen: bytes.Clone(got.Text), Known: bytes.Clone(e.Text)}
		default:
			c.pop()
		}
	}
	if first == nil {
		return Entry{}, false, ahead, nil
	}
	first.pop()
	m.hashes[m.want%remembered] = xxh3.Hash(e.Text)
	m.want++
	return e, true, 0, nil
}

// seek takes from c what was given out before and returns what comes then.
func (m *merger) seek(c cursor) (Entry, bool, error) {
	for {
		e, ok, err := c.peek()
		if err != nil || !ok || e.Version >= m.want {
			return e, ok, err
		}
		if m.knows(e.Version) {
			if xxh3.Hash(e.Text) != m.hashes[e.Version%remembered] {
				diverged := &DivergedError{Version: e.Version, Seen: bytes.Clone(e.Text), Source: c.where()}
				if e.Version == m.oldest {
					diverged.Known = m.last
				}
				return Entry{}, false, diverged
			}
			m.verified = true
		}
		c.pop()
	}
}

// collect moves entries into b until it is full or no cursor has the next one.
// It returns the version ahead of a hole, as next does. When an error comes
// after some entries, those are delivered first: the caller asks again.
func (m *merger) collect(b *batcher) (ahead meta.Version, err error) {
	b.reset()
	for !b.full(wire.MaxEntryText) {
		e, ok, ahead, err := m.next()
		if err != nil || !ok {
			return ahead, err
		}
		b.add(e)
	}
	return 0, nil
}
