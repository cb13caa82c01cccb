package history

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
	"mfsstandby/changelog/oprand"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby/metafile"
)

const testMetaID = 0x5F3A7C0011223344

// world is a random history and every state of it: states[i] is that of version
// first+i, entries[i] the entry that follows it.
type world struct {
	first   meta.Version
	states  []*meta.State
	entries []meta.RawEntry
	ops     []changelog.Op
	bases   []meta.Version
	epochs  map[meta.Version]stream.Epoch // at which one is opened
}

// newWorld makes steps entries.
func newWorld(t testing.TB, seed uint64, steps int) *world {
	t.Helper()
	now := meta.Time(1700000000)
	st := oprand.Fresh(now)
	st.MetaID, st.Release = testMetaID, meta.Reproduced
	g := oprand.New(rand.NewPCG(seed, 0), now)
	g.Strict = true // a metadata file holds all of it
	w := &world{first: 1, states: []*meta.State{metatest.Clone(st)}, bases: []meta.Version{1}, epochs: map[meta.Version]stream.Epoch{}}
	for len(w.entries) < steps {
		op, err := g.Step(&st)
		if err != nil {
			continue
		}
		w.entries = append(w.entries, meta.RawEntry{Version: w.end(), Text: changelog.Append(nil, g.Now, op)})
		w.ops = append(w.ops, op)
		w.states = append(w.states, metatest.Clone(st))
	}
	return w
}

func (w *world) end() meta.Version { return w.first + meta.Version(len(w.entries)) }

func (w *world) at(v meta.Version) *meta.State { return w.states[v-w.first] }

// file is the metadata file of a version.
func (w *world) file(t testing.TB, v meta.Version) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := metafile.Write(&b, metatest.Clone(w.at(v)), metafile.Header{Version: v, MetaID: testMetaID}, metafile.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// source makes the world one line of a memory.
func (w *world) source(t testing.TB) *memory {
	t.Helper()
	m := &memory{t: t}
	m.add(w, w.first, w.end(), 1)
	return m
}

// memory is a Source of lines, each of which begins with a base image and takes
// over from the one before.
type memory struct {
	t     testing.TB
	lines []line
}

type line struct {
	w        *world
	from, to meta.Version
	epoch    stream.Epoch
}

func (m *memory) add(w *world, from, to meta.Version, epoch stream.Epoch) {
	m.lines = append(m.lines, line{w, from, to, epoch})
}

// at gives epoch and chain of a line at a version.
func (l *line) at(v meta.Version) (stream.Epoch, stream.Chain) {
	epoch, chain := l.epoch, stream.Chain{Hi: uint64(l.epoch), Lo: uint64(l.from)}
	for u := l.from; u < v; u++ {
		if e := l.w.epochs[u]; e != 0 {
			epoch = e
		}
		chain = chain.Next(u, l.w.entries[u-l.w.first].Text)
	}
	return epoch, chain
}

func (m *memory) Bases(context.Context) (list []stream.Base, err error) {
	for i := range m.lines {
		l := &m.lines[i]
		for _, v := range append([]meta.Version{l.from}, l.w.bases...) {
			if v < l.from || v > l.to || v == l.from && len(list) > 0 && list[len(list)-1].Version == v && list[len(list)-1].Epoch == l.epoch {
				continue
			}
			epoch, chain := l.at(v)
			list = append(list, stream.Base{MetaID: testMetaID, Version: v, Epoch: epoch, Chain: chain, Release: meta.Reproduced.String()})
		}
	}
	return list, nil
}

// of finds the line of an epoch.
func (m *memory) of(e stream.Epoch) int {
	found := 0
	for i := range m.lines {
		if m.lines[i].epoch <= e {
			found = i
		}
	}
	return found
}

func (m *memory) GetBase(_ context.Context, b stream.Base, w io.Writer) error {
	_, err := w.Write(m.lines[m.of(b.Epoch)].w.file(m.t, b.Version))
	return err
}

func (m *memory) End(context.Context) (stream.Position, error) {
	l := &m.lines[len(m.lines)-1]
	epoch, chain := l.at(l.to)
	return stream.Position{Version: l.to, Epoch: epoch, Chain: chain}, nil
}

func (m *memory) Reader(pos stream.Position) Reader { return &memoryReader{m, m.of(pos.Epoch), pos} }

type memoryReader struct {
	m   *memory
	i   int
	pos stream.Position
}

func (r *memoryReader) Next(ctx context.Context) (*stream.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := &r.m.lines[r.i]
	if r.pos.Version >= l.to {
		if r.i == len(r.m.lines)-1 {
			return nil, io.EOF
		}
		next := r.m.lines[r.i+1]
		return nil, &stream.RebaseError{Epoch: next.epoch, At: r.pos.Version, Base: next.from}
	}
	to := min(l.to, r.pos.Version+7)
	for v := r.pos.Version + 1; v < to; v++ {
		if l.w.epochs[v] != 0 {
			to = v // a batch is of one epoch
		}
	}
	b := &stream.Batch{Release: meta.Reproduced.String(), Entries: l.w.entries[r.pos.Version-l.w.first : to-l.w.first]}
	b.End.Version = to
	b.End.Epoch, b.End.Chain = l.at(to)
	r.pos = b.End
	return b, nil
}

func (r *memoryReader) Close() error { return nil }

// options are for temporary images of a test.
func options(t testing.TB) Options { return Options{Dir: t.TempDir(), Cache: 16 << 20} }

// wantState compares with a state of the world.
func (w *world) wantState(t testing.TB, v meta.Version, got *meta.State) {
	t.Helper()
	n, err := metafile.Compare(bytes.NewReader(w.file(t, v)), got, metafile.CompareOptions{Version: v, Disconnects: true, LockTypes: true, ChunkLocks: true},
		func(d metafile.Difference) { t.Error(d) })
	if err != nil || n != 0 {
		t.Fatalf("version %d: %d differences, %v", v, n, err)
	}
}

// facts are what is known of a node, each value as text; gathered by walking
// through everything.
type facts map[string]string

// survey gathers the facts of all nodes of a state, and all names that lead to them.
func survey(st *meta.State) (nodes map[meta.Inode]facts, names map[meta.Inode][]string) {
	nodes, names = map[meta.Inode]facts{}, map[meta.Inode][]string{}
	classes := map[uint8]string{}
	for id, c := range st.Classes.Scan(0) {
		classes[id] = c.Name
	}
	for ino, n := range st.Nodes.Scan(0) {
		f := facts{"type": fmt.Sprint(n.Type), "mode": fmt.Sprint(n.Mode), "uid": fmt.Sprint(n.UID), "gid": fmt.Sprint(n.GID),
			"trash time": fmt.Sprint(n.TrashHours), "extra attributes": fmt.Sprint(n.Eattr), "windows attributes": fmt.Sprint(n.Winattr),
			"atime": fmt.Sprint(n.Atime), "mtime": fmt.Sprint(n.Mtime), "ctime": fmt.Sprint(n.Ctime)}
		if n.Class != 0 {
			f["storage class"] = fmt.Sprint(n.Class, classes[n.Class])
		}
		if n.Type.IsFile() {
			f["length"], f["chunks in use"] = fmt.Sprint(n.Length), fmt.Sprint(n.Used)
			var table []string
			for i := range n.Slots {
				if id := st.Slot(ino, &n, i); id != 0 {
					table = append(table, fmt.Sprint(i, "=", id))
				}
			}
			f["chunks"] = strings.Join(table, " ")
		}
		if n.Type.IsDevice() {
			f["device"] = fmt.Sprint(n.Rdev)
		}
		if d, ok := st.Detached.Get(ino); ok {
			f["path in trash"] = d.Path
		}
		nodes[ino] = f
	}
	for parent, list := range st.Edges.Scan() {
		for _, e := range list {
			names[e.Child] = append(names[e.Child], fmt.Sprintf("%d/%s", parent, e.Name))
		}
		if nodes[parent] != nil {
			nodes[parent]["entries"] = fmt.Sprint(len(list))
		}
	}
	for ino, target := range st.Symlinks.Scan(0) {
		nodes[ino]["target"] = target
	}
	for ino, list := range st.Xattrs.Scan() {
		for _, x := range list {
			nodes[ino]["xattr "+x.Name] = fmt.Sprintf("%q", x.Value)
		}
	}
	for k, a := range st.ACLs.Scan(meta.ACLKey{}) {
		nodes[k.Inode][map[uint8]string{meta.ACLAccess: "access acl", meta.ACLDefault: "default acl"}[k.Type]] = fmt.Sprintf("%+v", a)
	}
	for ino, q := range st.Quotas.Scan(0) {
		nodes[ino]["quota"] = fmt.Sprintf("%+v", q)
	}
	for _, list := range names {
		slices.Sort(list)
	}
	return nodes, names
}

// differing gives the names of the facts that differ.
func differing(a, b facts) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	var list []string
	for name := range all {
		if a[name] != b[name] {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// walk finds what is at a path.
func walk(st *meta.State, path string) meta.Inode {
	ino := meta.Root
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		next := meta.Inode(0)
		for _, e := range st.Edges.List(ino) {
			if string(e.Name) == part {
				next = e.Child
			}
		}
		if ino = next; ino == 0 {
			return 0
		}
	}
	return ino
}

var fixedNow = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
