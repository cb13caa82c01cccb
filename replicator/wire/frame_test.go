package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadPacket(t *testing.T) {
	whole := AppendPacket(AppendPacket(nil, 51, []byte("abc")), Nop, nil)
	for _, tc := range []struct {
		name    string
		in      []byte
		wantErr error
	}{
		{"two packets", whole, io.EOF},
		{"cut in the header", whole[:5], io.ErrUnexpectedEOF},
		{"cut before the payload", whole[:8], io.ErrUnexpectedEOF},
		{"cut in the payload", whole[:10], io.ErrUnexpectedEOF},
		{"longer than allowed", AppendPacket(nil, 51, make([]byte, 11)), ErrTooLong},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := iotest.OneByteReader(bytes.NewReader(tc.in))
			var out []byte
			var err error
			for err == nil {
				var typ Type
				var payload []byte
				if typ, payload, err = ReadPacket(r, make([]byte, 0, 4), 10); err == nil {
					out = AppendPacket(out, typ, payload)
				}
			}
			if !errors.Is(err, tc.wantErr) {
				t.Fatalf("%x: got error %v, want %v", tc.in, err, tc.wantErr)
			}
			if err == io.EOF && !bytes.Equal(out, tc.in) {
				t.Fatalf("%x became %x", tc.in, out)
			}
		})
	}
}

// An announced length must not cost memory before the bytes are there.
func TestReadPacketSpendsMemoryAsBytesArrive(t *testing.T) {
	in := []byte{0, 0, 0, 51, 0x7F, 0xFF, 0xFF, 0xFF, 1}
	allocated := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if _, _, err := ReadPacket(bytes.NewReader(in), nil, 0x7FFFFFFF); !errors.Is(err, io.ErrUnexpectedEOF) {
				b.Fatalf("got error %v, want an unexpected end", err)
			}
		}
	}).AllocedBytesPerOp()
	if allocated > 1<<20 {
		t.Fatalf("a 9-byte input with length 2 GiB took %d bytes", allocated)
	}
}

func TestWritePacket(t *testing.T) {
	var out bytes.Buffer
	if err := WritePacket(&out, MetachangesLog, []byte{0x55}, 1); err != nil {
		t.Fatal(err)
	}
	if want := []byte{0, 0, 0, 51, 0, 0, 0, 1, 0x55}; !bytes.Equal(out.Bytes(), want) {
		t.Fatalf("got %x, want %x", out.Bytes(), want)
	}
	err := WritePacket(&out, MetachangesLog, []byte{1, 2}, 1)
	if !errors.Is(err, ErrTooLong) || !strings.Contains(err.Error(), "MATOAN_METACHANGES_LOG (51)") || out.Len() != 9 {
		t.Fatalf("got error %v and %d bytes, want ErrTooLong and nothing written", err, out.Len()-9)
	}
}

func TestRelease(t *testing.T) {
	for _, tc := range []struct {
		in   Release
		want string
	}{
		{NewRelease(3, 0, 117), "3.0.117"}, {0x000300EA, "3.0.117"}, {0x00043B04, "4.59.2"},
		{0x00043B05, "4.59.2 Pro"}, {NewRelease(1, 6, 27), "1.6.27"}, {0x0001061B, "1.6.27"},
	} {
		if got := tc.in.String(); got != tc.want {
			t.Errorf("%#08x: got %s, want %s", uint32(tc.in), got, tc.want)
		}
	}
}

// FuzzSplit: what Split takes off is what ReadPacket reads, and both append
// to the same bytes again.
func FuzzSplit(f *testing.F) {
	f.Add(AppendPacket(AppendPacket(nil, 51, []byte("abc")), Nop, nil))
	f.Add([]byte{0, 0, 0, 51, 0xFF, 0xFF, 0xFF, 0xFF})
	f.Fuzz(func(t *testing.T, in []byte) {
		const max = 1000
		r, rest := bytes.NewReader(in), in
		var out []byte
		for {
			typ, payload, next, ok, err := Split(rest, max)
			typ2, payload2, err2 := ReadPacket(r, nil, max)
			if !ok {
				if err2 == nil || errors.Is(err, ErrTooLong) != errors.Is(err2, ErrTooLong) {
					t.Fatalf("%x: Split ends with %v, ReadPacket with %v", in, err, err2)
				}
				break
			}
			if err2 != nil || typ2 != typ || !bytes.Equal(payload, payload2) {
				t.Fatalf("%x: Split gives %v %x, ReadPacket %v %x, %v", in, typ, payload, typ2, payload2, err2)
			}
			out, rest = AppendPacket(out, typ, payload), next
		}
		if !bytes.Equal(out, in[:len(in)-len(rest)]) {
			t.Fatalf("%x became %x", in, out)
		}
	})
}
