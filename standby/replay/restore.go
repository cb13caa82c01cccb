package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby"
	"mfsstandby/standby/image"
)

// RestoreConfig says what Restore makes of what.
type RestoreConfig struct {
	Base    string   // metadata file to start from
	Changes []string // changelog files, in any order
	Out     string   // metadata file to write
	CRC     string   // its checksums, metadata.crc; empty writes none
	Until   meta.Version
	Cache   int64                                        // bytes; 0 means the image's default
	Logger  *slog.Logger                                 // of warnings
	Stage   func(what string, total int64) func(n int64) // told of each stage, returns where to tell how far it is; may be nil
}

// Restore brings a metadata file forward by changelog files and writes the
// result to a file. It needs room beside Out for an image, which it removes.
func Restore(ctx context.Context, cfg RestoreConfig) (res Result, err error) {
	if cfg.Stage == nil {
		cfg.Stage = func(string, int64) func(int64) { return func(int64) {} }
	}
	total, err := Size(cfg.Changes...)
	if err != nil {
		return res, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(cfg.Out), ".mfsstandby-restore-*")
	if err != nil {
		return res, fmt.Errorf("making room for a temporary image: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	img, err := Import(ctx, dir, cfg.Base, 0, cfg.Cache, cfg.Logger, cfg.Stage)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	if len(cfg.Changes) > 0 {
		show := cfg.Stage("applying", total)
		opt := Options{Until: cfg.Until, CommitBytes: cfg.Cache / 8, Progress: func(n uint64) { show(int64(n)) }}
		if res, err = Files(ctx, img, opt, cfg.Changes...); err != nil {
			return res, err
		}
	}
	res.To = img.Position().Version
	view, err := img.View()
	if err != nil {
		return res, err
	}
	defer view.Close()
	return res, standby.WriteView(view, cfg.Out, cfg.CRC, cfg.Stage("writing "+cfg.Out, 0))
}

// Import makes an image in dir from a metadata file and opens it. The file of a
// new file system does not tell metaid.
func Import(ctx context.Context, dir, file string, metaid uint64, cache int64, log *slog.Logger,
	stage func(string, int64) func(int64)) (*image.Image, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	opt := standby.LoadOptions{Cache: cache, MetaID: metaid, Name: file, Size: info.Size(), Logger: log, Progress: stage("reading "+file, info.Size())}
	if _, err := standby.Load(dir, Reader(ctx, in), opt); err != nil {
		return nil, err
	}
	return image.Open(image.Config{Dir: standby.ImageDir(dir), Cache: cache, Logger: log})
}

// Reader returns r, which gives ctx's error once ctx is done.
func Reader(ctx context.Context, r io.Reader) io.Reader { return &reader{ctx, r} }

type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// Writer is like Reader.
func Writer(ctx context.Context, w io.Writer) io.Writer { return &writer{ctx, w} }

type writer struct {
	ctx context.Context
	w   io.Writer
}

func (w *writer) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(b)
}
