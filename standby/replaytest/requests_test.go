//go:build e2e

package replaytest

import (
	"bytes"
	"crypto/md5"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
	"mfsstandby/changelog/oprand"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/leader"
)

var (
	requests     = flag.Int("requests", 1500, "random requests sent to a real mfsmaster, for each seed")
	requestSeeds = flag.Int("requestseeds", 2, "number of seeds for them")
)

// Random requests sent to a real mfsmaster and to a leader that has the same
// metadata get the same answers, and lead to the same entries and metadata.
func TestMasterAnswersAlike(t *testing.T) {
	for seed := *first; seed < *first+uint64(*requestSeeds); seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { answerRandom(t, seed) })
	}
}

// realSizeFlags are those of limits of how much all copies of files take.
const realSizeFlags = 0x88

// client is the release that the connections claim to be of.
var client = wire.NewRelease(3, 0, 117)

// exports gives each kind of session a line, chosen by its password.
var exports = []string{
	"* / rw,admin,maproot=0:0,password=admin",
	"* / rw,maproot=0:0,password=root",
	"* / rw,maproot=1000:1000,password=user",
	"* / rw,mapall=1001:1001,maproot=0:0,password=mapped",
	"* / ro,admin,maproot=0:0,password=ro",
	"* / rw,ignoregid,maproot=0:0,password=ignoregid",
	"* / rw,maproot=0:0,mingoal=2,maxgoal=4,mintrashtime=2h,maxtrashtime=3d,password=limits",
	"* / rw,admin,maproot=0:0,disable=rmdir:unlink:rename:chmod:symlink:mkfifo:create:setlength:setxattr:snapshot:settrash:seteattr,password=few",
	"* / rw,admin,maproot=0:0,disable=move:mkdir:link:truncate:chown:setsclass:setfacl:appendchunks:mkdev:mksock,password=fewer",
	"* /sub rw,alldirs,admin,maproot=0:0,password=sub",
	"* . rw",
}

// duel is a real master and a state of ours that is to stay like its.
type duel struct {
	*testing.T
	*master
	cmd     *exec.Cmd
	log     *bytes.Buffer
	rnd     *rand.Rand
	st      *meta.State
	version meta.Version
	now     meta.Time
	locks   *leader.Locks
	log0    *os.File
	conns   []*mount
	sent    map[wire.Type]int
	oks     map[wire.Type]int

	rules    changelog.Rules
	served   time.Time           // since when the master does
	relabels bool                // labels of storage classes change
	waiting  []waiting           // requests for chunks that are locked, as they came
	longer   map[meta.Inode]bool // files of which the master has more slots than entries tell

	woken, answered []string // answers that came later, ours and the master's
	lateAnswers     int
	nodes           []meta.Inode
	last            string // request, for messages
}

// mount is a connection to the master, and the session that it has there.
type mount struct {
	net.Conn
	session meta.SessionID
	msgID   uint32
}

// waiting is a request that waits for a chunk to be unlocked.
type waiting struct {
	m     *mount
	p     packet
	chunk meta.ChunkID
	since time.Time
}

func answerRandom(t *testing.T, seed uint64) {
	d := newDuel(t, seed)
	for i := range *requests {
		if i%25 == 0 {
			d.look()
		}
		if i%150 == 149 {
			d.sweep()
		}
		m := d.conns[0]
		if d.some(60) {
			m = d.conns[d.rnd.IntN(len(d.conns))]
		}
		d.step(m, d.request(m))
		if t.Failed() {
			t.Fatalf("after %d requests", i+1)
		}
	}
	t.Logf("%d requests; %d answers came late; answered OK: %v of %v", *requests, d.lateAnswers, d.oks, d.sent)
	d.finish()
}

func newDuel(t *testing.T, seed uint64) *duel {
	now := meta.Time(time.Now().Unix())
	d := &duel{T: t, master: newMaster(t), rnd: rand.New(rand.NewPCG(seed, 1)), log: &bytes.Buffer{},
		sent: map[wire.Type]int{}, oks: map[wire.Type]int{}, longer: map[meta.Inode]bool{}, rules: changelog.DefaultRules}
	d.rules.Atime = changelog.AtimeMode(seed % 5)
	d.relabels = seed%2 == 0
	st := oprand.Fresh(now - 100*24*3600)
	g := oprand.New(rand.NewPCG(seed, 2), now-100*24*3600)
	for range 600 {
		before := st
		op, err := g.Step(&st)
		w, write := op.(*changelog.Write)
		l, length := op.(*changelog.Length)
		if err == nil && (write && w.Index > 5 || length && l.Length > 1<<40) {
			st = before // no chunk tables that take gigabytes
		}
	}
	d.settle(st)
	d.now = now
	d.locks = leader.NewLocks(func(id meta.SessionID, t wire.Type, msgID uint32, status meta.Status) {
		d.woken = append(d.woken, woken(id, t, msgID, status))
	})
	d.store(t, st)
	d.st, _ = load(t, filepath.Join(d.data, "metadata.mfs")) // what a master does not store it does not know
	d.st.Release = meta.NewRelease(3, 0, 117)
	d.version = 1
	d.start()
	for _, line := range exports {
		d.conns = append(d.conns, d.connect(line))
	}
	d.served = time.Now()
	return d
}

// settle makes a state that was drawn one that a master can serve: open files,
// locks and sessions of clients that are gone, and what is being written, would
// change by themselves.
func (d *duel) settle(st *meta.State) {
	for id, ino := range st.Open.Scan() {
		st.Open.Remove(id, ino)
	}
	for ino := range st.Flocks.Scan(0) {
		st.Flocks.Delete(ino)
	}
	for ino := range st.Plocks.Scan(0) {
		st.Plocks.Delete(ino)
	}
	for id := range st.Sessions.Scan(0) {
		st.Sessions.Delete(id)
	}
	for id := range st.Chunks.Scan(0) {
		c, _ := st.Chunks.Edit(id)
		c.LockedTo = 0
		if id%4 == 0 {
			c.LockedTo = meta.Time(time.Now().Add(time.Hour).Unix()) // somebody is writing it
		}
	}
	for at := range st.Servers.Scan(meta.Server{}) {
		st.Servers.Delete(at)
	}
	for ino := range st.Quotas.Scan(0) {
		st.Quotas.Delete(ino) // drawn ones have limits that do not count
	}
	if _, ok := st.Edges.Get(meta.Root, []byte("sub")); !ok {
		op := &changelog.Create{Parent: meta.Root, Base: []byte("sub"), Type: meta.TypeDir, Mode: 0o777}
		if err := changelog.Originate(st, changelog.Entry{Time: 1, Op: op}); err != nil {
			d.Fatal(err)
		}
	}
}

// start runs the master and waits until it serves.
func (d *duel) start() {
	d.Helper()
	config, err := os.ReadFile(d.config)
	if err != nil {
		d.Fatal(err)
	}
	file := regexp.MustCompile(`EXPORTS_FILENAME = (.*)`).FindSubmatch(config)
	if err := os.WriteFile(string(file[1]), []byte(strings.Join(exports, "\n")+"\n"), 0o600); err != nil {
		d.Fatal(err)
	}
	config = fmt.Appendf(config, "ATIME_MODE = %d\n", d.rules.Atime)
	if err := os.WriteFile(d.config, config, 0o600); err != nil {
		d.Fatal(err)
	}
	d.cmd = exec.Command("mfsmaster", "-f", "-c", d.config, "start")
	d.cmd.Stderr, d.cmd.Stdout = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		_, _ = d.cmd.Process.Wait()
	})
}

func (d *duel) port() string {
	config, err := os.ReadFile(d.config)
	if err != nil {
		d.Fatal(err)
	}
	return string(regexp.MustCompile(`MATOCL_LISTEN_PORT = (.*)`).FindSubmatch(config)[1])
}

// connect registers a session of an export.
func (d *duel) connect(export string) *mount {
	d.Helper()
	var conn net.Conn
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		var err error
		if conn, err = net.Dial("tcp", "127.0.0.1:"+d.port()); err == nil {
			break
		}
		if time.Now().After(deadline) {
			d.Fatalf("%v\n%s", err, d.log)
		}
	}
	d.Cleanup(func() { conn.Close() })
	m := &mount{Conn: conn}
	path := strings.Fields(export)[1]
	r := wire.ClientRegister{Code: wire.RegisterNewSession, Release: client, Info: []byte("/mnt\x00"), Path: []byte(path)}
	if path == "." {
		r.Code, r.Path = wire.RegisterNewMetaSession, nil
	}
	if _, password, ok := strings.Cut(export, "password="); ok {
		ask := wire.ClientRegister{Code: wire.RegisterRandom}
		var e wire.Encoder
		ask.Append(&e)
		random := d.exchange(m, e.Buf)
		sum := md5.Sum([]byte(password))
		answer := md5.Sum(slices.Concat(random[:16], sum[:], random[16:]))
		r.Password = answer[:]
	}
	var e wire.Encoder
	r.Append(&e)
	p := wire.Session{Meta: r.Code == wire.RegisterNewMetaSession}
	if err := p.Decode(wire.NewDecoder(d.exchange(m, e.Buf)), client); err != nil {
		d.Fatalf("registering for %q: %v", export, err)
	}
	m.session = meta.SessionID(p.Session)
	d.takeAll(d.lines())
	return m
}

// exchange sends a packet and returns the next answer.
func (d *duel) exchange(m *mount, packet []byte) []byte {
	d.Helper()
	if _, err := m.Write(packet); err != nil {
		d.Fatal(err)
	}
	_, payload := d.read(m)
	return payload
}

// read returns the next packet that is no keepalive and came for a request.
func (d *duel) read(m *mount) (wire.Type, []byte) {
	d.Helper()
	_ = m.SetReadDeadline(time.Now().Add(60 * time.Second))
	for {
		kind, payload, err := wire.ReadPacket(m, nil, wire.ClientMaxLength)
		if err != nil {
			d.Fatalf("session %d %s: %v; the master has ended: %v\n%s", m.session, d.last, err, d.ended(), d.log)
		}
		switch kind {
		case wire.Nop, wire.FuseChunkChanged, wire.FuseLengthChanged, wire.FuseForgetChunks:
			continue
		}
		return kind, payload
	}
}

// ended tells how the master ended, if it did by itself.
func (d *duel) ended() error {
	done := make(chan error, 1)
	go func() { done <- d.cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(5 * time.Second):
		return errors.New("it has not")
	}
}

// lines returns the entries that the master has written since the last call.
func (d *duel) lines() (list []changelog.Entry) {
	d.Helper()
	if d.log0 == nil {
		f, err := os.Open(filepath.Join(d.data, "changelog.0.mfs"))
		if err != nil {
			return nil // nothing yet
		}
		d.Cleanup(func() { f.Close() })
		d.log0 = f
	}
	text, err := io.ReadAll(d.log0)
	if err != nil {
		d.Fatal(err)
	}
	if n := len(text); n > 0 && text[n-1] != '\n' {
		d.Fatalf("the changelog ends in the middle of a line: %q", text[max(0, n-80):])
	}
	for line := range bytes.Lines(text) {
		e, err := changelog.NewBatch().ParseLine(bytes.Clone(line))
		if err != nil {
			d.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// isDuty tells whether the master wrote an entry by itself, not for the request.
func (p *packet) isDuty(op changelog.Op) bool {
	switch op := op.(type) {
	case *changelog.EmptyTrash, *changelog.EmptySustained, *changelog.FreeInodes, *changelog.ChunkDel, *changelog.SetFileChunk, *changelog.SetVersion:
		return true
	case *changelog.Quota:
		return p.kind != wire.FuseQuotaControl || op.Inode != p.inode
	}
	return false
}

// takeAll applies entries of the master as they are.
func (d *duel) takeAll(list []changelog.Entry) {
	d.Helper()
	for _, e := range list {
		d.duty(e)
	}
}

// duty applies an entry that the master wrote by itself. Those that a leader
// writes too must be the same here.
func (d *duel) duty(e changelog.Entry) {
	d.Helper()
	if e.Version != d.version {
		d.Fatalf("entry %d follows %d", e.Version, d.version)
	}
	d.now = e.Time
	var r changelog.Request
	switch op := e.Op.(type) {
	case *changelog.EmptyTrash:
		r = &changelog.TrashDuty{Bucket: op.Bucket}
	case *changelog.EmptySustained:
		r = &changelog.SustainedDuty{Bucket: op.Bucket}
	case *changelog.FreeInodes:
		r = &changelog.FreeDuty{Delay: op.Delay}
	case *changelog.Quota:
		r = &changelog.QuotaCheck{Inode: op.Inode}
	case *changelog.SesAdd:
		r = &changelog.SessionRequest{SessionData: op.SessionData}
	case *changelog.ChunkDel:
		r = &changelog.ChunkDuty{Chunk: op.Chunk}
	case *changelog.SetFileChunk:
		r = &changelog.SlotDuty{Inode: op.Inode, Index: op.Index}
	default:
		if err := changelog.ApplyEntry(d.st, e); err != nil {
			d.Fatal(err)
		}
		d.version++
		return
	}
	turn := leader.NewTurn(d.st, d.locks, d.version, e.Time)
	turn.Do(nil, r)
	d.same("duty", []changelog.Entry{e}, turn)
	d.version++
}

// same compares entries.
func (d *duel) same(what string, want []changelog.Entry, turn *leader.Turn) {
	d.Helper()
	if err := turn.Err(); err != nil {
		d.Fatal(err)
	}
	var a, b strings.Builder
	for _, e := range want {
		fmt.Fprintf(&a, "%d: %s\n", e.Version, changelog.Append(nil, e.Time, e.Op))
	}
	for _, e := range turn.Entries() {
		fmt.Fprintf(&b, "%d: %s\n", e.Version, e.Text)
	}
	if a.String() != b.String() {
		d.Fatalf("%s: entries\n got %swant %s", what, b.String(), a.String())
	}
}

// packet is a request and how to show it.
type packet struct {
	kind  wire.Type
	show  string
	data  []byte // whole, with its header
	msgID uint32
	inode meta.Inode // of a request about a quota or a chunk, or that reads
	index uint32
	reads bool
}

// step sends a request to both and compares.
func (d *duel) step(m *mount, p packet) {
	d.Helper()
	d.takeAll(d.lines())
	d.last = p.show
	if _, err := m.Write(p.data); err != nil {
		d.Fatal(err)
	}
	d.barrier(m)
	var want []byte
	for {
		kind, payload := d.read(m)
		if kind == wire.FuseAccess.Reply() {
			break
		}
		if d.late(m, kind, payload, p.msgID) {
			continue
		}
		if kind != p.kind.Reply() || want != nil {
			d.Fatalf("%s: answered by %v %x", p.show, kind, payload)
		}
		want = wire.AppendPacket(nil, kind, payload)
	}
	entries := d.lines()
	for len(entries) > 0 && p.isDuty(entries[0].Op) {
		d.duty(entries[0])
		entries = entries[1:]
	}
	var later []changelog.Entry
	for n := len(entries); n > 0 && (p.isDuty(entries[n-1].Op) || p.kind == wire.FuseQuotaControl && n > 1); n-- {
		entries, later = entries[:n-1], append([]changelog.Entry{entries[n-1]}, later...)
	}
	if len(entries) > 0 {
		d.now = entries[0].Time
	}
	turn := leader.NewTurn(d.st, d.locks, d.version, d.now)
	_, _, refused := wire.ReplyStatus(want[min(len(want), wire.HeaderSize):])
	switch {
	case p.reads:
		d.readBy(turn, m, p, want)
	case p.kind == wire.FuseRepair && !refused:
		d.repairBy(turn, m, p, want, len(entries))
	default:
		got, waits := d.serve(turn, m, p)
		if waits {
			d.waiting = append(d.waiting, waiting{m, p, d.st.Slot(p.inode, d.node(p.inode), p.index), time.Now()})
		}
		if !bytes.Equal(got, d.mask(p.kind, want)) {
			d.Fatalf("session %d %s: answer\n got %x\nwant %x\n%v", m.session, p.show, got, d.mask(p.kind, want), turn.Entries())
		}
	}
	d.same(p.show, entries, turn)
	d.version += meta.Version(len(entries))
	d.sent[p.kind]++
	if _, status, ok := wire.ReplyStatus(want[min(len(want), wire.HeaderSize):]); !ok || status == meta.OK {
		d.oks[p.kind]++
	}
	for _, e := range entries {
		if op, ok := e.Op.(*changelog.Unlock); ok {
			d.unlocked(op.Chunk)
		}
	}
	d.takeAll(later)
	d.compareWoken(p)
}

// serve has a leader answer; waits tells that it has to be asked again when a
// chunk is unlocked.
func (d *duel) serve(turn *leader.Turn, m *mount, p packet) (answer []byte, waits bool) {
	d.Helper()
	params, _ := d.st.Sessions.Get(m.session)
	c := &leader.Client{Release: client, Session: m.session, Params: params, Rules: &d.rules}
	var out wire.Encoder
	err := leader.Serve(turn, c, p.kind, p.data[wire.HeaderSize:], &out)
	if errors.Is(err, leader.ErrLocked) {
		return nil, true
	}
	if err != nil {
		d.Fatalf("%s: %v", p.show, err)
	}
	return d.mask(p.kind, out.Buf), false
}

// readBy does what a server does with a request that reads and may set an access
// time; whether it may, the master has told.
func (d *duel) readBy(turn *leader.Turn, m *mount, p packet, answer []byte) {
	if _, _, refused := wire.ReplyStatus(answer[wire.HeaderSize:]); refused {
		return
	}
	params, _ := d.st.Sessions.Get(m.session)
	c := changelog.NewCaller(m.session, &params, true, 0, []uint32{0}, &d.rules)
	turn.Do(&c, &changelog.AccessRequest{Inode: p.inode})
}

// repairBy does what the master did, which erased some chunks and answered. A
// leader refuses to repair what a master without chunkservers would erase, so
// only the rules for it are compared. The master counts all slots that it did not
// change, also those behind the last chunk, of which it has more than entries
// tell: a request to write that failed leaves some.
func (d *duel) repairBy(turn *leader.Turn, m *mount, p packet, answer []byte, erased int) {
	d.Helper()
	var q wire.Repair
	if err := q.Decode(wire.NewDecoder(p.data[wire.HeaderSize:])); err != nil {
		d.Fatal(err)
	}
	if got, _ := d.serve(turn, m, p); len(got) != wire.HeaderSize+5 || meta.Status(got[wire.HeaderSize+4]) != meta.ENOCHUNKSERVERS {
		d.Fatalf("%s: a leader answers %x", p.show, got)
	}
	params, _ := d.st.Sessions.Get(m.session)
	gids := make([]uint32, q.GIDs.Len())
	for i := range gids {
		gids[i] = q.GIDs.At(i)
	}
	c := changelog.NewCaller(m.session, &params, true, q.UID, gids, &d.rules)
	told := wire.NewDecoder(answer[wire.HeaderSize:])
	msgID, kept, gone, mended := told.U32(), told.U32(), told.U32(), told.U32()
	slots := d.node(q.Inode).Slots
	if err := told.End(); err != nil || msgID != p.msgID || kept+gone < slots || gone != uint32(erased) || mended != 0 {
		d.Fatalf("%s: the master answers %x (%v), of %d slots %d were erased", p.show, answer, err, slots, erased)
	}
	for index := range changelog.UsedSlots(d.st, q.Inode) {
		turn.Do(&c, &changelog.RepairRequest{Inode: q.Inode, Index: index})
	}
}

func (d *duel) node(ino meta.Inode) *meta.Node {
	n, _ := d.st.Nodes.Get(ino)
	return &n
}

// unlocked answers those who waited for a chunk that was unlocked. A server
// answers them, too, when their request has become another one's: the file has
// no such chunk any more, say. The master lets them wait to the end then.
func (d *duel) unlocked(chunk meta.ChunkID) {
	d.Helper()
	left := d.waiting[:0]
	for _, w := range d.waiting {
		if w.chunk != chunk {
			left = append(left, w)
			continue
		}
		turn := leader.NewTurn(d.st, d.locks, d.version, d.now)
		got, waits := d.serve(turn, w.m, w.p)
		if waits {
			left = append(left, w)
			continue
		}
		d.woken = append(d.woken, fmt.Sprintf("session %d: %x", w.m.session, got))
		d.same(w.p.show, nil, turn)
	}
	d.waiting = left
}

// barrier sends a request whose answer tells that there are no more to those
// before it.
func (d *duel) barrier(m *mount) {
	d.Helper()
	m.msgID++
	p := wire.Access{MsgID: m.msgID, Inode: meta.Root, Identity: identity(0, 0)}
	var e wire.Encoder
	p.Append(&e)
	if _, err := m.Write(e.Buf); err != nil {
		d.Fatal(err)
	}
}

// late takes note of an answer to a request that waited for a lock.
func (d *duel) late(m *mount, kind wire.Type, payload []byte, now uint32) bool {
	id, status, ok := wire.ReplyStatus(payload)
	if i := slices.IndexFunc(d.waiting, func(w waiting) bool { return w.m == m && w.p.msgID == id && w.p.kind.Reply() == kind }); i >= 0 {
		if status == meta.ELOCKED { // it has waited for too long
			if waited := time.Since(d.waiting[i].since); waited < 29*time.Second {
				d.Fatalf("%s: refused after %v", d.waiting[i].p.show, waited)
			}
			d.waiting = slices.Delete(d.waiting, i, i+1)
			return true
		}
	}
	if msg := wire.NewDecoder(payload).U32(); msg != now && (kind == wire.FuseWriteChunk.Reply() || kind == wire.FuseTruncate.Reply()) {
		d.answered = append(d.answered, fmt.Sprintf("session %d: %x", m.session, d.mask(kind-1, wire.AppendPacket(nil, kind, payload))))
		return true
	}
	if !ok || id == now || kind != wire.FuseFlock.Reply() && kind != wire.FusePosixLock.Reply() {
		return false
	}
	d.answered = append(d.answered, woken(m.session, kind-1, id, status))
	return true
}

func woken(id meta.SessionID, t wire.Type, msgID uint32, status meta.Status) string {
	return fmt.Sprintf("session %d: %v to %d: %v", id, t, msgID, status)
}

// compareWoken compares the answers to requests that waited.
func (d *duel) compareWoken(p packet) {
	d.Helper()
	switch p.kind {
	case wire.FuseFlock, wire.FusePosixLock, wire.FuseSustainedInodes, wire.FuseWriteChunkEnd:
	default:
		return
	}
	for _, m := range d.conns {
		d.barrier(m)
		for {
			kind, payload := d.read(m)
			if kind == wire.FuseAccess.Reply() {
				break
			}
			if !d.late(m, kind, payload, 0) {
				d.Fatalf("%s: %v %x came late", p.show, kind, payload)
			}
		}
	}
	slices.Sort(d.woken)
	slices.Sort(d.answered)
	if !slices.Equal(d.woken, d.answered) {
		d.Fatalf("%s: answers to those who waited\n got %q\nwant %q", p.show, d.woken, d.answered)
	}
	d.lateAnswers += len(d.woken)
	d.woken, d.answered = nil, nil
}

// mask takes from an answer what depends on the master's cache of who has what
// in its cache.
func (d *duel) mask(kind wire.Type, answer []byte) []byte {
	answer = bytes.Clone(answer)
	if kind == wire.FuseOpen && len(answer) > wire.HeaderSize+5 {
		answer[wire.HeaderSize+4] &^= wire.OpenedKeepCache
		answer[wire.HeaderSize+5] &^= wire.AttrDataCache
	}
	// How much all copies take the master keeps as it was when labels change,
	// until it looks at files again. Where labels change there are no limits of it.
	if kind == wire.FuseQuotaControl && d.relabels && len(answer) > wire.HeaderSize+8 {
		clear(answer[len(answer)-8:])
	}
	// A master that has just begun to run has clients wait for what later are
	// lost chunks.
	if again := len(answer) - 1; (kind == wire.FuseTruncate || kind == wire.FuseWriteChunk) && len(answer) == wire.HeaderSize+5 && answer[again] == byte(meta.EAGAIN) {
		answer[again] = byte(meta.ECHUNKLOST)
	}
	return answer
}

// finish stops the master and compares what it stores.
func (d *duel) finish() {
	d.takeAll(d.lines())
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.Fatal(err)
	}
	if err := d.cmd.Wait(); err != nil {
		d.Fatalf("%v\n%s", err, d.log)
	}
	// The master moves its changelog away when it stops.
	d.takeAll(d.lines())
	want, h := load(d.T, filepath.Join(d.data, "metadata.mfs"))
	if h.Version != d.version {
		d.Fatalf("the master stored version %d, entries end at %d", h.Version, d.version)
	}
	if problems := metatest.Check(d.st); len(problems) > 0 {
		d.Errorf("state is inconsistent:\n%s", strings.Join(problems, "\n"))
	}
	now := meta.Time(time.Now().Unix())
	compare(d.T, dump(want, now), dump(d.st, now))
}

// sweep takes away what would make most requests fail: attributes that protect,
// and quotas.
func (d *duel) sweep() {
	d.Helper()
	m := d.conns[0]
	send := func(kind wire.Type, show any, appendTo func(*wire.Encoder), inode meta.Inode) {
		var e wire.Encoder
		appendTo(&e)
		d.step(m, packet{kind: kind, show: fmt.Sprintf("%v %+v", kind, show), data: e.Buf, msgID: m.msgID, inode: inode})
	}
	m.msgID++
	eattr := wire.SetEattr{MsgID: m.msgID, Inode: meta.Root, Eattr: 0xFF, Mode: wire.ModeDecrease | wire.ModeRecursive}
	send(wire.FuseSetEattr, eattr, eattr.Append, 0)
	for _, ino := range slices.Collect(maps.Keys(maps.Collect(d.st.Quotas.Scan(0)))) {
		m.msgID++
		quota := wire.QuotaControl{MsgID: m.msgID, Inode: ino, Flags: 0xFF}
		send(wire.FuseQuotaControl, quota, quota.Append, ino)
	}
}

// look notes which nodes there are, and keeps connections alive.
func (d *duel) look() {
	var nop wire.Encoder
	wire.AppendNop(&nop)
	for _, m := range d.conns {
		if _, err := m.Write(nop.Buf); err != nil {
			d.Fatal(err)
		}
	}
	d.nodes = slices.Sorted(maps.Keys(maps.Collect(d.st.Nodes.Scan(0))))
}
