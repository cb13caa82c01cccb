package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	// ErrShort is returned for a packet that ends before its last field.
	ErrShort = errors.New("packet is too short")
	// ErrTrailing is returned for a packet with bytes after its last field.
	ErrTrailing = errors.New("packet has bytes left after its last field")
)

// Decoder reads the fields of one payload. Reading past the end gives zero
// values and an error that sticks, so packet code reads all fields and then
// looks at End once; nothing is left after an error, so that loops until Len
// is 0 end. Slices it returns alias the payload.
type Decoder struct {
	body []byte
	err  error
}

// NewDecoder returns a Decoder for a payload.
func NewDecoder(payload []byte) *Decoder { return &Decoder{body: payload} }

// Reset makes d read another payload.
func (d *Decoder) Reset(payload []byte) { d.body, d.err = payload, nil }

func (d *Decoder) take(n uint64) []byte {
	if d.err != nil {
		return nil
	}
	if n > uint64(len(d.body)) {
		d.body, d.err = nil, ErrShort
		return nil
	}
	b := d.body[:n:n]
	d.body = d.body[n:]
	return b
}

// U8 reads an 8-bit number.
func (d *Decoder) U8() uint8 {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

// U16 reads a 16-bit number.
func (d *Decoder) U16() uint16 {
	if b := d.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// U32 reads a 32-bit number.
func (d *Decoder) U32() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// U64 reads a 64-bit number.
func (d *Decoder) U64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Bytes reads n bytes.
func (d *Decoder) Bytes(n uint32) []byte { return d.take(uint64(n)) }

// Name reads MooseFS's NAME: an 8-bit length and that many bytes.
func (d *Decoder) Name() []byte { return d.take(uint64(d.U8())) }

// Text reads a 32-bit length and that many bytes.
func (d *Decoder) Text() []byte { return d.take(uint64(d.U32())) }

// Rest reads what is left.
func (d *Decoder) Rest() []byte { return d.take(uint64(len(d.body))) }

// Len returns the number of bytes left.
func (d *Decoder) Len() int { return len(d.body) }

// List reads a 32-bit count and that many 32-bit numbers.
func (d *Decoder) List() []uint32 {
	n := uint64(d.U32())
	b := d.take(4 * n) // the bytes are there before memory is spent on the count
	if d.err != nil {
		return nil
	}
	list := make([]uint32, n)
	for i := range list {
		list[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	return list
}

// Fail makes err the Decoder's error if it has none: for a field whose value
// cannot be.
func (d *Decoder) Fail(err error) {
	if d.err == nil {
		d.body, d.err = nil, err
	}
}

// Err returns the first error.
func (d *Decoder) Err() error { return d.err }

// End returns the first error, or ErrTrailing if bytes are left.
func (d *Decoder) End() error {
	if d.err == nil && len(d.body) > 0 {
		d.err = fmt.Errorf("%d bytes: %w", len(d.body), ErrTrailing)
	}
	return d.err
}
