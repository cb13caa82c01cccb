// Package archive keeps a cluster's history in a directory, which may be a
// mounted object store or be copied to one: base images and the entries between
// them. What it needs of the directory is little: whole files appear under their
// name at once (a rename), are never changed, and can be listed and removed.
//
//	base-EPOCH-VERSION.mfs.zst             a metadata.mfs
//	changelog-EPOCH-FIRST-NEXT.mfs.zst     entries FIRST to NEXT-1, as lines of a changelog file
//	index.json                             what the files' ends say, to save opening them all
//	lock                                   one process writes at a time
//
// Both kinds are plain zstd files: zstd -d gives what mfsmaster reads. Behind the
// compressed data stands a skippable frame, which zstd passes over, that says
// what the file is (see Info), with checksums. Therefore each file can be checked
// by itself, and the index be made anew from the files.
//
// Names sort in the order of the history: by epoch, then version. Entries of one
// file are of one epoch and one release of the primary. They continue those of
// the file before as the hash chain says; a base image begins a new line where
// the stream could not be followed without a gap, or where it continued from
// another base image.
//
// Archiver writes, Archive reads. Neither knows images: standby/history restores
// from what it reads here.
package archive

import "errors"

// ErrDamaged says that a file is not what was written.
var ErrDamaged = errors.New("damaged file")
