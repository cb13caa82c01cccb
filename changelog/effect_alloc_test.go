package changelog_test

import (
	"testing"

	"mfsstandby/changelog"
)

// Frequent operations take no memory but what their tables do. Of those here
// the tables of metatest take none.
func TestFrequentEffectsDoNotAllocate(t *testing.T) {
	w := newWorld(t)
	w.do(session+"1", "CREATE(1,d,2,493,0,0,0,0):2", "CREATE(2,f,1,420,0,0,0,0):3", "WRITE(3,0,1,0):1", "WRITE(3,1,1,0):2", "LENGTH(3,67108865,0)")
	for _, tc := range []struct {
		name string
		ops  []changelog.Op
	}{
		{"ATTR", []changelog.Op{&changelog.Attr{Inode: 3, Mode: 0o644}}},
		{"AMTIME", []changelog.Op{&changelog.AMTime{Inode: 3, Atime: 9}}},
		{"ACCESS", []changelog.Op{&changelog.Access{Inode: 3}}},
		{"WRITE", []changelog.Op{&changelog.Write{Inode: 3, Index: 1, OpFlag: 1, CanModMtime: 1, Chunk: 2}}},
		{"UNLOCK", []changelog.Op{&changelog.Unlock{Chunk: 2}}},
		{"LENGTH", []changelog.Op{&changelog.Length{Inode: 3, Length: 1 << 26}, &changelog.Length{Inode: 3, Length: 1<<26 + 9}}},
		{"ACQUIRE and RELEASE", []changelog.Op{&changelog.Acquire{Session: 1, Inode: 3}, &changelog.Release{Session: 1, Inode: 3}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			allocs := testing.AllocsPerRun(100, func() {
				for _, op := range tc.ops {
					if err := changelog.ApplyEntry(w.st, changelog.Entry{Time: start, Op: op}); err != nil {
						t.Fatal(err)
					}
				}
			})
			if allocs != 0 {
				t.Errorf("%v allocations", allocs)
			}
		})
	}
}
