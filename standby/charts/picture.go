package charts

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
)

// Sizes of a picture in pixels, as the stock master bounds them: room for the
// axes comes on top of the plot.
const (
	leftRoom, topRoom    = 43, 6
	wideRoom, highRoom   = 50, 20
	minWide, maxWide     = 100, Length
	minHigh, maxHigh     = 100, 1000
	usualWide, usualHigh = 950, 100
	line                 = 20 // between lines of the grid
)

// Colours of a picture, by their place in the palette.
const (
	nothing = iota
	paper
	axis
	grid
	ink
	noData
	lowerColour
	upperColour
)

var palette = color.Palette{
	color.NRGBA{}, color.NRGBA{255, 255, 255, 255}, color.NRGBA{0, 0, 0, 255}, color.NRGBA{200, 200, 200, 255},
	color.NRGBA{40, 40, 40, 255}, color.NRGBA{224, 224, 224, 255}, color.NRGBA{43, 104, 66, 255}, color.NRGBA{107, 188, 131, 255},
}

// PNG draws a chart of a size in pixels, of which 0 by 0 is the usual one; an
// unknown id is one clear pixel.
func (c *Charts) PNG(id uint32, width, height int) []byte {
	series, scope, ok := find(id)
	if !ok {
		return encode(image.NewPaletted(image.Rect(0, 0, 1, 1), palette))
	}
	if width == 0 && height == 0 {
		width, height = usualWide+wideRoom, usualHigh+highRoom
	}
	width = min(max(width-wideRoom, minWide), maxWide)
	height = min(max(height-highRoom, minHigh), maxHigh) / line * line
	p := picture{img: image.NewPaletted(image.Rect(0, 0, width+wideRoom, height+highRoom), palette), width: width, height: height}
	lower, upper, at := c.columns(series, scope, width)
	s := scaleOf(series, scope)
	p.draw(lower, upper, s)
	p.labels(s, scope, at)
	return encode(p.img)
}

func encode(img image.Image) []byte {
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, img); err != nil {
		panic(err) // a buffer takes everything, and the sizes are bounded
	}
	return b.Bytes()
}

// columns returns the values to draw, newest last, and the time of the newest
// as the clock on the wall showed it. upper is nil if there is one series.
func (c *Charts) columns(series, scope, n int) (lower, upper []uint64, at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rings[scope]
	at = r.at * steps[scope]
	if series < firstPair {
		return reversed(r.newest(nil, series, n)), nil, at
	}
	p := &pairs[series-firstPair]
	lower, upper = reversed(r.newest(nil, p.lower, n)), reversed(r.newest(nil, p.upper, n))
	for i := range upper {
		switch {
		case !p.rest || upper[i] == NoData:
		case lower[i] == NoData:
			upper[i] = NoData
		default:
			upper[i] -= min(upper[i], lower[i])
		}
	}
	return lower, upper, at
}

func reversed(list []uint64) []uint64 {
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list
}

// scale makes a number to show of a value.
type scale struct {
	factor  float64
	percent bool
}

// scaleOf gives counts per minute, or per second where the stock charts do.
func scaleOf(series, scope int) scale {
	s := scale{factor: 1}
	of := series
	if series >= firstPair {
		of = pairs[series-firstPair].upper
	}
	if !keepsMax(of) {
		s.factor = 60 / float64(steps[scope])
	}
	switch of {
	case UserCPU, SystemCPU:
		s.factor *= 100.0 / 60 / 1e6
		s.percent = true
	case PacketsReceived, PacketsSent:
		s.factor /= 60
	case BytesReceived, BytesSent:
		s.factor *= 8.0 / 60
	}
	return s
}

// picture is a chart in the making. Its plot has width by height pixels.
type picture struct {
	img           *image.Paletted
	width, height int
	top           float64 // value at the upper edge
}

func (p *picture) draw(lower, upper []uint64, s scale) {
	sum := func(i int) (low, all float64, ok bool) {
		if lower[i] != NoData {
			low, ok = float64(lower[i])*s.factor, true
		}
		all = low
		if upper != nil && upper[i] != NoData {
			all, ok = all+float64(upper[i])*s.factor, true
		}
		return low, all, ok
	}
	for i := range lower {
		if _, all, ok := sum(i); ok {
			p.top = max(p.top, all)
		}
	}
	p.top = roundUp(p.top, p.height/line)
	for x := range p.width {
		low, all, ok := sum(x)
		for y := range p.height {
			value := (float64(y) + 0.5) / float64(p.height) * p.top
			c := uint8(paper)
			switch {
			case !ok:
				c = noData
			case value < low:
				c = lowerColour
			case value < all:
				c = upperColour
			}
			p.set(x, y, c)
		}
		for y := line; y <= p.height; y += line {
			if x%4 == 0 {
				p.set(x, y, grid)
			}
		}
	}
	for x := -1; x <= p.width; x++ {
		p.set(x, -1, axis)
	}
	for y := -1; y <= p.height; y++ {
		p.set(-1, y, axis)
	}
}

// set colours a pixel of the plot, whose lowest row is 0.
func (p *picture) set(x, y int, c uint8) {
	p.img.SetColorIndex(leftRoom+x, topRoom+p.height-1-y, c)
}

// roundUp returns the lowest value not below v that divides into so many
// lines with one digit after the first.
func roundUp(v float64, lines int) float64 {
	if v <= 0 {
		return float64(lines)
	}
	unit := 1e-6
	for _, f := range [...]float64{1, 2, 5} {
		if unit*f*float64(lines) >= v {
			return unit * f * float64(lines)
		}
	}
	for {
		unit *= 10
		for _, f := range [...]float64{1, 1.5, 2, 2.5, 3, 4, 5, 6, 8} {
			if unit*f*float64(lines) >= v {
				return unit * f * float64(lines)
			}
		}
	}
}

// labels writes the values of the lines and the times below the plot.
func (p *picture) labels(s scale, scope int, at int64) {
	for y := 0; y <= p.height; y += line {
		text := short(p.top * float64(y) / float64(p.height))
		if s.percent {
			text += "%"
		}
		p.text(leftRoom-4-len(text)*glyphStep, topRoom+p.height-1-y-glyphHigh/2, text)
	}
	const every = 60 // pixels between times
	for x := p.width - 1; x > every/2; x -= every {
		p.text(leftRoom+x-15, topRoom+p.height+5, clockText(at-int64(p.width-1-x)*steps[scope], scope))
		p.img.SetColorIndex(leftRoom+x, topRoom+p.height+1, axis)
		p.img.SetColorIndex(leftRoom+x, topRoom+p.height+2, axis)
	}
}

// clockText is a time of day for ranges of hours, else a day and month.
func clockText(at int64, scope int) string {
	t := unixUTC(at) // at is what the clock on the wall shows
	if scope < 2 {
		return t.Format("15:04")
	}
	return t.Format("02/01")
}

// short writes a number in at most five characters.
func short(v float64) string {
	units := []string{"", "K", "M", "G", "T", "P", "E"}
	i := 0
	for v >= 1000 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	digits := 0
	switch {
	case v == float64(int64(v)):
	case v < 1:
		digits = 2
	case v < 100:
		digits = 1
	}
	return fmt.Sprintf("%.*f%s", digits, v, units[i])
}
