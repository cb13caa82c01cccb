package standby

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/events"
	"mfsstandby/replicator/stream"
)

// keptBases is how many base images stay in the store if nothing else is said;
// the stream keeps the entries since the oldest of them.
const keptBases = 2

// keepBases stores the image as a base image when the newest one is older
// than Config.BaseEvery, so that the stream need not keep entries for ever
// and new standbys need not read them all.
func (s *Standby) keepBases(ctx context.Context) {
	if s.cfg.BaseEvery <= 0 {
		return
	}
	tick := time.NewTicker(min(s.cfg.BaseEvery, time.Minute))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.renewBase(ctx); err != nil && ctx.Err() == nil {
			s.event(slog.LevelError, events.BaseFailed, "storing a base image", err)
		}
	}
}

func (s *Standby) renewBase(ctx context.Context) error {
	bases, err := s.cluster.ListBases(ctx)
	if err != nil || len(bases) == 0 {
		return err
	}
	newest := bases[len(bases)-1]
	state := s.Status().State
	if time.Since(newest.Created) < s.cfg.BaseEvery || state != InSync && state != Leading || newest.Version >= s.version() {
		return nil
	}
	v, err := s.StoreBase(ctx)
	if err != nil {
		return err
	}
	s.event(slog.LevelInfo, events.BaseStored, fmt.Sprintf("base image %d is stored", v), nil)
	return s.trim(ctx)
}

// trim drops what is kept long enough, and is not waited for by a standby that
// stays behind on purpose.
func (s *Standby) trim(ctx context.Context) error {
	members, err := s.cluster.Members(ctx)
	if err != nil {
		return err
	}
	var floor meta.Version
	for _, m := range members {
		if m.State == string(Delayed) && time.Since(m.Updated) < goneMember && (floor == 0 || m.Version < floor) {
			floor = m.Version
		}
	}
	_, err = s.cluster.Trim(ctx, s.cfg.Keep, floor)
	return err
}

// goneMember is how long a delayed standby that says nothing is waited for.
const goneMember = 24 * time.Hour

// StoreBase stores the present state as a base image and tells its version.
func (s *Standby) StoreBase(ctx context.Context) (meta.Version, error) {
	v, err := s.View()
	if err != nil {
		return 0, err
	}
	defer v.Close()
	path := filepath.Join(s.cfg.Dir, exportName)
	defer os.Remove(path)
	if err := WriteView(v, path, "", nil); err != nil {
		return 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	pos := v.Position()
	b := stream.Base{Version: pos.Version, Epoch: stream.Epoch(pos.Epoch), Chain: chainOf(pos.Chain), Release: pos.Release}
	_, err = s.cluster.PutBase(ctx, b, f)
	return pos.Version, err
}
