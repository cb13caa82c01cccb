package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"golang.org/x/term"
)

// console is where a command reads its surroundings and writes to.
type console struct {
	out, err io.Writer
	terminal bool // err is one: progress may be shown
	config   config
}

func newConsole(out, err io.Writer) *console {
	f, ok := err.(*os.File)
	return &console{out: out, err: err, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

// json prints v for programs.
func (c *console) json(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// logger is for warnings of commands that are not daemons.
func (c *console) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// progress shows how far a long command is, on a terminal only.
type progress struct {
	w     io.Writer // nil shows nothing
	what  string
	total int64 // bytes; 0 if not known
	start time.Time
	shown time.Time
	any   bool
}

// redraw is how often a progress line is drawn.
const redraw = 200 * time.Millisecond

func (c *console) progress(what string, total int64) *progress {
	p := &progress{what: what, total: total, start: time.Now()}
	if c.terminal {
		p.w = c.err
	}
	return p
}

// at says how many bytes are done.
func (p *progress) at(done int64) {
	now := time.Now()
	if p.w == nil || now.Sub(p.shown) < redraw {
		return
	}
	p.shown, p.any = now, true
	rate := float64(done) / max(now.Sub(p.start).Seconds(), 0.001)
	if p.total <= 0 {
		fmt.Fprintf(p.w, "\r%s: %s, %s/s \x1b[K", p.what, formatSize(done), formatSize(int64(rate)))
		return
	}
	left := time.Duration(float64(max(p.total-done, 0)) / max(rate, 1) * float64(time.Second)).Round(time.Second)
	fmt.Fprintf(p.w, "\r%s: %3d%% of %s, %s/s, %v left \x1b[K",
		p.what, 100*done/p.total, formatSize(p.total), formatSize(int64(rate)), left)
}

// end removes the line.
func (p *progress) end() {
	if p.any {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// stages shows one progress line after the other.
type stages struct {
	c   *console
	now *progress
}

// begin ends the present stage and begins one of total bytes.
func (s *stages) begin(what string, total int64) func(int64) {
	s.end()
	s.now = s.c.progress(what, total)
	return s.now.at
}

func (s *stages) end() {
	if s.now != nil {
		s.now.end()
		s.now = nil
	}
}
