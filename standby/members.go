package standby

import (
	"context"
	"time"

	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/stream"
)

// Member is a process that works on the cluster, as it told of itself last.
type Member struct {
	Name    string       `json:"name"` // of its host
	Role    string       `json:"role"`
	State   string       `json:"state"`
	Primary meta.Version `json:"primary_version"` // a tap's: received; a standby's: the stream's
	Version meta.Version `json:"version"`
	Epoch   uint64       `json:"epoch"`
	Rate    float64      `json:"entries_per_second"`
	Error   string       `json:"error,omitempty"`
	Updated time.Time    `json:"updated"`
}

// describe is what other members are told of this standby.
func (s *Standby) describe() stream.Member {
	st := s.Status()
	return stream.Member{
		Role: "standby", State: string(st.State), Primary: st.Stream, Version: st.Image,
		Epoch: stream.Epoch(st.Epoch), Rate: st.Rate, Error: st.Error,
	}
}

// learnMembers keeps what the members of the cluster say of themselves.
func (s *Standby) learnMembers(ctx context.Context) error {
	all, err := s.cluster.Members(ctx)
	if err != nil {
		return err
	}
	members := make([]Member, len(all))
	for i, m := range all {
		members[i] = Member{
			Name: m.Name, Role: m.Role, State: m.State, Primary: m.Primary, Version: m.Version, Epoch: uint64(m.Epoch),
			Rate: m.Rate, Error: m.Error, Updated: m.Updated,
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = members
	return nil
}
