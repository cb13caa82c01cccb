package metafile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"mfsstandby/changelog/meta"
)

// XATR 1.0: records, a zero record. Record:
//
//	inode:32 name length:8 value length:32 name value
const (
	xattrFixed = 9
	maxXattr   = 65536 // bytes of a value
)

type xattrRecord struct {
	inode    meta.Inode
	nameLen  int
	valueLen uint32
}

// readXattr reads the fixed part of the next record; false is the end.
func (in *input) readXattr(rec *xattrRecord) bool {
	b := in.next(xattrFixed)
	if b == nil {
		return false
	}
	rec.inode = meta.Inode(binary.BigEndian.Uint32(b))
	rec.nameLen = int(b[4])
	rec.valueLen = binary.BigEndian.Uint32(b[5:])
	return rec.inode != 0
}

// xattrData reads name and value; both are valid until the next read.
func (in *input) xattrData(rec *xattrRecord) (name, value []byte, err error) {
	switch {
	case rec.nameLen == 0:
		return nil, nil, in.failf("attribute of inode %d has an empty name", rec.inode)
	case rec.valueLen > maxXattr:
		return nil, nil, in.failf("attribute of inode %d has a value of %d bytes; %d are allowed", rec.inode, rec.valueLen, maxXattr)
	}
	b := in.next(rec.nameLen + int(rec.valueLen))
	if b == nil {
		return nil, nil, in.err
	}
	return b[:rec.nameLen], b[rec.nameLen:], nil
}

func (l *loader) xattrs() error {
	var rec xattrRecord
	for {
		l.begin()
		if !l.in.readXattr(&rec) {
			return l.in.err
		}
		n, ok := l.st.Nodes.Edit(rec.inode)
		if !ok { // dropped by mfsmaster, too
			if err := l.in.skip(uint64(rec.nameLen) + uint64(rec.valueLen)); err != nil {
				return err
			}
			continue
		}
		name, value, err := l.in.xattrData(&rec)
		if err != nil {
			return err
		}
		if n.Flags&meta.HasXattr != 0 {
			if _, twice := l.st.Xattrs.Get(rec.inode, name); twice {
				return l.in.failf("inode %d has attribute %q twice", rec.inode, name)
			}
		}
		n.Flags |= meta.HasXattr
		l.st.Xattrs.Append(rec.inode, name, value)
	}
}

func writeXattrs(o *output, st *meta.State) error {
	for ino, list := range st.Xattrs.Scan() {
		for i := range list {
			x := &list[i]
			o.u32(uint32(ino))
			o.u8(uint8(len(x.Name)))
			o.u32(uint32(len(x.Value)))
			o.end()
			o.bytes(x.Name)
			o.end()
			if len(x.Value) > 0 {
				o.buf = append(o.buf, x.Value...)
				o.end()
			}
		}
		if o.err != nil {
			return o.err
		}
	}
	o.zeros(xattrFixed)
	o.end()
	return o.err
}

func dumpXattrs(d *dumper) error {
	var rec xattrRecord
	for {
		d.in.begin()
		if !d.in.readXattr(&rec) {
			return d.in.err
		}
		name, value, err := d.in.xattrData(&rec)
		if err != nil {
			return err
		}
		d.t.num("XATTR|i:", uint64(rec.inode), 10)
		d.t.raw("|n:", name)
		d.t.str("|v:", "")
		for _, c := range value {
			d.t.hex("", uint64(c), 2)
		}
		if !d.endLine() {
			return d.in.err
		}
	}
}

func compareXattrs(c *comparer) error {
	var seen meta.IDSet
	var rec xattrRecord
	var names []string // of inode, in the file
	var inode meta.Inode
	for {
		c.in.begin()
		more := c.in.readXattr(&rec)
		if inode != 0 && (!more || rec.inode != inode) {
			c.attributeNames(inode, names)
			inode = 0
		}
		if !more {
			break
		}
		if !c.nodeIDs.Has(uint64(rec.inode)) {
			if err := c.in.skip(uint64(rec.nameLen) + uint64(rec.valueLen)); err != nil {
				return err
			}
			continue
		}
		if inode == 0 {
			if !seen.Add(uint64(rec.inode)) {
				return c.in.failf("the attributes of inode %d do not stand together", rec.inode)
			}
			inode, names = rec.inode, names[:0]
		}
		name, value, err := c.in.xattrData(&rec)
		if err != nil {
			return err
		}
		names = append(names, string(name))
		c.attribute(inode, name, value)
	}
	for ino, list := range c.st.Xattrs.Scan() {
		if !seen.Has(uint64(ino)) {
			c.extra("XATR", inodeKey(ino), ino, list)
		}
	}
	return c.in.err
}

// attribute compares the value of one attribute.
func (c *comparer) attribute(ino meta.Inode, name, value []byte) {
	image, ok := c.st.Xattrs.Get(ino, name)
	d := Difference{Table: "XATR", Key: inodeKey(ino), Field: fmt.Sprintf("%q", name), File: fmt.Sprintf("%X", value), Image: fmt.Sprintf("%X", image)}
	switch {
	case !ok:
		d.Image = absent
	case bytes.Equal(image, value):
		return
	}
	d.Path = c.path(ino)
	c.differ(d)
}

// attributeNames compares which attributes an inode has, and their order, which
// releases before 3.0 do not store: theirs is that of a hash table.
func (c *comparer) attributeNames(ino meta.Inode, file []string) {
	image := c.st.Xattrs.Names(ino)
	if slices.Equal(file, image) {
		return
	}
	for _, name := range image {
		if !slices.Contains(file, name) {
			value, _ := c.st.Xattrs.Get(ino, []byte(name))
			c.differ(Difference{Table: "XATR", Key: inodeKey(ino), Path: c.path(ino), Field: fmt.Sprintf("%q", name), File: absent, Image: fmt.Sprintf("%X", value)})
		}
	}
	if len(file) == len(image) && c.st.Release.Since(meta.Release3) {
		c.differ(Difference{Table: "XATR", Key: inodeKey(ino), Path: c.path(ino), Field: "order", File: fmt.Sprintf("%q", file), Image: fmt.Sprintf("%q", image)})
	}
}
