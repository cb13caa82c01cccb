package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/standby"
)

// Saved tells of a metadata file that was saved.
type Saved struct {
	Version meta.Version `json:"version"`
	At      time.Time    `json:"at"`
	Ms      float64      `json:"ms"`
	Error   string       `json:"error,omitempty"` // of the last try, if that failed
}

const (
	checkpointEvery = 10 * time.Second // while entries come
	saveRetry       = time.Minute      // for the first metadata file
)

// keep rotates and saves at the hour, and makes the changelog files durable.
func (w *work) keep(ctx context.Context) error {
	h := hours{last: w.clock()}
	var synced, tried time.Time
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for first, due := true, false; ; {
		now := w.clock()
		if first && now.Sub(tried).Abs() >= saveRetry {
			tried = now
			if first = !w.j.complete() && !w.save(ctx); !first {
				close(w.saved)
			}
		}
		if due = h.passed(now) || due; due {
			err := w.rotate()
			due = err != nil
			w.trouble(err)
			if err == nil && now.Unix()/3600%int64(w.cfg.SaveEvery) == 0 {
				w.save(ctx)
			}
		}
		if now.Sub(synced).Abs() >= checkpointEvery {
			synced = now
			if err := w.j.checkpoint(); err != nil {
				w.trouble(fmt.Errorf("making changelog files durable: %w", err))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// hours tells when a full hour has passed, by a clock that may be set.
type hours struct{ last time.Time }

func (h *hours) passed(now time.Time) bool {
	before := h.last
	h.last = now
	return now.Unix()/3600 > before.Unix()/3600
}

// rotate begins another changelog file, and tells metaloggers to do so.
func (w *work) rotate() error {
	at, err := w.j.rotate()
	if err != nil {
		return fmt.Errorf("rotating changelog files: %w", err)
	}
	w.turn.Lock()
	defer w.turn.Unlock()
	w.turns++
	w.at = append(w.at, at)
	if len(w.at) > MaxBackLogs {
		w.at = w.at[1:]
	}
	close(w.turned)
	w.turned = make(chan struct{})
	return nil
}

// turnsSince returns the versions at which there were rotations after the first n,
// as far as they are kept, and a channel that is closed at the next one.
func (w *work) turnsSince(n int) ([]meta.Version, <-chan struct{}) {
	w.turn.Lock()
	defer w.turn.Unlock()
	return w.at[len(w.at)-min(len(w.at), w.turns-n):], w.turned
}

func (w *work) turnsSoFar() int {
	w.turn.Lock()
	defer w.turn.Unlock()
	return w.turns
}

// save writes the metadata file, from a view, while entries go on.
func (w *work) save(ctx context.Context) bool {
	start := time.Now()
	version, err := w.write(ctx)
	if ctx.Err() != nil {
		return false
	}
	took := time.Since(start)
	w.mu.Lock()
	s := &w.status.Saved
	if err != nil {
		s.Error = err.Error()
	} else {
		*s = Saved{Version: version, At: w.clock(), Ms: float64(took.Microseconds()) / 1000}
	}
	w.mu.Unlock()
	if err != nil {
		w.event(slog.LevelError, events.SaveFailed, fmt.Sprintf("%s could not be saved in %s, the one before stays: %v", metadataName, w.cfg.Dir, err))
		return false
	}
	w.event(slog.LevelInfo, events.Saved, fmt.Sprintf("%s of version %d is saved, in %v", metadataName, version, took.Round(time.Millisecond)))
	return true
}

func (w *work) write(ctx context.Context) (meta.Version, error) {
	v, err := w.cfg.View()
	if err != nil {
		return 0, err
	}
	defer v.Close()
	stop := context.AfterFunc(ctx, v.Close) // cuts a long write off
	defer stop()
	if err := standby.WriteView(v, w.j.path(metadataTemp), w.j.path(crcName), nil); err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return v.Position().Version, w.j.install(w.cfg.KeepPrevious)
}
