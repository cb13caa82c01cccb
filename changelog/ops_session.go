package changelog

import (
	"strconv"

	"mfsstandby/changelog/meta"
)

// SessionData is what SesAdd and SesChanged tell of a session. Since 3.0.112:
//
//	#exportssum:u64,root:u32,sesflags:u8,0ooo,rootuid:u32,rootgid:u32,mapalluid:u32,mapallgid:u32,mingoal:u8,maxgoal:u8,mintrashtime:u32,maxtrashtime:u32,0xHHHHHHHH,peerip:u32,info:DATA
//
// with the umask as three octal digits and the disabled operations as eight
// uppercase hexadecimal ones. Releases before left out the latter, before
// 3.0.72 the umask, and before 3.0.32 the sum. In place of the two goals 4.x
// has 0xHHHH, the storage class groups as four uppercase hexadecimal digits.
type SessionData struct {
	ExportsSum         uint64     // of the export's definition
	Root               meta.Inode // 0 for a meta mount
	Flags              uint8
	Umask              uint16 // up to 0777
	RootUID, RootGID   uint32
	MapUID, MapGID     uint32
	MinGoal, MaxGoal   uint8
	Groups             uint16 // since 4.x, in place of the goals: those it may use, one bit each
	MinTrash, MaxTrash uint32 // seconds
	Disables           uint32
	Peer               uint32 // IPv4
	Info               []byte // mount point
	NoSum              bool   // old: ExportsSum was left out
	NoUmask            bool   // old: Umask was left out
	NoDisables         bool   // old: Disables was left out
	HasGroups          bool   // 4.x: has Groups
}

// parse reads the list, which follows the byte sep.
func (d *SessionData) parse(l *lexer, sep byte) {
	l.eat(sep)
	if d.NoSum = l.peek() != '#'; !d.NoSum {
		d.ExportsSum = l.u64('#')
		l.eat(',')
	}
	d.Root = meta.Inode(l.number(1<<32 - 1))
	d.Flags = l.u8(',')
	d.parseUmask(l)
	d.RootUID = l.u32(',')
	d.RootGID = l.u32(',')
	d.MapUID = l.u32(',')
	d.MapGID = l.u32(',')
	if d.HasGroups = l.hexFollows(); d.HasGroups {
		d.Groups = uint16(l.hex(4, notGroups))
	} else {
		d.MinGoal = l.u8(',')
		d.MaxGoal = l.u8(',')
	}
	d.MinTrash = l.u32(',')
	d.MaxTrash = l.u32(',')
	if d.NoDisables = !l.hexFollows(); !d.NoDisables {
		d.Disables = l.hex(8, notDisables)
	}
	d.Peer = l.u32(',')
	d.Info = l.data(',')
	l.eat(')')
}

// parseUmask reads ",0ooo" if it comes next. What else begins with 0 is a
// RootUID of 0, which 3.0.117 itself cannot read without an umask.
func (d *SessionData) parseUmask(l *lexer) {
	d.NoUmask = true
	t := l.text[l.pos:]
	if len(t) < 5 || t[0] != ',' || t[1] != '0' {
		return
	}
	var mask uint16
	for _, c := range t[2:5] {
		if c < '0' || c > '7' {
			return
		}
		mask = mask<<3 | uint16(c-'0')
	}
	d.Umask, d.NoUmask = mask, false
	l.pos += 5
}

// hexFollows tells whether ",0x" comes next.
func (l *lexer) hexFollows() bool {
	t := l.text[l.pos:]
	return len(t) >= 3 && t[0] == ',' && t[1] == '0' && t[2] == 'x'
}

// hex reads ",0x" and a number of uppercase hexadecimal digits.
func (l *lexer) hex(digits int, otherwise string) (n uint32) {
	l.eat(',')
	t := l.text[l.pos:]
	if len(t) < 2+digits {
		l.fail(l.pos, otherwise)
		return 0
	}
	for _, c := range t[2 : 2+digits] {
		digit := hexDigit[c]
		if digit > 15 {
			l.fail(l.pos, otherwise)
			return 0
		}
		n = n<<4 | uint32(digit)
	}
	l.pos += 2 + digits
	return n
}

const (
	notDisables = "'0x' and eight uppercase hexadecimal digits expected"
	notGroups   = "'0x' and four uppercase hexadecimal digits expected"
)

// appendHex appends what hex reads.
func appendHex(b []byte, n uint32, digits int) []byte {
	b = append(b, ",0x"...)
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		b = append(b, upperHex[n>>shift&15])
	}
	return b
}

// append appends what parse reads.
func (d *SessionData) append(b []byte, sep byte) []byte {
	b = append(b, sep)
	if !d.NoSum {
		b = append(appendNum(b, '#', d.ExportsSum), ',')
	}
	b = strconv.AppendUint(b, uint64(d.Root), 10)
	b = appendNum(b, ',', uint64(d.Flags))
	if !d.NoUmask {
		b = append(b, ',', '0', '0'+byte(d.Umask>>6&7), '0'+byte(d.Umask>>3&7), '0'+byte(d.Umask&7))
	}
	b = appendNum(b, ',', uint64(d.RootUID))
	b = appendNum(b, ',', uint64(d.RootGID))
	b = appendNum(b, ',', uint64(d.MapUID))
	b = appendNum(b, ',', uint64(d.MapGID))
	if d.HasGroups {
		b = appendHex(b, uint32(d.Groups), 4)
	} else {
		b = appendNum(b, ',', uint64(d.MinGoal))
		b = appendNum(b, ',', uint64(d.MaxGoal))
	}
	b = appendNum(b, ',', uint64(d.MinTrash))
	b = appendNum(b, ',', uint64(d.MaxTrash))
	if !d.NoDisables {
		b = appendHex(b, d.Disables, 8)
	}
	b = appendNum(b, ',', uint64(d.Peer))
	return append(appendText(b, ',', d.Info), ')')
}

// SesAdd makes a client session. Since 2.0:
//
//	SESADD(SessionData):session:u32
type SesAdd struct {
	SessionData
	Session meta.SessionID // result
}

// Name is "SESADD".
func (*SesAdd) Name() string { return "SESADD" }

func (op *SesAdd) parse(l *lexer) {
	op.SessionData.parse(l, '(')
	op.Session = l.session(':')
}

// AppendArgs appends the arguments and the result.
func (op *SesAdd) AppendArgs(b []byte) []byte {
	return appendNum(op.SessionData.append(b, '('), ':', uint64(op.Session))
}

// SesChanged replaces what is known of a session. Since 3.0:
//
//	SESCHANGED(session:u32,SessionData)
type SesChanged struct {
	Session meta.SessionID
	SessionData
}

// Name is "SESCHANGED".
func (*SesChanged) Name() string { return "SESCHANGED" }

func (op *SesChanged) parse(l *lexer) {
	op.Session = l.session('(')
	op.SessionData.parse(l, ',')
}

// AppendArgs appends the arguments.
func (op *SesChanged) AppendArgs(b []byte) []byte {
	return op.SessionData.append(appendNum(b, '(', uint64(op.Session)), ',')
}

// SesDel removes a session and closes its files. Since 2.0:
//
//	SESDEL(session:u32)
type SesDel struct {
	Session meta.SessionID
}

// Name is "SESDEL".
func (*SesDel) Name() string { return "SESDEL" }

func (op *SesDel) parse(l *lexer) {
	op.Session = l.session('(')
	l.eat(')')
}

// AppendArgs appends the argument.
func (op *SesDel) AppendArgs(b []byte) []byte {
	return append(appendNum(b, '(', uint64(op.Session)), ')')
}

// SesConnected notes that a disconnected session has a connection again. Since
// 4.x:
//
//	SESCONNECTED(session:u32)
type SesConnected struct {
	Session meta.SessionID
}

// Name is "SESCONNECTED".
func (*SesConnected) Name() string { return "SESCONNECTED" }

func (op *SesConnected) parse(l *lexer) {
	op.Session = l.session('(')
	l.eat(')')
}

// AppendArgs appends the argument.
func (op *SesConnected) AppendArgs(b []byte) []byte {
	return append(appendNum(b, '(', uint64(op.Session)), ')')
}

// SesDisconnected notes that a session lost its connection. Since 2.0:
//
//	SESDISCONNECTED(session:u32)
type SesDisconnected struct {
	Session meta.SessionID
}

// Name is "SESDISCONNECTED".
func (*SesDisconnected) Name() string { return "SESDISCONNECTED" }

func (op *SesDisconnected) parse(l *lexer) {
	op.Session = l.session('(')
	l.eat(')')
}

// AppendArgs appends the argument.
func (op *SesDisconnected) AppendArgs(b []byte) []byte {
	return append(appendNum(b, '(', uint64(op.Session)), ')')
}

// Session takes the next session id. 1.6 wrote
//
//	SESSION():session:u32
//
// and releases before it CUSTOMER.
type Session struct {
	Session  meta.SessionID // result
	Customer bool           // before 1.6: spelled CUSTOMER
}

// Name is "SESSION" or "CUSTOMER".
func (op *Session) Name() string {
	if op.Customer {
		return "CUSTOMER"
	}
	return "SESSION"
}

func (op *Session) parse(l *lexer) {
	op.Customer = l.op == "CUSTOMER"
	l.eat('(')
	l.eat(')')
	op.Session = l.session(':')
}

// AppendArgs appends the result.
func (op *Session) AppendArgs(b []byte) []byte {
	return appendNum(append(b, "()"...), ':', uint64(op.Session))
}
