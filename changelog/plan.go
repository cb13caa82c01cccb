package changelog

import (
	"errors"

	"mfsstandby/changelog/meta"
)

// Request is what a client, or a duty of the master, wants changed. Each
// request that a client of 3.0.117 can make of the metadata has a type here, in
// the plan file of the operation's family.
type Request interface {
	// Plan checks the request as mfsmaster 3.0.117 does, in its order, against
	// a state at time now, and returns the entry that carries it out, or the
	// status to answer. A nil operation with OK says that there is nothing to
	// change. It changes nothing. The operation has no results yet, Originate
	// writes them; it aliases the request.
	Plan(st *meta.State, c *Caller, now meta.Time) (Op, meta.Status)
}

// statusOf returns the status that an error of a check wraps.
func statusOf(err error) meta.Status {
	var status meta.Status
	if err == nil || errors.As(err, &status) {
		return status
	}
	return meta.EINVAL
}

// findDir is Find for the directory in which a name is to be changed: the user
// needs to write and search it, and it must not have the attributes in
// forbidden.
func (c *Caller) findDir(st *meta.State, parent meta.Inode, forbidden uint8) (meta.Inode, meta.Node, meta.Status) {
	ino, dir, ok := c.Find(st, parent, false)
	if !ok {
		return 0, dir, meta.ENOENT
	}
	return ino, dir, c.mayChange(st, ino, &dir, forbidden)
}

// mayChange tells whether the names of a directory may be changed.
func (c *Caller) mayChange(st *meta.State, ino meta.Inode, dir *meta.Node, forbidden uint8) meta.Status {
	switch {
	case dir.Type != meta.TypeDir:
		return meta.ENOTDIR
	case dir.Eattr&forbidden != 0:
		return meta.EPERM
	case !c.May(st, ino, dir, MayWrite|MayExec):
		return meta.EACCES
	}
	return meta.OK
}

// ownerOnly tells whether a user is kept from what only the owner may do.
func (c *Caller) ownerOnly(n *meta.Node) bool { return !owns(c.UID, n) }
