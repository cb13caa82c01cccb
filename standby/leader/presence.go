package leader

import (
	"context"
	"sync"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// presence is which sessions have connections. It is not in the metadata.
type presence struct {
	mu   sync.Mutex // guards what follows
	byID map[meta.SessionID]*connections
}

type connections struct {
	count  int
	closed bool // by the client, with its last connection
}

// of tells whether a session has a connection, and whether its client has
// closed it.
func (p *presence) of(id meta.SessionID) (there, closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.byID[id]
	return c != nil && c.count > 0, c != nil && c.closed
}

func (p *presence) forget(id meta.SessionID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byID, id)
}

// change calls f with the connections of a session.
func (p *presence) change(id meta.SessionID, f func(*connections)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byID == nil {
		p.byID = map[meta.SessionID]*connections{}
	}
	c := p.byID[id]
	if c == nil {
		c = &connections{}
		p.byID[id] = c
	}
	f(c)
}

// Attach counts a connection of a session. mfsmaster writes no entry for it.
func (l *Leader) Attach(id meta.SessionID) {
	l.connected.change(id, func(c *connections) { c.count, c.closed = c.count+1, false })
}

// CloseSession notes that a client is done with its session, which ends some
// seconds after its last connection.
func (l *Leader) CloseSession(id meta.SessionID) {
	l.connected.change(id, func(c *connections) { c.closed = c.closed || c.count == 1 })
}

// Detach takes note that a connection has ended; with the last one there is an
// entry.
func (l *Leader) Detach(ctx context.Context, id meta.SessionID) error {
	left := 0
	l.connected.change(id, func(c *connections) {
		c.count = max(c.count-1, 0)
		left = c.count
	})
	if left > 0 {
		return nil
	}
	return l.Do(ctx, func(t *Turn) {
		if there, _ := l.connected.of(id); !there {
			t.Do(nil, &changelog.DisconnectRequest{Session: id})
		}
	})
}

// Kick removes a session that has no connection, as an administrator asks for.
func (l *Leader) Kick(ctx context.Context, id meta.SessionID) (meta.Status, error) {
	status := meta.ENOTFOUND
	err := l.Do(ctx, func(t *Turn) {
		if there, _ := l.connected.of(id); there {
			status = meta.EACTIVE
			return
		}
		status = t.RemoveSession(id)
		l.connected.forget(id)
	})
	return status, err
}
