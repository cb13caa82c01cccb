package history

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
	"mfsstandby/standby/replay"
)

// Kinds of Change.
const (
	Created  = "created"
	Removed  = "removed"   // a file's removal may leave it in the trash: its type says so then
	Renamed  = "renamed"   // From is where it was
	Linked   = "linked"    // one more name
	Unlinked = "unlinked"  // one name less, others remain
	Changed  = "changed"   // its values only
	Purged   = "purged"    // out of the trash, or closed by all who had it open
	Restored = "recovered" // from the trash
)

// Change is how something differs between two states. Of a node that is new or
// gone there are no fields; what lay below a directory that was renamed is not
// renamed itself.
type Change struct {
	Kind   string
	Path   string // where it is, or was if it is gone; raw bytes
	From   string // of what was renamed: where it was
	Inode  meta.Inode
	Type   string  // "file", "directory", ... "storage class", "pattern"
	Fields []Field // that changed with it
}

// MarshalJSON gives paths as text, in which \xNN stands for a byte that is not
// UTF-8, and those beside it in Base64.
func (c Change) MarshalJSON() ([]byte, error) {
	path, exact := Text(c.Path)
	from, fromExact := Text(c.From)
	out := struct {
		Kind       string     `json:"change"`
		Path       string     `json:"path"`
		PathBase64 string     `json:"path_base64,omitempty"`
		From       string     `json:"from,omitempty"`
		FromBase64 string     `json:"from_base64,omitempty"`
		Inode      meta.Inode `json:"inode,omitempty"`
		Type       string     `json:"type"`
		Fields     []Field    `json:"fields,omitempty"`
	}{Kind: c.Kind, Path: path, From: from, Inode: c.Inode, Type: c.Type, Fields: c.Fields}
	if !exact {
		out.PathBase64 = base64.StdEncoding.EncodeToString([]byte(c.Path))
	}
	if !fromExact {
		out.FromBase64 = base64.StdEncoding.EncodeToString([]byte(c.From))
	}
	return json.Marshal(out)
}

// Text gives raw bytes as text, with \xNN for what is not UTF-8, and whether that
// is exact.
func Text(s string) (text string, exact bool) {
	if utf8.ValidString(s) {
		return s, true
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[0])
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String(), false
}

// Diff tells how state b differs from state a, in the order of inodes. Memory is
// bounded by the largest directory, and a few bits per inode. reborn, which may be
// nil, tells which inode numbers were given away anew between the two: what has
// such a number is another thing. Not compared is what no path leads to: sessions,
// locks, chunkservers, the chunks themselves.
func Diff(ctx context.Context, a, b *meta.State, reborn *meta.IDSet, report func(Change) error) error {
	d := &differ{ctx: ctx, a: a, b: b, reborn: reborn, report: report}
	if d.reborn == nil {
		d.reborn = &meta.IDSet{}
	}
	for _, step := range []func() error{d.names, d.values, d.nodes, d.classes, d.patterns} {
		if err := step(); err != nil {
			return err
		}
		if err := errors.Join(a.Err(), b.Err()); err != nil {
			return err
		}
	}
	return nil
}

type differ struct {
	ctx    context.Context
	a, b   *meta.State
	reborn *meta.IDSet
	touch  meta.IDSet // inodes of which something other than the node differs
	report func(Change) error
	steps  int
}

// alive looks now and then whether the caller still wants to know.
func (d *differ) alive() error {
	if d.steps++; d.steps%1024 == 0 {
		return d.ctx.Err()
	}
	return nil
}

// merge calls do for all keys of two ascending sequences; what is not there is nil.
func merge[K, V any](compare func(K, K) int, a, b iter.Seq2[K, V], do func(k K, x, y *V) error) error {
	nextA, stopA := iter.Pull2(a)
	defer stopA()
	nextB, stopB := iter.Pull2(b)
	defer stopB()
	ka, va, okA := nextA()
	kb, vb, okB := nextB()
	for okA || okB {
		order := 0
		switch {
		case !okB:
			order = -1
		case !okA:
			order = 1
		default:
			order = compare(ka, kb)
		}
		var err error
		switch {
		case order < 0:
			err = do(ka, &va, nil)
			ka, va, okA = nextA()
		case order > 0:
			err = do(kb, nil, &vb)
			kb, vb, okB = nextB()
		default:
			err = do(ka, &va, &vb)
			ka, va, okA = nextA()
			kb, vb, okB = nextB()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// names marks what has other names.
func (d *differ) names() error {
	return merge(cmp.Compare[meta.Inode], d.a.Edges.Scan(), d.b.Edges.Scan(), func(_ meta.Inode, x, y *[]meta.Edge) error {
		if err := d.alive(); err != nil {
			return err
		}
		var was, is []meta.Edge
		if x != nil {
			was = *x
		}
		if y != nil {
			is = *y
		}
		same := func(p, q meta.Edge) bool { return p.Child == q.Child && string(p.Name) == string(q.Name) }
		if slices.EqualFunc(was, is, same) {
			return nil
		}
		children := make(map[string]meta.Inode, len(was))
		for _, e := range was {
			children[string(e.Name)] = e.Child
		}
		for _, e := range is {
			old, ok := children[string(e.Name)]
			if ok && old == e.Child {
				delete(children, string(e.Name))
				continue
			}
			d.touch.Add(uint64(e.Child))
		}
		for _, child := range children {
			d.touch.Add(uint64(child))
		}
		return nil
	})
}

// values marks what differs in tables beside that of the nodes.
func (d *differ) values() error {
	mark := func(ino meta.Inode, same bool) error {
		if !same {
			d.touch.Add(uint64(ino))
		}
		return d.alive()
	}
	err := merge(cmp.Compare[meta.Inode], d.a.Xattrs.Scan(), d.b.Xattrs.Scan(), func(ino meta.Inode, x, y *[]meta.Xattr) error {
		return mark(ino, x != nil && y != nil && reflect.DeepEqual(*x, *y))
	})
	if err != nil {
		return err
	}
	byKey := func(p, q meta.ACLKey) int {
		return cmp.Or(cmp.Compare(p.Inode, q.Inode), cmp.Compare(p.Type, q.Type))
	}
	err = merge(byKey, d.a.ACLs.Scan(meta.ACLKey{}), d.b.ACLs.Scan(meta.ACLKey{}), func(k meta.ACLKey, x, y *meta.ACL) error {
		return mark(k.Inode, x != nil && y != nil && aclText(x) == aclText(y))
	})
	if err != nil {
		return err
	}
	err = merge(cmp.Compare[meta.Inode], d.a.Quotas.Scan(0), d.b.Quotas.Scan(0), func(ino meta.Inode, x, y *meta.Quota) error {
		return mark(ino, x != nil && y != nil && *x == *y)
	})
	if err != nil {
		return err
	}
	err = merge(cmp.Compare[meta.Inode], d.a.Symlinks.Scan(0), d.b.Symlinks.Scan(0), func(ino meta.Inode, x, y *string) error {
		return mark(ino, x != nil && y != nil && *x == *y)
	})
	if err != nil {
		return err
	}
	bySlot := func(p, q meta.Slot) int {
		return cmp.Or(cmp.Compare(p.Inode, q.Inode), cmp.Compare(p.Index, q.Index))
	}
	return merge(bySlot, d.a.Slots.Scan(meta.Slot{}), d.b.Slots.Scan(meta.Slot{}), func(s meta.Slot, x, y *meta.ChunkID) error {
		return mark(s.Inode, x != nil && y != nil && *x == *y)
	})
}

// nodes reports what is new, gone or different.
func (d *differ) nodes() error {
	return merge(cmp.Compare[meta.Inode], d.a.Nodes.Scan(0), d.b.Nodes.Scan(0), func(ino meta.Inode, x, y *meta.Node) error {
		if err := d.alive(); err != nil {
			return err
		}
		switch {
		case x != nil && y != nil && !d.reborn.Has(uint64(ino)) && sameKind(x.Type, y.Type):
			return d.node(ino, x, y)
		case x != nil:
			was, _ := look(d.a, ino)
			kind := Removed
			if x.Type == meta.TypeTrash || x.Type == meta.TypeSustained {
				kind = Purged
			}
			if err := d.report(Change{Kind: kind, Path: was.path(d.a, ino), Inode: ino, Type: typeNames[x.Type]}); err != nil {
				return err
			}
		}
		if y == nil {
			return nil
		}
		is, _ := look(d.b, ino)
		return d.report(Change{Kind: Created, Path: is.path(d.b, ino), Inode: ino, Type: typeNames[y.Type]})
	})
}

// node compares a node that is in both.
func (d *differ) node(ino meta.Inode, x, y *meta.Node) error {
	detached := x.Type == meta.TypeTrash || x.Type == meta.TypeSustained // its path is in a table that cannot be scanned
	if *x == *y && !detached && !d.touch.Has(uint64(ino)) {
		if x.Type != meta.TypeDir {
			return nil
		}
		p, _ := d.a.Dirs.Get(ino)
		q, _ := d.b.Dirs.Get(ino)
		if p.Elements == q.Elements {
			return nil
		}
	}
	was, _ := lookWhole(d.a, ino)
	is, _ := lookWhole(d.b, ino)
	for _, c := range d.changes(ino, &was, &is) {
		if err := d.report(c); err != nil {
			return err
		}
	}
	return nil
}

// changes compares two states of one node. The first change has the fields.
func (d *differ) changes(ino meta.Inode, was, is *thing) []Change {
	change := func(kind, path, from string) Change {
		return Change{Kind: kind, Path: path, From: from, Inode: ino, Type: typeNames[is.node.Type]}
	}
	gone, came := without(was.links, is.links), without(is.links, was.links)
	var list []Change
	switch {
	case len(was.links) > 0 && len(is.links) == 0 && ino != meta.Root:
		for _, l := range gone {
			list = append(list, change(Removed, l.path(d.a), ""))
		}
	case len(was.links) == 0 && len(is.links) > 0:
		for _, l := range came {
			list = append(list, change(Restored, l.path(d.b), was.path(d.a, ino)))
		}
	default:
		for len(gone) > 0 && len(came) > 0 {
			list = append(list, change(Renamed, came[0].path(d.b), gone[0].path(d.a)))
			gone, came = gone[1:], came[1:]
		}
		for _, l := range came {
			list = append(list, change(Linked, l.path(d.b), ""))
		}
		for _, l := range gone {
			list = append(list, change(Unlinked, l.path(d.a), ""))
		}
	}
	differ := fields(was, is)
	if len(differ) > 0 && len(list) == 0 {
		list = append(list, change(Changed, is.path(d.b, ino), ""))
	}
	if len(list) > 0 {
		list[0].Fields = differ
	}
	return list
}

// without gives the elements of a that are not in b.
func without(a, b []link) (rest []link) {
	for _, l := range a {
		if !slices.Contains(b, l) {
			rest = append(rest, l)
		}
	}
	return rest
}

func (d *differ) classes() error {
	return merge(cmp.Compare[uint8], d.a.Classes.Scan(0), d.b.Classes.Scan(0), func(id uint8, x, y *meta.Class) error {
		for _, c := range []*meta.Class{x, y} {
			if c != nil {
				c.Files, c.Directories = 0, 0 // derived
			}
		}
		name := func(c *meta.Class) string { return c.Name }
		return record(d, "storage class", x, y, name)
	})
}

func (d *differ) patterns() error {
	return merge(cmp.Compare[uint16], d.a.Patterns.Scan(0), d.b.Patterns.Scan(0), func(i uint16, x, y *meta.Pattern) error {
		return record(d, "pattern", x, y, func(*meta.Pattern) string { return fmt.Sprint(i) })
	})
}

// record compares two records field by field.
func record[V any](d *differ, kind string, x, y *V, name func(*V) string) error {
	switch {
	case x == nil:
		return d.report(Change{Kind: Created, Path: name(y), Type: kind})
	case y == nil:
		return d.report(Change{Kind: Removed, Path: name(x), Type: kind})
	}
	var list []Field
	p, q := reflect.ValueOf(*x), reflect.ValueOf(*y)
	for i := range p.NumField() {
		if before, after := fmt.Sprintf("%+v", p.Field(i)), fmt.Sprintf("%+v", q.Field(i)); before != after {
			list = append(list, Field{strings.ToLower(p.Type().Field(i).Name), before, after})
		}
	}
	if len(list) == 0 {
		return nil
	}
	return d.report(Change{Kind: Changed, Path: name(y), Type: kind, Fields: list})
}

// allocs notes which inode numbers are given away.
type allocs struct {
	meta.InodeTable
	given *meta.IDSet
}

func (a allocs) Alloc() meta.Inode {
	ino := a.InodeTable.Alloc()
	a.given.Add(uint64(ino))
	return ino
}

// Between tells how the state at b differs from that at a, which may be the later
// one, and which versions these are. The images are made in opt.Dir.
func Between(ctx context.Context, src Source, a, b Point, opt Options, report func(Change) error) (from, to meta.Version, err error) {
	var places [2]Place
	for i, p := range []Point{a, b} {
		if places[i], err = Locate(ctx, src, p, opt.stage("looking for "+p.String(), 0)); err != nil {
			return 0, 0, err
		}
	}
	from, to = places[0].Version, places[1].Version
	first, second := places[0], places[1]
	turned := second.Base.Epoch < first.Base.Epoch || second.Base.Epoch == first.Base.Epoch && second.Version < first.Version
	if turned {
		first, second = second, first
	}
	img, err := Build(ctx, src, first, inDir(opt, "1"))
	if err != nil {
		return from, to, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	before, err := img.View()
	if err != nil {
		return from, to, err
	}
	defer before.Close()
	var reborn *meta.IDSet
	later := img
	if leads(ctx, src, first, second) {
		reborn = &meta.IDSet{}
		err = img.Update(func(st *meta.State, pos image.Position) (image.Position, error) {
			st.Inodes = allocs{st.Inodes, reborn}
			return pos, nil
		})
		if err == nil {
			err = advance(ctx, img, src, second.Version, nil, &opt)
		}
	} else if later, err = Build(ctx, src, second, inDir(opt, "2")); err == nil {
		defer func() { err = errors.Join(err, later.Close()) }()
	}
	if err != nil {
		return from, to, err
	}
	after, err := later.View()
	if err != nil {
		return from, to, err
	}
	defer after.Close()
	opt.stage("comparing", 0)
	x, y := before, after
	if turned {
		x, y = after, before
	}
	return from, to, Diff(ctx, x.State(), y.State(), reborn, report)
}

// leads tells whether the entries from one place lead to another: not over a
// rebase.
func leads(ctx context.Context, src Source, a, b Place) bool {
	if a.Base == b.Base {
		return true
	}
	at := a.Base.Version
	r := src.Reader(a.Base.Position())
	defer r.Close()
	for at < b.Base.Version {
		batch, err := r.Next(ctx)
		if err != nil {
			return false
		}
		at = batch.End.Version
		if at == b.Base.Version {
			return batch.End.Chain == b.Base.Chain
		}
		if at > b.Base.Version {
			return batch.End.Epoch >= b.Base.Epoch
		}
	}
	return false
}

func inDir(opt Options, name string) Options {
	opt.Dir = filepath.Join(opt.Dir, name)
	return opt
}

// Files tells how one metadata file differs from another. Inode numbers that were
// given away anew cannot be told from those that were not, unless the kinds of
// node differ.
func Files(ctx context.Context, a, b string, opt Options, report func(Change) error) (from, to meta.Version, err error) {
	var views [2]*image.View
	for i, path := range []string{a, b} {
		dir := filepath.Join(opt.Dir, fmt.Sprint(i+1))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return 0, 0, err
		}
		img, err := replay.Import(ctx, dir, path, 0, opt.Cache, opt.Logger, opt.stage)
		if err != nil {
			return 0, 0, err
		}
		defer img.Close()
		if views[i], err = img.View(); err != nil {
			return 0, 0, err
		}
		defer views[i].Close()
	}
	opt.stage("comparing", 0)
	return views[0].Position().Version, views[1].Position().Version, Diff(ctx, views[0].State(), views[1].State(), nil, report)
}
