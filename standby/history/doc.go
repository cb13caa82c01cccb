// Package history looks into the past of a cluster: from a stream, or from an
// archive of one, it makes the image of any version there is (Build), tells what
// changed between two (Diff), what touched a path (Log), and whether a directory
// that comes back holds what the stream does not (Compare).
//
// All of it starts at a base image and applies entries, with the same code as a
// standby does. Images are made in a directory of their own and are the caller's.
// The commands restore, diff, log and compare call it.
package history
