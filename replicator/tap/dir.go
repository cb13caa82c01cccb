package tap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"mfsstandby/changelog/meta"

	"github.com/fsnotify/fsnotify"
)

// DirConfig says how to follow a data directory.
type DirConfig struct {
	Path  string        // of a master (/var/lib/mfs) or a metalogger
	Poll  time.Duration // how often to look without being told; default 200 ms
	Quiet time.Duration // how long a hole must last to be a gap; default 2 s
	Event func(Event)   // may be nil; called from Next

	// Restarts ends following with a *RestartedError where the master loaded
	// newer metadata than is known.
	Restarts bool

	// Release, if not 0, is the family of the primary's release. Following ends
	// with an *UpgradedError when metadata of a later one appears.
	Release meta.Release
}

// Validate fills in defaults.
func (c *DirConfig) Validate() error {
	if c.Path == "" {
		return errors.New("data directory is not set")
	}
	if c.Poll < 0 || c.Quiet < 0 {
		return errors.New("times of a followed directory must not be negative")
	}
	if c.Poll == 0 {
		c.Poll = 200 * time.Millisecond
	}
	if c.Quiet == 0 {
		c.Quiet = 2 * time.Second
	}
	if c.Event == nil {
		c.Event = func(Event) {}
	}
	return nil
}

// Dir is a Source that follows the changelog files of a data directory:
// changelog.N.mfs of a master, changelog_ml.N.mfs and changelog_ml_back.N.mfs
// of a metalogger. A file is known by its inode, not by its name, so an open
// one is read to its end whatever rotation makes of it.
//
// Next is for one goroutine; Drain may be called from any.
type Dir struct {
	cfg     DirConfig
	m       *merger
	tails   []*tail           // files that are open, in the order of m.cursors
	later   map[fileID]*found // files that begin after the entry wanted
	done    map[fileID]doneTo // files that end before it
	watch   *fsnotify.Watcher // nil: this file system tells nothing, poll
	started bool              // the first look has been made
	stale   bool              // the directory has to be looked at again
	looked  time.Time         // when it was
	hole    time.Time         // since when entries are missing; zero: they are not
	retry   chan struct{}     // Drain was called
	verify  bool              // Position.Last has not been compared yet
	stopped bool              // the master was, or may have been before this began
	stored  copied            // runningBase as it was when its release was looked at
	drain   atomic.Bool
	batch   batcher
	err     error
}

// tail is an open file.
type tail struct {
	*lines
	file    *os.File
	id      fileID
	first   meta.Version // 0: nothing is written yet
	limit   meta.Version // entries from it on are of a history that was given up; 0: none are
	rotated bool         // its name was no longer that of a current file at the last look
}

// peek is lines.peek without what is of no use any more.
func (t *tail) peek() (Entry, bool, error) {
	e, ok, err := t.lines.peek()
	if t.limit != 0 && e.Version >= t.limit {
		return Entry{}, false, nil
	}
	return e, ok, err
}

// found is a file seen in the directory.
type found struct {
	id    fileID
	name  string // without directory
	size  int64
	first meta.Version
}

// doneTo tells at which size a file was found to end before the entry wanted,
// and with which version it begins.
type doneTo struct {
	size  int64
	first meta.Version
}

// NewDir prepares following from a position. No file is read before Next.
func NewDir(cfg DirConfig, at Position) (*Dir, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if at.Next == 0 {
		return nil, errors.New("following a directory needs the version of the first entry wanted")
	}
	if st, err := os.Stat(cfg.Path); err != nil {
		return nil, err
	} else if !st.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", cfg.Path)
	}
	d := &Dir{cfg: cfg, m: newMerger(at.Next), stale: true, retry: make(chan struct{}, 1),
		later: map[fileID]*found{}, done: map[fileID]doneTo{}}
	if at.Last != nil {
		d.verify, d.stopped = true, true
		d.m.know(at.Last)
	}
	if w, err := fsnotify.NewWatcher(); err == nil {
		if err := w.Add(cfg.Path); err == nil {
			d.watch = w
		} else {
			w.Close()
		}
	}
	return d, nil
}

// Drain tells that the primary is dead: Next returns what there is and then
// io.EOF. Torn then says what a crash left of last lines.
func (d *Dir) Drain() {
	d.drain.Store(true)
	select {
	case d.retry <- struct{}{}:
	default:
	}
}

// Torn returns the unfinished last lines of the files that are open. Its
// caller must be Next's.
func (d *Dir) Torn() []TornLine {
	var torn []TornLine
	for _, t := range d.tails {
		if offset, text := t.rest(); !t.ahead && len(text) > 0 {
			torn = append(torn, TornLine{Name: t.name, Offset: offset, Text: bytes.Clone(text)})
		}
	}
	return torn
}

// Base returns the newest whole metadata file of the directory. It returns an
// error wrapping os.ErrNotExist when there is none, and ErrMetaID when files
// of different clusters lie there.
func (d *Dir) Base() (Base, error) { return NewestBase(d.cfg.Path) }

// currentBases are the metadata files that a master loads and stores, and a
// metalogger's.
var currentBases = map[string]bool{"metadata.mfs": true, "metadata.mfs.back": true, "metadata_ml.mfs.back": true}

// NewestBase returns the whole metadata file with the highest version in a
// directory, as (*Dir).Base does. Other files than a master would load are taken
// if there is none of those only: what was put aside when a master was restored
// from an older state may be newer, but belongs to a history that was given up.
func NewestBase(dir string) (Base, error) {
	return newestBase(dir, func(string) bool { return true })
}

// BaseBefore returns the whole metadata file of a directory with the highest
// version up to at.
func BaseBefore(dir string, at meta.Version) (Base, error) {
	return newestBase(dir, func(path string) bool {
		b, err := ReadBase(path)
		return err == nil && b.Version <= at
	})
}

// newestBase is NewestBase among the files that may be read.
func newestBase(dir string, may func(path string) bool) (Base, error) {
	names, err := filepath.Glob(filepath.Join(escapeGlob(dir), "metadata*.mfs*"))
	if err != nil {
		return Base{}, err
	}
	var best Base
	var bad []error
	current := func(path string) bool { return currentBases[filepath.Base(path)] }
	for _, name := range names {
		if !may(name) {
			continue
		}
		b, err := ReadBase(name)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		if b.MetaID != 0 && best.MetaID != 0 && b.MetaID != best.MetaID {
			return Base{}, fmt.Errorf("%w: %s has %016X, %s has %016X; remove the one that does not belong here",
				ErrMetaID, best.Path, best.MetaID, b.Path, b.MetaID)
		}
		if best.Path == "" || current(name) && !current(best.Path) ||
			current(name) == current(best.Path) && b.Version > best.Version {
			best = b
		}
	}
	if best.Path == "" {
		return Base{}, errors.Join(append(bad, fmt.Errorf("no metadata file in %s: %w", dir, os.ErrNotExist))...)
	}
	return best, nil
}

func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// Next returns the next entries, or waits for them.
func (d *Dir) Next(ctx context.Context) (Batch, error) {
	for d.err == nil {
		if err := ctx.Err(); err != nil {
			return Batch{}, err
		}
		draining := d.drain.Load() // before looking: then what was written before Drain is seen
		ahead, changed, err := d.read()
		if len(d.batch.entries) > 0 {
			d.err, d.hole = err, time.Time{} // the error is for the next call
			d.checkVerified()
			return Batch{Entries: d.batch.entries, Received: time.Now()}, nil
		}
		if ahead == 0 && d.m.until == 0 {
			d.hole = time.Time{}
		}
		ended := d.restarted()
		if up := d.upgraded(); up != nil {
			ended = up
		}
		switch {
		case err != nil:
			d.err = err
		case changed:
		case ended != nil:
			d.err = ended
		case draining && ahead == 0:
			d.err = io.EOF
		case ahead != 0 && d.isGap(draining):
			d.err = d.gap(ahead)
		default:
			if err := d.wait(ctx); err != nil {
				return Batch{}, err
			}
		}
	}
	return Batch{}, d.err
}

// read collects a batch. When the open files have nothing, it looks at the
// directory; changed then tells that the set of files to read is another one.
func (d *Dir) read() (ahead meta.Version, changed bool, err error) {
	if d.started {
		ahead, err = d.m.collect(&d.batch)
		if err != nil || len(d.batch.entries) > 0 {
			return ahead, false, err
		}
	}
	if !d.stale && ahead == 0 && time.Since(d.looked) < d.cfg.Poll && !d.drain.Load() {
		return 0, false, nil
	}
	changed, err = d.look()
	for _, f := range d.later {
		if ahead == 0 || f.first < ahead {
			ahead = f.first
		}
	}
	return ahead, changed, err
}

// checkVerified reports once, when the first entries are there, that the entry
// before them was nowhere to be found.
func (d *Dir) checkVerified() {
	if d.verify && !d.m.verified {
		d.cfg.Event(Event{Kind: Unverified, Version: d.batch.entries[0].Version, Text: d.cfg.Path})
	}
	d.verify = false
}

// isGap tells whether a hole between entries has lasted. While the primary
// renames its files, one may be missed by a look at the directory.
func (d *Dir) isGap(draining bool) bool {
	if d.hole.IsZero() {
		d.hole = time.Now()
	}
	return draining && time.Since(d.hole) > d.cfg.Quiet/10 || time.Since(d.hole) > d.cfg.Quiet
}

func (d *Dir) gap(ahead meta.Version) error {
	gap := &GapError{Want: d.m.want, Have: ahead, Source: d.cfg.Path}
	if torn := d.Torn(); len(torn) > 0 {
		gap.Reason = torn[0].Error()
	}
	return gap
}

// wait returns when something may have changed.
func (d *Dir) wait(ctx context.Context) error {
	poll := time.NewTimer(d.cfg.Poll)
	defer poll.Stop()
	var events chan fsnotify.Event
	var errs chan error
	if d.watch != nil {
		events, errs = d.watch.Events, d.watch.Errors
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-d.retry:
		d.stale = true
	case <-poll.C:
	case e := <-events:
		if !e.Has(fsnotify.Write) {
			d.stale = true
		}
		if filepath.Base(e.Name) == stoppedBase {
			d.stopped = true
		}
	case <-errs: // events were lost
		d.stale = true
	}
	return nil
}

// Close closes the files and stops watching.
func (d *Dir) Close() error {
	var errs []error
	for _, t := range d.tails {
		errs = append(errs, t.file.Close())
	}
	d.tails, d.m.cursors = nil, nil
	if d.watch != nil {
		errs = append(errs, d.watch.Close())
		d.watch = nil
	}
	if d.err == nil {
		d.err = os.ErrClosed
	}
	return errors.Join(errs...)
}
