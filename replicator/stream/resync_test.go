package stream

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestRefused(t *testing.T) {
	api := func(status int, code jetstream.ErrorCode) error {
		return &jetstream.APIError{Code: status, ErrorCode: code}
	}
	for _, tc := range []struct {
		name   string
		causes []error
		want   []bool // an error at each
	}{
		{"connection lost", []error{nats.ErrDisconnected, errNoAnswer, nats.ErrConnectionClosed, nats.ErrDisconnected}, []bool{false, false, false, false}},
		{"another was stored there", []error{api(400, jetstream.JSErrCodeStreamWrongLastSequence), api(400, 10070)}, []bool{false, false}},
		{"no leader", []error{api(503, 10008)}, []bool{false}},
		{"no space", []error{api(500, 10047)}, []bool{true}},
		{"silence", []error{jetstream.ErrAsyncPublishTimeout, jetstream.ErrAsyncPublishTimeout, jetstream.ErrAsyncPublishTimeout, jetstream.ErrAsyncPublishTimeout}, []bool{false, false, true, false}},
	} {
		w := &Writer{flights: make([]flight, 1)}
		for i, cause := range tc.causes {
			if err := w.refused(cause); (err != nil) != tc.want[i] {
				t.Errorf("%s, time %d, %v: got %v", tc.name, i+1, cause, err)
			}
		}
	}
	w := &Writer{flights: make([]flight, 1), silence: silences - 1}
	if err := w.refused(jetstream.ErrAsyncPublishTimeout); !errors.Is(err, ErrStorage) {
		t.Errorf("no answer for long: got %v, want ErrStorage", err)
	}
}

// TestCancelled: an answer that came together with the end of the context is not
// forgotten, and nothing is appended twice.
func TestCancelled(t *testing.T) {
	c := newCluster(t)
	w := newWriter(t, c, 1)
	for range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		err := w.Append(ctx, makeEntries(w.Next(), 3), testTime)
		if err == nil {
			err = w.Flush(ctx)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		cancel()
	}
	appendAll(t, w, 3, 1)
	r := c.Reader(Position{Version: 1}, ReaderConfig{})
	defer r.Close()
	readTo(t, r, w.Acked())
	if w.Acked() != w.Next() || r.Position() != w.End() {
		t.Fatalf("acked %d, next %d, reader %+v, writer %+v", w.Acked(), w.Next(), r.Position(), w.End())
	}
}
