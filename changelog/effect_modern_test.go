package changelog_test

import (
	"fmt"
	"strings"
	"testing"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/oprand"
)

// Here is what entries of 4.x do beyond those of 3.x.

// newModernWorld is a file system that a primary of 3.0.117 had before 4.59.2,
// whose root and new files have class 2.
func newModernWorld(t *testing.T) *world {
	w := &world{t, oprand.Fresh(start), start + 1}
	if err := changelog.SetRelease(w.st, meta.Latest, 0); err != nil {
		t.Fatal(err)
	}
	return w
}

// classEntry makes or changes class "c" with id 10: one label to keep, two to
// archive, one to trash.
func classEntry(created int, archMode uint8, delay, minSize, minTrash int) string {
	return fmt.Sprintf("SCSET(c,%d,1,,0,0,C(0:0:255),K(1:0:255),A(2:0:0:255),T(1:0:0:255),1,(%d:%d:%d),%d,0,C0,C0,C1,FF):10", created, archMode, delay, minSize, minTrash)
}

func (w *world) dir(ino meta.Inode) meta.Dir {
	w.Helper()
	d, ok := w.st.Dirs.Get(ino)
	if !ok {
		w.Fatalf("no directory %d", ino)
	}
	return d
}

// withFile makes file 2 of class 10 with chunk 1, of length 5.
func (w *world) withFile(class string) {
	w.Helper()
	w.do(class, "CREATE(1,f,1,420,0,0,0,0):2", "SETSCLASS(2,0,1,10,0):1,0,0", "WRITE(2,0,1,0):1", "LENGTH(2,5,0)", "UNLOCK(1)")
}

func TestUnlockKeepsTheTime(t *testing.T) {
	w := newModernWorld(t)
	w.do("CREATE(1,f,1,420,0,0,0,0):2", "WRITE(2,0,1,0):1")
	w.want("lock while writing", w.chunk(1).LockedTo, w.now+120)
	w.do("UNLOCK(1)")
	w.want("lock afterwards", w.chunk(1).LockedTo, w.now-1)
	w.do("WRITE(2,0,1,0):1", "ROLLBACK(2,0,1,1)")
	w.want("lock after roll-back", w.chunk(1).LockedTo, w.now-1)
}

func TestVersionWithMarkForZeros(t *testing.T) {
	w := newModernWorld(t)
	w.do("CREATE(1,f,1,420,0,0,0,0):2", "WRITE(2,0,1,0):1", "UNLOCK(1)", "SETVERSION(1,2147483653)")
	w.want("chunk", w.chunk(1).Flags, meta.ChunkZeros)
	w.want("version", w.chunk(1).Version, 5)
	w.do("REPAIR(2,0):7")
	w.want("chunk after repair", w.chunk(1).Flags, 0)
	w.want("version after repair", w.chunk(1).Version, 7)
}

func TestAutoArch(t *testing.T) {
	w := newModernWorld(t)
	w.withFile(classEntry(1, meta.ArchModeCtime, 1, 0, 0))
	w.want("real size", w.dir(1).Stats.RealSize, 2*w.dir(1).Stats.Size) // archived or not
	w.do(fmt.Sprintf("AUTOARCH(2,%d,0):0,0", w.now-1))                  // the lock ended then
	w.do(fmt.Sprintf("AUTOARCH(2,%d,0):1,0", w.now))
	w.want("flags", w.chunk(1).Flags, meta.ChunkArchive)
	w.do("AUTOARCH(2,4294967295,0):0,0", "AUTOARCH(2,4294967295):0")
	w.do("CHUNKFLAGSCLR(1)")
	w.want("flags", w.chunk(1).Flags, 0)
	w.do("WRITE(2,0,1,0):1")
	w.fails("CHUNKFLAGSCLR(1)", "chunk 1: chunk locked (status 11)")
	w.fails("AUTOARCH(1,0,0):0,0", "inode 1: operation not permitted (status 1)")
	w.fails("AUTOARCH(2,4294967295,0):0,0", "number of archived chunks is 1, primary had 0")
}

// What a class archives by a time comes back when that time changes, if the
// class says so, and stays until it is archived again.
func TestTouchedFileLeavesTheArchive(t *testing.T) {
	const reversible = meta.ArchModeReversible
	for _, tc := range []struct {
		name  string
		mode  uint8
		entry string
		back  bool
	}{
		{"read, by access", meta.ArchModeAtime | reversible, "ACCESS(2)", true},
		{"read, by change", meta.ArchModeCtime | reversible, "ACCESS(2)", false},
		{"not reversible", meta.ArchModeAtime, "ACCESS(2)", false},
		{"changed", meta.ArchModeCtime | reversible, "ATTR(2,420,0,0,1,1,0,0)", true},
		{"times set back", meta.ArchModeMtime | reversible, "AMTIME(2,1,1,1)", false},
		{"times set forward", meta.ArchModeMtime | reversible, fmt.Sprintf("AMTIME(2,1,%d,1)", start+7200), true},
		{"linked", meta.ArchModeCtime | reversible, "LINK(2,1,g)", true},
		{"moved", meta.ArchModeCtime | reversible, "MOVE(1,f,1,g,0):2", true},
		{"attribute set", meta.ArchModeCtime | reversible, "SETXATTR(2,user.a,v,0)", true},
		{"length, times kept", meta.ArchModeMtime | reversible, "LENGTH(2,6,0)", false},
		{"length", meta.ArchModeMtime | reversible, "LENGTH(2,6,1)", true},
		{"to the trash", meta.ArchModeCtime | reversible, "UNLINK(1,f):2", true},
		{"write", meta.ArchModeMtime | reversible, "WRITE(2,0,0,1):1", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newModernWorld(t)
			w.withFile(classEntry(1, tc.mode, 1, 0, 0))
			w.do("ARCHCHG(2,0,1):1,0,0") // also ends that it stays out
			w.want("file stays out", w.node(2).Flags&meta.KeepMode, 0)
			w.now += 7200
			w.do(tc.entry)
			w.want("in the archive", w.chunk(1).Flags&meta.ChunkArchive == 0, tc.back)
			w.want("stays out", w.node(2).Flags&meta.KeepMode != 0, tc.back)
			w.do("AUTOARCH(2,4294967295,0):" + map[bool]string{true: "1", false: "0"}[tc.back] + ",0")
			w.want("stays out after being archived", w.node(2).Flags&meta.KeepMode, 0)
		})
	}
}

// A file that is too short for the archive leaves it too; a purged file takes
// chunks that it shares out of it.
func TestShortAndPurgedFilesLeaveTheArchive(t *testing.T) {
	w := newModernWorld(t)
	w.withFile(classEntry(1, meta.ArchModeMtime|meta.ArchModeReversible, 0, 4, 0))
	w.do("ARCHCHG(2,0,1):1,0,0")
	w.now += 10
	w.do("LENGTH(2,4,0)", "AMTIME(2,1,1,1)")
	w.want("long enough", w.chunk(1).Flags, meta.ChunkArchive)
	w.do("LENGTH(2,3,0)", "AMTIME(2,1,2,1)")
	w.want("too short", w.chunk(1).Flags, 0)

	w = newModernWorld(t)
	w.withFile(classEntry(1, meta.ArchModeCtime|meta.ArchModeReversible, 1, 0, 0))
	w.do("SETTRASHTIME(2,0,0,0):1,0,0", "SNAPSHOT(2,1,s,0,0,0,[0],0):3,0,0,0,0,1", "ARCHCHG(2,0,1):1,0,0", "ARCHCHG(3,0,1):0,1,0", "UNLINK(1,s):3")
	w.want("shared chunk", w.chunk(1).Flags, 0)
}

func TestArchChgKeepsOut(t *testing.T) {
	w := newModernWorld(t)
	w.withFile(classEntry(1, meta.ArchModeCtime, 1, 0, 0))
	w.do("ARCHCHG(2,0,0):0,1,0")
	w.want("stays out", w.node(2).Flags, meta.KeepMode)
	w.want("real size", w.dir(1).Stats.RealSize, w.dir(1).Stats.Size) // one copy to keep
	w.fails("ARCHCHG(2,0,2):0,1,0", "inode 2: invalid argument (status 6)")
}

func TestEmptyFilesAreNotKept(t *testing.T) {
	w := newModernWorld(t)
	w.do("CREATE(1,f,1,420,0,0,0,0):2", "UNLINK(1,f):2")
	if _, ok := w.st.Nodes.Get(2); ok {
		t.Error("an empty file went to the trash")
	}
	w.do("CREATE(1,f,1,420,0,0,0,0):3", strings.Replace(session, ",1,9,", ",0xFFFF,", 1)+"1", "ACQUIRE(1,3)", "UNLINK(1,f):3")
	w.want("open file", w.node(3).Type, meta.TypeTrash)
	w.do("CREATE(1,f,1,420,0,0,0,0):4", "LENGTH(4,1,0)", "UNLINK(1,f):4")
	w.want("file with data", w.node(4).Type, meta.TypeTrash)
}

func TestTrashMarksChunks(t *testing.T) {
	w := newModernWorld(t)
	w.withFile(classEntry(1, meta.ArchModeCtime, 1, 0, 24))
	w.do("SETTRASHTIME(2,0,86400,0):0,1,0", "UNLINK(1,f):2")
	w.now += 300
	w.do("EMPTYTRASH(2):0,0,0,0") // mtime is that of LENGTH
	w.now++
	w.do("EMPTYTRASH(2):0,0,1,0")
	w.want("flags", w.chunk(1).Flags, meta.ChunkTrash)
	w.fails("EMPTYTRASH(2):0,0,0,0", "number of files marked as trash is 1, primary had 0")
	w.do("EMPTYTRASH(2):0,0,1,0", "EMPTYTRASH(2):0,0,0") // counts again; not compared where it is not told
	w.do("AUTOARCH(2,0,1):0,0", "UNDEL(2)")
	w.want("flags after recovery", w.chunk(1).Flags, 0)

	w.do("SNAPSHOT(2,1,s,0,0,0,[0],0):3,0,0,0,0,1", "UNLINK(1,f):2")
	w.now += 400
	w.do("EMPTYTRASH(2):0,0,0,0") // a snapshot holds the chunk too
	c, _ := w.st.Chunks.Edit(1)
	c.Flags |= meta.ChunkTrash
	w.do("AUTOARCH(2,0,1):0,1")
}

func TestTrashWaitsForRetention(t *testing.T) {
	w := newModernWorld(t)
	w.withFile(classEntry(1, meta.ArchModeCtime, 1, 0, 25))
	w.do("UNLINK(1,f):2")
	w.now += 400
	w.do("EMPTYTRASH(2):0,0,0,0") // 24 hours are too few
	w.now += 86400
	w.do("EMPTYTRASH(2):1,0,0,2")
}

func TestTrashRecover(t *testing.T) {
	w := newModernWorld(t)
	w.do("CREATE(1,d,2,511,0,7,8,0):2", "CREATE(2,f.x,1,420,0,7,8,0):3", "WRITE(3,0,1,0):1", "LENGTH(3,5,0)", "UNLOCK(1)", "UNLINK(2,f.x):3")
	w.fails("TRASH_RECOVER(3,1,a/b,0,9,0,0):()", "inode 3: operation not permitted (status 1)")
	w.fails("TRASH_RECOVER(3,1,a/,0,7,8,0):()", `path "a/": inode 3: invalid argument (status 6)`)
	w.fails("TRASH_RECOVER(2,1,a,0,0,0,0):()", "inode 2: invalid argument (status 6)")
	w.fails("TRASH_RECOVER(3,4,a,0,0,0,0):()", "inode 4: no such file or directory (status 3)")
	w.now++
	w.do("TRASH_RECOVER(3,2,/a//b/c.x,18,7,8,0):()")
	w.want("directory", w.node(4).Mode, 0o755)
	w.want("owner", w.node(4).UID, 7)
	w.want("file", w.node(3).Type, meta.TypeFile)
	w.want("ctime", w.node(3).Ctime, w.now)
	edge, _ := w.st.Edges.Get(5, []byte("c.x"))
	w.want("inode at a/b/c.x", edge.Child, 3)

	// Its own path, and names that were in the way, one with random digits.
	w.do("UNLINK(5,c.x):3", "CREATE(5,c.x,1,420,0,0,0,0):6", "TRASH_RECOVER(3,1,,0,0,0,0):(d/a/b/c %281%29.x)", "UNLINK(5,c %281%29.x):3",
		"CREATE(1,e,1,420,0,0,0,0):7", "TRASH_RECOVER(3,1,e/c,0,0,0,0):(e %280A1B2C3D%29/c)")
	edge, _ = w.st.Edges.Get(1, []byte("e (0A1B2C3D)"))
	w.want("directory made", edge.Child, 8)
	w.do("UNLINK(8,c):3")
	w.fails("TRASH_RECOVER(3,1,e/c,0,0,0,0):()", `name "e" in inode 1: file exists (status 5)`)
	w.do("TRASH_REMOVE(3)")
	w.fails("TRASH_REMOVE(3)", "inode 3: no such file or directory (status 3)")
}

// A directory that is made takes over the set group id bit if asked to.
func TestTrashRecoverCopiesSGID(t *testing.T) {
	for _, copied := range []int{0, 1} {
		w := newModernWorld(t)
		w.do("CREATE(1,d,2,1535,0,7,8,0):2", "CREATE(2,f,1,420,0,0,0,0):3", "LENGTH(3,5,0)", "UNLINK(2,f):3",
			fmt.Sprintf("TRASH_RECOVER(3,2,x/y,0,0,0,%d):()", copied))
		w.want("mode", w.node(4).Mode&0o2000 != 0, copied != 0)
		w.want("group", w.node(4).GID, 8)
	}
}

func TestPatterns(t *testing.T) {
	w := newModernWorld(t)
	w.do(classEntry(1, 1, 1, 0, 0), "PATADD(*.a,4294967295,4294967295,5,3,10,7,0,0)", "PATADD(x*,1001,4294967295,9,4,0,0,12,2)",
		"PATADD(*b*,4294967295,5,7,2,0,9,0)", "PATADD(*.a,4294967295,4,5,3,10,8,0,0)")
	w.fails("PATADD(*.a,4294967295,4294967295,1,3,10,1,0,0)", `pattern "*.a": pattern already exists (status 55)`)
	w.fails("PATADD(q,1,1,1,4,0,0,0,0)", `pattern "q": invalid argument (status 6)`)
	w.fails("PATADD(q,1,1,1,4,0,0,3,1)", `pattern "q": invalid argument (status 6)`)
	w.fails("PATDEL(*.a,1,4)", `pattern "*.a": no such pattern (status 57)`)
	var order []string
	for i, p := range w.st.Patterns.Scan(0) {
		order = append(order, fmt.Sprintf("%d %s %d", i, p.Glob, p.TrashHours))
	}
	w.want("order", order, "[0 x* 0 1 *b* 9 2 *.a 7 3 *.a 8]")

	w.do("CREATE(1,x.a,1,420,0,0,4,0):2", "CREATE(1,x.a2,1,420,0,1001,4,0):3", "CREATE(1,b.a,2,511,0,0,5,0):4")
	w.want("class", w.node(2).Class, 10)
	w.want("retention", w.node(2).TrashHours, 7)
	w.want("attributes", w.node(3).Eattr, 8) // not "no entry cache", which only directories have
	w.want("first that fits", w.node(4).TrashHours, 9)
	w.want("class of a directory", w.node(4).Class, 2)
	ctime := w.node(3).Ctime
	w.now++
	w.do("MOVE(1,x.a2,1,y.a,0):3")
	w.want("class after renaming", w.node(3).Class, 10)
	w.want("ctime", w.node(3).Ctime, ctime+1)
	w.do("MOVE(1,y.a,1,x.a,1):0")
	w.want("retention after exchange", w.node(2).TrashHours, 7)
	edge, _ := w.st.Edges.Get(1, []byte("y.a"))
	w.want("exchanged", edge.Child, 2)
	w.fails("MOVE(1,y.a,1,x.a,2):2", `name "x.a" in inode 1: file exists (status 5)`)
	w.fails("MOVE(1,y.a,1,none,1):0", `name "none" in inode 1: no such file or directory (status 3)`)
	w.do("UNLINK(1,x.a):3", "UNLINK(1,y.a):2", "SCDEL(c):10")
	w.want("patterns left", w.st.PatternCount, 2)
	w.do("PATDEL(x*,1001,4294967295)", "CREATE(1,x,2,511,0,1001,0,0):5")
	w.want("attributes without pattern", w.node(5).Eattr, 0)
}

// In a directory that hands on its group, entries do not tell the user's.
func TestPatternOfHiddenGroup(t *testing.T) {
	w := newModernWorld(t)
	w.do("PATADD(*.a,1001,1001,5,2,0,7,0,0)", "PATADD(*.b,4294967295,1001,5,2,0,8,0,0)", "CREATE(1,d,2,1535,0,0,0,0):2", "CREATE(1,e,2,511,0,0,0,0):3",
		"CREATE(2,f.a,1,420,0,1001,0,0):4", "CREATE(2,f.b,1,420,0,1001,0,0):5", "CREATE(3,f.a,1,420,0,1001,0,0):6", "CREATE(2,g.a,1,420,0,1002,0,0):7")
	w.want("retention", fmt.Sprint(w.node(4).TrashHours, w.node(5).TrashHours, w.node(6).TrashHours, w.node(7).TrashHours), "7 24 24 24")
}

// Exchanging a directory with one above it would lose both.
func TestExchangeOfAncestor(t *testing.T) {
	w := newModernWorld(t)
	w.do("CREATE(1,a,2,511,0,0,0,0):2", "CREATE(2,b,2,511,0,0,0,0):3", "CREATE(3,c,1,420,0,0,0,0):4", "CREATE(1,f,1,420,0,0,0,0):5")
	w.fails("MOVE(3,c,1,a,1):0", "inode 2: invalid argument (status 6)")
	w.fails("MOVE(1,a,3,c,1):0", "inode 2: invalid argument (status 6)")
	w.fails("MOVE(1,f,2,b,1):5", "inode is 0, primary had 5")
	w.do("MOVE(1,f,2,b,1):0")
	w.want("parent of the directory", w.dir(3).Parent, 1)
	w.want("subdirectories", fmt.Sprint(w.dir(1).Subdirs, w.dir(2).Subdirs), "2 0")
}

func TestErasureCodes(t *testing.T) {
	const ec = "SCSET(e,1,1,,0,0,C(0:0:255),K(1:0:255),A(1:0:%d:255),T(0:0:0:255),1,(1:1:0),0,0,FF,FF):10"
	w := newModernWorld(t)
	w.fails(fmt.Sprintf(ec, 0x81), `storage class "e" has erasure code 0x81, version 0 is in use: result differs (status 32)`)
	w.do("SCECON()")
	w.fails("SCECVERSION(1)", "version 1 of erasure coding is in use: result differs (status 32)")
	w.fails(fmt.Sprintf(ec, 0x41), `storage class "e" has erasure code 0x41, version 1 is in use: result differs (status 32)`)
	w.fails(fmt.Sprintf(ec, 0x51), `storage class "e": invalid argument (status 6)`)
	w.do("SCECVERSION(2)", fmt.Sprintf(ec, 0x41), "CREATE(1,f,1,420,0,0,0,0):2", "SETSCLASS(2,0,1,10,0):1,0,0", "WRITE(2,0,1,0):1", "LENGTH(2,65536,0)")
	w.want("real size", w.dir(1).Stats.RealSize, w.dir(1).Stats.Size*5/4)
	w.do(strings.Replace(fmt.Sprintf(ec, 1), "SCSET(e,1", "SCSET(e,0", 1))
	class, _ := w.st.Classes.Get(10)
	w.want("code without data parts", class.Parts[meta.PartArch].EC, 0x81)
}

// Classes in the form of older releases, as in a changelog from before an
// upgrade.
func TestOldFormOfClass(t *testing.T) {
	w := newModernWorld(t)
	w.do("SCSET(o,1,W1,K2,A1,2,3,1,3,0,0,0,1,6,0,0,0,0,0,0,4,0,0,0):10")
	class, _ := w.st.Classes.Get(10)
	w.want("delay in hours", class.ArchDelay, 72)
	w.want("labels to keep", fmt.Sprintf("%x", class.Parts[meta.PartKeep].Exprs), "[c0c1c28040 ]")
	w.want("labels to create", fmt.Sprintf("%x", class.Parts[meta.PartCreate].Exprs), "[c0c180]")
	w.want("mode", class.Mode, 2)
}

func TestAddAttr(t *testing.T) {
	w := newModernWorld(t)
	w.do("CREATE(1,f,1,416,0,0,0,0):2", "SETXATTR(2,user.b,old,0)")
	w.now++
	w.do("ADDATTR(2,3,%05%10)", "ADDATTR(2,4,%00%02%06user.a%00%00%00%01x%06user.b%00%00%00%00)")
	w.want("windows attributes", w.node(2).Winattr, 5)
	w.want("attributes", w.node(2).Eattr, 0x10)
	w.want("xattrs", w.st.Xattrs.Names(2), "[user.a user.b]")
	w.want("ctime", w.node(2).Ctime, w.now-1)
	w.do("ADDATTR(2,4,%00%02%06user.b%00%00%00%00%06user.a%00%00%00%01x)")
	w.want("order of the same xattrs", w.st.Xattrs.Names(2), "[user.a user.b]")
	w.do("ADDATTR(2,8,%03%00%07%00%05%00%00%FF%FF%00%00%00%00%00%06%00%06%00%06%00%07%00%01%00%00%00%00%00%09%00%04)")
	w.want("mode of a simple ACL", w.node(2).Mode, 0o750)
	w.want("ctime", w.node(2).Ctime, w.now)
	w.want("kinds of ACL", w.node(2).Flags, meta.HasXattr|meta.HasDefaultACL)
	a, _ := w.st.ACLs.Get(meta.ACLKey{Inode: 2, Type: meta.ACLDefault})
	w.want("named user", a.Users, "[{9 4}]")
	w.do("ADDATTR(2,12,%00%00%00)")
	w.want("nothing left", w.node(2).Flags, 0)
	const bad = "values of attributes 0x8: inode 2: invalid argument (status 6)"
	w.fails("ADDATTR(2,8,%01%00%07)", bad)
	w.fails("ADDATTR(2,8,%00a)", bad)
}

func TestSessionOf4(t *testing.T) {
	w := newModernWorld(t)
	w.do(session+"1", "SESDISCONNECTED(1)")
	s, _ := w.st.Sessions.Get(1)
	w.want("groups of goals", s.Groups, 0x3FF)
	w.want("disconnected", s.Disconnected, w.now)
	w.do("SESCONNECTED(1)")
	s, _ = w.st.Sessions.Get(1)
	w.want("connected", s.Disconnected, 0)
	w.fails("SESCONNECTED(2)", "session 2: not found (status 41)")
}

// What differs in small ways.
func TestChangesOf4(t *testing.T) {
	w := newModernWorld(t)
	w.fails("CREATE(1,b,5,420,0,1,0,7):2", `name "b" in inode 1: operation not permitted (status 1)`)
	w.do("QUOTA(1,0,1,0,5,0,0,0,0,0,0,0,60)", "QUOTA(1,0,1,0,5,0,0,0,0,0,0,0,0)")
	q, _ := w.st.Quotas.Get(1)
	w.want("grace period", q.Grace, 0)
	w.do("CREATE(1,f,1,420,0,0,0,0):2", "WRITE(2,1,1,0):1", "UNLOCK(1)", "SETFILECHUNK(2,1,0)")
	w.want("lock of a lost chunk", w.chunk(1).LockedTo, w.now-1)
	w.do("SCREN(1,one):1")
	st := newModernWorld(t).st
	st.MetaID = 0
	w = &world{t, st, start}
	w.do("SETMETAID(7340032000123456789)")
	w.want("root's time", w.node(1).Ctime, w.now)
	root, _ := st.Nodes.Edit(1)
	root.Atime, root.Mtime, root.Ctime = 0, 0, 0
	w.do("SETMETAID(7340032000123456789)")
	w.want("times of a root that waits for them", w.node(1).Atime, w.now)
	w.fails("SETMETAID(7340032000123456780)", "cluster id is 7340032000123456789 already: invalid argument (status 6)")
}

// Where nothing tells the release, the first session of a new file system does.
func TestFirstSessionTells(t *testing.T) {
	w := newWorld(t)
	w.do(strings.Replace(session, ",1,9,", ",0xFFFF,", 1) + "1")
	w.want("release", w.st.Release, meta.Latest)
	w.want("class of root", w.node(1).Class, 1)
	class, _ := w.st.Classes.Get(4)
	w.want("name of a class", class.Name, "EC8+1")

	w = newWorld(t)
	w.st.Release = meta.Reproduced
	w.do("CREATE(1,f,1,420,0,0,0,0):2")
	w.fails(strings.Replace(session, ",1,9,", ",0xFFFF,", 1)+"1", "the entry is one of MooseFS 4.x, the image one of 3.0.117")
}

// A grace period alone makes a quota, which only its removal takes away.
func TestQuotaOfGraceOnly(t *testing.T) {
	w := newModernWorld(t)
	w.do("QUOTA(1,0,0,0,0,0,0,0,0,0,0,0,25)")
	q, ok := w.st.Quotas.Get(1)
	w.want("quota", fmt.Sprint(ok, q.Grace), "true 25")
	w.do("QUOTA(1,0,0,0,0,0,0,0,0,0,0,0,0)")
	_, ok = w.st.Quotas.Get(1)
	w.want("quota afterwards", ok, false)
}
