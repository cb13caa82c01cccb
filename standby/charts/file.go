package charts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/zeebo/xxh3"
)

// A file of charts is, compressed with S2, for each range
//
//	step:64 38*[4096*[value:64]]   newest first; step numbers the newest
//
// and before that, not compressed, fileKind and the XXH3-64 of what follows.
const (
	fileKind = "MFSSBCH1"
	fileHead = len(fileKind) + 8
	ringSize = 8 + Count*Length*8
	fileSize = len(steps) * ringSize // of the decompressed part
)

// errFile says that a file was not written by Save, or not whole.
var errFile = errors.New("this is no whole file of charts")

// encode returns the content of a file.
func (c *Charts) encode() []byte {
	b := make([]byte, 0, fileSize)
	c.mu.Lock()
	for _, r := range c.rings {
		b = binary.BigEndian.AppendUint64(b, uint64(r.at))
		for series := range r.values {
			for i := range Length {
				b = binary.BigEndian.AppendUint64(b, r.values[series][(r.head+Length-i)%Length])
			}
		}
	}
	c.mu.Unlock()
	packed := s2.Encode(nil, b)
	file := binary.BigEndian.AppendUint64([]byte(fileKind), xxh3.Hash(packed))
	return append(file, packed...)
}

// decode reads the content of a file. A range whose newest value is of a time
// after now stays empty: the clock was wrong, then or now.
func (c *Charts) decode(file []byte, now time.Time) error {
	if len(file) < fileHead || string(file[:len(fileKind)]) != fileKind {
		return errFile
	}
	packed := file[fileHead:]
	if binary.BigEndian.Uint64(file[len(fileKind):]) != xxh3.Hash(packed) {
		return errFile
	}
	if n, err := s2.DecodedLen(packed); err != nil || n != fileSize {
		return errFile
	}
	b, err := s2.Decode(nil, packed)
	if err != nil {
		return errFile
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, r := range c.rings {
		part := b[i*ringSize : (i+1)*ringSize]
		at, present := int64(binary.BigEndian.Uint64(part)), local(now)/steps[i]
		if at > present || at < 0 {
			continue
		}
		part = part[8:]
		for series := range r.values {
			for j := range Length {
				r.values[series][(Length-j)%Length] = binary.BigEndian.Uint64(part[(series*Length+j)*8:])
			}
		}
		r.at, r.head = at, 0
		r.add(Unknown(), present)
	}
	return nil
}

// Load reads what Save wrote to a file; none is no error. After an error the
// charts are as they were. now must not be before New's.
func (c *Charts) Load(path string, now time.Time) error {
	file, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err == nil:
		err = c.decode(file, now)
	}
	if err != nil {
		return fmt.Errorf("reading charts from %s: %w", path, err)
	}
	return nil
}

// Save writes the charts to a file, which is replaced when the new one is
// whole. Sums since the start are not kept.
func (c *Charts) Save(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new*")
	if err != nil {
		return fmt.Errorf("saving charts: %w", err)
	}
	_, err = f.Write(c.encode())
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("saving charts: %w", err)
	}
	return nil
}
