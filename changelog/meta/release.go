package meta

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"
)

// Release is a version of MooseFS: 4.59.2 is 4<<16|59<<8|2. Releases compare
// as numbers. 0 is one not known, which counts as Reproduced.
type Release uint32

// NewRelease returns the Release major.minor.patch.
func NewRelease(major, minor, patch uint8) Release {
	return Release(uint32(major)<<16 | uint32(minor)<<8 | uint32(patch))
}

// Releases at which the text of entries, their effect or the metadata file
// changed as a whole.
const (
	Release16    Release = 1<<16 | 6<<8
	Release2     Release = 2 << 16
	Release3     Release = 3 << 16
	Release4     Release = 4 << 16
	Reproduced16         = Release16 | 27       // the 1.6 release that is reproduced exactly
	Reproduced2          = Release2 | 91        // the 2.0 one
	Reproduced           = Release3 | 117       // the 3.x one
	Latest               = Release4 | 59<<8 | 2 // and the 4.x one
)

// ParseRelease reads a release as masters, packages and people write it:
// "4.59.2", "3.0.117-1", "4.59.2 Pro". It is 0 for anything else.
func ParseRelease(text string) Release {
	if i := strings.IndexAny(text, " -+~"); i >= 0 {
		text = text[:i]
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return 0
	}
	var r Release
	for _, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			return 0
		}
		r = r<<8 | Release(n)
	}
	return r
}

// Since tells whether r is release x or a later one.
func (r Release) Since(x Release) bool {
	if r == 0 {
		r = Reproduced
	}
	return r >= x
}

// String returns "4.59.2", or "" for one not known.
func (r Release) String() string {
	if r == 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", r>>16, r>>8&0xFF, r&0xFF)
}

// madeUp marks an id of a cluster that has none of its own, as before 2.0. Real
// ones begin with the time at which they were made.
const madeUp = 1 << 48

// MakeUpID returns an id for a cluster that has none, by what else tells it from
// others.
func MakeUpID(of string) uint64 { return madeUp | xxh3.HashString(of)>>16 }

// MadeUpID tells whether an id is one that MakeUpID gave.
func MadeUpID(id uint64) bool { return id>>48 == 1 }
