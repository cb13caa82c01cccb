package server

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"mfsstandby/replicator/wire"
	"mfsstandby/standby/charts"
)

// info is what a server keeps for information requests.
type info struct {
	charts             *charts.Charts
	asking             atomic.Int32
	sent               atomic.Uint64 // packets
	drawing            chan struct{} // holds as many as there are pictures being drawn
	start              time.Time
	began              totals        // at the start
	userCPU, systemCPU atomic.Uint64 // seconds per second of the last minute, in 10^-9

	mu      sync.Mutex    // guards what follows
	count   *census       // the last one; nil: none yet
	running chan struct{} // of the one being made, closed at its end; nil: none is
}

// maxDrawing is how many pictures are drawn at once.
const maxDrawing = 2

func (i *info) init(now time.Time) {
	i.charts, i.start = charts.New(now), now
	i.drawing = make(chan struct{}, maxDrawing)
	i.began.processor()
}

// totals are counters since the start.
type totals struct {
	user, system    time.Duration // of processor time
	ops             [statKinds]uint64
	packets, sent   uint64
	received, wrote uint64 // bytes
}

func (s *Server) totals() totals {
	c := &s.counters
	t := totals{packets: c.packets.Load(), sent: s.info.sent.Load(), received: c.received.Load(), wrote: c.sent.Load()}
	for i := range c.stats {
		t.ops[i] = c.stats[i].Load()
	}
	t.processor()
	return t
}

// processor fills in the processor time of this process.
func (t *totals) processor() {
	var use syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &use) == nil {
		t.user, t.system = time.Duration(use.Utime.Nano()), time.Duration(use.Stime.Nano())
	}
}

// processorUse returns the processor time per second, in 10^-9, of the last
// full minute, or since the start.
func (s *Server) processorUse() (user, system uint64) {
	i := &s.info
	if user, system = i.userCPU.Load(), i.systemCPU.Load(); user+system > 0 {
		return user, system
	}
	var now totals
	now.processor()
	took := max(time.Since(i.start).Seconds(), 1e-3)
	return uint64(float64(now.user-i.began.user) / took), uint64(float64(now.system-i.began.system) / took)
}

// saveEvery is the number of minutes after which charts are saved.
const saveEvery = 15

// measure puts a sample into the charts at each full minute.
func (s *Server) measure(ctx context.Context) {
	last, at := s.totals(), time.Now()
	defer s.saveCharts()
	n := 0
	for {
		now := time.Now()
		select {
		case <-ctx.Done():
			return
		case <-time.After(now.Truncate(time.Minute).Add(time.Minute).Sub(now)):
		}
		t, now := s.totals(), time.Now()
		s.sample(&last, &t, now.Sub(at), now.Add(-time.Minute))
		last, at = t, now
		if n++; n%saveEvery == 0 {
			s.saveCharts()
		}
	}
}

func (s *Server) saveCharts() {
	if s.cfg.ChartsFile == "" {
		return
	}
	if err := s.info.charts.Save(s.cfg.ChartsFile); err != nil {
		s.log.Warn("what the charts show would be lost if this process ended", "err", err)
	}
}

// sample adds what happened between two readings of the counters.
func (s *Server) sample(from, to *totals, took time.Duration, minute time.Time) {
	d := charts.Unknown()
	user, system := to.user-from.user, to.system-from.system
	d[charts.UserCPU], d[charts.SystemCPU] = uint64(user.Microseconds()), uint64(system.Microseconds())
	if took > 0 {
		s.info.userCPU.Store(uint64(float64(user) / took.Seconds()))
		s.info.systemCPU.Store(uint64(float64(system) / took.Seconds()))
	}
	for i := range to.ops {
		d[charts.Operations+i] = to.ops[i] - from.ops[i]
	}
	if resident, virtual := memoryInUse(); resident > 0 {
		d[charts.ResidentMemory], d[charts.VirtualMemory] = resident, virtual
	}
	d[charts.PacketsReceived], d[charts.PacketsSent] = to.packets-from.packets, to.sent-from.sent
	d[charts.BytesReceived], d[charts.BytesSent] = to.received-from.received, to.wrote-from.wrote
	if p, ok := s.askPrimary(); ok {
		d[charts.UsedSpace], d[charts.TotalSpace] = p.Total-min(p.Avail, p.Total), p.Total
	}
	for _, series := range [...]int{ // a standby does nothing to chunks
		charts.DeleteTried, charts.ReplicateTried, charts.CreateTried, charts.ChangeTried, charts.DeleteOK, charts.DeleteError,
		charts.ReplicateOK, charts.ReplicateError, charts.CreateOK, charts.CreateError, charts.ChangeOK, charts.ChangeError,
	} {
		d[series] = 0
	}
	s.info.charts.Add(d, minute)
}

// infoChart draws a picture.
func (c *conn) infoChart() error {
	var p wire.ChartRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	return c.beside(func(e *reply) error {
		select { // a picture may be large
		case c.srv.info.drawing <- struct{}{}:
			defer func() { <-c.srv.info.drawing }()
		case <-c.srv.ctx.Done():
			return c.srv.ctx.Err()
		}
		e.Begin(wire.InfoChart.Reply())
		e.Bytes(c.srv.info.charts.PNG(p.Chart, int(p.Width), int(p.Height)))
		e.End()
		return nil
	})
}

func (c *conn) infoChartData() error {
	var p wire.ChartRequest
	if err := p.Decode(&c.d); err != nil {
		return err
	}
	c.out.Begin(wire.InfoChartData.Reply())
	defer c.out.End()
	if p.Multi != 0 { // there are no such charts here: none is what a master says of one it does not know
		return nil
	}
	c.out.Buf = c.srv.info.charts.AppendData(c.out.Buf, p.Chart, p.Max())
	return nil
}

func (c *conn) infoMonotonic() error {
	if err := c.empty(); err != nil {
		return err
	}
	c.out.Begin(wire.InfoMonotonic.Reply())
	c.out.Buf = c.srv.info.charts.AppendTotals(c.out.Buf)
	c.out.End()
	return nil
}
