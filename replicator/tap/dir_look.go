package tap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mfsstandby/changelog/meta"
)

// fileID is what a file is known by while names move.
type fileID struct{ dev, ino uint64 }

func idOf(st fs.FileInfo) fileID {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return fileID{uint64(sys.Dev), sys.Ino}
	}
	return fileID{}
}

// changelogName tells whether a file is one that masters and metaloggers
// replay, and whether it is the one being written.
func changelogName(name string) (ok, current bool) {
	number, isMFS := strings.CutSuffix(name, ".mfs")
	base, number, hasDot := strings.Cut(number, ".")
	if !isMFS || !hasDot || number == "" || strings.Trim(number, "0123456789") != "" {
		return false, false
	}
	switch base {
	case "changelog", "changelog_ml":
		return true, number == "0"
	case "changelog_ml_back": // a copy, complete when it gets this name
		return true, false
	}
	return false, false
}

// look reads the directory, opens the files that may have the entry wanted and
// closes those that are of no more use. It returns whether the open files are
// others than before.
func (d *Dir) look() (changed bool, err error) {
	files, err := d.list()
	if err != nil {
		return false, err
	}
	d.checkRestart()
	d.stale, d.looked = false, time.Now()
	names := make(map[fileID]string, len(files))
	clear(d.later)
	for _, f := range files {
		names[f.id] = f.name
		if i := d.tailOf(f.id); i >= 0 {
			if err := d.shrunk(d.tails[i], f); err != nil {
				return false, err
			}
			continue
		}
		if was, ok := d.done[f.id]; ok && was.size == f.size {
			continue
		}
		opened, err := d.consider(f)
		if err != nil {
			return false, err
		}
		changed = changed || opened
	}
	if err := d.supersede(files); err != nil {
		return false, err
	}
	d.retire(names)
	for id := range d.done {
		if _, ok := names[id]; !ok {
			delete(d.done, id)
		}
	}
	changed = changed || !d.started
	d.started = true
	return changed, nil
}

// list returns the changelog files of the directory.
func (d *Dir) list() ([]*found, error) {
	entries, err := os.ReadDir(d.cfg.Path)
	if err != nil {
		return nil, err
	}
	var files []*found
	for _, e := range entries {
		if ok, _ := changelogName(e.Name()); !ok {
			continue
		}
		st, err := os.Stat(filepath.Join(d.cfg.Path, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			d.stale = true // renamed meanwhile
			continue
		} else if err != nil {
			return nil, err
		}
		if st.Mode().IsRegular() {
			files = append(files, &found{id: idOf(st), name: e.Name(), size: st.Size()})
		}
	}
	return files, nil
}

func (d *Dir) tailOf(id fileID) int {
	return slices.IndexFunc(d.tails, func(t *tail) bool { return t.id == id })
}

// consider opens a file that is not open, if it may have the entry wanted;
// else it notes why not.
func (d *Dir) consider(f *found) (opened bool, err error) {
	path := filepath.Join(d.cfg.Path, f.name)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		d.stale = true
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer func() {
		if !opened {
			file.Close()
		}
	}()
	st, err := file.Stat()
	if err != nil {
		return false, err
	}
	f.id, f.size = idOf(st), st.Size() // the name may mean another file by now
	if d.tailOf(f.id) >= 0 {
		d.stale = true
		return false, nil
	}
	first, err := firstVersion(file)
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", path, err)
	}
	_, current := changelogName(f.name)
	if f.first = first; first > d.m.want {
		d.later[f.id] = f
		return false, nil
	}
	if !current {
		last, err := lastVersion(file)
		if err != nil {
			return false, fmt.Errorf("reading %s: %w", path, err)
		}
		// One entry more than wanted, so that it can be compared with what is known.
		if last+1 < d.m.want {
			d.done[f.id] = doneTo{st.Size(), first}
			return false, nil
		}
	} else if d.started && first != 0 && first < d.m.want && !d.m.knows(first) {
		return false, &DivergedError{Version: first, Source: path, Reason: fmt.Sprintf(
			"a new file begins with it although entry %d was read already: the primary was restored from an older state", d.m.want-1)}
	}
	t := &tail{lines: newLines(path, file), file: file, id: f.id, first: first}
	d.tails = append(d.tails, t)
	d.m.cursors = append(d.m.cursors, t)
	return true, nil
}

// shrunk starts a file over that became shorter than what was read of it. What
// it repeats must be what it had.
func (d *Dir) shrunk(t *tail, f *found) error {
	t.name = filepath.Join(d.cfg.Path, f.name)
	if f.size >= t.src.off {
		return nil
	}
	st, err := t.file.Stat()
	if err != nil {
		return err
	}
	if st.Size() < t.src.off {
		d.cfg.Event(Event{Kind: Truncated, Text: t.name, Version: d.m.want})
		t.restart()
	}
	return nil
}

// retire closes files that have been read to the end and were not written any
// more since the look before this one.
func (d *Dir) retire(names map[fileID]string) {
	kept := d.tails[:0]
	for _, t := range d.tails {
		name := names[t.id]
		_, current := changelogName(name)
		offset, torn := t.rest()
		ended := !t.ahead && len(torn) == 0 && t.last < d.m.want && t.src.off > 0
		superseded := t.limit != 0 && t.limit <= d.m.want
		if st, err := t.file.Stat(); superseded && err == nil {
			offset = st.Size()
		}
		if d.started && !current && t.rotated && (ended || superseded) {
			t.file.Close()
			d.done[t.id] = doneTo{offset, t.first}
			continue
		}
		t.rotated = !current
		kept = append(kept, t)
	}
	clear(d.tails[len(kept):])
	d.tails = kept
	d.m.cursors = d.m.cursors[:0]
	for _, t := range kept {
		d.m.cursors = append(d.m.cursors, t)
	}
}

// supersede limits the files of which a newer one begins before their end: the
// master was restored from an older state then, and what they have from there on
// is not its history any more. The lower a file's number, the newer it is.
func (d *Dir) supersede(files []*found) error {
	seen := map[fileID]bool{}
	for _, f := range files {
		if seen[f.id] {
			d.stale = true // its name changed while the directory was read
			return nil
		}
		seen[f.id] = true
	}
	slices.SortFunc(files, func(a, b *found) int { return masterNumber(a.name) - masterNumber(b.name) })
	var limit meta.Version
	for _, f := range files {
		if masterNumber(f.name) < 0 {
			continue
		}
		first := d.done[f.id].first
		if later, ok := d.later[f.id]; ok {
			if first = later.first; limit != 0 && first >= limit {
				delete(d.later, f.id)
			}
		}
		if i := d.tailOf(f.id); i >= 0 {
			if err := d.tails[i].bound(limit); err != nil {
				return err
			}
			first = d.tails[i].first
		}
		if first != 0 && (limit == 0 || first < limit) {
			limit = first
		}
	}
	return nil
}

// bound sets the file's limit, and its first version if it has got one.
func (t *tail) bound(limit meta.Version) (err error) {
	if limit != 0 && (t.limit == 0 || limit < t.limit) {
		t.limit = limit
	}
	if t.first == 0 {
		if t.first, err = firstVersion(t.file); err != nil {
			return fmt.Errorf("reading %s: %w", t.name, err)
		}
	}
	return nil
}

// masterNumber is the number in the name of a master's changelog file, -1 for
// other files.
func masterNumber(name string) int {
	number, ok := strings.CutPrefix(name, "changelog.")
	n, err := strconv.Atoi(strings.TrimSuffix(number, ".mfs"))
	if !ok || err != nil {
		return -1
	}
	return n
}
