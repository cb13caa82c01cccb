package history

import (
	"context"
	"errors"
	"io"

	"mfsstandby/replicator/archive"
	"mfsstandby/replicator/stream"
)

// Source is where base images and entries are kept.
type Source interface {
	// Bases gives the base images, oldest first in the order of the history: by
	// epoch, then version.
	Bases(ctx context.Context) ([]stream.Base, error)
	// GetBase writes one to w; what was written is good only without an error.
	GetBase(ctx context.Context, b stream.Base, w io.Writer) error
	// End is behind the newest entry.
	End(ctx context.Context) (stream.Position, error)
	// Reader gives entries from a position on, to where End is then.
	Reader(pos stream.Position) Reader
}

// Reader gives entries in order, io.EOF at the end, and a *stream.RebaseError or
// *stream.GapError where the history goes on, but not from here.
type Reader interface {
	Next(ctx context.Context) (*stream.Batch, error)
	Close() error
}

// OfStream makes a Source of a cluster's stream.
func OfStream(c *stream.Cluster) Source { return streamSource{c} }

type streamSource struct{ c *stream.Cluster }

func (s streamSource) Bases(ctx context.Context) ([]stream.Base, error) { return s.c.ListBases(ctx) }

func (s streamSource) GetBase(ctx context.Context, b stream.Base, w io.Writer) error {
	_, err := s.c.GetBase(ctx, b.Version, w)
	return err
}

func (s streamSource) End(ctx context.Context) (stream.Position, error) { return s.c.End(ctx) }

func (s streamSource) Reader(pos stream.Position) Reader {
	return &streamReader{c: s.c, r: s.c.Reader(pos, stream.ReaderConfig{})}
}

// streamReader ends where the stream did when it was first read.
type streamReader struct {
	c   *stream.Cluster
	r   *stream.Reader
	end stream.Position
}

func (r *streamReader) Next(ctx context.Context) (*stream.Batch, error) {
	if r.end.Version == 0 {
		var err error
		if r.end, err = r.c.End(ctx); err != nil {
			return nil, err
		}
	}
	if at := r.r.Position(); at.Epoch >= r.end.Epoch && at.Version >= r.end.Version {
		return nil, io.EOF
	}
	return r.r.Next(ctx)
}

func (r *streamReader) Close() error {
	r.r.Close()
	return nil
}

// OfArchive makes a Source of an archive.
func OfArchive(a *archive.Archive) Source { return archiveSource{a} }

type archiveSource struct{ *archive.Archive }

func (s archiveSource) Reader(pos stream.Position) Reader { return s.Archive.Reader(pos) }

// broken tells whether a history does not go on from where its reader is.
func broken(err error) bool {
	return errors.Is(err, stream.ErrRebase) || errors.Is(err, stream.ErrGap)
}
