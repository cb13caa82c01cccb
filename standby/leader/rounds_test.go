package leader

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// What a master finds on its rounds, and when a maintenance ends. A known
// chunkserver may have chunks that no file has.
func TestRounds(t *testing.T) {
	for _, known := range []bool{false, true} {
		t.Run(fmt.Sprint("known chunkserver ", known), func(t *testing.T) {
			img := newImage(t)
			var clock atomic.Int64
			clock.Store(testTime + 1)
			published := &entries{}
			l, _ := lead(t, Config{Image: img, Stream: &fake{version: testVersion}, CommitEvery: time.Millisecond,
				Clock: func() time.Time { return time.Unix(clock.Load(), 0) }, Published: published.add})
			err := l.Do(t.Context(), func(turn *Turn) {
				ops := []changelog.Op{
					&changelog.Create{Parent: 1, Base: []byte("f"), Type: meta.TypeFile},
					&changelog.Write{Inode: 2, Index: 0, Chunk: 1}, &changelog.Unlock{Chunk: 1},
					&changelog.Write{Inode: 2, Index: 1, Chunk: 2}, &changelog.Unlock{Chunk: 2},
					&changelog.Write{Inode: 2, Index: 2, Chunk: 3}, // locked for 120 s; the file ends where it begins
					&changelog.ChunkAdd{Chunk: 9, ChunkVersion: 4, LockedTo: testTime + 50},
				}
				if known {
					ops = append(ops, &changelog.CSDBOp{Op: changelog.CSDBAdd, IP: 1, Port: 2, Arg: 3},
						&changelog.CSDBOp{Op: changelog.CSDBMaintenanceOn, IP: 1, Port: 2, Arg: testTime + 10})
				}
				for _, op := range ops {
					turn.Add(op)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			advance := func(seconds int64) {
				t.Helper()
				clock.Add(seconds)
				for want, last := clock.Load(), int64(0); last < want; {
					if err := l.Do(t.Context(), func(*Turn) { last = l.duties.last }); err != nil {
						t.Fatal(err)
					}
				}
			}
			has := func(text string) bool {
				published.mu.Lock()
				defer published.mu.Unlock()
				for _, e := range published.list {
					if e == text {
						return true
					}
				}
				return false
			}
			want := func(when string, list map[string]bool) {
				t.Helper()
				for text, there := range list {
					if has(text) != there {
						t.Errorf("%s: is there %s: %v, want %v", when, text, !there, there)
					}
				}
			}
			advance(8)
			want("before the maintenance ends", map[string]bool{"CSDBOP(5,1,2,0)": false})
			advance(3)
			want("after it", map[string]bool{"CSDBOP(5,1,2,0)": known, "CHUNKDEL(9,4)": false})
			advance(60)
			want("when nobody can be writing the chunk", map[string]bool{"CHUNKDEL(9,4)": !known, "SETFILECHUNK(2,2,0)": false})
			advance(nodeRest - 100)
			want("before the first round", map[string]bool{"SETFILECHUNK(2,2,0)": false})
			advance(60)
			want("after it", map[string]bool{"SETFILECHUNK(2,0,0)": false, "SETFILECHUNK(2,1,0)": false, "SETFILECHUNK(2,2,0)": true})
		})
	}
}
