package history

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby/image"
)

// More kinds of Touch, beside those of Change.
const (
	MovedHere = "moved here"
	MovedAway = "moved away"
	Replaced  = "replaced" // by another thing under the same name
	Used      = "used"     // opened, closed, locked, or named without a change that shows
	Rebased   = "rebased"  // the history continued from another base image
)

// Touch is an entry that touched what is asked for.
type Touch struct {
	Version   meta.Version
	Time      meta.Time // by the primary's clock
	Operation string
	Entry     string // its text, without version and time
	Kind      string
	Path      string // where the thing is, or was if it is gone; raw bytes
	From      string // of what was moved here: where it was; of what was moved away: where it is
	Inode     meta.Inode
	Type      string
	Fields    []Field
	UID, GID  *uint32  // of who asked, if the entry tells
	Session   *Client  // likewise
	OpenBy    []Client // of changes of data, which tell no session: those that have the file open
}

// Client is a session and where it comes from.
type Client struct {
	Session meta.SessionID `json:"session"`
	Address string         `json:"address,omitempty"` // empty if the session is not known
	Mount   string         `json:"mount,omitempty"`   // what the client says, mostly its mount point
}

func (c *Client) String() string {
	if c.Address == "" {
		return fmt.Sprintf("session %d", c.Session)
	}
	return fmt.Sprintf("session %d (%s:%s)", c.Session, c.Address, c.Mount)
}

// MarshalJSON writes paths as Change does.
func (t Touch) MarshalJSON() ([]byte, error) {
	path, exact := Text(t.Path)
	from, fromExact := Text(t.From)
	out := struct {
		Version    meta.Version `json:"version"`
		Time       string       `json:"time"`
		Operation  string       `json:"operation"`
		Kind       string       `json:"change"`
		Path       string       `json:"path"`
		PathBase64 string       `json:"path_base64,omitempty"`
		From       string       `json:"from,omitempty"`
		FromBase64 string       `json:"from_base64,omitempty"`
		Inode      meta.Inode   `json:"inode"`
		Type       string       `json:"type,omitempty"`
		Fields     []Field      `json:"fields,omitempty"`
		UID        *uint32      `json:"uid,omitempty"`
		GID        *uint32      `json:"gid,omitempty"`
		Session    *Client      `json:"session,omitempty"`
		OpenBy     []Client     `json:"open_by,omitempty"`
		Entry      string       `json:"entry,omitempty"`
	}{Version: t.Version, Time: timeText(t.Time), Operation: t.Operation, Kind: t.Kind, Path: path, From: from, Inode: t.Inode,
		Type: t.Type, Fields: t.Fields, UID: t.UID, GID: t.GID, Session: t.Session, OpenBy: t.OpenBy, Entry: t.Entry}
	if !exact {
		out.PathBase64 = base64.StdEncoding.EncodeToString([]byte(t.Path))
	}
	if !fromExact {
		out.FromBase64 = base64.StdEncoding.EncodeToString([]byte(t.From))
	}
	return json.Marshal(out)
}

// Query says what Log looks for.
type Query struct {
	Path         string     // absolute, raw bytes; what is there, whatever it is at the time
	Inode        meta.Inode // or this node, wherever it is
	Since, Until Point      // Since zero: the oldest base image
	All          bool       // opens, closes and locks, too
	Follow       bool       // wait for more at the end
}

// followEvery is how often Log looks whether there is more.
const followEvery = 200 * time.Millisecond

// Log reports the entries that touched a path or a node, in their order. The image
// on which they are played is made in opt.Dir.
func Log(ctx context.Context, src Source, q Query, opt Options, report func(Touch) error) error {
	w := &watcher{all: q.All, ino: q.Inode, report: report}
	if q.Inode == 0 {
		parts, err := splitPath(q.Path)
		if err != nil {
			return err
		}
		w.byPath, w.parts = true, parts
	}
	start, until, err := bounds(ctx, src, &q, &opt)
	if err != nil {
		return err
	}
	img, err := Build(ctx, src, start, inDir(opt, "1"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	if err := img.Read(w.start); err != nil {
		return err
	}
	for n := 2; ; n++ {
		err := advance(ctx, img, src, until, w, &opt)
		if broken(err) {
			pos := positionOf(img)
			if err := img.Close(); err != nil {
				return err
			}
			if img, err = nextLine(ctx, src, pos, err, inDir(opt, fmt.Sprint(n%2+1))); err != nil {
				return err
			}
			if err := img.Read(w.rebased); err != nil {
				return err
			}
			continue
		}
		if err != nil || !q.Follow || until != 0 && img.Position().Version >= until {
			return err
		}
		opt.Stage = nil
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followEvery):
		}
	}
}

// bounds finds where to start, and the version to stop at, 0 for the end.
func bounds(ctx context.Context, src Source, q *Query, opt *Options) (start Place, until meta.Version, err error) {
	if q.Since.IsZero() {
		bases, err := src.Bases(ctx)
		if err != nil {
			return start, 0, err
		}
		if len(bases) == 0 {
			return start, 0, errors.New("there is no base image to start from")
		}
		start = Place{bases[0], bases[0].Version}
	} else if start, err = Locate(ctx, src, q.Since, opt.stage("looking for "+q.Since.String(), 0)); err != nil {
		return start, 0, err
	}
	if q.Until.IsZero() {
		return start, 0, nil
	}
	if q.Follow && q.Until.Version != 0 {
		return start, q.Until.Version, nil
	}
	end, err := Locate(ctx, src, q.Until, opt.stage("looking for "+q.Until.String(), 0))
	return start, end.Version, err
}

// nextLine loads the base image from which the history goes on.
func nextLine(ctx context.Context, src Source, pos stream.Position, cause error, opt Options) (*image.Image, error) {
	bases, err := src.Bases(ctx)
	if err != nil {
		return nil, err
	}
	var rebase *stream.RebaseError
	errors.As(cause, &rebase)
	i := slices.IndexFunc(bases, func(b stream.Base) bool {
		if rebase != nil {
			return b.Version == rebase.Base && b.Epoch >= rebase.Epoch
		}
		return b.Epoch > pos.Epoch || b.Epoch == pos.Epoch && b.Version > pos.Version
	})
	if i < 0 {
		return nil, fmt.Errorf("there is no base image to go on from: %w", cause)
	}
	return Build(ctx, src, Place{bases[i], bases[i].Version}, opt)
}

// splitPath cuts an absolute path into names.
func splitPath(path string) ([]string, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%q is no path from the root of the file system, as /dir/file is", path)
	}
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		switch {
		case part == "" || part == ".":
		case part == "..":
			return nil, fmt.Errorf("%q has .. in it: write the path without", path)
		case len(part) > meta.MaxName:
			return nil, fmt.Errorf("a name of %d bytes in the path is too long", len(part))
		default:
			parts = append(parts, part)
		}
	}
	return parts, nil
}

// watcher looks at the state around entries. It is an apply.Watcher.
type watcher struct {
	byPath bool
	parts  []string
	ino    meta.Inode // by inode: asked for
	all    bool
	report func(Touch) error

	now      sight
	sessions meta.IDSet // that there were; those that have a file open are among them
	highest  meta.SessionID

	pending *Touch // what is known before the entry is applied; nil: it is of no interest
	named   bool   // the entry names the thing
}

// sight is what the watcher sees at one version.
type sight struct {
	chain []meta.Inode // directories whose names matter: those of the path, or of the node's names
	ino   meta.Inode   // 0: there is no such thing
	thing thing
	path  string
}

func (w *watcher) look(st *meta.State) (s sight) {
	if w.byPath {
		s.ino = meta.Root
		for _, part := range w.parts {
			s.chain = append(s.chain, s.ino)
			e, ok := st.Edges.Get(s.ino, []byte(part))
			if !ok {
				s.ino = 0
				return s
			}
			s.ino = e.Child
		}
	} else {
		s.ino = w.ino
	}
	var ok bool
	if s.thing, ok = look(st, s.ino); !ok {
		s.ino = 0
		return s
	}
	if w.byPath {
		s.path = "/" + strings.Join(w.parts, "/")
		return s
	}
	for _, l := range s.thing.links {
		s.chain = append(s.chain, l.parent)
	}
	s.path = s.thing.path(st, s.ino)
	return s
}

// start looks at the first state.
func (w *watcher) start(st *meta.State, _ image.Position) error {
	for id := range st.Sessions.Scan(0) {
		w.seen(id)
	}
	w.now = w.look(st)
	return nil
}

func (w *watcher) seen(id meta.SessionID) {
	w.sessions.Add(uint64(id))
	w.highest = max(w.highest, id)
}

// rebased looks at the state of another base image.
func (w *watcher) rebased(st *meta.State, pos image.Position) error {
	for id := range st.Sessions.Scan(0) {
		w.seen(id)
	}
	was := w.now
	w.now = w.look(st)
	t := Touch{Version: pos.Version, Time: pos.Time, Operation: "REBASE"}
	if !w.compare(st, &was, &t) {
		return nil
	}
	t.Kind = Rebased
	return w.report(t)
}

// Before decides whether the entry may matter, and notes what it takes away.
func (w *watcher) Before(st *meta.State, e changelog.Entry) error {
	w.pending = nil
	if op, ok := e.Op.(*changelog.SesAdd); ok {
		w.seen(op.Session)
	}
	matters, named := w.concerns(e.Op)
	if !matters {
		return nil
	}
	w.named = named
	w.pending = &Touch{Version: e.Version, Time: e.Time, Operation: e.Op.Name(), Entry: e.Op.Name() + string(e.Op.AppendArgs(nil))}
	w.who(st, e.Op)
	return nil
}

// After reports the entry if it touched the thing.
func (w *watcher) After(st *meta.State, e changelog.Entry) error {
	t := w.pending
	if t == nil {
		return nil
	}
	was := w.now
	w.now = w.look(st)
	if !w.compare(st, &was, t) {
		if !w.named {
			return nil
		}
		t.Kind = Used
		t.Path, t.Inode, t.Type = w.now.path, w.now.ino, typeNames[w.now.thing.node.Type]
	}
	return w.report(*t)
}

// compare tells whether what is seen differs, and describes how.
func (w *watcher) compare(st *meta.State, was *sight, t *Touch) bool {
	is := &w.now
	t.Path, t.Inode, t.Type = is.path, is.ino, typeNames[is.thing.node.Type]
	switch {
	case was.ino == 0 && is.ino == 0:
		return false
	case was.ino == 0:
		t.Kind = arrival(t.Operation)
		return true
	case is.ino == 0:
		t.Path, t.Inode, t.Type, t.Kind = was.path, was.ino, typeNames[was.thing.node.Type], Removed
		if was.thing.node.Type == meta.TypeTrash || was.thing.node.Type == meta.TypeSustained {
			t.Kind = Purged
		}
		if other, ok := look(st, was.ino); ok && w.byPath {
			t.From = other.path(st, was.ino)
			if len(other.links) > 0 && t.Operation == "MOVE" {
				t.Kind = MovedAway
			}
		}
		return true
	case was.ino != is.ino:
		t.Kind = Replaced
		return true
	}
	t.Fields = fields(&was.thing, &is.thing)
	t.Kind = Changed
	if !w.byPath {
		gone, came := without(was.thing.links, is.thing.links), without(is.thing.links, was.thing.links)
		switch {
		case len(is.thing.links) == 0 && len(gone) > 0:
			t.Kind, t.From = Removed, was.path
		case len(was.thing.links) == 0 && len(came) > 0:
			t.Kind, t.From = Restored, was.path
		case len(gone) > 0 && len(came) > 0:
			t.Kind, t.Path, t.From = Renamed, came[0].path(st), gone[0].path(st)
		case len(came) > 0:
			t.Kind, t.Path = Linked, came[0].path(st)
		case len(gone) > 0:
			t.Kind, t.Path = Unlinked, gone[0].path(st)
		}
		if len(gone)+len(came) > 0 {
			return true
		}
	}
	return len(t.Fields) > 0
}

// arrival is what it is called that something came to be at a path.
func arrival(operation string) string {
	switch operation {
	case "MOVE":
		return MovedHere
	case "LINK":
		return Linked
	case "UNDEL", "TRASH_RECOVER":
		return Restored
	}
	return Created
}

// concerns tells whether an entry may touch the thing, and whether it names it in
// a way that is to be told in any case. Operations that are not listed may touch
// anything.
func (w *watcher) concerns(op changelog.Op) (matters, named bool) {
	is := func(ino meta.Inode) bool { return ino == w.now.ino && ino != 0 || !w.byPath && ino == w.ino }
	in := func(dir meta.Inode) bool { return is(dir) || slices.Contains(w.now.chain, dir) }
	data := func(ino meta.Inode) (bool, bool) { return is(ino), is(ino) }
	value := func(ino meta.Inode) (bool, bool) { return is(ino), false }
	open := func(ino meta.Inode) (bool, bool) { return is(ino), is(ino) && w.all }
	switch op := op.(type) {
	case *changelog.Create:
		return in(op.Parent) || is(op.Inode), is(op.Parent)
	case *changelog.Symlink:
		return in(op.Parent) || is(op.Inode), is(op.Parent)
	case *changelog.Link:
		return in(op.Parent) || is(op.Inode), is(op.Parent) || is(op.Inode)
	case *changelog.Unlink:
		return in(op.Parent) || is(op.Inode), is(op.Parent) || is(op.Inode)
	case *changelog.Move:
		return in(op.SrcParent) || in(op.DstParent) || is(op.Inode), is(op.SrcParent) || is(op.DstParent) || is(op.Inode)
	case *changelog.Write:
		return data(op.Inode)
	case *changelog.Trunc:
		return data(op.Inode)
	case *changelog.Length:
		return data(op.Inode)
	case *changelog.AppendChunks:
		return is(op.Inode) || is(op.Source), is(op.Inode) // it reads the source, whose atime changes
	case *changelog.Repair:
		return data(op.Inode)
	case *changelog.Rollback:
		return data(op.Inode)
	case *changelog.SetFileChunk:
		return data(op.Inode)
	case *changelog.Access:
		return value(op.Inode)
	case *changelog.Attr:
		return value(op.Inode)
	case *changelog.AMTime:
		return value(op.Inode)
	case *changelog.SetXattr:
		return value(op.Inode)
	case *changelog.AddAttr:
		return value(op.Inode)
	case *changelog.SetACL:
		return value(op.Inode)
	case *changelog.Quota:
		return value(op.Inode)
	case *changelog.Acquire:
		return open(op.Inode)
	case *changelog.Release:
		return open(op.Inode)
	case *changelog.Flock:
		return open(op.Inode)
	case *changelog.PosixLock:
		return open(op.Inode)
	case *changelog.ChunkAdd, *changelog.ChunkDel, *changelog.ChunkFlagsClr, *changelog.SetVersion, *changelog.IncVersion,
		*changelog.NextChunkID, *changelog.Unlock, *changelog.CSDBOp, *changelog.CSAdd, *changelog.CSDel, *changelog.Idle,
		*changelog.SesAdd, *changelog.SesChanged, *changelog.SesConnected, *changelog.SesDisconnected:
		return false, false
	}
	return true, false
}

// who notes who asked for an entry, as far as it or the state tells.
func (w *watcher) who(st *meta.State, op changelog.Op) {
	t := w.pending
	user := func(uid uint32) { t.UID = &uid }
	group := func(gid uint32) { t.GID = &gid }
	session := func(id meta.SessionID) { c := client(st, id); t.Session = &c }
	data := func(ino meta.Inode) {
		for id := meta.SessionID(1); id <= w.highest; id++ {
			if w.sessions.Has(uint64(id)) && st.Open.Has(id, ino) {
				t.OpenBy = append(t.OpenBy, client(st, id))
			}
		}
	}
	switch op := op.(type) {
	case *changelog.Create:
		user(op.UID)
		group(op.GID)
	case *changelog.Symlink:
		user(op.UID)
		group(op.GID)
	case *changelog.TrashRecover:
		user(op.UID)
		group(op.GID)
	case *changelog.Snapshot:
		user(op.UID)
		if len(op.GIDs) > 0 {
			group(op.GIDs[0])
		}
	case *changelog.SetEattr:
		user(op.UID)
	case *changelog.SetSClass:
		user(op.UID)
	case *changelog.SetGoal:
		user(op.UID)
	case *changelog.SetTrashTime:
		user(op.UID)
	case *changelog.Acquire:
		session(op.Session)
	case *changelog.Release:
		session(op.Session)
	case *changelog.Flock:
		session(op.Session)
	case *changelog.PosixLock:
		session(op.Session)
	case *changelog.SesDel:
		session(op.Session)
	case *changelog.Write:
		data(op.Inode)
	case *changelog.Trunc:
		data(op.Inode)
	case *changelog.Length:
		data(op.Inode)
	}
}

// client tells what is known of a session.
func client(st *meta.State, id meta.SessionID) Client {
	c := Client{Session: id}
	if s, ok := st.Sessions.Get(id); ok {
		c.Address = fmt.Sprintf("%d.%d.%d.%d", s.Peer>>24, s.Peer>>16&255, s.Peer>>8&255, s.Peer&255)
		c.Mount = strings.TrimRight(string(s.Info), "\x00")
	}
	return c
}
