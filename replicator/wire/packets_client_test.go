package wire

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"mfsstandby/changelog/meta"
)

// clientForm is one packet of the client port for the tests: how to read and
// how to write it.
type clientForm struct {
	typ    Type
	name   string
	decode func(payload []byte, client Release) (any, error)
	append func(e *Encoder, p any, client Release)
}

type (
	plainPacket[T any] interface {
		*T
		Append(*Encoder)
		Decode(*Decoder) error
	}
	typedPacket[T any] interface {
		*T
		Append(*Encoder, Type)
		Decode(*Decoder) error
	}
	releasePacket[T any] interface {
		*T
		Append(*Encoder, Release)
		Decode(*Decoder, Release) error
	}
	typedReleasePacket[T any] interface {
		*T
		Append(*Encoder, Type, Release)
		Decode(*Decoder, Release) error
	}
)

func formName[T any](t Type) string { return fmt.Sprintf("%d %T", t, *new(T)) }

func plain[T any, P plainPacket[T]](t Type) clientForm {
	return clientForm{t, formName[T](t),
		func(b []byte, _ Release) (any, error) { p := P(new(T)); return p, p.Decode(NewDecoder(b)) },
		func(e *Encoder, p any, _ Release) { p.(P).Append(e) }}
}

func typed[T any, P typedPacket[T]](t Type) clientForm {
	return clientForm{t, formName[T](t),
		func(b []byte, _ Release) (any, error) { p := P(new(T)); return p, p.Decode(NewDecoder(b)) },
		func(e *Encoder, p any, _ Release) { p.(P).Append(e, t) }}
}

func released[T any, P releasePacket[T]](t Type) clientForm {
	return clientForm{t, formName[T](t),
		func(b []byte, c Release) (any, error) { p := P(new(T)); return p, p.Decode(NewDecoder(b), c) },
		func(e *Encoder, p any, c Release) { p.(P).Append(e, c) }}
}

// answer is a packet that answers request t.
func answer[T any, P typedReleasePacket[T]](t Type) clientForm {
	return clientForm{t.Reply(), formName[T](t.Reply()),
		func(b []byte, c Release) (any, error) { p := P(new(T)); return p, p.Decode(NewDecoder(b), c) },
		func(e *Encoder, p any, c Release) { p.(P).Append(e, t, c) }}
}

// replyOf is a packet that answers request t in one form for all clients.
func replyOf[T any, P typedPacket[T]](t Type) clientForm {
	return clientForm{t.Reply(), formName[T](t.Reply()), typed[T, P](t).decode,
		func(e *Encoder, p any, _ Release) { p.(P).Append(e, t) }}
}

// request is a packet that is read in several forms and written in the newest.
func request[T any, P interface {
	*T
	Append(*Encoder)
	Decode(*Decoder, Release) error
}](t Type) clientForm {
	return clientForm{t, formName[T](t),
		func(b []byte, c Release) (any, error) {
			p := P(new(T))
			return p, p.Decode(NewDecoder(b), max(c, rel2_0))
		},
		func(e *Encoder, p any, _ Release) { p.(P).Append(e) }}
}

// entry is a list of entries that is a packet's whole payload.
func entry[T any](name string, t Type, decode func(*T, *Decoder) error, appendTo func(*T, *Encoder)) clientForm {
	return entryMode(name, t, 1, func(p *T, d *Decoder, _ uint8) error { return decode(p, d) },
		func(p *T, e *Encoder, _ uint8) { appendTo(p, e) })
}

// entryMode is the same for entries with several forms, which the client's
// release chooses in the test.
func entryMode[T any](name string, t Type, modes Release, decode func(*T, *Decoder, uint8) error, appendTo func(*T, *Encoder, uint8)) clientForm {
	return clientForm{t, name,
		func(b []byte, c Release) (any, error) {
			var list []T
			d := NewDecoder(b)
			for d.Len() > 0 {
				var one T
				if err := decode(&one, d, uint8(c%modes)); err != nil {
					return nil, err
				}
				list = append(list, one)
			}
			return list, d.End()
		},
		func(e *Encoder, p any, c Release) {
			e.Begin(t)
			for _, one := range p.([]T) {
				appendTo(&one, e, uint8(c%modes))
			}
			e.End()
		}}
}

// clientForms are all packets of the client port.
var clientForms = []clientForm{
	plain[ClientRegister](FuseRegister),
	released[Session](FuseRegister.Reply()),
	{FuseRegister.Reply(), "401 meta session",
		func(b []byte, c Release) (any, error) {
			p := &Session{Meta: true}
			return p, p.Decode(NewDecoder(b), c)
		},
		func(e *Encoder, p any, c Release) { p.(*Session).Append(e, c) }},
	plain[OpenInodes](FuseSustainedInodes),
	plain[AccessTimes](FuseAmtimeInodes),
	plain[TimeSync](FuseTimeSync),
	plain[TimeSyncReply](FuseTimeSync.Reply()),
	typed[EmptyRequest](FuseStatfs),
	released[Statfs](FuseStatfs.Reply()),
	plain[Access](FuseAccess),
	typed[NameRequest](FuseLookup),
	released[LookupReply](FuseLookup.Reply()),
	plain[Getattr](FuseGetattr),
	answer[AttrReply](FuseGetattr),
	typed[InodeRequest](FuseReadlink),
	plain[ReadlinkReply](FuseReadlink.Reply()),
	answer[NodeReply](FuseMkdir),
	plain[Readdir](FuseReaddir),
	plain[Open](FuseOpen),
	released[OpenReply](FuseOpen.Reply()),
	typed[ChunkRequest](FuseReadChunk),
	answer[ChunkReply](FuseReadChunk),
	plain[WriteEnd](FuseWriteChunkEnd),
	plain[ChunkChanged](FuseChunkChanged),
	plain[LengthChanged](FuseLengthChanged),
	released[Setattr](FuseSetattr),
	plain[Symlink](FuseSymlink),
	plain[Mknod](FuseMknod),
	plain[Mkdir](FuseMkdir),
	plain[CreateFile](FuseCreate),
	released[CreateReply](FuseCreate.Reply()),
	answer[RemovedReply](FuseUnlink),
	plain[Rename](FuseRename),
	plain[Link](FuseLink),
	plain[Truncate](FuseTruncate),
	released[TruncateReply](FuseTruncate.Reply()),
	typed[TreeRequest](FuseGetTrashTime),
	replyOf[CountsReply](FuseSetEattr),
	plain[SetTrashTime](FuseSetTrashTime),
	plain[SetClass](FuseSetClass),
	plain[SetEattr](FuseSetEattr),
	plain[Check](FuseCheck),
	released[CheckReply](FuseCheck.Reply()),
	plain[DirStats](FuseGetDirStats.Reply()),
	plain[Repair](FuseRepair),
	plain[AppendSlice](FuseAppendSlice),
	plain[Snapshot](FuseSnapshot),
	plain[QuotaControl](FuseQuotaControl),
	released[QuotaReply](FuseQuotaControl.Reply()),
	plain[ArchCtl](FuseArchCtl),
	plain[ArchReply](FuseArchCtl.Reply()),
	plain[ArchChanged](FuseArchCtl.Reply()),
	request[GetXattr](FuseGetXattr),
	plain[XattrReply](FuseGetXattr.Reply()),
	request[SetXattr](FuseSetXattr),
	plain[GetACL](FuseGetACL),
	plain[ACLReply](FuseGetACL.Reply()),
	plain[SetACL](FuseSetACL),
	plain[Flock](FuseFlock),
	plain[PosixLock](FusePosixLock),
	plain[PosixLockReply](FusePosixLock.Reply()),
	plain[GetTrash](FuseGetTrash),
	plain[GetDetachedAttr](FuseGetDetachedAttr),
	plain[TrashPathReply](FuseGetTrashPath.Reply()),
	plain[SetTrashPath](FuseSetTrashPath),
	plain[ParentsReply](FuseParents.Reply()),
	plain[MasterInfo](InfoMaster.Reply()),
	plain[ModuleInfo](InfoModule.Reply()),
	entry("501 entry", InfoServers.Reply(), (*ServerInfo).Decode, (*ServerInfo).Append),
	entryMode("509 entry", InfoSessions.Reply(), 6, (*SessionInfo).Decode, (*SessionInfo).Append),
	entryMode("521 entry", InfoExports.Reply(), 5, (*ExportInfo).Decode, (*ExportInfo).Append),
	entry("519 entry", InfoQuotas.Reply(), (*QuotaInfo).Decode, (*QuotaInfo).Append),
	entry("537 entry", InfoPaths.Reply(), (*PathsOfInode).Decode, (*PathsOfInode).Append),
	entry("543 entry", InfoClasses.Reply(), (*ClassInfo).Decode, (*ClassInfo).Append),
	entryMode("545 entry", InfoMissing.Reply(), 2, (*MissingChunk).Decode, (*MissingChunk).Append),
	typed[InfoRequest](InfoSessions),
	typed[ListRequest](InfoOpenFiles),
	plain[NodeRequest](InfoNode),
	typed[ChartRequest](InfoChartData),
	plain[TreeTest](InfoTreeTest.Reply()),
	plain[SessionCommandRequest](SessionCommand),
	plain[ServerCommandRequest](ServerCommand),
	plain[CreateClass](ClassCreate),
	plain[ChangeClass](ClassChange),
	plain[ClassReply](ClassChange.Reply()),
	plain[ListClasses](ClassList),
	entryMode("361 modern entry", ClassList.Reply(), 1, func(c *ModernClass, d *Decoder, _ uint8) error { return c.Decode(d, NewestClassForm) },
		func(c *ModernClass, e *Encoder, _ uint8) { c.Append(e, NewestClassForm) }),
	entryMode("361 first modern entry", ClassList.Reply(), 1, func(c *ModernClass, d *Decoder, _ uint8) error { return c.Decode(d, OldestModernForm) },
		func(c *ModernClass, e *Encoder, _ uint8) { c.Append(e, OldestModernForm) }),
	entry("549 entry", InfoPatterns.Reply(), (*PatternInfo).Decode, (*PatternInfo).Append),
	trashList(TrashList), trashList(SustainedList),
	plain[PathRequest](PathLookup),
	released[PathReply](PathLookup.Reply()),
	{FuseRegister.Reply(), "401 wire.Reconnected",
		func(b []byte, _ Release) (any, error) {
			p := &Reconnected{}
			return p, p.Decode(NewDecoder(b))
		},
		func(e *Encoder, p any, _ Release) {
			r, c := p.(*Reconnected), rel3_0_95
			if r.Process != 0 {
				c = rel4_40
			}
			r.Append(e, c)
		}},
	{InfoServers.Reply(), "501 modern entry", modernServers.decode, modernServers.append},
}

// modernServers is the form of chunkservers since 4.26.
var modernServers = entry("", InfoServers.Reply(), func(p *ServerInfo, d *Decoder) error { p.Modern = true; return p.Decode(d) }, (*ServerInfo).Append)

func trashList(t Type) clientForm {
	return clientForm{t, formName[TrashListRequest](t),
		func(b []byte, _ Release) (any, error) {
			p := &TrashListRequest{}
			return p, p.Decode(NewDecoder(b), t)
		},
		func(e *Encoder, p any, _ Release) { p.(*TrashListRequest).Append(e, t) }}
}

func formOf(t testing.TB, name string) clientForm {
	t.Helper()
	for _, f := range clientForms {
		if f.name == name {
			return f
		}
	}
	t.Fatalf("no packet is called %q", name)
	return clientForm{}
}

// clientReleases are at least one release between any two changes of a form.
var clientReleases = []Release{
	NewRelease(3, 0, 117), NewRelease(1, 6, 0), NewRelease(1, 6, 8), NewRelease(1, 6, 20), NewRelease(1, 6, 21),
	NewRelease(1, 6, 22), NewRelease(1, 6, 25), NewRelease(1, 6, 27), NewRelease(1, 7, 31), NewRelease(2, 0, 91),
	NewRelease(3, 0, 8), NewRelease(3, 0, 10), NewRelease(3, 0, 29), NewRelease(3, 0, 40), NewRelease(3, 0, 74),
	NewRelease(3, 0, 92), NewRelease(3, 0, 94), NewRelease(3, 0, 106), NewRelease(3, 0, 111), NewRelease(3, 0, 112),
	NewRelease(4, 0, 0), NewRelease(4, 0, 2), NewRelease(4, 0, 7), NewRelease(4, 9, 0), NewRelease(4, 18, 0),
	NewRelease(4, 21, 0), NewRelease(4, 22, 0), NewRelease(4, 40, 0), NewRelease(4, 51, 0), NewRelease(4, 57, 0), NewRelease(4, 59, 2),
}

var (
	v3117     = NewRelease(3, 0, 117)
	rootOnly  = Identity{GIDs: PackNumbers(0)}
	fileAttr  = Attr{Flags: 8, Type: meta.TypeFile, Mode: 0600, Atime: 0x6b041e28, Mtime: 0x6b041e28, Ctime: 0x6b041e28, Links: 1, Length: 6}
	fileAttrX = "08 1180 00000000 00000000 6b041e28 6b041e28 6b041e28 00000001 0000000000000006 00"
)

// clientCaptures are packets seen between a real client and a real master of
// release 3.0.117; times replaced.
var clientCaptures = []struct {
	form, bytes string
	want        any
}{
	{"400 wire.ClientRegister", "446a493147415144554c49356432596a413236797063336f766b686a7668636954515678334353346e596774426f5563736c6a" +
		"69567073457" + "24a454e4861773002 000300ea 0000000e 2f746d702f7873742f6d6e743200 00000002 2f00",
		&ClientRegister{Code: RegisterNewSession, Release: v3117, Info: []byte("/tmp/xst/mnt2\x00"), Path: []byte("/")}},
	{"401 wire.Session", "000300ea 00000005 6b0416152bb37431 08 0000 00000000 00000000 000003e7 000003e7 01 09 00000000 ffffffff 00000000",
		&Session{Release: v3117, Session: 5, MetaID: 0x6b0416152bb37431, Flags: SessionAdmin, MapUID: 999, MapGID: 999,
			MinGoal: 1, MaxGoal: 9, MaxTrash: 0xFFFFFFFF}},
	{"401 meta session", "000300ea 00000008 6b0416152bb37431 00 01 09 00000000 ffffffff",
		&Session{Meta: true, Release: v3117, Session: 8, MetaID: 0x6b0416152bb37431, MinGoal: 1, MaxGoal: 9, MaxTrash: 0xFFFFFFFF}},
	{"406 wire.NameRequest", "00000001 00000001 01 61 00000000 00000001 00000000",
		&NameRequest{MsgID: 1, Parent: 1, Name: []byte("a"), Identity: rootOnly}},
	{"407 wire.LookupReply", "00000001 00000002 0c 21ed 00000000 00000000 6b042563 6b041a77 6b041a77 00000003 00000000001eacbc 00 00ff",
		&LookupReply{MsgID: 1, Inode: 2, Flags: 0xFF, Attr: Attr{Flags: 0x0c, Type: meta.TypeDir, Mode: 0755,
			Atime: 0x6b042563, Mtime: 0x6b041a77, Ctime: 0x6b041a77, Links: 3, Length: 0x1eacbc}}},
	{"407 wire.LookupReply", "00000002 00000004" + fileAttrX + "01ff 02 0000000000000001 00000001" +
		"0a4d000d 24ce 000300ea 00000000 0a4d000b 24ce 000300ea 00000000",
		&LookupReply{MsgID: 2, Inode: 4, Attr: fileAttr, Flags: LookupChunkData | 0xFF, Chunk: ChunkCopies{Chunk: 1, Version: 1,
			Copies: Locations{}.Add(Location{0x0a4d000d, 9422, v3117, 0}).Add(Location{0x0a4d000b, 9422, v3117, 0})}}},
	{"428 wire.Readdir", "0000000a 00000002 00000000 00000001 00000000 01 ffffffff 0000000000000000",
		&Readdir{MsgID: 10, Inode: 2, Identity: rootOnly, Flags: ReaddirAttr, Paged: true, Max: 0xFFFFFFFF}},
	{"430 wire.Open", "00000005 00000004 00000000 00000001 00000000 01", &Open{MsgID: 5, Inode: 4, Identity: rootOnly, Flags: OpenRead}},
	{"431 wire.OpenReply", "00000005 00" + fileAttrX, &OpenReply{MsgID: 5, Attr: fileAttr}},
	{"432 wire.ChunkRequest", "00000006 00000004 00000000 00", &ChunkRequest{MsgID: 6, Inode: 4}},
	{"433 wire.ChunkReply", "00000006 02 0000000000000006 0000000000000001 00000001 0a4d000d24ce000300ea00000000",
		&ChunkReply{MsgID: 6, Length: 6, ChunkCopies: ChunkCopies{Chunk: 1, Version: 1,
			Copies: Locations{}.Add(Location{0x0a4d000d, 9422, v3117, 0})}}},
	{"433 wire.ChunkReply", "00000006 02 0000000000000006 0000000000000000 00000000",
		&ChunkReply{MsgID: 6, Length: 6, ChunkCopies: ChunkCopies{Copies: Locations{}}}},
	{"403 wire.Statfs", "00000007 000000444ecdc000 0000003a0343a000 0000003a0343a000 0000000000000000 0000000000000000 00000015",
		&Statfs{MsgID: 7, Total: 0x444ecdc000, Avail: 0x3a0343a000, Free: 0x3a0343a000, Inodes: 0x15}},
	{"704 wire.TimeSync", "00000000", &TimeSync{Numbered: true}},
	{"705 wire.TimeSyncReply", "00000000 000660f00379a2be", &TimeSyncReply{Numbered: true, Micros: 0x660f00379a2be}},
	{"436 wire.WriteEnd", "00000009 000000000000000a 00004e3a 00000000 0000000000000003 00",
		&WriteEnd{MsgID: 9, Chunk: 10, Inode: 0x4e3a, HasIndex: true, Length: 3}},
	{"418 wire.Mkdir", "00000002 00000001 07 7a7a5f70636170 01ff 0012 00000000 00000001 00000000 01",
		&Mkdir{Create{2, 1, []byte("zz_pcap"), 0777, 022, rootOnly}, 1}},
	{"482 wire.CreateFile", "0000000d 00000001 09 6d6c6361702e747874 01b6 0012 00000000 00000001 00000000",
		&CreateFile{Create{13, 1, []byte("mlcap.txt"), 0666, 022, rootOnly}}},
	{"483 wire.CreateReply", "0000000d 00 00004e38" + fileAttrX, &CreateReply{13, 0, 0x4e38, fileAttr}},
	{"410 wire.Setattr", "00000002 00004e38 01 00000000 00000001 00000000 90 0000 00000000 00000000 6b04251f 6b04251f 00 04",
		&Setattr{MsgID: 2, Inode: 0x4e38, Opened: 1, Identity: rootOnly, Mask: SetAtimeNow | SetMtimeNow, Atime: 0x6b04251f, Mtime: 0x6b04251f, SuidClear: 4}},
	{"421 wire.RemovedReply", "0000000b 00004e38", &RemovedReply{11, 0x4e38}},
	{"464 wire.Truncate", "00000001 00004e3a 01 00000000 00000001 00000000 0000000000000001",
		&Truncate{1, 0x4e3a, TruncateOpened, rootOnly, 1}},
	{"465 wire.TruncateReply", "00000001 0000000000000003" + fileAttrX, &TruncateReply{1, 3, fileAttr}},
	{"480 wire.SetXattr", "00000002 00004e3a 06 757365722e6b 00000003 76616c 00 00 00000000 00000001 00000000",
		&SetXattr{MsgID: 2, Inode: 0x4e3a, Name: []byte("user.k"), Value: []byte("val"), Identity: rootOnly}},
	{"492 wire.Flock", "00000001 00004e3a 00000001 5adfd8fd91bac7e3 03", &Flock{1, 0x4e3a, 1, 0x5adfd8fd91bac7e3, FlockTryExcl}},
	{"494 wire.PosixLock", "00000002 00004e3a 00000001 1e97d0fdc3274976 00002a6e 02 02 0000000000000000 ffffffffffffffff",
		&PosixLock{2, 0x4e3a, 1, 0x1e97d0fdc3274976, 0x2a6e, PosixTry, PosixTypeWrite, 0, 0xFFFFFFFFFFFFFFFF}},
	{"463 wire.DirStats", "00000001 00000002 00000001 00000001 00000000 00000000 00000001 00000000 00000000" +
		"0000000000000003 0000000000012000 0000000000024000",
		&DirStats{MsgID: 1, Stats: meta.Stats{Inodes: 2, Dirs: 1, Files: 1, Chunks: 1, Length: 3, Size: 0x12000, RealSize: 0x24000}}},
}

func TestClientCaptures(t *testing.T) {
	for _, tc := range clientCaptures {
		t.Run(tc.form, func(t *testing.T) {
			f, in := formOf(t, tc.form), unhex(t, tc.bytes)
			got, err := f.decode(in, v3117)
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Fatalf("%x: got %+v, %v, want %+v", in, got, err, tc.want)
			}
			var e Encoder
			f.append(&e, tc.want, v3117)
			if want := AppendPacket(nil, f.typ, in); !bytes.Equal(e.Buf, want) {
				t.Fatalf("%+v:\n got %x\nwant %x", tc.want, e.Buf, want)
			}
			for n := range in { // an optional last field may be missing
				if got, err := f.decode(in[:n:n], v3117); err == nil && reflect.DeepEqual(got, tc.want) {
					t.Fatalf("%x was taken for the whole packet", in[:n])
				}
			}
		})
	}
}

// Older clients' requests mean what the master takes them for.
func TestClientOldForms(t *testing.T) {
	for _, tc := range []struct {
		form, bytes string
		want        any
	}{
		{"404 wire.Access", "00000001 00000002 00000003 00000004 05", &Access{1, 2, Identity{3, PackNumbers(4)}, 5}},
		{"406 wire.NameRequest", "00000001 00000002 01 61 00000003 00000004", &NameRequest{1, 2, []byte("a"), Identity{3, PackNumbers(4)}}},
		{"406 wire.NameRequest", "00000001 00000002 00 00000003 00000002 00000005 00000006", &NameRequest{1, 2, []byte{}, Identity{3, PackNumbers(5, 6)}}},
		{"408 wire.Getattr", "00000001 00000002", &Getattr{MsgID: 1, Inode: 2, UID: 12345, GID: 12345}},
		{"408 wire.Getattr", "00000001 00000002 00000003 00000004", &Getattr{MsgID: 1, Inode: 2, UID: 3, GID: 4}},
		{"408 wire.Getattr", "00000001 00000002 01 00000003 00000004", &Getattr{MsgID: 1, Inode: 2, Opened: 1, UID: 3, GID: 4}},
		{"428 wire.Readdir", "00000001 00000002 00000003 00000004", &Readdir{1, 2, Identity{3, PackNumbers(4)}, 0, false, 0xFFFFFFFF, 0}},
		{"428 wire.Readdir", "00000001 00000002 00000003 00000004 01", &Readdir{1, 2, Identity{3, PackNumbers(4)}, 1, false, 0xFFFFFFFF, 0}},
		{"428 wire.Readdir", "00000001 00000002 00000003 00000004 01 00000005 0000000000000006", &Readdir{1, 2, Identity{3, PackNumbers(4)}, 1, true, 5, 6}},
		{"430 wire.Open", "00000001 00000002 00000003 00000004 01", &Open{1, 2, Identity{3, PackNumbers(4)}, 1}},
		{"432 wire.ChunkRequest", "00000001 00000002 00000003", &ChunkRequest{MsgID: 1, Inode: 2, Index: 3, Flags: ChunkModTime, Old: true}},
		{"436 wire.WriteEnd", "00000001 0000000000000002 00000003 0000000000000004", &WriteEnd{MsgID: 1, Chunk: 2, Inode: 3, Length: 4, Flags: 1}},
		{"436 wire.WriteEnd", "00000001 0000000000000002 00000003 0000000000000004 02", &WriteEnd{MsgID: 1, Chunk: 2, Inode: 3, Length: 4, Flags: 2}},
		{"704 wire.TimeSync", "", &TimeSync{}},
		{"414 wire.Symlink", "00000001 00000002 01 61 00000003 622f00 00000003 00000004", &Symlink{1, 2, []byte("a"), []byte("b/"), Identity{3, PackNumbers(4)}}},
		{"416 wire.Mknod", "00000001 00000002 01 61 71 01ff 00000003 00000004 00000005",
			&Mknod{Create{1, 2, []byte("a"), 0777, 0, Identity{3, PackNumbers(4)}}, meta.TypeFifo, 5}},
		{"416 wire.Mknod", "00000001 00000002 01 61 04 01ff 0012 00000003 00000004 00000005",
			&Mknod{Create{1, 2, []byte("a"), 0777, 022, Identity{3, PackNumbers(4)}}, meta.TypeFifo, 5}},
		{"418 wire.Mkdir", "00000001 00000002 01 61 01ff 00000003 00000004", &Mkdir{Create{1, 2, []byte("a"), 0777, 0, Identity{3, PackNumbers(4)}}, 0}},
		{"418 wire.Mkdir", "00000001 00000002 01 61 01ff 00000003 00000004 01", &Mkdir{Create{1, 2, []byte("a"), 0777, 0, Identity{3, PackNumbers(4)}}, 1}},
		{"418 wire.Mkdir", "00000001 00000002 01 61 01ff 0012 00000003 00000004 01", &Mkdir{Create{1, 2, []byte("a"), 0777, 022, Identity{3, PackNumbers(4)}}, 1}},
		{"482 wire.CreateFile", "00000001 00000002 01 61 01ff 00000003 00000004", &CreateFile{Create{1, 2, []byte("a"), 0777, 0, Identity{3, PackNumbers(4)}}}},
		{"482 wire.CreateFile", "00000001 00000002 01 61 01ff 0012 00000003 00000004", &CreateFile{Create{1, 2, []byte("a"), 0777, 022, Identity{3, PackNumbers(4)}}}},
		{"464 wire.Truncate", "00000001 00000002 00000000 00000004 0000000000000005", &Truncate{1, 2, TruncateOpened, Identity{0, PackNumbers(4)}, 5}},
		{"464 wire.Truncate", "00000001 00000002 04 00000003 00000004 0000000000000005", &Truncate{1, 2, 4, Identity{3, PackNumbers(4)}, 5}},
		{"438 wire.AppendSlice", "00000001 00000002 00000003 00000004 00000005", &AppendSlice{MsgID: 1, Inode: 2, Source: 3, Identity: Identity{4, PackNumbers(5)}}},
		{"438 wire.AppendSlice", "00000001 00000002 00000003 00000004 00000001 00000005", &AppendSlice{MsgID: 1, Inode: 2, Source: 3, Identity: Identity{4, PackNumbers(5)}}},
		{"468 wire.Snapshot", "00000001 00000002 00000003 01 61 00000004 00000005 83", &Snapshot{1, 2, 3, []byte("a"), Identity{4, PackNumbers(5)}, 0x81, 0}},
		{"468 wire.Snapshot", "00000001 00000002 00000003 01 61 00000004 00000005 83 0012", &Snapshot{1, 2, 3, []byte("a"), Identity{4, PackNumbers(5)}, 0x83, 022}},
		{"448 wire.SetClass", "00000001 00000002 00000003 02 04", &SetClass{MsgID: 1, Inode: 2, UID: 3, Goal: 2, Mode: 4}},
		{"448 wire.SetClass", "00000001 00000002 00000003 ff 07 01 61 01 62", &SetClass{1, 2, 3, 0xFF, 7, []byte("a"), []byte("b")}},
		{"448 wire.SetClass", "00000001 00000002 00000003 ff 04 01 62", &SetClass{MsgID: 1, Inode: 2, UID: 3, Goal: 0xFF, Mode: 4, To: []byte("b")}},
		{"476 wire.QuotaControl", "00000001 00000002 00", &QuotaControl{MsgID: 1, Inode: 2}},
		{"488 wire.GetACL", "00000001 00000002 01 00 00000003 00000004", &GetACL{1, 2, 1}},
		{"488 wire.GetACL", "00000001 00000002 01 00 00000003 00000001 00000004", &GetACL{1, 2, 1}},
		{"450 wire.GetTrash", "00000001", &GetTrash{1, AllTrash}},
		{"452 wire.GetDetachedAttr", "00000001 00000002", &GetDetachedAttr{1, 2, 0}},
	} {
		t.Run(tc.form, func(t *testing.T) {
			in := unhex(t, tc.bytes)
			if got, err := formOf(t, tc.form).decode(in, v3117); err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Fatalf("%x: got %+v, %v, want %+v", in, got, err, tc.want)
			}
		})
	}
}

// Lengths that mfsmaster closes the connection for.
func TestClientRefused(t *testing.T) {
	for _, tc := range []struct{ form, bytes, want string }{
		{"404 wire.Access", "00000001 00000002 00000003 00000000 0005", "no group"},
		{"406 wire.NameRequest", "00000001 00000002 00 00000003 00000002 00000005", "too short"},
		{"406 wire.NameRequest", "00000001 00000002 00 00000003 ffffffff 00000005", "too short"},
		{"406 wire.NameRequest", "00000001 00000002 05 61 00000003 00000004", "too short"},
		{"408 wire.Getattr", "00000001 00000002 00000003", "too short"},
		{"408 wire.Getattr", "00000001 00000002 01 00000003 00000004 00", "left after"},
		{"428 wire.Readdir", "00000001 00000002 00000003 00000004 01 00", "too short"},
		{"432 wire.ChunkRequest", "00000001 00000002 00000003 00 00", "left after"},
		{"700 wire.OpenInodes", "00000001 00", "too short"},
		{"701 wire.AccessTimes", "00000001 00000002", "no known form"},
		{"400 wire.ClientRegister", "00", "too short"},
		{"410 wire.Setattr", "00000002 00004e38 00000000 00000000 90 0000 00000000 00000000 6b04251f 6b04251f 04", "too short"}, // old form, new client
		{"418 wire.Mkdir", "00000001 00000002 01 61 01ff 0012 00000003 00000004", "too short"},
		{"438 wire.AppendSlice", "00000001 00 00000002 00000003 00000000 00000000 00000004 00000000", "no group"},
		{"448 wire.SetClass", "00000001 00000002 00000003 02 04 00", "left after"},
		{"476 wire.QuotaControl", "00000001 00000002 00 00", "too short"},
		{"490 wire.SetACL", "00000001 00000002 00000000 01 0000 0000 0000 0000 ffff ffff", "too short"},
	} {
		t.Run(tc.form, func(t *testing.T) {
			_, err := formOf(t, tc.form).decode(unhex(t, tc.bytes), v3117)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%s: got error %v, want %q", tc.bytes, err, tc.want)
			}
		})
	}
}

func TestRegisterForms(t *testing.T) {
	password := bytes.Repeat([]byte{7}, PasswordSize)
	for _, p := range []*ClientRegister{
		{Code: RegisterRandom},
		{Code: RegisterNewSession, Release: v3117, Info: []byte("/mnt\x00"), Path: []byte("/sub")},
		{Code: RegisterNewSession, Release: v3117, Info: []byte("/mnt\x00"), Path: []byte("/"), HasSession: true, Session: 9},
		{Code: RegisterNewSession, Release: v3117, Info: []byte("/mnt\x00"), Path: []byte("/"), HasSession: true, Session: 9, HasMetaID: true, MetaID: 1, Password: password},
		{Code: RegisterNewMetaSession, Release: v3117, Info: []byte("/mnt\x00"), Password: password},
		{Code: RegisterReconnect, Release: v3117, Session: 9, HasMetaID: true, MetaID: 1},
		{Code: RegisterTools, Release: v3117, Session: 9},
		{Code: RegisterCloseSession, Session: 9, HasMetaID: true, MetaID: 1},
	} {
		var e Encoder
		p.Append(&e)
		var got ClientRegister
		if err := got.Decode(NewDecoder(e.Buf[HeaderSize:])); err != nil || !reflect.DeepEqual(&got, p) {
			t.Errorf("%+v became %x, which is %+v, %v", p, e.Buf, got, err)
		}
	}
	for _, tc := range []struct {
		client Release
		length int
	}{
		{NewRelease(1, 6, 0), 13}, {NewRelease(1, 6, 20), 21}, {NewRelease(1, 6, 21), 25}, {NewRelease(1, 6, 27), 35},
		{NewRelease(2, 0, 91), 35}, {NewRelease(3, 0, 71), 43}, {NewRelease(3, 0, 74), 45}, {v3117, 49},
	} {
		var e Encoder
		(&Session{Session: 1}).Append(&e, tc.client)
		if got := len(e.Buf) - HeaderSize; got != tc.length {
			t.Errorf("session for a client of %v has %d bytes, want %d", tc.client, got, tc.length)
		}
	}
}

// Requests of clients before 2.0 and 3.0.93 whose form only the release tells.
func TestClientFormsByRelease(t *testing.T) {
	old := NewRelease(1, 6, 27)
	var get GetXattr
	in := unhex(t, "00000001 00000002 01 00000003 00000004 01 61 00")
	want := GetXattr{MsgID: 1, Inode: 2, Name: []byte("a"), Opened: 1, Identity: Identity{3, PackNumbers(4)}}
	if err := get.Decode(NewDecoder(in), old); err != nil || !reflect.DeepEqual(get, want) {
		t.Errorf("%x: got %+v, %v, want %+v", in, get, err, want)
	}
	var set SetXattr
	in = unhex(t, "00000001 00000002 01 00000003 00000004 01 61 00000001 62 03")
	wantSet := SetXattr{MsgID: 1, Inode: 2, Name: []byte("a"), Value: []byte("b"), Mode: 3, Opened: 1, Identity: Identity{3, PackNumbers(4)}}
	if err := set.Decode(NewDecoder(in), old); err != nil || !reflect.DeepEqual(set, wantSet) {
		t.Errorf("%x: got %+v, %v, want %+v", in, set, err, wantSet)
	}
	attr := "02 01ff 00000005 00000006 00000007 00000008"
	want3 := Setattr{MsgID: 1, Inode: 2, Identity: Identity{3, PackNumbers(4)}, Mask: 2, Mode: 0777, NewUID: 5, NewGID: 6, Atime: 7, Mtime: 8, SuidClear: SuidAlways}
	for form, opened := range map[string]uint8{"00000001 00000002 00000003 00000004" + attr: 0, "00000001 00000002 00000003 00000004" + attr + "01": 0,
		"00000001 00000002 01 00000003 00000004" + attr + "01": 1, "00000001 00000002 01 00000003 00000001 00000004" + attr + "01": 1} {
		var p Setattr
		want3.Opened = opened
		if err := p.Decode(NewDecoder(unhex(t, form)), old); err != nil || !reflect.DeepEqual(p, want3) {
			t.Errorf("%s: got %+v, %v, want %+v", form, p, err, want3)
		}
	}
}

// Answers that are appended piece by piece.
func TestClientLists(t *testing.T) {
	var e Encoder
	g := Groups{MsgID: 1, Files: 2, Dirs: 1}
	g.Begin(&e, FuseGetClass)
	g.AddValue(&e, 2, 6)
	g.AddClass(&e, []byte("ssd"), 1)
	g.AddValue(&e, 2, 2)
	e.End()
	if want := AppendPacket(nil, 447, unhex(t, "00000001 02 01 02 00000006 ff 03 737364 00000001 02 00000002")); !bytes.Equal(e.Buf, want) {
		t.Fatalf("got %x, want %x", e.Buf, want)
	}
	var got Groups
	var names []string
	if err := got.Decode(NewDecoder(e.Buf[HeaderSize:])); err != nil {
		t.Fatal(err)
	}
	for d := NewDecoder(got.Groups); d.Len() > 0; {
		var group Group
		if err := group.Decode(d, true); err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprintf("%d%s=%d", group.Value, group.Name, group.Count))
	}
	if want := "[2=6 255ssd=1 2=2]"; fmt.Sprint(names) != want {
		t.Fatalf("got %v, want %s", names, want)
	}
	e.Buf = nil
	tt := TrashTimes{MsgID: 1, Files: 1, Dirs: 1}
	tt.Begin(&e)
	tt.Add(&e, 86400, 6)
	tt.Add(&e, 86400, 2)
	e.End()
	var gotTT TrashTimes
	if err := gotTT.Decode(NewDecoder(e.Buf[HeaderSize:])); err != nil || len(gotTT.Groups) != 16 {
		t.Fatalf("%x: got %+v, %v", e.Buf, gotTT, err)
	}
	e.Buf = nil
	cc := CheckedChunk{MsgID: 1, Chunk: 2, Version: 3}
	cc.Begin(&e)
	cc.Add(&e, 0x7f000001, 9422, CopyMarked)
	e.End()
	var gotCC CheckedChunk
	if err := gotCC.Decode(NewDecoder(e.Buf[HeaderSize:])); err != nil || len(gotCC.Copies) != 7 {
		t.Fatalf("%x: got %+v, %v", e.Buf, gotCC, err)
	}
	e.Buf = nil
	dr := DetachedReply{MsgID: 1}
	dr.Begin(&e, FuseGetTrash)
	dr.Add(&e, []byte("a|b"), 7)
	e.End()
	if err := dr.Decode(NewDecoder(e.Buf[HeaderSize:])); err != nil {
		t.Fatal(err)
	}
	if name, inode, err := NewDecoder(dr.Entries).DetachedFile(); err != nil || string(name) != "a|b" || inode != 7 {
		t.Fatalf("%x: got %s, %d, %v", e.Buf, name, inode, err)
	}
	e.Buf = nil
	pr := PathsReply{MsgID: 1}
	pr.Begin(&e)
	e.Text([]byte("a/b"))
	e.End()
	if err := pr.Decode(NewDecoder(e.Buf[HeaderSize:])); err != nil || string(NewDecoder(pr.Paths).Text()) != "a/b" {
		t.Fatalf("%x: got %+v, %v", e.Buf, pr, err)
	}
}

func TestClientTypeNames(t *testing.T) {
	for typ, want := range map[Type]string{FuseLookup: "CLTOMA_FUSE_LOOKUP (406)", FuseLookup.Reply(): "MATOCL_FUSE_LOOKUP (407)",
		InfoChart.Reply(): "ANTOCL_CHART (505)", FuseForgetChunks: "MATOCL_FUSE_INVALIDATE_CHUNK_CACHE (706)", 999: "packet type 999"} {
		if got := typ.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestReaddirReply(t *testing.T) {
	for _, client := range []Release{v3117, NewRelease(3, 0, 74), NewRelease(1, 6, 27)} {
		for _, flags := range []uint8{0, ReaddirAttr} {
			head := ReaddirReply{MsgID: 10, Paged: true, Cursor: 7}
			in := []DirEntry{
				{Name: []byte("."), Inode: 2, Attr: Attr{Type: meta.TypeDir}},
				{Name: []byte("lk"), Inode: 11, Attr: Attr{Type: meta.TypeSymlink}},
			}
			var e Encoder
			head.Begin(&e)
			for i := range in {
				in[i].Append(&e, flags, client)
			}
			e.End()
			got := ReaddirReply{Paged: true}
			if err := got.Decode(NewDecoder(e.Buf[HeaderSize:])); err != nil || got.MsgID != 10 || got.Cursor != 7 {
				t.Fatalf("%x: got %+v, %v", e.Buf, got, err)
			}
			d := NewDecoder(got.Entries)
			for i := range in {
				var entry DirEntry
				if err := entry.Decode(d, flags, client); err != nil || !reflect.DeepEqual(entry, in[i]) {
					t.Fatalf("%x: got %+v, %v, want %+v", e.Buf, entry, err, in[i])
				}
			}
			if d.Len() != 0 {
				t.Fatalf("%x: %d bytes left", e.Buf, d.Len())
			}
		}
	}
}

// FuzzClientPackets: for every packet and every release of a client, what is
// not refused appends to something that decodes to the same.
func FuzzClientPackets(f *testing.F) {
	for _, tc := range clientCaptures {
		for i := range clientForms {
			if clientForms[i].name == tc.form {
				f.Add(uint8(i), uint8(0), unhex(f, tc.bytes))
			}
		}
	}
	for i := range clientForms {
		f.Add(uint8(i), uint8(i), make([]byte, 40))
	}
	f.Fuzz(func(t *testing.T, form, client uint8, in []byte) {
		fm, c := clientForms[int(form)%len(clientForms)], clientReleases[int(client)%len(clientReleases)]
		p, err := fm.decode(in, c)
		if err != nil {
			return
		}
		var e Encoder
		fm.append(&e, p, c)
		if typ, _, rest, ok, err := Split(e.Buf, ClientMaxLength); !ok || err != nil || typ != fm.typ || len(rest) != 0 {
			t.Fatalf("%s: %+v became %x, which is not one packet of type %v", fm.name, p, e.Buf, fm.typ)
		}
		again, err := fm.decode(e.Buf[HeaderSize:], c)
		if err != nil {
			t.Fatalf("%s %v: %x became %x: %v", fm.name, c, in, e.Buf, err)
		}
		var e2 Encoder
		fm.append(&e2, again, c)
		if !bytes.Equal(e.Buf, e2.Buf) {
			t.Fatalf("%s %v: %x became %x and then %x", fm.name, c, in, e.Buf, e2.Buf)
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	var req, rep Encoder
	(&NameRequest{MsgID: 1, Parent: 1, Name: []byte("file-000017"), Identity: rootOnly}).Append(&req, FuseLookup)
	b.ReportAllocs()
	var d Decoder
	var p NameRequest
	reply := LookupReply{MsgID: 2, Inode: 4, Attr: fileAttr, Flags: 0xFF}
	for b.Loop() {
		d.Reset(req.Buf[HeaderSize:])
		if err := p.Decode(&d); err != nil {
			b.Fatal(err)
		}
		rep.Buf = rep.Buf[:0]
		reply.Append(&rep, v3117)
	}
}
