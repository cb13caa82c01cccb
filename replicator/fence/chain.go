package fence

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"

	"github.com/zeebo/xxh3"

	"mfsstandby/changelog/meta"
)

// Chain is a running hash over entries. Two histories that began at the same
// rebase and have the same Chain at the same version hold the same entries; how
// the entries were grouped into batches does not matter. It detects accidents,
// not attackers. The zero Chain means "not known".
type Chain struct {
	Hi, Lo uint64
}

// golden spreads consecutive versions over all bits of the seed.
const golden = 0x9E3779B97F4A7C15

// Next is the chain after the entry of version v with the given text.
//
// The low half seeds the hash and the high half is carried along, so that
// a difference once in the chain stays in it. Nothing is copied: an entry costs
// one hash of its text.
func (c Chain) Next(v meta.Version, text []byte) Chain {
	h := xxh3.Hash128Seed(text, c.Lo^uint64(v)*golden)
	return Chain{Hi: h.Hi + bits.RotateLeft64(c.Hi, 23), Lo: h.Lo}
}

// IsZero tells whether the chain is not known.
func (c Chain) IsZero() bool { return c == Chain{} }

// String gives 32 hexadecimal digits.
func (c Chain) String() string { return fmt.Sprintf("%016x%016x", c.Hi, c.Lo) }

// ParseChain reads what String gives.
func ParseChain(s string) (Chain, error) {
	if len(s) != 32 {
		return Chain{}, fmt.Errorf("%q is no chain: it has 32 hexadecimal digits", s)
	}
	hi, err := strconv.ParseUint(s[:16], 16, 64)
	if err != nil {
		return Chain{}, err
	}
	lo, err := strconv.ParseUint(s[16:], 16, 64)
	return Chain{Hi: hi, Lo: lo}, err
}

// MarshalText is String, for JSON.
func (c Chain) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is ParseChain.
func (c *Chain) UnmarshalText(b []byte) (err error) {
	*c, err = ParseChain(string(b))
	return err
}

// AppendBinary appends the 16 bytes that ChainOf reads. It never fails.
func (c Chain) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint64(b, c.Hi)
	return binary.BigEndian.AppendUint64(b, c.Lo), nil
}

// ChainOf reads what AppendBinary wrote.
func ChainOf(b [16]byte) Chain {
	return Chain{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
}

// seed is the chain at the version where a rebase starts: it depends on all
// that was before, so that no two rebases of one stream look alike.
func seed(before Chain, epoch Epoch, first meta.Version) Chain {
	var b [32]byte
	binary.BigEndian.PutUint64(b[0:], before.Hi)
	binary.BigEndian.PutUint64(b[8:], before.Lo)
	binary.BigEndian.PutUint64(b[16:], uint64(epoch))
	binary.BigEndian.PutUint64(b[24:], uint64(first))
	h := xxh3.Hash128(b[:])
	return Chain{Hi: h.Hi, Lo: h.Lo | 1} // never zero
}
