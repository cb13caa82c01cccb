package metafile

import (
	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
)

// Empty fills st, which must be empty, with what mfsmaster of a release makes
// of a file with the signature "MFSM NEW" when it starts at time now: a root
// directory that everybody may write to, and the predefined storage classes.
func Empty(st *meta.State, now meta.Time, release meta.Release) (Header, error) {
	l := &loader{in: newInput(nil, "", 0, nil), st: st}
	class := uint8(2)
	if release.Since(meta.Release4) {
		class = changelog.NewModern(st)
	} else {
		st.Release = meta.Reproduced
		l.predefineClasses()
		l.class[class].use(meta.TypeDir)
	}
	st.NextChunk, st.NextSession, st.NextEdge, st.MaxInode = 1, 1, meta.EdgeIDMax-1, meta.Root
	st.Scalars.Nodes = meta.Counts{All: 1, Dirs: 1}
	st.Nodes.Insert(meta.Root, meta.Node{
		Type: meta.TypeDir, Class: class, Mode: 0o777, TrashHours: 24, Atime: now, Mtime: now, Ctime: now,
	})
	st.Inodes.Reserve(0)
	st.Inodes.Reserve(meta.Root)
	l.dirs.add(meta.Root)
	st.Dirs.Insert(meta.Root, meta.Dir{})
	if err := l.finish(); err != nil {
		return Header{}, err
	}
	return Header{Format: formatCurrent, Version: 1}, st.Err()
}
