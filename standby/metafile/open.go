package metafile

import (
	"encoding/binary"
	"fmt"

	"mfsstandby/changelog/meta"
)

// OPEN 1.0: session:32 inode:32 for every open file, a zero record.
const openSize = 8

// readOpen reads the next record; false is the end.
func (in *input) readOpen() (s meta.SessionID, ino meta.Inode, ok bool) {
	b := in.next(openSize)
	if b == nil {
		return 0, 0, false
	}
	s, ino = meta.SessionID(binary.BigEndian.Uint32(b)), meta.Inode(binary.BigEndian.Uint32(b[4:]))
	if s == 0 && ino == 0 {
		return 0, 0, false
	}
	if s == 0 || ino == 0 {
		in.failf("session %d has inode %d open: 0 is no such number", s, ino)
		return 0, 0, false
	}
	return s, ino, true
}

func (l *loader) open() error {
	for {
		l.begin()
		s, ino, ok := l.in.readOpen()
		if !ok {
			return l.in.err
		}
		session, ok := l.st.Sessions.Edit(s)
		if !ok {
			continue // dropped by mfsmaster, too
		}
		if l.st.Open.Has(s, ino) {
			return l.in.failf("session %d has inode %d open twice", s, ino)
		}
		session.Open++
		l.st.Open.Add(s, ino)
	}
}

func writeOpen(o *output, st *meta.State) error {
	for s, ino := range st.Open.Scan() {
		o.u32(uint32(s))
		o.u32(uint32(ino))
		o.end()
		if o.err != nil {
			return o.err
		}
	}
	o.zeros(openSize)
	o.end()
	return o.err
}

func dumpOpen(d *dumper) error {
	for {
		d.in.begin()
		s, ino, ok := d.in.readOpen()
		if !ok {
			return d.in.err
		}
		d.t.num("OPENFILE|s:", uint64(s), 10)
		d.t.num("|i:", uint64(ino), 10)
		if !d.endLine() {
			return d.in.err
		}
	}
}

func compareOpen(c *comparer) error {
	for {
		c.in.begin()
		s, ino, ok := c.in.readOpen()
		if !ok {
			break
		}
		if c.known[s] != nil { // else mfsmaster drops it
			c.opened(s, ino)
		}
	}
	c.closed()
	return c.in.err
}

// opened compares an open file of the file.
func (c *comparer) opened(s meta.SessionID, ino meta.Inode) {
	if c.known[s] == nil {
		c.known[s] = &meta.IDSet{}
	}
	c.known[s].Add(uint64(ino))
	if !c.st.Open.Has(s, ino) {
		c.differ(Difference{Table: "OPEN", Key: fmt.Sprintf("session %d inode %d", s, ino), Path: c.path(ino), File: "open", Image: absent})
	}
}

// closed reports what only the State has open.
func (c *comparer) closed() {
	for s, ino := range c.st.Open.Scan() {
		seen, stored := c.known[s]
		if stored && seen == nil {
			continue // of a session that was closed: compareSessions
		}
		if seen == nil || !seen.Has(uint64(ino)) {
			c.differ(Difference{Table: "OPEN", Key: fmt.Sprintf("session %d inode %d", s, ino), Path: c.path(ino), File: absent, Image: "open"})
		}
	}
}
