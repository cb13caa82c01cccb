// Package exports reads mfsexports.cfg and decides by it what a client may do,
// as mfsmaster 3.0.117 does: the same lines are refused, the same line wins,
// and the checksum is the same. The options of 4.59.2 are known too. It is pure
// but for looking up the names of users and groups.
package exports

import (
	"crypto/md5"
	"encoding/binary"
	"hash/crc32"
	"math/bits"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// Grant is what a session gets.
type Grant struct {
	Flags              uint8 // changelog.Session* bits
	Umask              uint16
	RootUID, RootGID   uint32
	MapUID, MapGID     uint32
	MinGoal, MaxGoal   uint8
	Groups             uint16 // of storage classes, one bit each: what 4.x has in place of goals
	MinTrash, MaxTrash uint32 // seconds
	Disables           changelog.Disable
}

// Export is one line of the file.
type Export struct {
	From, To   uint32 // range of IPv4 addresses, both included
	Meta       bool   // the trash, not a path
	Path       string // without slashes at its ends
	MinVersion wire.Release
	AllDirs    bool // directories below Path too
	Password   bool // is needed
	Digest     [md5.Size]byte
	Grant

	rootMapped bool
	hasGoals   bool // the line itself says so
	hasGroups  bool
	newer      bool // has what 3.0.117 does not know
}

// List is the lines of a file in their order. The nil List exports nothing.
type List struct {
	Exports []Export
	sum     uint64
}

// Sum is the master's checksum of its exports: sessions made under another
// are not taken up again.
func (l *List) Sum() uint64 {
	if l == nil {
		return 0
	}
	return l.sum
}

// Request is what a client asks with.
type Request struct {
	IP       uint32
	Version  wire.Release
	Meta     bool
	Path     string          // ends at its first NUL, slashes at the ends do not count
	Random   *[32]byte       // what it was asked for the password with; nil or zero: it was not asked
	Passcode *[md5.Size]byte // MD5 of Random's first half, the password's MD5, Random's second half
}

// Choose returns what a client gets, or why it gets nothing: EACCES,
// ENOPASSWORD or EBADPASSWORD.
func (l *List) Choose(r *Request) (Grant, meta.Status) {
	path := cleanPath(r.Path)
	asked := r.Random != nil && *r.Random != [32]byte{} && r.Passcode != nil
	var best *Export
	refused := false // for the password alone
	if l == nil {
		return Grant{}, meta.EACCES
	}
	for i := range l.Exports {
		e := &l.Exports[i]
		if r.IP < e.From || r.IP > e.To || r.Version < e.MinVersion || r.Meta != e.Meta || !e.covers(path) {
			continue
		}
		if e.Password && !(asked && e.passes(r)) {
			refused = true
			continue
		}
		if best == nil || e.beats(best) {
			best = e
		}
	}
	switch {
	case best != nil:
		return best.Grant, meta.OK
	case refused && asked:
		return Grant{}, badPassword
	case refused:
		return Grant{}, noPassword
	}
	return Grant{}, meta.EACCES
}

func (e *Export) covers(path string) bool {
	if e.Meta || path == e.Path {
		return true
	}
	if !e.AllDirs {
		return false
	}
	return e.Path == "" || len(path) > len(e.Path) && path[len(e.Path)] == '/' && path[:len(e.Path)] == e.Path
}

func (e *Export) passes(r *Request) bool { return passcode(r.Random, &e.Digest) == *r.Passcode }

// Passcode is what a client answers with when it is asked for a password.
func Passcode(random *[32]byte, password string) [md5.Size]byte {
	digest := md5.Sum([]byte(password))
	return passcode(random, &digest)
}

func passcode(random *[32]byte, digest *[md5.Size]byte) [md5.Size]byte {
	var b [48]byte
	copy(b[:], random[:16])
	copy(b[16:], digest[:])
	copy(b[32:], random[16:])
	return md5.Sum(b[:])
}

// beats tells whether e is preferred to f, which stands before it. The first
// of these that e has and f has not decides; that f may have one of the
// others, which e has not, does not matter to the master.
func (e *Export) beats(f *Export) bool {
	return e.Flags&changelog.SessionReadOnly == 0 && f.Flags&changelog.SessionReadOnly != 0 ||
		e.RootUID == 0 && f.RootUID != 0 ||
		e.Flags&changelog.SessionAdmin != 0 && f.Flags&changelog.SessionAdmin == 0 ||
		e.Password && !f.Password ||
		len(e.Path) > len(f.Path)
}

// checksum is one line's share of List.Sum.
func (e *Export) checksum() uint64 {
	b := make([]byte, 0, 62+len(e.Path))
	b = binary.BigEndian.AppendUint32(b, e.From)
	b = binary.BigEndian.AppendUint32(b, e.To)
	b = binary.BigEndian.AppendUint32(b, uint32(e.MinVersion))
	if e.Password {
		b = append(b, e.Digest[:]...)
	} else {
		b = append(b, make([]byte, md5.Size)...)
	}
	var flags byte
	for i, set := range []bool{e.rootMapped, e.Meta, e.Password, e.AllDirs} {
		if set {
			flags |= 1 << i
		}
	}
	b = append(b, flags, e.Flags, e.MinGoal, e.MaxGoal)
	b = binary.BigEndian.AppendUint16(b, e.Umask)
	for _, v := range []uint32{e.MinTrash, e.MaxTrash, e.RootUID, e.RootGID, e.MapUID, e.MapGID, uint32(e.Disables)} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	if e.newer {
		b = binary.BigEndian.AppendUint16(b, e.Groups)
	}
	crc := crc32.Update(^uint32(0), crc32.IEEETable, b)
	murmur := murmur3(b, 0)
	if e.Path != "" {
		crc = crc32.Update(crc, crc32.IEEETable, []byte(e.Path))
		murmur = murmur3([]byte(e.Path), murmur)
	}
	return uint64(crc)<<32 | uint64(murmur)
}

// murmur3 is MurmurHash3 of 32 bits over big-endian words.
func murmur3(b []byte, h uint32) uint32 {
	const c1, c2 = 0xCC9E2D51, 0x1B873593
	n := len(b)
	for ; len(b) >= 4; b = b[4:] {
		h ^= bits.RotateLeft32(binary.BigEndian.Uint32(b)*c1, 15) * c2
		h = bits.RotateLeft32(h, 13)*5 + 0xE6546B64
	}
	if len(b) > 0 {
		var k uint32
		for i, v := range b {
			k |= uint32(v) << (8 * i)
		}
		h ^= bits.RotateLeft32(k*c1, 15) * c2
	}
	h ^= uint32(n)
	h = (h ^ h>>16) * 0x85EBCA6B
	h = (h ^ h>>13) * 0xC2B2AE35
	return h ^ h>>16
}

// Statuses that no entry ends in.
const (
	noPassword  meta.Status = 36
	badPassword meta.Status = 37
)
