package changelog

import (
	"fmt"

	"mfsstandby/changelog/meta"
)

// serverError tells what is wrong with a chunkserver; ip is printed as usual.
func serverError(at meta.Server, status meta.Status) error {
	return fmt.Errorf("chunkserver %d.%d.%d.%d:%d: %w",
		at.IP>>24, at.IP>>16&255, at.IP>>8&255, at.IP&255, at.Port, status)
}

// Apply changes the list of chunkservers.
func (op *CSDBOp) Apply(st *meta.State, _ meta.Time) error {
	at := meta.Server{IP: op.IP, Port: op.Port}
	switch op.Op {
	case CSDBAdd:
		return addServer(st, at, op.Arg)
	case CSDBDel:
		return removeServer(st, at)
	case CSDBNewAddress:
		return op.moveServer(st, at)
	}
	s, ok := st.Servers.Edit(at)
	if !ok {
		return serverError(at, meta.EMISMATCH)
	}
	switch op.Op {
	case CSDBNewID:
		if op.Arg == 0 || !freeServerID(st, op.Arg) {
			return serverError(at, meta.EMISMATCH)
		}
		s.ID = uint16(op.Arg)
	case CSDBMaintenanceOn:
		s.Maintenance, s.Timeout = 1, meta.Time(op.Arg)
	case CSDBMaintenanceOff:
		s.Maintenance, s.Timeout = 0, meta.Time(op.Arg)
	case CSDBMaintenanceTmp:
		s.Maintenance, s.Timeout = 2, meta.Time(op.Arg)
	default:
		return serverError(at, meta.EMISMATCH)
	}
	return nil
}

// addServer adds a chunkserver with an id, or 0 for none.
func addServer(st *meta.State, at meta.Server, id uint32) error {
	if _, ok := st.Servers.Get(at); ok || !freeServerID(st, id) {
		return serverError(at, meta.EMISMATCH)
	}
	st.Servers.Insert(at, meta.ServerInfo{ID: uint16(id)})
	return nil
}

// removeServer removes a chunkserver.
func removeServer(st *meta.State, at meta.Server) error {
	if _, ok := st.Servers.Get(at); !ok {
		return serverError(at, meta.EMISMATCH)
	}
	st.Servers.Delete(at)
	return nil
}

// moveServer gives the chunkserver with id Arg another address.
func (op *CSDBOp) moveServer(st *meta.State, at meta.Server) error {
	old, ok := serverByID(st, op.Arg)
	if !ok {
		return serverError(at, meta.EMISMATCH)
	}
	if old == at {
		return nil
	}
	if _, used := st.Servers.Get(at); used {
		return serverError(at, meta.EMISMATCH)
	}
	s, _ := st.Servers.Get(old)
	st.Servers.Delete(old)
	st.Servers.Insert(at, s)
	return nil
}

// freeServerID tells whether a chunkserver may get an id; 0 is none.
func freeServerID(st *meta.State, id uint32) bool {
	_, used := serverByID(st, id)
	return id <= 0xFFFF && !used
}

// serverByID returns the address of the chunkserver with an id that is not 0.
func serverByID(st *meta.State, id uint32) (meta.Server, bool) {
	for at, s := range st.Servers.Scan(meta.Server{}) {
		if id != 0 && uint32(s.ID) == id {
			return at, true
		}
	}
	return meta.Server{}, false
}

// Apply adds the chunkserver.
func (op *CSAdd) Apply(st *meta.State, _ meta.Time) error {
	return addServer(st, meta.Server{IP: op.IP, Port: op.Port}, 0)
}

// Apply removes the chunkserver.
func (op *CSDel) Apply(st *meta.State, _ meta.Time) error {
	return removeServer(st, meta.Server{IP: op.IP, Port: op.Port})
}

// Apply sets the cluster's id, which never changes again.
//
// A new file system's root gets its times when the master starts on it, by the
// same reading of the clock as this entry, which is its first: a root without
// times is one that waits for it.
//
// 4.x sets them whenever it takes an id; its replay to something else.
func (op *SetMetaID) Apply(st *meta.State, now meta.Time) error {
	if st.MetaID != 0 && st.MetaID != op.MetaID && !meta.MadeUpID(st.MetaID) {
		return fmt.Errorf("cluster id is %d already: %w", st.MetaID, meta.EINVAL)
	}
	first := st.MetaID == 0 || st.MetaID != op.MetaID
	st.MetaID = op.MetaID
	root, ok := st.Nodes.Get(meta.Root)
	waits := ok && root.Atime == 0 && root.Mtime == 0 && root.Ctime == 0
	if waits || ok && first && modern(st) {
		n, _ := st.Nodes.Edit(meta.Root)
		n.Atime, n.Mtime, n.Ctime = now, now, now
	}
	return nil
}

// Apply gives the edges of all directories new ids: each directory takes as
// many as it has edges, the root first, then what is below its first
// subdirectory, and so on. Ids ascend within a directory, so the first edge has
// the one at which the count stops: the next new edge gets the same id as the
// first edge of the directory that came last.
func (op *RenumerateEdges) Apply(st *meta.State, _ meta.Time) error {
	next := meta.EdgeIDMax - 1
	todo := []meta.Inode{meta.Root}
	for len(todo) > 0 {
		dir := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		list := st.Edges.List(dir)
		next -= uint64(len(list))
		for i, edge := range list {
			st.Edges.SetID(dir, edge.Name, next+uint64(i))
		}
		for i := len(list) - 1; i >= 0; i-- {
			if list[i].Dir {
				todo = append(todo, list[i].Child)
			}
		}
		st.MakeRoom()
	}
	st.NextEdge = next
	return match("next edge id", op.NextEdge, next)
}

// Apply gives the edges that have no id one: a directory's in the order of its
// list, and what is below a subdirectory before the next name.
func (op *RenumEdges) Apply(st *meta.State, _ meta.Time) error {
	if st.NextEdge != meta.EdgeIDMax {
		return &MismatchError{What: "next edge id before", Want: uint64(meta.EdgeIDMax), Got: st.NextEdge}
	}
	st.NextEdge--
	type place struct {
		dir  meta.Inode
		list []meta.Edge
	}
	stack := []place{{meta.Root, st.Edges.List(meta.Root)}}
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if len(top.list) == 0 {
			stack = stack[:len(stack)-1]
			st.MakeRoom()
			continue
		}
		edge := top.list[0]
		top.list = top.list[1:]
		if edge.ID == 0 {
			st.Edges.SetID(top.dir, edge.Name, st.NextEdge)
			st.NextEdge--
		}
		if edge.Dir {
			stack = append(stack, place{edge.Child, st.Edges.List(edge.Child)})
		}
	}
	return settle(st, "next edge id", &op.NextEdge, st.NextEdge)
}

// Apply does nothing: only the version moves on.
func (op *Idle) Apply(*meta.State, meta.Time) error { return nil }
