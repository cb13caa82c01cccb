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

// duties are what a master does without being asked. Archive flags by age are
// not among them: mfsmaster only gives them to chunks that have a copy, and no
// chunkserver is served here. Nor does it forget chunkservers that are away for
// long, as a master does after CS_DAYS_TO_REMOVE_UNUSED: none can come back.
type duties struct {
	begun           int64  // Unix seconds
	last            int64  // for which they were done
	trash, sustains uint32 // buckets that are next
	rounds          rounds
}

// due tells whether a second has passed for which nothing was done.
func (d *duties) due(now time.Time) bool { return now.Unix() > d.last }

// carryOut does what the seconds since the last time ask for.
func (d *duties) carryOut(t *Turn, rules *changelog.Rules, connected *presence, now int64) {
	d.rounds.carryOut(t)
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

// each is what every second asks for: quotas, chunkservers under maintenance,
// and one bucket of the trash and of sustained files after the other.
func (d *duties) each(t *Turn) {
	var servers []meta.Server
	for at, s := range t.st.Servers.Scan(meta.Server{}) {
		if s.Maintenance != 0 {
			servers = append(servers, at)
		}
	}
	for _, at := range servers {
		t.Do(nil, &changelog.ServerDuty{Server: at})
	}
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
	if err := l.duties.rounds.look(l.cfg.Image, now.Unix() >= l.duties.begun+nodeRest); err != nil {
		return err
	}
	r := &request{do: func(t *Turn) { l.duties.carryOut(t, l.cfg.Rules(), &l.connected, now.Unix()) }, done: make(chan error, 1)}
	return l.batch(ctx, r)
}
