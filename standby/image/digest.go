package image

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// Sum is a sum, modulo 2^128, of the hashes of records. It does not depend on
// their order, and a changed record changes it by a difference, so it can be
// kept up to date at every commit.
type Sum struct{ Hi, Lo uint64 }

func (s Sum) plus(t Sum) Sum {
	lo, carry := bits.Add64(s.Lo, t.Lo, 0)
	hi, _ := bits.Add64(s.Hi, t.Hi, carry)
	return Sum{hi, lo}
}

func (s Sum) minus(t Sum) Sum {
	lo, borrow := bits.Sub64(s.Lo, t.Lo, 0)
	hi, _ := bits.Sub64(s.Hi, t.Hi, borrow)
	return Sum{hi, lo}
}

// hashRecord is the share of one record: record must begin with something
// that tells its table.
func hashRecord(record []byte) Sum {
	h := xxh3.Hash128(record)
	return Sum{h.Hi, h.Lo}
}

// Bytes returns the sum in 16 bytes, big-endian.
func (s Sum) Bytes() []byte {
	b := binary.BigEndian.AppendUint64(nil, s.Hi)
	return binary.BigEndian.AppendUint64(b, s.Lo)
}

// String returns the sum in 32 hexadecimal digits.
func (s Sum) String() string { return hex.EncodeToString(s.Bytes()) }

func sumFromBytes(b []byte) (Sum, error) {
	if len(b) != 16 {
		return Sum{}, fmt.Errorf("digest of %d bytes, want 16", len(b))
	}
	return Sum{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, nil
}
