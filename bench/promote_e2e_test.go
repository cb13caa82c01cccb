//go:build e2e

package bench

import (
	"os/exec"
	"path/filepath"
	"testing"
)

func TestPromotionAgainstTheMaster(t *testing.T) {
	program := filepath.Join(t.TempDir(), "mfsstandby")
	if out, err := exec.Command("go", "build", "-o", program, "../cmd/mfsstandby").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	report, err := MeasurePromotion(t.Context(), PromoteConfig{
		Inodes: []int{2000}, Backlog: 500, Rate: 500, Against: true, Program: []string{program}, Dir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []Way{Promotion, StockWay} {
		if m := report.Median(way, 2000); m == nil || m.Write <= 0 || m.Connect <= 0 || m.Connect > m.Write || m.Memory < 1<<20 {
			t.Errorf("%s: %+v", way, m)
		}
	}
	if m := report.Median(Promotion, 2000); m != nil && (len(m.Steps) < 5 || m.Command <= 0 || m.Drain < 0) {
		t.Errorf("the promotion: %+v", m)
	}
}
