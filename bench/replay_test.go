package bench

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mfsstandby/standby/image"
)

func replayConfig(t *testing.T) ReplayConfig {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return ReplayConfig{
		Options: Options{Entries: 10_000, Seed: 3}, Cache: image.MinCache, Dir: t.TempDir(), Child: []string{self, childFlag},
	}
}

// Every stage handles every entry, and what is exported is imported.
func TestReplayRunsEachStage(t *testing.T) {
	cfg := replayConfig(t)
	cfg.Rounds = 2
	cfg.Sync = "interval"
	report, err := Replay(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var inodes int64
	for _, r := range report.Results {
		if r.Seconds <= 0 || r.CPU <= 0 || r.Memory < 1<<20 || r.Bytes < 10_000 {
			t.Errorf("round %d, stage %s measured nothing: %+v", r.Round, r.Stage, r)
		}
		switch r.Stage {
		case Apply:
			inodes = r.Inodes
			fallthrough
		default:
			if r.Done != 10_000 {
				t.Errorf("stage %s did %d entries, want 10,000", r.Stage, r.Done)
			}
		case Export, Import:
			if r.Done != inodes || inodes < 100 {
				t.Errorf("stage %s did %d inodes, apply made %d", r.Stage, r.Done, inodes)
			}
		}
		if hasLatency := r.Stage != Export && r.Stage != Import; hasLatency != (r.Latency.Max > 0) {
			t.Errorf("stage %s: latency %+v", r.Stage, r.Latency)
		}
	}
	if got := report.stages(); !slices.Equal(got, Stages()) {
		t.Errorf("stages %v, want %v", got, Stages())
	}
	if n := len(report.Results); n != 2*len(Stages()) {
		t.Errorf("%d results of two rounds", n)
	}
	if left, err := os.ReadDir(cfg.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A stage brings what it needs; smaller messages bring the same.
func TestReplayOfACapture(t *testing.T) {
	cfg := replayConfig(t)
	cfg.Batch = 500
	cfg.Changelog, cfg.Metadata = "../"+fixtureChangelog, "../"+fixtureMetadata
	cfg.Stages = []Stage{Consume, Import}
	report, err := Replay(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	const entries = 32837 - 924
	want := []Stage{Publish, Consume, Apply, Export, Import}
	if got := report.stages(); !slices.Equal(got, want) || report.Entries != entries || report.Mix != Captured {
		t.Fatalf("mix %s, %d entries, stages %v; want %d entries, %v", report.Mix, report.Entries, got, entries, want)
	}
	if m := report.Median(Apply); m.Done != entries || m.Image == 0 {
		t.Errorf("applied: %+v", m)
	}
}

// A bad entry is an error that names it, not a rate.
func TestReplayStopsAtABadEntry(t *testing.T) {
	cfg := replayConfig(t)
	cfg.Metadata, cfg.Changelog = filepath.Join(cfg.Dir, "m"), filepath.Join(cfg.Dir, "c")
	if err := create(cfg.Metadata, func(w io.Writer) error { return FreshMetadata(w, DefaultBase) }); err != nil {
		t.Fatal(err)
	}
	lines := "2: 1700000000|ACCESS(1)\n3: 1700000000|UNLINK(1,none):7\n4: 1700000000|ACCESS(1)\n"
	if err := os.WriteFile(cfg.Changelog, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg.Stages = []Stage{Apply}
	_, err := Replay(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "stage apply") || !strings.Contains(err.Error(), "UNLINK(1,none):7") {
		t.Fatalf("got %v, want an error of stage apply that shows the entry", err)
	}
}

func TestReplayRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"new": "MFSM NEW0123456701234567", "short": "MFSM 2.0", "log": "7: 1|ACCESS(1)\n", "junk": "what\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	good := filepath.Join(dir, "good")
	err := create(good, func(w io.Writer) error { return FreshMetadata(w, Base{Version: 8, MetaID: 1}) })
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, want string
		set        func(*ReplayConfig)
	}{
		{"an unknown stage", `unknown stage "fly"`, func(c *ReplayConfig) { c.Stages = []Stage{"fly"} }},
		{"a changelog alone", "given together", func(c *ReplayConfig) { c.Changelog = "x" }},
		{"no round", "-1 rounds", func(c *ReplayConfig) { c.Rounds = -1 }},
		{"another sync", `sync "never"`, func(c *ReplayConfig) { c.Sync = "never" }},
		{"a small cache", "too small", func(c *ReplayConfig) { c.Cache = 1 }},
		{"nobody to work", "no command", func(c *ReplayConfig) { c.Child = nil }},
		{"an unknown mix", "unknown mix", func(c *ReplayConfig) { c.Mix = "moxed" }},
		{"an empty file system", "does not begin as", func(c *ReplayConfig) { c.Metadata, c.Changelog = filepath.Join(dir, "new"), filepath.Join(dir, "log") }},
		{"half a header", "unexpected EOF", func(c *ReplayConfig) {
			c.Metadata, c.Changelog = filepath.Join(dir, "short"), filepath.Join(dir, "log")
		}},
		{"junk", "last line", func(c *ReplayConfig) { c.Metadata, c.Changelog = good, filepath.Join(dir, "junk") }},
		{"nothing to do", "begins there or later", func(c *ReplayConfig) { c.Metadata, c.Changelog = good, filepath.Join(dir, "log") }},
		{"no file", "no such file", func(c *ReplayConfig) { c.Metadata, c.Changelog = good, filepath.Join(dir, "none") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := replayConfig(t)
			tc.set(&cfg)
			if _, err := Replay(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestPercentilesAreOverEntries(t *testing.T) {
	batches := []latency{{50 * time.Millisecond, 1}, {2 * time.Millisecond, 989}, {3 * time.Millisecond, 10}}
	if got, want := percentiles(batches), (Latency{P50: 2, P99: 3, Max: 50}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := percentiles(nil); got != (Latency{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

// sampleReport has two stages and a master; the rounds differ.
func sampleReport() *Report {
	run := func(s Stage, round int, seconds float64) Result {
		r := Result{Stage: s, Round: round, Done: 1000, Seconds: seconds, CPU: 2 * seconds, Memory: 1 << 20}
		for i := range 30 {
			at := float64(i) / 29
			r.Samples = append(r.Samples, Sample{At: at * seconds, Done: int64(1000 * at), Memory: 1 << 20})
		}
		return r
	}
	return &Report{Rounds: 3, Results: []Result{
		run(Apply, 1, 2), run(Pipeline, 1, 4), run(Master, 1, 1),
		run(Apply, 2, 4), run(Pipeline, 2, 8), run(Master, 2, 4),
		run(Apply, 3, 9), run(Pipeline, 3, 90), run(Master, 3, 3),
	}}
}

func TestRatiosAreWithinRounds(t *testing.T) {
	r := sampleReport()
	r.compare()
	if got, want := r.Ratios[Apply], (Ratio{0.5, 0.5}); got != want {
		t.Errorf("apply: %+v, want %+v", got, want)
	}
	if got, want := r.Ratios[Pipeline], (Ratio{0.25, 0.25}); got != want {
		t.Errorf("pipeline: %+v, want %+v", got, want)
	}
	if m := r.Median(Apply); m.Round != 2 {
		t.Errorf("the median run of apply is of round %d, want 2", m.Round)
	}
	var out bytes.Buffer
	if err := r.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"apply / mfsmaster -a: 0.50", "mfsmaster -a         333", "pipeline             125"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the text has no %q:\n%s", want, out.String())
		}
	}
}

func TestPlotIsAnImageOfEachStage(t *testing.T) {
	var out bytes.Buffer
	if err := sampleReport().WriteSVG(&out); err != nil {
		t.Fatal(err)
	}
	lines, texts := 0, ""
	for dec := xml.NewDecoder(&out); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Local == "polyline" {
				lines++
				for _, a := range token.Attr {
					if a.Name.Local == "points" && (len(strings.Fields(a.Value)) < 2 || strings.Contains(a.Value, "NaN")) {
						t.Errorf("a line with points %q", a.Value)
					}
				}
			}
		case xml.CharData:
			texts += string(token)
		}
	}
	if lines != 6 {
		t.Errorf("%d lines, want one for each of 3 stages in 2 panels", lines)
	}
	for _, want := range []string{"apply", "pipeline", "mfsmaster -a", "resident MiB"} {
		if !strings.Contains(texts, want) {
			t.Errorf("no text %q in the plot", want)
		}
	}
	out.Reset()
	if err := (&Report{}).WriteSVG(&out); err != nil || !strings.Contains(out.String(), "</svg>") {
		t.Errorf("of nothing: %v, %s", err, out.String())
	}
}

func TestNiceStep(t *testing.T) {
	for _, tc := range []struct{ to, want float64 }{{1, 0.2}, {4.5, 1}, {7, 2}, {1234, 500}, {0.03, 0.01}} {
		if got := niceStep(tc.to, 5); got < tc.want*0.999 || got > tc.want*1.001 {
			t.Errorf("niceStep(%v, 5) = %v, want %v", tc.to, got, tc.want)
		}
	}
}
