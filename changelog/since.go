package changelog

import (
	"fmt"

	"mfsstandby/changelog/meta"
)

// A NewerError tells that an entry is of a later release than the image: only
// that writes it. By the rules of the image's release it would have another
// effect than it had, so nothing is changed.
type NewerError struct {
	Since meta.Release // the first major release that has the operation
	Image meta.Release // of the image
}

// Error tells what it means, and what helps.
func (e *NewerError) Error() string {
	return fmt.Sprintf("only MooseFS %d writes such an entry, and the image is one of %s: it goes on from the first metadata file that the new release stores", e.Since>>16, e.Image)
}

// since is the first major release that writes an operation, 0 for those that
// all releases here have, or that another release's reader knows as an alias.
func since(op Op) meta.Release {
	switch op.(type) {
	case *AMTime, *ArchChg, *Flock, *PosixLock, *RenumerateEdges, *Rollback, *SCDel, *SCDup, *SCRen, *SCSet, *SetSClass, *SetVersion:
		return meta.Release3
	case *AddAttr, *AutoArch, *ChunkFlagsClr, *PatAdd, *PatDel, *SCECVersion, *SesConnected, *TrashRecover, *TrashRemove:
		return meta.Release4
	}
	return 0
}

// refuseNewer refuses an entry that no primary of the image's release writes.
func refuseNewer(st *meta.State, op Op) error {
	if st.Release.Since(meta.Release4) {
		return nil
	}
	if first := since(op); first != 0 && !st.Release.Since(first) {
		return &NewerError{Since: first, Image: st.Release}
	}
	return nil
}
