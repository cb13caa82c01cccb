package wire

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"

	"mfsstandby/changelog/meta"
)

// Register is ANTOMA_REGISTER (50), the first thing a metalogger sends. The
// master does not answer it before 4.x; it closes the connection when it does
// not like it.
//
//	rver:8=1 release:32 timeout:16           changes from now on
//	rver:8=2 release:32 timeout:16 from:64   and those in memory from version `from`
//
// A master that no longer has version From in memory sends none of the older
// ones, and up to 3.0.117 says nothing about it.
type Register struct {
	Release Release      // what the metalogger claims to be; 0 would get no changes
	Timeout uint16       // seconds of silence after which the master closes; it raises less than 3 to 3
	From    meta.Version // first version wanted; 0 stands for rver 1
}

// Append appends the packet.
func (p *Register) Append(e *Encoder) {
	e.Begin(MetaloggerRegister)
	if p.From == 0 {
		e.U8(1)
	} else {
		e.U8(2)
	}
	e.U32(uint32(p.Release))
	e.U16(p.Timeout)
	if p.From != 0 {
		e.U64(uint64(p.From))
	}
	e.End()
}

// Decode reads rver 1 and 2; other forms (Pro components, supervisors) are
// errors. A rver 2 that asks from version 0 decodes like one that asks from 1,
// as there is no entry 0.
func (p *Register) Decode(d *Decoder) error {
	rver := d.U8()
	p.Release, p.Timeout, p.From = Release(d.U32()), d.U16(), 0
	switch rver {
	case 1:
	case 2:
		p.From = max(1, meta.Version(d.U64()))
	default:
		d.Fail(fmt.Errorf("registration of version %d is not a metalogger's (1 or 2)", rver))
	}
	return d.End()
}

// The first byte of MATOAN_METACHANGES_LOG.
const (
	changeEntry  = 0xFF
	changeRotate = 0x55
	changeAcked  = 0xAA // wants an acknowledgement: for Pro followers only
)

// MaxEntryText is the largest number of bytes of an entry's text, without
// newline or NUL: MooseFS builds lines in a buffer of 200000 bytes.
const MaxEntryText = 199_999

var errNoChange = errors.New("packet is neither an entry nor a rotation mark")

// Change is MATOAN_METACHANGES_LOG (51): one changelog entry, or the mark that
// the master rotates its changelog files.
//
//	FF:8 version:64 text NUL:8
//	55:8
type Change struct {
	Rotate  bool // the mark; then there is no entry
	Version meta.Version
	Text    []byte // "time|OPERATION(...)"; aliases the packet
}

// Append appends the packet.
func (p *Change) Append(e *Encoder) {
	e.Begin(MetachangesLog)
	if p.Rotate {
		e.U8(changeRotate)
	} else {
		e.U8(changeEntry)
		e.U64(uint64(p.Version))
		e.Bytes(p.Text)
		e.U8(0)
	}
	e.End()
}

// Decode reads the packet. An entry must have a text that ends with the
// packet's only NUL, holds no newline, and is not longer than MaxEntryText.
func (p *Change) Decode(d *Decoder) error {
	p.Rotate, p.Version, p.Text = false, 0, nil
	switch first := d.U8(); first {
	case changeRotate:
		p.Rotate = true
	case changeEntry:
		p.Version = meta.Version(d.U64())
		p.Text = d.entryText()
	case changeAcked:
		d.Fail(errors.New("entry wants an acknowledgement, which metaloggers do not give"))
	default:
		d.Fail(errNoChange)
	}
	return d.End()
}

// entryText reads the rest of the packet as text and its closing NUL.
func (d *Decoder) entryText() []byte {
	text := d.Rest()
	n := len(text) - 1
	switch {
	case d.err != nil:
		return nil
	case n < 1:
		d.Fail(ErrShort)
		return nil
	case n > MaxEntryText:
		d.Fail(fmt.Errorf("entry text of %d bytes: %w", n, ErrTooLong))
		return nil
	case text[n] != 0:
		d.Fail(errors.New("entry text does not end with a NUL"))
		return nil
	}
	text = text[:n:n]
	for _, c := range []byte{0, '\n'} {
		if i := bytes.IndexByte(text, c); i >= 0 {
			d.Fail(fmt.Errorf("entry text has byte %#02x at offset %d", c, i))
			return nil
		}
	}
	return text
}

// Ack is MATOAN_MASTER_ACK (52), the answer of a 4.x master to the
// registration of a metalogger that claims to be 4.0 or later.
//
//	atype:8 release:32
type Ack struct {
	Type    uint8 // 0: the history asked for follows; 1: only new changes; others: refused
	Release Release
}

// Append appends the packet.
func (p *Ack) Append(e *Encoder) {
	e.Begin(MasterAck)
	e.U8(p.Type)
	e.U32(uint32(p.Release))
	e.End()
}

// Decode reads the packet.
func (p *Ack) Decode(d *Decoder) error {
	p.Type, p.Release = d.U8(), Release(d.U32())
	return d.End()
}

// Timeout is ANTOAN_FORCE_TIMEOUT (5) on the metalogger port: a 4.x master
// tells the metalogger which timeout to use.
//
//	seconds:16
type Timeout struct{ Seconds uint16 }

// Append appends the packet.
func (p *Timeout) Append(e *Encoder) {
	e.Begin(ForceTimeout)
	e.U16(p.Seconds)
	e.End()
}

// Decode reads the packet.
func (p *Timeout) Decode(d *Decoder) error {
	p.Seconds = d.U16()
	return d.End()
}

// VersionRequest is ANTOAN_GET_VERSION (10); it needs no registration.
//
//	[msgid:32]
type VersionRequest struct {
	Numbered bool // MsgID is there, and will be in the answer
	MsgID    uint32
}

// Append appends the packet.
func (p *VersionRequest) Append(e *Encoder) {
	e.Begin(GetVersion)
	if p.Numbered {
		e.U32(p.MsgID)
	}
	e.End()
}

// Decode reads the packet.
func (p *VersionRequest) Decode(d *Decoder) error {
	p.Numbered, p.MsgID = d.Len() > 0, 0
	if p.Numbered {
		p.MsgID = d.U32()
	}
	return d.End()
}

// Version is ANTOAN_VERSION (11), the answer to ANTOAN_GET_VERSION. Whether
// it is numbered cannot be seen from the packet: set Numbered as the request
// had it before Decode.
//
//	[msgid:32] release:32 text
type Version struct {
	Numbered bool
	MsgID    uint32
	Release  Release
	Text     []byte // for instance "3.0.117-1"; aliases the packet
}

// Append appends the packet.
func (p *Version) Append(e *Encoder) {
	e.Begin(VersionReply)
	if p.Numbered {
		e.U32(p.MsgID)
	}
	e.U32(uint32(p.Release))
	e.Bytes(p.Text)
	e.End()
}

// Decode reads the packet.
func (p *Version) Decode(d *Decoder) error {
	p.MsgID = 0
	if p.Numbered {
		p.MsgID = d.U32()
	}
	p.Release, p.Text = Release(d.U32()), d.Rest()
	return d.End()
}

// File is what a metalogger may download.
type File uint8

// The files, as ANTOMA_DOWNLOAD_START numbers them. The changelogs are those
// that were open when FileMetadata was started last, and can be had once.
const (
	FileMetadata   File = 1  // metadata.mfs.back
	FileSessions   File = 2  // sessions.mfs, before 2.0
	FileChangelog0 File = 11 // changelog.0.mfs
	FileChangelog1 File = 12 // changelog.1.mfs
)

// String returns the file's name on the master.
func (f File) String() string {
	switch f {
	case FileMetadata:
		return "metadata.mfs.back"
	case FileSessions:
		return "sessions.mfs"
	case FileChangelog0:
		return "changelog.0.mfs"
	case FileChangelog1:
		return "changelog.1.mfs"
	}
	return fmt.Sprintf("file %d", uint8(f))
}

// Start is ANTOMA_DOWNLOAD_START (60). The master answers with Info.
//
//	filenum:8
type Start struct{ File File }

// Append appends the packet.
func (p *Start) Append(e *Encoder) {
	e.Begin(DownloadStart)
	e.U8(uint8(p.File))
	e.End()
}

// Decode reads the packet.
func (p *Start) Decode(d *Decoder) error {
	p.File = File(d.U8())
	return d.End()
}

// Info is MATOAN_DOWNLOAD_INFO (61). It does not say which file it is about.
//
//	size:64   or   error:8
type Info struct {
	Missing bool   // the master could not open the file
	Size    uint64 // bytes; a changelog that does not exist has 0
}

// Append appends the packet.
func (p *Info) Append(e *Encoder) {
	e.Begin(DownloadInfo)
	if p.Missing {
		e.U8(0xFF)
	} else {
		e.U64(p.Size)
	}
	e.End()
}

// Decode reads the packet.
func (p *Info) Decode(d *Decoder) error {
	p.Missing, p.Size = d.Len() == 1, 0
	if p.Missing {
		d.U8()
	} else {
		p.Size = d.U64()
	}
	return d.End()
}

// Request is ANTOMA_DOWNLOAD_REQUEST (62): one block of the file started.
//
//	offset:64 length:32
type Request struct {
	Offset uint64
	Length uint32 // at most DownloadBlock; the file must have that many bytes at Offset
}

// Append appends the packet.
func (p *Request) Append(e *Encoder) {
	e.Begin(DownloadRequest)
	e.U64(p.Offset)
	e.U32(p.Length)
	e.End()
}

// Decode reads the packet.
func (p *Request) Decode(d *Decoder) error {
	p.Offset, p.Length = d.U64(), d.U32()
	return d.End()
}

// Data is MATOAN_DOWNLOAD_DATA (63): the block asked for.
//
//	offset:64 length:32 crc:32 data[length]
type Data struct {
	Offset uint64
	CRC    uint32 // of Bytes, as zlib's crc32; see Intact
	Bytes  []byte // aliases the packet
}

// Append appends the packet with the CRC that is set.
func (p *Data) Append(e *Encoder) {
	e.Begin(DownloadData)
	e.U64(p.Offset)
	e.U32(uint32(len(p.Bytes)))
	e.U32(p.CRC)
	e.Bytes(p.Bytes)
	e.End()
}

// Decode reads the packet and does not look at the CRC.
func (p *Data) Decode(d *Decoder) error {
	p.Offset = d.U64()
	length := d.U32()
	p.CRC = d.U32()
	p.Bytes = d.Bytes(length)
	return d.End()
}

// Intact tells whether the bytes have the CRC the packet gives.
func (p *Data) Intact() bool { return crc32.ChecksumIEEE(p.Bytes) == p.CRC }

// AppendEmpty appends a packet without payload: Nop, DownloadEnd.
func AppendEmpty(e *Encoder, t Type) {
	e.Begin(t)
	e.End()
}

// ConfigRequest is ANTOAN_GET_CONFIG (80), for the value of one option of the
// master's configuration file; it needs no registration.
//
//	msgid:32 name:NAME
type ConfigRequest struct {
	MsgID uint32
	Name  []byte
}

// Append appends the packet.
func (p *ConfigRequest) Append(e *Encoder) {
	e.Begin(GetConfig)
	e.U32(p.MsgID)
	e.Name(p.Name)
	e.End()
}

// Decode reads the packet.
func (p *ConfigRequest) Decode(d *Decoder) error {
	p.MsgID, p.Name = d.U32(), d.Name()
	return d.End()
}

// Config is ANTOAN_CONFIG_VALUE (81), the answer to ANTOAN_GET_CONFIG.
//
//	msgid:32 value:NAME
type Config struct {
	MsgID uint32
	Value []byte // empty for an option that is not set; cut at 255 bytes
}

// Append appends the packet.
func (p *Config) Append(e *Encoder) {
	e.Begin(ConfigValue)
	e.U32(p.MsgID)
	e.Name(p.Value)
	e.End()
}

// Decode reads the packet.
func (p *Config) Decode(d *Decoder) error {
	p.MsgID, p.Value = d.U32(), d.Name()
	return d.End()
}
