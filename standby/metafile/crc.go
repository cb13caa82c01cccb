package metafile

import (
	"encoding/binary"
	"hash/crc32"
)

// metadata.crc has eight bytes per item of the metadata file, in its order:
// name (HEAD, the sections, TAIL) and checksum:32. 4.x has version:64 metaid:64
// in front. A checksum is the XOR of
// the CRC-32 of every piece that mfsmaster writes at once; a section's header
// counts with an unknown length, and the length, patched in later, as one more
// piece.

// item ends an item of metadata.crc.
func (o *output) item(sums []byte, name string) []byte {
	sums = binary.BigEndian.AppendUint32(append(sums, name...), o.crc)
	o.crc = 0
	return sums
}

// sumHeader checksums a section's header.
func (o *output) sumHeader(head [headerSize]byte) {
	if !o.sums {
		return
	}
	o.crc ^= crc32.ChecksumIEEE(head[8:])
	binary.BigEndian.PutUint64(head[8:], unknownLength)
	o.crc ^= crc32.ChecksumIEEE(head[:])
}
