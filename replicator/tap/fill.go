package tap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// fillTries is how often files that do not fit together are fetched: they may
// have been rotated meanwhile, or not have been written to the end.
const fillTries = 5

// storedEvery is how often to look whether a primary without changelogs to
// download has stored its metadata.
const storedEvery = 10 * time.Second

// filler fetches the primary's changelog files, which were opened with its
// metadata file, until they and what is held have all entries from next on,
// and queues them.
type filler struct {
	*session
	next meta.Version
	last []byte      // text of entry next-1, which the files must have; nil: not known
	head *remoteFile // the metadata file opened last
	base *Base       // of a bootstrap: next is its version; else nil
	run  fileRun
}

func (f *filler) fill(ctx context.Context) error {
	defer f.run.close()
	if err := f.awaitEntry(ctx); err != nil {
		return err
	}
	for try := 1; ; try++ {
		if err := f.fetchChangelogs(ctx); err != nil {
			return err
		}
		end, endText, err := f.fits()
		if err == nil {
			return f.release(end, endText)
		}
		if errors.Is(err, ErrGap) && f.live.noLogs && f.silent && f.base != nil {
			try = 0 // the next metadata file that it stores will fit what is held
			if err := sleep(ctx, storedEvery); err != nil {
				return err
			}
			if err := f.reopen(ctx); err != nil {
				return err
			}
			continue
		}
		if try == fillTries || !errors.Is(err, ErrGap) && !errors.Is(err, errBehind) {
			return f.final(err)
		}
		f.live.cfg.Event(Event{Kind: Retrying, Text: f.live.cfg.Address, Err: err})
		if err := sleep(ctx, f.live.cfg.MinBackoff<<try); err != nil {
			return err
		}
		if err := f.reopen(ctx); err != nil {
			return err
		}
	}
}

// awaitEntry waits for an entry if the primary has no changelogs to download:
// nothing else shows at which version it is.
func (f *filler) awaitEntry(ctx context.Context) error {
	for f.silent && f.live.noLogs {
		if first, _ := f.goal.q.heldRange(); first != 0 {
			return nil
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// errRejoin ends a connection that has nothing to show that the primary wrote
// all it had to its files. The next one, which asks for what follows them, will.
var errRejoin = errors.New("connecting again to get what was not written to the files yet")

// release queues what was found. When the primary's metadata file is newer than
// what is known it was restarted, or nobody listened for longer than it keeps
// entries in memory, which cannot be told apart.
func (f *filler) release(end meta.Version, endText []byte) error {
	if v := f.head.head.Version; f.live.cfg.Restarts && f.base == nil && f.last != nil && v >= f.next {
		f.goal.q.end(f.run.take(f.next, min(v, end)), min(v, end))
		if end < v {
			return &GapError{Want: end, Have: v, Source: f.live.cfg.Address, Reason: lostAtEnd}
		}
		return &RestartedError{Version: v, Source: f.live.cfg.Address}
	}
	first, _ := f.goal.q.heldRange()
	if err := f.goal.q.release(f.run.take(f.next, end), end, endText); err != nil {
		return err
	}
	if first == 0 && (f.base != nil || end > f.next) {
		return errRejoin
	}
	return nil
}

// reopen opens the primary's files as they are now. A bootstrap goes over to a
// newer base if there is one.
func (f *filler) reopen(ctx context.Context) (err error) {
	if f.head, err = f.openBase(ctx); err != nil {
		return err
	}
	if f.base != nil && !f.head.missing && f.head.head.Version != f.base.Version {
		*f.base, err = f.session.base(ctx, f.head)
		f.next = f.base.Version
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// need is the first entry that must be found.
func (f *filler) need() meta.Version {
	if f.last != nil {
		return f.next - 1
	}
	return f.next
}

// fetchChangelogs fetches changelog.0.mfs, and changelog.1.mfs unless the
// former reaches back far enough.
func (f *filler) fetchChangelogs(ctx context.Context) error {
	for _, file := range []wire.File{wire.FileChangelog0, wire.FileChangelog1} {
		remote, err := f.start(ctx, file)
		if err != nil {
			return err
		}
		if remote.missing || remote.size == 0 {
			continue
		}
		out, err := os.CreateTemp(f.live.cfg.Dir, "changelog.*.part")
		if err != nil {
			return local(err)
		}
		f.run.files = append(f.run.files, out)
		if err := f.fetch(ctx, remote, out, 0, func(uint64) {}); err != nil {
			return err
		}
		if err := f.end(ctx); err != nil {
			return err
		}
		first, err := firstVersion(out)
		if err != nil {
			return local(err)
		}
		if first != 0 && first <= f.need() {
			return nil
		}
	}
	return nil
}

// errBehind says that the primary's files end before an entry known.
var errBehind = errors.New("the primary's changelog files end too early")

// final makes of errBehind what it is when it lasts.
func (f *filler) final(err error) error {
	if !errors.Is(err, errBehind) {
		return err
	}
	return &DivergedError{Version: f.next - 1, Known: f.last, Source: f.live.cfg.Address,
		Reason: err.Error() + ": it was restored from an older state, or lost entries in a crash"}
}

// fits checks that the files and then what is held have all entries needed.
// It returns the version after the last entry in the files, or next if they
// have none of use, and the text of the entry before that.
func (f *filler) fits() (end meta.Version, endText []byte, err error) {
	last, err := f.run.lastVersion()
	if err != nil {
		return 0, nil, err
	}
	end, endText = max(last+1, f.next), append(endText, f.last...)
	m := newMerger(f.need(), append(f.run.cursors(), f.goal.q.heldCursor())...)
	for {
		e, ok, ahead, err := m.next()
		if err != nil {
			return 0, nil, err
		}
		if !ok && ahead != 0 {
			return 0, nil, f.gap(m.want, ahead)
		}
		if !ok {
			break
		}
		if e.Version+1 == f.next && string(e.Text) != string(f.last) {
			return 0, nil, &DivergedError{Version: e.Version, Known: f.last, Seen: append([]byte(nil), e.Text...), Source: f.live.cfg.Address}
		}
		if e.Version+1 == end {
			endText = append(endText[:0], e.Text...)
		}
	}
	if f.base == nil && m.want <= f.next && (f.last == nil || m.want < f.next) {
		return end, endText, f.unseen(last)
	}
	return end, endText, nil
}

func (f *filler) gap(want, have meta.Version) error {
	reason := "they are neither in its memory nor in its changelog.0.mfs and changelog.1.mfs"
	if f.base != nil {
		reason = "its changelog.0.mfs and changelog.1.mfs do not reach back to its metadata.mfs.back; wait for its next metadata dump, or make it dump more often (METADATA_SAVE_FREQ)"
	}
	return &GapError{Want: want, Have: have, Source: f.live.cfg.Address, Reason: reason}
}

// unseen decides what it means that the primary shows nothing from the entry
// known last on; last is the highest version in its changelog files, 0 if they
// are empty. It returns nil if the primary seems to be at version next.
func (f *filler) unseen(last meta.Version) error {
	at := last + 1
	if last == 0 {
		if f.head.missing {
			return f.gap(f.next, 0)
		}
		at = f.head.head.Version
	}
	switch {
	case at < f.next:
		return fmt.Errorf("%w: at version %d, entry %d is known", errBehind, at, f.next-1)
	case at > f.next:
		return f.gap(f.next, at)
	}
	if f.next > 1 {
		f.live.cfg.Event(Event{Kind: Unverified, Version: f.next, Text: f.live.cfg.Address})
	}
	return nil
}

// fileRun is what lies between the entries known and those held, in files of
// its own.
type fileRun struct {
	files    []*os.File
	m        *merger
	end      meta.Version // after the last entry
	batch    batcher
	received time.Time
}

func (r *fileRun) cursors() []cursor {
	var cs []cursor
	for _, f := range r.files {
		cs = append(cs, newLines(f.Name(), f))
	}
	return cs
}

// lastVersion returns the highest version in the files.
func (r *fileRun) lastVersion() (meta.Version, error) {
	var highest meta.Version
	for _, f := range r.files {
		v, err := lastVersion(f)
		if err != nil {
			return 0, local(err)
		}
		highest = max(highest, v)
	}
	return highest, nil
}

// take moves the files to a new run, which yields entries from..end-1. It
// returns nil when there are none.
func (r *fileRun) take(from, end meta.Version) *fileRun {
	if from == end {
		return nil
	}
	taken := &fileRun{files: r.files, end: end, received: time.Now()}
	taken.m = newMerger(from, r.cursors()...)
	r.files = nil
	return taken
}

// next returns the next entries, or io.EOF.
func (r *fileRun) next() (Batch, error) {
	if r.m.want >= r.end {
		return Batch{}, io.EOF
	}
	left := r.end - r.m.want
	ahead, err := r.m.collect(&r.batch)
	r.batch.entries = r.batch.entries[:min(uint64(len(r.batch.entries)), uint64(left))]
	if len(r.batch.entries) > 0 {
		return Batch{Entries: r.batch.entries, Received: r.received}, nil
	}
	if err == nil {
		err = &GapError{Want: r.m.want, Have: ahead, Source: r.files[0].Name(), Reason: "the downloaded file was changed"}
	}
	return Batch{}, err
}

// close removes the files.
func (r *fileRun) close() {
	for _, f := range r.files {
		f.Close()
		os.Remove(f.Name())
	}
	r.files = nil
}
