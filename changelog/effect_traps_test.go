package changelog_test

import (
	"fmt"
	"testing"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// Here are entries that mfsmaster 3.0.117 writes and does not replay as it
// meant them. The state must become what it was in the master that wrote them.

const session = "SESADD(#1,1,0,0022,0,0,0,0,1,9,0,9,0x00000000,9,/mnt):"

// The master writes UNLOCK before it looks for the chunk.
func TestUnlockOfUnknownChunk(t *testing.T) {
	w := newWorld(t)
	w.do("UNLOCK(77)")
}

// REPAIR with a version is one step; without, a chunk that does not exist is
// taken out of the file as well.
func TestRepair(t *testing.T) {
	w := newWorld(t)
	w.do("CREATE(1,f,1,420,0,0,0,0):2", "WRITE(2,0,1,0):1", "LENGTH(2,5,0)", "UNLOCK(1)", "REPAIR(2,0):9")
	w.want("version", w.chunk(1).Version, 9)
	n, _ := w.st.Nodes.Edit(2)
	n.Chunk0 = 55 // as an image can have it
	c, _ := w.st.Chunks.Edit(1)
	c.Files = 0
	w.now++
	w.do("REPAIR(2,0):0")
	w.want("slots", w.node(2).Used, 0)
	w.want("mtime", w.node(2).Mtime, w.now)
}

// A lost chunk past the end of a file stays locked for a week.
func TestSetFileChunkLocks(t *testing.T) {
	w := newWorld(t)
	w.do("CREATE(1,f,1,420,0,0,0,0):2", "WRITE(2,1,1,0):1", "UNLOCK(1)", "SETFILECHUNK(2,1,0)")
	w.want("lock", w.chunk(1).LockedTo, w.now+7*24*3600)
	w.fails("CHUNKDEL(1,1)", "chunk 1: chunk locked (status 11)")
}

// A write that fails after the file was emptied and written again takes the
// newest chunk out of the slot; the one that failed is held by nobody.
func TestRollbackOfOverwrittenSlot(t *testing.T) {
	w := newWorld(t)
	w.do("CREATE(1,f,1,420,0,0,0,0):2", "WRITE(2,0,1,0):1", "LENGTH(2,0,0)", "WRITE(2,0,1,0):2", "ROLLBACK(2,0,0,1)")
	w.want("used slots", w.node(2).Used, 0)
	w.want("files of chunk 2", w.chunk(2).Files, 0)
	w.want("lock of chunk 1", w.chunk(1).LockedTo, 0)
}

// All locks of an owner go in one step.
func TestFlockDropsAllOfOwner(t *testing.T) {
	w := newWorld(t)
	w.do("FLOCK(1,1,7,R)", "FLOCK(1,1,7,R)", "FLOCK(1,1,8,R)", "FLOCK(1,1,7,U)")
	list, _ := w.st.Flocks.Get(1)
	w.want("locks", list, []meta.Flock{{Session: 1, Owner: 8}})
	w.do("FLOCK(1,1,8,U)")
	_, ok := w.st.Flocks.Get(1)
	w.want("a list is left", ok, false)
}

// A lock that became shared without an entry is known as such when the next
// one is given beside it.
func TestFlockBecameShared(t *testing.T) {
	w := newWorld(t)
	w.do("FLOCK(1,1,7,W)", "FLOCK(1,2,9,R)")
	list, _ := w.st.Flocks.Get(1)
	w.want("locks", list, []meta.Flock{{Session: 2, Owner: 9}, {Session: 1, Owner: 7}})
	w.fails("FLOCK(1,1,5,W)", "lock of owner 5 of session 1 on inode 1: result differs (status 32)")
}

// A range lock is given to who waits before the entry tells of the closing
// that frees it.
func TestPosixLockGivenAtClose(t *testing.T) {
	w := newWorld(t)
	w.do(session+"1", session+"2", "CREATE(1,f,1,420,0,0,0,0):2", "ACQUIRE(1,2)", "ACQUIRE(2,2)",
		"POSIXLOCK(2,1,7,W,0,100,1)", "POSIXLOCK(2,1,8,R,200,300,1)", "POSIXLOCK(2,2,7,W,50,60,1)", "RELEASE(1,2)")
	list, _ := w.st.Plocks.Get(2)
	w.want("locks", list, []meta.PosixOwner{{Session: 2, Owner: 7, PID: 1, Ranges: []meta.PosixRange{{Start: 50, End: 60, Write: true}}}})
	w.fails("POSIXLOCK(2,2,8,W,55,56,1)", "lock of owner 8 of session 2 on inode 2: result differs (status 32)")
}

// Ranges replace, split and join those of the same owner.
func TestPosixLockRanges(t *testing.T) {
	type r = meta.PosixRange
	for _, tc := range []struct {
		name string
		ops  [][3]any // kind, start, end
		want []r
	}{
		{"alone", [][3]any{{"R", 5, 9}}, []r{{Start: 5, End: 9}}},
		{"joins what touches", [][3]any{{"R", 0, 10}, {"R", 20, 30}, {"R", 10, 20}}, []r{{Start: 0, End: 30}}},
		{"keeps what is of another kind", [][3]any{{"R", 0, 10}, {"W", 10, 20}}, []r{{Start: 0, End: 10}, {Start: 10, End: 20, Write: true}}},
		{"splits", [][3]any{{"R", 0, 30}, {"W", 10, 20}}, []r{{Start: 0, End: 10}, {Start: 10, End: 20, Write: true}, {Start: 20, End: 30}}},
		{"replaces", [][3]any{{"R", 5, 10}, {"R", 12, 15}, {"W", 0, 30}}, []r{{Start: 0, End: 30, Write: true}}},
		{"within its own kind", [][3]any{{"W", 0, 30}, {"W", 10, 20}}, []r{{Start: 0, End: 30, Write: true}}},
		{"cuts both sides", [][3]any{{"W", 0, 10}, {"W", 20, 30}, {"R", 5, 25}}, []r{{Start: 0, End: 5, Write: true}, {Start: 5, End: 25}, {Start: 25, End: 30, Write: true}}},
		{"unlocks the middle", [][3]any{{"W", 0, 30}, {"U", 10, 20}}, []r{{Start: 0, End: 10, Write: true}, {Start: 20, End: 30, Write: true}}},
		{"unlocks what is not there", [][3]any{{"W", 0, 10}, {"U", 20, 30}}, []r{{Start: 0, End: 10, Write: true}}},
		{"unlocks all", [][3]any{{"W", 0, 10}, {"R", 20, 30}, {"U", 0, 30}}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			for _, op := range tc.ops {
				w.do(fmt.Sprintf("POSIXLOCK(1,1,7,%s,%d,%d,1)", op[0], op[1], op[2]))
			}
			list, ok := w.st.Plocks.Get(1)
			if !ok {
				list = []meta.PosixOwner{{}}
			}
			w.want("ranges", list[0].Ranges, tc.want)
		})
	}
}

// A session without admin rights did not change nodes of admin-only classes.
// The number of nodes without permission tells whether it was one.
func TestSetSClassByNonAdmin(t *testing.T) {
	tree := []string{
		"CREATE(1,d,2,493,0,5,0,0):2", "CREATE(2,f,1,420,0,5,0,0):3", "CREATE(2,g,1,420,0,5,0,0):4",
		"CREATE(2,h,1,420,0,6,0,0):5", "SCSET(adm,1,W1,K2,A1,1,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0):10",
		"SETSCLASS(3,0,10,10,0):1,0,0",
	}
	for _, tc := range []struct {
		op   string
		want uint8 // class of inode 3
	}{
		{"SETSCLASS(2,5,4,4,4):2,0,2", 10}, // not inode 5, of another user, and not 3
		{"SETSCLASS(2,5,4,4,4):3,0,1", 4},  // by an admin
	} {
		w := newWorld(t)
		w.do(tree...)
		w.do(tc.op)
		w.want("class after "+tc.op, w.node(3).Class, tc.want)
	}
	w := newWorld(t)
	w.do(tree...)
	w.fails("SETSCLASS(2,5,4,4,4):1,0,3", "number of changed inodes is 2, primary had 1")
}

// The master's own archiving does not care for immutable files, and counts
// chunks that SETFILECHUNK has taken out just before.
func TestArchiveInBackground(t *testing.T) {
	w := newWorld(t)
	w.do("CREATE(1,f,1,420,0,0,0,0):2", "WRITE(2,0,1,0):1", "WRITE(2,1,1,0):2", "SETEATTR(2,0,128,0):1,0,0", "ARCHCHG(2,0,1):2,1,0")
	w.want("flags", fmt.Sprint(w.chunk(1).Flags, w.chunk(2).Flags), "1 1")
	w.do("WRITE(2,2,1,0):3", "WRITE(2,3,1,0):4")
	w.fails("ARCHCHG(2,0,1):1,3,0", "number of changed chunks is 2, primary had 1")
}

// Each entry of a client tells that its session is connected.
func TestSessionComesBack(t *testing.T) {
	for _, op := range []string{"ACQUIRE(1,1)", "RELEASE(1,9)", "SESCHANGED(1,#1,1,0,0022,0,0,0,0,1,9,0,9,0x00000000,9,/mnt)"} {
		w := newWorld(t)
		w.do(session+"1", "ACQUIRE(1,9)", "SESDISCONNECTED(1)")
		s, _ := w.st.Sessions.Get(1)
		w.want("disconnected", s.Disconnected, w.now)
		w.do(op)
		s, _ = w.st.Sessions.Get(1)
		w.want("disconnected after "+op, s.Disconnected, 0)
	}
}

// A metadata file that was stored between a client's goodbye and the entries by
// which the primary forgets it has nothing of the session any more.
func TestSessionGoneBeforeItsEnd(t *testing.T) {
	w := newWorld(t)
	w.do(session+"1", session+"2", "ACQUIRE(2,1)", "FLOCK(1,2,7,R)")
	w.st.Sessions.Delete(1) // as loading such a file leaves it
	w.do("FLOCK(1,1,9,U)", "SESDEL(1)")
	list, _ := w.st.Flocks.Get(1)
	w.want("locks", list, []meta.Flock{{Session: 2, Owner: 7}})
	w.fails("FLOCK(1,2,9,U)", "lock of owner 9 of session 2 on inode 1: result differs (status 32)")
	w.fails("SESDEL(3)", "session 3: bad session id (status 35)")
	w.fails("SESDEL(0)", "session 0: bad session id (status 35)")
	w.st.Sessions.Delete(2) // as no file has it
	w.fails("SESDEL(2)", "session 2: bad session id (status 35)")
}

// The primary lowers times in the free queue also in checks that leave no
// entry. An entry that names the right inodes is right.
func TestFreeInodesAfterClockWentBack(t *testing.T) {
	w := newWorld(t)
	w.do("CREATE(1,l,4,420,0,0,0,0):2", "CREATE(1,m,4,420,0,0,0,0):3")
	w.now += 100
	w.do("UNLINK(1,l):2", "UNLINK(1,m):3")
	w.now += 250
	w.fails("FREEINODES(300):1,0,3", "xor of inodes is 2, primary had 3")
	w = newWorld(t)
	w.do("CREATE(1,l,4,420,0,0,0,0):2", "UNLINK(1,l):2", "FREEINODES(300):1,0,2", "CREATE(1,m,4,420,0,0,0,0):2")
}

// Inodes that are still open wait anew, behind the others.
func TestFreeInodesOpen(t *testing.T) {
	w := newWorld(t)
	w.do(session+"1", "CREATE(1,l,4,420,0,0,0,0):2", "CREATE(1,m,4,420,0,0,0,0):3", "ACQUIRE(1,2)", "UNLINK(1,l):2", "UNLINK(1,m):3")
	w.now += 1000
	w.do("FREEINODES(300):1,1,1")
	first, _ := w.st.Inodes.FirstFree()
	w.want("first", first, meta.FreedInode{Inode: 2, Freed: w.now})
	w.want("last freed", w.st.LastFreed, w.now)
}

// All digits of a group id count, in what is copied and for whom.
func TestSnapshotGroups(t *testing.T) {
	w := newWorld(t)
	w.do("CREATE(1,d,2,493,0,0,0,0):2", "CREATE(2,f,1,416,0,0,1002,0):3", "CREATE(2,g,1,416,0,0,2,0):4",
		"SNAPSHOT(2,1,copy,0,0,1000,[1001,1002],18):3,0,0,0,0,2")
	w.want("owner", w.node(5).GID, 1001)
	w.want("only the file of the group", w.node(6).Mode, 0o640)
}

// A chunk table may have any number of holes, which cost nothing.
func TestHugeIndex(t *testing.T) {
	w := newWorld(t)
	w.do("CREATE(1,f,1,420,0,0,0,0):2", "WRITE(2,2147483647,1,0):1", "WRITE(2,0,1,0):2",
		"SNAPSHOT(2,1,g,0,0,0,[0],18):3,0,0,0,0,1", "WRITE(3,2147483647,1,0):3", "LENGTH(2,5,0)", "LENGTH(3,18446744073709551615,0)",
		"ARCHCHG(1,0,1):1,0,0", "UNLINK(1,g):3", "PURGE(3)")
	w.want("slots", w.node(2).Slots, 1)
}

// Trees may be as deep as they like.
func TestDeepTree(t *testing.T) {
	w := newWorld(t)
	const depth = 100_000
	batch := changelog.NewBatch()
	apply := func(format string, args ...any) {
		t.Helper()
		batch.Reset()
		now, op, err := batch.Parse(fmt.Appendf(fmt.Appendf(nil, "%d|", w.now), format, args...))
		if err == nil {
			err = changelog.ApplyEntry(w.st, changelog.Entry{Time: now, Op: op})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// From the bottom up, since each change goes up to the root.
	apply("CREATE(1,x,2,493,0,0,0,0):2")
	for i := 2; i <= depth; i++ {
		apply("CREATE(1,y,2,493,0,0,0,0):%d", i+1)
		apply("MOVE(1,x,%d,d):%d", i+1, i)
		apply("MOVE(1,y,1,x):%d", i+1)
	}
	apply("SETEATTR(1,0,1,4):%d,0,0", depth+1)
	apply("SETTRASHTIME(1,0,0,4):%d,0,0", depth+1)
	apply("SETSCLASS(1,0,3,3,4):%d,0,0", depth+1)
	apply("RENUMERATEEDGES():%d", meta.EdgeIDMax-1-depth)
}
