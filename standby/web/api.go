package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/standby"
	"mfsstandby/standby/image"
)

// api is where the API is; a change that breaks programs gets a new one.
const api = "/api/v1/"

// table lists the API.
func (s *Server) table() []Route {
	return append([]Route{
		{"GET " + api + "status", "role, versions, lag, members and totals; at most a second old", s.status},
		{"GET " + api + "history", "samples over time: range=10m|6h|48h, after=MILLISECONDS", s.history},
		{"GET " + api + "events", "what happened, oldest first: after=SEQ, level=info|warn|error, limit=N", s.events},
		{"GET " + api + "stat", "one inode: path=/a/b or inode=N; symbolic links are not followed", s.stat},
		{"GET " + api + "list", "names of a directory in byte order: path= or inode=, limit=N, and after=CURSOR, before=CURSOR, from=NAME or offset=N", s.list},
		{"GET " + api + "path", "all paths that lead to inode=N", s.path},
		{"GET " + api + "tree", "totals of the tree below a directory: path= or inode=", s.tree},
	}, s.cfg.Routes...)
}

// routes puts everything behind the guard.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	open := func(pattern string, h http.HandlerFunc) { mux.Handle(pattern, s.metrics.count(pattern, h)) }
	private := func(pattern string, h http.Handler) {
		mux.Handle(pattern, s.metrics.count(pattern, s.guard.private(h)))
	}
	open("GET /healthz", s.healthz)
	open("GET /readyz", s.readyz)
	private("GET /metrics", s.metrics.handler())
	table := s.table()
	for _, r := range table {
		private(r.Pattern, r.Serve)
	}
	private("GET "+api+"{$}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list := make([]map[string]string, len(table))
		for i, route := range table {
			list[i] = map[string]string{"route": route.Pattern, "about": route.About}
		}
		s.answer(w, map[string]any{"routes": list})
	}))
	private("GET "+api, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "not_found", "there is no such route: GET "+api+" lists them")
	}))
	for path, file := range pageFiles() {
		open("GET "+path, file)
	}
	return s.guard.around(mux)
}

// problem is an error with the status it is answered with.
type problem struct {
	status     int
	code, text string
}

func (p *problem) Error() string { return p.text }

func problemf(status int, code, format string, args ...any) error {
	return &problem{status, code, fmt.Sprintf(format, args...)}
}

// refuse answers with an error:
//
//	{"error": {"code": "not_found", "text": "..."}}
func refuse(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// Whoever does not read the answer knows.
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"code": code, "text": text}})
}

// fail answers with what went wrong.
func (s *Server) fail(w http.ResponseWriter, err error) {
	var p *problem
	switch {
	case errors.As(err, &p):
		refuse(w, p.status, p.code, p.text)
	case errors.Is(err, standby.ErrNoImage), errors.Is(err, image.ErrClosed): // another one is being loaded
		refuse(w, http.StatusServiceUnavailable, "no_image", err.Error())
	default:
		s.log.Warn("answering over HTTP", "err", err)
		refuse(w, http.StatusInternalServerError, "internal", err.Error())
	}
}

func (s *Server) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log.Debug("answering over HTTP", "err", err)
	}
}

// image returns the image, if this process has one.
func (s *Server) image() (*image.Image, error) {
	if s.cfg.Image == nil {
		return nil, problemf(http.StatusNotFound, "no_image", "there is no image in this process: it is a tap only")
	}
	return s.cfg.Image()
}

func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	text(w, s.hub.alive(time.Now()), "ok")
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	now := s.hub.now()
	var err error
	if !now.Ready {
		err = errors.New("not ready")
		if s.guard.admits(r) {
			err = fmt.Errorf("not ready: %s", now.Reason)
		}
	}
	text(w, err, "ready")
}

// text answers a health check.
func text(w http.ResponseWriter, err error, good string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		good = err.Error()
	}
	fmt.Fprintln(w, good)
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) { s.answer(w, s.hub.now()) }

func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	after, err := number(r, "after", 0, 1<<62)
	if err != nil {
		s.fail(w, err)
		return
	}
	h, ok := s.hub.history(r.FormValue("range"), int64(after))
	if !ok {
		s.fail(w, problemf(http.StatusBadRequest, "bad_request", "range must be 10m, 6h or 48h"))
		return
	}
	s.answer(w, h)
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	after, err := number(r, "after", 0, 1<<62)
	limit, err2 := number(r, "limit", events.Keep, events.Keep)
	level := slog.LevelInfo
	if text := r.FormValue("level"); text != "" && level.UnmarshalText([]byte(text)) != nil {
		err = problemf(http.StatusBadRequest, "bad_request", "level must be info, warn or error")
	}
	if err := errors.Join(err, err2); err != nil {
		s.fail(w, err)
		return
	}
	all, _ := s.cfg.Events.After(after)
	found := make([]events.Event, 0, min(len(all), int(limit)))
	for _, e := range all {
		if e.Level >= level {
			found = append(found, e)
		}
	}
	s.answer(w, map[string]any{"events": found[max(0, len(found)-int(limit)):]})
}

// number reads a parameter that is a number up to most.
func number(r *http.Request, name string, otherwise, most uint64) (uint64, error) {
	text := r.FormValue(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > most {
		return 0, problemf(http.StatusBadRequest, "bad_request", "%s must be a number up to %d", name, most)
	}
	return n, nil
}

// place is what a request asks about: an inode, or what is at a path.
type place struct {
	inode meta.Inode
	names []string // from the root, if inode is 0
	text  string   // for people
}

// where reads the parameters path and inode; without both it is the root.
func where(r *http.Request) (place, error) {
	ino, err := number(r, "inode", 0, 1<<32-1)
	path := r.FormValue("path")
	switch {
	case err != nil:
		return place{}, err
	case ino != 0 && path != "":
		return place{}, problemf(http.StatusBadRequest, "bad_request", "give a path or an inode, not both")
	case ino != 0:
		return place{inode: meta.Inode(ino), text: fmt.Sprintf("inode %d", ino)}, nil
	case r.FormValue("inode") != "":
		return place{}, problemf(http.StatusBadRequest, "bad_request", "inodes begin at 1")
	case len(path) > maxPath:
		return place{}, problemf(http.StatusBadRequest, "bad_request", "the path is longer than %d bytes", maxPath)
	}
	shown, _ := escape([]byte(path))
	return place{names: strings.FieldsFunc(path, func(c rune) bool { return c == '/' }), text: shown}, nil
}

// maxPath is the longest path that is looked up.
const maxPath = 32 << 10
