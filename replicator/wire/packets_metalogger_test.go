package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

type packet interface {
	Append(*Encoder)
	Decode(*Decoder) error
}

// metaloggerPackets makes an empty packet of each kind.
var metaloggerPackets = map[Type]func() packet{
	ForceTimeout:       func() packet { return new(Timeout) },
	GetVersion:         func() packet { return new(VersionRequest) },
	VersionReply:       func() packet { return &Version{Numbered: true} },
	GetConfig:          func() packet { return new(ConfigRequest) },
	ConfigValue:        func() packet { return new(Config) },
	MetaloggerRegister: func() packet { return new(Register) },
	MetachangesLog:     func() packet { return new(Change) },
	MasterAck:          func() packet { return new(Ack) },
	DownloadStart:      func() packet { return new(Start) },
	DownloadInfo:       func() packet { return new(Info) },
	DownloadRequest:    func() packet { return new(Request) },
	DownloadData:       func() packet { return new(Data) },
}

// captures are packets seen between real programs of release 3.0.117.
var captures = []struct {
	name, bytes string
	want        packet
}{
	{"register for new changes", "00000032 00000007 01 000300ea 000a",
		&Register{Release: NewRelease(3, 0, 117), Timeout: 10}},
	{"register with history", "00000032 0000000f 02 000300ea 000a 000000000001256d",
		&Register{Release: NewRelease(3, 0, 117), Timeout: 10, From: 75117}},
	{"start", "0000003c 00000001 0b", &Start{File: FileChangelog0}},
	{"info", "0000003d 00000008 0000000000000fe5", &Info{Size: 4069}},
	{"info of a missing file", "0000003d 00000001 ff", &Info{Missing: true}},
	{"request", "0000003e 0000000c 0000000000000000 00000fe5", &Request{Length: 4069}},
	{"data", "0000003f 00000015 00000000000f4240 00000005 3610a686 68656c6c6f",
		&Data{Offset: 1000000, CRC: 0x3610a686, Bytes: []byte("hello")}},
	{"entry", "00000033 00000025 ff 000000000001256e 313739353433333735397c4143515549524528332c323030323429 00",
		&Change{Version: 75118, Text: []byte("1795433759|ACQUIRE(3,20024)")}},
	{"rotation", "00000033 00000001 55", &Change{Rotate: true, Text: nil}},
	{"acknowledgement of 4.x", "00000034 00000005 01 00043b04", &Ack{Type: 1, Release: NewRelease(4, 59, 2)}},
	{"forced timeout of 4.x", "00000005 00000002 001e", &Timeout{Seconds: 30}},
	{"version", "0000000b 00000011 00000007 000300ea 332e302e3131372d31",
		&Version{Numbered: true, MsgID: 7, Release: NewRelease(3, 0, 117), Text: []byte("3.0.117-1")}},
	{"version request", "0000000a 00000004 00000007", &VersionRequest{Numbered: true, MsgID: 7}},
	{"config request", "00000050 0000000e 00000001 09 4241434b5f4c4f4753", &ConfigRequest{MsgID: 1, Name: []byte("BACK_LOGS")}},
	{"config value", "00000051 00000007 00000001 02 3530", &Config{MsgID: 1, Value: []byte("50")}},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCaptures(t *testing.T) {
	for _, tc := range captures {
		t.Run(tc.name, func(t *testing.T) {
			in := unhex(t, tc.bytes)
			typ, payload, rest, ok, err := Split(in, MetaloggerMaxLength)
			if !ok || err != nil || len(rest) > 0 {
				t.Fatalf("%x is not one packet: %v, %d bytes left", in, err, len(rest))
			}
			got := metaloggerPackets[typ]()
			if err := got.Decode(NewDecoder(payload)); err != nil {
				t.Fatalf("%x: %v", in, err)
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Fatalf("%x: got %+v, want %+v", in, got, tc.want)
			}
			var e Encoder
			if got.Append(&e); !bytes.Equal(e.Buf, in) {
				t.Fatalf("got %x, want %x", e.Buf, in)
			}
			for cut := range payload {
				if _, isRest := got.(*Version); isRest && cut >= 8 || typ == GetVersion && cut == 0 || typ == DownloadInfo && cut == 1 {
					continue // these end where they like
				}
				if err := metaloggerPackets[typ]().Decode(NewDecoder(payload[:cut])); err == nil {
					t.Fatalf("%x cut to %d bytes was not refused", payload, cut)
				}
			}
			long := append(bytes.Clone(payload), 0)
			if _, isRest := got.(*Version); !isRest {
				if err := metaloggerPackets[typ]().Decode(NewDecoder(long)); err == nil {
					t.Fatalf("%x, one byte too long, was not refused", long)
				}
			}
		})
	}
}

func TestChangeRefuses(t *testing.T) {
	entry := func(text string) []byte { return append([]byte("\xff\x00\x00\x00\x00\x00\x00\x00\x07"), text...) }
	for _, tc := range []struct {
		name    string
		payload []byte
		want    string
	}{
		{"nothing", nil, "too short"},
		{"unknown first byte", []byte{0x33}, "neither an entry nor a rotation mark"},
		{"acknowledged form", []byte{0xAA, 0, 0, 0, 0, 0, 0, 0, 1, 'x', 0}, "acknowledgement"},
		{"no text", entry("\x00"), "too short"},
		{"no NUL", entry("1|A()"), "does not end with a NUL"},
		{"NUL inside", entry("1|A\x00()\x00"), "byte 0x00 at offset 3"},
		{"newline inside", entry("1|A\n()\x00"), "byte 0x0a at offset 3"},
		{"too long", entry(strings.Repeat("a", MaxEntryText+1) + "\x00"), "longer than allowed"},
		{"rotation with more", []byte{0x55, 0}, "left after its last field"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := new(Change).Decode(NewDecoder(tc.payload))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%.40q: got error %v, want %q", tc.payload, err, tc.want)
			}
		})
	}
	if err := new(Change).Decode(NewDecoder(entry(strings.Repeat("a", MaxEntryText) + "\x00"))); err != nil {
		t.Fatalf("longest text: %v", err)
	}
}

func TestDataIntact(t *testing.T) {
	p := &Data{CRC: 0x3610a686, Bytes: []byte("hello")}
	if !p.Intact() {
		t.Fatal("good CRC was refused")
	}
	p.Bytes = []byte("hellp")
	if p.Intact() {
		t.Fatal("flipped bit was not seen")
	}
}

func TestDecoder(t *testing.T) {
	var e Encoder
	e.Begin(1)
	e.U8(1)
	e.U16(2)
	e.U32(3)
	e.U64(4)
	e.Name([]byte("name"))
	e.Text([]byte("text"))
	e.List([]uint32{7, 8})
	e.Bytes([]byte("rest"))
	e.End()
	d := NewDecoder(e.Buf[HeaderSize:])
	got := fmt.Sprintln(d.U8(), d.U16(), d.U32(), d.U64(), string(d.Name()), string(d.Text()), d.List(), d.Len(), string(d.Bytes(2)))
	if want := "1 2 3 4 name text [7 8] 4 re\n"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if err := d.End(); !errors.Is(err, ErrTrailing) {
		t.Fatalf("got %v, want ErrTrailing", err)
	}
	d.Reset([]byte{0xFF, 0xFF, 0xFF, 0xFF, 1}) // a list of 2^32-1 numbers
	if list := d.List(); list != nil || d.U8() != 0 || !errors.Is(d.End(), ErrShort) {
		t.Fatalf("got list %v, error %v, want an error that sticks", list, d.End())
	}
}

// FuzzMetaloggerPackets: a packet is refused or appends to the same bytes.
func FuzzMetaloggerPackets(f *testing.F) {
	for _, tc := range captures {
		f.Add(unhex(f, tc.bytes))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		typ, payload, _, ok, err := Split(in, MetaloggerMaxLength)
		if !ok || err != nil || metaloggerPackets[typ] == nil {
			return
		}
		p := metaloggerPackets[typ]()
		if p.Decode(NewDecoder(payload)) != nil {
			return
		}
		var e Encoder
		p.Append(&e)
		again := metaloggerPackets[typ]()
		if err := again.Decode(NewDecoder(e.Buf[HeaderSize:])); err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%x became %x: %+v, %+v, %v", in, e.Buf, p, again, err)
		}
	})
}

func BenchmarkChangeDecode(b *testing.B) {
	var e Encoder
	(&Change{Version: 7, Text: []byte("1795433759|CREATE(1,mlcap.txt,1,438,18,0,0,0):20024")}).Append(&e)
	b.SetBytes(int64(len(e.Buf)))
	b.ReportAllocs()
	var d Decoder
	var p Change
	for b.Loop() {
		_, payload, _, _, _ := Split(e.Buf, MetaloggerMaxLength)
		d.Reset(payload)
		if err := p.Decode(&d); err != nil {
			b.Fatal(err)
		}
	}
}
