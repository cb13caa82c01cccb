package main

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"mfsstandby/standby/control"
)

// A process that has its data directory but does not answer yet is asked again,
// for a while.
func TestAskWhileStarting(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		name    string
		answers int // the ask that is answered; 0: none
		self    error
		want    error
		asked   int
	}{
		{"answers at once", 1, nil, nil, 1},
		{"nobody runs", 0, nil, nil, 1},
		{"nobody runs, and it cannot be done", 0, broken, broken, 1},
		{"answers later", 3, &control.BusyError{}, nil, 3},
		{"never answers", 0, &control.BusyError{}, control.ErrBusy, int(starting/(50*time.Millisecond)) + 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				err := askOr(t.Context(), func() error {
					if asked++; asked == tc.answers {
						return nil
					}
					return control.ErrNotRunning
				}, func() error { return tc.self })
				if !errors.Is(err, tc.want) || asked != tc.asked {
					t.Fatalf("asked %d times, got %v; want %d times and %v", asked, err, tc.asked, tc.want)
				}
			})
		})
	}
}
