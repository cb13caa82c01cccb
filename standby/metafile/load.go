package metafile

import (
	"io"

	"mfsstandby/changelog/meta"
)

// ReadOptions are optional.
type ReadOptions struct {
	Name     string           // of the file, for error messages
	Size     int64            // of the file in bytes, 0 if not known
	Progress func(done int64) // called now and then with the bytes read so far

	// Release is that of the master which goes on from the file, if it is not
	// the one that wrote it: what a file of 1.6 or 2.0 says is taken as a later
	// release takes it.
	Release meta.Release
}

// loader fills a State from a file.
type loader struct {
	in *input
	st *meta.State

	nodeIDs  meta.IDSet // inodes of section NODE
	detached meta.IDSet // those of them that have a trash or sustained entry
	freed    meta.IDSet // inodes of section FREE
	dirs     dirTree
	refs     refCounts
	class    [meta.MaxClasses]classUse
	attached uint64 // nodes that have at least one edge
	chunksIn bool   // section CHNK has been read

	classesIn       bool         // section SCLA has been read
	by              meta.Release // who goes on from the file, 0 is who wrote it
	old             bool         // that is a release before 3.0
	inNodes         uint64       // open files in section NODE
	sinceRun        int          // records since the State last had a chance to write out
	modern          bool         // it is one since 4.0
	sessionsVersion uint8        // of section SESS
}

// Read fills st, which must be empty, from the metadata file r, and returns
// the file's header: the state is that at h.Version, and of the release whose
// sections the file has (for any of 4.x that is 4.59.2, which the state is as
// that loads it). It refuses what mfsmaster 3.0.117 refuses, and also what that loads into a state that has no exact
// equal here, such as the same name twice in a directory. After an error st
// holds a part of the file and must be thrown away.
//
// All that the file leaves to be derived is set: links, directories' totals,
// references of chunks and classes, and the counts.
func Read(r io.Reader, st *meta.State, opt ReadOptions) (Header, error) {
	l := &loader{in: newInput(r, opt.Name, opt.Size, opt.Progress), st: st, by: opt.Release}
	l.predefineClasses()
	h, err := l.in.readHead()
	if err != nil {
		return h, err
	}
	st.MetaID = h.MetaID
	st.Release = meta.Reproduced
	st.MaxInode, st.NextSession = h.MaxInode, h.NextSession
	st.NextChunk = 1 // should the section be missing
	st.Inodes.Reserve(0)
	err = l.in.eachSection(func(s *section, _ []byte, _ uint64) error {
		if s.modernVersion(l.in.version) {
			st.Release, l.modern = meta.Latest, true
		}
		return s.load(l)
	})
	if err != nil {
		return h, err
	}
	if err := l.finish(); err != nil {
		return h, err
	}
	if h.Format < formatCurrent && st.Release.Since(meta.Release2) {
		h.Version += meta.Version(l.inNodes) // each counts as an entry there
	}
	return h, st.Err()
}

// recordsPerRoom is how many records may be between two chances for the State
// to write changed ones out.
const recordsPerRoom = 256

// begin starts a record. No pointer into a table may be held over it.
func (l *loader) begin() {
	l.in.begin()
	if l.sinceRun++; l.sinceRun >= recordsPerRoom {
		l.makeRoom()
	}
}

func (l *loader) makeRoom() {
	l.sinceRun = 0
	l.st.MakeRoom()
	if err := l.st.Err(); err != nil {
		l.in.problem(err)
	}
}

// finish checks what only the whole file can show and stores what is derived.
func (l *loader) finish() error {
	l.in.enter("")
	root, ok := l.st.Nodes.Get(meta.Root)
	if !ok {
		return l.in.failf("there is no root directory (inode %d)", meta.Root)
	}
	if root.Type != meta.TypeDir {
		return l.in.failf("the root (inode %d) is no directory but of type %d", meta.Root, root.Type)
	}
	if l.attached != l.st.Scalars.Nodes.All-1 {
		return l.orphan()
	}
	if err := l.storeClasses(); err != nil {
		return err
	}
	if l.modern {
		l.st.Release = meta.Latest // whatever older sections said
		l.modernSessions()
	}
	return l.storeDirs()
}

// orphan names a node that no directory leads to.
func (l *loader) orphan() error {
	for ino, n := range l.st.Nodes.Scan(0) {
		named := n.Links > 0 || l.detached.Has(uint64(ino))
		if i, dir := l.dirs.index[ino]; dir {
			named = l.dirs.nodes[i].parent >= 0 || ino == meta.Root
		}
		if !named {
			return l.in.failf("node %d has no name in any directory (orphaned inode)", ino)
		}
	}
	return l.in.failf("a node has no name in any directory (orphaned inode)")
}
