// Package replaytest holds tests that replay what real masters wrote: from one
// metadata file through a changelog to what the same master stored at its end.
// The packages under test must not import each other for that.
package replaytest

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/changelog/meta/metatest"
	"mfsstandby/standby/metafile"
)

var captures = flag.String("captures", "", "directory with more captures to replay: NAME/before.mfs, NAME/changelog.mfs, NAME/after.mfs")

// maxShown is how many differences are printed.
const maxShown = 60

func TestReplay(t *testing.T) {
	var all []capture
	for _, name := range []string{"3.0.117-a", "4.59.2-a", "1.6.27-a", "1.6.27-b", "2.0.91-a", "2.0.91-b"} {
		files := "../metafile/testdata/" + name
		all = append(all, capture{
			name:      name,
			before:    files + "/before.mfs",
			changelog: "../../changelog/testdata/" + name + ".changelog.mfs.gz",
			after:     files + "/after.mfs.gz",
		})
	}
	if *captures != "" {
		more, err := filepath.Glob(filepath.Join(*captures, "*", "after.mfs"))
		if err != nil || len(more) == 0 {
			t.Fatalf("%s holds no capture: %v", *captures, err)
		}
		for _, after := range more {
			dir := filepath.Dir(after)
			all = append(all, capture{
				name:      filepath.Base(dir),
				before:    filepath.Join(dir, "before.mfs"),
				changelog: filepath.Join(dir, "changelog.mfs"),
				after:     after,
			})
		}
	}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) { replay(t, c) })
	}
}

// capture names the files of one capture: what a master stored, the entries it
// wrote from then on, and what it stored at their end. Those that end in .gz
// are compressed.
type capture struct{ name, before, changelog, after string }

// replay compares what a changelog makes of one metadata file with another.
func replay(t *testing.T, c capture) {
	got, first := load(t, c.before)
	want, last := load(t, c.after)
	version, now := apply(t, c.changelog, got, first.Version)
	if version != last.Version {
		t.Fatalf("changelog leads to version %d, the file after it has %d", version, last.Version)
	}
	if problems := metatest.Check(got); len(problems) > 0 {
		t.Errorf("state is inconsistent:\n%s", strings.Join(problems[:min(len(problems), maxShown)], "\n"))
	}
	dropClosed(got, want)
	if !got.Release.Since(meta.Release2) {
		dropXattrs(got)
	}
	compare(t, dump(want, now), dump(got, now))
}

// dropClosed drops sessions that want does not have. mfsmaster does not store
// a session that its client has closed, but keeps it until its next check, and
// the entry for that is yet to come; closing leaves none but that of the
// disconnection.
func dropClosed(got, want *meta.State) {
	for id, s := range got.Sessions.Scan(0) {
		if _, ok := want.Sessions.Get(id); ok || s.Disconnected == 0 {
			continue
		}
		for _, ino := range got.Open.Of(id) {
			got.Open.Remove(id, ino)
		}
		got.Sessions.Delete(id)
	}
}

// dropXattrs drops what 1.6 has in its changelog but does not store.
func dropXattrs(st *meta.State) {
	var with []meta.Inode
	for ino := range st.Xattrs.Scan() {
		with = append(with, ino)
	}
	for _, ino := range with {
		st.Xattrs.DeleteAll(ino)
		n, _ := st.Nodes.Edit(ino)
		n.Flags &^= meta.HasXattr
	}
}

// open opens a file of a capture.
func open(t *testing.T, path string) io.Reader {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if !strings.HasSuffix(path, ".gz") {
		return f
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// load reads a metadata file.
func load(t *testing.T, path string) (*meta.State, metafile.Header) {
	t.Helper()
	st := metatest.New()
	h, err := metafile.Read(open(t, path), st, metafile.ReadOptions{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	return st, h
}

// apply applies all entries from a version on and returns the version and the
// time at which they end.
func apply(t *testing.T, path string, st *meta.State, version meta.Version) (meta.Version, meta.Time) {
	t.Helper()
	var now meta.Time
	batch := changelog.NewBatch()
	batch.SetRelease(st.Release)
	lines := bufio.NewScanner(open(t, path))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		batch.Reset()
		e, err := batch.ParseLine(lines.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if e.Version < version {
			continue
		}
		if e.Version > version {
			t.Fatalf("entry %d follows %d", e.Version, version)
		}
		if err := changelog.ApplyEntry(st, e); err != nil {
			t.Fatal(err)
		}
		version++
		now = max(now, e.Time)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return version, now
}

// records are a state as text: name of the record -> content.
type records map[string]string

func (r records) add(content any, format string, args ...any) {
	r[fmt.Sprintf(format, args...)] = fmt.Sprintf("%+v", content)
}

// dump writes a state as records. What cannot be equal in a replica is left
// out, or brought into one form:
//   - operation counters of sessions never come through the changelog;
//   - when a session was disconnected: its return leaves no entry before 4.x;
//   - whether a lock of flock(2) is exclusive: not every conversion leaves one;
//   - locks of chunks that are over: mfsmaster before 4.x drops them when it stores;
//   - meta.KeepMode: never stored;
//   - trailing holes of chunk tables: likewise;
//   - the mark above which storage class ids were never used: a load sees only
//     those in use, and the lowest free one is next either way;
//   - Node.Ratio and what follows from it: read again at each load.
func dump(st *meta.State, now meta.Time) records {
	r := records{}
	modern := st.Release.Since(meta.Release4)
	scalars := *st.Scalars
	scalars.ClassesUsed = 0
	r.add(scalars, "scalars")
	dumpNodes(r, st)
	for parent, list := range st.Edges.Scan() {
		names := make([]string, len(list))
		for i, e := range list {
			names[i] = fmt.Sprintf("%q=%d/%d", e.Name, e.Child, e.ID)
		}
		r.add(names, "names of %d", parent)
	}
	for id, c := range st.Chunks.Scan(0) {
		if !modern && c.LockedTo < now {
			c.LockedTo = 0
		}
		r.add(c, "chunk %d", id)
	}
	for ino, list := range st.Xattrs.Scan() {
		r.add(list, "xattrs of %d", ino)
	}
	for key, a := range st.ACLs.Scan(meta.ACLKey{}) {
		r.add(a, "acl %v", key)
	}
	for ino, q := range st.Quotas.Scan(0) {
		r.add(q, "quota of %d", ino)
	}
	for id, s := range st.Sessions.Scan(0) {
		s.Current, s.Last = [meta.SessionCounters]uint32{}, [meta.SessionCounters]uint32{}
		if !modern {
			s.Disconnected = 0
		}
		r.add(s, "session %d", id)
	}
	for id, ino := range st.Open.Scan() {
		r.add(true, "open file %d of session %d", ino, id)
	}
	for ino, list := range st.Flocks.Scan(0) {
		for _, l := range list {
			r.add(true, "flock of %d/%d on %d", l.Session, l.Owner, ino)
		}
	}
	for ino, list := range st.Plocks.Scan(0) {
		for _, o := range list {
			r.add(o, "plock of %d/%d on %d", o.Session, o.Owner, ino)
		}
	}
	for at, s := range st.Servers.Scan(meta.Server{}) {
		r.add(s, "server %v", at)
	}
	for id, c := range st.Classes.Scan(0) {
		r.add(c, "class %d", id)
	}
	for i, p := range st.Patterns.Scan(0) {
		r.add(p, "pattern %d", i)
	}
	free := slices.Collect(st.Inodes.ScanFree())
	if !st.Release.Since(meta.Release3) { // what was freed at once came in the order of one list for all
		slices.SortStableFunc(free, func(a, b meta.FreedInode) int {
			return cmp.Or(cmp.Compare(a.Freed, b.Freed), cmp.Compare(a.Inode, b.Inode))
		})
	}
	r.add(free, "free inodes")
	return r
}

// dumpNodes writes the tables of nodes.
func dumpNodes(r records, st *meta.State) {
	for ino, n := range st.Nodes.Scan(0) {
		n.Ratio, n.Slots = 0, 0
		n.Flags &^= meta.KeepMode
		r.add(n, "node %d", ino)
	}
	for ino, d := range st.Dirs.Scan(0) {
		d.Stats.RealSize = 0
		r.add(d, "directory %d", ino)
	}
	for ino, target := range st.Symlinks.Scan(0) {
		r.add(target, "target of %d", ino)
	}
	for slot, id := range st.Slots.Scan(meta.Slot{}) {
		r.add(id, "slot %v", slot)
	}
	for ino, links := range st.Hard.Scan(0) {
		// A load finds the names in the order of their directories.
		slices.SortFunc(links, func(a, b meta.HardLink) int {
			return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
		})
		r.add(links, "names leading to %d", ino)
		n, _ := st.Nodes.Get(ino)
		n.Ratio, n.Slots, n.Parent, n.NameHash = 0, 0, 0, 0
		n.Flags &^= meta.KeepMode
		r.add(n, "node %d", ino)
	}
	for ino, n := range st.Nodes.Scan(0) {
		if d, ok := st.Detached.Get(ino); ok {
			r.add(d, "%d in trash or sustained (%d)", ino, n.Type)
		}
	}
}

// compare reports the records that differ.
func compare(t *testing.T, want, got records) {
	t.Helper()
	all := maps.Clone(want)
	maps.Copy(all, got)
	shown := 0
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if want[key] == got[key] {
			continue
		}
		if shown++; shown <= maxShown {
			t.Errorf("%s:\n got %s\nwant %s", key, got[key], want[key])
		}
	}
	if shown > maxShown {
		t.Errorf("and %d more differences", shown-maxShown)
	}
}
