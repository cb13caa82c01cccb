package server

import (
	"fmt"

	"mfsstandby/replicator/wire"
)

// tableSize is above the number of every request.
const tableSize = 1024

// handler answers one kind of request.
type handler struct {
	states  connState // in which a connection may send it; elsewhere it is closed
	offline bool      // serve looks itself whether there is an image (conn.st)
	// serve reads the request from c.d and appends the answer to c.out. The
	// state c.st is valid during the call only, and locked: serve must be
	// short, or start a job. An error closes the connection without an answer.
	serve func(c *conn) error
}

// table holds the handlers by number of request.
type table [tableSize]handler

// newTable puts the table together. Every family of requests has a file of
// its own with a list of them.
func newTable() *table {
	t := &table{}
	for _, family := range []map[wire.Type]handler{
		registerHandlers(), changeHandlers(), readHandlers(), treeHandlers(), valueHandlers(), detachedHandlers(), lockHandlers(), infoHandlers(), modernHandlers(),
	} {
		for number, h := range family {
			if t[number].serve != nil {
				panic(fmt.Sprintf("%v has two handlers", number))
			}
			t[number] = h
		}
	}
	return t
}
