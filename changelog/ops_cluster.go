package changelog

import "mfsstandby/changelog/meta"

// CSDBOp changes the list of known chunkservers. Since 2.0:
//
//	CSDBOP(op:u8,ip:u32,port:u16,arg:u32)
type CSDBOp struct {
	Op   uint8 // CSDB*
	IP   uint32
	Port uint16
	Arg  uint32 // server id or end of maintenance, as Op says
}

// Values of CSDBOp.Op.
const (
	CSDBAdd            = 0 // Arg: id, 0 is none
	CSDBDel            = 1
	CSDBNewAddress     = 2 // Arg: id of the server that gets IP and Port
	CSDBNewID          = 3 // Arg: id
	CSDBMaintenanceOn  = 4 // Arg: its end, 0 is none
	CSDBMaintenanceOff = 5
	CSDBMaintenanceTmp = 6 // Arg: its end
)

// Name is "CSDBOP".
func (*CSDBOp) Name() string { return "CSDBOP" }

func (op *CSDBOp) parse(l *lexer) {
	op.Op = l.u8('(')
	op.IP = l.u32(',')
	op.Port = l.u16(',')
	op.Arg = l.u32(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *CSDBOp) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.Op))
	b = appendNum(b, ',', uint64(op.IP))
	b = appendNum(b, ',', uint64(op.Port))
	return append(appendNum(b, ',', uint64(op.Arg)), ')')
}

// CSAdd adds a chunkserver without id. Releases before 1.7.25 wrote
//
//	CSADD(ip:u32,port:u16)
type CSAdd struct {
	IP   uint32
	Port uint16
}

// Name is "CSADD".
func (*CSAdd) Name() string { return "CSADD" }

func (op *CSAdd) parse(l *lexer) {
	op.IP = l.u32('(')
	op.Port = l.u16(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *CSAdd) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.IP))
	return append(appendNum(b, ',', uint64(op.Port)), ')')
}

// CSDel removes a chunkserver. Releases before 1.7.25 wrote
//
//	CSDEL(ip:u32,port:u16)
type CSDel struct {
	IP   uint32
	Port uint16
}

// Name is "CSDEL".
func (*CSDel) Name() string { return "CSDEL" }

func (op *CSDel) parse(l *lexer) {
	op.IP = l.u32('(')
	op.Port = l.u16(',')
	l.eat(')')
}

// AppendArgs appends the arguments.
func (op *CSDel) AppendArgs(b []byte) []byte {
	b = appendNum(b, '(', uint64(op.IP))
	return append(appendNum(b, ',', uint64(op.Port)), ')')
}

// SetMetaID gives the cluster its id. Since 3.0.33:
//
//	SETMETAID(metaid:u64)
type SetMetaID struct {
	MetaID uint64
}

// Name is "SETMETAID".
func (*SetMetaID) Name() string { return "SETMETAID" }

func (op *SetMetaID) parse(l *lexer) {
	op.MetaID = l.u64('(')
	l.eat(')')
}

// AppendArgs appends the argument.
func (op *SetMetaID) AppendArgs(b []byte) []byte {
	return append(appendNum(b, '(', op.MetaID), ')')
}

// RenumerateEdges gives all edges new ids. Since 3.0.73:
//
//	RENUMERATEEDGES():nextedgeid:u64
type RenumerateEdges struct {
	NextEdge uint64 // result
}

// Name is "RENUMERATEEDGES".
func (*RenumerateEdges) Name() string { return "RENUMERATEEDGES" }

func (op *RenumerateEdges) parse(l *lexer) {
	l.eat('(')
	l.eat(')')
	op.NextEdge = l.u64(':')
}

// AppendArgs appends the result.
func (op *RenumerateEdges) AppendArgs(b []byte) []byte {
	return appendNum(append(b, "()"...), ':', op.NextEdge)
}

// RenumEdges gives edges without id one. 2.0 wrote, when it began with a file of
// 1.6,
//
//	RENUMEDGES():nextedgeid:u64
type RenumEdges struct {
	NextEdge uint64 // result
}

// Name is "RENUMEDGES".
func (*RenumEdges) Name() string { return "RENUMEDGES" }

func (op *RenumEdges) parse(l *lexer) {
	if !l.before(meta.Release3) { // it does not read that any more
		l.fail(l.pos-len(l.op), unknownOp)
	}
	l.eat('(')
	l.eat(')')
	op.NextEdge = l.u64(':')
}

// AppendArgs appends the result.
func (op *RenumEdges) AppendArgs(b []byte) []byte {
	return appendNum(append(b, "()"...), ':', op.NextEdge)
}

// Idle changes nothing but the version. 4.x writes
//
//	IDLE()
type Idle struct{}

// Name is "IDLE".
func (*Idle) Name() string { return "IDLE" }

func (op *Idle) parse(l *lexer) {
	l.eat('(')
	l.eat(')')
}

// AppendArgs appends the empty arguments.
func (op *Idle) AppendArgs(b []byte) []byte { return append(b, "()"...) }
