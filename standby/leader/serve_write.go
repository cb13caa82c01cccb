package leader

import (
	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// refusal puts a status into the words that a client's release knows: those
// before 3.0.101 do not expect a read-only file system, those before 3.0.8 not
// to be told to try again.
func (s *serving) refusal(status meta.Status) meta.Status {
	switch {
	case status == meta.EROFS && s.Release < wire.NewRelease(3, 0, 101):
		return statusIO
	case status == meta.EAGAIN && s.Release < wire.NewRelease(3, 0, 8):
		return meta.ELOCKED
	}
	return status
}

func (s *serving) writeChunk(number wire.Type) error {
	var p wire.ChunkRequest
	if err := p.Decode(s.d); err != nil {
		return err
	}
	c := s.callerOf(0, nil)
	_, status := s.Do(&c, &changelog.ChunkWriteRequest{Inode: p.Inode, Index: p.Index, Flags: p.Flags})
	if status == meta.ELOCKED {
		return ErrLocked
	}
	return s.status(number, p.MsgID, s.refusal(status))
}

// writeEnd ends the writing of a chunk, perhaps one that the primary gave out
// before. An unknown chunk gets no entry, at which a stock master's replay would
// stop.
func (s *serving) writeEnd(number wire.Type) error {
	var p wire.WriteEnd
	if err := p.Decode(s.d); err != nil {
		return err
	}
	c := s.callerOf(0, nil)
	modTime := p.Flags&changelog.WriteModTime != 0 && s.Release < wire.NewRelease(3, 0, 74)
	_, status := s.Do(&c, &changelog.WriteEndRequest{Inode: p.Inode, Length: p.Length, ModTime: modTime})
	if status == meta.OK {
		if _, ok := s.st.Chunks.Get(p.Chunk); ok {
			status = s.Add(&changelog.Unlock{Chunk: p.Chunk})
		} else {
			status = meta.ENOCHUNK
		}
	}
	return s.status(number, p.MsgID, s.refusal(status))
}

// repair refuses, but says first what a master would not allow either. A master
// without chunkservers takes all chunks out of the file; here that would lose
// what chunkservers have that only cannot be asked.
func (s *serving) repair(number wire.Type) error {
	var p wire.Repair
	if err := p.Decode(s.d); err != nil {
		return err
	}
	c := s.caller(&p.Identity)
	_, _, status := c.RepairCheck(s.st, p.Inode)
	if status == meta.OK {
		status = meta.ENOCHUNKSERVERS
	}
	return s.status(number, p.MsgID, status)
}
