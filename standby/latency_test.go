package standby

import (
	"testing"
	"time"
)

func TestLatencyCountsEntries(t *testing.T) {
	var l latencies
	l.add(5*time.Millisecond, 98)
	l.add(20*time.Millisecond, 1)
	l.add(time.Millisecond, 1)
	want := Latency{Batches: 3, P50: 5, P99: 20, Max: 20}
	if got := l.get(); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for range 2 * keepLatencies {
		l.add(2*time.Millisecond, 10)
	}
	if got := l.get(); got != (Latency{keepLatencies, 2, 2, 2}) {
		t.Fatalf("got %+v: old ones are still counted", got)
	}
}
