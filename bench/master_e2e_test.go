//go:build e2e

package bench

import "testing"

func TestReplayAgainstTheMaster(t *testing.T) {
	cfg := replayConfig(t)
	cfg.Stages, cfg.Against = []Stage{Apply}, true
	report, err := Replay(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := report.Median(Master)
	if m == nil || m.Done != 10_000 || m.Seconds <= 0 || m.Seconds > 30 || m.CPU <= 0 || m.Memory < 1<<20 {
		t.Fatalf("the master's run: %+v", m)
	}
	if r := report.Ratios[Apply]; r.Rate <= 0 || r.CPU <= 0 {
		t.Errorf("ratios %+v", report.Ratios)
	}
}
