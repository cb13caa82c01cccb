package web

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/image"
)

// Now is how things stand, as the API tells it.
type Now struct {
	control.Status
	Time     time.Time    `json:"time"` // when it was so
	Ready    bool         `json:"ready"`
	Reason   string       `json:"reason,omitempty"` // why it is not ready
	Primary  meta.Version `json:"primary_version"`  // as far as known here; 0: not known
	Metadata *Metadata    `json:"metadata,omitempty"`
}

// Metadata are totals over the whole image.
type Metadata struct {
	Version        meta.Version `json:"version"`
	Inodes         uint64       `json:"inodes"`
	Directories    uint64       `json:"directories"`
	Files          uint64       `json:"files"` // with those in trash and sustained
	Trash          uint64       `json:"trash"`
	TrashBytes     uint64       `json:"trash_bytes"`
	Sustained      uint64       `json:"sustained"`
	SustainedBytes uint64       `json:"sustained_bytes"`
	Length         uint64       `json:"length_bytes"`   // of the files in the tree
	Size           uint64       `json:"size_bytes"`     // with headers, in whole blocks
	RealSize       uint64       `json:"realsize_bytes"` // times copies
	Sessions       uint64       `json:"sessions"`
	FreeInodes     uint32       `json:"free_inodes"` // numbers that wait to be used again
}

// hub asks the process how it does once a second and keeps what it said, so
// that neither many clients nor a slow commit is in the other's way.
type hub struct {
	cfg   *Config
	start time.Time

	mu    sync.Mutex // guards what follows
	last  Now
	rings []*ring
}

func newHub(cfg *Config) *hub {
	h := &hub{cfg: cfg, start: time.Now()}
	for _, r := range ranges {
		h.rings = append(h.rings, &ring{step: r.step, keep: int(r.span / r.step)})
	}
	return h
}

// run samples once a second until ctx ends.
func (h *hub) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var before counts
	for {
		before = h.sample(time.Now(), before)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// counts are what rates are made of.
type counts struct {
	at                time.Time
	applied, received uint64
	latency           latencyCounts
}

// sample asks once and returns the counts for the next time.
func (h *hub) sample(now time.Time, before counts) counts {
	n := h.ask(now)
	after := counts{at: now}
	var x Sample
	if st := n.Standby; st != nil {
		after.applied, x.LagEntries, x.LagSeconds = st.Entries, st.LagEntries, st.LagSeconds
	}
	if st := n.Tap; st != nil {
		after.received = st.Entries
		if n.Standby == nil {
			x.LagEntries = uint64(max(st.Received, st.Published) - st.Published)
		}
	}
	if h.cfg.Latency != nil {
		after.latency = h.cfg.Latency.counts()
		took := after.latency.since(&before.latency)
		x.P50, x.P99 = took.quantile(0.5)*1000, took.quantile(0.99)*1000
	}
	if !before.at.IsZero() {
		seconds := max(now.Sub(before.at).Seconds(), 1e-3)
		x.Applied = float64(after.applied-min(before.applied, after.applied)) / seconds
		x.Received = float64(after.received-min(before.received, after.received)) / seconds
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = n
	for _, r := range h.rings {
		if !before.at.IsZero() { // else there are no rates yet
			r.add(now, x)
		}
	}
	return after
}

// ask asks the parts of the process.
func (h *hub) ask(now time.Time) Now {
	n := Now{Status: h.cfg.Status(), Time: now}
	n.Ready, n.Reason = ready(&n.Status)
	if n.Tap != nil {
		tap := *n.Tap
		tap.Events = nil // they have a route of their own
		n.Tap, n.Primary = &tap, tap.Received
	}
	if n.Standby != nil {
		st := *n.Standby
		st.Events = nil
		n.Standby = &st
		for _, m := range st.Members {
			if m.Role == "tap" && n.Tap == nil { // it tells now and then only
				n.Primary = max(n.Primary, m.Primary, st.Stream)
			}
		}
		n.Metadata = h.totals()
	}
	return n
}

// totals reads the image's totals; nil if there is none.
func (h *hub) totals() *Metadata {
	if h.cfg.Image == nil {
		return nil
	}
	img, err := h.cfg.Image()
	if err != nil {
		return nil
	}
	var m Metadata
	err = img.Read(func(st *meta.State, pos image.Position) error {
		c := st.Scalars.Nodes
		root, _ := st.Dirs.Get(meta.Root)
		m = Metadata{
			Version: pos.Version, Inodes: c.All, Directories: c.Dirs, Files: c.Files,
			Trash: c.Trash, TrashBytes: c.TrashBytes, Sustained: c.Sustained, SustainedBytes: c.SustainedBytes,
			Length: root.Stats.Length, Size: root.Stats.Size, RealSize: root.Stats.RealSize,
			FreeInodes: st.Inodes.FreeLen(),
		}
		for range st.Sessions.Scan(0) {
			m.Sessions++
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return &m
}

// now returns the last answer of the process; the first request may come
// before there is one.
func (h *hub) now() Now {
	h.mu.Lock()
	n := h.last
	h.mu.Unlock()
	if n.Time.IsZero() {
		return h.ask(time.Now())
	}
	return n
}

// hung is how old an answer of the process may be until it counts as hung. A
// commit of a huge operation may keep it for a while.
const hung = 2 * time.Minute

// alive returns nil while the process answers.
func (h *hub) alive(now time.Time) error {
	h.mu.Lock()
	last := h.last.Time
	h.mu.Unlock()
	if last.IsZero() {
		last = h.start
	}
	if age := now.Sub(last); age > hung {
		return fmt.Errorf("the process has not answered for %s", age.Round(time.Second))
	}
	return nil
}

// ready tells whether the process could take over, or, without an image,
// whether it does its work.
func ready(st *control.Status) (bool, string) {
	err := errors.New("it neither keeps an image nor follows a primary")
	switch {
	case st.Standby != nil:
		err = standbyReady(st.Standby)
	case st.Tap != nil:
		err = tapReady(st.Tap)
	}
	if err != nil {
		return false, err.Error()
	}
	return true, ""
}

func standbyReady(s *standby.Status) error {
	switch {
	case (s.State == standby.InSync || s.State == standby.Delayed || s.State == standby.Leading) && s.Image != 0:
		return nil
	case s.Error != "":
		return fmt.Errorf("%s: %s", s.State, s.Error)
	case s.State == standby.CatchingUp:
		return fmt.Errorf("catching up: %d entries behind", s.LagEntries)
	}
	return errors.New(string(s.State))
}

func tapReady(s *replicator.Status) error {
	switch {
	case s.Error != "":
		return errors.New(s.Error)
	case s.Published == 0:
		return errors.New("nothing is published yet")
	}
	return nil
}
