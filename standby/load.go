package standby

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
	"mfsstandby/standby/metafile"
)

// The image is in DIR/image. A new one grows beside it and takes its place
// when it is complete.
const (
	imageName = "image"
	newName   = "image.new"
	oldName   = "image.old"
)

// ImageDir is where the image of a data directory is.
func ImageDir(dir string) string { return filepath.Join(dir, imageName) }

// LoadOptions are optional.
type LoadOptions struct {
	Cache    int64
	Name     string // of the metadata file, for errors
	Size     int64  // of it in bytes, if known
	Progress func(done int64)
	Logger   *slog.Logger
	Position image.Position // what is known of its place in the stream; the version comes from the file
}

// Load makes an image in DIR from a metadata file, in place of the one that
// may be there, which must not be open. A crash leaves the old or the new.
func Load(dir string, r io.Reader, opt LoadOptions) (image.Position, error) {
	if err := recoverSwap(dir); err != nil {
		return image.Position{}, err
	}
	fresh := filepath.Join(dir, newName)
	pos, err := fill(fresh, r, opt)
	if err != nil {
		return pos, errors.Join(err, os.RemoveAll(fresh))
	}
	return pos, swap(dir)
}

// fill reads a metadata file into a new image.
func fill(dir string, r io.Reader, opt LoadOptions) (image.Position, error) {
	if err := os.RemoveAll(dir); err != nil {
		return image.Position{}, err
	}
	img, err := image.Open(image.Config{Dir: dir, Cache: opt.Cache, Logger: opt.Logger})
	if err != nil {
		return image.Position{}, err
	}
	err = img.Update(func(st *meta.State, _ image.Position) (image.Position, error) {
		h, err := metafile.Read(r, st, metafile.ReadOptions{Name: opt.Name, Size: opt.Size, Progress: opt.Progress})
		if err == nil && h.Format == 0 {
			err = errors.New("it is the mark of a new file system, not metadata: the master has not saved any yet; it does so at each full hour and when it is stopped")
		}
		pos := opt.Position
		pos.Version = h.Version
		return pos, err
	})
	pos := img.Position()
	if err == nil {
		err = img.Commit(true)
	}
	if err != nil {
		err = fmt.Errorf("reading %s: %w", opt.Name, err)
	}
	return pos, errors.Join(err, img.Close())
}

// swap puts the new image in the place of the old.
func swap(dir string) error {
	cur, fresh, old := ImageDir(dir), filepath.Join(dir, newName), filepath.Join(dir, oldName)
	if err := os.Rename(cur, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, cur); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// recoverSwap ends a swap that a crash cut short: without a current image the
// old one is it again, and what else lies about is removed.
func recoverSwap(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	cur, old := ImageDir(dir), filepath.Join(dir, oldName)
	if _, err := os.Stat(cur); errors.Is(err, os.ErrNotExist) {
		if err := os.Rename(old, cur); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return errors.Join(os.RemoveAll(old), os.RemoveAll(filepath.Join(dir, newName)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
