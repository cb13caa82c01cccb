package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/zeebo/xxh3"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/fence"
)

// format is the first number of each message. A reader refuses others.
const format = 1

// message is a decoded message. On the wire it is three msgpack objects:
//
//	header    array of 12, see header
//	body      of a batch: array 32 of bin, the entries' texts;
//	          of a control record: array of 3, see Control
//	checksum  uint 64: XXH3-64 of all bytes before it
//
// The version of an entry is First plus its index. Texts are what the primary
// wrote, not parsed: a reader of a later release can.
type message struct {
	fence.Record
	metaid   uint64
	release  string
	received time.Time
	control  Control // zero in batches
	body     []byte  // of a batch: the bin objects; aliases the message
	sum      uint64
}

// Control says who opened an epoch.
type Control struct {
	Who string // host and role of the writer
	Why string
	ID  string // random: tells writers with the same name apart
}

type header struct {
	Format   uint8
	Kind     uint8
	MetaID   uint64
	Epoch    uint64
	First    uint64
	Count    uint32
	Release  string // of the primary, "3.0.117"; empty if not known
	Received int64  // Unix ns: when the tap had the last entry
	BeforeHi uint64 // chain before the first entry
	BeforeLo uint64
	AfterHi  uint64 // chain after the last
	AfterLo  uint64
}

const (
	headerFields  = 12
	controlFields = 3
	maxRelease    = 64  // bytes
	headRoom      = 256 // bytes a header takes at most
	sumSize       = 9
	countSize     = 5 // array 32
)

// msgpack's format bytes of what is written and read by hand here, because
// there are many of them: byte strings and their array.
const (
	codeArray32 = 0xdd
	codeBin8    = 0xc4
	codeBin16   = 0xc5
	codeBin32   = 0xc6
	codeUint64  = 0xcf
	codeArray   = 0x90 // of up to 15: the low bits count
)

// encoder builds batches. It owns its buffer until finish gives it away.
type encoder struct {
	buf   []byte
	count uint32
	chain Chain
}

// begin starts a batch behind chain, in buf's memory.
func (e *encoder) begin(buf []byte, chain Chain) {
	if cap(buf) < headRoom+countSize {
		buf = make([]byte, 0, 4096)
	}
	e.buf, e.count, e.chain = buf[:headRoom+countSize], 0, chain
}

// size is the length of the message if it were finished now, at most.
func (e *encoder) size() int { return len(e.buf) + sumSize }

// add copies one entry.
func (e *encoder) add(v meta.Version, text []byte) {
	switch n := len(text); {
	case n < 1<<8:
		e.buf = append(e.buf, codeBin8, byte(n))
	case n < 1<<16:
		e.buf = append(e.buf, codeBin16, byte(n>>8), byte(n))
	default:
		e.buf = append(e.buf, codeBin32, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	e.buf = append(e.buf, text...)
	e.count++
	e.chain = e.chain.Next(v, text)
}

// finish gives the message, whose memory is the caller's from then on, and its
// checksum. m.body is not looked at.
func (e *encoder) finish(m *message) (data []byte, sum uint64, err error) {
	head, err := encodeHeader(m)
	if err != nil {
		return nil, 0, err
	}
	if len(head) > headRoom {
		return nil, 0, fmt.Errorf("header of %d bytes is too long", len(head))
	}
	start := headRoom - len(head)
	copy(e.buf[start:], head)
	e.buf[headRoom] = codeArray32
	binary.BigEndian.PutUint32(e.buf[headRoom+1:], e.count)
	data, sum = seal(e.buf[start:])
	e.buf = nil
	return data, sum, nil
}

// seal appends the checksum.
func seal(b []byte) ([]byte, uint64) {
	sum := xxh3.Hash(b)
	return binary.BigEndian.AppendUint64(append(b, codeUint64), sum), sum
}

func encodeHeader(m *message) ([]byte, error) {
	if len(m.release) > maxRelease {
		return nil, fmt.Errorf("release %q is longer than %d bytes", m.release, maxRelease)
	}
	return encodeArray(&header{
		Format: format, Kind: uint8(m.Kind), MetaID: m.metaid, Epoch: uint64(m.Epoch),
		First: uint64(m.First), Count: m.Count, Release: m.release, Received: m.received.UnixNano(),
		BeforeHi: m.Before.Hi, BeforeLo: m.Before.Lo, AfterHi: m.After.Hi, AfterLo: m.After.Lo,
	})
}

// encodeControl gives the message of a control record.
func encodeControl(m *message) (data []byte, sum uint64, err error) {
	head, err := encodeHeader(m)
	if err != nil {
		return nil, 0, err
	}
	body, err := encodeArray(&m.control)
	if err != nil {
		return nil, 0, fmt.Errorf("encoding a control record: %w", err)
	}
	data, sum = seal(append(head, body...))
	return data, sum, nil
}

// id is the Nats-Msg-Id: epoch, version and checksum of the content.
func (m *message) id() string { return fmt.Sprintf("%d.%d.%016x", m.Epoch, m.First, m.sum) }

// decodeMessage checks everything but the entries themselves. The message
// aliases data.
func decodeMessage(seq Seq, data []byte) (message, error) {
	m, err := decode(data)
	m.Seq = seq
	if err != nil {
		return m, &CorruptError{Seq: seq, Err: err}
	}
	return m, nil
}

var (
	errShort  = errors.New("cut off")
	errSum    = errors.New("checksum is wrong")
	errLayout = errors.New("not the layout of this format")
)

func decode(data []byte) (m message, err error) {
	if len(data) < sumSize+2 {
		return m, errShort
	}
	content, tail := data[:len(data)-sumSize], data[len(data)-sumSize:]
	m.sum = binary.BigEndian.Uint64(tail[1:])
	if tail[0] != codeUint64 || m.sum != xxh3.Hash(content) {
		return m, errSum
	}
	var h header
	body, err := decodeArray(content, headerFields, &h)
	if err != nil {
		return m, fmt.Errorf("header: %w", err)
	}
	if h.Format != format {
		return m, fmt.Errorf("format %d is not known: a newer release wrote it", h.Format)
	}
	if len(h.Release) > maxRelease {
		return m, fmt.Errorf("header: release of %d bytes", len(h.Release))
	}
	m.Record = fence.Record{
		Kind: fence.Kind(h.Kind), Epoch: Epoch(h.Epoch), First: meta.Version(h.First), Count: h.Count,
		Before: Chain{Hi: h.BeforeHi, Lo: h.BeforeLo}, After: Chain{Hi: h.AfterHi, Lo: h.AfterLo},
	}
	m.metaid, m.release, m.received = h.MetaID, h.Release, time.Unix(0, h.Received)
	return m, m.decodeBody(body)
}

func (m *message) decodeBody(body []byte) error {
	switch m.Kind {
	case fence.Batch:
		if len(body) < countSize || body[0] != codeArray32 || binary.BigEndian.Uint32(body[1:]) != m.Count {
			return fmt.Errorf("body: %w", errLayout)
		}
		m.body = body[countSize:]
		// An entry takes two bytes at least: memory is spent on what is there.
		if m.Count == 0 || uint64(m.Count)*2 > uint64(len(m.body)) || m.First+meta.Version(m.Count) < m.First {
			return fmt.Errorf("body: %d entries from version %d in %d bytes", m.Count, m.First, len(m.body))
		}
		return nil
	case fence.Open, fence.Rebase:
		rest, err := decodeArray(body, controlFields, &m.control)
		if err != nil {
			return fmt.Errorf("control record: %w", err)
		}
		if len(rest) != 0 || m.Count != 0 {
			return fmt.Errorf("control record: %w", errLayout)
		}
		return nil
	}
	return fmt.Errorf("kind %d: %w", m.Kind, fence.ErrKind)
}

// encodeArray encodes a struct as an array of its fields.
func encodeArray(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := msgpack.GetEncoder()
	defer msgpack.PutEncoder(enc)
	enc.Reset(&buf)
	enc.UseArrayEncodedStructs(true)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// decodeArray decodes an array of n fields into v and gives what follows it.
func decodeArray(b []byte, n int, v any) ([]byte, error) {
	if len(b) == 0 || b[0] != byte(codeArray|n) {
		return nil, errLayout
	}
	r := bytes.NewReader(b)
	dec := msgpack.GetDecoder()
	defer msgpack.PutDecoder(dec)
	dec.Reset(r)
	if err := dec.Decode(v); err != nil {
		return nil, err
	}
	return b[len(b)-r.Len():], nil
}

// entries decodes the batch's entries into dst and checks the chain. It
// gives also the chain before the entry of version at, if that is within the
// batch or directly behind it. Texts alias the message.
func (m *message) entries(dst []meta.RawEntry, at meta.Version) ([]meta.RawEntry, Chain, error) {
	b, chain, v := m.body, m.Before, m.First
	atChain := Chain{}
	for range m.Count {
		text, rest, ok := cutBin(b)
		if !ok {
			return nil, Chain{}, &CorruptError{Seq: m.Seq, Version: v, Err: errLayout}
		}
		if v == at {
			atChain = chain
		}
		chain = chain.Next(v, text)
		dst = append(dst, meta.RawEntry{Version: v, Text: text})
		b = rest
		v++
	}
	if len(b) != 0 {
		return nil, Chain{}, &CorruptError{Seq: m.Seq, Version: v, Err: errLayout}
	}
	if chain != m.After {
		return nil, Chain{}, &CorruptError{Seq: m.Seq, Version: m.First, Err: fence.ErrChain}
	}
	if v == at {
		atChain = chain
	}
	return dst, atChain, nil
}

// cutBin cuts one byte string, in its shortest form, off b.
func cutBin(b []byte) (text, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n, at := 0, 0
	switch {
	case b[0] == codeBin8:
		n, at = int(b[1]), 2
	case b[0] == codeBin16 && len(b) >= 3:
		n, at = int(binary.BigEndian.Uint16(b[1:])), 3
		ok = n >= 1<<8
	case b[0] == codeBin32 && len(b) >= 5:
		n, at = int(binary.BigEndian.Uint32(b[1:])), 5
		ok = n >= 1<<16
	default:
		return nil, nil, false
	}
	if at > 2 && !ok || n > len(b)-at {
		return nil, nil, false
	}
	return b[at : at+n : at+n], b[at+n:], true
}
