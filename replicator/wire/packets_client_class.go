package wire

// LabelMasks is the number of masks of one label expression: a server fits if
// it has, for each mask that is not 0, one of its labels.
const LabelMasks = 4

// Class is a storage class as ClassCreate, ClassChange and ClassList have it.
//
//	adminonly:8 mode:8 archdelay:16 create:8 keep:8 archive:8 (create+keep+archive)*[LabelMasks*mask:32]
type Class struct {
	AdminOnly             uint8
	Mode                  uint8  // 0 loose, 1 standard, 2 strict
	ArchDelay             uint16 // days
	Create, Keep, Archive uint8  // how many copies, each with a label expression
	Labels                Numbers
}

func (c *Class) append(e *Encoder) {
	e.U8(c.AdminOnly)
	e.U8(c.Mode)
	e.U16(c.ArchDelay)
	e.U8(c.Create)
	e.U8(c.Keep)
	e.U8(c.Archive)
	e.Bytes(c.Labels)
}

func (c *Class) decode(d *Decoder) {
	c.AdminOnly, c.Mode, c.ArchDelay = d.U8(), d.U8(), d.U16()
	c.Create, c.Keep, c.Archive = d.U8(), d.U8(), d.U8()
	c.Labels = d.take(4 * LabelMasks * (uint64(c.Create) + uint64(c.Keep) + uint64(c.Archive)))
}

// CreateClass is CLTOMA_SCLASS_CREATE (350); the answer is a status.
//
//	msgid:32 name:NAME form:8=0 CLASS
type CreateClass struct {
	MsgID uint32
	Name  []byte // aliases the packet
	Form  uint8  // others than 0 have no Class and are to be answered with EINVAL
	Class
}

// Append appends the request.
func (p *CreateClass) Append(e *Encoder) {
	e.Begin(ClassCreate)
	e.U32(p.MsgID)
	e.Name(p.Name)
	e.U8(p.Form)
	if p.Form == 0 {
		p.append(e)
	}
	e.End()
}

// Decode reads the request. Of clients that are not admin the master looks at
// no more than MsgID.
func (p *CreateClass) Decode(d *Decoder) error {
	*p = CreateClass{MsgID: d.U32(), Name: d.Name(), Form: d.U8()}
	if p.Form == 0 {
		p.decode(d)
	} else {
		d.Rest()
	}
	return d.End()
}

// ChangeClass is CLTOMA_SCLASS_CHANGE (352). With no change asked for it reads
// the class.
//
//	msgid:32 name:NAME form:8=0 changes:16 CLASS
type ChangeClass struct {
	MsgID   uint32
	Name    []byte // aliases the packet
	Form    uint8
	Changes uint16 // a bit for each field that changes
	Class
}

// Append appends the request.
func (p *ChangeClass) Append(e *Encoder) {
	e.Begin(ClassChange)
	e.U32(p.MsgID)
	e.Name(p.Name)
	e.U8(p.Form)
	if p.Form == 0 {
		e.U16(p.Changes)
		p.append(e)
	}
	e.End()
}

// Decode reads the request.
func (p *ChangeClass) Decode(d *Decoder) error {
	*p = ChangeClass{MsgID: d.U32(), Name: d.Name(), Form: d.U8()}
	if p.Form == 0 {
		p.Changes = d.U16()
		p.decode(d)
	} else {
		d.Rest()
	}
	return d.End()
}

// ClassReply is MATOCL_SCLASS_CHANGE (353).
//
//	msgid:32 form:8=0 CLASS
type ClassReply struct {
	MsgID uint32
	Class
}

// Append appends the answer.
func (p *ClassReply) Append(e *Encoder) {
	e.Begin(ClassChange.Reply())
	e.U32(p.MsgID)
	e.U8(0)
	p.append(e)
	e.End()
}

// Decode reads the answer.
func (p *ClassReply) Decode(d *Decoder) error {
	p.MsgID = d.U32()
	d.U8()
	p.decode(d)
	return d.End()
}

// ClassNames is a request with the names of storage classes: ClassDelete has
// one, ClassDuplicate and ClassRename have From and To.
//
//	msgid:32 from:NAME [to:NAME]
type ClassNames struct {
	MsgID    uint32
	From, To []byte // alias the packet
}

// Append appends request t.
func (p *ClassNames) Append(e *Encoder, t Type) {
	e.Begin(t)
	e.U32(p.MsgID)
	e.Name(p.From)
	if t != ClassDelete {
		e.Name(p.To)
	}
	e.End()
}

// Decode reads request t.
func (p *ClassNames) Decode(d *Decoder, t Type) error {
	p.MsgID, p.From, p.To = d.U32(), d.Name(), nil
	if t != ClassDelete {
		p.To = d.Name()
	}
	return d.End()
}

// ListClasses is CLTOMA_SCLASS_LIST (360). The answer is msgid:32 and for each
// class its NAME, which CLASS follows if Long is odd.
//
//	msgid:32 long:8
type ListClasses struct {
	MsgID uint32
	Long  uint8
}

// Append appends the request.
func (p *ListClasses) Append(e *Encoder) {
	e.Begin(ClassList)
	e.U32(p.MsgID)
	e.U8(p.Long)
	e.End()
}

// Decode reads the request.
func (p *ListClasses) Decode(d *Decoder) error {
	p.MsgID, p.Long = d.U32(), d.U8()
	return d.End()
}

// Begin begins the answer; AppendEntry for each class and Encoder.End follow.
func (p *ListClasses) Begin(e *Encoder) {
	e.Begin(ClassList.Reply())
	e.U32(p.MsgID)
}

// AppendEntry appends a class to an answer that was begun.
func (p *ListClasses) AppendEntry(e *Encoder, name []byte, c *Class) {
	e.Name(name)
	if p.Long&1 != 0 {
		c.append(e)
	}
}

// DecodeEntry reads one class of the answer.
func (p *ListClasses) DecodeEntry(d *Decoder, c *Class) (name []byte, err error) {
	name = d.Name()
	if p.Long&1 != 0 {
		c.decode(d)
	}
	return name, d.Err()
}

// ClassInfo is one entry of MATOCL_SCLASS_INFO (543), which begins with the
// number of chunkservers connected:16.
//
//	id:8 name:NAME files:32 dirs:32 6*[chunks:64] adminonly:8 mode:8 archdelay:16 3*[possible:8 copies:8]
//	copies*[LabelMasks*mask:32 servers:16]
type ClassInfo struct {
	ID          uint8
	Name        []byte // aliases the packet
	Files, Dirs uint32
	// Chunks with fewer copies than wanted, as many, and more; each with
	// those kept by the class's keep labels and by its archive labels.
	Under, UnderArch, Exact, ExactArch, Over, OverArch uint64
	AdminOnly, Mode                                    uint8
	ArchDelay                                          uint16
	Create, Keep, Archive                              ClassLabels
	Labels                                             []byte // (create+keep+archive) times LabelMasks masks and a count; aliases the packet
}

// ClassLabels tell how many copies one part of a class wants.
type ClassLabels struct {
	Possible uint8 // whether there are chunkservers for it
	Copies   uint8
}

// classLabelSize is the length of one label expression in ClassInfo.Labels.
const classLabelSize = 4*LabelMasks + 2

// AddLabel appends a label expression, and how many servers fit, to Labels.
func (p *ClassInfo) AddLabel(masks [LabelMasks]uint32, servers uint16) {
	e := Encoder{Buf: p.Labels}
	for _, m := range masks {
		e.U32(m)
	}
	e.U16(servers)
	p.Labels = e.Buf
}

// Append appends the entry to an answer that was begun.
func (p *ClassInfo) Append(e *Encoder) {
	e.U8(p.ID)
	e.Name(p.Name)
	e.U32(p.Files)
	e.U32(p.Dirs)
	for _, n := range [...]uint64{p.Under, p.UnderArch, p.Exact, p.ExactArch, p.Over, p.OverArch} {
		e.U64(n)
	}
	e.U8(p.AdminOnly)
	e.U8(p.Mode)
	e.U16(p.ArchDelay)
	for _, l := range [...]ClassLabels{p.Create, p.Keep, p.Archive} {
		e.U8(l.Possible)
		e.U8(l.Copies)
	}
	e.Bytes(p.Labels)
}

// Decode reads one entry.
func (p *ClassInfo) Decode(d *Decoder) error {
	p.ID, p.Name, p.Files, p.Dirs = d.U8(), d.Name(), d.U32(), d.U32()
	for _, n := range [...]*uint64{&p.Under, &p.UnderArch, &p.Exact, &p.ExactArch, &p.Over, &p.OverArch} {
		*n = d.U64()
	}
	p.AdminOnly, p.Mode, p.ArchDelay = d.U8(), d.U8(), d.U16()
	copies := uint64(0)
	for _, l := range [...]*ClassLabels{&p.Create, &p.Keep, &p.Archive} {
		l.Possible, l.Copies = d.U8(), d.U8()
		copies += uint64(l.Copies)
	}
	p.Labels = d.take(classLabelSize * copies)
	return d.Err()
}
