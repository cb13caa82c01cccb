package changelog

import (
	"errors"
	"reflect"
	"testing"

	"mfsstandby/changelog/meta"
)

// oldSpellings are entries that only older releases write, or that meant
// something else there.
var oldSpellings = []struct {
	release meta.Release
	text    string
	want    Op
}{
	{meta.Reproduced16, "ACQUIRE(7,1)", &Acquire{Session: 1, Inode: 7, InodeFirst: true}},
	{meta.Reproduced16, "AQUIRE(7,1)", &Acquire{Session: 1, Inode: 7, Aquire: true, InodeFirst: true}},
	{meta.Reproduced16, "RELEASE(7,1)", &Release{Session: 1, Inode: 7, InodeFirst: true}},
	{meta.Reproduced16, "SNAPSHOT(1,2,s,1)", &Snapshot{Source: 1, Parent: 2, Base: []byte("s"), Mode: 1, Form: SnapshotBare}},
	{meta.Reproduced16, "CUSTOMER():3", &Session{Session: 3, Customer: true}},
	{meta.Reproduced16, "EMPTYRESERVED():3", &EmptySustained{Freed: 3, AllBuckets: true, NoXor: true, Reserved: true}},
	{meta.Reproduced16, "FREEINODES():3", &FreeInodes{Delay: 86400, Freed: 3, NoDelay: true, NoSustained: true, NoXor: true}},
	{meta.Reproduced16, "CREATE(1,a,b,420,1,2,5):7", &Create{Parent: 1, Base: []byte("a"), Type: meta.TypeBlockDev, Mode: 420, UID: 1, GID: 2, Rdev: 5, Inode: 7, Letter: true}},
	{meta.Reproduced16, "WRITE(7,0):9", &Write{Inode: 7, OpFlag: 1, CanModMtime: 1, Chunk: 9, OldArgs: 2}},
	{meta.Reproduced2, "ACQUIRE(1,7)", &Acquire{Session: 1, Inode: 7}},
	{meta.Reproduced2, "RELEASE(1,7)", &Release{Session: 1, Inode: 7}},
	{meta.Reproduced2, "RENUMEDGES():5", &RenumEdges{NextEdge: 5}},
	{meta.Reproduced2, "EMPTYTRASH():3,4", &EmptyTrash{Freed: 3, Sustained: 4, AllBuckets: true, NoXor: true}},
	{meta.Reproduced2, "SNAPSHOT(1,2,s,3,4,5,1,%06%00%00%00,7)", &Snapshot{Source: 1, Parent: 2, Base: []byte("s"), Mode: 3, SesFlags: 4, UID: 5, GIDs: []uint32{6}, Umask: 7, Form: SnapshotBlob}},
	{meta.Reproduced2, "SESADD(1,0,0,0,999,999,1,9,0,86400,3,x):1", &SesAdd{Session: 1, SessionData: SessionData{
		Root: 1, MapUID: 999, MapGID: 999, MinGoal: 1, MaxGoal: 9, MaxTrash: 86400, Peer: 3, Info: []byte("x"), NoSum: true, NoUmask: true, NoDisables: true,
	}}},
	{meta.Reproduced2, "SESADD(1,0,0777,0,999,999,1,9,0,86400,3,x):1", nil},
}

func TestOldSpellings(t *testing.T) {
	for _, tc := range oldSpellings {
		batch := NewBatch()
		batch.SetRelease(tc.release)
		now, op, err := batch.Parse([]byte("5|" + tc.text))
		if tc.want == nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) {
				t.Errorf("%s %s: error %v, want a *SyntaxError", tc.release, tc.text, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %s: %v", tc.release, tc.text, err)
			continue
		}
		if !reflect.DeepEqual(op, tc.want) {
			t.Errorf("%s %s: got %+v, want %+v", tc.release, tc.text, op, tc.want)
		}
		if out := string(Append(nil, now, op)); out != "5|"+tc.text {
			t.Errorf("%s %s became %s", tc.release, tc.text, out)
		}
	}
}

// TestEscapedTooMuch: entries of older releases may escape what needs none.
func TestEscapedTooMuch(t *testing.T) {
	batch := NewBatch()
	const text = "5|UNLINK(1,%2Fa):7"
	if _, _, err := batch.Parse([]byte(text)); err == nil {
		t.Errorf("%s is accepted from 3.0.117", text)
	}
	batch.SetRelease(meta.Reproduced2)
	if _, op, err := batch.Parse([]byte(text)); err != nil || string(op.(*Unlink).Base) != "/a" {
		t.Errorf("%s of 2.0.91: %+v, %v", text, op, err)
	}
}
