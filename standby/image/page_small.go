package image

import (
	"mfsstandby/changelog/meta"
)

// The tables kept in sparse pages, by inode unless said otherwise.

var symlinkCodec = sparseCodec[string]{
	name: "symlinks", prefix: 'l',
	put:    func(b []byte, v *string) []byte { return putBytes(b, *v) },
	get:    func(r *reader, v *string) { *v = r.string() },
	extra:  func(v *string) int { return len(*v) },
	digest: func(b []byte, v *string) []byte { return append(b, *v...) },
}

var hardCodec = sparseCodec[[]meta.HardLink]{
	name: "hard links", prefix: 'h',
	put: func(b []byte, v *[]meta.HardLink) []byte {
		b = putUvarint(b, uint64(len(*v)))
		for _, l := range *v {
			b = put32(put32(b, uint32(l.Parent)), l.NameHash)
		}
		return b
	},
	get: func(r *reader, v *[]meta.HardLink) {
		for range r.count(8) {
			*v = append(*v, meta.HardLink{Parent: meta.Inode(r.u32()), NameHash: r.u32()})
		}
	},
	extra: func(v *[]meta.HardLink) int { return 8 * cap(*v) },
}

// detached is a Detached record with its place in its bucket's list.
type detached struct {
	meta.Detached
	order uint64 // ascending from the head
}

var detachedCodec = sparseCodec[detached]{
	name: "detached", prefix: 't',
	put: func(b []byte, v *detached) []byte {
		b = append(b, byte(v.Kind))
		b = put64(put64(b, v.EdgeID), v.order)
		return putBytes(b, v.Path)
	},
	get: func(r *reader, v *detached) {
		v.Kind = meta.Type(r.u8())
		v.EdgeID, v.order = r.u64(), r.u64()
		v.Path = r.string()
	},
	extra:  func(v *detached) int { return len(v.Path) },
	digest: func(b []byte, v *detached) []byte { return append(put64(append(b, byte(v.Kind)), v.EdgeID), v.Path...) },
}

// bucketMember is a file in a trash or sustained bucket; its table's keys are
// those of bucketGroup.
type bucketMember struct{ order uint64 }

var memberCodec = sparseCodec[bucketMember]{
	name: "trash buckets", prefix: 'b',
	put: func(b []byte, v *bucketMember) []byte { return put64(b, v.order) },
	get: func(r *reader, v *bucketMember) { v.order = r.u64() },
}

var openCodec = sparseCodec[[]meta.SessionID]{
	name: "open files", prefix: 'o',
	put: func(b []byte, v *[]meta.SessionID) []byte {
		b = putUvarint(b, uint64(len(*v)))
		for _, s := range *v {
			b = put32(b, uint32(s))
		}
		return b
	},
	get: func(r *reader, v *[]meta.SessionID) {
		for range r.count(4) {
			*v = append(*v, meta.SessionID(r.u32()))
		}
	},
	extra: func(v *[]meta.SessionID) int { return 4 * cap(*v) },
	digest: func(b []byte, v *[]meta.SessionID) []byte {
		for _, s := range *v { // kept ascending
			b = put32(b, uint32(s))
		}
		return b
	},
}

// acls holds both ACLs of an inode.
type acls struct{ access, deflt *meta.ACL }

func putACL(b []byte, a *meta.ACL) []byte {
	if a == nil {
		return append(b, 0)
	}
	b = append(b, 1)
	b = put16(put16(put16(put16(b, a.User), a.Group), a.Other), a.Mask)
	for _, list := range [][]meta.ACLEntry{a.Users, a.Groups} {
		b = putUvarint(b, uint64(len(list)))
		for _, e := range list {
			b = put16(put32(b, e.ID), e.Perm)
		}
	}
	return b
}

func getACL(r *reader) *meta.ACL {
	if r.u8() == 0 {
		return nil
	}
	a := &meta.ACL{User: r.u16(), Group: r.u16(), Other: r.u16(), Mask: r.u16()}
	for _, list := range []*[]meta.ACLEntry{&a.Users, &a.Groups} {
		for range r.count(6) {
			*list = append(*list, meta.ACLEntry{ID: r.u32(), Perm: r.u16()})
		}
	}
	return a
}

var aclCodec = sparseCodec[acls]{
	name: "ACLs", prefix: 'a',
	put: func(b []byte, v *acls) []byte { return putACL(putACL(b, v.access), v.deflt) },
	get: func(r *reader, v *acls) { v.access, v.deflt = getACL(r), getACL(r) },
	extra: func(v *acls) (n int) {
		for _, a := range []*meta.ACL{v.access, v.deflt} {
			if a != nil {
				n += 64 + 8*(len(a.Users)+len(a.Groups))
			}
		}
		return n
	},
	digest: func(b []byte, v *acls) []byte { return putACL(putACL(b, v.access), v.deflt) },
}

// xattrName is one name in an inode's list; id leads to its value.
type xattrName struct {
	name string
	id   uint32
}

type xattrList struct {
	names []xattrName
	next  uint32 // id of the next new one
}

var xattrCodec = sparseCodec[xattrList]{
	name: "xattrs", prefix: 'x',
	put: func(b []byte, v *xattrList) []byte {
		b = putUvarint(b, uint64(v.next))
		b = putUvarint(b, uint64(len(v.names)))
		for _, n := range v.names {
			b = putUvarint(putBytes(b, n.name), uint64(n.id))
		}
		return b
	},
	get: func(r *reader, v *xattrList) {
		v.next = uint32(r.uvarint())
		for range r.count(2) {
			v.names = append(v.names, xattrName{r.string(), uint32(r.uvarint())})
		}
	},
	extra: func(v *xattrList) (n int) {
		for _, x := range v.names {
			n += 24 + len(x.name)
		}
		return n
	},
}

// xattrValue is keyed by inode<<32 | id; it has the name too, so that it
// can be counted in the digest on its own.
type xattrValue struct {
	name  string
	value []byte
	set   bool
}

var xattrValueCodec = codec[xattrValue]{
	name: "xattr values", prefix: 'v',
	encode: func(p *xattrValue, b []byte) []byte {
		if !p.set {
			return b
		}
		return putBytes(putBytes(b, p.name), p.value)
	},
	decode: func(p *xattrValue, b []byte) error {
		r := reader{b: b}
		p.set = true
		p.name = r.string()
		p.value = append([]byte{}, r.bytes()...)
		return r.end()
	},
	memory: func(p *xattrValue) int { return len(p.name) + cap(p.value) },
	digest: func(key uint64, p *xattrValue) Sum {
		if !p.set {
			return Sum{}
		}
		b := put32([]byte{'v'}, uint32(key>>32))
		return hashRecord(append(putBytes(b, p.name), p.value...))
	},
}

var quotaCodec = sparseCodec[meta.Quota]{
	name: "quotas", prefix: 'q', put: putQuota, get: getQuota, digest: putQuota,
}

func putQuota(b []byte, q *meta.Quota) []byte {
	b = put32(b, q.Grace)
	b = append(putBool(b, q.Exceeded), q.Flags)
	b = put32(put32(put32(b, uint32(q.SoftTime)), q.SoftInodes), q.HardInodes)
	for _, v := range [...]uint64{q.SoftLength, q.HardLength, q.SoftSize, q.HardSize, q.SoftReal, q.HardReal} {
		b = put64(b, v)
	}
	return b
}

func getQuota(r *reader, q *meta.Quota) {
	q.Grace = r.u32()
	q.Exceeded = r.u8() != 0
	q.Flags = r.u8()
	q.SoftTime = meta.Time(r.u32())
	q.SoftInodes, q.HardInodes = r.u32(), r.u32()
	for _, v := range [...]*uint64{&q.SoftLength, &q.HardLength, &q.SoftSize, &q.HardSize, &q.SoftReal, &q.HardReal} {
		*v = r.u64()
	}
}

// sessionCodec's keys are session ids.
var sessionCodec = sparseCodec[meta.Session]{
	name: "sessions", prefix: 'S',
	put: func(b []byte, s *meta.Session) []byte {
		b = putSession(b, s)
		b = put32(put32(b, uint32(s.Disconnected)), s.Open)
		for i := range s.Current {
			b = put32(put32(b, s.Current[i]), s.Last[i])
		}
		return b
	},
	get:    getSession,
	extra:  func(s *meta.Session) int { return len(s.Info) },
	digest: putSession, // the rest changes without entries
}

// hasGroups in the place of a umask, which has nine bits, says that the umask
// and Groups follow: sessions have that since 4.x.
const hasGroups = 0x8000

func putSession(b []byte, s *meta.Session) []byte {
	b = put64(b, s.ExportsSum)
	b = put32(put32(b, s.Peer), uint32(s.Root))
	b = append(b, s.Flags, s.MinGoal, s.MaxGoal)
	if s.Groups != 0 || s.Umask&hasGroups != 0 {
		b = put16(put16(put16(b, hasGroups), s.Umask), s.Groups)
	} else {
		b = put16(b, s.Umask)
	}
	for _, v := range [...]uint32{s.MinTrash, s.MaxTrash, s.RootUID, s.RootGID, s.MapUID, s.MapGID, s.Disables} {
		b = put32(b, v)
	}
	return putBytes(b, s.Info)
}

func getSession(r *reader, s *meta.Session) {
	s.ExportsSum = r.u64()
	s.Peer, s.Root = r.u32(), meta.Inode(r.u32())
	s.Flags, s.MinGoal, s.MaxGoal = r.u8(), r.u8(), r.u8()
	if s.Umask = r.u16(); s.Umask&hasGroups != 0 {
		s.Umask, s.Groups = r.u16(), r.u16()
	}
	for _, v := range [...]*uint32{&s.MinTrash, &s.MaxTrash, &s.RootUID, &s.RootGID, &s.MapUID, &s.MapGID, &s.Disables} {
		*v = r.u32()
	}
	s.Info = append([]byte(nil), r.bytes()...)
	s.Disconnected, s.Open = meta.Time(r.u32()), r.u32()
	for i := range s.Current {
		s.Current[i], s.Last[i] = r.u32(), r.u32()
	}
}

var flockCodec = sparseCodec[[]meta.Flock]{
	name: "flocks", prefix: 'k', put: putFlocks,
	get: func(r *reader, v *[]meta.Flock) {
		for range r.count(13) {
			*v = append(*v, meta.Flock{Session: meta.SessionID(r.u32()), Owner: r.u64(), Write: r.u8() != 0})
		}
	},
	extra:  func(v *[]meta.Flock) int { return 24 * cap(*v) },
	digest: putFlocks,
}

func putFlocks(b []byte, v *[]meta.Flock) []byte {
	b = putUvarint(b, uint64(len(*v)))
	for _, l := range *v {
		b = putBool(put64(put32(b, uint32(l.Session)), l.Owner), l.Write)
	}
	return b
}

var plockCodec = sparseCodec[[]meta.PosixOwner]{
	name: "posix locks", prefix: 'p', put: putPlocks, get: getPlocks,
	extra: func(v *[]meta.PosixOwner) (n int) {
		for _, o := range *v {
			n += 48 + 24*cap(o.Ranges)
		}
		return n
	},
	digest: putPlocks,
}

func putPlocks(b []byte, v *[]meta.PosixOwner) []byte {
	b = putUvarint(b, uint64(len(*v)))
	for _, o := range *v {
		b = put32(put64(put32(b, uint32(o.Session)), o.Owner), o.PID)
		b = putUvarint(b, uint64(len(o.Ranges)))
		for _, l := range o.Ranges {
			b = putBool(put64(put64(b, l.Start), l.End), l.Write)
		}
	}
	return b
}

func getPlocks(r *reader, v *[]meta.PosixOwner) {
	for range r.count(17) {
		o := meta.PosixOwner{Session: meta.SessionID(r.u32()), Owner: r.u64(), PID: r.u32()}
		for range r.count(17) {
			o.Ranges = append(o.Ranges, meta.PosixRange{Start: r.u64(), End: r.u64(), Write: r.u8() != 0})
		}
		*v = append(*v, o)
	}
}

// serverCodec's keys are ip<<16 | port.
var serverCodec = sparseCodec[meta.ServerInfo]{
	name: "chunkservers", prefix: 'C', put: putServer,
	get: func(r *reader, v *meta.ServerInfo) {
		*v = meta.ServerInfo{ID: r.u16(), Maintenance: r.u8(), Timeout: meta.Time(r.u32())}
	},
	digest: putServer,
}

func putServer(b []byte, v *meta.ServerInfo) []byte {
	return put32(append(put16(b, v.ID), v.Maintenance), uint32(v.Timeout))
}
