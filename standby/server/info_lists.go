package server

import (
	"bytes"
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/image"
)

// sessionsMode is the newest form of SESSION_LIST that 3.0.117 knows. All later
// releases do.
const sessionsMode = 4

// connected is the SessionInfo.Expire of a session that has a connection.
const connected = math.MaxUint32

// infoSessions lists the sessions of the primary, as the metadata has them,
// and the standby's own. How clients are connected to the primary, and what
// they did there, only the primary knows; without it they are not connected.
func (c *conn) infoSessions() error {
	var p wire.InfoRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	seen, s := c.seen, c.srv
	return c.beside(func(e *reply) error {
		live := sessionsOf(s.ask(wire.InfoSessions, []byte{sessionsMode}))
		now := time.Now()
		e.Begin(wire.InfoSessions.Reply())
		e.U16(wire.OpStats)
		add := func(a *wire.SessionInfo) {
			if p.Mode >= 2 || a.Sockets > 0 { // old clients know connected ones only
				a.Append(&e.Encoder, p.Mode)
			}
		}
		err := walk(e, seen, func(st *meta.State) meta.Table[meta.SessionID, meta.Session] { return st.Sessions },
			func(st *meta.State, id meta.SessionID, ses *meta.Session) {
				a := infoOf(st, id, ses)
				a.OpenFiles = ses.Open
				if l := live[uint32(id)]; l != nil {
					a.IP, a.Release, a.Sockets, a.Expire, a.Current, a.LastHour = l.IP, l.Release, l.Sockets, l.Expire, l.Current, l.LastHour
				} else {
					a.Expire, a.Current, a.LastHour = timeLeft(ses.Disconnected, now), ses.Current, ses.Last
				}
				add(&a)
			})
		for some := range slices.Chunk(s.sessions.all(), readAtOnce) {
			if err != nil {
				return err
			}
			err = s.read(seen, func(st *meta.State, _ image.Position) error {
				for _, ses := range some {
					add(ses.infoOf(st, now))
				}
				return e.charge()
			})
		}
		e.End()
		return err
	})
}

// timeLeft returns for how long a session without connection is kept. One that
// was connected when the primary went has all of its time.
func timeLeft(since meta.Time, now time.Time) uint32 {
	const all = int64(sustain / time.Second)
	if since == 0 {
		return uint32(all)
	}
	return uint32(max(int64(since)+all-now.Unix(), 0))
}

// sessionsOf reads the primary's list of sessions.
func sessionsOf(payload []byte) map[uint32]*wire.SessionInfo {
	live := map[uint32]*wire.SessionInfo{}
	d := wire.NewDecoder(payload)
	if payload == nil {
		return live
	}
	for stats := d.U16(); d.Len() > 0; {
		a := &wire.SessionInfo{}
		if a.DecodeOf(d, sessionsMode, stats) != nil {
			break
		}
		live[a.Session] = a
	}
	return live
}

// infoOf tells what an export granted a session.
func infoOf(st *meta.State, id meta.SessionID, p *meta.Session) wire.SessionInfo {
	return wire.SessionInfo{
		Session: uint32(id), IP: p.Peer, Info: bytes.TrimRight(p.Info, "\x00"), Path: []byte(rootPath(st, p.Root)), Flags: p.Flags, Umask: p.Umask,
		RootUID: p.RootUID, RootGID: p.RootGID, MapUID: p.MapUID, MapGID: p.MapGID,
		MinGoal: p.MinGoal, MaxGoal: p.MaxGoal, Groups: p.Groups, MinTrash: p.MinTrash, MaxTrash: p.MaxTrash, Disables: p.Disables,
	}
}

// rootPath is what is said of a directory that is mounted.
func rootPath(st *meta.State, root meta.Inode) string {
	if root == 0 {
		return "." // the trash
	}
	n, ok := st.Nodes.Get(root)
	switch {
	case !ok:
		return "(not found)"
	case n.Type != meta.TypeDir:
		return "(not directory)"
	}
	return dirPath(st, root, &n)
}

// dirPath returns the path of a directory, with a slash in front.
func dirPath(st *meta.State, ino meta.Inode, n *meta.Node) string {
	if paths := changelog.AppendPaths(nil, st, meta.Root, ino, n); len(paths) > 0 {
		return "/" + paths[0]
	}
	return "/"
}

// all returns all sessions in the order of their ids.
func (t *sessions) all() []*session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.byID), func(a, b *session) int { return cmp.Compare(a.id, b.id) })
}

// infoOf tells of a session of the standby's own.
func (s *session) infoOf(st *meta.State, now time.Time) *wire.SessionInfo {
	a := infoOf(st, s.id, &s.params().Session)
	s.mu.Lock()
	a.IP, a.Release, a.OpenFiles, a.Sockets = s.address, s.release, uint32(len(s.open)), uint8(min(s.conns, 255))
	switch left := sustain - now.Sub(s.disconnected); {
	case s.conns > 0:
		a.Expire = connected
	case !s.closed && left > 0:
		a.Expire = uint32(left / time.Second)
	}
	s.mu.Unlock()
	for i := range s.ops {
		a.Current[i], a.LastHour[i] = s.ops[i].Load(), s.last[i].Load()
	}
	return &a
}

// infoOpenFiles lists which session has which file open, here and at the primary.
func (c *conn) infoOpenFiles() error {
	var p wire.ListRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	do := func(st *meta.State, e *wire.Encoder) {
		p.Begin(e, wire.InfoOpenFiles)
		defer e.End()
		add := func(id meta.SessionID, ino uint32) {
			if p.Of == 0 {
				e.U32(uint32(id))
			}
			e.U32(ino)
		}
		if p.Of == 0 {
			for id, ino := range st.Open.Scan() {
				add(id, uint32(ino))
			}
		} else {
			for _, ino := range st.Open.Of(meta.SessionID(p.Of)) {
				add(meta.SessionID(p.Of), uint32(ino))
			}
		}
		c.srv.sessions.eachOpen(meta.SessionID(p.Of), add)
	}
	open := 0
	for _, ses := range c.st.Sessions.Scan(0) {
		if open += int(ses.Open); open > inlineOpen {
			return c.besideView(do)
		}
	}
	do(c.st, &c.out)
	return nil
}

// inlineOpen is how many open files are listed under the image's lock.
const inlineOpen = 5000

// eachOpen calls f for the open files of one session, or of all if it is 0.
func (t *sessions) eachOpen(of meta.SessionID, f func(meta.SessionID, uint32)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, s := range t.byID {
		if of != 0 && id != of {
			continue
		}
		s.mu.Lock()
		for _, ino := range s.open {
			f(id, uint32(ino))
		}
		s.mu.Unlock()
	}
}

// infoLocks lists the locks on one file, or on all, here and at the primary.
func (c *conn) infoLocks() error {
	var p wire.ListRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	p.Begin(&c.out, wire.InfoLocks)
	defer c.out.End()
	all, of := p.Of == 0, meta.Inode(p.Of)
	add := func(a wire.LockInfo, write bool) {
		a.Type = wire.PosixTypeRead
		if write {
			a.Type = wire.PosixTypeWrite
		}
		a.Append(&c.out, all)
	}
	posix := func(ino meta.Inode, owners []meta.PosixOwner) {
		for _, o := range owners {
			for _, r := range o.Ranges {
				add(wire.LockInfo{Inode: ino, Session: uint32(o.Session), Owner: o.Owner, PID: o.PID, Start: r.Start, End: r.End}, r.Write)
			}
		}
	}
	flocks := func(ino meta.Inode, list []meta.Flock) {
		for _, l := range list {
			add(wire.LockInfo{Inode: ino, Session: uint32(l.Session), Owner: l.Owner}, l.Write)
		}
	}
	local := func(flock bool) {
		c.srv.locks.each(of, flock, func(ino meta.Inode, l *localLock) {
			a := wire.LockInfo{Inode: ino, Session: uint32(l.session), Owner: l.owner}
			if !flock {
				a.PID, a.Start, a.End = l.pid, l.Start, l.End
			}
			add(a, l.Write)
		})
	}
	// First those of one kind, then those of the other, as the master does.
	if all {
		for ino, owners := range c.st.Plocks.Scan(0) {
			posix(ino, owners)
		}
		local(false)
		for ino, list := range c.st.Flocks.Scan(0) {
			flocks(ino, list)
		}
	} else {
		owners, _ := c.st.Plocks.Get(of)
		posix(of, owners)
		local(false)
		list, _ := c.st.Flocks.Get(of)
		flocks(of, list)
	}
	local(true)
	return nil
}

// each calls f for the locks of one kind on a file, or on all files in order of
// their inodes if of is 0.
func (t *locks) each(of meta.Inode, flock bool, f func(meta.Inode, *localLock)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	inodes := []meta.Inode{of}
	if of == 0 {
		inodes = slices.Sorted(maps.Keys(t.byInode))
	}
	for _, ino := range inodes {
		for i := range t.byInode[ino] {
			if l := &t.byInode[ino][i]; l.flock == flock {
				f(ino, l)
			}
		}
	}
}

// pathsAtOnce is how many nodes are looked for under one lock of the image.
const pathsAtOnce = 64

// infoPaths resolves many inodes.
func (c *conn) infoPaths() error {
	list, err := listOf(&c.d)
	if err != nil {
		return err
	}
	list = bytes.Clone(list)
	seen := c.seen
	return c.beside(func(e *reply) error {
		e.Begin(wire.InfoPaths.Reply())
		for from := 0; from < list.Len(); from += pathsAtOnce {
			err := c.srv.read(seen, func(st *meta.State, _ image.Position) error {
				for i := from; i < min(from+pathsAtOnce, list.Len()); i++ {
					if ino := meta.Inode(list.At(i)); ino != 0 {
						a := wire.PathsOfInode{Inode: ino, Paths: pathsOf(st, ino)}
						a.Append(&e.Encoder)
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			if err := e.charge(); err != nil {
				return err
			}
		}
		e.End()
		return nil
	})
}

// pathsOf returns the paths of a node, each after its length.
func pathsOf(st *meta.State, ino meta.Inode) []byte {
	var e wire.Encoder
	n, ok := st.Nodes.Get(ino)
	if !ok {
		e.Text([]byte("(deleted)"))
		return e.Buf
	}
	for _, path := range NodePaths(st, meta.Root, ino, &n) {
		e.Text([]byte(path))
	}
	return e.Buf
}

// infoQuotas lists all quotas with what they limit.
func (c *conn) infoQuotas() error {
	var p wire.InfoRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	seen := c.seen
	return c.beside(func(e *reply) error {
		now := time.Now().Unix()
		e.Begin(wire.InfoQuotas.Reply())
		err := walk(e, seen, func(st *meta.State) meta.Table[meta.Inode, meta.Quota] { return st.Quotas },
			func(st *meta.State, ino meta.Inode, q *meta.Quota) { appendQuota(&e.Encoder, st, ino, q, now, p.Mode) })
		e.End()
		return err
	})
}

func appendQuota(e *wire.Encoder, st *meta.State, ino meta.Inode, q *meta.Quota, now int64, mode uint8) {
	n, _ := st.Nodes.Get(ino)
	d, _ := st.Dirs.Get(ino)
	a := wire.QuotaInfo{
		Inode: ino, Path: []byte(dirPath(st, ino, &n)), Grace: q.Grace, Flags: q.Flags, Block: math.MaxUint32,
		Used: wire.Limits{Inodes: d.Stats.Inodes, Length: d.Stats.Length, Size: d.Stats.Size, RealSize: d.Stats.RealSize},
	}
	if q.Exceeded {
		a.Exceeded = 1
	}
	if modern(st) && q.Grace == 0 {
		a.Grace = defaultGrace
		if mode != 0 {
			a.Exceeded |= quotaDefaultGrace
		}
	}
	if q.SoftTime != 0 {
		a.Block = uint32(max(int64(q.SoftTime)+int64(a.Grace)-now, 0))
	}
	soft := wire.Limits{Inodes: q.SoftInodes, Length: q.SoftLength, Size: q.SoftSize, RealSize: q.SoftReal}
	hard := wire.Limits{Inodes: q.HardInodes, Length: q.HardLength, Size: q.HardSize, RealSize: q.HardReal}
	a.Soft, a.Hard = limitsSet(soft, q.Flags), limitsSet(hard, q.Flags>>4)
	a.Append(e)
}

// quotaDefaultGrace is the bit of wire.QuotaInfo.Exceeded that says so.
const quotaDefaultGrace = 2

// limitsSet leaves out the limits whose flags, from inodes on, are not set.
func limitsSet(l wire.Limits, flags uint8) (set wire.Limits) {
	if flags&1 != 0 {
		set.Inodes = l.Inodes
	}
	if flags&2 != 0 {
		set.Length = l.Length
	}
	if flags&4 != 0 {
		set.Size = l.Size
	}
	if flags&8 != 0 {
		set.RealSize = l.RealSize
	}
	return set
}

// Bits of wire.ExportInfo.Extra.
const (
	exportAllDirs  = 1
	exportPassword = 2
)

// infoExports lists the rules in force. What they grant here is read-only.
func (c *conn) infoExports() error {
	var p wire.InfoRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	c.out.Begin(wire.InfoExports.Reply())
	defer c.out.End()
	list := c.srv.cfg.Exports()
	if list == nil {
		return nil
	}
	for i := range list.Exports {
		x := &list.Exports[i]
		a := wire.ExportInfo{
			From: x.From, To: x.To, Path: []byte("/" + x.Path), MinRelease: x.MinVersion, Flags: x.Flags | changelog.SessionReadOnly, Umask: x.Umask,
			RootUID: x.RootUID, RootGID: x.RootGID, MapUID: x.MapUID, MapGID: x.MapGID,
			MinGoal: x.MinGoal, MaxGoal: x.MaxGoal, Groups: x.Groups, MinTrash: x.MinTrash, MaxTrash: x.MaxTrash, Disables: uint32(x.Disables),
		}
		if x.Meta {
			a.Path = []byte(".")
		}
		if x.AllDirs {
			a.Extra |= exportAllDirs
		}
		if x.Password {
			a.Extra |= exportPassword
		}
		a.Append(&c.out, p.Mode)
	}
	return nil
}
