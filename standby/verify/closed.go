package verify

import (
	"fmt"
	"iter"
	"slices"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/metafile"
)

// closed hides sessions that a master has forgotten and a replica cannot have
// forgotten yet: one that its client has closed is not stored any more, while
// the entry that removes it (SESDEL) comes seconds later. What it had open and
// locked goes with it.
type closed struct {
	st     *meta.State
	hidden map[meta.SessionID]bool
}

// note takes a difference if it is only such a session. The sessions come
// before everything that is hidden with them.
func (c *closed) note(d metafile.Difference) bool {
	var id meta.SessionID
	if d.Table != "SESS" || d.Field != "" || d.File != "absent" {
		return false
	}
	if _, err := fmt.Sscanf(d.Key, "session %d", &id); err != nil {
		return false
	}
	if s, ok := c.st.Sessions.Get(id); !ok || s.Disconnected == 0 {
		return false
	}
	c.hidden[id] = true
	return true
}

// state is the State without what is hidden.
func (c *closed) state() *meta.State {
	st := *c.st
	st.Open = openFiles{st.Open, c}
	st.Flocks = locks[meta.Flock]{st.Flocks, func(l meta.Flock) bool { return c.hidden[l.Session] }}
	st.Plocks = locks[meta.PosixOwner]{st.Plocks, func(o meta.PosixOwner) bool { return c.hidden[o.Session] }}
	return &st
}

// openFiles is an OpenTable without hidden sessions.
type openFiles struct {
	meta.OpenTable
	c *closed
}

func (t openFiles) Has(s meta.SessionID, ino meta.Inode) bool {
	return !t.c.hidden[s] && t.OpenTable.Has(s, ino)
}

func (t openFiles) Of(s meta.SessionID) []meta.Inode {
	if t.c.hidden[s] {
		return nil
	}
	return t.OpenTable.Of(s)
}

func (t openFiles) Scan() iter.Seq2[meta.SessionID, meta.Inode] {
	return func(yield func(meta.SessionID, meta.Inode) bool) {
		for s, ino := range t.OpenTable.Scan() {
			if !t.c.hidden[s] && !yield(s, ino) {
				return
			}
		}
	}
}

// locks is a table of locks without those of hidden sessions.
type locks[L any] struct {
	meta.Table[meta.Inode, []L]
	hidden func(L) bool
}

func (t locks[L]) rest(list []L) []L { return slices.DeleteFunc(slices.Clone(list), t.hidden) }

func (t locks[L]) Get(ino meta.Inode) ([]L, bool) {
	list, ok := t.Table.Get(ino)
	if list = t.rest(list); len(list) == 0 {
		return nil, false
	}
	return list, ok
}

func (t locks[L]) Scan(from meta.Inode) iter.Seq2[meta.Inode, []L] {
	return func(yield func(meta.Inode, []L) bool) {
		for ino, list := range t.Table.Scan(from) {
			if list = t.rest(list); len(list) > 0 && !yield(ino, list) {
				return
			}
		}
	}
}
