package leader

import (
	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
)

// counted answers a request that changed a tree.
func (s *serving) counted(number wire.Type, msgID uint32, counts changelog.Counts) error {
	reply := wire.CountsReply{MsgID: msgID, Changed: counts.Changed, Unchanged: counts.NotChanged, Refused: counts.NotPermitted}
	reply.Append(s.out, number)
	return nil
}

func (s *serving) setTrashTime(number wire.Type) error {
	var p wire.SetTrashTime
	if err := p.Decode(s.d); err != nil {
		return err
	}
	c := s.callerOf(p.UID, nil)
	op, status := s.Do(&c, &changelog.TrashTimeRequest{Inode: p.Inode, TrashTime: p.Seconds, Mode: p.Mode})
	if status != meta.OK {
		return s.status(number, p.MsgID, status)
	}
	return s.counted(number, p.MsgID, op.(*changelog.SetTrashTime).Counts)
}

func (s *serving) setClass(number wire.Type) error {
	var p wire.SetClass
	if err := p.Decode(s.d); err != nil {
		return err
	}
	const named = 0xFF
	c := s.callerOf(p.UID, nil)
	op, status := s.Do(&c, &changelog.ClassRequest{
		Inode: p.Inode, Number: p.Goal, ByName: p.Goal == named, Src: p.From, Dst: p.To, Mode: p.Mode,
	})
	if status != meta.OK {
		return s.status(number, p.MsgID, status)
	}
	return s.counted(number, p.MsgID, op.(*changelog.SetSClass).Counts)
}

func (s *serving) setEattr(number wire.Type) error {
	var p wire.SetEattr
	if err := p.Decode(s.d); err != nil {
		return err
	}
	c := s.callerOf(p.UID, nil)
	op, status := s.Do(&c, &changelog.EattrRequest{Inode: p.Inode, Eattr: p.Eattr, Mode: p.Mode})
	if status != meta.OK {
		return s.status(number, p.MsgID, status)
	}
	return s.counted(number, p.MsgID, op.(*changelog.SetEattr).Counts)
}

// archive changes archive flags; asking for them is for those who read.
func (s *serving) archive(number wire.Type) error {
	var p wire.ArchCtl
	if err := p.Decode(s.d); err != nil {
		return err
	}
	c := s.callerOf(p.UID, nil)
	op, status := s.Do(&c, &changelog.ArchiveRequest{Inode: p.Inode, Command: p.Command})
	if status != meta.OK {
		return s.status(number, p.MsgID, status)
	}
	done := op.(*changelog.ArchChg)
	reply := wire.ArchChanged{MsgID: p.MsgID, Changed: done.Changed, Unchanged: done.NotChanged, Refused: done.NotPermitted}
	reply.Append(s.out)
	return nil
}

func (s *serving) appendSlice(number wire.Type) error {
	var p wire.AppendSlice
	if err := p.Decode(s.d); err != nil {
		return err
	}
	return s.statusOnly(number, p.MsgID, s.caller(&p.Identity), &changelog.AppendRequest{
		Inode: p.Inode, Source: p.Source, Flags: p.Flags, From: p.From, To: p.To,
	})
}

func (s *serving) snapshot(number wire.Type) error {
	var p wire.Snapshot
	if err := p.Decode(s.d); err != nil {
		return err
	}
	return s.statusOnly(number, p.MsgID, s.caller(&p.Identity), &changelog.SnapshotRequest{
		Source: p.Inode, Parent: p.Parent, Base: p.Name, Mode: p.Mode, Umask: p.Umask,
	})
}

func (s *serving) setTrashPath(number wire.Type) error {
	var p wire.SetTrashPath
	if err := p.Decode(s.d); err != nil {
		return err
	}
	return s.statusOnly(number, p.MsgID, s.callerOf(0, nil), &changelog.TrashPathRequest{Inode: p.Inode, Path: p.Path})
}

func (s *serving) undel(number wire.Type) error {
	var p wire.InodeRequest
	if err := p.Decode(s.d); err != nil {
		return err
	}
	return s.statusOnly(number, p.MsgID, s.callerOf(0, nil), &changelog.UndeleteRequest{Inode: p.Inode})
}

func (s *serving) purge(number wire.Type) error {
	var p wire.InodeRequest
	if err := p.Decode(s.d); err != nil {
		return err
	}
	return s.statusOnly(number, p.MsgID, s.callerOf(0, nil), &changelog.PurgeRequest{Inode: p.Inode})
}

func (s *serving) setXattr(number wire.Type) error {
	var p wire.SetXattr
	if err := p.Decode(s.d, s.Release); err != nil {
		return err
	}
	return s.statusOnly(number, p.MsgID, s.caller(&p.Identity), &changelog.XattrRequest{
		Inode: p.Inode, Attr: p.Name, Value: p.Value, Mode: p.Mode, Opened: p.Opened != 0,
	})
}

func (s *serving) setACL(number wire.Type) error {
	var p wire.SetACL
	if err := p.Decode(s.d); err != nil {
		return err
	}
	acl := meta.ACL{User: p.User, Group: p.Group, Other: p.Other, Mask: p.Mask}
	entries := wire.NewDecoder(p.Entries)
	for range p.Users {
		acl.Users = append(acl.Users, meta.ACLEntry{ID: entries.U32(), Perm: entries.U16()})
	}
	for range p.Groups {
		acl.Groups = append(acl.Groups, meta.ACLEntry{ID: entries.U32(), Perm: entries.U16()})
	}
	return s.statusOnly(number, p.MsgID, s.callerOf(p.UID, nil), &changelog.ACLRequest{Inode: p.Inode, Type: p.Type, ACL: acl})
}

// quota sets limits, or removes them, or only tells them.
func (s *serving) quota(number wire.Type) error {
	var p wire.QuotaControl
	if err := p.Decode(s.d); err != nil {
		return err
	}
	c := s.callerOf(0, nil)
	_, status := s.Do(&c, &changelog.QuotaRequest{Inode: p.Inode, Remove: !p.Set, Limits: meta.Quota{
		Flags: p.Flags, Grace: p.Grace,
		SoftInodes: p.Soft.Inodes, SoftLength: p.Soft.Length, SoftSize: p.Soft.Size, SoftReal: p.Soft.RealSize,
		HardInodes: p.Hard.Inodes, HardLength: p.Hard.Length, HardSize: p.Hard.Size, HardReal: p.Hard.RealSize,
	}})
	if status != meta.OK {
		return s.status(number, p.MsgID, status)
	}
	ino, _, _ := c.Find(s.st, p.Inode, false)
	q, _ := s.st.Quotas.Get(ino)
	d, _ := s.st.Dirs.Get(ino)
	reply := wire.QuotaReply{
		MsgID: p.MsgID, Flags: q.Flags, Grace: q.Grace,
		Soft: wire.Limits{Inodes: q.SoftInodes, Length: q.SoftLength, Size: q.SoftSize, RealSize: q.SoftReal},
		Hard: wire.Limits{Inodes: q.HardInodes, Length: q.HardLength, Size: q.HardSize, RealSize: q.HardReal},
		Used: wire.Limits{Inodes: d.Stats.Inodes, Length: d.Stats.Length, Size: d.Stats.Size, RealSize: d.Stats.RealSize},
	}
	reply.Append(s.out, s.Release)
	return nil
}
