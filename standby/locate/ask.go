package locate

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"mfsstandby/replicator/wire"
)

// Asker puts information requests to the primary as mfscli does: without a
// session, each on a connection of its own. Answers are kept for a moment, and
// so is that there was none, so that neither many clients nor a primary that
// does not answer cost more than one question at a time.
type Asker struct {
	address string
	dial    func(ctx context.Context, address string) (net.Conn, error)

	mu      sync.Mutex // guards what follows, which is not held while one is answered
	answers map[question]*answer
	silent  time.Time // when the primary last did not answer in time
}

// question is a request: its type and its payload.
type question struct {
	t    wire.Type
	body string
}

// answer is one that came or is awaited.
type answer struct {
	done    chan struct{} // closed when the rest is set
	payload []byte        // nil: there was none
	at      time.Time
}

// Times of an Asker.
const (
	answerTime = 700 * time.Millisecond // mfscli waits a second for the standby's own answer
	answerKept = 2 * time.Second
)

// maxInfo bounds an answer; a list of missing chunks is the longest.
const maxInfo = 16 << 20

// maxQuestions is how many answers are kept; there are about ten requests.
const maxQuestions = 64

// NewAsker returns an Asker for the client port of a primary, HOST:PORT. dial
// may be nil for TCP.
func NewAsker(address string, dial func(ctx context.Context, address string) (net.Conn, error)) *Asker {
	if dial == nil {
		dial = func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}
	}
	return &Asker{address: address, dial: dial, answers: map[question]*answer{}}
}

// Ask returns the payload of the primary's answer, nil if there is none. It
// takes less than a second.
func (a *Asker) Ask(t wire.Type, body []byte) []byte {
	q := question{t, string(body)}
	a.mu.Lock()
	w := a.answers[q]
	if w != nil && !w.over() {
		a.mu.Unlock()
		<-w.done
		return w.payload
	}
	if w == nil && len(a.answers) >= maxQuestions || time.Since(a.silent) < answerKept {
		a.mu.Unlock()
		return nil
	}
	w = &answer{done: make(chan struct{})}
	a.answers[q] = w
	a.mu.Unlock()
	a.answer(q, w)
	return w.payload
}

// over tells whether an answer came and is too old by now.
func (w *answer) over() bool {
	select {
	case <-w.done:
		return time.Since(w.at) > answerKept
	default:
		return false
	}
}

func (a *Asker) answer(q question, w *answer) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	payload, err := a.exchange(ctx, q)
	if err != nil {
		payload = nil
	} else if payload == nil {
		payload = []byte{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	w.payload, w.at = payload, time.Now()
	if end, _ := ctx.Deadline(); err != nil && !w.at.Before(end) {
		a.silent = w.at
	}
	close(w.done)
	for other, o := range a.answers {
		if o != w && o.over() {
			delete(a.answers, other) // it may be long
		}
	}
}

func (a *Asker) exchange(ctx context.Context, q question) ([]byte, error) {
	nc, err := a.dial(ctx, a.address)
	if err != nil {
		return nil, fmt.Errorf("asking the primary: %w", err)
	}
	defer nc.Close()
	if deadline, ok := ctx.Deadline(); ok {
		nc.SetDeadline(deadline)
	}
	var e wire.Encoder
	e.Begin(q.t)
	e.Bytes([]byte(q.body))
	e.End()
	if _, err := nc.Write(e.Buf); err != nil {
		return nil, fmt.Errorf("asking the primary: %w", err)
	}
	in := bufio.NewReader(nc)
	for {
		t, payload, err := wire.ReadPacket(in, nil, maxInfo)
		switch {
		case err != nil:
			return nil, fmt.Errorf("reading the primary's answer to %v: %w", q.t, err)
		case t == q.t.Reply():
			return payload, nil
		case t > wire.BadCommandSize:
			return nil, fmt.Errorf("the primary answers %v with %v", q.t, t)
		}
	}
}
