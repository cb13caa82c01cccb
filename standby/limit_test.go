package standby

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"mfsstandby/changelog/meta"
)

// Entries wait for their time, or until somebody is in a hurry, but behind a limit
// whatever was said.
func TestLimit(t *testing.T) {
	const first, count = 100, 10
	for _, tc := range []struct {
		name         string
		hurry, limit meta.Version
		wait         time.Duration // until some may be applied; negative: they wait for ever
		want         int
	}{
		{"their time comes", 0, 0, time.Hour, count},
		{"their time comes, with a limit among them", 0, 104, time.Hour, 4},
		{"their time comes, with a limit behind them", 0, 200, time.Hour, count},
		{"a hurry", 105, 0, 0, 5},
		{"a hurry beyond them", 200, 0, 0, count},
		{"a hurry that was before them", 100, 0, time.Hour, count},
		{"a hurry beyond the limit", 200, 103, 0, 3},
		{"a hurry before the limit", 102, 103, 0, 2},
		{"the limit is before them", 200, 100, -1, 0},
		{"the limit is long before them", 0, 50, -1, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Standby{cfg: Config{Delay: time.Hour}, delay: newDelay()}
				s.Hurry(tc.hurry)
				s.Limit(tc.limit)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Hour)
				defer cancel()
				begun := time.Now()
				n, err := (&streamSource{s: s}).wait(ctx, begun, first, count)
				if took := time.Since(begun); tc.wait < 0 && !errors.Is(err, context.DeadlineExceeded) || tc.wait >= 0 && (err != nil || took != tc.wait) || n != tc.want {
					t.Errorf("%d entries after %v, error %v", n, took, err)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // a limit that is lifted
		s := &Standby{cfg: Config{Delay: time.Hour}, delay: newDelay()}
		s.Limit(first)
		begun := time.Now()
		time.AfterFunc(5*time.Hour, func() { s.Limit(0) })
		if n, err := (&streamSource{s: s}).wait(t.Context(), begun, first, count); n != count || err != nil || time.Since(begun) != 5*time.Hour {
			t.Errorf("%d entries after %v, error %v", n, time.Since(begun), err)
		}
	})
}
