package bench

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strings"
)

// The plot's layout, in pixels: two panels above each other.
const (
	plotWidth   = 860
	plotLeft    = 64
	plotRight   = 150 // the names of the lines
	panelHeight = 200
	panelGap    = 64
	plotTop     = 56
	plotHeight  = plotTop + 2*panelHeight + 2*panelGap - 12
	plotPoints  = 120 // of a line, at most
)

// plotted are the stages shown, each with a colour that can be told from the
// others on light and on dark ground.
var plotted = []struct {
	stage       Stage
	light, dark string
}{
	{Publish, "#9467bd", "#c5a3e6"},
	{Consume, "#2ca02c", "#6fd36f"},
	{ApplyMemory, "#17829b", "#5ccbe3"},
	{Apply, "#1f5fb4", "#7db0f5"},
	{Pipeline, "#d1570a", "#ffa45c"},
	{Master, "#6b6b6b", "#b5b5b5"},
}

// point of a line: x in seconds.
type point struct{ x, y float64 }

// line is one stage in one panel.
type line struct {
	class string
	name  string
	pts   []point
}

// WriteSVG draws rate and memory over time, of each stage's median run.
func (r *Report) WriteSVG(w io.Writer) error {
	out := bufio.NewWriter(w)
	var rate, memory []line
	for i, p := range plotted {
		run := r.Median(p.stage)
		if run == nil || len(run.Samples) < 2 {
			continue
		}
		class := fmt.Sprintf("s%d", i)
		rate = append(rate, line{class, string(p.stage), run.rates()})
		memory = append(memory, line{class, string(p.stage), run.memories()})
	}
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img">`+"\n", plotWidth, plotHeight)
	writeStyle(out)
	fmt.Fprintf(out, `<rect class="ground" width="%d" height="%d"/>`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(out, `<text x="%d" y="20" class="title">mix %s, %d entries, cache %d MiB, sync %s; %d CPUs</text>`+"\n",
		plotLeft, r.Mix, r.Entries, r.Cache>>20, r.Sync, r.Machine.CPUs)
	drawPanel(out, plotTop, "thousand entries/s", rate)
	drawPanel(out, plotTop+panelHeight+panelGap, "resident MiB", memory)
	fmt.Fprintln(out, "</svg>")
	return out.Flush()
}

func writeStyle(w io.Writer) {
	var light, dark strings.Builder
	for i, p := range plotted {
		fmt.Fprintf(&light, ".s%d{stroke:%s;fill:%[2]s}", i, p.light)
		fmt.Fprintf(&dark, ".s%d{stroke:%s;fill:%[2]s}", i, p.dark)
	}
	writePlotStyle(w, light.String(), dark.String())
}

// writePlotStyle writes what all plots look like; light and dark are rules for
// their lines.
func writePlotStyle(w io.Writer, light, dark string) {
	fmt.Fprintf(w, `<style>
text{font:12px sans-serif;fill:#333;stroke:none}.title{font-size:14px;font-weight:bold}
.ground{fill:#fff}.grid{stroke:#ddd}.axis{stroke:#888}polyline{fill:none!important;stroke-width:1.8;stroke-linejoin:round}
%s
@media (prefers-color-scheme:dark){text{fill:#ddd}.ground{fill:#15181c}.grid{stroke:#333a42}.axis{stroke:#8a929c}%s}
text[class^=s]{stroke:none}
</style>
`, light, dark)
}

// rates are thousands of entries per second over time.
func (r *Result) rates() []point {
	if r.Stage == Master { // it does not tell how far it is
		last := r.Samples[len(r.Samples)-1].At
		return []point{{last - r.Seconds, r.Rate() / 1000}, {last, r.Rate() / 1000}}
	}
	var pts []point
	for group := range groups(r.Samples) {
		a, b := group[0], group[len(group)-1]
		if b.At > a.At {
			pts = append(pts, point{(a.At + b.At) / 2, float64(b.Done-a.Done) / (b.At - a.At) / 1000})
		}
	}
	return pts
}

func (r *Result) memories() []point {
	var pts []point
	for group := range groups(r.Samples) {
		last := group[len(group)-1]
		if last.Memory > 0 {
			pts = append(pts, point{last.At, float64(last.Memory >> 20)})
		}
	}
	return pts
}

// groups yields neighbouring samples; each group begins with the last of the
// one before.
func groups(samples []Sample) func(func([]Sample) bool) {
	n := max(5, (len(samples)+plotPoints-1)/plotPoints)
	return func(yield func([]Sample) bool) {
		for i := 0; i+1 < len(samples); i += n {
			if !yield(samples[i:min(i+n+1, len(samples))]) {
				return
			}
		}
	}
}

func drawPanel(w io.Writer, top int, unit string, lines []line) {
	var maxX, maxY float64
	for _, l := range lines {
		for _, p := range l.pts {
			maxX, maxY = max(maxX, p.x), max(maxY, p.y)
		}
	}
	if maxX == 0 || maxY == 0 {
		maxX, maxY = max(maxX, 1), max(maxY, 1)
	}
	stepX, stepY := niceStep(maxX, 8), niceStep(maxY, 5)
	maxY = math.Ceil(maxY/stepY) * stepY
	width := float64(plotWidth - plotLeft - plotRight)
	atX := func(x float64) float64 { return plotLeft + x/maxX*width }
	atY := func(y float64) float64 { return float64(top) + panelHeight - y/maxY*panelHeight }
	for y := 0.0; y <= maxY*1.0001; y += stepY {
		fmt.Fprintf(w, `<line class="grid" x1="%d" x2="%.1f" y1="%.1f" y2="%.1[3]f"/>`, plotLeft, atX(maxX), atY(y))
		fmt.Fprintf(w, `<text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n", plotLeft-6, atY(y)+4, y)
	}
	for x := 0.0; x <= maxX*1.0001; x += stepX {
		fmt.Fprintf(w, `<text x="%.1f" y="%d" text-anchor="middle">%.3gs</text>`+"\n", atX(x), top+panelHeight+18, x)
	}
	fmt.Fprintf(w, `<line class="axis" x1="%d" x2="%.1f" y1="%d" y2="%[3]d"/>`+"\n", plotLeft, atX(maxX), top+panelHeight)
	fmt.Fprintf(w, `<text x="%d" y="%d">%s</text>`+"\n", plotLeft, top-10, unit)
	for i, l := range lines {
		fmt.Fprintf(w, `<polyline class="%s" points="`, l.class)
		for _, p := range l.pts {
			fmt.Fprintf(w, "%.1f,%.1f ", atX(p.x), atY(p.y))
		}
		fmt.Fprintf(w, `"/>`+"\n")
		y := top + 14 + 18*i
		fmt.Fprintf(w, `<rect class="%s" x="%d" y="%d" width="14" height="4"/>`, l.class, plotWidth-plotRight+16, y-6)
		fmt.Fprintf(w, `<text x="%d" y="%d">%s</text>`+"\n", plotWidth-plotRight+36, y, l.name)
	}
}

// niceStep divides a range into at most n steps of 1, 2 or 5 times a power of ten.
func niceStep(to float64, n int) float64 {
	step := math.Pow(10, math.Floor(math.Log10(to/float64(n))))
	for _, m := range []float64{1, 2, 5, 10} {
		if step*m*float64(n) >= to {
			return step * m
		}
	}
	return step * 10
}
