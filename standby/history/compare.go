package history

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/tap"
	"mfsstandby/standby/image"
	"mfsstandby/standby/replay"
)

// Verdict is what came of a comparison.
type Verdict string

// The verdicts.
const (
	NothingLost    Verdict = "nothing lost"    // the stream has every entry that the directory holds
	Ahead          Verdict = "ahead"           // the directory holds entries behind the end of the stream, and nobody wrote others: a tap brings them
	LostTail       Verdict = "lost tail"       // another writer took over at the version at which the directory's own entries begin
	AnotherHistory Verdict = "another history" // it differs where no other writer took over: restored from an older dump
	AnotherCluster Verdict = "another cluster" // its metaid is another one
	NotComparable  Verdict = "not comparable"  // no version is in both
)

// Comparison tells what a directory that comes back holds. Versions of ranges are
// those of the first entry and behind the last one.
type Comparison struct {
	Verdict  Verdict      `json:"verdict"`
	MetaID   string       `json:"metaid,omitempty"` // of the directory, if its metadata file tells
	Cluster  string       `json:"cluster"`          // of the stream
	First    meta.Version `json:"first"`            // that the directory holds
	Next     meta.Version `json:"next"`
	Metadata meta.Version `json:"metadata_version,omitempty"` // of its newest metadata file
	Oldest   meta.Version `json:"stream_first"`
	End      meta.Version `json:"stream_next"`
	Same     uint64       `json:"same"`                 // entries that are in both
	Unknown  uint64       `json:"not_compared"`         // entries that are older than what the stream keeps, or in a gap of it
	Lost     uint64       `json:"lost"`                 // entries that only the directory has
	LostFrom meta.Version `json:"lost_from,omitempty"`  // the first of them
	SavedTo  string       `json:"saved_to,omitempty"`   // file with the lost entries, as a changelog file
	NotInLog uint64       `json:"not_in_log,omitempty"` // entries that its metadata file holds, but no changelog file, and the stream does not reach
}

// LostEntry is one of the lost tail, as far as it could be played.
type LostEntry struct {
	Version meta.Version `json:"version"`
	Time    string       `json:"time"`
	Path    string       `json:"path,omitempty"` // what it was about; \xNN for what is not UTF-8
	To      string       `json:"to,omitempty"`   // of a move
	UID     *uint32      `json:"uid,omitempty"`
	GID     *uint32      `json:"gid,omitempty"`
	Session *Client      `json:"session,omitempty"`
	OpenBy  []Client     `json:"open_by,omitempty"`
	Entry   string       `json:"entry"`
}

// CompareConfig says what Compare compares.
type CompareConfig struct {
	Dir     string // of a master: metadata.mfs* and changelog files; "" if there is none
	MetaID  uint64 // of the directory, if it is not a master's; 0 is not known
	Cluster uint64 // of the stream
	Save    string // file for the lost tail; "" is none
	Options
}

// Compare compares the entries of a directory with a stream by version and text,
// and reports those that only the directory holds. It changes neither.
func Compare(ctx context.Context, src Source, held Held, cfg CompareConfig, report func(LostEntry) error) (c Comparison, err error) {
	c = Comparison{Cluster: fmt.Sprintf("%016X", cfg.Cluster)}
	id := cfg.MetaID
	if cfg.Dir != "" {
		if base, err := tap.NewestBase(cfg.Dir); err == nil {
			c.Metadata, id = base.Version, base.MetaID
		}
	}
	if id != 0 {
		c.MetaID = fmt.Sprintf("%016X", id)
	}
	if id != 0 && id != cfg.Cluster && !meta.MadeUpID(cfg.Cluster) {
		c.Verdict = AnotherCluster
		return c, nil
	}
	tail := &tail{cfg: &cfg, src: src, report: report}
	defer func() { err = errors.Join(err, tail.close(&c)) }()
	m := &matcher{held: held, ref: &timeline{src: src}, c: &c, tail: tail}
	defer m.ref.Close()
	if err := m.run(ctx); err != nil {
		return c, err
	}
	if c.Metadata > max(c.Next, c.End) {
		c.NotInLog = uint64(c.Metadata - max(c.Next, c.End))
	}
	c.Verdict = m.verdict()
	return c, nil
}

// matcher walks through both.
type matcher struct {
	held Held
	ref  *timeline
	c    *Comparison
	tail *tail

	entries []meta.RawEntry // of ref, from the one wanted on
	over    bool            // ref has ended
	last    uint64          // epoch of the ref entry before
	epoch   uint64          // of entries
	fenced  bool            // another writer took over where the tail begins
	ended   bool            // the tail begins at the end of ref
}

func (m *matcher) run(ctx context.Context) error {
	show := m.tail.cfg.stage("comparing", 0)
	for n := int64(0); ; {
		entries, err := m.held.Next(ctx)
		if errors.Is(err, io.EOF) {
			return m.finish(ctx)
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := m.entry(ctx, e); err != nil {
				return err
			}
		}
		n += int64(len(entries))
		show(n)
	}
}

// seek moves ref to the entry of version v or a later one, nil at its end.
func (m *matcher) seek(ctx context.Context, v meta.Version) (*meta.RawEntry, error) {
	for {
		for len(m.entries) > 0 && m.entries[0].Version < v {
			m.last = m.epoch
			m.entries = m.entries[1:]
		}
		if len(m.entries) > 0 {
			return &m.entries[0], nil
		}
		if m.over {
			return nil, nil
		}
		entries, err := m.ref.Next(ctx)
		if errors.Is(err, io.EOF) {
			m.over = true
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		m.entries, m.epoch = entries, m.ref.epoch
		if m.c.Oldest == 0 {
			m.c.Oldest = entries[0].Version
		}
		m.c.End = max(m.c.End, entries[len(entries)-1].Version+1)
	}
}

// finish reads ref to its end, which the comparison tells.
func (m *matcher) finish(ctx context.Context) error {
	_, err := m.seek(ctx, ^meta.Version(0))
	return err
}

func (m *matcher) entry(ctx context.Context, e meta.RawEntry) error {
	if m.c.First == 0 {
		m.c.First = e.Version
	}
	m.c.Next = e.Version + 1
	if m.c.LostFrom != 0 {
		return m.lost(ctx, e)
	}
	ref, err := m.seek(ctx, e.Version)
	switch {
	case err != nil:
		return err
	case ref == nil && m.c.End == 0: // there are no entries in ref
		m.c.Unknown++
		return nil
	case ref == nil && e.Version < m.c.End:
		m.c.Unknown++
		return nil
	case ref == nil:
		m.ended = true
		return m.lost(ctx, e)
	case ref.Version != e.Version:
		m.c.Unknown++
		return nil
	case string(ref.Text) == string(e.Text):
		m.c.Same++
		return nil
	}
	m.fenced = m.last != 0 && m.epoch != m.last
	return m.lost(ctx, e)
}

func (m *matcher) lost(ctx context.Context, e meta.RawEntry) error {
	m.c.Lost++
	if m.c.LostFrom == 0 {
		m.c.LostFrom = e.Version
	}
	return m.tail.add(ctx, e)
}

func (m *matcher) verdict() Verdict {
	c := m.c
	switch {
	case c.Lost == 0 && c.Same == 0:
		return NotComparable
	case c.Lost == 0:
		return NothingLost
	case m.ended && c.Same > 0:
		return Ahead
	case m.fenced:
		return LostTail
	}
	return AnotherHistory
}

// tail saves and describes lost entries. The image on which they are played is
// made when the first comes.
type tail struct {
	cfg    *CompareConfig
	src    Source
	report func(LostEntry) error

	file  *os.File
	out   *bufio.Writer
	img   *image.Image // nil: they cannot be played
	ready bool
	ops   *changelog.Batch
	w     watcher
}

func (t *tail) add(ctx context.Context, e meta.RawEntry) error {
	if !t.ready {
		if err := t.begin(ctx, e.Version); err != nil {
			return err
		}
	}
	if t.out != nil {
		if _, err := fmt.Fprintf(t.out, "%d: %s\n", e.Version, e.Text); err != nil {
			return err
		}
	}
	lost := LostEntry{Version: e.Version, Time: timeText(e.Time()), Entry: string(e.Text)}
	if t.img != nil {
		t.play(e, &lost)
	}
	if t.report == nil {
		return nil
	}
	return t.report(lost)
}

func (t *tail) begin(ctx context.Context, v meta.Version) (err error) {
	t.ready, t.ops = true, changelog.NewBatch()
	if t.cfg.Save != "" {
		if t.file, err = os.OpenFile(t.cfg.Save, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return fmt.Errorf("saving the lost entries: %w", err)
		}
		t.out = bufio.NewWriter(t.file)
	}
	if t.img, err = t.state(ctx, v); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if t.cfg.Logger != nil {
			t.cfg.Logger.Warn("the paths of the lost entries cannot be told", "err", err)
		}
		t.img = nil
		return nil
	}
	t.ops.SetRelease(t.img.Release())
	return t.img.Read(t.w.start)
}

// state makes the state in which the directory was at a version: of its own files
// if they reach there, else of the stream, which is the same up to there.
func (t *tail) state(ctx context.Context, v meta.Version) (*image.Image, error) {
	dir := filepath.Join(t.cfg.Options.Dir, "tail")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if t.cfg.Dir != "" {
		if img, err := t.ownState(ctx, dir, v); err == nil {
			return img, nil
		} else if ctx.Err() != nil {
			return nil, err
		}
	}
	place, err := Locate(ctx, t.src, Point{Version: v}, nil)
	if err != nil {
		return nil, err
	}
	opt := t.cfg.Options
	opt.Dir = dir
	return Build(ctx, t.src, place, opt)
}

func (t *tail) ownState(ctx context.Context, dir string, v meta.Version) (*image.Image, error) {
	base, err := tap.BaseBefore(t.cfg.Dir, v)
	if err != nil {
		return nil, err
	}
	img, err := replay.Import(ctx, dir, base.Path, t.cfg.Cluster, t.cfg.Cache, t.cfg.Logger, t.cfg.stage)
	if err != nil || base.Version == v {
		return img, err
	}
	paths, err := filepath.Glob(filepath.Join(t.cfg.Dir, "changelog.*.mfs"))
	if err == nil {
		_, err = replay.Files(ctx, img, replay.Options{Until: v, CommitBytes: t.cfg.Cache / 8}, paths...)
	}
	if err != nil {
		return nil, errors.Join(err, img.Close())
	}
	return img, nil
}

// play applies an entry and tells what it is about. One that does not fit is told
// without a path, as are those after it.
func (t *tail) play(raw meta.RawEntry, lost *LostEntry) {
	t.ops.Reset()
	now, op, err := t.ops.Parse(raw.Text)
	if err == nil {
		err = t.img.Update(func(st *meta.State, pos image.Position) (image.Position, error) {
			if s, ok := op.(*changelog.SesAdd); ok {
				t.w.seen(s.Session)
			}
			t.w.pending = &Touch{}
			t.w.who(st, op)
			path, to := subject(st, op)
			lost.Path, _ = Text(path)
			lost.To, _ = Text(to)
			p := t.w.pending
			lost.UID, lost.GID, lost.Session, lost.OpenBy = p.UID, p.GID, p.Session, p.OpenBy
			pos.Version, pos.Time = raw.Version+1, now
			return pos, changelog.ApplyEntry(st, changelog.Entry{Version: raw.Version, Time: now, Op: op})
		})
	}
	if err != nil {
		if t.cfg.Logger != nil {
			t.cfg.Logger.Warn("a lost entry cannot be played; the paths of those after it are not known", "version", raw.Version, "err", err)
		}
		t.img.Close()
		t.img = nil
	}
}

// subject gives the paths that an entry is about, before it is applied.
func subject(st *meta.State, op changelog.Op) (path, to string) {
	name := func(parent meta.Inode, base []byte) string { return link{parent, string(base)}.path(st) }
	node := func(ino meta.Inode) string {
		t, ok := look(st, ino)
		if !ok {
			return ""
		}
		return t.path(st, ino)
	}
	switch op := op.(type) {
	case *changelog.Create:
		return name(op.Parent, op.Base), ""
	case *changelog.Symlink:
		return name(op.Parent, op.Base), ""
	case *changelog.Unlink:
		return name(op.Parent, op.Base), ""
	case *changelog.Link:
		return node(op.Inode), name(op.Parent, op.Base)
	case *changelog.Move:
		return name(op.SrcParent, op.SrcBase), name(op.DstParent, op.DstBase)
	case *changelog.Snapshot:
		return node(op.Source), name(op.Parent, op.Base)
	}
	if ino := inodeOf(op); ino != 0 {
		return node(ino), ""
	}
	return "", ""
}

// inodeOf gives the node that an entry names, 0 if it names none.
func inodeOf(op changelog.Op) meta.Inode {
	switch op := op.(type) {
	case *changelog.Write:
		return op.Inode
	case *changelog.Trunc:
		return op.Inode
	case *changelog.Length:
		return op.Inode
	case *changelog.AppendChunks:
		return op.Inode
	case *changelog.Repair:
		return op.Inode
	case *changelog.Rollback:
		return op.Inode
	case *changelog.SetFileChunk:
		return op.Inode
	case *changelog.Access:
		return op.Inode
	case *changelog.Attr:
		return op.Inode
	case *changelog.AMTime:
		return op.Inode
	case *changelog.SetXattr:
		return op.Inode
	case *changelog.AddAttr:
		return op.Inode
	case *changelog.SetACL:
		return op.Inode
	case *changelog.Quota:
		return op.Inode
	case *changelog.SetEattr:
		return op.Inode
	case *changelog.SetSClass:
		return op.Inode
	case *changelog.SetGoal:
		return op.Inode
	case *changelog.SetTrashTime:
		return op.Inode
	case *changelog.ArchChg:
		return op.Inode
	case *changelog.Acquire:
		return op.Inode
	case *changelog.Release:
		return op.Inode
	case *changelog.Flock:
		return op.Inode
	case *changelog.PosixLock:
		return op.Inode
	case *changelog.Purge:
		return op.Inode
	case *changelog.Undel:
		return op.Inode
	case *changelog.SetPath:
		return op.Inode
	case *changelog.TrashRemove:
		return op.Inode
	case *changelog.TrashRecover:
		return op.Inode
	}
	return 0
}

// close makes the saved file durable.
func (t *tail) close(c *Comparison) error {
	var errs []error
	if t.img != nil {
		errs = append(errs, t.img.Close())
	}
	if t.file != nil {
		errs = append(errs, t.out.Flush(), t.file.Sync(), t.file.Close())
		c.SavedTo = t.file.Name()
	}
	return errors.Join(errs...)
}
