package stream

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"mfsstandby/replicator/fence"
)

// Clusters lists the metaids of the clusters that NATS holds a stream of, under
// the default prefix.
func (c *Conn) Clusters(ctx context.Context) ([]uint64, error) {
	var ids []uint64
	names := c.js.StreamNames(ctx)
	for name := range names.Name() {
		hex, ok := strings.CutPrefix(name, "MFS-")
		if !ok || len(hex) != 16 {
			continue
		}
		if id, err := strconv.ParseUint(hex, 16, 64); err == nil && id != 0 {
			ids = append(ids, id)
		}
	}
	return ids, names.Err()
}

// End gives the position at the end of the stream, zero if the stream is empty.
func (c *Cluster) End(ctx context.Context) (Position, error) {
	info, err := c.log.Info(ctx)
	if err != nil || info.State.Msgs == 0 {
		return Position{}, err
	}
	m, _, err := c.fetch(ctx, Seq(info.State.LastSeq))
	if err == nil {
		m, err = c.climb(ctx, m)
	}
	return m.end(), err
}

// LastText gives the text of the stream's last entry, nil if what comes last is
// no entry.
func (c *Cluster) LastText(ctx context.Context) ([]byte, error) {
	info, err := c.log.Info(ctx)
	if err != nil || info.State.Msgs == 0 {
		return nil, err
	}
	for seq := info.State.LastSeq; seq >= info.State.FirstSeq; seq-- {
		m, _, err := c.fetch(ctx, Seq(seq))
		if err != nil {
			return nil, err
		}
		switch m.Kind {
		case fence.Batch:
			entries, _, err := m.entries(nil, 0)
			if err != nil || len(entries) == 0 {
				return nil, err
			}
			return entries[len(entries)-1].Text, nil
		case fence.Rebase:
			return nil, nil
		}
	}
	return nil, nil
}

// AnnounceEvery is how often members tell of themselves.
const AnnounceEvery = 5 * time.Second

// Announce stores what get says of a member now and then until ctx ends. It is
// for people to look at: a failure is logged, and shows in what stays old.
func (c *Cluster) Announce(ctx context.Context, get func() Member) {
	tick := time.NewTicker(AnnounceEvery)
	defer tick.Stop()
	for {
		m := get()
		m.Name, m.Updated = c.conn.node, time.Now()
		if err := c.PutMember(ctx, m); err != nil && ctx.Err() == nil {
			c.conn.log.Warn("telling other members", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// HostName is the host's name in the letters that members' names have.
func HostName() string { return memberName("") }

// memberName is a name, by default the host's, in the letters that members' names have.
func memberName(name string) string {
	if name == "" {
		name, _ = os.Hostname()
	}
	if name == "" {
		return "unknown"
	}
	return strings.Trim(strings.Map(func(r rune) rune {
		if r < 128 && (r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '.') {
			return r
		}
		return '_'
	}, name), ".")
}

// Node is what other members call this process's host.
func (c *Cluster) Node() string { return c.conn.node }
