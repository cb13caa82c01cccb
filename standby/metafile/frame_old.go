package metafile

import (
	"encoding/binary"

	"mfsstandby/changelog/meta"
)

// Files before format 2.0 begin with another header, max inode:32 version:64
// next session:32, and what later became sections has version 1.0. Those of
// format 1.5, which 1.5 and 1.6 write, have no section headers at all and end in
// the zero record of the chunks; those of 1.7 have them.

func parseOldHeader(format uint8, b []byte) Header {
	be := binary.BigEndian
	return Header{
		Format: format, MaxInode: meta.Inode(be.Uint32(b)),
		Version: meta.Version(be.Uint64(b[4:])), NextSession: meta.SessionID(be.Uint32(b[12:])),
	}
}

// bareSections are what a file of format 1.5 holds.
var bareSections = [...]string{"NODE", "EDGE", "FREE", "CHNK"}

// eachBareSection is eachSection for files without section headers.
func (in *input) eachBareSection(visit func(s *section, head []byte, length uint64) error) error {
	for _, name := range bareSections {
		s := sectionByName(name)
		head := sectionHeader(s, 0x10)
		in.enter(string(head[:8]))
		in.version = 0x10
		if err := visit(s, head[:], unknownLength); err != nil {
			return err
		}
	}
	in.enter("")
	return in.expectEnd()
}

func sectionByName(name string) *section {
	for i := range sections {
		if sections[i].name == name {
			return &sections[i]
		}
	}
	return nil
}

// skipSection passes over a body whose length is known.
func (in *input) skipSection(length uint64) error {
	if length == unknownLength {
		return in.failf("a section to be passed over must tell its length")
	}
	if err := in.skip(length); err != nil {
		return err
	}
	return in.unlimit(length)
}
