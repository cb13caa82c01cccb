package leader

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
	"mfsstandby/changelog/oprand"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby/metafile"
)

// Whatever a client sends, the entries that come of it have the same effect on
// whoever replays them, and planning changes nothing.
func FuzzServe(f *testing.F) {
	st := oprand.Fresh(testTime)
	g := oprand.New(rand.NewPCG(1, 1), testTime)
	for range 400 {
		before := st
		op, err := g.Step(&st)
		if w, ok := op.(*changelog.Write); ok && err == nil && w.Index > 5 {
			st = before // long chunk tables take long to compare
		}
	}
	session := st.NextSession
	st.NextSession++
	st.Sessions.Insert(session, meta.Session{Root: meta.Root, Flags: changelog.SessionAdmin, MaxGoal: 9, MaxTrash: 1 << 31})
	st.Open.Add(session, 2)
	for _, seed := range seeds() {
		f.Add(uint16(seed.kind), seed.payload)
	}
	f.Fuzz(func(t *testing.T, kind uint16, payload []byte) {
		number := wire.Type(kind)
		if !Changes(number) {
			return
		}
		ours, theirs := metatest.Clone(st), metatest.Clone(st)
		params, _ := ours.Sessions.Get(session)
		locks := NewLocks(func(meta.SessionID, wire.Type, uint32, meta.Status) {})
		turn := NewTurn(ours, locks, testVersion, g.Now+1)
		c := &Client{Release: wire.NewRelease(3, 0, 117), Session: session, Params: params}
		var out wire.Encoder
		if err := Serve(turn, c, number, payload, &out); err != nil {
			return // refused: the connection would be closed
		}
		if err := turn.Err(); err != nil {
			t.Fatalf("%v %x: %v", number, payload, err)
		}
		for _, raw := range turn.Entries() {
			now, op, err := changelog.NewBatch().Parse(raw.Text)
			if err == nil {
				err = changelog.ApplyEntry(theirs, changelog.Entry{Version: raw.Version, Time: now, Op: op})
			}
			if err != nil {
				t.Fatalf("%v %x: entry %s: %v", number, payload, raw.Text, err)
			}
		}
		if !bytes.Equal(stored(t, ours), stored(t, theirs)) {
			t.Fatalf("%v %x: replaying %q gives another state", number, payload, turn.text)
		}
	})
}

// stored is a state as a metadata file.
func stored(t *testing.T, st *meta.State) []byte {
	t.Helper()
	for _, n := range st.Nodes.Scan(0) {
		if n.Slots > 1000 {
			t.Skip("a chunk table that takes too long to store")
		}
	}
	var buf bytes.Buffer
	if err := metafile.Write(&buf, st, metafile.Header{Version: testVersion}, metafile.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

type seed struct {
	kind    wire.Type
	payload []byte
}

// seeds are one request of each kind that makes a difference.
func seeds() (list []seed) {
	id := wire.Identity{UID: 0, GIDs: wire.PackNumbers(0)}
	add := func(appendTo func(*wire.Encoder)) {
		var e wire.Encoder
		appendTo(&e)
		number, payload, _, _, err := wire.Split(e.Buf, wire.ClientMaxLength)
		if err != nil {
			panic(err) // made above
		}
		list = append(list, seed{number, payload})
	}
	create := wire.Create{Parent: 1, Name: []byte("new"), Mode: 0o755, Identity: id}
	add((&wire.Mkdir{Create: create, CopySgid: 1}).Append)
	add((&wire.CreateFile{Create: create}).Append)
	add((&wire.Mknod{Create: create, Type: meta.TypeFifo}).Append)
	add((&wire.Symlink{Parent: 1, Name: []byte("l"), Target: []byte("x"), Identity: id}).Append)
	add((&wire.Link{Inode: 2, Parent: 1, Name: []byte("h"), Identity: id}).Append)
	add((&wire.Rename{Parent: 1, Name: []byte("a"), NewParent: 1, NewName: []byte("b"), Identity: id}).Append)
	add((&wire.Open{Inode: 2, Flags: wire.OpenWrite | wire.OpenTruncate, Identity: id}).Append)
	add((&wire.Truncate{Inode: 2, Length: 1 << 27, Identity: id}).Append)
	add((&wire.AppendSlice{Inode: 2, Source: 3, To: 1 << 31, Identity: id}).Append)
	add((&wire.SetTrashTime{Inode: 1, Seconds: 7200, Mode: wire.ModeRecursive}).Append)
	add((&wire.SetClass{Inode: 1, Goal: 3, Mode: wire.ModeRecursive}).Append)
	add((&wire.SetEattr{Inode: 1, Eattr: 3, Mode: wire.ModeRecursive | wire.ModeIncrease}).Append)
	add((&wire.Snapshot{Inode: 2, Parent: 1, Name: []byte("s"), Identity: id}).Append)
	add((&wire.Snapshot{Parent: 1, Name: []byte("s"), Mode: wire.SnapshotDelete, Identity: id}).Append)
	add((&wire.QuotaControl{Inode: 1, Flags: 0x11, Set: true, Grace: 5}).Append)
	add((&wire.SetXattr{Inode: 2, Name: []byte("user.x"), Value: []byte("v"), Identity: id}).Append)
	add((&wire.SetACL{Inode: 2, Type: meta.ACLAccess, ACL: wire.ACL{User: 7, Group: 5, Other: 0, Mask: 5}}).Append)
	add((&wire.ArchCtl{Inode: 1, Command: wire.ArchSet}).Append)
	add((&wire.Flock{Inode: 2, Owner: 1, Command: wire.FlockExclusive}).Append)
	add((&wire.PosixLock{Inode: 2, Owner: 1, Command: wire.PosixSet, Type: wire.PosixTypeWrite, End: 5}).Append)
	add((&wire.OpenInodes{Inodes: wire.PackNumbers(3, 4)}).Append)
	add((&wire.AccessTimes{Triples: wire.PackNumbers(2, testTime*2, testTime*2)}).Append)
	add((&wire.CreateClass{Name: []byte("c"), Class: wire.Class{Create: 1, Keep: 1, Archive: 1, Labels: wire.PackNumbers(make([]uint32, 12)...)}}).Append)
	for _, number := range slices.Sorted(maps.Keys(handlers)) {
		list = append(list, seed{number, []byte{0, 0, 0, 1, 0, 0, 0, 1}})
	}
	return list
}
