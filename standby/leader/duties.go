package leader

import (
	"context"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// Seconds between the duties that come less often than each second. mfsmaster
// has them when the clock is a multiple of these.
const (
	freeEvery    = 60
	sessionEvery = 10
	sessionRest  = 120 // after which the first look at sessions comes
	catchUp      = 10  // seconds that are made up for when the leader was late
)

// duties are what a master does without being asked. Whether chunks are
// archived, or lost ones taken from files, needs chunkservers and is not here.
type duties struct {
	begun           int64  // Unix seconds
	last            int64  // for which they were done
	trash, sustains uint32 // buckets that are next
}

// due tells whether a second has passed for which nothing was done.
func (d *duties) due(now time.Time) bool { return now.Unix() > d.last }

// carryOut does what the seconds since the last time ask for.
func (d *duties) carryOut(t *Turn, rules *changelog.Rules, connected *presence, now int64) {
	from := max(d.last, now-catchUp)
	d.last = now
	for second := from + 1; second <= now; second++ {
		d.each(t)
		if second%freeEvery == 0 {
			t.Do(nil, &changelog.FreeDuty{Delay: rules.InodeReuse})
		}
		if second%sessionEvery == 0 && second >= d.begun+sessionRest {
			d.sessions(t, rules, connected)
		}
	}
}

// each is what every second asks for: quotas, and one bucket of the trash and of
// sustained files after the other.
func (d *duties) each(t *Turn) {
	var dirs []meta.Inode
	for ino := range t.st.Quotas.Scan(0) {
		dirs = append(dirs, ino)
	}
	for _, ino := range dirs {
		t.Do(nil, &changelog.QuotaCheck{Inode: ino})
	}
	t.Do(nil, &changelog.TrashDuty{Bucket: d.trash})
	t.Do(nil, &changelog.SustainedDuty{Bucket: d.sustains})
	d.trash = (d.trash + 1) % meta.TrashBuckets
	d.sustains = (d.sustains + 1) % meta.SustainedBuckets
}

// sessions removes those whose client closed them, or did not come back in
// time. One that was connected to the primary before has its time from when the
// lead began: the entries tell nothing else. mfsmaster, which knows no more when
// it is started, gives it sessionRest only, and its files are closed then.
func (d *duties) sessions(t *Turn, rules *changelog.Rules, connected *presence) {
	var over []meta.SessionID
	for id, s := range t.st.Sessions.Scan(0) {
		since := uint64(s.Disconnected)
		if since == 0 {
			since = uint64(d.begun)
		}
		there, closed := connected.of(id)
		if !there && (closed || since+uint64(rules.SessionSustain) < uint64(t.now)) {
			over = append(over, id)
		}
	}
	for _, id := range over {
		t.RemoveSession(id)
		connected.forget(id)
	}
}

// runDuties gives the duties a turn.
func (l *Leader) runDuties(ctx context.Context) error {
	now := l.cfg.Clock()
	if !l.duties.due(now) {
		return nil
	}
	r := &request{do: func(t *Turn) { l.duties.carryOut(t, l.cfg.Rules, &l.connected, now.Unix()) }, done: make(chan error, 1)}
	return l.batch(ctx, r)
}
