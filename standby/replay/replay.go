// Package replay applies changelog files to an image, without a stream: what
// mfsmetarestore did. The image must not be open elsewhere.
//
// The commands replay, restore and verify call it.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/tap"
	"mfsstandby/standby/apply"
	"mfsstandby/standby/image"
)

// Options of Files; all are optional.
type Options struct {
	Until       meta.Version       // stop when the image is there; 0 means the end of the files
	CommitBytes int64              // see apply.Config
	Progress    func(bytes uint64) // called now and then with how much of the files was read
}

// Result tells what was applied.
type Result struct {
	From    meta.Version  // of the image before
	To      meta.Version  // of the image now
	Entries uint64        // To - From
	Took    time.Duration // commit included
	Torn    *tap.TornLine // half a line at the end, left behind by a crash; it was not applied
}

// Rate is in entries per second.
func (r *Result) Rate() float64 { return float64(r.Entries) / max(r.Took.Seconds(), 1e-9) }

// commitEvery is how much work a crash may cost: the files are there, and what
// is not committed is written but once.
const commitEvery = time.Minute

// ApplyConfig is how Files applies.
func ApplyConfig(commitBytes int64) apply.Config {
	return apply.Config{CommitEvery: commitEvery, CommitBytes: commitBytes}
}

// Files applies what follows the image in changelog files, given in any order,
// and commits. Entries that the image has are passed over. When an entry is
// missing or cannot be applied, the image is left at the version before it.
func Files(ctx context.Context, img *image.Image, opt Options, paths ...string) (Result, error) {
	start := time.Now()
	res := Result{From: img.Position().Version}
	if opt.Until != 0 && opt.Until < res.From {
		return res, fmt.Errorf("the image is at version %d already, after %d", res.From, opt.Until)
	}
	open := func(_ context.Context, from meta.Version) (apply.Source, error) {
		return openSource(from, opt, paths, &res)
	}
	err := apply.New(img, open, ApplyConfig(opt.CommitBytes)).Run(ctx)
	res.To = img.Position().Version
	res.Entries, res.Took = uint64(res.To-res.From), time.Since(start)
	if err == nil && res.To < opt.Until {
		err = fmt.Errorf("the changelog files end at version %d, %d is wanted: give the ones that follow, too", res.To, opt.Until)
	}
	return res, err
}

// Size is the length of files in bytes, for progress.
func Size(paths ...string) (int64, error) {
	var total int64
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, nil
}

// source turns a tap.Files into what the applier reads.
type source struct {
	files *tap.Files
	paths []string
	next  meta.Version
	until meta.Version
	res   *Result
	bytes uint64
	tell  func(uint64)
}

func openSource(from meta.Version, opt Options, paths []string, res *Result) (*source, error) {
	files, err := tap.OpenFiles(from, paths...)
	if err != nil {
		return nil, err
	}
	return &source{files: files, paths: paths, next: from, until: opt.Until, res: res, tell: opt.Progress}, nil
}

// Next copies the entries: the applier reads ahead.
func (s *source) Next(ctx context.Context, b *apply.Batch) error {
	if s.until != 0 && s.next >= s.until {
		return io.EOF
	}
	read, err := s.files.Next(ctx)
	if err != nil {
		return s.end(ctx, err)
	}
	entries := read.Entries
	if s.until != 0 {
		entries = entries[:min(uint64(len(entries)), uint64(s.until-s.next))]
	}
	b.Received = read.Received
	b.Copy(entries)
	s.next += meta.Version(len(entries))
	if s.tell != nil {
		const around = len("1234567: \n")
		for _, e := range entries {
			s.bytes += uint64(len(e.Text) + around)
		}
		s.tell(s.bytes)
	}
	return nil
}

// end decides on the error that the files ended with. Half a line is what a
// crash leaves: it is the end, if nothing follows it.
func (s *source) end(ctx context.Context, err error) error {
	var torn *tap.TornLine
	if !errors.As(err, &torn) {
		return err
	}
	later, openErr := tap.OpenFiles(s.next+1, s.paths...)
	if openErr != nil {
		return openErr
	}
	defer later.Close()
	if _, lookErr := later.Next(ctx); lookErr == nil || errors.Is(lookErr, tap.ErrGap) {
		return fmt.Errorf("%w; entries after it are in the files, so this one is missing", torn)
	}
	s.res.Torn = torn
	return io.EOF
}

// Close closes the files.
func (s *source) Close() error { return s.files.Close() }
