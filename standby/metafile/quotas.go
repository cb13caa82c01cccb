package metafile

import (
	"encoding/binary"

	"mfsstandby/changelog/meta"
)

// QUOT 1.1: count:32, records:
//
//	inode:32 grace:32 exceeded:8 flags:8 soft time:32 soft and hard inodes:32,
//	soft and hard length:64, soft and hard size:64, soft and hard real size:64
//
// QUOT 1.0 has no grace; mfsmaster puts the one it is configured with, by
// default a week.
const (
	quotaSize    = 70
	quotaGrace   = 0x11 // first version with grace
	defaultGrace = 7 * 86400
)

func (in *input) readQuota() (ino meta.Inode, q meta.Quota, ok bool) {
	size := quotaSize
	if in.version < quotaGrace {
		size -= 4
	}
	b := in.next(size)
	if b == nil {
		return 0, q, false
	}
	be := binary.BigEndian
	if in.version < quotaGrace { // put it in
		var full [quotaSize]byte
		copy(full[:], b[:4])
		be.PutUint32(full[4:], defaultGrace)
		copy(full[8:], b[4:])
		b = full[:]
	}
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
		if ino == 0 && l.modern { // of a directory that is gone: 4.x passes over it
			continue
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

func dumpQuotas(d *dumper) error {
	left := d.in.u32()
	d.t.num("# quota nodes: ", uint64(left), 0)
	for ; d.endLine() && left > 0; left-- {
		d.in.begin()
		ino, q, ok := d.in.readQuota()
		if !ok {
			break
		}
		d.t.num("QUOTA|i:", uint64(ino), 10)
		d.t.num("|g:", uint64(q.Grace), 0)
		d.t.letter("|e:", q.Exceeded, '1', '0')
		d.t.hex("|f:0x", uint64(q.Flags), 2)
		d.t.num("|s:", uint64(q.SoftTime), 10)
		for _, l := range [...]struct {
			label string
			flag  uint8
			value uint64
			width int
		}{
			{"|si:", 0x01, uint64(q.SoftInodes), 10}, {"|hi:", 0x10, uint64(q.HardInodes), 10},
			{"|sl:", 0x02, q.SoftLength, 20}, {"|hl:", 0x20, q.HardLength, 20},
			{"|ss:", 0x04, q.SoftSize, 20}, {"|hs:", 0x40, q.HardSize, 20},
			{"|sr:", 0x08, q.SoftReal, 20}, {"|hr:", 0x80, q.HardReal, 20},
		} {
			if q.Flags&l.flag != 0 {
				d.t.num(l.label, l.value, l.width)
			} else {
				d.t.str(l.label, "                   -"[20-l.width:])
			}
		}
	}
	return d.in.err
}

func compareQuotas(c *comparer) error {
	var seen meta.IDSet
	for left := c.in.u32(); left > 0; left-- {
		c.in.begin()
		ino, q, ok := c.in.readQuota()
		if !ok {
			return c.in.err
		}
		if ino == 0 && c.modern() {
			continue
		}
		seen.Add(uint64(ino))
		if image, ok := c.st.Quotas.Get(ino); !ok {
			c.missing("QUOT", inodeKey(ino), q)
		} else if image != q {
			c.fields("QUOT", inodeKey(ino), ino, q, image)
		}
	}
	for ino, q := range c.st.Quotas.Scan(0) {
		if !seen.Has(uint64(ino)) {
			c.extra("QUOT", inodeKey(ino), ino, q)
		}
	}
	return c.in.err
}
