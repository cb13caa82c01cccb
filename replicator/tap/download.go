package tap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// localError is trouble with a file of ours, which another connection would
// not mend.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

func local(err error) error {
	if err == nil {
		return nil
	}
	return &localError{err}
}

const (
	blockTries = 6 // for a block that does not arrive intact
)

// remoteFile is a file of the primary that is open for download.
type remoteFile struct {
	file    wire.File
	size    uint64
	missing bool
	head    Base // of a metadata file
}

// partial is a base of which some is here already; a later connection goes on
// with it if the primary still has the same file.
type partial struct {
	version meta.Version
	metaid  uint64
	size    uint64
	done    uint64
}

// start opens a file of the primary.
func (s *session) start(ctx context.Context, file wire.File) (*remoteFile, error) {
	if s.silent && s.live.noLogs && (file == wire.FileChangelog0 || file == wire.FileChangelog1) {
		return &remoteFile{file: file, missing: true}, nil
	}
	var e wire.Encoder
	(&wire.Start{File: file}).Append(&e)
	s.due(wire.DownloadInfo).Store(true)
	if err := s.send(ctx, e.Buf); err != nil {
		return nil, err
	}
	r, err := s.await(ctx, wire.DownloadInfo)
	if err != nil {
		// 1.6 before 1.6.20 hangs up when asked for its changelogs.
		s.refused = file == wire.FileChangelog0 && s.hungUp(err)
		return nil, err
	}
	if r.info.Size > 1<<50 {
		return nil, fmt.Errorf("the primary says that its %v has %d bytes", file, r.info.Size)
	}
	return &remoteFile{file: file, size: r.info.Size, missing: r.info.Missing}, nil
}

// openBase opens the primary's metadata file, and with it its changelogs, and
// reads the head. It returns ErrMetaID if it belongs to another cluster.
func (s *session) openBase(ctx context.Context) (*remoteFile, error) {
	f, err := s.start(ctx, wire.FileMetadata)
	if err != nil || f.missing {
		return f, err
	}
	n := min(f.size, headSize)
	var head []byte
	if n > 0 {
		if head, err = s.blockAt(ctx, f, 0, uint32(n)); err != nil {
			return nil, err
		}
	}
	if f.head, _, err = parseHead(head); err != nil {
		return nil, fmt.Errorf("%v of the primary: %w", f.file, err)
	}
	return f, s.checkMetaID(f.head.MetaID)
}

func (s *session) checkMetaID(id uint64) error {
	l := s.live
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.goal.metaid != 0 && id != 0 && s.goal.metaid != id && !meta.MadeUpID(s.goal.metaid) {
		return fmt.Errorf("%w: %016X, not %016X; %s belongs to another cluster, or was started with an empty one",
			ErrMetaID, id, s.goal.metaid, l.cfg.Address)
	}
	if id != 0 {
		s.goal.metaid, l.status.MetaID = id, id
	}
	return nil
}

// blockAt fetches one block; a broken one is asked for again.
func (s *session) blockAt(ctx context.Context, f *remoteFile, offset uint64, n uint32) ([]byte, error) {
	for try := 1; ; try++ {
		var e wire.Encoder
		(&wire.Request{Offset: offset, Length: n}).Append(&e)
		s.due(wire.DownloadData).Store(true)
		if err := s.send(ctx, e.Buf); err != nil {
			return nil, err
		}
		r, err := s.await(ctx, wire.DownloadData)
		if err != nil {
			return nil, err
		}
		if r.offset != offset || len(s.block) != int(n) {
			return nil, fmt.Errorf("the primary sent bytes %d+%d of its %v where %d+%d were asked for", r.offset, len(s.block), f.file, offset, n)
		}
		if r.intact {
			return s.block, nil
		}
		err = fmt.Errorf("bytes %d+%d of %v of the primary have a wrong CRC", offset, n, f.file)
		if try == blockTries {
			return nil, err
		}
		s.live.cfg.Event(Event{Kind: Retrying, Text: f.file.String(), Err: err})
	}
}

// fetch writes the primary's file from an offset on to out, and tells done how
// far it got.
func (s *session) fetch(ctx context.Context, f *remoteFile, out *os.File, from uint64, done func(uint64)) error {
	for at := from; at < f.size; {
		n := min(f.size-at, wire.DownloadBlock)
		b, err := s.blockAt(ctx, f, at, uint32(n))
		if err != nil {
			return err
		}
		if _, err := out.WriteAt(b, int64(at)); err != nil {
			return local(err)
		}
		at += n
		done(at)
		s.live.cfg.Event(Event{Kind: Downloading, Text: f.file.String(), Done: at, Size: f.size})
	}
	return nil
}

// end closes the primary's file.
func (s *session) end(ctx context.Context) error {
	return s.send(ctx, wire.AppendPacket(nil, wire.DownloadEnd, nil))
}

// bootstrap downloads the base that is open and what follows it.
func (s *session) bootstrap(ctx context.Context, f *remoteFile) error {
	if f.missing {
		return fmt.Errorf("the primary has no %v yet", wire.FileMetadata)
	}
	base, err := s.base(ctx, f)
	if err != nil {
		return err
	}
	if first, end := s.goal.q.heldRange(); first != 0 && first <= base.Version && end >= base.Version {
		err = s.goal.q.release(nil, base.Version, nil)
	} else {
		fl := filler{session: s, next: base.Version, head: f, base: &base}
		err = fl.fill(ctx)
	}
	if err == nil || errors.Is(err, errRejoin) {
		s.live.finishBootstrap(s.goal, base, nil)
	}
	return err
}

// base downloads the metadata file that is open and puts it into its place.
func (s *session) base(ctx context.Context, f *remoteFile) (Base, error) {
	path := filepath.Join(s.live.cfg.Dir, "base.part")
	part := &s.live.part
	// A file of the same version has the same content, but for counters of
	// sessions that no entry is about, so its halves fit together.
	if part.version != f.head.Version || part.metaid != f.head.MetaID || part.size != f.size {
		*part = partial{version: f.head.Version, metaid: f.head.MetaID, size: f.size}
	}
	out, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return Base{}, local(err)
	}
	defer out.Close()
	if st, err := out.Stat(); err != nil || uint64(st.Size()) < part.done {
		part.done = 0
	}
	if err := out.Truncate(int64(part.done)); err != nil {
		return Base{}, local(err)
	}
	if err := s.fetch(ctx, f, out, part.done, func(n uint64) { part.done = n }); err != nil {
		return Base{}, err
	}
	*part = partial{}
	if err := errors.Join(s.end(ctx), local(out.Sync()), local(out.Close())); err != nil {
		return Base{}, err
	}
	base, err := ReadBase(path)
	if err != nil {
		return Base{}, fmt.Errorf("downloaded metadata file is not valid: %w", err)
	}
	base.Path = filepath.Join(s.live.cfg.Dir, fmt.Sprintf("base-%d.mfs", base.Version))
	if err := os.Rename(path, base.Path); err != nil {
		return Base{}, local(err)
	}
	return base, local(syncDir(s.live.cfg.Dir))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
