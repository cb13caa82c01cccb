package changelog

import "mfsstandby/changelog/meta"

// Bits of TruncateRequest.Flags.
const (
	TruncateOpened  = 0x01 // by file descriptor: no permission is needed
	TruncateUpdate  = 0x02 // part of writing: only ever longer, no times
	TruncateTimeFix = 0x04 // no new times if the length is what it was
	TruncateReserve = 0x08 // part of appending: only tells where to write
)

// TruncateRequest sets the length of a file.
type TruncateRequest struct {
	Inode  meta.Inode
	Flags  uint8
	Length uint64 // bytes; with TruncateReserve those to append
	End    uint64 // with TruncateReserve: where the last reservation ended, 0 if there is none
}

// Plan answers as a master without chunkservers where a chunk would have to be
// cut. Reserving leaves no entry: ReservedEnd tells what to answer.
func (r *TruncateRequest) Plan(st *meta.State, c *Caller, now meta.Time) (Op, meta.Status) {
	partOfWrite := r.Flags&(TruncateReserve|TruncateUpdate) != 0
	switch {
	case partOfWrite && c.forbids(DisableWrite), !partOfWrite && c.forbids(DisableTruncate) && c.forbids(DisableSetLength):
		return nil, meta.EPERM
	case c.readOnly():
		return nil, meta.EROFS
	}
	ino, n, ok := c.Find(st, r.Inode, r.Flags&TruncateOpened != 0)
	switch {
	case !ok:
		return nil, meta.ENOENT
	case n.Eattr&meta.EattrImmutable != 0, n.Eattr&meta.EattrAppendOnly != 0 && !partOfWrite:
		return nil, meta.EPERM
	case r.Flags&TruncateOpened == 0 && !c.May(st, ino, &n, MayWrite):
		return nil, meta.EACCES
	case !n.Type.IsFile():
		return nil, meta.EPERM
	case r.Flags&TruncateUpdate != 0:
		return r.update(ino, &n)
	}
	if status := r.check(st, c, ino, &n); status != meta.OK {
		return nil, status
	}
	if r.Flags&TruncateReserve != 0 {
		return nil, meta.OK
	}
	if status := cutChunk(st, ino, &n, r.Length, now); status != meta.OK {
		return nil, status
	}
	op := &Length{Inode: ino, Length: r.Length, CanModMtime: 1}
	if r.Length == n.Length && r.Flags&TruncateTimeFix != 0 {
		op.CanModMtime = 0
	}
	return op, meta.OK
}

// update makes the file longer if it is not as long.
func (r *TruncateRequest) update(ino meta.Inode, n *meta.Node) (Op, meta.Status) {
	if r.Flags&TruncateReserve != 0 || r.Length <= n.Length {
		return nil, meta.OK
	}
	return &Length{Inode: ino, Length: r.Length}, meta.OK
}

// ReservedEnd is where the data to append begin, and Length behind that where
// they end: behind the file or behind the last reservation in it.
func (r *TruncateRequest) ReservedEnd(n *meta.Node) uint64 { return max(r.End, n.Length) }

// check looks at limits of what the length may be.
func (r *TruncateRequest) check(st *meta.State, c *Caller, ino meta.Inode, n *meta.Node) meta.Status {
	length := r.Length
	if r.Flags&TruncateReserve != 0 {
		length += r.ReservedEnd(n)
		if length < r.Length {
			return meta.EINDEXTOOBIG
		}
	} else if length < n.Length && c.forbids(DisableTruncate) || length > n.Length && c.forbids(DisableSetLength) {
		return meta.EPERM
	}
	if length <= n.Length {
		return meta.OK
	}
	before, sizeBefore := endChunk(n.Length)
	after, sizeAfter := endChunk(length)
	if (length-1)>>meta.ChunkBits&0xFFFFFFFF > meta.MaxIndex {
		return meta.EINDEXTOOBIG
	}
	more := meta.Stats{Length: length - n.Length}
	if st.Slot(ino, n, before) != 0 {
		if after > before {
			sizeAfter = fullChunk
		}
		more.Size = sizeAfter - sizeBefore
		more.RealSize = realSize(st, n, more.Size)
	}
	if fileOverQuota(st, ino, n, &more) {
		return meta.EQUOTA
	}
	return meta.OK
}

// cutChunk tells what a master without chunkservers says to cutting a file
// within a chunk; OK if there is no chunk there.
func cutChunk(st *meta.State, ino meta.Inode, n *meta.Node, length uint64, now meta.Time) meta.Status {
	if length == n.Length || length%meta.ChunkSize == 0 || length>>meta.ChunkBits >= uint64(n.Slots) {
		return meta.OK
	}
	id := st.Slot(ino, n, uint32(length>>meta.ChunkBits))
	if id == 0 {
		return meta.OK
	}
	chunk, ok := st.Chunks.Get(id)
	switch {
	case !ok:
		return meta.ENOCHUNK
	case chunk.LockedTo >= now:
		return meta.ELOCKED
	}
	return lostStatus(st)
}

// lostStatus is what is said of a chunk without copies: it is lost if all
// servers that are known are there.
func lostStatus(st *meta.State) meta.Status {
	for range st.Servers.Scan(meta.Server{}) {
		return meta.ECSNOTPRESENT
	}
	return meta.ECHUNKLOST
}

// Bits of OpenRequest.Flags.
const (
	OpenRead        = 0x01
	OpenWrite       = 0x02
	OpenAfterCreate = 0x04 // no permission is needed
	OpenTruncate    = 0x08
)

// OpenRequest asks for a file to read or write. OpenedRequest follows it.
type OpenRequest struct {
	Inode meta.Inode
	Flags uint8
}

// Plan checks permissions and returns an entry only for truncating.
func (r *OpenRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	write, truncate := r.Flags&OpenWrite != 0, r.Flags&OpenTruncate != 0
	switch {
	case truncate && c.forbids(DisableTruncate):
		return nil, meta.EPERM
	case write && c.readOnly():
		return nil, meta.EROFS
	}
	ino, n, ok := c.Find(st, r.Inode, false)
	switch {
	case !ok:
		return nil, meta.ENOENT
	case !n.Type.IsFile(),
		n.Eattr&meta.EattrImmutable != 0 && (write || truncate),
		n.Eattr&meta.EattrAppendOnly != 0 && truncate:
		return nil, meta.EPERM
	case r.Flags&OpenAfterCreate != 0:
		return nil, meta.OK
	}
	want := uint16(0)
	if r.Flags&OpenRead != 0 {
		want |= MayRead
	}
	if write {
		want |= MayWrite
	}
	if !c.May(st, ino, &n, want) || truncate && !c.May(st, ino, &n, MayWrite) {
		return nil, meta.EACCES
	}
	if truncate {
		return &Length{Inode: ino, CanModMtime: 1}, meta.OK
	}
	return nil, meta.OK
}

// OpenedRequest notes that the session has a file open.
type OpenedRequest struct{ Inode meta.Inode }

// Plan writes an entry the first time.
func (r *OpenedRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	if st.Open.Has(c.Session, r.Inode) {
		return nil, meta.OK
	}
	return &Acquire{Session: c.Session, Inode: r.Inode}, meta.OK
}

// Bits of AppendRequest.Flags.
const (
	AppendFromEnd = 0x01 // From counts chunks back from the end of the source
	AppendToEnd   = 0x02 // and so does To
)

// AppendRequest lets a file hold chunks [From,To) of another one behind its
// own.
type AppendRequest struct {
	Inode, Source meta.Inode
	Flags         uint8
	From, To      uint32
}

// Plan has nothing to do if the slice is empty.
func (r *AppendRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	switch {
	case c.forbids(DisableAppend):
		return nil, meta.EPERM
	case r.Inode == r.Source:
		return nil, meta.EINVAL
	case c.readOnly():
		return nil, meta.EROFS
	}
	src, from, ok := c.Find(st, r.Source, false)
	dst, to, found := c.Find(st, r.Inode, false)
	switch {
	case !ok || !found:
		return nil, meta.ENOENT
	case !from.Type.IsFile():
		return nil, meta.EPERM
	case !c.May(st, src, &from, MayRead):
		return nil, meta.EACCES
	case !to.Type.IsFile(), to.Eattr&meta.EattrImmutable != 0:
		return nil, meta.EPERM
	case !c.May(st, dst, &to, MayWrite):
		return nil, meta.EACCES
	case from.Length == 0:
		return nil, meta.OK
	}
	op := &AppendChunks{Inode: dst, Source: src}
	if !r.slice(&from, op) {
		return nil, meta.OK
	}
	more, ok := op.growth(st, &from, &to)
	if !ok {
		return nil, meta.EINVAL
	}
	if fileOverQuota(st, dst, &to, &more) {
		return nil, meta.EQUOTA
	}
	if uint64(slotsFor(to.Length))+uint64(op.To-op.From)+1 > meta.MaxIndex+1 {
		return nil, meta.EINDEXTOOBIG
	}
	return op, meta.OK
}

// slice fills in which chunks are meant; none if it returns false.
func (r *AppendRequest) slice(src *meta.Node, op *AppendChunks) bool {
	chunks := slotsFor(src.Length)
	from, to := r.From, r.To
	if r.Flags&AppendFromEnd != 0 {
		from = chunks - min(from, chunks)
	}
	if r.Flags&AppendToEnd != 0 {
		if to > chunks {
			return false
		}
		to = chunks - to
	}
	to = min(to, chunks)
	op.From, op.To = from, to-1
	return from < to
}

// growth is by how much the file grows; false if its length would not fit. A
// quota that counts sizes sees chunks behind the end of the file go.
func (op *AppendChunks) growth(st *meta.State, src, dst *meta.Node) (more meta.Stats, ok bool) {
	last, lastSize := endChunk(src.Length)
	length := uint64(op.To-op.From+1) << meta.ChunkBits
	if op.To >= last {
		length = src.Length - uint64(op.From)<<meta.ChunkBits
	} else {
		lastSize = fullChunk
	}
	kept := slotsFor(dst.Length)
	length += uint64(kept) << meta.ChunkBits
	if length < dst.Length {
		return more, false
	}
	more.Length = length - dst.Length
	_, endSize := endChunk(dst.Length)
	var buf []usedSlot
	for next := op.From; ; next = buf[len(buf)-1].index + 1 {
		buf = slotsFrom(st, op.Source, next, buf[:0])
		for _, slot := range buf {
			switch {
			case slot.index > op.To:
			case slot.index < last:
				more.Size += fullChunk
			case slot.index == last:
				more.Size += lastSize
			}
		}
		if len(buf) < slotBatch {
			break
		}
	}
	for next := kept; dst.Used > 0; next = buf[len(buf)-1].index + 1 {
		buf = slotsFrom(st, op.Inode, next, buf[:0])
		more.Size -= uint64(len(buf)) * fullChunk
		if len(buf) < slotBatch {
			break
		}
	}
	if kept > 0 && st.Slot(op.Inode, dst, kept-1) != 0 {
		more.Size += fullChunk - endSize
	}
	more.RealSize = realSize(st, dst, more.Size)
	return more, true
}

// RepairRequest asks for one chunk of a file to be repaired; RepairCheck comes
// before the first.
type RepairRequest struct {
	Inode meta.Inode
	Index uint32
	// Version is the highest at which a chunkserver has the chunk; 0 if none
	// has it. Whoever asks knows where chunks are.
	Version uint32
}

// RepairCheck tells whether the user may repair a file, and its inode.
func (c *Caller) RepairCheck(st *meta.State, ino meta.Inode) (meta.Inode, meta.Node, meta.Status) {
	if c.readOnly() {
		return ino, meta.Node{}, meta.EROFS
	}
	ino, n, ok := c.Find(st, ino, false)
	switch {
	case !ok:
		return ino, n, meta.ENOENT
	case !n.Type.IsFile(), n.Eattr&meta.EattrImmutable != 0:
		return ino, n, meta.EPERM
	case !c.May(st, ino, &n, MayWrite):
		return ino, n, meta.EACCES
	}
	return ino, n, meta.OK
}

// Plan leaves holes and chunks that are being written alone.
func (r *RepairRequest) Plan(st *meta.State, c *Caller, now meta.Time) (Op, meta.Status) {
	ino, n, status := c.RepairCheck(st, r.Inode)
	if status != meta.OK {
		return nil, status
	}
	id := st.Slot(ino, &n, r.Index)
	if id == 0 {
		return nil, meta.OK
	}
	version := r.Version
	chunk, ok := st.Chunks.Get(id)
	if !ok {
		version = 0
	} else if chunk.LockedTo >= now {
		return nil, meta.OK
	}
	return &Repair{Inode: ino, Index: r.Index, ChunkVersion: version}, meta.OK
}

// Bits of ChunkWriteRequest.Flags.
const (
	WriteModTime  = 0x01 // times change with it
	WriteContinue = 0x02 // by who has locked the chunk
	WriteReserve  = 0x04 // also where chunkservers are nearly full
)

// ChunkWriteRequest asks for a chunk to write to.
type ChunkWriteRequest struct {
	Inode meta.Inode
	Index uint32
	Flags uint8
}

// Plan answers as a master without chunkservers: never with a chunk. Serving
// chunkservers is to take its place behind these checks.
func (r *ChunkWriteRequest) Plan(st *meta.State, c *Caller, now meta.Time) (Op, meta.Status) {
	switch {
	case c.forbids(DisableWrite):
		return nil, meta.EPERM
	case c.readOnly():
		return nil, meta.EROFS
	case r.Flags&WriteReserve == 0:
		return nil, meta.ENOSPACE
	}
	n, ok := st.Nodes.Get(r.Inode)
	switch {
	case !ok:
		return nil, meta.ENOENT
	case !n.Type.IsFile(), n.Eattr&meta.EattrImmutable != 0:
		return nil, meta.EPERM
	case r.Index > meta.MaxIndex:
		return nil, meta.EINDEXTOOBIG
	}
	id := st.Slot(r.Inode, &n, r.Index)
	last, lastSize := endChunk(n.Length)
	more := meta.Stats{Size: fullChunk}
	switch {
	case r.Index > last:
		more.Length = uint64(r.Index)<<meta.ChunkBits - n.Length
	case id != 0 && r.Index == last:
		more.Size -= lastSize
	case id != 0:
		more.Size = 0
	}
	more.RealSize = realSize(st, &n, more.Size)
	if fileOverQuota(st, r.Inode, &n, &more) {
		return nil, meta.EQUOTA
	}
	return nil, r.noServers(st, id, now)
}

// noServers is what a master says when it has checked everything but where
// chunks are.
func (r *ChunkWriteRequest) noServers(st *meta.State, id meta.ChunkID, now meta.Time) meta.Status {
	lost := lostStatus(st)
	if id == 0 {
		if lost == meta.ECSNOTPRESENT {
			return meta.EAGAIN
		}
		return meta.ENOCHUNKSERVERS
	}
	chunk, ok := st.Chunks.Get(id)
	switch {
	case !ok:
		return meta.ENOCHUNK
	case chunk.LockedTo >= now && r.Flags&WriteContinue == 0:
		return meta.ELOCKED
	}
	return lost
}

// WriteEndRequest tells how long a file is now that a chunk was written; an
// Unlock of the chunk follows it.
type WriteEndRequest struct {
	Inode   meta.Inode
	Length  uint64 // 0: as it was
	ModTime bool   // times change
}

// Plan only ever makes the file longer.
func (r *WriteEndRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	switch {
	case c.forbids(DisableWrite):
		return nil, meta.EPERM
	case c.readOnly():
		return nil, meta.EROFS
	case r.Length == 0:
		return nil, meta.OK
	}
	n, ok := st.Nodes.Get(r.Inode)
	switch {
	case !ok:
		return nil, meta.ENOENT
	case !n.Type.IsFile():
		return nil, meta.EPERM
	case r.Length <= n.Length:
		return nil, meta.OK
	case fileOverQuota(st, r.Inode, &n, &meta.Stats{Length: r.Length - n.Length}):
		return nil, meta.EQUOTA
	}
	op := &Length{Inode: r.Inode, Length: r.Length}
	if r.ModTime {
		op.CanModMtime = 1
	}
	return op, meta.OK
}

// BeyondEnd tells whether a file may have chunks behind its end.
func BeyondEnd(n *meta.Node) bool {
	return n.Type.IsFile() && n.Used > 0 && n.Slots > slotsFor(n.Length)
}

// SlotDuty takes a chunk behind the end of a file out of it if nobody has the
// chunk; without chunkservers nobody has any.
type SlotDuty struct {
	Inode meta.Inode
	Index uint32
}

// Plan leaves chunks alone that are being written.
func (r *SlotDuty) Plan(st *meta.State, _ *Caller, now meta.Time) (Op, meta.Status) {
	n, ok := st.Nodes.Get(r.Inode)
	if !ok || !BeyondEnd(&n) || r.Index < slotsFor(n.Length) {
		return nil, meta.OK
	}
	chunk, ok := st.Chunks.Get(st.Slot(r.Inode, &n, r.Index))
	if !ok || chunk.LockedTo >= now {
		return nil, meta.OK
	}
	return &SetFileChunk{Inode: r.Inode, Index: r.Index}, meta.OK
}
