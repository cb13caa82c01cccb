package changelog

import (
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
)

// TestSetRelease: within a family only the release changes; upwards from 2.0 the
// State is what the new release reads from a file of the old; all else needs a
// new file.
func TestSetRelease(t *testing.T) {
	for _, tc := range []struct {
		from, to meta.Release
		ok       bool
	}{
		{meta.Reproduced2, 0, true},
		{meta.Reproduced2, meta.NewRelease(2, 0, 80), true},
		{meta.Reproduced2, meta.Reproduced, true},
		{meta.Reproduced, meta.NewRelease(3, 0, 50), true},
		{meta.Reproduced16, meta.NewRelease(1, 6, 20), true},
		{meta.Reproduced16, meta.Reproduced2, false}, // has another version then
		{meta.Reproduced16, meta.Reproduced, false},
		{meta.Reproduced2, meta.Reproduced16, false},
		{meta.Reproduced, meta.Reproduced2, false},
		{meta.Reproduced2, meta.Latest, true},
		{meta.Reproduced, meta.Latest, true},
		{meta.Latest, meta.Release4, true},
		{meta.Latest, meta.Reproduced, false},
	} {
		st := metatest.New()
		st.Release = tc.from
		err := SetRelease(st, tc.to, 0)
		want := tc.to
		if !tc.ok || tc.to == 0 {
			want = tc.from
		}
		if (err == nil) != tc.ok || st.Release != want {
			t.Errorf("%s to %s: error %v, release %s", tc.from, tc.to, err, st.Release)
		}
		if err != nil && (!strings.Contains(err.Error(), tc.from.String()) || !strings.Contains(err.Error(), tc.to.String())) {
			t.Errorf("%s to %s: error %v does not name both", tc.from, tc.to, err)
		}
	}
}

func TestUpgradeFrom2(t *testing.T) {
	st := metatest.New()
	st.Release = meta.Reproduced2
	const count = 3*migrated + 5
	for ino := meta.Inode(1); ino <= count; ino++ {
		n := meta.Node{Type: meta.TypeFile, Class: 1, Mode: 0o640}
		n.SetTrash(uint32(ino))
		st.Nodes.Insert(ino, n)
	}
	st.Nodes.Insert(count+1, meta.Node{Type: meta.TypeCharDev, Rdev: 9})
	key := meta.ACLKey{Inode: 2, Type: meta.ACLAccess}
	st.ACLs.Insert(key, meta.ACL{User: 0o10, Group: 5})
	if err := SetRelease(st, meta.Reproduced, 0); err != nil {
		t.Fatal(err)
	}
	for ino := meta.Inode(1); ino <= count; ino++ {
		if n, _ := st.Nodes.Get(ino); n.Flags != 0 || n.Rdev != 0 || n.TrashHours != uint16((ino+3599)/3600) {
			t.Fatalf("node %d: %+v", ino, n)
		}
	}
	if n, _ := st.Nodes.Get(count + 1); n.Rdev != 9 {
		t.Errorf("device became %+v", n)
	}
	if a, _ := st.ACLs.Get(key); a.User != 0o16 || a.Other != 0 || a.Mask != 7 || a.Group != 5 {
		t.Errorf("ACL became %+v", a)
	}
}
