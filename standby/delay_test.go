package standby_test

import (
	"testing"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby"
)

// A delayed standby stays where it is, says so without an alarm, and can be told
// to go on to any version.
func TestDelayedStandby(t *testing.T) {
	h := load(t)
	p, dir := newPrimary(t, h), t.TempDir()
	end := h.first + 3000
	p.write(h.first, end)
	n := startNodeWith(t, dir, p, func(c *standby.Config) { c.Delay = time.Hour })
	delayed := func(at meta.Version) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for {
			st := n.stand.Status()
			if st.State == standby.Delayed && st.Image == at && st.Stream == end {
				if st.LagSeconds != 0 || n.stand.Lag() > 10*time.Second || st.Delay != 3600 {
					t.Errorf("status of a delayed standby: %+v, lag %v", st, n.stand.Lag())
				}
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("want to be delayed at version %d with the stream at %d: %+v", at, end, st)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	delayed(h.first)
	n.stand.Limit(h.first + 1)
	n.stand.Hurry(end)
	n.wait(h.first + 1)
	delayed(h.first + 1)
	n.stand.Hurry(0)
	n.stand.Limit(0)
	for _, to := range []meta.Version{h.first + 1, h.first + 1234, end} {
		n.stand.Hurry(to)
		n.wait(to)
		delayed(to)
		n.equals(h.at(t, to))
	}
	n.close()
	if n.repErr != nil {
		t.Fatal(n.repErr)
	}
}

// What has waited long enough is applied.
func TestDelayEnds(t *testing.T) {
	h := load(t)
	p, dir := newPrimary(t, h), t.TempDir()
	end := h.first + 3000
	p.write(h.first, end)
	n := startNodeWith(t, dir, p, func(c *standby.Config) { c.Delay = time.Millisecond })
	n.wait(end)
	n.equals(h.at(t, end))
}
