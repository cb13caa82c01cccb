package promote

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby/history"
	"mfsstandby/standby/image"
)

// A delayed standby can lead from a version that the stream has left behind, so
// that a mistake is taken back. Between fence and flip, instead of drain:
//
//	back    apply what comes before that version, and hold the image there
//	gone    find the files of which the chunkservers may not have the data any more
//	rebase  store the image as a base image, from which the stream continues
//
// Until rebase is stored nothing is given up. What is then given up stays in the
// stream, as the older epoch that it is, until its base images are trimmed.

// back is a promotion to a version before the end of the stream.
type back struct {
	to    meta.Version
	end   meta.Version // of the stream, when it was looked for
	epoch uint64       // whose entries are given up
	gone  int          // files, see history.Gone
	list  string       // file that lists them; "": there are none
}

// findPoint finds the version to which Options.At leads.
func (r *run) findPoint(ctx context.Context) (string, error) {
	p, err := history.ParsePoint(r.opt.At, time.Now())
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrRefused, err)
	}
	st := r.cfg.Standby.Status()
	switch {
	case p.IsZero():
		return "now: all that the stream has is applied", nil
	case st.Delay == 0:
		return "", fmt.Errorf("%w: this standby is not delayed (--delay): its image is at version %d already; \"mfsstandby restore --at\" makes the metadata of an earlier one", ErrRefused, st.Image)
	case r.opt.HandOver != "" || r.opt.ChangelogDir != "":
		return "", fmt.Errorf("%w: what the primary or its files have comes later than %v: promote without them, and hand over afterwards", ErrRefused, p)
	}
	place, err := history.Locate(ctx, history.OfStream(r.cfg.Standby.Cluster()), p, nil)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if st = r.cfg.Standby.Status(); place.Version < st.Image {
		return "", fmt.Errorf("%w: %v is version %d, and the image is at version %d already; \"mfsstandby restore --at\" makes the metadata of an earlier one", ErrRefused, p, place.Version, st.Image)
	}
	r.back = &back{to: place.Version, end: max(st.Stream, place.Version), epoch: st.Epoch}
	return fmt.Sprintf("%v is version %d; %d entries behind it are given up; \"mfsstandby restore --at %d --gone FILE\" tells which files may lose data by that",
		p, place.Version, r.back.end-place.Version, place.Version), nil
}

// goBack makes the stream end where the image does.
func (r *run) goBack(ctx context.Context) error {
	r.cfg.Standby.Limit(r.back.to)
	defer r.cfg.Standby.Limit(0) // the image is held then, or follows as before
	for _, s := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{{"back", r.drainTo}, {"gone", r.findGone}, {"rebase", r.rebase}} {
		if err := r.step(s.name, func() (string, error) { return s.do(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// drainTo applies what comes before the version, and holds the image.
func (r *run) drainTo(ctx context.Context) (string, error) {
	from := r.cfg.Standby.Status().Image
	r.back.end = r.writer.End().Version
	r.cfg.Standby.Hurry(r.back.to)
	err := r.cfg.Standby.Reach(ctx, r.back.to, nil)
	if err == nil {
		r.release, err = r.cfg.Standby.Hold(ctx)
	}
	if err != nil {
		return "", err
	}
	img, err := r.cfg.Standby.Image()
	if err != nil {
		return "", err
	}
	pos := img.Position()
	if pos.Version != r.back.to { // some were on their way when it was limited
		return "", fmt.Errorf("the image has got past version %d, to %d, meanwhile; \"mfsstandby restore --at\" makes the metadata of an earlier version", r.back.to, pos.Version)
	}
	r.back.epoch = pos.Epoch
	return fmt.Sprintf("%d entries were waiting before version %d, at which the image is", r.back.to-min(from, r.back.to), r.back.to), nil
}

// findGone lists files of which data may be lost, in the data directory.
func (r *run) findGone(ctx context.Context) (text string, err error) {
	v, err := r.cfg.Standby.View()
	if err != nil {
		return "", err
	}
	defer v.Close()
	pos := v.Position()
	from := stream.Position{Version: pos.Version, Epoch: stream.Epoch(pos.Epoch), Seq: stream.Seq(pos.Seq), Chain: stream.ChainOf(pos.Chain)}
	path := filepath.Join(r.cfg.Dir, fmt.Sprintf("gone-%d.jsonl", r.back.to))
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	out := bufio.NewWriter(f)
	enc, deleted := json.NewEncoder(out), 0
	err = history.FindGone(ctx, history.OfStream(r.cfg.Standby.Cluster()), v.State(), from, nil, func(g history.Gone) error {
		r.back.gone++
		if g.Deleted > 0 {
			deleted++
		}
		return enc.Encode(g)
	})
	err = errors.Join(err, out.Flush(), f.Sync(), f.Close())
	switch {
	case err != nil:
		return "", err
	case r.back.gone == 0:
		return "no chunk was deleted or written since", os.Remove(path)
	}
	r.back.list = path
	return fmt.Sprintf("of %d files chunks were deleted since, of %d only written: their data may be lost, or newer; %s lists them", deleted, r.back.gone-deleted, path), nil
}

// rebase lets the stream continue from the image.
func (r *run) rebase(ctx context.Context) (string, error) {
	img, err := r.cfg.Standby.Image()
	if err != nil {
		return "", err
	}
	if r.back.to == r.writer.End().Version {
		return "nothing is given up: it is the end of the stream", nil
	}
	if _, err := r.cfg.Standby.StoreBase(ctx); err != nil {
		return "", err
	}
	why := fmt.Sprintf("promoted at version %d: entries up to %d are given up", r.back.to, r.back.end)
	if r.opt.Reason != "" {
		why += ": " + r.opt.Reason
	}
	if err := r.writer.Rebase(ctx, r.back.to, why, time.Now()); err != nil {
		return "", err
	}
	end := streamWriter{r.writer}.End()
	err = img.Update(func(_ *meta.State, pos image.Position) (image.Position, error) {
		pos.Epoch, pos.Seq, pos.Chain = end.Epoch, end.Seq, end.Chain
		return pos, nil
	})
	return fmt.Sprintf("epoch %d continues from version %d; what is given up is still there with \"mfsstandby restore --epoch %d\", until base images of that time are trimmed",
		end.Epoch, end.Version, r.back.epoch), err
}
