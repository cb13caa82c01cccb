// Package metafile reads, writes, prints and compares metadata.mfs, the file
// in which a MooseFS master keeps the metadata of its cluster.
//
// It works on a meta.State and knows nothing of how that is stored: Read
// fills an empty State, Write makes the file that mfsmaster loads, Dump prints
// mfsmetadump's text, Compare tells how a file and a State differ. One file of
// this package holds one section of the format, its reader, writer, printer
// and comparison side by side; frame.go holds what is around the sections.
//
// The layouts are those of MooseFS 3.0.117 and 4.59.2, by the State's release. All integers are big-endian, names
// are raw bytes.
//
// # Memory
//
// Nothing is read whole. Read keeps one buffer, about 120 bytes and the name
// per directory (to sum up the recursive totals and to find cycles), one bit
// per inode number and half a byte per chunk id in use. Write and Compare keep
// one directory's names and one file's chunks at a time; Compare also a bit
// per inode and chunk.
package metafile
