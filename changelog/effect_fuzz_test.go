package changelog_test

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
	"mfsstandby/changelog/oprand"
)

// start is when the tests begin.
const start meta.Time = 1_700_000_000

// tape is a source of random numbers that a fuzzer writes.
type tape struct {
	data []byte
	rest rand.Source // behind the end
}

func (t *tape) Uint64() uint64 {
	if len(t.data) == 0 {
		return t.rest.Uint64()
	}
	var b [8]byte
	n := copy(b[:], t.data)
	t.data = t.data[n:]
	return binary.LittleEndian.Uint64(b[:])
}

// maxTape bounds the work of one run.
const maxTape = 1024

// grow applies random operations until count of them fitted.
func grow(t testing.TB, st *meta.State, source rand.Source, count int) *meta.State {
	g := oprand.New(source, start)
	for done := 0; done < count; {
		if _, err := g.Step(&st); err == nil {
			done++
		}
	}
	return st
}

// wantConsistent fails if something derived in st is wrong.
func wantConsistent(t *testing.T, st *meta.State, after string) {
	t.Helper()
	if problems := metatest.Check(st); len(problems) > 0 {
		t.Fatalf("after %s:\n%s", after, strings.Join(problems, "\n"))
	}
}

// Whatever operations come, all that is derived stays right.
func TestEffectsKeepStateConsistent(t *testing.T) {
	for seed := range uint64(5) {
		st := oprand.Fresh(start)
		g := oprand.New(rand.NewPCG(seed, 1), start)
		var kinds = map[string]int{}
		for range 1200 {
			op, err := g.Step(&st)
			if err != nil {
				continue
			}
			kinds[op.Name()]++
			wantConsistent(t, st, string(changelog.Append(nil, g.Now, op)))
		}
		if len(kinds) < 40 {
			t.Errorf("seed %d: only %d kinds of operations fitted: %v", seed, len(kinds), kinds)
		}
	}
}

func FuzzEffects(f *testing.F) {
	for seed := range uint64(4) {
		data := make([]byte, maxTape)
		rand.NewChaCha8([32]byte{byte(seed)}).Read(data)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		st := oprand.Fresh(start)
		source := &tape{data[:min(len(data), maxTape)], rand.NewPCG(1, 2)}
		g := oprand.New(source, start)
		for len(source.data) > 0 {
			if op, err := g.Step(&st); err == nil {
				wantConsistent(t, st, string(changelog.Append(nil, g.Now, op)))
			}
		}
	})
}

// Entries with any values end in an error or in a consistent state.
func FuzzApplyEntry(f *testing.F) {
	grown := grow(f, oprand.Fresh(start), rand.NewPCG(3, 4), 400)
	source := rand.NewPCG(5, 6)
	g := oprand.New(source, start+100_000)
	st := grown
	for range 600 {
		op, _ := g.Step(&st)
		f.Add(changelog.Append(nil, g.Now, op))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		now, op, err := changelog.NewBatch().Parse(text)
		if err != nil || dangles(grown, op) {
			return
		}
		st := metatest.Clone(grown)
		if err := changelog.ApplyEntry(st, changelog.Entry{Version: 1, Time: now, Op: op}); err == nil {
			wantConsistent(t, st, string(text))
		}
	})
}

// So do entries of 4.x on an image of it.
func FuzzApplyModern(f *testing.F) {
	grown := grow(f, oprand.Fresh(start), rand.NewPCG(7, 8), 400)
	if err := changelog.SetRelease(grown, meta.Latest, start); err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{
		"ADDATTR(1,1,%07)", "ADDATTR(1,3,%07%01)", "ADDATTR(1,4,%00%01%03a.b%00%00%00%01x)", "ADDATTR(1,4,%00%00)",
		"ADDATTR(1,8,%01%00%07%00%05%00%00%00%07%00%01%00%00%00%00%00%05%00%06)", "ADDATTR(1,15,%07%01%00%00%00)",
		"AUTOARCH(2,4294967295,1):1,0", "CHUNKFLAGSCLR(1)", "PATADD([a-c]*?.x,4294967295,7,9,7,2,5,1,2)", "PATADD(*,1,2,3,1,2,0,0,0)",
		"PATDEL(*,1,2)", "SESCONNECTED(1)", "TRASH_RECOVER(2,1,a/b,18,0,0,1):()", "TRASH_REMOVE(2)", "MOVE(1,a,1,b,1):0", "MOVE(1,a,1,b,2):2",
		"SCSET(c,1,1,d,3,4,C(0:0:255),K(1:0:255),A(2:0:65:255),T(1:0:0:255),1,(1:24:512),5,0,C0,C0,C1,FF):10", "SCECVERSION(2)",
		"CREATE(1,x.a,1,420,18,7,7,0):900",
	} {
		f.Add([]byte(strings.Join([]string{"1700000001", text}, "|")))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		now, op, err := changelog.NewBatch().Parse(text)
		if err != nil || dangles(grown, op) {
			return
		}
		st := metatest.Clone(grown)
		if err := changelog.ApplyEntry(st, changelog.Entry{Version: 1, Time: now, Op: op}); err == nil {
			wantConsistent(t, st, string(text))
		}
	})
}

// A glob without special bytes fits itself alone, a star fits all, and whatever
// a glob is, it is matched without reading beyond the name.
func FuzzGlobs(f *testing.F) {
	for _, glob := range []string{"", "*", "a*b?c", "[a-z]*", "[!x]?*.tar", "\\*", "a**b", "[", "[]", "*[", "[z-a]", "a\\"} {
		f.Add(glob, []byte("abc.tar"))
	}
	f.Fuzz(func(t *testing.T, glob string, name []byte) {
		fits := changelog.GlobMatches(glob, name)
		if !strings.ContainsAny(glob, "*?[\\") && fits != (glob != "" && glob == string(name)) {
			t.Errorf("%q fits %q: %v", glob, name, fits)
		}
		if fits && !changelog.GlobMatches("*", name) {
			t.Errorf("%q fits %q, and a star does not", glob, name)
		}
	})
}

// dangles tells whether an operation puts a chunk into a slot that does not
// exist. Its references are not counted then, as in mfsmaster.
func dangles(st *meta.State, op changelog.Op) bool {
	var id meta.ChunkID
	switch op := op.(type) {
	case *changelog.Rollback:
		id = op.Prev
	case *changelog.SetFileChunk:
		id = op.Chunk
	}
	_, ok := st.Chunks.Get(id)
	return id != 0 && !ok
}
