package standby

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby/image"
)

// State is what a standby is doing.
type State string

// The states of a standby.
const (
	Waiting    State = "waiting"     // for a stream, or for a base image in it
	Loading    State = "loading"     // a base image
	CatchingUp State = "catching up" // entries wait in the stream
	InSync     State = "in sync"
	Stopped    State = "stopped" // needs a person
	Delayed    State = "delayed" // in sync, but for what waits on purpose, see Config.Delay
	Leading    State = "leading" // a leader changes the image, nothing is followed
)

// keepEvents is how many events Status gives.
const keepEvents = 50

// Status tells how a standby is doing.
type Status struct {
	State      State          `json:"state"`
	MetaID     string         `json:"metaid,omitempty"` // 16 hexadecimal digits
	Release    string         `json:"release,omitempty"`
	Epoch      uint64         `json:"epoch"`
	Image      meta.Version   `json:"image_version"`           // the next entry to apply
	Committed  meta.Version   `json:"committed_version"`       // what a crash now would leave
	Stream     meta.Version   `json:"stream_version"`          // the next entry the stream will get
	Digest     string         `json:"digest"`                  // of the state at committed_version; equal in all replicas
	Received   meta.Version   `json:"received_version"`        // the next entry the tap will get, where known; at least stream_version
	LagEntries uint64         `json:"lag_entries"`             // received and not in the image
	LagSeconds float64        `json:"lag_seconds"`             // since the tap received the oldest entry not applied
	Delay      float64        `json:"delay_seconds,omitempty"` // how far it is to stay behind
	Latency    Latency        `json:"latency"`
	Rate       float64        `json:"entries_per_second"`
	Entries    uint64         `json:"entries_applied"` // since the start
	EntryTime  meta.Time      `json:"entry_time"`      // of the last entry applied, by the primary's clock
	CacheBytes int64          `json:"cache_bytes"`
	DirtyBytes int64          `json:"dirty_bytes"`
	Commits    uint64         `json:"commits"`
	Error      string         `json:"error,omitempty"`
	Events     []events.Event `json:"events,omitempty"`
	Members    []Member       `json:"members,omitempty"` // all that work on the cluster
}

// meter holds what is measured now and then.
type meter struct {
	end      stream.Position // of the stream
	received meta.Version    // what received gave at the last measurement
	rate     float64         // entries/s over the last seconds
	behind   time.Time       // since when entries have been waiting; zero: none are
}

// Status tells how the standby is doing.
func (s *Standby) Status() Status {
	st, img, behind := s.known()
	if img == nil {
		return st
	}
	pos := img.Position()
	st.Image, st.Epoch, st.EntryTime = pos.Version, pos.Epoch, pos.Time
	known := img.Known()
	st.Committed, st.Digest = known.Committed.Version, known.Digest.String()
	st.CacheBytes, st.DirtyBytes, st.Commits = known.Cached, known.Dirty, known.Counters.Commits
	st.MetaID = fmt.Sprintf("%016X", img.MetaID())
	st.Stream = max(st.Stream, st.Image)
	st.Received = max(st.Stream, st.Received)
	st.LagEntries = uint64(st.Received - st.Image)
	if st.LagEntries > 0 && !behind.IsZero() {
		st.LagSeconds = time.Since(behind).Seconds()
	}
	return st
}

// known is what is known without asking the image, which may be at work; and
// the image, nil if there is none, and since when entries have been waiting.
func (s *Standby) known() (st Status, img *image.Image, behind time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st = Status{
		Latency: s.took.get(), Delay: s.cfg.Delay.Seconds(),
		State: s.state, Release: s.release, Entries: s.done.Load(), Rate: s.meter.rate,
		Stream: s.meter.end.Version, Events: s.cfg.Events.Of(part, keepEvents), Members: s.members,
	}
	if s.err != nil {
		st.Error = s.err.Error()
	}
	if s.cluster != nil {
		st.MetaID = fmt.Sprintf("%016X", s.cluster.MetaID())
	}
	if s.img != nil {
		st.Received = s.received()
	}
	return st, s.img, s.meter.behind
}

// measure looks at the stream's end once a second: for the lag, the rate, and
// whether the image is in sync.
func (s *Standby) measure(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last, at := s.done.Load(), time.Now()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		end, err := s.cluster.End(ctx)
		if n%5 == 0 {
			if err := s.learnMembers(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("learning of other members", "err", err)
			}
		}
		now, done := time.Now(), s.done.Load()
		s.mu.Lock()
		s.meter.rate = float64(done-last) / now.Sub(at).Seconds()
		was := s.state
		if err == nil {
			s.meter.end = end
			s.judge(now)
		}
		is, behind := s.state, s.meter.end.Version
		s.mu.Unlock()
		s.tellChange(was, is, behind)
		last, at = done, now
	}
}

// tellChange makes an event of a change between in sync and catching up.
func (s *Standby) tellChange(was, is State, end meta.Version) {
	switch {
	case was == CatchingUp && is == InSync:
		s.event(slog.LevelInfo, events.InSync, fmt.Sprintf("in sync at version %d", end), nil)
	case (was == InSync || was == Delayed) && is == CatchingUp:
		s.event(slog.LevelWarn, events.Behind, fmt.Sprintf("behind the stream, which is at version %d; catching up", end), nil)
	}
}

// judge sets state and lag by what was measured; the caller holds mu.
func (s *Standby) judge(now time.Time) {
	if s.state == Leading {
		s.measured.Store(now.UnixNano())
		s.behind.Store(0)
		s.meter.behind = time.Time{}
		return
	}
	if s.img == nil || s.state != CatchingUp && s.state != InSync && s.state != Delayed {
		return
	}
	s.measured.Store(now.UnixNano())
	if s.cfg.Delay > 0 && (s.delay.waiting(now) || s.img.Position().Version >= s.meter.end.Version) {
		s.state, s.meter.behind = Delayed, time.Time{}
		s.behind.Store(0)
		return
	}
	// Entries that came just now are no lag: those of a second ago count.
	want := max(s.meter.end.Version, s.meter.received)
	s.meter.received = s.received()
	if s.img.Position().Version >= want {
		s.state, s.meter.behind = InSync, time.Time{}
		s.behind.Store(0)
		return
	}
	defer func() { s.behind.Store(s.meter.behind.UnixNano()) }()
	if s.meter.behind.IsZero() {
		s.meter.behind = now
	}
	if last := s.last.Load(); last != nil && last.Received.After(s.meter.behind) {
		s.meter.behind = last.Received
	}
	if now.Sub(s.meter.behind) > 2*time.Second {
		s.state = CatchingUp
	}
}

// oldMember is how old what a member told may be; it tells it again every few
// seconds.
const oldMember = 15 * time.Second

// received is the version after what a tap has, in its spool or in the stream,
// 0 if none tells; the caller holds mu. What taps elsewhere told is some seconds
// old.
func (s *Standby) received() (v meta.Version) {
	if s.cfg.Received != nil {
		return s.cfg.Received()
	}
	epoch := s.img.Position().Epoch
	for _, m := range s.members {
		if m.Role == "tap" && m.Epoch == epoch && time.Since(m.Updated) < oldMember {
			v = max(v, m.Primary)
		}
	}
	return v
}

// Lag tells how far the image is behind the tap: for how long the oldest
// entry it lacks has been waiting. Without news of the stream it grows.
func (s *Standby) Lag() time.Duration {
	now := time.Now()
	var lag time.Duration
	if behind := s.behind.Load(); behind != 0 {
		since := time.Unix(0, behind)
		if last := s.last.Load(); last != nil && last.Received.After(since) {
			since = last.Received
		}
		lag = now.Sub(since)
	}
	if old := now.Sub(time.Unix(0, s.measured.Load())); old > staleMeasure {
		lag = max(lag, old)
	}
	return lag
}

// staleMeasure is the age from which on a measurement tells nothing: they are
// made each second.
const staleMeasure = 3 * time.Second

func (s *Standby) setState(state State, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.err = state, err
}

func (s *Standby) setRelease(release string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release = release
}

// part is what this package is in the log and among the events.
const part = "standby"

func (s *Standby) event(level slog.Level, code events.Code, text string, err error) {
	if err != nil {
		text += ": " + err.Error()
	}
	s.log.Log(context.Background(), level, text)
	s.cfg.Events.Add(part, level, code, text)
}

// stopped takes note that a person is needed.
func (s *Standby) stopped(err error) {
	s.setState(Stopped, err)
	s.event(slog.LevelError, events.Stopped, "replication is stopped", err)
}
