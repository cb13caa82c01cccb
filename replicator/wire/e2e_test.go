//go:build e2e

package wire

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"os/exec"
	"slices"
	"sync"
	"testing"

	"mfsstandby/bench/e2e"
)

// What stock mounts, tools and mfscli say to a real master, and what it
// answers, decodes and appends to the same bytes.
func TestRealClientPackets(t *testing.T) {
	c, err := e2e.Start(e2e.Config{Dir: t.TempDir(), Chunkservers: 2, Mounts: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &wiretap{t: t, cluster: c, seen: map[Type]int{}}
	listener, err := c.Listen(e2e.MasterIP + ":9500")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go w.serve(listener)
	mount, err := c.Mount("tapped", "10.77.0.22", "-P", "9500")
	if err != nil {
		t.Fatal(err)
	}
	trash, err := c.Mount("trash", "10.77.0.23", "-P", "9500", "-m", "-o", "mfsflattrash")
	if err != nil {
		t.Fatal(err)
	}
	script(t, c, c.Mounts()[0], `dd if=/dev/urandom of=large bs=64k count=1 seek=1100`)
	script(t, c, mount.Path, workload)
	script(t, c, trash.Path, `ls trash sustained >&2; for f in trash/*\|gone; do [ -f "$f" ] && { cat "$f"; echo gone > "$f"; mv "$f" trash/undel/; }; done; :`)
	script(t, c, mount.Path, `cat gone; for s in IN IM IG MU IC IL MF CS MB HD EX MS RS SC OF AL MO QU MC; do mfscli -H `+e2e.MasterIP+` -P 9500 -S$s; done >&2`)
	for _, m := range []*e2e.Mount{trash, mount} {
		if err := m.Unmount(); err != nil {
			t.Error(err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, typ := range slices.Sorted(maps.Keys(w.seen)) {
		t.Logf("%v: %d", typ, w.seen[typ])
	}
	for _, typ := range mustSee {
		switch {
		case w.seen[typ] == 0:
			t.Errorf("no client sent %v", typ)
		case w.seen[typ.Reply()] == 0 && typ != FuseSustainedInodes:
			t.Errorf("%v was not answered", typ)
		}
	}
}

const workload = `
mkdir -p d/e; echo hello > d/f; ln d/f d/hard; ln -s f d/sym; readlink d/sym; mknod d/pipe p; mv d/f d/g; cat d/g; ls -la d; df .
truncate -s 3 d/g; truncate -s 200M d/big; dd if=/dev/zero of=d/big bs=64k count=2 seek=1100 conv=notrunc; touch -d 2020-01-01 d/g; chown 5:6 d/g
setfattr -n user.k -v val d/g; getfattr -d d/g; setfacl -m u:7:rwx,g:8:r d/g; setfacl -d -m u:7:rx d; getfacl d/g d
flock d/g true; flock -s -n d/g true
python3 -c 'import fcntl,struct; f=open("d/g","r+"); fcntl.lockf(f,fcntl.LOCK_EX); print(fcntl.fcntl(f,fcntl.F_GETLK,struct.pack("hhqqi",fcntl.F_WRLCK,0,0,0,0)))'
mfssetgoal -r 2 d; mfsgetgoal -r d; mfssettrashtime -r 3600 d; mfsgettrashtime -r d; mfsseteattr -r -f noowner d; mfsgeteattr -r d
mfsdirinfo d; mfsfileinfo d/g; mfscheckfile d/g; mfsfilepaths d/hard; mfsfilerepair d/g; mfsappendchunks d/app d/big; mfsmakesnapshot d snap; mfsrmsnapshot snap
tail -c 1 large | wc -c; mfssetquota -s 100 d; mfsgetquota d; mfsdelquota -a d || mfsdelquota -s d; mfssetarchive d/g; mfschkarchive d/g; mfsclrarchive d/g
mfsscadmin create -K A fast; mfsscadmin list -l; mfssetsclass fast d/g; mfsgetsclass -r d; mfsxchgsclass fast 2 d/g; mfsscadmin copy fast faster; mfsscadmin rename faster fastest
mfsscadmin change -f -K B fastest; mfsscadmin delete fastest; mfsscadmin delete fast
echo bye > gone; rm gone; rmdir d/e; ls -la d missing || :
`

// mustSee are requests that the workload makes clients send.
var mustSee = []Type{
	FuseRegister, FuseStatfs, FuseLookup, FuseGetattr, FuseSetattr, FuseReadlink, FuseSymlink, FuseMknod, FuseMkdir, FuseUnlink, FuseRmdir,
	FuseRename, FuseLink, FuseReaddir, FuseOpen, FuseReadChunk, FuseWriteChunk, FuseWriteChunkEnd, FuseAppendSlice, FuseCheck,
	FuseGetTrashTime, FuseSetTrashTime, FuseGetClass, FuseSetClass, FuseGetTrash, FuseGetDetachedAttr, FuseGetTrashPath, FuseSetTrashPath, FuseUndel,
	FuseGetDirStats, FuseTruncate, FuseRepair, FuseSnapshot, FuseGetSustained, FuseGetEattr, FuseSetEattr, FuseQuotaControl, FuseGetXattr,
	FuseSetXattr, FuseCreate, FusePaths, FuseGetACL, FuseSetACL, FuseFlock, FusePosixLock, FuseArchCtl, FuseSustainedInodes, FuseTimeSync,
	ClassCreate, ClassChange, ClassDelete, ClassDuplicate, ClassRename, ClassList,
	InfoServers, InfoSessions, InfoMaster, InfoTreeTest, InfoChunkTest, InfoMatrix, InfoQuotas, InfoExports, InfoMetaloggers, InfoMemory,
	InfoOpenFiles, InfoLocks, InfoClasses, InfoMissing,
}

func script(t *testing.T, c *e2e.Cluster, dir, text string) {
	t.Helper()
	cmd := c.Command("bash", "-c", text)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		t.Fatalf("%v", err)
	}
	t.Logf("%s", out)
}

// wiretap passes on what clients and the master say, and checks it.
type wiretap struct {
	t       *testing.T
	cluster *e2e.Cluster

	mu     sync.Mutex // guards what follows
	seen   map[Type]int
	failed map[Type]bool
}

func (w *wiretap) serve(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		master, err := w.cluster.Dial(w.t.Context(), e2e.ClientAddress)
		if err != nil {
			client.Close()
			return
		}
		s := &talk{w: w, client: v3117}
		go s.pass(client, master, s.request)
		go s.pass(master, client, s.answer)
	}
}

// talk is one connection.
type talk struct {
	w       *wiretap
	client  Release
	mu      sync.Mutex // guards what follows
	code    RegisterCode
	readdir uint8           // flags of the newest READDIR
	mode    map[Type]uint8  // of information requests
	check   map[uint32]bool // CHECK by msgid: has an index
	classes uint8
}

func (s *talk) pass(from, to net.Conn, look func(Type, []byte)) {
	defer to.Close()
	for {
		t, payload, err := ReadPacket(from, nil, ClientMaxLength)
		if err != nil {
			return
		}
		if t > BadCommandSize {
			s.mu.Lock()
			look(t, payload)
			s.mu.Unlock()
		}
		if _, err := to.Write(AppendPacket(nil, t, payload)); err != nil {
			return
		}
	}
}

// count notes a packet, and what is wrong with it.
func (w *wiretap) count(t Type, payload []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[t]++
	if err != nil && !w.failed[t] {
		w.t.Errorf("%v: %v: %x", t, err, payload[:min(len(payload), 300)])
		if w.failed == nil {
			w.failed = map[Type]bool{}
		}
		w.failed[t] = true
	}
}

func (s *talk) request(t Type, payload []byte) {
	switch d := NewDecoder(payload); t {
	case FuseRegister:
		var p ClientRegister
		if p.Decode(d) == nil {
			s.code = p.Code
		}
	case FuseReaddir:
		var p Readdir
		if p.Decode(d) == nil {
			s.readdir = p.Flags
		}
	case FuseCheck:
		if s.check == nil {
			s.check = map[uint32]bool{}
		}
		s.check[d.U32()] = len(payload) == 12
	case ClassList:
		s.classes = payload[4]
	case InfoSessions, InfoExports, InfoMissing, InfoMatrix, InfoTreeTest:
		if s.mode == nil {
			s.mode = map[Type]uint8{}
		}
		s.mode[t] = 0xFF
		if len(payload) > 0 {
			s.mode[t] = payload[0]
		}
	}
	s.w.count(t, payload, s.again(t, payload))
}

// again decodes a packet with the forms of the tests and appends it.
func (s *talk) again(t Type, payload []byte) error {
	err := fmt.Errorf("no form for it")
	for _, f := range append(clientForms, e2eForms...) {
		if f.typ != t {
			continue
		}
		p, bad := f.decode(payload, s.client)
		if bad != nil {
			err = bad
			continue
		}
		var e Encoder
		f.append(&e, p, s.client)
		if bytes.Equal(e.Buf[HeaderSize:], payload) {
			return nil
		}
		err = fmt.Errorf("%+v appends to %x", p, e.Buf[HeaderSize:][:min(len(e.Buf)-HeaderSize, 300)])
	}
	return err
}

// empty is a packet without payload.
func empty(t Type) clientForm {
	return clientForm{t, "empty", func(b []byte, _ Release) (any, error) { return nil, NewDecoder(b).End() },
		func(e *Encoder, _ any, _ Release) { AppendEmpty(e, t) }}
}

// e2eForms are forms that several packets share.
var e2eForms = []clientForm{
	typed[NameRequest](FuseUnlink), typed[NameRequest](FuseRmdir), typed[EmptyRequest](FuseGetSustained), typed[ChunkRequest](FuseWriteChunk),
	typed[TreeRequest](FuseGetClass), typed[TreeRequest](FuseGetEattr),
	typed[InodeRequest](FusePaths), typed[InodeRequest](FuseParents), typed[InodeRequest](FuseGetTrashPath), typed[InodeRequest](FuseUndel),
	typed[InodeRequest](FusePurge), typed[InodeRequest](FuseGetDirStats),
	answer[AttrReply](FuseSetattr), answer[AttrReply](FuseGetDetachedAttr), answer[NodeReply](FuseSymlink), answer[NodeReply](FuseMknod),
	answer[NodeReply](FuseLink), answer[NodeReply](FuseRename), answer[RemovedReply](FuseRmdir), answer[ChunkReply](FuseWriteChunk),
	replyOf[CountsReply](FuseSetTrashTime), replyOf[CountsReply](FuseSetClass), replyOf[CountsReply](FuseRepair),
	typed[InfoRequest](InfoExports), typed[InfoRequest](InfoMissing), typed[InfoRequest](InfoMatrix), typed[InfoRequest](InfoTreeTest),
	typed[ListRequest](InfoLocks),
	empty(InfoServers), empty(InfoMaster), empty(InfoChunkTest), empty(InfoQuotas), empty(InfoMetaloggers), empty(InfoMemory), empty(InfoClasses),
	empty(InfoMonotonic), empty(FuseTimeSync), plain[OpenInodes](InfoPaths), plain[VersionRequest](GetVersion), plain[ConfigRequest](GetConfig),
	plain[Config](ConfigValue), classNames(ClassDelete), classNames(ClassDuplicate), classNames(ClassRename),
	{FuseForgetChunks, "forget", func(b []byte, _ Release) (any, error) { d := NewDecoder(b); d.U32(); return nil, d.End() },
		func(e *Encoder, _ any, _ Release) { AppendForgetChunks(e) }},
	plain[OpenInodes](InfoMetaloggers.Reply()), // pairs of numbers
	plain[OpenInodes](InfoMemory.Reply()),      // numbers of 64 bits
	plain[OpenInodes](InfoChunkTest.Reply()),
}

func classNames(t Type) clientForm {
	return clientForm{t, "class names", func(b []byte, _ Release) (any, error) { p := &ClassNames{}; return p, p.Decode(NewDecoder(b), t) },
		func(e *Encoder, p any, _ Release) { p.(*ClassNames).Append(e, t) }}
}

func (s *talk) answer(t Type, payload []byte) {
	s.w.count(t, payload, s.checkAnswer(t, payload))
}

func (s *talk) checkAnswer(t Type, payload []byte) error {
	if _, _, ok := ReplyStatus(payload); ok && t != FuseRegister.Reply() {
		return nil
	}
	var e Encoder
	d := NewDecoder(payload)
	e.Begin(t)
	switch t - 1 {
	case FuseRegister:
		if s.code == RegisterNewSession || s.code == RegisterNewMetaSession {
			p := Session{Meta: s.code == RegisterNewMetaSession}
			if err := p.Decode(d, s.client); err != nil {
				return err
			}
			e.Buf = nil
			p.Append(&e, s.client)
			return sameBytes(&e, payload)
		}
		return nil
	case FuseReaddir:
		p := ReaddirReply{Paged: true}
		if err := p.Decode(d); err != nil {
			return err
		}
		e.Buf = nil
		p.Begin(&e)
		for d := NewDecoder(p.Entries); d.Len() > 0; {
			var entry DirEntry
			if err := entry.Decode(d, s.readdir, s.client); err != nil {
				return err
			}
			entry.Append(&e, s.readdir, s.client)
		}
	case FuseGetTrash, FuseGetSustained:
		e.U32(d.U32())
		for d.Len() > 0 {
			name, inode, err := d.DetachedFile()
			if err != nil {
				return err
			}
			(&DetachedReply{}).Add(&e, name, inode)
		}
	case FusePaths:
		e.U32(d.U32())
		for d.Len() > 0 {
			e.Text(d.Text())
		}
	case FuseGetClass, FuseGetEattr:
		var p Groups
		if err := p.Decode(d); err != nil {
			return err
		}
		e.Buf = nil
		p.Begin(&e, t-1)
		n := 0
		for d := NewDecoder(p.Groups); d.Len() > 0; n++ {
			var g Group
			if err := g.Decode(d, t-1 == FuseGetClass); err != nil {
				return err
			}
			if g.Name != nil {
				p.AddClass(&e, g.Name, g.Count)
			} else {
				p.AddValue(&e, g.Value, g.Count)
			}
		}
		if n != int(p.Files)+int(p.Dirs) {
			return fmt.Errorf("%d groups, announced %d and %d", n, p.Files, p.Dirs)
		}
	case FuseGetTrashTime:
		var p TrashTimes
		if err := p.Decode(d); err != nil {
			return err
		}
		e.Buf = nil
		p.Begin(&e)
		e.Bytes(p.Groups)
	case FuseCheck:
		id := d.U32()
		if !s.check[id] {
			return s.again(t, payload)
		}
		var p CheckedChunk
		if err := p.Decode(NewDecoder(payload)); err != nil {
			return err
		}
		e.Buf = nil
		p.Begin(&e)
		e.Bytes(p.Copies)
	case ClassList:
		l := ListClasses{MsgID: d.U32(), Long: s.classes}
		e.U32(l.MsgID)
		for d.Len() > 0 {
			var c Class
			name, err := l.DecodeEntry(d, &c)
			if err != nil {
				return err
			}
			l.AppendEntry(&e, name, &c)
		}
	case InfoSessions:
		mode := s.mode[t-1]
		e.U16(d.U16())
		for d.Len() > 0 {
			var p SessionInfo
			if err := p.Decode(d, mode); err != nil {
				return err
			}
			p.Append(&e, mode)
		}
	case InfoExports:
		for d.Len() > 0 {
			var p ExportInfo
			if err := p.Decode(d, s.mode[t-1]); err != nil {
				return err
			}
			p.Append(&e, s.mode[t-1])
		}
	case InfoClasses:
		e.U16(d.U16())
		for d.Len() > 0 {
			var p ClassInfo
			if err := p.Decode(d); err != nil {
				return err
			}
			p.Append(&e)
		}
	case InfoMissing:
		for d.Len() > 0 {
			var p MissingChunk
			if err := p.Decode(d, s.mode[t-1]); err != nil {
				return err
			}
			p.Append(&e, s.mode[t-1])
		}
	case InfoMatrix:
		var m Matrix
		if s.mode[t-1] == 0xFF {
			e.U8(d.U8())
			m.Decode(d)
			m.Append(&e)
		}
		m.Decode(d)
		m.Append(&e)
	case InfoTreeTest:
		p := TreeTest{Long: s.mode[t-1] != 0xFF}
		if err := p.Decode(d); err != nil {
			return err
		}
		e.Buf = nil
		p.Append(&e)
		return sameBytes(&e, payload)
	case InfoLocks:
		for d.Len() > 0 {
			var p LockInfo
			if err := p.Decode(d, true); err != nil {
				return err
			}
			p.Append(&e, true)
		}
	case InfoOpenFiles:
		if len(payload)%8 != 0 {
			return io.ErrUnexpectedEOF
		}
		return nil
	case InfoMonotonic, InfoChart, InfoChartData:
		return nil // numbers and pictures
	default:
		return s.again(t, payload)
	}
	e.End()
	return sameBytes(&e, payload)
}

func sameBytes(e *Encoder, payload []byte) error {
	if got := e.Buf[HeaderSize:]; !bytes.Equal(got, payload) {
		return fmt.Errorf("appends to %x", got[:min(len(got), 300)])
	}
	return nil
}
