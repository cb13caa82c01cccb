package control

import (
	"time"

	"mfsstandby/replicator"
	"mfsstandby/replicator/archive"
	"mfsstandby/standby"
	"mfsstandby/standby/failover"
	"mfsstandby/standby/floating"
	"mfsstandby/standby/promote"
	"mfsstandby/standby/rehearse"
	"mfsstandby/standby/role"
	"mfsstandby/standby/upstream"
)

// Status tells what a process does and how far it is.
type Status struct {
	Role      string             `json:"role"` // the command that runs: "run", "tap" or "standby"
	Program   string             `json:"program"`
	PID       int                `json:"pid"`
	Started   time.Time          `json:"started"`
	Data      string             `json:"data"`
	Page      string             `json:"page,omitempty"` // URL of the status page
	Tap       *replicator.Status `json:"tap,omitempty"`
	Standby   *standby.Status    `json:"standby,omitempty"`
	Archive   *archive.Status    `json:"archive,omitempty"`      // nil: nothing is archived
	Clients   *Clients           `json:"clients,omitempty"`      // nil: none are served
	Upstream  *upstream.Status   `json:"upstream,omitempty"`     // what is kept and served for metaloggers; nil: nothing
	Cluster   *role.State        `json:"cluster_role,omitempty"` // what the process is to its cluster; nil: it cannot lead
	Failover  *failover.Status   `json:"failover,omitempty"`     // nil: it does not lead without being told to
	Rehearsal *rehearse.Result   `json:"rehearsal,omitempty"`    // the last one; nil: there was none
	Address   *floating.Status   `json:"address,omitempty"`      // nil: the role follows none
	Hook      *promote.HookRun   `json:"hook,omitempty"`         // the last one; nil: none was run
}

// Clients tells of the server on the client port, as server.Stats does.
type Clients struct {
	Connections int    `json:"connections"`
	Sessions    int    `json:"sessions"`  // also of clients that have gone and may come back
	Connected   int    `json:"connected"` // sessions with a connection
	Accepted    uint64 `json:"accepted"`  // connections
	Refused     uint64 `json:"refused"`   // connections over the limit
	Dropped     uint64 `json:"dropped"`   // connections closed for nonsense, silence, or because the image could not be shown
	Received    uint64 `json:"received_bytes"`
	Sent        uint64 `json:"sent_bytes"`
	Packets     uint64 `json:"packets"` // received, keepalives included
	Buffers     int64  `json:"buffer_bytes"`

	Requests   map[string]uint64 `json:"requests"` // by name, such as "lookup"
	Operations [16]uint64        `json:"-"`        // as the master counts them
}
