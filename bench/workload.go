// Package bench measures: it makes load, seeded synthetic changelogs as a busy
// MooseFS 3.0.117 master would have written them, and runs it through each stage
// between a changelog and the image (Replay), beside the stock master.
//
// Generate needs no master: it keeps its own model of the file system (inode
// numbers and their free list, names, chunks, trash, open files) so that every
// result in an entry is the one that the master's own replay computes. The model
// is written independently of package changelog, so that the two check each
// other. The command bench and the tests call it.
package bench

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
)

// Mix says which operations a synthetic changelog is made of.
type Mix string

const (
	Create   Mix = "create"   // a growing tree: many new files, most written once
	Mixed    Mix = "mixed"    // everyday load of every kind
	Hot      Mix = "hot"      // few files and directories, changed over and over
	Snapshot Mix = "snapshot" // snapshots made, written over and removed
	Delete   Mix = "delete"   // trees that come and go through trash and free list
)

// Mixes lists every Mix.
func Mixes() []Mix { return []Mix{Create, Mixed, Hot, Snapshot, Delete} }

// Options of Generate. The zero value of a field means its default.
type Options struct {
	Seed    uint64
	Entries int  // how many lines; required
	Mix     Mix  // default Mixed
	Base    Base // the image to replay onto, as FreshMetadata writes it; default DefaultBase
	Rate    int  // entries per second of the primary's clock, default 20,000
}

func (o Options) withDefaults() Options {
	if o.Mix == "" {
		o.Mix = Mixed
	}
	if o.Base == (Base{}) {
		o.Base = DefaultBase
	}
	if o.Rate == 0 {
		o.Rate = 20_000
	}
	return o
}

func (o Options) validate() error {
	switch {
	case o.Entries < 0:
		return fmt.Errorf("workload of %d entries: give a number of at least 0", o.Entries)
	case !slices.Contains(Mixes(), o.Mix):
		return fmt.Errorf("unknown mix %q: choose one of %v", o.Mix, Mixes())
	case o.Rate < 1:
		return fmt.Errorf("rate of %d entries per second: give a number of at least 1", o.Rate)
	case o.Base.Version < 1:
		return fmt.Errorf("base image of version 0: versions start at 1")
	}
	return nil
}

// Generate writes a changelog of o.Entries lines, the first numbered
// o.Base.Version, which replays onto FreshMetadata(o.Base). Equal options give
// equal bytes.
func Generate(w io.Writer, o Options) error {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	g := newGenerator(bufio.NewWriterSize(w, 1<<20), o)
	g.start()
	for g.left > 0 {
		g.step()
	}
	if err := g.out.Flush(); err != nil {
		return fmt.Errorf("writing synthetic changelog: %w", err)
	}
	return nil
}

// generator is the model of the master and of its clients.
type generator struct {
	opts Options
	out  *bufio.Writer
	rng  *rand.Rand
	line []byte // the entry being built

	version  uint64
	left     int
	now      uint32
	inSecond int // entries written in the current second
	sinceGap int // entries written since the last quiet time
	tick     uint32

	world
	timers

	procs   []proc
	actions []action
	weight  int // sum of the weights of actions
	gap     int // entries between two quiet times; 0: none
}

// proc is one client process: its steps are emitted in order, mixed with those
// of the other processes.
type proc struct {
	session uint32
	owner   uint64 // lock owner
	steps   []step
}

// step is a later part of what an action began.
type step func(g *generator, p *proc)

func newGenerator(out *bufio.Writer, o Options) *generator {
	g := &generator{
		opts:    o,
		out:     out,
		rng:     rand.New(rand.NewPCG(o.Seed, 0x6D66732D62656E63)),
		version: o.Base.Version,
		left:    o.Entries,
		now:     o.Base.Time,
		actions: actionsOf(o.Mix),
		gap:     gapOf(o.Mix),
	}
	g.world = newWorld()
	for i := range 6 {
		g.procs = append(g.procs, proc{session: uint32(i%2) + 1, owner: g.rng.Uint64()})
	}
	for _, a := range g.actions {
		g.weight += a.weight
	}
	return g
}

// begin starts an entry; the caller appends to g.line and calls end.
func (g *generator) begin(op string) {
	g.line = appendUint(g.line[:0], g.version)
	g.line = append(g.line, ": "...)
	g.line = appendUint(g.line, g.now)
	g.line = append(g.line, '|')
	g.line = append(g.line, op...)
	g.line = append(g.line, '(')
}

// end writes the entry unless there are enough: what an action says beyond the
// last entry is lost, as with a master that stops in the middle.
func (g *generator) end() {
	if g.left == 0 {
		return
	}
	g.left--
	g.version++
	g.inSecond++
	g.sinceGap++
	g.line = append(g.line, '\n')
	g.out.Write(g.line) // an error sticks and comes out of Flush
}

// emit writes an entry of numbers only: op(args):results.
func (g *generator) emit(op string, args []uint64, results ...uint64) {
	g.begin(op)
	g.line = appendList(g.line, args)
	g.line = append(g.line, ')')
	if len(results) > 0 {
		g.line = append(g.line, ':')
		g.line = appendList(g.line, results)
	}
	g.end()
}

// step lets time pass and one process do its next thing.
func (g *generator) step() {
	if g.inSecond >= g.opts.Rate {
		g.second()
	}
	if g.gap > 0 && g.sinceGap >= g.gap {
		g.quietTime()
	}
	p := &g.procs[g.rng.IntN(len(g.procs))]
	if len(p.steps) == 0 {
		g.choose().run(g, p)
		return
	}
	next := p.steps[0]
	p.steps = p.steps[1:]
	next(g, p)
}

func (g *generator) choose() action {
	n := g.rng.IntN(g.weight)
	for _, a := range g.actions {
		if n -= a.weight; n < 0 {
			return a
		}
	}
	panic("bench: weights do not add up")
}
