package leader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// entries collects what is published, without times.
type entries struct {
	mu   sync.Mutex
	list []string
}

func (e *entries) add(raw []meta.RawEntry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range raw {
		_, text, _ := strings.Cut(string(r.Text), "|")
		e.list = append(e.list, text)
	}
}

// wait waits until an entry is there.
func (e *entries) wait(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		e.mu.Lock()
		there := slices.Contains(e.list, text)
		e.mu.Unlock()
		if there {
			return
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	t.Fatalf("entry %s never came; there are %q", text, e.list)
}

// A leader empties the trash, ends sessions, watches quotas and lets inodes be
// used again, each when it is time.
func TestDuties(t *testing.T) {
	img := newImage(t)
	var clock atomic.Int64
	clock.Store(testTime + 1)
	published := &entries{}
	l, stop := lead(t, Config{Image: img, Stream: &fake{version: testVersion}, CommitEvery: time.Millisecond,
		Clock: func() time.Time { return time.Unix(clock.Load(), 0) }, Published: published.add})
	do := func(ops ...changelog.Op) {
		t.Helper()
		err := l.Do(t.Context(), func(turn *Turn) {
			for _, op := range ops {
				turn.Add(op)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	do(&changelog.Create{Parent: 1, Base: []byte("f"), Type: meta.TypeFile}, &changelog.Create{Parent: 1, Base: []byte("g"), Type: meta.TypeFile},
		&changelog.Acquire{Session: 1, Inode: 3}, &changelog.SetTrashTime{Inode: 3},
		&changelog.Unlink{Parent: 1, Base: []byte("f"), Inode: 2}, &changelog.Unlink{Parent: 1, Base: []byte("g"), Inode: 3},
		&changelog.Quota{Inode: 1, Flags: 1, Grace: 5}, &changelog.Create{Parent: 1, Base: []byte("h"), Type: meta.TypeFile})
	// Each step is a second, or as many as a leader makes up for.
	step := func(seconds int64) {
		t.Helper()
		clock.Add(seconds)
		want := clock.Load()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			var last int64
			if err := l.Do(t.Context(), func(*Turn) { last = l.duties.last }); err != nil {
				t.Fatal(err)
			}
			if last == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("duties were done for second %d, want %d", last, want)
			}
		}
	}
	step(1)
	published.wait(t, fmt.Sprintf("QUOTA(1,0,1,%d,0,0,0,0,0,0,0,0,5)", testTime+2))
	step(7)
	published.wait(t, fmt.Sprintf("QUOTA(1,1,1,%d,0,0,0,0,0,0,0,0,5)", testTime+2))

	// The session's client never came: its file is closed after a day, and then
	// destroyed, and so is the one whose time in the trash is over. Their
	// buckets come round again in a day.
	step(86400 + 200)
	for clock.Load()%sessionEvery != 0 {
		step(1)
	}
	published.wait(t, "SESDEL(1)")
	for range meta.TrashBuckets / catchUp {
		step(catchUp)
	}
	published.wait(t, "EMPTYTRASH(2):1,0,2")
	published.wait(t, "EMPTYSUSTAINED(3):1,3")
	step(86400 + 100)
	for clock.Load()%freeEvery != 0 {
		step(1)
	}
	published.wait(t, "FREEINODES(86400):2,0,1")
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// A session lives while it has connections, and a client's last word counts.
func TestSessionsEnd(t *testing.T) {
	img := newImage(t)
	var clock atomic.Int64
	clock.Store(testTime + 1)
	published := &entries{}
	l, _ := lead(t, Config{Image: img, Stream: &fake{version: testVersion}, CommitEvery: time.Millisecond,
		Clock: func() time.Time { return time.Unix(clock.Load(), 0) }, Published: published.add})
	l.Attach(1)
	l.Attach(1)
	l.CloseSession(1) // another connection is left: this says nothing
	if err := l.Detach(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if status, err := l.Kick(t.Context(), 1); err != nil || status != meta.EACTIVE {
		t.Fatalf("Kick of a connected session: %v, %v", status, err)
	}
	l.CloseSession(1)
	if err := l.Detach(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	published.wait(t, "SESDISCONNECTED(1)")
	clock.Store((testTime/10)*10 + 200)
	published.wait(t, "SESDEL(1)")
	if status, err := l.Kick(t.Context(), 1); err != nil || status != meta.ENOTFOUND {
		t.Fatalf("Kick of a session that is gone: %v, %v", status, err)
	}
}

// Who waits for a lock gets it when the holder closes the file, and is told when
// that is in the stream.
func TestLocksAreHandedOn(t *testing.T) {
	img := newImage(t)
	var mu sync.Mutex
	var told []string
	f := &fake{version: testVersion}
	published := &entries{}
	l, _ := lead(t, Config{Image: img, Stream: f, Published: published.add,
		Wake: func(id meta.SessionID, kind wire.Type, msgID uint32, status meta.Status) {
			mu.Lock()
			defer mu.Unlock()
			published.mu.Lock()
			defer published.mu.Unlock()
			told = append(told, fmt.Sprintf("%d %d %d %v after %d entries", id, kind, msgID, status, len(published.list)))
		}})
	do := func(f func(*Turn)) {
		t.Helper()
		if err := l.Do(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	do(func(turn *Turn) {
		turn.Add(&changelog.SesAdd{SessionData: changelog.SessionData{Root: 1}})
		turn.Add(&changelog.Create{Parent: 1, Base: []byte("f"), Type: meta.TypeFile})
		turn.Add(&changelog.Acquire{Session: 1, Inode: 2})
		turn.Add(&changelog.Acquire{Session: 2, Inode: 2})
	})
	lock := func(id meta.SessionID, msgID uint32, command uint8, want meta.Status) {
		t.Helper()
		var got meta.Status
		do(func(turn *Turn) {
			got = turn.locks.Flock(turn, id, &wire.Flock{MsgID: msgID, Inode: 2, Owner: 7, Command: command})
		})
		if got != want {
			t.Fatalf("flock %d of session %d: %v, want %v", command, id, got, want)
		}
	}
	lock(1, 1, wire.FlockExclusive, meta.OK)
	lock(2, 2, wire.FlockTryShared, meta.EAGAIN)
	lock(2, 3, wire.FlockShared, meta.EWAITING)
	lock(1, 4, wire.FlockTryShared, meta.OK) // shared now, and so the other has it too
	want := []string{"2 492 3 OK (status 0) after 8 entries"}
	if fmt.Sprint(told) != fmt.Sprint(want) {
		t.Fatalf("told %q, want %q", told, want)
	}
	posix := func(id meta.SessionID, msgID uint32, want meta.Status) {
		t.Helper()
		var got meta.Status
		do(func(turn *Turn) {
			_, got = turn.locks.Posix(turn, id, &wire.PosixLock{MsgID: msgID, Inode: 2, Owner: 7, Command: wire.PosixSet, Type: wire.PosixTypeWrite, End: 10})
		})
		if got != want {
			t.Fatalf("posix lock of session %d: %v, want %v", id, got, want)
		}
	}
	posix(1, 5, meta.OK)
	posix(2, 6, meta.EWAITING)
	do(func(turn *Turn) { turn.SyncOpen(1, nil) })
	published.wait(t, "RELEASE(1,2)")
	published.mu.Lock()
	defer published.mu.Unlock()
	got := strings.Join(published.list[8:], " ")
	if want := "POSIXLOCK(2,1,7,W,0,10,0) FLOCK(2,1,7,U) POSIXLOCK(2,1,7,U,0,18446744073709551615,0) POSIXLOCK(2,2,7,W,0,10,0) RELEASE(1,2)"; got != want {
		t.Fatalf("entries\n got %s\nwant %s", got, want)
	}
}
