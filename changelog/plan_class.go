package changelog

import (
	"bytes"

	"mfsstandby/changelog/meta"
)

// ClassRequest sets the storage class of a node or a tree. Old clients give a
// number, which is the class and the one to exchange too; others give names.
type ClassRequest struct {
	Inode  meta.Inode
	Number uint8 // 1..9; ByName: not looked at
	ByName bool
	Src    []byte // for exchange only
	Dst    []byte
	Mode   uint8 // see SetSClass
}

// Plan keeps classes of administrators for them, and numbers within the limits
// of the session.
func (r *ClassRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	op := &SetSClass{UID: c.UID, Mode: r.Mode}
	if status := r.classes(st, c, op); status != meta.OK {
		return nil, status
	}
	if status := op.checkMode(); status != meta.OK {
		return nil, status
	}
	if c.readOnly() {
		return nil, meta.EROFS
	}
	ino, n, ok := c.Find(st, r.Inode, false)
	switch {
	case !ok:
		return nil, meta.ENOENT
	case !hasData(&n):
		return nil, meta.EPERM
	}
	op.Inode = ino
	if op.overQuota(st, &n) {
		return nil, meta.EQUOTA
	}
	adminOnly := adminClasses(st)
	denied := func(n *meta.Node) bool {
		return notChangeable(op.UID, n) || !c.admin() && (adminOnly[op.Dst] || adminOnly[n.Class])
	}
	if op.Mode&modeRecursive == 0 && denied(&n) {
		return nil, meta.EPERM
	}
	if len(adminOnly) > 0 {
		op.NotPermitted = op.count(st, denied)
	}
	return op, meta.OK
}

// classes fills in the ids of the classes.
func (r *ClassRequest) classes(st *meta.State, c *Caller, op *SetSClass) meta.Status {
	kind := r.Mode & modeKind
	if r.ByName {
		op.Src = 1
		if kind == modeExchange {
			op.Src = classID(st, r.Src)
		}
		op.Dst = classID(st, r.Dst)
	} else {
		op.Src, op.Dst = r.Number, r.Number
	}
	switch {
	case c.forbids(DisableSetSClass):
		return meta.EPERM
	case op.Src == 0 || op.Dst == 0, !r.ByName && op.Dst >= meta.FirstOwnClass:
		return meta.EINVAL
	case op.Dst >= meta.FirstOwnClass:
		return meta.OK
	case kind != modeDecrease && op.Dst > c.MaxGoal, kind != modeIncrease && op.Dst < c.MinGoal:
		return meta.EPERM
	}
	return meta.OK
}

// classID is the id of a class, 0 if there is none of that name.
func classID(st *meta.State, name []byte) uint8 {
	for id, class := range st.Classes.Scan(0) {
		if class.Name == string(name) {
			return id
		}
	}
	return 0
}

// checkMode tells whether mode and classes go together.
func (op *SetSClass) checkMode() meta.Status {
	kind := op.Mode & modeKind
	if op.Mode > modeMax || op.Src == 0 || op.Dst == 0 ||
		op.Dst >= meta.FirstOwnClass && (kind == modeIncrease || kind == modeDecrease) {
		return meta.EINVAL
	}
	return meta.OK
}

// overQuota tells whether a quota of real size forbids the additional copies.
// mfsmaster counts those of all files with fewer ones that the user may
// change, also where it does not change the class in the end.
func (op *SetSClass) overQuota(st *meta.State, n *meta.Node) bool {
	if kind := op.Mode & modeKind; kind != modeSet && kind != modeIncrease || !anyQuota(st) {
		return false
	}
	class, _ := st.Classes.Get(op.Dst)
	c := copiesCheck{st: st, uid: op.UID, copies: class.Ratio(false)}
	if n.Type != meta.TypeDir {
		more := meta.Stats{RealSize: c.file(op.Inode, n)}
		return fileOverQuota(st, op.Inode, n, &more)
	}
	if op.Mode&modeRecursive == 0 {
		return false
	}
	more, over := c.dir(op.Inode)
	return over || overQuota(st, op.Inode, &meta.Stats{RealSize: more})
}

// copiesCheck finds out how much real size more copies of files take.
type copiesCheck struct {
	st     *meta.State
	uid    uint32
	copies uint8
}

// file returns by how much the real size of one name of a file grows.
func (c *copiesCheck) file(ino meta.Inode, n *meta.Node) uint64 {
	class, _ := c.st.Classes.Get(n.Class)
	copies := class.Ratio(false)
	if notChangeable(c.uid, n) || c.copies <= copies {
		return 0
	}
	s := fileStats(c.st, ino, n)
	return s.Size * uint64(c.copies-copies)
}

// dir returns by how much what is in a directory grows, and whether the quota
// of a directory below it forbids that.
func (c *copiesCheck) dir(ino meta.Inode) (more uint64, over bool) {
	c.st.MakeRoom()
	for _, edge := range c.st.Edges.List(ino) {
		if !edge.Dir {
			if n, _ := c.st.Nodes.Get(edge.Child); n.Type.IsFile() {
				more += c.file(edge.Child, &n)
			}
			continue
		}
		below, over := c.dir(edge.Child)
		if over || overQuotaHere(c.st, edge.Child, &meta.Stats{RealSize: below}) {
			return 0, true
		}
		more += below
	}
	return more, false
}

// ArchiveRequest sets or clears the archive flag of all chunks of a file or a
// tree.
type ArchiveRequest struct {
	Inode   meta.Inode
	Command uint8 // 0 clear, 1 set
}

// Plan refuses a file that the user may not change; in a tree such files are
// passed over.
func (r *ArchiveRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	switch {
	case c.forbids(DisableSetEattr):
		return nil, meta.EPERM
	case c.readOnly():
		return nil, meta.EROFS
	}
	ino, n, ok := c.Find(st, r.Inode, false)
	switch {
	case !ok:
		return nil, meta.ENOENT
	case !hasData(&n), n.Type != meta.TypeDir && notChangeable(c.UID, &n):
		return nil, meta.EPERM
	}
	return &ArchChg{Inode: ino, UID: c.UID, Command: r.Command}, meta.OK
}

// checkClassName tells whether a storage class can have a name.
func checkClassName(name []byte) meta.Status {
	if len(name) == 0 || len(name) > meta.MaxName || bytes.IndexByte(name, 0) >= 0 {
		return meta.EINVAL
	}
	return meta.OK
}

// mayChangeClasses tells whether a session may change storage classes of these
// names.
func (c *Caller) mayChangeClasses(names ...[]byte) meta.Status {
	if !c.admin() {
		return meta.ENOTADMIN
	}
	for _, name := range names {
		if status := checkClassName(name); status != meta.OK {
			return status
		}
	}
	return meta.OK
}

// ClassDef defines a storage class.
type ClassDef struct {
	AdminOnly          uint8
	Mode               uint8
	ArchDelay          uint16            // days
	Create, Keep, Arch []meta.LabelMasks // 1..9 each
}

// ClassCreateRequest makes a storage class.
type ClassCreateRequest struct {
	Name []byte
	Def  ClassDef
}

// Plan needs an administrator.
func (r *ClassCreateRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	status := c.mayChangeClasses(r.Name)
	if status == meta.OK {
		status = newClass(st, r.Name)
	}
	d := &r.Def
	if status == meta.OK && (badLabels(d.Create) || badLabels(d.Keep) || badLabels(d.Arch)) {
		status = meta.EINVAL
	}
	if status != meta.OK {
		return nil, status
	}
	return d.op(r.Name, 1), meta.OK
}

func badLabels(labels []meta.LabelMasks) bool { return len(labels) == 0 || len(labels) > maxLabels }

func (d *ClassDef) op(name []byte, isNew uint8) *SCSet {
	return &SCSet{Class: name, New: isNew, Mode: d.Mode, ArchDelay: d.ArchDelay, AdminOnly: d.AdminOnly,
		Create: d.Create, Keep: d.Keep, Arch: d.Arch}
}

// newClass tells whether there may be one more class of a name.
func newClass(st *meta.State, name []byte) meta.Status {
	switch {
	case classID(st, name) != 0:
		return meta.ECLASSEXISTS
	case !classRoom(st):
		return meta.ECLASSLIMIT
	}
	return meta.OK
}

// Bits of ClassChangeRequest.Mask.
const (
	ChangeAdminOnly = 0x0001
	ChangeMode      = 0x0002
	ChangeCreate    = 0x0004
	ChangeKeep      = 0x0008
	ChangeArch      = 0x0010
	ChangeArchDelay = 0x0020
	ChangeForce     = 0x8000 // of a predefined class too
)

// ClassChangeRequest redefines a storage class. With a Mask of 0 it only asks
// what the class is, as everybody may.
type ClassChangeRequest struct {
	Name []byte
	Mask uint16 // Change* bits
	Def  ClassDef
}

// Plan lets what is not meant stay. mfsmaster takes the last predefined class
// for one that is not, in this request only.
func (r *ClassChangeRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	if r.Mask != 0 && !c.admin() {
		return nil, meta.ENOTADMIN
	}
	if status := checkClassName(r.Name); status != meta.OK {
		return nil, status
	}
	id := classID(st, r.Name)
	is := func(bit uint16) bool { return r.Mask&bit != 0 }
	switch {
	case id == 0:
		return nil, meta.ENOSUCHCLASS
	case id < meta.FirstOwnClass-1 && !is(ChangeForce) && r.Mask != 0:
		return nil, meta.EPERM
	case is(ChangeCreate) && badLabels(r.Def.Create), is(ChangeKeep) && badLabels(r.Def.Keep), is(ChangeArch) && badLabels(r.Def.Arch):
		return nil, meta.EINVAL
	case r.Mask == 0:
		return nil, meta.OK
	}
	old, _ := st.Classes.Get(id)
	d := r.Def
	keep := func(bit uint16, from, to *[]meta.LabelMasks) {
		if !is(bit) {
			*to = *from
		}
	}
	keep(ChangeCreate, &old.Create, &d.Create)
	keep(ChangeKeep, &old.Keep, &d.Keep)
	keep(ChangeArch, &old.Arch, &d.Arch)
	if !is(ChangeAdminOnly) {
		d.AdminOnly = old.AdminOnly
	}
	if !is(ChangeMode) {
		d.Mode = old.Mode
	}
	if !is(ChangeArchDelay) {
		d.ArchDelay = old.ArchDelay
	}
	return d.op(r.Name, 0), meta.OK
}

// ClassCopyRequest copies a storage class.
type ClassCopyRequest struct{ Src, Dst []byte }

// Plan needs an administrator.
func (r *ClassCopyRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	status := c.mayChangeClasses(r.Src, r.Dst)
	if status == meta.OK && classID(st, r.Src) == 0 {
		status = meta.ENOSUCHCLASS
	}
	if status == meta.OK {
		status = newClass(st, r.Dst)
	}
	if status != meta.OK {
		return nil, status
	}
	return &SCDup{Src: r.Src, Dst: r.Dst}, meta.OK
}

// ClassRenameRequest renames a storage class.
type ClassRenameRequest struct{ Old, New []byte }

// Plan needs an administrator.
func (r *ClassRenameRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	if status := c.mayChangeClasses(r.Old, r.New); status != meta.OK {
		return nil, status
	}
	switch id := classID(st, r.Old); {
	case id == 0:
		return nil, meta.ENOSUCHCLASS
	case id < meta.FirstOwnClass:
		return nil, meta.EPERM
	case classID(st, r.New) != 0:
		return nil, meta.ECLASSEXISTS
	}
	return &SCRen{Old: r.Old, New: r.New}, meta.OK
}

// ClassDeleteRequest removes a storage class.
type ClassDeleteRequest struct{ Name []byte }

// Plan needs an administrator, and a class that nothing has.
func (r *ClassDeleteRequest) Plan(st *meta.State, c *Caller, _ meta.Time) (Op, meta.Status) {
	if status := c.mayChangeClasses(r.Name); status != meta.OK {
		return nil, status
	}
	id := classID(st, r.Name)
	class, _ := st.Classes.Get(id)
	switch {
	case id == 0:
		return nil, meta.ENOSUCHCLASS
	case id < meta.FirstOwnClass:
		return nil, meta.EPERM
	case class.Files > 0 || class.Directories > 0:
		return nil, meta.ECLASSINUSE
	}
	return &SCDel{Class: r.Name}, meta.OK
}
