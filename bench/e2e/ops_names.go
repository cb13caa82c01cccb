package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func (k *worker) chance(percent int) bool { return k.rng.IntN(100) < percent }

func oneOf[T any](k *worker, list []T) T { return list[k.rng.IntN(len(list))] }

// root returns one of the mounts.
func (k *worker) root() string { return oneOf(k, k.cluster.mounts).Path }

// on turns a path below the mounts into a real one on some mount.
func (k *worker) on(path string) string { return filepath.Join(k.root(), path) }

var errNothing = fmt.Errorf("nothing to work on yet: %w", syscall.ENOENT)

// file picks something that is not a directory.
func (k *worker) file() (string, error) {
	if path, ok := k.names.pick(k.rng, false); ok {
		return path, nil
	}
	return "", errNothing
}

func (k *worker) dir() string {
	if path, ok := k.names.pick(k.rng, true); ok {
		return path
	}
	return ""
}

// anything picks a file or, less often, a directory.
func (k *worker) anything() (string, error) {
	if k.chance(30) {
		return k.dir(), nil
	}
	return k.file()
}

var oddNames = []string{
	"with space", " lead", "trail ", "100%", "%41", "a,b", "(paren)", "x)y(", "new\nline", "tab\there", "cr\rx", "\x01\x7f",
	"übergröße", "名前", "\xff\xfe\x80", "'quote\"", "back\\slash", "|pipe:", "[0,1]", "..x", "-rf", "*", "~", "%2C%", "#",
}

// name makes a name for a new thing: mostly plain, sometimes odd or long.
func (k *worker) name() string {
	switch n := k.rng.IntN(100); {
	case n < 70:
		return fmt.Sprintf("f%d", k.rng.IntN(3000))
	case n < 94:
		return fmt.Sprintf("%s%d", oneOf(k, oddNames), k.rng.IntN(30))
	case n < 97:
		return oneOf(k, oddNames)
	default:
		long := strings.Repeat(oneOf(k, []string{"L", "ü", "%", ","}), 255)
		return strings.ToValidUTF8(long[:1+k.rng.IntN(255)], "_")
	}
}

func (k *worker) newPath() string { return filepath.Join(k.dir(), k.name()) }

func (k *worker) create() error {
	path := k.newPath()
	f, err := os.OpenFile(k.on(path), os.O_CREATE|os.O_EXCL|os.O_RDWR, os.FileMode(k.rng.IntN(0o1000)))
	if err != nil {
		return err
	}
	k.names.add(path, false)
	return f.Close()
}

func (k *worker) mkdir() error {
	if k.names.count(true) > 600 {
		return k.rmdir()
	}
	path := k.newPath()
	// Root's work keeps the tree open for the others most of the time.
	mode := uint32(0o777)
	if k.chance(30) {
		mode = uint32(k.rng.IntN(0o10000))
	}
	if err := unix.Mkdir(k.on(path), mode); err != nil {
		return err
	}
	k.names.add(path, true)
	return nil
}

func (k *worker) unlink() error {
	if k.names.count(false) < 200 {
		return k.create()
	}
	path, err := k.file()
	if err != nil {
		return err
	}
	return k.unlinked(path, unix.Unlink(k.on(path)))
}

// unlinked forgets a name that is gone.
func (k *worker) unlinked(path string, err error) error {
	if err == nil || errors.Is(err, syscall.ENOENT) {
		k.names.remove(path, false)
	}
	return err
}

func (k *worker) rmdir() error {
	path := k.dir()
	if strings.HasPrefix(path, "base") && !strings.Contains(path, "/") {
		return errNothing
	}
	err := unix.Rmdir(k.on(path))
	if err == nil || errors.Is(err, syscall.ENOENT) {
		k.names.remove(path, true)
	}
	if errors.Is(err, syscall.ENOTEMPTY) && k.chance(20) {
		return k.removeAll(path)
	}
	return err
}

// removeAll is rm -r of a small directory.
func (k *worker) removeAll(path string) error {
	real := k.on(path)
	entries, err := os.ReadDir(real)
	if err != nil {
		return err
	}
	for _, e := range entries {
		below := filepath.Join(path, e.Name())
		if e.IsDir() {
			if unix.Rmdir(filepath.Join(real, e.Name())) == nil {
				k.names.remove(below, true)
			}
			continue
		}
		k.unlinked(below, unix.Unlink(filepath.Join(real, e.Name())))
	}
	if err := unix.Rmdir(real); err != nil {
		return err
	}
	k.names.remove(path, true)
	return nil
}

func (k *worker) rename() error {
	from, err := k.file()
	if err != nil {
		return err
	}
	to := k.newPath()
	if k.chance(40) { // over something that exists
		if to, err = k.file(); err != nil {
			return err
		}
	}
	root := k.root() // both on one mount
	if err := unix.Rename(filepath.Join(root, from), filepath.Join(root, to)); err != nil {
		return err
	}
	k.names.remove(from, false)
	k.names.add(to, false)
	return nil
}

func (k *worker) renameDir() error {
	from, to := k.dir(), k.newPath()
	if strings.HasPrefix(from, "base") && !strings.Contains(from, "/") {
		return errNothing
	}
	if k.chance(30) {
		to = k.dir() // works if that is empty
	}
	root := k.root()
	if err := unix.Rename(filepath.Join(root, from), filepath.Join(root, to)); err != nil {
		return err
	}
	k.names.remove(from, true)
	k.names.add(to, true)
	return nil
}

func (k *worker) link() error {
	from, err := k.file()
	if err != nil {
		return err
	}
	to, root := k.newPath(), k.root()
	if k.chance(50) {
		to = filepath.Join(filepath.Dir(from), k.name())
	}
	if err := unix.Link(filepath.Join(root, from), filepath.Join(root, to)); err != nil {
		return err
	}
	k.names.add(to, false)
	return nil
}

func (k *worker) symlink() error {
	path := k.newPath()
	target := strings.Repeat(oneOf(k, oddNames)+"/", 1+k.rng.IntN(20))
	if k.chance(3) {
		target = strings.Repeat("t%", 2000)
	}
	if err := unix.Symlink(target, k.on(path)); err != nil {
		return err
	}
	k.names.add(path, false)
	return nil
}

func (k *worker) readlink() error {
	path, err := k.file()
	if err != nil {
		return err
	}
	_, err = os.Readlink(k.on(path))
	return err
}

func (k *worker) mknod() error {
	path := k.newPath()
	kind := oneOf(k, []uint32{unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFREG})
	device := 0
	if kind == unix.S_IFCHR || kind == unix.S_IFBLK {
		device = int(unix.Mkdev(uint32(k.rng.IntN(256)), uint32(k.rng.IntN(256))))
	}
	if err := unix.Mknod(k.on(path), kind|uint32(k.rng.IntN(0o10000)), device); err != nil {
		return err
	}
	k.names.add(path, false)
	return nil
}

func (k *worker) readdir() error {
	_, err := os.ReadDir(k.on(k.dir()))
	return err
}

// churn makes and removes many files, so that inode numbers come and go.
func (k *worker) churn() error {
	dir, root := k.dir(), k.root()
	var made []string
	for i := range 30 + k.rng.IntN(100) {
		path := filepath.Join(root, dir, fmt.Sprintf("churn%d-%d", k.rng.IntN(1000), i))
		fd, err := unix.Open(path, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		unix.Close(fd)
		made = append(made, path)
	}
	for _, path := range made {
		if err := unix.Unlink(path); err != nil {
			return err
		}
	}
	return nil
}
