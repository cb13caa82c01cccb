package tap

import (
	"os"
	"path/filepath"
	"time"
)

// A master that is stopped leaves stoppedBase, and renames it to runningBase once
// it has loaded it. What it writes then goes to a new changelog file.
const (
	stoppedBase = "metadata.mfs"
	runningBase = "metadata.mfs.back"
)

// lostAtEnd is why entries before the version of a loaded metadata file are in no
// changelog.
const lostAtEnd = "the primary has loaded its metadata at the latter version: the changelog files between are gone, or it lost lines when it was stopped"

// checkRestart looks whether the master has loaded metadata at the version wanted
// or a later one since, and bounds what is yielded by that. It has to be called
// after the directory was listed: a file written after the restart is not read
// then.
func (d *Dir) checkRestart() {
	if !d.cfg.Restarts || d.m.until != 0 {
		return
	}
	if _, err := os.Stat(filepath.Join(d.cfg.Path, stoppedBase)); err == nil {
		d.stopped = true
		return
	}
	if !d.stopped {
		return
	}
	b, err := ReadBase(filepath.Join(d.cfg.Path, runningBase))
	switch {
	case err != nil: // not renamed yet
	case b.Version < d.m.want:
		d.stopped = false // it was not stopped while this followed, or went back: other checks tell
	default:
		d.m.until = b.Version
	}
}

// upgraded returns an *UpgradedError once the primary has stored metadata as a
// later release does.
func (d *Dir) upgraded() error {
	if d.cfg.Release == 0 {
		return nil
	}
	path := filepath.Join(d.cfg.Path, runningBase)
	st, err := os.Stat(path)
	if err != nil {
		return nil // none at present
	}
	is := copied{id: idOf(st), size: st.Size(), mtime: st.ModTime()}
	if is == d.stored {
		return nil
	}
	b, err := ReadBase(path)
	if err != nil {
		return nil // not whole yet
	}
	if d.stored = is; b.Release <= d.cfg.Release {
		return nil
	}
	return &UpgradedError{From: d.cfg.Release, To: b.Release, Source: path}
}

// restarted returns a *RestartedError when all entries before a restart were
// yielded, and a *GapError when the last of them do not come: a master may lose
// lines at its end.
func (d *Dir) restarted() error {
	switch {
	case d.m.until == 0:
		return nil
	case d.m.want < d.m.until:
		if d.hole.IsZero() {
			d.hole = time.Now()
		}
		if time.Since(d.hole) < d.cfg.Quiet {
			return nil
		}
		return &GapError{Want: d.m.want, Have: d.m.until, Source: d.cfg.Path, Reason: lostAtEnd}
	}
	err := &RestartedError{Version: d.m.until, Source: d.cfg.Path}
	d.cfg.Event(Event{Kind: Restarted, Text: d.cfg.Path, Err: err})
	return err
}
