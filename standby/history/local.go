package history

import (
	"context"
	"errors"
	"io"
	"path/filepath"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/spool"
	"mfsstandby/replicator/tap"
)

// Held is entries that a directory holds, ascending; a version may be missing.
type Held interface {
	// Next gives the next entries, io.EOF at the end. They are valid until the
	// next call.
	Next(ctx context.Context) ([]meta.RawEntry, error)
	Close() error
}

// HeldFiles reads the changelog files of a mfsmaster's data directory, or of a
// metalogger's. Half a line at the end, which a crash leaves, is not given.
func HeldFiles(dir string) (Held, error) {
	var paths []string
	for _, pattern := range []string{"changelog.*.mfs", "changelog_ml.*.mfs"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		paths = append(paths, found...)
	}
	if len(paths) == 0 {
		return nil, errors.New(dir + " holds no changelog files")
	}
	files, err := tap.OpenFiles(0, paths...)
	if err != nil {
		return nil, err
	}
	return &heldFiles{files: files, paths: paths}, nil
}

type heldFiles struct {
	files *tap.Files
	paths []string
}

func (h *heldFiles) Next(ctx context.Context) ([]meta.RawEntry, error) {
	for {
		b, err := h.files.Next(ctx)
		var gap *tap.GapError
		var torn *tap.TornLine
		switch {
		case err == nil:
			return b.Entries, nil
		case errors.As(err, &torn):
			return nil, io.EOF
		case !errors.As(err, &gap) || gap.Have <= gap.Want:
			return nil, err
		}
		files, err := tap.OpenFiles(gap.Have, h.paths...)
		if err != nil {
			return nil, err
		}
		h.files.Close()
		h.files = files
	}
}

func (h *heldFiles) Close() error { return h.files.Close() }

// HeldSource reads what a Source holds, as its history is now.
func HeldSource(src Source) Held { return &timeline{src: src} }

// timeline is the entries of a source that count now: what a rebase gave up is
// not among them.
type timeline struct {
	src    Source
	begun  bool
	ranges []Place // from their base image up to their version
	r      Reader
	epoch  uint64 // of the entries given last
}

// begin finds the ranges: from each base image to where a later one takes over.
func (t *timeline) begin(ctx context.Context) error {
	t.begun = true
	bases, err := t.src.Bases(ctx)
	if err != nil {
		return err
	}
	to := ^meta.Version(0)
	for i := len(bases) - 1; i >= 0; i-- {
		if from := bases[i].Version; from < to {
			t.ranges = append([]Place{{bases[i], to}}, t.ranges...)
			to = from
		}
	}
	return nil
}

func (t *timeline) Next(ctx context.Context) ([]meta.RawEntry, error) {
	if !t.begun {
		if err := t.begin(ctx); err != nil {
			return nil, err
		}
	}
	for len(t.ranges) > 0 {
		now := t.ranges[0]
		if t.r == nil {
			t.r = t.src.Reader(now.Base.Position())
		}
		b, err := t.r.Next(ctx)
		if errors.Is(err, io.EOF) || broken(err) {
			t.leave()
			continue
		}
		if err != nil {
			return nil, err
		}
		n := 0
		for n < len(b.Entries) && b.Entries[n].Version < now.Version {
			n++
		}
		if n < len(b.Entries) {
			t.leave()
		}
		if n > 0 {
			t.epoch = uint64(b.End.Epoch)
			return b.Entries[:n], nil
		}
	}
	return nil, io.EOF
}

func (t *timeline) leave() {
	t.r.Close()
	t.r, t.ranges = nil, t.ranges[1:]
}

func (t *timeline) Close() error {
	if t.r != nil {
		return t.r.Close()
	}
	return nil
}

// HeldSpool reads the spool of a tap that does not run.
func HeldSpool(dir string) (Held, error) {
	s, err := spool.Open(spool.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	pos, err := s.Position()
	if errors.Is(err, spool.ErrEmpty) {
		return &heldSpool{s: s}, nil
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	r, err := s.Read(pos.First.Next)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &heldSpool{s: s, r: r, at: pos.First.Next, end: pos.End}, nil
}

type heldSpool struct {
	s       *spool.Spool
	r       *spool.Reader
	at, end meta.Version
}

func (h *heldSpool) Next(ctx context.Context) ([]meta.RawEntry, error) {
	if h.at >= h.end {
		return nil, io.EOF
	}
	b, err := h.r.Next(ctx)
	h.at += meta.Version(len(b.Entries))
	return b.Entries, err
}

func (h *heldSpool) Close() error { return h.s.Close() }

// HeldBoth gives the entries of one, then those of another that come after.
func HeldBoth(a, b Held) Held { return &heldBoth{a: a, b: b} }

type heldBoth struct {
	a, b Held
	next meta.Version
	over bool // a has ended
}

func (h *heldBoth) Next(ctx context.Context) ([]meta.RawEntry, error) {
	for !h.over {
		entries, err := h.a.Next(ctx)
		if err == nil && len(entries) > 0 {
			h.next = entries[len(entries)-1].Version + 1
			return entries, nil
		}
		if !errors.Is(err, io.EOF) {
			return nil, err
		}
		h.over = true
	}
	for {
		entries, err := h.b.Next(ctx)
		if err != nil {
			return nil, err
		}
		for len(entries) > 0 && entries[0].Version < h.next {
			entries = entries[1:]
		}
		if len(entries) > 0 {
			return entries, nil
		}
	}
}

func (h *heldBoth) Close() error { return errors.Join(h.a.Close(), h.b.Close()) }
