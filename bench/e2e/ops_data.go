package e2e

import (
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const maxOpen = 30 // files that a worker keeps open

// bytes returns up to n random bytes, compressible like real ones.
func (k *worker) bytes(n int) []byte {
	b := make([]byte, 1+k.rng.IntN(n))
	for i := 0; i < len(b); i += 7 {
		b[i] = byte(k.rng.Uint32())
	}
	return b
}

func (k *worker) size() int {
	if k.chance(80) {
		return 4000
	}
	return 200 << 10
}

// withFile opens a file that exists and runs do on it. FIFOs and devices are
// refused instead of waited for.
func (k *worker) withFile(flags int, do func(*os.File) error) error {
	path, err := k.file()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(k.on(path), flags|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	err = errRegular(f)
	if err == nil {
		err = do(f)
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

func errRegular(f *os.File) error {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		return unix.ENXIO
	}
	return err
}

func (k *worker) write() error {
	return k.withFile(os.O_RDWR, func(f *os.File) error {
		at := int64(0)
		if k.chance(50) {
			at = k.rng.Int64N(300 << 10) // leaves a hole, or overwrites
		}
		_, err := f.WriteAt(k.bytes(k.size()), at)
		return err
	})
}

func (k *worker) append() error {
	return k.withFile(os.O_WRONLY|os.O_APPEND, func(f *os.File) error {
		_, err := f.Write(k.bytes(k.size()))
		return err
	})
}

// writeFar writes into the second chunk or a later one.
func (k *worker) writeFar() error {
	return k.withFile(os.O_RDWR, func(f *os.File) error {
		_, err := f.WriteAt(k.bytes(3000), 64<<20*(1+k.rng.Int64N(3))-k.rng.Int64N(5000))
		return err
	})
}

func (k *worker) read() error {
	return k.withFile(os.O_RDONLY, func(f *os.File) error {
		_, err := io.CopyN(io.Discard, f, 100_000)
		if err == io.EOF {
			err = nil
		}
		return err
	})
}

func (k *worker) truncate() error {
	if k.chance(20) {
		return k.withFile(os.O_WRONLY|os.O_TRUNC, func(*os.File) error { return nil })
	}
	return k.withFile(os.O_RDWR, func(f *os.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		to := k.rng.Int64N(info.Size() + 10_000)
		if k.chance(10) {
			to = k.rng.Int64N(200 << 20)
		}
		return f.Truncate(to)
	})
}

// keep holds the file open until some later operation closes it.
func (k *worker) keep(f *os.File) {
	k.open = append(k.open, f)
	if len(k.open) > maxOpen {
		k.closeOne()
	}
}

func (k *worker) closeOne() error {
	if len(k.open) == 0 {
		return errNothing
	}
	i := k.rng.IntN(len(k.open))
	f := k.open[i]
	k.open[i] = k.open[len(k.open)-1]
	k.open = k.open[:len(k.open)-1]
	return f.Close()
}

// openUnlink leaves an open file without a name, often a new one.
func (k *worker) openUnlink() error {
	path := k.newPath()
	flags := os.O_RDWR | os.O_CREATE
	if k.chance(50) {
		var err error
		if path, err = k.file(); err != nil {
			return err
		}
		flags = os.O_RDWR
	}
	f, err := os.OpenFile(k.on(path), flags|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0o666)
	if err != nil {
		return err
	}
	k.keep(f)
	return k.unlinked(path, unix.Unlink(k.on(path)))
}

func (k *worker) holdOpen() error {
	path, err := k.file()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(k.on(path), os.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	k.keep(f)
	return nil
}

func (k *worker) chmod() error {
	path, err := k.anything()
	if err != nil {
		return err
	}
	if strings.HasPrefix(path, "base") && !strings.Contains(path, "/") {
		return errNothing // these stay open for everybody
	}
	return unix.Chmod(k.on(path), uint32(k.rng.IntN(0o10000)))
}

func (k *worker) chown() error {
	path, err := k.anything()
	if err != nil {
		return err
	}
	ids := []int{-1, 0, 1001, 1002, 1003, 70000, 4294967294}
	return unix.Lchown(k.on(path), oneOf(k, ids), oneOf(k, ids))
}

func (k *worker) utimes() error {
	path, err := k.anything()
	if err != nil {
		return err
	}
	when := func() unix.Timespec {
		switch k.rng.IntN(4) {
		case 0:
			return unix.Timespec{Nsec: unix.UTIME_OMIT}
		case 1:
			return unix.Timespec{Nsec: unix.UTIME_NOW}
		}
		return unix.Timespec{Sec: time.Now().Unix() - k.rng.Int64N(100_000)}
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, k.on(path), []unix.Timespec{when(), when()}, unix.AT_SYMLINK_NOFOLLOW)
}
