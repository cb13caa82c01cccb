// Package rehearse proves, while a standby follows, that a stock mfsmaster could
// take over from its image: it lets one load an export on loopback ports, walks
// the tree that it serves, has it store its metadata, and compares both with the
// image. Nobody else sees that master.
//
// Its reference is a second image, made from the view that was exported, to which
// the entries are applied that the master wrote meanwhile (the session of this
// program, timers). cmd runs a Rehearser; package control asks it.
package rehearse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/standby/image"
	"mfsstandby/standby/promote"
	"mfsstandby/standby/stock"
)

// Config says with what a Rehearser works. Dir and View are needed.
type Config struct {
	Dir     string                      // data directory of the process; everything happens in a directory below it
	View    func() (*image.View, error) // of the image
	Program string                      // mfsmaster; empty: it is looked for
	Cache   int64                       // of the second image, bytes; 0 means the image's default
	Every   time.Duration               // between rehearsals that Run makes; 0 makes none
	Logger  *slog.Logger
	Events  *events.Log

	exported func(path string) error // of a test: changes what the master gets
}

// Result is what came of a rehearsal.
type Result struct {
	Time        time.Time      `json:"time"`              // when it began
	Version     meta.Version   `json:"version"`           // that was exported
	Release     string         `json:"release,omitempty"` // of the stock master
	Ms          float64        `json:"ms"`
	Names       uint64         `json:"names"`       // compared in the tree that was served
	Entries     uint64         `json:"entries"`     // that the stock master wrote meanwhile
	Differences uint64         `json:"differences"` // in what it served and in what it stored
	First       []string       `json:"first,omitempty"`
	Steps       []promote.Step `json:"steps,omitempty"`
	Error       string         `json:"error,omitempty"` // it could not be finished
}

// Passed tells whether the stock master had the very metadata of the image.
func (r *Result) Passed() bool { return r.Error == "" && r.Differences == 0 }

// firstKept is how many differences a Result shows.
const firstKept = 10

// Names in Config.Dir.
const (
	workName   = "rehearsal"
	resultName = "rehearsal.json"
)

// part is what this package is in the log and among the events.
const part = "rehearsal"

// ErrBusy says that there is a rehearsal already.
var ErrBusy = errors.New("a rehearsal is under way")

// Rehearser rehearses, one at a time. Its methods are safe for concurrent use.
type Rehearser struct {
	cfg  Config
	log  *slog.Logger
	turn sync.Mutex

	mu   sync.Mutex // guards what follows
	last *Result
}

// New reads the last result, and removes what a process that was killed left.
func New(cfg Config) (*Rehearser, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	r := &Rehearser{cfg: cfg, log: cfg.Logger.With("part", part)}
	text, err := os.ReadFile(r.path(resultName))
	switch {
	case err == nil:
		r.last = &Result{}
		if err := json.Unmarshal(text, r.last); err != nil {
			r.log.Warn("the result of the last rehearsal cannot be read", "err", err)
			r.last = nil
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return r, r.clean()
}

func (r *Rehearser) path(parts ...string) string {
	return filepath.Join(append([]string{r.cfg.Dir}, parts...)...)
}

// clean ends a master that was left, and removes all its files.
func (r *Rehearser) clean() error {
	if err := stock.KillLeftover(r.path(workName, "data")); err != nil {
		return err
	}
	return os.RemoveAll(r.path(workName))
}

// Last returns the result of the last rehearsal, nil if there was none.
func (r *Rehearser) Last() *Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// Run rehearses now and then until ctx ends.
func (r *Rehearser) Run(ctx context.Context) error {
	if r.cfg.Every <= 0 {
		return nil
	}
	for {
		wait := r.cfg.Every
		if last := r.Last(); last != nil {
			wait = max(0, wait-time.Since(last.Time))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(wait, firstWait)):
		}
		if _, err := r.Rehearse(ctx, nil); errors.Is(err, ErrBusy) {
			continue
		}
	}
}

// firstWait is the least time before a rehearsal that nobody asked for.
const firstWait = time.Second

// Rehearse makes a rehearsal and keeps what came of it, which is told as an
// event too. The error is that of Result.Error.
func (r *Rehearser) Rehearse(ctx context.Context, report func(promote.Step)) (Result, error) {
	if !r.turn.TryLock() {
		return Result{}, ErrBusy
	}
	defer r.turn.Unlock()
	w := &work{Rehearser: r, report: report, res: Result{Time: time.Now()}}
	err := w.run(ctx)
	res := w.res
	res.Ms = ms(time.Since(res.Time))
	if err != nil {
		res.Error = err.Error()
	}
	r.keep(&res)
	return res, err
}

// keep takes note of a result.
func (r *Rehearser) keep(res *Result) {
	r.mu.Lock()
	r.last = res
	r.mu.Unlock()
	level, code, text := slog.LevelInfo, events.Rehearsed, fmt.Sprintf(
		"a stock mfsmaster %s loaded the export of version %d, served the same %d names and stored the same metadata", res.Release, res.Version, res.Names)
	switch {
	case res.Error != "":
		level, code, text = slog.LevelError, events.RehearsalFailed, "the rehearsal could not be finished: "+res.Error
	case res.Differences > 0:
		level, code, text = slog.LevelError, events.RehearsalFailed, fmt.Sprintf(
			"a stock mfsmaster made something else of the export of version %d, %d differences: %s", res.Version, res.Differences, res.First[0])
	}
	r.log.Log(context.Background(), level, text)
	r.cfg.Events.Add(part, level, code, text)
	text2, err := json.MarshalIndent(res, "", "  ")
	path := r.path(resultName)
	if err == nil {
		err = os.WriteFile(path+".tmp", append(text2, '\n'), 0o644)
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		r.log.Warn("the result of the rehearsal is not kept on disk", "err", err)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
