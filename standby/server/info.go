package server

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/image"
)

// What mfscli and the CGI monitor ask, on connections that never register.
// Three sources answer: the image; what this standby counts of its own work;
// and the primary, of what only a running master knows, such as copies of
// chunks. The primary is asked beside the connection. Without it those figures
// are what a master without chunkservers says.

// infoHandlers are the information requests.
func infoHandlers() map[wire.Type]handler {
	const who = unregistered | mounted
	h := map[wire.Type]handler{
		wire.InfoMaster:      {states: who, serve: (*conn).infoMaster},
		wire.InfoModule:      {states: who, serve: (*conn).infoModule},
		wire.InfoMemory:      {states: who, serve: (*conn).infoMemory},
		wire.InfoSessions:    {states: who, serve: (*conn).infoSessions},
		wire.InfoOpenFiles:   {states: who, serve: (*conn).infoOpenFiles},
		wire.InfoLocks:       {states: who, serve: (*conn).infoLocks},
		wire.InfoPaths:       {states: who, serve: (*conn).infoPaths},
		wire.InfoQuotas:      {states: who, serve: (*conn).infoQuotas},
		wire.InfoExports:     {states: who, serve: (*conn).infoExports},
		wire.InfoClasses:     {states: who, serve: (*conn).infoClasses},
		wire.InfoNode:        {states: mounted, serve: (*conn).infoNode},
		wire.InfoServers:     {states: who, serve: (*conn).infoServers},
		wire.InfoMetaloggers: {states: who, serve: (*conn).infoMetaloggers},
		wire.InfoTreeTest:    {states: who, serve: (*conn).infoTreeTest},
		wire.InfoChunkTest:   {states: who, serve: (*conn).infoChunkTest},
		wire.InfoMatrix:      {states: who, serve: (*conn).infoMatrix},
		wire.InfoMissing:     {states: who, serve: (*conn).infoMissing},
		wire.InfoChart:       {states: who, offline: true, serve: (*conn).infoChart},
		wire.InfoChartData:   {states: who, offline: true, serve: (*conn).infoChartData},
		wire.InfoMonotonic:   {states: who, offline: true, serve: (*conn).infoMonotonic},
		wire.InfoPatterns:    {states: who, serve: (*conn).infoPatterns},
		wire.InfoInstance:    {states: who, offline: true, serve: (*conn).infoInstance},
		wire.SessionCommand:  {states: who, serve: (*conn).sessionCommand},
		wire.ServerCommand:   {states: who, serve: (*conn).serverCommand},
	}
	return h
}

// maxAsking is how many answers may be made beside connections at once.
const maxAsking = 256

// reply is an answer in the making, beside a connection.
type reply struct {
	wire.Encoder
	srv  *Server
	held int64 // bytes counted in Server.buffers
}

// charge counts the memory that the answer takes by now. It fails when all
// buffers are in use.
func (r *reply) charge() error {
	more := int64(len(r.Buf)) - r.held
	if !r.srv.reserve(more) {
		return fmt.Errorf("no room for an answer of %d bytes", len(r.Buf))
	}
	r.held += more
	return nil
}

// beside has do append an answer in a goroutine of its own, so that the image
// is not locked while somebody is asked. What may become long is to be charged
// as it grows. An error closes the connection.
func (c *conn) beside(do func(e *reply) error) error {
	s := c.srv
	if s.info.asking.Add(1) > maxAsking {
		s.info.asking.Add(-1)
		return errTooManyJobs
	}
	c.owed.Add(1)
	s.wg.Go(func() {
		defer s.info.asking.Add(-1)
		e := reply{srv: s}
		defer func() { s.reserve(-e.held) }()
		if err := do(&e); err != nil {
			s.log.Debug("an information request could not be answered", "err", err)
			c.link.shut()
			return
		}
		c.post(e.Buf)
		c.owed.Add(-1)
	})
	return nil
}

// read reads the image beside a connection that has seen a version.
func (s *Server) read(seen meta.Version, f func(*meta.State, image.Position) error) error {
	img, err := s.ready()
	if err != nil {
		return err
	}
	return img.Read(func(st *meta.State, pos image.Position) error {
		if pos.Version < seen {
			return errOlder
		}
		if err := f(st, pos); err != nil {
			return err
		}
		return st.Err()
	})
}

// ask asks the primary; nil is no answer. To a leader the primary's address may
// have become its own.
func (s *Server) ask(t wire.Type, body []byte) []byte {
	if s.cfg.Asker == nil || s.leads() {
		return nil
	}
	return s.cfg.Asker.Ask(t, body)
}

// passOn answers with what the primary answered, if that has a form that a
// client may get, or with what otherwise makes.
func (c *conn) passOn(t wire.Type, body []byte, fits func(length int) bool, otherwise func(*reply) error) error {
	return c.beside(func(e *reply) error {
		if p := c.srv.ask(t, body); p != nil && fits(len(p)) {
			e.Begin(t.Reply())
			e.Bytes(p)
			e.End()
			return e.charge()
		}
		return otherwise(e)
	})
}

// empty reads a request without content.
func (c *conn) empty() error { return c.d.End() }

func (c *conn) infoMaster() error {
	if err := c.empty(); err != nil {
		return err
	}
	seen, s := c.seen, c.srv
	return c.beside(func(e *reply) error {
		a := wire.MasterInfo{State: wire.NoMasterState, Exports: s.cfg.Exports().Sum()}
		if p, ok := s.askPrimary(); ok {
			a.Total, a.Avail, a.Free = p.Total, p.Avail, p.Free
			a.Chunks, a.Copies, a.Marked, a.Modern = p.chunks, p.copies, p.regular, p.modern
		} else {
			a.Chunks = uint32(s.census().chunks)
			a.Modern.Ordinary = a.Chunks
		}
		a.Memory, _ = memoryInUse()
		a.UserCPU, a.SysCPU = s.processorUse()
		lag := s.lag()
		if s.cfg.Follower {
			if a.State = followerState; lag < maxInSync {
				a.State |= followerInSync
			}
		}
		return s.read(seen, func(st *meta.State, pos image.Position) error {
			n := &st.Scalars.Nodes
			a.TrashSpace, a.TrashNodes = n.TrashBytes, uint32(n.Trash)
			a.HeldSpace, a.HeldNodes = n.SustainedBytes, uint32(n.Sustained)
			a.Nodes, a.Dirs, a.Files = uint32(n.All), uint32(n.Dirs), uint32(n.Files)
			a.Stored, a.Version = uint32(pos.Time), pos.Version
			a.Release, a.MetaID = announced(st), st.MetaID
			now := time.Now()
			a.Micros, a.Applied = uint64(now.UnixMicro()), uint32(now.Add(-lag).Unix())
			a.Append(&e.Encoder)
			return nil
		})
	})
}

// Parts of the MasterInfo.State of a follower in no transition: working, next
// and stable state, and whether it is in sync.
const (
	followerState  = 0x03030300
	followerInSync = 0x01
	maxInSync      = 5 * time.Second // lag of one that calls itself in sync
)

// lag tells how far the image is behind.
func (s *Server) lag() time.Duration {
	if s.cfg.Lag == nil {
		return 0
	}
	return s.cfg.Lag()
}

func (c *conn) infoModule() error {
	var p wire.ModuleInfo
	if p.Numbered = c.d.Len() > 0; p.Numbered {
		p.MsgID = c.d.U32()
	}
	if err := c.d.End(); err != nil {
		return err
	}
	p.Type, p.Release, p.MetaID = wire.ModuleMaster, announced(c.st), c.st.MetaID
	p.Append(&c.out)
	return nil
}

// memoryTables are the tables of the image that the parts of MEMORY_INFO are
// about: chunk hash, chunks, copies, edge hash, edges, node hash, nodes,
// deleted nodes, chunk tables, symlinks, quotas. The image has no hashes.
var memoryTables = [...]string{"", "c", "", "", "e", "u", "ndhtboaxvSkpCKP", "f", "s", "l", "q"}

// infoMemory tells of the pages that the image has in its cache.
func (c *conn) infoMemory() error {
	if err := c.empty(); err != nil {
		return err
	}
	return c.beside(func(e *reply) error {
		img, err := c.srv.ready()
		if err != nil {
			return err
		}
		sizes := img.CacheBytes()
		e.Begin(wire.InfoMemory.Reply())
		for _, tables := range memoryTables {
			var n int64
			for _, prefix := range []byte(tables) {
				n += sizes[prefix]
			}
			e.U64(uint64(n)) // allocated
			e.U64(uint64(n)) // used
		}
		e.End()
		return nil
	})
}

// memoryInUse returns the bytes of this process in memory and in its address
// space, zeros where the system does not tell.
func memoryInUse() (resident, virtual uint64) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, 0
	}
	page := uint64(os.Getpagesize())
	all, err1 := strconv.ParseUint(fields[0], 10, 64)
	in, err2 := strconv.ParseUint(fields[1], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, 0
	}
	return in * page, all * page
}

// sessionCommand ends a session of the standby's own whose client is gone;
// those of the primary are the primary's to end.
func (c *conn) sessionCommand() error {
	var p wire.SessionCommandRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	status := meta.EROFS
	switch {
	case p.Command != 0:
		status = meta.EINVAL
	case p.Session&localSession != 0:
		status = c.srv.sessions.forceRemove(meta.SessionID(p.Session))
	}
	c.out.Begin(wire.SessionCommand.Reply())
	c.out.U8(uint8(status))
	c.out.End()
	return nil
}

// forceRemove ends a session without connections.
func (t *sessions) forceRemove(id meta.SessionID) meta.Status {
	s := t.find(id)
	if s == nil {
		return meta.ENOTFOUND
	}
	t.remove(s)
	if t.find(id) != nil {
		return meta.EACTIVE
	}
	return meta.OK
}

// serverCommand refuses to change chunkservers, which is the primary's to do.
func (c *conn) serverCommand() error {
	var p wire.ServerCommandRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	c.out.Begin(wire.ServerCommand.Reply())
	if !p.Short {
		c.out.U8(uint8(meta.EROFS))
	}
	c.out.End()
	return nil
}

// countPackets counts packets one after the other.
func countPackets(b []byte) (n uint64) {
	for len(b) >= wire.HeaderSize {
		h, err := wire.ParseHeader(b, uint32(len(b)-wire.HeaderSize))
		if err != nil {
			return n
		}
		b = b[wire.HeaderSize+int(h.Length):]
		n++
	}
	return n
}

// listOf reads a request that is a list of numbers.
func listOf(d *wire.Decoder) (wire.Numbers, error) {
	b := d.Rest()
	if len(b)%4 != 0 {
		return nil, fmt.Errorf("a list of numbers of %d bytes", len(b))
	}
	return b, nil
}
