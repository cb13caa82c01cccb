// Package verify compares an image with what its primary has, record by
// record: with a metadata file, or with what a running primary gives to a
// metalogger. It only reads; the image may go on being changed meanwhile.
package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
	"mfsstandby/standby/metafile"
	"mfsstandby/standby/replay"
)

// Config is how a comparison works and whom it tells.
type Config struct {
	Dir    string // for temporary images and downloads; they are removed
	Cache  int64  // bytes; 0 means the image's default
	Logger *slog.Logger
	Report func(metafile.Difference)                    // gets each difference
	Stage  func(what string, total int64) func(n int64) // told of each stage, returns where to tell how far it is
}

// Result of a comparison.
type Result struct {
	Version     meta.Version `json:"version"` // at which both were compared
	MetaID      string       `json:"metaid"`
	Digest      string       `json:"digest"` // of the image
	Differences int          `json:"differences"`
}

// File compares a view with the metadata file path. Where that is older than
// the image, changelog files bring it forward first; without them the versions
// must be the same.
func File(ctx context.Context, v *image.View, path string, changes []string, cfg Config) (Result, error) {
	h, err := metafile.ReadHeaderFile(path)
	if err != nil {
		return Result{}, err
	}
	if err := sameCluster(h.MetaID, v, path); err != nil {
		return Result{}, err
	}
	at := v.Position().Version
	switch {
	case h.Version == at:
		return same(ctx, v, path, cfg)
	case h.Version > at:
		return Result{}, fmt.Errorf("%s has version %d, the image is at %d: only the same version can be compared; let the image catch up, or apply the changelog files between them (mfsstandby replay)", path, h.Version, at)
	case len(changes) == 0:
		return Result{}, fmt.Errorf("%s has version %d, the image is at %d: only the same version can be compared; give the changelog files between them with --changelog", path, h.Version, at)
	}
	return forward(ctx, v, path, changes, cfg)
}

func sameCluster(id uint64, v *image.View, what string) error {
	if ours := v.State().MetaID; id != ours && id != 0 {
		return fmt.Errorf("%s is of cluster %016X, the image of %016X", what, id, ours)
	}
	return nil
}

// same compares a view with a file of the same version.
func same(ctx context.Context, v *image.View, path string, cfg Config) (Result, error) {
	file, err := os.Open(path)
	if err != nil {
		return Result{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Result{}, err
	}
	res := describe(v)
	opt := metafile.CompareOptions{Name: path, Size: info.Size(), Version: res.Version, Progress: cfg.Stage("comparing", info.Size())}
	res.Differences, err = metafile.Compare(replay.Reader(ctx, file), v.State(), opt, cfg.Report)
	return res, err
}

// forward makes a temporary image of the file, brings it to the view's version
// and compares.
func forward(ctx context.Context, v *image.View, path string, changes []string, cfg Config) (res Result, err error) {
	total, err := replay.Size(changes...)
	if err != nil {
		return res, err
	}
	dir, err := tempDir(cfg.Dir)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	img, err := replay.Import(ctx, dir, path, v.State().MetaID, cfg.Cache, cfg.Logger, cfg.Stage)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	show := cfg.Stage("applying", total)
	_, err = replay.Files(ctx, img, replay.Options{
		Until: v.Position().Version, CommitBytes: cfg.Cache / 8, Progress: func(n uint64) { show(int64(n)) },
	}, changes...)
	if err != nil {
		return res, err
	}
	return states(img, v, cfg)
}

// states compares a view with a temporary image of the primary's.
func states(primary *image.Image, v *image.View, cfg Config) (Result, error) {
	theirs, err := primary.View()
	if err != nil {
		return Result{}, err
	}
	defer theirs.Close()
	res := describe(v)
	h := metafile.Header{Version: theirs.Position().Version}
	opt := metafile.CompareOptions{Name: "primary", Version: res.Version, Progress: cfg.Stage("comparing", 0)}
	res.Differences, err = metafile.CompareStates(theirs.State(), v.State(), h, opt, cfg.Report)
	return res, err
}

func describe(v *image.View) Result {
	return Result{
		Version: v.Position().Version,
		MetaID:  fmt.Sprintf("%016X", v.State().MetaID),
		Digest:  v.Digest().String(),
	}
}

func tempDir(parent string) (string, error) {
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(parent, "verify-*")
	if err != nil {
		return "", fmt.Errorf("making room for a temporary image: %w", err)
	}
	return filepath.Clean(dir), nil
}
