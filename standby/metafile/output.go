package metafile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"mfsstandby/changelog/meta"
)

const flushSize = 256 << 10

// output builds a file in units: what mfsmaster hands to one write call, which
// is what its checksums are made of. The first error sticks.
type output struct {
	w        io.Writer // nil only counts
	progress func(done int64)
	now      meta.Time // chunks locked until before are written as unlocked; 0 keeps all
	form     form
	modern   bool // as 4.59.2 writes
	users    *chunkUsers

	buf  []byte
	unit int   // where in buf the current unit starts
	done int64 // bytes handed to w
	sums bool  // checksums are wanted
	crc  uint32
	err  error
}

func (o *output) u8(v uint8)   { o.buf = append(o.buf, v) }
func (o *output) u16(v uint16) { o.buf = binary.BigEndian.AppendUint16(o.buf, v) }
func (o *output) u32(v uint32) { o.buf = binary.BigEndian.AppendUint32(o.buf, v) }
func (o *output) u64(v uint64) { o.buf = binary.BigEndian.AppendUint64(o.buf, v) }

func (o *output) bytes(s string) { o.buf = append(o.buf, s...) }

// zeros appends an end record.
func (o *output) zeros(n int) { o.buf = append(o.buf, make([]byte, n)...) }

func (o *output) flag(v bool) {
	if v {
		o.u8(1)
	} else {
		o.u8(0)
	}
}

// end ends a unit.
func (o *output) end() {
	if o.sums {
		o.crc ^= crc32.ChecksumIEEE(o.buf[o.unit:])
	}
	if len(o.buf) >= flushSize {
		o.flush()
	}
	o.unit = len(o.buf)
}

// flush hands everything to the writer.
func (o *output) flush() {
	if o.err == nil && o.w != nil {
		if _, err := o.w.Write(o.buf); err != nil {
			o.err = fmt.Errorf("writing metadata at byte %d: %w", o.done, err)
		}
	}
	o.done += int64(len(o.buf))
	o.buf, o.unit = o.buf[:0], 0
	if o.progress != nil {
		o.progress(o.done)
	}
}

// offset is the length of the file so far.
func (o *output) offset() int64 { return o.done + int64(len(o.buf)) }

func (o *output) failf(format string, args ...any) error {
	if o.err == nil {
		o.err = fmt.Errorf(format, args...)
	}
	return o.err
}
