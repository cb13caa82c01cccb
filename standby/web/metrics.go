package web

import (
	"log/slog"
	"net/http"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mfsstandby/replicator"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
)

// metrics are what Prometheus gets: made from the hub's last answer when it
// asks, and counts of this server's own requests.
type metrics struct {
	hub      *hub
	cfg      *Config
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(h *hub, cfg *Config) *metrics {
	m := &metrics{
		hub: h, cfg: cfg, registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mfsstandby_http_requests_total", Help: "HTTP requests answered, by route, method and status.",
		}, []string{"handler", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mfsstandby_http_request_duration_seconds", Help: "How long answering HTTP requests took, by route.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10},
		}, []string{"handler"}),
	}
	m.registry.MustRegister(m, m.requests, m.seconds,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
}

// count counts the requests of a route.
func (m *metrics) count(pattern string, h http.Handler) http.Handler {
	_, path, _ := strings.Cut(pattern, " ")
	if path == "" {
		path = pattern
	}
	path = strings.TrimSuffix(path, "{$}")
	label := prometheus.Labels{"handler": path}
	return promhttp.InstrumentHandlerDuration(m.seconds.MustCurryWith(label),
		promhttp.InstrumentHandlerCounter(m.requests.MustCurryWith(label), h))
}

// desc describes one metric of the process.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("mfsstandby_"+name, help, labels, nil)
}

var (
	descBuild   = desc("build_info", "Always 1; the labels tell the version of the program and its role.", "version", "goversion", "role")
	descSampled = desc("status_timestamp_seconds", "When the process told its status last.")
	descReady   = desc("ready", "1 while /readyz is fine: the image is in sync, or, without one, the tap publishes.")
	descEvents  = desc("events_total", "Events since the start of the process.", "part", "level", "code")

	descState        = desc("standby_state", "1 for the state the standby is in, 0 for the others.", "state")
	descEpoch        = desc("epoch", "Epoch of the stream that the image, or without one the tap, is in.")
	descImage        = desc("image_version", "Version of the image: the next entry to apply.")
	descCommitted    = desc("image_committed_version", "Version that a crash now would leave.")
	descStream       = desc("stream_version", "Version of the stream: the next entry it will get.")
	descLagEntries   = desc("lag_entries", "Entries in the stream that are not applied.")
	descLagSeconds   = desc("lag_seconds", "Time since the tap received the oldest entry that is not applied.")
	descApplied      = desc("entries_applied_total", "Entries applied to the image.")
	descEntryTime    = desc("last_entry_timestamp_seconds", "Time of the last entry applied, by the primary's clock.")
	descLatency      = desc("entry_latency_seconds", "Time from the tap's receipt of an entry until it can be read in the image.")
	descCommits      = desc("image_commits_total", "Commits of the image.")
	descCache        = desc("image_cache_bytes", "Pages of the image in memory.")
	descDirty        = desc("image_dirty_bytes", "Pages of the image in memory that are not committed.")
	descMember       = desc("member_version", "Version of each member of the cluster, as it told last.", "member", "role")
	descMemberSeen   = desc("member_seen_timestamp_seconds", "When a member of the cluster told of itself last.", "member", "role")
	descInodes       = desc("metadata_inodes", "Inodes in the image, by kind.", "kind")
	descBytes        = desc("metadata_bytes", "Bytes of files in the image: length in the tree, size with headers, realsize with copies; trash and sustained.", "kind")
	descSessions     = desc("metadata_sessions", "Client sessions in the image.")
	descTapConnected = desc("tap_connected", "1 while the tap is connected to a live primary.")
	descTapFollowing = desc("tap_following", "1 while the tap follows what a live primary writes.")
	descReceived     = desc("tap_received_version", "Version of the primary as the tap knows it.")
	descPublished    = desc("tap_published_version", "Version up to which the stream acknowledged entries.")
	descReceivedAll  = desc("tap_entries_received_total", "Entries that the tap received.")
	descHeard        = desc("tap_heard_timestamp_seconds", "When the primary sent something last.")
	descSpool        = desc("tap_spool_bytes", "Bytes in the tap's spool.")
	descTapFailed    = desc("tap_error", "1 while the tap reports an error.")

	descConns           = desc("client_connections", "Connections on the client port.")
	descLocal           = desc("client_sessions", "Sessions of clients of this standby.", "state")
	descRequests        = desc("client_requests_total", "Requests received on the client port, by name.", "request")
	descTraffic         = desc("client_bytes_total", "Bytes on the client port.", "direction")
	descClosed          = desc("client_connections_total", "Connections on the client port that were accepted, refused over the limit, or dropped for nonsense or silence.", "what")
	descRehearsed       = desc("rehearsal_timestamp_seconds", "When the last rehearsal began.")
	descRehearsalPassed = desc("rehearsal_passed", "1 if a stock master had the very metadata of the image in the last rehearsal.")
	descRehearsalDiffs  = desc("rehearsal_differences", "Differences found in the last rehearsal.")
	descRehearsalTook   = desc("rehearsal_seconds", "How long the last rehearsal took.")
	descBuffers         = desc("client_buffer_bytes", "Bytes in large buffers of client connections.")
)

// Describe sends nothing: which metrics there are depends on what runs.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// sink sends values.
type sink chan<- prometheus.Metric

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (s sink) flag(d *prometheus.Desc, on bool, labels ...string) {
	v := 0.0
	if on {
		v = 1
	}
	s.gauge(d, v, labels...)
}

// clients sends what the server on the client port tells.
func (s sink) clients(c *control.Clients) {
	s.gauge(descConns, float64(c.Connections))
	s.gauge(descLocal, float64(c.Connected), "connected")
	s.gauge(descLocal, float64(c.Sessions-c.Connected), "away")
	for name, n := range c.Requests {
		s.counter(descRequests, n, name)
	}
	s.counter(descTraffic, c.Received, "received")
	s.counter(descTraffic, c.Sent, "sent")
	s.counter(descClosed, c.Accepted, "accepted")
	s.counter(descClosed, c.Refused, "refused")
	s.counter(descClosed, c.Dropped, "dropped")
	s.gauge(descBuffers, float64(c.Buffers))
}

// Collect sends all metrics.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := sink(ch)
	now := m.hub.now()
	s.gauge(descBuild, 1, now.Program, runtime.Version(), now.Role)
	s.gauge(descSampled, float64(now.Time.UnixMilli())/1000)
	s.flag(descReady, now.Ready)
	for kind, n := range m.cfg.Events.Counts() {
		s.counter(descEvents, n, kind.Part, strings.ToLower(slog.Level.String(kind.Level)), string(kind.Code))
	}
	if now.Standby != nil {
		s.standby(now.Standby)
	}
	if now.Tap != nil {
		s.tap(now.Tap)
		if now.Standby == nil {
			s.gauge(descEpoch, float64(now.Tap.Epoch))
		}
	}
	if now.Clients != nil {
		s.clients(now.Clients)
	}
	if r := now.Rehearsal; r != nil {
		s.gauge(descRehearsed, float64(r.Time.UnixMilli())/1000)
		s.flag(descRehearsalPassed, r.Passed())
		s.gauge(descRehearsalDiffs, float64(r.Differences))
		s.gauge(descRehearsalTook, r.Ms/1000)
	}
	if now.Metadata != nil {
		s.metadata(now.Metadata)
	}
	if l := m.cfg.Latency; l != nil {
		ch <- l.histogram()
	}
}

var states = []standby.State{standby.Waiting, standby.Loading, standby.CatchingUp, standby.InSync, standby.Delayed, standby.Leading, standby.Stopped}

func (s sink) standby(st *standby.Status) {
	for _, state := range states {
		s.flag(descState, st.State == state, strings.ReplaceAll(string(state), " ", "_"))
	}
	s.gauge(descEpoch, float64(st.Epoch))
	s.gauge(descImage, float64(st.Image))
	s.gauge(descCommitted, float64(st.Committed))
	s.gauge(descStream, float64(st.Stream))
	s.gauge(descLagEntries, float64(st.LagEntries))
	s.gauge(descLagSeconds, st.LagSeconds)
	s.counter(descApplied, st.Entries)
	s.gauge(descEntryTime, float64(st.EntryTime))
	s.counter(descCommits, st.Commits)
	s.gauge(descCache, float64(st.CacheBytes))
	s.gauge(descDirty, float64(st.DirtyBytes))
	seen := map[[2]string]bool{}
	for _, m := range st.Members {
		if key := [2]string{m.Name, m.Role}; !seen[key] {
			seen[key] = true
			s.gauge(descMember, float64(m.Version), m.Name, m.Role)
			s.gauge(descMemberSeen, float64(m.Updated.UnixMilli())/1000, m.Name, m.Role)
		}
	}
}

func (s sink) tap(t *replicator.Status) {
	s.flag(descTapConnected, t.Connected)
	s.flag(descTapFollowing, t.Following)
	s.gauge(descReceived, float64(t.Received))
	s.gauge(descPublished, float64(t.Published))
	s.counter(descReceivedAll, t.Entries)
	if !t.Heard.IsZero() {
		s.gauge(descHeard, float64(t.Heard.UnixMilli())/1000)
	}
	s.gauge(descSpool, float64(t.Spool))
	s.flag(descTapFailed, t.Error != "")
}

func (s sink) metadata(m *Metadata) {
	for kind, n := range map[string]uint64{
		"directory": m.Directories, "file": m.Files - m.Trash - m.Sustained, "trash": m.Trash, "sustained": m.Sustained,
		"other": m.Inodes - m.Directories - m.Files,
	} {
		s.gauge(descInodes, float64(n), kind)
	}
	for kind, n := range map[string]uint64{
		"length": m.Length, "size": m.Size, "realsize": m.RealSize, "trash": m.TrashBytes, "sustained": m.SustainedBytes,
	} {
		s.gauge(descBytes, float64(n), kind)
	}
	s.gauge(descSessions, float64(m.Sessions))
}

// histogram gives the counts as Prometheus has them.
func (l *Latency) histogram() prometheus.Metric {
	c := l.counts()
	below := map[float64]uint64{}
	var sum uint64
	for i, bound := range bounds {
		sum += c.classes[i]
		below[bound] = sum
	}
	return prometheus.MustNewConstHistogram(descLatency, sum+c.classes[len(bounds)], c.seconds, below)
}
