package wire

import (
	"encoding/binary"
	"slices"
)

// Encoder appends packets to a buffer: Begin, the fields, End, and again. The
// zero Encoder is ready; Buf may be set to a buffer to reuse.
type Encoder struct {
	Buf   []byte // the packets so far
	start int    // where the open packet's header is
}

// Begin starts a packet.
func (e *Encoder) Begin(t Type) {
	e.start = len(e.Buf)
	e.Buf = binary.BigEndian.AppendUint32(e.Buf, uint32(t))
	e.Buf = append(e.Buf, 0, 0, 0, 0)
}

// End closes the packet by writing its length.
func (e *Encoder) End() {
	length := len(e.Buf) - e.start - HeaderSize
	binary.BigEndian.PutUint32(e.Buf[e.start+4:], uint32(length))
}

// extend appends n bytes that are to be set, and returns them.
func (e *Encoder) extend(n int) []byte {
	at := len(e.Buf)
	if cap(e.Buf)-at < n {
		e.Buf = slices.Grow(e.Buf, n)
	}
	e.Buf = e.Buf[:at+n]
	return e.Buf[at:]
}

// cut takes the last n bytes away.
func (e *Encoder) cut(n int) { e.Buf = e.Buf[:len(e.Buf)-n] }

// U8 appends an 8-bit number.
func (e *Encoder) U8(v uint8) { e.Buf = append(e.Buf, v) }

// U16 appends a 16-bit number.
func (e *Encoder) U16(v uint16) { e.Buf = binary.BigEndian.AppendUint16(e.Buf, v) }

// U32 appends a 32-bit number.
func (e *Encoder) U32(v uint32) { e.Buf = binary.BigEndian.AppendUint32(e.Buf, v) }

// U64 appends a 64-bit number.
func (e *Encoder) U64(v uint64) { e.Buf = binary.BigEndian.AppendUint64(e.Buf, v) }

// Bytes appends b without a length.
func (e *Encoder) Bytes(b []byte) { e.Buf = append(e.Buf, b...) }

// Name appends MooseFS's NAME: an 8-bit length and the bytes, of which there
// must be at most 255.
func (e *Encoder) Name(b []byte) {
	e.U8(uint8(len(b)))
	e.Bytes(b)
}

// Text appends a 32-bit length and the bytes.
func (e *Encoder) Text(b []byte) {
	e.U32(uint32(len(b)))
	e.Bytes(b)
}

// List appends a 32-bit count and the numbers.
func (e *Encoder) List(list []uint32) {
	e.U32(uint32(len(list)))
	for _, v := range list {
		e.U32(v)
	}
}
