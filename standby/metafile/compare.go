package metafile

import (
	"fmt"
	"io"
	"reflect"
	"strings"

	"mfsstandby/changelog/meta"
)

// Difference is one value that a metadata file and a State disagree about.
type Difference struct {
	Table       string // the section, or HEAD
	Key         string // which record
	Path        string // of the node it is about, if known
	Field       string // which part of the record; empty is the whole record
	File, Image string // the values
}

// absent stands for a record that one side does not have.
const absent = "absent"

// String gives it in one line.
func (d Difference) String() string {
	b := &strings.Builder{}
	b.WriteString(d.Table)
	if d.Key != "" {
		b.WriteString(" " + d.Key)
	}
	if d.Path != "" {
		fmt.Fprintf(b, " (%q)", d.Path)
	}
	if d.Field != "" {
		b.WriteString(" " + d.Field)
	}
	fmt.Fprintf(b, ": file %s, image %s", d.File, d.Image)
	return b.String()
}

// CompareOptions are optional. What the zero value leaves out can never be
// equal in a replica: it does not come through the changelog.
type CompareOptions struct {
	Name     string           // of the file, for error messages
	Size     int64            // of the file in bytes, 0 if not known
	Progress func(done int64) // called now and then with the bytes read so far

	Version meta.Version // of the State, compared with the file's; 0 is not compared

	// Now is the primary's time when it stored the file. A chunk that is
	// unlocked in the file may be locked until before Now in the State, as
	// mfsmaster drops such locks when it stores. 0 allows any time.
	Now meta.Time

	Counters bool // compare the sessions' operation counters too
	// Disconnects compares when sessions were disconnected, which 3.0.117 does
	// not log when they come back; and whether a disconnected session is there
	// at all: a master does not store one that its client closed, and no entry
	// tells until it is deleted some seconds later.
	Disconnects bool
	LockTypes   bool // compare whether file locks are exclusive: 3.0.117 does not log all conversions
	ChunkLocks  bool // report chunks that only the file has locked: 3.0.117 locks a chunk for 120 s while it copies it, and does not log that
}

// comparer compares a file with a State.
type comparer struct {
	in     *input
	st     *meta.State
	opt    CompareOptions
	report func(Difference)
	count  int

	nodeIDs meta.IDSet                     // of the file
	known   map[meta.SessionID]*meta.IDSet // the file's sessions, and what they have open
}

// Compare tells how the metadata file r and st differ, record by record, and
// returns the number of differences. Derived values and the order in which a
// master's hash tables happen to be are not compared; the order of the names in
// a directory, of the attributes of an inode and of the free inodes is. The
// file must be one that a master stored, with all sections in their order.
func Compare(r io.Reader, st *meta.State, opt CompareOptions, report func(Difference)) (int, error) {
	c := &comparer{
		in: newInput(r, opt.Name, opt.Size, opt.Progress), st: st, opt: opt, report: report,
		known: map[meta.SessionID]*meta.IDSet{},
	}
	h, err := c.in.readHead()
	if err != nil {
		return 0, err
	}
	if opt.Version != 0 && opt.Version != h.Version {
		c.differ(Difference{Table: "HEAD", Field: "Version", File: fmt.Sprint(h.Version), Image: fmt.Sprint(opt.Version)})
	}
	if h.Format >= formatCurrent && !meta.MadeUpID(st.MetaID) { // else the cluster had no id when it was followed first
		c.scalar("HEAD", "MetaID", h.MetaID, st.MetaID)
	}
	if h.Format < formatCurrent {
		c.scalar("HEAD", "max inode", uint64(h.MaxInode), uint64(st.MaxInode))
		c.scalar("HEAD", "next session", uint64(h.NextSession), uint64(st.NextSession))
	}
	next := 0
	err = c.in.eachSection(func(s *section, _ []byte, _ uint64) error {
		for ; next < len(sections) && s.name != sections[next].name; next++ {
			if !c.mayMiss(&sections[next]) {
				return c.in.failf("the sections are not those of a stored file in their order")
			}
		}
		if next == len(sections) {
			return c.in.failf("the sections are not those of a stored file in their order")
		}
		next++
		return s.compare(c)
	})
	if err == nil && next < len(sections) {
		err = c.in.failf("section %s is missing", sections[next].name)
	}
	if err == nil && h.Format < formatCurrent {
		c.closed()
	}
	if err == nil {
		err = st.Err()
	}
	return c.count, err
}

// CompareStates is Compare with the file that Write makes of a. The states are
// read at the same time, and report is called from another goroutine.
func CompareStates(a, b *meta.State, h Header, opt CompareOptions, report func(Difference)) (n int, err error) {
	err = throughPipe(a, h, func(r io.Reader) error {
		n, err = Compare(r, b, opt, report)
		return err
	})
	return n, err
}

// modern tells whether the State is of a release since 4.0.
func (c *comparer) modern() bool { return c.st.Release.Since(meta.Release4) }

// mayMiss tells whether a release wrote files without a section.
func (c *comparer) mayMiss(s *section) bool {
	switch s.name {
	case "SCLA", "FLCK", "PLCK": // 2.0
		return true
	case "PATT":
		return !c.modern()
	}
	return c.in.format < formatCurrent
}

func (c *comparer) differ(d Difference) {
	c.count++
	if c.report != nil {
		c.report(d)
	}
}

// scalar compares a value of which there is only one.
func (c *comparer) scalar(table, field string, file, image uint64) {
	if file != image {
		c.differ(Difference{Table: table, Field: field, File: fmt.Sprint(file), Image: fmt.Sprint(image)})
	}
}

// missing and extra report records that only one side has.
func (c *comparer) missing(table, key string, record any) {
	c.differ(Difference{Table: table, Key: key, File: fmt.Sprintf("%+v", record), Image: absent})
}

func (c *comparer) extra(table, key string, ino meta.Inode, record any) {
	c.differ(Difference{Table: table, Key: key, Path: c.path(ino), File: absent, Image: fmt.Sprintf("%+v", record)})
}

// fields reports each field in which two records of the same type differ.
func (c *comparer) fields(table, key string, ino meta.Inode, file, image any) {
	f, m := reflect.ValueOf(file), reflect.ValueOf(image)
	for i := range f.NumField() {
		a, b := f.Field(i), m.Field(i)
		if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 || reflect.DeepEqual(a.Interface(), b.Interface()) {
			continue
		}
		name := f.Type().Field(i).Name
		c.differ(Difference{Table: table, Key: key, Path: c.path(ino), Field: name, File: valueText(name, a), Image: valueText(name, b)})
	}
}

// valueText prints a field the way it is usually written.
func valueText(name string, v reflect.Value) string {
	switch {
	case name == "Mode" && v.Kind() == reflect.Uint16:
		return fmt.Sprintf("%04o", v.Uint())
	case name == "Eattr" || name == "Flags":
		return fmt.Sprintf("%#02x", v.Uint())
	case name == "Info" || v.Kind() == reflect.String:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprintf("%+v", v)
}

// path is where a node is in the State; empty if that cannot be told.
func (c *comparer) path(ino meta.Inode) string {
	if ino == meta.Root {
		return "/"
	}
	n, ok := c.st.Nodes.Get(ino)
	if !ok {
		return ""
	}
	if d, ok := c.st.Detached.Get(ino); ok {
		if d.Kind == meta.TypeTrash {
			return "trash: " + d.Path
		}
		return "sustained: " + d.Path
	}
	var parts []string
	if n.Type != meta.TypeDir {
		name, ok := c.st.Edges.Find(n.Parent, ino, n.NameHash)
		if !ok {
			return ""
		}
		parts, ino = append(parts, string(name)), n.Parent
	}
	for ino != meta.Root {
		d, ok := c.st.Dirs.Get(ino)
		if !ok || len(parts) > 1000 { // deeper than any path: a circle
			return ""
		}
		parts, ino = append(parts, d.Name), d.Parent
	}
	b := &strings.Builder{}
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteString("/" + parts[i])
	}
	return b.String()
}

func inodeKey(ino meta.Inode) string { return fmt.Sprintf("inode %d", ino) }
