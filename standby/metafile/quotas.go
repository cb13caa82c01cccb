package metafile

import (
	"encoding/binary"

	"mfsstandby/changelog/meta"
)

// QUOT 1.1: count:32, records:
//
//	inode:32 grace:32 exceeded:8 flags:8 soft time:32 soft and hard inodes:32,
//	soft and hard length:64, soft and hard size:64, soft and hard real size:64
const quotaSize = 70

func (in *input) readQuota() (ino meta.Inode, q meta.Quota, ok bool) {
	b := in.next(quotaSize)
	if b == nil {
		return 0, q, false
	}
	be := binary.BigEndian
	return meta.Inode(be.Uint32(b)), meta.Quota{
		Grace: be.Uint32(b[4:]), Exceeded: b[8] != 0, Flags: b[9], SoftTime: meta.Time(be.Uint32(b[10:])),
		SoftInodes: be.Uint32(b[14:]), HardInodes: be.Uint32(b[18:]),
		SoftLength: be.Uint64(b[22:]), HardLength: be.Uint64(b[30:]),
		SoftSize: be.Uint64(b[38:]), HardSize: be.Uint64(b[46:]),
		SoftReal: be.Uint64(b[54:]), HardReal: be.Uint64(b[62:]),
	}, true
}

func (l *loader) quotas() error {
	for left := l.in.u32(); left > 0; left-- {
		l.begin()
		ino, q, ok := l.in.readQuota()
		if !ok {
			return l.in.err
		}
		if _, dir := l.dirs.index[ino]; !dir {
			return l.in.failf("quota of inode %d, which is no directory", ino)
		}
		if _, twice := l.st.Quotas.Get(ino); twice {
			return l.in.failf("second quota of directory %d", ino)
		}
		l.st.Quotas.Insert(ino, q)
	}
	return l.in.err
}

func writeQuotas(o *output, st *meta.State) error {
	count := uint32(0)
	for range st.Quotas.Scan(0) {
		count++
	}
	o.u32(count)
	o.end()
	for ino, q := range st.Quotas.Scan(0) {
		o.u32(uint32(ino))
		o.u32(q.Grace)
		o.flag(q.Exceeded)
		o.u8(q.Flags)
		o.u32(uint32(q.SoftTime))
		o.u32(q.SoftInodes)
		o.u32(q.HardInodes)
		for _, v := range [...]uint64{q.SoftLength, q.HardLength, q.SoftSize, q.HardSize, q.SoftReal, q.HardReal} {
			o.u64(v)
		}
		o.end()
	}
	return o.err
}
