// Package wire speaks MooseFS's packets: their framing, a Decoder that cannot
// read past the end of one, an Encoder that appends them, and one file per
// family of packets (packets_*.go) with both directions.
//
// It is pure: no goroutine, no clock, no connection of its own. Every packet
// is
//
//	type:32 length:32 payload[length]
//
// with all integers big-endian and a length that does not count the eight
// bytes before the payload. Callers are the tap (as a metalogger) and the
// standby's servers.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// HeaderSize is the number of bytes in front of a packet's payload.
const HeaderSize = 8

// Type is the number that names a packet; types.go lists them.
type Type uint32

// ErrTooLong is returned for a packet longer than its port allows. What
// follows on the connection cannot be trusted.
var ErrTooLong = errors.New("packet is longer than allowed")

// Header is what precedes a payload.
type Header struct {
	Type   Type
	Length uint32 // bytes of payload that follow
}

// ParseHeader reads the first HeaderSize bytes of b, which must be there. It
// returns ErrTooLong when the payload would have more than max bytes.
func ParseHeader(b []byte, max uint32) (Header, error) {
	h := Header{Type: Type(binary.BigEndian.Uint32(b)), Length: binary.BigEndian.Uint32(b[4:])}
	if h.Length > max {
		return h, fmt.Errorf("%v of %d bytes, limit %d: %w", h.Type, h.Length, max, ErrTooLong)
	}
	return h, nil
}

// Split takes the first packet from the front of b. It returns the packet's
// type, its payload (which aliases b) and what is left; ok is false while b
// holds no whole packet. The error is ErrTooLong.
func Split(b []byte, max uint32) (t Type, payload, rest []byte, ok bool, err error) {
	if len(b) < HeaderSize {
		return 0, nil, b, false, nil
	}
	h, err := ParseHeader(b, max)
	if err != nil {
		return h.Type, nil, b, false, err
	}
	end := HeaderSize + int(h.Length)
	if len(b) < end {
		return h.Type, nil, b, false, nil
	}
	return h.Type, b[HeaderSize:end:end], b[end:], true, nil
}

// ReadPacket reads one packet from r. The payload is stored in buf when it
// fits and is valid until buf is used again. It returns io.EOF at the end of r
// before a packet, io.ErrUnexpectedEOF within one, and ErrTooLong (having read
// the header only) for a payload of more than max bytes. Memory is spent as
// the payload arrives, not on the announced length.
func ReadPacket(r io.Reader, buf []byte, max uint32) (Type, []byte, error) {
	var head [HeaderSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	h, err := ParseHeader(head[:], max)
	if err != nil {
		return h.Type, nil, err
	}
	payload := buf[:0]
	for len(payload) < int(h.Length) {
		n := min(int(h.Length)-len(payload), 64<<10)
		at := len(payload)
		payload = append(payload, make([]byte, n)...)
		if _, err := io.ReadFull(r, payload[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return h.Type, nil, fmt.Errorf("reading %v of %d bytes: %w", h.Type, h.Length, err)
		}
	}
	return h.Type, payload, nil
}

// WritePacket writes one packet to w with a single Write. It returns
// ErrTooLong, and writes nothing, for a payload of more than max bytes.
func WritePacket(w io.Writer, t Type, payload []byte, max uint32) error {
	if uint64(len(payload)) > uint64(max) {
		return fmt.Errorf("%v of %d bytes, limit %d: %w", t, len(payload), max, ErrTooLong)
	}
	_, err := w.Write(AppendPacket(make([]byte, 0, HeaderSize+len(payload)), t, payload))
	return err
}

// AppendPacket appends a packet with the given payload to b.
func AppendPacket(b []byte, t Type, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(t))
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}
