// Package oprand makes random entries that mostly fit a State, for tests: all
// operations that MooseFS 3.0.117 writes, on what the State holds, with the
// results that they have there. Tests of the effects and tests against a real
// master drive it.
package oprand

import (
	"errors"
	"math/rand/v2"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
)

// Generator makes operations for a State of metatest.
type Generator struct {
	Now meta.Time // of the next operation; moves on by itself

	rnd *rand.Rand
	st  *meta.State

	// Strict leaves out operations that mfsmaster writes but does not replay
	// as it meant them, so that its replay must end in the same state.
	Strict bool

	nodes map[meta.Type][]meta.Inode // what is there now
	edges []place
	files []meta.Inode
	open  []openFile
}

type place struct {
	parent meta.Inode
	edge   meta.Edge
}

type openFile struct {
	session meta.SessionID
	inode   meta.Inode
}

// New returns a Generator that draws its decisions from source.
func New(source rand.Source, now meta.Time) *Generator {
	return &Generator{Now: now, rnd: rand.New(source)}
}

// maxFixes is how many results of one operation can differ, and then some.
const maxFixes = 10

// Step makes an operation, applies it to *st and returns it. If it fits *st,
// its results are set to what they are there, and *st becomes the state after
// it; else the error tells why, and *st stays as it is.
func (g *Generator) Step(st **meta.State) (changelog.Op, error) {
	g.look(*st)
	g.tick()
	op := g.op()
	for range maxFixes {
		next := metatest.Clone(*st)
		err := op.Apply(next, g.Now)
		var mismatch *changelog.MismatchError
		if errors.As(err, &mismatch) && setResult(op, mismatch) {
			continue
		}
		if err == nil {
			*st = next
		}
		return op, err
	}
	return op, errors.New("results never fit")
}

// look notes what st holds.
func (g *Generator) look(st *meta.State) {
	g.st = st
	g.nodes, g.edges, g.files, g.open = map[meta.Type][]meta.Inode{}, nil, nil, nil
	for ino, n := range st.Nodes.Scan(0) {
		g.nodes[n.Type] = append(g.nodes[n.Type], ino)
		if n.Type.IsFile() {
			g.files = append(g.files, ino)
		}
	}
	for parent, list := range st.Edges.Scan() {
		for _, e := range list {
			g.edges = append(g.edges, place{parent, e})
		}
	}
	for s, ino := range st.Open.Scan() {
		g.open = append(g.open, openFile{s, ino})
	}
}

// tick moves the clock: mostly a little, now and then hours, seldom back.
func (g *Generator) tick() {
	switch g.n(40) {
	case 0:
		g.Now += meta.Time(g.n(100_000))
	case 1:
		g.Now -= meta.Time(g.n(30))
	default:
		g.Now += meta.Time(g.n(3))
	}
}

// n draws a number below limit.
func (g *Generator) n(limit int) int { return g.rnd.IntN(limit) }

// chance is true once in a number of times.
func (g *Generator) chance(once int) bool { return g.n(once) == 0 }

// oneOf draws an element, or gives otherwise if there is none.
func oneOf[T any](g *Generator, list []T, otherwise T) T {
	if len(list) == 0 {
		return otherwise
	}
	return list[g.n(len(list))]
}

// row is a kind of operation and how often it is drawn.
type row struct {
	weight int
	make   func(*Generator) changelog.Op
}

// op draws an operation.
func (g *Generator) op() changelog.Op {
	sum := 0
	for _, r := range rows {
		sum += r.weight
	}
	at := g.n(sum)
	for _, r := range rows {
		if at -= r.weight; at < 0 {
			return r.make(g)
		}
	}
	return &changelog.Idle{}
}

// setResult sets the result that an error is about. It tells whether the
// operation has such a result.
func setResult(op changelog.Op, m *changelog.MismatchError) bool {
	if counts := countsOf(op); counts != nil {
		switch m.What {
		case "number of changed inodes":
			counts.Changed = m.Got.(uint32)
		case "number of unchanged inodes":
			counts.NotChanged = m.Got.(uint32)
		case "number of inodes without permission":
			counts.NotPermitted = m.Got.(uint32)
		}
		return true
	}
	switch op := op.(type) {
	case *changelog.ArchChg:
		switch m.What {
		case "number of changed chunks":
			op.Changed = m.Got.(uint64)
		case "number of unchanged chunks":
			op.NotChanged = m.Got.(uint64)
		default:
			op.NotPermitted = m.Got.(uint32)
		}
	case *changelog.EmptyTrash:
		return setFreed(m, &op.Freed, &op.Sustained, &op.InodeXor)
	case *changelog.EmptySustained:
		return setFreed(m, &op.Freed, new(uint32), &op.InodeXor)
	case *changelog.FreeInodes:
		return setFreed(m, &op.Freed, &op.Sustained, &op.InodeXor)
	case *changelog.Snapshot:
		setSnapshot(op, m)
	case *changelog.RenumerateEdges:
		op.NextEdge = m.Got.(uint64)
	default:
		return false
	}
	return true
}

func setFreed(m *changelog.MismatchError, freed, sustained, xor *uint32) bool {
	switch m.What {
	case "number of freed inodes":
		*freed = m.Got.(uint32)
	case "number of sustained inodes":
		*sustained = m.Got.(uint32)
	default:
		*xor = m.Got.(uint32)
	}
	return true
}

func setSnapshot(op *changelog.Snapshot, m *changelog.MismatchError) {
	field := map[string]*uint32{
		"number of removed inodes":  &op.Removed,
		"number of same files":      &op.Same,
		"number of existing inodes": &op.Existing,
		"number of hard links":      &op.HardLinks,
		"number of new inodes":      &op.New,
		"xor of inodes":             &op.InodeXor,
	}[m.What]
	*field = m.Got.(uint32)
}

// countsOf returns the results of operations on trees.
func countsOf(op changelog.Op) *changelog.Counts {
	switch op := op.(type) {
	case *changelog.SetEattr:
		return &op.Counts
	case *changelog.SetSClass:
		return &op.Counts
	case *changelog.SetGoal:
		return &op.Counts
	case *changelog.SetTrashTime:
		return &op.Counts
	}
	return nil
}
