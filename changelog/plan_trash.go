package changelog

import (
	"bytes"
	"strings"

	"mfsstandby/changelog/meta"
)

// findTrash tells whether a meta mount may change a file of the trash.
func (c *Caller) findTrash(st *meta.State, ino meta.Inode) (meta.Detached, meta.Status) {
	switch {
	case c.Root != 0:
		return meta.Detached{}, meta.EPERM
	case c.readOnly():
		return meta.Detached{}, meta.EROFS
	}
	d, ok := st.Detached.Get(ino)
	if !ok || d.Kind != meta.TypeTrash {
		return d, meta.ENOENT
	}
	return d, meta.OK
}

// UndeleteRequest takes a file out of the trash.
type UndeleteRequest struct{ Inode meta.Inode }

// Plan looks at the place where the file was.
func (r *UndeleteRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	d, status := c.findTrash(st, r.Inode)
	if status == meta.OK {
		status = statusOf(checkPath(st, r.Inode, strings.TrimLeft(d.Path, "/")))
	}
	if status != meta.OK {
		return nil, status
	}
	return &Undel{Inode: r.Inode}, meta.OK
}

// PurgeRequest removes a file from the trash for good.
type PurgeRequest struct{ Inode meta.Inode }

// Plan is for meta mounts.
func (r *PurgeRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	if _, status := c.findTrash(st, r.Inode); status != meta.OK {
		return nil, status
	}
	return &Purge{Inode: r.Inode}, meta.OK
}

// TrashPathRequest changes to where a file of the trash would go back.
type TrashPathRequest struct {
	Inode meta.Inode
	Path  []byte // zero bytes at its end do not count
}

// Plan takes any path that is not empty.
func (r *TrashPathRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	path := bytes.TrimRight(r.Path, "\x00")
	bad := len(path) == 0 || len(path) > meta.MaxPath || bytes.IndexByte(path, 0) >= 0
	_, status := c.findTrash(st, r.Inode)
	switch {
	case (status == meta.OK || status == meta.ENOENT) && bad:
		return nil, meta.EINVAL
	case status != meta.OK:
		return nil, status
	}
	return &SetPath{Inode: r.Inode, Path: path}, meta.OK
}

// TrashTimeRequest sets the trash time of a node or a tree.
type TrashTimeRequest struct {
	Inode     meta.Inode
	TrashTime uint32 // seconds
	Mode      uint8  // see SetTrashTime
}

// Plan keeps the time within the limits of the session.
func (r *TrashTimeRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	kind := r.Mode & modeKind
	switch {
	case c.forbids(DisableSetTrash),
		kind != modeDecrease && r.TrashTime > c.MaxTrash, kind != modeIncrease && r.TrashTime < c.MinTrash:
		return nil, meta.EPERM
	case r.Mode > modeMax:
		return nil, meta.EINVAL
	case c.readOnly():
		return nil, meta.EROFS
	}
	ino, n, ok := c.Find(st, r.Inode, false)
	switch {
	case !ok:
		return nil, meta.ENOENT
	case !hasData(&n), r.Mode&modeRecursive == 0 && notChangeable(c.UID, &n):
		return nil, meta.EPERM
	}
	return &SetTrashTime{Inode: ino, UID: c.UID, TrashTime: r.TrashTime, Mode: r.Mode}, meta.OK
}

// TrashDuty empties one bucket of the trash: each second the next one.
type TrashDuty struct{ Bucket uint32 }

// Plan writes an entry when a file has been there for its time.
func (r *TrashDuty) Plan(st *meta.State, _ *Caller, now meta.Time) (Op, meta.Status) {
	for _, ino := range st.Detached.Bucket(meta.TypeTrash, r.Bucket) {
		if expired(st, ino, now) {
			return &EmptyTrash{Bucket: r.Bucket}, meta.OK
		}
	}
	return nil, meta.OK
}

// SustainedDuty empties one bucket of sustained files: each second the next.
type SustainedDuty struct{ Bucket uint32 }

// Plan writes an entry when a file is not open any more.
func (r *SustainedDuty) Plan(st *meta.State, _ *Caller, _ meta.Time) (Op, meta.Status) {
	for _, ino := range st.Detached.Bucket(meta.TypeSustained, r.Bucket) {
		if !st.Open.Any(ino) {
			return &EmptySustained{Bucket: r.Bucket}, meta.OK
		}
	}
	return nil, meta.OK
}

// FreeDuty lets inodes be used again that were freed long enough ago: each
// minute.
type FreeDuty struct{ Delay uint32 } // seconds

// Plan writes an entry when there are some.
func (r *FreeDuty) Plan(st *meta.State, _ *Caller, now meta.Time) (Op, meta.Status) {
	f, ok := st.Inodes.FirstFree()
	if !ok || f.Freed+meta.Time(r.Delay) >= now {
		return nil, meta.OK
	}
	return &FreeInodes{Delay: r.Delay}, meta.OK
}
