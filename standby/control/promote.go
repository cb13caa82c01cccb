package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"mfsstandby/standby/promote"
)

// PromoteLine is one line of the answer; one of the fields is set, but for
// Result, which comes with an Error too. Result or Error is in the last.
type PromoteLine struct {
	Step   *promote.Step   `json:"step,omitempty"`
	Result *promote.Result `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

func (s *Server) promote(w http.ResponseWriter, r *http.Request) {
	s.change(w, r, (*promote.Node).Promote)
}

func (s *Server) demote(w http.ResponseWriter, r *http.Request) {
	s.change(w, r, func(n *promote.Node, ctx context.Context, opt promote.Options, report func(promote.Step)) (promote.Result, error) {
		return n.Demote(ctx, opt.Reason, report)
	})
}

func (s *Server) change(w http.ResponseWriter, r *http.Request, do func(*promote.Node, context.Context, promote.Options, func(promote.Step)) (promote.Result, error)) {
	var opt promote.Options
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&opt); err != nil {
		http.Error(w, "request: "+err.Error(), http.StatusBadRequest)
		return
	}
	if s.Node == nil {
		http.Error(w, "this process cannot lead: it keeps no image, or serves no clients", http.StatusConflict)
		return
	}
	enc := json.NewEncoder(w)
	put := func(line PromoteLine) {
		if err := enc.Encode(line); err != nil {
			s.Logger.Debug("answering a promotion", "err", err)
		}
		http.NewResponseController(w).Flush() // an error comes again with the next line
	}
	// Whoever asked may go away: a promotion is finished nonetheless.
	res, err := do(s.Node, context.WithoutCancel(r.Context()), opt, func(step promote.Step) { put(PromoteLine{Step: &step}) })
	line := PromoteLine{Result: &res}
	if err != nil {
		line.Error = err.Error()
	}
	put(line)
}

// Promote makes the process the leader. Steps are told as they end.
func (c *Client) Promote(ctx context.Context, opt promote.Options, report func(promote.Step)) (promote.Result, error) {
	for _, path := range []*string{&opt.ChangelogDir, &opt.HandOver, &opt.Master} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return promote.Result{}, err
		}
		*path = abs
	}
	return c.change(ctx, "/promote", opt, report)
}

// Demote ends that the process leads.
func (c *Client) Demote(ctx context.Context, reason string, report func(promote.Step)) (promote.Result, error) {
	return c.change(ctx, "/demote", promote.Options{Reason: reason}, report)
}

func (c *Client) change(ctx context.Context, path string, opt promote.Options, report func(promote.Step)) (promote.Result, error) {
	body, err := json.Marshal(opt)
	if err != nil {
		return promote.Result{}, err
	}
	resp, err := c.do(ctx, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		return promote.Result{}, err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var line PromoteLine
		if err := dec.Decode(&line); err != nil {
			return promote.Result{}, fmt.Errorf("the answer broke off; \"mfsstandby status\" tells what came of it: %w", err)
		}
		switch {
		case line.Step != nil:
			report(*line.Step)
		case line.Error != "" && line.Result != nil:
			return *line.Result, errors.New(line.Error)
		case line.Error != "":
			return promote.Result{}, errors.New(line.Error)
		case line.Result != nil:
			return *line.Result, nil
		}
	}
}
