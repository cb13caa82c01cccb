package standby

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"mfsstandby/changelog"
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

// Base images on their way from and to the stream.
const (
	fetchedName = "base-*.tmp"
	exportName  = "base.export"
)

// ImageDir is where the image of a data directory is.
func ImageDir(dir string) string { return filepath.Join(dir, imageName) }

// LoadOptions are optional.
type LoadOptions struct {
	Cache    int64
	Name     string // of the metadata file, for errors
	Size     int64  // of it in bytes, if known
	Progress func(done int64)
	MetaID   uint64 // of the cluster, for the file of a new file system, which has none
	Logger   *slog.Logger
	Position image.Position // what is known of its place in the stream; the version comes from the file
	Whole    func() error   // if set, is asked after reading whether what was read is good
}

// Load makes an image in DIR from a metadata file, in place of the one that
// may be there, which must not be open. A crash leaves the old or the new.
func Load(dir string, r io.Reader, opt LoadOptions) (image.Position, error) {
	if err := recoverSwap(dir); err != nil {
		return image.Position{}, err
	}
	fresh := filepath.Join(dir, newName)
	pos, err := fill(fresh, r, opt)
	if err == nil && opt.Whole != nil {
		err = opt.Whole()
	}
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
		h, err := readFile(r, st, opt)
		if err == nil {
			err = setRelease(st, meta.ParseRelease(opt.Position.Release))
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

// setRelease notes of which release the primary was that stored a file. A file
// of a later one than is said tells better.
func setRelease(st *meta.State, r meta.Release) error {
	if st.Release.Since(meta.Release4) && !r.Since(meta.Release4) {
		return nil
	}
	return changelog.SetRelease(st, r, 0)
}

// newSystem is all that the file of a file system without anything begins with.
const newSystem = "MFSM NEW"

// readFile fills a State from a metadata file. That of a new file system says
// nothing; its root gets its times from the first entry.
func readFile(r io.Reader, st *meta.State, opt LoadOptions) (metafile.Header, error) {
	in := bufio.NewReader(r)
	if head, _ := in.Peek(len(newSystem)); string(head) == newSystem {
		st.MetaID = opt.MetaID
		return metafile.Empty(st, 0, meta.ParseRelease(opt.Position.Release))
	}
	h, err := metafile.Read(in, st, metafile.ReadOptions{
		Name: opt.Name, Size: opt.Size, Progress: opt.Progress, Release: meta.ParseRelease(opt.Position.Release),
	})
	if st.MetaID == 0 && err == nil {
		st.MetaID = opt.MetaID // files of 1.6 have none
	}
	return h, err
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

// recoverSwap ends what a crash cut short: without a current image the old one
// is it again, and what else lies about is removed.
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
	errs := []error{os.RemoveAll(old), os.RemoveAll(filepath.Join(dir, newName))}
	for _, pattern := range []string{fetchedName, exportName + "*"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		errs = append(errs, err)
		for _, path := range files {
			errs = append(errs, os.Remove(path))
		}
	}
	return errors.Join(errs...)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
