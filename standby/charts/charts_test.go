package charts

import (
	"bytes"
	"encoding/binary"
	"image/png"
	"slices"
	"testing"
	"time"
)

// start is at the beginning of an hour in every usual time zone, and of a day in UTC.
var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// data reads CHART_DATA.
func data(t *testing.T, c *Charts, id, most uint32) (at uint32, values []uint64) {
	t.Helper()
	b := c.AppendData(nil, id, most)
	if len(b) < 8 {
		t.Fatalf("chart %d: %d bytes", id, len(b))
	}
	for rest := b[8:]; len(rest) > 0; rest = rest[8:] {
		values = append(values, binary.BigEndian.Uint64(rest))
	}
	if n := binary.BigEndian.Uint32(b[4:]); int(n) != len(values) {
		t.Fatalf("chart %d: says %d values, has %d", id, n, len(values))
	}
	return binary.BigEndian.Uint32(b), values
}

func TestSeries(t *testing.T) {
	c := New(start)
	for minute := range 8 {
		if minute == 3 {
			continue // nothing was measured
		}
		s := Unknown()
		s[Operations], s[ResidentMemory] = uint64(minute+1), uint64(100-minute)
		c.Add(s, start.Add(time.Duration(minute)*time.Minute))
	}
	for _, tc := range []struct {
		name string
		id   uint32
		at   int64 // minutes after the start
		want []uint64
	}{
		{"each minute, newest first", Operations * 10, 7, []uint64{8, 7, 6, 5, NoData, 3, 2, 1, NoData}},
		{"six minutes are added", Operations*10 + 1, 6, []uint64{8 + 7, 1 + 2 + 3 + 5 + 6, NoData}},
		{"a day is added", Operations*10 + 3, 0, []uint64{1 + 2 + 3 + 5 + 6 + 7 + 8, NoData}},
		{"the largest of memory counts", ResidentMemory*10 + 1, 6, []uint64{94, 100, NoData}},
		{"not measured", PacketsSent * 10, 7, []uint64{NoData, NoData}},
		{"by name", binary.BigEndian.Uint32([]byte("STFs")), 6, []uint64{8 + 7, 1 + 2 + 3 + 5 + 6, NoData}},
	} {
		at, got := data(t, c, tc.id, uint32(len(tc.want)))
		if want := uint32(start.Unix() + tc.at*60); at != want || !slices.Equal(got, tc.want) {
			t.Errorf("%s: at %d %v, want at %d %v", tc.name, at, got, want, tc.want)
		}
	}
	if _, all := data(t, c, 0, ^uint32(0)); len(all) != Length {
		t.Errorf("all values are %d", len(all))
	}
	totals := c.AppendTotals(nil)
	if n := binary.BigEndian.Uint16(totals); n != Count || len(totals) != 2+8*Count {
		t.Errorf("%d totals in %d bytes", n, len(totals))
	}
	if got := binary.BigEndian.Uint64(totals[2+8*Operations:]); got != 32 {
		t.Errorf("total %d", got)
	}
}

func TestLateAndLong(t *testing.T) {
	c := New(start)
	s := Unknown()
	s[UserCPU] = 7
	c.Add(s, start.Add(-time.Minute))
	if _, got := data(t, c, 0, 2); !slices.Equal(got, []uint64{NoData, 7}) {
		t.Errorf("a minute late: %v", got)
	}
	c.Add(s, start.Add(-2*Length*time.Minute)) // too late
	c.Add(s, start.Add(3*Length*time.Minute))  // a long time nobody measured
	if _, got := data(t, c, 0, Length); got[0] != 7 || slices.ContainsFunc(got[1:], func(v uint64) bool { return v != NoData }) {
		t.Error("values of before a long pause are left")
	}
}

func TestUnknownCharts(t *testing.T) {
	c := New(start)
	for _, id := range []uint32{Count * 10, 4, 1009, 1070, 0xFFFFFFFF, binary.BigEndian.Uint32([]byte("XXXX"))} {
		if b := c.AppendData(nil, id, 5); len(b) != 0 {
			t.Errorf("chart %d has %d bytes", id, len(b))
		}
		img, err := png.Decode(bytes.NewReader(c.PNG(id, 0, 0)))
		if err != nil || img.Bounds().Dx() != 1 || img.Bounds().Dy() != 1 {
			t.Errorf("chart %d: %v %v", id, img, err)
		}
	}
	if b := c.AppendData(nil, 1000, 5); len(b) != 0 {
		t.Errorf("a pair has data: %d bytes", len(b))
	}
}

// pixel returns a colour's number at a place of the plot.
func pixel(t *testing.T, b []byte, x, y int) uint8 {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return uint8(palette.Index(img.At(leftRoom+x, img.Bounds().Dy()-highRoom+topRoom-1-y)))
}

func TestPicture(t *testing.T) {
	c := New(start)
	s := Unknown()
	s[TotalSpace], s[UsedSpace] = 100, 50
	c.Add(s, start)
	b := c.PNG(1020, 300+wideRoom, 200+highRoom)
	for _, tc := range []struct {
		name string
		x, y int
		want uint8
	}{
		{"used space", 299, 50, lowerColour}, {"the rest", 299, 150, upperColour}, {"nothing measured", 298, 50, noData},
	} {
		if got := pixel(t, b, tc.x, tc.y); got != tc.want {
			t.Errorf("%s: colour %d, want %d", tc.name, got, tc.want)
		}
	}
	for _, tc := range []struct{ w, h, wantW, wantH int }{
		{0, 0, 1000, 120}, {1, 1, 150, 120}, {65535, 65535, Length + wideRoom, 1020}, {400, 133, 400, 120},
	} {
		img, err := png.Decode(bytes.NewReader(c.PNG(1000, tc.w, tc.h)))
		if err != nil || img.Bounds().Dx() != tc.wantW || img.Bounds().Dy() != tc.wantH {
			t.Errorf("%d x %d: %v %v", tc.w, tc.h, img.Bounds(), err)
		}
	}
}

func TestRoundUp(t *testing.T) {
	for _, tc := range []struct {
		v    float64
		want float64
	}{{0, 5}, {5, 5}, {5.1, 7.5}, {1e12, 1e12}, {99, 100}} {
		if got := roundUp(tc.v, 5); got < tc.want*0.999999 || got > tc.want*1.000001 {
			t.Errorf("roundUp(%v) = %v, want %v", tc.v, got, tc.want)
		}
	}
}

// A full chart of a large picture must not take long: the CGI asks for many.
func BenchmarkPNG(b *testing.B) {
	c := New(start)
	s := Unknown()
	for i := range Length {
		s[UserCPU], s[SystemCPU] = uint64(i), uint64(i*7%300)
		c.Add(s, start.Add(time.Duration(i)*time.Minute))
	}
	for b.Loop() {
		c.PNG(1000, 0, 0)
	}
}

// Whatever a client asks for, the answer is bounded and well formed.
func FuzzAsk(f *testing.F) {
	c := New(start)
	s := Unknown()
	s[UserCPU], s[TotalSpace], s[UsedSpace] = 1<<63, 5, NoData-1
	c.Add(s, start)
	f.Add(uint32(1000), uint16(0), uint16(0))
	f.Add(uint32(1020), uint16(300), uint16(65535))
	f.Add(binary.BigEndian.Uint32([]byte("TcPu")), uint16(1), uint16(200))
	f.Fuzz(func(t *testing.T, id uint32, width, height uint16) {
		img, err := png.Decode(bytes.NewReader(c.PNG(id, int(width), int(height))))
		if err != nil || img.Bounds().Dx() > maxWide+wideRoom || img.Bounds().Dy() > maxHigh+highRoom {
			t.Fatalf("chart %d of %d x %d: %v %v", id, width, height, img, err)
		}
		if b := c.AppendData(nil, id, uint32(width)<<16|uint32(height)); len(b)%8 != 0 || len(b) > 8+8*Length {
			t.Fatalf("chart %d: %d bytes", id, len(b))
		}
	})
}
