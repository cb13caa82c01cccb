package wire

import (
	"errors"

	"mfsstandby/changelog/meta"
)

// registerBlob begins every registration since 1.5; older ones are refused.
const registerBlob = "DjI1GAQDULI5d2YjA26ypc3ovkhjvhciTQVx3CS4nYgtBoUcsljiVpsErJENHaw0"

// RegisterCode says what kind of registration a FuseRegister packet is.
type RegisterCode uint8

// The kinds of registration.
const (
	RegisterRandom         RegisterCode = 1 // asks for the 32 random bytes a password is answered with
	RegisterNewSession     RegisterCode = 2
	RegisterReconnect      RegisterCode = 3
	RegisterTools          RegisterCode = 4
	RegisterNewMetaSession RegisterCode = 5 // a mount of the trash
	RegisterCloseSession   RegisterCode = 6
)

// PasswordSize is the length of a password's answer: the MD5 of the first 16
// random bytes, the MD5 of the password, and the other 16 random bytes.
const PasswordSize = 16

var errRegister = errors.New("packet is no registration of a known kind")

// ClientRegister is CLTOMA_FUSE_REGISTER (400) after its constant of 64 bytes:
//
//	code:8=1
//	code:8=2 release:32 ileng:32 info pleng:32 path [session:32 [metaid:64]] [password:16*8]
//	code:8=3 session:32 release:32 [metaid:64]       code 4 the same
//	code:8=5 release:32 ileng:32 info [session:32 [metaid:64]] [password:16*8]
//	code:8=6 session:32 [metaid:64]
//
// The optional fields are told apart by the total length. Infos and paths end
// with a NUL that their length counts; a path without one is refused, as the
// master does.
type ClientRegister struct {
	Code       RegisterCode
	Release    Release // codes 2 to 5
	Info       []byte  // where the client mounts, with NUL; aliases the packet
	Path       []byte  // the directory it wants as root, without NUL; aliases the packet
	HasSession bool    // codes 2 and 5: Session is there
	Session    uint32
	HasMetaID  bool
	MetaID     uint64
	Password   []byte // nil, or PasswordSize bytes; aliases the packet
}

// Append appends the packet.
func (p *ClientRegister) Append(e *Encoder) {
	e.Begin(FuseRegister)
	e.Bytes([]byte(registerBlob))
	e.U8(uint8(p.Code))
	switch p.Code {
	case RegisterNewSession, RegisterNewMetaSession:
		e.U32(uint32(p.Release))
		e.Text(p.Info)
		if p.Code == RegisterNewSession {
			e.U32(uint32(len(p.Path)) + 1)
			e.Bytes(p.Path)
			e.U8(0)
		}
		if p.HasSession {
			e.U32(p.Session)
			p.appendMetaID(e)
		}
		e.Bytes(p.Password)
	case RegisterReconnect, RegisterTools:
		e.U32(p.Session)
		e.U32(uint32(p.Release))
		p.appendMetaID(e)
	case RegisterCloseSession:
		e.U32(p.Session)
		p.appendMetaID(e)
	}
	e.End()
}

func (p *ClientRegister) appendMetaID(e *Encoder) {
	if p.HasMetaID {
		e.U64(p.MetaID)
	}
}

// Decode reads the packet.
func (p *ClientRegister) Decode(d *Decoder) error {
	*p = ClientRegister{}
	if string(d.Bytes(uint32(len(registerBlob)))) != registerBlob {
		d.Fail(errRegister)
	}
	p.Code = RegisterCode(d.U8())
	switch p.Code {
	case RegisterRandom:
	case RegisterNewSession, RegisterNewMetaSession:
		p.Release = Release(d.U32())
		p.Info = d.Text()
		if p.Code == RegisterNewSession {
			p.Path = d.registerPath()
		}
		p.decodeOptional(d)
	case RegisterReconnect, RegisterTools:
		p.Session, p.Release = d.U32(), Release(d.U32())
		p.decodeMetaID(d)
	case RegisterCloseSession:
		p.Session = d.U32()
		p.decodeMetaID(d)
	default:
		d.Fail(errRegister)
	}
	return d.End()
}

// registerPath reads a path with its NUL; no path at all is the root. The
// master reads the path as a C string, so it ends at its first NUL.
func (d *Decoder) registerPath() []byte {
	path := d.Text()
	if len(path) == 0 {
		return nil
	}
	if path[len(path)-1] != 0 {
		d.Fail(errors.New("path of a registration does not end with a NUL"))
	}
	for i, c := range path {
		if c == 0 {
			return path[:i:i]
		}
	}
	return nil
}

func (p *ClientRegister) decodeOptional(d *Decoder) {
	left := d.Len()
	switch left {
	case 0, 4, 12, PasswordSize, 4 + PasswordSize, 12 + PasswordSize:
	default:
		d.Fail(errForm("registration", left))
		return
	}
	hasPassword := left >= PasswordSize
	if hasPassword {
		left -= PasswordSize
	}
	if left >= 4 {
		p.HasSession, p.Session = true, d.U32()
	}
	if left == 12 {
		p.HasMetaID, p.MetaID = true, d.U64()
	}
	if hasPassword {
		p.Password = d.take(PasswordSize)
	}
}

// decodeMetaID reads the cluster's id where it is there. The master looks at
// no more than that, whatever follows.
func (p *ClientRegister) decodeMetaID(d *Decoder) {
	if d.Len() >= 8 {
		p.HasMetaID, p.MetaID = true, d.U64()
	}
	d.Rest()
}

// AppendRandom appends the answer to RegisterRandom: 32 random bytes.
func AppendRandom(e *Encoder, random *[32]byte) {
	e.Begin(FuseRegister.Reply())
	e.Bytes(random[:])
	e.End()
}

// AppendRegisterStatus appends an answer to a registration that is only a
// status; unlike others it has no message id.
func AppendRegisterStatus(e *Encoder, status meta.Status) {
	e.Begin(FuseRegister.Reply())
	e.U8(uint8(status))
	e.End()
}

// RegisterStatus tells whether the payload of an answer to a registration is
// only a status.
func RegisterStatus(payload []byte) (meta.Status, bool) {
	if len(payload) != 1 {
		return 0, false
	}
	return meta.Status(payload[0]), true
}

// Reconnected is the answer to RegisterReconnect, and to RegisterTools.
//
//	[release:32 [process:64]] status:8   release for RegisterReconnect of clients since 3.0.95 and 4.0.7, process since 4.40
type Reconnected struct {
	Tools   bool    // it answers RegisterTools: the status alone
	Release Release // of the server; 0 in the form for older clients
	Process uint64  // of the server, another one after each start; 0 in the form for older clients
	Status  meta.Status
}

// Append appends the answer.
func (p *Reconnected) Append(e *Encoder, client Release) {
	e.Begin(FuseRegister.Reply())
	if both(client, rel3_0_95, rel4_0_7) && !p.Tools {
		e.U32(uint32(p.Release))
		if client >= rel4_40 {
			e.U64(p.Process)
		}
	}
	e.U8(uint8(p.Status))
	e.End()
}

// Decode reads the answer, whose length tells the client's form.
func (p *Reconnected) Decode(d *Decoder) error {
	*p = Reconnected{Tools: d.Len() == 1}
	if !p.Tools {
		p.Release = Release(d.U32())
	}
	if d.Len() > 1 {
		p.Process = d.U64()
	}
	p.Status = meta.Status(d.U8())
	return d.End()
}

// Bits of Session.Flags.
const (
	SessionReadOnly  = 0x01
	SessionDynamicIP = 0x02 // other addresses may use the session
	SessionIgnoreGID = 0x04
	SessionAdmin     = 0x08
	SessionMapAll    = 0x10
)

// Session is what a client is told of its new session: the answer to
// RegisterNewSession, and with fewer fields to RegisterNewMetaSession. The
// layout depends on the client's release, from 13 to 57 bytes:
//
//	[release:32] session:32 [metaid:64] flags:8 [umask:16] rootuid:32 rootgid:32 [mapalluid:32 mapallgid:32]
//	[mingoal:8 maxgoal:8 mintrash:32 maxtrash:32] [disables:32] [process:64]
//	[release:32] session:32 [metaid:64] flags:8 [mingoal:8 maxgoal:8 mintrash:32 maxtrash:32] [process:64]
//
// Since 4.57 groups:16 is in the place of the goals.
type Session struct {
	Meta               bool // answer to RegisterNewMetaSession: no umask, users or disables
	Release            Release
	Session            uint32
	MetaID             uint64
	Flags              uint8
	Umask              uint16
	RootUID, RootGID   uint32
	MapUID, MapGID     uint32
	MinGoal, MaxGoal   uint8
	Groups             uint16 // a bit for each group of storage classes that may be used
	MinTrash, MaxTrash uint32 // seconds
	Disables           uint32 // a bit for each operation that is refused
	Process            uint64 // as in Reconnected
}

// hasDisables tells whether a client is told which operations are refused.
func hasDisables(client Release) bool { return both(client, rel3_0_112, rel4_21) }

// Append appends the answer.
func (p *Session) Append(e *Encoder, client Release) {
	e.Begin(FuseRegister.Reply())
	switch {
	case client >= rel1_6_22 || p.Meta && client >= rel1_6_21:
		e.U32(uint32(p.Release))
	case client >= rel1_6_21:
		e.U32(0)
	}
	e.U32(p.Session)
	if client >= rel3_0_11 {
		e.U64(p.MetaID)
	}
	e.U8(p.Flags)
	if !p.Meta {
		p.appendUsers(e, client)
	}
	if client >= rel1_6_26 {
		if client >= rel4_57 {
			e.U16(p.Groups)
		} else {
			e.U8(p.MinGoal)
			e.U8(p.MaxGoal)
		}
		e.U32(p.MinTrash)
		e.U32(p.MaxTrash)
	}
	if hasDisables(client) && !p.Meta {
		e.U32(p.Disables)
	}
	if client >= rel4_40 {
		e.U64(p.Process)
	}
	e.End()
}

func (p *Session) appendUsers(e *Encoder, client Release) {
	if client >= rel3_0_72 {
		e.U16(p.Umask)
	}
	e.U32(p.RootUID)
	e.U32(p.RootGID)
	if client >= rel1_6_1 {
		e.U32(p.MapUID)
		e.U32(p.MapGID)
	}
}

// Decode reads the answer; set Meta before. Fields that the client's form
// does not have become 0.
func (p *Session) Decode(d *Decoder, client Release) error {
	*p = Session{Meta: p.Meta}
	if client >= rel1_6_21 {
		p.Release = Release(d.U32())
	}
	p.Session = d.U32()
	if client >= rel3_0_11 {
		p.MetaID = d.U64()
	}
	p.Flags = d.U8()
	if !p.Meta {
		if client >= rel3_0_72 {
			p.Umask = d.U16()
		}
		p.RootUID, p.RootGID = d.U32(), d.U32()
		if client >= rel1_6_1 {
			p.MapUID, p.MapGID = d.U32(), d.U32()
		}
	}
	if client >= rel1_6_26 {
		if client >= rel4_57 {
			p.Groups = d.U16()
		} else {
			p.MinGoal, p.MaxGoal = d.U8(), d.U8()
		}
		p.MinTrash, p.MaxTrash = d.U32(), d.U32()
	}
	if hasDisables(client) && !p.Meta {
		p.Disables = d.U32()
	}
	if client >= rel4_40 {
		p.Process = d.U64()
	}
	return d.End()
}

// OpenInodes is CLTOMA_FUSE_SUSTAINED_INODES (700, or 499): all inodes the
// client holds open. Inodes 0 are to be passed over. No answer.
//
//	N*[inode:32]
type OpenInodes struct{ Inodes Numbers } // aliases the packet

// Append appends the packet.
func (p *OpenInodes) Append(e *Encoder) {
	e.Begin(FuseSustainedInodes)
	e.Bytes(p.Inodes)
	e.End()
}

// Decode reads the packet.
func (p *OpenInodes) Decode(d *Decoder) error {
	p.Inodes = d.numbers()
	return d.End()
}

// AccessTimes is CLTOMA_FUSE_AMTIME_INODES (701): times of files that the
// client read and wrote, as triples; a time of 0 is unchanged. No answer.
//
//	N*[inode:32 atime:32 mtime:32]
type AccessTimes struct{ Triples Numbers } // aliases the packet

// Append appends the packet.
func (p *AccessTimes) Append(e *Encoder) {
	e.Begin(FuseAmtimeInodes)
	e.Bytes(p.Triples)
	e.End()
}

// Decode reads the packet.
func (p *AccessTimes) Decode(d *Decoder) error {
	if d.Len()%12 != 0 {
		d.Fail(errForm("list of access times", d.Len()))
	}
	p.Triples = d.Rest()
	return d.End()
}

// TimeSync is CLTOMA_FUSE_TIME_SYNC (704).
//
//	[msgid:32]
type TimeSync struct {
	Numbered bool // the answer has a message id as well
	MsgID    uint32
}

// Append appends the packet.
func (p *TimeSync) Append(e *Encoder) {
	e.Begin(FuseTimeSync)
	if p.Numbered {
		e.U32(p.MsgID)
	}
	e.End()
}

// Decode reads the packet.
func (p *TimeSync) Decode(d *Decoder) error {
	p.Numbered, p.MsgID = d.Len() > 0, 0
	if p.Numbered {
		p.MsgID = d.U32()
	}
	return d.End()
}

// TimeSyncReply is MATOCL_FUSE_TIME_SYNC (705).
//
//	[msgid:32] usec:64
type TimeSyncReply struct {
	Numbered bool
	MsgID    uint32
	Micros   uint64 // Unix time
}

// Append appends the answer.
func (p *TimeSyncReply) Append(e *Encoder) {
	e.Begin(FuseTimeSync.Reply())
	if p.Numbered {
		e.U32(p.MsgID)
	}
	e.U64(p.Micros)
	e.End()
}

// Decode reads the answer.
func (p *TimeSyncReply) Decode(d *Decoder) error {
	p.Numbered, p.MsgID = d.Len() > 8, 0
	if p.Numbered {
		p.MsgID = d.U32()
	}
	p.Micros = d.U64()
	return d.End()
}
