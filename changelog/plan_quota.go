package changelog

import "mfsstandby/changelog/meta"

// exceeds tells whether more of what is limited would be over a limit: over a
// hard one, or over a soft one once its grace period is over. Only what grows
// is looked at.
func exceeds(q *meta.Quota, have, more *meta.Stats) bool {
	over := func(hard, soft uint8, have, more, hardLimit, softLimit uint64) bool {
		return more > 0 && (q.Flags&hard != 0 && have+more > hardLimit ||
			q.Exceeded && q.Flags&soft != 0 && have+more > softLimit)
	}
	return over(quotaHardInodes, quotaSoftInodes, uint64(have.Inodes), uint64(more.Inodes), uint64(q.HardInodes), uint64(q.SoftInodes)) ||
		over(quotaHardLength, quotaSoftLength, have.Length, more.Length, q.HardLength, q.SoftLength) ||
		over(quotaHardSize, quotaSoftSize, have.Size, more.Size, q.HardSize, q.SoftSize) ||
		over(quotaHardReal, quotaSoftReal, have.RealSize, more.RealSize, q.HardReal, q.SoftReal)
}

// Bits of Quota.Flags.
const (
	quotaSoftInodes = 1 << iota
	quotaSoftLength
	quotaSoftSize
	quotaSoftReal
	quotaHardInodes
	quotaHardLength
	quotaHardSize
	quotaHardReal
)

// overQuotaHere tells whether a directory's own quota forbids more in it.
func overQuotaHere(st *meta.State, dir meta.Inode, more *meta.Stats) bool {
	q, ok := st.Quotas.Get(dir)
	if !ok {
		return false
	}
	d, _ := st.Dirs.Get(dir)
	return exceeds(&q, &d.Stats, more)
}

// overQuota tells whether the quota of a directory, or of one above it,
// forbids more in it.
func overQuota(st *meta.State, dir meta.Inode, more *meta.Stats) bool {
	for dir != 0 {
		if overQuotaHere(st, dir, more) {
			return true
		}
		d, ok := st.Dirs.Get(dir)
		if !ok {
			return false
		}
		dir = d.Parent
	}
	return false
}

// fileOverQuota is overQuota for all directories that hold a file.
func fileOverQuota(st *meta.State, ino meta.Inode, n *meta.Node, more *meta.Stats) bool {
	if n.Links == 1 {
		return overQuota(st, n.Parent, more)
	}
	links, _ := st.Hard.Get(ino)
	for _, l := range links {
		if overQuota(st, l.Parent, more) {
			return true
		}
	}
	return false
}

// anyQuota tells whether there is any quota at all.
func anyQuota(st *meta.State) bool {
	for range st.Quotas.Scan(0) {
		return true
	}
	return false
}

// quotaDirs are the directories from dir upwards that have a quota, the
// topmost first.
func quotaDirs(st *meta.State, dir meta.Inode) (list []meta.Inode) {
	for dir != 0 {
		if _, ok := st.Quotas.Get(dir); ok {
			list = append([]meta.Inode{dir}, list...)
		}
		d, ok := st.Dirs.Get(dir)
		if !ok {
			break
		}
		dir = d.Parent
	}
	return list
}

// moveOverQuota tells whether a quota forbids to move something from one
// directory to another. Quotas that hold both do not count, unless one below
// them counts: then they are looked at as if all were new to them.
func moveOverQuota(st *meta.State, from, to meta.Inode, more *meta.Stats) bool {
	if from == to {
		return false
	}
	src, dst := quotaDirs(st, from), quotaDirs(st, to)
	for len(src) > 0 && len(dst) > 0 && src[0] == dst[0] {
		src, dst = src[1:], dst[1:]
	}
	for _, dir := range dst {
		if overQuota(st, dir, more) {
			return true
		}
	}
	return false
}

// currentStats is nodeStats with the number of copies that a file's storage
// class has now.
func currentStats(st *meta.State, ino meta.Inode, n *meta.Node) meta.Stats {
	if n.Type.IsFile() {
		c := *n
		refreshRatio(st, &c)
		return fileStats(st, ino, &c)
	}
	return nodeStats(st, ino, n)
}

// realSize is what all copies of size bytes of a file take, as its storage
// class is now.
func realSize(st *meta.State, n *meta.Node, size uint64) uint64 {
	c := *n
	refreshRatio(st, &c)
	return meta.RealSize(size, c.Ratio)
}

// growth is what remains of a when b is taken off, each value at least 0.
func growth(a, b *meta.Stats) meta.Stats {
	less := func(a, b uint64) uint64 {
		if a < b {
			return 0
		}
		return a - b
	}
	return meta.Stats{
		Inodes: uint32(less(uint64(a.Inodes), uint64(b.Inodes))), Length: less(a.Length, b.Length),
		Size: less(a.Size, b.Size), RealSize: less(a.RealSize, b.RealSize),
	}
}

// QuotaRequest sets limits of a directory, or removes them.
type QuotaRequest struct {
	Inode  meta.Inode
	Remove bool
	Limits meta.Quota // Flags says which limits are meant; a Grace of 0 keeps what is
}

// Plan only lets administrators change quotas. Flags of 0 ask for nothing.
func (r *QuotaRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	flags := r.Limits.Flags
	switch {
	case flags != 0 && c.RootMapped:
		return nil, meta.EACCES
	case flags != 0 && c.readOnly():
		return nil, meta.EROFS
	case flags != 0 && !c.admin(), c.Root == 0:
		return nil, meta.EPERM
	}
	ino, n, ok := c.Find(st, r.Inode, false)
	switch {
	case !ok:
		return nil, meta.ENOENT
	case n.Type != meta.TypeDir:
		return nil, meta.EPERM
	case flags == 0:
		return nil, meta.OK
	}
	q, exists := st.Quotas.Get(ino)
	if r.Remove {
		q.Flags &^= flags
		if !exists || q.Flags == 0 {
			return &Quota{Inode: ino}, meta.OK
		}
	} else {
		r.set(&q)
	}
	clearUnused(&q)
	return quotaOp(ino, &q), meta.OK
}

func (r *QuotaRequest) set(q *meta.Quota) {
	l := &r.Limits
	q.Flags |= l.Flags
	if l.Grace != 0 {
		q.Grace = l.Grace
	}
	set32 := func(bit uint8, to *uint32, v uint32) {
		if l.Flags&bit != 0 {
			*to = v
		}
	}
	set64 := func(bit uint8, to *uint64, v uint64) {
		if l.Flags&bit != 0 {
			*to = v
		}
	}
	set32(quotaSoftInodes, &q.SoftInodes, l.SoftInodes)
	set32(quotaHardInodes, &q.HardInodes, l.HardInodes)
	set64(quotaSoftLength, &q.SoftLength, l.SoftLength)
	set64(quotaHardLength, &q.HardLength, l.HardLength)
	set64(quotaSoftSize, &q.SoftSize, l.SoftSize)
	set64(quotaHardSize, &q.HardSize, l.HardSize)
	set64(quotaSoftReal, &q.SoftReal, l.SoftReal)
	set64(quotaHardReal, &q.HardReal, l.HardReal)
}

// clearUnused zeroes limits that do not count.
func clearUnused(q *meta.Quota) {
	unset := QuotaRequest{Limits: meta.Quota{Flags: ^q.Flags}}
	flags := q.Flags
	unset.set(q)
	q.Flags = flags
}

func quotaOp(ino meta.Inode, q *meta.Quota) *Quota {
	op := &Quota{
		Inode: ino, Flags: q.Flags, SoftTime: q.SoftTime, Grace: q.Grace,
		SoftInodes: q.SoftInodes, HardInodes: q.HardInodes, SoftLength: q.SoftLength, HardLength: q.HardLength,
		SoftSize: q.SoftSize, HardSize: q.HardSize, SoftReal: q.SoftReal, HardReal: q.HardReal,
	}
	if q.Exceeded {
		op.Exceeded = 1
	}
	return op
}

// QuotaCheck is a duty of each second: a directory whose soft limit is crossed
// gets the time of that, which it loses when it is below again; when the grace
// period after it is over, the soft limit counts as a hard one.
type QuotaCheck struct{ Inode meta.Inode }

// Plan writes an entry when something of that changes. Times are added modulo
// 2^32.
func (r *QuotaCheck) Plan(st *meta.State, _ *Caller, now meta.Time) (Op, meta.Status) {
	q, ok := st.Quotas.Get(r.Inode)
	if !ok {
		return nil, meta.OK
	}
	d, _ := st.Dirs.Get(r.Inode)
	s := &d.Stats
	over := q.Flags&quotaSoftInodes != 0 && s.Inodes > q.SoftInodes || q.Flags&quotaSoftLength != 0 && s.Length > q.SoftLength ||
		q.Flags&quotaSoftSize != 0 && s.Size > q.SoftSize || q.Flags&quotaSoftReal != 0 && s.RealSize > q.SoftReal
	before := q
	if !over {
		q.SoftTime = 0
	} else if q.SoftTime == 0 {
		q.SoftTime = now
	}
	q.Exceeded = q.SoftTime != 0 && q.SoftTime+meta.Time(q.Grace) < now
	if q == before {
		return nil, meta.OK
	}
	return quotaOp(r.Inode, &q), meta.OK
}
