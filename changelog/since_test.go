package changelog_test

import (
	"errors"
	"testing"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// Entries that only a later release writes are refused by name of it, and change
// nothing.
func TestNewerEntriesAreRefused(t *testing.T) {
	for _, tc := range []struct {
		image, since meta.Release
		op           string
	}{
		{meta.Reproduced2, meta.Release3, "SCREN(1,x):0"},
		{meta.Reproduced2, meta.Release3, "FLOCK(1,1,7,R)"},
		{meta.Reproduced2, meta.Release3, "AMTIME(1,2,3,4)"},
		{meta.Reproduced2, meta.Release4, "PATADD(*,1,2,3,2,0,5,0,0)"},
		{meta.Reproduced16, meta.Release3, "SETVERSION(1,2)"},
		{meta.Reproduced, meta.Release4, "SESCONNECTED(1)"},
		{meta.Reproduced, meta.Release4, "TRASH_REMOVE(2)"},
	} {
		w := newWorld(t)
		w.st.Release = tc.image
		var newer *changelog.NewerError
		if err := w.apply(tc.op); !errors.As(err, &newer) || newer.Since != tc.since || newer.Image != tc.image {
			t.Errorf("%s on an image of %v: %v", tc.op, tc.image, err)
		}
	}
}

// ATTR of 2.0 does not tell the mask of an access list. One that only sets times
// or the owner left it as it was in the master that wrote it; its own replay
// sets it.
func TestTimesLeaveTheMask(t *testing.T) {
	w := newWorld(t)
	w.st.Release = meta.Reproduced2
	w.do("CREATE(1,f,1,420,0,0,0,0):2", "SETACL(2,420,0,1,6,4,4,6,1,0,%00%00%03%E9%00%06)")
	mask := func() uint16 {
		a, _ := w.st.ACLs.Get(meta.ACLKey{Inode: 2, Type: meta.ACLAccess})
		return a.Mask
	}
	w.do("ATTR(2,420,0,0,1000,2000)")
	w.want("mask after utimes", mask(), uint16(6))
	w.do("ATTR(2,420,7,0,1000,2000)")
	w.want("mask after chown", mask(), uint16(6))
	w.do("ATTR(2,384,7,0,1000,2000)")
	w.want("mask after chmod", mask(), uint16(0))
}
