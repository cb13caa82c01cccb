package metafile

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"mfsstandby/changelog/meta"
)

// Files of releases before 3.0 have other versions of most sections: those of
// 2.0.91, and those of 1.x, which all are 1.0. A section that is not here they do
// not have.
var (
	sections2 = map[string]uint8{"SESS": 0x12, "NODE": 0x13, "EDGE": 0x11, "FREE": 0x10, "QUOT": 0x10, "XATR": 0x10, "PACL": 0x10, "OPEN": 0x10, "CSDB": 0x12, "CHNK": 0x10}
	sections1 = map[string]uint8{"NODE": 0x10, "EDGE": 0x10, "FREE": 0x10, "QUOT": 0x10, "XATR": 0x10, "CHNK": 0x10}
)

// oldWriters write the sections whose layout was another one.
var oldWriters = map[string]func(*output, *meta.State) error{
	"SESS": writeOldSessions, "NODE": writeOldNodes, "EDGE": writeOldEdges, "QUOT": writeOldQuotas, "CSDB": writeOldServers, "CHNK": writeOldChunks,
}

// form is how a file is written: for a release, in a format of the frame.
type form struct {
	release meta.Release
	format  uint8
}

// formFor returns the form in which a State is written for a release, 0 being
// its own. A later release reads what an earlier one stores, and converts it as
// nobody else can; so it gets that.
func formFor(st *meta.State, r meta.Release) (form, error) {
	own := form{st.Release, formatCurrent}
	old := !st.Release.Since(meta.Release2)
	if old {
		own.format = formatOldest
		for range st.Xattrs.Scan() { // only in memory there; 1.7 wrote them down
			own.format = 0x17
			break
		}
	}
	switch {
	case r == 0 || r.Since(meta.Release2) && r.Since(family(st.Release)) && !old:
		return own, nil
	case r.Since(meta.Release2) && old:
		own.format = formatOldest
		if list := lostFor16(st); len(list) > 0 {
			return own, &HoldError{r, list}
		}
		return own, nil
	}
	f := form{r, formatCurrent}
	var list []string
	switch {
	case st.Release.Since(meta.Release4):
		list = []string{"metadata of MooseFS 4.x: storage classes by expressions, patterns, groups of sessions, references of chunks by class"}
	case !r.Since(meta.Release2):
		f.format = formatOldest
		list = append(lostFor2(st), lostFor16(st)...)
	default:
		list = lostFor2(st)
	}
	if len(list) > 0 {
		return f, &HoldError{r, list}
	}
	return f, nil
}

// family is the first release of those that r belongs to.
func family(r meta.Release) meta.Release {
	for _, first := range [...]meta.Release{meta.Release4, meta.Release3, meta.Release2} {
		if r.Since(first) {
			return first
		}
	}
	return meta.Release16
}

// HoldError tells what of a State a release cannot hold.
type HoldError struct {
	Release meta.Release
	What    []string
}

func (e *HoldError) Error() string {
	return fmt.Sprintf("MooseFS %s cannot hold: %s", e.Release, strings.Join(e.What, "; "))
}

// losses collects what cannot be held: how many of each kind, and the first.
type losses struct {
	order []string
	count map[string]uint64
	first map[string]string
}

func (l *losses) add(kind, format string, args ...any) {
	if l.count == nil {
		l.count, l.first = map[string]uint64{}, map[string]string{}
	}
	if l.count[kind]++; l.count[kind] == 1 {
		l.order = append(l.order, kind)
		l.first[kind] = fmt.Sprintf(format, args...)
	}
}

func (l *losses) list() []string {
	var out []string
	for _, kind := range l.order {
		out = append(out, fmt.Sprintf("%d %s (the first is of %s)", l.count[kind], kind, l.first[kind]))
	}
	return out
}

// lostFor2 lists what 2.0.91 cannot hold of a State before 4.x.
func lostFor2(st *meta.State) []string {
	var l losses
	for id, c := range st.Classes.Scan(0) {
		if id >= meta.FirstOwnClass || !plainClass(id, &c) {
			l.add("storage classes that are no plain goals", "class %d, %q", id, c.Name)
		}
	}
	const eattrs = meta.EattrNoOwner | meta.EattrNoACache | meta.EattrNoECache | meta.EattrNoDataCache
	for ino, n := range st.Nodes.Scan(0) {
		if n.Class >= meta.FirstOwnClass {
			l.add("nodes with a storage class that is no plain goal", "inode %d", ino)
		}
		if n.Winattr != 0 {
			l.add("nodes with Windows attributes", "inode %d", ino)
		}
		if n.Eattr&^uint8(eattrs) != 0 {
			l.add("nodes with extra attributes of 3.0 (snapshot, undeletable, appendonly, immutable)", "inode %d", ino)
		}
	}
	for id, c := range st.Chunks.Scan(0) {
		if c.Flags != 0 {
			l.add("chunks in the archive", "chunk %016X", uint64(id))
		}
	}
	for ino, q := range st.Quotas.Scan(0) {
		if q.Grace != defaultGrace {
			l.add("quotas with a grace period of their own", "inode %d", ino)
		}
	}
	for id, s := range st.Sessions.Scan(0) {
		if s.Umask != 0 || s.Disables != 0 {
			l.add("sessions with a umask or disabled operations", "session %d", id)
		}
	}
	for ino := range st.Flocks.Scan(0) {
		l.add("files with locks (flock)", "inode %d", ino)
	}
	for ino := range st.Plocks.Scan(0) {
		l.add("files with locks of ranges (POSIX)", "inode %d", ino)
	}
	for key, s := range st.Servers.Scan(meta.Server{}) {
		if s.Maintenance > 1 || s.Timeout != 0 {
			l.add("chunkservers in maintenance for a time", "%s", serverText(key))
		}
	}
	return l.list()
}

// plainClass tells whether a predefined class means what its goal meant.
func plainClass(id uint8, c *meta.Class) bool {
	if c.AdminOnly != 0 || c.ArchDelay != 0 {
		return false
	}
	for _, list := range [...][]meta.LabelMasks{c.Create, c.Keep, c.Arch} {
		if len(list) != int(id) || slices.ContainsFunc(list, func(m meta.LabelMasks) bool { return m != meta.LabelMasks{} }) {
			return false
		}
	}
	return true
}

// lostFor16 lists what a file of 1.6.27 cannot hold of what 2.0.91 can.
func lostFor16(st *meta.State) []string {
	var l losses
	for ino := range st.Xattrs.Scan() {
		l.add("inodes with extended attributes, which 1.6 does not store", "inode %d", ino)
	}
	for key := range st.ACLs.Scan(meta.ACLKey{}) {
		l.add("ACLs", "inode %d", key.Inode)
	}
	for ino := range st.Quotas.Scan(0) {
		l.add("quotas", "inode %d", ino)
	}
	for id := range st.Sessions.Scan(0) {
		l.add("sessions, which 1.6 has in a file of their own", "session %d", id)
	}
	for key := range st.Servers.Scan(meta.Server{}) {
		l.add("known chunkservers", "%s", serverText(key))
	}
	return l.list()
}

// head writes signature and header.
func (o *output) head(st *meta.State, h Header) {
	o.bytes(fmt.Sprintf("MFSM %d.%d", o.form.format>>4, o.form.format&0xF))
	o.end()
	if o.form.format < formatCurrent {
		o.u32(uint32(st.MaxInode))
		o.u64(uint64(h.Version))
		o.u32(uint32(st.NextSession))
	} else {
		o.u64(uint64(h.Version))
		o.u64(st.MetaID)
	}
	o.end()
}

// has returns the version of a section in a file of this form, 0 if there is
// none in it.
func (f form) has(s *section) uint8 {
	switch {
	case f.format == formatOldest && !slices.Contains(bareSections[:], s.name):
		return 0
	case f.format < formatCurrent:
		return sections1[s.name]
	case !f.release.Since(meta.Release3):
		return sections2[s.name]
	}
	return s.written(f.release)
}

// writer returns what writes a section.
func (f form) writer(s *section) func(*output, *meta.State) error {
	if old := oldWriters[s.name]; old != nil && !f.release.Since(meta.Release3) {
		return old
	}
	return s.write
}

func writeOldSessions(o *output, st *meta.State) error {
	o.u32(uint32(st.NextSession))
	o.u16(meta.SessionCounters)
	for id, s := range st.Sessions.Scan(0) {
		o.u32(uint32(id))
		o.u32(uint32(len(s.Info)))
		o.u32(s.Peer)
		o.u32(uint32(s.Root))
		o.u8(s.Flags)
		o.u8(s.MinGoal)
		o.u8(s.MaxGoal)
		for _, v := range [...]uint32{s.MinTrash, s.MaxTrash, s.RootUID, s.RootGID, s.MapUID, s.MapGID, uint32(s.Disconnected)} {
			o.u32(v)
		}
		for _, counters := range [...][meta.SessionCounters]uint32{s.Current, s.Last} {
			for _, v := range counters {
				o.u32(v)
			}
		}
		o.buf = append(o.buf, s.Info...)
		o.end()
	}
	o.zeros(47 + 8*meta.SessionCounters)
	o.end()
	return o.err
}

func writeOldNodes(o *output, st *meta.State) error {
	bare := o.form.format < formatCurrent
	if !bare {
		o.u32(uint32(st.MaxInode))
		o.u32(uint32(st.Scalars.Nodes.All))
	}
	paths, stop := merge(st.Symlinks.Scan(0))
	defer stop()
	slots, stop := merge(st.Slots.Scan(meta.Slot{}))
	defer stop()
	openers := newOpeners(st, bare)
	defer openers.stop()
	var ids []meta.ChunkID
	for ino, n := range st.Nodes.Scan(0) {
		o.oldNode(ino, &n)
		switch {
		case n.Type.IsFile():
			ids = fileSlots(ids[:0], ino, &n, slots)
			sessions := openers.of(ino)
			if len(sessions) > 0xFFFF {
				return o.failf("inode %d is open for %d sessions; 65535 can be stored", ino, len(sessions))
			}
			o.u64(n.Length)
			o.u32(uint32(len(ids)))
			o.u16(uint16(len(sessions)))
			for _, id := range ids {
				o.u64(uint64(id))
			}
			for _, s := range sessions {
				o.u32(uint32(s))
			}
		case n.Type == meta.TypeSymlink:
			for paths.ok && paths.key < ino {
				paths.advance()
			}
			if !paths.ok || paths.key != ino {
				return o.failf("symlink %d has no target", ino)
			}
			o.u32(uint32(len(paths.val)))
			o.bytes(paths.val)
		case n.Type.IsDevice():
			o.u32(n.Rdev)
		}
		o.end()
		if o.err != nil {
			return o.err
		}
	}
	o.u8(0)
	o.end()
	return o.err
}

// oldNode writes the common part of a node. Kinds without data have the goal of a
// new file system.
func (o *output) oldNode(ino meta.Inode, n *meta.Node) {
	class := n.Class
	if !n.Type.IsFile() && n.Type != meta.TypeDir {
		class = 1
	}
	if o.form.format < formatCurrent {
		o.u8(nodeLettersOld[n.Type])
		o.u32(uint32(ino))
		o.u8(class)
		o.u16(uint16(n.Eattr)<<12 | n.Mode&0xFFF)
	} else {
		o.u8(uint8(n.Type))
		o.u32(uint32(ino))
		o.u8(class)
		o.u8(n.Eattr)
		o.u16(n.Mode)
	}
	for _, v := range [...]uint32{n.UID, n.GID, uint32(n.Atime), uint32(n.Mtime), uint32(n.Ctime), uint32(n.Trash())} {
		o.u32(v)
	}
}

// openers gives the sessions that have a file open, for ascending inodes.
type openers struct {
	m    *merged[meta.SessionID, meta.Inode]
	stop func()
	buf  []meta.SessionID
}

func newOpeners(st *meta.State, wanted bool) *openers {
	if !wanted {
		return &openers{stop: func() {}}
	}
	m, stop := merge(st.Open.Scan())
	return &openers{m: m, stop: stop}
}

func (p *openers) of(ino meta.Inode) []meta.SessionID {
	p.buf = p.buf[:0]
	for p.m != nil && p.m.ok && p.m.val <= ino {
		if p.m.val == ino {
			p.buf = append(p.buf, p.m.key)
		}
		p.m.advance()
	}
	return p.buf
}

func writeOldEdges(o *output, st *meta.State) error {
	if o.form.format < formatCurrent {
		return o.edgesWithoutIDs(st)
	}
	return writeEdges(o, st)
}

func (o *output) edgesWithoutIDs(st *meta.State) error {
	edge := func(parent, child meta.Inode, name []byte) {
		o.u32(uint32(parent))
		o.u32(uint32(child))
		o.u16(uint16(len(name)))
		o.buf = append(o.buf, name...)
		o.end()
	}
	for parent, list := range st.Edges.Scan() {
		for i := range list {
			edge(parent, list[i].Child, list[i].Name)
		}
	}
	for kind, count := range map[meta.Type]uint32{meta.TypeTrash: meta.TrashBuckets, meta.TypeSustained: meta.SustainedBuckets} {
		for b := range count {
			for _, ino := range st.Detached.Bucket(kind, b) {
				d, _ := st.Detached.Get(ino)
				edge(0, ino, []byte(d.Path))
			}
		}
	}
	o.zeros(edgeFixedOld)
	o.end()
	return o.err
}

func writeOldQuotas(o *output, st *meta.State) error {
	count := &output{now: o.now, users: o.users}
	if err := writeQuotas(count, st); err != nil {
		return err
	}
	b := count.buf // quotas are few
	if count.done > 0 {
		return o.failf("too many quotas")
	}
	o.buf = append(o.buf, b[:4]...)
	for b = b[4:]; len(b) > 0; b = b[quotaSize:] {
		o.buf = append(o.buf, b[:4]...)
		o.buf = append(o.buf, b[8:quotaSize]...)
	}
	o.end()
	return o.err
}

func writeOldServers(o *output, st *meta.State) error {
	at := len(o.buf)
	o.u32(0)
	n := uint32(0)
	for key, info := range st.Servers.Scan(meta.Server{}) {
		o.u32(key.IP)
		o.u16(key.Port)
		o.u16(info.ID)
		o.u8(info.Maintenance)
		n++
	}
	binary.BigEndian.PutUint32(o.buf[at:], n)
	o.end()
	return o.err
}

func writeOldChunks(o *output, st *meta.State) error {
	o.u64(uint64(st.NextChunk))
	for id, c := range st.Chunks.Scan(0) {
		locked := c.LockedTo
		if locked < o.now {
			locked = 0
		}
		o.u64(uint64(id))
		o.u32(c.Version)
		o.u32(uint32(locked))
		o.end()
		if o.err != nil {
			return o.err
		}
	}
	o.zeros(chunkSize - 1)
	o.end()
	return o.err
}
