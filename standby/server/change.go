package server

import (
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// change returns the handler of a request that would change the metadata. A
// standby refuses it at once; this is where a leader will take over.
func change(states connState, t wire.Type, op stat) handler {
	return handler{states: states, serve: func(c *conn) error {
		id := c.d.U32()
		if err := c.d.Err(); err != nil {
			return err
		}
		wire.AppendStatus(&c.out, t, id, meta.EROFS)
		if op != noStat {
			c.count(op)
		}
		return nil
	}}
}

// changeHandlers are the requests that change the metadata whatever is in
// them. Others, which only may, are with the reads: OPEN, QUOTACONTROL, ARCHCTL.
func changeHandlers() map[wire.Type]handler {
	all := map[wire.Type]handler{
		wire.FuseWriteChunk:    {states: mounted, serve: func(c *conn) error { return c.refuseWrite(wire.FuseWriteChunk) }},
		wire.FuseWriteChunkEnd: {states: mounted, serve: func(c *conn) error { return c.refuseWrite(wire.FuseWriteChunkEnd) }},
	}
	for t, op := range map[wire.Type]stat{
		wire.FuseSetattr: statSetattr, wire.FuseSymlink: statSymlink, wire.FuseMknod: statMknod, wire.FuseMkdir: statMkdir,
		wire.FuseUnlink: statUnlink, wire.FuseRmdir: statRmdir, wire.FuseRename: statRename, wire.FuseLink: statLink,
		wire.FuseCreate: statMknod, wire.FuseSetXattr: noStat, wire.FuseSetACL: noStat,
		wire.FuseSetTrashPath: noStat, wire.FuseUndel: noStat, wire.FusePurge: noStat,
	} {
		all[t] = change(mounted, t, op)
	}
	for t, op := range map[wire.Type]stat{
		wire.FuseAppendSlice: noStat, wire.FuseSetTrashTime: noStat, wire.FuseSetClass: noStat, wire.FuseTruncate: statSetattr,
		wire.FuseRepair: noStat, wire.FuseSnapshot: noStat, wire.FuseSetEattr: noStat,
		wire.ClassCreate: noStat, wire.ClassChange: noStat, wire.ClassDelete: noStat, wire.ClassDuplicate: noStat, wire.ClassRename: noStat,
	} {
		all[t] = change(registered, t, op)
	}
	return all
}

// refuseWrite answers in the words that a client's release understands.
func (c *conn) refuseWrite(t wire.Type) error {
	id := c.d.U32()
	if err := c.d.Err(); err != nil {
		return err
	}
	status := meta.EROFS
	if c.release < wire.NewRelease(3, 0, 101) {
		status = statusIO
	}
	wire.AppendStatus(&c.out, t, id, status)
	return nil
}
