package stream

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/vmihailenco/msgpack/v5"

	"mfsstandby/changelog/meta"
)

// Member is what one process says about itself for others to see. It is kept,
// as a msgpack map, in the cluster's key-value bucket under its name.
type Member struct {
	Name    string       `msgpack:"name"` // of the node; letters, digits, and -_.
	Role    string       `msgpack:"role"` // "tap", "standby", ...
	State   string       `msgpack:"state"`
	Primary meta.Version `msgpack:"primary"` // version the primary is known to be at
	Version meta.Version `msgpack:"version"` // version this member is at
	Epoch   Epoch        `msgpack:"epoch"`
	Seq     Seq          `msgpack:"seq"`
	Rate    float64      `msgpack:"rate"` // entries/s
	Error   string       `msgpack:"error"`
	Updated time.Time    `msgpack:"updated"`
}

// What a tap says of itself: TapFollows while a live primary answers.
const (
	TapRole    = "tap"
	TapFollows = "following"
)

var validMember = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$`)

// key is the member's, one per role: a node may run several.
func (m *Member) key() (string, error) {
	key := m.Name + "/" + m.Role
	if !validMember.MatchString(m.Name) || !validMember.MatchString(m.Role) || key[len(m.Name)-1] == '.' || key[len(key)-1] == '.' {
		return "", fmt.Errorf("member %q in role %q: names are made of letters, digits, -, _ and dots inside", m.Name, m.Role)
	}
	return key, nil
}

// PutMember replaces what is known of the member.
func (c *Cluster) PutMember(ctx context.Context, m Member) error {
	key, err := m.key()
	if err != nil {
		return err
	}
	b, err := msgpack.Marshal(&m)
	if err != nil {
		return fmt.Errorf("encoding member %s: %w", key, err)
	}
	if _, err := c.members.Put(ctx, key, b); err != nil {
		return fmt.Errorf("storing member %s: %w", key, err)
	}
	return nil
}

// DeleteMember forgets a member.
func (c *Cluster) DeleteMember(ctx context.Context, m Member) error {
	key, err := m.key()
	if err != nil {
		return err
	}
	if err := c.members.Purge(ctx, key); err != nil {
		return fmt.Errorf("deleting member %s: %w", key, err)
	}
	return nil
}

// Members gives all members, by name and role. Those that have gone are among
// them until deleted: look at Updated.
func (c *Cluster) Members(ctx context.Context) ([]Member, error) {
	keys, err := c.members.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing members: %w", err)
	}
	var members []Member
	for _, key := range keys {
		entry, err := c.members.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("reading member %s: %w", key, err)
		}
		m, err := decodeMember(entry.Value())
		if err != nil {
			return nil, fmt.Errorf("member %s: %w: %w", key, ErrCorrupt, err)
		}
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Role, b.Role))
	})
	return members, nil
}

// decodeMember passes over fields it does not know: a newer release may have more.
func decodeMember(b []byte) (m Member, err error) {
	r := bytes.NewReader(b)
	if err := msgpack.NewDecoder(r).Decode(&m); err != nil {
		return m, err
	}
	if r.Len() != 0 {
		return m, fmt.Errorf("%d bytes too many", r.Len())
	}
	return m, nil
}
