package metafile

import (
	"encoding/binary"

	"mfsstandby/changelog/meta"
)

// SCLA before 1.6, called LABS, has no names; in front are descriptions of the
// 26 labels, length:8 text each, which nobody reads. Records before 1.6:
//
//	1.0, 1.1, 1.3	id:16 labels:8, labels*[G*mask:32]
//	1.2		id:16 labels:8 n:32 unused:32, labels*[G*mask:32], n*unused:64
//	1.4		id:16 mode:8 labels to create and keep:8 each, both
//	1.5		id:16 mode:8 delay:16 labels to create, keep and archive:8 each, all
const (
	classGroups   = 0x11 // first version with G; it is 1 before
	classChunks   = 0x12 // the version with a list of chunks
	classKeep     = 0x14 // first version with other labels to keep
	classArchive  = 0x15 // first version with other labels to archive
	classNames    = 0x16 // first version with names
	maxLabelText  = 128
	labelsInTotal = 26
)

// labelTexts passes over the descriptions of the labels.
func (in *input) labelTexts() error {
	for i := range labelsInTotal {
		n := in.u8()
		if n > maxLabelText {
			return in.failf("the description of label %c has %d bytes; %d are allowed", 'A'+i, n, maxLabelText)
		}
		if err := in.skip(uint64(n)); err != nil {
			return err
		}
	}
	return in.err
}

// readOldClass is readClass for versions before 1.6.
func (in *input) readOldClass(rec *classRecord) bool {
	size := 3
	switch in.version {
	case classChunks:
		size = 11
	case classKeep:
		size = 5
	case classArchive:
		size = 8
	}
	b := in.next(size)
	if b == nil {
		return false
	}
	be := binary.BigEndian
	rec.id, rec.class = be.Uint16(b), meta.Class{Mode: modeStd}
	var create, keep, arch int
	chunks := uint32(0)
	switch {
	case in.version >= classArchive:
		rec.class.Mode, rec.class.ArchDelay = b[2], be.Uint16(b[3:])
		create, keep, arch = int(b[5]), int(b[6]), int(b[7])
	case in.version >= classKeep:
		rec.class.Mode, create, keep, arch = b[2], int(b[3]), int(b[4]), int(b[4])
	default:
		create, keep, arch = int(b[2]), int(b[2]), int(b[2])
		if in.version == classChunks {
			chunks = be.Uint32(b[3:])
		}
	}
	if rec.id == 0 && rec.class.ArchDelay == 0 && create+keep+arch == 0 && chunks == 0 {
		return false
	}
	if !in.labelCounts(rec.id, create, keep, arch) {
		return false
	}
	c := &rec.class
	c.Create = in.labels(create, rec.groups)
	c.Keep, c.Arch = c.Create, c.Create
	if in.version >= classKeep {
		c.Keep = in.labels(keep, rec.groups)
		c.Arch = c.Keep
	}
	if in.version >= classArchive {
		c.Arch = in.labels(arch, rec.groups)
	}
	in.skip(8 * uint64(chunks))
	return in.err == nil
}
