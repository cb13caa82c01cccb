package changelog

import "mfsstandby/changelog/meta"

// ServerDuty ends the maintenance of a chunkserver when its time is over: each
// second.
type ServerDuty struct{ Server meta.Server }

// Plan leaves a maintenance without end alone.
func (r *ServerDuty) Plan(st *meta.State, _ *Caller, now meta.Time) (Op, meta.Status) {
	s, ok := st.Servers.Get(r.Server)
	if !ok || s.Maintenance == 0 || s.Timeout == 0 || s.Timeout >= now {
		return nil, meta.OK
	}
	return &CSDBOp{Op: CSDBMaintenanceOff, IP: r.Server.IP, Port: r.Server.Port}, meta.OK
}

// ChunkDuty removes a chunk that neither a file nor a chunkserver has. Where any
// chunkserver is known that is not connected, it may have one.
type ChunkDuty struct{ Chunk meta.ChunkID }

// Plan leaves chunks alone that are being written, or were lately.
func (r *ChunkDuty) Plan(st *meta.State, _ *Caller, now meta.Time) (Op, meta.Status) {
	c, ok := st.Chunks.Get(r.Chunk)
	if !ok || c.Files > 0 || c.LockedTo >= now {
		return nil, meta.OK
	}
	for range st.Servers.Scan(meta.Server{}) {
		return nil, meta.OK
	}
	return &ChunkDel{Chunk: r.Chunk, ChunkVersion: c.Version}, meta.OK
}
