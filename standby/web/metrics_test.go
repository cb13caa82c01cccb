package web

import (
	"bytes"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"mfsstandby/replicator/events"
	"mfsstandby/standby/control"
)

func TestMetricsKeepTheConventions(t *testing.T) {
	w := newWorld(t)
	w.furnish()
	for name, s := range map[string]*Server{
		"run": newServer(t, w.img, nil),
		"tap": newServer(t, nil, func(c *Config) {
			c.Latency, c.Status = nil, func() control.Status { st := told(); st.Standby = nil; return st }
		}),
	} {
		s.cfg.Events.Add("tap", slog.LevelError, events.Gap, "x")
		ask(s, "GET", "/api/v1/status", nil)
		problems, err := testutil.GatherAndLint(s.metrics.registry)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s: %s", name, p.Metric, p.Text)
		}
	}
}

func TestMetricsGolden(t *testing.T) {
	w := newWorld(t)
	w.furnish()
	s := newServer(t, w.img, nil)
	s.hub.last = s.hub.ask(started.Add(time.Minute))
	s.cfg.Events.Add("tap", slog.LevelError, events.Gap, "x")
	s.cfg.Latency.Applied(3*time.Millisecond, 10)
	s.cfg.Latency.Applied(700*time.Millisecond, 1)
	families, err := s.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "mfsstandby_") || f.GetName() == "mfsstandby_build_info" || strings.HasPrefix(f.GetName(), "mfsstandby_http") {
			continue
		}
		if _, err := expfmt.MetricFamilyToText(&out, f); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "testdata/metrics.golden", out.Bytes())
}

func TestMetricsOverHTTP(t *testing.T) {
	s := newServer(t, nil, nil)
	ask(s, "GET", "/api/v1/none", nil)
	got := ask(s, "GET", "/metrics", nil)
	for _, want := range []string{
		`mfsstandby_http_requests_total{code="404",handler="/api/v1/",method="get"} 1`, "mfsstandby_image_version 1180", "process_start_time_seconds", "go_goroutines",
	} {
		if !strings.Contains(got.Body.String(), want) {
			t.Errorf("%q is not there", want)
		}
	}
}

func TestLatencyQuantiles(t *testing.T) {
	var l Latency
	l.Applied(time.Hour, 5)
	before := l.counts()
	for range 98 {
		l.Applied(1200*time.Microsecond, 1)
	}
	l.Applied(2*time.Second, 2)
	l.Applied(-time.Second, 0)
	now := l.counts()
	d := now.since(&before)
	for _, tc := range []struct{ share, low, high float64 }{{0.5, 0.001, 0.0015}, {0.97, 0.001, 0.0015}, {0.99, 1, 2.5}, {1, 1, 2.5}} {
		if got := d.quantile(tc.share); got < tc.low || got > tc.high {
			t.Errorf("quantile %v: %v, want %v to %v", tc.share, got, tc.low, tc.high)
		}
	}
	if got := now.since(&now).quantile(0.5); got != 0 {
		t.Errorf("without entries: %v", got)
	}
	if want := 5*3600 + 98*0.0012 + 4; math.Abs(now.seconds-want) > 1e-6 {
		t.Errorf("sum %v, want %v", now.seconds, want)
	}
}

func TestRingsAreBoundedAndMergeSteps(t *testing.T) {
	r := &ring{step: 10 * time.Second, keep: 5}
	begin := time.Unix(1_700_000_000, 0)
	for i := range 200 {
		r.add(begin.Add(time.Duration(i)*time.Second), Sample{LagEntries: uint64(i % 10), Applied: float64(i), P99: float64(i % 3)})
	}
	h := r.history("x", 0)
	if len(h.Time) != 5 || len(r.at) > 10 {
		t.Fatalf("%d of %d samples", len(h.Time), len(r.at))
	}
	if h.Time[4] != begin.Add(190*time.Second).UnixMilli() || h.Applied[4] != 194.5 || h.LagEntries[4] != 9 || h.P99[4] != 2 {
		t.Errorf("the last is %d, %v, %d, %v", h.Time[4], h.Applied[4], h.LagEntries[4], h.P99[4])
	}
	if later := r.history("x", h.Time[3]); len(later.Time) != 1 || later.Time[0] != h.Time[4] {
		t.Errorf("after the last but one: %v", later.Time)
	}
}

// Rates come from what was counted between two samples.
func TestSampling(t *testing.T) {
	entries := uint64(100)
	s := newServer(t, nil, func(c *Config) {
		c.Status = func() control.Status {
			st := told()
			st.Standby.Entries, st.Tap.Entries = entries, entries/2
			return st
		}
	})
	at := time.Unix(1_700_000_000, 0)
	var before counts
	for range 3 {
		before = s.hub.sample(at, before)
		s.cfg.Latency.Applied(5*time.Millisecond, 7)
		at, entries = at.Add(time.Second), entries+50
	}
	h, ok := s.hub.history("10m", 0)
	if !ok || len(h.Time) != 2 {
		t.Fatalf("history %+v", h)
	}
	if h.Applied[1] != 50 || h.Received[1] != 25 || h.LagEntries[1] != 10 || h.P50[1] < 4 || h.P50[1] > 6 {
		t.Errorf("sample: %+v", h)
	}
	if n := s.hub.now(); n.Primary != 1200 || n.Tap.Events != nil || n.Standby.Events != nil {
		t.Errorf("now: %+v", n)
	}
}
