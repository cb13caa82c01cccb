package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby"
	"mfsstandby/standby/control"
	"mfsstandby/standby/image"
	"mfsstandby/standby/metafile"
	"mfsstandby/standby/replay"
)

// busy explains what to do while a standby runs.
func busy(err error, instead string) error {
	if !errors.Is(err, control.ErrBusy) {
		return err
	}
	return fmt.Errorf("%w; %s", err, instead)
}

// openImage opens the image of a data directory that no process uses. The
// caller closes both.
func openImage(data, command string, cache int64, log *slog.Logger) (*image.Image, *control.Lock, error) {
	lock, err := control.Acquire(data, command)
	if err != nil {
		return nil, nil, err
	}
	dir := standby.ImageDir(data)
	if _, err = os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%s holds no image: fill it with \"mfsstandby import\" or \"mfsstandby run\"", data)
	}
	if err != nil {
		return nil, nil, errors.Join(err, lock.Release())
	}
	img, err := image.Open(image.Config{Dir: dir, Cache: cache, Logger: log})
	if err == nil && img.Position().Version == 0 {
		err = errors.Join(fmt.Errorf("the image in %s is empty: fill it with \"mfsstandby import --force\"", data), img.Close())
	}
	if err != nil {
		return nil, nil, errors.Join(err, lock.Release())
	}
	return img, lock, nil
}

// withView calls use with a view of the image of a data directory that no
// process uses.
func withView(data, command string, cache int64, log *slog.Logger, use func(*image.View) error) error {
	img, lock, err := openImage(data, command, cache, log)
	if err != nil {
		return err
	}
	view, err := img.View()
	if err == nil {
		err = use(view)
		view.Close()
	}
	return errors.Join(err, img.Close(), lock.Release())
}

// starting is how long a process may have its data directory before it answers.
const starting = 5 * time.Second

// askOr asks the process that runs on a data directory, or does it itself when
// none does. One that has the directory but does not answer yet is just starting.
func askOr(ctx context.Context, ask, self func() error) error {
	for deadline := time.Now().Add(starting); ; {
		err := ask()
		if !errors.Is(err, control.ErrNotRunning) {
			return err
		}
		err = self()
		if !errors.Is(err, control.ErrBusy) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// exported reads the metadata file of the present state, from the process that
// runs on the data directory or else from the image itself. It returns the
// content of metadata.crc.
func exported(ctx context.Context, data string, cache int64, log *slog.Logger, read func(meta.Version, io.Reader) error) ([]byte, error) {
	return exportedFor(ctx, data, cache, log, 0, read)
}

// exportedFor is exported of a file for a release; 0 is that of the image.
func exportedFor(ctx context.Context, data string, cache int64, log *slog.Logger, release meta.Release, read func(meta.Version, io.Reader) error) ([]byte, error) {
	var crc []byte
	err := askOr(ctx, func() (err error) {
		crc, err = control.NewClient(data).ExportFor(ctx, release, read)
		return err
	}, func() error {
		return withView(data, "export", cache, log, func(v *image.View) (err error) {
			crc, err = pipeView(ctx, v, release, read)
			return err
		})
	})
	return crc, busy(err, "wait until it is done")
}

// pipeView lets read read the metadata file of a view.
func pipeView(ctx context.Context, v *image.View, release meta.Release, read func(meta.Version, io.Reader) error) ([]byte, error) {
	var crc sliceWriter
	pos := v.Position()
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := metafile.Write(replay.Writer(ctx, w), v.State(), metafile.Header{Version: pos.Version},
			metafile.WriteOptions{CRC: &crc, Now: pos.Time, Release: release})
		w.CloseWithError(err) // nil is the end
		written <- err
	}()
	err := read(pos.Version, r)
	r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	if writeErr := <-written; err == nil {
		err = writeErr
	}
	return crc, err
}

type sliceWriter []byte

func (s *sliceWriter) Write(b []byte) (int, error) {
	*s = append(*s, b...)
	return len(b), nil
}
