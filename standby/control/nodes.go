package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"mfsstandby/replicator/stream"
)

// FailoverRequest pauses or resumes automatic fail-over.
type FailoverRequest struct {
	Pause  bool   `json:"pause"`
	Reason string `json:"reason"`
}

// RemoveRequest names a server that will not come back.
type RemoveRequest struct {
	Node string `json:"node"`
}

// ask decodes a request, or answers why not.
func ask[T any](w http.ResponseWriter, r *http.Request) (req T, ok bool) {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&req); err != nil {
		http.Error(w, "request: "+err.Error(), http.StatusBadRequest)
		return req, false
	}
	return req, true
}

// told answers that something was done, or why not.
func told(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
	}
}

func (s *Server) failover(w http.ResponseWriter, r *http.Request) {
	req, ok := ask[FailoverRequest](w, r)
	switch {
	case !ok:
	case s.Failover == nil:
		told(w, errors.New("the process was not started with --failover"))
	case req.Pause:
		told(w, s.Failover.Pause(r.Context(), req.Reason))
	default:
		told(w, s.Failover.Resume(r.Context()))
	}
}

func (s *Server) nodes(w http.ResponseWriter, r *http.Request) {
	nodes, err := s.Nodes.Nodes(r.Context())
	if err != nil {
		told(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(nodes); err != nil {
		s.Logger.Debug("answering a request", "err", err)
	}
}

func (s *Server) removeNode(w http.ResponseWriter, r *http.Request) {
	if req, ok := ask[RemoveRequest](w, r); ok {
		told(w, s.Nodes.RemoveNode(r.Context(), req.Node))
	}
}

// PauseFailover keeps all nodes from leading by themselves until ResumeFailover.
func (c *Client) PauseFailover(ctx context.Context, reason string) error {
	return c.tell(ctx, "/failover", FailoverRequest{Pause: true, Reason: reason})
}

// ResumeFailover ends PauseFailover.
func (c *Client) ResumeFailover(ctx context.Context) error {
	return c.tell(ctx, "/failover", FailoverRequest{})
}

// RemoveNode takes a server that will not come back out of the cluster.
func (c *Client) RemoveNode(ctx context.Context, node string) error {
	return c.tell(ctx, "/nodes/remove", RemoveRequest{node})
}

func (c *Client) tell(ctx context.Context, path string, req any) error {
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Nodes lists the servers that keep the stream.
func (c *Client) Nodes(ctx context.Context) ([]stream.Node, error) {
	resp, err := c.do(ctx, http.MethodGet, "/nodes", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var nodes []stream.Node
	if err := json.NewDecoder(resp.Body).Decode(&nodes); err != nil {
		return nil, fmt.Errorf("answer of the standby on %s: %w", c.dir, err)
	}
	return nodes, nil
}
