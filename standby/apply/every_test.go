package apply

import (
	"testing"
	"time"
)

// Commits are rarer while much waits, much comes, or others need the processors.
func TestEvery(t *testing.T) {
	busy := false
	a := New(nil, nil, Config{CommitEvery: time.Second, Busy: func() bool { return busy }})
	for _, c := range []struct {
		name    string
		behind  bool
		entries uint64
		busy    bool
		want    time.Duration
	}{
		{"a usual primary", false, backlog / 2, false, time.Second},
		{"batches wait", true, 1, false, whenBehind * time.Second},
		{"more entries than any primary writes", false, backlog, false, whenBehind * time.Second},
		{"clients ask much", false, 1, true, whenBehind * time.Second},
	} {
		busy = c.busy
		if got := a.every(c.behind, c.entries, time.Second/2); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if got := New(nil, nil, Config{}).every(false, 0, time.Second); got != time.Second {
		t.Errorf("by default %v", got)
	}
}
