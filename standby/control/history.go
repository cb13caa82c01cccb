package control

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby/history"
)

// historyIndex is the answer to GET /history: where the history begins and ends.
type historyIndex struct {
	Bases []stream.Base
	End   stream.Position
}

// entriesPart is a part of the answer to GET /history/entries, which is a gob
// stream. The last part has no batch.
type entriesPart struct {
	Batch  *stream.Batch
	Rebase *stream.RebaseError
	Gap    *stream.GapError
	Error  string // empty, as all else: the end
}

// history opens the stream or answers why not.
func (s *Server) history(w http.ResponseWriter, r *http.Request) history.Source {
	err := errors.New("this process has no stream")
	if s.History != nil {
		var src history.Source
		if src, err = s.History(r.Context()); err == nil {
			return src
		}
	}
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
	return nil
}

func (s *Server) historyIndex(w http.ResponseWriter, r *http.Request) {
	src := s.history(w, r)
	if src == nil {
		return
	}
	var x historyIndex
	var err, endErr error
	x.Bases, err = src.Bases(r.Context())
	x.End, endErr = src.End(r.Context())
	if err = errors.Join(err, endErr); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(x); err != nil {
		s.Logger.Debug("answering with the base images", "err", err)
	}
}

// position reads the one that a request names.
func position(q url.Values) (pos stream.Position, err error) {
	num := func(key string) uint64 {
		n, e := strconv.ParseUint(q.Get(key), 10, 64)
		err = errors.Join(err, e)
		return n
	}
	pos = stream.Position{Version: meta.Version(num("version")), Epoch: stream.Epoch(num("epoch")), Seq: stream.Seq(num("seq"))}
	return pos, errors.Join(err, pos.Chain.UnmarshalText([]byte(q.Get("chain"))))
}

func positionQuery(pos stream.Position) string {
	return url.Values{"version": {fmt.Sprint(pos.Version)}, "epoch": {fmt.Sprint(pos.Epoch)}, "seq": {fmt.Sprint(pos.Seq)}, "chain": {pos.Chain.String()}}.Encode()
}

// historyAt gives the history and the position that is asked for, nil if it has
// answered with an error.
func (s *Server) historyAt(w http.ResponseWriter, r *http.Request) (history.Source, stream.Position) {
	pos, err := position(r.URL.Query())
	if err != nil {
		http.Error(w, "request: "+err.Error(), http.StatusBadRequest)
		return nil, pos
	}
	return s.history(w, r), pos
}

func (s *Server) historyBase(w http.ResponseWriter, r *http.Request) {
	src, pos := s.historyAt(w, r)
	if src == nil {
		return
	}
	head := w.Header()
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Trailer", crcTrailer+", "+errorTrailer)
	if err := src.GetBase(r.Context(), stream.Base{Version: pos.Version, Epoch: pos.Epoch}, w); err != nil {
		head.Set(errorTrailer, strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	head.Set(crcTrailer, "checked")
}

func (s *Server) historyEntries(w http.ResponseWriter, r *http.Request) {
	src, pos := s.historyAt(w, r)
	if src == nil {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	reader := src.Reader(pos)
	defer reader.Close()
	enc := gob.NewEncoder(w)
	for {
		var part entriesPart
		var err error
		part.Batch, err = reader.Next(r.Context())
		switch {
		case err == nil, errors.Is(err, io.EOF):
		case errors.As(err, &part.Rebase), errors.As(err, &part.Gap):
		default:
			part.Error = err.Error()
		}
		if err := enc.Encode(&part); err != nil || part.Batch == nil {
			return // the other side has gone, or all is said
		}
	}
}

// History is that of the stream of the process. Its methods return
// ErrNotRunning when there is none.
func (c *Client) History() history.Source { return remoteHistory{c} }

type remoteHistory struct{ c *Client }

func (h remoteHistory) index(ctx context.Context) (x historyIndex, err error) {
	resp, err := h.c.do(ctx, http.MethodGet, "/history", nil)
	if err != nil {
		return x, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&x); err != nil {
		return x, fmt.Errorf("answer of the process on %s: %w", h.c.dir, err)
	}
	return x, nil
}

func (h remoteHistory) Bases(ctx context.Context) ([]stream.Base, error) {
	x, err := h.index(ctx)
	return x.Bases, err
}

func (h remoteHistory) End(ctx context.Context) (stream.Position, error) {
	x, err := h.index(ctx)
	return x.End, err
}

func (h remoteHistory) GetBase(ctx context.Context, b stream.Base, w io.Writer) error {
	resp, err := h.c.do(ctx, http.MethodGet, "/history/base?"+positionQuery(b.Position()), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, &whole{resp: resp})
	return err
}

func (h remoteHistory) Reader(pos stream.Position) history.Reader {
	return &remoteReader{c: h.c, pos: pos}
}

type remoteReader struct {
	c    *Client
	pos  stream.Position
	body io.Closer
	dec  *gob.Decoder
}

func (r *remoteReader) Next(ctx context.Context) (*stream.Batch, error) {
	if r.dec == nil {
		resp, err := r.c.do(ctx, http.MethodGet, "/history/entries?"+positionQuery(r.pos), nil)
		if err != nil {
			return nil, err
		}
		r.body, r.dec = resp.Body, gob.NewDecoder(resp.Body)
	}
	var part entriesPart
	if err := r.dec.Decode(&part); err != nil {
		return nil, fmt.Errorf("the process on %s broke off: %w", r.c.dir, errors.Join(err, ctx.Err()))
	}
	switch {
	case part.Batch != nil:
		return part.Batch, nil
	case part.Rebase != nil:
		return nil, part.Rebase
	case part.Gap != nil:
		return nil, part.Gap
	case part.Error != "":
		return nil, errors.New(part.Error)
	}
	return nil, io.EOF
}

func (r *remoteReader) Close() error {
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}
