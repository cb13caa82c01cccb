package bench

import (
	"bufio"
	"fmt"
	"io"
	"math"
)

// promoteLines are the lines of the plot, in colours for light and dark ground.
var promoteLines = []struct {
	way         Way
	light, dark string
}{
	{Promotion, "#1f5fb4", "#7db0f5"},
	{StockWay, "#6b6b6b", "#b5b5b5"},
}

// WriteSVG draws the time until the first write over the number of inodes, both
// as powers of ten: the line is at the medians, each round is a dot.
func (r *PromoteReport) WriteSVG(w io.Writer) error {
	const height = plotTop + panelHeight + panelGap
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img">`+"\n", plotWidth, height)
	var light, dark string
	for i, l := range promoteLines {
		light += fmt.Sprintf(".s%d{stroke:%s;fill:%[2]s}", i, l.light)
		dark += fmt.Sprintf(".s%d{stroke:%s;fill:%[2]s}", i, l.dark)
	}
	writePlotStyle(out, light, dark)
	fmt.Fprintf(out, `<rect class="ground" width="%d" height="%d"/>`+"\n", plotWidth, height)
	fmt.Fprintf(out, `<text x="%d" y="20" class="title">until the first write is accepted; %d rounds, %d CPUs</text>`+"\n", plotLeft, r.Rounds, r.Machine.CPUs)
	x, y := newLogAxis(), newLogAxis()
	for i := range r.Results {
		x.take(float64(r.Results[i].Inodes))
		y.take(r.Results[i].Write)
	}
	atX := func(n float64) float64 { return plotLeft + x.share(n)*float64(plotWidth-plotLeft-plotRight) }
	atY := func(ms float64) float64 { return plotTop + panelHeight*(1-y.share(ms)) }
	for e := y.from; e <= y.to; e++ {
		ms := math.Pow(10, e)
		fmt.Fprintf(out, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1[3]f"/>`, plotLeft, plotWidth-plotRight, atY(ms))
		fmt.Fprintf(out, `<text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n", plotLeft-6, atY(ms)+4, ms)
	}
	for e := x.from; e <= x.to; e++ {
		n := math.Pow(10, e)
		fmt.Fprintf(out, `<text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", atX(n), plotTop+panelHeight+18, n)
	}
	fmt.Fprintf(out, `<line class="axis" x1="%d" x2="%d" y1="%d" y2="%[3]d"/>`+"\n", plotLeft, plotWidth-plotRight, plotTop+panelHeight)
	fmt.Fprintf(out, `<text x="%d" y="%d">ms</text><text x="%d" y="%d" text-anchor="end">inodes</text>`+"\n", plotLeft, plotTop-10, plotWidth-plotRight, plotTop+panelHeight+36)
	for i, l := range promoteLines {
		if len(r.of(l.way, r.sizes()[0])) == 0 {
			continue
		}
		fmt.Fprintf(out, `<polyline class="s%d" points="`, i)
		for _, n := range r.sizes() {
			fmt.Fprintf(out, "%.1f,%.1f ", atX(float64(n)), atY(r.Median(l.way, n).Write))
		}
		fmt.Fprintln(out, `"/>`)
		for _, n := range r.sizes() {
			for _, run := range r.of(l.way, n) {
				fmt.Fprintf(out, `<circle class="s%d" cx="%.1f" cy="%.1f" r="3"/>`, i, atX(float64(n)), atY(run.Write))
			}
		}
		m := r.Median(l.way, r.sizes()[len(r.sizes())-1])
		fmt.Fprintf(out, `<text x="%d" y="%.1f">%s</text>`+"\n", plotWidth-plotRight+12, atY(m.Write)+4, l.way)
	}
	fmt.Fprintln(out, "</svg>")
	return out.Flush()
}

// logAxis is an axis of whole powers of ten.
type logAxis struct{ from, to float64 } // exponents

func newLogAxis() *logAxis { return &logAxis{math.Inf(1), math.Inf(-1)} }

// take makes room for a value above 0.
func (a *logAxis) take(v float64) {
	e := math.Log10(max(v, 0.1))
	a.from, a.to = min(a.from, math.Floor(e)), max(a.to, math.Ceil(e))
}

// share is where on the axis a value is, from 0 to 1.
func (a *logAxis) share(v float64) float64 {
	return (math.Log10(max(v, 0.1)) - a.from) / max(a.to-a.from, 1)
}
