package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Register is a small value that several processes change, each only if it has
// not changed since it looked: who leads, who taps, whether fail-over is paused.
// What is stored outlives all processes.
type Register struct {
	kv  jetstream.KeyValue
	key string
}

// ErrChanged says that somebody else has changed a Register since.
var ErrChanged = errors.New("it was changed by somebody else meanwhile")

// Register opens the one of a name, which may be empty still.
func (c *Cluster) Register(ctx context.Context, name string) (*Register, error) {
	kv, err := c.openBucket(ctx, registers, "who leads", c.log.CachedInfo().Config.Replicas, true)
	if err != nil {
		return nil, fmt.Errorf("opening the registers of %s: %w", c.name, err)
	}
	return &Register{kv, name}, nil
}

const registers = "-registers" // suffix of their bucket

// Get gives the value and its revision, which is 0 if nothing was stored yet. A
// value that was stored within moments may be missed; Set notices that.
func (r *Register) Get(ctx context.Context) ([]byte, uint64, error) {
	e, err := r.kv.Get(ctx, r.key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", r.key, err)
	}
	return e.Value(), e.Revision(), nil
}

// Set stores a value if the present one has that revision, and returns the new
// one. ErrChanged says that it has not. After another error nobody knows.
func (r *Register) Set(ctx context.Context, value []byte, revision uint64) (uint64, error) {
	var now uint64
	var err error
	if revision == 0 {
		now, err = r.kv.Create(ctx, r.key, value)
	} else {
		now, err = r.kv.Update(ctx, r.key, value, revision)
	}
	var api *jetstream.APIError
	if errors.Is(err, jetstream.ErrKeyExists) || errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return 0, fmt.Errorf("%s: %w", r.key, ErrChanged)
	}
	if err != nil {
		return 0, fmt.Errorf("storing %s: %w", r.key, err)
	}
	return now, nil
}

// Tell says something to all processes of the cluster that Listen now. Nothing
// of it is kept, and whether anybody hears it is not known.
func (c *Cluster) Tell(words []byte) error { return c.conn.nc.Publish(c.wordsSubject(), words) }

// Listen calls hear with what is said, by this process too, until stop. hear
// must not wait.
func (c *Cluster) Listen(hear func(words []byte)) (stop func(), err error) {
	sub, err := c.conn.nc.Subscribe(c.wordsSubject(), func(m *nats.Msg) { hear(m.Data) })
	if err != nil {
		return nil, fmt.Errorf("listening to the members of %s: %w", c.name, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // that fails only where there is nothing to end
}

func (c *Cluster) wordsSubject() string { return strings.TrimSuffix(c.subject, "log") + "words" }

// Led tells whether a leader wrote what the stream ends with; see Writer.Led.
func (c *Cluster) Led(ctx context.Context) (bool, error) {
	info, err := c.log.Info(ctx)
	if err != nil || info.State.Msgs == 0 {
		return false, err
	}
	m, raw, err := c.fetch(ctx, Seq(info.State.LastSeq))
	if err != nil {
		return false, err
	}
	if newer, err := c.climb(ctx, m); err != nil || newer.Seq != m.Seq {
		if err != nil {
			return false, err
		}
		if _, raw, err = c.fetch(ctx, newer.Seq); err != nil {
			return false, err
		}
	}
	return raw.Header.Get(roleHeader) == roleLeader, nil
}
