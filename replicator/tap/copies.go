package tap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mfsstandby/changelog/meta"
)

// CopiesConfig says how to follow a directory of copies.
type CopiesConfig struct {
	Path   string        // where metadata and changelog files are copied to
	Poll   time.Duration // how often to look; default 1 s
	Settle time.Duration // for how long a file must not have changed to be read; default 2 s
	Quiet  time.Duration // for how long nothing must have changed for a hole to be a gap; default 30 s
	Event  func(Event)   // may be nil; called from Next

	// Release is the family of the primary as it is known, 0 if it is not.
	Release meta.Release
}

// Validate fills in defaults.
func (c *CopiesConfig) Validate() error {
	if c.Path == "" {
		return errors.New("directory of copies is not set")
	}
	if c.Poll < 0 || c.Settle < 0 || c.Quiet < 0 {
		return errors.New("times of a directory of copies must not be negative")
	}
	setDefault(&c.Poll, time.Second)
	setDefault(&c.Settle, 2*time.Second)
	setDefault(&c.Quiet, 30*time.Second)
	if c.Event == nil {
		c.Event = func(Event) {}
	}
	return nil
}

// Copies is a Source of a directory that somebody fills with copies of a
// primary's metadata and changelog files, time and again, as cron and scp do:
// the way of releases before the metalogger (1.6.5).
//
// Names mean nothing here but the kind of the file: a copy may replace another
// one in place or under a new inode, grow, be behind, or hold what others hold
// too. Every entry is taken once, in order, from whichever file has it, and all
// copies of an entry must be the same. A file is read when it has not changed for
// a while, so that half a copy is not; what follows its last newline never.
//
// A hole is a gap when there is a newer metadata file to begin anew from and
// nothing has been copied for a while; before that, the files that have the
// missing entries may be still to come.
type Copies struct {
	cfg     CopiesConfig
	m       *merger
	seen    map[string]copied // files of the last look
	looked  time.Time         // when that was
	changed time.Time         // when a file was other than at the look before
	open    []*os.File        // of m.cursors
	was     []copied          // what they were when they were opened
	opened  bool              // since the last change
	batch   batcher
	err     error
}

// copied is a file as it was last seen.
type copied struct {
	id    fileID
	size  int64
	mtime time.Time
	since time.Time // when it was first seen like that
}

// NewCopies prepares following from a position. No file is read before Next.
func NewCopies(cfg CopiesConfig, at Position) (*Copies, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if at.Next == 0 {
		return nil, errors.New("following copies needs the version of the first entry wanted")
	}
	if st, err := os.Stat(cfg.Path); err != nil {
		return nil, err
	} else if !st.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", cfg.Path)
	}
	c := &Copies{cfg: cfg, m: newMerger(at.Next), seen: map[string]copied{}}
	if at.Last != nil {
		c.m.know(at.Last)
	}
	return c, nil
}

// Next returns the next entries, or waits for them.
func (c *Copies) Next(ctx context.Context) (Batch, error) {
	for c.err == nil {
		if err := ctx.Err(); err != nil {
			return Batch{}, err
		}
		from := c.m.want
		ahead, err := c.m.collect(&c.batch)
		if (len(c.batch.entries) > 0 || err != nil) && c.touched() {
			c.m.want = from // what was read may be a mixture of two copies
			c.closeFiles()
			c.opened = false
			c.batch.reset()
			err = nil
		}
		if len(c.batch.entries) > 0 {
			return Batch{Entries: c.batch.entries, Received: time.Now()}, nil
		}
		if err != nil && !c.unsettled() { // what changes meanwhile may be half a copy
			c.err = err
			continue
		}
		if c.look(); !c.opened {
			c.err = c.reopen()
			continue
		}
		if c.err = c.newBase(ahead); c.err != nil {
			continue
		}
		select {
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		case <-time.After(c.cfg.Poll):
		}
	}
	return Batch{}, c.err
}

// touched tells whether a file was written while it was read.
func (c *Copies) touched() bool {
	for i, f := range c.open {
		st, err := f.Stat()
		if err != nil || st.Size() != c.was[i].size || !st.ModTime().Equal(c.was[i].mtime) {
			return true
		}
	}
	return false
}

// unsettled tells whether the directory has changed since the files were opened.
func (c *Copies) unsettled() bool {
	c.look()
	return !c.opened
}

// look notes which files there are, and whether some may be read now that were
// not before.
func (c *Copies) look() {
	now := time.Now()
	names, err := os.ReadDir(c.cfg.Path)
	if err != nil {
		c.err = err
		return
	}
	seen := make(map[string]copied, len(names))
	for _, e := range names {
		if ok, _ := changelogName(e.Name()); !ok && !strings.HasPrefix(e.Name(), "metadata") {
			continue
		}
		st, err := os.Stat(filepath.Join(c.cfg.Path, e.Name()))
		if err != nil || !st.Mode().IsRegular() {
			continue // renamed meanwhile, or none of ours
		}
		is := copied{id: idOf(st), size: st.Size(), mtime: st.ModTime(), since: now}
		was, ok := c.seen[e.Name()]
		if ok && was.id == is.id && was.size == is.size && was.mtime.Equal(is.mtime) {
			is.since = was.since
			if c.settled(&is, now) && !c.settled(&was, c.looked) {
				c.opened = false
			}
		} else {
			c.changed = now
			if c.settled(&is, now) {
				c.opened = false
			}
		}
		seen[e.Name()] = is
	}
	c.seen, c.looked = seen, now
}

// settled tells whether a file has not changed for so long that it is whole. A
// file that nobody has touched for that long before it was seen is, too.
func (c *Copies) settled(f *copied, now time.Time) bool {
	return now.Sub(f.since) >= c.cfg.Settle || f.since.Sub(f.mtime) >= c.cfg.Settle
}

// reopen opens all files that may have the entry wanted and are settled.
func (c *Copies) reopen() error {
	c.closeFiles()
	for name, f := range c.seen {
		if ok, _ := changelogName(name); !ok || !c.settled(&f, c.looked) {
			continue
		}
		path := filepath.Join(c.cfg.Path, name)
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		last, err := lastVersion(file)
		if err != nil {
			file.Close()
			return fmt.Errorf("reading %s: %w", path, err)
		}
		// One entry more than wanted, so that it can be compared with what is known.
		if last+1 < c.m.want {
			file.Close()
			continue
		}
		c.open, c.was = append(c.open, file), append(c.was, f)
		c.m.cursors = append(c.m.cursors, newLines(path, sized{file, f.size}))
	}
	c.opened = true
	return nil
}

// sized is a file up to the size it had when it was found to be whole.
type sized struct {
	file *os.File
	size int64
}

func (s sized) ReadAt(p []byte, off int64) (int, error) {
	if left := max(s.size-off, 0); int64(len(p)) > left {
		n, err := s.file.ReadAt(p[:left], off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	return s.file.ReadAt(p, off)
}

// newBase returns an error when following can only go on from the newest
// metadata file: the primary is of another release since, or entries are missing.
func (c *Copies) newBase(ahead meta.Version) error {
	b, err := c.Base()
	if err != nil {
		return nil // none yet, or one that does not fit together: no help
	}
	if c.cfg.Release != 0 && b.Release > c.cfg.Release {
		return &UpgradedError{From: c.cfg.Release, To: b.Release, Source: b.Path}
	}
	if b.Version <= c.m.want || time.Since(c.changed) < c.cfg.Quiet {
		return nil
	}
	have := b.Version
	if ahead != 0 && ahead < have {
		have = ahead
	}
	return &GapError{Want: c.m.want, Have: have, Source: c.cfg.Path,
		Reason: fmt.Sprintf("%s goes on at version %d", b.Path, b.Version)}
}

// Base returns the newest whole metadata file of the directory, as
// (*Dir).Base does, but none that may be half a copy.
func (c *Copies) Base() (Base, error) {
	return newestBase(c.cfg.Path, func(path string) bool {
		f, ok := c.seen[filepath.Base(path)]
		return ok && c.settled(&f, c.looked)
	})
}

// CopiedBase waits until a directory of copies has a whole metadata file that is
// settled.
func CopiedBase(ctx context.Context, cfg CopiesConfig) (Base, error) {
	c, err := NewCopies(cfg, Position{Next: 1})
	if err != nil {
		return Base{}, err
	}
	defer c.Close()
	for deadline := time.Now().Add(2*c.cfg.Settle + c.cfg.Poll); ; {
		if c.look(); c.err != nil {
			return Base{}, c.err
		}
		b, err := c.Base()
		if err == nil || time.Now().After(deadline) {
			return b, err
		}
		select {
		case <-ctx.Done():
			return Base{}, ctx.Err()
		case <-time.After(min(c.cfg.Poll, c.cfg.Settle)):
		}
	}
}

func (c *Copies) closeFiles() {
	for _, f := range c.open {
		f.Close()
	}
	c.open, c.was, c.m.cursors = nil, nil, nil
}

// Close closes the files.
func (c *Copies) Close() error {
	c.closeFiles()
	if c.err == nil {
		c.err = os.ErrClosed
	}
	return nil
}
