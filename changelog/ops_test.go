package changelog

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
)

const (
	max32 = 1<<32 - 1
	max64 = 1<<64 - 1
)

// long is a name of the greatest length.
var long = strings.Repeat("n", meta.MaxName)

// ugly has every kind of byte that is escaped, and uglyText is how.
const (
	ugly     = "a b%,()\x01\n\x7f\xff|:/[\""
	uglyText = "a b%25%2C%28%29%01%0A%7F%FF|:/[\""
)

// counts are distinct results of an operation that walks a tree.
var counts = Counts{Changed: 5, NotChanged: 6, NotPermitted: max32}

// session is what every spelling below has in common.
var session = SessionData{Root: 2, Flags: 3, RootUID: 4, RootGID: 5, MapUID: 6, MapGID: 7, MinGoal: 8, MaxGoal: 9,
	MinTrash: 10, MaxTrash: max32, Peer: 11, Info: []byte("/mnt\x00")}

// sessionWith changes a copy of session.
func sessionWith(change func(*SessionData)) SessionData {
	d := session
	change(&d)
	return d
}

// snapshotWith changes the Snapshot that every spelling has in common.
func snapshotWith(change func(*Snapshot)) *Snapshot {
	op := &Snapshot{Source: 1, Parent: 2, Base: []byte("s"), Mode: 3, SesFlags: 4, UID: 5, GIDs: []uint32{6}, Umask: 7}
	change(op)
	return op
}

// modernSet is a SCSet with everything that 4.59.2 writes.
var modernSet = &SCSet{Class: []byte("c"), New: 1, Mode: 9, ArchDelay: 65535, AdminOnly: 12, ID: 65535, ClassData: ClassData{
	Form: FormGroup, Description: []byte(ugly), Priority: max32, Group: 255, ArchMode: 10, ArchMinSize: max64, MinTrash: 11,
	Parts: [meta.ClassParts]ClassPart{
		{Uniq: 2, Mode: 3, Exprs: [][]byte{{0xC0}}},
		{Uniq: max32, Mode: 255, Exprs: [][]byte{{}, {0xFF}}},
		{Uniq: 5, EC: 0x81, Mode: 6, Exprs: [][]byte{{0xC0, 0xC1, 0x01, 0xC2, 0x80}}},
		{Uniq: 7, EC: 0x41, Mode: 8, Exprs: [][]byte{{0x01}}},
	},
}}

// setWith is a SCSet with one label to keep.
func setWith(form ClassForm, change func(*SCSet)) *SCSet {
	op := &SCSet{Class: []byte("c"), Mode: 1, ArchDelay: 24}
	op.Form = form
	for i := range op.Parts {
		op.Parts[i].Mode = meta.ClassMode
	}
	op.Parts[meta.PartKeep].Exprs = [][]byte{{}}
	change(op)
	return op
}

// spellings has, for each operation, every spelling with a different value in
// each argument, and the extreme values.
var spellings = []struct {
	text string
	want Op
}{
	{"ACCESS(4294967295)", &Access{Inode: max32}},
	{"ACQUIRE(1,2)", &Acquire{Session: 1, Inode: 2}},
	{"AQUIRE(1,2)", &Acquire{Session: 1, Inode: 2, Aquire: true}},
	{"AMTIME(1,2,3,4294967295)", &AMTime{Inode: 1, Atime: 2, Mtime: 3, Ctime: max32}},
	{"APPEND(1,2,3,4)", &AppendChunks{Inode: 1, Source: 2, From: 3, To: 4}},
	{"APPEND(1,2,4294967295,0)", &AppendChunks{Inode: 1, Source: 2, From: max32}},
	{"APPEND(1,2)", &AppendChunks{Inode: 1, Source: 2, From: max32, Whole: true}},
	{"ARCHCHG(1,2,255):18446744073709551615,3,4", &ArchChg{Inode: 1, UID: 2, Command: 255, Changed: max64, NotChanged: 3, NotPermitted: 4}},
	{"ADDATTR(1,255," + uglyText + "%00)", &AddAttr{Inode: 1, Kinds: 255, Values: []byte(ugly + "\x00")}},
	{"ADDATTR(1,0,)", &AddAttr{Inode: 1, Values: []byte{}}},
	{"AUTOARCH(1,4294967295,2):3,4294967295", &AutoArch{Inode: 1, RefTime: max32, InTrash: 2, Archived: 3, Untrashed: max32}},
	{"AUTOARCH(1,2):3", &AutoArch{Inode: 1, RefTime: 2, InTrash: 1, Archived: 3, Short: true}},
	{"ATTR(1,2,3,4,5,6,255,65535)", &Attr{Inode: 1, Mode: 2, UID: 3, GID: 4, Atime: 5, Mtime: 6, Winattr: 255, ACLMode: 65535}},
	{"ATTR(1,2,3,4,5,6,65535)", &Attr{Inode: 1, Mode: 2, UID: 3, GID: 4, Atime: 5, Mtime: 6, ACLMode: 65535, OldArgs: 7}},
	{"ATTR(1,2,3,4,5,6)", &Attr{Inode: 1, Mode: 2, UID: 3, GID: 4, Atime: 5, Mtime: 6, ACLMode: 2, OldArgs: 6}},
	{"CHUNKADD(18446744073709551615,2,3)", &ChunkAdd{Chunk: max64, ChunkVersion: 2, LockedTo: 3}},
	{"CHUNKDEL(1,2)", &ChunkDel{Chunk: 1, ChunkVersion: 2}},
	{"CHUNKFLAGSCLR(18446744073709551615)", &ChunkFlagsClr{Chunk: max64}},
	{"CREATE(1," + uglyText + ",6,65535,18,3,4,5):7", &Create{Parent: 1, Base: []byte(ugly), Type: meta.TypeCharDev, Mode: 65535, Umask: 18, UID: 3, GID: 4, Rdev: 5, Inode: 7}},
	{"CREATE(1," + long + ",15,1,2,3,4,5):7", &Create{Parent: 1, Base: []byte(long), Type: 15, Mode: 1, Umask: 2, UID: 3, GID: 4, Rdev: 5, Inode: 7}},
	{"CREATE(1,a,f,2,3,4,5):7", &Create{Parent: 1, Base: []byte("a"), Type: meta.TypeFile, Mode: 2, UID: 3, GID: 4, Rdev: 5, Inode: 7, Letter: true}},
	{"CREATE(1,a,d,2,3,4,5):7", &Create{Parent: 1, Base: []byte("a"), Type: meta.TypeDir, Mode: 2, UID: 3, GID: 4, Rdev: 5, Inode: 7, Letter: true}},
	{"CREATE(1,a,s,2,3,4,5):7", &Create{Parent: 1, Base: []byte("a"), Type: meta.TypeSocket, Mode: 2, UID: 3, GID: 4, Rdev: 5, Inode: 7, Letter: true}},
	{"CSADD(1,65535)", &CSAdd{IP: 1, Port: 65535}},
	{"CSDBOP(255,4294967295,65535,2)", &CSDBOp{Op: 255, IP: max32, Port: 65535, Arg: 2}},
	{"CSDEL(1,2)", &CSDel{IP: 1, Port: 2}},
	{"CUSTOMER():1", &Session{Session: 1, Customer: true}},
	{"EMPTYRESERVED():1", &EmptySustained{Freed: 1, AllBuckets: true, NoXor: true, Reserved: true}},
	{"EMPTYSUSTAINED(255):1,2", &EmptySustained{Bucket: 255, Freed: 1, InodeXor: 2}},
	{"EMPTYSUSTAINED(1):2", &EmptySustained{Bucket: 1, Freed: 2, NoXor: true}},
	{"EMPTYSUSTAINED():1", &EmptySustained{Freed: 1, AllBuckets: true, NoXor: true}},
	{"EMPTYTRASH(4095):1,2,3", &EmptyTrash{Bucket: 4095, Freed: 1, Sustained: 2, InodeXor: 3}},
	{"EMPTYTRASH(4095):1,2,3,4294967295", &EmptyTrash{Bucket: 4095, Freed: 1, Sustained: 2, Marked: 3, InodeXor: max32, HasMarked: true}},
	{"EMPTYTRASH(1):2,3", &EmptyTrash{Bucket: 1, Freed: 2, Sustained: 3, NoXor: true}},
	{"EMPTYTRASH():1,2", &EmptyTrash{Freed: 1, Sustained: 2, AllBuckets: true, NoXor: true}},
	{"FLOCK(1,2,18446744073709551615,W)", &Flock{Inode: 1, Session: 2, Owner: max64, Kind: LockWrite}},
	{"FLOCK(1,2,3,R)", &Flock{Inode: 1, Session: 2, Owner: 3, Kind: LockRead}},
	{"FLOCK(1,2,3,U)", &Flock{Inode: 1, Session: 2, Owner: 3, Kind: LockUnlock}},
	{"FREEINODES(300):1,2,3", &FreeInodes{Delay: 300, Freed: 1, Sustained: 2, InodeXor: 3}},
	{"FREEINODES():1,2,3", &FreeInodes{Delay: 86400, Freed: 1, Sustained: 2, InodeXor: 3, NoDelay: true}},
	{"FREEINODES():1,2", &FreeInodes{Delay: 86400, Freed: 1, Sustained: 2, NoDelay: true, NoXor: true}},
	{"FREEINODES():1", &FreeInodes{Delay: 86400, Freed: 1, NoDelay: true, NoSustained: true, NoXor: true}},
	{"IDLE()", &Idle{}},
	{"INCVERSION(1)", &IncVersion{Chunk: 1}},
	{"LENGTH(1,18446744073709551615,0)", &Length{Inode: 1, Length: max64}},
	{"LENGTH(1,2)", &Length{Inode: 1, Length: 2, CanModMtime: 1, NoFlag: true}},
	{"LINK(1,2," + uglyText + ")", &Link{Inode: 1, Parent: 2, Base: []byte(ugly)}},
	{"MOVE(1,a%2C,2," + uglyText + "):3", &Move{SrcParent: 1, SrcBase: []byte("a,"), DstParent: 2, DstBase: []byte(ugly), Inode: 3}},
	{"MOVE(1,a%2C,2," + uglyText + ",2):3", &Move{SrcParent: 1, SrcBase: []byte("a,"), DstParent: 2, DstBase: []byte(ugly), Mode: MoveNoReplace, Inode: 3, HasMode: true}},
	{"MOVE(1,a,2,b,0):0", &Move{SrcParent: 1, SrcBase: []byte("a"), DstParent: 2, DstBase: []byte("b"), HasMode: true}},
	{"NEXTCHUNKID(1)", &NextChunkID{Chunk: 1}},
	{"PATADD(" + uglyText + ",4294967295,2,255,4,5,65535,6,7)", &PatAdd{Glob: []byte(ugly), UID: max32, GID: 2, Priority: 255, Mask: 4, Class: 5, TrashHours: 65535, SetEattr: 6, ClearEattr: 7}},
	{"PATADD(*,1,2,3,4,5,6,7)", &PatAdd{Glob: []byte("*"), UID: 1, GID: 2, Priority: 3, Mask: 4, Class: 5, TrashHours: 6, SetEattr: 7, NoClear: true}},
	{"PATDEL(" + uglyText + ",4294967295,2)", &PatDel{Glob: []byte(ugly), UID: max32, GID: 2}},
	{"POSIXLOCK(1,2,3,U,4,18446744073709551615,5)", &PosixLock{Inode: 1, Session: 2, Owner: 3, Kind: LockUnlock, Start: 4, End: max64, PID: 5}},
	{"PURGE(1)", &Purge{Inode: 1}},
	{"QUOTA(1,2,3,4,5,6,7,8,9,10,11,18446744073709551615,12)", &Quota{Inode: 1, Exceeded: 2, Flags: 3, SoftTime: 4, SoftInodes: 5, HardInodes: 6,
		SoftLength: 7, HardLength: 8, SoftSize: 9, HardSize: 10, SoftReal: 11, HardReal: max64, Grace: 12}},
	{"QUOTA(1,0,0,0,0,0,0,0,0,0,0,0)", &Quota{Inode: 1, NoGrace: true}},
	{"RELEASE(1,2)", &Release{Session: 1, Inode: 2}},
	{"RENUMERATEEDGES():9223372036854775806", &RenumerateEdges{NextEdge: meta.EdgeIDMax - 1}},
	{"REPAIR(1,2):3", &Repair{Inode: 1, Index: 2, ChunkVersion: 3}},
	{"ROLLBACK(1,2,3,4)", &Rollback{Inode: 1, Index: 2, Prev: 3, Chunk: 4}},
	{"SCECON()", &SCECVersion{ECVersion: 1, Old: 1}},
	{"SCECVERSION(255)", &SCECVersion{ECVersion: 255}},
	{"SCRAIDON()", &SCECVersion{ECVersion: 1, Old: 2}},
	{"SCDEL(c%25):65535", &SCDel{Class: []byte("c%"), ID: 65535}},
	{"SCDUP(c%25,d):1,65535", &SCDup{Src: []byte("c%"), Dst: []byte("d"), SrcID: 1, DstID: 65535}},
	{"SCREN(c,d%25):1", &SCRen{Old: []byte("c"), New: []byte("d%"), ID: 1}},
	{"SCSET(c,1,W1,K2,A1,2,65535,1,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,4294967295):10", &SCSet{Class: []byte("c"), New: 1, Mode: 2, ArchDelay: 65535, AdminOnly: 1,
		Create: []meta.LabelMasks{{1, 2, 3, 4}}, Keep: []meta.LabelMasks{{5, 6, 7, 8}, {9, 10, 11, 12}}, Arch: []meta.LabelMasks{{13, 14, 15, max32}}, ID: 10}},
	{"SCSET(c,0,W0,K0,A0,1,0,0,-):10", &SCSet{Class: []byte("c"), Mode: 1, ID: 10, Create: []meta.LabelMasks{}, Keep: []meta.LabelMasks{}, Arch: []meta.LabelMasks{}}},
	{"SCSET(c,1,1," + uglyText + ",4294967295,255,C(1:2:3),K(2:4294967295:255),A(1:5:129:6),T(1:7:65:8),9,(10:65535:18446744073709551615),11,12,C0,,FF,C0C101C280,01):65535", modernSet},
	{"SCSET(c,0,1,,0,0,C(0:0:0),K(1:0:255),A(0:0:0:0),T(0:0:0:0),1,(1:24:0),0,0,):7", setWith(FormGroup, func(op *SCSet) {
		op.Parts[meta.PartCreate].Mode, op.Parts[meta.PartArch].Mode, op.Parts[meta.PartTrash].Mode = 0, 0, 0
		op.Description, op.ArchMode, op.ID = []byte{}, 1, 7
	})},
	{"SCSET(c,0,C(0:0),K(1:0),A(0:0:0),T(0:0:0),1,(1:24),0,0,):8", setWith(FormParts, func(op *SCSet) {
		op.ArchMode, op.NoMinSize, op.ID = 1, true, 8
		for i := range op.Parts {
			op.Parts[i].NoMode = true
		}
	})},
	{"SCSET(c,0,C(0:0:255),K(1:0:255),A(0:0:0:255),T(0:0:0:255),1,24,0,0,):9", setWith(FormParts, func(op *SCSet) {
		op.ArchMode, op.NoArchMode, op.NoMinSize, op.ID = 1, true, true, 9
	})},
	{"SCSET(c,0,C(0:0:255),K(0:0:255),A(0:0:0:255),T(0:0:0:255),1,(1:24:0),0,0,-):9", setWith(FormParts, func(op *SCSet) {
		op.Parts[meta.PartKeep].Exprs = nil
		op.ArchMode, op.ID = 1, 9
	})},
	{"SESADD(#18446744073709551615,2,3,0751,4,5,6,7,8,9,10,4294967295,0x0123CDEF,11,/mnt%00):12", &SesAdd{Session: 12,
		SessionData: sessionWith(func(d *SessionData) { d.ExportsSum, d.Umask, d.Disables = max64, 0751, 0x0123CDEF })}},
	{"SESADD(#1,2,3,0777,4,5,6,7,8,9,10,4294967295,11,/mnt%00):12", &SesAdd{Session: 12,
		SessionData: sessionWith(func(d *SessionData) { d.ExportsSum, d.Umask, d.NoDisables = 1, 0777, true })}},
	{"SESADD(#1,2,3,4,5,6,7,8,9,10,4294967295,11,/mnt%00):12", &SesAdd{Session: 12,
		SessionData: sessionWith(func(d *SessionData) { d.ExportsSum, d.NoUmask, d.NoDisables = 1, true, true })}},
	{"SESADD(2,3,0,5,6,7,8,9,10,4294967295,11,/mnt%00):12", &SesAdd{Session: 12,
		SessionData: sessionWith(func(d *SessionData) { d.RootUID, d.NoSum, d.NoUmask, d.NoDisables = 0, true, true, true })}},
	{"SESADD(#1,2,3,0751,4,5,6,7,0x0FA3,10,4294967295,0x0123CDEF,11,/mnt%00):12", &SesAdd{Session: 12, SessionData: sessionWith(func(d *SessionData) {
		d.ExportsSum, d.Umask, d.Disables, d.MinGoal, d.MaxGoal, d.Groups, d.HasGroups = 1, 0751, 0x0123CDEF, 0, 0, 0x0FA3, true
	})}},
	{"SESCONNECTED(4294967295)", &SesConnected{Session: max32}},
	{"SESCHANGED(12,#1,2,3,0000,4,5,6,7,8,9,10,4294967295,0xFFFFFFFF,11,/mnt%00)", &SesChanged{Session: 12,
		SessionData: sessionWith(func(d *SessionData) { d.ExportsSum, d.Disables = 1, max32 })}},
	{"SESCHANGED(12,2,3,4,5,6,7,8,9,10,4294967295,11,)", &SesChanged{Session: 12,
		SessionData: sessionWith(func(d *SessionData) { d.NoSum, d.NoUmask, d.NoDisables, d.Info = true, true, true, []byte{} })}},
	{"SESDEL(1)", &SesDel{Session: 1}},
	{"SESDISCONNECTED(1)", &SesDisconnected{Session: 1}},
	{"SESSION():4294967295", &Session{Session: max32}},
	{"SETACL(1,2,3,4,5,6,7,65535,1,2,%00%00%00%05%00%07%00%00%00%06%00%01%FF%FF%FF%FFab)", &SetACL{Inode: 1, Mode: 2, ChangeCtime: 3, Type: 4, User: 5, Group: 6, Other: 7, Mask: 65535,
		Users: []meta.ACLEntry{{ID: 5, Perm: 7}}, Groups: []meta.ACLEntry{{ID: 6, Perm: 1}, {ID: max32, Perm: 'a'<<8 | 'b'}}}},
	{"SETACL(1,2,3,4,5,6,7,8,0,0,)", &SetACL{Inode: 1, Mode: 2, ChangeCtime: 3, Type: 4, User: 5, Group: 6, Other: 7, Mask: 8, Users: []meta.ACLEntry{}, Groups: []meta.ACLEntry{}}},
	{"SETEATTR(1,2,255,4):5,6,4294967295", &SetEattr{Inode: 1, UID: 2, Eattr: 255, Mode: 4, Counts: counts}},
	{"SETFILECHUNK(1,2,3)", &SetFileChunk{Inode: 1, Index: 2, Chunk: 3}},
	{"SETGOAL(1,2,9,4):5,6,4294967295", &SetGoal{Inode: 1, UID: 2, Goal: 9, Mode: 4, Counts: counts}},
	{"SETMETAID(18446744073709551615)", &SetMetaID{MetaID: max64}},
	{"SETPATH(1,a/" + uglyText + ")", &SetPath{Inode: 1, Path: []byte("a/" + ugly)}},
	{"SETSCLASS(1,2,3,255,4):5,6,4294967295", &SetSClass{Inode: 1, UID: 2, Src: 3, Dst: 255, Mode: 4, Counts: counts}},
	{"SETTRASHTIME(1,2,4294967295,4):5,6,4294967295", &SetTrashTime{Inode: 1, UID: 2, TrashTime: max32, Mode: 4, Counts: counts}},
	{"SETVERSION(1,2)", &SetVersion{Chunk: 1, ChunkVersion: 2}},
	{"SETXATTR(1,user.a%2C,%00%25x%00,2)", &SetXattr{Inode: 1, Attr: []byte("user.a,"), Value: []byte("\x00%x\x00"), Mode: 2}},
	{"SETXATTR(1,user.a,,3)", &SetXattr{Inode: 1, Attr: []byte("user.a"), Value: []byte{}, Mode: 3}},
	{"SNAPSHOT(1,2,s,3,4,5,[1000,4294967295,0],7):8,9,10,11,12,13", snapshotWith(func(op *Snapshot) {
		op.GIDs, op.InodeXor, op.Removed, op.Same = []uint32{1000, max32, 0}, 8, 9, 10
		op.Existing, op.HardLinks, op.New = 11, 12, 13
	})},
	{"SNAPSHOT(1,2,s,3,4,5,[6],7)", snapshotWith(func(op *Snapshot) { op.Form = SnapshotList })},
	{"SNAPSHOT(1,2,s,3,4,5,2,%06%00%00%001234,7)", snapshotWith(func(op *Snapshot) { op.Form, op.GIDs = SnapshotBlob, []uint32{6, 0x34333231} })},
	{"SNAPSHOT(1,2,s,3,4,5,6,7)", snapshotWith(func(op *Snapshot) { op.Form = SnapshotSingle })},
	{"SYMLINK(1,a," + uglyText + ",2,3):4", &Symlink{Parent: 1, Base: []byte("a"), Target: []byte(ugly), UID: 2, GID: 3, Inode: 4}},
	{"TRASH_RECOVER(1,2," + uglyText + ",65535,3,4,5):(" + uglyText + ")", &TrashRecover{Inode: 1, Parent: 2, Path: []byte(ugly), Umask: 65535, UID: 3, GID: 4, CopySGID: 5, Used: []byte(ugly)}},
	{"TRASH_RECOVER(1,2,,3,4,5,6):()", &TrashRecover{Inode: 1, Parent: 2, Path: []byte{}, Umask: 3, UID: 4, GID: 5, CopySGID: 6, Used: []byte{}}},
	{"TRASH_REMOVE(1)", &TrashRemove{Inode: 1}},
	{"TRUNC(1,2):18446744073709551615", &Trunc{Inode: 1, Index: 2, Chunk: max64}},
	{"UNDEL(1)", &Undel{Inode: 1}},
	{"UNLINK(1," + uglyText + "):2", &Unlink{Parent: 1, Base: []byte(ugly), Inode: 2}},
	{"UNLOCK(18446744073709551615)", &Unlock{Chunk: max64}},
	{"WRITE(1,2,255,3):4", &Write{Inode: 1, Index: 2, OpFlag: 255, CanModMtime: 3, Chunk: 4}},
	{"WRITE(1,2,0):4", &Write{Inode: 1, Index: 2, CanModMtime: 1, Chunk: 4, OldArgs: 3}},
	{"WRITE(1,2):4", &Write{Inode: 1, Index: 2, OpFlag: 1, CanModMtime: 1, Chunk: 4, OldArgs: 2}},
}

func TestSpellings(t *testing.T) {
	for _, tc := range spellings {
		t.Run(tc.text, func(t *testing.T) {
			text := []byte("4294967295|" + tc.text)
			now, op, err := NewBatch().Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if now != max32 || !reflect.DeepEqual(op, tc.want) {
				t.Fatalf("%s: got %d and %+v, want %+v", text, now, op, tc.want)
			}
			if out := Append(nil, now, op); !bytes.Equal(out, text) {
				t.Fatalf("%s became\n%s", text, out)
			}
			line := append([]byte("18446744073709551615: "), text...)
			e, err := NewBatch().ParseLine(append(line, '\n'))
			if err != nil {
				t.Fatal(err)
			}
			if out := e.Append(nil); !bytes.Equal(out, line) {
				t.Fatalf("%s became\n%s", line, out)
			}
		})
	}
}

// Every prefix of an entry is refused, unless it ends behind a digit of the
// last number or before optional results.
func TestPrefixesAreRefused(t *testing.T) {
	batch := NewBatch()
	for _, tc := range spellings {
		for n := range len(tc.text) {
			text := []byte("1|" + tc.text[:n])
			now, op, err := batch.Parse(text)
			if err != nil {
				continue
			}
			if out := Append(nil, now, op); !bytes.Equal(out, text) {
				t.Fatalf("%q was accepted and became %q", text, out)
			}
			if cut := tc.text[n-1]; cut != ')' && (cut < '0' || cut > '9') {
				t.Fatalf("%q was accepted", text)
			}
		}
	}
}

func TestEveryOperationHasSpellings(t *testing.T) {
	var names []string
	for _, tc := range spellings {
		name, _, _ := strings.Cut(tc.text, "(")
		names = append(names, name)
	}
	for _, tc := range oldSpellings {
		name, _, _ := strings.Cut(tc.text, "(")
		names = append(names, name)
	}
	for _, row := range table {
		if !slices.Contains(names, row.name) {
			t.Errorf("no spelling of %s", row.name)
		}
	}
}

func TestAppendEscaped(t *testing.T) {
	for c := range 256 {
		raw := []byte{'a', byte(c), 'z'}
		out := AppendEscaped(nil, raw)
		wantEscaped := c < 32 || c > 126 || strings.IndexByte(",%()", byte(c)) >= 0
		if escaped := len(out) == 5; escaped != wantEscaped {
			t.Errorf("byte %#x became %q, want it escaped: %v", c, out, wantEscaped)
		}
		_, op, err := NewBatch().Parse(slices.Concat([]byte("1|SETXATTR(1,a,"), out, []byte(",0)")))
		if err != nil {
			t.Errorf("byte %#x: %v", c, err)
		} else if got := op.(*SetXattr).Value; !bytes.Equal(got, raw) {
			t.Errorf("byte %#x came back as %q", c, got)
		}
	}
}
