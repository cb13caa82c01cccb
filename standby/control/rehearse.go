package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"mfsstandby/standby/promote"
	"mfsstandby/standby/rehearse"
)

// RehearseLine is one line of the answer; one of the fields is set, but for
// Result, which comes with an Error too. Result or Error is in the last.
type RehearseLine struct {
	Step   *promote.Step    `json:"step,omitempty"`
	Result *rehearse.Result `json:"result,omitempty"`
	Error  string           `json:"error,omitempty"`
}

func (s *Server) rehearse(w http.ResponseWriter, r *http.Request) {
	if s.Rehearser == nil {
		http.Error(w, "there is no image in this process: it is a tap only", http.StatusConflict)
		return
	}
	enc := json.NewEncoder(w)
	put := func(line RehearseLine) {
		if err := enc.Encode(line); err != nil {
			s.Logger.Debug("answering a rehearsal", "err", err)
		}
		http.NewResponseController(w).Flush() // an error comes again with the next line
	}
	// Whoever asked may go away, which ends it.
	res, err := s.Rehearser.Rehearse(r.Context(), func(step promote.Step) { put(RehearseLine{Step: &step}) })
	line := RehearseLine{Result: &res}
	if err != nil {
		line.Error = err.Error()
	}
	put(line)
}

// Rehearse lets the process make a rehearsal. Steps are told as they end.
func (c *Client) Rehearse(ctx context.Context, report func(promote.Step)) (rehearse.Result, error) {
	resp, err := c.do(ctx, http.MethodPost, "/rehearse", nil)
	if err != nil {
		return rehearse.Result{}, err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var line RehearseLine
		if err := dec.Decode(&line); err != nil {
			return rehearse.Result{}, fmt.Errorf("the answer broke off: %w", err)
		}
		switch {
		case line.Step != nil:
			report(*line.Step)
		case line.Result != nil && line.Error != "":
			return *line.Result, errors.New(line.Error)
		case line.Result != nil:
			return *line.Result, nil
		}
	}
}
