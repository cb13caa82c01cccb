// Package control lets other processes of the same host ask a running standby
// or tap: HTTP and JSON over a socket in its data directory, for its owner
// only. It also holds the lock that keeps two processes from one directory.
//
//	GET  /status  Status
//	GET  /export  the metadata file of the present version; trailers below
//	POST /verify  VerifyRequest; answers with lines of VerifyLine
//	POST /promote promote.Options; answers with lines of PromoteLine
//	POST /demote  the same; only the reason counts
//	POST /failover FailoverRequest
//	GET  /nodes   list of stream.Node
//	POST /nodes/remove  RemoveRequest
//	POST /rehearse  answers with lines of RehearseLine
//	GET  /history         base images of the stream, and its end
//	GET  /history/base    one of them
//	GET  /history/entries entries from a position to the end
package control

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
	"mfsstandby/standby/failover"
	"mfsstandby/standby/history"
	"mfsstandby/standby/image"
	"mfsstandby/standby/metafile"
	"mfsstandby/standby/promote"
	"mfsstandby/standby/rehearse"
	"mfsstandby/standby/replay"
	"mfsstandby/standby/verify"
)

// Header and trailers of /export. A file without errorTrailer is complete only
// if crcTrailer is there.
const (
	versionHeader = "Mfsstandby-Version"
	crcTrailer    = "Mfsstandby-Crc" // the content of metadata.crc in hexadecimal digits
	errorTrailer  = "Mfsstandby-Error"
)

// Server answers questions about a running process.
type Server struct {
	Dir       string // data directory
	Status    func() Status
	View      func() (*image.View, error) // nil: there is no image here
	Node      *promote.Node               // nil: this process cannot lead
	Failover  *failover.Failover          // nil: it does not lead without being told to
	Nodes     *stream.Conn                // to the servers that keep the stream
	Rehearser *rehearse.Rehearser         // nil: there is no image here
	Cache     int64                       // of temporary images, bytes
	Logger    *slog.Logger
	// History opens the stream; nil: there is none.
	History func(context.Context) (history.Source, error)
}

// Run serves until ctx ends and the requests under way are cut off.
func (s *Server) Run(ctx context.Context) error {
	l, err := listen(s.Dir)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("GET /export", s.export)
	mux.HandleFunc("POST /verify", s.verify)
	mux.HandleFunc("GET /history", s.historyIndex)
	mux.HandleFunc("GET /history/base", s.historyBase)
	mux.HandleFunc("GET /history/entries", s.historyEntries)
	mux.HandleFunc("POST /promote", s.promote)
	mux.HandleFunc("POST /demote", s.demote)
	mux.HandleFunc("POST /failover", s.failover)
	mux.HandleFunc("GET /nodes", s.nodes)
	mux.HandleFunc("POST /nodes/remove", s.removeNode)
	mux.HandleFunc("POST /rehearse", s.rehearse)
	server := &http.Server{Handler: mux, BaseContext: func(net.Listener) context.Context { return ctx }}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err = <-done:
		return err
	case <-ctx.Done():
	}
	err = server.Close()
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(s.Status()); err != nil {
		s.Logger.Debug("answering a status request", "err", err)
	}
}

// view opens a view or answers why not.
func (s *Server) view(w http.ResponseWriter) *image.View {
	err := errors.New("there is no image in this process: it is a tap only")
	if s.View != nil {
		var v *image.View
		if v, err = s.View(); err == nil {
			return v
		}
	}
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
	return nil
}

// releaseQuery names the release for which a file is to be.
const releaseQuery = "release"

func (s *Server) export(w http.ResponseWriter, r *http.Request) {
	v := s.view(w)
	if v == nil {
		return
	}
	defer v.Close()
	release := meta.ParseRelease(r.URL.Query().Get(releaseQuery))
	pos := v.Position()
	head := w.Header()
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Trailer", crcTrailer+", "+errorTrailer)
	head.Set(versionHeader, strconv.FormatUint(uint64(pos.Version), 10))
	var crc strings.Builder
	err := metafile.Write(replay.Writer(r.Context(), w), v.State(), metafile.Header{Version: pos.Version},
		metafile.WriteOptions{CRC: hex.NewEncoder(&crc), Now: pos.Time, Release: release})
	if err != nil {
		head.Set(errorTrailer, strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	head.Set(crcTrailer, crc.String())
}

// VerifyRequest says with what to compare: File, brought forward by Changes,
// or Primary.
type VerifyRequest struct {
	File    string   `json:"file,omitempty"` // absolute paths
	Changes []string `json:"changes,omitempty"`
	Primary string   `json:"primary,omitempty"`
}

// VerifyLine is one line of the answer; one of the fields is set. Result or
// Error is in the last.
type VerifyLine struct {
	Stage      *Stage               `json:"stage,omitempty"`
	Difference *metafile.Difference `json:"difference,omitempty"`
	Result     *verify.Result       `json:"result,omitempty"`
	Error      string               `json:"error,omitempty"`
}

// Stage tells how far a long work is.
type Stage struct {
	What  string `json:"what"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"` // 0: not known
}

// tellEvery is how often progress is told.
const tellEvery = 200 * time.Millisecond

func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	var req VerifyRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&req); err != nil {
		http.Error(w, "request: "+err.Error(), http.StatusBadRequest)
		return
	}
	v := s.view(w)
	if v == nil {
		return
	}
	defer v.Close()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	var mu sync.Mutex // differences come from another goroutine
	enc := json.NewEncoder(w)
	put := func(line VerifyLine) {
		mu.Lock()
		defer mu.Unlock()
		if err := enc.Encode(line); err != nil {
			cancel()
		}
		http.NewResponseController(w).Flush() // an error comes again with the next line
	}
	res, err := Verify(ctx, v, req, verify.Config{
		Dir: s.Dir, Cache: s.Cache, Logger: s.Logger,
		Report: func(d metafile.Difference) { put(VerifyLine{Difference: &d}) },
		Stage: func(what string, total int64) func(int64) {
			put(VerifyLine{Stage: &Stage{what, 0, total}})
			var told time.Time
			return func(done int64) {
				if now := time.Now(); now.Sub(told) > tellEvery {
					told = now
					put(VerifyLine{Stage: &Stage{what, done, total}})
				}
			}
		},
	})
	if err != nil {
		put(VerifyLine{Error: err.Error()})
		return
	}
	put(VerifyLine{Result: &res})
}

// Verify does what a request asks for.
func Verify(ctx context.Context, v *image.View, req VerifyRequest, cfg verify.Config) (verify.Result, error) {
	if req.Primary != "" {
		return verify.Primary(ctx, v, req.Primary, cfg)
	}
	return verify.File(ctx, v, req.File, req.Changes, cfg)
}
