package tap

import (
	"testing"
	"testing/synctest"
	"time"

	"mfsstandby/replicator/wire"
)

// old makes the master one of 1.6.
func (m *master) makeOld(noLogs bool) *master {
	m.old, m.noLogs = true, noLogs
	m.base = oldMetadataFile(5)
	return m
}

// TestLiveOld: a master of 1.6 hangs up when it is asked for its release; it is
// asked for nothing more then, and followed all the same.
func TestLiveOld(t *testing.T) {
	inBubble(t, func(t *testing.T) *master { return newMaster(t, 5, 3, 8, 11).makeOld(false) },
		func(t *testing.T, l *Live, m *master, j *journal) {
			b := bootstrap(t, l)
			if b.Version != 5 || b.MetaID != 0 || b.Release != 1<<16|6<<8 {
				t.Errorf("base %+v, want version 5 of 1.6", b)
			}
			take(t, l, 5, 10)
			if st := l.Status(); st.Release != wire.NewRelease(1, 6, 27) {
				t.Errorf("release %v, want 1.6.27", st.Release)
			}
			m.change(3)
			take(t, l, 11, 13)
			m.hangUp()
			m.change(2) // has to come from changelog.0.mfs
			time.Sleep(10 * time.Second)
			synctest.Wait()
			take(t, l, 14, 15)
			m.rotate(true)
			m.change(1)
			take(t, l, 16, 16)
		})
}

// TestLiveOldWithoutChangelogs: masters before 1.6.20 have no changelogs to
// download, so that following begins with the metadata that they store next.
func TestLiveOldWithoutChangelogs(t *testing.T) {
	inBubble(t, func(t *testing.T) *master { return newMaster(t, 5, 3, 8, 11).makeOld(true) },
		func(t *testing.T, l *Live, m *master, j *journal) {
			go func() {
				time.Sleep(20 * time.Second)
				m.change(2) // 11 and 12: their metadata is of version 5
				time.Sleep(40 * time.Second)
				m.rotate(true) // of version 13
				m.change(2)
			}()
			b := bootstrap(t, l)
			if b.Version != 13 {
				t.Fatalf("base of version %d, want 13", b.Version)
			}
			take(t, l, 13, 14)
			m.change(1)
			take(t, l, 15, 15)
		})
}

// TestLiveSilentButNew: a master that hangs up once when it is asked, and has
// metadata of a later release, is not taken for one of 1.6.
func TestLiveSilentButNew(t *testing.T) {
	inBubble(t, func(t *testing.T) *master {
		m := newMaster(t, 5, 3, 8, 11)
		m.meddle = func(conn, k int, packet []byte) ([]byte, bool) { return packet, conn > 1 }
		return m
	}, func(t *testing.T, l *Live, m *master, j *journal) {
		bootstrap(t, l)
		take(t, l, 5, 10)
		if st := l.Status(); st.Release != announced {
			t.Errorf("release %v, want %v", st.Release, announced)
		}
	})
}
