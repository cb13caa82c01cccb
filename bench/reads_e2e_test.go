//go:build e2e

package bench

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestReadsAgainstTheMaster(t *testing.T) {
	program := filepath.Join(t.TempDir(), "mfsstandby")
	if out, err := exec.Command("go", "build", "-o", program, "../cmd/mfsstandby").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	report, err := MeasureReads(t.Context(), ReadsConfig{
		Options: Options{Entries: 3000}, Mixes: []ReadMix{Browsing}, For: 500 * time.Millisecond, Rate: 500, Against: true,
		Program: []string{program}, Dir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []ReadServer{StandbyServer, MasterServer} {
		if m := report.Median(s, Browsing); m == nil || m.Requests < 100 || m.Latency.P50 <= 0 || m.Memory < 1<<20 {
			t.Errorf("%s: %+v", s, m)
		}
	}
	if m := report.Median(StandbyServer, Browsing); m != nil && m.Entries == 0 {
		t.Errorf("the standby was given no entries: %+v", m)
	}
	if r := report.Ratios[Browsing]; r.Rate <= 0 || r.P99 <= 0 {
		t.Errorf("ratios %+v", report.Ratios)
	}
}
