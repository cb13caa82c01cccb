package web

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"slices"
	"sort"
	"sync"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/standby/image"
)

// How many names a page has, and which directories are so large that their
// names are listed from a View, beside the applier, and kept for the next page.
const (
	defaultPage = 200
	maxPage     = 1000
	largeDir    = 4000
)

// listing is the names of one directory in byte order.
type listing struct {
	image    *image.Image
	inode    meta.Inode
	version  meta.Version
	made     time.Time
	text     []byte   // all names, one after the other
	ends     []uint64 // where each ends in text
	children []meta.Inode
}

// add adds a name; sort must follow.
func (l *listing) add(name []byte, child meta.Inode) {
	l.text = append(l.text, name...)
	l.ends = append(l.ends, uint64(len(l.text)))
	l.children = append(l.children, child)
}

// sort returns a listing of the same names in order.
func (l *listing) sort() *listing {
	order := make([]uint32, len(l.ends))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int { return bytes.Compare(l.name(int(a)), l.name(int(b))) })
	sorted := &listing{
		inode: l.inode, version: l.version, text: make([]byte, 0, len(l.text)),
		ends: make([]uint64, 0, len(l.ends)), children: make([]meta.Inode, 0, len(l.children)),
	}
	for _, i := range order {
		sorted.add(l.name(int(i)), l.children[i])
	}
	return sorted
}

func (l *listing) name(i int) []byte {
	from := uint64(0)
	if i > 0 {
		from = l.ends[i-1]
	}
	return l.text[from:l.ends[i]]
}

// from returns the index of the first name that is not below a name.
func (l *listing) from(name []byte) int {
	return sort.Search(len(l.ends), func(i int) bool { return bytes.Compare(l.name(i), name) >= 0 })
}

// after returns the index of the first name above a name.
func (l *listing) after(name []byte) int {
	return sort.Search(len(l.ends), func(i int) bool { return bytes.Compare(l.name(i), name) > 0 })
}

// lists keeps the listing of the large directory that was asked for last, so
// that turning its pages costs nothing. One is made at a time.
type lists struct {
	mu   sync.Mutex // guards last; held while one is made
	last *listing
}

// A listing serves this long: its first page is soon new again, but whoever
// turns pages stays in one.
const (
	freshFor = 5 * time.Second
	keptFor  = 2 * time.Minute
)

// large returns the listing of a large directory. paging says that it is for
// another page than the first.
func (l *lists) large(img *image.Image, ino meta.Inode, paging bool) (*listing, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := freshFor
	if paging {
		limit = keptFor
	}
	if k := l.last; k != nil && k.image == img && k.inode == ino && time.Since(k.made) < limit {
		return k, nil
	}
	l.last = nil // its memory first
	v, err := img.View()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	k := &listing{inode: ino, version: v.Position().Version}
	if err := v.Names(ino, k.add); err != nil {
		return nil, err
	}
	k = k.sort()
	k.image, k.made = img, time.Now()
	l.last = k
	time.AfterFunc(keptFor, func() { l.drop(k) })
	return k, nil
}

func (l *lists) drop(k *listing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == k {
		l.last = nil
	}
}

// Entry is one name of a directory. If it vanished while the page was made,
// only name and inode are set.
type Entry struct {
	Name
	Attr
	Elements uint32 `json:"elements,omitempty"` // directories
}

// List is one page of a directory.
type List struct {
	Version  meta.Version `json:"version"` // of the image when the names were listed
	Inode    meta.Inode   `json:"inode"`
	Crumbs   []Crumb      `json:"way"` // from the root to the directory
	Total    int          `json:"total"`
	Offset   int          `json:"offset"` // of the first entry here
	Entries  []Entry      `json:"entries"`
	Next     string       `json:"next,omitempty"`     // cursor for after=
	Previous string       `json:"previous,omitempty"` // cursor for before=
}

// Crumb is one directory on the way.
type Crumb struct {
	Name
	Inode meta.Inode `json:"inode"`
}

// page says which part of a listing is wanted.
type page struct {
	limit               int
	after, before, from []byte // nil: not given
	offset              int
}

func pageOf(r *http.Request) (p page, err error) {
	limit, err := number(r, "limit", defaultPage, maxPage)
	if err != nil || limit == 0 {
		return p, problemf(http.StatusBadRequest, "bad_request", "limit must be a number from 1 to %d", maxPage)
	}
	offset, err := number(r, "offset", 0, 1<<32)
	if err != nil {
		return p, err
	}
	p = page{limit: int(limit), offset: int(offset)}
	given := 0
	for _, name := range []string{"after", "before", "from", "offset"} {
		if r.FormValue(name) != "" {
			given++
		}
	}
	if given > 1 {
		return p, problemf(http.StatusBadRequest, "bad_request", "give one of after, before, from and offset")
	}
	for name, to := range map[string]*[]byte{"after": &p.after, "before": &p.before} {
		text := r.FormValue(name)
		if text == "" {
			continue
		}
		if *to, err = base64.RawURLEncoding.DecodeString(text); err != nil || len(*to) == 0 {
			return p, problemf(http.StatusBadRequest, "bad_request", "%s is no cursor: take next or previous of another page", name)
		}
	}
	if text := r.FormValue("from"); text != "" {
		p.from = []byte(text)
	}
	return p, nil
}

// paging tells whether p is not a first page.
func (p *page) paging() bool {
	return p.after != nil || p.before != nil || p.from != nil || p.offset != 0
}

// cut returns the part of a listing that is wanted.
func (p *page) cut(l *listing) (begin, end int) {
	n := len(l.ends)
	switch {
	case p.after != nil:
		begin = l.after(p.after)
	case p.before != nil:
		end = l.from(p.before)
		return max(0, end-p.limit), end
	case p.from != nil:
		begin = l.from(p.from)
	default:
		begin = min(p.offset, n)
	}
	return begin, min(n, begin+p.limit)
}

// list answers with a page of a directory.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	at, err := where(r)
	var p page
	if err == nil {
		p, err = pageOf(r)
	}
	var out *List
	if err == nil {
		out, err = s.listPage(at, &p)
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, out)
}

func (s *Server) listPage(at place, p *page) (*List, error) {
	img, err := s.image()
	if err != nil {
		return nil, err
	}
	out := &List{Entries: []Entry{}}
	var names *listing
	err = img.Read(func(st *meta.State, pos image.Position) error {
		ino, d, err := findDir(st, at)
		if err != nil {
			return err
		}
		out.Inode = ino
		if d.Elements <= largeDir {
			names = &listing{inode: ino, version: pos.Version}
			for _, e := range st.Edges.List(ino) {
				names.add(e.Name, e.Child)
			}
			names = names.sort()
		}
		out.Crumbs, err = crumbs(st, ino)
		return err
	})
	if err == nil && names == nil {
		names, err = s.lists.large(img, out.Inode, p.paging())
	}
	if err != nil {
		return nil, err
	}
	begin, end := p.cut(names)
	out.Version, out.Total, out.Offset = names.version, len(names.ends), begin
	if end < out.Total && end > begin {
		out.Next = base64.RawURLEncoding.EncodeToString(names.name(end - 1))
	}
	if begin > 0 && end > begin {
		out.Previous = base64.RawURLEncoding.EncodeToString(names.name(begin))
	}
	return out, fill(img, out, names, begin, end)
}

// together is how many nodes are looked up without letting entries be applied
// in between.
const together = 64

// fill adds the entries of a page.
func fill(img *image.Image, out *List, names *listing, begin, end int) error {
	for begin < end {
		stop := min(end, begin+together)
		err := img.Read(func(st *meta.State, _ image.Position) error {
			for ; begin < stop; begin++ {
				e := Entry{Name: nameOf(names.name(begin)), Attr: Attr{Inode: names.children[begin]}}
				if n, ok := st.Nodes.Get(e.Inode); ok {
					e.Attr = attrOf(st, e.Inode, &n)
					if n.Type == meta.TypeDir {
						d, _ := st.Dirs.Get(e.Inode)
						e.Elements = d.Elements
					}
				}
				out.Entries = append(out.Entries, e)
			}
			return st.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// crumbs returns the directories from the root to ino.
func crumbs(st *meta.State, ino meta.Inode) ([]Crumb, error) {
	var all []Crumb
	for range maxDepth {
		d, ok := st.Dirs.Get(ino)
		if !ok {
			break
		}
		all = append(all, Crumb{nameOf([]byte(d.Name)), ino})
		if ino == meta.Root {
			slices.Reverse(all)
			return all, st.Err()
		}
		ino = d.Parent
	}
	return all, st.Err()
}
