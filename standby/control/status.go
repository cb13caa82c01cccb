package control

import (
	"time"

	"mfsstandby/replicator"
	"mfsstandby/standby"
)

// Status tells what a process does and how far it is.
type Status struct {
	Role    string             `json:"role"` // the command that runs: "run", "tap" or "standby"
	Program string             `json:"program"`
	PID     int                `json:"pid"`
	Started time.Time          `json:"started"`
	Data    string             `json:"data"`
	Tap     *replicator.Status `json:"tap,omitempty"`
	Standby *standby.Status    `json:"standby,omitempty"`
}
